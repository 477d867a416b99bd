"""Hostile models, each with one fault, and the layer that must stop it.

Write them as files: `python -m tests.unit.enclave.hostile.corpus DIRECTORY` makes NAME.onnx for each case and
`expect.json` with the layers. All are written for the interface image (n, 64) -> probabilities (n, 10).

Layers, in the order in which they look: "scan" (bytes and structure), "gate" (operators, versions, estimates),
"load" (runtime and interface), "limit" (time and memory), "run" (an error or a crash of the runtime), "output".
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.unit.enclave import graphs

LAYERS = ("scan", "gate", "load", "limit", "run", "output")


@dataclass(frozen=True)
class Case:
    """One hostile file."""

    name: str
    expect: str
    """The layer that must stop it."""
    words: str
    """What the reason for the developer must contain."""
    build: Callable[[], bytes]


_CASES: list[Case] = []


def cases(*layers: str) -> list[Case]:
    """Return the cases that these layers must stop, all without arguments."""
    return [case for case in _CASES if not layers or case.expect in layers]


def _case(expect: str, words: str) -> Callable[[Callable[[], bytes]], Callable[[], bytes]]:
    def add(build: Callable[[], bytes]) -> Callable[[], bytes]:
        _CASES.append(Case(build.__name__, expect, words, build))
        return build

    return add


# --- building blocks ------------------------------------------------------------------------------------------------


def honest() -> onnx.ModelProto:
    """The model that every fault is put into; passes every layer."""
    return graphs.linear()


def varint(value: int) -> bytes:
    """Encode a varint in its shortest form."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, content: bytes | int) -> bytes:
    """Encode a field: bytes with their length, ints as varints."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def replaced(change: Callable[[onnx.ModelProto], Any]) -> bytes:
    """The honest model after `change`."""
    model = honest()
    change(model)
    return bytes(model.SerializeToString())


def with_tail(*nodes: onnx.NodeProto, initializers: Sequence[onnx.TensorProto] = ()) -> bytes:
    """The honest model with `nodes` from `scores` to `probabilities`."""
    return graphs.with_nodes_before(graphs.linear(tail=nodes), [], initializers)


def with_head(*nodes: onnx.NodeProto, initializers: Sequence[onnx.TensorProto] = ()) -> bytes:
    """The honest model, to whose scores the largest number in `bomb` is added; `nodes` make `bomb` of nothing."""
    tail = [
        helper.make_node("ReduceMax", ["bomb"], ["top"], keepdims=0),
        helper.make_node("Add", ["scores", "top"], ["probabilities"]),
    ]
    return graphs.with_nodes_before(graphs.linear(tail=tail), nodes, initializers)


def ints(name: str, *values: int) -> onnx.TensorProto:
    """An int64 tensor of one axis."""
    return numpy_helper.from_array(np.array(values, np.int64), name)


def floats(name: str, *values: float) -> onnx.TensorProto:
    """A float32 tensor of one axis."""
    return numpy_helper.from_array(np.array(values, np.float32), name)


def branch(*nodes: onnx.NodeProto, initializers: Sequence[onnx.TensorProto] = ()) -> onnx.GraphProto:
    """A subgraph that ends in `branched`."""
    out = helper.make_tensor_value_info("branched", TensorProto.FLOAT, None)
    return helper.make_graph(list(nodes), "branch", [], [out], list(initializers))


def choosing(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Nodes that choose between `graph` and itself, into `probabilities`."""
    yes = helper.make_tensor("yes", TensorProto.BOOL, [], [True])
    return [
        helper.make_node("Constant", [], ["yes"], value=yes),
        helper.make_node(
            "If", ["yes"], ["probabilities"], name="choice", then_branch=graph, else_branch=graph
        ),
    ]


