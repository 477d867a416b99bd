"""Digests of blobs, piece by piece, so that every piece can be checked when it arrives.

Source: docs/spec/blobs.md.
"""

from dataclasses import dataclass
from typing import Final

from goldengrain_protocol.constants import BLOB_PIECE_BYTES, MAX_BLOB_BYTES
from goldengrain_protocol.errors import InvalidInput, VerificationError
from goldengrain_protocol.hashing import Data, sha256
from goldengrain_protocol.types import Hash32, hash32

__all__ = [
    "BLOB_PIECE_BYTES",
    "ChunkList",
    "blob_digest",
    "chunk_list",
    "digest_of",
    "piece_size",
    "verify_piece",
]

_BLOB_TAG: Final = b"goldengrain/blob/v1"


@dataclass(frozen=True, slots=True)
class ChunkList:
    """Length of a blob and SHA-256 of each of its pieces (1 MiB, the last one shorter)."""

    total_bytes: int
    piece_digests: tuple[Hash32, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.total_bytes, int) or not 0 <= self.total_bytes <= MAX_BLOB_BYTES:
            raise InvalidInput(f"blob size must be in 0..{MAX_BLOB_BYTES} bytes, got {self.total_bytes}")
        expected = piece_count(self.total_bytes)
        if len(self.piece_digests) != expected:
            raise InvalidInput(
                f"a blob of {self.total_bytes} bytes has {expected} pieces, "
                f"got {len(self.piece_digests)} digests"
            )
        for digest in self.piece_digests:
            hash32(digest)

    def encode(self) -> bytes:
        """Return total_bytes (8 bytes, big-endian) and the digests one after the other."""
        return self.total_bytes.to_bytes(8, "big") + b"".join(self.piece_digests)

    @classmethod
    def decode(cls, data: bytes) -> "ChunkList":
        """Return the list that `data` encodes.

        Raises:
            InvalidInput: too short, too large a blob, or a length that does not fit the blob's size.
        """
        if len(data) < 8:
            raise InvalidInput(f"chunk list must have at least 8 bytes, got {len(data)}")
        total = int.from_bytes(data[:8], "big")
        if total > MAX_BLOB_BYTES:
            raise InvalidInput(f"blob size must be at most {MAX_BLOB_BYTES} bytes, got {total}")
        expected = 8 + 32 * piece_count(total)
        if len(data) != expected:
            raise InvalidInput(f"chunk list of a blob of {total} bytes has {expected} bytes, got {len(data)}")
        return cls(total, tuple(Hash32(bytes(data[at : at + 32])) for at in range(8, expected, 32)))


def piece_count(total_bytes: int) -> int:
    """Return how many pieces a blob has; none if it is empty."""
    return -(-total_bytes // BLOB_PIECE_BYTES)


def piece_size(chunks: ChunkList, index: int) -> int:
    """Return the size in bytes of piece `index`.

    Raises:
        InvalidInput: there is no such piece.
    """
    count = len(chunks.piece_digests)
    if not 0 <= index < count:
        raise InvalidInput(f"piece index must be in 0..{count - 1}, got {index}")
    return min(BLOB_PIECE_BYTES, chunks.total_bytes - index * BLOB_PIECE_BYTES)


def chunk_list(data: Data) -> ChunkList:
    """Return the chunk list of a whole blob.

    Raises:
        InvalidInput: larger than `MAX_BLOB_BYTES`.
    """
    view = memoryview(data).cast("B")
    starts = range(0, len(view), BLOB_PIECE_BYTES)
    return ChunkList(len(view), tuple(sha256(view[at : at + BLOB_PIECE_BYTES]) for at in starts))


def blob_digest(chunks: ChunkList) -> Hash32:
    """Return the digest that names the blob: sha256(tag, total_bytes, digests)."""
    return sha256(_BLOB_TAG + chunks.encode())


def digest_of(data: Data) -> Hash32:
    """Return the digest that names the blob `data`."""
    return blob_digest(chunk_list(data))


def verify_piece(chunks: ChunkList, index: int, piece: Data) -> None:
    """Check that `piece` is piece `index` of the blob.

    Raises:
        InvalidInput: there is no such piece.
        VerificationError: wrong size or content.
    """
    size = piece_size(chunks, index)
    if len(piece) != size:
        raise VerificationError(f"piece {index} must have {size} bytes, got {len(piece)}")
    if sha256(piece) != chunks.piece_digests[index]:
        raise VerificationError(f"piece {index} does not match its digest")
