"""The enclave's door: requests in, replies out, each one RLP list that begins with its tag.

Source: docs/spec/wire.md.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeVar, cast

from goldengrain_protocol.canonical import Rlp, RlpInput, decode, encode
from goldengrain_protocol.config import EnclaveConfig
from goldengrain_protocol.constants import (
    MAX_BLOB_BYTES,
    MAX_EVIDENCE_BYTES,
    MAX_FRAME_BYTES,
    MAX_QUOTE_BYTES,
    MAX_SEALED_IDENTITY_BYTES,
    MAX_SPEC_BYTES,
    MAX_SUBMISSION_SEALED_BYTES,
    MAX_TESTSET_SEALED_BYTES,
    MAX_TEXT_BYTES,
    SIGNATURE_BYTES,
    X25519_KEY_BYTES,
)
from goldengrain_protocol.errors import InvalidInput
from goldengrain_protocol.evidence import Evidence, ReasonCode, evidence_digest
from goldengrain_protocol.message_rlp import (
    benchmark_from_rlp,
    benchmark_to_rlp,
    offer_from_rlp,
    offer_to_rlp,
    result_from_rlp,
    result_to_rlp,
    submission_from_rlp,
    submission_to_rlp,
)
from goldengrain_protocol.messages import Benchmark, Offer, Result, Submission
from goldengrain_protocol.proofs.chain_proof import ChainProof
from goldengrain_protocol.rlp_fields import Fields
from goldengrain_protocol.types import Address, Hash32, address, fixed_bytes, hash32

__all__ = [
    "BootReply",
    "BootRequest",
    "ErrorCategory",
    "ErrorReply",
    "EvaluateReply",
    "Evidence",
    "JobRequest",
    "OfferReply",
    "OfferRequest",
    "ReasonCode",
    "Reply",
    "Request",
    "decode_boot_reply",
    "decode_boot_request",
    "decode_error_reply",
    "decode_evaluate_reply",
    "decode_evidence",
    "decode_job_request",
    "decode_offer_reply",
    "decode_offer_request",
    "decode_reply",
    "decode_request",
    "encode_evidence",
    "encode_reply",
    "encode_request",
    "evidence_digest",
]

_T = TypeVar("_T")
ErrorCategory = Literal["invalid", "verification", "unavailable", "internal"]
ERROR_CATEGORIES: Final = ("invalid", "verification", "unavailable", "internal")


@dataclass(frozen=True, slots=True)
class BootRequest:
    """The first request of an enclave's life."""

    config: EnclaveConfig
    sealed_identity: bytes
    """From the `BootReply` of an earlier life on the same platform, or empty for a fresh identity."""

    def __post_init__(self) -> None:
        _at_most(self.sealed_identity, MAX_SEALED_IDENTITY_BYTES, "sealed identity")


@dataclass(frozen=True, slots=True)
class BootReply:
    """Who the enclave is, with the quote that says so."""

    signer: Address
    sealing_key: bytes
    measurement: Hash32
    config_digest: Hash32
    quote: bytes
    sealed_identity: bytes

    def __post_init__(self) -> None:
        address(self.signer)
        fixed_bytes(self.sealing_key, X25519_KEY_BYTES, "sealing key")
        hash32(self.measurement)
        hash32(self.config_digest)
        _at_most(self.quote, MAX_QUOTE_BYTES, "quote")
        _at_most(self.sealed_identity, MAX_SEALED_IDENTITY_BYTES, "sealed identity")


@dataclass(frozen=True, slots=True)
class JobRequest:
    """Evaluate one submission.

    `proof.storage_proofs` are, in order, of benchmarks[benchmark_id], submissions[submission_id] and
    records[record_id].
    """

    proof: ChainProof
    benchmark: Benchmark
    submission: Submission
    sealed_keys: bytes
    testset_sealed_keys: bytes
    spec: bytes
    model: bytes
    """The container of the model."""
    testset: bytes
    """The container of the test set; may be empty when the enclave already holds it."""
    worker: Address

    def __post_init__(self) -> None:
        address(self.worker)
        _at_most(self.sealed_keys, MAX_SUBMISSION_SEALED_BYTES, "sealed keys")
        _at_most(self.testset_sealed_keys, MAX_TESTSET_SEALED_BYTES, "test-set sealed keys")
        _at_most(self.spec, MAX_SPEC_BYTES, "spec")
        _at_most(self.model, MAX_BLOB_BYTES, "model")
        _at_most(self.testset, MAX_BLOB_BYTES, "test set")


