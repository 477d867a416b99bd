"""T12: `kill -9` of buyer, developer or worker at every durable step; the same command again ends in the same state.

Commands run through the real command line in processes that kill themselves (`kill_driver.py`). Each is first run to
its end to count its steps, then once for every step, on a machine and with an account of its own. After the kill the
very same command runs to its end, and the whole sale must look as if nothing had happened: money to the wei, number
of transactions, goods.
"""

from __future__ import annotations

import random
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from goldengrain.accounts import AccountStore
from goldengrain.chain.events import AttestedEvent, ClaimedEvent, OrderedEvent, RegisteredEvent
from goldengrain.chain.journal import SendState, TransactionJournal
from goldengrain.sdk.claims import watch_orders
from goldengrain.sdk.orders import place_order
from goldengrain.sdk.submissions import SaleState, SubmissionView, get_submission
from goldengrain_protocol.types import ZERO_ADDRESS, Hash32
from tests.attacks.mortal import Command, Driver, Process, descendants, drivers, for_each_step
from tests.attacks.sales import Goods, goods_of
from tests.market_stage import FEE_WEI, NETWORK, PASSWORD, MarketStage, Person, good_model, market_stage

pytestmark = [pytest.mark.anvil, pytest.mark.sandbox, pytest.mark.slow]

LANES = 4
WINDOW_S = 3600


@pytest.fixture(scope="module")
def stage() -> Iterator[MarketStage]:
    """A market of its own: some of its workers die half registered."""
    with market_stage() as found:
        yield found


@pytest.fixture(scope="module")
def benchmark(stage: MarketStage) -> Hash32:
    return stage.benchmark(stage.person("provider"))


@pytest.fixture(scope="module")
def lanes(stage: MarketStage) -> Iterator[list[Driver]]:
    with drivers(stage.root / "commands", LANES) as found:
        yield found


def _as(stage: MarketStage, person: Person) -> list[str]:
    """Return the options that let a command act as `person` on their machine."""
    password = stage.keystore(person)
    return [
        *("--home", str(person.home.root), "--network", NETWORK, "--account", person.name),
        *("--password-file", str(password), "--json"),
    ]


def _journal_is_settled(person: Person) -> bool:
    """Let the journal look at the chain, as the next command would; return whether nothing is left open in it."""
    person.session.sender.resume()
    history = TransactionJournal.open(person.home).history(account=person.address)
    return all(entry.state in (SendState.DONE, SendState.DROPPED) for entry in history)


# --- the buyer ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bought:
    """How a purchase ended."""

    first: int
    second: int
    gained_wei: int
    transactions: int
    orders: int
    claims: int
    model: bytes
    settled: bool


@pytest.fixture(scope="module")
def watched_goods(stage: MarketStage, benchmark: Hash32) -> Iterator[Goods]:
    """A model whose developer is online."""
    goods = goods_of(stage, benchmark)
    stop = threading.Event()
    watcher = threading.Thread(
        target=watch_orders,
        args=(goods.developer.session, lambda _report: None),
        kwargs={"should_stop": stop.is_set},
        daemon=True,
    )
    watcher.start()
    yield goods
    stop.set()
    watcher.join(30)


def test_buyer_killed_at_every_step_buys_once(
    stage: MarketStage, watched_goods: Goods, lanes: list[Driver]
) -> None:
    whole, steps = _buy(stage, watched_goods, lanes[0], 0)
    assert whole.first == 0
    assert steps >= 10, "the points of death are not where they should be"
    ends = for_each_step(lanes, steps, lambda lane, step: _buy(stage, watched_goods, lane, step)[0])
    killed = [end for end in ends if end.first == -signal.SIGKILL]
    assert len(killed) >= steps - 2, [end.first for end in ends]
    for step, end in enumerate(ends, 1):
        assert end.second == 0, step
        assert (end.gained_wei, end.transactions) == (-watched_goods.price, 1), step
        assert (end.orders, end.claims, end.settled) == (1, 1, True), step
        assert end.model == good_model(), step


def _buy(stage: MarketStage, goods: Goods, lane: Driver, kill_at: int) -> tuple[Bought, int]:
    buyer = stage.person("buyer")
    target = buyer.home.root / "bought.onnx"
    argv = [
        *("order", "buy", "0x" + goods.submission_id.hex(), "--out", str(target)),
        *("--worker", stage.worker_url, "--timeout", "60s", *_as(stage, buyer)),
    ]
    command = lane.start(argv, kill_at=kill_at)
    first, steps = command.wait(), 0
    if kill_at == 0:
        assert first == 0, command.output
        steps = command.steps
    again = lane.start(argv)
    second = again.wait()
    assert second == 0, again.output
    assert again.document()["state"] == "delivered"
    market = buyer.session.market
    orders = market.events(OrderedEvent, from_block=0, buyer=buyer.address)
    claims = [market.events(ClaimedEvent, from_block=0, order_id=each.order_id) for each in orders]
    end = Bought(
        first=first,
        second=second,
        gained_wei=buyer.gained_wei(),
        transactions=stage.client.transaction_count(buyer.address),
        orders=len(orders),
        claims=sum(len(each) for each in claims),
        model=target.read_bytes(),
        settled=_journal_is_settled(buyer),
    )
    return end, steps