def external(location: str) -> onnx.TensorProto:
    """A tensor whose data lies in a file."""
    tensor = TensorProto(name="outside", data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def sparse() -> onnx.SparseTensorProto:
    """A sparse tensor with one value in 2**40."""
    values, indices = floats("sparse", 1.0), ints("sparse_indices", 5)
    return helper.make_sparse_tensor(values, indices, [2**40])


def forest(**changes: Any) -> bytes:
    """A regressor of one tree with three nodes, made into ten probabilities; `changes` replace its attributes."""
    attributes: dict[str, Any] = {
        "nodes_treeids": [0, 0, 0],
        "nodes_nodeids": [0, 1, 2],
        "nodes_featureids": [3, 0, 0],
        "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"],
        "nodes_values": [0.5, 0.0, 0.0],
        "nodes_truenodeids": [1, 0, 0],
        "nodes_falsenodeids": [2, 0, 0],
        "target_treeids": [0, 0],
        "target_nodeids": [1, 2],
        "target_ids": [0, 0],
        "target_weights": [0.25, 0.75],
        "n_targets": 1,
    }
    attributes |= changes
    tree = helper.make_node(
        "TreeEnsembleRegressor", ["x"], ["tree"], name="forest", domain="ai.onnx.ml", **attributes
    )
    model = graphs.linear(tail=[tree, helper.make_node("Add", ["scores", "tree"], ["probabilities"])])
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    return bytes(model.SerializeToString())


# --- scan: bytes ----------------------------------------------------------------------------------------------------


@_case("scan", "no graph")
def empty_file() -> bytes:
    return b""


@_case("scan", "byte")
def text_file() -> bytes:
    return b"this is not a model"


@_case("scan", "byte")
def ort_format() -> bytes:
    return b"\x18\x00\x00\x00ORTM" + bytes(500)


@_case("scan", "longer than what surrounds it")
def truncated() -> bytes:
    return honest().SerializeToString()[:-40]


@_case("scan", "shortest form")
def overlong_varint() -> bytes:
    return b"\x08\x88\x80\x80\x00" + honest().SerializeToString()


@_case("scan", "does not end")
def endless_varint() -> bytes:
    return b"\x08" + b"\xff" * 40


@_case("scan", "shortest form")
def overlong_length() -> bytes:
    return honest().SerializeToString() + b"\x32\x81\x00x"


@_case("scan", "shortest form")
def overlong_varints_in_a_run() -> bytes:
    plain, overlong = b"\x40\x00", b"\x40\x80\x00"
    return forest(nodes_treeids=[0] * 40).replace(plain * 40, plain * 37 + overlong * 2)


@_case("scan", "longer than what surrounds it")
def length_beyond_the_file() -> bytes:
    return honest().SerializeToString() + b"\x32" + varint(2**62)


@_case("scan", "not known")
def field_number_zero() -> bytes:
    return honest().SerializeToString() + b"\x00\x01"


@_case("scan", "not known")
def unknown_field() -> bytes:
    return honest().SerializeToString() + field(2000, b"payload")


@_case("scan", "not known")
def group() -> bytes:
    return honest().SerializeToString() + b"\x9b\x06" + b"\x9c\x06"


@_case("scan", "wrong wire type")
def group_in_a_known_field() -> bytes:
    return honest().SerializeToString() + b"\x33\x34"


@_case("scan", "wrong wire type")
def graph_as_a_number() -> bytes:
    return field(8, field(2, 17)) + field(7, 5)


@_case("scan", "twice")
def second_graph_that_a_parser_would_merge() -> bytes:
    return honest().SerializeToString() + field(7, field(1, field(4, b"Loop")))


@_case("scan", "twice")
def second_version_that_a_parser_would_take() -> bytes:
    return honest().SerializeToString() + field(1, 8)


@_case("scan", "nested deeper")
def recursion_in_messages() -> bytes:
    graph = b""
    for _ in range(400):
        attribute = field(1, b"then_branch") + field(6, graph) + field(20, 5)
        graph = field(1, field(4, b"If") + field(5, attribute))
    return field(8, field(2, 17)) + field(7, graph)


@_case("scan", "nested deeper")
def deep_subgraphs() -> bytes:
    graph = branch(helper.make_node("Identity", ["scores"], ["branched"]))
    for _ in range(12):
        nodes = choosing(graph)
        nodes[-1].output[0] = "branched"
        graph = branch(nodes[0], helper.make_node("If", ["yes"], ["branched"], then_branch=graph))
    return with_tail(*choosing(graph))


@_case("scan", "nodes")
def million_nodes() -> bytes:
    node = field(1, field(1, b"x") + field(2, b"y") + field(4, b"Relu"))
    output = field(12, field(1, b"y"))
    return field(1, 8) + field(8, field(2, 17)) + field(7, node * 1_000_000 + output)


@_case("scan", "fields")
def half_a_million_fields() -> bytes:
    node = field(1, field(4, b"Relu") + field(5, field(1, b"")) * 600_000)
    return field(1, 8) + field(8, field(2, 17)) + field(7, node)


