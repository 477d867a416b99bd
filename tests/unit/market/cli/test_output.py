"""The sink: one JSON document, notes elsewhere, nothing asked where nobody can answer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import pytest

from goldengrain.cli.output import EXIT_CODES, ExitCode, Output, classify, plain
from goldengrain_protocol.errors import GoldenGrainError, InvalidInput, UnavailableError, VerificationError


class Colour(IntEnum):
    DARK_RED = 7


@dataclass(frozen=True)
class Sample:
    colour: Colour
    digest: bytes


def test_json_mode_prints_one_document_and_keeps_notes_off_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output(json_mode=True)
    out.note("working")
    with out.progress("counting", total=2) as meter:
        meter.update(1)
    out.result({"price": 10**18, "sample": Sample(Colour.DARK_RED, b"\x01\xff")}, "for people")
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {
        "price": 10**18,
        "sample": {"colour": "dark_red", "digest": "0x01ff"},
    }
    assert "working" in captured.err
    assert "for people" not in captured.out + captured.err


def test_human_mode_prints_the_human_form_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    Output().result({"a": 1}, lambda console: console.print("forty-two"))
    captured = capsys.readouterr()
    assert captured.out == "forty-two\n"
    assert captured.err == ""


def test_human_mode_shows_data_where_no_human_form_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    Output().result({"name": "[bold]x", "open": True, "orders": [{"id": 1}], "none": None})
    assert capsys.readouterr().out.splitlines() == [
        "name: [bold]x",
        "open: yes",
        "orders:",
        "  id: 1",
        "",
        "none: -",
    ]


def test_long_ids_are_not_broken_over_lines(capsys: pytest.CaptureFixture[str]) -> None:
    identity = "0x" + "ab" * 200
    Output().result({"id": identity})
    assert capsys.readouterr().out == f"id: {identity}\n"


def test_second_result_is_a_defect(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output(json_mode=True)
    out.result({})
    with pytest.raises(RuntimeError, match="one result"):
        out.result({})


def test_error_after_a_result_goes_to_stderr_so_that_stdout_stays_one_document(
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = Output(json_mode=True)
    out.result({"done": True})
    out.error("unavailable", "the node is gone", "try again")
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"done": True}
    assert captured.err.splitlines() == ["error: the node is gone", "next: try again"]


def test_quiet_mode_says_nothing_but_result_and_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output(quiet=True)
    out.note("working")
    with out.progress("counting", total=2) as meter:
        meter.update(1)
    out.warn("low on disk")
    out.result("done", "done")
    captured = capsys.readouterr()
    assert captured.out == "done\n"
    assert captured.err == "warning: low on disk\n"


def test_progress_without_a_terminal_is_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("goldengrain.cli.output.LINE_EVERY_S", 0.0)
    with Output().progress("fetching", total=4_000_000, unit="bytes") as meter:
        meter.update(1_000_000)
        meter.update(4_000_000, "checking")
    lines = capsys.readouterr().err.splitlines()
    assert lines[:3] == ["fetching ...", "fetching ... 25%", "checking ... 100%"]
    assert lines[3].startswith("checking: done in ")


def test_progress_does_not_claim_to_be_done_after_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="broken"), Output().progress("fetching"):
        raise ValueError("broken")
    assert capsys.readouterr().err == "fetching ...\n"


@pytest.mark.parametrize("json_mode", [True, False])
def test_nothing_is_asked_where_nobody_can_answer(
    *, json_mode: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", open("/dev/null"))  # noqa: SIM115 - closed with the process
    out = Output(json_mode=json_mode)
    with pytest.raises(InvalidInput, match="password is needed") as refusal:
        out.ask_secret("password: ")
    assert "--password-file" in refusal.value.next_step
    with pytest.raises(InvalidInput, match="consent"):
        out.confirm("really?")
    assert out.confirm("really?", assume_yes=True)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (InvalidInput("x"), ("invalid", ExitCode.INVALID)),
        (VerificationError("x"), ("verification", ExitCode.NEGATIVE)),
        (UnavailableError("x"), ("unavailable", ExitCode.UNAVAILABLE)),
        (GoldenGrainError("x"), ("internal", ExitCode.INTERNAL)),
    ],
)
def test_every_kind_of_error_has_its_category_and_code(
    error: GoldenGrainError, expected: tuple[str, ExitCode]
) -> None:
    assert classify(error) == expected


def test_every_exit_code_is_explained() -> None:
    assert set(EXIT_CODES) == set(ExitCode)


def test_plain_refuses_what_json_does_not_know() -> None:
    assert plain({"path": Path("/x"), "pair": (1, 2.5)}) == {"path": "/x", "pair": [1, 2.5]}
    with pytest.raises(TypeError, match="object"):
        plain(object())
