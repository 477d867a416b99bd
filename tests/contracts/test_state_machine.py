"""Any sequence of calls: the contract does what the model does, and never owes more than it has.

Among the actors are a receiver that refuses ETH or calls back, and a token that takes fees, returns nothing or
false, reverts, blacklists, calls back, or pretends to pay. The invariant is Market's own (see its docstring):
what the market holds equals what it owes, for ETH and every well-behaved token; never less for the other.
"""

import contextlib
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import boa
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from goldengrain_protocol import messages
from goldengrain_protocol.constants import SubmissionState
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.messages import Benchmark, CurvePoint, OrderTerms, Sale
from goldengrain_protocol.types import ZERO_ADDRESS, Address, Hash32, to_checksum
from tests.contracts import chain
from tests.contracts.bazaar import DAY_S, ETHER, START_S, Bazaar, Entry, Order, Signer, digest, raw
from tests.contracts.market_model import MarketModel, Money, Refused

TOKEN_MODES = {"honest": 0, "returns nothing": 1, "false": 2, "reverts": 3, "moves nothing": 7}
ACCEPTS, REFUSES, REENTERS = 0, 1, 2
MOSTLY = st.sampled_from([True] * 6 + [False])
"""True where a call should be one that succeeds."""

CURVES = (
    (CurvePoint(0, 1),),
    (CurvePoint(500_000, 10_001), CurvePoint(900_000, 100_003)),
    (CurvePoint(300_000, 7), CurvePoint(700_000, 2**88 - 1)),
)


def _refusal(call: Callable[[], Any], kind: type[Refused] | type[chain.Reverted]) -> str | None:
    """Make the call; return the reason why it was refused, None if it was not."""
    try:
        call()
    except kind as refused:
        return refused.reason
    return None


