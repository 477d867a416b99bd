"""onnxruntime outside the enclave: for checking one's own model and for predicting with a bought one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from goldengrain_protocol.errors import InvalidInput

Array = npt.NDArray[Any]


class Predictor:
    """An ONNX model loaded for inference.

    The model comes from a stranger when it was bought: run it where you would run any stranger's model. Only the
    ONNX format is accepted (never onnxruntime's own serialisation, which skips the checks).
    """

    def __init__(self, model: bytes) -> None:
        self.model = model
        self._session = _load(model)

    @property
    def inputs(self) -> list[tuple[str, str, list[Any]]]:
        """(name, element type as numpy names it, shape with names or None for free axes)."""
        return [(each.name, _dtype(each.type), list(each.shape)) for each in self._session.get_inputs()]

    @property
    def outputs(self) -> list[tuple[str, str, list[Any]]]:
        """As `inputs`."""
        return [(each.name, _dtype(each.type), list(each.shape)) for each in self._session.get_outputs()]

    def predict(self, inputs: Array | Mapping[str, Array], *, output: str | None = None) -> Array:
        """Return one output for a batch of inputs, shape (n, ...).

        Args:
            inputs: an array for a model with one input, or arrays by input name.
            output: its name; the only or the last output by default.
        """
        names = [name for name, _, _ in self.inputs]
        if not isinstance(inputs, Mapping):
            if len(names) != 1:
                raise InvalidInput(f"the model has inputs {', '.join(names)}: pass a mapping")
            inputs = {names[0]: inputs}
        wanted = {name: dtype for name, dtype, _ in self.inputs}
        feed = {name: np.asarray(array, dtype=wanted.get(name)) for name, array in inputs.items()}
        chosen = output or self.outputs[-1][0]
        try:
            (result,) = self._session.run([chosen], feed)
        except Exception as exc:
            raise InvalidInput(f"the model cannot predict on this input: {_first_line(exc)}") from exc
        return np.asarray(result)

    def save(self, path: Path | str) -> Path:
        """Write the model as an ONNX file and return its path."""
        target = Path(path)
        target.write_bytes(self.model)
        return target


def _load(model: bytes) -> Any:
    os.environ.setdefault(
        "ORT_DISABLE_TELEMETRY", "1"
    )  # must precede the import: it starts sending on import
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as exc:
        raise InvalidInput(
            f"not a loadable ONNX model: {_first_line(exc)}",
            next_step="export it again; `goldengrain.sdk.to_onnx` converts scikit-learn and XGBoost models",
        ) from exc


def _dtype(onnx_type: str) -> str:
    inner = onnx_type.removeprefix("tensor(").removesuffix(")")
    return {"float": "float32", "double": "float64"}.get(inner, inner)


def _first_line(exc: Exception) -> str:
    return (str(exc).splitlines() or [type(exc).__name__])[0][:300]
