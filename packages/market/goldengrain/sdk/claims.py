"""Delivering: the developer's client watches final orders, reveals the key of each, and is paid in the same call."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from goldengrain.chain.events import OrderedEvent, SubmittedEvent
from goldengrain.sdk.pacing import pause
from goldengrain.sdk.session import Session
from goldengrain.sdk.submissions import SubmissionView, get_submission, recover_secret
from goldengrain_protocol.errors import GoldenGrainError, UnavailableError, VerificationError
from goldengrain_protocol.keyschedule import hashlock, order_pad
from goldengrain_protocol.messages import OrderTerms, order_id
from goldengrain_protocol.types import Hash32

POLL_S: Final = 1.0
BACKOFF_LIMIT_S: Final = 60.0

CLAIM_MARGIN_S: Final = 600
"""Least time before an order's deadline at which a claim is still sent on a real network.

A claim that is published but mined after the buyer's refund would give the key away for nothing.
"""

DEVELOPMENT_CLAIM_MARGIN_S: Final = 2
"""The same on a development chain, whose blocks come every half second."""


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """A final, still open order of one of this account's submissions."""

    submission: SubmissionView
    event: OrderedEvent
    terms: OrderTerms

    @property
    def order_id(self) -> Hash32:
        return order_id(self.terms)


@dataclass(frozen=True, slots=True)
class ClaimReport:
    """What became of one open order in one pass. `error` is empty when its claim was sent."""

    order_id: Hash32
    submission_id: Hash32
    amount: int
    claim_tx: Hash32 | None
    error: str = ""
    next_step: str = ""


class OrderScanner:
    """Follows the final orders of this account's submissions, reading every block once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._submissions: dict[Hash32, SubmissionView] = {}
        self._orders: dict[Hash32, OpenOrder] = {}
        self._next_block = session.book.deployed_at_block

    def scan(self) -> list[OpenOrder]:
        """Return the orders that are final and, at the head, still unclaimed and not refunded."""
        session = self._session
        end = session.client.finalized_number()
        if end >= self._next_block:
            self._read(self._next_block, end)
            self._next_block = end + 1
        for identity in list(self._orders):
            if session.market.order_status(identity, block="finalized") is None:
                del self._orders[identity]  # ended for good
        return [
            order
            for identity, order in self._orders.items()
            if session.market.order_status(identity, block="latest") is not None
        ]

    def _read(self, start: int, end: int) -> None:
        session = self._session
        mine = session.market.events(
            SubmittedEvent, from_block=start, to_block=end, developer=session.account.address
        )
        for submitted in mine:
            self._submissions[submitted.submission_id] = get_submission(session, submitted.submission_id)
        if not self._submissions:
            return
        for event in session.market.events(OrderedEvent, from_block=start, to_block=end):
            view = self._submissions.get(event.submission_id)
            if view is not None:
                terms = OrderTerms(view.terms.sale, event.buyer, event.deadline, event.hashlock)
                order = OpenOrder(view, event, terms)
                self._orders[order.order_id] = order


def open_orders(session: Session) -> list[OpenOrder]:
    """Return the final orders of this account's submissions that are still open at the head."""
    return OrderScanner(session).scan()