@_case("scan", "tensors")
def thousands_of_tensors() -> bytes:
    tensors = b"".join(
        field(5, field(1, 1) + field(2, 1) + field(9, bytes(4)) + field(8, b"t%d" % index))
        for index in range(25_000)
    )
    return field(1, 8) + field(8, field(2, 17)) + field(7, tensors)


# --- scan: what no model may carry ----------------------------------------------------------------------------------


@_case("scan", "functions")
def function() -> bytes:
    def change(model: onnx.ModelProto) -> None:
        body = [helper.make_node("Relu", ["a"], ["b"])]
        opset = [helper.make_opsetid("", 17)]
        model.functions.append(helper.make_function("local", "F", ["a"], ["b"], body, opset))

    return replaced(change)


@_case("scan", "functions")
def nested_functions() -> bytes:
    def change(model: onnx.ModelProto) -> None:
        for level in range(50):
            body = [helper.make_node(f"F{level + 1}", ["a"], ["b"], domain="local")] * 2
            model.functions.append(helper.make_function("local", f"F{level}", ["a"], ["b"], body, []))

    return replaced(change)


@_case("scan", "training")
def training_info() -> bytes:
    return replaced(lambda model: model.training_info.add())


@_case("scan", "sparse")
def sparse_initializer() -> bytes:
    return replaced(lambda model: model.graph.sparse_initializer.append(sparse()))


@_case("scan", "sparse")
def sparse_attribute() -> bytes:
    return with_head(helper.make_node("Constant", [], ["bomb"], sparse_value=sparse()))


@_case("scan", "sparse")
def sparse_attribute_in_a_subgraph() -> bytes:
    return with_tail(*choosing(branch(helper.make_node("Constant", [], ["branched"], sparse_value=sparse()))))


@_case("scan", "sparse")
def sparse_type() -> bytes:
    def change(model: onnx.ModelProto) -> None:
        value = model.graph.value_info.add(name="scores")
        value.type.sparse_tensor_type.elem_type = TensorProto.FLOAT

    return replaced(change)


@_case("scan", "outside the file")
def external_data_by_absolute_path() -> bytes:
    return replaced(lambda model: model.graph.initializer.append(external("/etc/passwd")))


@_case("scan", "outside the file")
def external_data_by_relative_path() -> bytes:
    return replaced(lambda model: model.graph.initializer.append(external("../../etc/passwd")))


@_case("scan", "outside the file")
def external_data_beside_the_model() -> bytes:
    return replaced(lambda model: model.graph.initializer.append(external("link")))


@_case("scan", "outside the file")
def external_data_in_an_attribute() -> bytes:
    return with_head(helper.make_node("Constant", [], ["bomb"], value=external("/etc/passwd")))


@_case("scan", "outside the file")
def external_data_in_a_subgraph() -> bytes:
    node = helper.make_node("Identity", ["outside"], ["branched"])
    return with_tail(*choosing(branch(node, initializers=[external("/etc/passwd")])))


@_case("scan", "outside the file")
def external_entry_without_its_location_flag() -> bytes:
    tensor = external("/etc/passwd")
    tensor.data_location = TensorProto.DEFAULT
    return replaced(lambda model: model.graph.initializer.append(tensor))


@_case("scan", "refers to an attribute")
def attribute_of_a_function() -> bytes:
    def change(model: onnx.ModelProto) -> None:
        model.graph.node[0].attribute[0].ref_attr_name = "alpha"

    return replaced(change)


@_case("scan", "domain")
def node_of_a_custom_domain() -> bytes:
    return with_tail(helper.make_node("FusedMatMul", ["scores"], ["probabilities"], domain="com.microsoft"))


@_case("scan", "opaque")
def opaque_type() -> bytes:
    def change(model: onnx.ModelProto) -> None:
        model.graph.value_info.append(
            onnx.ValueInfoProto.FromString(field(1, b"scores") + field(2, field(7, b"")))
        )

    return replaced(change)


# --- scan: sizes ----------------------------------------------------------------------------------------------------


def _initializer(**fields: Any) -> bytes:
    return replaced(lambda model: model.graph.initializer.append(TensorProto(name="liar", **fields)))


@_case("scan", "needs")
def dimensions_larger_than_the_data() -> bytes:
    return _initializer(data_type=TensorProto.FLOAT, dims=[1000, 1000], raw_data=bytes(16))