class MarketMachine(RuleBasedStateMachine):
    """One run on a state of its own."""

    bazaar: ClassVar[Bazaar]
    calls: ClassVar[int] = 0
    successes: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self._state = contextlib.ExitStack()
        self._state.enter_context(boa.env.anchor())
        bazaar = self.bazaar
        receiver = bazaar.receiver.address
        boa.env.set_balance(receiver, 10**12 * ETHER)
        self.people = [bazaar.developer, bazaar.other_developer, receiver]
        self.buyers = [bazaar.buyer, bazaar.other_buyer, receiver]
        self.workers = [bazaar.worker, bazaar.other_worker, receiver]
        for buyer in self.buyers[:2]:
            boa.env.set_balance(buyer, 10**12 * ETHER)
        self.accounts = sorted(
            {
                *self.people,
                *self.buyers,
                *self.workers,
                bazaar.owner,
                bazaar.royalty_recipient,
                bazaar.market.address,
            }
        )
        self.signers = sorted((bazaar.register(f"member {i}") for i in range(3)), key=lambda s: s.address)
        self.tokens = {
            ZERO_ADDRESS: None,
            raw(bazaar.token.address): bazaar.token,
            raw(bazaar.hostile_token.address): bazaar.hostile_token,
        }
        money = Money(misbehaving=raw(bazaar.hostile_token.address))
        for token in self.tokens:
            balances = {raw(account): self._balance(token, account) for account in self.accounts}
            money.balances[token] = defaultdict(int, balances)
        self.model = MarketModel(bazaar.chain_id, bazaar.market_address, money, START_S)
        self.benchmarks: list[Benchmark] = []
        self.entries: list[Entry] = []
        self.orders: list[Order] = []
        self.entry_of: dict[Hash32, Entry] = {}
        self.gifts: defaultdict[Address, int] = defaultdict(int)

    def teardown(self) -> None:
        self._state.close()

    # Both sides of every call

    def _balance(self, token: Address, account: str) -> int:
        if token == ZERO_ADDRESS:
            return chain.balance_of(account)
        contract = self.tokens[token]
        assert contract is not None
        return contract.stored("balanceOf", raw(account))

    def _both(self, in_model: Callable[[], None], on_chain: Callable[[], Any]) -> bool:
        """Make a call on both sides; they must agree on whether and why it fails."""
        cls = type(self)
        cls.calls += 1
        expected = _refusal(in_model, Refused)
        assert _refusal(on_chain, chain.Reverted) == expected
        cls.successes += expected is None
        return expected is None

    def _pass_time(self, seconds: int) -> None:
        self.model.now += seconds
        chain.set_time(self.model.now)

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        self._make_receiver(REENTERS, self._hook(data))
        self._let_the_token_call_back(data)
        self._open_benchmark(data, honest=True)

    @rule(data=st.data(), honest=MOSTLY)
    def act(self, data: st.DataObject, honest: bool) -> None:
        """Something happens that can happen now; or, unless `honest`, something that perhaps cannot.

        One rule for all: Hypothesis switches whole rules off for whole runs, and a sale needs most of them.
        """
        weights = {
            self._open_benchmark: 1 if len(self.benchmarks) < 4 else 0,
            self._close_benchmark: 1 if len(self.benchmarks) > 2 else 0,
            self._submit: 4 if self._submittable() else 0,
            self._accept: 6 if self._awaiting_result() else 0,
            self._accept_a_forgery: 1 if self._awaiting_result() else 0,
            self._reclaim_fee: 1 if self._in_state(SubmissionState.OPEN) else 0,
            self._order: 4 if self._in_state(SubmissionState.PRICED) else 0,
            self._order_again: 1 if self._open_orders() else 0,
            self._claim: 4 if self._open_orders() else 0,
            self._refund: 2 if self._open_orders() else 0,
            self._refund_early: 1 if self._running_orders() else 0,
            self._withdraw: 2 if any(self.model.credits.values()) else 0,
            self._change_the_world: 3,
            self._let_time_pass: 1,
        }
        actions = [action for action, weight in weights.items() for _ in range(weight)]
        data.draw(st.sampled_from(actions), label="action")(data, honest)

    # Benchmarks

    def _open_benchmark(self, data: st.DataObject, honest: bool) -> None:
        bps = data.draw(st.sampled_from([0, 0, 1, 250, 10_000]))
        sale = Sale(
            data.draw(st.sampled_from([*self.tokens, self.model.money.misbehaving])),
            raw(self.bazaar.royalty_recipient) if bps else ZERO_ADDRESS,
            bps,
        )
        terms = self.bazaar.terms(
            sale=sale,
            spec_digest=self.bazaar.fresh("spec"),
            quorum=data.draw(st.sampled_from([1, 1, 3])),
            fee_wei=data.draw(st.sampled_from([0, 1, 1_000, ETHER])),
            submission_cap=data.draw(st.sampled_from([2, 9])),
            step_ppm=data.draw(st.sampled_from([1, 50_000])),
            submissions_close=self.model.now + data.draw(st.sampled_from([DAY_S, 90 * DAY_S])),
            curve=data.draw(st.sampled_from(CURVES)),
        )
        if not honest and self.benchmarks:
            terms = self.benchmarks[0]
        owner = self.bazaar.owner
        if self._both(
            lambda: self.model.open_benchmark(raw(owner), terms),
            lambda: self.bazaar.open(terms, sender=owner),
        ):
            self.benchmarks.append(terms)

    def _close_benchmark(self, data: st.DataObject, honest: bool) -> None:
        terms = data.draw(st.sampled_from(self.benchmarks))
        sender = self.bazaar.owner if honest else self.bazaar.developer
        self._both(
            lambda: self.model.close_benchmark(raw(sender), terms),
            lambda: self.bazaar.market.call("close_benchmark", terms.abi_tuple(), sender=sender),
        )

    # Submissions

    def _submittable(self) -> list[tuple[Benchmark, str]]:
        """Benchmark and developer, where a submission would be accepted now."""
        found = []
        for terms in self.benchmarks:
            benchmark_id = self.bazaar.benchmark_id(terms)
            for developer in self.people:
                record = self.model.records.get(messages.record_id(benchmark_id, raw(developer)), 0)
                if (
                    self.model.benchmarks[benchmark_id] & 0xFF == 1
                    and self.model.now <= terms.submissions_close
                    and record & 0xFF == 0
                    and record >> 8 & 0xFFFF < terms.submission_cap
                ):
                    found.append((terms, developer))
        return found

    def _submit(self, data: st.DataObject, honest: bool) -> None:
        possible = self._submittable()
        everything = [(terms, developer) for terms in self.benchmarks for developer in self.people]
        terms, developer = data.draw(st.sampled_from(possible if honest else everything))
        entry = self.bazaar.entry(
            terms,
            developer,
            payee=raw(data.draw(st.sampled_from(self.people))),
            reserve=data.draw(st.sampled_from([0, 0, 0, 10_500, 2**88 - 1])),
        )
        if not honest and self.entries and data.draw(st.booleans()):
            entry = data.draw(st.sampled_from(self.entries))
        value = entry.benchmark.fee_wei + (0 if honest else data.draw(st.sampled_from([0, 1])))
        if self._both(
            lambda: self.model.submit(entry.benchmark, entry.benchmark.sale, entry.body, value),
            lambda: self.bazaar.submit(entry, value=value),
        ):
            self.entries.append(entry)

    def _in_state(self, state: SubmissionState) -> list[Entry]:
        return [e for e in self.entries if self.model.submissions[e.submission_id] & 0xFF == state]

    def _deadline(self, entry: Entry) -> int:
        return self.model.submissions[entry.submission_id] >> 8 & (2**40 - 1)

    def _awaiting_result(self) -> list[Entry]:
        return [e for e in self._in_state(SubmissionState.OPEN) if self.model.now <= self._deadline(e)]

    def _accept(self, data: st.DataObject, honest: bool) -> None:
        fresh = self._awaiting_result()
        entry = data.draw(st.sampled_from(fresh if honest else self.entries))
        results = []
        for _ in range(entry.benchmark.quorum):
            worker = raw(data.draw(st.sampled_from(self.workers)))
            anchor = self.bazaar.result(entry).anchor_number - data.draw(st.sampled_from([0, 3, 400]))
            if data.draw(st.sampled_from([True] * 4 + [False])):
                bound = data.draw(st.sampled_from([0, 650_000, 700_000, 750_000, 899_999, 10**6]))
                results.append(self.bazaar.result(entry, bound, worker=worker, anchor_number=anchor))
            else:
                results.append(self.bazaar.failure(entry, worker=worker, anchor_number=anchor))
        signed = [self.bazaar.signed(r, s) for r, s in zip(results, self.signers, strict=False)]
        terms = entry.benchmark if honest else data.draw(st.sampled_from(self.benchmarks))
        self._both(
            lambda: self.model.accept(terms, entry.body, results),
            lambda: self.bazaar.accept(entry, signed, benchmark=terms),
        )

    def _accept_a_forgery(self, data: st.DataObject, _honest: bool) -> None:
        """Refused, and nothing changes: an unregistered signer, a fork's anchor, a quorum not met."""
        entry = data.draw(st.sampled_from(self._awaiting_result()))
        kind = data.draw(st.sampled_from(["stranger", "fork", "too few"]))
        result = self.bazaar.result(entry, **({"anchor_hash": digest("fork")} if kind == "fork" else {}))
        signer = Signer.named("stranger") if kind == "stranger" else self.signers[0]
        signed = [self.bazaar.signed(result, signer)] * (0 if kind == "too few" else entry.benchmark.quorum)
        with pytest.raises(chain.Reverted, match=r"not registered|unknown anchor|wrong number"):
            self.bazaar.accept(entry, signed)

    def _reclaim_fee(self, data: st.DataObject, honest: bool) -> None:
        open_entries = self._in_state(SubmissionState.OPEN)
        entry = data.draw(st.sampled_from(open_entries if honest else self.entries))
        if honest:
            self._pass_time(max(0, self._deadline(entry) + 1 - self.model.now))
        self._both(
            lambda: self.model.reclaim_fee(entry.benchmark.sale, entry.body),
            lambda: self.bazaar.reclaim_fee(entry),
        )

    # Orders

    def _order(self, data: st.DataObject, honest: bool) -> None:
        priced = self._in_state(SubmissionState.PRICED)
        if (honest and not priced) or not self.entries:
            return
        first = data.draw(st.sampled_from(priced if honest else self.entries))
        alike = [e for e in (priced if honest else self.entries) if e.benchmark.sale == first.benchmark.sale]
        entries = [first, *data.draw(st.lists(st.sampled_from(alike), max_size=3))]
        buyer = data.draw(st.sampled_from(self.buyers))
        duration = data.draw(st.sampled_from([60, DAY_S, 30 * DAY_S]))
        orders = self.bazaar.orders_for(entries, buyer, self.model.now + duration)
        sale = orders[0].terms.sale
        total = sum(self.bazaar.price(entry) for entry in entries)
        value = (total if sale.token == ZERO_ADDRESS else 0) + (
            0 if honest else data.draw(st.sampled_from([0, 1]))
        )
        if self._both(
            lambda: self.model.order([o.terms for o in orders], [e.body_hash for e in entries], value),
            lambda: self.bazaar.order(entries, orders, value=value),
        ):
            self.orders.extend(orders)
            self.entry_of |= {order.order_id: entry for order, entry in zip(orders, entries, strict=True)}

    def _order_again(self, data: st.DataObject, _honest: bool) -> None:
        """An order's slot is used twice, by a second order or inside one; as the sum would be paid, twice the price."""
        order = data.draw(st.sampled_from(self._open_orders()))
        entry = self.entry_of[order.order_id]
        orders = [order] * data.draw(st.integers(1, 2))
        if data.draw(st.booleans()):
            (fresh,) = self.bazaar.orders_for([entry], to_checksum(order.terms.buyer), self.model.now + 60)
            orders = [fresh, fresh]
        total = sum(o.amount for o in orders) if order.terms.sale.token == ZERO_ADDRESS else 0
        self._both(
            lambda: self.model.order([o.terms for o in orders], [entry.body_hash] * len(orders), total),
            lambda: self.bazaar.order([entry] * len(orders), orders, value=total),
        )

    def _open_orders(self) -> list[Order]:
        return [order for order in self.orders if self.model.orders[order.order_id]]

    def _claim(self, data: st.DataObject, honest: bool) -> None:
        order = data.draw(st.sampled_from(self._open_orders() if honest else self.orders))
        self._perhaps_spoil(data, order)
        preimage = order.preimage
        if not honest and data.draw(st.booleans()):
            preimage = digest("a guess")
        guessed = OrderTerms(order.terms.sale, order.terms.buyer, order.terms.deadline, keccak256(preimage))
        self._both(
            lambda: self.model.claim(guessed),
            lambda: self.bazaar.claim(Order(order.terms, preimage, order.amount)),
        )

    def _refund(self, data: st.DataObject, honest: bool) -> None:
        order = data.draw(st.sampled_from(self._open_orders() if honest else self.orders))
        self._perhaps_spoil(data, order)
        if honest:
            self._pass_time(max(0, order.terms.deadline + 1 - self.model.now))
        self._both(lambda: self.model.refund(order.terms), lambda: self.bazaar.refund(order))

    def _running_orders(self) -> list[Order]:
        return [order for order in self._open_orders() if self.model.now <= order.terms.deadline]

    def _refund_early(self, data: st.DataObject, _honest: bool) -> None:
        order = data.draw(st.sampled_from(self._running_orders()))
        self._both(lambda: self.model.refund(order.terms), lambda: self.bazaar.refund(order))

    def _perhaps_spoil(self, data: st.DataObject, order: Order) -> None:
        """A token shows its other face only when it should pay."""
        if order.terms.sale.token == self.model.money.misbehaving and data.draw(st.booleans()):
            self._change_the_token(data)

    # Credits

    def _withdraw(self, data: st.DataObject, honest: bool) -> None:
        owed = [key for key, amount in self.model.credits.items() if amount]
        everything = [(token, raw(account)) for token in self.tokens for account in self.people]
        token, account = data.draw(st.sampled_from(owed if honest else everything))
        to = account if data.draw(st.booleans()) else raw(self.bazaar.owner)
        self._both(
            lambda: self.model.withdraw(account, token, to),
            lambda: self.bazaar.market.call(
                "withdraw", to_checksum(token), to_checksum(to), sender=to_checksum(account)
            ),
        )

    # The world around

    def _let_time_pass(self, data: st.DataObject, _honest: bool) -> None:
        seconds = data.draw(st.sampled_from([1, 3_600, DAY_S, 10 * DAY_S]))
        if self.model.now + seconds < START_S + 300 * DAY_S:
            self._pass_time(seconds)

    def _change_the_world(self, data: st.DataObject, _honest: bool) -> None:
        changes = [
            self._change_the_receiver,
            self._change_the_token,
            self._change_the_blacklist,
            self._let_the_token_call_back,
            self._give_unasked,
        ]
        data.draw(st.sampled_from(changes))(data)

    def _change_the_receiver(self, data: st.DataObject) -> None:
        self._make_receiver(
            data.draw(st.sampled_from([ACCEPTS, REFUSES, REENTERS, REENTERS])), self._hook(data)
        )

    def _make_receiver(self, mode: int, hook: bytes) -> None:
        receiver = self.bazaar.receiver.address
        behaving = chain.deploy(chain.SOURCES / "Receiver.vy", mode, self.bazaar.market.address, hook)
        boa.env.set_code(receiver, boa.env.get_code(behaving.address))
        self.model.money.refusing = {raw(receiver)} if mode == REFUSES else set()

    def _change_the_token(self, data: st.DataObject) -> None:
        mode = data.draw(st.sampled_from(list(TOKEN_MODES)))
        fee_bps = data.draw(st.sampled_from([0, 1_000]))
        self.bazaar.hostile_token.call("configure", TOKEN_MODES[mode], fee_bps)
        self.model.money.mode = mode
        self.model.money.fee_bps = fee_bps

    def _change_the_blacklist(self, data: st.DataObject) -> None:
        account, yes = data.draw(st.sampled_from(self.people)), data.draw(st.booleans())
        self.bazaar.hostile_token.call("blacklist", account, yes)
        (set.add if yes else set.discard)(self.model.money.blacklisted, raw(account))

    def _let_the_token_call_back(self, data: st.DataObject) -> None:
        self.bazaar.hostile_token.call("set_hook", self.bazaar.market.address, self._hook(data))

    def _hook(self, data: st.DataObject) -> bytes:
        """Return the calldata of a call that would succeed if the market let anybody in: a claim, or a getter."""
        if not self._open_orders() or data.draw(st.booleans()):
            return self.bazaar.market.encode_call("submissions", bytes(32))
        order = data.draw(st.sampled_from(self._open_orders()))
        arguments = (order.terms.sale.abi_tuple(), to_checksum(order.terms.buyer), order.terms.deadline)
        return self.bazaar.market.encode_call("claim", *arguments, order.preimage)

    def _give_unasked(self, data: st.DataObject) -> None:
        token, amount = data.draw(st.sampled_from(list(self.tokens))), data.draw(st.integers(1, 10**20))
        contract, market = self.tokens[token], self.bazaar.market.address
        if contract:
            contract.call("mint", market, amount)
        else:
            boa.env.set_balance(market, chain.balance_of(market) + amount)
        self.model.money.balances[token][raw(market)] += amount
        self.gifts[token] += amount

    # What always holds

    @invariant()
    def the_market_owes_what_it_has(self) -> None:
        for token in self.tokens:
            held = self._balance(token, self.bazaar.market.address) - self.gifts[token]
            if token == self.model.money.misbehaving:
                assert held >= self.model.owed(token)
            else:
                assert held == self.model.owed(token)

    @invariant()
    def every_balance_is_the_models(self) -> None:
        for token, balances in self.model.money.balances.items():
            for account in self.accounts:
                assert self._balance(token, account) == balances[raw(account)], (token.hex(), account)

    @invariant()
    def every_word_is_the_models(self) -> None:
        market = self.bazaar.market
        mappings: dict[str, Mapping[Hash32, int]] = {
            "benchmarks": self.model.benchmarks,
            "submissions": self.model.submissions,
            "records": self.model.records,
            "orders": self.model.orders,
        }
        for name, words in mappings.items():
            for key, word in words.items():
                assert market.stored(name, key) == word
        for (token, account), amount in self.model.credits.items():
            assert market.stored("credits", token, account) == amount

    @invariant()
    def nobody_re_entered(self) -> None:
        assert self.bazaar.receiver.stored("hook_successes") == 1  # as deployed
        assert self.bazaar.hostile_token.stored("hook_successes") == 0


@pytest.mark.stateful
def test_the_market_agrees_with_its_model(bazaars: Mapping[str, Bazaar], generator: str) -> None:
    machine = type(
        "MarketMachine", (MarketMachine,), {"bazaar": bazaars[generator], "calls": 0, "successes": 0}
    )
    # a run is many calls: where a property test has thousands of examples, this takes minutes with 200
    run_machine(machine, settings=settings(max_examples=min(settings().max_examples, 200)))
    assert machine.calls > 100
    assert machine.successes > 0.6 * machine.calls, (
        f"{machine.successes} of {machine.calls} calls went through"
    )
