"""T1, T2: whatever the developer does or leaves undone, the buyer gets the model's key or the money back."""

from __future__ import annotations

import secrets

import pytest

from goldengrain.chain.reverts import RevertError
from goldengrain.sdk.claims import claim_open_orders
from goldengrain.sdk.orders import OrderState, decrypt_purchase, order_view, place_order, refund_order
from goldengrain.sdk.submissions import SaleState, wait_for_score
from goldengrain_protocol.commitments import digest_of
from goldengrain_protocol.container import ContainerKind, encrypt_container
from goldengrain_protocol.errors import InvalidInput
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.keyschedule import secret_commitment
from goldengrain_protocol.messages import Submission, body_hash, submission_id
from goldengrain_protocol.sealing import seal, sealed_keys, submission_seal_context
from goldengrain_protocol.types import ZERO_ADDRESS, Hash32
from tests.attacks.sales import (
    Goods,
    Ledger,
    await_open_order,
    claims_of,
    goods_of,
    is_open,
    nobody_can_open,
    set_code,
)
from tests.market_stage import (
    FEE_WEI,
    START_WEI,
    MarketStage,
    Person,
    find_content_key,
    good_model,
    public_bytes,
)

pytestmark = [pytest.mark.anvil, pytest.mark.sandbox, pytest.mark.slow]

WINDOW_S = 120
REVERTS_ALWAYS = "0x5f5ffd"


@pytest.fixture(scope="module")
def goods(stage: MarketStage, benchmark: Hash32) -> Goods:
    return goods_of(stage, benchmark)


@pytest.fixture
def buyer(stage: MarketStage) -> Person:
    return stage.person("buyer")


def test_honest_sale_moves_key_and_money_together(stage: MarketStage, goods: Goods, buyer: Person) -> None:
    ledger = Ledger(stage, buyer=buyer, developer=goods.developer)
    purchase = place_order(buyer.session, goods.submission_id, window_s=WINDOW_S)
    assert ledger.changes() == {"buyer": -goods.price, "market": goods.price}
    await_open_order(stage, goods, purchase)
    claim_open_orders(goods.developer.session)
    assert ledger.changes() == {"buyer": -goods.price, "developer": goods.price}
    assert decrypt_purchase(buyer.session, purchase) == good_model()


def test_silent_developer_costs_the_buyer_nothing_but_time(
    stage: MarketStage, goods: Goods, buyer: Person
) -> None:
    ledger = Ledger(stage, buyer=buyer, developer=goods.developer)
    purchase = place_order(buyer.session, goods.submission_id, window_s=WINDOW_S)
    with pytest.raises(InvalidInput, match="cannot be refunded: it is paid, waiting for the key"):
        refund_order(buyer.session, purchase)
    with pytest.raises(RevertError, match="market: order not expired"):
        buyer.send(buyer.session.market.refund(purchase.terms))
    assert ledger.changes() == {"buyer": -goods.price, "market": goods.price}

    stage.pass_time(WINDOW_S + 1)
    assert order_view(buyer.session, purchase).state is OrderState.OVERDUE
    assert refund_order(buyer.session, purchase).state is OrderState.REFUNDED
    assert ledger.changes() == {}
    assert claims_of(buyer, purchase) == []
    assert refund_order(buyer.session, purchase).state is OrderState.REFUNDED  # again: nothing more happens
    assert ledger.changes() == {}


def test_money_is_not_paid_for_a_wrong_preimage(stage: MarketStage, goods: Goods, buyer: Person) -> None:
    ledger = Ledger(stage, buyer=buyer, developer=goods.developer)
    purchase = place_order(buyer.session, goods.submission_id, window_s=WINDOW_S)
    market = goods.developer.session.market
    for wrong in (secrets.token_bytes(32), bytes(32), bytes(purchase.terms.hashlock)):
        with pytest.raises(RevertError, match="market: no such order"):
            goods.developer.send(market.claim(purchase.terms, wrong))
    assert ledger.changes() == {"buyer": -goods.price, "market": goods.price}
    stage.pass_time(WINDOW_S + 1)
    refund_order(buyer.session, purchase)
    assert ledger.changes() == {}


def test_a_key_pays_only_the_order_that_it_serves(stage: MarketStage, goods: Goods, buyer: Person) -> None:
    other = stage.person("other-buyer")
    ledger = Ledger(stage, buyer=buyer, other=other, developer=goods.developer)
    purchase = place_order(buyer.session, goods.submission_id, window_s=WINDOW_S)
    another = place_order(other.session, goods.submission_id, window_s=WINDOW_S)
    market = goods.developer.session.market
    key_of_other = goods.preimage(other, another.buyer_key)
    with pytest.raises(RevertError, match="market: no such order"):
        goods.developer.send(market.claim(purchase.terms, key_of_other))

    goods.developer.send(market.claim(another.terms, key_of_other))
    assert decrypt_purchase(other.session, another) == good_model()
    with pytest.raises(RevertError, match="market: no such order"):
        goods.developer.send(market.claim(another.terms, key_of_other))  # twice
    assert is_open(buyer, purchase)
    assert ledger.changes() == {
        "buyer": -goods.price,
        "other": -goods.price,
        "developer": goods.price,
        "market": goods.price,
    }
    stage.pass_time(WINDOW_S + 1)
    refund_order(buyer.session, purchase)
    assert ledger.changes() == {"other": -goods.price, "developer": goods.price}


