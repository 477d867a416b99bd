"""The market on the in-process chain, with everybody who takes part in it.

Actions take the protocol's own dataclasses, so the suite also holds contracts and `goldengrain_protocol` to the
same identifiers and digests.
"""

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import build_artifacts
from coincurve import PrivateKey

from goldengrain_protocol import messages
from goldengrain_protocol.constants import Assurance, Outcome, SubmissionState
from goldengrain_protocol.eip712 import SECP256K1_ORDER, address_of_public_key, result_digest
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.messages import Benchmark, CurvePoint, OrderTerms, Result, Sale, Submission
from goldengrain_protocol.types import ZERO_ADDRESS, Address, Hash32, address_from_hex, hash32, to_checksum
from tests.contracts import chain
from tests.contracts.chain import Contract

ETHER: Final = 10**18
DAY_S: Final = 86_400
START_S: Final = 1_800_000_000
START_BLOCK: Final = 20_000
ETH: Final = to_checksum(ZERO_ADDRESS)
REPORT_DATA_TAG: Final = keccak256(b"goldengrain/report-data/v1")


def digest(label: str) -> Hash32:
    """Return 32 bytes that stand for something named `label`."""
    return hash32(hashlib.sha256(label.encode()).digest())


@functools.cache
def raw(checksum_address: str) -> Address:
    """Return the 20 bytes of an address."""
    return address_from_hex(checksum_address)


@dataclass(frozen=True, slots=True)
class Signer:
    """A secp256k1 key and its address."""

    key: PrivateKey
    address: Address

    @classmethod
    def named(cls, label: str) -> "Signer":
        key = PrivateKey(digest(f"key of {label}"))
        return cls(key, address_of_public_key(key.public_key.format(compressed=False)))

    def sign(self, signed_digest: bytes) -> bytes:
        """Return r, s, v (27 or 28), with low s."""
        signature = self.key.sign_recoverable(signed_digest, hasher=None)
        return bytes(signature[:64]) + bytes([27 + signature[64]])


def with_high_s(signature: bytes) -> bytes:
    """Return the other signature that recovers to the same address, with s in the upper half."""
    s = SECP256K1_ORDER - int.from_bytes(signature[32:64], "big")
    return signature[:32] + s.to_bytes(32, "big") + bytes([55 - signature[64]])


@dataclass(frozen=True, slots=True)
class Entry:
    """A submission as its developer knows it."""

    benchmark: Benchmark
    body: Submission
    body_hash: Hash32
    submission_id: Hash32
    sealed_keys: bytes


@dataclass(frozen=True, slots=True)
class Order:
    """One open order as its buyer knows it."""

    terms: OrderTerms
    preimage: Hash32
    amount: int

    @property
    def order_id(self) -> Hash32:
        return messages.order_id(self.terms)


