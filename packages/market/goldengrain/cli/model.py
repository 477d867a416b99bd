"""`gg model`: developers submit models and see what they scored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from goldengrain.cli.options import with_account, with_home, with_network, with_output
from goldengrain.cli.output import Output
from goldengrain.cli.sessions import open_session, shown_progress
from goldengrain.cli.values import DURATION, HASH, format_ppm, format_price, parse_amount, symbol_of
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
@click.option("--spec", "spec_file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--benchmark", "benchmark_id", type=HASH, help="Take the spec of this benchmark.")
@with_network
@with_home
@with_output
def check(
    out: Output, home: Home, network: str, file: Path, spec_file: Path | None, benchmark_id: Hash32 | None
) -> int:
    """Check that FILE is an ONNX model with the inputs and the output that a benchmark wants."""
    from goldengrain.sdk.benchmarks import fetch_spec, get_benchmark
    from goldengrain.sdk.interface import check_interface
    from goldengrain_protocol.errors import InvalidInput
    from goldengrain_protocol.spec import decode_spec

    if spec_file is not None:
        spec = decode_spec(spec_file.read_bytes())
    elif benchmark_id is not None:
        session = open_session(home, network)
        spec = fetch_spec(session, get_benchmark(session, benchmark_id).terms)
    else:
        raise click.UsageError("name the spec with --spec FILE or --benchmark ID")
    try:
        check_interface(file.read_bytes(), spec)
    except InvalidInput as exc:
        lines = f"no: {exc.message}" + (f"\nnext: {exc.next_step}" if exc.next_step else "")
        out.result({"verdict": "refused", "reason": exc.message, "next_step": exc.next_step}, lines)
        return 1
    out.result({"verdict": "fits", "reason": "", "next_step": ""}, "the model fits the spec")
    return 0


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

        table = Table("submission", "state", "score", "lower bound", "price", "sales")
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
