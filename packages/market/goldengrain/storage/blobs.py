"""Blobs by content digest, on any storage that fsspec reaches: folders, memory, http(s), s3 and more.

A blob `D` is two files: `<hex of D>`, its bytes, and `<hex of D>.pieces`, the list of its pieces, whose digest is
D. The list is checked first and every piece against it before anything uses it, so neither a storage provider nor a
mirror can change a bit. Downloads go to a local cache and continue where they were broken off.
"""

import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from goldengrain.home import Home, atomic_write, directory_lock, sync_directory
from goldengrain.storage.places import PIECES_SUFFIX, BlobProgress, Place, Reader, tell
from goldengrain_protocol.commitments import (
    BLOB_PIECE_BYTES,
    ChunkList,
    blob_digest,
    piece_size,
    verify_piece,
)
from goldengrain_protocol.constants import MAX_BLOB_BYTES
from goldengrain_protocol.errors import GoldenGrainError, InvalidInput, UnavailableError, VerificationError
from goldengrain_protocol.hashing import sha256
from goldengrain_protocol.types import Hash32, hash32

_LOCK_WAIT_S: Final = 600.0
_READ_TRIES: Final = 3
_RETRY_S: Final = 0.3


class BlobStore:
    """Blobs at one or several addresses; written to the first, read from whichever has them.

    Args:
        urls: addresses such as `file:///srv/blobs`, `s3://bucket/blobs`, `https://host/blobs`, `memory://x`, or
            a folder's path.
        cache_dir: local folder for verified downloads.
        storage_options: passed to fsspec (credentials, endpoints).
    """

    def __init__(
        self,
        urls: str | Path | Sequence[str | Path],
        cache_dir: Path,
        *,
        storage_options: dict[str, Any] | None = None,
    ) -> None:
        given = [urls] if isinstance(urls, (str, Path)) else list(urls)
        if not given:
            raise InvalidInput("a blob store needs at least one address")
        self._places: Final = [Place(str(url), storage_options or {}) for url in given]
        self._cache: Final = cache_dir

    @classmethod
    def for_home(cls, home: Home, urls: str | Sequence[str] | None = None) -> "BlobStore":
        """Return the store at `urls`, by default the home directory's own folder, with the home's cache."""
        return cls(urls or str(home.ensure(home.blobs_dir)), home.ensure(home.blob_cache_dir))

    def put(
        self, source: bytes | bytearray | memoryview | Path, *, on_progress: BlobProgress | None = None
    ) -> Hash32:
        """Store a blob at the first address and return its digest; one that is there already is not sent again.

        Raises:
            InvalidInput: no such file, or larger than `MAX_BLOB_BYTES`.
            UnavailableError: the storage fails; running it again continues or repeats harmlessly.
        """
        with _opened(source) as (stream, total):
            pieces = _read_pieces(stream, total)
            digest = blob_digest(pieces)
            place = self._places[0]
            if place.has(digest, pieces):
                tell(on_progress, total, total)
                return digest
            stream.seek(0)
            place.write(digest, pieces, stream, on_progress)
        return digest

    def has(self, digest: Hash32) -> bool:
        """Return whether any address (or the cache) names the blob; its bytes are checked only when fetched."""
        if self._cached(digest).exists():
            return True
        return any(place.exists(digest) for place in self._places)

    def get(self, digest: Hash32, *, on_progress: BlobProgress | None = None) -> bytes:
        """Return the blob; errors as `fetch`."""
        return self.fetch(digest, on_progress=on_progress).read_bytes()

    def get_to(self, digest: Hash32, path: Path, *, on_progress: BlobProgress | None = None) -> None:
        """Write the blob to `path`, replacing what is there whole; errors as `fetch`."""
        source = self.fetch(digest, on_progress=on_progress)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        try:
            shutil.copyfile(source, temporary)
            temporary.replace(path)
        except OSError as exc:
            temporary.unlink(missing_ok=True)
            raise UnavailableError(f"cannot write {path}: {exc.strerror}") from exc

    def fetch(self, digest: Hash32, *, on_progress: BlobProgress | None = None) -> Path:
        """Return the path of a local file that holds exactly the blob; do not write to it.

        The addresses are tried in order. A download that was broken off continues with the missing pieces,
        perhaps from another address.

        Raises:
            VerificationError: an address has other bytes under this digest and no other address has the right ones;
                names piece and address.
            UnavailableError: no address has it, or none can be reached.
        """
        digest = hash32(digest)
        cached = self._cached(digest)
        if cached.exists():
            size = cached.stat().st_size
            tell(on_progress, size, size)
            return cached
        problems: list[GoldenGrainError] = []
        with self._lock(digest):
            if cached.exists():
                return cached
            for place in self._places:
                try:
                    self._download(place, digest, on_progress)
                    return cached
                except GoldenGrainError as exc:
                    problems.append(exc)
        raise _combined(digest, problems)

    def _download(self, place: "Place", digest: Hash32, on_progress: BlobProgress | None) -> None:
        pieces = self._pieces(place, digest)
        part = self._cached(digest).with_suffix(".part")
        done = 0
        try:
            with part.open("r+b" if part.exists() else "w+b") as file:
                file.truncate(pieces.total_bytes)
                for index in range(len(pieces.piece_digests)):
                    size = piece_size(pieces, index)
                    start = index * BLOB_PIECE_BYTES
                    file.seek(start)
                    # What is there from an earlier run counts only if it verifies.
                    if sha256(file.read(size)) != pieces.piece_digests[index]:
                        piece = _read_piece(place, digest, start, size)
                        try:
                            verify_piece(pieces, index, piece)
                        except VerificationError as exc:
                            raise VerificationError(
                                f"blob {digest.hex()}: {exc.message} at {place.shown}",
                                next_step="use another blob address; this one serves wrong bytes",
                            ) from exc
                        file.seek(start)
                        file.write(piece)
                    done += size
                    tell(on_progress, done, pieces.total_bytes)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._cached(digest))
            sync_directory(part.parent)
        except OSError as exc:
            raise UnavailableError(
                f"cannot write to the blob cache {self._cache}: {exc.strerror}",
                next_step="free some disk space, then run the same command",
            ) from exc
        if not pieces.total_bytes:
            tell(on_progress, 0, 0)

    def _pieces(self, place: "Place", digest: Hash32) -> ChunkList:
        known = self._cached(digest).with_suffix(PIECES_SUFFIX)
        if known.exists():
            pieces = _decode_pieces(known.read_bytes(), digest)
            if pieces is not None:
                return pieces
        data = place.read_pieces(digest)
        pieces = _decode_pieces(data, digest)
        if pieces is None:
            raise VerificationError(
                f"blob {digest.hex()}: the list of pieces at {place.shown} does not have this digest",
                next_step="use another blob address; this one serves wrong bytes",
            )
        self._cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        atomic_write(known, data)
        return pieces

    def _cached(self, digest: Hash32) -> Path:
        return self._cache / digest.hex()

    @contextmanager
    def _lock(self, digest: Hash32) -> Iterator[None]:
        """Keep other processes from downloading the same blob at the same time."""
        directory = self._cache / "locks" / digest.hex()[:2]
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            raise UnavailableError(f"cannot write to the blob cache {self._cache}: {exc.strerror}") from exc
        with directory_lock(directory, what="the blob cache", wait_s=_LOCK_WAIT_S):
            yield


