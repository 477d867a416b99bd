"""Order, claim, refund: money against the preimage of a hashlock, each way exactly once."""

from dataclasses import replace

import pytest

from goldengrain_protocol.messages import Sale
from goldengrain_protocol.types import ZERO_ADDRESS, address_from_hex, to_checksum
from tests.contracts import chain
from tests.contracts.bazaar import DAY_S, START_S, Bazaar, Entry, digest, raw
from tests.contracts.chain import Reverted


@pytest.fixture
def entry(bazaar: Bazaar) -> Entry:
    return bazaar.priced(bazaar.open(bazaar.terms()))


@pytest.fixture
def token_entry(bazaar: Bazaar) -> Entry:
    return bazaar.priced(bazaar.open(bazaar.terms(sale=bazaar.sale(bazaar.token))))


def test_an_order_locks_the_price_under_the_id_the_protocol_computes(bazaar: Bazaar, entry: Entry) -> None:
    (order,) = bazaar.orders_for([entry])
    held = chain.balance_of(bazaar.market.address)
    before = chain.balance_of(bazaar.buyer)
    items = bazaar.items([entry], [order])
    bazaar.market.call(
        "order",
        entry.benchmark.sale.abi_tuple(),
        order.terms.deadline,
        items,
        sender=bazaar.buyer,
        value=order.amount,
    )
    assert bazaar.order_word(order) == order.amount | int.from_bytes(entry.body.payee, "big") << 96
    assert before - chain.balance_of(bazaar.buyer) == order.amount == bazaar.price(entry)
    assert chain.balance_of(bazaar.market.address) - held == order.amount
    assert bazaar.market.events_named("Ordered") == [
        {
            "submission_id": entry.submission_id,
            "buyer": bazaar.buyer.lower(),
            "order_id": order.order_id,
            "hashlock": order.terms.hashlock,
            "deadline": order.terms.deadline,
            "buyer_key": items[0][1],
            "amount": order.amount,
        }
    ]


def test_the_preimage_pays_the_payee_whoever_sends_it(bazaar: Bazaar, entry: Entry) -> None:
    (order,) = bazaar.order([entry])
    before = chain.balance_of(bazaar.developer), chain.balance_of(bazaar.stranger)
    bazaar.claim(order, sender=bazaar.stranger)
    assert bazaar.market.events_named("Claimed") == [{"order_id": order.order_id, "preimage": order.preimage}]
    assert chain.balance_of(bazaar.developer) - before[0] == order.amount
    assert chain.balance_of(bazaar.stranger) == before[1]
    assert bazaar.locked(order) == 0


def test_an_order_is_paid_out_once(bazaar: Bazaar, entry: Entry) -> None:
    (order,) = bazaar.order([entry])
    bazaar.claim(order)
    with pytest.raises(Reverted, match="market: no such order"):
        bazaar.claim(order)
    chain.set_time(order.terms.deadline + 1)
    with pytest.raises(Reverted, match="market: no such order"):
        bazaar.refund(order)
    (other,) = bazaar.order([entry])
    chain.set_time(other.terms.deadline + 1)
    bazaar.refund(other)
    with pytest.raises(Reverted, match="market: no such order"):
        bazaar.refund(other)
    with pytest.raises(Reverted, match="market: no such order"):
        bazaar.claim(other)


def test_a_wrong_preimage_pays_nobody(bazaar: Bazaar, entry: Entry) -> None:
    (order,) = bazaar.order([entry])
    with pytest.raises(Reverted, match="market: no such order"):
        bazaar.claim(replace(order, preimage=digest("guess")))
    with pytest.raises(Reverted, match="market: no such order"):
        bazaar.claim(replace(order, preimage=order.terms.hashlock))


def test_the_refund_returns_the_buyers_money_after_the_deadline_whoever_sends_it(
    bazaar: Bazaar, entry: Entry
) -> None:
    before = chain.balance_of(bazaar.buyer)
    (order,) = bazaar.order([entry])
    chain.set_time(order.terms.deadline)
    with pytest.raises(Reverted, match="market: order not expired"):
        bazaar.refund(order)
    chain.set_time(order.terms.deadline + 1)
    bazaar.refund(order, sender=bazaar.stranger)
    assert bazaar.market.events_named("Refunded") == [{"order_id": order.order_id}]
    assert chain.balance_of(bazaar.buyer) == before
    assert chain.balance_of(bazaar.market.address) == bazaar.credit(bazaar.worker)


def test_a_claim_after_the_deadline_holds_until_the_refund(bazaar: Bazaar, entry: Entry) -> None:
    (order,) = bazaar.order([entry])
    chain.set_time(order.terms.deadline + 10 * DAY_S)
    bazaar.claim(order)
    assert bazaar.locked(order) == 0


