"""`gg order`: buy a model, open it, or take the money back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from goldengrain.cli.options import with_account, with_home, with_network, with_output
from goldengrain.cli.output import Output
from goldengrain.cli.sessions import open_session, shown_progress
from goldengrain.cli.values import DURATION, HASH, format_price, parse_amount, symbol_of
from goldengrain_protocol.types import Hash32

if TYPE_CHECKING:
    from goldengrain.accounts import PasswordSource
    from goldengrain.home import Home
    from goldengrain.sdk.orders import OrderView
    from goldengrain.sdk.session import Session


@click.group()
def order() -> None:
    """Providers: buy a model, open it, or take the money back."""


@order.command()
@click.argument("submission_id", type=HASH)
@click.option(
    "--out", "target", type=click.Path(dir_okay=False, path_type=Path), help="Where to write the model."
)
@click.option("--max-price", metavar="AMOUNT", help="Refuse to pay more.")
@click.option(
    "--window", type=DURATION, default="24h", show_default=True, help="Time for the developer to deliver."
)
@click.option(
    "--timeout", type=DURATION, default="10m", show_default=True, help="How long to wait for the key."
)
@click.option("--wait/--no-wait", default=True, show_default=True)
@click.option(
    "--worker", "workers", multiple=True, metavar="URL", envvar="GG_WORKER", help="Whom to ask. Repeat."
)
@with_network
@with_account
@with_home
@with_output
def buy(
    out: Output,
    home: Home,
    network: str,
    account: str,
    password: PasswordSource,
    submission_id: Hash32,
    target: Path | None,
    max_price: str | None,
    window: int,
    timeout: int,
    workers: Sequence[str],
    *,
    wait: bool,
) -> None:
    """Check the offer, pay into escrow, wait for the key, write the model. Run again: it continues."""
    from goldengrain.sdk.orders import decrypt_purchase, order_view, place_order, wait_for_delivery

    session = open_session(home, network, account=account, password=password, worker_urls=workers)
    limit = _limit(session, submission_id, max_price)
    with shown_progress(out) as progress:
        purchase = place_order(session, submission_id, window_s=window, max_price=limit, on_progress=progress)
        if not wait:
            _show(out, session, order_view(session, purchase), None)
            return
        view = wait_for_delivery(session, purchase, timeout_s=timeout, on_progress=progress)
    written: Path | None = None
    if view.preimage is not None:
        written = target or Path(f"model-{submission_id.hex()[:8]}.onnx")
        _write(written, decrypt_purchase(session, purchase))
    _show(out, session, view, written)


@order.command("open")
@click.argument("submission_id", type=HASH)
@click.option("--out", "target", required=True, type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--worker", "workers", multiple=True, metavar="URL", envvar="GG_WORKER", help="Whom to ask. Repeat."
)
@with_network
@with_account
@with_home
@with_output
def open_(
    out: Output,
    home: Home,
    network: str,
    account: str,
    password: PasswordSource,
    submission_id: Hash32,
    target: Path,
    workers: Sequence[str],
) -> None:
    """Decrypt a delivered model and write it."""
    from goldengrain.sdk.orders import decrypt_purchase, find_purchase

    session = open_session(home, network, account=account, password=password, worker_urls=workers)
    _write(target, decrypt_purchase(session, find_purchase(session, submission_id)))
    out.result({"model": target}, f"written to {target}")


@order.command()
@click.argument("submission_id", type=HASH)
@with_network
@with_account
@with_home
@with_output
def refund(
    out: Output, home: Home, network: str, account: str, password: PasswordSource, submission_id: Hash32
) -> None:
    """Take back the money of an order that was not delivered before its deadline."""
    from goldengrain.sdk.orders import find_purchase, refund_order

    session = open_session(home, network, account=account, password=password)
    with out.progress("taking the money back"):
        view = refund_order(session, find_purchase(session, submission_id))
    _show(out, session, view, None)


@order.command()
@click.argument("submission_id", type=HASH)
@click.option("--margin", type=DURATION, help="Least time before the deadline.  [default: 10m; 2s on devnet]")
@with_network
@with_account
@with_home
@with_output
def claim(
    out: Output,
    home: Home,
    network: str,
    account: str,
    password: PasswordSource,
    submission_id: Hash32,
    margin: int | None,
) -> int:
    """Developers: reveal the keys of open orders of one submission and be paid, once."""
    from goldengrain.sdk.claims import claim_order, open_orders

    session = open_session(home, network, account=account, password=password)
    reports = []
    with out.progress("claiming"):
        for each in open_orders(session):
            if each.submission.submission_id == submission_id:
                reports.append(claim_order(session, each, margin_s=margin))
    out.result({"claims": reports}, f"{len(reports)} order(s) claimed")
    return 0


@order.command()
@click.argument("submission_id", type=HASH)
@click.option(
    "--worker", "workers", multiple=True, metavar="URL", envvar="GG_WORKER", help="Whom to ask. Repeat."
)
@with_network
@with_account
@with_home
@with_output
def show(
    out: Output,
    home: Home,
    network: str,
    account: str,
    password: PasswordSource,
    submission_id: Hash32,
    workers: Sequence[str],
) -> None:
    """Show this account's order of a submission."""
    from goldengrain.sdk.orders import find_purchase, order_view

    session = open_session(home, network, account=account, password=password, worker_urls=workers)
    _show(out, session, order_view(session, find_purchase(session, submission_id)), None)


def _limit(session: Session, submission_id: Hash32, text: str | None) -> int | None:
    if text is None:
        return None
    from goldengrain.sdk.submissions import get_submission

    token = get_submission(session, submission_id).terms.sale.token
    return parse_amount(text, symbol_of(session.book, token)[1])


def _show(out: Output, session: Session, view: OrderView, written: Path | None) -> None:
    purchase = view.purchase
    price = format_price(session.book, purchase.terms.sale.token, purchase.price)
    document: dict[str, Any] = {
        "submission_id": purchase.submission_id,
        "order_id": purchase.order_id,
        "state": view.state.value,
        "price": purchase.price,
        "deadline": purchase.terms.deadline,
        "order_tx": view.order_tx,
        "end_tx": view.end_tx,
        "model": written,
    }
    text = f"order 0x{purchase.order_id.hex()}\nstate: {view.state.value}\nprice: {price}"
    out.result(document, text + (f"\nmodel written to {written}" if written else ""))


def _write(path: Path, model: bytes) -> None:
    from goldengrain.home import atomic_write

    atomic_write(path.absolute(), model, mode=0o644)
