"""`gg attest`: does a quote verify, and what does it prove?"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from goldengrain.cli.options import with_home, with_network, with_output
from goldengrain.cli.output import ExitCode, Output
from goldengrain_protocol.constants import TcbStatus
from goldengrain_protocol.errors import InvalidInput, VerificationError

if TYPE_CHECKING:
    from goldengrain.home import Home

INTEL = "intel"
SIMULATED = "simulated"


@click.group()
def attest() -> None:
    """Anybody: does a quote verify, and what does it prove?"""


@attest.command()
@click.option(
    "--quote", "quote_file", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option(
    "--collateral",
    "collateral_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The collateral document; not needed on chain, where it is posted.",
)
@click.option(
    "--at", "at_unix_s", type=click.IntRange(1, 2**40), metavar="UNIX_SECONDS", help="[default: now]"
)
@click.option(
    "--root",
    default=INTEL,
    show_default=True,
    metavar="intel|simulated|FILE",
    help="The root to trust: Intel's, this machine's simulated one, or a DER file.",
)
@click.option("--on-chain", is_flag=True, help="Ask a deployed verifier, by a call that sends nothing.")
@click.option("--verifier", metavar="NAME", help="Which one, by its name in the address book.")
@with_network
@with_home
@with_output
def verify(
    out: Output,
    home: Home,
    network: str,
    quote_file: Path,
    collateral_file: Path | None,
    at_unix_s: int | None,
    root: str,
    verifier: str | None,
    *,
    on_chain: bool,
) -> int:
    """Verify a DCAP quote (SGX v3, TDX v4 and v5), off chain with its collateral or on chain."""
    quote = _binary(quote_file.read_bytes())
    document: dict[str, Any] = dict.fromkeys(FIELDS)
    try:
        if on_chain:
            document |= _ask_chain(home, network, verifier, quote)
        elif collateral_file is None:
            raise click.UsageError(
                "name the collateral with --collateral FILE, or ask a verifier with --on-chain"
            )
        else:
            root_der = _root(home, root)
            document["assurance"] = "hardware" if root_der is None else "simulated"
            moment = at_unix_s if at_unix_s is not None else int(time.time())
            document |= _verify(quote, collateral_file.read_bytes(), root_der, moment)
    except (_Refused, VerificationError) as exc:
        document |= {"verdict": "refused", "reason": exc.message}
        out.result(document, f"refused: {exc.message}")
        return ExitCode.NEGATIVE
    document |= {"verdict": "verified", "reason": ""}
    out.result(document)
    return ExitCode.OK


class _Refused(VerificationError):
    """The quote or its collateral is malformed: as little worth as one that does not verify."""


def _verify(quote: bytes, collateral: bytes, root_der: bytes | None, moment: int) -> dict[str, Any]:
    from goldengrain_protocol.attestation import verify_quote

    try:
        verified = verify_quote(quote, collateral, root_der=root_der, at_unix_s=moment)
    except InvalidInput as exc:
        raise _Refused(exc.message) from exc
    return {
        "tee": verified.tee,
        "version": verified.version,
        "measurement": verified.measurement,
        "report_data": verified.report_data,
        "tcb_status": INTEL_WORDS[verified.tcb_status],
        "fmspc": verified.fmspc.hex().upper(),
        "expiry": verified.expiry,
        "advisory_ids": list(verified.advisory_ids),
    }


def _ask_chain(home: Home, network: str, name: str | None, quote: bytes) -> dict[str, Any]:
    from goldengrain.chain.dcap import split_quote
    from goldengrain.cli.sessions import open_session
    from goldengrain.host.collateral import ask_verifier

    session = open_session(home, network)
    entry = session.book.verifier(name)
    try:
        parts = split_quote(quote)
    except InvalidInput as exc:
        raise _Refused(exc.message) from exc
    verdict = ask_verifier(session, entry, quote)
    return {
        "tee": "tdx" if parts.is_tdx else "sgx",
        "version": parts.version,
        "measurement": verdict.measurement,
        "report_data": verdict.report_data,
        "tcb_status": INTEL_WORDS[TcbStatus(verdict.tcb_status)],
        "fmspc": verdict.fmspc.hex().upper(),
        "assurance": {1: "simulated", 2: "hardware"}[verdict.assurance],
        "expiry": verdict.expiry,
    }


FIELDS = (
    "verdict",
    "reason",
    "tee",
    "version",
    "measurement",
    "report_data",
    "tcb_status",
    "fmspc",
    "assurance",
    "expiry",
    "advisory_ids",
)
"""What `--json` has, whatever the verdict; null where a refused quote proves nothing."""


INTEL_WORDS = {
    TcbStatus.UP_TO_DATE: "UpToDate",
    TcbStatus.SW_HARDENING_NEEDED: "SWHardeningNeeded",
    TcbStatus.CONFIGURATION_NEEDED: "ConfigurationNeeded",
    TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED: "ConfigurationAndSWHardeningNeeded",
    TcbStatus.OUT_OF_DATE: "OutOfDate",
    TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED: "OutOfDateConfigurationNeeded",
    TcbStatus.REVOKED: "Revoked",
}
"""TCB statuses as Intel's collateral names them."""


def _binary(content: bytes) -> bytes:
    """A quote is kept as bytes, or as hexadecimal text."""
    try:
        text = content.decode("ascii").strip().removeprefix("0x")
        return bytes.fromhex(text)
    except ValueError:
        return content


def _root(home: Home, root: str) -> bytes | None:
    if root == INTEL:
        return None
    path = home.simulated_platform_dir / "root.der" if root == SIMULATED else Path(root)
    try:
        return path.read_bytes()
    except OSError as exc:
        raise InvalidInput(
            f"the root certificate {path.name} cannot be read",
            next_step="give --root intel, --root simulated (after `gg worker run`), or a DER file",
        ) from exc
