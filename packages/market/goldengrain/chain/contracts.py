"""The contracts as typed objects: calls are built here and sent by a `TransactionSender`; reads are typed.

Reads that a decision rests on use the finalised block: that is the default wherever state is read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from eth_abi.abi import encode as abi_encode

from goldengrain.accounts import Account
from goldengrain.chain.artifacts import Artifact, load_artifact
from goldengrain.chain.client import BlockTag, ChainClient
from goldengrain.chain.events import Event, read_events
from goldengrain.chain.rpc import MalformedReply
from goldengrain.chain.tokens import Permit, Token, eth_transfer
from goldengrain.chain.transactions import TransactionRequest
from goldengrain_protocol.constants import (
    MARKET_SLOT_BENCHMARKS,
    MARKET_SLOT_ORDERS,
    MARKET_SLOT_RECORDS,
    MARKET_SLOT_SUBMISSIONS,
)
from goldengrain_protocol.eip712 import (
    QuoteVerified,
    platform_revoked_digest,
    quote_verified_digest,
    recover_signer,
    result_digest,
)
from goldengrain_protocol.errors import InvalidInput
from goldengrain_protocol.messages import (
    Benchmark,
    CurvePoint,
    OrderTerms,
    Result,
    Sale,
    Submission,
)
from goldengrain_protocol.proofs import mapping_slot
from goldengrain_protocol.status import (
    BenchmarkStatus,
    EnclaveStatus,
    OrderStatus,
    RecordStatus,
    SubmissionStatus,
    decode_benchmark_status,
    decode_enclave_status,
    decode_order_status,
    decode_record_status,
    decode_submission_status,
)
from goldengrain_protocol.types import Address, Hash32, hash32

__all__ = [
    "AuditorQuorum",
    "MarketContract",
    "OrderItem",
    "Permit",
    "QuoteVerified",
    "RegistryContract",
    "Token",
    "eth_transfer",
]

E = TypeVar("E", bound=Event)


@dataclass(frozen=True, slots=True)
class OrderItem:
    """One model in an order. `buyer_key` is the X25519 key that the offer was sealed to."""

    body_hash: Hash32
    buyer_key: bytes
    hashlock: Hash32

    def __post_init__(self) -> None:
        for value in (self.body_hash, self.buyer_key, self.hashlock):
            hash32(value)

    def abi_tuple(self) -> tuple[bytes, bytes, bytes]:
        """Return the fields as a contract call takes them."""
        return self.body_hash, self.buyer_key, self.hashlock


class _Contract:
    """A deployed contract of a known artifact."""

    artifact_name: str

    def __init__(self, client: ChainClient, address: Address) -> None:
        self.client: Final = client
        self.address: Final = address
        self._artifact: Final[Artifact] = load_artifact(self.artifact_name)

    def events(
        self, kind: type[E], *, from_block: int, to_block: int | None = None, **filters: object
    ) -> list[E]:
        """Return this contract's events of one kind; see `read_events`."""
        return read_events(
            self.client, self.address, kind, from_block=from_block, to_block=to_block, **filters
        )

    def _request(
        self,
        function: str,
        arguments: Sequence[object],
        what: str,
        *,
        value_wei: int = 0,
        not_after_s: int | None = None,
    ) -> TransactionRequest:
        data = self._artifact.encode_call(function, arguments)
        return TransactionRequest(self.address, data, value_wei, what=what, not_after_s=not_after_s)

    def _read(self, function: str, arguments: Sequence[object], block: BlockTag) -> object:
        data = self.client.call(self.address, self._artifact.encode_call(function, arguments), block=block)
        return self._artifact.decode_result(function, data)[0]

    def _read_int(self, function: str, arguments: Sequence[object], block: BlockTag) -> int:
        value = self._read(function, arguments, block)
        if not isinstance(value, int):
            raise MalformedReply(f"the rpc node's answer to {function} is no number")
        return value


