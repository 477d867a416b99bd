"""The host daemon: watches the market, carries jobs to the enclave, posts its signed results.

What counts is on chain: killed at any point, the next run finds the same open submissions, evaluates them again
(the enclave is deterministic) and finds its own earlier transactions in the journal.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from goldengrain.chain.proofs import fetch_chain_proof
from goldengrain.chain.trust_sources import trust_source
from goldengrain.host.enclave_process import EnclaveProcess
from goldengrain.host.jobs import Job, JobFinder
from goldengrain.sdk.pacing import pause
from goldengrain.sdk.session import Session
from goldengrain.sdk.submissions import get_submission
from goldengrain_protocol.commitments import digest_of
from goldengrain_protocol.constants import SubmissionState
from goldengrain_protocol.errors import GoldenGrainError, InvalidInput, UnavailableError
from goldengrain_protocol.messages import record_id
from goldengrain_protocol.proofs.chain_proof import ChainProof
from goldengrain_protocol.spec import decode_spec
from goldengrain_protocol.types import Address, Hash32, to_checksum
from goldengrain_protocol.wire import BootReply, EvaluateReply, JobRequest, OfferReply, OfferRequest

POLL_S: Final = 0.5
BACKOFF_S: Final = 1.0
BACKOFF_LIMIT_S: Final = 120.0
EVALUATION_SLACK_S: Final = 60.0
"""What an evaluation may take on top of the benchmark's own wall-clock limit (transfer, decryption, scoring)."""


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """One thing that the worker did or could not do; `problem` is empty when it went well."""

    what: str
    submission_id: Hash32 | None = None
    problem: str = ""
    next_step: str = ""


