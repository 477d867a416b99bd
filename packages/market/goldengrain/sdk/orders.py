"""Buying: offer, order, delivery, refund. Every step can be run again after a crash."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from goldengrain.chain.contracts import OrderItem
from goldengrain.chain.events import ClaimedEvent, OrderedEvent, RefundedEvent
from goldengrain.home import atomic_write, read_json_object
from goldengrain.sdk.benchmarks import Progress
from goldengrain.sdk.offers import CheckedOffer, fetch_ciphertext, fetch_offer
from goldengrain.sdk.runtime import Predictor
from goldengrain.sdk.session import Session
from goldengrain.sdk.submissions import get_submission
from goldengrain_protocol.container import ContainerKind, decrypt_container_with_key
from goldengrain_protocol.errors import InvalidInput, UnavailableError, VerificationError
from goldengrain_protocol.keyschedule import derive_buyer_private_key, hashlock, xor32
from goldengrain_protocol.messages import OrderTerms, Sale, body_hash, order_id
from goldengrain_protocol.sealing import offer_seal_context, open_sealed, x25519_public
from goldengrain_protocol.types import (
    ZERO_ADDRESS,
    Hash32,
    address_from_hex,
    hash32_from_hex,
    to_checksum,
)

POLL_S: Final = 0.5
DEFAULT_WINDOW_S: Final = 24 * 3600
"""How long the developer has to claim before the buyer may take the money back."""


class OrderState(StrEnum):
    PREPARED = "prepared, not paid"
    OPEN = "paid, waiting for the key"
    OVERDUE = "not delivered in time: can be refunded"
    DELIVERED = "delivered"
    REFUNDED = "refunded"


@dataclass(frozen=True, slots=True)
class Purchase:
    """One order of one submission: what is needed to pay it, open it, or take the money back.

    `price` in the smallest unit of the sale's token; `sealed_pad` opens only with the buyer's derived key.
    """

    submission_id: Hash32
    order_nonce: int
    terms: OrderTerms
    buyer_key: bytes
    sealed_pad: bytes
    price: int

    @property
    def order_id(self) -> Hash32:
        return order_id(self.terms)


@dataclass(frozen=True, slots=True)
class OrderView:
    """A purchase and what the chain says of it."""

    purchase: Purchase
    state: OrderState
    order_tx: Hash32 | None
    end_tx: Hash32 | None
    preimage: bytes | None


def get_offer(session: Session, submission: Hash32, *, on_progress: Progress | None = None) -> CheckedOffer:
    """Return a checked offer for the next order of this account, and keep nothing."""
    view = get_submission(session, submission)
    private_key = _buyer_private_key(session, submission, _next_order_nonce(session, submission))
    return fetch_offer(
        session,
        view,
        buyer_private_key=private_key,
        buyer_key=x25519_public(private_key),
        on_progress=on_progress,
    )


def place_order(
    session: Session,
    submission: Hash32,
    *,
    window_s: int = DEFAULT_WINDOW_S,
    max_price: int | None = None,
    on_progress: Progress | None = None,
) -> Purchase:
    """Get and check an offer and the ciphertext, then pay into escrow. Returns once the order is final.

    An earlier unfinished order of this account for the same submission is continued, never paid twice.

    Raises:
        InvalidInput: not for sale, already bought, dearer than `max_price`, or not enough money.
        VerificationError: offer, enclave or ciphertext does not check out; nothing was paid.
        UnavailableError: worker, node or storage is away; nothing is lost.
    """
    earlier = _latest_note(session, submission)
    if earlier is not None:
        state = order_view(session, earlier).state
        if state in (OrderState.OPEN, OrderState.OVERDUE, OrderState.DELIVERED):
            return earlier
        if state == OrderState.PREPARED:
            if _is_payable(session, earlier):
                _pay(session, earlier, on_progress)
                return earlier
            _note_path(session, submission, earlier.order_nonce).unlink()
    view = get_submission(session, submission)
    if view.price is not None and max_price is not None and view.price > max_price:
        raise InvalidInput(f"the price is {view.price}, more than the allowed {max_price}")
    order_nonce = _next_order_nonce(session, submission)
    private_key = _buyer_private_key(session, submission, order_nonce)
    checked = fetch_offer(
        session,
        view,
        buyer_private_key=private_key,
        buyer_key=x25519_public(private_key),
        on_progress=on_progress,
    )
    if view.price is None:
        raise InvalidInput("the submission has no price")
    deadline = session.client.block("latest").timestamp + window_s
    purchase = Purchase(
        submission_id=submission,
        order_nonce=order_nonce,
        terms=OrderTerms(view.terms.sale, session.account.address, deadline, checked.offer.hashlock),
        buyer_key=checked.offer.buyer_key,
        sealed_pad=checked.offer.sealed_pad,
        price=view.price,
    )
    _save_note(session, purchase)
    _pay(session, purchase, on_progress)
    return purchase


def wait_for_delivery(
    session: Session, purchase: Purchase, *, timeout_s: float = 600, on_progress: Progress | None = None
) -> OrderView:
    """Return the order once it is delivered or refunded.

    Raises:
        UnavailableError: neither happened within `timeout_s`, or the deadline passed; the money can be taken back.
    """
    started = time.monotonic()
    while True:
        view = order_view(session, purchase)
        if view.state in (OrderState.DELIVERED, OrderState.REFUNDED):
            return view
        elapsed = time.monotonic() - started
        if on_progress is not None:
            on_progress("waiting for the key", int(elapsed), int(timeout_s))
        if view.state == OrderState.OVERDUE:
            raise UnavailableError(
                "the developer did not deliver before the deadline",
                next_step=f"take the money back: gg order refund 0x{purchase.submission_id.hex()}",
            )
        if elapsed > timeout_s:
            raise UnavailableError(
                f"no key within {timeout_s:.0f} s",
                next_step=f"run the same command again later; refund is possible after {purchase.terms.deadline}",
            )
        time.sleep(POLL_S)


def open_purchase(session: Session, purchase: Purchase) -> Predictor:
    """Decrypt the delivered model and load it.

    Raises:
        InvalidInput: the order is not delivered.
        VerificationError: the key does not open the ciphertext (which a registered enclave had signed it would).
    """
    return Predictor(decrypt_purchase(session, purchase))


def decrypt_purchase(session: Session, purchase: Purchase) -> bytes:
    """Return the plain ONNX bytes of a delivered order. Raises as `open_purchase`."""
    view = order_view(session, purchase)
    if view.preimage is None:
        raise InvalidInput(f"the model cannot be opened: the order is {view.state.value}")
    submission = get_submission(session, purchase.submission_id)
    fetch_ciphertext(session, submission)
    context = offer_seal_context(
        session.chain_id,
        session.market_address,
        purchase.submission_id,
        purchase.terms.buyer,
        purchase.terms.hashlock,
    )
    private_key = _buyer_private_key(session, purchase.submission_id, purchase.order_nonce)
    pad = open_sealed(private_key, purchase.sealed_pad, context)
    container = session.blobs.fetch(submission.body.content_digest).read_bytes()
    return bytes(decrypt_container_with_key(container, ContainerKind.MODEL, xor32(pad, view.preimage)))


def refund_order(session: Session, purchase: Purchase) -> OrderView:
    """Take the money of an undelivered order back after its deadline."""
    view = order_view(session, purchase)
    if view.state == OrderState.REFUNDED:
        return view
    if view.state != OrderState.OVERDUE:
        now = session.client.block("latest").timestamp
        raise InvalidInput(
            f"the order cannot be refunded: it is {view.state.value} "
            f"(deadline {purchase.terms.deadline}, chain time {now})",
            next_step="refunds are possible after the deadline, if the key was not delivered",
        )
    session.sender.send(f"refund:0x{purchase.order_id.hex()}", session.market.refund(purchase.terms))
    return order_view(session, purchase)


def order_view(session: Session, purchase: Purchase) -> OrderView:
    """Return the state of an order, read from the chain (endings only once they are final)."""
    start = session.book.deployed_at_block
    identity = purchase.order_id
    ordered = [
        event
        for event in session.market.events(
            OrderedEvent, from_block=start, submission_id=purchase.submission_id, buyer=purchase.terms.buyer
        )
        if event.order_id == identity
    ]
    order_tx = ordered[0].meta.tx_hash if ordered else None
    for claimed in session.market.events(ClaimedEvent, from_block=start, order_id=identity):
        if hashlock(claimed.preimage) == purchase.terms.hashlock:
            return OrderView(
                purchase, OrderState.DELIVERED, order_tx, claimed.meta.tx_hash, bytes(claimed.preimage)
            )
    for refunded in session.market.events(RefundedEvent, from_block=start, order_id=identity):
        return OrderView(purchase, OrderState.REFUNDED, order_tx, refunded.meta.tx_hash, None)
    if not ordered:
        return OrderView(purchase, OrderState.PREPARED, None, None, None)
    overdue = session.client.block("latest").timestamp > purchase.terms.deadline
    return OrderView(purchase, OrderState.OVERDUE if overdue else OrderState.OPEN, order_tx, None, None)


def list_purchases(session: Session) -> list[Purchase]:
    """Return this account's purchases known on this machine, newest first."""
    directory = _notes_directory(session)
    if not directory.exists():
        return []
    notes = [_load_note(path) for path in directory.glob("*.json")]
    return sorted(notes, key=lambda purchase: -purchase.terms.deadline)


