"""Finding work on chain: open submissions of the benchmarks that this enclave may serve."""

from __future__ import annotations

from dataclasses import dataclass, field

from goldengrain.chain.events import BenchmarkOpenedEvent, SubmittedEvent
from goldengrain.sdk.session import Session
from goldengrain_protocol.errors import InvalidInput, VerificationError
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.messages import Submission
from goldengrain_protocol.sealing import SealedKeys
from goldengrain_protocol.types import Address, Hash32
from goldengrain_protocol.wire import BootReply


@dataclass(slots=True)
class Job:
    """One submission to evaluate, and when to try (again). Times on the monotonic clock."""

    submission_id: Hash32
    submitted: SubmittedEvent
    opened: BenchmarkOpenedEvent
    failures: int = 0
    retry_at: float = 0.0
    posted: bool = False

    @property
    def body(self) -> Submission:
        event = self.submitted
        return Submission(
            benchmark_id=event.benchmark_id,
            developer=event.developer,
            payee=event.payee,
            content_digest=event.content_digest,
            secret_commitment=event.secret_commitment,
            sealed_digest=keccak256(event.sealed_keys),
            reserve=event.reserve,
        )


@dataclass(slots=True)
class JobFinder:
    """Reads finalised events forward from the deployment; forgets nothing that is still open."""

    session: Session
    boot: BootReply
    verifier: Address
    benchmarks: dict[Hash32, BenchmarkOpenedEvent] = field(default_factory=dict)
    jobs: dict[Hash32, Job] = field(default_factory=dict)
    _next_block: int | None = None

    def scan(self) -> list[Job]:
        """Read what became final since the last scan; return the jobs that appeared."""
        session = self.session
        start = self._next_block if self._next_block is not None else session.book.deployed_at_block
        end = session.client.finalized_number()
        if end < start:
            return []
        for opened in session.market.events(BenchmarkOpenedEvent, from_block=start, to_block=end):
            if self._serves(opened):
                self.benchmarks[opened.benchmark_id] = opened
        found: list[Job] = []
        for submitted in session.market.events(SubmittedEvent, from_block=start, to_block=end):
            benchmark = self.benchmarks.get(submitted.benchmark_id)
            if benchmark is not None and _is_sealed_to(submitted.sealed_keys, self.boot.signer):
                found.append(Job(submitted.submission_id, submitted, benchmark))
        for job in found:
            self.jobs[job.submission_id] = job
        self._next_block = end + 1
        return found

    def _serves(self, opened: BenchmarkOpenedEvent) -> bool:
        terms = opened.benchmark
        return (
            terms.measurement == self.boot.measurement
            and terms.config_digest == self.boot.config_digest
            and terms.verifier == self.verifier
            and terms.quorum == 1
            and _is_sealed_to(opened.sealed_keys, self.boot.signer)
        )


def _is_sealed_to(sealed_keys: bytes, signer: Address) -> bool:
    # Anyone may put any bytes on chain as sealed keys; those that do not decode are sealed to nobody.
    try:
        SealedKeys.decode(sealed_keys).for_signer(signer)
    except (InvalidInput, VerificationError):
        return False
    return True
