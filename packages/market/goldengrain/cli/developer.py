"""`gg developer`: stay online for your models' orders."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from goldengrain.cli.options import with_account, with_home, with_network, with_output
from goldengrain.cli.output import Output
from goldengrain.cli.sessions import open_session
from goldengrain.cli.values import DURATION

if TYPE_CHECKING:
    from goldengrain.accounts import PasswordSource
    from goldengrain.home import Home
    from goldengrain.sdk.claims import ClaimReport


@click.group()
def developer() -> None:
    """Developers: claim the money of orders as they come in."""


@developer.command()
@click.option("--once", is_flag=True, help="Look once and end.")
@click.option("--margin", type=DURATION, help="Least time before the deadline.  [default: 10m; 2s on devnet]")
@with_network
@with_account
@with_home
@with_output
def watch(
    out: Output,
    home: Home,
    network: str,
    account: str,
    password: PasswordSource,
    margin: int | None,
    *,
    once: bool,
) -> None:
    """Claim every order of your models once it is final. Ends with Ctrl-C; run it again any time."""
    from goldengrain.cli.signals import stop_on_signals
    from goldengrain.sdk.claims import claim_open_orders, watch_orders

    session = open_session(home, network, account=account, password=password)
    reports: list[ClaimReport] = []

    def tell(report: ClaimReport) -> None:
        reports.append(report)
        if report.error:
            out.warn(f"order 0x{report.order_id.hex()}: {report.error}" + _next(report.next_step))
        else:
            out.note(f"claimed {report.amount} for order 0x{report.order_id.hex()}")

    if once:
        for report in claim_open_orders(session, margin_s=margin):
            tell(report)
    else:
        out.note(f"watching for orders of {session.account.checksum}'s models (Ctrl-C ends it)")
        with stop_on_signals() as should_stop:
            watch_orders(
                session,
                tell,
                should_stop=should_stop,
                on_trouble=lambda exc: out.warn(exc.message + _next(exc.next_step)),
                margin_s=margin,
            )
    out.result({"claims": reports}, f"{sum(not each.error for each in reports)} order(s) claimed")


def _next(step: str) -> str:
    return f" (next: {step})" if step else ""