@_case("scan", "needs")
def dimensions_smaller_than_the_data() -> bytes:
    return _initializer(data_type=TensorProto.FLOAT, dims=[2], float_data=[1.0] * 100)


@_case("scan", "negative")
def negative_dimension() -> bytes:
    return _initializer(data_type=TensorProto.FLOAT, dims=[-4, -1], raw_data=bytes(16))


@_case("scan", "needs")
def overflowing_dimensions() -> bytes:
    return _initializer(data_type=TensorProto.FLOAT, dims=[2**32, 2**32, 4], raw_data=bytes(16))


@_case("scan", "outside 0..2^40")
def overflowing_declared_dimension() -> bytes:
    return replaced(
        lambda model: setattr(model.graph.input[0].type.tensor_type.shape.dim[1], "dim_value", 2**62)
    )


@_case("scan", "outside 0..2^40")
def negative_declared_dimension() -> bytes:
    return replaced(
        lambda model: setattr(model.graph.input[0].type.tensor_type.shape.dim[1], "dim_value", -(2**40))
    )


@_case("scan", "element type")
def unknown_element_type() -> bytes:
    return _initializer(data_type=99, dims=[1], raw_data=bytes(4))


@_case("scan", "data twice")
def data_twice() -> bytes:
    return _initializer(data_type=TensorProto.FLOAT, dims=[4], raw_data=bytes(16), float_data=[1.0] * 4)


@_case("scan", "another element type")
def data_of_another_type() -> bytes:
    return _initializer(data_type=TensorProto.FLOAT, dims=[4], int64_data=[1] * 4)


@_case("scan", "stated type")
def attribute_of_another_type() -> bytes:
    def change(model: onnx.ModelProto) -> None:
        attribute = model.graph.node[0].attribute[0]
        attribute.g.CopyFrom(branch(helper.make_node("Loop", [], ["branched"])))

    return replaced(change)


@_case("scan", "twice")
def attribute_twice() -> bytes:
    def change(model: onnx.ModelProto) -> None:
        model.graph.node[0].attribute.append(model.graph.node[0].attribute[0])

    return replaced(change)


@_case("scan", "longer than")
def huge_name() -> bytes:
    return replaced(lambda model: setattr(model.graph.node[0], "name", "n" * 10_000_000))


@_case("scan", "text of more than")
def huge_attribute_string() -> bytes:
    return forest(post_transform="N" * 10_000_000)


@_case("scan", "has no name or one that is taken")
def initializer_twice() -> bytes:
    return replaced(lambda model: model.graph.initializer.append(model.graph.initializer[0]))


# --- gate: operators ------------------------------------------------------------------------------------------------


@_case("gate", "repeat without end")
def endless_loop() -> bytes:
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["still"])],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("still", TensorProto.BOOL, [])],
    )
    trips = numpy_helper.from_array(np.array(2**60, np.int64), "trips")
    loop = helper.make_node("Loop", ["trips"], ["bomb"], name="forever", body=body)
    return with_head(loop, initializers=[trips])


@_case("gate", "repeat without end")
def scan_operator() -> bytes:
    graph = branch(helper.make_node("Identity", ["scores"], ["branched"]))
    return with_tail(helper.make_node("Scan", ["scores"], ["probabilities"], body=graph, num_scan_inputs=1))


@_case("gate", "repeat without end")
def loop_in_a_subgraph() -> bytes:
    return with_tail(*choosing(branch(helper.make_node("Loop", [], ["branched"]))))


def _random(operator: str) -> bytes:
    return with_tail(helper.make_node(operator, ["scores"], ["probabilities"]))


@_case("gate", "random")
def random_normal() -> bytes:
    return _random("RandomNormalLike")


@_case("gate", "random")
def random_uniform() -> bytes:
    return _random("RandomUniformLike")


@_case("gate", "random")
def bernoulli() -> bytes:
    return _random("Bernoulli")


@_case("gate", "random")
def multinomial() -> bytes:
    return _random("Multinomial")


@_case("gate", "at random")
def dropout_in_training() -> bytes:
    training = helper.make_tensor("training", TensorProto.BOOL, [], [True])
    return with_tail(
        helper.make_node("Dropout", ["scores", "", "training"], ["probabilities"]), initializers=[training]
    )


