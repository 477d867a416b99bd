"""The model child: one process, one model, then its end. Run by `sandbox.py`, never by hand.

Imports its libraries, says READY, reads the task, locks itself down, says LOCKED, and only then reads the first byte
that the model's author wrote.
"""

from __future__ import annotations

import os

# before the imports below: the runtime decides about telemetry, and the libraries about threads, when they load
os.environ.update(
    {
        "ORT_DISABLE_TELEMETRY": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
)

import json
import resource
import sys
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from . import channel, gate, lockdown
from .channel import Kind, ModelTask, TensorForm
from .failures import ModelFailure, Reason

_IN: Final = 0
_RUNTIME_TYPES: Final = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(int16)": "int16",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(uint16)": "uint16",
    "tensor(uint32)": "uint32",
    "tensor(uint64)": "uint64",
    "tensor(bool)": "bool",
}
BATCH_SHARE: Final = 0.05
"""How far a sample's answer in a batch may lie from its answer alone, as a share of the largest answer. Wide enough for
models that are quantised by the batch."""
_OUT_OF_MEMORY: Final = ("bad_alloc", "failed to allocate", "bfcarena", "out of memory")


def main() -> int:
    """Serve one task; returns the exit code."""
    out = _silence()
    _send(out, Kind.READY)
    size = channel.LENGTH.unpack(_read_exactly(channel.LENGTH.size))[0]
    task = ModelTask.decode(_read_exactly(size))
    active = lockdown.lock_down(
        cpu_s=task.cpu_s, memory_bytes=task.memory_bytes, runtime_bytes=task.runtime_bytes
    )
    _send(out, Kind.LOCKED, lockdown.layer_mask(active))
    try:
        _serve(out, task)
    except ModelFailure as failure:
        _send(out, Kind.FAILED, failure.reason, failure.detail.encode(errors="replace"))
    except MemoryError:
        _send(out, Kind.FAILED, Reason.MEMORY_LIMIT)
    return 0


