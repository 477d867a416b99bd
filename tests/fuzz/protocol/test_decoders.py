"""Every decoder of bytes that a stranger brings: only `InvalidInput` comes out, and what is accepted re-encodes.

Random bytes, random RLP trees, and valid encodings with a few bytes changed, cut, doubled or moved.
"""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldengrain_protocol import (
    canonical,
    commitments,
    container,
    eip712,
    frames,
    sealing,
    spec,
    status,
    wire,
)
from goldengrain_protocol.attestation import verify_quote
from goldengrain_protocol.config import EnclaveConfig
from goldengrain_protocol.errors import InvalidInput, VerificationError
from goldengrain_protocol.evidence import Evidence
from goldengrain_protocol.proofs import ChainProof, DevPinned, decode_header, verify_trie_proof
from goldengrain_protocol.types import hash32
from tests.conformance.vector import CAPTURED
from tests.conformance.vectors_of_bytes import CLASSIFICATION
from tests.conformance.wire_samples import CONFIG, REPLIES, REQUESTS, SUBMISSION, evidence

CHAIN = json.loads(CAPTURED.read_text())
HEADER = bytes.fromhex(CHAIN["headers"][0][2:])
ACCOUNT = [bytes.fromhex(node[2:]) for node in CHAIN["account_proof"]]

Decoder = Callable[[bytes], Any]
Encoder = Callable[[Any], bytes] | None

SEALED = sealing.sealed_keys({SUBMISSION.developer: bytes(80), SUBMISSION.payee: bytes(80)})
CHUNKS = commitments.chunk_list(bytes(2**20 + 1))

DECODERS: dict[str, tuple[Decoder, Encoder, list[bytes]]] = {
    "rlp": (canonical.decode, canonical.encode, [HEADER, *ACCOUNT]),
    "request": (wire.decode_request, wire.encode_request, [wire.encode_request(r) for r in REQUESTS.values()]),
    "reply": (wire.decode_reply, wire.encode_reply, [wire.encode_reply(r) for r in REPLIES.values()]),
    "evidence": (Evidence.decode, Evidence.encode, [evidence().encode()]),
    "config": (EnclaveConfig.decode, EnclaveConfig.encode, [CONFIG.encode()]),
    "proof": (ChainProof.decode, ChainProof.encode, [ChainProof(b"e", HEADER, tuple(ACCOUNT), ((),)).encode()]),
    "checkpoint": (DevPinned.from_checkpoint, DevPinned.checkpoint, [DevPinned(hash32(bytes(32)), 2).checkpoint()]),
    "header": (decode_header, None, [HEADER]),
    "sealed-keys": (sealing.SealedKeys.decode, sealing.SealedKeys.encode, [SEALED.encode()]),
    "chunk-list": (commitments.ChunkList.decode, commitments.ChunkList.encode, [CHUNKS.encode()]),
    "container-header": (
        container.decode_header,
        None,
        [container.encrypt_container(b"x", 1, bytes(32), bytes(32))[: container.HEADER_BYTES]],
    ),
    "spec": (spec.decode_spec, None, [CLASSIFICATION.encode()]),
}  # fmt: skip

NAMES = sorted(DECODERS)


@st.composite
def mutated(draw: st.DrawFn, samples: list[bytes]) -> bytes:
    """A valid encoding with up to four faults."""
    data = bytearray(draw(st.sampled_from(samples)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.integers(0, 4)):
            case 0 if at < len(data):
                data[at] = draw(st.integers(0, 255))
            case 1:
                data[at:at] = draw(st.binary(min_size=1, max_size=8))
            case 2:
                del data[at : at + draw(st.integers(1, 40))]
            case 3:
                data[at:at] = data[at : at + draw(st.integers(1, 40))]
            case _:
                data[at:at] = b"\xff" * draw(st.integers(1, 9))
    return bytes(data)


RLP_TREES = st.recursive(
    st.binary(max_size=40), lambda children: st.lists(children, max_size=6), max_leaves=30
)


def refuses_or_returns(name: str, data: bytes) -> None:
    decode, encode, _ = DECODERS[name]
    try:
        value = decode(data)
    except InvalidInput:
        return
    if encode is not None:
        assert encode(value) == data


@pytest.mark.parametrize("name", NAMES)
def test_samples_decode(name: str) -> None:
    for sample in DECODERS[name][2]:
        DECODERS[name][0](sample)
        refuses_or_returns(name, sample)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.binary(max_size=300))
def test_random_bytes(name: str, data: bytes) -> None:
    refuses_or_returns(name, data)


