"""What all suites share: the markers and the Hypothesis profiles. Nothing slow is imported here."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

MARKERS = {
    "slow": "takes more than five seconds",
    "stateful": "a Hypothesis state machine; `make fuzz` runs it for longer",
    "anvil": "starts the development chain",
    "sandbox": "starts a model child or an enclave process in its sandbox",
}

# Without a deadline: build machines are shared, and time is measured by `make measure`.
_COMMON = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.register_profile("ci", _COMMON, max_examples=60, stateful_step_count=25, derandomize=True)
settings.register_profile("long", _COMMON, max_examples=2_000, stateful_step_count=80)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def pytest_configure(config: pytest.Config) -> None:
    for name, meaning in MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")
