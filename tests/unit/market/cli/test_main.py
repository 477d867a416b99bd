"""`gg` as a whole: startup, unknown words, and how errors become messages and exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest

from goldengrain.cli import main as main_module
from goldengrain.cli.groups import Noun
from goldengrain.cli.main import NOUNS, cli, run
from goldengrain.cli.options import with_account, with_home, with_network, with_output
from goldengrain.cli.output import EXIT_CODES, ExitCode, Output
from goldengrain_protocol.errors import InvalidInput, UnavailableError, VerificationError

Register = Callable[[click.Command], None]


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Register:
    """Add a command `probe` to `gg` for one test."""

    def add(command: click.Command) -> None:
        module = ModuleType("goldengrain_test_probe")
        module.__spec__ = main_module.__spec__
        module.goldengrain_test_probe = command  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "goldengrain_test_probe", module)
        monkeypatch.setitem(cli.nouns, "probe", Noun("goldengrain_test_probe", "For a test."))

    return add


def raising(error: BaseException) -> click.Command:
    @click.command()
    @with_output
    def probe(out: Output) -> None:
        raise error

    return probe


def test_help_names_exit_codes_and_is_quick() -> None:
    # Quick because nothing heavy is imported: told by the modules, not by the clock.
    script = (
        "import sys; from goldengrain.cli.main import run; run(['--help']); "
        "heavy = {'web3', 'rich', 'requests', 'numpy', 'onnxruntime', 'eth_account', 'cryptography'};"
        "sys.exit(f'imported: {heavy & set(sys.modules)}' if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for code, meaning in EXIT_CODES.items():
        assert str(code.value) in done.stdout
        assert meaning in done.stdout


def test_noun_without_a_module_is_left_out_of_the_help_and_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(cli.nouns, "absent", Noun("goldengrain.cli.no_such_module", "Not here."))
    assert run(["--help"]) == ExitCode.OK
    assert "absent" not in capsys.readouterr().out
    assert run(["absent"]) == ExitCode.USAGE


@pytest.mark.parametrize("name", list(NOUNS))
def test_every_noun_that_is_there_shows_its_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    context = click.Context(cli)
    if name in cli.list_commands(context):
        assert run([name, "--help"]) == ExitCode.OK
        assert "Usage: gg" in capsys.readouterr().out


def test_every_command_takes_json() -> None:
    def walk(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                found = command.get_command(context, name)
                assert found is not None
                yield from walk(found, f"{path} {name}")
        else:
            yield path, command

    without = [
        path for path, command in walk(cli, "gg") if not any("--json" in part.opts for part in command.params)
    ]
    assert without == []


def test_unknown_noun_suggests_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["docter"]) == ExitCode.USAGE
    assert "Did you mean 'doctor'?" in capsys.readouterr().err


def test_unknown_verb_suggests_the_nearest(register: Register, capsys: pytest.CaptureFixture[str]) -> None:
    group = click.Group("probe")
    group.add_command(click.Command("submit"))
    register(group)
    assert run(["probe", "sumbit"]) == ExitCode.USAGE
    assert "Did you mean 'submit'?" in capsys.readouterr().err


def test_usage_error_in_json_mode_is_a_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--json", "--no-such-option"]) == ExitCode.USAGE
    captured = capsys.readouterr()
    assert json.loads(captured.out)["error"]["category"] == "usage"
    assert captured.err == ""


@pytest.mark.parametrize(
    ("error", "category", "code"),
    [
        (InvalidInput("it is bad", next_step="make it good"), "invalid", ExitCode.INVALID),
        (VerificationError("it is bad", next_step="make it good"), "verification", ExitCode.NEGATIVE),
        (UnavailableError("it is bad", next_step="make it good"), "unavailable", ExitCode.UNAVAILABLE),
    ],
)
def test_errors_name_condition_and_next_step(
    register: Register,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    category: str,
    code: ExitCode,
) -> None:
    register(raising(error))
    assert run(["probe"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == ["error: it is bad", "next: make it good"]
    assert run(["probe", "--json"]) == code
    document = json.loads(capsys.readouterr().out)
    assert document == {"error": {"category": category, "message": "it is bad", "next_step": "make it good"}}


def test_ctrl_c_says_that_the_command_can_be_run_again(
    register: Register, capsys: pytest.CaptureFixture[str]
) -> None:
    register(raising(KeyboardInterrupt()))
    assert run(["probe"]) == ExitCode.INTERRUPTED
    captured = capsys.readouterr()
    assert "run the same command again" in captured.err
    assert "Traceback" not in captured.err


def test_unexpected_error_is_one_line_and_a_traceback_only_on_demand(
    register: Register, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GG_DEBUG", raising=False)
    register(raising(ZeroDivisionError("division\nby zero")))
    assert run(["probe"]) == ExitCode.INTERNAL
    plain_error = capsys.readouterr().err
    assert plain_error.startswith("error: unexpected ZeroDivisionError: division by zero\n")
    assert "Traceback" not in plain_error
    assert run(["probe", "--debug"]) == ExitCode.INTERNAL
    assert "Traceback" in capsys.readouterr().err
    monkeypatch.setenv("GG_DEBUG", "1")
    assert run(["probe"]) == ExitCode.INTERNAL
    assert "Traceback" in capsys.readouterr().err


def test_negative_verdict_is_an_exit_code_that_a_command_returns(
    register: Register, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    @with_output
    def probe(out: Output) -> ExitCode:
        out.result({"verdict": False})
        return ExitCode.NEGATIVE

    register(probe)
    assert run(["probe", "--json"]) == ExitCode.NEGATIVE
    assert json.loads(capsys.readouterr().out) == {"verdict": False}


def test_command_without_a_result_still_answers_in_json(
    register: Register, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    @with_output
    def probe(out: Output) -> None:
        out.note("done")

    register(probe)
    assert run(["probe", "--json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out) == {}


def test_shared_options_come_from_the_environment_too(
    register: Register, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    @click.command()
    @with_output
    @with_home
    @with_network
    @with_account
    def probe(**given: Any) -> None:
        seen.update(given)

    register(probe)
    password = tmp_path / "password"
    password.write_text("x")
    monkeypatch.setenv("GG_HOME", str(tmp_path))
    monkeypatch.setenv("GG_NETWORK", "sepolia")
    monkeypatch.setenv("GG_ACCOUNT", "alice")
    monkeypatch.setenv("GG_PASSWORD_FILE", str(password))
    assert run(["probe"]) == ExitCode.OK
    assert (seen["home"].root, seen["network"], seen["account"]) == (tmp_path, "sepolia", "alice")
    assert seen["password"] == password
    assert run(["probe", "--account", "bob", "--network", "devnet"]) == ExitCode.OK
    assert (seen["network"], seen["account"]) == ("devnet", "bob")
    monkeypatch.delenv("GG_PASSWORD_FILE")
    assert run(["probe", "--account", "bob"]) == ExitCode.OK
    assert callable(seen["password"])
