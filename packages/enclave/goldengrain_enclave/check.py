"""`python -m goldengrain_enclave.check`: would this model be scored? For its developer, before anything is paid.

The same gate and the same sandbox as an evaluation, on random inputs of the specification's shapes; no keys, no chain,
no identity. One question on standard input, one answer on standard output, both described in docs/spec/sandbox.md.
This process passes the model on in small pieces and never looks at it.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

# before numpy loads
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

from goldengrain_enclave.benchmark.channel import ModelTask, TensorForm
from goldengrain_enclave.benchmark.failures import REASON_TEXT, ModelFailure, Reason
from goldengrain_enclave.benchmark.model_process import Limits
from goldengrain_enclave.benchmark.sandbox import Sandbox
from goldengrain_protocol.errors import GoldenGrainError, InvalidInput, UnavailableError
from goldengrain_protocol.spec import BenchmarkSpec, TensorSpec, decode_spec

REQUIRED_LAYERS: Final = frozenset({"namespaces", "seccomp", "rlimits"})
"""Of the sandbox; the same that the platform `simulated` requires."""
MAX_QUESTION_BYTES: Final = 2**20
MAX_INPUT_BYTES: Final = 32 * 2**20
"""Most random input for a dry run (32 MiB); the batch is made smaller to fit."""
RUNTIME_BYTES: Final = 144 * 2**20
"""Private memory granted beyond the model's own (144 MiB). Less than in an evaluation, whose 256 MiB leave a reserve,
so that the whole check stays within the limit and 200 MB; the runtime itself takes 60."""
MAX_REASON_CHARS: Final = 400
PIECE_BYTES: Final = 2**20
_PR_SET_PDEATHSIG: Final = 1
_SEED: Final = 1
_RUNTIME_PREFIX: Final = "[ONNXRuntimeError]"
_NOISE: Final = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : |/onnxruntime_src/\S+ (\w.*?\) (?=\w))?")
_FACTS: Final = ("ops", "parameters", "estimated_macs", "estimated_bytes", "peak_memory_bytes")

NEXT_STEPS: Final[Mapping[Reason, str]] = {
    Reason.NOT_AN_ONNX_MODEL: "export the model to ONNX again, with a current exporter",
    Reason.FORBIDDEN_FEATURE: "export without custom operators, functions and external data files",
    Reason.FORBIDDEN_OPERATOR: "export the model without that operator: for inference, without sampling or loops",
    Reason.TOO_COMPLEX: "simplify the model, or merge its many small parts",
    Reason.DOES_NOT_LOAD: "load the file with onnxruntime to see more, and export it again",
    Reason.INPUTS_DO_NOT_MATCH: "name and type the model's inputs as the spec does, the batch axis left open",
    Reason.OUTPUT_DOES_NOT_MATCH: "name and type the model's output as the spec does, the batch axis left open",
    Reason.OUTPUT_NOT_FINITE: "find what divides by zero or overflows on inputs between 0 and 1",
    Reason.CPU_LIMIT: "submit a smaller model, or one for a smaller input",
    Reason.WALL_LIMIT: "submit a faster model; or try again with a larger --limit if this machine is slow",
    Reason.MEMORY_LIMIT: "submit a smaller model, for instance quantised",
    Reason.RUN_FAILED: "run the model with onnxruntime on a batch of the spec's shapes to see where it fails",
    Reason.DEPENDS_ON_BATCH: "remove what mixes samples: normalisation over the batch, reductions over axis 0",
}


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about the model that follows it."""

    model_bytes: int
    deadline: float
    """When the answer must be there, on this machine's monotonic clock (CLOCK_MONOTONIC, seconds)."""
    memory_bytes: int
    """For the model, on top of what the runtime needs."""
    spec: BenchmarkSpec | None
    """Without one the model is only gated and loaded."""

    @classmethod
    def decode(cls, data: bytes) -> Question:
        """Return the question; raises InvalidInput."""
        try:
            fields = json.loads(data)
            spec = fields["spec"]
            return cls(
                int(fields["model_bytes"]),
                float(fields["deadline"]),
                int(fields["memory_bytes"]),
                None if spec is None else decode_spec(str(spec).encode()),
            )
        except (ValueError, KeyError, TypeError) as exc:
            raise InvalidInput("the question is not the JSON that docs/spec/sandbox.md describes") from exc


@dataclass(slots=True)
class Findings:
    """What the child reported; it may lie about its own model."""

    facts: dict[str, int] = field(default_factory=dict)

    def add(self, report: bytes) -> None:
        """Take the whole numbers that a report may hold; everything else is dropped."""
        try:
            content = json.loads(report)
        except (ValueError, RecursionError):
            return
        if isinstance(content, dict):
            for name in _FACTS:
                value = content.get(name)
                if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63:
                    self.facts[name] = value


