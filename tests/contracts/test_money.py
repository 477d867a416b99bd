"""Money against hostile receivers, tokens and callers: no one can block, take twice or lose another's."""

from dataclasses import replace

import boa
import pytest

from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.messages import OrderTerms
from goldengrain_protocol.types import ZERO_ADDRESS, to_checksum
from tests.contracts import chain
from tests.contracts.bazaar import DAY_S, ETH, START_S, Bazaar, Entry, Order, Signer, raw
from tests.contracts.chain import Reverted

ACCEPTS, REFUSES, REENTERS, REENTERS_OR_REVERTS, BURNS_GAS = range(5)
HONEST, NOTHING, FALSE, REVERTS, TWO, BOMB, TOKEN_BURNS_GAS, MOVES_NOTHING, SHORT = range(9)


def _receive(bazaar: Bazaar, mode: int, data: bytes = b"") -> None:
    """Give the receiver's address the code of one that behaves so towards the market."""
    behaving = chain.deploy(chain.SOURCES / "Receiver.vy", mode, bazaar.market.address, data)
    boa.env.set_code(bazaar.receiver.address, boa.env.get_code(behaving.address))


def _hostile_entry(bazaar: Bazaar) -> Entry:
    return bazaar.priced(bazaar.open(bazaar.terms(sale=bazaar.sale(bazaar.hostile_token))))


# Receivers of ETH


@pytest.mark.parametrize("mode", [REFUSES, REENTERS_OR_REVERTS, BURNS_GAS])
def test_a_payee_that_refuses_is_credited_and_withdraws_elsewhere(bazaar: Bazaar, mode: int) -> None:
    terms = bazaar.open(bazaar.terms())
    entry = bazaar.priced(terms, payee=raw(bazaar.receiver.address))
    (order,) = bazaar.order([entry])
    _receive(bazaar, mode, bazaar.market.encode_call("withdraw", ETH, bazaar.stranger))
    bazaar.claim(order)
    assert bazaar.credit(bazaar.receiver.address) == order.amount
    assert bazaar.market.events_named("Credited") == [
        {"token": ETH.lower(), "account": bazaar.receiver.address.lower(), "amount": order.amount}
    ]
    with pytest.raises(Reverted, match="market: receiver refused"):
        bazaar.market.call(
            "withdraw", ETH, bazaar.receiver.address, sender=bazaar.receiver.address, gas=300_000
        )
    before = chain.balance_of(bazaar.other_buyer)
    bazaar.market.call("withdraw", ETH, bazaar.other_buyer, sender=bazaar.receiver.address)
    assert chain.balance_of(bazaar.other_buyer) - before == order.amount


@pytest.mark.parametrize("function", ["claim", "refund", "withdraw", "order", "submit", "reclaim_fee"])
def test_a_receiver_cannot_re_enter(bazaar: Bazaar, function: str) -> None:
    terms = bazaar.open(bazaar.terms())
    entry = bazaar.priced(terms, payee=raw(bazaar.receiver.address))
    one, two = bazaar.order([entry, entry])
    sale = terms.sale.abi_tuple()
    arguments: dict[str, tuple[object, ...]] = {
        "claim": (sale, bazaar.buyer, two.terms.deadline, two.preimage),
        "refund": (sale, bazaar.buyer, two.terms.deadline, two.terms.hashlock),
        "withdraw": (ETH, bazaar.stranger),
        "order": (sale, two.terms.deadline, []),
        "submit": (bytes(32), sale, bazaar.stranger, bytes(32), bytes(32), 0, b""),
        "reclaim_fee": (sale, entry.body.abi_tuple()),
    }
    _receive(bazaar, REENTERS, bazaar.market.encode_call(function, *arguments[function]))
    before = bazaar.receiver.call("hook_calls")
    bazaar.claim(one)
    assert bazaar.receiver.call("hook_calls") - before == 1
    assert bazaar.receiver.call("hook_successes") == 1  # as deployed
    assert bazaar.locked(two) == two.amount
    assert chain.balance_of(bazaar.receiver.address) == one.amount


def test_a_buyer_that_refuses_its_refund_is_credited(bazaar: Bazaar) -> None:
    entry = bazaar.priced(bazaar.open(bazaar.terms()))
    boa.env.set_balance(bazaar.receiver.address, 10**20)
    (order,) = bazaar.order([entry], buyer=bazaar.receiver.address)
    _receive(bazaar, REFUSES)
    chain.set_time(order.terms.deadline + 1)
    bazaar.refund(order)
    assert bazaar.credit(bazaar.receiver.address) == order.amount


