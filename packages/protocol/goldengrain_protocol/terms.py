"""The values that the parties agree on or state: terms, results, offers.

Every dataclass checks types, lengths and integer widths when it is made, so a value that exists can be
encoded. Whether the market would accept it is the question of `rules` and of the contract.

Source: docs/spec/messages.md.
"""

from dataclasses import dataclass
from typing import Final

from goldengrain_protocol import abi
from goldengrain_protocol.abi_values import AbiStruct, as_address, as_hash32, as_sequence, as_uint, fields
from goldengrain_protocol.constants import (
    MAX_CURVE_POINTS,
    PPM,
    SEALED_SECRET_BYTES,
    Outcome,
)
from goldengrain_protocol.errors import InvalidInput
from goldengrain_protocol.types import Address, Hash32, address, hash32, to_checksum

_SALE_FIELDS: Final = ("token", "royalty_recipient", "royalty_bps")
_POINT_FIELDS: Final = ("score_ppm", "price")
_BENCHMARK_FIELDS: Final = (
    "owner",
    "sale",
    "spec_digest",
    "testset_digest",
    "verifier",
    "measurement",
    "config_digest",
    "assurance",
    "tcb_allowed",
    "quorum",
    "fee_wei",
    "submission_cap",
    "step_ppm",
    "submissions_close",
    "result_window_s",
    "curve",
)
_SUBMISSION_FIELDS: Final = (
    "benchmark_id",
    "developer",
    "payee",
    "content_digest",
    "secret_commitment",
    "sealed_digest",
    "reserve",
)


