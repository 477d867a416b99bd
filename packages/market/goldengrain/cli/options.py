"""Options that many commands share, each as one decorator that also hands over what the option stands for.

@click.command()
@with_output            # out: Output              --json --quiet --debug
@with_home              # home: Home               --home            GG_HOME
@with_network           # network: str             --network         GG_NETWORK
@with_account           # account: str, password: PasswordSource
                        #                          --account         GG_ACCOUNT
                        #                          --password-file   GG_PASSWORD_FILE
def show(out: Output, home: Home, network: str, account: str, password: PasswordSource) -> None: ...
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from goldengrain.cli.output import Output

if TYPE_CHECKING:
    from goldengrain.accounts import PasswordSource

Command = Callable[..., Any]

DEFAULT_NETWORK: Final = "devnet"


def with_output(command: Command) -> Command:
    """Add --json, --quiet and --debug; the command takes `out`."""

    @click.option("--json", "json_mode", is_flag=True, help="One JSON document on stdout; no questions.")
    @click.option("--quiet", is_flag=True, help="Neither notes nor progress.")
    @click.option("--debug", is_flag=True, envvar="GG_DEBUG", help="Show where an error came from.")
    @functools.wraps(command)
    def wrapped(*args: Any, json_mode: bool, quiet: bool, debug: bool, **kwargs: Any) -> Any:
        out = current_output()
        out.json_mode, out.quiet, out.debug = json_mode, quiet, debug
        return command(*args, out=out, **kwargs)

    return wrapped


def with_home(command: Command) -> Command:
    """Add --home; the command takes `home`."""

    @click.option(
        "--home",
        "home_path",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="GG_HOME",
        metavar="DIR",
        show_envvar=True,
        help="Where accounts, networks and blobs live.  [default: ~/.goldengrain]",
    )
    @functools.wraps(command)
    def wrapped(*args: Any, home_path: Path | None, **kwargs: Any) -> Any:
        from goldengrain.home import Home

        return command(*args, home=Home(home_path), **kwargs)

    return wrapped


def with_network(command: Command) -> Command:
    """Add --network; the command takes `network`, the name of an address book."""
    return click.option(
        "--network",
        default=DEFAULT_NETWORK,
        show_default=True,
        envvar="GG_NETWORK",
        show_envvar=True,
        metavar="NAME",
        help="The network, by the name of its address book.",
    )(command)


def with_account(command: Command) -> Command:
    """Add --account (required) and --password-file; the command takes `account` and `password`."""

    @click.option(
        "--account",
        required=True,
        envvar="GG_ACCOUNT",
        show_envvar=True,
        metavar="NAME",
        help="The account that acts.",
    )
    @with_password
    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return command(*args, **kwargs)

    return wrapped


def with_password(command: Command) -> Command:
    """Add --password-file; the command takes `password`: the file, or a function that asks."""

    @click.option(
        "--password-file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        envvar="GG_PASSWORD_FILE",
        show_envvar=True,
        metavar="FILE",
        help="The password's file; without it you are asked.",
    )
    @functools.wraps(command)
    def wrapped(*args: Any, password_file: Path | None, **kwargs: Any) -> Any:
        password: PasswordSource = password_file if password_file is not None else current_output().ask_secret
        return command(*args, password=password, **kwargs)

    return wrapped


def current_output() -> Output:
    """Return the sink of the running command; a fresh one where a command runs outside `gg` (in a test)."""
    context = click.get_current_context()
    return context.find_root().ensure_object(Output)
