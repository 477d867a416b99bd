"""`gg deploy`: contracts to a network, and the address book that tells everybody where they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from goldengrain.cli.options import with_account, with_home, with_network, with_output
from goldengrain.cli.output import Output
from goldengrain_protocol.types import Hash32, address_from_hex, to_checksum

if TYPE_CHECKING:
    from goldengrain.accounts import PasswordSource
    from goldengrain.home import Home


@click.command()
@click.option("--rpc", metavar="URL", help="The node; the running development chain by default.")
@click.option(
    "--auditor",
    "auditors",
    multiple=True,
    metavar="NAME|ADDRESS",
    help="Also deploy an auditor quorum: an account that may vouch for enclaves. Repeat.",
)
@click.option(
    "--threshold", type=click.IntRange(1, 16), help="Auditors that must agree.  [default: a majority]"
)
@click.option("--token", "tokens", multiple=True, metavar="SYMBOL", help="Also deploy a development token.")
@click.option("--blob-url", metavar="URL", help="Where encrypted models and test sets are stored.")
@click.option("--confirmations", type=click.IntRange(1, 64), default=2, show_default=True)
@click.option(
    "--development", is_flag=True, help="A chain for trying things: simulated enclaves are accepted."
)
@with_network
@with_account
@with_home
@with_output
def deploy(
    out: Output,
    home: Home,
    network: str,
    account: str,
    password: PasswordSource,
    rpc: str | None,
    auditors: Sequence[str],
    threshold: int | None,
    tokens: Sequence[str],
    blob_url: str | None,
    confirmations: int,
    *,
    development: bool,
) -> None:
    """Deploy the contracts and write the network's address book. Running it again continues."""
    from goldengrain.accounts import AccountStore
    from goldengrain.host.setup import DeploymentPlan, deploy_market

    store = AccountStore(home)
    named = tuple(
        address_from_hex(each) if each.startswith("0x") else store.address_of(each) for each in auditors
    )
    plan = DeploymentPlan(
        network=network,
        rpc_url=rpc,
        auditors=named,
        threshold=threshold or len(named) // 2 + 1,
        tokens=tuple(tokens),
        blob_url=blob_url,
        confirmations=confirmations,
        development=development,
    )
    with out.progress("deploying the contracts") as meter:
        book = deploy_market(
            home, plan, store.load(account, password), on_progress=lambda what: meter.update(0, what)
        )
    out.result(
        {
            "network": book.name,
            "market": to_checksum(book.market),
            "registry": to_checksum(book.registry),
            "verifiers": {entry.name: to_checksum(entry.address) for entry in book.verifiers},
            "tokens": {entry.symbol: to_checksum(entry.address) for entry in book.tokens},
            "trusted_measurements": [Hash32(each) for each in book.trusted_measurements],
        }
    )
