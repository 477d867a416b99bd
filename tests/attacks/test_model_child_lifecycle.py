"""T: the host or chance interferes with a model child: killed, stopped, starved. That is never the model's failure."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from goldengrain_enclave.benchmark.channel import FRAME, Kind, ModelTask, TensorForm
from goldengrain_enclave.benchmark.failures import ModelFailure, Reason
from goldengrain_enclave.benchmark.model_process import Limits
from goldengrain_enclave.benchmark.sandbox import Sandbox
from goldengrain_protocol.errors import UnavailableError
from tests.unit.enclave import graphs

pytestmark = pytest.mark.sandbox

IMAGES = np.ones((512, 64), np.float32)
LIMITS = Limits(cpu_s=30, wall_s=30, memory_bytes=2**28)


def task(model: bytes, limits: Limits = LIMITS) -> ModelTask:
    return ModelTask(
        model_bytes=len(model),
        inputs=(TensorForm("image", "float32", (64,)),),
        output=TensorForm("probabilities", "float32", (10,)),
        samples=len(IMAGES),
        batch=256,
        threads=2,
        cpu_s=limits.cpu_s,
        memory_bytes=limits.memory_bytes,
    )


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    made = Sandbox(frozenset({"namespaces", "seccomp", "rlimits"}), threads=2)
    yield made
    made.close()


def descendants(root: int) -> list[int]:
    """Process ids below `root`, parents before children."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found[1:]


def run_slow_and(
    sandbox: Sandbox, act: Callable[[int, list[int]], None], limits: Limits = LIMITS
) -> Exception:
    """Run a slow model, call `act` on (launcher pid, pids below it) while it computes, return how the run ended."""
    model = graphs.slow()
    sandbox.prestart()
    child = sandbox._next
    assert child is not None
    assert child.wait_ready(time.monotonic() + 60)
    actor = threading.Timer(0.7, lambda: act(child.pid, descendants(child.pid)))
    actor.start()
    try:
        with pytest.raises((ModelFailure, UnavailableError)) as ended:
            sandbox.run(model, task(model, limits), [IMAGES], limits)
    finally:
        actor.join()
    return ended.value


def test_quick_model_runs_through(sandbox: Sandbox) -> None:
    """The success that the cases below perturb."""
    model = graphs.linear().SerializeToString()
    assert sandbox.run(model, task(model), [IMAGES], LIMITS).shape == (512, 10)


@pytest.mark.parametrize("which", ["launcher", "init", "child"])
def test_child_killed_from_outside_is_the_machines_failure(sandbox: Sandbox, which: str) -> None:
    def act(launcher: int, below: list[int]) -> None:
        os.kill({"launcher": launcher, "init": below[0], "child": below[-1]}[which], signal.SIGKILL)

    ended = run_slow_and(sandbox, act)
    assert isinstance(ended, UnavailableError), ended
    model = graphs.linear().SerializeToString()
    assert sandbox.run(model, task(model), [IMAGES], LIMITS).shape == (512, 10)  # and the next one runs


def test_starved_child_is_the_machines_failure(sandbox: Sandbox) -> None:
    limits = Limits(cpu_s=30, wall_s=4, memory_bytes=2**28)
    ended = run_slow_and(sandbox, lambda _, below: os.kill(below[-1], signal.SIGSTOP), limits)
    assert isinstance(ended, UnavailableError), ended


def test_busy_child_at_the_wall_limit_is_the_models_failure(sandbox: Sandbox) -> None:
    limits = Limits(cpu_s=30, wall_s=2, memory_bytes=2**28)
    ended = run_slow_and(sandbox, lambda *_: None, limits)
    assert isinstance(ended, ModelFailure)
    assert ended.reason == Reason.WALL_LIMIT


def test_nothing_of_a_child_survives_its_end(sandbox: Sandbox) -> None:
    seen: list[int] = []
    run_slow_and(sandbox, lambda launcher, below: (seen.extend([launcher, *below]), os.kill(launcher, 9))[1])
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{pid}").exists() for pid in seen) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in seen if Path(f"/proc/{pid}").exists()]


def test_waiting_child_that_died_is_replaced(sandbox: Sandbox) -> None:
    sandbox.layers()
    waiting = sandbox._next
    assert waiting is not None
    os.kill(waiting.pid, signal.SIGKILL)
    model = graphs.linear().SerializeToString()
    assert sandbox.run(model, task(model), [IMAGES], LIMITS).shape == (512, 10)


def test_required_layer_that_is_missing_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    import goldengrain_enclave.benchmark.model_process as process

    monkeypatch.setattr(process, "bubblewrap_path", lambda: None)
    strict, weak = Sandbox(frozenset({"namespaces"})), Sandbox(frozenset({"seccomp", "rlimits"}))
    try:
        with pytest.raises(UnavailableError, match="bubblewrap"):
            strict.layers()
        assert {"seccomp", "rlimits"} <= weak.layers()
        assert "namespaces" not in weak.layers()
    finally:
        strict.close()
        weak.close()


class TestLyingChild:
    """A child that a model has taken over may say what it likes: the enclave reads no more than it asked for."""

    @pytest.mark.parametrize(
        "answer",
        [
            FRAME.pack(Kind.OUTPUT, 0, 0, 2**32 - 1),
            FRAME.pack(Kind.LOADED, 0, 0, 0) + FRAME.pack(Kind.OUTPUT, 0, 0, 2**31),
            FRAME.pack(Kind.LOADED, 0, 0, 0) + FRAME.pack(Kind.OUTPUT, 0, 0, 4),
            FRAME.pack(Kind.FAILED, 200, 0, 0),
            FRAME.pack(Kind.FAILED, Reason.WALL_LIMIT, 0, 0),
            FRAME.pack(Kind.FAILED, Reason.RUN_FAILED, 0, 2**32 - 1),
            FRAME.pack(99, 0, 0, 0),
        ],
    )
    def test_unexpected_frames_are_a_failed_run(
        self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, answer: bytes
    ) -> None:
        liar = (
            "import sys, os, struct;"
            f"os.write(1, {FRAME.pack(Kind.READY, 0, 0, 0)!r});"
            "n = struct.unpack('<Q', os.read(0, 8))[0]; os.read(0, n);"
            f"os.write(1, {FRAME.pack(Kind.LOCKED, 0b1110, 0, 0)!r} + {answer!r}); os.read(0, 1); os._exit(0)"
        )
        original = subprocess.Popen

        def start(command: list[str], **options: object) -> object:
            return original(
                [*command[: command.index(sys.executable)], sys.executable, "-c", liar], **options
            )

        monkeypatch.setattr("goldengrain_enclave.benchmark.model_process.subprocess.Popen", start)
        model = graphs.linear().SerializeToString()
        with pytest.raises(ModelFailure) as failure:
            sandbox.run(model, task(model), [IMAGES], LIMITS)
        assert failure.value.reason == Reason.RUN_FAILED