class MarketContract(_Contract):
    """`Market.vy`."""

    artifact_name = "Market"

    # --- calls ------------------------------------------------------------------------------------

    def open_benchmark(
        self, benchmark: Benchmark, sealed_keys: bytes, metadata: str | bytes
    ) -> TransactionRequest:
        """Return the call that opens a benchmark; to be sent by its owner."""
        text = metadata.decode() if isinstance(metadata, bytes) else metadata
        arguments = (benchmark.abi_tuple(), sealed_keys, text)
        return self._request("open_benchmark", arguments, "opening the benchmark")

    def close_benchmark(self, benchmark: Benchmark) -> TransactionRequest:
        """Return the call that ends submissions; to be sent by the owner."""
        return self._request("close_benchmark", (benchmark.abi_tuple(),), "closing the benchmark")

    def submit(
        self, submission: Submission, sale: Sale, sealed_keys: bytes, fee_wei: int
    ) -> TransactionRequest:
        """Return the call that submits a model with its fee; to be sent by the developer."""
        arguments = (
            submission.benchmark_id,
            sale.abi_tuple(),
            submission.payee,
            submission.content_digest,
            submission.secret_commitment,
            submission.reserve,
            sealed_keys,
        )
        return self._request("submit", arguments, "submitting the model", value_wei=fee_wei)

    def accept(
        self,
        benchmark: Benchmark,
        submission: Submission,
        results: Sequence[tuple[Result, bytes]],
    ) -> TransactionRequest:
        """Return the call that brings signed results (result, 65-byte signature), in any order."""
        chain_id = self.client.chain_id
        ordered = sorted(
            results,
            key=lambda item: recover_signer(result_digest(chain_id, self.address, item[0]), item[1]),
        )
        arguments = (
            benchmark.abi_tuple(),
            submission.abi_tuple(),
            [result.abi_tuple(signature) for result, signature in ordered],
        )
        return self._request("accept", arguments, "bringing the result")

    def order(
        self, sale: Sale, deadline: int, items: Sequence[OrderItem], value_wei: int
    ) -> TransactionRequest:
        """Return the call that pays for models into escrow.

        Args:
            value_wei: the sum of the prices for a sale in ETH; 0 for a token, which is drawn by allowance.
        """
        arguments = (sale.abi_tuple(), deadline, [item.abi_tuple() for item in items])
        return self._request("order", arguments, "the order", value_wei=value_wei)

    def order_with_permit(
        self, sale: Sale, deadline: int, items: Sequence[OrderItem], permit: Permit
    ) -> TransactionRequest:
        """Return the call that pays for models in a token, with its allowance given in the same call."""
        arguments = (
            sale.abi_tuple(),
            deadline,
            [item.abi_tuple() for item in items],
            permit.deadline,
            permit.v,
            permit.r,
            permit.s,
        )
        return self._request("order_with_permit", arguments, "the order")

    def claim(
        self, order: OrderTerms, preimage: bytes, *, not_after_s: int | None = None
    ) -> TransactionRequest:
        """Return the call that reveals an order's key and pays its payee.

        Args:
            not_after_s: chain time after which the key is not shown if nobody saw it before; the order's
                deadline by default, from when on a refund may come first.
        """
        arguments = (order.sale.abi_tuple(), order.buyer, order.deadline, preimage)
        last_s = order.deadline if not_after_s is None else not_after_s
        return self._request("claim", arguments, "the claim", not_after_s=last_s)

    def refund(self, order: OrderTerms) -> TransactionRequest:
        """Return the call that gives an expired order's money back to its buyer."""
        arguments = (order.sale.abi_tuple(), order.buyer, order.deadline, order.hashlock)
        return self._request("refund", arguments, "the refund")

    def reclaim_fee(self, sale: Sale, submission: Submission) -> TransactionRequest:
        """Return the call that gives the fee of a submission without result back to its developer."""
        return self._request("reclaim_fee", (sale.abi_tuple(), submission.abi_tuple()), "taking back the fee")

    def withdraw(self, token: Address, to: Address) -> TransactionRequest:
        """Return the call that pays out the sender's credited shares. `token` is zero for ETH."""
        return self._request("withdraw", (token, to), "the withdrawal")

    # --- reads ------------------------------------------------------------------------------------

    def benchmark_status(self, benchmark_id: Hash32, *, block: BlockTag = "finalized") -> BenchmarkStatus:
        """Return where a benchmark stands; its state is ABSENT if there is none."""
        return decode_benchmark_status(self._read_int("benchmarks", (benchmark_id,), block))

    def submission_status(self, submission_id: Hash32, *, block: BlockTag = "finalized") -> SubmissionStatus:
        """Return where a submission stands; its state is ABSENT if there is none."""
        return decode_submission_status(self._read_int("submissions", (submission_id,), block))

    def record_status(self, record_id: Hash32, *, block: BlockTag = "finalized") -> RecordStatus:
        """Return the record of one developer in one benchmark; all zero if there is none."""
        return decode_record_status(self._read_int("records", (record_id,), block))

    def order_status(self, order_id: Hash32, *, block: BlockTag = "finalized") -> OrderStatus | None:
        """Return what an order holds in escrow; None if there is no such order, or not any more."""
        word = self._read_int("orders", (order_id,), block)
        return decode_order_status(word) if word else None

    def credit(self, token: Address, account: Address, *, block: BlockTag = "latest") -> int:
        """Return what an account can withdraw. `token` is zero for ETH."""
        return self._read_int("credits", (token, account), block)

    def price_of(self, curve: Sequence[CurvePoint], bound_ppm: int) -> int:
        """Return the contract's own price for a lower bound."""
        points = [point.abi_tuple() for point in curve]
        return self._read_int("price_of", (points, bound_ppm), "latest")

    def registry(self) -> Address:
        """Return the registry that the market asks."""
        value = self._read("REGISTRY", (), "latest")
        if not isinstance(value, bytes):
            raise MalformedReply("the rpc node's answer to REGISTRY is no address")
        return Address(value)

    def slots(
        self,
        *,
        benchmark_id: Hash32 | None = None,
        submission_id: Hash32 | None = None,
        record_id: Hash32 | None = None,
        order_id: Hash32 | None = None,
    ) -> list[int]:
        """Return the storage slots of the given things, in the order of these arguments: for proofs."""
        wanted = (
            (MARKET_SLOT_BENCHMARKS, benchmark_id),
            (MARKET_SLOT_SUBMISSIONS, submission_id),
            (MARKET_SLOT_RECORDS, record_id),
            (MARKET_SLOT_ORDERS, order_id),
        )
        return [mapping_slot(position, key) for position, key in wanted if key is not None]