@contextmanager
def _opened(source: bytes | bytearray | memoryview | Path) -> Iterator[tuple[Any, int]]:
    if not isinstance(source, Path):
        view = memoryview(source).cast("B")
        _check_size(len(view))
        yield Reader(view), len(view)
        return
    try:
        file = source.open("rb")
    except OSError as exc:
        raise InvalidInput(f"cannot read {source}: {exc.strerror}") from exc
    with file:
        total = source.stat().st_size
        _check_size(total)
        yield file, total


def _read_piece(place: Place, digest: Hash32, start: int, size: int) -> bytes:
    for attempt in range(1, _READ_TRIES):
        try:
            return place.read(digest, start, size)
        except UnavailableError:
            time.sleep(_RETRY_S * attempt)
    return place.read(digest, start, size)


def _check_size(total: int) -> None:
    if total > MAX_BLOB_BYTES:
        raise InvalidInput(f"a blob has at most {MAX_BLOB_BYTES} bytes, got {total}")


def _read_pieces(stream: Any, total: int) -> ChunkList:
    digests = []
    while part := stream.read(BLOB_PIECE_BYTES):
        digests.append(sha256(part))
    return ChunkList(total, tuple(digests))


def _decode_pieces(data: bytes, digest: Hash32) -> ChunkList | None:
    """Return the list if it is the one that the digest names."""
    try:
        pieces = ChunkList.decode(data)
    except InvalidInput:
        return None
    return pieces if blob_digest(pieces) == digest else None


def _combined(digest: Hash32, problems: list[GoldenGrainError]) -> GoldenGrainError:
    if len(problems) == 1:
        return problems[0]
    text = "; ".join(problem.message for problem in problems)
    kind = VerificationError if any(isinstance(p, VerificationError) for p in problems) else UnavailableError
    return kind(f"no address gives blob {digest.hex()}: {text}", next_step=problems[0].next_step)
