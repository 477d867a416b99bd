"""What Market must do, in Python: the same checks in the same order, and where every coin is.

The model decides by the protocol package's own functions wherever they exist, keeps each storage word as an
integer, and every account's balance. The state machine compares all of it with the chain after every step.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from goldengrain_protocol import messages, pricing
from goldengrain_protocol.constants import BenchmarkState, Outcome, SubmissionState
from goldengrain_protocol.messages import Benchmark, OrderTerms, Result, Sale, Submission
from goldengrain_protocol.types import ZERO_ADDRESS, Address, Hash32

MAX_ORDER_S = 30 * 86_400


class Refused(Exception):
    """The model expects the call to revert with this reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def demand(condition: bool, reason: str) -> None:
    """Raise `Refused` unless the condition holds."""
    if not condition:
        raise Refused(reason)


@dataclass(slots=True)
class Money:
    """Every balance of ETH and of every token, and how receivers and tokens behave at the moment."""

    balances: dict[Address, defaultdict[Address, int]] = field(default_factory=dict)
    refusing: set[Address] = field(default_factory=set)
    """Accounts that revert when they are sent ETH."""
    blacklisted: set[Address] = field(default_factory=set)
    """Accounts that the misbehaving token refuses to pay."""
    misbehaving: Address = ZERO_ADDRESS
    mode: str = "honest"
    """Of the misbehaving token: honest, returns nothing, false, reverts, moves nothing."""
    fee_bps: int = 0

    def pull(self, token: Address, sender: Address, market: Address, amount: int) -> None:
        """Move tokens into the market, or raise `Refused`."""
        if token == self.misbehaving:
            demand(self.mode != "reverts", "token: refused")
            demand(self.mode != "false", "market: token refused transfer")
            demand(
                self.mode != "moves nothing" and amount * self.fee_bps // 10_000 == 0,
                "market: token took a fee",
            )
        self._move(token, sender, market, amount)

    def push(self, token: Address, market: Address, to: Address, amount: int) -> bool:
        """Move money out of the market; False where the receiver or the token fails."""
        if self.failure(token, to):
            return False
        if token == self.misbehaving and self.mode == "moves nothing":
            return True
        fee = amount * self.fee_bps // 10_000 if token == self.misbehaving else 0
        self._move(token, market, to, amount, fee)
        return True

    def failure(self, token: Address, to: Address) -> str:
        """Return why a payment would fail when it is made with all the gas there is; empty if it would not."""
        if token == ZERO_ADDRESS:
            return "market: receiver refused" if to in self.refusing else ""
        if token != self.misbehaving:
            return ""
        if self.mode == "reverts":
            return "token: refused"
        if to in self.blacklisted:
            return "token: blacklisted"
        return "market: token refused transfer" if self.mode == "false" else ""

    def _move(self, token: Address, sender: Address, to: Address, amount: int, fee: int = 0) -> None:
        self.balances[token][sender] -= amount
        self.balances[token][to] += amount - fee


