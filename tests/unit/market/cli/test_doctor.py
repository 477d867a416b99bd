"""`gg doctor`: real probes on this machine, and what they say where something is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from goldengrain.cli import doctor
from goldengrain.cli.doctor import Finding, examine
from goldengrain.cli.main import run
from goldengrain.cli.output import ExitCode
from goldengrain.home import Home

SCRIPT = "#!/bin/sh\n"


def program(path: Path, text: str) -> Path:
    path.write_text(SCRIPT + text)
    path.chmod(0o755)
    return path


def test_report_is_one_json_document_with_every_probe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(["doctor", "--json", "--quiet", "--home", str(tmp_path)])
    report = json.loads(capsys.readouterr().out)
    assert code == (ExitCode.OK if report["ready"] else ExitCode.NEGATIVE)
    names = [finding["name"] for finding in report["findings"]]
    assert names[:8] == ["python", "anvil", "node", "sandbox", "landlock", "seccomp", "aes", "enclave"]
    for finding in report["findings"]:
        assert finding["status"] in ("ok", "warn", "fail")
        assert finding["found"]
        if finding["status"] != "ok":
            assert finding["advice"], finding["name"]


def test_missing_requirement_makes_the_verdict_negative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GG_ANVIL", str(tmp_path / "nowhere"))
    assert run(["doctor", "--quiet", "--home", str(tmp_path)]) == ExitCode.NEGATIVE
    shown = capsys.readouterr().out
    assert "make setup fetches it" in shown
    assert "not ready" in shown


def test_anvil_of_another_version_is_only_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GG_ANVIL", str(program(tmp_path / "anvil", "echo 'anvil Version: 0.2.0-stable'")))
    finding = doctor.probe_anvil()
    assert (finding.status, finding.found.split()[0]) == ("warn", "0.2.0-stable")


def test_anvil_that_does_not_start_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GG_ANVIL", str(program(tmp_path / "anvil", "echo 'bad processor' >&2; exit 3")))
    finding = doctor.probe_anvil()
    assert finding.status == "fail"
    assert "bad processor" in finding.found


def test_sandbox_that_does_not_start_comes_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "bwrap", "echo 'Creating new namespace failed: Operation not permitted' >&2; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path))
    finding = doctor.probe_bubblewrap()
    assert finding.status == "fail"
    assert "Operation not permitted" in finding.found
    assert "user namespaces" in finding.advice


def test_enclave_interpreter_that_lacks_the_enclave_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "GG_ENCLAVE_PYTHON", str(program(tmp_path / "python", "echo 'ModuleNotFoundError: x' >&2; exit 1"))
    )
    finding = doctor.probe_enclave()
    assert finding.status == "fail"
    assert "ModuleNotFoundError" in finding.found


def test_network_without_an_address_book_names_the_next_command(tmp_path: Path) -> None:
    finding = doctor.probe_network(Home(tmp_path), "nowhere")
    assert finding.status == "warn"
    assert "gg " in finding.advice


def test_probe_that_breaks_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Finding:
        raise OSError("no such kernel")

    monkeypatch.setattr(doctor, "probe_landlock", broken)
    findings = {finding.name: finding for finding in examine(Home(tmp_path), "devnet")}
    assert findings["landlock"].status == "fail"
    assert "no such kernel" in findings["landlock"].found
    assert findings["aes"].status in ("ok", "warn")