class Worker:
    """Serves one market with one enclave. `step` makes one pass; `run` makes passes until told to stop."""

    def __init__(
        self,
        session: Session,
        enclave: EnclaveProcess,
        boot: BootReply,
        verifier: Address,
        *,
        on_report: Callable[[WorkerReport], None] = lambda _report: None,
    ) -> None:
        self._session = session
        self._enclave = enclave
        self._boot = boot
        self._finder = JobFinder(session, boot, verifier)
        self._source = trust_source(session.book, session.home)
        self._report = on_report
        self._restart_lock = threading.Lock()
        # By benchmark, as the enclave keeps them: two benchmarks may share one test set's bytes.
        self._held_testsets: set[Hash32] = set()

    @property
    def boot(self) -> BootReply:
        return self._boot

    def run(self, should_stop: Callable[[], bool]) -> None:
        """Work until `should_stop`; outages of node, storage or enclave are waited out with growing pauses."""
        self._session.sender.resume()
        pause_s = POLL_S
        while not should_stop():
            try:
                self.step()
                pause_s = POLL_S
            except GoldenGrainError as exc:
                self._report(WorkerReport("pausing", problem=exc.message, next_step=exc.next_step))
                pause_s = min(pause_s * 2, BACKOFF_LIMIT_S)
            pause(pause_s, should_stop)

    def step(self) -> int:
        """Make one pass over chain and jobs; return how many results were posted."""
        for job in self._finder.scan():
            self._report(WorkerReport("found a submission", job.submission_id))
        posted = 0
        now = time.monotonic()
        for job in list(self._finder.jobs.values()):
            if job.retry_at > now:
                continue
            try:
                posted += self._advance(job)
            except GoldenGrainError as exc:
                job.failures += 1
                job.retry_at = now + min(BACKOFF_S * 2**job.failures, BACKOFF_LIMIT_S)
                self._report(
                    WorkerReport("cannot evaluate yet", job.submission_id, exc.message, exc.next_step)
                )
        return posted

    def offer(self, submission: Hash32, buyer: Address, buyer_key: bytes) -> OfferReply:
        """Return the enclave's offer of a priced submission to a buyer.

        Raises:
            InvalidInput: unknown submission, or one that is not for sale or not sealed to this enclave.
            UnavailableError: node or enclave is away.
        """
        session = self._session
        view = get_submission(session, submission)
        (slot,) = session.market.slots(submission_id=submission)
        proof = self._prove([slot])
        request = OfferRequest(
            proof=proof,
            benchmark=view.terms,
            submission=view.body,
            sealed_keys=view.sealed_keys,
            buyer=buyer,
            buyer_key=buyer_key,
        )
        self._ensure_enclave()
        return self._enclave.offer(request)

    def _advance(self, job: Job) -> int:
        session = self._session
        status = session.market.submission_status(job.submission_id, block="latest")
        if status.state != SubmissionState.OPEN:
            if job.posted:
                self._report(WorkerReport("result accepted", job.submission_id))
            del self._finder.jobs[job.submission_id]
            return 0
        purpose = f"accept:0x{job.submission_id.hex()}"
        if job.posted:
            self._nudge(job, purpose)
            return 0
        if session.client.block("latest").timestamp > status.result_deadline:
            self._report(WorkerReport("too late for a result", job.submission_id))
            del self._finder.jobs[job.submission_id]
            return 0
        reply = self._evaluate(job)
        if session.blobs.put(reply.evidence) != reply.result.evidence_digest:
            raise UnavailableError("the evidence does not have the digest that the result names")
        request = session.market.accept(job.opened.benchmark, job.body, [(reply.result, reply.signature)])
        session.sender.submit(purpose, request)
        job.posted = True
        self._report(WorkerReport("result sent", job.submission_id))
        return 1

    def _nudge(self, job: Job, purpose: str) -> None:
        """Look after a sent result: replace it when stuck; evaluate afresh when it finally reverted."""
        try:
            self._session.sender.wait(purpose, timeout_s=POLL_S)
        except UnavailableError:
            return
        except GoldenGrainError:
            job.posted = False
            raise

    def _evaluate(self, job: Job) -> EvaluateReply:
        session = self._session
        terms, body = job.opened.benchmark, job.body
        spec_bytes = session.blobs.get(terms.spec_digest)
        spec = decode_spec(spec_bytes)
        slots = session.market.slots(
            benchmark_id=body.benchmark_id,
            submission_id=job.submission_id,
            record_id=record_id(body.benchmark_id, body.developer),
        )
        model = session.blobs.get(body.content_digest)
        self._ensure_enclave()
        held = body.benchmark_id in self._held_testsets
        request = JobRequest(
            proof=self._prove(slots),
            benchmark=terms,
            submission=body,
            sealed_keys=job.submitted.sealed_keys,
            testset_sealed_keys=job.opened.sealed_keys,
            spec=spec_bytes,
            model=model,
            testset=b"" if held else session.blobs.get(terms.testset_digest),
            worker=session.account.address,
        )
        self._report(WorkerReport("evaluating", job.submission_id))
        try:
            reply = self._enclave.evaluate(request, timeout_s=spec.limits.wall_s + EVALUATION_SLACK_S)
        except GoldenGrainError:
            self._held_testsets.discard(body.benchmark_id)
            raise
        self._held_testsets.add(body.benchmark_id)
        if reply.result.submission_id != job.submission_id or digest_of(reply.evidence) != (
            reply.result.evidence_digest
        ):
            raise UnavailableError("the enclave answered with another submission's result")
        return reply

    def _prove(self, slots: list[int]) -> ChainProof:
        session = self._session
        config = session.book.enclave_config()
        return fetch_chain_proof(session.client, config, slots, source=self._source)

    def _ensure_enclave(self) -> None:
        """Boot the enclave again from its sealed identity if its process ended."""
        with self._restart_lock:
            if self._enclave.is_running:
                return
            self._held_testsets.clear()
            config = self._session.book.enclave_config()
            again = self._enclave.boot(config, self._boot.sealed_identity)
            if again.signer != self._boot.signer:
                raise InvalidInput(
                    f"the enclave came back as {to_checksum(again.signer)}, not {to_checksum(self._boot.signer)}"
                )
            self._report(WorkerReport("enclave started again"))
