"""`gg auditor`: verify an enclave's quote, and sign that it verified."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from goldengrain.cli.options import with_account, with_home, with_network, with_output
from goldengrain.cli.output import Output
from goldengrain.cli.sessions import open_session
from goldengrain_protocol.types import address_from_hex

if TYPE_CHECKING:
    from goldengrain.accounts import PasswordSource
    from goldengrain.home import Home


@click.group()
def auditor() -> None:
    """Auditors: verify an enclave's quote and sign for it."""


@auditor.command()
@click.argument("request_file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--root", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Root certificate, DER."
)
@click.option("--out", "target", type=click.Path(dir_okay=False, path_type=Path), help="Where to write it.")
@with_network
@with_account
@with_home
@with_output
def endorse(
    out: Output,
    home: Home,
    network: str,
    account: str,
    password: PasswordSource,
    request_file: Path,
    root: Path | None,
    target: Path | None,
) -> None:
    """Verify the quote in REQUEST_FILE and write a signed endorsement."""
    from goldengrain.host import registration

    session = open_session(home, network, account=account, password=password)
    request = registration.RegistrationRequest.load(request_file)
    verifier = registration.verifier_of(session, request)
    root_der = root.read_bytes() if root else registration.platform_root(session, verifier)
    endorsement = registration.endorse(
        session, request, session.account, root_der=root_der, now_unix_s=int(time.time())
    )
    path = target or Path(f"endorsement-{account}.json")
    endorsement.save(path)
    out.result({"endorsement": path, "auditor": session.account.checksum}, f"verified; written to {path}")


@auditor.command()
@click.argument("signer", metavar="ADDRESS")
@click.option("--out", "target", type=click.Path(dir_okay=False, path_type=Path), help="Where to write it.")
@with_network
@with_account
@with_home
@with_output
def revoke(
    out: Output,
    home: Home,
    network: str,
    account: str,
    password: PasswordSource,
    signer: str,
    target: Path | None,
) -> None:
    """Sign that the platform of the enclave with this signing address must no longer be trusted."""
    from goldengrain.host.invalidation import sign_revocation

    session = open_session(home, network, account=account, password=password)
    path = target or Path(f"revocation-{account}.json")
    sign_revocation(session, address_from_hex(signer)).save(path)
    out.result({"revocation": path, "auditor": session.account.checksum}, f"signed; written to {path}")
