"""The RLP forms of the messages, as they travel between host and enclave.

Source: docs/spec/wire.md.
"""

from goldengrain_protocol.canonical import Rlp, RlpInput, encode_int
from goldengrain_protocol.constants import MAX_CURVE_POINTS, SEALED_SECRET_BYTES, Outcome
from goldengrain_protocol.errors import InvalidInput
from goldengrain_protocol.messages import Benchmark, CurvePoint, Offer, Result, Sale, Submission
from goldengrain_protocol.rlp_fields import Fields


def benchmark_to_rlp(b: Benchmark) -> RlpInput:
    """Return the fields in the order of the struct; sale and curve points are lists."""
    return [
        b.owner,
        [b.sale.token, b.sale.royalty_recipient, encode_int(b.sale.royalty_bps)],
        b.spec_digest,
        b.testset_digest,
        b.verifier,
        b.measurement,
        b.config_digest,
        *map(encode_int, b.uints()),
        [[encode_int(point.score_ppm), encode_int(point.price)] for point in b.curve],
    ]


def benchmark_from_rlp(value: Rlp) -> Benchmark:
    """Return the benchmark that `value` holds. Raises: InvalidInput."""
    f = Fields(value, "benchmark", 16)
    owner = f.address()
    s = Fields(f.any(), "benchmark.sale", 3)
    sale = Sale(s.address(), s.address(), s.uint(256))
    digests = f.hash32(), f.hash32()
    verifier = f.address()
    identity = f.hash32(), f.hash32()
    uints = [f.uint(256) for _ in range(8)]
    curve: list[CurvePoint] = []
    for item in f.items(MAX_CURVE_POINTS):
        point = Fields(item, "benchmark.curve", 2)
        curve.append(CurvePoint(point.uint(256), point.uint(256)))
    assurance, tcb, quorum, fee, cap, step, close, window = uints
    return Benchmark(
        owner,
        sale,
        *digests,
        verifier,
        *identity,
        assurance,
        tcb,
        quorum,
        fee,
        cap,
        step,
        close,
        window,
        tuple(curve),
    )


def submission_to_rlp(s: Submission) -> RlpInput:
    """Return the fields in the order of the struct."""
    return [
        s.benchmark_id,
        s.developer,
        s.payee,
        s.content_digest,
        s.secret_commitment,
        s.sealed_digest,
        encode_int(s.reserve),
    ]


def submission_from_rlp(value: Rlp) -> Submission:
    """Return the submission that `value` holds. Raises: InvalidInput."""
    f = Fields(value, "submission", 7)
    return Submission(f.hash32(), f.address(), f.address(), f.hash32(), f.hash32(), f.hash32(), f.uint(256))


def result_to_rlp(r: Result) -> RlpInput:
    """Return the fields in the order of the EIP-712 type."""
    return [
        r.submission_id,
        encode_int(r.outcome),
        encode_int(r.score_ppm),
        encode_int(r.bound_ppm),
        r.worker,
        encode_int(r.anchor_number),
        r.anchor_hash,
        r.evidence_digest,
    ]


def result_from_rlp(value: Rlp) -> Result:
    """Return the result that `value` holds. Raises: InvalidInput."""
    f = Fields(value, "result", 8)
    submission, outcome = f.hash32(), f.uint(8)
    if outcome not in tuple(Outcome):
        raise InvalidInput(f"result.outcome must be 1 or 2, got {outcome}")
    return Result(
        submission, Outcome(outcome), f.uint(32), f.uint(32), f.address(), f.uint(64), f.hash32(), f.hash32()
    )


def offer_to_rlp(o: Offer) -> RlpInput:
    """Return [submission_id, buyer, buyer_key, hashlock, sealed_pad]."""
    return [o.submission_id, o.buyer, o.buyer_key, o.hashlock, o.sealed_pad]


def offer_from_rlp(value: Rlp) -> Offer:
    """Return the offer that `value` holds. Raises: InvalidInput."""
    f = Fields(value, "offer", 5)
    return Offer(f.hash32(), f.address(), f.fixed(32), f.hash32(), f.fixed(SEALED_SECRET_BYTES))
