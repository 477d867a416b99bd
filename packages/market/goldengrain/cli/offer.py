"""`gg offer`: what an enclave offers a buyer, checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from goldengrain.cli.options import with_account, with_home, with_network, with_output
from goldengrain.cli.output import Output
from goldengrain.cli.sessions import open_session, shown_progress
from goldengrain.cli.values import HASH, format_price
from goldengrain_protocol.types import Hash32, to_checksum

if TYPE_CHECKING:
    from goldengrain.accounts import PasswordSource
    from goldengrain.home import Home


@click.group()
def offer() -> None:
    """Providers: ask an enclave for the sealed key of a model."""


@offer.command()
@click.argument("submission_id", type=HASH)
@click.option(
    "--worker", "workers", multiple=True, metavar="URL", envvar="GG_WORKER", help="Whom to ask. Repeat."
)
@with_network
@with_account
@with_home
@with_output
def get(
    out: Output,
    home: Home,
    network: str,
    account: str,
    password: PasswordSource,
    submission_id: Hash32,
    workers: Sequence[str],
) -> None:
    """Get and check an offer and the ciphertext. Free, and nothing is promised."""
    from goldengrain.sdk.orders import get_offer
    from goldengrain.sdk.submissions import get_submission

    session = open_session(home, network, account=account, password=password, worker_urls=workers)
    with shown_progress(out) as progress:
        checked = get_offer(session, submission_id, on_progress=progress)
    view = get_submission(session, submission_id)
    price = format_price(session.book, view.terms.sale.token, view.price)
    document = {
        "submission_id": submission_id,
        "buyer": to_checksum(checked.offer.buyer),
        "hashlock": checked.offer.hashlock,
        "enclave": to_checksum(checked.signer),
        "price": view.price,
    }
    out.result(
        document,
        f"a registered enclave ({to_checksum(checked.signer)}) offers it for {price}; buy: gg order buy",
    )