def find_purchase(session: Session, submission: Hash32) -> Purchase:
    """Return this account's latest purchase of a submission; rebuilt from the chain if the local note is lost.

    Raises:
        InvalidInput: this account never ordered the submission.
    """
    note = _latest_note(session, submission)
    if note is not None:
        return note
    recovered = _recover_purchase(session, submission)
    if recovered is None:
        raise InvalidInput(
            f"this account has no order of 0x{submission.hex()}", next_step="see `gg order buy --help`"
        )
    return recovered


def _recover_purchase(session: Session, submission: Hash32) -> Purchase | None:
    """Rebuild the note of the last order from chain data: keys are derived, the sealed pad is asked for again."""
    orders = _own_orders(session, submission)
    if not orders:
        return None
    event = orders[-1]
    view = get_submission(session, submission)
    for order_nonce in range(len(orders) + 8):
        private_key = _buyer_private_key(session, submission, order_nonce)
        if x25519_public(private_key) == event.buyer_key:
            break
    else:
        raise InvalidInput("the order was made with a key that this account does not derive")
    checked = fetch_offer(session, view, buyer_private_key=private_key, buyer_key=event.buyer_key)
    if checked.offer.hashlock != event.hashlock:
        raise VerificationError("the enclave now offers another hashlock than the order was made against")
    terms = OrderTerms(view.terms.sale, session.account.address, event.deadline, event.hashlock)
    purchase = Purchase(
        submission, order_nonce, terms, event.buyer_key, checked.offer.sealed_pad, event.amount
    )
    _save_note(session, purchase)
    return purchase


