"""`gg witness`: state which blocks are final, for enclaves that trust a quorum of witnesses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from goldengrain.cli.options import with_account, with_home, with_output
from goldengrain.cli.output import Output
from goldengrain.cli.values import parse_listen
from goldengrain_protocol.errors import UnavailableError
from goldengrain_protocol.types import to_checksum

if TYPE_CHECKING:
    from goldengrain.accounts import PasswordSource
    from goldengrain.chain.client import ChainClient
    from goldengrain.chain.witness import Statement
    from goldengrain.home import Home


@click.group()
def witness() -> None:
    """Witnesses: sign the blocks that a node of your own calls final."""


@witness.command()
@click.option("--rpc", "rpc_url", required=True, metavar="URL", help="Your own node.")
@with_account
@with_home
@with_output
def init(out: Output, home: Home, account: str, password: PasswordSource, rpc_url: str) -> None:
    """Begin the record of a key that has never signed on this node's chain."""
    from goldengrain.accounts import AccountStore
    from goldengrain.chain.client import ChainClient
    from goldengrain.chain.witness_record import WitnessRecord

    address = AccountStore(home).load(account, password).address
    client = ChainClient(rpc_url)
    path = _record_path(home, account, client)
    WitnessRecord.create(path, client.chain_id, client.genesis_hash, address)
    out.result(
        {
            "witness": to_checksum(address),
            "chain_id": client.chain_id,
            "genesis_hash": client.genesis_hash,
            "record": path,
        },
        f"{to_checksum(address)} may sign on chain {client.chain_id}. Keep {path}: without it the key must retire.",
    )


@witness.command()
@click.option("--rpc", "rpc_url", required=True, metavar="URL", help="Your own node.")
@click.option(
    "--listen", default="127.0.0.1:8610", show_default=True, metavar="HOST:PORT", help="For statements."
)
@with_account
@with_home
@with_output
def run(out: Output, home: Home, account: str, password: PasswordSource, rpc_url: str, listen: str) -> None:
    """Sign finalised blocks and serve the statements; never two for one height, also after a crash."""
    from goldengrain.accounts import AccountStore
    from goldengrain.chain.client import ChainClient
    from goldengrain.chain.witness import Witness
    from goldengrain.chain.witness_record import WitnessRecord
    from goldengrain.chain.witness_server import WitnessServer
    from goldengrain.cli.signals import stop_on_signals
    from goldengrain.home import directory_lock

    host, port = parse_listen(listen, example="127.0.0.1:8610")
    key = AccountStore(home).load(account, password)
    client = ChainClient(rpc_url)
    path = _record_path(home, account, client)
    record = WitnessRecord.open(path, client.chain_id, client.genesis_hash, key.address)
    signed = 0

    def tell(statement: Statement) -> None:
        nonlocal signed
        signed += 1
        out.note(f"block {statement.block.number} 0x{statement.block.hash.hex()} is final")

    def problem(exc: UnavailableError) -> None:
        out.warn(exc.message)

    with directory_lock(path.parent, what=f"witness {account}"), stop_on_signals() as should_stop:
        record.check()
        daemon = Witness(client, key, record)
        server = WitnessServer(daemon, host, port)
        url = server.start()
        out.note(f"witness {to_checksum(key.address)} at {url} (Ctrl-C ends it)")
        try:
            daemon.run(should_stop, on_statement=tell, on_problem=problem)
        finally:
            server.stop()
    out.result({"witness": to_checksum(key.address), "statements": signed}, f"stopped after {signed} blocks")


def _record_path(home: Home, account: str, client: ChainClient) -> Path:
    chain = f"{client.chain_id}-{client.genesis_hash.hex()[:16]}"
    return home.ensure(home.root / "witness" / chain / account) / "signed.sqlite"
