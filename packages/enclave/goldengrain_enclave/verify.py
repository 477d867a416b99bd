"""From a request to a job that the chain vouches for. Nothing is decrypted before this is done.

Everything that the request states is either hashed to what the proven chain state names, or compared with the
enclave's own configuration. No clock: time limits are the contract's.
"""

from __future__ import annotations

from dataclasses import dataclass

from goldengrain_protocol import messages, status
from goldengrain_protocol.commitments import digest_of
from goldengrain_protocol.config import EnclaveConfig, config_digest
from goldengrain_protocol.constants import (
    MARKET_SLOT_BENCHMARKS,
    MARKET_SLOT_RECORDS,
    MARKET_SLOT_SUBMISSIONS,
    Assurance,
    BenchmarkState,
    SubmissionState,
)
from goldengrain_protocol.errors import VerificationError
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.messages import Benchmark, Submission
from goldengrain_protocol.proofs.account import mapping_slot
from goldengrain_protocol.proofs.market_state import MarketView, verify_market_state
from goldengrain_protocol.spec import BenchmarkSpec, decode_spec
from goldengrain_protocol.types import Address, Hash32
from goldengrain_protocol.wire import JobRequest, OfferRequest


@dataclass(frozen=True, slots=True)
class EnclaveFacts:
    """What this enclave is: the yardstick for what a benchmark asks for."""

    config: EnclaveConfig
    measurement: Hash32
    assurance: Assurance


@dataclass(frozen=True, slots=True)
class VerifiedJob:
    """An evaluation whose every part is the one that the chain names. Still encrypted."""

    benchmark: Benchmark
    benchmark_id: Hash32
    submission: Submission
    submission_id: Hash32
    spec: BenchmarkSpec
    best_score_ppm: int
    best_bound_ppm: int
    anchor_number: int
    anchor_hash: Hash32
    sealed_keys: bytes
    testset_sealed_keys: bytes
    model: bytes
    testset: bytes
    """May be empty: then the enclave must hold it already."""
    worker: Address


@dataclass(frozen=True, slots=True)
class VerifiedOffer:
    """A request for an offer on a submission that the chain shows as priced."""

    submission: Submission
    submission_id: Hash32
    sealed_keys: bytes
    buyer: Address
    buyer_key: bytes


def verify_job(request: JobRequest, facts: EnclaveFacts) -> VerifiedJob:
    """Return the job that `request` describes, all of it proven.

    Raises:
        InvalidInput: a malformed part.
        VerificationError: names what does not fit the chain or this enclave.
    """
    config, benchmark, submission = facts.config, request.benchmark, request.submission
    # 1. The benchmark asks for this enclave.
    _verify_addressed(benchmark, facts)
    # 2. Identifiers follow from the terms.
    benchmark_id, submission_id = _verify_ids(config, benchmark, submission)
    record_id = messages.record_id(benchmark_id, submission.developer)
    # 3. The chain holds benchmark, submission and record in a state in which an evaluation is due.
    view = verify_market_state(
        config,
        request.proof,
        (
            mapping_slot(MARKET_SLOT_BENCHMARKS, benchmark_id),
            mapping_slot(MARKET_SLOT_SUBMISSIONS, submission_id),
            mapping_slot(MARKET_SLOT_RECORDS, record_id),
        ),
    )
    if status.decode_benchmark_status(view.values[0]).state == BenchmarkState.ABSENT:
        raise VerificationError("the benchmark is not on the chain at the anchor block")
    _verify_state(view, 1, SubmissionState.OPEN, "evaluate a submission only while it is open")
    record = status.decode_record_status(view.values[2])
    # 4. The bytes are the ones that the terms name.
    _verify_digest("specification", digest_of(request.spec), benchmark.spec_digest)
    _verify_digest("sealed keys", keccak256(request.sealed_keys), submission.sealed_digest)
    _verify_digest("model container", digest_of(request.model), submission.content_digest)
    if request.testset:
        _verify_digest("test-set container", digest_of(request.testset), benchmark.testset_digest)
    return VerifiedJob(
        benchmark=benchmark,
        benchmark_id=benchmark_id,
        submission=submission,
        submission_id=submission_id,
        spec=decode_spec(request.spec),
        best_score_ppm=record.best_score_ppm,
        best_bound_ppm=record.best_bound_ppm,
        anchor_number=view.anchor_number,
        anchor_hash=view.anchor_hash,
        sealed_keys=request.sealed_keys,
        testset_sealed_keys=request.testset_sealed_keys,
        model=request.model,
        testset=request.testset,
        worker=request.worker,
    )


def verify_offer(request: OfferRequest, facts: EnclaveFacts) -> VerifiedOffer:
    """Return the request for an offer, its submission proven to be priced.

    Raises:
        InvalidInput: a malformed part.
        VerificationError: names what does not fit the chain or this enclave.
    """
    config, submission = facts.config, request.submission
    _verify_addressed(request.benchmark, facts)
    _, submission_id = _verify_ids(config, request.benchmark, submission)
    slot = mapping_slot(MARKET_SLOT_SUBMISSIONS, submission_id)
    view = verify_market_state(config, request.proof, (slot,))
    _verify_state(view, 0, SubmissionState.PRICED, "ask for offers on priced submissions only")
    _verify_digest("sealed keys", keccak256(request.sealed_keys), submission.sealed_digest)
    return VerifiedOffer(submission, submission_id, request.sealed_keys, request.buyer, request.buyer_key)


def _verify_addressed(benchmark: Benchmark, facts: EnclaveFacts) -> None:
    own_config = config_digest(facts.config)
    if benchmark.config_digest != own_config:
        raise VerificationError(
            f"the benchmark asks for configuration {benchmark.config_digest.hex()}, got {own_config.hex()}",
            next_step="run the worker with the chain, contracts and chain-trust mode of the benchmark",
        )
    if benchmark.measurement != facts.measurement:
        raise VerificationError(
            f"the benchmark asks for measurement {benchmark.measurement.hex()}, got {facts.measurement.hex()}",
            next_step="run the enclave version that the benchmark names",
        )
    if benchmark.assurance > facts.assurance:
        raise VerificationError(
            f"the benchmark asks for assurance {benchmark.assurance}, this enclave has {int(facts.assurance)}",
            next_step="run the worker on TEE hardware",
        )


def _verify_ids(config: EnclaveConfig, benchmark: Benchmark, submission: Submission) -> tuple[Hash32, Hash32]:
    benchmark_id = messages.benchmark_id(config.chain_id, config.market, benchmark)
    if submission.benchmark_id != benchmark_id:
        raise VerificationError(
            f"the submission is for benchmark {submission.benchmark_id.hex()}, got {benchmark_id.hex()}"
        )
    body = messages.body_hash(config.chain_id, config.market, submission)
    return benchmark_id, messages.submission_id(benchmark.sale, body)


def _verify_state(view: MarketView, index: int, wanted: SubmissionState, next_step: str) -> None:
    state = status.decode_submission_status(view.values[index]).state
    if state != wanted:
        raise VerificationError(
            f"the submission must be {wanted.name.lower()} at the anchor block, got {state.name.lower()}",
            next_step=next_step,
        )


def _verify_digest(what: str, got: Hash32, expected: Hash32) -> None:
    if got != expected:
        raise VerificationError(f"{what} must have digest {expected.hex()}, got {got.hex()}")