def test_a_developer_that_refuses_its_fee_is_credited(bazaar: Bazaar) -> None:
    boa.env.set_balance(bazaar.receiver.address, 10**20)
    terms = bazaar.open(bazaar.terms())
    entry = bazaar.submit(bazaar.entry(terms, bazaar.receiver.address))
    _receive(bazaar, REFUSES)
    chain.set_time(START_S + 2 * DAY_S)
    bazaar.reclaim_fee(entry)
    assert bazaar.credit(bazaar.receiver.address) == terms.fee_wei
    assert bazaar.record(terms, bazaar.receiver.address)[0] == 0


def test_a_caller_with_little_gas_cannot_turn_a_payment_into_a_credit(bazaar: Bazaar) -> None:
    """Whatever the gas limit, either the payee is paid or the whole claim reverts."""
    entry = bazaar.priced(bazaar.open(bazaar.terms()))
    (order,) = bazaar.order([entry])
    outcomes = set()
    for gas in range(10_000, 180_000, 2_500):
        with boa.env.anchor():
            before = chain.balance_of(bazaar.developer)
            try:
                bazaar.claim(order, gas=gas)
            except Reverted as error:
                outcomes.add(error.reason)
            else:
                assert chain.balance_of(bazaar.developer) - before == order.amount
                outcomes.add("paid")
    assert outcomes == {"market: too little gas", "paid"}


def test_a_token_push_has_the_same_guard(bazaar: Bazaar) -> None:
    entry = bazaar.priced(bazaar.open(bazaar.terms(sale=bazaar.sale(bazaar.token))))
    (order,) = bazaar.order([entry])
    outcomes = set()
    for gas in range(20_000, 320_000, 10_000):
        with boa.env.anchor():
            try:
                bazaar.claim(order, gas=gas)
            except Reverted as error:
                outcomes.add(error.reason)
            else:
                assert bazaar.token.call("balanceOf", bazaar.developer) == order.amount
                outcomes.add("paid")
    assert outcomes == {"market: too little gas", "paid"}


def test_a_refund_and_a_fee_have_the_same_guard(bazaar: Bazaar) -> None:
    terms = bazaar.open(bazaar.terms())
    (order,) = bazaar.order([bazaar.priced(terms)])
    late = bazaar.submit(bazaar.entry(terms))
    chain.set_time(START_S + 2 * DAY_S)
    with pytest.raises(Reverted, match="market: too little gas"):
        bazaar.refund(order, gas=80_000)
    with pytest.raises(Reverted, match="market: too little gas"):
        bazaar.reclaim_fee(late, gas=80_000)


# Tokens on the way in


@pytest.mark.parametrize("mode", [HONEST, NOTHING, BOMB])
def test_takes_tokens_that_return_true_or_nothing_or_more(bazaar: Bazaar, mode: int) -> None:
    entry = _hostile_entry(bazaar)
    bazaar.hostile_token.call("configure", mode, 0)
    (order,) = bazaar.order([entry])
    assert bazaar.hostile_token.call("balanceOf", bazaar.market.address) == order.amount


@pytest.mark.parametrize(
    ("mode", "fee_bps", "reason"),
    [
        (FALSE, 0, "market: token refused transfer"),
        (REVERTS, 0, "token: refused"),
        (MOVES_NOTHING, 0, "market: token took a fee"),
        (HONEST, 1_000, "market: token took a fee"),
        (HONEST, 10_000, "market: token took a fee"),
        (TWO, 0, ""),
        (SHORT, 0, ""),
    ],
)
def test_refuses_tokens_that_do_not_deliver(bazaar: Bazaar, mode: int, fee_bps: int, reason: str) -> None:
    entry = _hostile_entry(bazaar)
    bazaar.hostile_token.call("configure", mode, fee_bps)
    (order,) = bazaar.orders_for([entry])
    with pytest.raises(Reverted) as refused:
        bazaar.order([entry], [order])
    assert refused.value.reason == reason
    assert bazaar.locked(order) == 0


def test_a_token_that_calls_back_cannot_have_one_payment_counted_twice(bazaar: Bazaar) -> None:
    entry = _hostile_entry(bazaar)
    (inner,) = bazaar.orders_for([entry], buyer=bazaar.hostile_token.address)
    bazaar.hostile_token.call("mint", bazaar.hostile_token.address, 10**30)
    data = bazaar.market.encode_call(
        "order", entry.benchmark.sale.abi_tuple(), inner.terms.deadline, bazaar.items([entry], [inner])
    )
    bazaar.hostile_token.call("set_hook", bazaar.market.address, data)
    (outer,) = bazaar.order([entry])
    assert bazaar.hostile_token.call("hook_calls") == 1
    assert bazaar.hostile_token.call("hook_successes") == 0
    assert bazaar.locked(inner) == 0
    assert bazaar.hostile_token.call("balanceOf", bazaar.market.address) == outer.amount


