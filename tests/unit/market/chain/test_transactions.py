"""Sending: once and only once, through crashes, races, reorganisations and stingy fees."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from goldengrain.accounts import Account
from goldengrain.chain.address_book import AddressBook
from goldengrain.chain.client import ChainClient
from goldengrain.chain.contracts import MarketContract, Token
from goldengrain.chain.devnet import Devnet, DevnetStatus
from goldengrain.chain.fees import FeePolicy
from goldengrain.chain.journal import SendState, TransactionJournal
from goldengrain.chain.reverts import RevertError
from goldengrain.chain.transactions import SendProgress, TransactionRequest, TransactionSender
from goldengrain.home import Home
from goldengrain_protocol.errors import InvalidInput, UnavailableError, VerificationError
from goldengrain_protocol.types import ZERO_ADDRESS, Address

MakeParty = Callable[..., Any]
FRIEND = Address(b"\x42" * 20)
SPAWN = multiprocessing.get_context("spawn")


def pay(to: bytes, wei: int = 1) -> TransactionRequest:
    return TransactionRequest(Address(to), b"", wei)


def fresh_address(home: Home, tag: int = 0) -> Address:
    return Address((str(home.root) + str(tag)).encode()[-20:].rjust(20, b"x"))


def history(party: Any) -> list[tuple[str, int, SendState]]:
    entries = party.sender.journal.history(account=party.account.address)
    return [(entry.purpose, entry.tx_nonce, entry.state) for entry in entries]


# --- once and only once ---------------------------------------------------------------------------


def test_sends_once_per_purpose(shared_chain: DevnetStatus, party: MakeParty, home: Home) -> None:
    me, friend = party(shared_chain), fresh_address(home)
    stages: list[str] = []
    receipt = me.sender.send("gift:1", pay(friend), on_progress=lambda step: stages.append(step.stage))
    assert stages[:2] == ["signed", "broadcast"]
    assert stages[-1] == "finalized"
    assert me.client.finalized_number() >= receipt.block_number
    assert me.sender.send("gift:1", pay(friend)) == receipt
    assert me.client.balance(friend) == 1
    me.sender.send("gift:2", pay(friend))
    assert me.client.balance(friend) == 2
    assert history(me) == [("gift:1", 0, SendState.DONE), ("gift:2", 1, SendState.DONE)]


def test_a_continued_purpose_does_not_build_its_request_again(
    shared_chain: DevnetStatus, party: MakeParty, home: Home
) -> None:
    me = party(shared_chain)
    built: list[int] = []

    def build() -> TransactionRequest:
        built.append(1)
        return pay(fresh_address(home))

    me.sender.submit("gift", build)
    me.sender.send("gift", build)
    assert built == [1]


def test_several_transactions_may_be_under_way_at_once(
    shared_chain: DevnetStatus, party: MakeParty, home: Home
) -> None:
    me, friend = party(shared_chain), fresh_address(home)
    for number in range(5):
        me.sender.submit(f"gift:{number}", pay(friend))
    for number in reversed(range(5)):
        assert me.sender.wait(f"gift:{number}").status
    assert me.client.balance(friend) == 5
    assert me.sender.resume() == 0


def test_waiting_for_something_never_sent_is_invalid(shared_chain: DevnetStatus, party: MakeParty) -> None:
    with pytest.raises(InvalidInput, match="no transaction of account"):
        party(shared_chain).sender.wait("nothing")


# --- crashes --------------------------------------------------------------------------------------


def _send_and_die(home: str, key: bytes, url: str, to: bytes, when: str) -> None:
    """Runs in a process of its own and kills it around the broadcast."""
    client = ChainClient(url)
    broadcast = client.send_raw

    def die(raw: bytes) -> Any:
        if when == "after":
            broadcast(raw)
        os.kill(os.getpid(), signal.SIGKILL)

    client.send_raw = die  # type: ignore[method-assign]
    account = Account.from_private_key(key)
    TransactionSender(client, account, TransactionJournal.open(Home(home))).send("gift", pay(to))


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_around_the_broadcast_the_same_transaction_goes_on(
    shared_chain: DevnetStatus, party: MakeParty, home: Home, when: str
) -> None:
    me, friend = party(shared_chain), fresh_address(home)
    key = me.account.dangerous_private_key()
    arguments = (str(home.root), key, shared_chain.rpc_url, bytes(friend), when)
    process = SPAWN.Process(target=_send_and_die, args=arguments)
    process.start()
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    (entry,) = me.sender.journal.pending(me.client.genesis_hash, me.account.address)
    receipt = me.sender.send("gift", pay(friend, 1000))
    assert receipt.tx_hash == entry.last.tx_hash
    assert me.client.balance(friend) == 1
    assert me.client.transaction_count(me.account.address) == 1


def test_a_later_purpose_brings_the_forgotten_one_along(
    shared_chain: DevnetStatus, party: MakeParty, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    me, friend = party(shared_chain), fresh_address(home)
    with monkeypatch.context() as patch:
        patch.setattr(me.client, "send_raw", _no_node)
        me.sender.submit("forgotten", pay(friend, 10))
    assert me.client.transaction_count(me.account.address) == 0
    assert me.sender.send("later", pay(friend, 1)).status
    assert me.client.balance(friend) == 11
    assert history(me) == [("forgotten", 0, SendState.PENDING), ("later", 1, SendState.DONE)]
    assert me.sender.resume() == 0
    assert history(me)[0][2] is SendState.DONE


def _no_node(raw: bytes) -> None:
    raise UnavailableError("the rpc node is away")


# --- races ----------------------------------------------------------------------------------------


def _send_many(home: str, key: bytes, url: str, to: bytes, name: str) -> None:
    account = Account.from_private_key(key)
    sender = TransactionSender(ChainClient(url), account, TransactionJournal.open(Home(home)))
    for number in range(5):
        sender.submit(f"{name}:{number}", pay(to))
    sender.send("shared", pay(to, 1000))
    for number in range(5):
        sender.wait(f"{name}:{number}")


def test_two_processes_share_an_account_without_losing_or_doubling(
    shared_chain: DevnetStatus, party: MakeParty, home: Home
) -> None:
    me, friend = party(shared_chain), fresh_address(home)
    key = me.account.dangerous_private_key()
    processes = [
        SPAWN.Process(
            target=_send_many, args=(str(home.root), key, shared_chain.rpc_url, bytes(friend), name)
        )
        for name in ("left", "right")
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert me.client.balance(friend) == 1010
    assert me.client.transaction_count(me.account.address) == 11
    assert sorted(nonce for _, nonce, _ in history(me)) == list(range(11))


def test_a_nonce_lost_to_a_foreign_wallet_is_replaced(
    shared_chain: DevnetStatus, party: MakeParty, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    me, friend = party(shared_chain), fresh_address(home)
    with monkeypatch.context() as patch:
        patch.setattr(me.client, "send_raw", _no_node)
        me.sender.submit("gift", pay(friend, 10))
    foreign_journal = TransactionJournal.open(Home(tmp_path / "other wallet"))
    TransactionSender(me.client, me.account, foreign_journal).send("other", pay(friend, 1))
    assert me.sender.send("gift", pay(friend, 10)).status
    assert me.client.balance(friend) == 11
    assert history(me) == [("gift", 0, SendState.DROPPED), ("gift", 1, SendState.DONE)]


# --- refusals -------------------------------------------------------------------------------------


def test_reverts_come_in_the_contracts_words_before_anything_is_sent(
    shared_chain: DevnetStatus, party: MakeParty, deployment: tuple[AddressBook, TransactionSender]
) -> None:
    me = party(shared_chain)
    market = MarketContract(me.client, deployment[0].market)
    with pytest.raises(RevertError, match=r"^market: nothing credited$") as caught:
        me.sender.send("withdraw", market.withdraw(ZERO_ADDRESS, me.account.address))
    assert isinstance(caught.value, VerificationError)
    assert caught.value.next_step == "there is nothing to withdraw"
    assert history(me) == []


def test_a_transaction_that_reverts_on_chain_says_why_and_may_be_sent_again(
    shared_chain: DevnetStatus, party: MakeParty, deployment: tuple[AddressBook, TransactionSender]
) -> None:
    me, book = party(shared_chain), deployment[0]
    market = MarketContract(me.client, book.market)
    request = market.withdraw(ZERO_ADDRESS, me.account.address)
    blind = TransactionRequest(request.to, request.data, gas_limit=100_000)
    for _ in range(2):
        with pytest.raises(RevertError, match="market: nothing credited"):
            me.sender.send("withdraw", blind)
    assert [state for _, _, state in history(me)] == [SendState.REVERTED] * 2
    token = Token(me.client, book.token("USDX").address)
    assert me.sender.send("withdraw", token.mint(me.account.address, 5)).status


def test_an_unfunded_account_is_told_what_is_missing(
    shared_chain: DevnetStatus, party: MakeParty, home: Home
) -> None:
    me = party(shared_chain, balance_wei=0)
    with pytest.raises(InvalidInput, match=r"needs up to \d+ wei for a transaction, it has 0 wei") as caught:
        me.sender.send("gift", pay(fresh_address(home), 10**18))
    assert caught.value.next_step.startswith("send it at least 1")
    poor = party(shared_chain, seed=2, balance_wei=10**12)
    with pytest.raises(InvalidInput, match="it has 1000000000000 wei"):
        poor.sender.send("gift", pay(fresh_address(home), 1))
    assert history(me) == history(poor) == []


def test_fees_above_the_cap_are_not_paid(shared_chain: DevnetStatus, party: MakeParty, home: Home) -> None:
    me = party(shared_chain, fees=FeePolicy(max_fee_cap_wei=1))
    with pytest.raises(UnavailableError, match="above the cap of 1 wei"):
        me.sender.send("gift", pay(fresh_address(home)))


def test_gas_above_the_cap_is_not_bought(
    shared_chain: DevnetStatus, party: MakeParty, deployment: tuple[AddressBook, TransactionSender]
) -> None:
    me = party(shared_chain, fees=FeePolicy(gas_cap=30_000))
    token = Token(me.client, deployment[0].token("USDX").address)
    with pytest.raises(InvalidInput, match="above the cap of 30000"):
        me.sender.send("mint", token.mint(me.account.address, 5))


# --- a chain that moves ---------------------------------------------------------------------------


def test_a_transaction_lost_in_a_reorganisation_is_brought_back(
    own_chain: DevnetStatus, party: MakeParty, home: Home
) -> None:
    me, friend = party(own_chain), fresh_address(home)
    me.client.wait_for_block(
        me.client.latest_number() + 3, finalized=False
    )  # the reorganisation spares its money
    steps: list[SendProgress] = []

    def reorganise_once(step: SendProgress) -> None:
        if step.stage == "mined" and not any(seen.stage == "mined" for seen in steps):
            me.client.raw_request("anvil_reorg", [2, []])
        steps.append(step)

    receipt = me.sender.send("gift", pay(friend), on_progress=reorganise_once)
    assert [step.stage for step in steps] == [
        *("signed", "broadcast", "mined", "vanished", "mined", "finalized")
    ]
    assert me.client.block(receipt.block_number).hash == receipt.block_hash
    assert me.client.balance(friend) == 1
    assert me.client.transaction_count(me.account.address) == 1


def test_the_client_alone_follows_a_transaction_through_a_reorganisation(
    own_chain: DevnetStatus, party: MakeParty, home: Home
) -> None:
    me, friend = party(own_chain), fresh_address(home)
    me.client.wait_for_block(
        me.client.latest_number() + 3, finalized=False
    )  # the reorganisation spares its money
    tx_hash = me.sender.submit("gift", pay(friend))
    entry = me.sender.find("gift")
    stages: list[str] = []

    def reorganise_once(stage: str, *_: object) -> None:
        if stage == "mined" and "mined" not in stages:
            me.client.raw_request("anvil_reorg", [2, []])
        stages.append(stage)

    receipt = me.client.wait_finalized(tx_hash, raw=entry.last.raw, on_progress=reorganise_once)
    assert stages == ["mined", "vanished", "mined", "finalized"]
    assert receipt.block_number <= me.client.finalized_number()


def _starve(client: ChainClient) -> None:
    """Let the next block's base fee jump above what was just offered."""
    client.raw_request("anvil_setNextBlockBaseFeePerGas", [hex(100 * 10**9)])