@pytest.mark.parametrize("name", NAMES)
@given(draw=st.data())
def test_mutated_encodings(name: str, draw: st.DataObject) -> None:
    refuses_or_returns(name, draw.draw(mutated(DECODERS[name][2])))


@pytest.mark.parametrize(
    "name", [name for name in NAMES if name not in ("spec", "container-header", "chunk-list")]
)
@given(tree=RLP_TREES)
def test_random_rlp_trees(name: str, tree: Any) -> None:
    refuses_or_returns(name, canonical.encode(tree))


@given(draw=st.data())
def test_trie_walk_survives_any_node(draw: st.DataObject) -> None:
    from goldengrain_protocol.hashing import keccak256

    node = draw.draw(mutated(ACCOUNT) | RLP_TREES.map(canonical.encode))
    key = hash32(draw.draw(st.binary(min_size=32, max_size=32)))
    try:
        value = verify_trie_proof(keccak256(node), key, [node])
    except (InvalidInput, VerificationError):
        return
    assert value is None or isinstance(value, bytes)


@given(data=st.binary(max_size=400), secret=st.binary(min_size=32, max_size=32))
def test_containers_of_random_bytes(data: bytes, secret: bytes) -> None:
    with pytest.raises((InvalidInput, VerificationError)):
        container.decrypt_container(data, 1, secret)
    with pytest.raises((InvalidInput, VerificationError)):
        list(container.iter_decrypt([data], kind=1, secret=secret))


@given(draw=st.data())
def test_mutated_containers_never_open_to_something_else(draw: st.DataObject) -> None:
    good = container.encrypt_container(b"plaintext", 1, bytes(32), bytes(32))
    data = draw.draw(mutated([good]))
    try:
        assert container.decrypt_container(data, 1, bytes(32)) == b"plaintext"
        assert data == good
    except (InvalidInput, VerificationError):
        pass


@given(pieces=st.lists(st.binary(max_size=30), max_size=8))
def test_frame_decoder(pieces: list[bytes]) -> None:
    decoder = frames.FrameDecoder(max_frame_bytes=64)
    try:
        out = [payload for piece in pieces for payload in decoder.feed(piece)]
        decoder.finish()
    except InvalidInput:
        return
    assert b"".join(frames.encode_frame(payload) for payload in out) == b"".join(pieces)


@given(digest=st.binary(min_size=32, max_size=32), signature=st.binary(max_size=70))
def test_recover_signer(digest: bytes, signature: bytes) -> None:
    try:
        assert len(eip712.recover_signer(hash32(digest), signature)) == 20
    except (InvalidInput, VerificationError):
        pass


@given(
    digest=st.binary(min_size=32, max_size=32),
    rs=st.binary(min_size=64, max_size=64),
    v=st.sampled_from([27, 28]),
)
def test_recover_signer_of_well_formed_noise(digest: bytes, rs: bytes, v: int) -> None:
    try:
        assert len(eip712.recover_signer(hash32(digest), rs + bytes([v]))) == 20
    except (InvalidInput, VerificationError):
        pass


@given(word=st.integers(-1, 2**256))
def test_storage_words(word: int) -> None:
    for decode in (
        status.decode_benchmark_status,
        status.decode_submission_status,
        status.decode_record_status,
        status.decode_order_status,
        status.decode_enclave_status,
    ):
        try:
            decode(word)
        except InvalidInput:
            pass


@given(quote=st.binary(max_size=2000), collateral=st.binary(max_size=200))
def test_quotes_of_random_bytes(quote: bytes, collateral: bytes) -> None:
    with pytest.raises(InvalidInput):
        verify_quote(quote, collateral, root_der=None, at_unix_s=1_750_400_000)


@pytest.mark.parametrize(
    "data",
    [
        b"\xbf" + b"\xff" * 8,
        b"\xff" + b"\xff" * 8,
        b"\xc1" * 100_000,
        b"\xfb" + (2**24).to_bytes(4, "big") + b"\xc0" * 2**24,
    ],
    ids=["string-of-2^64", "list-of-2^64", "deep", "many"],
)
def test_bombs_cost_little_memory(data: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput):
            canonical.decode(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 * 2**20


def test_a_container_that_states_a_huge_plaintext_reserves_nothing() -> None:
    head = bytearray(container.encrypt_container(b"", 1, bytes(32), bytes(32)))
    head[74:82] = (2**31).to_bytes(8, "big")
    tracemalloc.start()
    try:
        with pytest.raises(VerificationError, match="truncated"):
            container.decrypt_container(bytes(head), 1, bytes(32))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**20


def test_nested_json_collateral_is_refused() -> None:
    with pytest.raises(InvalidInput):
        verify_quote(b"", b"[" * 100_000, root_der=None, at_unix_s=1)
