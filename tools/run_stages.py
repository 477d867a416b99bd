"""Run the checks and the test suites one stage after the other, quick ones first, and sum up at the end.

    python tools/run_stages.py               what `make test` runs
    python tools/run_stages.py --only check  one stage, or several separated by commas
    python tools/run_stages.py --long        what `make fuzz` runs: property and stateful tests, long profile

A failing stage does not stop the next one. The exit code is 0 only if every stage ran, had something to
run, and passed. The last line counts all tests in pytest's own words.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
BUILD: Final = ROOT / "build" / "tests"
BIN: Final = Path(sys.executable).parent
PYTEST_FOUND_NOTHING: Final = 5

SOURCES: Final = (
    "packages/protocol/goldengrain_protocol",
    "packages/enclave/goldengrain_enclave",
    "packages/market/goldengrain",
)
CHECKS: Final[tuple[tuple[str, ...], ...]] = (
    ("ruff", "check", "--quiet", "--output-format=concise", "."),
    ("ruff", "format", "--check", "--quiet", "."),
    ("mypy", *SOURCES, "tools"),
    ("lint-imports", "--no-cache"),
    ("python", "tools/lint_contracts.py"),
    ("python", "tools/build_artifacts.py", "--check"),
    ("python", "tools/check_docs.py"),
)


@dataclass(frozen=True, slots=True)
class Suite:
    """One folder of tests and how it may be run."""

    name: str
    workers: int = 2
    evm: bool = False  # in-process contracts: their pytest plugin takes seconds to load in every worker
    options: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        return ROOT / "tests" / self.name


SUITES: Final = (
    Suite("unit"),
    Suite("conformance"),
    Suite("fuzz", evm=True),
    Suite("contracts", evm=True),
    Suite("attacks", evm=True),
    Suite("e2e", workers=0),  # these measure time and start chains: one after the other
)
LONG_SUITES: Final = (
    Suite("fuzz", evm=True, options=("--timeout=0",)),
    Suite("contracts", evm=True, options=("-m", "stateful", "--timeout=0")),
)


@dataclass(slots=True)
class Outcome:
    """What one stage came to. `counts` is empty for the checks."""

    name: str
    verdict: str = "passed"
    seconds: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        return self.verdict == "passed"


def run_checks(checks: Sequence[Sequence[str]] = CHECKS) -> Outcome:
    """Run every check, also after one has failed; show the output of those that fail."""
    outcome = Outcome("check")
    begun = time.monotonic()
    for words in checks:
        program = BIN / words[0]
        done = subprocess.run(
            [str(program), *words[1:]],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(),
        )
        print(f"{'ok  ' if done.returncode == 0 else 'FAIL'} {' '.join(words)}", flush=True)
        if done.returncode != 0:
            outcome.verdict = "failed"
            print(done.stdout, flush=True)
    outcome.seconds = time.monotonic() - begun
    return outcome


def run_suite(suite: Suite, profile: str) -> Outcome:
    """Run one folder of tests; a folder without a single test is a failure, never a silent success."""
    outcome = Outcome(suite.name)
    begun = time.monotonic()
    report = BUILD / f"{suite.name}.xml"
    report.unlink(missing_ok=True)
    if not any(suite.path.rglob("test_*.py")):
        outcome.verdict = "has no tests"
        return outcome
    command = [
        str(BIN / "python"),
        "-m",
        "pytest",
        str(suite.path),
        "-q",
        "--no-header",
        f"--junitxml={report}",
    ]
    if suite.workers:
        command += ["-n", str(suite.workers), "--dist", "loadgroup"]
    if not suite.evm:
        command += ["-p", "no:boa_test"]
    command += [*suite.options, f"--hypothesis-profile={profile}"]
    code = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, env=environment()).returncode
    outcome.seconds = time.monotonic() - begun
    outcome.counts = read_counts(report) if report.exists() else {}
    if code == PYTEST_FOUND_NOTHING:
        outcome.verdict = "has no tests"
    elif code != 0:
        outcome.verdict = "failed"
    return outcome


def environment() -> dict[str, str]:
    """The environment of every stage: our programs first, no telemetry, no colour codes in logs."""
    return {
        **os.environ,
        "PATH": os.pathsep.join([str(BIN), os.environ.get("PATH", "")]),
        "ORT_DISABLE_TELEMETRY": "1",
        "PYTHONDONTWRITEBYTECODE": os.environ.get("PYTHONDONTWRITEBYTECODE", ""),
    }


def read_counts(report: Path) -> dict[str, int]:
    """Count the tests of one pytest report by how they ended."""
    counts = {"passed": 0, "failed": 0, "errors": 0, "skipped": 0}
    for suite in ET.parse(report).getroot().iter("testsuite"):  # noqa: S314 - our own file
        total, failed, errors, skipped = (
            int(suite.get(key, "0")) for key in ("tests", "failures", "errors", "skipped")
        )
        counts["failed"] += failed
        counts["errors"] += errors
        counts["skipped"] += skipped
        counts["passed"] += total - failed - errors - skipped
    return counts


def summary(outcomes: Sequence[Outcome]) -> tuple[str, bool]:
    """The closing lines, and whether all is well."""
    lines = ["", f"{'stage':<12} {'result':<13} {'passed':>7} {'failed':>7} {'skipped':>8} {'seconds':>8}"]
    total = {"failed": 0, "passed": 0, "skipped": 0, "errors": 0}
    for outcome in outcomes:
        shown = {key: outcome.counts.get(key, 0) for key in total}
        for key, value in shown.items():
            total[key] += value
        numbers = f"{shown['passed']:>7} {shown['failed'] + shown['errors']:>7} {shown['skipped']:>8}"
        if not outcome.counts:
            numbers = f"{'-':>7} {'-':>7} {'-':>8}"
        lines.append(f"{outcome.name:<12} {outcome.verdict:<13} {numbers} {outcome.seconds:>8.1f}")
    not_good = [outcome for outcome in outcomes if not outcome.good]
    well = not not_good
    for outcome in not_good:
        lines.append(f"FAILED: stage {outcome.name} {outcome.verdict}")
    if any(outcome.name != "check" for outcome in outcomes):
        if total["passed"] == 0:
            well = False
        words = [f"{value} {key}" for key, value in total.items() if value] or ["no tests ran"]
        seconds = sum(outcome.seconds for outcome in outcomes)
        lines.append(f"===== {', '.join(words)} in {seconds:.2f}s =====")
    return "\n".join(lines), well


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Run the checks and the tests in stages.")
    parser.add_argument("--only", default="", help="stages to run, separated by commas")
    parser.add_argument(
        "--long", action="store_true", help="the long Hypothesis profile over fuzz and stateful tests"
    )
    chosen = parser.parse_args(arguments)
    suites = LONG_SUITES if chosen.long else SUITES
    names = [suite.name for suite in suites] + ([] if chosen.long else ["check"])
    wanted = [name for name in chosen.only.split(",") if name] or names
    unknown = sorted(set(wanted) - set(names))
    if unknown:
        parser.error(f"no such stage: {', '.join(unknown)}; there are {', '.join(names)}")
    BUILD.mkdir(parents=True, exist_ok=True)
    outcomes = []
    if "check" in wanted:
        print("=== check", flush=True)
        outcomes.append(run_checks())
    for suite in suites:
        if suite.name in wanted:
            print(f"=== {suite.name}", flush=True)
            outcomes.append(run_suite(suite, "long" if chosen.long else "ci"))
    text, well = summary(outcomes)
    print(text, flush=True)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
