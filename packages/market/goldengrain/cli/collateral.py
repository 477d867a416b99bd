"""`gg collateral`: the vendor's signed statements about platforms, on chain for everybody."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from goldengrain.cli.options import with_account, with_home, with_network, with_output
from goldengrain.cli.output import Output
from goldengrain.cli.sessions import open_session

if TYPE_CHECKING:
    from goldengrain.accounts import PasswordSource
    from goldengrain.home import Home


@click.group()
def collateral() -> None:
    """Anybody: post the vendor's signed statements about platforms, and see what is posted."""


@collateral.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--verifier", metavar="NAME", help="For which verifier, by its name in the address book.")
@with_network
@with_account
@with_home
@with_output
def post(
    out: Output,
    home: Home,
    network: str,
    account: str,
    password: PasswordSource,
    file: Path,
    verifier: str | None,
) -> None:
    """Post what FILE (a collateral document, JSON) says and the verifier does not know yet. Any account may."""
    from goldengrain.host.collateral import post_collateral

    session = open_session(home, network, account=account, password=password)
    entry = session.book.verifier(verifier)
    with out.progress("posting collateral") as meter:
        reports = post_collateral(
            session, entry, file.read_bytes(), on_progress=lambda what: meter.update(0, what)
        )

    def human(console: Any) -> None:
        for report in reports:
            state = f"posted, {report.gas_used:,} gas" if report.posted else "known already, or newer"
            console.print(f"{report.subject}: {state}", highlight=False)

    out.result({"verifier": entry.name, "posts": reports}, human)


@collateral.command("list")
@click.option("--verifier", metavar="NAME", help="Of which verifier, by its name in the address book.")
@with_network
@with_home
@with_output
def list_(out: Output, home: Home, network: str, verifier: str | None) -> None:
    """Show what has been posted to a verifier, newest last."""
    from goldengrain.host.collateral import list_collateral

    session = open_session(home, network)
    entry = session.book.verifier(verifier)
    rows = list_collateral(session, entry)

    def human(console: Any) -> None:
        from rich.table import Table

        table = Table("what", "about", "until (Unix time)", "block")
        for row in rows:
            table.add_row(row.what, row.about, str(row.expiry), str(row.block_number))
        console.print(table if rows else "nothing is posted yet; see: gg collateral post")

    out.result({"verifier": entry.name, "collateral": rows}, human)
