"""`gg devnet`: the development chain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from goldengrain.cli.options import with_home, with_network, with_output
from goldengrain.cli.output import Output
from goldengrain.cli.values import ETH, format_amount, parse_amount, token_by_symbol
from goldengrain_protocol.errors import InvalidInput
from goldengrain_protocol.types import Address, address_from_hex

if TYPE_CHECKING:
    from goldengrain.home import Home


@click.group()
def devnet() -> None:
    """The development chain: up, down, status."""


@devnet.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8545, show_default=True, help="0 takes a free one."
)
@with_home
@with_output
def up(out: Output, home: Home, port: int) -> None:
    """Start the development chain; it goes on in the background and survives restarts."""
    from goldengrain.chain.devnet import Devnet

    with out.progress("starting the development chain"):
        status = Devnet(home).up(port=port)
    out.result(status, f"development chain at {status.rpc_url}, block {status.block_number}")


@devnet.command()
@click.option("--reset", is_flag=True, help="Also forget its blocks.")
@with_home
@with_output
def down(out: Output, home: Home, *, reset: bool) -> None:
    """Stop the development chain."""
    from goldengrain.chain.devnet import Devnet

    chain = Devnet(home)
    stopped = chain.down()
    if reset:
        chain.reset()
    out.result({"stopped": stopped, "reset": reset}, "stopped" if stopped else "it was not running")


@devnet.command()
@with_home
@with_output
def status(out: Output, home: Home) -> int:
    """Tell whether the development chain runs."""
    from goldengrain.chain.devnet import Devnet

    found = Devnet(home).status()
    if found is None:
        out.result({"running": False}, "not running; start it with: gg devnet up")
        return 1
    out.result({"running": True, "status": found}, f"running at {found.rpc_url}, block {found.block_number}")
    return 0


@devnet.command()
@click.argument("account")
@click.option("--eth", default="10", show_default=True, metavar="AMOUNT", help="ETH to have at least.")
@click.option("--token", metavar="SYMBOL", help="Also give units of a development token.")
@click.option("--amount", default="1000", show_default=True, help="How much of the token.")
@with_network
@with_home
@with_output
def fund(
    out: Output, home: Home, network: str, account: str, eth: str, token: str | None, amount: str
) -> None:
    """Give ACCOUNT (a name or an address) play money on the development chain."""
    from goldengrain.accounts import AccountStore
    from goldengrain.chain.client import ChainClient
    from goldengrain.chain.devnet import Devnet
    from goldengrain.chain.devnet import fund as set_balance

    running = Devnet(home).status()
    if running is None:
        raise InvalidInput("the development chain is not running", next_step="gg devnet up")
    address: Address = (
        address_from_hex(account) if account.startswith("0x") else AccountStore(home).address_of(account)
    )
    client = ChainClient(running.rpc_url, chain_id=running.chain_id)
    wei = parse_amount(eth, 18)
    if client.balance(address) < wei:
        set_balance(client, address, wei)
    given = {ETH: format_amount(client.balance(address), 18, ETH)}
    if token is not None:
        from goldengrain.chain.address_book import load_address_book
        from goldengrain.chain.contracts import Token
        from goldengrain.host.setup import give_dev_tokens

        where, decimals = token_by_symbol(load_address_book(home, network), token)
        give_dev_tokens(home, client, where, address, parse_amount(amount, decimals))
        given[token] = format_amount(Token(client, where).balance_of(address), decimals, token)
    out.result({"account": account, "balances": given}, f"{account}: " + ", ".join(given.values()))
