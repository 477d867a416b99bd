"""`gg benchmark`: providers say what is wanted, on which secret test set, and what it is worth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from goldengrain.cli.options import with_account, with_home, with_network, with_output
from goldengrain.cli.output import Output
from goldengrain.cli.sessions import open_session, shown_progress
from goldengrain.cli.values import (
    DURATION,
    HASH,
    format_amount,
    format_ppm,
    format_price,
    id_column,
    parse_amount,
    parse_curve,
    token_by_symbol,
)
from goldengrain_protocol.types import Hash32, address_from_hex, to_checksum

if TYPE_CHECKING:
    from goldengrain.accounts import PasswordSource
    from goldengrain.home import Home
    from goldengrain.sdk.benchmarks import BenchmarkView
    from goldengrain.sdk.session import Session


@click.group()
def benchmark() -> None:
    """Providers: say what is wanted, and what it is worth."""


@benchmark.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@with_output
def example(out: Output, directory: Path) -> None:
    """Write files to try with into DIRECTORY: spec, secret test set, training data, a first model."""
    from goldengrain.demo.digits import write_example

    with out.progress("preparing 5,000 handwritten digits and a first model"):
        files = write_example(directory)
    out.result({"files": files}, "\n".join(f"{path}" for path in files.values()))


@benchmark.command("open")
@click.option(
    "--spec", "spec_file", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option(
    "--testset",
    "testset_file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=".safetensors or .npz with arrays input.NAME and label.",
)
@click.option(
    "--curve",
    "curve_points",
    multiple=True,
    required=True,
    metavar="SCORE:PRICE",
    help="A point of the price curve, for instance 0.9:0.05. Repeat, or separate with commas.",
)
@click.option("--token", default="ETH", show_default=True, metavar="SYMBOL", help="Currency of the prices.")
@click.option("--fee", default="0.001", show_default=True, metavar="ETH", help="Fee per submission.")
@click.option(
    "--cap", type=click.IntRange(1, 65535), default=10, show_default=True, help="Submissions per developer."
)
@click.option("--step", default="0.005", show_default=True, help="Step in which scores are published.")
@click.option("--closes-in", type=DURATION, default="7d", show_default=True)
@click.option("--result-window", type=DURATION, default="24h", show_default=True, help="Time for a result.")
@click.option(
    "--royalty", type=click.FloatRange(0, 100), default=0.0, show_default=True, help="Percent of each sale."
)
@click.option("--royalty-to", metavar="ADDRESS", help="Who gets the royalty.  [default: the account]")
@click.option("--verifier", metavar="NAME", help="Who vouches for enclaves, by its name in the address book.")
@click.option("--measurement", type=HASH, help="The enclave code to trust.  [default: the address book's]")
@click.option("--title", default="", help="A title for lists.  [default: the spec's]")
@with_network
@with_account
@with_home
@with_output
def open_(
    out: Output,
    home: Home,
    network: str,
    account: str,
    password: PasswordSource,
    spec_file: Path,
    testset_file: Path,
    curve_points: Sequence[str],
    token: str,
    fee: str,
    cap: int,
    step: str,
    closes_in: int,
    result_window: int,
    royalty: float,
    royalty_to: str | None,
    verifier: str | None,
    measurement: Hash32 | None,
    title: str,
) -> None:
    """Encrypt and upload the test set, and put the benchmark's terms on chain."""
    from goldengrain.sdk import benchmarks
    from goldengrain_protocol.types import ZERO_ADDRESS

    session = open_session(home, network, account=account, password=password)
    address, decimals = token_by_symbol(session.book, token)
    inputs, label = benchmarks.load_testset(testset_file)
    bps = round(royalty * 100)
    recipient = address_from_hex(royalty_to) if royalty_to else session.account.address
    offer = benchmarks.BenchmarkOffer(
        curve=benchmarks.parse_curve(parse_curve(curve_points, decimals)),
        token=address,
        fee_wei=parse_amount(fee, 18),
        submission_cap=cap,
        step_ppm=parse_amount(step, 6),
        closes_in_s=closes_in,
        result_window_s=result_window,
        royalty_recipient=recipient if bps else ZERO_ADDRESS,
        royalty_bps=bps,
        verifier=verifier,
        title=title,
    )
    with shown_progress(out) as progress:
        identity = benchmarks.open_benchmark(
            session,
            spec_file.read_bytes(),
            inputs,
            label,
            offer,
            measurement=measurement,
            on_progress=progress,
        )
    out.result({"benchmark_id": identity}, f"benchmark 0x{identity.hex()}")


