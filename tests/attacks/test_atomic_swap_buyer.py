"""T3, T4: a buyer, or a stranger who watches, gets no key without paying, and no money that is not theirs."""

from __future__ import annotations

import secrets

import pytest

from goldengrain.chain.client import ChainClient
from goldengrain.chain.reverts import RevertError
from goldengrain.chain.transactions import TransactionSender
from goldengrain.sdk.claims import claim_open_orders, claim_order, open_orders
from goldengrain.sdk.orders import decrypt_purchase, place_order, refund_order
from goldengrain_protocol.errors import UnavailableError, VerificationError
from goldengrain_protocol.keyschedule import hashlock
from goldengrain_protocol.messages import OrderTerms, order_id
from goldengrain_protocol.sealing import x25519_public
from goldengrain_protocol.types import Hash32
from tests.attacks.sales import (
    Goods,
    Ledger,
    ask_offer,
    await_open_order,
    claims_of,
    goods_of,
    is_open,
    nobody_can_open,
    open_pad,
    order_call,
    waiting_calldata,
)
from tests.market_stage import MarketStage, Person, find_content_key, good_model, public_bytes

pytestmark = [pytest.mark.anvil, pytest.mark.sandbox, pytest.mark.slow]

WINDOW_S = 120


@pytest.fixture
def goods(stage: MarketStage, benchmark: Hash32) -> Goods:
    """Goods of their own for each test: no earlier sale's key may be found by the search."""
    return goods_of(stage, benchmark)


@pytest.fixture
def buyer(stage: MarketStage) -> Person:
    return stage.person("buyer")


def test_any_number_of_offers_without_paying_open_nothing(
    stage: MarketStage, goods: Goods, buyer: Person
) -> None:
    accomplice = stage.person("accomplice")
    ledger = Ledger(stage, buyer=buyer, accomplice=accomplice, developer=goods.developer)
    pads, seen = [], []
    for person in (buyer, buyer, buyer, accomplice):
        private_key = secrets.token_bytes(32)
        reply = ask_offer(stage, goods, person, private_key)
        pads.append(open_pad(goods, person, private_key, reply))
        seen += [reply.offer.sealed_pad, bytes(reply.offer.hashlock), reply.signature, private_key]
    assert len(set(pads)) == 4
    assert nobody_can_open(stage, goods, pads=pads, seen=seen)
    assert ledger.changes() == {}

    # The control: the one thing that is missing is the preimage, and with it the search succeeds.
    private_key = secrets.token_bytes(32)
    reply = ask_offer(stage, goods, buyer, private_key)
    pad = open_pad(goods, buyer, private_key, reply)
    preimage = goods.preimage(buyer, x25519_public(private_key))
    assert find_content_key(goods.view.body.secret_commitment, [preimage], [pad]) is not None


@pytest.mark.parametrize("lie", ["own hashlock", "other buyer key", "hashlock of another buyer's offer"])
def test_an_order_for_the_wrong_key_is_not_answered(
    stage: MarketStage, goods: Goods, buyer: Person, lie: str
) -> None:
    ledger = Ledger(stage, buyer=buyer, developer=goods.developer)
    own_preimage, private_key = secrets.token_bytes(32), secrets.token_bytes(32)
    reply = ask_offer(stage, goods, buyer, private_key)
    lock, buyer_key = bytes(reply.offer.hashlock), x25519_public(private_key)
    if lie == "own hashlock":
        lock = hashlock(own_preimage)
    elif lie == "other buyer key":
        buyer_key = x25519_public(secrets.token_bytes(32))
    else:
        lock = bytes(ask_offer(stage, goods, stage.person("other"), private_key).offer.hashlock)
    call, terms = order_call(goods, buyer, lock, buyer_key, window_s=WINDOW_S)
    buyer.send(call)
    await_open_order(stage, goods, terms)
    (report,) = [
        each for each in claim_open_orders(goods.developer.session) if each.order_id == order_id(terms)
    ]
    assert report.claim_tx is None
    assert "pays for another key than this model's" in report.error
    pad = open_pad(goods, buyer, private_key, reply)
    assert nobody_can_open(stage, goods, pads=[pad], seen=[own_preimage, private_key])
    assert ledger.changes() == {"buyer": -goods.price, "market": goods.price}
    if lie == "own hashlock":
        # Claiming one's own order with a preimage of one's own only gives the developer the money.
        buyer.send(buyer.session.market.claim(terms, own_preimage))
        assert ledger.changes() == {"buyer": -goods.price, "developer": goods.price}
        assert nobody_can_open(stage, goods, pads=[pad], seen=[own_preimage, private_key])
    else:
        stage.pass_time(WINDOW_S + 1)
        buyer.send(buyer.session.market.refund(terms))
        assert ledger.changes() == {}