def _pay(session: Session, purchase: Purchase, on_progress: Progress | None) -> None:
    tell = on_progress or (lambda _what, _done, _total: None)
    view = get_submission(session, purchase.submission_id)
    body = body_hash(session.chain_id, session.market_address, view.body)
    item = OrderItem(body, purchase.buyer_key, purchase.terms.hashlock)
    sale = purchase.terms.sale
    purpose = f"order:0x{purchase.order_id.hex()}"
    tell("paying into escrow", 0, 1)
    if sale.token == ZERO_ADDRESS:
        request = session.market.order(sale, purchase.terms.deadline, [item], purchase.price)
        session.sender.send(purpose, request)
    else:
        _pay_in_token(session, purchase, item, purpose)
    tell("paying into escrow", 1, 1)


def _pay_in_token(session: Session, purchase: Purchase, item: OrderItem, purpose: str) -> None:
    token = session.token(purchase.terms.sale.token)
    buyer, market = session.account.address, session.market_address
    balance = token.balance_of(buyer)
    if balance < purchase.price and session.sender.find(purpose) is None:
        raise InvalidInput(
            f"the price is {purchase.price} units of {to_checksum(purchase.terms.sale.token)}, "
            f"the account has {balance}",
            next_step="fund the account, then run the same command again",
        )
    sale, deadline = purchase.terms.sale, purchase.terms.deadline
    if token.allowance(buyer, market) >= purchase.price:
        session.sender.send(purpose, session.market.order(sale, deadline, [item], 0))
    elif token.supports_permit():
        permit = token.sign_permit(session.account, market, purchase.price, deadline)
        session.sender.send(purpose, session.market.order_with_permit(sale, deadline, [item], permit))
    else:
        session.sender.send(f"approve:0x{purchase.order_id.hex()}", token.approve(market, purchase.price))
        session.sender.send(purpose, session.market.order(sale, deadline, [item], 0))