@_case("gate", "training mode")
def batch_normalization_in_training() -> bytes:
    names = ["scale", "bias", "mean", "var"]
    node = helper.make_node(
        "BatchNormalization", ["scores", *names], ["probabilities", "m", "v"], training_mode=1
    )
    return with_tail(node, initializers=[floats(name, *[1.0] * 10) for name in names])


@_case("gate", "allow-list")
def unknown_operator() -> bytes:
    return with_tail(helper.make_node("Launder", ["scores"], ["probabilities"]))


@_case("gate", "allow-list")
def sequence_operator() -> bytes:
    return with_tail(helper.make_node("SequenceConstruct", ["scores"], ["probabilities"]))


@_case("gate", "only If may")
def graph_in_an_operator_that_takes_none() -> bytes:
    graph = branch(helper.make_node("Identity", ["scores"], ["branched"]))
    return with_tail(helper.make_node("Relu", ["scores"], ["probabilities"], body=graph))


@_case("gate", "then_branch and an else_branch")
def if_without_its_branches() -> bytes:
    return with_tail(choosing(branch())[0], helper.make_node("If", ["yes"], ["probabilities"]))


@_case("gate", "branch with inputs")
def branch_with_inputs() -> bytes:
    graph = branch(helper.make_node("Identity", ["given"], ["branched"]))
    graph.input.add(name="given")
    return with_tail(*choosing(graph))


# --- gate: versions and names ---------------------------------------------------------------------------------------


@_case("gate", "operator domain")
def opset_of_a_custom_domain() -> bytes:
    return replaced(lambda model: model.opset_import.append(helper.make_opsetid("com.microsoft", 1)))


@_case("gate", "opset of ai.onnx must be")
def opset_too_old() -> bytes:
    return replaced(lambda model: setattr(model.opset_import[0], "version", 3))


@_case("gate", "opset of ai.onnx must be")
def opset_too_new() -> bytes:
    return replaced(lambda model: setattr(model.opset_import[0], "version", 2**40))


@_case("gate", "opset of ai.onnx must be")
def opset_below_zero() -> bytes:
    return replaced(lambda model: setattr(model.opset_import[0], "version", -17))


@_case("gate", "stated twice")
def two_opsets_of_one_domain() -> bytes:
    return replaced(lambda model: model.opset_import.append(helper.make_opsetid("ai.onnx", 11)))


@_case("gate", "ir_version")
def ir_version_too_new() -> bytes:
    return replaced(lambda model: setattr(model, "ir_version", 1000))


@_case("gate", "there already")
def output_name_twice() -> bytes:
    return with_tail(
        helper.make_node("Relu", ["scores"], ["probabilities"]),
        helper.make_node("Neg", ["scores"], ["probabilities"]),
    )


@_case("gate", "there already")
def output_named_like_an_initializer() -> bytes:
    return with_tail(
        helper.make_node("Neg", ["scores"], ["W"]), helper.make_node("Relu", ["scores"], ["probabilities"])
    )


@_case("gate", "input twice")
def input_twice() -> bytes:
    return replaced(lambda model: model.graph.input.append(model.graph.input[0]))


@_case("gate", "later node")
def cycle_of_nodes() -> bytes:
    return with_tail(
        helper.make_node("Add", ["scores", "second"], ["first"]),
        helper.make_node("Add", ["scores", "first"], ["second"]),
        helper.make_node("Relu", ["second"], ["probabilities"]),
    )


# --- gate: trees ----------------------------------------------------------------------------------------------------


@_case("gate", "two ways")
def tree_cycle_to_its_root() -> bytes:
    return forest(
        nodes_modes=["BRANCH_LEQ", "BRANCH_LEQ", "LEAF"],
        nodes_truenodeids=[1, 2, 0],
        nodes_falsenodeids=[2, 0, 0],
    )


@_case("gate", "cycle")
def tree_cycle_beside_its_root() -> bytes:
    count = 5
    return forest(
        nodes_treeids=[0] * count,
        nodes_nodeids=list(range(count)),
        nodes_featureids=[0] * count,
        nodes_values=[0.0] * count,
        nodes_modes=["LEAF", "BRANCH_LEQ", "BRANCH_LEQ", "LEAF", "LEAF"],
        nodes_truenodeids=[0, 2, 1, 0, 0],
        nodes_falsenodeids=[0, 3, 4, 0, 0],
        target_nodeids=[0, 3],
    )


