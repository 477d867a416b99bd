"""`gg account`: encrypted keystores. No key ever stands in a command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from goldengrain.cli.options import with_home, with_output, with_password
from goldengrain.cli.output import Output
from goldengrain_protocol.types import to_checksum

if TYPE_CHECKING:
    from goldengrain.accounts import PasswordSource
    from goldengrain.home import Home


@click.group()
def account() -> None:
    """Accounts in encrypted keystores."""


@account.command()
@click.argument("name")
@with_password
@with_home
@with_output
def create(out: Output, home: Home, name: str, password: PasswordSource) -> None:
    """Make a new account NAME."""
    from goldengrain.accounts import AccountStore, read_password

    made = AccountStore(home).create(name, read_password(password, f"New password for {name}: "))
    out.result({"name": name, "address": made.checksum}, f"{name}: {made.checksum}")


@account.command("import")
@click.argument("name")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@with_password
@with_home
@with_output
def import_(out: Output, home: Home, name: str, file: Path, password: PasswordSource) -> None:
    """Bring in an account NAME from FILE: an Ethereum keystore, or a file that holds a hexadecimal key."""
    from goldengrain.accounts import AccountStore, decode_private_key, read_password

    store = AccountStore(home)
    content = file.read_bytes()
    phrase = read_password(password, f"Password for {name}: ")
    if content.lstrip().startswith(b"{"):
        made = store.import_keystore(name, content, phrase)
    else:
        made = store.import_key(name, decode_private_key(content.decode(errors="replace")), phrase)
    out.result({"name": name, "address": made.checksum}, f"{name}: {made.checksum}")


@account.command("list")
@with_home
@with_output
def list_(out: Output, home: Home) -> None:
    """Show the accounts of this machine."""
    from goldengrain.accounts import AccountStore

    rows = [{"name": each.name, "address": to_checksum(each.address)} for each in AccountStore(home).list()]

    def human(console: Any) -> None:
        if not rows:
            console.print("no accounts; make one with: gg account create NAME")
        for row in rows:
            console.print(f"{row['name']:<20} {row['address']}", highlight=False)

    out.result({"accounts": rows}, human)
