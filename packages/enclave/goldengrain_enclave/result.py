"""From what was found to what is said: ladder rule, evidence, signature. And offers to buyers.

Only here do values leave the enclave, and only as the ladder lets them through.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from goldengrain_protocol import keyschedule
from goldengrain_protocol.config import config_digest
from goldengrain_protocol.constants import Outcome
from goldengrain_protocol.eip712 import offer_digest, result_digest
from goldengrain_protocol.errors import VerificationError
from goldengrain_protocol.evidence import Evidence, ReasonCode, evidence_digest
from goldengrain_protocol.messages import Offer, Result
from goldengrain_protocol.pricing import is_improved, quantize_down
from goldengrain_protocol.sealing import offer_seal_context, seal

from .benchmark.engine import BenchmarkResult
from .benchmark.failures import REASON_TEXT, ModelFailure, Reason
from .decrypt import open_submission_secret
from .keys import Identity
from .verify import EnclaveFacts, VerifiedOffer

REASON_CODES: Final[dict[Reason, ReasonCode]] = {
    Reason.NONE: ReasonCode.SCORED,
    Reason.SEALED_KEY_DOES_NOT_OPEN: ReasonCode.CONTENT,
    Reason.SECRET_DOES_NOT_MATCH: ReasonCode.CONTENT,
    Reason.CONTAINER_DOES_NOT_DECRYPT: ReasonCode.CONTENT,
    Reason.MODEL_TOO_LARGE: ReasonCode.LIMIT,
    Reason.NOT_AN_ONNX_MODEL: ReasonCode.NOT_A_MODEL,
    Reason.FORBIDDEN_FEATURE: ReasonCode.NOT_A_MODEL,
    Reason.FORBIDDEN_OPERATOR: ReasonCode.NOT_A_MODEL,
    Reason.TOO_COMPLEX: ReasonCode.NOT_A_MODEL,
    Reason.DOES_NOT_LOAD: ReasonCode.NOT_A_MODEL,
    Reason.INPUTS_DO_NOT_MATCH: ReasonCode.INTERFACE,
    Reason.OUTPUT_DOES_NOT_MATCH: ReasonCode.INTERFACE,
    Reason.OUTPUT_NOT_FINITE: ReasonCode.OUTPUT,
    Reason.CPU_LIMIT: ReasonCode.LIMIT,
    Reason.WALL_LIMIT: ReasonCode.LIMIT,
    Reason.MEMORY_LIMIT: ReasonCode.LIMIT,
    Reason.RUN_FAILED: ReasonCode.RUNTIME,
    Reason.DEPENDS_ON_BATCH: ReasonCode.OUTPUT,
}


@dataclass(frozen=True, slots=True)
class SignedResult:
    """A result with the enclave's signature and the evidence behind it."""

    result: Result
    signature: bytes
    evidence: bytes


@dataclass(frozen=True, slots=True)
class SignedOffer:
    """An offer with the enclave's signature."""

    offer: Offer
    signature: bytes


def sign_result(found: BenchmarkResult, facts: EnclaveFacts, identity: Identity) -> SignedResult:
    """Return the signed statement about `found`, with the published score and bound."""
    job, config = found.job, facts.config
    score_ppm, bound_ppm = published_score(found)
    evidence = Evidence(
        chain_id=config.chain_id,
        market=config.market,
        benchmark_id=job.benchmark_id,
        submission_id=job.submission_id,
        measurement=facts.measurement,
        config_digest=config_digest(config),
        content_digest=job.submission.content_digest,
        testset_digest=job.benchmark.testset_digest,
        spec_digest=job.benchmark.spec_digest,
        outcome=found.outcome,
        reason_code=REASON_CODES[found.reason],
        reason=REASON_TEXT[found.reason],
        score_ppm=score_ppm,
        bound_ppm=bound_ppm,
        metric=job.spec.score.metric,
        engine=found.engine,
        anchor_number=job.anchor_number,
        anchor_hash=job.anchor_hash,
    )
    result = Result(
        submission_id=job.submission_id,
        outcome=found.outcome,
        score_ppm=score_ppm,
        bound_ppm=bound_ppm,
        worker=job.worker,
        anchor_number=job.anchor_number,
        anchor_hash=job.anchor_hash,
        evidence_digest=evidence_digest(evidence),
    )
    signature = identity.sign(result_digest(config.chain_id, config.market, result))
    return SignedResult(result, signature, evidence.encode())


def published_score(found: BenchmarkResult) -> tuple[int, int]:
    """Return (score, bound) as the ladder rule lets them out.

    A bound that beats the developer's best by at least the step is published, both values rounded down to a multiple
    of the step; otherwise the developer's best is repeated. A failed model has (0, 0).

    Source: Blum and Hardt 2015, "The Ladder".
    """
    if found.outcome == Outcome.MODEL_FAILED:
        return 0, 0
    job, step = found.job, found.job.benchmark.step_ppm
    if not is_improved(found.raw_bound_ppm, job.best_bound_ppm, step):
        return job.best_score_ppm, job.best_bound_ppm
    return quantize_down(found.raw_score_ppm, step), quantize_down(found.raw_bound_ppm, step)


def sign_offer(request: VerifiedOffer, facts: EnclaveFacts, identity: Identity) -> SignedOffer:
    """Return an offer: the content key under the order's pad, sealed to the buyer, and the pad's hashlock.

    Raises:
        VerificationError: the submission's secret does not open for this enclave.
    """
    config, submission_id = facts.config, request.submission_id
    try:
        secret = open_submission_secret(request.submission, request.sealed_keys, config, identity)
    except ModelFailure as exc:
        raise VerificationError(
            str(exc), next_step="ask another enclave of the benchmark for the offer"
        ) from exc
    pad = keyschedule.order_pad(
        secret, config.chain_id, config.market, submission_id, request.buyer, request.buyer_key
    )
    hashlock = keyschedule.hashlock(pad)
    context = offer_seal_context(config.chain_id, config.market, submission_id, request.buyer, hashlock)
    sealed_pad = seal(request.buyer_key, keyschedule.xor32(keyschedule.content_key(secret), pad), context)
    offer = Offer(submission_id, request.buyer, request.buyer_key, hashlock, sealed_pad)
    return SignedOffer(offer, identity.sign(offer_digest(config.chain_id, config.market, offer)))