@dataclass(slots=True)
class MarketModel:
    """The contract's five mappings and its rules."""

    chain_id: int
    address: Address
    money: Money
    now: int
    benchmarks: dict[Hash32, int] = field(default_factory=dict)
    submissions: dict[Hash32, int] = field(default_factory=dict)
    records: dict[Hash32, int] = field(default_factory=dict)
    orders: dict[Hash32, int] = field(default_factory=dict)
    credits: dict[tuple[Address, Address], int] = field(default_factory=dict)
    order_tokens: dict[Hash32, Address] = field(default_factory=dict)
    """Only for the invariant: the contract need not know."""

    def open_benchmark(self, sender: Address, terms: Benchmark) -> None:
        demand(terms.owner == sender, "market: not the owner")
        demand(self.now <= terms.submissions_close, "market: bad closing time")
        benchmark_id = messages.benchmark_id(self.chain_id, self.address, terms)
        demand(benchmark_id not in self.benchmarks, "market: benchmark exists")
        self.benchmarks[benchmark_id] = (
            BenchmarkState.OPEN
            | terms.submission_cap << 8
            | terms.submissions_close << 24
            | terms.result_window_s << 64
            | terms.fee_wei << 96
        )

    def close_benchmark(self, sender: Address, terms: Benchmark) -> None:
        demand(terms.owner == sender, "market: not the owner")
        benchmark_id = messages.benchmark_id(self.chain_id, self.address, terms)
        demand(
            self._state(self.benchmarks, benchmark_id) == BenchmarkState.OPEN, "market: benchmark not open"
        )
        self.benchmarks[benchmark_id] += BenchmarkState.CLOSED - BenchmarkState.OPEN

    def submit(self, terms: Benchmark, sale: Sale, body: Submission, value: int) -> None:
        word = self.benchmarks.get(body.benchmark_id, 0)
        demand(word & 0xFF == BenchmarkState.OPEN, "market: benchmark not open")
        demand(self.now <= terms.submissions_close, "market: submissions closed")
        demand(value == terms.fee_wei, "market: wrong fee")
        record_id = messages.record_id(body.benchmark_id, body.developer)
        record = self.records.get(record_id, 0)
        demand(record & 0xFF == 0, "market: another submission is open")
        demand(record >> 8 & 0xFFFF < terms.submission_cap, "market: submission cap reached")
        submission_id = self._submission_id(sale, body)
        demand(submission_id not in self.submissions, "market: submission exists")
        self.records[record_id] = record + 1 + 256
        self.submissions[submission_id] = (
            SubmissionState.OPEN | self.now + terms.result_window_s << 8 | terms.fee_wei << 48
        )
        self.money._move(ZERO_ADDRESS, body.developer, self.address, value)

    def accept(self, terms: Benchmark, body: Submission, results: Sequence[Result]) -> None:
        """Results whose signatures, anchors and enclaves are in order."""
        benchmark_id = messages.benchmark_id(self.chain_id, self.address, terms)
        demand(body.benchmark_id == benchmark_id, "market: wrong benchmark")
        submission_id = self._submission_id(terms.sale, body)
        word = self.submissions.get(submission_id, 0)
        demand(word & 0xFF == SubmissionState.OPEN, "market: submission not open")
        demand(self.now <= word >> 8 & (2**40 - 1), "market: result too late")
        demand(len(results) == terms.quorum, "market: wrong number of results")
        for result, fee in zip(results, pricing.fee_shares(word >> 48, len(results)), strict=True):
            self._credit(ZERO_ADDRESS, result.worker, fee)
        record_id = messages.record_id(benchmark_id, body.developer)
        record = self.records[record_id]
        best_score, best_bound = record >> 24 & 0xFFFFFF, record >> 48
        chosen = pricing.chosen_result(results)
        state, price = pricing.settle(
            terms.curve, chosen, best_bound_ppm=best_bound, step_ppm=terms.step_ppm, reserve=body.reserve
        )
        scored = chosen.outcome == Outcome.SCORED
        if scored and pricing.is_improved(chosen.bound_ppm, best_bound, terms.step_ppm):
            best_score, best_bound = chosen.score_ppm, chosen.bound_ppm
        self.records[record_id] = record & 0xFFFF00 | best_score << 24 | best_bound << 48
        self.submissions[submission_id] = int(state)
        if state == SubmissionState.PRICED:
            self.submissions[submission_id] |= price << 8 | int.from_bytes(body.payee, "big") << 96

    def reclaim_fee(self, sale: Sale, body: Submission) -> None:
        submission_id = self._submission_id(sale, body)
        word = self.submissions.get(submission_id, 0)
        demand(word & 0xFF == SubmissionState.OPEN, "market: submission not open")
        demand(self.now > word >> 8 & (2**40 - 1), "market: result not late")
        self.submissions[submission_id] = int(SubmissionState.RECLAIMED)
        self.records[messages.record_id(body.benchmark_id, body.developer)] -= 1
        self._pay(ZERO_ADDRESS, body.developer, word >> 48)

    def order(self, orders: Sequence[OrderTerms], body_hashes: Sequence[Hash32], value: int) -> None:
        """One order call: all orders have the same sale, buyer and deadline."""
        sale, buyer, deadline = orders[0].sale, orders[0].buyer, orders[0].deadline
        demand(self.now < deadline <= self.now + MAX_ORDER_S, "market: bad deadline")
        opened: dict[Hash32, int] = {}
        total = 0
        for order, body_hash in zip(orders, body_hashes, strict=True):
            word = self.submissions.get(messages.submission_id(sale, body_hash), 0)
            demand(word & 0xFF == SubmissionState.PRICED, "market: not for sale")
            order_id = messages.order_id(order)
            demand(order_id not in opened and not self.orders.get(order_id), "market: order exists")
            price = word >> 8 & (2**88 - 1)
            opened[order_id] = price | word >> 96 << 96
            total += price
        if sale.token == ZERO_ADDRESS:
            demand(value == total, "market: wrong payment")
            self.money._move(ZERO_ADDRESS, buyer, self.address, total)
        else:
            demand(value == 0, "market: wrong payment")
            self.money.pull(sale.token, buyer, self.address, total)
        self.orders |= opened
        self.order_tokens |= dict.fromkeys(opened, sale.token)

    def claim(self, order: OrderTerms) -> None:
        """The order whose hashlock the preimage opens."""
        word = self._close_order(order)
        amount = word & (2**96 - 1)
        royalty = pricing.royalty_of(amount, order.sale.royalty_bps)
        self._credit(order.sale.token, order.sale.royalty_recipient, royalty)
        self._pay(order.sale.token, Address((word >> 96).to_bytes(20, "big")), amount - royalty)

    def refund(self, order: OrderTerms) -> None:
        demand(self.now > order.deadline, "market: order not expired")
        word = self._close_order(order)
        self._pay(order.sale.token, order.buyer, word & (2**96 - 1))

    def withdraw(self, sender: Address, token: Address, to: Address) -> None:
        demand(to not in (ZERO_ADDRESS, self.address), "market: no receiver")
        amount = self.credits.get((token, sender), 0)
        demand(amount != 0, "market: nothing credited")
        reason = self.money.failure(token, to)
        demand(reason == "", reason)
        self.credits[token, sender] = 0
        self.money.push(token, self.address, to, amount)

    def owed(self, token: Address) -> int:
        """Return what the market owes in `token`: open orders, credits and (ETH) open fees."""
        owed = sum(w & (2**96 - 1) for i, w in self.orders.items() if self.order_tokens[i] == token)
        owed += sum(amount for (kind, _), amount in self.credits.items() if kind == token)
        if token == ZERO_ADDRESS:
            owed += sum(w >> 48 for w in self.submissions.values() if w & 0xFF == SubmissionState.OPEN)
        return owed

    def _submission_id(self, sale: Sale, body: Submission) -> Hash32:
        return messages.submission_id(sale, messages.body_hash(self.chain_id, self.address, body))

    @staticmethod
    def _state(words: dict[Hash32, int], key: Hash32) -> int:
        return words.get(key, 0) & 0xFF

    def _close_order(self, order: OrderTerms) -> int:
        order_id = messages.order_id(order)
        word = self.orders.get(order_id, 0)
        demand(word != 0, "market: no such order")
        self.orders[order_id] = 0
        return word

    def _credit(self, token: Address, account: Address, amount: int) -> None:
        if amount:
            self.credits[token, account] = self.credits.get((token, account), 0) + amount

    def _pay(self, token: Address, to: Address, amount: int) -> None:
        if amount and not self.money.push(token, self.address, to, amount):
            self._credit(token, to, amount)
