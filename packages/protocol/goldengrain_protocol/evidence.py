"""What an enclave publishes about one evaluation, for auditors. Nothing finer than the published values.

Source: docs/spec/wire.md, "Evidence".
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from goldengrain_protocol.canonical import decode, encode, encode_int
from goldengrain_protocol.commitments import digest_of
from goldengrain_protocol.constants import MAX_EVIDENCE_BYTES, PPM, Outcome
from goldengrain_protocol.errors import InvalidInput
from goldengrain_protocol.rlp_fields import Fields
from goldengrain_protocol.types import Address, Hash32

EVIDENCE_VERSION: Final = 1
_MAX_REASON_BYTES: Final = 512
_MAX_NAME_BYTES: Final = 512


class ReasonCode(IntEnum):
    """Why an evaluation ended as it did; 0 when it was scored."""

    SCORED = 0
    CONTENT = 1
    """The container, its key or its commitment does not fit the submission."""
    NOT_A_MODEL = 2
    """Not ONNX, or refused by the static gate."""
    INTERFACE = 3
    """Names, dtypes or shapes do not fit the specification."""
    LIMIT = 4
    """Memory, time or size limit of the specification exceeded."""
    RUNTIME = 5
    """The model failed while it ran."""
    OUTPUT = 6
    """Outputs not finite or otherwise unusable."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The published record behind one result."""

    chain_id: int
    market: Address
    benchmark_id: Hash32
    submission_id: Hash32
    measurement: Hash32
    config_digest: Hash32
    content_digest: Hash32
    testset_digest: Hash32
    spec_digest: Hash32
    outcome: Outcome
    reason_code: int
    reason: str
    score_ppm: int
    bound_ppm: int
    metric: str
    engine: str
    """Versions of what computed the score."""
    anchor_number: int
    anchor_hash: Hash32
    version: int = EVIDENCE_VERSION

    def __post_init__(self) -> None:
        if self.version != EVIDENCE_VERSION:
            raise InvalidInput(f"evidence version must be {EVIDENCE_VERSION}, got {self.version}")
        if self.outcome not in tuple(Outcome):
            raise InvalidInput(f"evidence outcome must be 1 or 2, got {self.outcome}")
        object.__setattr__(self, "outcome", Outcome(self.outcome))
        if not (0 <= self.score_ppm <= PPM and 0 <= self.bound_ppm <= PPM and 0 <= self.reason_code < 2**16):
            raise InvalidInput("evidence scores or reason code are out of range")
        for text, most in (
            (self.reason, _MAX_REASON_BYTES),
            (self.metric, _MAX_NAME_BYTES),
            (self.engine, _MAX_NAME_BYTES),
        ):
            if len(text.encode()) > most:
                raise InvalidInput(f"evidence text has at most {most} bytes")

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode(
            [
                encode_int(self.version),
                encode_int(self.chain_id),
                self.market,
                self.benchmark_id,
                self.submission_id,
                self.measurement,
                self.config_digest,
                self.content_digest,
                self.testset_digest,
                self.spec_digest,
                encode_int(self.outcome),
                encode_int(self.reason_code),
                self.reason.encode(),
                encode_int(self.score_ppm),
                encode_int(self.bound_ppm),
                self.metric.encode(),
                self.engine.encode(),
                encode_int(self.anchor_number),
                self.anchor_hash,
            ]
        )

    @classmethod
    def decode(cls, data: bytes) -> "Evidence":
        """Return the evidence that `data` encodes. Raises: InvalidInput."""
        if len(data) > MAX_EVIDENCE_BYTES:
            raise InvalidInput(f"evidence has at most {MAX_EVIDENCE_BYTES} bytes, got {len(data)}")
        f = Fields(decode(data), "evidence", 19)
        version = f.uint(16)
        return cls(
            version=version,
            chain_id=f.uint(256),
            market=f.address(),
            benchmark_id=f.hash32(),
            submission_id=f.hash32(),
            measurement=f.hash32(),
            config_digest=f.hash32(),
            content_digest=f.hash32(),
            testset_digest=f.hash32(),
            spec_digest=f.hash32(),
            outcome=_outcome(f.uint(8)),
            reason_code=f.uint(16),
            reason=f.text(_MAX_REASON_BYTES),
            score_ppm=f.uint(32),
            bound_ppm=f.uint(32),
            metric=f.text(_MAX_NAME_BYTES),
            engine=f.text(_MAX_NAME_BYTES),
            anchor_number=f.uint(64),
            anchor_hash=f.hash32(),
        )


def evidence_digest(evidence: Evidence) -> Hash32:
    """Return the blob digest of the encoded evidence, as `Result.evidence_digest` carries it."""
    return digest_of(evidence.encode())


def _outcome(value: int) -> Outcome:
    if value not in tuple(Outcome):
        raise InvalidInput(f"outcome must be 1 or 2, got {value}")
    return Outcome(value)
