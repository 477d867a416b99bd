"""Small ONNX graphs, honest and hostile, over the input `image` (n, 64)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def linear(
    *,
    input_name: str = "image",
    output_name: str = "probabilities",
    input_type: int = TensorProto.FLOAT,
    output_type: int = TensorProto.FLOAT,
    width: int = 64,
    classes: int = 10,
    tail: Sequence[Any] = (),
    rows: Any = "n",
) -> onnx.ModelProto:
    """probabilities = image @ W, then the nodes in `tail` (from `scores` to `output_name`)."""
    weights = np.random.default_rng(0).normal(size=(width, classes)).astype(np.float32)
    nodes = [helper.make_node("Cast", [input_name], ["x"], to=TensorProto.FLOAT)]
    nodes.append(helper.make_node("MatMul", ["x", "W"], ["scores"]))
    nodes += list(tail) or [helper.make_node("Cast", ["scores"], [output_name], to=output_type)]
    return build(
        nodes,
        [helper.make_tensor_value_info(input_name, input_type, [rows, width])],
        [helper.make_tensor_value_info(output_name, output_type, [rows, classes])],
        [numpy_helper.from_array(weights, "W")],
    )


def build(
    nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[Any], initializers: Sequence[Any] = ()
) -> onnx.ModelProto:
    """A model of opset 17 around these nodes."""
    graph = helper.make_graph(list(nodes), "graph", list(inputs), list(outputs), list(initializers))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def with_nodes_before(
    model: onnx.ModelProto, nodes: Sequence[Any], initializers: Sequence[Any] = ()
) -> bytes:
    """`model` with further nodes in front, as bytes."""
    kept = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *kept])
    model.graph.initializer.extend(initializers)
    return bytes(model.SerializeToString())


def not_finite() -> bytes:
    """0 / 0 in every output."""
    zero = helper.make_node("Sub", ["scores", "scores"], ["zero"])
    return bytes(
        linear(tail=[zero, helper.make_node("Div", ["zero", "zero"], ["probabilities"])]).SerializeToString()
    )


def compute_bomb() -> bytes:
    """A few hundred bytes that ask for hours of matrix products."""
    side = 4096
    shape = numpy_helper.from_array(np.array([side, side], np.int64), "bomb_shape")
    nodes = [helper.make_node("ConstantOfShape", ["bomb_shape"], ["b0"])]
    nodes += [helper.make_node("MatMul", [f"b{i}", "b0"], [f"b{i + 1}"]) for i in range(400)]
    nodes.append(helper.make_node("ReduceMax", ["b400"], ["top"], keepdims=0))
    tail = [helper.make_node("Add", ["scores", "top"], ["probabilities"])]
    return with_nodes_before(linear(tail=tail), nodes, [shape])


def memory_bomb() -> bytes:
    """A few hundred bytes that ask for 64 GiB."""
    shape = numpy_helper.from_array(np.array([2**17, 2**17], np.int64), "bomb_shape")
    nodes = [
        helper.make_node("ConstantOfShape", ["bomb_shape"], ["b0"]),
        helper.make_node("ReduceMax", ["b0"], ["top"], keepdims=0),
    ]
    tail = [helper.make_node("Add", ["scores", "top"], ["probabilities"])]
    return with_nodes_before(linear(tail=tail), nodes, [shape])


def slow() -> bytes:
    """Loads at once, then computes for a long time on every batch, with the input so that nothing folds."""
    tail = [
        helper.make_node("ReduceMax", ["scores"], ["seed"], keepdims=0),
        helper.make_node("Expand", ["seed", "bomb_shape"], ["b0"]),
    ]
    tail += [helper.make_node("MatMul", [f"b{i}", "b0"], [f"b{i + 1}"]) for i in range(400)]
    tail += [
        helper.make_node("ReduceMax", ["b400"], ["top"], keepdims=0),
        helper.make_node("Add", ["scores", "top"], ["probabilities"]),
    ]
    shape = numpy_helper.from_array(np.array([2048, 2048], np.int64), "bomb_shape")
    return with_nodes_before(linear(tail=tail), [], [shape])