@pytest.mark.parametrize("function", ["claim", "refund", "withdraw", "submissions"])
def test_a_token_cannot_re_enter_on_the_way_in(bazaar: Bazaar, function: str) -> None:
    entry = _hostile_entry(bazaar)
    (first,) = bazaar.order([entry])
    arguments: dict[str, tuple[object, ...]] = {
        "claim": (first.terms.sale.abi_tuple(), bazaar.buyer, first.terms.deadline, first.preimage),
        "refund": (first.terms.sale.abi_tuple(), bazaar.buyer, first.terms.deadline, first.terms.hashlock),
        "withdraw": (bazaar.hostile_token.address, bazaar.stranger),
        "submissions": (entry.submission_id,),
    }
    data = bazaar.market.encode_call(function, *arguments[function])
    bazaar.hostile_token.call("set_hook", bazaar.market.address, data)
    (second,) = bazaar.order([entry])
    assert bazaar.hostile_token.call("hook_calls") == 1
    assert bazaar.hostile_token.call("hook_successes") == 0
    assert bazaar.locked(first) == first.amount
    assert bazaar.locked(second) == second.amount


# Tokens on the way out


@pytest.mark.parametrize("mode", [HONEST, NOTHING])
def test_pays_with_tokens_that_return_true_or_nothing(bazaar: Bazaar, mode: int) -> None:
    entry = _hostile_entry(bazaar)
    (order,) = bazaar.order([entry])
    bazaar.hostile_token.call("configure", mode, 0)
    bazaar.claim(order)
    assert bazaar.hostile_token.call("balanceOf", bazaar.developer) == order.amount
    assert bazaar.credit(bazaar.developer, bazaar.hostile_token) == 0


@pytest.mark.parametrize("mode", [FALSE, REVERTS, TOKEN_BURNS_GAS])
def test_a_token_that_fails_on_the_way_out_leaves_a_credit(bazaar: Bazaar, mode: int) -> None:
    entry = _hostile_entry(bazaar)
    (order,) = bazaar.order([entry])
    bazaar.hostile_token.call("configure", mode, 0)
    bazaar.claim(order)
    assert bazaar.credit(bazaar.developer, bazaar.hostile_token) == order.amount
    if mode != TOKEN_BURNS_GAS:
        with pytest.raises(Reverted, match="token"):
            bazaar.market.call(
                "withdraw", bazaar.hostile_token.address, bazaar.developer, sender=bazaar.developer
            )
    bazaar.hostile_token.call("configure", HONEST, 0)
    bazaar.market.call("withdraw", bazaar.hostile_token.address, bazaar.developer, sender=bazaar.developer)
    assert bazaar.hostile_token.call("balanceOf", bazaar.developer) == order.amount
    assert bazaar.credit(bazaar.developer, bazaar.hostile_token) == 0


def test_a_blacklisted_payee_withdraws_to_another_account(bazaar: Bazaar) -> None:
    entry = _hostile_entry(bazaar)
    (order,) = bazaar.order([entry])
    bazaar.hostile_token.call("blacklist", bazaar.developer, True)
    bazaar.claim(order)
    assert bazaar.credit(bazaar.developer, bazaar.hostile_token) == order.amount
    bazaar.market.call("withdraw", bazaar.hostile_token.address, bazaar.stranger, sender=bazaar.developer)
    assert bazaar.hostile_token.call("balanceOf", bazaar.stranger) == order.amount


def test_a_blacklisted_buyer_is_credited_its_refund(bazaar: Bazaar) -> None:
    entry = _hostile_entry(bazaar)
    (order,) = bazaar.order([entry])
    bazaar.hostile_token.call("blacklist", bazaar.buyer, True)
    chain.set_time(order.terms.deadline + 1)
    bazaar.refund(order)
    assert bazaar.credit(bazaar.buyer, bazaar.hostile_token) == order.amount


