"""What honest exporters write passes the gate, is read as ONNX's own parser reads it, and is estimated rightly."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx, update_registered_converter
from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes
from sklearn.datasets import load_digits
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from goldengrain_enclave.benchmark import gate, onnx_forms
from goldengrain_enclave.benchmark.failures import ModelFailure
from goldengrain_enclave.benchmark.onnx_structure import decode_structure
from goldengrain_enclave.benchmark.protobuf_scan import Kind, MessageForm

IMAGES, LABELS = load_digits(return_X_y=True)
IMAGES = IMAGES[:300].astype(np.float32)
LABELS = LABELS[:300]
LIMITS = gate.GateLimits({"X": (256, 64)}, 100, 2**30, 600)


def conv_net(*, dynamic_flatten: bool = False) -> onnx.ModelProto:
    """Two convolutions with pooling and a dense layer, as PyTorch writes them."""
    generator = np.random.default_rng(0)

    def weights(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(generator.normal(size=shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c1", "s", "o", "m", "v"], ["n1"], epsilon=1e-5),
        helper.make_node("Relu", ["n1"], ["r1"]),
        helper.make_node("MaxPool", ["r1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p1", "w2"], ["c2"], strides=[2, 2], pads=[1, 1, 1, 1], group=2),
        helper.make_node("Relu", ["c2"], ["r2"]),
    ]
    if dynamic_flatten:
        nodes += [
            helper.make_node("Shape", ["r2"], ["dims"]),
            helper.make_node("Gather", ["dims", "zero"], ["rows"], axis=0),
            helper.make_node("Unsqueeze", ["rows", "first"], ["row"]),
            helper.make_node("Concat", ["row", "rest"], ["target"], axis=0),
            helper.make_node("Reshape", ["r2", "target"], ["flat"]),
        ]
    else:
        nodes.append(helper.make_node("Flatten", ["r2"], ["flat"], axis=1))
    nodes += [
        helper.make_node("Gemm", ["flat", "w3", "b3"], ["z"], transB=1),
        helper.make_node("Softmax", ["z"], ["y"], axis=-1),
    ]
    initializers = [
        weights("w1", 8, 1, 3, 3),
        weights("b1", 8),
        *(weights(name, 8) for name in "somv"),
        weights("w2", 16, 4, 3, 3),
        weights("w3", 10, 16 * 49),
        weights("b3", 10),
        numpy_helper.from_array(np.array(0, np.int64), "zero"),
        numpy_helper.from_array(np.array([0], np.int64), "first"),
        numpy_helper.from_array(np.array([-1], np.int64), "rest"),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 28, 28])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def boosted() -> onnx.ModelProto:
    from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost
    from xgboost import XGBClassifier

    update_registered_converter(
        XGBClassifier,
        "XGBoostXGBClassifier",
        calculate_linear_classifier_output_shapes,
        convert_xgboost,
        options={"nocl": [True, False], "zipmap": [True, False, "columns"]},
    )
    model = XGBClassifier(n_estimators=5).fit(IMAGES, LABELS)
    return to_onnx(model, IMAGES[:1], options={"zipmap": False}, target_opset={"": 17, "ai.onnx.ml": 3})


SCIKIT_LEARN: dict[str, Callable[[], Any]] = {
    "linear": lambda: LogisticRegression(max_iter=20),
    "forest": lambda: RandomForestClassifier(n_estimators=8),
    "boosting": lambda: GradientBoostingClassifier(n_estimators=3),
    "network": lambda: MLPClassifier(max_iter=5),
    "support vectors": lambda: SVC(probability=True),
    "pipeline": lambda: make_pipeline(StandardScaler(), LogisticRegression(max_iter=20)),
    "bayes": lambda: GaussianNB(),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SCIKIT_LEARN)
@pytest.mark.parametrize("zipmap", [False, True])
def test_scikit_learn_models_pass(name: str, *, zipmap: bool) -> None:
    model = SCIKIT_LEARN[name]().fit(IMAGES, LABELS)
    exported = to_onnx(model, IMAGES[:1], options={id(model): {"zipmap": zipmap}})
    assert_read_as_onnx_reads_it(exported)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("model", [Ridge(), RandomForestRegressor(n_estimators=5)])
def test_scikit_learn_regressors_pass(model: Any) -> None:
    assert_read_as_onnx_reads_it(to_onnx(model.fit(IMAGES, LABELS), IMAGES[:1]))


@pytest.mark.filterwarnings("ignore")
def test_xgboost_models_pass() -> None:
    assert_read_as_onnx_reads_it(boosted())


@pytest.mark.filterwarnings("ignore")
def test_lightgbm_models_pass() -> None:
    lightgbm = pytest.importorskip("lightgbm", reason="LightGBM is an optional extra")
    from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm

    update_registered_converter(
        lightgbm.LGBMClassifier,
        "LightGbmLGBMClassifier",
        calculate_linear_classifier_output_shapes,
        convert_lightgbm,
        options={"nocl": [True, False], "zipmap": [True, False, "columns"]},
    )
    model = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(IMAGES, LABELS)
    options = {"zipmap": False}
    opsets = {"": 17, "ai.onnx.ml": 3}
    assert_read_as_onnx_reads_it(to_onnx(model, IMAGES[:1], options=options, target_opset=opsets))


@pytest.mark.parametrize("dynamic", [False, True])
def test_convolutional_network_is_counted_exactly(*, dynamic: bool) -> None:
    model = conv_net(dynamic_flatten=dynamic)
    assert_read_as_onnx_reads_it(model)
    report = gate.check_model(model.SerializeToString(), gate.GateLimits({"x": (4, 1, 28, 28)}, 1, 2**30, 60))
    convolutions = 28 * 28 * 8 * 9 + 7 * 7 * 16 * 4 * 9
    assert report.macs == 4 * (convolutions + 16 * 49 * 10)
    weights = sum(numpy_helper.to_array(tensor).nbytes for tensor in model.graph.initializer)
    assert report.peak_bytes == weights + 2 * 4 * 8 * 28 * 28 * 4  # the normalisation's input and output


def test_search_among_neighbours_is_refused_with_the_operator_named() -> None:
    """An exporter that needs a loop: the developer is told where."""
    exported = to_onnx(KNeighborsClassifier(3).fit(IMAGES, LABELS), IMAGES[:1], options={"zipmap": False})
    assert any(node.op_type == "Scan" for node in exported.graph.node)
    with pytest.raises(ModelFailure) as refusal:
        gate.check_model(exported.SerializeToString(), LIMITS)
    assert "'Scan', which may repeat without end" in refusal.value.detail


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (onnx_forms.MODEL, onnx.ModelProto),
        (onnx_forms.GRAPH, onnx.GraphProto),
        (onnx_forms.NODE, onnx.NodeProto),
        (onnx_forms.ATTRIBUTE, onnx.AttributeProto),
        (onnx_forms.TENSOR, onnx.TensorProto),
        (onnx_forms.VALUE_INFO, onnx.ValueInfoProto),
        (onnx_forms.TYPE, onnx.TypeProto),
        (onnx_forms.TENSOR_TYPE, onnx.TypeProto.Tensor),
        (onnx_forms.SHAPE, onnx.TensorShapeProto),
        (onnx_forms.DIMENSION, onnx.TensorShapeProto.Dimension),
        (onnx_forms.OPSET, onnx.OperatorSetIdProto),
        (onnx_forms.ENTRY, onnx.StringStringEntryProto),
    ],
    ids=lambda value: value.name if isinstance(value, MessageForm) else "",
)
def test_forms_are_those_of_onnx(form: MessageForm, message: Any) -> None:
    kinds = {1: Kind.DOUBLE, 2: Kind.FLOAT, 9: Kind.BYTES, 11: Kind.BYTES, 12: Kind.BYTES}
    known = {
        entry.number: (entry.name, kinds.get(entry.type, Kind.INT), bool(entry.is_repeated))
        for entry in message.DESCRIPTOR.fields
    }
    assert known == {number: (f.name, f.kind, f.repeated) for number, f in form.fields.items()}


def test_damaged_files_raise_nothing_else() -> None:
    """Whatever the bytes, the gate answers with a ModelFailure or lets the model through."""
    generator = np.random.default_rng(5)
    originals = [conv_net(dynamic_flatten=True).SerializeToString(), boosted_bytes()]
    details = []
    for turn in range(600):
        data = bytearray(originals[turn % 2])
        for _ in range(int(generator.integers(1, 6))):
            position = int(generator.integers(len(data)))
            if generator.random() < 0.5:
                position = min(position, 4000)  # where the structure is dense
            data[position] = int(generator.integers(256))
        if generator.random() < 0.2:
            del data[int(generator.integers(len(data))) :]
        try:
            gate.check_model(bytes(data), LIMITS)
        except ModelFailure as failure:
            details.append(failure.detail)
    assert len(details) > 200
    assert all(details)


def boosted_bytes() -> bytes:
    """A small ensemble of trees."""
    model = RandomForestRegressor(n_estimators=2, max_depth=4, random_state=0).fit(IMAGES, LABELS)
    return bytes(to_onnx(model, IMAGES[:1]).SerializeToString())


def test_gate_is_quick_at_50_megabytes() -> None:
    rows = numpy_helper.from_array(np.zeros((1250, 10_000), np.float32), "W")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "W"], ["y"])],
        "large",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1250])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10_000])],
        [rows],
    )
    data = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()
    times = []
    for _ in range(5):
        start = time.process_time()
        gate.check_model(data)
        times.append(time.process_time() - start)
    assert min(times) < 0.1


def assert_read_as_onnx_reads_it(exported: onnx.ModelProto) -> None:
    data = exported.SerializeToString()
    gate.check_model(data, LIMITS)
    read, reference = decode_structure(data).graph, exported.graph
    assert [node.operator.removeprefix("ai.onnx.ml:") for node in read.nodes] == [
        node.op_type for node in reference.node
    ]
    assert [list(node.inputs) for node in read.nodes] == [list(node.input) for node in reference.node]
    assert [list(node.outputs) for node in read.nodes] == [list(node.output) for node in reference.node]
    assert {name: tensor.dims for name, tensor in read.initializers.items()} == {
        tensor.name: tuple(tensor.dims) for tensor in reference.initializer
    }
    for node, expected in zip(read.nodes, reference.node, strict=True):
        for attribute in expected.attribute:
            found = node.attributes[attribute.name]
            if attribute.type == onnx.AttributeProto.INTS:
                assert found.ints is not None
                assert found.ints.tolist() == list(attribute.ints)
            elif attribute.type == onnx.AttributeProto.FLOATS:
                assert found.floats == len(attribute.floats)
            elif attribute.type == onnx.AttributeProto.STRINGS:
                assert found.texts == len(attribute.strings)
            elif attribute.type == onnx.AttributeProto.INT:
                assert found.i == attribute.i
