"""The compiled system-call filter is the one that the policy describes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from goldengrain_enclave.benchmark.seccomp_program import PROGRAMS

TOOL = Path(__file__).parents[3] / "tools" / "build_seccomp.py"


def test_programs_are_whole_instructions_for_both_architectures() -> None:
    assert set(PROGRAMS) == {"x86_64", "aarch64"}
    assert all(program and len(program) % 8 == 0 for program in PROGRAMS.values())


def test_committed_filter_rebuilds_from_the_policy() -> None:
    try:
        import pyseccomp  # noqa: F401
    except (ImportError, RuntimeError):
        pytest.skip("needs pyseccomp and libseccomp")
    result = subprocess.run(
        [sys.executable, str(TOOL), "--check"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
