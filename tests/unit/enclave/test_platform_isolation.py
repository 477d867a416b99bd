"""The devices that give quotes and keys are the enclave's: the process that runs a model does not see them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from goldengrain_enclave.benchmark.namespaces import bubblewrap_path, namespace_command
from goldengrain_enclave.platform.dstack_agent import AGENT_SOCKET
from goldengrain_enclave.platform.gramine import ATTESTATION_DIRECTORY
from goldengrain_enclave.platform.tdx import REPORTS_DIRECTORY
from tests.unit.enclave.platform_emulation.agent import Agent, listening
from tests.unit.enclave.platform_emulation.silicon import Silicon, staged
from tests.unit.enclave.platform_emulation.stage import fuse, mount, silicon
from tests.unit.enclave.platform_emulation.trees import ConfigfsTsm

__all__ = ["fuse", "mount", "silicon"]  # fixtures

DEVICES = [str(REPORTS_DIRECTORY), str(AGENT_SOCKET), str(ATTESTATION_DIRECTORY)]
SCRIPT = f"import json, os; print(json.dumps([os.path.exists(each) for each in {DEVICES!r}]))"


@pytest.mark.sandbox
def test_model_process_sees_no_device(silicon: Silicon, mount: Any, tmp_path: Path) -> None:
    bubblewrap = bubblewrap_path()
    assert bubblewrap is not None
    run = AGENT_SOCKET.parent.resolve()

    def seen(*prefix: str) -> Any:
        command = [*prefix, sys.executable, "-I", "-S", "-c", SCRIPT]
        return json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)

    with (
        mount(ConfigfsTsm(silicon.tdx())) as device,
        listening(Agent(silicon.tdx()), tmp_path / "agent.sock") as path,
    ):
        stage = staged(
            *("--tmpfs", "/sys/kernel", "--bind", str(device), str(REPORTS_DIRECTORY)),
            *("--tmpfs", str(run), "--ro-bind", str(path), str(run / AGENT_SOCKET.name)),
            *("--bind", str(device), str(ATTESTATION_DIRECTORY)),
        )
        assert seen(*stage) == [True, True, True]
        assert seen(*stage, *namespace_command(bubblewrap)) == [False, False, False]
