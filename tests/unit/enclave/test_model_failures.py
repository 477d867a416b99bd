"""What is the model's own failure: signed, with a reason from the fixed list and nothing of the test set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from goldengrain_protocol import wire
from goldengrain_protocol.constants import Outcome
from goldengrain_protocol.container import ContainerKind, encrypt_container
from goldengrain_protocol.evidence import ReasonCode
from tests.unit.enclave import graphs
from tests.unit.enclave.world import DIGITS_SPEC, World

Ask = Callable[[wire.Request], Any]
MakeWorld = Callable[..., World]

SHORT_LIMITS = DIGITS_SPEC.replace("cpu_s = 20", "cpu_s = 1").encode()


def failed(ask: Ask, world: World, code: ReasonCode, words: str) -> None:
    reply = ask(world.job())
    assert isinstance(reply, wire.EvaluateReply), reply
    evidence = wire.decode_evidence(reply.evidence)
    assert reply.result.outcome == Outcome.MODEL_FAILED
    assert (reply.result.score_ppm, reply.result.bound_ppm) == (0, 0)
    assert (evidence.reason_code, words in evidence.reason) == (code, True), evidence


def test_honest_graph_is_scored(ask: Ask, make_world: MakeWorld) -> None:
    """The success that every case below perturbs."""
    reply = ask(make_world(model=graphs.linear().SerializeToString()).job())
    assert reply.result.outcome == Outcome.SCORED


class TestContent:
    def test_key_sealed_under_another_key(self, ask: Ask, make_world: MakeWorld) -> None:
        world = make_world(seal_to=b"\x09" + bytes(31))
        failed(ask, world, ReasonCode.CONTENT, "does not open")

    def test_secret_that_does_not_match_the_commitment(self, ask: Ask, make_world: MakeWorld) -> None:
        world = make_world(committed_secret=b"\x01" * 32)
        failed(ask, world, ReasonCode.CONTENT, "does not match the submission's commitment")

    @pytest.mark.parametrize("damage", ["truncated", "flipped", "swapped", "extended", "empty", "test set"])
    def test_container_that_was_committed_broken(
        self, ask: Ask, make_world: MakeWorld, good_model: bytes, damage: str
    ) -> None:
        secret, chunk = b"\x05" * 32, 2**20 + 16
        model = good_model + bytes(2 * 2**20)  # three chunks
        kind = ContainerKind.TESTSET if damage == "test set" else ContainerKind.MODEL
        whole = encrypt_container(model, kind, secret, b"\x02" * 32)
        first, second = whole[82 : 82 + chunk], whole[82 + chunk : 82 + 2 * chunk]
        broken = {
            "truncated": whole[: 82 + chunk],
            "flipped": whole[:200] + bytes([whole[200] ^ 1]) + whole[201:],
            "swapped": whole[:82] + second + first + whole[82 + 2 * chunk :],
            "extended": whole + b"x",
            "empty": b"",
            "test set": whole,
        }[damage]
        spec = DIGITS_SPEC.replace("model_bytes = 1000000", "model_bytes = 10000000").encode()
        failed(
            ask,
            make_world(secret=secret, container=broken, spec=spec),
            ReasonCode.CONTENT,
            "does not decrypt",
        )


class TestNotAModel:
    @pytest.mark.parametrize(
        "data", [b"", b"not onnx at all", b"\x08\x01", b"\xff" * 1000, b"ORTM" + bytes(500)]
    )
    def test_file_that_is_no_onnx(self, ask: Ask, make_world: MakeWorld, data: bytes) -> None:
        failed(ask, make_world(model=data), ReasonCode.NOT_A_MODEL, "not a valid ONNX model")

    def test_operator_that_is_not_allowed(self, ask: Ask, make_world: MakeWorld) -> None:
        tail = [helper.make_node("RandomNormalLike", ["scores"], ["probabilities"])]
        model = graphs.linear(tail=tail).SerializeToString()
        failed(ask, make_world(model=model), ReasonCode.NOT_A_MODEL, "not on the allow-list")

    def test_model_that_does_not_load(self, ask: Ask, make_world: MakeWorld) -> None:
        tail = [helper.make_node("Add", ["scores", "nowhere"], ["probabilities"])]
        model = graphs.linear(tail=tail).SerializeToString()
        failed(ask, make_world(model=model), ReasonCode.NOT_A_MODEL, "cannot load")


class TestInterface:
    @pytest.mark.parametrize(
        "changes",
        [
            {"input_name": "picture"},
            {"input_type": TensorProto.DOUBLE},
            {"width": 63},
            {"rows": 7},
        ],
    )
    def test_inputs_that_do_not_match(self, ask: Ask, make_world: MakeWorld, changes: dict[str, Any]) -> None:
        model = graphs.linear(**changes).SerializeToString()
        failed(ask, make_world(model=model), ReasonCode.INTERFACE, "inputs do not match")

    @pytest.mark.parametrize(
        "changes", [{"output_name": "label"}, {"output_type": TensorProto.DOUBLE}, {"classes": 9}]
    )
    def test_output_that_does_not_match(
        self, ask: Ask, make_world: MakeWorld, changes: dict[str, Any]
    ) -> None:
        model = graphs.linear(**changes).SerializeToString()
        failed(ask, make_world(model=model), ReasonCode.INTERFACE, "output does not match")

    def test_output_whose_real_shape_differs_from_the_declared(self, ask: Ask, make_world: MakeWorld) -> None:
        tail = [helper.make_node("Concat", ["scores", "scores"], ["probabilities"], axis=0)]
        model = graphs.linear(tail=tail, rows="n")
        del model.graph.output[0].type.tensor_type.shape.dim[:]
        model.graph.output[0].type.tensor_type.shape.dim.add().dim_param = "m"
        model.graph.output[0].type.tensor_type.shape.dim.add().dim_value = 10
        failed(
            ask, make_world(model=model.SerializeToString()), ReasonCode.INTERFACE, "output does not match"
        )


def test_output_with_nan(ask: Ask, make_world: MakeWorld) -> None:
    failed(ask, make_world(model=graphs.not_finite()), ReasonCode.OUTPUT, "NaN")


class TestLimits:
    def test_model_larger_than_allowed(self, ask: Ask, make_world: MakeWorld) -> None:
        failed(ask, make_world(model=bytes(1_000_001)), ReasonCode.LIMIT, "model_bytes")

    def test_endless_work_is_cut_off(self, ask: Ask, make_world: MakeWorld) -> None:
        failed(ask, make_world(model=graphs.compute_bomb(), spec=SHORT_LIMITS), ReasonCode.LIMIT, "cpu_s")

    def test_endless_work_on_a_batch_is_cut_off(self, ask: Ask, make_world: MakeWorld) -> None:
        failed(ask, make_world(model=graphs.slow(), spec=SHORT_LIMITS), ReasonCode.LIMIT, "cpu_s")

    def test_wall_limit_is_kept_too(self, ask: Ask, make_world: MakeWorld) -> None:
        spec = DIGITS_SPEC.replace("wall_s = 30", "wall_s = 2").encode()
        failed(ask, make_world(model=graphs.slow(), spec=spec), ReasonCode.LIMIT, "wall_s")

    def test_memory_bomb_is_contained(self, ask: Ask, make_world: MakeWorld) -> None:
        failed(ask, make_world(model=graphs.memory_bomb()), ReasonCode.LIMIT, "memory_bytes")


def test_next_model_is_not_affected(ask: Ask, make_world: MakeWorld) -> None:
    first = ask(make_world(secret=b"\x07" * 32, testset_secret=b"\x08" * 32).job())
    failed(ask, make_world(model=graphs.not_finite()), ReasonCode.OUTPUT, "NaN")
    again = ask(make_world(secret=b"\x07" * 32, testset_secret=b"\x08" * 32).job())
    assert first.result.score_ppm == again.result.score_ppm


def test_reasons_carry_no_names_from_the_model(ask: Ask, make_world: MakeWorld) -> None:
    model = graphs.linear(input_name="stolen_label_7").SerializeToString()
    reply = ask(make_world(model=model).job())
    assert b"stolen" not in reply.evidence
    assert np.frombuffer(reply.evidence, np.uint8).size < 1024
