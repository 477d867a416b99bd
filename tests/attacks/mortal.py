"""Command lines that can be killed at any durable step, or with their whole process group; see `kill_driver.py`."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]


class Command:
    """A running `gg` command line."""

    def __init__(self, driver: Driver, pid: int, output: Path, steps: Path) -> None:
        self.pid = pid
        self._driver = driver
        self._output = output
        self._steps = steps
        self._status: int | None = None

    def wait(self, timeout_s: float = 90) -> int:
        """Return the exit status; negative for the signal that ended it."""
        if self._status is None:
            self._status = int(self._driver.read(timeout_s)["status"])
        return self._status

    @property
    def is_running(self) -> bool:
        if self._status is None and self._driver.has_answer():
            self.wait()
        return self._status is None

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill_group(self) -> None:
        """Kill the process and everything in its process group at once."""
        os.killpg(self.pid, signal.SIGKILL)

    def stop(self) -> int:
        """End a daemon as a supervisor would; return its status."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def arm(self, kill_at: int) -> None:
        """Begin to count steps now, and die at the given one."""
        Path(f"{self._steps}.arm").write_text(str(kill_at))
        armed = Path(f"{self._steps}.armed")
        self.signal(signal.SIGUSR1)
        end = time.monotonic() + 20
        while not armed.exists():
            assert time.monotonic() < end, "the command did not take the signal"
            time.sleep(0.02)

    @property
    def steps(self) -> int:
        """Durable steps of a command that ended by itself."""
        return int(self._steps.read_text())

    @property
    def output(self) -> str:
        return self._output.read_text(errors="replace") if self._output.exists() else ""

    def document(self) -> dict[str, Any]:
        """Return the JSON that the command printed (its stderr is in the same file, before it)."""
        text = self.output
        found: dict[str, Any] = json.loads(text[text.index("\n{") if "\n{" in text else text.index("{") :])
        return found


class Driver:
    """One process that runs one command at a time."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._count = 0
        self._last: Command | None = None
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.attacks.kill_driver"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "GG_DEBUG": "1"},
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def start(self, argv: Sequence[str], *, kill_at: int = 0, armed: bool = True) -> Command:
        """Start a command line that dies at step `kill_at` (0: never)."""
        if self._last is not None and self._last.is_running:  # left over by a test that failed
            self._last.kill_group()
            self._last.wait()
        self._count += 1
        name = self._directory / f"{id(self):x}-{self._count}"
        output, steps = name.with_suffix(".log"), name.with_suffix(".steps")
        task = {"argv": list(argv), "kill_at": kill_at, "armed": armed}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(task | {"output": str(output), "steps": str(steps)}) + "\n")
        self._process.stdin.flush()
        self._last = Command(self, int(self.read(60)["pid"]), output, steps)
        return self._last

    def read(self, timeout_s: float) -> dict[str, Any]:
        return self._answers.get(timeout=timeout_s)

    def has_answer(self) -> bool:
        return not self._answers.empty()

    def close(self) -> None:
        if self._last is not None and self._last.is_running:
            self._last.kill_group()
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(json.loads(line))


@contextmanager
def drivers(directory: Path, count: int) -> Iterator[list[Driver]]:
    """Start several drivers; end them whatever happens."""
    directory.mkdir(parents=True, exist_ok=True)
    started = [Driver(directory) for _ in range(count)]
    try:
        yield started
    finally:
        for each in started:
            each.close()


def for_each_step(lanes: Sequence[Driver], steps: int, play: Callable[[Driver, int], T]) -> list[T]:
    """Return what `play` returns for every step 1..steps; as many at a time as there are lanes."""
    free: queue.Queue[Driver] = queue.Queue()
    for lane in lanes:
        free.put(lane)

    def one(step: int) -> T:
        lane = free.get()
        try:
            return play(lane, step)
        finally:
            free.put(lane)

    with ThreadPoolExecutor(len(lanes)) as pool:
        return list(pool.map(one, range(1, steps + 1)))


@dataclass(frozen=True, slots=True)
class Process:
    """A process that cannot be mistaken for a later one with the same number."""

    pid: int
    started_ticks: int
    command: str

    @property
    def is_alive(self) -> bool:
        found = _look_at(self.pid)
        return found is not None and found[1].started_ticks == self.started_ticks


def descendants(pid: int) -> list[Process]:
    """Return all living processes below `pid`, whatever session or namespace they are in."""
    looked = [_look_at(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    found: list[Process] = []
    above = {pid}
    while True:
        level = [process for parent, process in filter(None, looked) if parent in above]
        if not level:
            return found
        found += level
        above = {process.pid for process in level}


def _look_at(pid: int) -> tuple[int, Process] | None:
    """Return (parent, process); None if it is gone or only waits to be buried."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else (int(fields[1]), Process(pid, int(fields[19]), command))
