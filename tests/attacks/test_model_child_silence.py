"""T: the runtime tells somebody about the models it runs. Nothing may be written and no socket opened."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from goldengrain_enclave.benchmark.channel import ModelTask, TensorForm
from tests.unit.enclave import graphs

pytestmark = pytest.mark.sandbox

SCRIPT = """
import json, os, sys
from goldengrain_enclave.benchmark import child
import numpy as np
model = open(sys.argv[1], "rb").read()
session = child.onnxruntime.InferenceSession(model, child.session_options(2), providers=["CPUExecutionProvider"])
session.run(None, {"image": np.ones((4, 64), np.float32)})
names = [f"/proc/self/fd/{n}" for n in os.listdir("/proc/self/fd")]
links = [os.readlink(name) for name in names if os.path.lexists(name)]
print(json.dumps({"sockets": [link for link in links if link.startswith("socket:")]}))
"""


def test_runtime_writes_no_file_and_opens_no_socket(tmp_path: Path) -> None:
    home, model = tmp_path / "home", tmp_path / "model.onnx"
    home.mkdir()
    model.write_bytes(graphs.linear().SerializeToString())
    environment = {name: str(home) for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "TMPDIR")}
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(model)],
        env=environment,
        cwd=home,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr.decode()
    assert json.loads(result.stdout)["sockets"] == []
    assert list(home.rglob("*")) == []


def test_child_answers_in_frames_and_says_nothing_else(tmp_path: Path) -> None:
    """Standard error stays empty, whatever the runtime thinks of the model: a log could carry test data."""
    model = graphs.linear(width=63).SerializeToString()
    task = ModelTask(
        len(model),
        (TensorForm("image", "float32", (64,)),),
        TensorForm("probabilities", "float32", (10,)),
        4,
        4,
        1,
        20,
        2**28,
    )
    result = subprocess.run(
        [sys.executable, "-I", "-B", "-m", "goldengrain_enclave.benchmark.child"],
        input=task.encode() + model + bytes(4 * 64 * 4),
        env={},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0
    assert result.stderr == b""