@_case("gate", "two ways")
def tree_that_joins_again() -> bytes:
    return forest(nodes_falsenodeids=[1, 0, 0])


@_case("gate", "not there")
def tree_child_out_of_range() -> bytes:
    return forest(nodes_falsenodeids=[2**31 - 1, 0, 0])


@_case("gate", "not there")
def tree_child_below_zero() -> bytes:
    return forest(nodes_falsenodeids=[-1, 0, 0])


@_case("gate", "not there")
def tree_weight_on_a_node_that_is_not_there() -> bytes:
    return forest(target_nodeids=[1, 77])


@_case("gate", "target_ids outside")
def tree_target_out_of_range() -> bytes:
    return forest(target_ids=[0, 5_000_000])


@_case("gate", "reads feature")
def tree_feature_out_of_range() -> bytes:
    return forest(nodes_featureids=[2_000_000_000, 0, 0])


@_case("gate", "negative")
def tree_feature_below_zero() -> bytes:
    return forest(nodes_featureids=[-1, 0, 0])


@_case("gate", "different lengths")
def tree_columns_of_different_lengths() -> bytes:
    return forest(nodes_truenodeids=[1])


@_case("gate", "nodes_values")
def tree_with_too_few_values() -> bytes:
    return forest(nodes_values=[0.5])


@_case("gate", "one id")
def tree_node_twice() -> bytes:
    return forest(nodes_nodeids=[0, 1, 1])


@_case("gate", "mode")
def tree_mode_unknown() -> bytes:
    return forest(nodes_modes=["BRANCH_LEQ", "LEAF", "BRANCH_GOTO"])


@_case("gate", "levels")
def tree_as_deep_as_it_is_large() -> bytes:
    inner = 20_000
    count = 2 * inner + 1
    return forest(
        nodes_treeids=[0] * count,
        nodes_nodeids=list(range(count)),
        nodes_featureids=[0] * count,
        nodes_values=[0.0] * count,
        nodes_modes=["BRANCH_LEQ"] * inner + ["LEAF"] * (inner + 1),
        nodes_truenodeids=[*range(inner, 2 * inner), *([0] * (inner + 1))],
        nodes_falsenodeids=[*range(1, inner), 2 * inner, *([0] * (inner + 1))],
        target_nodeids=[inner, inner + 1],
    )


# --- gate: what cannot fit ------------------------------------------------------------------------------------------


@_case("gate", "makes a tensor of")
def constant_of_shape_bomb() -> bytes:
    return with_head(
        helper.make_node("ConstantOfShape", ["size"], ["bomb"], name="inflate"),
        initializers=[ints("size", 2**17, 2**17)],
    )


@_case("gate", "makes a tensor of")
def expand_bomb() -> bytes:
    return with_head(
        helper.make_node("Expand", ["one", "size"], ["bomb"]),
        initializers=[floats("one", 1.0), ints("size", 2**40)],
    )


@_case("gate", "makes a tensor of")
def tile_bomb() -> bytes:
    return with_head(
        helper.make_node("Tile", ["one", "size"], ["bomb"]),
        initializers=[floats("one", *[1.0] * 1000), ints("size", 2**30)],
    )


@_case("gate", "makes a tensor of")
def range_bomb() -> bytes:
    numbers = [
        numpy_helper.from_array(np.array(value, np.int64), name)
        for name, value in (("start", 0), ("stop", 2**40), ("step", 1))
    ]
    return with_head(
        helper.make_node("Range", ["start", "stop", "step"], ["all"]),
        helper.make_node("Cast", ["all"], ["bomb"], to=TensorProto.FLOAT),
        initializers=numbers,
    )


@_case("gate", "makes a tensor of")
def pad_bomb() -> bytes:
    return with_head(
        helper.make_node("Pad", ["one", "size"], ["bomb"]),
        initializers=[floats("one", 1.0), ints("size", 2**34, 2**34)],
    )


@_case("gate", "makes a tensor of")
def resize_bomb() -> bytes:
    small = numpy_helper.from_array(np.zeros((1, 1, 8, 8), np.float32), "small")
    return with_head(
        helper.make_node("Resize", ["small", "", "scales"], ["bomb"]),
        initializers=[small, floats("scales", 1, 1, 100_000, 100_000)],
    )