def test_a_stuck_transaction_is_replaced_by_a_dearer_one(
    own_chain: DevnetStatus, party: MakeParty, home: Home
) -> None:
    me, friend = party(own_chain, stuck_after_s=0.5), fresh_address(home)
    steps: list[SendProgress] = []

    def starve(step: SendProgress) -> None:
        if step.stage == "signed":
            _starve(me.client)
        steps.append(step)

    receipt = me.sender.send("gift", pay(friend), on_progress=starve)
    assert "replaced" in [step.stage for step in steps]
    (entry,) = me.sender.journal.history()
    assert entry.attempts[0].tx_hash != receipt.tx_hash
    for cheaper, dearer in zip(entry.attempts, entry.attempts[1:], strict=False):
        assert dearer.max_fee_wei * 1000 >= cheaper.max_fee_wei * 1125
        assert dearer.priority_fee_wei * 1000 >= cheaper.priority_fee_wei * 1125
    assert me.client.balance(friend) == 1
    assert me.client.transaction_count(me.account.address) == 1
    assert me.sender.send("gift", pay(friend)) == receipt


def test_a_replacement_never_exceeds_the_fee_cap(
    own_chain: DevnetStatus, party: MakeParty, home: Home
) -> None:
    fees = FeePolicy(max_fee_cap_wei=4 * 10**9)
    me, friend = party(own_chain, stuck_after_s=0.3, fees=fees), fresh_address(home)

    def starve(step: SendProgress) -> None:
        if step.stage == "signed":
            _starve(me.client)

    with pytest.raises(UnavailableError, match="not mined in time") as caught:
        me.sender.send("gift", pay(friend), timeout_s=1.5, on_progress=starve)
    assert "run the same command again" in caught.value.next_step
    (entry,) = me.sender.journal.history()
    assert all(attempt.max_fee_wei <= fees.max_fee_cap_wei for attempt in entry.attempts)


