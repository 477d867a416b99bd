"""`gg`: the table of commands, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Final

import click

from goldengrain.cli.groups import LazyGroup, Noun
from goldengrain.cli.output import EXIT_CODES, ExitCode, Output, classify
from goldengrain_protocol.errors import GoldenGrainError

DEBUG_VARIABLE: Final = "GG_DEBUG"

NOUNS: Final = {
    "demo": Noun(
        "goldengrain.cli.demo", "The whole market in one go, on a development chain, then a report."
    ),
    "doctor": Noun("goldengrain.cli.doctor", "What works on this machine, and what to install."),
    "devnet": Noun("goldengrain.cli.devnet", "The development chain: up, down, status."),
    "account": Noun("goldengrain.cli.account", "Accounts in encrypted keystores."),
    "deploy": Noun("goldengrain.cli.deploy", "Put the contracts on a network; writes its address book."),
    "benchmark": Noun("goldengrain.cli.benchmark", "Providers: say what is wanted, and what it is worth."),
    "model": Noun("goldengrain.cli.model", "Developers: check a model, submit it, see what it scored."),
    "developer": Noun("goldengrain.cli.developer", "Developers: claim the money of orders as they come in."),
    "offer": Noun("goldengrain.cli.offer", "Providers: ask an enclave for the sealed key of a model."),
    "order": Noun("goldengrain.cli.order", "Providers: buy a model, open it, or take the money back."),
    "worker": Noun("goldengrain.cli.worker", "Hosts: run an enclave that scores models for fees."),
    "enclave": Noun("goldengrain.cli.enclave", "The measured code: what runs, and who registered it."),
    "witness": Noun(
        "goldengrain.cli.witness", "Witnesses: sign the blocks that a node of your own calls final."
    ),
    "auditor": Noun("goldengrain.cli.auditor", "Auditors: verify an enclave's quote and sign for it."),
    "collateral": Noun(
        "goldengrain.cli.collateral", "Anybody: the vendor's statements about platforms, on chain."
    ),
    "attest": Noun("goldengrain.cli.attest", "Anybody: does a quote verify, and what does it prove?"),
    "evidence": Noun("goldengrain.cli.evidence", "Anybody: check everything behind one score."),
}
"""Every command, in the order of the help: first steps, then the life of a model, then those who watch."""


def _epilog() -> str:
    codes = "\n".join(f"{code.value:>4}  {meaning}" for code, meaning in EXIT_CODES.items())
    return f"\b\nExit codes:\n{codes}\n\n\b\nBegin with: gg demo\nAll commands take --json and --help."


@click.group(
    cls=LazyGroup,
    nouns=NOUNS,
    epilog=_epilog(),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="goldengrain", prog_name="gg", message="%(prog)s %(version)s")
def cli() -> None:
    """Golden Grain: sell and buy machine-learning models whose scores are attested.

    Developers sell models, providers buy them. An enclave scores every model on a secret test set, a contract
    turns the score into a price, and the model's key and the money change hands in one step.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `gg` and exit with the code that docs/cli.md states."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> ExitCode | int:
    """Run one command line and return its exit code. Nothing but the result is ever written to stdout."""
    words = list(arguments)
    before_end = words[: words.index("--")] if "--" in words else words
    # Known before parsing, because what does not parse must be answered in the right form, too.
    output = Output(
        json_mode="--json" in before_end,
        quiet="--quiet" in before_end,
        debug="--debug" in before_end or os.environ.get(DEBUG_VARIABLE, "") not in ("", "0"),
    )
    try:
        code = cli.main(args=words, prog_name="gg", standalone_mode=False, obj=output)
        if output.json_mode and not output.answered and not {"-h", "--help", "--version"} & set(words):
            output.result({})
        return code if isinstance(code, int) and not isinstance(code, bool) else ExitCode.OK
    except click.exceptions.NoArgsIsHelpError as exc:
        click.echo(exc.ctx.get_help() if exc.ctx else "", err=True)
        return ExitCode.USAGE
    except click.ClickException as exc:
        return _usage(output, exc)
    except (KeyboardInterrupt, click.Abort) as exc:
        return _interrupted(output, exc)
    except GoldenGrainError as exc:
        category, exit_code = classify(exc)
        _trace(output)
        output.error(category, str(exc), exc.next_step)
        return exit_code
    except Exception as exc:  # noqa: BLE001 - the last resort, which must say something useful
        _trace(output)
        detail = " ".join(str(exc).split())[:300]
        output.error(
            "internal",
            f"unexpected {type(exc).__name__}: {detail}".rstrip(": "),
            f"this is a defect: repeat with --debug (or {DEBUG_VARIABLE}=1) and report what it prints",
        )
        return ExitCode.INTERNAL


def _usage(output: Output, error: click.ClickException) -> ExitCode:
    path = "gg"
    if isinstance(error, click.UsageError) and error.ctx is not None:
        path = error.ctx.command_path
    output.error("usage", error.format_message(), f"see `{path} --help`")
    return ExitCode.USAGE


def _interrupted(output: Output, error: BaseException) -> ExitCode:
    if isinstance(error, click.Abort) and isinstance(error.__cause__, EOFError):
        output.error(
            "usage", "a question was asked and nobody answered", "run it on a terminal, or see --help"
        )
        return ExitCode.USAGE
    output.error(
        "interrupted", "stopped by Ctrl-C", "run the same command again: it continues where it stopped"
    )
    return ExitCode.INTERRUPTED


def _trace(output: Output) -> None:
    if output.debug:
        traceback.print_exc(file=sys.stderr)


if __name__ == "__main__":
    main()
