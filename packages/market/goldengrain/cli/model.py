"""`gg model`: developers submit models and see what they scored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from goldengrain.cli.options import with_account, with_home, with_network, with_output
from goldengrain.cli.output import Output
from goldengrain.cli.sessions import open_session, shown_progress
from goldengrain.cli.values import (
    DURATION,
    HASH,
    format_ppm,
    format_price,
    id_column,
    parse_amount,
    symbol_of,
)
from goldengrain_protocol.types import Address, Hash32, address_from_hex, to_checksum

if TYPE_CHECKING:
    from goldengrain.accounts import PasswordSource
    from goldengrain.home import Home
    from goldengrain.sdk.session import Session
    from goldengrain.sdk.submissions import SubmissionView


@click.group()
def model() -> None:
    """Developers: check a model, submit it, see what it scored."""


@model.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--spec",
    "spec_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Try the model on inputs of this spec.",
)
@click.option("--benchmark", "benchmark_id", type=HASH, help="Try it on inputs of this benchmark's spec.")
@click.option(
    "--limit",
    "limit_s",
    type=click.FloatRange(min=0.5, max=86_400),
    metavar="SECONDS",
    help="For the whole check.  [default: the spec's wall_s, or 60]",
)
@with_network
@with_home
@with_output
def check(
    out: Output,
    home: Home,
    network: str,
    file: Path,
    spec_file: Path | None,
    benchmark_id: Hash32 | None,
    limit_s: float | None,
) -> int:
    """Check whether an enclave would score FILE, before you pay.

    The enclave's own gate reads FILE, its own sandbox loads it, and with a spec runs it on random inputs. FILE may be
    hostile.
    """
    from goldengrain.host.model_check import check_model

    if spec_file is not None and benchmark_id is not None:
        raise click.UsageError("name one spec: --spec FILE or --benchmark ID")
    spec: bytes | None = None
    if spec_file is not None:
        spec = _spec_bytes(spec_file)
    elif benchmark_id is not None:
        from goldengrain.sdk.benchmarks import fetch_spec, get_benchmark
        from goldengrain_protocol.spec import encode_spec

        session = open_session(home, network)
        spec = encode_spec(fetch_spec(session, get_benchmark(session, benchmark_id).terms))
    report = check_model(file, spec, limit_s=limit_s)
    document = {
        "verdict": report.verdict,
        "reason": report.reason,
        "next_step": report.next_step,
        "ops": report.ops,
        "parameters": report.parameters,
        "estimated_macs": report.estimated_macs,
        "peak_memory_bytes": report.peak_memory_bytes,
    }

    def human(console: Any) -> None:
        console.print(report.verdict if report.accepted else f"refused: {report.reason}", markup=False)
        if report.next_step:
            console.print(f"next: {report.next_step}", markup=False)
        for name, value in list(document.items())[3:]:
            if value is not None:
                console.print(f"{name.replace('_', ' ')}: {value:,}", highlight=False)

    out.result(document, human)
    return 0 if report.accepted else 1


@model.command()
@click.argument("benchmark_id", type=HASH)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--reserve", default="0", show_default=True, metavar="AMOUNT", help="Your lowest price.")
@click.option("--payee", metavar="ADDRESS", help="Who is paid.  [default: the account]")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait for the score.")
@click.option("--timeout", type=DURATION, default="10m", show_default=True)
@with_network
@with_account
@with_home
@with_output
def submit(
    out: Output,
    home: Home,
    network: str,
    account: str,
    password: PasswordSource,
    benchmark_id: Hash32,
    file: Path,
    reserve: str,
    payee: str | None,
    timeout: int,
    *,
    wait: bool,
) -> int:
    """Encrypt FILE (ONNX) and submit it to a benchmark for the benchmark's fee."""
    from goldengrain.sdk.benchmarks import get_benchmark
    from goldengrain.sdk.submissions import submit_model, wait_for_score

    session = open_session(home, network, account=account, password=password)
    token = get_benchmark(session, benchmark_id).terms.sale.token
    lowest = parse_amount(reserve, symbol_of(session.book, token)[1])
    target: Address | None = address_from_hex(payee) if payee else None
    with shown_progress(out) as progress:
        identity = submit_model(
            session, benchmark_id, file.read_bytes(), reserve=lowest, payee=target, on_progress=progress
        )
        out.note(f"submission 0x{identity.hex()}")
        if not wait:
            out.result({"submission_id": identity}, f"submission 0x{identity.hex()}")
            return 0
        view = wait_for_score(session, identity, timeout_s=timeout, on_progress=progress)
    _show(out, session, view)
    return 0


