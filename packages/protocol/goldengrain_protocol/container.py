"""The encrypted container of a model or test set: a STREAM of AES-256-GCM chunks of 1 MiB.

    header (82 bytes): "GGC1" | version 1 | kind 1 | chunk_bytes 4 | salt 32 | key commitment 32 |
                       plaintext_bytes 8
    chunk i:           AES-256-GCM, nonce = prefix 7 | i 4 | last 1, AAD = sha256(header)

Truncation, reordering, repetition, altered bytes and a foreign header are detected, and the key is
committed to: one container opens under one key only. Key and nonces follow from content key, kind and
salt, so the same secret and salt must never encrypt two different plaintexts.

Source: docs/spec/container.md; Hoang, Reyhanitabar, Rogaway, Vizar 2015 (STREAM).
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import IntEnum
from hmac import compare_digest
from itertools import chain
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from goldengrain_protocol import keyschedule
from goldengrain_protocol.constants import CHUNK_BYTES, MAX_BLOB_BYTES, SALT_BYTES
from goldengrain_protocol.errors import InvalidInput, VerificationError
from goldengrain_protocol.hashing import sha256
from goldengrain_protocol.types import Hash32, fixed_bytes, hash32

MAGIC: Final = b"GGC1"
VERSION: Final = 1
HEADER_BYTES: Final = 82
TAG_BYTES: Final = 16
_SEALED_CHUNK_BYTES: Final = CHUNK_BYTES + TAG_BYTES
_PARALLEL_FROM_CHUNKS: Final = 4

Buffer = bytes | bytearray | memoryview


class ContainerKind(IntEnum):
    """What a container holds."""

    MODEL = 1
    TESTSET = 2


@dataclass(frozen=True, slots=True)
class ContainerHeader:
    """The clear first 82 bytes; authenticated by every chunk."""

    kind: ContainerKind
    salt: bytes
    secret_commitment: Hash32
    plaintext_bytes: int

    def __post_init__(self) -> None:
        if self.kind not in tuple(ContainerKind):
            raise InvalidInput(f"container kind must be 1 or 2, got {self.kind}")
        object.__setattr__(self, "kind", ContainerKind(self.kind))
        fixed_bytes(self.salt, SALT_BYTES, "container salt")
        hash32(self.secret_commitment)
        if self.plaintext_bytes < 0 or container_bytes(self.plaintext_bytes) > MAX_BLOB_BYTES:
            raise InvalidInput(
                f"container must have at most {MAX_BLOB_BYTES} bytes, plaintext has {self.plaintext_bytes}"
            )

    @property
    def chunks(self) -> int:
        """Number of chunks; an empty plaintext has one empty chunk."""
        return max(1, -(-self.plaintext_bytes // CHUNK_BYTES))

    def encode(self) -> bytes:
        """Return the 82 bytes."""
        return b"".join(
            (
                MAGIC,
                bytes([VERSION, self.kind]),
                CHUNK_BYTES.to_bytes(4, "big"),
                self.salt,
                self.secret_commitment,
                self.plaintext_bytes.to_bytes(8, "big"),
            )
        )


def container_bytes(plaintext_bytes: int) -> int:
    """Return the size of the container of a plaintext of this size."""
    return HEADER_BYTES + plaintext_bytes + TAG_BYTES * max(1, -(-plaintext_bytes // CHUNK_BYTES))


def decode_header(data: Buffer) -> ContainerHeader:
    """Return the header at the beginning of `data` (at least 82 bytes).

    Raises:
        InvalidInput: too short, another magic, version, kind or chunk size, or too large a plaintext.
    """
    if len(data) < HEADER_BYTES:
        raise InvalidInput(f"container header must have {HEADER_BYTES} bytes, got {len(data)}")
    head = bytes(data[:HEADER_BYTES])
    if head[:4] != MAGIC:
        raise InvalidInput("container does not begin with GGC1")
    if head[4] != VERSION:
        raise InvalidInput(f"container version must be {VERSION}, got {head[4]}")
    if head[5] not in tuple(ContainerKind):
        raise InvalidInput(f"container kind must be 1 (model) or 2 (test set), got {head[5]}")
    chunk = int.from_bytes(head[6:10], "big")
    if chunk != CHUNK_BYTES:
        raise InvalidInput(f"container chunk size must be {CHUNK_BYTES}, got {chunk}")
    return ContainerHeader(
        ContainerKind(head[5]), head[10:42], Hash32(head[42:74]), int.from_bytes(head[74:82], "big")
    )


def encrypt_container(plaintext: Buffer, kind: int, secret: bytes, salt: bytes) -> bytes:
    """Return the container of `plaintext` under the secret `s`.

    Args:
        salt: 32 bytes, never used before with this secret.
    """
    view = memoryview(plaintext).cast("B")
    return b"".join(iter_encrypt([view], plaintext_bytes=len(view), kind=kind, secret=secret, salt=salt))


def iter_encrypt(
    pieces: Iterable[Buffer], *, plaintext_bytes: int, kind: int, secret: bytes, salt: bytes
) -> Iterator[bytes]:
    """Yield the container of a plaintext that comes in pieces of any size: header first, then chunks.

    Raises:
        InvalidInput: the pieces do not add up to `plaintext_bytes`; what was yielded is worthless then.
    """
    key = keyschedule.content_key(secret)
    header = ContainerHeader(
        ContainerKind(kind) if kind in tuple(ContainerKind) else _bad_kind(kind),
        fixed_bytes(salt, SALT_BYTES, "container salt"),
        keyschedule.key_commitment(key),
        plaintext_bytes,
    )
    stream = _Stream(header, key)
    yield header.encode()
    index = done = 0
    for chunk in _rechunk(pieces, CHUNK_BYTES):
        done += len(chunk)
        if done > plaintext_bytes or index >= header.chunks:
            raise InvalidInput(f"plaintext has more than the stated {plaintext_bytes} bytes")
        yield stream.encrypt(index, chunk)
        index += 1
    if done != plaintext_bytes:
        raise InvalidInput(f"plaintext has {done} bytes instead of the stated {plaintext_bytes}")
    if index == 0:
        yield stream.encrypt(0, b"")


def decrypt_container(container: Buffer, kind: int, secret: bytes) -> bytearray:
    """Return the plaintext of a container, every byte authenticated, opened with the secret `s`.

    Raises:
        InvalidInput: malformed header.
        VerificationError: another kind, another secret, truncated, extended, reordered or altered.
    """
    return decrypt_container_with_key(container, kind, keyschedule.content_key(secret))


def decrypt_container_with_key(container: Buffer, kind: int, content_key: bytes) -> bytearray:
    """Return the plaintext as `decrypt_container` does, opened with the content key K (a buyer's case)."""
    view = memoryview(container).cast("B")
    header = decode_header(view)
    stream = _open_stream(header, kind, content_key)
    expected = container_bytes(header.plaintext_bytes)
    if len(view) < expected:
        raise VerificationError(f"container is truncated: {expected} bytes expected, got {len(view)}")
    if len(view) > expected:
        raise VerificationError(f"container has {len(view) - expected} bytes after its last chunk")
    out = bytearray(header.plaintext_bytes)
    target = memoryview(out)

    def decrypt_from(first: int, step: int) -> None:
        for index in range(first, header.chunks, step):
            at = HEADER_BYTES + index * _SEALED_CHUNK_BYTES
            low = index * CHUNK_BYTES
            stream.decrypt_into(index, view[at : at + _SEALED_CHUNK_BYTES], target[low : low + CHUNK_BYTES])

    if header.chunks < _PARALLEL_FROM_CHUNKS:
        decrypt_from(0, 1)
    else:  # AES-GCM runs without the interpreter's lock, so two threads use two cores
        with ThreadPoolExecutor(2) as pool:
            other = pool.submit(decrypt_from, 1, 2)
            decrypt_from(0, 2)
            other.result()
    return out


def iter_decrypt(pieces: Iterable[Buffer], *, kind: int, secret: bytes) -> Iterator[bytes]:
    """Yield the plaintext chunks of a container that comes in pieces of any size.

    Every chunk is authentic in content and place when it is yielded; the plaintext is complete only when
    the iterator has ended without an error.

    Raises:
        InvalidInput, VerificationError: as `decrypt_container`.
    """
    yield from iter_decrypt_with_key(pieces, kind=kind, content_key=keyschedule.content_key(secret))


def iter_decrypt_with_key(pieces: Iterable[Buffer], *, kind: int, content_key: bytes) -> Iterator[bytes]:
    """Yield the plaintext chunks as `iter_decrypt` does, opened with the content key K."""
    source = iter(pieces)
    head, rest = _split_header(source)
    header = decode_header(head)
    stream = _open_stream(header, kind, content_key)
    index = 0
    for sealed in _rechunk(chain([rest], source), _SEALED_CHUNK_BYTES):
        if index >= header.chunks:
            raise VerificationError("container has bytes after its last chunk")
        expected = min(CHUNK_BYTES, header.plaintext_bytes - index * CHUNK_BYTES) + TAG_BYTES
        if len(sealed) < expected:
            raise VerificationError(f"container is truncated in chunk {index}")
        if len(sealed) > expected:
            raise VerificationError("container has bytes after its last chunk")
        yield stream.decrypt(index, sealed)
        index += 1
    if index != header.chunks:
        raise VerificationError(f"container is truncated: {header.chunks} chunks expected, got {index}")


class _Stream:
    """The STREAM of one container: chunk index to nonce, one AES key, one AAD."""

    def __init__(self, header: ContainerHeader, content_key: bytes) -> None:
        key, self._prefix = keyschedule.container_stream_key(content_key, header.kind, header.salt)
        self._aead = AESGCM(key)
        self._aad = sha256(header.encode())
        self._last = header.chunks - 1

    def encrypt(self, index: int, chunk: Buffer) -> bytes:
        return self._aead.encrypt(self._nonce(index), chunk, self._aad)

    def decrypt(self, index: int, sealed: Buffer) -> bytes:
        try:
            return self._aead.decrypt(self._nonce(index), sealed, self._aad)
        except InvalidTag:
            raise _altered(index) from None

    def decrypt_into(self, index: int, sealed: Buffer, target: memoryview) -> None:
        try:
            self._aead.decrypt_into(self._nonce(index), sealed, self._aad, target)
        except InvalidTag:
            raise _altered(index) from None

    def _nonce(self, index: int) -> bytes:
        return self._prefix + index.to_bytes(4, "big") + bytes([index == self._last])


def _open_stream(header: ContainerHeader, kind: int, content_key: bytes) -> _Stream:
    if header.kind != kind:
        raise VerificationError(f"container kind must be {int(kind)}, got {int(header.kind)}")
    if not compare_digest(keyschedule.key_commitment(content_key), header.secret_commitment):
        raise VerificationError("container was encrypted under another secret")
    return _Stream(header, content_key)


def _rechunk(pieces: Iterable[Buffer], size: int) -> Iterator[memoryview | bytes]:
    """Yield the bytes of `pieces` in runs of `size`, the last one shorter (none if there are no bytes)."""
    pending = bytearray()
    for piece in pieces:
        view = memoryview(piece).cast("B")
        at = 0
        if pending:
            at = min(size - len(pending), len(view))
            pending += view[:at]
            if len(pending) < size:
                continue
            yield bytes(pending)
            pending = bytearray()
        while len(view) - at >= size:
            yield view[at : at + size]
            at += size
        pending += view[at:]
    if pending:
        yield bytes(pending)


def _split_header(source: Iterator[Buffer]) -> tuple[bytes, memoryview]:
    """Return the first 82 bytes of the stream (fewer if it ends before) and the rest of the piece they end in."""
    head = b""
    for piece in source:
        view = memoryview(piece).cast("B")
        missing = HEADER_BYTES - len(head)
        head += bytes(view[:missing])
        if len(head) == HEADER_BYTES:
            return head, view[missing:]
    return head, memoryview(b"")


def _altered(index: int) -> VerificationError:
    return VerificationError(f"container chunk {index} is altered, reordered or not its own")


def _bad_kind(kind: int) -> ContainerKind:
    raise InvalidInput(f"container kind must be 1 or 2, got {kind}")