@pytest.mark.parametrize("field", ["buyer", "deadline", "token", "royalty_bps", "royalty_recipient"])
def test_no_term_of_an_order_can_be_changed_on_the_way_out(bazaar: Bazaar, entry: Entry, field: str) -> None:
    (order,) = bazaar.order([entry])
    sale = order.terms.sale
    wrong = {
        "buyer": replace(order.terms, buyer=raw(bazaar.stranger)),
        "deadline": replace(order.terms, deadline=START_S - 1),
        "token": replace(order.terms, sale=replace(sale, token=raw(bazaar.token.address))),
        "royalty_bps": replace(order.terms, sale=replace(sale, royalty_bps=10_000)),
        "royalty_recipient": replace(order.terms, sale=replace(sale, royalty_recipient=raw(bazaar.stranger))),
    }[field]
    with pytest.raises(Reverted, match="market: no such order"):
        bazaar.claim(replace(order, terms=wrong))
    chain.set_time(order.terms.deadline + 1)
    if field != "deadline":
        with pytest.raises(Reverted, match="market: no such order"):
            bazaar.refund(replace(order, terms=wrong))
    bazaar.refund(order)


@pytest.mark.parametrize("off", [-1, 1])
def test_eth_orders_take_exactly_the_price(bazaar: Bazaar, entry: Entry, off: int) -> None:
    with pytest.raises(Reverted, match="market: wrong payment"):
        bazaar.order([entry], value=bazaar.price(entry) + off)


def test_token_orders_take_no_eth(bazaar: Bazaar, token_entry: Entry) -> None:
    with pytest.raises(Reverted, match="market: wrong payment"):
        bazaar.order([token_entry], value=1)


@pytest.mark.parametrize("wrong", ["token", "royalty", "recipient"])
def test_a_submission_is_not_for_sale_under_other_terms(bazaar: Bazaar, wrong: str) -> None:
    entry = bazaar.priced(bazaar.open(bazaar.terms(sale=bazaar.sale(bazaar.token, royalty_bps=500))))
    sale = {
        "token": replace(entry.benchmark.sale, token=raw(bazaar.hostile_token.address)),
        "royalty": replace(entry.benchmark.sale, royalty_bps=0),
        "recipient": replace(entry.benchmark.sale, royalty_recipient=raw(bazaar.buyer)),
    }[wrong]
    (order,) = bazaar.orders_for([entry])
    with pytest.raises(Reverted, match="market: not for sale"):
        bazaar.order([entry], [replace(order, terms=replace(order.terms, sale=sale))])


def test_only_priced_submissions_are_for_sale(bazaar: Bazaar) -> None:
    terms = bazaar.open(bazaar.terms())
    entry = bazaar.entry(terms)
    for step in ("absent", "open", "unpriced"):
        if step == "open":
            bazaar.submit(entry)
        if step == "unpriced":
            bazaar.accept(entry, [bazaar.signed(bazaar.result(entry, 100_000))])
        with pytest.raises(Reverted, match="market: not for sale"):
            bazaar.order([entry])
    failed = bazaar.submit(bazaar.entry(terms))
    bazaar.accept(failed, [bazaar.signed(bazaar.failure(failed))])
    late = bazaar.submit(bazaar.entry(terms))
    chain.set_time(START_S + 2 * DAY_S)
    bazaar.reclaim_fee(late)
    for gone in (failed, late):
        with pytest.raises(Reverted, match="market: not for sale"):
            bazaar.order([gone])


@pytest.mark.parametrize(
    ("seconds", "reason"), [(-1, "bad deadline"), (0, "bad deadline"), (30 * DAY_S + 1, "bad deadline")]
)
def test_refuses_deadlines_in_the_past_or_too_far(
    bazaar: Bazaar, entry: Entry, seconds: int, reason: str
) -> None:
    with pytest.raises(Reverted, match=f"market: {reason}"):
        bazaar.order([entry], deadline=START_S + seconds)
    with pytest.raises(Reverted, match="market: bad deadline"):
        bazaar.order([entry], deadline=2**256 - 1)
    bazaar.order([entry], deadline=START_S + 1)
    bazaar.order([entry], deadline=START_S + 30 * DAY_S)


def test_an_order_needs_items(bazaar: Bazaar, entry: Entry) -> None:
    with pytest.raises(Reverted, match="market: no items"):
        bazaar.market.call("order", entry.benchmark.sale.abi_tuple(), START_S + 1, [], sender=bazaar.buyer)


def test_a_slot_is_never_used_twice_at_once(bazaar: Bazaar, entry: Entry) -> None:
    """Neither by a second order nor inside one: the first buyer's money cannot be overwritten."""
    (order,) = bazaar.order([entry])
    with pytest.raises(Reverted, match="market: order exists"):
        bazaar.order([entry], [order])
    (twin,) = bazaar.orders_for([entry])
    with pytest.raises(Reverted, match="market: order exists"):
        bazaar.order([entry, entry], [twin, twin])
    cheap = bazaar.priced(entry.benchmark, bazaar.other_developer, bound_ppm=510_000)
    with pytest.raises(Reverted, match="market: order exists"):
        bazaar.order([cheap, entry], [twin, twin], value=bazaar.price(cheap) + bazaar.price(entry))