@model.command("list")
@click.option("--benchmark", "benchmark_id", type=HASH, help="Only this benchmark's.")
@click.option("--developer", metavar="ADDRESS", help="Only this developer's.")
@with_network
@with_home
@with_output
def list_(out: Output, home: Home, network: str, benchmark_id: Hash32 | None, developer: str | None) -> None:
    """Show submissions with their scores and prices."""
    from goldengrain.sdk.submissions import list_submissions

    session = open_session(home, network)
    who = address_from_hex(developer) if developer else None
    views = list_submissions(session, benchmark=benchmark_id, developer=who)

    def human(console: Any) -> None:
        from rich.table import Table

        table = Table(id_column("submission"), "state", "score", "lower bound", "price", "sales")
        for view in views:
            price = format_price(session.book, view.terms.sale.token, view.price)
            row = (f"0x{view.submission_id.hex()}", view.state.value, format_ppm(view.score_ppm))
            table.add_row(*row, format_ppm(view.bound_ppm), price, str(view.orders))
        console.print(table if views else "no submissions yet")

    out.result({"submissions": [_document(view) for view in views]}, human)


@model.command()
@click.argument("submission_id", type=HASH)
@with_network
@with_home
@with_output
def show(out: Output, home: Home, network: str, submission_id: Hash32) -> None:
    """Show one submission."""
    from goldengrain.sdk.submissions import get_submission

    session = open_session(home, network)
    _show(out, session, get_submission(session, submission_id))


@model.command()
@click.argument("submission_id", type=HASH)
@with_network
@with_account
@with_home
@with_output
def reclaim(
    out: Output, home: Home, network: str, account: str, password: PasswordSource, submission_id: Hash32
) -> None:
    """Take back the fee of a submission that got no result in time."""
    from goldengrain.sdk.submissions import reclaim_fee

    session = open_session(home, network, account=account, password=password)
    with out.progress("taking the fee back"):
        reclaim_fee(session, submission_id)
    out.result({"submission_id": submission_id, "state": "fee taken back"}, "the fee is back")


def _spec_bytes(path: Path) -> bytes:
    """Return the bytes of a spec, and no more of a file that is none."""
    from goldengrain_protocol.constants import MAX_SPEC_BYTES
    from goldengrain_protocol.errors import InvalidInput

    with path.open("rb") as file:
        data = file.read(MAX_SPEC_BYTES + 1)
    if len(data) > MAX_SPEC_BYTES:
        raise InvalidInput(f"{path} is no spec: it has more than {MAX_SPEC_BYTES:,} bytes")
    return data


def _show(out: Output, session: Session, view: SubmissionView) -> None:
    reasons = _reasons(session, view)
    price = format_price(session.book, view.terms.sale.token, view.price)

    def human(console: Any) -> None:
        console.print(f"submission 0x{view.submission_id.hex()}", highlight=False)
        console.print(f"state: {view.state.value}")
        console.print(
            f"score {format_ppm(view.score_ppm)}, lower bound {format_ppm(view.bound_ppm)}, price {price}"
        )
        for reason in reasons:
            console.print(f"reason: {reason}", markup=False)

    out.result({**_document(view), "reasons": reasons}, human)


def _reasons(session: Session, view: SubmissionView) -> list[str]:
    from goldengrain_protocol.errors import GoldenGrainError
    from goldengrain_protocol.evidence import Evidence

    found: list[str] = []
    for digest in view.evidence_digests:
        try:
            reason = Evidence.decode(session.blobs.get(digest)).reason
        except GoldenGrainError as exc:
            reason = f"(evidence not readable: {exc.message})"
        if reason:
            found.append(reason)
    return found


def _document(view: SubmissionView) -> dict[str, Any]:
    return {
        "submission_id": view.submission_id,
        "benchmark_id": view.body.benchmark_id,
        "developer": to_checksum(view.body.developer),
        "state": view.state.value,
        "score_ppm": view.score_ppm,
        "bound_ppm": view.bound_ppm,
        "price": view.price,
        "token": to_checksum(view.terms.sale.token),
        "orders": view.orders,
        "evidence_digests": list(view.evidence_digests),
    }