@benchmark.command("list")
@with_network
@with_home
@with_output
def list_(out: Output, home: Home, network: str) -> None:
    """Show the benchmarks of the market."""
    from goldengrain.sdk.benchmarks import list_benchmarks

    session = open_session(home, network)
    views = list_benchmarks(session)

    def human(console: Any) -> None:
        from rich.table import Table

        table = Table(id_column("benchmark"), "title", "state", "fee", "prices")
        for view in views:
            curve = view.terms.curve
            prices = " to ".join(
                format_price(session.book, view.terms.sale.token, point.price)
                for point in (curve[0], curve[-1])
            )
            fee = format_amount(view.terms.fee_wei, 18, "ETH")
            table.add_row(
                f"0x{view.benchmark_id.hex()}", view.title, view.status.state.name.lower(), fee, prices
            )
        console.print(table if views else "no benchmarks yet; open one with: gg benchmark open")

    out.result({"benchmarks": [_document(view) for view in views]}, human)


@benchmark.command()
@click.argument("benchmark_id", type=HASH)
@with_network
@with_home
@with_output
def show(out: Output, home: Home, network: str, benchmark_id: Hash32) -> None:
    """Show one benchmark: terms, price curve, spec and its submissions."""
    from goldengrain.sdk.benchmarks import fetch_spec, get_benchmark
    from goldengrain.sdk.submissions import list_submissions

    session = open_session(home, network)
    view = get_benchmark(session, benchmark_id)
    spec = fetch_spec(session, view.terms)
    submissions = list_submissions(session, benchmark=benchmark_id)
    document = {
        **_document(view),
        "spec": spec,
        "submissions": [
            {
                "submission_id": each.submission_id,
                "developer": to_checksum(each.body.developer),
                "state": each.state.value,
                "bound_ppm": each.bound_ppm,
                "price": each.price,
            }
            for each in submissions
        ],
    }

    def human(console: Any) -> None:
        from rich.table import Table

        console.print(
            f"{view.title}  0x{benchmark_id.hex()}  {view.status.state.name.lower()}", highlight=False
        )
        console.print(
            f"task {spec.task}, metric {spec.score.metric}, one-sided confidence "
            f"{spec.score.confidence_ppm / 10_000:g} %, published in steps of {format_ppm(view.terms.step_ppm)}"
        )
        for tensor, role in [*((each, "input") for each in spec.inputs), (spec.output, "output")]:
            console.print(f"{role} {tensor.name!r}: {tensor.dtype} {list(tensor.shape)}", highlight=False)
        prices = Table("lower bound", "price")
        for point in view.terms.curve:
            prices.add_row(
                format_ppm(point.score_ppm), format_price(session.book, view.terms.sale.token, point.price)
            )
        console.print(prices)
        _print_submissions(console, session, submissions)

    out.result(document, human)


@benchmark.command()
@click.argument("benchmark_id", type=HASH)
@with_network
@with_account
@with_home
@with_output
def close(
    out: Output, home: Home, network: str, account: str, password: PasswordSource, benchmark_id: Hash32
) -> None:
    """Stop taking submissions. Submissions that wait still get their results."""
    from goldengrain.sdk.benchmarks import close_benchmark

    session = open_session(home, network, account=account, password=password)
    with out.progress("closing the benchmark"):
        close_benchmark(session, benchmark_id)
    out.result({"benchmark_id": benchmark_id, "state": "closed"}, "closed")


def _print_submissions(console: Any, session: Session, submissions: Sequence[Any]) -> None:
    from rich.table import Table

    table = Table(id_column("submission"), "state", "lower bound", "price")
    for each in submissions:
        price = format_price(session.book, each.terms.sale.token, each.price)
        table.add_row(f"0x{each.submission_id.hex()}", each.state.value, format_ppm(each.bound_ppm), price)
    console.print(table if submissions else "no submissions yet")


def _document(view: BenchmarkView) -> dict[str, Any]:
    terms = view.terms
    return {
        "benchmark_id": view.benchmark_id,
        "title": view.title,
        "state": view.status.state,
        "owner": to_checksum(terms.owner),
        "token": to_checksum(terms.sale.token),
        "royalty_bps": terms.sale.royalty_bps,
        "fee_wei": terms.fee_wei,
        "submission_cap": terms.submission_cap,
        "step_ppm": terms.step_ppm,
        "submissions_close": terms.submissions_close,
        "result_window_s": terms.result_window_s,
        "quorum": terms.quorum,
        "verifier": to_checksum(terms.verifier),
        "assurance": terms.assurance,
        "measurement": terms.measurement,
        "config_digest": terms.config_digest,
        "spec_digest": terms.spec_digest,
        "testset_digest": terms.testset_digest,
        "curve": [{"score_ppm": point.score_ppm, "price": point.price} for point in terms.curve],
    }
