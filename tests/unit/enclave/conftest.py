"""An enclave in this process, booted once, and models to give it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skl2onnx import to_onnx
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from goldengrain_enclave.benchmark.sandbox import Sandbox
from goldengrain_enclave.entry import Enclave
from goldengrain_enclave.platform.simulated import SimulatedPlatform, create_directory
from goldengrain_protocol import wire
from tests.unit.enclave.world import CONFIG, World

NOW = 1_800_000_000


@pytest.fixture(scope="session")
def platform_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("platform") / "silicon"
    create_directory(directory, NOW)
    return directory


@pytest.fixture(scope="session")
def enclave(platform_dir: Path) -> Iterator[Enclave]:
    platform = SimulatedPlatform(platform_dir)
    made = Enclave(platform, Sandbox(platform.required_sandbox_layers, threads=2))
    yield made
    made.close()


@pytest.fixture(scope="session")
def booted(enclave: Enclave) -> wire.BootReply:
    reply = wire.decode_reply(enclave.answer(wire.encode_request(wire.BootRequest(CONFIG, b""))))
    assert isinstance(reply, wire.BootReply), reply
    return reply


@pytest.fixture(scope="session")
def ask(enclave: Enclave, booted: wire.BootReply) -> Callable[[wire.Request], Any]:
    return lambda request: wire.decode_reply(enclave.answer(wire.encode_request(request)))


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray, np.ndarray]:
    images, labels = load_digits(return_X_y=True)
    return images.astype(np.float32), labels.astype(np.int64)


@pytest.fixture(scope="session")
def good_model(digits: tuple[np.ndarray, np.ndarray]) -> bytes:
    images, labels = digits
    model = LogisticRegression(max_iter=300).fit(images[:1000], labels[:1000])
    return bytes(named(to_onnx(model, images[:1], options={"zipmap": False})).SerializeToString())


@pytest.fixture
def make_world(
    booted: wire.BootReply, good_model: bytes, digits: tuple[np.ndarray, np.ndarray]
) -> Callable[..., World]:
    def make(**fields: Any) -> World:
        given = {"model": good_model, "inputs": {"image": digits[0][1000:]}, "labels": digits[1][1000:]}
        return World(booted, **(given | fields))

    return make


def named(model: Any) -> Any:
    """Call the input of an exported model `image`, as the specification does."""
    old = model.graph.input[0].name
    model.graph.input[0].name = "image"
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name == old:
                node.input[index] = "image"
    return model
