"""Turn trained scikit-learn and XGBoost models into ONNX, and prove that it predicts the same."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from goldengrain.sdk.runtime import Predictor
from goldengrain_protocol.errors import InvalidInput
from goldengrain_protocol.spec import BenchmarkSpec

Array = npt.NDArray[Any]

TOLERANCE: Final = 1e-3
"""Largest difference of a probability or value between the original and the converted model (float32 trees and
kernels round differently near a split)."""

TARGET_OPSET: Final = {"": 17, "ai.onnx.ml": 3}
"""Operator sets that every supported converter can write."""


def to_onnx(model: Any, sample: Array, spec: BenchmarkSpec) -> bytes:
    """Convert a fitted model to ONNX with the spec's input and output names, checked on `sample`.

    Args:
        model: a fitted scikit-learn estimator or pipeline, or an XGBoost scikit-learn estimator; bytes pass through.
        sample: at least one row of inputs, shape (n, features), for comparing predictions.
        spec: of the benchmark the model is for (one input).

    Raises:
        InvalidInput: the model cannot be converted, or the conversion predicts differently.
    """
    if isinstance(model, bytes):
        return model
    if len(spec.inputs) != 1:
        raise InvalidInput(
            "only models with one input are converted", next_step="export the model to ONNX yourself"
        )
    classifies = spec.task == "classification"
    if classifies and not hasattr(model, "predict_proba"):
        raise InvalidInput(
            f"{type(model).__name__} gives no probabilities, and scores are taken from probabilities",
            next_step="wrap it in sklearn.calibration.CalibratedClassifierCV and fit again",
        )
    rows = np.asarray(sample, dtype=spec.inputs[0].dtype).reshape(len(sample), -1)
    onnx_model = (_is_xgboost(model) and _from_xgboost(model, rows)) or _from_sklearn(model, rows, classifies)
    graph = _rename(onnx_model, spec)
    _check_same(model, graph, rows, spec)
    return graph


def _is_xgboost(model: Any) -> bool:
    return any(base.__module__.startswith("xgboost") for base in type(model).__mro__)


def _from_sklearn(model: Any, rows: Array, classifies: bool) -> Any:
    try:
        from skl2onnx import convert_sklearn
        from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
    except ImportError as exc:
        raise InvalidInput(
            "converting scikit-learn models needs an extra", next_step="pip install 'goldengrain[sklearn]'"
        ) from exc
    kind = DoubleTensorType if rows.dtype == np.float64 else FloatTensorType
    options = {id(model): {"zipmap": False}} if classifies else None
    try:
        return convert_sklearn(
            model,
            initial_types=[("input", kind([None, rows.shape[1]]))],
            options=options,
            target_opset=dict(TARGET_OPSET),
        )
    except Exception as exc:
        raise InvalidInput(
            f"{type(model).__name__} cannot be converted: {str(exc)[:300]}",
            next_step="use estimators that skl2onnx supports, or export the model to ONNX yourself",
        ) from exc


def _from_xgboost(model: Any, rows: Array) -> Any:
    try:
        from onnxmltools import convert_xgboost
        from onnxmltools.convert.common.data_types import FloatTensorType
    except ImportError as exc:
        raise InvalidInput(
            "converting XGBoost models needs an extra", next_step="pip install 'goldengrain[xgboost]'"
        ) from exc
    try:
        return convert_xgboost(
            model, initial_types=[("input", FloatTensorType([None, rows.shape[1]]))], target_opset=15
        )
    except Exception as exc:
        raise InvalidInput(f"{type(model).__name__} cannot be converted: {str(exc)[:300]}") from exc


def _rename(onnx_model: Any, spec: BenchmarkSpec) -> bytes:
    """Give the graph the spec's names, keep only the scored output, drop duplicate opset imports."""
    graph = onnx_model.graph
    scored = graph.output[-1].name
    kept = [output for output in graph.output if output.name == scored]
    del graph.output[:]
    graph.output.extend(kept)
    _rename_value(graph, scored, spec.output.name)
    _rename_value(graph, graph.input[0].name, spec.inputs[0].name)
    newest: dict[str, int] = {}
    for entry in onnx_model.opset_import:
        newest[entry.domain] = max(newest.get(entry.domain, 0), entry.version)
    del onnx_model.opset_import[:]
    for domain, version in newest.items():
        onnx_model.opset_import.add(domain=domain, version=version)
    return bytes(onnx_model.SerializeToString())


def _rename_value(graph: Any, old: str, new: str) -> None:
    if old == new:
        return
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    if new in taken:
        _rename_value(graph, new, new + "_inner")
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.name == old:
            value.name = new


def _check_same(model: Any, onnx_model: bytes, rows: Array, spec: BenchmarkSpec) -> None:
    expected = np.asarray(model.predict_proba(rows) if spec.task == "classification" else model.predict(rows))
    got = Predictor(onnx_model).predict(rows, output=spec.output.name)
    got = got.reshape(expected.shape) if got.size == expected.size else got
    if got.shape != expected.shape:
        raise InvalidInput(f"the converted model gives shape {got.shape}, the original {expected.shape}")
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    worst = float(np.abs(got - expected).max(initial=0)) / scale
    if not worst <= TOLERANCE:
        raise InvalidInput(
            f"the converted model predicts differently (largest difference {worst:.2g}, allowed {TOLERANCE:g})",
            next_step="train on float32 inputs, or export the model to ONNX yourself",
        )