class RegistryContract(_Contract):
    """`EnclaveRegistry.vy`."""

    artifact_name = "EnclaveRegistry"

    def register(
        self,
        verifier: Address,
        quote: bytes,
        evidence: bytes,
        signer: Address,
        sealing_key: bytes,
        config_digest: Hash32,
    ) -> TransactionRequest:
        """Return the call that registers an enclave whose quote `verifier` accepts with `evidence`."""
        arguments = (verifier, quote, evidence, signer, sealing_key, config_digest)
        return self._request("register", arguments, "registering the enclave")

    def invalidate(
        self,
        verifier: Address,
        signer: Address,
        measurement: Hash32,
        config_digest: Hash32,
        platform: Hash32,
        evidence: bytes,
    ) -> TransactionRequest:
        """Return the call that ends an enclave's registration because its platform was revoked."""
        arguments = (verifier, signer, measurement, config_digest, platform, evidence)
        return self._request("invalidate", arguments, "invalidating the enclave")

    def enclave_status(self, enclave_id: Hash32, *, block: BlockTag = "finalized") -> EnclaveStatus:
        """Return where an enclave's registration stands; its state is ABSENT if there is none."""
        return decode_enclave_status(self._read_int("enclaves", (enclave_id,), block))


class AuditorQuorum(_Contract):
    """`AuditorQuorumVerifier.vy`: M of N named keys state that they verified a quote."""

    artifact_name = "AuditorQuorumVerifier"

    def auditors(self) -> tuple[Address, ...]:
        """Return the auditors, ascending."""
        value = self._read("auditors", (), "latest")
        if not isinstance(value, tuple):
            raise MalformedReply("the rpc node's answer to auditors is no list")
        return tuple(Address(item) for item in value)

    def threshold(self) -> int:
        """Return how many auditors must agree."""
        return self._read_int("THRESHOLD", (), "latest")

    def assurance(self) -> int:
        """Return the assurance that this verifier's verdicts carry (`Assurance`)."""
        return self._read_int("ASSURANCE", (), "latest")

    def sign_quote_verified(self, account: Account, statement: QuoteVerified) -> bytes:
        """Return an auditor's signature (65 bytes) that it verified a quote."""
        return account.sign_digest(self._digest(statement))

    def sign_platform_revoked(self, account: Account, platform: Hash32) -> bytes:
        """Return an auditor's signature (65 bytes) that a platform must no longer be trusted."""
        return account.sign_digest(platform_revoked_digest(self.client.chain_id, self.address, platform))

    def encode_evidence(self, statement: QuoteVerified, signatures: Sequence[bytes]) -> bytes:
        """Return the evidence for `register`; the signatures may come in any order.

        Raises:
            VerificationError, InvalidInput: a signature is malformed.
        """
        kinds = ["bytes32", "bytes32", "bytes32", "uint8", "uint64", "bytes32", "bytes[]"]
        values = [
            statement.measurement,
            statement.report_data_high,
            statement.report_data_low,
            statement.tcb_status,
            statement.expiry,
            statement.platform,
            _ascending(self._digest(statement), signatures),
        ]
        return abi_encode(kinds, values)

    def encode_revocation(self, platform: Hash32, signatures: Sequence[bytes]) -> bytes:
        """Return the evidence for `invalidate`; the signatures may come in any order."""
        digest = platform_revoked_digest(self.client.chain_id, self.address, platform)
        return abi_encode(["bytes[]"], [_ascending(digest, signatures)])

    def _digest(self, statement: QuoteVerified) -> Hash32:
        return quote_verified_digest(self.client.chain_id, self.address, statement)


def _ascending(digest: Hash32, signatures: Sequence[bytes]) -> list[bytes]:
    by_signer = {recover_signer(digest, signature): signature for signature in signatures}
    if len(by_signer) != len(signatures):
        raise InvalidInput("one auditor signed twice")
    return [by_signer[signer] for signer in sorted(by_signer)]
