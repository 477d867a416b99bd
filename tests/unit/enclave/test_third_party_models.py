"""Models that others ship inside Python packages pass gate and sandbox, and answer as under bare onnxruntime.

The packages are too large for everybody's test environment, and only their ONNX files are wanted. Where their wheels
do not lie in build/third-party these tests say so and stand aside; this fetches them:

    pip download --no-deps --dest build/third-party magika==1.0.3 silero-vad==6.2.3 rapidocr-onnxruntime==1.4.4
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from goldengrain_enclave.benchmark import gate
from goldengrain_enclave.benchmark.channel import ModelTask, TensorForm
from goldengrain_enclave.benchmark.model_process import Limits
from goldengrain_enclave.benchmark.sandbox import Sandbox

WHEELS = Path(__file__).parents[3] / "build" / "third-party"
SAMPLES, MEMORY_BYTES = 6, 2**30
SILERO = ("silero_vad", "silero_vad_op18_ifless", "silero_vad_half", "silero_vad_16k_op15")
SIZES = {
    "ch_ppocr_mobile_v2.0_cls_infer": ((3, 48, 192), (2,)),
    "ch_PP-OCRv4_rec_infer": ((3, 48, 160), (20, 6625)),
    "ch_PP-OCRv4_det_infer": ((3, 64, 64), (1, 64, 64)),
}


def model_file(name: str) -> bytes:
    """The ONNX file of this name in one of the wheels."""
    for wheel in sorted(WHEELS.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            for path in archive.namelist():
                if path.endswith(f"/{name}.onnx"):
                    return archive.read(path)
    pytest.skip(f"{name}.onnx is in no wheel in build/third-party; see the head of this file")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    made = Sandbox(frozenset({"namespaces", "seccomp", "rlimits"}), threads=2)
    yield made
    made.close()


def assert_same_answers(
    sandbox: Sandbox, model: bytes, inputs: dict[str, np.ndarray], output: str, shape: tuple[int, ...]
) -> None:
    bare = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run([output], inputs)[0]
    forms = tuple(TensorForm(name, str(array.dtype), array.shape[1:]) for name, array in inputs.items())
    task = ModelTask(
        len(model), forms, TensorForm(output, "float32", shape), SAMPLES, SAMPLES, 2, 60, MEMORY_BYTES
    )
    found = sandbox.run(model, task, list(inputs.values()), Limits(60, 60, MEMORY_BYTES))
    np.testing.assert_allclose(found, bare, rtol=1e-4, atol=1e-5)


def test_magika(sandbox: Sandbox) -> None:
    content = np.random.default_rng(0).integers(0, 256, (SAMPLES, 2048), dtype=np.int32)
    assert_same_answers(sandbox, model_file("model"), {"bytes": content}, "target_label", (214,))


@pytest.mark.parametrize("name", SIZES)
def test_rapidocr(sandbox: Sandbox, name: str) -> None:
    image, answer = SIZES[name]
    model = model_file(name)
    pixels = np.random.default_rng(0).random((SAMPLES, *image), dtype=np.float32)
    output = onnx.ModelProto.FromString(model).graph.output[0].name
    assert_same_answers(sandbox, model, {"x": pixels}, output, answer)


@pytest.mark.parametrize("name", SILERO)
def test_silero_vad(sandbox: Sandbox, name: str) -> None:
    """A recurrent net with branches by the sampling rate; its state starts at zero, as for the first piece of sound."""
    model = onnx.ModelProto.FromString(model_file(name))
    sound = np.random.default_rng(0).random((SAMPLES, 576), dtype=np.float32)
    state = np.zeros((SAMPLES, 2, 128), np.float32)
    assert_same_answers(sandbox, sample_first(model), {"input": sound, "states": state}, "output", (1,))


@pytest.mark.parametrize("name", ["silero_vad_16k_sequence", "silero_vad_openvino_16k"])
def test_models_for_one_sample_at_a_time_pass_the_gate(name: str) -> None:
    assert gate.check_model(model_file(name)).ops > 50


def sample_first(model: onnx.ModelProto) -> bytes:
    """The same model with the samples on the first axis of its state, and a fixed sampling rate."""
    nodes = list(model.graph.node)
    front = [helper.make_node("Transpose", ["states"], ["state"], perm=[1, 0, 2])]
    if any(value.name == "sr" for value in model.graph.input):
        rate = helper.make_tensor("rate", TensorProto.INT64, [], [16000])
        front.append(helper.make_node("Constant", [], ["sr"], value=rate))
    del model.graph.node[:]
    model.graph.node.extend([*front, *nodes])
    del model.graph.input[:]
    model.graph.input.extend(
        [
            helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 576]),
            helper.make_tensor_value_info("states", TensorProto.FLOAT, ["n", 2, 128]),
        ]
    )
    return bytes(model.SerializeToString())