def test_an_order_whose_deadline_is_too_near_is_not_answered(
    stage: MarketStage, goods: Goods, buyer: Person
) -> None:
    ledger = Ledger(stage, buyer=buyer, developer=goods.developer)
    purchase = place_order(buyer.session, goods.submission_id, window_s=WINDOW_S)
    await_open_order(stage, goods, purchase)
    (report,) = claim_open_orders(goods.developer.session, margin_s=WINDOW_S + 1)
    assert report.claim_tx is None
    assert "before the refund deadline" in report.error
    assert nobody_can_open(stage, goods)
    stage.pass_time(WINDOW_S + 1)
    (report,) = claim_open_orders(goods.developer.session)
    assert report.claim_tx is None
    refund_order(buyer.session, purchase)
    assert ledger.changes() == {}
    assert nobody_can_open(stage, goods)


@pytest.mark.parametrize("pay", [0, 1, -1])
def test_an_order_is_taken_for_the_exact_price_only(
    stage: MarketStage, goods: Goods, buyer: Person, pay: int
) -> None:
    ledger = Ledger(stage, buyer=buyer, developer=goods.developer)
    amount = pay if pay == 0 else goods.price + pay
    call, _ = order_call(
        goods, buyer, secrets.token_bytes(32), secrets.token_bytes(32), window_s=60, pay=amount
    )
    with pytest.raises(RevertError, match="market: wrong payment"):
        buyer.send(call)
    assert ledger.changes() == {}


def test_a_refund_cannot_overtake_a_claim_before_the_deadline(
    stage: MarketStage, goods: Goods, buyer: Person
) -> None:
    ledger = Ledger(stage, buyer=buyer, developer=goods.developer)
    purchase = place_order(buyer.session, goods.submission_id, window_s=WINDOW_S)
    await_open_order(stage, goods, purchase)
    (order,) = open_orders(goods.developer.session)
    with stage.no_blocks():
        report = claim_order(goods.developer.session, order, wait=False)
        # The buyer reads the key in the mempool and tries to take the money back in the same block, for any fee.
        assert goods.preimage(buyer, purchase.buyer_key) in b"".join(waiting_calldata(stage))
        _send_first(buyer, buyer.session.market.refund(purchase.terms).data)
    assert report.claim_tx is not None
    stage.await_(lambda: not is_open(buyer, purchase), "the claim")
    assert stage.client.wait_finalized(report.claim_tx).status
    assert ledger.changes() == {"buyer": -goods.price, "developer": goods.price}
    assert decrypt_purchase(buyer.session, purchase) == good_model()


