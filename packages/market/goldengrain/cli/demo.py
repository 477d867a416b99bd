"""`gg demo`: the whole market in one go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from goldengrain.cli.options import with_output
from goldengrain.cli.output import Output
from goldengrain.cli.values import format_amount, format_ppm


@click.command()
@click.option(
    "--report",
    "report_file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("demo-report.json"),
    show_default=True,
    help="Where to write the report.",
)
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep chain, accounts and blobs in this empty directory.",
)
@with_output
def demo(out: Output, report_file: Path, keep: Path | None) -> None:
    """Run the whole market on a development chain, with real models and data, then report."""
    from goldengrain.demo.play import play
    from goldengrain.home import atomic_write
    from goldengrain_protocol.errors import InvalidInput

    if keep is not None and keep.exists() and any(keep.iterdir()):
        raise InvalidInput(f"{keep} is not empty", next_step="name a new directory")
    with out.progress("demo", STEPS) as meter:
        done = 0

        def say(what: str) -> None:
            nonlocal done
            done += 1
            out.note(f"  {what}")
            meter.update(min(done, STEPS), what)

        report = play(keep=keep, say=say)
        meter.update(STEPS, "done")
    atomic_write(report_file.absolute(), json.dumps(report, indent=2).encode() + b"\n", mode=0o644)
    out.result(report, lambda console: _show(console, report, report_file))


STEPS = 36
"""Steps that the play announces, for the bar."""


def _show(console: Any, report: dict[str, Any], report_file: Path) -> None:
    from rich.table import Table

    submissions = Table(
        "model", "currency", "state", "score", "lower bound", "price", "gas", title="Submissions"
    )
    for row in report["submissions"]:
        price = _price(row["price"], row["currency"])
        scores = (format_ppm(row["score_ppm"]), format_ppm(row["bound_ppm"]))
        submissions.add_row(row["name"], row["currency"], row["state"], *scores, price, _gas(row))
    console.print(submissions)
    sales = Table(
        "model", "price", "order gas", "claim gas", "delivered", "seconds", title="Sales and refund"
    )
    for row in report["sales"]:
        price = _price(row["price"], row["currency"])
        delivered = "yes, same bytes and predictions" if row["delivered"] else "NO"
        gas = (f"{row['order_gas']:,}", f"{row['claim_gas']:,}")
        sales.add_row(row["name"], price, *gas, delivered, f"{row['seconds']:.1f}")
    for row in report["refunds"]:
        price = _price(row["price"], row["currency"])
        gas = (f"{row['order_gas']:,}", f"{row['refund_gas']:,}")
        sales.add_row(row["name"], price, *gas, "no, money back", f"{row['seconds']:.1f}")
    console.print(sales)
    money = report["money"]
    console.print(
        f"Money: {money['market_wei']} wei and {money['market_tokens']} token units left in the market; unaccounted "
        f"for: {money['unaccounted_wei']} wei, {money['unaccounted_tokens']} units."
    )
    console.print(f"Assurance: {report['assurance']} (no hardware protects these models from this machine).")
    console.print(f"{report['seconds']} s; the whole report is in {report_file}", highlight=False)


def _price(amount: int | None, currency: str) -> str:
    if amount is None:
        return "-"
    return format_amount(amount, 18 if currency == "ETH" else 6, currency)


def _gas(row: dict[str, Any]) -> str:
    return f"{row['submit_gas']:,} + {row['result_gas']:,}"