# --- the developer's watcher ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Claimed:
    """How a watch over one order ended."""

    first: int
    last: int
    gained_wei: int
    transactions: int
    claims: int
    settled: bool


def test_watcher_killed_at_every_step_is_paid_once(
    stage: MarketStage, benchmark: Hash32, lanes: list[Driver]
) -> None:
    whole, steps = _watch(stage, _ordered(stage, benchmark), lanes[0], 0)
    assert whole.claims == 1
    assert steps >= 6, "the points of death are not where they should be"
    with ThreadPoolExecutor(4) as pool:
        goods = list(pool.map(lambda _step: _ordered(stage, benchmark), range(steps)))
    ends = for_each_step(lanes, steps, lambda lane, step: _watch(stage, goods[step - 1], lane, step)[0])
    killed = [end for end in ends if end.first == -signal.SIGKILL]
    assert len(killed) >= steps - 2, [end.first for end in ends]
    for step, (end, sold) in enumerate(zip(ends, goods, strict=True), 1):
        assert end.last == 0, step
        assert end.gained_wei == sold.price - FEE_WEI, step
        assert (end.transactions, end.claims, end.settled) == (2, 1, True), step


def _ordered(stage: MarketStage, benchmark: Hash32) -> Goods:
    """Return goods that somebody has just paid for."""
    goods = goods_of(stage, benchmark)
    place_order(stage.person("customer").session, goods.submission_id, window_s=WINDOW_S)
    return goods


def _watch(stage: MarketStage, goods: Goods, lane: Driver, kill_at: int) -> tuple[Claimed, int]:
    developer = goods.developer
    argv = ["developer", "watch", *_as(stage, developer)]
    command = lane.start(argv, kill_at=kill_at)
    first, steps = 0, 0
    if kill_at:
        _await_end_or(stage, command, lambda: False)
        first = command.wait()
    else:
        _await_end_or(stage, command, lambda: _claims(goods) == 1)
        first = command.stop()
        steps = command.steps
    again = lane.start(argv)
    _await_end_or(stage, again, lambda: _claims(goods) == 1 and "watching for orders" in again.output)
    last = again.stop()
    assert last == 0, again.output
    end = Claimed(
        first=first,
        last=last,
        gained_wei=developer.gained_wei(),
        transactions=stage.client.transaction_count(developer.address),
        claims=_claims(goods),
        settled=_journal_is_settled(developer),
    )
    return end, steps


def _claims(goods: Goods) -> int:
    market = goods.developer.session.market
    orders = market.events(OrderedEvent, from_block=0, submission_id=goods.submission_id)
    return sum(len(market.events(ClaimedEvent, from_block=0, order_id=each.order_id)) for each in orders)


def _await_end_or(stage: MarketStage, command: Command, condition: object) -> None:
    """Return once the command died or the condition holds."""
    assert callable(condition)
    stage.await_(lambda: not command.is_running or bool(condition()), "the command", 60)


# --- the worker -----------------------------------------------------------------------------------


class Host:
    """A host of its own, whose worker runs as `gg worker run`."""

    def __init__(self, stage: MarketStage, lane: Driver, *, by_auditors: bool = False) -> None:
        self.stage = stage
        self.lane = lane
        self.person = stage.person("keeper")
        self.argv = ["worker", "run", "--listen", "127.0.0.1:0", *_as(stage, self.person)]
        # The same machine as the stage's worker, as far as silicon goes: the verifier knows this root.
        shutil.copytree(stage.home.simulated_platform_dir, self.person.home.simulated_platform_dir)
        if by_auditors:
            self.argv += ["--verifier", "auditors"]
            store = AccountStore(self.person.home)
            for auditor in stage.auditors[:2]:
                store.import_key(
                    auditor.name, auditor.dangerous_private_key(), PASSWORD, dangerous_light_kdf=True
                )
                self.argv += ["--endorse-with", auditor.name]

    def start(self, *, kill_at: int = 0, armed: bool = True) -> Command:
        return self.lane.start(self.argv, kill_at=kill_at, armed=armed)

    def await_serving(self, command: Command) -> None:
        """Return once the worker is registered and at work."""
        self.stage.await_(
            lambda: "offers at" in command.output.lower() or not command.is_running, "the worker's start", 90
        )
        assert command.is_running, command.output

    def registrations(self) -> list[RegisteredEvent]:
        found = self.person.session.registry.events(RegisteredEvent, from_block=0)
        known = self.person.home.root / "worker" / "worker"
        assert known.exists()
        return found


@pytest.fixture(scope="module")
def host(stage: MarketStage, lanes: list[Driver]) -> Host:
    """The stage's own worker is silent from here on; this one alone evaluates."""
    stage.stop_worker()
    return Host(stage, lanes[0])


