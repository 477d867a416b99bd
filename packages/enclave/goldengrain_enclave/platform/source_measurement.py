"""The measurement of the simulated platform: a digest over the source files that make up the trusted base.

On real hardware the loader measures what it loads. Here the enclave process hashes its own files, which proves
nothing against the host, but gives every version of the code its own name, as a real measurement would.
"""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import Path
from typing import Final

MEASURED_PACKAGES: Final = ("goldengrain_enclave", "goldengrain_protocol")
MEASURED_SUFFIXES: Final = (".py", ".typed", ".lock")


def measured_files() -> list[tuple[str, bytes]]:
    """Return (relative path, SHA-256 of the file) of every measured file, sorted by path.

    Relative paths start with the package name and use forward slashes. Lock files count where a package ships one.
    """
    entries: list[tuple[str, bytes]] = []
    for package in MEASURED_PACKAGES:
        root = Path(str(resources.files(package)))
        for path in root.rglob("*"):
            if path.suffix in MEASURED_SUFFIXES and "__pycache__" not in path.parts and path.is_file():
                name = f"{package}/{path.relative_to(root).as_posix()}"
                entries.append((name, hashlib.sha256(path.read_bytes()).digest()))
    return sorted(entries)


def source_mr_enclave() -> bytes:
    """Return the 32-byte MRENCLAVE of the simulated platform.

    SHA-256 over the concatenation, in path order, of: 4-byte big-endian length of the path, the path in UTF-8, the
    32-byte SHA-256 digest of the file.
    """
    digest = hashlib.sha256()
    for name, file_digest in measured_files():
        encoded = name.encode()
        digest.update(len(encoded).to_bytes(4, "big") + encoded + file_digest)
    return digest.digest()