class Bazaar:
    """Contracts of one code generator, one enclave registered, accounts with ETH and tokens."""

    def __init__(self, generator: str) -> None:
        contracts = build_artifacts.CONTRACTS
        chain.set_time(START_S)
        chain.set_block(START_BLOCK)
        chain.deploy_history(START_BLOCK)
        self.generator = generator
        self.owner, self.developer, self.other_developer, self.buyer, self.other_buyer, self.stranger = (
            chain.account(name)
            for name in ("owner", "developer", "other developer", "buyer", "other buyer", "stranger")
        )
        self.worker, self.other_worker, self.royalty_recipient = (
            chain.account(name, balance=0) for name in ("worker", "other worker", "royalty recipient")
        )
        self.registry = chain.deploy(contracts / "EnclaveRegistry.vy", generator=generator)
        self.market = chain.deploy(contracts / "Market.vy", self.registry.address, generator=generator)
        self.verifier = chain.deploy(chain.SOURCES / "StubVerifier.vy")
        self.token = chain.deploy(contracts / "dev/DevToken.vy", "Dollar", "DUSD", 6, generator=generator)
        self.hostile_token = chain.deploy(chain.SOURCES / "HostileToken.vy")
        self.receiver = chain.deploy(chain.SOURCES / "Receiver.vy", 0, ETH, b"")
        self.chain_id = 1
        self.market_address = raw(self.market.address)
        self.count = 0
        self.enclave = self.register("enclave")
        for token in (self.token, self.hostile_token):
            for holder in (self.buyer, self.other_buyer, self.receiver.address):
                token.call("mint", holder, 10**30)
                token.call("approve", self.market.address, 10**30, sender=holder)

    def fresh(self, label: str) -> Hash32:
        """Return a digest not returned before."""
        self.count += 1
        return digest(f"{label} {self.count}")

    # Enclaves

    def register(
        self,
        label: str,
        *,
        platform: str | None = None,
        tcb_status: int = 0,
        assurance: int = Assurance.HARDWARE,
        expiry: int = START_S + 365 * DAY_S,
        config: str = "config",
        measurement: str = "measurement",
    ) -> Signer:
        """Register an enclave whose quote says what the arguments say; return its signer."""
        signer = Signer.named(label)
        sealing_key = digest(f"sealing key of {label}")
        high = keccak256(REPORT_DATA_TAG + signer.address.rjust(32, b"\x00") + sealing_key + digest(config))
        verdict = (
            digest(measurement), high, bytes(32), tcb_status, int(assurance), expiry,
            digest(f"platform of {platform or label}"),
        )  # fmt: skip
        self.verifier.call("set_verdict", verdict)
        self.registry.call(
            "register",
            self.verifier.address,
            b"quote",
            b"evidence",
            to_checksum(signer.address),
            sealing_key,
            digest(config),
        )
        return signer

    # Benchmarks and submissions

    def terms(self, **changes: Any) -> Benchmark:
        """Return the terms of an ETH benchmark without royalty, with `changes`."""
        terms = Benchmark(
            owner=raw(self.owner),
            sale=Sale(ZERO_ADDRESS, ZERO_ADDRESS, 0),
            spec_digest=digest("spec"),
            testset_digest=digest("test set"),
            verifier=raw(self.verifier.address),
            measurement=digest("measurement"),
            config_digest=digest("config"),
            assurance=int(Assurance.SIMULATED),
            tcb_allowed=1,
            quorum=1,
            fee_wei=1_000,
            submission_cap=5,
            step_ppm=10_000,
            submissions_close=START_S + 30 * DAY_S,
            result_window_s=DAY_S,
            curve=(CurvePoint(500_000, 10_001), CurvePoint(900_000, 100_000), CurvePoint(990_000, 1_000_000)),
        )
        return replace(terms, **changes)

    def sale(self, token: Contract | None = None, royalty_bps: int = 0) -> Sale:
        return Sale(
            raw(token.address) if token else ZERO_ADDRESS,
            raw(self.royalty_recipient) if royalty_bps else ZERO_ADDRESS,
            royalty_bps,
        )

    def benchmark_id(self, benchmark: Benchmark) -> Hash32:
        return messages.benchmark_id(self.chain_id, self.market_address, benchmark)

    def open(self, benchmark: Benchmark, sender: str | None = None) -> Benchmark:
        self.market.call(
            "open_benchmark", benchmark.abi_tuple(), b"sealed test set", "{}", sender=sender or self.owner
        )
        return benchmark

    def entry(self, benchmark: Benchmark, developer: str | None = None, **changes: Any) -> Entry:
        """Return a submission that was not sent yet."""
        developer = developer or self.developer
        sealed_keys = self.fresh("sealed keys") * 3
        body = Submission(
            benchmark_id=self.benchmark_id(benchmark),
            developer=raw(developer),
            payee=raw(developer),
            content_digest=self.fresh("content"),
            secret_commitment=self.fresh("commitment"),
            sealed_digest=keccak256(sealed_keys),
            reserve=0,
        )
        return self._entry_of(benchmark, replace(body, **changes), sealed_keys)

    def _entry_of(self, benchmark: Benchmark, body: Submission, sealed_keys: bytes) -> Entry:
        body_hash = messages.body_hash(self.chain_id, self.market_address, body)
        submission_id = messages.submission_id(benchmark.sale, body_hash)
        return Entry(benchmark, body, body_hash, submission_id, sealed_keys)

    def submit(
        self, entry: Entry, *, sender: str | None = None, sale: Sale | None = None, value: int | None = None
    ) -> Entry:
        """Send a submission as its developer, with the fee, unless told otherwise."""
        self.market.call(
            "submit",
            entry.body.benchmark_id,
            (sale or entry.benchmark.sale).abi_tuple(),
            to_checksum(entry.body.payee),
            entry.body.content_digest,
            entry.body.secret_commitment,
            entry.body.reserve,
            entry.sealed_keys,
            sender=sender or to_checksum(entry.body.developer),
            value=entry.benchmark.fee_wei if value is None else value,
        )
        return entry

    # Results

    def result(self, entry: Entry, bound_ppm: int = 800_000, **changes: Any) -> Result:
        number = changes.pop("anchor_number", START_BLOCK - 1)
        result = Result(
            submission_id=entry.submission_id,
            outcome=Outcome.SCORED,
            score_ppm=min(bound_ppm + 5_000, 1_000_000),
            bound_ppm=bound_ppm,
            worker=raw(self.worker),
            anchor_number=number,
            anchor_hash=hash32(chain.block_hash(number)),
            evidence_digest=self.fresh("evidence"),
        )
        return replace(result, **changes)

    def failure(self, entry: Entry, **changes: Any) -> Result:
        return self.result(entry, 0, outcome=Outcome.MODEL_FAILED, score_ppm=0, **changes)

    def signed(self, result: Result, signer: Signer | None = None) -> tuple[Any, ...]:
        """Return the `SignedResult` of the contract's ABI."""
        signature = (signer or self.enclave).sign(result_digest(self.chain_id, self.market_address, result))
        return result.abi_tuple(signature)

    def accept(
        self, entry: Entry, results: Sequence[tuple[Any, ...]], benchmark: Benchmark | None = None
    ) -> tuple[SubmissionState, int]:
        """Post results as a stranger; return the submission's new state and price."""
        self.market.call(
            "accept",
            (benchmark or entry.benchmark).abi_tuple(),
            entry.body.abi_tuple(),
            list(results),
            sender=self.stranger,
        )
        (scored,) = self.market.events_named("Scored")
        return SubmissionState(scored["state"]), scored["price"]

    def priced(
        self, benchmark: Benchmark, developer: str | None = None, bound_ppm: int = 800_000, **changes: Any
    ) -> Entry:
        """Bring a new submission to a price."""
        entry = self.submit(self.entry(benchmark, developer, **changes))
        state, _ = self.accept(entry, [self.signed(self.result(entry, bound_ppm))])
        assert state == SubmissionState.PRICED
        return entry

    # Orders

    def price(self, entry: Entry) -> int:
        word = self.market.call("submissions", entry.submission_id)
        return (word >> 8) & (2**88 - 1) if word & 0xFF == SubmissionState.PRICED else 0

    def orders_for(
        self, entries: Sequence[Entry], buyer: str | None = None, deadline: int | None = None
    ) -> list[Order]:
        """Return orders, each with its own preimage, that were not sent yet."""
        deadline = chain.now() + DAY_S if deadline is None else deadline
        orders = []
        for entry in entries:
            preimage = self.fresh("preimage")
            terms = OrderTerms(entry.benchmark.sale, raw(buyer or self.buyer), deadline, keccak256(preimage))
            orders.append(Order(terms, preimage, self.price(entry)))
        return orders

    def items(self, entries: Sequence[Entry], orders: Sequence[Order]) -> list[tuple[bytes, bytes, bytes]]:
        return [
            (entry.body_hash, self.fresh("buyer key"), order.terms.hashlock)
            for entry, order in zip(entries, orders, strict=True)
        ]

    def order(
        self,
        entries: Sequence[Entry],
        orders: Sequence[Order] | None = None,
        *,
        value: int | None = None,
        **how: Any,
    ) -> list[Order]:
        """Order entries of one sale, paying what they cost; return the orders."""
        orders = list(orders) if orders is not None else self.orders_for(entries, **how)
        sale, deadline = orders[0].terms.sale, orders[0].terms.deadline
        total = sum(order.amount for order in orders) if sale.token == ZERO_ADDRESS else 0
        self.market.call(
            "order",
            sale.abi_tuple(),
            deadline,
            self.items(entries, orders),
            sender=to_checksum(orders[0].terms.buyer),
            value=total if value is None else value,
        )
        return orders

    def claim(
        self, order: Order, *, sender: str | None = None, gas: int = chain.ENOUGH_GAS, **changes: Any
    ) -> None:
        terms = replace(order.terms, **changes)
        self.market.call(
            "claim",
            terms.sale.abi_tuple(),
            to_checksum(terms.buyer),
            terms.deadline,
            order.preimage,
            sender=sender or self.stranger,
            gas=gas,
        )

    def refund(self, order: Order, *, sender: str | None = None, gas: int = chain.ENOUGH_GAS) -> None:
        self.market.call(
            "refund",
            order.terms.sale.abi_tuple(),
            to_checksum(order.terms.buyer),
            order.terms.deadline,
            order.terms.hashlock,
            sender=sender or self.stranger,
            gas=gas,
        )

    def reclaim_fee(self, entry: Entry, sale: Sale | None = None, gas: int = chain.ENOUGH_GAS) -> None:
        self.market.call(
            "reclaim_fee",
            (sale or entry.benchmark.sale).abi_tuple(),
            entry.body.abi_tuple(),
            sender=self.stranger,
            gas=gas,
        )

    # What is where

    def credit(self, account: str, token: Contract | None = None) -> int:
        return int(self.market.call("credits", token.address if token else ETH, account))

    def order_word(self, order: Order) -> int:
        return int(self.market.call("orders", order.order_id))

    def locked(self, order: Order) -> int:
        """Return the amount that the market holds for an order; 0 if it is not open."""
        return self.order_word(order) & (2**96 - 1)

    def state(self, entry: Entry) -> SubmissionState:
        return SubmissionState(self.market.call("submissions", entry.submission_id) & 0xFF)

    def record(self, benchmark: Benchmark, developer: str) -> tuple[int, int, int, int]:
        """Return (open, count, best score_ppm, best bound_ppm)."""
        record_id = messages.record_id(self.benchmark_id(benchmark), raw(developer))
        word = self.market.call("records", record_id)
        return word & 0xFF, word >> 8 & 0xFFFF, word >> 24 & 0xFFFFFF, word >> 48 & 0xFFFFFF
