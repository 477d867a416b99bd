"""Secret test sets: safetensors that must fit their specification in every name, dtype and shape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from goldengrain_protocol.errors import InvalidInput
from goldengrain_protocol.spec import (
    INPUT_TENSOR_PREFIX,
    LABEL_TENSOR,
    MAX_SAMPLES,
    MIN_SAMPLES,
    BenchmarkSpec,
)

_LABEL_DTYPES = {"classification": ("int64",), "regression": ("float32", "float64")}


@dataclass(frozen=True, slots=True)
class Testset:
    """A test set that fits its specification."""

    inputs: tuple[NDArray[np.generic], ...]
    """In the order of `spec.inputs`; C-contiguous, first axis the samples."""
    labels: NDArray[np.generic]
    """Class ids: int64, shape (n,). Targets: float64, shape (n, k)."""

    @property
    def samples(self) -> int:
        """Number of samples."""
        return len(self.labels)

    @property
    def size_bytes(self) -> int:
        """Memory that the tensors take."""
        return self.labels.nbytes + sum(array.nbytes for array in self.inputs)


def decode_testset(data: bytes | bytearray, spec: BenchmarkSpec) -> Testset:
    """Return the test set in the safetensors bytes `data`.

    Raises:
        InvalidInput: not safetensors, or a tensor that the specification does not describe so. The message names the
            tensor and its form, never a value.
    """
    try:
        tensors = safetensors.numpy.load(bytes(data))
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError) as exc:
        raise InvalidInput("the test set is not in the safetensors format with numpy dtypes") from exc
    expected = {f"{INPUT_TENSOR_PREFIX}{tensor.name}" for tensor in spec.inputs} | {LABEL_TENSOR}
    if set(tensors) != expected:
        raise InvalidInput(
            f"the test set must hold the tensors {sorted(expected)}, got {sorted(tensors)[:20]}"
        )
    labels = tensors[LABEL_TENSOR]
    samples = len(labels) if labels.ndim else 0
    if not MIN_SAMPLES <= samples <= MAX_SAMPLES:
        raise InvalidInput(f"the test set must have {MIN_SAMPLES}..{MAX_SAMPLES} samples, got {samples}")
    inputs = []
    for tensor in spec.inputs:
        array = tensors[f"{INPUT_TENSOR_PREFIX}{tensor.name}"]
        _expect_form(
            f"{INPUT_TENSOR_PREFIX}{tensor.name}", array, tensor.dtype, (samples, *tensor.sample_shape)
        )
        inputs.append(np.ascontiguousarray(array))
    return Testset(tuple(inputs), _labels(labels, spec))


def _labels(labels: NDArray[np.generic], spec: BenchmarkSpec) -> NDArray[np.generic]:
    if str(labels.dtype) not in _LABEL_DTYPES[spec.task]:
        allowed = " or ".join(_LABEL_DTYPES[spec.task])
        raise InvalidInput(f"tensor {LABEL_TENSOR!r} must be {allowed}, got {labels.dtype}")
    if spec.classes is not None:
        _expect_form(LABEL_TENSOR, labels, "int64", (len(labels),))
        if labels.min() < 0 or labels.max() >= spec.classes:
            raise InvalidInput(f"tensor {LABEL_TENSOR!r} must hold class ids in 0..{spec.classes - 1}")
        return labels
    targets = labels[:, None] if labels.ndim == 1 else labels
    outputs = spec.output.sample_shape[0] if spec.output.sample_shape else 1
    _expect_form(LABEL_TENSOR, targets, str(labels.dtype), (len(labels), outputs))
    if not np.isfinite(targets.astype(np.float64)).all():
        raise InvalidInput(f"tensor {LABEL_TENSOR!r} must be finite")
    return targets.astype(np.float64)


def _expect_form(name: str, array: NDArray[np.generic], dtype: str, shape: tuple[int, ...]) -> None:
    if str(array.dtype) != dtype or array.shape != shape:
        raise InvalidInput(
            f"tensor {name!r} must be {dtype} with shape {shape}, got {array.dtype} with shape {array.shape}"
        )
