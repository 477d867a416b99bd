"""`gg enclave`: the measured code, and who is registered as running it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from goldengrain.cli.options import with_account, with_home, with_network, with_output
from goldengrain.cli.output import Output
from goldengrain.cli.sessions import open_session
from goldengrain_protocol.types import to_checksum

if TYPE_CHECKING:
    from goldengrain.accounts import PasswordSource
    from goldengrain.home import Home


@click.group()
def enclave() -> None:
    """The measured code: what runs, and who registered it."""


@enclave.command()
@with_output
def measure(out: Output) -> None:
    """Print the measurement of the enclave code installed here (simulated platform)."""
    from goldengrain.host.enclave_process import local_measurement

    with out.progress("measuring"):
        value = local_measurement()
    out.result({"platform": "simulated", "measurement": value}, f"0x{value.hex()} (simulated platform)")


@enclave.command()
@click.argument("request_file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--endorsement",
    "endorsement_files",
    multiple=True,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What `gg auditor endorse` wrote. Repeat.",
)
@with_network
@with_account
@with_home
@with_output
def register(
    out: Output,
    home: Home,
    network: str,
    account: str,
    password: PasswordSource,
    request_file: Path,
    endorsement_files: Sequence[Path],
) -> None:
    """Register an enclave with its auditors' endorsements. Anyone may."""
    from goldengrain.host import registration

    session = open_session(home, network, account=account, password=password)
    request = registration.RegistrationRequest.load(request_file)
    endorsements = [registration.Endorsement.load(path) for path in endorsement_files]
    with out.progress("registering"):
        identity = registration.register(session, request, endorsements)
    until = registration.registered_until(session, identity)
    out.result(
        {"enclave_id": identity, "registered_until": until}, f"registered until {until}: 0x{identity.hex()}"
    )


@enclave.command("list")
@with_network
@with_home
@with_output
def list_(out: Output, home: Home, network: str) -> None:
    """Show the registered enclaves of the market."""
    from goldengrain.chain.events import RegisteredEvent

    session = open_session(home, network)
    rows: dict[bytes, dict[str, Any]] = {}
    for event in session.registry.events(RegisteredEvent, from_block=session.book.deployed_at_block):
        status = session.registry.enclave_status(event.enclave_id)
        rows[event.enclave_id] = {
            "enclave_id": event.enclave_id,
            "signer": to_checksum(event.signer),
            "measurement": event.measurement,
            "state": status.state,
            "assurance": status.assurance,
            "tcb_status": status.tcb_status,
            "expiry": status.expiry,
            "trusted_here": event.measurement in session.book.trusted_measurements,
        }

    def human(console: Any) -> None:
        from rich.table import Table

        table = Table("signer", "state", "assurance", "until", "code trusted here")
        for row in rows.values():
            words = {1: "simulated", 2: "hardware"}
            assurance = words.get(row["assurance"], "?")
            trusted = "yes" if row["trusted_here"] else "no"
            table.add_row(row["signer"], row["state"].name.lower(), assurance, str(row["expiry"]), trusted)
        console.print(table if rows else "no enclave is registered; start one with: gg worker run")

    out.result({"enclaves": list(rows.values())}, human)