def test_another_buyer_may_use_the_same_hashlock_without_touching_mine(bazaar: Bazaar, entry: Entry) -> None:
    (mine,) = bazaar.order([entry])
    copied = replace(mine, terms=replace(mine.terms, buyer=raw(bazaar.other_buyer)))
    bazaar.order([entry], [copied])
    assert copied.order_id != mine.order_id
    bazaar.claim(mine)
    assert bazaar.locked(copied) == copied.amount


def test_a_bundle_has_one_hashlock_and_share_each(bazaar: Bazaar) -> None:
    terms = bazaar.open(bazaar.terms())
    first = bazaar.priced(terms, bazaar.developer, 600_000)
    second = bazaar.priced(terms, bazaar.other_developer, 900_000)
    before = [
        chain.balance_of(account) for account in (bazaar.developer, bazaar.other_developer, bazaar.buyer)
    ]
    one, two = bazaar.order([first, second])
    assert len(bazaar.market.events_named("Ordered")) == 2
    bazaar.claim(one)
    chain.set_time(two.terms.deadline + 1)
    bazaar.refund(two)
    after = [
        chain.balance_of(account) for account in (bazaar.developer, bazaar.other_developer, bazaar.buyer)
    ]
    assert [b - a for a, b in zip(before, after, strict=True)] == [one.amount, 0, -one.amount]


def test_sixteen_items_fit_into_one_order(bazaar: Bazaar) -> None:
    terms = bazaar.open(bazaar.terms(sale=bazaar.sale(bazaar.token)))
    entry = bazaar.priced(terms)
    orders = bazaar.order([entry] * 16)
    assert len({order.order_id for order in orders}) == 16
    assert bazaar.token.call("balanceOf", bazaar.market.address) == 16 * bazaar.price(entry)
    with pytest.raises(Reverted):
        bazaar.order([entry] * 17)


@pytest.mark.parametrize(("bps", "royalty"), [(1, 0), (250, 25), (3_333, 333), (10_000, 1_001)])
@pytest.mark.parametrize("money", ["eth", "token"])
def test_the_royalty_is_credited_rounded_down_and_the_payee_gets_the_rest(
    bazaar: Bazaar, bps: int, royalty: int, money: str
) -> None:
    token = bazaar.token if money == "token" else None
    terms = bazaar.terms(sale=bazaar.sale(token, bps))
    terms = bazaar.open(replace(terms, curve=(replace(terms.curve[0], price=1_001),)))
    entry = bazaar.priced(terms)
    (order,) = bazaar.order([entry])

    def balance(account: str) -> int:
        return int(token.call("balanceOf", account)) if token else chain.balance_of(account)

    before = balance(bazaar.developer)
    bazaar.claim(order)
    assert balance(bazaar.developer) - before == 1_001 - royalty
    assert bazaar.credit(bazaar.royalty_recipient, token) == royalty
    credited = bazaar.market.events_named("Credited")
    assert [event["amount"] for event in credited] == ([royalty] if royalty else [])
    if royalty:
        token_address = token.address if token else to_checksum(ZERO_ADDRESS)
        bazaar.market.call(
            "withdraw", token_address, bazaar.royalty_recipient, sender=bazaar.royalty_recipient
        )
        assert balance(bazaar.royalty_recipient) == royalty


def test_a_refund_pays_no_royalty(bazaar: Bazaar) -> None:
    entry = bazaar.priced(bazaar.open(bazaar.terms(sale=bazaar.sale(royalty_bps=5_000))))
    before = chain.balance_of(bazaar.buyer)
    (order,) = bazaar.order([entry])
    chain.set_time(order.terms.deadline + 1)
    bazaar.refund(order)
    assert chain.balance_of(bazaar.buyer) == before
    assert bazaar.credit(bazaar.royalty_recipient) == 0


def test_token_orders_move_tokens_in_and_out(bazaar: Bazaar, token_entry: Entry) -> None:
    price = bazaar.price(token_entry)
    before = bazaar.token.call("balanceOf", bazaar.buyer)
    paid, unpaid = bazaar.order([token_entry, token_entry])
    assert before - bazaar.token.call("balanceOf", bazaar.buyer) == 2 * price
    bazaar.claim(paid)
    chain.set_time(unpaid.terms.deadline + 1)
    bazaar.refund(unpaid)
    assert bazaar.token.call("balanceOf", bazaar.developer) == price
    assert bazaar.token.call("balanceOf", bazaar.buyer) == before - price
    assert bazaar.token.call("balanceOf", bazaar.market.address) == 0


def test_orders_of_a_closed_and_expired_benchmark_go_on(bazaar: Bazaar, entry: Entry) -> None:
    chain.set_time(START_S + 400 * DAY_S)
    (order,) = bazaar.order([entry])
    bazaar.claim(order)


def test_a_token_without_code_is_no_token(bazaar: Bazaar) -> None:
    sale = Sale(address_from_hex("0x" + "22" * 20), ZERO_ADDRESS, 0)
    entry = bazaar.priced(bazaar.open(bazaar.terms(sale=sale)))
    with pytest.raises(Reverted, match="market: token has no code"):
        bazaar.order([entry])
