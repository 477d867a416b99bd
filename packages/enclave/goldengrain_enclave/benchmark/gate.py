"""The static gate: what an ONNX file may contain before the runtime sees it.

Runs inside the locked-down child, so that even the protobuf parser meets hostile bytes only there. It reads the
structure alone and never follows a reference out of the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from .failures import ModelFailure, Reason
from .operators import ALLOWED_OPERATORS

MAX_NODES: Final = 200_000
"""Most nodes in a model, subgraphs included. Local limit against denial of service."""
MAX_SUBGRAPH_DEPTH: Final = 8
"""Deepest nesting of graphs inside node attributes."""
ALLOWED_DOMAINS: Final = frozenset({"", "ai.onnx", "ai.onnx.ml"})


def check_model(data: bytes) -> onnx.ModelProto:
    """Return the parsed model if the gate lets it through.

    Raises:
        ModelFailure: with a published reason and, in `detail`, the name of the node or tensor concerned.
    """
    # 1. The bytes are one ModelProto. The parser bounds recursion and copies no more than the file holds.
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(data)
    except (DecodeError, ValueError) as exc:
        raise ModelFailure(Reason.NOT_AN_ONNX_MODEL, "the bytes are not an ONNX protobuf message") from exc
    if not model.HasField("graph") or not model.graph.output or not model.opset_import:
        raise ModelFailure(Reason.NOT_AN_ONNX_MODEL, "the model has no graph, no output or no opset")

    # 2. Nothing that brings code or data of its own.
    if model.functions:
        raise _forbidden(f"the model defines {len(model.functions)} functions")
    if model.training_info:
        raise _forbidden("the model carries training information")
    for opset in model.opset_import:
        if opset.domain not in ALLOWED_DOMAINS:
            raise _forbidden(f"operator domain {_quote(opset.domain)} is not allowed")

    # 3. Every graph, node and tensor, however deep.
    nodes = 0
    for graph, depth in _graphs(model.graph, 0):
        if depth > MAX_SUBGRAPH_DEPTH:
            raise ModelFailure(Reason.TOO_COMPLEX, f"subgraphs are nested deeper than {MAX_SUBGRAPH_DEPTH}")
        nodes += len(graph.node)
        if nodes > MAX_NODES:
            raise ModelFailure(Reason.TOO_COMPLEX, f"the model has more than {MAX_NODES} nodes")
        if graph.sparse_initializer:
            raise _forbidden(f"graph {_quote(graph.name)} has sparse initializers")
        for tensor in graph.initializer:
            _check_tensor(tensor)
        for node in graph.node:
            _check_node(node)
    return model


def _check_node(node: onnx.NodeProto) -> None:
    label = f"node {_quote(node.name or node.op_type)}"
    if node.domain not in ALLOWED_DOMAINS:
        raise _forbidden(f"{label} is of the operator domain {_quote(node.domain)}")
    operator = node.op_type if node.domain != "ai.onnx.ml" else f"ai.onnx.ml:{node.op_type}"
    if operator not in ALLOWED_OPERATORS:
        raise ModelFailure(
            Reason.FORBIDDEN_OPERATOR, f"{label} uses {_quote(operator)}, which is not on the allow-list"
        )
    for attribute in node.attribute:
        if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
            raise _forbidden(f"{label} has a sparse tensor attribute")
        if attribute.ref_attr_name:
            raise _forbidden(f"{label} refers to an attribute of a function")
        if attribute.HasField("t"):
            _check_tensor(attribute.t)
        for tensor in attribute.tensors:
            _check_tensor(tensor)


def _check_tensor(tensor: onnx.TensorProto) -> None:
    if tensor.data_location != onnx.TensorProto.DEFAULT or tensor.external_data:
        raise _forbidden(f"tensor {_quote(tensor.name)} keeps its data outside the file")
    if any(dimension < 0 for dimension in tensor.dims):
        raise ModelFailure(Reason.NOT_AN_ONNX_MODEL, f"tensor {_quote(tensor.name)} has a negative dimension")


def _graphs(root: onnx.GraphProto, depth: int) -> Iterator[tuple[onnx.GraphProto, int]]:
    """Yield every graph with its depth, the outermost first; stops one level below the depth limit."""
    yield root, depth
    if depth > MAX_SUBGRAPH_DEPTH:
        return
    for node in root.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g, depth + 1)
            for graph in attribute.graphs:
                yield from _graphs(graph, depth + 1)


def _forbidden(detail: str) -> ModelFailure:
    return ModelFailure(Reason.FORBIDDEN_FEATURE, detail)


def _quote(name: str) -> str:
    """Return a name from the file, short and printable."""
    text = "".join(character if character.isprintable() else "?" for character in name[:60])
    return f"'{text}'"