def claim_order(
    session: Session, order: OpenOrder, *, margin_s: int | None = None, wait: bool = True
) -> ClaimReport:
    """Reveal the key of one open order and be paid.

    Nothing is revealed unless the order is final, open, names the right key and payee, and has enough time left.

    Args:
        margin_s: least time before the deadline at which the key is still revealed.
        wait: return once the claim is final; otherwise once it is sent.

    Raises:
        VerificationError: one of these does not hold. Nothing was revealed.
        UnavailableError: the node is away. Running it again continues.
    """
    least = margin_s if margin_s is not None else default_margin_s(session)
    event = order.event
    # 1. The preimage that this buyer's order context derives is the one that the order pays for.
    preimage = order_pad(
        recover_secret(session, order.submission),
        session.chain_id,
        session.market_address,
        order.submission.submission_id,
        event.buyer,
        event.buyer_key,
    )
    if hashlock(preimage) != event.hashlock:
        raise VerificationError(
            "the order pays for another key than this model's",
            next_step="nothing to do: its buyer made a mistake and can take the money back after the deadline",
        )
    # 2. The escrow is there, at the finalised head, for this payee and the full price.
    status = session.market.order_status(order.order_id, block="finalized")
    if status is None:
        raise VerificationError("the order is not final yet, or already ended")
    if status.payee != order.submission.body.payee:
        raise VerificationError("the order pays somebody else than the submission's payee")
    # 3. There is time to be mined before a refund becomes possible.
    left = event.deadline - session.client.block("latest").timestamp
    purpose = claim_purpose(order.order_id)
    if left < least and session.sender.find(purpose) is None:
        raise VerificationError(
            f"{left} s are left before the refund deadline, {least} s are needed to reveal the key safely",
            next_step="let the order run out; claim by hand with --margin only if you accept the risk",
        )
    request = session.market.claim(order.terms, preimage, not_after_s=event.deadline - least)
    if wait:
        tx_hash = session.sender.send(purpose, request).tx_hash
    else:
        tx_hash = session.sender.submit(purpose, request)
    return ClaimReport(order.order_id, order.submission.submission_id, status.amount, tx_hash)


def claim_open_orders(session: Session, *, margin_s: int | None = None) -> list[ClaimReport]:
    """Claim every open order once and wait for each; one that fails does not keep the others from being claimed."""
    return [_report(session, order, margin_s=margin_s, wait=True) for order in open_orders(session)]


def claim_purpose(order: Hash32) -> str:
    """Return the journal key of an order's claim."""
    return f"claim:0x{order.hex()}"


def watch_orders(
    session: Session,
    on_report: Callable[[ClaimReport], None],
    *,
    should_stop: Callable[[], bool] = lambda: False,
    on_trouble: Callable[[GoldenGrainError], None] = lambda _error: None,
    margin_s: int | None = None,
) -> None:
    """Claim orders as they become final, until `should_stop`. Survives a node that is down, slow or lying.

    A refused order is reported once per reason. Killed at any point, the next run continues where the chain stands.
    """
    reported: set[tuple[Hash32, str]] = set()
    wait_s = POLL_S
    scanner = OrderScanner(session)
    resumed = False
    while not should_stop():
        try:
            if not resumed:
                session.sender.resume()
                resumed = True
            for order in scanner.scan():
                if session.sender.find(claim_purpose(order.order_id)) is not None:
                    _nudge(session, order)
                report = _report(session, order, margin_s=margin_s, wait=False)
                reason = report.error.translate(_DIGITS)
                if (report.order_id, reason) not in reported:
                    reported.add((report.order_id, reason))
                    on_report(report)
            wait_s = POLL_S
        except GoldenGrainError as exc:
            on_trouble(exc)
            wait_s = min(wait_s * 2, BACKOFF_LIMIT_S)
        pause(wait_s, should_stop)


def _report(session: Session, order: OpenOrder, *, margin_s: int | None, wait: bool) -> ClaimReport:
    try:
        return claim_order(session, order, margin_s=margin_s, wait=wait)
    except UnavailableError:
        raise
    except GoldenGrainError as exc:
        identity, submission = order.order_id, order.submission.submission_id
        return ClaimReport(identity, submission, order.event.amount, None, exc.message, exc.next_step)


def _nudge(session: Session, order: OpenOrder) -> None:
    """Look after a claim that was sent and is not yet mined: replace it when it is stuck."""
    with contextlib.suppress(GoldenGrainError):
        session.sender.wait(claim_purpose(order.order_id), timeout_s=POLL_S / 2)


def default_margin_s(session: Session) -> int:
    """Return the claim margin for this network."""
    return DEVELOPMENT_CLAIM_MARGIN_S if session.book.development else CLAIM_MARGIN_S


_DIGITS: Final = {ord(digit): None for digit in "0123456789"}