def test_worker_killed_at_every_step_of_an_evaluation_posts_once(stage: MarketStage, host: Host) -> None:
    command = host.start(armed=False)
    host.await_serving(command)
    benchmark = stage.benchmark(stage.person("provider"), title="kept")
    assert len(host.registrations()) == 2
    sent = stage.client.transaction_count(host.person.address)

    # Once without a kill, to count; twice, so that the second finds the test set in the cache as all later ones do.
    earned = 0
    for _ in range(2):
        command.arm(0)
        _await_score(stage, stage.submit(stage.person("developer"), benchmark, good_model()), command)
        earned += FEE_WEI
    time.sleep(0.5)  # it sees its result accepted
    assert command.stop() == 0
    steps = command.steps
    assert steps >= 10, "the points of death are not where they should be"

    # The state before a step is the state after the one before it: a start costs seconds, so every second point.
    command = host.start(armed=False)
    for kill_at in range(2, steps + 1, 2):
        host.await_serving(command)
        below = descendants(command.pid)
        assert any("goldengrain_enclave" in each.command for each in below)
        command.arm(kill_at)
        view = stage.submit(stage.person("developer"), benchmark, good_model())
        _await_death_or_score(stage, command, view)
        if not command.is_running:
            assert command.wait() == -signal.SIGKILL
            _await_gone(stage, below)
            command = host.start(armed=False)
        else:
            assert kill_at > steps - 4, f"nothing was killed at step {kill_at} of {steps}"
        _await_score(stage, view, command)
        earned += FEE_WEI
    host.await_serving(command)
    assert command.stop() == 0
    # One registration and one result for each submission: nothing was sent twice.
    assert len(host.registrations()) == 2
    assert stage.client.transaction_count(host.person.address) == sent + earned // FEE_WEI
    assert host.person.session.market.credit(ZERO_ADDRESS, host.person.address) == earned


def test_worker_and_enclave_killed_together_at_any_time_leave_nothing_behind(
    stage: MarketStage, host: Host
) -> None:
    choose = random.Random(20_261_122)
    benchmark = None
    start = stage.client.transaction_count(host.person.address) - len(_results_of(host))
    for _ in range(2):
        command = host.start()
        host.await_serving(command)
        if benchmark is None:
            benchmark = stage.benchmark(stage.person("provider"), title="kept again")
        view = stage.submit(stage.person("developer"), benchmark, good_model())
        time.sleep(choose.uniform(0, 0.8))
        below = descendants(command.pid)
        command.kill_group()
        for each in below[:: choose.choice((1, 2, 100))]:
            _kill(each)
        assert command.wait() == -signal.SIGKILL
        _await_gone(stage, below)
        again = host.start()
        host.await_serving(again)
        _await_score(stage, view, again)
        assert again.stop() == 0
    assert stage.client.transaction_count(host.person.address) - len(_results_of(host)) == start


def test_worker_killed_at_every_step_of_its_first_start_is_registered_once(
    stage: MarketStage, lanes: list[Driver]
) -> None:
    whole = Host(stage, lanes[0], by_auditors=True)
    command = whole.start()
    whole.await_serving(command)
    assert command.stop() == 0
    steps = command.steps
    assert steps >= 6, "the points of death are not where they should be"

    def play(lane: Driver, step: int) -> tuple[int, int, int]:
        mine = Host(stage, lane, by_auditors=True)
        first = mine.start(kill_at=2 * step)
        stage.await_(
            lambda: not first.is_running or "offers at" in first.output.lower(), "the first start", 90
        )
        if first.is_running:
            first.kill_group()
        status = first.wait()
        second = mine.start()
        mine.await_serving(second)
        assert second.stop() == 0
        spent = -mine.person.gained_wei()
        return status, stage.client.transaction_count(mine.person.address), spent

    ends = for_each_step(lanes[:2], steps // 2, play)
    assert ends == [(-signal.SIGKILL, 1, 0)] * (steps // 2)


def _await_death_or_score(stage: MarketStage, command: Command, view: SubmissionView) -> None:
    stage.await_(lambda: not command.is_running or _is_scored(stage, view), "the worker's death", 60)


def _await_score(stage: MarketStage, view: SubmissionView, command: Command) -> None:
    try:
        stage.await_(lambda: _is_scored(stage, view), "the score", 40)
    except AssertionError as exc:
        raise AssertionError(f"no score; the worker said:\n{command.output}") from exc


def _is_scored(stage: MarketStage, view: SubmissionView) -> bool:
    return get_submission(stage.host.session, view.submission_id).state is SaleState.FOR_SALE


def _results_of(host: Host) -> list[AttestedEvent]:
    events = host.person.session.market.events(AttestedEvent, from_block=0)
    return [each for each in events if each.worker == host.person.address]


def _await_gone(stage: MarketStage, processes: list[Process]) -> None:
    """Return once none of these processes lives: an enclave dies with its host."""

    def left() -> list[str]:
        return [each.command[:80] for each in processes if each.is_alive]

    stage.await_(lambda: not left(), f"the end of {len(processes)} processes", 10)


def _kill(process: Process) -> None:
    import os

    if process.is_alive:
        os.kill(process.pid, signal.SIGKILL)