@_case("gate", "makes a tensor of")
def one_hot_bomb() -> bytes:
    return with_tail(
        helper.make_node("ArgMax", ["scores"], ["best"], axis=1, keepdims=0),
        helper.make_node("OneHot", ["best", "depth", "pair"], ["wide"]),
        helper.make_node("ReduceSum", ["wide", "last"], ["sums"]),
        helper.make_node("Add", ["scores", "sums"], ["probabilities"]),
        initializers=[ints("depth", 2**32), floats("pair", 0.0, 1.0), ints("last", -1)],
    )


@_case("gate", "makes a tensor of")
def bomb_in_a_subgraph() -> bytes:
    node = helper.make_node("ConstantOfShape", ["size"], ["branched"])
    return with_tail(*choosing(branch(node, initializers=[ints("size", 2**36)])))


@_case("gate", "makes a tensor of")
def bomb_of_a_computed_size() -> bytes:
    return with_head(
        helper.make_node("Mul", ["size", "size"], ["square"]),
        helper.make_node("Concat", ["square", "size"], ["shape"], axis=0),
        helper.make_node("ConstantOfShape", ["shape"], ["bomb"]),
        initializers=[ints("size", 2**14)],
    )


@_case("gate", "makes a tensor of")
def chain_of_doublings() -> bytes:
    nodes = [helper.make_node("Concat", [f"b{i}", f"b{i}"], [f"b{i + 1}"], axis=0) for i in range(60)]
    nodes.append(helper.make_node("Identity", ["b60"], ["bomb"]))
    return with_head(*nodes, initializers=[floats("b0", *[1.0] * 300)])


@_case("gate", "multiply-accumulates")
def compute_bomb_beyond_any_processor() -> bytes:
    nodes = [helper.make_node("ConstantOfShape", ["size"], ["b0"])]
    nodes += [helper.make_node("MatMul", [f"b{i}", "b0"], [f"b{i + 1}"]) for i in range(200)]
    nodes.append(helper.make_node("Identity", ["b200"], ["bomb"]))
    return with_head(*nodes, initializers=[ints("size", 4096, 4096)])


# --- load -----------------------------------------------------------------------------------------------------------


@_case("load", "")
def value_that_nothing_makes() -> bytes:
    return with_tail(helper.make_node("Add", ["scores", "nowhere"], ["probabilities"]))


@_case("load", "")
def operands_of_different_types() -> bytes:
    return with_tail(
        helper.make_node("Add", ["scores", "one"], ["probabilities"]), initializers=[ints("one", 1)]
    )


@_case("load", "image")
def other_input_name() -> bytes:
    return bytes(graphs.linear(input_name="picture").SerializeToString())


@_case("load", "shape")
def fixed_batch() -> bytes:
    return bytes(graphs.linear(rows=7).SerializeToString())


@_case("load", "shape")
def other_number_of_classes() -> bytes:
    return bytes(graphs.linear(classes=9).SerializeToString())


# --- limit, run, output ---------------------------------------------------------------------------------------------