@pytest.mark.parametrize("mode", [TWO, SHORT, MOVES_NOTHING])
def test_a_lying_token_harms_only_its_own_holders(bazaar: Bazaar, mode: int) -> None:
    honest = bazaar.priced(bazaar.open(bazaar.terms(sale=bazaar.sale(bazaar.token))))
    eth = bazaar.priced(bazaar.open(bazaar.terms()))
    (order,) = bazaar.order([_hostile_entry(bazaar)])
    (token_order,) = bazaar.order([honest])
    (eth_order,) = bazaar.order([eth])
    held = bazaar.token.call("balanceOf", bazaar.market.address), chain.balance_of(bazaar.market.address)
    bazaar.hostile_token.call("configure", mode, 0)
    bazaar.claim(order)
    assert held == (
        bazaar.token.call("balanceOf", bazaar.market.address),
        chain.balance_of(bazaar.market.address),
    )
    bazaar.claim(token_order)
    bazaar.claim(eth_order)


def test_a_token_that_vanished_leaves_a_credit(bazaar: Bazaar) -> None:
    entry = _hostile_entry(bazaar)
    (order,) = bazaar.order([entry])
    boa.env.set_code(bazaar.hostile_token.address, b"")
    bazaar.claim(order)
    assert bazaar.credit(bazaar.developer, bazaar.hostile_token) == order.amount
    with pytest.raises(Reverted, match="market: token has no code"):
        bazaar.market.call(
            "withdraw", bazaar.hostile_token.address, bazaar.developer, sender=bazaar.developer
        )


# Withdrawals


def test_withdraws_ones_own_credit_once(bazaar: Bazaar) -> None:
    terms = bazaar.open(bazaar.terms())
    bazaar.priced(terms)
    with pytest.raises(Reverted, match="market: nothing credited"):
        bazaar.market.call("withdraw", ETH, bazaar.stranger, sender=bazaar.stranger)
    for nowhere in (to_checksum(ZERO_ADDRESS), bazaar.market.address):
        with pytest.raises(Reverted, match="market: no receiver"):
            bazaar.market.call("withdraw", ETH, nowhere, sender=bazaar.worker)
    bazaar.market.call("withdraw", ETH, bazaar.stranger, sender=bazaar.worker)
    assert bazaar.market.events_named("Withdrawn") == [
        {
            "token": ETH.lower(),
            "account": bazaar.worker.lower(),
            "to": bazaar.stranger.lower(),
            "amount": terms.fee_wei,
        }
    ]
    with pytest.raises(Reverted, match="market: nothing credited"):
        bazaar.market.call("withdraw", ETH, bazaar.stranger, sender=bazaar.worker)
    assert chain.balance_of(bazaar.market.address) == 0


def test_a_withdrawal_cannot_be_re_entered(bazaar: Bazaar) -> None:
    terms = bazaar.open(bazaar.terms())
    for developer in (bazaar.developer, bazaar.other_developer):
        entry = bazaar.submit(bazaar.entry(terms, developer))
        worker = raw(bazaar.receiver.address) if developer == bazaar.developer else raw(bazaar.worker)
        bazaar.accept(entry, [bazaar.signed(bazaar.result(entry, worker=worker))])
    _receive(bazaar, REENTERS, bazaar.market.encode_call("withdraw", ETH, bazaar.receiver.address))
    bazaar.market.call("withdraw", ETH, bazaar.receiver.address, sender=bazaar.receiver.address)
    assert bazaar.receiver.call("hook_successes") == 1  # as deployed
    assert chain.balance_of(bazaar.receiver.address) == terms.fee_wei
    assert chain.balance_of(bazaar.market.address) == terms.fee_wei


def test_unasked_eth_is_refused_and_forced_eth_helps_nobody(bazaar: Bazaar) -> None:
    with pytest.raises(Reverted):
        bazaar.market.call_raw(b"", sender=bazaar.stranger, value=1)
    boa.env.set_balance(bazaar.market.address, 5)
    with pytest.raises(Reverted, match="market: nothing credited"):
        bazaar.market.call("withdraw", ETH, bazaar.stranger, sender=bazaar.stranger)


# Permits


def _permit(bazaar: Bazaar, buyer: Signer, amount: int, deadline: int) -> tuple[int, bytes, bytes]:

    kind = keccak256(b"Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)")
    nonce = bazaar.token.call("nonces", to_checksum(buyer.address))
    words = [buyer.address.rjust(32, b"\x00"), bazaar.market_address.rjust(32, b"\x00")]
    words += [number.to_bytes(32, "big") for number in (amount, nonce, deadline)]
    domain = bazaar.token.call("DOMAIN_SEPARATOR")
    signature = buyer.sign(keccak256(b"\x19\x01" + domain + keccak256(kind + b"".join(words))))
    return signature[64], signature[:32], signature[32:64]


