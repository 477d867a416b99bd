"""Delivering: the developer's client watches final orders, reveals the key of each, and is paid in the same call."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from goldengrain.chain.events import OrderedEvent
from goldengrain.sdk.session import Session
from goldengrain.sdk.submissions import SubmissionView, list_submissions, recover_secret
from goldengrain_protocol.errors import GoldenGrainError, VerificationError
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
    """What became of one open order in one pass. `error` is empty when it was claimed."""

    order_id: Hash32
    submission_id: Hash32
    amount: int
    claim_tx: Hash32 | None
    error: str = ""
    next_step: str = ""


def open_orders(session: Session) -> list[OpenOrder]:
    """Return the final orders of this account's submissions that are still unclaimed at the head."""
    found: list[OpenOrder] = []
    for view in list_submissions(session, developer=session.account.address):
        if not view.orders:
            continue
        events = session.market.events(
            OrderedEvent, from_block=session.book.deployed_at_block, submission_id=view.submission_id
        )
        for event in events:
            terms = OrderTerms(view.terms.sale, event.buyer, event.deadline, event.hashlock)
            if session.market.order_status(order_id(terms), block="latest") is not None:
                found.append(OpenOrder(view, event, terms))
    return found


def claim_order(session: Session, order: OpenOrder, *, margin_s: int | None = None) -> ClaimReport:
    """Reveal the key of one open order and be paid.

    Nothing is revealed unless the order is final, open, names the right key and payee, and has enough time left.

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
    # 2. The escrow is there, at the finalised head, for this payee.
    status = session.market.order_status(order.order_id, block="finalized")
    if status is None:
        raise VerificationError("the order is not final yet, or already ended")
    if status.payee != order.submission.body.payee:
        raise VerificationError("the order pays somebody else than the submission's payee")
    # 3. There is time to be mined before a refund becomes possible.
    left = event.deadline - session.client.block("latest").timestamp
    if left < least:
        raise VerificationError(
            f"{left} s are left before the refund deadline, {least} s are needed to reveal the key safely",
            next_step="let the order run out; claim by hand with --margin only if you accept the risk",
        )
    receipt = session.sender.send(
        f"claim:0x{order.order_id.hex()}", session.market.claim(order.terms, preimage)
    )
    return ClaimReport(order.order_id, order.submission.submission_id, status.amount, receipt.tx_hash)


def claim_open_orders(session: Session, *, margin_s: int | None = None) -> list[ClaimReport]:
    """Claim every open order once; one that fails does not keep the others from being claimed."""
    reports: list[ClaimReport] = []
    for order in open_orders(session):
        try:
            reports.append(claim_order(session, order, margin_s=margin_s))
        except GoldenGrainError as exc:
            reports.append(
                ClaimReport(
                    order.order_id,
                    order.submission.submission_id,
                    order.event.amount,
                    None,
                    exc.message,
                    exc.next_step,
                )
            )
    return reports


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
    session.sender.resume()
    while not should_stop():
        try:
            for report in claim_open_orders(session, margin_s=margin_s):
                reason = report.error.translate(_DIGITS)
                if (report.order_id, reason) not in reported:
                    reported.add((report.order_id, reason))
                    on_report(report)
            wait_s = POLL_S
        except GoldenGrainError as exc:
            on_trouble(exc)
            wait_s = min(wait_s * 2, BACKOFF_LIMIT_S)
        _sleep(wait_s, should_stop)


def default_margin_s(session: Session) -> int:
    """Return the claim margin for this network."""
    return DEVELOPMENT_CLAIM_MARGIN_S if session.book.development else CLAIM_MARGIN_S


_DIGITS: Final = {ord(digit): None for digit in "0123456789"}


def _sleep(seconds: float, should_stop: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while not should_stop() and (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 0.2))