def test_a_key_that_nobody_saw_is_not_shown_after_the_deadline(
    stage: MarketStage, goods: Goods, buyer: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The developer's machine dies after signing the claim, and comes back when the refund is possible."""
    ledger = Ledger(stage, buyer=buyer, developer=goods.developer)
    purchase = place_order(buyer.session, goods.submission_id, window_s=WINDOW_S)
    await_open_order(stage, goods, purchase)
    (order,) = open_orders(goods.developer.session)

    def broken(_self: ChainClient, _raw: bytes) -> Hash32:
        raise UnavailableError("the line is dead")

    with monkeypatch.context() as patch:
        patch.setattr(ChainClient, "send_raw", broken)
        claim_order(goods.developer.session, order, wait=False)
    assert nobody_can_open(stage, goods)

    stage.pass_time(WINDOW_S + 1)
    sender: TransactionSender = goods.developer.session.sender
    sender.resume()
    with pytest.raises(VerificationError, match="last safe moment"):
        sender.wait(f"claim:0x{purchase.order_id.hex()}", timeout_s=20)
    refund_order(buyer.session, purchase)
    assert claim_open_orders(goods.developer.session) == []
    assert ledger.changes() == {}
    pad = _pad_of(goods, buyer, purchase.buyer_key)
    assert nobody_can_open(stage, goods, pads=[pad])


def test_a_stranger_who_claims_first_pays_the_developer(
    stage: MarketStage, goods: Goods, buyer: Person
) -> None:
    stranger = stage.person("stranger")
    ledger = Ledger(stage, buyer=buyer, developer=goods.developer, stranger=stranger)
    purchase = place_order(buyer.session, goods.submission_id, window_s=WINDOW_S)
    await_open_order(stage, goods, purchase)
    (order,) = open_orders(goods.developer.session)
    with stage.no_blocks():
        report = claim_order(goods.developer.session, order, wait=False)
        (calldata,) = [data for data in waiting_calldata(stage) if len(data) >= 196]
        _send_first(stranger, calldata)
    assert report.claim_tx is not None
    own = stage.client.wait_finalized(report.claim_tx)
    assert not own.status, "the stranger's claim was not first: the test shows nothing"
    assert ledger.changes() == {"buyer": -goods.price, "developer": goods.price}
    assert decrypt_purchase(buyer.session, purchase) == good_model()
    assert claim_open_orders(goods.developer.session) == []
    assert ledger.changes() == {"buyer": -goods.price, "developer": goods.price}


def test_a_revealed_key_opens_nothing_for_another_buyer(
    stage: MarketStage, goods: Goods, buyer: Person
) -> None:
    thief = stage.person("thief")
    private_key = secrets.token_bytes(32)
    reply = ask_offer(stage, goods, thief, private_key)
    pad = open_pad(goods, thief, private_key, reply)
    ledger = Ledger(stage, buyer=buyer, developer=goods.developer, thief=thief)
    purchase = place_order(buyer.session, goods.submission_id, window_s=WINDOW_S)
    await_open_order(stage, goods, purchase)
    claim_open_orders(goods.developer.session)
    (revealed,) = claims_of(buyer, purchase)

    assert nobody_can_open(stage, goods, pads=[pad], seen=[private_key, purchase.sealed_pad])
    everything = public_bytes(stage.client, stage.client.latest_number() - 100)
    bought_pad = _pad_of(goods, buyer, purchase.buyer_key)
    assert find_content_key(goods.view.body.secret_commitment, everything, [bought_pad]) is not None

    # Ordering against the key that is public already buys nothing either: it only pays the developer.
    call, terms = order_call(goods, thief, hashlock(revealed), x25519_public(private_key), window_s=WINDOW_S)
    thief.send(call)
    await_open_order(stage, goods, terms)
    (report,) = claim_open_orders(goods.developer.session)
    assert "another key" in report.error
    thief.send(thief.session.market.claim(terms, revealed))
    assert nobody_can_open(stage, goods, pads=[pad], seen=[private_key])
    assert ledger.changes() == {
        "buyer": -goods.price,
        "thief": -goods.price,
        "developer": 2 * goods.price,
    }


def test_one_order_cannot_be_refunded_twice_or_by_its_copy(
    stage: MarketStage, goods: Goods, buyer: Person
) -> None:
    neighbour = stage.person("neighbour")
    ledger = Ledger(stage, buyer=buyer, neighbour=neighbour)
    purchase = place_order(buyer.session, goods.submission_id, window_s=WINDOW_S)
    other = place_order(neighbour.session, goods.submission_id, window_s=WINDOW_S)
    stage.pass_time(WINDOW_S + 1)
    refund_order(buyer.session, purchase)
    market = buyer.session.market
    for terms in (
        purchase.terms,
        OrderTerms(other.terms.sale, buyer.address, other.terms.deadline, other.terms.hashlock),
    ):
        with pytest.raises(RevertError, match="market: no such order"):
            buyer.send(market.refund(terms))
    assert ledger.changes() == {"neighbour": -goods.price, "market": goods.price}
    buyer.send(market.refund(other.terms))  # anybody may send it; its buyer is paid
    assert ledger.changes() == {}


def _send_first(person: Person, calldata: bytes) -> None:
    """Put a transaction into the mempool that pays more for its place than any other, past all checks."""
    client, account = person.client, person.account
    fields = {
        "type": 2,
        "chainId": client.chain_id,
        "nonce": client.transaction_count(person.address, "pending"),
        "gas": 300_000,
        "to": person.session.market_address,
        "value": 0,
        "data": calldata,
        "maxFeePerGas": 500 * 10**9,
        "maxPriorityFeePerGas": 200 * 10**9,
    }
    raw, tx_hash = account.sign_transaction(fields)
    person.unjournalled.append(tx_hash)
    client.send_raw(raw)


def _pad_of(goods: Goods, buyer: Person, buyer_key: bytes) -> bytes:
    """Return the pad that an offer to `buyer_key` seals: content key xor preimage."""
    from goldengrain.sdk.submissions import recover_secret
    from goldengrain_protocol.keyschedule import content_key, xor32

    secret = recover_secret(goods.developer.session, goods.view)
    return xor32(content_key(secret), goods.preimage(buyer, buyer_key))
