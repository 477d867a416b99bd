"""`gg worker`: the host daemon."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from goldengrain.cli.options import with_account, with_home, with_network, with_output
from goldengrain.cli.output import Output
from goldengrain.cli.sessions import open_session
from goldengrain.cli.values import DURATION, parse_listen
from goldengrain_protocol.types import to_checksum

if TYPE_CHECKING:
    from goldengrain.accounts import PasswordSource
    from goldengrain.home import Home
    from goldengrain.host.worker import WorkerReport


@click.group()
def worker() -> None:
    """Hosts: run an enclave that scores models for fees."""


@worker.command()
@click.option("--name", default="worker", show_default=True, help="This worker's directory under the home.")
@click.option(
    "--listen", default="127.0.0.1:8600", show_default=True, metavar="HOST:PORT", help="For offers."
)
@click.option("--verifier", metavar="NAME", help="Where to register, by its name in the address book.")
@click.option(
    "--endorse-with",
    "auditors",
    multiple=True,
    metavar="NAME",
    help="Auditor accounts of this machine that verify the quote and sign (development). Repeat.",
)
@click.option(
    "--platform",
    type=click.Choice(["simulated", "tdx", "dstack", "gramine"]),
    default="simulated",
    show_default=True,
    help="What the enclave runs on; see docs/guides/.",
)
@click.option(
    "--collateral",
    "collateral_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The vendor's collateral for the enclave's quote.  [default: the simulated platform's own]",
)
@click.option("--registration-timeout", type=DURATION, default="1h", show_default=True)
@with_network
@with_account
@with_home
@with_output
def run(
    out: Output,
    home: Home,
    network: str,
    account: str,
    password: PasswordSource,
    name: str,
    listen: str,
    verifier: str | None,
    auditors: Sequence[str],
    platform: str,
    collateral_file: Path | None,
    registration_timeout: int,
) -> None:
    """Run an enclave: score submissions, post results, answer offer requests. Run again: it continues."""
    from goldengrain.accounts import AccountStore
    from goldengrain.cli.signals import stop_on_signals
    from goldengrain.home import directory_lock
    from goldengrain.host.offer_server import OfferServer
    from goldengrain.host.setup import boot_enclave, ensure_registered, platform_collateral
    from goldengrain.host.worker import Worker

    session = open_session(home, network, account=account, password=password)
    host, port = parse_listen(listen, example="127.0.0.1:8600")
    entry = session.book.verifier(verifier)
    keys = [AccountStore(home).load(each, password) for each in auditors]

    def tell(report: WorkerReport) -> None:
        where = f" 0x{report.submission_id.hex()}" if report.submission_id else ""
        if report.problem:
            out.warn(f"{report.what}{where}: {report.problem}" + _next(report.next_step))
        else:
            out.note(f"{report.what}{where}")

    def waiting(path: Path) -> None:
        out.note(f"waiting to be registered; let auditors run: gg auditor endorse {path}")

    with (
        directory_lock(home.worker_dir(name), what=f"worker {name}"),
        stop_on_signals() as should_stop,
    ):
        with out.progress("starting the enclave"):
            enclave, boot = boot_enclave(session, name, platform=platform)
        try:
            until = ensure_registered(
                session,
                name,
                boot,
                entry,
                collateral=platform_collateral(session, platform, collateral_file),
                auditors=keys,
                wait_s=registration_timeout,
                should_stop=should_stop,
                on_waiting=waiting,
            )
            daemon = Worker(session, enclave, boot, entry.address, on_report=tell)
            server = OfferServer(daemon, host, port)
            url = server.start()
            out.note(f"enclave {to_checksum(boot.signer)}, registered until {until} (Unix time)")
            if platform == "simulated":
                out.note("simulated platform: it protects no model from this host")
            out.note(f"offers at {url}; Ctrl-C ends it")
            daemon.run(should_stop)
            server.stop()
        finally:
            enclave.stop()
    out.result({"worker": name, "signer": to_checksum(boot.signer)}, "stopped")


def _next(step: str) -> str:
    return f" (next: {step})" if step else ""