def _order_with_permit(bazaar: Bazaar, entry: Entry, buyer: Signer, permitted: int) -> Order:
    (order,) = bazaar.orders_for([entry], buyer=to_checksum(buyer.address))
    signature = _permit(bazaar, buyer, permitted, START_S + 60)
    bazaar.market.call(
        "order_with_permit",
        order.terms.sale.abi_tuple(),
        order.terms.deadline,
        bazaar.items([entry], [order]),
        START_S + 60,
        *signature,
        sender=to_checksum(buyer.address),
    )
    return order


def test_a_permit_makes_a_purchase_one_transaction(bazaar: Bazaar) -> None:
    buyer = Signer.named("buyer with a permit")
    bazaar.token.call("mint", to_checksum(buyer.address), 10**30)
    entry = bazaar.priced(bazaar.open(bazaar.terms(sale=bazaar.sale(bazaar.token))))
    with pytest.raises(Reverted, match="token: allowance too low"):
        _order_with_permit(bazaar, entry, buyer, bazaar.price(entry) - 1)
    order = _order_with_permit(bazaar, entry, buyer, bazaar.price(entry))
    assert bazaar.locked(order) == order.amount
    assert bazaar.token.call("allowance", to_checksum(buyer.address), bazaar.market.address) == 0


def test_a_permit_used_up_by_somebody_else_does_not_block_the_order(bazaar: Bazaar) -> None:
    buyer = Signer.named("buyer with a permit")
    address = to_checksum(buyer.address)
    bazaar.token.call("mint", address, 10**30)
    entry = bazaar.priced(bazaar.open(bazaar.terms(sale=bazaar.sale(bazaar.token))))
    (order,) = bazaar.orders_for([entry], buyer=address)
    signature = _permit(bazaar, buyer, order.amount, START_S + 60)
    bazaar.token.call(
        "permit",
        address,
        bazaar.market.address,
        order.amount,
        START_S + 60,
        *signature,
        sender=bazaar.stranger,
    )
    arguments = (
        order.terms.sale.abi_tuple(),
        order.terms.deadline,
        bazaar.items([entry], [order]),
        START_S + 60,
    )
    bazaar.market.call("order_with_permit", *arguments, *signature, sender=address)
    assert bazaar.locked(order) == order.amount


def test_a_token_without_permit_falls_back_to_the_allowance(bazaar: Bazaar) -> None:
    entry = _hostile_entry(bazaar)
    (order,) = bazaar.orders_for([entry])
    arguments = (
        order.terms.sale.abi_tuple(),
        order.terms.deadline,
        bazaar.items([entry], [order]),
        START_S + 60,
    )
    bazaar.market.call("order_with_permit", *arguments, 27, bytes(32), bytes(32), sender=bazaar.buyer)
    assert bazaar.locked(order) == order.amount


def test_eth_needs_no_permit_and_a_permit_takes_no_eth(bazaar: Bazaar) -> None:
    entry = bazaar.priced(bazaar.open(bazaar.terms()))
    (order,) = bazaar.orders_for([entry])
    arguments = (
        order.terms.sale.abi_tuple(),
        order.terms.deadline,
        bazaar.items([entry], [order]),
        START_S + 60,
    )
    with pytest.raises(Reverted, match="market: ETH needs no permit"):
        bazaar.market.call("order_with_permit", *arguments, 27, bytes(32), bytes(32), sender=bazaar.buyer)
    with pytest.raises(Reverted):
        bazaar.market.call(
            "order_with_permit", *arguments, 27, bytes(32), bytes(32), sender=bazaar.buyer, value=1
        )


def test_what_one_token_owes_is_never_paid_in_another(bazaar: Bazaar) -> None:
    """An order's id contains its token, so a claim under another one finds nothing."""
    entry = bazaar.priced(bazaar.open(bazaar.terms(sale=bazaar.sale(bazaar.hostile_token))))
    bazaar.order([bazaar.priced(bazaar.open(bazaar.terms(sale=bazaar.sale(bazaar.token))))])
    (order,) = bazaar.order([entry])
    for token in (ZERO_ADDRESS, raw(bazaar.token.address)):
        terms = OrderTerms(
            replace(order.terms.sale, token=token),
            order.terms.buyer,
            order.terms.deadline,
            order.terms.hashlock,
        )
        with pytest.raises(Reverted, match="market: no such order"):
            bazaar.claim(replace(order, terms=terms))