def session_options(threads: int) -> onnxruntime.SessionOptions:
    """Return the one set of options under which models are scored; part of what a score means."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.use_deterministic_compute = True
    options.log_severity_level = 4
    # the ORT format bypasses every check that reads ONNX
    options.add_session_config_entry("session.load_model_format", "ONNX")
    return options


def _serve(out: int, task: ModelTask) -> None:
    at_rest_bytes = _peak_bytes()
    model = _read_exactly(task.model_bytes)
    found = gate.check_model(model, _gate_limits(task, task.batch, len(task.batch_sizes())))
    if task.report:
        alone = gate.check_model(model, _gate_limits(task, 1, 1))
        facts = {"ops": found.ops, "parameters": found.parameters, "estimated_macs": alone.macs}
        _report(out, facts | {"estimated_bytes": found.peak_bytes})
    try:
        session = onnxruntime.InferenceSession(
            model, session_options(task.threads), providers=["CPUExecutionProvider"]
        )
    except MemoryError:
        raise
    except Exception as exc:
        raise _runtime_failure(exc, Reason.DOES_NOT_LOAD) from exc
    if task.output.name:
        _check_signature(session, task)
    if task.report:
        _report(out, {"peak_memory_bytes": _peak_bytes() - at_rest_bytes})
    _send(out, Kind.LOADED)
    buffers = {form.name: np.empty((task.batch, *form.shape), form.dtype) for form in task.inputs}
    for position, size in enumerate(task.batch_sizes()):
        feeds = {}
        for form in task.inputs:
            feeds[form.name] = buffers[form.name][:size]
            _read_into(feeds[form.name].data.cast("B"))
        output = _checked(_run(session, task, feeds), task.output, size)
        if position == 0 and size > 1:
            _check_independence(session, task, feeds, output)
        if task.report:
            _report(out, {"peak_memory_bytes": _peak_bytes() - at_rest_bytes})
        _send(out, Kind.OUTPUT, 0, output.data.cast("B"))


def _run(
    session: onnxruntime.InferenceSession, task: ModelTask, feeds: Mapping[str, NDArray[np.generic]]
) -> object:
    try:
        (output,) = session.run([task.output.name], feeds)
    except MemoryError:
        raise
    except Exception as exc:
        raise _runtime_failure(exc, Reason.RUN_FAILED) from exc
    return output


def _check_independence(
    session: onnxruntime.InferenceSession,
    task: ModelTask,
    feeds: Mapping[str, NDArray[np.generic]],
    output: NDArray[np.generic],
) -> None:
    """Ask about the last sample of the batch alone: a model must not learn from the samples beside it."""
    last = {name: array[-1:] for name, array in feeds.items()}
    alone = _checked(_run(session, task, last), task.output, 1)
    farthest = float(np.abs(alone[0].astype(np.float64) - output[-1]).max(initial=0.0))
    if farthest > BATCH_SHARE * float(np.abs(output).max(initial=0.0)):
        raise ModelFailure(
            Reason.DEPENDS_ON_BATCH,
            f"output {task.output.name!r} of a sample differs by {farthest:.3g} alone and in its batch",
        )


def _gate_limits(task: ModelTask, batch: int, batches: int) -> gate.GateLimits:
    """Return what the gate holds a model against, for so many batches of `batch` samples."""
    shapes = {form.name: (batch, *form.shape) for form in task.inputs}
    return gate.GateLimits(shapes, batches, task.memory_bytes, task.cpu_s)


def _check_signature(session: onnxruntime.InferenceSession, task: ModelTask) -> None:
    declared = {node.name: node for node in session.get_inputs()}
    wanted = {form.name: form for form in task.inputs}
    if set(declared) != set(wanted):
        raise ModelFailure(
            Reason.INPUTS_DO_NOT_MATCH, f"expected inputs {sorted(wanted)}, got {sorted(declared)}"
        )
    for name, form in wanted.items():
        _check_form(declared[name], form, Reason.INPUTS_DO_NOT_MATCH)
    outputs = {node.name: node for node in session.get_outputs()}
    if task.output.name not in outputs:
        raise ModelFailure(
            Reason.OUTPUT_DOES_NOT_MATCH, f"expected an output {task.output.name!r}, got {sorted(outputs)}"
        )
    _check_form(outputs[task.output.name], task.output, Reason.OUTPUT_DOES_NOT_MATCH)


def _check_form(node: onnxruntime.NodeArg, form: TensorForm, reason: Reason) -> None:
    dtype = _RUNTIME_TYPES.get(node.type)
    if dtype != form.dtype:
        raise ModelFailure(reason, f"tensor {form.name!r} must be {form.dtype}, got {dtype or node.type}")
    declared: Sequence[object] = node.shape
    if declared and not _shape_fits(declared, form.shape):
        expected = ["n", *form.shape]
        raise ModelFailure(reason, f"tensor {form.name!r} must have shape {expected}, got {list(declared)}")


def _shape_fits(declared: Sequence[object], shape: tuple[int, ...]) -> bool:
    """Named and unknown dimensions fit anything; the first one must be free, because batches differ in size."""
    if len(declared) != len(shape) + 1 or isinstance(declared[0], int):
        return False
    pairs = zip(declared[1:], shape, strict=True)
    return all(not isinstance(given, int) or given == wanted for given, wanted in pairs)


def _checked(output: object, form: TensorForm, size: int) -> NDArray[np.generic]:
    expected = (size, *form.shape)
    if not isinstance(output, np.ndarray) or output.dtype != form.dtype or output.shape != expected:
        got = f"{output.dtype} {output.shape}" if isinstance(output, np.ndarray) else type(output).__name__
        raise ModelFailure(
            Reason.OUTPUT_DOES_NOT_MATCH, f"output {form.name!r} must be {form.dtype} {expected}, got {got}"
        )
    if not np.isfinite(output).all():
        raise ModelFailure(Reason.OUTPUT_NOT_FINITE, f"output {form.name!r} contains NaN or infinity")
    return np.ascontiguousarray(output)


def _runtime_failure(exc: Exception, reason: Reason) -> ModelFailure:
    text = str(exc)
    if any(sign in text.lower() for sign in _OUT_OF_MEMORY):
        reason = Reason.MEMORY_LIMIT
    return ModelFailure(reason, text)


def _peak_bytes() -> int:
    """Return the most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _report(out: int, facts: Mapping[str, int]) -> None:
    _send(out, Kind.REPORT, 0, json.dumps(facts).encode())


def _silence() -> int:
    """Point standard output and error at nothing; returns the descriptor on which frames go out."""
    out = os.dup(1)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    os.close(nothing)
    return out


def _send(out: int, kind: Kind, code: int = 0, payload: bytes | memoryview = b"") -> None:
    if kind != Kind.OUTPUT:
        payload = payload[: channel.MAX_DETAIL_BYTES]
    _write_all(out, channel.FRAME.pack(kind, code, 0, len(payload)))
    _write_all(out, payload)


def _write_all(out: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(out, view) :]


def _read_exactly(size: int) -> bytes:
    data = bytearray(size)
    _read_into(memoryview(data))
    return bytes(data)


def _read_into(view: memoryview) -> None:
    while view:
        count = os.readv(_IN, [view])
        if count == 0:
            os._exit(0)  # the enclave is gone, or needs this child no longer
        view = view[count:]


if __name__ == "__main__":
    sys.exit(main())
