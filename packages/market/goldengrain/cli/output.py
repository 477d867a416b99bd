"""The one place where the command line writes: results, notes, progress and errors.

Three modes. Human: results as text and tables on stdout, everything else on stderr. JSON: exactly one
document on stdout (the result, or the error), everything else on stderr, and never a question. Quiet: results
and errors only. A command says what happened and leaves to this module how it looks.
"""

from __future__ import annotations

import dataclasses
import getpass
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum, IntEnum
from functools import cached_property
from pathlib import PurePath
from typing import IO, TYPE_CHECKING, Any, Final, Protocol

from goldengrain_protocol.errors import GoldenGrainError, InvalidInput, UnavailableError, VerificationError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

TABLE_COLUMNS: Final = 132
"""Least width of tables: a narrow terminal breaks their lines, which is better than ids and states cut short."""

LINE_EVERY_S: Final = 5.0
"""Seconds between two progress lines where there is no terminal to draw a bar on."""


class ExitCode(IntEnum):
    """What the exit code of every command means; documented in docs/cli.md."""

    OK = 0
    NEGATIVE = 1
    USAGE = 2
    INVALID = 3
    UNAVAILABLE = 4
    INTERNAL = 5
    INTERRUPTED = 130


EXIT_CODES: Final[Mapping[ExitCode, str]] = {
    ExitCode.OK: "done",
    ExitCode.NEGATIVE: "the answer is no: something was checked and is not so",
    ExitCode.USAGE: "the command line is not understood",
    ExitCode.INVALID: "a file, a value or the state of things does not allow it",
    ExitCode.UNAVAILABLE: "a node, a store or a worker does not answer; the same command may work later",
    ExitCode.INTERNAL: "an error in this program",
    ExitCode.INTERRUPTED: "stopped by Ctrl-C; the same command continues",
}

_CATEGORIES: Final[tuple[tuple[type[GoldenGrainError], str, ExitCode], ...]] = (
    (InvalidInput, "invalid", ExitCode.INVALID),
    (VerificationError, "verification", ExitCode.NEGATIVE),
    (UnavailableError, "unavailable", ExitCode.UNAVAILABLE),
)


def classify(error: GoldenGrainError) -> tuple[str, ExitCode]:
    """Return the category word of an error and the exit code that goes with it."""
    for kind, category, code in _CATEGORIES:
        if isinstance(error, kind):
            return category, code
    return "internal", ExitCode.INTERNAL


class Meter(Protocol):
    """What `Output.progress` gives: say how much is done so far."""

    def update(self, done: float, label: str | None = None) -> None:
        """Set what is done (out of the total), and a new label if given."""


