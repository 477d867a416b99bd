"""The root group of `gg`: its nouns are imported only when they are used."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click


@dataclass(frozen=True, slots=True)
class Noun:
    """A command of `gg` by where it lives: a module that holds a click command of the module's own name."""

    module: str
    summary: str


class LazyGroup(click.Group):
    """Knows every noun and its summary, and imports a noun's module when it is called.

    Importing the chain client alone takes more than a second; `gg --help` must not.
    """

    def __init__(self, *args: Any, nouns: Mapping[str, Noun], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.nouns = dict(nouns)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [
            name for name, noun in self.nouns.items() if importlib.util.find_spec(noun.module) is not None
        ]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        noun = self.nouns.get(cmd_name)
        if noun is None or importlib.util.find_spec(noun.module) is None:
            return None
        command = getattr(importlib.import_module(noun.module), noun.module.rpartition(".")[2], None)
        if not isinstance(command, click.Command):
            raise TypeError(f"{noun.module} holds no click command of its own name")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as exc:
            raise click.exceptions.NoSuchCommand(
                exc.command_name, possibilities=self.list_commands(ctx), ctx=ctx
            ) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, self.nouns[name].summary) for name in self.list_commands(ctx)]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)