@dataclass(frozen=True, slots=True)
class Sale:
    """In which money a benchmark's models are sold, and the royalty of the test set's owner."""

    token: Address
    """ERC-20 contract, or `ZERO_ADDRESS` for ETH."""
    royalty_recipient: Address
    royalty_bps: int

    def __post_init__(self) -> None:
        address(self.token)
        address(self.royalty_recipient)
        as_uint(self.royalty_bps, "sale.royalty_bps")

    @classmethod
    def from_abi(cls, value: AbiStruct) -> "Sale":
        """Return the `Sale` that a chain library decoded to `value`. Raises: InvalidInput."""
        token, recipient, bps = fields(value, _SALE_FIELDS, "sale")
        return cls(
            as_address(token, "sale.token"),
            as_address(recipient, "sale.royalty_recipient"),
            as_uint(bps, "sale.royalty_bps"),
        )

    def abi_tuple(self) -> tuple[str, str, int]:
        """Return the fields as a contract call takes them."""
        return to_checksum(self.token), to_checksum(self.royalty_recipient), self.royalty_bps

    def abi_encode(self) -> bytes:
        """Return the three words of the struct."""
        return abi.words(self.token, self.royalty_recipient, self.royalty_bps)


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """From `score_ppm` on, the price is `price` (and between two points, on the line)."""

    score_ppm: int
    price: int

    def __post_init__(self) -> None:
        as_uint(self.score_ppm, "curve.score_ppm")
        as_uint(self.price, "curve.price")

    @classmethod
    def from_abi(cls, value: AbiStruct) -> "CurvePoint":
        """Return the `CurvePoint` that a chain library decoded to `value`. Raises: InvalidInput."""
        score, price = fields(value, _POINT_FIELDS, "curve point")
        return cls(as_uint(score, "curve.score_ppm"), as_uint(price, "curve.price"))

    def abi_tuple(self) -> tuple[int, int]:
        """Return the fields as a contract call takes them."""
        return self.score_ppm, self.price

    def abi_encode(self) -> bytes:
        """Return the two words of the struct."""
        return abi.words(self.score_ppm, self.price)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The terms of a benchmark; immutable once opened, because its identifier is their hash."""

    owner: Address
    sale: Sale
    spec_digest: Hash32
    testset_digest: Hash32
    verifier: Address
    measurement: Hash32
    config_digest: Hash32
    assurance: int
    tcb_allowed: int
    quorum: int
    fee_wei: int
    submission_cap: int
    step_ppm: int
    submissions_close: int
    """Unix seconds; submissions are accepted up to and including this time."""
    result_window_s: int
    curve: tuple[CurvePoint, ...]

    def __post_init__(self) -> None:
        for value in (self.owner, self.verifier):
            address(value)
        for digest in (self.spec_digest, self.testset_digest, self.measurement, self.config_digest):
            hash32(digest)
        for name in _BENCHMARK_FIELDS[7:15]:
            as_uint(getattr(self, name), f"benchmark.{name}")
        if not isinstance(self.sale, Sale) or not isinstance(self.curve, tuple):
            raise InvalidInput("benchmark.sale must be a Sale and benchmark.curve a tuple")
        if len(self.curve) > MAX_CURVE_POINTS or not all(isinstance(p, CurvePoint) for p in self.curve):
            raise InvalidInput(f"benchmark.curve must hold at most {MAX_CURVE_POINTS} points")

    @classmethod
    def from_abi(cls, value: AbiStruct) -> "Benchmark":
        """Return the `Benchmark` that a chain library decoded to `value`. Raises: InvalidInput."""
        item = dict(zip(_BENCHMARK_FIELDS, fields(value, _BENCHMARK_FIELDS, "benchmark"), strict=True))
        points = as_sequence(item["curve"], "benchmark.curve", MAX_CURVE_POINTS)
        uints = {name: as_uint(item[name], f"benchmark.{name}") for name in _BENCHMARK_FIELDS[7:15]}
        return cls(
            owner=as_address(item["owner"], "benchmark.owner"),
            sale=Sale.from_abi(item["sale"]),
            spec_digest=as_hash32(item["spec_digest"], "benchmark.spec_digest"),
            testset_digest=as_hash32(item["testset_digest"], "benchmark.testset_digest"),
            verifier=as_address(item["verifier"], "benchmark.verifier"),
            measurement=as_hash32(item["measurement"], "benchmark.measurement"),
            config_digest=as_hash32(item["config_digest"], "benchmark.config_digest"),
            curve=tuple(CurvePoint.from_abi(point) for point in points),
            **uints,
        )

    def abi_tuple(self) -> tuple[object, ...]:
        """Return the fields as a contract call takes them."""
        return (
            to_checksum(self.owner),
            self.sale.abi_tuple(),
            self.spec_digest,
            self.testset_digest,
            to_checksum(self.verifier),
            self.measurement,
            self.config_digest,
            *self.uints(),
            [point.abi_tuple() for point in self.curve],
        )

    def uints(self) -> tuple[int, ...]:
        """Return the eight integers from `assurance` to `result_window_s`, in the order of the struct."""
        return (
            self.assurance,
            self.tcb_allowed,
            self.quorum,
            self.fee_wei,
            self.submission_cap,
            self.step_ppm,
            self.submissions_close,
            self.result_window_s,
        )

    def abi_encode(self) -> bytes:
        """Return the encoding of the struct (head with one offset, then the curve)."""
        head = b"".join(
            (
                abi.word(self.owner),
                self.sale.abi_encode(),
                abi.words(
                    self.spec_digest, self.testset_digest, self.verifier, self.measurement, self.config_digest
                ),
                abi.words(*self.uints()),
            )
        )
        offset = abi.offset_word(len(head) // 32 + 1)
        return head + offset + abi.dynamic_array(point.abi_encode() for point in self.curve)


@dataclass(frozen=True, slots=True)
class Submission:
    """The body of a submission: one developer's model for one benchmark."""

    benchmark_id: Hash32
    developer: Address
    payee: Address
    content_digest: Hash32
    """Blob digest of the encrypted container."""
    secret_commitment: Hash32
    sealed_digest: Hash32
    """keccak-256 of the sealed keys as submitted."""
    reserve: int

    def __post_init__(self) -> None:
        address(self.developer)
        address(self.payee)
        for value in (self.benchmark_id, self.content_digest, self.secret_commitment, self.sealed_digest):
            hash32(value)
        as_uint(self.reserve, "submission.reserve")

    @classmethod
    def from_abi(cls, value: AbiStruct) -> "Submission":
        """Return the `Submission` that a chain library decoded to `value`. Raises: InvalidInput."""
        item = dict(zip(_SUBMISSION_FIELDS, fields(value, _SUBMISSION_FIELDS, "submission"), strict=True))
        return cls(
            benchmark_id=as_hash32(item["benchmark_id"], "submission.benchmark_id"),
            developer=as_address(item["developer"], "submission.developer"),
            payee=as_address(item["payee"], "submission.payee"),
            content_digest=as_hash32(item["content_digest"], "submission.content_digest"),
            secret_commitment=as_hash32(item["secret_commitment"], "submission.secret_commitment"),
            sealed_digest=as_hash32(item["sealed_digest"], "submission.sealed_digest"),
            reserve=as_uint(item["reserve"], "submission.reserve"),
        )

    def abi_tuple(self) -> tuple[bytes, str, str, bytes, bytes, bytes, int]:
        """Return the fields as a contract call takes them."""
        return (
            self.benchmark_id,
            to_checksum(self.developer),
            to_checksum(self.payee),
            self.content_digest,
            self.secret_commitment,
            self.sealed_digest,
            self.reserve,
        )

    def abi_encode(self) -> bytes:
        """Return the seven words of the struct."""
        return abi.words(
            self.benchmark_id,
            self.developer,
            self.payee,
            self.content_digest,
            self.secret_commitment,
            self.sealed_digest,
            self.reserve,
        )