def test_late_claim_delivers_and_shuts_out_the_refund(
    stage: MarketStage, goods: Goods, buyer: Person
) -> None:
    ledger = Ledger(stage, buyer=buyer, developer=goods.developer)
    purchase = place_order(buyer.session, goods.submission_id, window_s=WINDOW_S)
    stage.pass_time(WINDOW_S + 1)
    claim = goods.developer.session.market.claim(
        purchase.terms, goods.preimage(buyer, purchase.buyer_key), not_after_s=purchase.terms.deadline + 3600
    )
    goods.developer.send(claim)
    with pytest.raises(RevertError, match="market: no such order"):
        buyer.send(buyer.session.market.refund(purchase.terms))
    with pytest.raises(InvalidInput, match="cannot be refunded: it is delivered"):
        refund_order(buyer.session, purchase)
    assert ledger.changes() == {"buyer": -goods.price, "developer": goods.price}
    assert decrypt_purchase(buyer.session, purchase) == good_model()


def test_claim_after_the_refund_is_refused(stage: MarketStage, goods: Goods, buyer: Person) -> None:
    ledger = Ledger(stage, buyer=buyer, developer=goods.developer)
    purchase = place_order(buyer.session, goods.submission_id, window_s=WINDOW_S)
    stage.pass_time(WINDOW_S + 1)
    refund_order(buyer.session, purchase)
    claim = goods.developer.session.market.claim(
        purchase.terms, goods.preimage(buyer, purchase.buyer_key), not_after_s=purchase.terms.deadline + 3600
    )
    with pytest.raises(RevertError, match="market: no such order"):
        goods.developer.send(claim)
    assert ledger.changes() == {}


def test_payee_that_reverts_blocks_neither_key_nor_money(
    stage: MarketStage, benchmark: Hash32, buyer: Person
) -> None:
    payee = stage.person("payee")
    goods = goods_of(stage, benchmark, payee=payee.address)
    set_code(stage, payee.address, REVERTS_ALWAYS)
    ledger = Ledger(stage, buyer=buyer, developer=goods.developer)
    purchase = place_order(buyer.session, goods.submission_id, window_s=WINDOW_S)
    await_open_order(stage, goods, purchase)
    (report,) = claim_open_orders(goods.developer.session)
    assert report.error == ""
    assert decrypt_purchase(buyer.session, purchase) == good_model()
    market = goods.developer.session.market
    assert market.credit(ZERO_ADDRESS, payee.address) == goods.price
    set_code(stage, payee.address, "0x")
    payee.send(market.withdraw(ZERO_ADDRESS, goods.developer.address))
    assert market.credit(ZERO_ADDRESS, payee.address) == 0
    assert ledger.changes() == {"buyer": -goods.price, "developer": goods.price}


def test_only_the_buyer_can_open_what_was_paid_for(stage: MarketStage, goods: Goods, buyer: Person) -> None:
    purchase = place_order(buyer.session, goods.submission_id, window_s=WINDOW_S)
    await_open_order(stage, goods, purchase)
    claim_open_orders(goods.developer.session)
    assert nobody_can_open(stage, goods, seen=[purchase.sealed_pad, purchase.buyer_key])
    # The control: with the pad that only the buyer's derived key opens, the same search succeeds.
    key = decrypt_purchase(buyer.session, purchase)
    assert key == good_model()
    pad = _pad(goods, purchase.buyer_key, buyer)
    found = find_content_key(goods.view.body.secret_commitment, public_bytes(stage.client), [pad])
    assert found is not None


@pytest.mark.parametrize("lie", ["another secret is sealed", "another secret is committed to", "not sealed"])
def test_a_model_whose_key_does_not_open_it_never_gets_a_price(
    stage: MarketStage, benchmark: Hash32, provider: Person, lie: str
) -> None:
    from goldengrain.sdk.benchmarks import get_benchmark

    developer = stage.person("liar")
    session = developer.session
    terms = get_benchmark(session, benchmark).terms
    secret, other = secrets.token_bytes(32), secrets.token_bytes(32)
    container = encrypt_container(good_model(), ContainerKind.MODEL, secret, secrets.token_bytes(32))
    content = session.blobs.put(container)
    assert content == digest_of(container)
    context = submission_seal_context(
        session.chain_id, session.market_address, benchmark, developer.address, content
    )
    sealed_secret = secret if lie == "another secret is committed to" else other
    committed = other if lie == "another secret is committed to" else secret
    sealing_key = stage.boot.sealing_key if lie != "not sealed" else secrets.token_bytes(32)
    keys = sealed_keys({stage.boot.signer: seal(sealing_key, sealed_secret, context)}).encode()
    body = Submission(
        benchmark_id=benchmark,
        developer=developer.address,
        payee=developer.address,
        content_digest=content,
        secret_commitment=secret_commitment(committed),
        sealed_digest=keccak256(keys),
        reserve=0,
    )
    developer.send(session.market.submit(body, terms.sale, keys, FEE_WEI))
    identity = submission_id(terms.sale, body_hash(session.chain_id, session.market_address, body))
    view = wait_for_score(session, identity, timeout_s=60)
    assert view.state is SaleState.MODEL_FAILED
    assert view.price is None
    buyer = stage.person("buyer")
    with pytest.raises(InvalidInput, match="not for sale"):
        place_order(buyer.session, identity)
    assert buyer.wei() == START_WEI
    assert developer.gained_wei() == -FEE_WEI


def _pad(goods: Goods, buyer_key: bytes, buyer: Person) -> bytes:
    from goldengrain.sdk.submissions import recover_secret
    from goldengrain_protocol.keyschedule import content_key, xor32

    secret = recover_secret(goods.developer.session, goods.view)
    return xor32(content_key(secret), goods.preimage(buyer, buyer_key))
