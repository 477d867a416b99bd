"""A run of the coverage-guided fuzzer: seconds in `make test`, minutes in `make fuzz`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from hypothesis import settings

ROOT = Path(__file__).resolve().parents[3]


def test_nothing_but_refusals_comes_out(tmp_path: Path) -> None:
    seconds = 180 if settings().max_examples >= 1000 else 6
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    command = [
        sys.executable,
        "-m",
        "tests.fuzz.lightclient.guided",
        f"-max_total_time={seconds}",
        f"-artifact_prefix={tmp_path}/",
        str(corpus),
    ]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    crashes = [path.read_bytes().hex() for path in tmp_path.glob("*-*") if path.is_file()]
    assert crashes == [], done.stdout[-3000:]
    assert done.returncode == 0, done.stdout[-3000:]
    assert "Done" in done.stdout
