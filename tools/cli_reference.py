"""The command line as a document: docs/cli.md, written from the same help texts that `gg --help` shows."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Final

import click

WIDTH: Final = 100

VARIABLES: Final = {
    "GG_HOME": "where accounts, networks and blobs live (default `~/.goldengrain`)",
    "GG_NETWORK": "the network to use, by the name of its address book (default `devnet`)",
    "GG_ACCOUNT": "the account that acts",
    "GG_PASSWORD_FILE": "a file that holds the password of that account",
    "GG_WORKER": "the workers to ask for offers, by their addresses",
    "GG_ANVIL": "the development chain's program (default: what `make setup` fetched, else from `PATH`)",
    "GG_ENCLAVE_PYTHON": "the enclave's interpreter (default: `.venv-enclave` beside this environment)",
    "GG_ENCLAVE_COMMAND": "what starts or reaches an enclave on `tdx`, `dstack` or `gramine`, by stdin and stdout",
    "GG_DEBUG": "`1` shows where an unexpected error came from",
}

OPENING: Final = """\
# The command line

<!-- Written by `python tools/check_docs.py --write` from the help texts; change those. -->

`gg`, then a noun, then a verb. Every command takes `--help`, and every command takes `--json`: then exactly
one JSON document goes to stdout, everything else to stderr, and nothing is ever asked. Amounts are integers
in the smallest unit, bytes are `0x` hex.

## Exit codes

| Code | Meaning |
|---|---|
{codes}

An error says which condition is not met and what to do next. With `--json` it is the document:

```json
{{"error": {{"category": "...", "message": "...", "next_step": "..."}}}}
```

`category` is `usage` (exit code 2), `invalid` (3), `verification` (1), `unavailable` (4), `internal` (5) or
`interrupted` (130).

## Environment

| Variable | Meaning |
|---|---|
{variables}

## Commands
"""


def root_command() -> click.Group:
    """Return the click group behind `gg`."""
    from goldengrain.cli.main import cli

    return cli


def walk(command: click.Command, parent: click.Context | None, name: str) -> Iterator[click.Context]:
    """Yield a context for the command and for every command below it, in the order of the help."""
    settings = {**command.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}
    context = click.Context(command, parent=parent, info_name=name, **settings)
    yield context
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            if found is not None and not found.hidden:
                yield from walk(found, context, below)


def render(root: click.Group) -> str:
    """Return the text of docs/cli.md."""
    from goldengrain.cli.output import EXIT_CODES

    codes = "\n".join(f"| {code.value} | {meaning} |" for code, meaning in EXIT_CODES.items())
    variables = "\n".join(f"| `{name}` | {meaning} |" for name, meaning in VARIABLES.items())
    parts = [OPENING.format(codes=codes, variables=variables)]
    for context in walk(root, None, "gg"):
        depth = "###" if context.command_path.count(" ") < 2 else "####"
        parts.append(f"{depth} {context.command_path}\n\n```text\n{_help(context)}\n```\n")
    return "\n".join(parts)


def _help(context: click.Context) -> str:
    text = inspect.cleandoc(context.get_help())
    return "\n".join(line.rstrip() for line in text.splitlines()).strip()