def _from_data(target: int) -> list[onnx.NodeProto]:
    """Nodes that make `size`, int64 of one axis, from the input, so that nobody can know it beforehand."""
    return [
        helper.make_node("ReduceMax", ["scores"], ["some"], keepdims=0),
        helper.make_node("Mul", ["some", "zero"], ["none"]),
        helper.make_node("Cast", ["none"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Add", ["whole", f"by_{target}"], ["size"]),
    ]


@_case("limit", "")
def memory_bomb_at_run() -> bytes:
    return with_tail(
        *_from_data(2**35),
        helper.make_node("ConstantOfShape", ["size"], ["b"]),
        helper.make_node("ReduceMax", ["b"], ["top"], keepdims=0),
        helper.make_node("Add", ["scores", "top"], ["probabilities"]),
        initializers=[floats("zero", 0.0), ints(f"by_{2**35}", 2**35)],
    )


@_case("limit", "")
def compute_bomb_at_load() -> bytes:
    nodes = [helper.make_node("ConstantOfShape", ["size"], ["b0"])]
    nodes += [helper.make_node("MatMul", [f"b{i}", "b0"], [f"b{i + 1}"]) for i in range(120)]
    nodes.append(helper.make_node("Identity", ["b120"], ["bomb"]))
    return with_head(*nodes, initializers=[ints("size", 2048, 2048)])


@_case("limit", "")
def compute_bomb_at_run() -> bytes:
    nodes = [
        *_from_data(2048),
        helper.make_node("Concat", ["size", "size"], ["square"], axis=0),
        helper.make_node("ConstantOfShape", ["square"], ["b0"]),
    ]
    nodes += [helper.make_node("MatMul", [f"b{i}", "b0"], [f"b{i + 1}"]) for i in range(1000)]
    nodes += [
        helper.make_node("ReduceMax", ["b1000"], ["top"], keepdims=0),
        helper.make_node("Add", ["scores", "top"], ["probabilities"]),
    ]
    return with_tail(*nodes, initializers=[floats("zero", 0.0), ints("by_2048", 2048)])


@_case("run", "")
def reshape_that_cannot_be() -> bytes:
    return with_tail(
        *_from_data(7),
        helper.make_node("Reshape", ["scores", "size"], ["flat"]),
        helper.make_node("Add", ["scores", "flat"], ["probabilities"]),
        initializers=[floats("zero", 0.0), ints("by_7", 7)],
    )


@_case("run", "")
def index_out_of_range() -> bytes:
    return with_tail(
        *_from_data(2**40),
        helper.make_node("Gather", ["scores", "size"], ["picked"], axis=1),
        helper.make_node("Add", ["scores", "picked"], ["probabilities"]),
        initializers=[floats("zero", 0.0), ints(f"by_{2**40}", 2**40)],
    )


@_case("run", "")
def crash_by_integer_division() -> bytes:
    return with_tail(
        *_from_data(0),
        helper.make_node("Div", ["one", "size"], ["crash"]),
        helper.make_node("Cast", ["crash"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["scores", "real"], ["probabilities"]),
        initializers=[floats("zero", 0.0), ints("by_0", 0), ints("one", 1)],
    )


@_case("output", "NaN")
def not_a_number() -> bytes:
    return graphs.not_finite()


@_case("output", "NaN")
def infinity() -> bytes:
    return with_tail(
        helper.make_node("Mul", ["scores", "zero"], ["none"]),
        helper.make_node("Exp", ["none"], ["ones"]),
        helper.make_node("Div", ["ones", "none"], ["probabilities"]),
        initializers=[floats("zero", 0.0)],
    )


@_case("output", "must be float32")
def twice_as_many_rows() -> bytes:
    model = graphs.linear(tail=[helper.make_node("Concat", ["scores", "scores"], ["probabilities"], axis=0)])
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "m"
    return bytes(model.SerializeToString())


@_case("output", "alone and in its batch")
def answer_from_the_batch() -> bytes:
    return with_tail(
        helper.make_node("ReduceMean", ["scores"], ["mean"], axes=[0]),
        helper.make_node("Sub", ["scores", "mean"], ["probabilities"]),
    )


@_case("output", "alone and in its batch")
def softmax_over_the_batch() -> bytes:
    return with_tail(helper.make_node("Softmax", ["scores"], ["probabilities"], axis=0))


def memory_held_at_run() -> bytes:
    """Takes memory bit by bit and keeps it: 16 MiB a step, of a size that only the input tells. Not in the corpus."""
    steps = 2000
    nodes = _from_data(2**22)
    for step in range(steps):
        before = f"most{step - 1}" if step else "some"
        nodes += [
            helper.make_node("Expand", [before, "size"], [f"wide{step}"]),
            helper.make_node("Add", [f"wide{step}", "some"], [f"kept{step}"]),
            helper.make_node("ReduceMax", [f"kept{step}"], [f"most{step}"], keepdims=0),
        ]
    nodes += [
        helper.make_node("Sum", [f"kept{step}" for step in range(steps)], ["all"]),
        helper.make_node("ReduceMax", ["all"], ["top"], keepdims=0),
        helper.make_node("Add", ["scores", "top"], ["probabilities"]),
    ]
    return with_tail(*nodes, initializers=[floats("zero", 0.0), ints(f"by_{2**22}", 2**22)])


def write(directory: Path) -> Iterator[Path]:
    """Write every case to `directory`, and `expect.json` beside them; yields what was written."""
    directory.mkdir(parents=True, exist_ok=True)
    for case in _CASES:
        path = directory / f"{case.name}.onnx"
        path.write_bytes(case.build())
        yield path
    expected = {case.name: case.expect for case in _CASES}
    (directory / "expect.json").write_text(json.dumps(expected, indent=2) + "\n")


if __name__ == "__main__":
    for written in write(Path(sys.argv[1])):
        print(written)
