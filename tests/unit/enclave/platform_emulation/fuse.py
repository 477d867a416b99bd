"""Serves a tree to every process of the machine, by the kernel's FUSE protocol.

Written against the kernel's interface itself: the Python bindings need libfuse, which a machine with only Python does
not have. Needs /dev/fuse and the right to mount. Single-threaded, no caching, files opened with direct I/O.

Source: Linux, include/uapi/linux/fuse.h, protocol 7.31.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.unit.enclave.platform_emulation.trees import Tree

LOOKUP, FORGET, GETATTR, SETATTR, MKDIR, RMDIR = 1, 2, 3, 4, 9, 11
OPEN, READ, WRITE, STATFS, RELEASE, FLUSH = 14, 15, 16, 17, 18, 25
INIT, OPENDIR, READDIR, RELEASEDIR, ACCESS, INTERRUPT, DESTROY, BATCH_FORGET = 26, 27, 28, 29, 34, 36, 38, 42

_IN_HEADER = struct.Struct("<IIQQIIII")
_OUT_HEADER = struct.Struct("<IiQ")
_ATTRIBUTES = struct.Struct("<QQQQQQIIIIIIIIII")
_FOPEN_DIRECT_IO = 1
_BUFFER_BYTES = 1 << 20
_DIRECTORY_MODE, _FILE_MODE = 0o40777, 0o100666
_MNT_DETACH = 2
_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def mounted(tree: Tree, directory: Path) -> Iterator[Path]:
    """Serve `tree` at `directory` while the block runs.

    Raises:
        OSError: this machine or user may not mount.
    """
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()},allow_other"
    flags = 2 | 4  # MS_NOSUID, MS_NODEV
    if _libc.mount(b"emulation", os.fsencode(directory), b"fuse", flags, options.encode()) != 0:
        code = ctypes.get_errno()
        os.close(device)
        raise OSError(code, f"mount: {os.strerror(code)}")
    server = _Server(tree, device)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield directory
    finally:
        _libc.umount2(os.fsencode(directory), _MNT_DETACH)
        thread.join(5)
        os.close(device)


class _Server:
    def __init__(self, tree: Tree, device: int) -> None:
        self._tree = tree
        self._device = device
        self._paths: dict[int, tuple[str, ...]] = {1: ()}
        self._reading: dict[int, bytes] = {}
        self._writing: dict[int, bytes] = {}
        self._next = 1

    def serve(self) -> None:
        while True:
            try:
                message = os.read(self._device, _BUFFER_BYTES)
            except OSError as exc:
                if exc.errno in (errno.EINTR, errno.ENOENT):
                    continue
                return  # ENODEV: unmounted
            header = _IN_HEADER.unpack_from(message)
            opcode, unique, node = header[1], header[2], header[3]
            if opcode in (FORGET, BATCH_FORGET, INTERRUPT):
                continue
            code, answer = 0, b""
            try:
                answer = self._answer(opcode, node, message[_IN_HEADER.size :])
            except OSError as exc:
                code = -(exc.errno or errno.EIO)
            except KeyError:
                code = -errno.ENOENT
            with contextlib.suppress(OSError):
                os.write(
                    self._device, _OUT_HEADER.pack(_OUT_HEADER.size + len(answer), code, unique) + answer
                )
            if opcode == DESTROY:
                return

    def _answer(self, opcode: int, node: int, body: bytes) -> bytes:
        if opcode == INIT:
            return struct.pack("<IIIIHHIIHH32x", 7, 31, 2**17, 0, 16, 12, 2**17, 1, 0, 0)
        if opcode == STATFS:
            return struct.pack("<QQQQQIIII24x", 0, 0, 0, 0, 0, 4096, 255, 4096, 0)
        if opcode == LOOKUP:
            return self._entry((*self._paths[node], _name(body)))
        if opcode in (GETATTR, SETATTR):
            return struct.pack("<QII", 0, 0, 0) + self._attributes(node, self._paths[node])
        if opcode == MKDIR:
            path = (*self._paths[node], _name(body[8:]))
            self._tree.mkdir(path)
            return self._entry(path)
        if opcode == RMDIR:
            path = (*self._paths[node], _name(body))
            if not self._tree.is_directory(path):
                raise OSError(errno.ENOENT, "no such directory")
            self._tree.rmdir(path)
            return b""
        if opcode in (OPEN, OPENDIR):
            return self._open(node, body)
        if opcode == READ:
            handle, offset, size = struct.unpack_from("<QQI", body)
            return self._reading[handle][offset : offset + size]
        if opcode == WRITE:
            handle, _offset, size = struct.unpack_from("<QQI", body)
            self._writing[handle] += body[40 : 40 + size]
            return struct.pack("<II", size, 0)
        if opcode == FLUSH:  # close(2) waits for this one, and not for RELEASE
            (handle,) = struct.unpack_from("<Q", body)
            data = self._writing.pop(handle, b"")
            if data:
                self._tree.write(self._paths[node], data)
            return b""
        if opcode in (RELEASE, RELEASEDIR):
            (handle,) = struct.unpack_from("<Q", body)
            self._reading.pop(handle, None)
            return b""
        if opcode == READDIR:
            return self._directory(node, *struct.unpack_from("<QQI", body))
        if opcode in (ACCESS, DESTROY):
            return b""
        raise OSError(errno.ENOSYS, "not served")

    def _open(self, node: int, body: bytes) -> bytes:
        path = self._paths[node]
        (flags,) = struct.unpack_from("<I", body)
        self._next += 1
        handle = self._next
        if self._tree.is_file(path):
            if flags & os.O_ACCMODE == os.O_RDONLY:
                self._reading[handle] = self._tree.read(path)
            else:
                self._writing[handle] = b""
        return struct.pack("<QII", handle, _FOPEN_DIRECT_IO, 0)

    def _entry(self, path: tuple[str, ...]) -> bytes:
        if not (self._tree.is_directory(path) or self._tree.is_file(path)):
            raise OSError(errno.ENOENT, "no such file")
        node = next((each for each, known in self._paths.items() if known == path), 0)
        if not node:
            node = max(self._paths) + 1
            self._paths[node] = path
        return struct.pack("<QQQQII", node, 0, 0, 0, 0, 0) + self._attributes(node, path)

    def _attributes(self, node: int, path: tuple[str, ...]) -> bytes:
        mode = _DIRECTORY_MODE if self._tree.is_directory(path) else _FILE_MODE
        times = (0,) * 6
        return _ATTRIBUTES.pack(
            node, 4096, 0, *times[:3], *times[3:], mode, 1, os.getuid(), os.getgid(), 0, 4096, 0
        )

    def _directory(self, node: int, _handle: int, offset: int, size: int) -> bytes:
        listing = b""
        for index, name in enumerate([".", "..", *self._tree.names(self._paths[node])]):
            encoded = name.encode()
            entry = struct.pack("<QQII", 0xFFFFFFFF, index + 1, len(encoded), 0) + encoded
            entry += bytes(-len(entry) % 8)
            if index >= offset and len(listing) + len(entry) <= size:
                listing += entry
        return listing


def _name(body: bytes) -> str:
    return body.split(b"\0", 1)[0].decode()