def _is_payable(session: Session, purchase: Purchase) -> bool:
    """A prepared order is continued if its transaction may already be under way, or its window is still good."""
    if session.sender.find(f"order:0x{purchase.order_id.hex()}") is not None:
        return True
    return session.client.block("latest").timestamp + 60 < purchase.terms.deadline


def _own_orders(session: Session, submission: Hash32) -> list[OrderedEvent]:
    return session.market.events(
        OrderedEvent,
        from_block=session.book.deployed_at_block,
        submission_id=submission,
        buyer=session.account.address,
    )


def _next_order_nonce(session: Session, submission: Hash32) -> int:
    return len(_own_orders(session, submission))


def _buyer_private_key(session: Session, submission: Hash32, order_nonce: int) -> bytes:
    key = session.account.dangerous_private_key()
    return derive_buyer_private_key(key, session.chain_id, session.market_address, submission, order_nonce)


def _notes_directory(session: Session) -> Path:
    return session.home.root / "orders" / session.book.name / session.account.checksum


def _note_path(session: Session, submission: Hash32, order_nonce: int) -> Path:
    return _notes_directory(session) / f"{submission.hex()}-{order_nonce}.json"


def _latest_note(session: Session, submission: Hash32) -> Purchase | None:
    notes = [_load_note(path) for path in _notes_directory(session).glob(f"{submission.hex()}-*.json")]
    return max(notes, key=lambda purchase: purchase.order_nonce, default=None)


def _save_note(session: Session, purchase: Purchase) -> None:
    path = _note_path(session, purchase.submission_id, purchase.order_nonce)
    session.home.ensure(path.parent)
    document = {
        "submission_id": purchase.submission_id.hex(),
        "order_nonce": purchase.order_nonce,
        "token": to_checksum(purchase.terms.sale.token),
        "royalty_recipient": to_checksum(purchase.terms.sale.royalty_recipient),
        "royalty_bps": purchase.terms.sale.royalty_bps,
        "buyer": to_checksum(purchase.terms.buyer),
        "deadline": purchase.terms.deadline,
        "hashlock": purchase.terms.hashlock.hex(),
        "buyer_key": purchase.buyer_key.hex(),
        "sealed_pad": purchase.sealed_pad.hex(),
        "price": purchase.price,
    }
    atomic_write(path, json.dumps(document, indent=1).encode())


def _load_note(path: Path) -> Purchase:
    document = read_json_object(path)
    try:
        sale = Sale(
            address_from_hex(str(document["token"])),
            address_from_hex(str(document["royalty_recipient"])),
            int(str(document["royalty_bps"])),
        )
        return Purchase(
            submission_id=hash32_from_hex(str(document["submission_id"])),
            order_nonce=int(str(document["order_nonce"])),
            terms=OrderTerms(
                sale,
                address_from_hex(str(document["buyer"])),
                int(str(document["deadline"])),
                hash32_from_hex(str(document["hashlock"])),
            ),
            buyer_key=bytes.fromhex(str(document["buyer_key"])),
            sealed_pad=bytes.fromhex(str(document["sealed_pad"])),
            price=int(str(document["price"])),
        )
    except (KeyError, ValueError) as exc:
        raise InvalidInput(
            f"{path.name} is not a purchase note ({exc})",
            next_step="move the file away; the purchase is rebuilt from the chain",
        ) from exc


__all__ = [
    "CheckedOffer",
    "OrderState",
    "OrderView",
    "Purchase",
    "decrypt_purchase",
    "find_purchase",
    "get_offer",
    "list_purchases",
    "open_purchase",
    "order_view",
    "place_order",
    "refund_order",
    "wait_for_delivery",
]
