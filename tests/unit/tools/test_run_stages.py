"""The stages of `make test`: nothing passes by being empty, and the last line counts everything."""

from __future__ import annotations

from pathlib import Path

import pytest
import run_stages
from run_stages import Outcome, Suite, read_counts, run_checks, run_suite, summary

GOOD = {"passed": 3, "failed": 0, "errors": 0, "skipped": 1}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(run_stages, "ROOT", tmp_path)
    monkeypatch.setattr(run_stages, "BUILD", tmp_path)
    (tmp_path / "tests" / "unit").mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    return tmp_path


def test_folder_without_tests_is_a_failure(tree: Path) -> None:
    outcome = run_suite(Suite("unit"), "default")
    assert (outcome.good, outcome.verdict) == (False, "has no tests")


def test_file_without_tests_is_a_failure(tree: Path) -> None:
    (tree / "tests" / "unit" / "test_nothing.py").write_text("x = 1\n")
    outcome = run_suite(Suite("unit", workers=0), "default")
    assert (outcome.good, outcome.verdict) == (False, "has no tests")


@pytest.mark.slow
@pytest.mark.parametrize(("result", "verdict"), [("True", "passed"), ("False", "failed")])
def test_suite_is_run_and_counted(tree: Path, result: str, verdict: str) -> None:
    (tree / "tests" / "unit" / "test_one.py").write_text(f"def test_one(): assert {result}\n")
    outcome = run_suite(Suite("unit", workers=0), "default")
    assert outcome.verdict == verdict
    assert sum(outcome.counts.values()) == 1


def test_checks_go_on_after_one_has_failed(capfd: pytest.CaptureFixture[str]) -> None:
    outcome = run_checks(
        (("python", "-c", "import sys; print('why'); sys.exit(1)"), ("python", "-c", "pass"))
    )
    assert not outcome.good
    shown = capfd.readouterr().out
    assert "why" in shown
    assert "ok   python -c pass" in shown


def test_summary_ends_with_the_count_of_all_tests() -> None:
    text, well = summary(
        [Outcome("check"), Outcome("unit", counts=GOOD, seconds=2), Outcome("e2e", counts=GOOD)]
    )
    assert well
    assert text.splitlines()[-1] == "===== 6 passed, 2 skipped in 2.00s ====="


def test_summary_is_not_well_if_one_stage_is_not() -> None:
    text, well = summary([Outcome("unit", counts=GOOD), Outcome("e2e", verdict="has no tests")])
    assert not well
    assert "FAILED: stage e2e has no tests" in text


def test_summary_is_not_well_if_nothing_was_run() -> None:
    skipped = {"passed": 0, "failed": 0, "errors": 0, "skipped": 4}
    assert summary([Outcome("unit", counts=skipped)])[1] is False


def test_counts_are_read_from_the_report(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text('<testsuites><testsuite tests="9" failures="2" errors="1" skipped="1"/></testsuites>')
    assert read_counts(report) == {"passed": 5, "failed": 2, "errors": 1, "skipped": 1}
