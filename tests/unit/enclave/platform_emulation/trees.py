"""What kernel and Gramine do behind their pseudo-files, without saying how a process reaches them.

A tree answers the calls of a file system. Files are whole values: what is written counts when the file is closed, what
is read is made when the file is opened, as configfs binary attributes and Gramine's pseudo-files do.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Protocol

QuoteMaker = Callable[[bytes], bytes]


class Tree(Protocol):
    """A small file system. Paths are tuples of names; the empty tuple is its root. Errors are `OSError`."""

    def is_directory(self, path: tuple[str, ...]) -> bool: ...

    def is_file(self, path: tuple[str, ...]) -> bool: ...

    def names(self, path: tuple[str, ...]) -> list[str]: ...

    def mkdir(self, path: tuple[str, ...]) -> None: ...

    def rmdir(self, path: tuple[str, ...]) -> None: ...

    def read(self, path: tuple[str, ...]) -> bytes: ...

    def write(self, path: tuple[str, ...], data: bytes) -> None: ...


class ConfigfsTsm:
    """/sys/kernel/config/tsm/report as drivers/virt/coco/tsm (Linux 6.7 and later) behaves with a TDX guest driver."""

    ATTRIBUTES = ("inblob", "outblob", "provider", "generation", "auxblob")

    def __init__(self, make_quote: QuoteMaker) -> None:
        self.make_quote = make_quote
        self.provider: str | None = "tdx_guest"
        self.interleaved_writes = 0
        """How often somebody else writes the blob before ours is read back."""
        self.keeps_directories = False
        self.read_error = 0
        self.entries: dict[str, tuple[bytes, int]] = {}
        self.made: list[str] = []

    def is_directory(self, path: tuple[str, ...]) -> bool:
        return not path or (len(path) == 1 and path[0] in self.entries)

    def is_file(self, path: tuple[str, ...]) -> bool:
        return len(path) == 2 and path[0] in self.entries and path[1] in self.ATTRIBUTES

    def names(self, path: tuple[str, ...]) -> list[str]:
        return list(self.ATTRIBUTES if path else self.entries)

    def mkdir(self, path: tuple[str, ...]) -> None:
        if self.provider is None:
            raise OSError(errno.ENXIO, "no provider")
        if len(path) != 1:
            raise OSError(errno.EPERM, "reports have no directories")
        if path[0] in self.entries:
            raise OSError(errno.EEXIST, "exists")
        self.entries[path[0]] = (b"", 0)
        self.made.append(path[0])

    def rmdir(self, path: tuple[str, ...]) -> None:
        if self.keeps_directories:
            raise OSError(errno.EBUSY, "busy")
        del self.entries[path[0]]

    def read(self, path: tuple[str, ...]) -> bytes:
        blob, generation = self.entries[path[0]]
        if path[1] == "provider":
            return f"{self.provider}\n".encode()
        if path[1] == "generation":
            return b"%d\n" % generation
        if path[1] == "outblob":
            if not blob:
                raise OSError(errno.EINVAL, "no inblob")
            if self.read_error:
                raise OSError(self.read_error, "the quote was not made")
            self.entries[path[0]] = (blob, generation + self.interleaved_writes)
            return self.make_quote(blob.ljust(64, b"\0"))
        if path[1] == "inblob":
            raise OSError(errno.EACCES, "write only")
        return b""

    def write(self, path: tuple[str, ...], data: bytes) -> None:
        if path[1] != "inblob":
            raise OSError(errno.EACCES, "read only")
        if len(data) > 64:
            raise OSError(errno.EFBIG, "at most 64 bytes")
        self.entries[path[0]] = (data, self.entries[path[0]][1] + 1)


class GramineAttestation:
    """/dev/attestation as Gramine's libos/src/fs/dev/attestation.c serves it in an SGX enclave."""

    def __init__(self, make_quote: QuoteMaker, sealing_key: bytes) -> None:
        self.make_quote = make_quote
        self.attestation_type = b"dcap"
        self.sealing_key = sealing_key
        self.report_data = bytes(64)
        self.loses_report_data = False

    def is_directory(self, path: tuple[str, ...]) -> bool:
        return path in ((), ("keys",))

    def is_file(self, path: tuple[str, ...]) -> bool:
        files = {("attestation_type",), ("user_report_data",), ("keys", "_sgx_mrenclave")}
        if self.attestation_type != b"none":
            files.add(("quote",))
        return path in files

    def names(self, path: tuple[str, ...]) -> list[str]:
        return ["_sgx_mrenclave"] if path else ["attestation_type", "user_report_data", "quote", "keys"]

    def mkdir(self, path: tuple[str, ...]) -> None:
        raise OSError(errno.EACCES, "pseudo-files only")

    def rmdir(self, path: tuple[str, ...]) -> None:
        raise OSError(errno.EACCES, "pseudo-files only")

    def read(self, path: tuple[str, ...]) -> bytes:
        if path == ("attestation_type",):
            return self.attestation_type
        if path == ("quote",):
            return self.make_quote(self.report_data)
        if path == ("keys", "_sgx_mrenclave"):
            return self.sealing_key
        return self.report_data

    def write(self, path: tuple[str, ...], data: bytes) -> None:
        if path != ("user_report_data",):
            raise OSError(errno.EACCES, "read only")
        if not self.loses_report_data:
            self.report_data = data[:64].ljust(64, b"\0")
