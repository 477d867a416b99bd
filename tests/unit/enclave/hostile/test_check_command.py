"""`gg model check`: same gate, same sandbox, an answer in time and within memory whatever the file is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from goldengrain.cli.main import main
from goldengrain.host.model_check import check_model
from goldengrain_protocol.errors import InvalidInput
from tests.unit.enclave.hostile import corpus
from tests.unit.enclave.world import DIGITS_SPEC

SPEC = DIGITS_SPEC.encode()
STATED_SLACK_S, STATED_SLACK_BYTES = 2.0, 200 * 10**6
MEMORY_BYTES = 2**28
BUSY_S = 3.0
"""What starting the command itself may take more on a machine that does other things."""


def built(name: str) -> bytes:
    return next(case for case in corpus.cases() if case.name == name).build()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(corpus.honest().SerializeToString())
    return path


def command(*arguments: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "goldengrain.cli.main", "model", "check", *arguments, "--json"],
        capture_output=True,
        check=False,
        timeout=60,
    )
    return done.returncode, json.loads(done.stdout)


def test_honest_model_is_accepted_with_its_figures(model: Path) -> None:
    report = check_model(model, SPEC)
    assert (report.verdict, report.reason) == ("accepted", "")
    assert (report.ops, report.parameters, report.estimated_macs) == (3, 640, 640)
    assert report.peak_memory_bytes is not None
    assert 0 < report.peak_memory_bytes < 2**28


def test_without_a_spec_the_model_is_gated_and_loaded(tmp_path: Path, model: Path) -> None:
    assert check_model(model, None).accepted
    model.write_bytes(built("value_that_nothing_makes"))
    assert "cannot load" in check_model(model, None).reason
    model.write_bytes(built("not_a_number"))  # shows only when it runs
    assert check_model(model, None).accepted


@pytest.mark.parametrize(
    "name", ["endless_loop", "other_input_name", "not_a_number", "answer_from_the_batch"]
)
def test_reasons_are_those_of_the_gate_and_the_sandbox(model: Path, name: str) -> None:
    case = next(case for case in corpus.cases() if case.name == name)
    model.write_bytes(case.build())
    report = check_model(model, SPEC)
    assert not report.accepted
    assert case.words in report.reason
    assert report.next_step


def test_refusal_in_json_and_exit_codes(tmp_path: Path, model: Path) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_bytes(SPEC)
    code, document = command(str(model), "--spec", str(spec))
    assert (code, document["verdict"], document["reason"]) == (0, "accepted", "")
    assert set(document) == {
        *("verdict", "reason", "next_step", "ops", "parameters", "estimated_macs", "peak_memory_bytes"),
    }
    model.write_bytes(built("tree_cycle_to_its_root"))
    code, document = command(str(model), "--spec", str(spec))
    assert (code, document["verdict"]) == (1, "refused")
    assert "node 'forest'" in document["reason"]


@pytest.mark.parametrize("name", ["compute_bomb_at_run", "compute_bomb_at_load", "million_nodes"])
def test_no_file_takes_longer_than_the_limit(model: Path, name: str) -> None:
    model.write_bytes(built(name))
    start = time.monotonic()
    report = check_model(model, SPEC, limit_s=3)
    assert not report.accepted
    assert time.monotonic() - start < 3 + STATED_SLACK_S


def test_limit_of_the_command_holds_from_the_outside(tmp_path: Path, model: Path) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_bytes(SPEC)
    model.write_bytes(built("compute_bomb_at_run"))
    start = time.monotonic()
    code, document = command(str(model), "--spec", str(spec), "--limit", "2")
    assert (code, document["verdict"]) == (1, "refused")
    assert time.monotonic() - start < 2 + STATED_SLACK_S + BUSY_S


def test_no_file_takes_more_memory_than_its_limit(tmp_path: Path, model: Path) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_bytes(SPEC)
    assert f"memory_bytes = {MEMORY_BYTES}" in DIGITS_SPEC
    model.write_bytes(corpus.memory_held_at_run())
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "goldengrain.cli.main",
            "model",
            "check",
            str(model),
            "--spec",
            str(spec),
            "--json",
        ],
        stdout=subprocess.PIPE,
    )
    peak = 0
    while process.poll() is None:
        peak = max(peak, resident_bytes(process.pid))
        time.sleep(0.02)
    assert process.stdout is not None
    document = json.loads(process.stdout.read())
    process.stdout.close()
    assert (document["verdict"], "memory" in document["reason"]) == ("refused", True), document
    assert MEMORY_BYTES / 2 < peak < MEMORY_BYTES + STATED_SLACK_BYTES


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        assert "not a regular file" in check_model(path, SPEC).reason
    with pytest.raises(InvalidInput, match="cannot be read"):
        check_model(tmp_path / "absent", SPEC)


def test_large_file_is_refused_unread(model: Path) -> None:
    with model.open("ab") as file:
        file.truncate(2**40)  # sparse
    assert "at most 1,000,000 are taken" in check_model(model, SPEC).reason


def test_two_specs_are_one_too_many(tmp_path: Path, model: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["model", "check", str(model), "--spec", str(model), "--benchmark", "0x" + "00" * 32])
    assert ended.value.code == 2


def resident_bytes(pid: int) -> int:
    """Resident memory of a process and its descendants."""
    total, family = 0, [pid]
    while family:
        current = family.pop()
        try:
            total += int(Path(f"/proc/{current}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            for thread in Path(f"/proc/{current}/task").iterdir():
                family += map(int, (thread / "children").read_text().split())
        except OSError:
            continue  # it ended meanwhile
    return total
