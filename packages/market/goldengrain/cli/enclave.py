"""`gg enclave`: the measured code, and who is registered as running it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from goldengrain.cli.options import with_account, with_home, with_network, with_output
from goldengrain.cli.output import Output
from goldengrain.cli.sessions import open_session
from goldengrain_protocol.constants import TcbStatus
from goldengrain_protocol.types import address_from_hex, to_checksum

if TYPE_CHECKING:
    from goldengrain.accounts import PasswordSource
    from goldengrain.home import Home


_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def enclave() -> None:
    """The measured code: what runs, and who registered it."""


@enclave.command()
@click.option(
    "--platform",
    type=click.Choice(["simulated", "tdx", "dstack", "gramine"]),
    default="simulated",
    show_default=True,
    help="Where the enclave runs.",
)
@click.option("--mrenclave", metavar="HEX", help="gramine: MRENCLAVE, 32 bytes.")
@click.option("--sig", "sig_file", type=_FILE, help="gramine: the .sig file that gramine-sgx-sign wrote.")
@click.option(
    "--registers", "registers_file", type=_FILE, help="tdx, dstack: JSON with mrtd and rtmr0 to rtmr3."
)
@click.option("--mrtd", metavar="HEX", help="tdx, dstack: MRTD, 48 bytes.")
@click.option("--rtmr0", metavar="HEX", help="tdx, dstack: RTMR0, 48 bytes; so on to RTMR3.")
@click.option("--rtmr1", metavar="HEX")
@click.option("--rtmr2", metavar="HEX")
@click.option("--rtmr3", metavar="HEX")
@with_output
def measure(
    out: Output,
    platform: str,
    mrenclave: str | None,
    sig_file: Path | None,
    registers_file: Path | None,
    **given: str | None,
) -> None:
    """Print the measurement an enclave should report, and how it was derived.

    For the simulated platform it is computed from the code installed here. For gramine it is derived from MRENCLAVE,
    for tdx and dstack from the measurement registers: those come from the tools that build the enclave or the
    virtual machine, see docs/guides.
    """
    from goldengrain.host import measurement
    from goldengrain.host.enclave_process import local_measurement

    registers = {name: value for name, value in given.items() if value is not None}
    _only_for(platform, ("gramine",), {"--mrenclave": mrenclave, "--sig": sig_file})
    _only_for(
        platform,
        ("tdx", "dstack"),
        {"--registers": registers_file}
        | {f"--{name}": registers.get(name) for name in measurement.REGISTERS},
    )
    if platform == "simulated":
        with out.progress("measuring"):
            value = local_measurement()
        expected = measurement.from_installed_code(value)
    elif platform == "gramine":
        if (mrenclave is None) == (sig_file is None):
            raise click.UsageError("give either --mrenclave or --sig")
        if sig_file is not None:
            expected = measurement.from_sigstruct(sig_file.read_bytes())
        else:
            expected = measurement.from_mr_enclave(measurement.hex_bytes(mrenclave, 32, "mrenclave"))
    else:
        found: dict[str, bytes] = {}
        derivation = "as given"
        if registers_file is not None:
            found, derivation = measurement.decode_registers(registers_file.read_bytes())
        named = {name: measurement.hex_bytes(text, 48, name) for name, text in registers.items()}
        expected = measurement.from_registers(found | named, derivation)
    human = f"0x{expected.measurement.hex()} ({platform} platform)\n"
    human += "".join(f"  {name:<10} {value.hex()}\n" for name, value in expected.registers.items())
    human += f"derived:      {expected.derivation}\nnot computed: {expected.not_computed}"
    out.result(
        {
            "platform": platform,
            "measurement": expected.measurement,
            "registers": dict(expected.registers),
            "derivation": expected.derivation,
            "not_computed": expected.not_computed,
        },
        human,
    )


def _only_for(platform: str, platforms: tuple[str, ...], options: dict[str, object]) -> None:
    for name, value in options.items():
        if value is not None and platform not in platforms:
            raise click.UsageError(f"{name} is for --platform {' or '.join(platforms)}, not {platform}")


@enclave.command()
@click.argument("request_file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--endorsement",
    "endorsement_files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What `gg auditor endorse` wrote, for an auditor quorum. Repeat.",
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
    """Register an enclave by its quote, or by its auditors' endorsements. Anyone may."""
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


@enclave.command()
@click.argument("signer", metavar="ADDRESS")
@with_network
@with_home
@with_output
def show(out: Output, home: Home, network: str, signer: str) -> None:
    """Show the registrations of one enclave, by its signing address."""
    from goldengrain.host.invalidation import registrations_of

    session = open_session(home, network)
    rows = []
    for event in registrations_of(session, address_from_hex(signer)):
        status = session.registry.enclave_status(event.enclave_id, block="latest")
        rows.append(
            {
                "enclave_id": event.enclave_id,
                "state": status.state,
                "verifier": to_checksum(event.verifier),
                "measurement": event.measurement,
                "config_digest": event.config_digest,
                "sealing_key": event.sealing_key,
                "assurance": event.assurance,
                "tcb_status": TcbStatus(event.tcb_status),
                "expiry": event.expiry,
                "platform": event.platform,
                "quote_digest": event.quote_digest,
                "registered_at_block": event.meta.block_number,
            }
        )
    out.result({"signer": signer, "registrations": rows})


@enclave.command()
@click.argument("signer", metavar="ADDRESS")
@click.option(
    "--revocation",
    "revocation_files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What `gg auditor revoke` wrote, for an auditor quorum. Repeat.",
)
@with_network
@with_account
@with_home
@with_output
def invalidate(
    out: Output,
    home: Home,
    network: str,
    account: str,
    password: PasswordSource,
    signer: str,
    revocation_files: Sequence[Path],
) -> None:
    """End the registrations of an enclave whose platform no longer passes. Anyone may."""
    from goldengrain.host.invalidation import Revocation, invalidate_enclave

    session = open_session(home, network, account=account, password=password)
    revocations = [Revocation.load(path) for path in revocation_files]
    with out.progress("invalidating"):
        ended = invalidate_enclave(session, address_from_hex(signer), revocations)
    out.result({"signer": signer, "invalidated": ended}, f"{len(ended)} registration(s) ended")
