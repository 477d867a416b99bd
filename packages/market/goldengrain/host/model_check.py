"""Asks the enclave's own code, in its own sandbox and without keys, whether it would score a model.

The file is passed on in pieces and never parsed here: it may be anything. Whatever it is, the answer comes before the
limit, for the process that looks at it is killed then.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import stat
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from goldengrain.host.enclave_process import enclave_python
from goldengrain_protocol.errors import InvalidInput, UnavailableError
from goldengrain_protocol.spec import decode_spec

DEFAULT_LIMIT_S: Final = 60.0
DEFAULT_MEMORY_BYTES: Final = 2**30
"""For the model, where no spec says it (1 GiB)."""
DEFAULT_MODEL_BYTES: Final = 2**30
"""Largest file looked at, where no spec says it (1 GiB)."""
GRACE_S: Final = 0.5
"""How long after the limit the checking process is killed; it should have answered by then."""
PIECE_BYTES: Final = 2**20
MAX_ANSWER_BYTES: Final = 2**16

_FIGURES: Final = ("ops", "parameters", "estimated_macs", "estimated_bytes", "peak_memory_bytes")


@dataclass(frozen=True, slots=True)
class ModelReport:
    """What a check found. Figures are None where it did not come so far."""

    accepted: bool
    reason: str
    next_step: str
    ops: int | None = None
    """Operators, those in branches included."""
    parameters: int | None = None
    """Numbers in tensors and operator attributes."""
    estimated_macs: int | None = None
    """Multiply-accumulates for one sample, a lower bound."""
    estimated_bytes: int | None = None
    """Weights and largest intermediate values of a batch, a lower bound."""
    peak_memory_bytes: int | None = None
    """What the model took in the dry run, over the runtime's own memory."""

    @property
    def verdict(self) -> str:
        """Return "accepted" or "refused"."""
        return "accepted" if self.accepted else "refused"


def check_model(path: Path, spec: bytes | None, *, limit_s: float | None = None) -> ModelReport:
    """Return whether the enclave's gate and sandbox accept the file at `path`.

    Args:
        spec: the benchmark's specification; without it the model is gated and loaded, but not run.
        limit_s: seconds for everything; default the specification's `wall_s`, or 60.

    Raises:
        InvalidInput: the specification is not one, or the file cannot be read.
        UnavailableError: this machine cannot run the sandbox.
    """
    start = time.monotonic()
    limits = None if spec is None else decode_spec(spec).limits
    if limit_s is None:
        limit_s = DEFAULT_LIMIT_S if limits is None else float(limits.wall_s)
    most = DEFAULT_MODEL_BYTES if limits is None else limits.model_bytes
    memory = DEFAULT_MEMORY_BYTES if limits is None else limits.memory_bytes
    with _opened(path) as file:
        facts = os.fstat(file.fileno())
        if not stat.S_ISREG(facts.st_mode):
            return ModelReport(False, f"{path.name} is not a regular file", "name a file with an ONNX model")
        if facts.st_size > most:
            return ModelReport(
                False,
                f"the model has {facts.st_size:,} bytes, at most {most:,} are taken",
                "submit a smaller model, for instance quantised or with fewer trees",
            )
        question = {
            "model_bytes": facts.st_size,
            "deadline": start + limit_s,
            "memory_bytes": memory,
            "spec": None if spec is None else spec.decode(),
        }
        answer = _ask(json.dumps(question).encode(), file, facts.st_size, start + limit_s + GRACE_S)
    if answer is None:
        return ModelReport(
            False,
            f"the check took longer than its limit of {limit_s:g} s",
            "submit a faster model; or try again with a larger --limit if this machine is slow",
        )
    return _report(answer)


def _opened(path: Path) -> IO[bytes]:
    try:
        # a pipe or a device must not make us wait
        return os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0)
    except OSError as exc:
        raise InvalidInput(f"{path} cannot be read: {exc.strerror}") from exc


def _ask(question: bytes, file: IO[bytes], size: int, deadline: float) -> bytes | None:
    """Return what the checking process answers; None if it does not by `deadline`."""
    try:
        process = subprocess.Popen(
            [str(enclave_python()), "-m", "goldengrain_enclave.check"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
            start_new_session=True,
            bufsize=0,
        )
    except OSError as exc:
        raise UnavailableError(f"the check does not start: {exc}", next_step="see `gg doctor`") from exc
    stdin, stdout, stderr = process.stdin, process.stdout, process.stderr
    if stdin is None or stdout is None or stderr is None:
        raise UnavailableError("the check has no pipes")
    writer = threading.Thread(target=_feed, args=(stdin, question, file, size), daemon=True)
    writer.start()
    try:
        answer = _read(stdout, deadline)
        if answer == b"":
            lines = (_read(stderr, deadline) or b"").decode(errors="replace").strip().splitlines()
            last = lines[-1][:200] if lines else "it said nothing"
            raise UnavailableError(f"the check ended without an answer: {last}", next_step="see `gg doctor`")
        return answer
    finally:
        process.kill()
        process.wait()
        writer.join()
        for pipe in (stdin, stdout, stderr):
            with contextlib.suppress(OSError):
                pipe.close()


def _feed(stdin: IO[bytes], question: bytes, file: IO[bytes], size: int) -> None:
    try:
        _write(stdin, len(question).to_bytes(8, "big") + question)
        while size and (piece := file.read(min(size, PIECE_BYTES))):
            _write(stdin, piece)
            size -= len(piece)
        stdin.close()
    except OSError:
        return  # the process has heard enough, or is gone


def _write(stdin: IO[bytes], data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(stdin.fileno(), view) :]


def _read(pipe: IO[bytes], deadline: float) -> bytes | None:
    """Return everything up to the end of `pipe`; None if that does not come by `deadline`."""
    found = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while len(found) <= MAX_ANSWER_BYTES:
            left = deadline - time.monotonic()
            if left <= 0 or not selector.select(left):
                return None
            data = os.read(pipe.fileno(), PIECE_BYTES)
            if not data:
                break
            found += data
    return bytes(found[:MAX_ANSWER_BYTES])


def _report(answer: bytes) -> ModelReport:
    try:
        fields: dict[str, Any] = json.loads(answer)
        if "error" in fields:
            kind = InvalidInput if fields["category"] == "invalid" else UnavailableError
            raise kind(str(fields["error"]), next_step=str(fields["next_step"] or ""))
        figures = {name: fields[name] for name in _FIGURES}
        return ModelReport(
            fields["verdict"] == "accepted", str(fields["reason"]), str(fields["next_step"]), **figures
        )
    except (ValueError, KeyError, TypeError) as exc:
        raise UnavailableError("the check answered with something else", next_step="see `gg doctor`") from exc