@dataclass(frozen=True, slots=True)
class Result:
    """What an enclave states about a submission; signed under EIP-712 by the enclave's key."""

    submission_id: Hash32
    outcome: Outcome
    score_ppm: int
    bound_ppm: int
    worker: Address
    anchor_number: int
    anchor_hash: Hash32
    evidence_digest: Hash32

    def __post_init__(self) -> None:
        for value in (self.submission_id, self.anchor_hash, self.evidence_digest):
            hash32(value)
        address(self.worker)
        if self.outcome not in tuple(Outcome):
            raise InvalidInput(f"result.outcome must be 1 or 2, got {self.outcome}")
        object.__setattr__(self, "outcome", Outcome(self.outcome))
        as_uint(self.score_ppm, "result.score_ppm", 32)
        as_uint(self.bound_ppm, "result.bound_ppm", 32)
        as_uint(self.anchor_number, "result.anchor_number", 64)
        if max(self.score_ppm, self.bound_ppm) > PPM:
            raise InvalidInput(f"result scores must be at most {PPM}")
        if self.outcome == Outcome.MODEL_FAILED and (self.score_ppm or self.bound_ppm):
            raise InvalidInput("a failed model has score 0 and bound 0")

    def abi_tuple(self, signature: bytes) -> tuple[int, int, int, str, int, bytes, bytes, int, bytes, bytes]:
        """Return the `SignedResult` of `Market.accept`, with `signature` (65 bytes r, s, v) taken apart."""
        if len(signature) != 65:
            raise InvalidInput(f"signature must have 65 bytes, got {len(signature)}")
        return (
            int(self.outcome),
            self.score_ppm,
            self.bound_ppm,
            to_checksum(self.worker),
            self.anchor_number,
            self.anchor_hash,
            self.evidence_digest,
            signature[64],
            signature[:32],
            signature[32:64],
        )


@dataclass(frozen=True, slots=True)
class Offer:
    """An enclave's offer to one buyer: the content key, encrypted under a pad whose hash is the hashlock."""

    submission_id: Hash32
    buyer: Address
    buyer_key: bytes
    """X25519 public key of this order, 32 bytes."""
    hashlock: Hash32
    sealed_pad: bytes
    """HPKE to `buyer_key` of (content key xor order pad), 80 bytes."""

    def __post_init__(self) -> None:
        hash32(self.submission_id)
        hash32(self.hashlock)
        hash32(self.buyer_key)
        address(self.buyer)
        if len(self.sealed_pad) != SEALED_SECRET_BYTES:
            raise InvalidInput(
                f"sealed pad must have {SEALED_SECRET_BYTES} bytes, got {len(self.sealed_pad)}"
            )


@dataclass(frozen=True, slots=True)
class OrderTerms:
    """What identifies one order in `Market.orders`."""

    sale: Sale
    buyer: Address
    deadline: int
    """Unix seconds; the buyer may take the money back after it."""
    hashlock: Hash32

    def __post_init__(self) -> None:
        address(self.buyer)
        hash32(self.hashlock)
        as_uint(self.deadline, "order.deadline")