def test_a_chain_that_is_away_is_waited_for_and_the_wait_can_be_continued(
    own_chain: DevnetStatus, party: MakeParty, home: Home
) -> None:
    me, friend = party(own_chain), fresh_address(home)
    me.sender.submit("gift", pay(friend))
    devnet = Devnet(home)
    devnet.down()
    with pytest.raises(UnavailableError, match="cannot reach the rpc node"):
        me.sender.wait("gift", timeout_s=0.5)
    devnet.up(block_time_s=0.2)
    assert me.sender.wait("gift").status
    assert me.client.balance(friend) == 1


# --- the last safe moment -------------------------------------------------------------------------


def test_a_secret_nobody_saw_is_not_shown_after_its_last_moment(
    shared_chain: DevnetStatus,
    party: MakeParty,
    home: Home,
    monkeypatch: pytest.MonkeyPatch,
    wait_until: Callable[..., None],
) -> None:
    me, friend = party(shared_chain), fresh_address(home)
    last_moment_s = me.client.block("latest").timestamp + 1
    claim = TransactionRequest(friend, b"the key", 7, what="the claim", not_after_s=last_moment_s)
    with monkeypatch.context() as patch:
        patch.setattr(me.client, "send_raw", _no_node)
        hidden = me.sender.submit("claim", claim)
    wait_until(lambda: me.client.block("latest").timestamp > last_moment_s)
    with pytest.raises(VerificationError, match="last safe moment went by"):
        me.sender.send("claim", claim)
    assert me.client.raw_request("eth_getTransactionByHash", ["0x" + hidden.hex()]) is None
    assert me.client.balance(friend) == 0
    assert me.client.transaction_count(me.account.address) == 1, "the nonce is used up"
    assert history(me) == [("claim", 0, SendState.DROPPED)]
    with pytest.raises(VerificationError, match="last safe moment went by"):
        me.sender.send("claim", claim)
    assert me.sender.send("next", pay(friend)).status


def test_a_secret_that_is_public_is_pursued_beyond_its_last_moment(
    own_chain: DevnetStatus, party: MakeParty, home: Home
) -> None:
    me, friend = party(own_chain, stuck_after_s=2.5), fresh_address(home)
    last_moment_s = me.client.block("latest").timestamp + 1
    claim = TransactionRequest(friend, b"the key", 7, what="the claim", not_after_s=last_moment_s)

    def starve(step: SendProgress) -> None:
        if step.stage == "broadcast":
            _starve(me.client)

    receipt = me.sender.send("claim", claim, on_progress=starve)
    assert me.client.block(receipt.block_number).timestamp > last_moment_s
    assert me.client.balance(friend) == 7
