"""One message of each kind that passes the enclave's door."""

from __future__ import annotations

from goldengrain_protocol.config import EnclaveConfig
from goldengrain_protocol.constants import Outcome
from goldengrain_protocol.messages import Benchmark, CurvePoint, Offer, Result, Sale, Submission
from goldengrain_protocol.proofs import ChainProof, DevPinned
from goldengrain_protocol.types import ZERO_ADDRESS, Address, Hash32
from goldengrain_protocol.wire import (
    BootReply,
    BootRequest,
    ErrorReply,
    EvaluateReply,
    Evidence,
    JobRequest,
    OfferReply,
    OfferRequest,
    Reply,
    Request,
)


def addr(n: int) -> Address:
    return Address(bytes([n]) * 20)


def digest(n: int) -> Hash32:
    return Hash32(bytes([n]) * 32)


BENCHMARK = Benchmark(
    owner=addr(1),
    sale=Sale(ZERO_ADDRESS, addr(2), 250),
    spec_digest=digest(3),
    testset_digest=digest(4),
    verifier=addr(5),
    measurement=digest(6),
    config_digest=digest(7),
    assurance=1,
    tcb_allowed=1,
    quorum=1,
    fee_wei=10**15,
    submission_cap=10,
    step_ppm=1000,
    submissions_close=1_800_000_000,
    result_window_s=3600,
    curve=(CurvePoint(500_000, 10**16), CurvePoint(900_000, 10**17)),
)
SUBMISSION = Submission(digest(8), addr(9), addr(10), digest(11), digest(12), digest(13), 5)
CONFIG = EnclaveConfig(31337, addr(14), addr(15), DevPinned(digest(16), 2).config())
PROOF = ChainProof(b"evidence", b"header", (b"node",), ((b"a", b"b"), (), (b"c",)))
RESULT = Result(digest(17), Outcome.SCORED, 912_000, 900_000, addr(18), 4_000_000, digest(19), digest(20))
OFFER = Offer(digest(17), addr(21), digest(22), digest(23), bytes([24]) * 80)

REQUESTS: dict[str, Request] = {
    "boot": BootRequest(CONFIG, b""),
    "boot-again": BootRequest(CONFIG, b"sealed identity"),
    "evaluate": JobRequest(
        PROOF, BENCHMARK, SUBMISSION, b"keys", b"testset keys", b"spec", b"model", b"testset", addr(25)
    ),
    "evaluate-testset-held": JobRequest(PROOF, BENCHMARK, SUBMISSION, b"k", b"t", b"s", b"m", b"", addr(25)),
    "offer": OfferRequest(PROOF, BENCHMARK, SUBMISSION, b"keys", addr(21), digest(22)),
}


def evidence() -> Evidence:
    return Evidence(
        chain_id=31337,
        market=addr(14),
        benchmark_id=digest(8),
        submission_id=digest(17),
        measurement=digest(6),
        config_digest=digest(7),
        content_digest=digest(11),
        testset_digest=digest(4),
        spec_digest=digest(3),
        outcome=Outcome.SCORED,
        reason_code=0,
        reason="",
        score_ppm=912_000,
        bound_ppm=900_000,
        metric="accuracy",
        engine="engine 1",
        anchor_number=4_000_000,
        anchor_hash=digest(19),
    )


REPLIES: dict[str, Reply] = {
    "booted": BootReply(addr(26), digest(27), digest(6), digest(7), b"quote", b"sealed identity"),
    "evaluated": EvaluateReply(RESULT, bytes([28]) * 65, evidence().encode()),
    "offered": OfferReply(OFFER, bytes([29]) * 65),
    "error": ErrorReply("verification", "header does not hash to the trusted block", "ask another node"),
}
