"""One address that keeps blobs: a folder, a bucket, a web server, memory; whatever fsspec reaches."""

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

from fsspec import available_protocols
from fsspec.core import split_protocol, url_to_fs

from goldengrain_protocol.commitments import BLOB_PIECE_BYTES, ChunkList
from goldengrain_protocol.constants import MAX_BLOB_BYTES
from goldengrain_protocol.errors import GoldenGrainError, InvalidInput, UnavailableError
from goldengrain_protocol.types import Hash32

BlobProgress: TypeAlias = Callable[[int, int], None]
"""Called with the bytes done and the bytes in all."""

PIECES_SUFFIX: Final = ".pieces"
_EXTRAS: Final = {"s3": "s3", "s3a": "s3", "http": "http", "https": "http"}
"""Which extra of this package brings the library for a kind of address."""
_MAX_PIECES_FILE_BYTES: Final = 8 + 32 * (MAX_BLOB_BYTES // BLOB_PIECE_BYTES + 1)


class Place:
    """One address; every foreign exception ends here."""

    def __init__(self, url: str, storage_options: dict[str, Any]) -> None:
        self.shown: Final = _without_secrets(url)
        self._url: Final = url
        self._options: Final = storage_options
        self._opened: tuple[Any, str] | None = None
        self._opening: Final = threading.Lock()

    def exists(self, digest: Hash32) -> bool:
        with self._errors(f"looking for blob {digest.hex()}"):
            filesystem, root = self._filesystem()
            return bool(filesystem.exists(_join(root, digest.hex())))

    def has(self, digest: Hash32, pieces: ChunkList) -> bool:
        """Return whether blob and list are there, of the right size."""
        with self._errors(f"looking for blob {digest.hex()}"):
            filesystem, root = self._filesystem()
            name = _join(root, digest.hex())
            try:
                size = filesystem.info(name)["size"]
                return size == pieces.total_bytes and bool(filesystem.exists(name + PIECES_SUFFIX))
            except FileNotFoundError:
                return False

    def read_pieces(self, digest: Hash32) -> bytes:
        with self._errors(f"reading blob {digest.hex()}"):
            filesystem, root = self._filesystem()
            with filesystem.open(_join(root, digest.hex()) + PIECES_SUFFIX, "rb") as file:
                return bytes(file.read(_MAX_PIECES_FILE_BYTES + 1))

    def read(self, digest: Hash32, start: int, size: int) -> bytes:
        with self._errors(f"reading blob {digest.hex()}"):
            filesystem, root = self._filesystem()
            data = filesystem.cat_file(_join(root, digest.hex()), start=start, end=start + size)
            # A web server that knows no ranges answers with the whole blob.
            return bytes(data[start : start + size] if len(data) > size else data)

    def write(self, digest: Hash32, pieces: ChunkList, stream: Any, on_progress: BlobProgress | None) -> None:
        """Write the blob, then its list: whoever sees the list finds a whole blob."""
        with self._errors(f"writing blob {digest.hex()}"):
            filesystem, root = self._filesystem()
            filesystem.makedirs(root, exist_ok=True)
            name = _join(root, digest.hex())
            self._write_file(filesystem, name, stream, pieces.total_bytes, on_progress)
            list_stream = memoryview(pieces.encode())
            self._write_file(filesystem, name + PIECES_SUFFIX, Reader(list_stream), len(list_stream), None)

    def _write_file(
        self, filesystem: Any, name: str, stream: Any, total: int, on_progress: BlobProgress | None
    ) -> None:
        # Object stores show a file only when it is complete; elsewhere it is written beside and renamed.
        is_object_store = "s3" in _protocols(filesystem)
        target = name if is_object_store else f"{name}.{secrets.token_hex(4)}.tmp"
        try:
            done = 0
            with filesystem.open(target, "wb") as file:
                while part := stream.read(BLOB_PIECE_BYTES):
                    file.write(part)
                    done += len(part)
                    tell(on_progress, done, total)
            if target != name:
                filesystem.mv(target, name)
        except BaseException:
            if target != name and filesystem.exists(target):
                filesystem.rm(target)
            raise
        if not total:
            tell(on_progress, 0, 0)

    def _filesystem(self) -> tuple[Any, str]:
        with self._opening:
            if self._opened is None:
                scheme = split_protocol(self._url)[0] or "file"
                if scheme not in available_protocols():
                    raise InvalidInput(f"no kind of storage is known for {scheme}:// ({self.shown})")
                filesystem, root = url_to_fs(self._url, **self._options)
                self._opened = (filesystem, str(root))
            return self._opened

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except GoldenGrainError:
            raise
        except FileNotFoundError as exc:
            raise UnavailableError(
                f"{doing}: not at {self.shown}", next_step="try later, or name another blob address"
            ) from exc
        except NotImplementedError as exc:
            raise InvalidInput(
                f"{doing}: {self.shown} cannot be written to",
                next_step="put a writable address first; this one can be a mirror",
            ) from exc
        except ImportError as exc:
            raise self._missing_library() from exc
        except Exception as exc:
            # Each of the many storage libraries behind fsspec raises its own kinds.
            raise UnavailableError(
                f"{doing}: {self.shown} fails: {_first_line(exc)}", next_step="try again later"
            ) from exc

    def _missing_library(self) -> InvalidInput:
        scheme = split_protocol(self._url)[0] or "file"
        extra = _EXTRAS.get(scheme)
        step = f"pip install 'goldengrain[{extra}]'" if extra else "install the fsspec library for it"
        return InvalidInput(f"no library for blob address {self.shown} is installed", next_step=step)


class Reader:
    """Reads a memory view as a file does."""

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._at = 0

    def read(self, size: int) -> memoryview:
        part = self._view[self._at : self._at + size]
        self._at += len(part)
        return part

    def seek(self, position: int) -> None:
        self._at = position


def _join(root: str, name: str) -> str:
    return f"{root.rstrip('/')}/{name}"


def _protocols(filesystem: Any) -> tuple[str, ...]:
    protocol = filesystem.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)


def _without_secrets(url: str) -> str:
    """Return an address without user names, passwords and query, which may hold keys."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path.partition('?')[0]}"


def _first_line(exc: BaseException) -> str:
    text = str(exc).strip().splitlines()
    return f"{type(exc).__name__}: {text[0][:200]}" if text else type(exc).__name__


def tell(on_progress: BlobProgress | None, done: int, total: int) -> None:
    if on_progress is not None:
        on_progress(done, total)