@dataclass(frozen=True, slots=True)
class OfferRequest:
    """Make an offer to one buyer. `proof.storage_proofs` holds one: submissions[submission_id]."""

    proof: ChainProof
    benchmark: Benchmark
    submission: Submission
    sealed_keys: bytes
    buyer: Address
    buyer_key: bytes

    def __post_init__(self) -> None:
        _at_most(self.sealed_keys, MAX_SUBMISSION_SEALED_BYTES, "sealed keys")
        address(self.buyer)
        fixed_bytes(self.buyer_key, X25519_KEY_BYTES, "buyer key")


@dataclass(frozen=True, slots=True)
class EvaluateReply:
    """A signed result and the evidence blob behind it."""

    result: Result
    signature: bytes
    evidence: bytes

    def __post_init__(self) -> None:
        fixed_bytes(self.signature, SIGNATURE_BYTES, "signature")
        _at_most(self.evidence, MAX_EVIDENCE_BYTES, "evidence")


@dataclass(frozen=True, slots=True)
class OfferReply:
    """A signed offer."""

    offer: Offer
    signature: bytes

    def __post_init__(self) -> None:
        fixed_bytes(self.signature, SIGNATURE_BYTES, "signature")


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """The enclave could not do what was asked; nothing was signed."""

    category: ErrorCategory
    message: str
    next_step: str = ""

    def __post_init__(self) -> None:
        if self.category not in ERROR_CATEGORIES:
            raise InvalidInput(f"error category must be one of {', '.join(ERROR_CATEGORIES)}")
        _at_most(self.message.encode(), MAX_TEXT_BYTES, "error message")
        _at_most(self.next_step.encode(), MAX_TEXT_BYTES, "next step")


Request = BootRequest | JobRequest | OfferRequest
Reply = BootReply | EvaluateReply | OfferReply | ErrorReply


def encode_request(request: Request) -> bytes:
    """Return the canonical bytes of a request."""
    return encode(_request_items(request))


def encode_reply(reply: Reply) -> bytes:
    """Return the canonical bytes of a reply."""
    return encode(_reply_items(reply))


def decode_request(data: bytes) -> Request:
    """Return the request that `data` encodes. Raises: InvalidInput."""
    tag, value = _open(data)
    if tag == b"boot":
        f = Fields(value, "boot request", 3)
        f.any()
        return BootRequest(EnclaveConfig.from_rlp(f.any()), f.blob(MAX_SEALED_IDENTITY_BYTES))
    if tag == b"evaluate":
        f = Fields(value, "evaluate request", 10)
        f.any()
        return JobRequest(
            ChainProof.from_rlp(f.any()),
            benchmark_from_rlp(f.any()),
            submission_from_rlp(f.any()),
            f.blob(MAX_SUBMISSION_SEALED_BYTES),
            f.blob(MAX_TESTSET_SEALED_BYTES),
            f.blob(MAX_SPEC_BYTES),
            f.blob(MAX_BLOB_BYTES),
            f.blob(MAX_BLOB_BYTES),
            f.address(),
        )
    if tag == b"offer":
        f = Fields(value, "offer request", 7)
        f.any()
        return OfferRequest(
            ChainProof.from_rlp(f.any()),
            benchmark_from_rlp(f.any()),
            submission_from_rlp(f.any()),
            f.blob(MAX_SUBMISSION_SEALED_BYTES),
            f.address(),
            f.fixed(X25519_KEY_BYTES),
        )
    raise InvalidInput("request tag must be boot, evaluate or offer")


def decode_reply(data: bytes) -> Reply:
    """Return the reply that `data` encodes. Raises: InvalidInput."""
    tag, value = _open(data)
    if tag == b"booted":
        f = Fields(value, "boot reply", 7)
        f.any()
        return BootReply(
            f.address(),
            f.fixed(X25519_KEY_BYTES),
            f.hash32(),
            f.hash32(),
            f.blob(MAX_QUOTE_BYTES),
            f.blob(MAX_SEALED_IDENTITY_BYTES),
        )
    if tag == b"evaluated":
        f = Fields(value, "evaluate reply", 4)
        f.any()
        return EvaluateReply(result_from_rlp(f.any()), f.fixed(SIGNATURE_BYTES), f.blob(MAX_EVIDENCE_BYTES))
    if tag == b"offered":
        f = Fields(value, "offer reply", 3)
        f.any()
        return OfferReply(offer_from_rlp(f.any()), f.fixed(SIGNATURE_BYTES))
    if tag == b"error":
        f = Fields(value, "error reply", 4)
        f.any()
        category = f.text(40)
        return ErrorReply(cast(ErrorCategory, category), f.text(MAX_TEXT_BYTES), f.text(MAX_TEXT_BYTES))
    raise InvalidInput("reply tag must be booted, evaluated, offered or error")


