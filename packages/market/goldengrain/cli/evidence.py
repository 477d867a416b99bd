"""`gg evidence`: check everything behind one score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from goldengrain.cli.options import with_home, with_network, with_output
from goldengrain.cli.output import ExitCode, Output
from goldengrain.cli.sessions import open_session
from goldengrain.cli.values import HASH
from goldengrain_protocol.types import Hash32

if TYPE_CHECKING:
    from goldengrain.home import Home


@click.group()
def evidence() -> None:
    """Anybody: check everything behind one score."""


@evidence.command()
@click.argument("submission_id", type=HASH)
@with_network
@with_home
@with_output
def verify(out: Output, home: Home, network: str, submission_id: Hash32) -> int:
    """Walk from the price back to the silicon root, and say of each link what vouches for it."""
    from goldengrain.sdk.evidence import verify_evidence

    session = open_session(home, network)
    with out.progress("reading chain and blobs"):
        links = verify_evidence(session, submission_id)
    good = all(link.holds for link in links)

    def human(console: Any) -> None:
        from rich.table import Table

        table = Table("link", "holds", "what is there", "vouched for by")
        for link in links:
            table.add_row(link.name, "yes" if link.holds else "NO", link.detail, link.vouched_by)
        console.print(table)
        console.print("every link holds" if good else "NOT verified: see the links that do not hold")

    document = {"submission_id": submission_id, "verdict": "verified" if good else "failed", "links": links}
    out.result(document, human)
    return ExitCode.OK if good else ExitCode.NEGATIVE
