"""Values check themselves: types, messages, prices, storage words, chunk lists, frames, specifications."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldengrain_protocol import commitments, frames, pricing, spec, status
from goldengrain_protocol.constants import PPM, BenchmarkState, EnclaveState, Outcome, SubmissionState
from goldengrain_protocol.errors import GoldenGrainError, InvalidInput, UnavailableError, VerificationError
from goldengrain_protocol.evidence import Evidence, evidence_digest
from goldengrain_protocol.messages import Benchmark, CurvePoint, Offer, Submission, validate_benchmark
from goldengrain_protocol.proofs import DevPinned, chain_trust, mapping_slot
from goldengrain_protocol.types import address_from_hex, hash32, hash32_from_hex, to_checksum
from tests.conformance.vectors_of_bytes import CLASSIFICATION
from tests.conformance.wire_samples import (
    BENCHMARK,
    CONFIG,
    OFFER,
    RESULT,
    SUBMISSION,
    addr,
    digest,
    evidence,
)


def test_errors_carry_their_next_step() -> None:
    for kind in (InvalidInput, VerificationError, UnavailableError):
        error = kind("what is wrong", next_step="do this")
        assert isinstance(error, GoldenGrainError)
        assert (str(error), error.next_step, kind("x").next_step) == ("what is wrong", "do this", "")


CHECKSUMMED = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"  # EIP-55's own example


def test_checksum_addresses() -> None:
    value = address_from_hex(CHECKSUMMED)
    assert to_checksum(value) == CHECKSUMMED
    for text in (CHECKSUMMED.lower(), CHECKSUMMED[2:].upper(), CHECKSUMMED[2:]):
        assert address_from_hex(text) == value
    for text in (CHECKSUMMED.replace("aA", "Aa"), CHECKSUMMED[:-1], CHECKSUMMED + "00", "0xzz", ""):
        with pytest.raises(InvalidInput):
            address_from_hex(text)
    with pytest.raises(InvalidInput):
        hash32_from_hex("0x12")


def test_structs_are_read_from_tuples_mappings_and_objects() -> None:
    as_tuple = SUBMISSION.abi_tuple()
    names = [
        "benchmark_id",
        "developer",
        "payee",
        "content_digest",
        "secret_commitment",
        "sealed_digest",
        "reserve",
    ]
    mapping = dict(zip(names, as_tuple, strict=True))
    assert Submission.from_abi(as_tuple) == SUBMISSION
    assert Submission.from_abi(mapping | {"extra": 1}) == SUBMISSION
    assert Submission.from_abi(SimpleNamespace(**mapping)) == SUBMISSION
    as_text = mapping | {"benchmark_id": "0x" + SUBMISSION.benchmark_id.hex()}
    assert Submission.from_abi(as_text) == SUBMISSION
    for bad in (
        as_tuple[:-1],
        {"benchmark_id": 1},
        7,
        "text",
        mapping | {"reserve": -1},
        mapping | {"reserve": True},
    ):
        with pytest.raises(InvalidInput):
            Submission.from_abi(bad)


@pytest.mark.parametrize(
    "change",
    [
        {"owner": bytes(19)},
        {"spec_digest": bytes(31)},
        {"fee_wei": -1},
        {"fee_wei": 2**256},
        {"fee_wei": "1"},
        {"curve": [CurvePoint(1, 1)]},
        {"curve": tuple(CurvePoint(n, n) for n in range(9))},
        {"sale": ()},
    ],
)
def test_malformed_benchmarks_cannot_be_made(change: dict[str, Any]) -> None:
    assert isinstance(BENCHMARK, Benchmark)
    with pytest.raises(InvalidInput):
        replace(BENCHMARK, **change)


def test_results_and_offers_check_themselves() -> None:
    for change in ({"outcome": 0}, {"score_ppm": PPM + 1}, {"bound_ppm": -1}, {"anchor_number": 2**64},
                   {"outcome": Outcome.MODEL_FAILED}, {"worker": b""}):  # fmt: skip
        with pytest.raises(InvalidInput):
            replace(RESULT, **change)
    assert RESULT.abi_tuple(bytes(range(65)))[-3:] == (64, bytes(range(32)), bytes(range(32, 64)))
    with pytest.raises(InvalidInput):
        RESULT.abi_tuple(bytes(64))
    for change in ({"sealed_pad": bytes(79)}, {"buyer_key": bytes(31)}, {"hashlock": b""}):
        with pytest.raises(InvalidInput):
            replace(OFFER, **change)
    assert isinstance(OFFER, Offer)


CURVES = st.lists(
    st.tuples(st.integers(0, PPM), st.integers(1, 2**88 - 1)),
    min_size=1,
    max_size=8,
    unique_by=lambda p: p[0],
).map(
    lambda points: tuple(
        CurvePoint(score, price)
        for score, price in zip(sorted(p[0] for p in points), sorted(p[1] for p in points), strict=True)
    )
)


@given(curve=CURVES, low=st.integers(0, PPM), high=st.integers(0, PPM))
def test_prices_rise_with_the_bound_and_stay_on_the_curve(
    curve: tuple[CurvePoint, ...], low: int, high: int
) -> None:
    pricing.validate_curve(curve)
    validate_benchmark(replace(BENCHMARK, curve=curve))
    low, high = sorted((low, high))
    assert pricing.price_of(curve, low) <= pricing.price_of(curve, high) <= curve[-1].price
    assert (pricing.price_of(curve, low) == 0) == (low < curve[0].score_ppm)
    assert all(pricing.price_of(curve, point.score_ppm) == point.price for point in curve)


@given(ppm=st.integers(0, PPM), step=st.integers(0, PPM))
def test_quantize_down(ppm: int, step: int) -> None:
    got = pricing.quantize_down(ppm, step)
    assert 0 <= got <= ppm
    assert got % (step or 1) == 0
    assert ppm - got < (step or 1)


@given(fee=st.integers(0, 2**96), workers=st.integers(1, 5), bps=st.integers(0, 10_000))
def test_shares_add_up(fee: int, workers: int, bps: int) -> None:
    shares = pricing.fee_shares(fee, workers)
    assert (sum(shares), len(shares)) == (fee, workers)
    assert shares[0] - shares[-1] in range(workers)
    assert 0 <= pricing.royalty_of(fee, bps) <= fee


def test_storage_words_come_apart() -> None:
    word = 1 | 10 << 8 | 1_800_000_000 << 24 | 3600 << 64 | 10**15 << 96
    assert status.decode_benchmark_status(word) == status.BenchmarkStatus(
        BenchmarkState.OPEN, 10, 1_800_000_000, 3600, 10**15
    )
    payee = int.from_bytes(addr(7), "big")
    priced = status.decode_submission_status(2 | 5 << 8 | payee << 96)
    assert (priced.state, priced.price, priced.payee) == (SubmissionState.PRICED, 5, addr(7))
    opened = status.decode_submission_status(1 | 99 << 8 | 3 << 48)
    assert (opened.state, opened.result_deadline, opened.fee_wei) == (SubmissionState.OPEN, 99, 3)
    assert status.decode_record_status(1 | 2 << 8 | 3 << 24 | 4 << 48) == status.RecordStatus(True, 2, 3, 4)
    assert status.decode_order_status(5 | payee << 96) == status.OrderStatus(5, addr(7))
    assert status.decode_order_status(0) == status.OrderStatus(0, None)
    enclave = status.decode_enclave_status(1 | 77 << 8 | 3 << 48 | 2 << 56 | 9 << 64)
    assert (enclave.state, enclave.expiry, enclave.tcb_status, enclave.assurance) == (
        EnclaveState.REGISTERED,
        77,
        3,
        2,
    )
    assert enclave.platform_tag == bytes(23) + b"\x09"
    for decode, bad in (
        (status.decode_benchmark_status, 3),
        (status.decode_benchmark_status, 1 << 192),
        (status.decode_submission_status, 6),
        (status.decode_submission_status, 1 | 1 << 144),
        (status.decode_record_status, 2),
        (status.decode_enclave_status, 3),
    ):
        with pytest.raises(InvalidInput):
            decode(bad)


def test_pieces_are_checked_one_by_one() -> None:
    blob = bytes(range(256)) * 8193
    chunks = commitments.chunk_list(blob)
    assert commitments.ChunkList.decode(chunks.encode()) == chunks
    assert commitments.blob_digest(chunks) == commitments.digest_of(blob)
    size = commitments.BLOB_PIECE_BYTES
    for index in range(3):
        piece = blob[index * size : (index + 1) * size]
        assert len(piece) == commitments.piece_size(chunks, index)
        commitments.verify_piece(chunks, index, piece)
        with pytest.raises(VerificationError):
            commitments.verify_piece(chunks, index, piece[:-1] + b"\xaa")
        with pytest.raises(VerificationError):
            commitments.verify_piece(chunks, index, piece[:-1])
    assert commitments.digest_of(blob) != commitments.digest_of(blob + b"\0")


def test_frames_come_out_whole() -> None:
    decoder = frames.FrameDecoder()
    stream = frames.encode_frame(b"one") + frames.encode_frame(b"two")
    assert [out for byte in stream for out in decoder.feed(bytes([byte]))] == [b"one", b"two"]
    decoder.finish()
    assert decoder.feed(stream[:10]) == []
    with pytest.raises(InvalidInput, match="inside a frame"):
        decoder.finish()
    with pytest.raises(InvalidInput):
        frames.encode_frame(b"")
    with pytest.raises(InvalidInput):
        frames.FrameDecoder(max_frame_bytes=2).feed(stream)


def test_specifications_survive_encoding() -> None:
    decoded = spec.decode_spec(CLASSIFICATION.encode())
    assert spec.decode_spec(spec.encode_spec(decoded)) == decoded
    assert decoded.inputs[0].shape == ("n", 784)
    odd = replace(decoded, title='quotes " and \\ back')
    assert spec.decode_spec(spec.encode_spec(odd)).title == odd.title
    with pytest.raises(InvalidInput):
        spec.encode_spec(replace(decoded, title="line\nbreak"))
    with pytest.raises(InvalidInput, match="at most 65536"):
        spec.decode_spec(b"#" * 65_537)


def test_chain_trust_comes_from_the_configuration() -> None:
    assert chain_trust(CONFIG.chain_trust) == DevPinned(digest(16), 2)
    with pytest.raises(InvalidInput, match="confirmations"):
        DevPinned(digest(16), 257)


def test_mapping_slots_are_vypers() -> None:
    from eth_utils import keccak

    assert mapping_slot(1, digest(2)) == int.from_bytes(keccak((1).to_bytes(32, "big") + digest(2)), "big")


def test_evidence_digest_is_the_blob_digest() -> None:
    made = evidence()
    assert evidence_digest(made) == commitments.digest_of(made.encode())
    assert Evidence.decode(made.encode()) == made
    with pytest.raises(InvalidInput):
        replace(made, reason="x" * 513)
    with pytest.raises(InvalidInput):
        hash32(b"")