def decode_boot_request(data: bytes) -> BootRequest:
    """Return the boot request that `data` encodes. Raises: InvalidInput, also for another request."""
    return _expect(decode_request(data), BootRequest)


def decode_job_request(data: bytes) -> JobRequest:
    """Return the evaluate request that `data` encodes. Raises: InvalidInput, also for another request."""
    return _expect(decode_request(data), JobRequest)


def decode_offer_request(data: bytes) -> OfferRequest:
    """Return the offer request that `data` encodes. Raises: InvalidInput, also for another request."""
    return _expect(decode_request(data), OfferRequest)


def decode_boot_reply(data: bytes) -> BootReply:
    """Return the boot reply that `data` encodes. Raises: InvalidInput, also for another reply."""
    return _expect(decode_reply(data), BootReply)


def decode_evaluate_reply(data: bytes) -> EvaluateReply:
    """Return the evaluate reply that `data` encodes. Raises: InvalidInput, also for another reply."""
    return _expect(decode_reply(data), EvaluateReply)


def decode_offer_reply(data: bytes) -> OfferReply:
    """Return the offer reply that `data` encodes. Raises: InvalidInput, also for another reply."""
    return _expect(decode_reply(data), OfferReply)


def decode_error_reply(data: bytes) -> ErrorReply:
    """Return the error reply that `data` encodes. Raises: InvalidInput, also for another reply."""
    return _expect(decode_reply(data), ErrorReply)


def encode_evidence(evidence: Evidence) -> bytes:
    """Return the canonical bytes of the evidence blob."""
    return evidence.encode()


def decode_evidence(data: bytes) -> Evidence:
    """Return the evidence that `data` encodes. Raises: InvalidInput."""
    return Evidence.decode(data)


def _request_items(request: Request) -> RlpInput:
    match request:
        case BootRequest():
            return [b"boot", request.config.to_rlp(), request.sealed_identity]
        case JobRequest():
            return [
                b"evaluate",
                request.proof.to_rlp(),
                benchmark_to_rlp(request.benchmark),
                submission_to_rlp(request.submission),
                request.sealed_keys,
                request.testset_sealed_keys,
                request.spec,
                request.model,
                request.testset,
                request.worker,
            ]
        case OfferRequest():
            return [
                b"offer",
                request.proof.to_rlp(),
                benchmark_to_rlp(request.benchmark),
                submission_to_rlp(request.submission),
                request.sealed_keys,
                request.buyer,
                request.buyer_key,
            ]


def _reply_items(reply: Reply) -> RlpInput:
    match reply:
        case BootReply():
            return [
                b"booted",
                reply.signer,
                reply.sealing_key,
                reply.measurement,
                reply.config_digest,
                reply.quote,
                reply.sealed_identity,
            ]
        case EvaluateReply():
            return [b"evaluated", result_to_rlp(reply.result), reply.signature, reply.evidence]
        case OfferReply():
            return [b"offered", offer_to_rlp(reply.offer), reply.signature]
        case ErrorReply():
            return [b"error", reply.category.encode(), reply.message.encode(), reply.next_step.encode()]


def _open(data: bytes) -> tuple[bytes, list[Rlp]]:
    if len(data) > MAX_FRAME_BYTES:
        raise InvalidInput(f"a message has at most {MAX_FRAME_BYTES} bytes")
    value = decode(data)
    if not isinstance(value, list) or not value or not isinstance(value[0], bytes):
        raise InvalidInput("a message must be a list that begins with its tag")
    return value[0], value


def _expect(message: object, wanted: type[_T]) -> _T:
    if not isinstance(message, wanted):
        raise InvalidInput(f"expected {wanted.__name__}, got {type(message).__name__}")
    return message


def _at_most(data: bytes, size: int, what: str) -> None:
    if len(data) > size:
        raise InvalidInput(f"{what} has at most {size} bytes, got {len(data)}")
