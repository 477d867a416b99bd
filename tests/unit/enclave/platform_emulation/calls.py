"""Serves a tree to one module of this process, for machines where nobody may mount.

Stands in for the module `os` there: paths below a directory that does not exist go to the tree, by the same rules as
through the kernel (a written file counts when it is closed, a read one is made when it is opened).
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

from tests.unit.enclave.platform_emulation.trees import Tree


class OsCalls:
    """The few functions of `os` that the platforms use, on a tree at `root`; constants are those of `os`."""

    def __init__(self, tree: Tree, root: Path) -> None:
        self._tree = tree
        self._root = root
        self._next = 1000
        self._files: dict[int, tuple[tuple[str, ...], bytes, bool]] = {}

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("O_"):
            raise AttributeError(f"os.{name} is not emulated")
        return getattr(os, name)

    def mkdir(self, path: Path, mode: int = 0o777) -> None:
        self._tree.mkdir(self._inside(path))

    def rmdir(self, path: Path) -> None:
        self._tree.rmdir(self._inside(path))

    def open(self, path: Path, flags: int) -> int:
        inside = self._inside(path)
        if not self._tree.is_file(inside):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        writes = flags & os.O_ACCMODE == os.O_WRONLY
        self._next += 1
        self._files[self._next] = (inside, b"" if writes else self._tree.read(inside), writes)
        return self._next

    def read(self, descriptor: int, size: int) -> bytes:
        path, data, writes = self._files[descriptor]
        self._files[descriptor] = (path, data[size:], writes)
        return data[:size]

    def write(self, descriptor: int, data: bytes) -> int:
        path, before, writes = self._files[descriptor]
        self._files[descriptor] = (path, before + data, writes)
        return len(data)

    def close(self, descriptor: int) -> None:
        path, data, writes = self._files.pop(descriptor)
        if writes:
            self._tree.write(path, data)

    def _inside(self, path: Path) -> tuple[str, ...]:
        return path.relative_to(self._root).parts