class Output:
    """The sink of one command. Streams are looked up when used, so that they can be replaced around it."""

    def __init__(self, *, json_mode: bool = False, quiet: bool = False, debug: bool = False) -> None:
        self.json_mode = json_mode
        self.quiet = quiet
        self.debug = debug
        self._answered = False
        self._bars: Progress | None = None
        self._open_bars = 0

    @property
    def answered(self) -> bool:
        """True once a result or an error has been written."""
        return self._answered

    @cached_property
    def console(self) -> Console:
        """The rich console on stdout, for the human form of results."""
        return _console(sys.stdout, least_columns=TABLE_COLUMNS)

    @cached_property
    def error_console(self) -> Console:
        """The rich console on stderr; lines written to it stay above running progress bars."""
        return _console(sys.stderr)

    def result(self, data: Any, human: Callable[[Console], None] | str | None = None) -> None:
        """Write the result of the command, once.

        Args:
            data: what JSON mode prints: dicts, lists, numbers, strings, and also bytes (as 0x hex), paths,
                dataclasses, and enums (as their names in lower case).
            human: prints the same to the console it is given, or is the text itself; without it `data` is
                shown as `name: value` lines.
        """
        if self._answered:
            raise RuntimeError("a command has one result")
        self._answered = True
        if self.json_mode:
            sys.stdout.write(json.dumps(plain(data), indent=2, ensure_ascii=False) + "\n")
            sys.stdout.flush()
        elif callable(human):
            human(self.console)
        elif human is not None:
            self.console.print(human, markup=False, highlight=False, soft_wrap=True)
        else:
            for line in _lines(plain(data)):
                self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """Tell what is going on, on stderr; nothing in quiet mode."""
        if not self.quiet:
            self.error_console.print(text, markup=False, highlight=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """Tell what the user should know although the command goes on, on stderr, also in quiet mode."""
        self.error_console.print(
            f"warning: {text}", style="yellow", markup=False, highlight=False, soft_wrap=True
        )

    def error(self, category: str, message: str, next_step: str = "") -> None:
        """Write an error: as the JSON document if there is none yet, else as lines on stderr."""
        if self.json_mode and not self._answered:
            self._answered = True
            document = {"error": {"category": category, "message": message, "next_step": next_step}}
            sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
            sys.stdout.flush()
            return
        console = self.error_console
        console.print(f"error: {message}", style="bold red", markup=False, highlight=False, soft_wrap=True)
        if next_step:
            console.print(f"next: {next_step}", markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def progress(self, label: str, total: float | None = None, *, unit: str = "") -> Iterator[Meter]:
        """Show that something long is under way: a bar on a terminal, now and then a line elsewhere.

        Args:
            total: what counts as all of it; None if that is not known.
            unit: "bytes" for sizes and speeds; otherwise a word, or nothing.
        """
        if self.quiet:
            yield _Silent()
        elif self.error_console.is_terminal:
            with self._bar(label, total, unit) as meter:
                yield meter
        else:
            meter = _Lines(self, label, total, unit)
            yield meter
            meter.finish()

    def ask_secret(self, prompt: str) -> str:
        """Ask for a password without showing it.

        Raises:
            InvalidInput: JSON mode, or nobody to ask.
        """
        self._require_person("a password is needed", "pass --password-file FILE (or set GG_PASSWORD_FILE)")
        return getpass.getpass(prompt)

    def confirm(self, question: str, *, assume_yes: bool = False) -> bool:
        """Ask a yes-no question on the terminal; `assume_yes` (from --yes) answers it.

        Raises:
            InvalidInput: JSON mode, or nobody to ask.
        """
        if assume_yes:
            return True
        self._require_person("this needs your consent", "look at what it does, then pass --yes")
        sys.stderr.write(f"{question} [y/N] ")
        sys.stderr.flush()
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def _require_person(self, message: str, next_step: str) -> None:
        if self.json_mode or not sys.stdin.isatty():
            raise InvalidInput(f"{message}, and there is nobody to ask", next_step=next_step)

    @contextmanager
    def _bar(self, label: str, total: float | None, unit: str) -> Iterator[Meter]:
        if self._bars is None:
            self._bars = _make_bars(self.error_console)
        if self._open_bars == 0:
            self._bars.start()
        self._open_bars += 1
        task = self._bars.add_task(label, total=total, unit=unit)
        try:
            yield _Bar(self._bars, task)
            if total is None:
                self._bars.update(task, total=1, completed=1)
        finally:
            self._bars.stop_task(task)
            self._open_bars -= 1
            if self._open_bars == 0:
                self._bars.stop()
                self._bars = None


class _Silent:
    def update(self, done: float, label: str | None = None) -> None:
        pass


class _Bar:
    def __init__(self, bars: Progress, task: TaskID) -> None:
        self._bars = bars
        self._task = task

    def update(self, done: float, label: str | None = None) -> None:
        self._bars.update(self._task, completed=done, description=label)


class _Lines:
    """Progress for logs: a line at the start, one every few seconds, one at the end."""

    def __init__(self, output: Output, label: str, total: float | None, unit: str) -> None:
        self._output = output
        self._label = label
        self._total = total
        self._unit = unit
        self._begun = self._last = time.monotonic()
        output.note(f"{label} ...")

    def update(self, done: float, label: str | None = None) -> None:
        self._label = label or self._label
        now = time.monotonic()
        if now - self._last >= LINE_EVERY_S:
            self._last = now
            share = f" {done / self._total:.0%}" if self._total else ""
            amount = f" {done / 1e6:.1f} MB" if self._unit == "bytes" else f" {done:g} {self._unit}".rstrip()
            self._output.note(f"{self._label} ...{share or amount}")

    def finish(self) -> None:
        self._output.note(f"{self._label}: done in {time.monotonic() - self._begun:.1f} s")


def plain(value: Any) -> Any:
    """Return `value` as what JSON knows; bytes become 0x hex, enums their names in lower case."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, Enum):
        return value.name.lower()
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return "0x" + bytes(value).hex()
    if isinstance(value, PurePath):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {plain(key) if not isinstance(key, str) else key: plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(entry) for entry in value]
    raise TypeError(f"no JSON form for {type(value).__name__}")


def _lines(data: Any, indent: str = "") -> Iterator[str]:
    if isinstance(data, dict):
        for key, value in data.items():
            if isinstance(value, (dict, list)) and value:
                yield f"{indent}{key}:"
                yield from _lines(value, indent + "  ")
            else:
                yield f"{indent}{key}: {_word(value)}"
    elif isinstance(data, list):
        for value in data:
            if isinstance(value, (dict, list)):
                yield from _lines(value, indent)
                yield ""
            else:
                yield f"{indent}{_word(value)}"
    else:
        yield f"{indent}{_word(data)}"


def _word(value: Any) -> str:
    if value is None or value == [] or value == {}:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _console(stream: IO[str], *, least_columns: int = 0) -> Console:
    from rich.console import Console

    # Without a terminal rich would wrap at 80 columns and tear ids apart.
    columns = 160 if not os.environ.get("COLUMNS") and not stream.isatty() else Console(file=stream).width
    return Console(file=stream, width=max(columns, least_columns))


def _make_bars(console: Console) -> Progress:
    from rich.progress import (
        BarColumn,
        Progress,
        SpinnerColumn,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=console, transient=False)
