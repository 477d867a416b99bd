"""Does a model have the inputs and the output that a benchmark's spec names? Asked before anything is paid."""

from __future__ import annotations

from typing import Any

from goldengrain.sdk.runtime import Predictor
from goldengrain_protocol.errors import InvalidInput
from goldengrain_protocol.spec import BenchmarkSpec


def check_interface(onnx_model: bytes, spec: BenchmarkSpec) -> None:
    """Raise InvalidInput unless names, dtypes, ranks and fixed axes of the model fit the spec.

    This spares an honest developer the fee; the enclave checks again, on the values.
    """
    if len(onnx_model) > spec.limits.model_bytes:
        raise InvalidInput(
            f"the model has {len(onnx_model):,} bytes, the benchmark takes at most {spec.limits.model_bytes:,}",
            next_step="submit a smaller model, for instance quantised or with fewer trees",
        )
    model = Predictor(onnx_model)
    offered = {name: (dtype, shape) for name, dtype, shape in model.inputs}
    wanted = {entry.name for entry in spec.inputs}
    if set(offered) != wanted:
        raise InvalidInput(
            f"expected input(s) {_names(wanted)}, the model has {_names(offered)}",
            next_step="name the model's inputs as the spec does when you export it",
        )
    for entry in spec.inputs:
        dtype, shape = offered[entry.name]
        _check_tensor(f"input {entry.name!r}", entry.dtype, list(entry.shape), dtype, shape)
    outputs = {name: (dtype, shape) for name, dtype, shape in model.outputs}
    if spec.output.name not in outputs:
        raise InvalidInput(
            f"expected an output {spec.output.name!r}, the model has {_names(outputs)}",
            next_step="name the probabilities (or values) as the spec does when you export the model",
        )
    dtype, shape = outputs[spec.output.name]
    _check_tensor(f"output {spec.output.name!r}", spec.output.dtype, list(spec.output.shape), dtype, shape)


def _check_tensor(what: str, dtype: str, shape: list[Any], got_dtype: str, got_shape: list[Any]) -> None:
    if got_dtype != dtype:
        raise InvalidInput(f"{what}: expected dtype {dtype}, the model has {got_dtype}")
    if got_shape and len(got_shape) != len(shape):
        raise InvalidInput(f"{what}: expected shape {shape}, the model has {got_shape}")
    for position, (axis, got) in enumerate(zip(shape, got_shape, strict=False)):
        if isinstance(got, int) and got > 0 and axis != got:
            # A fixed first axis would accept one batch size only.
            hint = " (leave the batch axis free)" if position == 0 else ""
            raise InvalidInput(f"{what}: expected shape {shape}, the model has {got_shape}{hint}")


def _names(names: object) -> str:
    return ", ".join(repr(name) for name in sorted(names)) or "none"  # type: ignore[call-overload]
