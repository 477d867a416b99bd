"""Groups of commands: nouns that are imported only when used, and suggestions for what was mistyped."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click


@dataclass(frozen=True, slots=True)
class Noun:
    """A command of `gg` by where it lives: a module with a click command named `command`."""

    module: str
    summary: str


class NounGroup(click.Group):
    """A group that lists its verbs in the order in which they were added and suggests the nearest one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            near = difflib.get_close_matches(name, self.list_commands(ctx), n=1, cutoff=0.5)
            advice = f" Did you mean {ctx.command_path} {near[0]}?" if near else ""
            raise click.UsageError(f"No such command {name!r}.{advice}", ctx)
        return super().resolve_command(ctx, args)


class LazyGroup(NounGroup):
    """The root group: it knows every noun and its summary, and imports a noun's module when it is called.

    Importing the chain client alone takes more than a second; `gg --help` must not.
    """

    def __init__(self, *args: Any, nouns: Mapping[str, Noun], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.nouns = nouns

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [
            name for name, noun in self.nouns.items() if importlib.util.find_spec(noun.module) is not None
        ]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        noun = self.nouns.get(cmd_name)
        if noun is None or importlib.util.find_spec(noun.module) is None:
            return None
        command = importlib.import_module(noun.module).command
        if not isinstance(command, click.Command):
            raise TypeError(f"{noun.module}.command is no click command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, self.nouns[name].summary) for name in self.list_commands(ctx)]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)
