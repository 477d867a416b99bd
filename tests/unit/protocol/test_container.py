"""Containers: whole-buffer and streaming agree; every fault is refused by its own message."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldengrain_protocol import container, keyschedule
from goldengrain_protocol.constants import CHUNK_BYTES
from goldengrain_protocol.container import HEADER_BYTES, TAG_BYTES, ContainerKind
from goldengrain_protocol.errors import InvalidInput, VerificationError

SECRET, SALT = bytes(range(32)), bytes(range(50, 82))
SEALED_CHUNK = CHUNK_BYTES + TAG_BYTES


def plaintext(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def sealed(size: int, kind: int = 1) -> bytes:
    return container.encrypt_container(plaintext(size), kind, SECRET, SALT)


SIZES = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 5 * CHUNK_BYTES, 6 * CHUNK_BYTES + 7]


@pytest.mark.parametrize("size", SIZES)
def test_round_trip_and_size(size: int) -> None:
    data = sealed(size)
    assert len(data) == container.container_bytes(size)
    assert container.decrypt_container(data, 1, SECRET) == plaintext(size)
    key = keyschedule.content_key(SECRET)
    assert container.decrypt_container_with_key(data, ContainerKind.MODEL, key) == plaintext(size)
    header = container.decode_header(data)
    assert header.secret_commitment == keyschedule.secret_commitment(SECRET)
    assert (header.kind, header.salt, header.plaintext_bytes) == (ContainerKind.MODEL, SALT, size)


@settings(max_examples=25)
@given(
    size=st.sampled_from(SIZES),
    cut_in=st.integers(1, 3 * CHUNK_BYTES),
    cut_out=st.integers(1, 3 * CHUNK_BYTES),
)
def test_streams_of_any_piece_size_agree_with_the_whole(size: int, cut_in: int, cut_out: int) -> None:
    plain, whole = plaintext(size), sealed(size)
    pieces = [plain[at : at + cut_in] for at in range(0, size, cut_in)]
    made = container.iter_encrypt(pieces, plaintext_bytes=size, kind=1, secret=SECRET, salt=SALT)
    assert b"".join(made) == whole
    pieces = [whole[at : at + cut_out] for at in range(0, len(whole), cut_out)]
    assert b"".join(container.iter_decrypt(pieces, kind=1, secret=SECRET)) == plain


@pytest.mark.parametrize(
    ("size", "stated"), [(10, 9), (10, 11), (0, 1), (CHUNK_BYTES + 1, CHUNK_BYTES), (5, 0)]
)
def test_stream_of_another_size_than_stated_is_refused(size: int, stated: int) -> None:
    made = container.iter_encrypt([plaintext(size)], plaintext_bytes=stated, kind=1, secret=SECRET, salt=SALT)
    with pytest.raises(InvalidInput, match="stated"):
        list(made)


def refusals() -> list[tuple[str, bytes, str]]:
    three = sealed(2 * CHUNK_BYTES + 100)
    head = three[:HEADER_BYTES]
    chunks = [three[HEADER_BYTES + i * SEALED_CHUNK :][:SEALED_CHUNK] for i in range(3)]
    flip = bytearray(three)
    flip[HEADER_BYTES + SEALED_CHUNK + 5] ^= 1
    return [
        ("swapped", head + chunks[1] + chunks[0] + chunks[2], "chunk 0 is altered"),
        ("repeated", head + chunks[0] + chunks[0] + chunks[2], "chunk 1 is altered"),
        ("bit flipped", bytes(flip), "chunk 1 is altered"),
        ("last chunk missing", head + chunks[0] + chunks[1], "truncated"),
        ("last byte missing", three[:-1], "truncated"),
        ("one byte more", three + b"\0", "after its last chunk"),
        ("one chunk more", three + chunks[2], "after its last chunk"),
        ("no chunk", head, "truncated"),
    ]


@pytest.mark.parametrize(("says", "data", "message"), refusals(), ids=[r[0] for r in refusals()])
def test_faults_are_refused_by_both_ways_of_opening(says: str, data: bytes, message: str) -> None:
    assert container.decrypt_container(sealed(2 * CHUNK_BYTES + 100), 1, SECRET)
    with pytest.raises(VerificationError, match=message):
        container.decrypt_container(data, 1, SECRET)
    for cut in (len(data), 100_003):
        pieces = [data[at : at + cut] for at in range(0, len(data), cut)]
        with pytest.raises(VerificationError):
            list(container.iter_decrypt(pieces, kind=1, secret=SECRET))


def test_wrong_kind_and_wrong_secret_have_their_own_messages() -> None:
    with pytest.raises(VerificationError, match="kind must be 2"):
        container.decrypt_container(sealed(9), 2, SECRET)
    with pytest.raises(VerificationError, match="another secret"):
        container.decrypt_container(sealed(9), 1, SALT)
    with pytest.raises(VerificationError, match="another secret"):
        list(container.iter_decrypt([sealed(9)], kind=1, secret=SALT))


@pytest.mark.parametrize("kind", [0, 3, 255])
def test_unknown_kind_is_refused_when_encrypting(kind: int) -> None:
    with pytest.raises(InvalidInput, match="kind"):
        container.encrypt_container(b"", kind, SECRET, SALT)


@pytest.mark.parametrize("salt", [b"", bytes(31), bytes(33)])
def test_salt_of_another_size_is_refused(salt: bytes) -> None:
    with pytest.raises(InvalidInput, match="salt"):
        container.encrypt_container(b"", 1, SECRET, salt)


def test_every_header_bit_is_authenticated() -> None:
    good = sealed(40)
    for bit in range(HEADER_BYTES * 8):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises((InvalidInput, VerificationError)):
            container.decrypt_container(bytes(bad), 1, SECRET)


def test_kind_and_salt_change_the_key_stream() -> None:
    bodies = {
        container.encrypt_container(bytes(64), kind, secret, salt)[HEADER_BYTES:]
        for kind in (1, 2)
        for secret in (SECRET, SALT)
        for salt in (SALT, SECRET)
    }
    assert len(bodies) == 8