def check(question: Question, model: Iterator[bytes]) -> dict[str, Any]:
    """Return the answer about the model whose pieces `model` yields.

    Raises:
        UnavailableError: this machine cannot run the sandbox.
    """
    deadline = question.deadline
    sandbox = Sandbox(REQUIRED_LAYERS)
    findings = Findings()
    try:
        spec = question.spec
        if spec is not None and question.model_bytes > spec.limits.model_bytes:
            raise ModelFailure(
                Reason.MODEL_TOO_LARGE,
                f"the model has {question.model_bytes:,} bytes, the benchmark takes {spec.limits.model_bytes:,}",
            )
        task, inputs = _dry_task(question, sandbox.threads)
        sandbox.prepare()
        limits = Limits(task.cpu_s, deadline - time.monotonic(), task.memory_bytes)
        sandbox.run(model, task, inputs, limits, findings.add)
    except ModelFailure as failure:
        return _answer("refused", findings, failure)
    except UnavailableError:
        if time.monotonic() < deadline:
            raise
        return _answer(
            "refused", findings, ModelFailure(Reason.WALL_LIMIT, "the check took longer than its limit")
        )
    finally:
        sandbox.close()
    return _answer("accepted", findings, None)


def _answer(verdict: str, findings: Findings, failure: ModelFailure | None) -> dict[str, Any]:
    reason = "" if failure is None else _in_words(failure)
    printable = "".join(character if character.isprintable() else " " for character in reason)
    return {
        "verdict": verdict,
        "reason": printable[:MAX_REASON_CHARS],
        "category": "" if failure is None else failure.reason.name.lower(),
        "next_step": "" if failure is None else NEXT_STEPS.get(failure.reason, ""),
        **{name: findings.facts.get(name) for name in _FACTS},
    }


def _in_words(failure: ModelFailure) -> str:
    """Return the gate's own words as they are; the runtime's, which name its source files, shortened after ours."""
    text, detail = REASON_TEXT[failure.reason], failure.detail
    if not detail:
        return text
    if not detail.startswith(_RUNTIME_PREFIX):
        return detail
    return f"{text}: {_NOISE.sub('', detail)}"


def _dry_task(question: Question, threads: int) -> tuple[ModelTask, list[NDArray[np.generic]]]:
    """Return a task of one batch and random inputs for it; without a spec, one of no samples at all."""
    spec = question.spec
    if spec is None:
        cpu_s = max(1, int(question.deadline - time.monotonic())) * threads
        nothing = TensorForm("", "float32", ())
        task = ModelTask(
            question.model_bytes,
            (),
            nothing,
            0,
            1,
            threads,
            cpu_s,
            question.memory_bytes,
            RUNTIME_BYTES,
            report=True,
        )
        return task, []
    forms = tuple(_form(tensor) for tensor in spec.inputs)
    sample_bytes = sum(
        int(np.prod(form.shape, dtype=object)) * np.dtype(form.dtype).itemsize for form in forms
    )
    samples = min(spec.limits.batch, MAX_INPUT_BYTES // max(1, sample_bytes))
    if samples < 1:
        raise InvalidInput(f"one sample of the spec has {sample_bytes:,} bytes, too many for a dry run")
    task = ModelTask(
        question.model_bytes,
        forms,
        _form(spec.output),
        samples,
        samples,
        threads,
        spec.limits.cpu_s,
        min(spec.limits.memory_bytes, question.memory_bytes),
        RUNTIME_BYTES,
        report=True,
    )
    generator = np.random.Generator(np.random.PCG64(_SEED))
    return task, [_random(generator, form, samples) for form in forms]


def _random(generator: np.random.Generator, form: TensorForm, samples: int) -> NDArray[np.generic]:
    """Return numbers that most models can take: between 0 and 1, whole ones 0 or 1 (valid as any index)."""
    shape = (samples, *form.shape)
    if np.dtype(form.dtype).kind == "f":
        return generator.random(shape, dtype=form.dtype)  # type: ignore[no-any-return, call-overload]
    return generator.integers(0, 2, shape, dtype=form.dtype)


def _form(tensor: TensorSpec) -> TensorForm:
    return TensorForm(tensor.name, tensor.dtype, tensor.sample_shape)


def main() -> int:
    """Answer one question; the exit code is 0 whatever the answer, 1 if there is none."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    try:
        size = int.from_bytes(b"".join(_pieces(8)), "big")
        if size > MAX_QUESTION_BYTES:
            raise InvalidInput(f"the question has {size:,} bytes, at most {MAX_QUESTION_BYTES:,} are read")
        question = Question.decode(b"".join(_pieces(size)))
        answer = check(question, _pieces(question.model_bytes))
    except GoldenGrainError as exc:
        category = "invalid" if isinstance(exc, InvalidInput) else "unavailable"
        answer = {"error": exc.message, "category": category, "next_step": exc.next_step}
    _write(json.dumps(answer).encode())
    return "error" in answer


def _pieces(size: int) -> Iterator[bytes]:
    while size:
        piece = os.read(0, min(size, PIECE_BYTES))
        if not piece:
            raise InvalidInput("the model ended early")
        size -= len(piece)
        yield piece


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


if __name__ == "__main__":
    sys.exit(main())
