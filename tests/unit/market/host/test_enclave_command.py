"""How the host starts enclaves of each platform: locally in its sandbox, or by the operator's own command."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from goldengrain.host.enclave_process import EnclaveProcess, enclave_argv
from goldengrain_enclave.platform import dstack_agent, tdx
from goldengrain_protocol import wire
from goldengrain_protocol.errors import InvalidInput, UnavailableError
from tests.unit.enclave.platform_emulation.agent import Agent, listening
from tests.unit.enclave.platform_emulation.silicon import (
    SGX_MEASUREMENT,
    TDX_MEASUREMENT,
    Silicon,
    boot,
    relocated,
    staged,
)
from tests.unit.enclave.platform_emulation.stage import fuse, mount, silicon
from tests.unit.enclave.platform_emulation.trees import ConfigfsTsm, GramineAttestation
from tests.unit.enclave.world import CONFIG

__all__ = ["fuse", "mount", "silicon"]  # fixtures


@pytest.fixture(autouse=True)
def no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GG_ENCLAVE_COMMAND", raising=False)


@pytest.mark.sandbox
def test_tdx_enclave_starts_behind_the_hosts_sandbox(silicon: Silicon, mount: Any, tmp_path: Path) -> None:
    command = enclave_argv(tmp_path, platform="tdx")
    with mount(ConfigfsTsm(silicon.tdx())) as reports:
        stage = relocated("--tmpfs", "/sys/kernel", "--bind", str(reports), str(tdx.REPORTS_DIRECTORY))
        reply, log = boot(stage, "tdx", command=command)
    assert isinstance(reply, wire.BootReply), (reply, log)
    assert silicon.verify(reply.quote, "tdx").measurement == TDX_MEASUREMENT


@pytest.mark.sandbox
def test_dstack_enclave_starts_behind_the_hosts_sandbox(silicon: Silicon, tmp_path: Path) -> None:
    command = enclave_argv(tmp_path, platform="dstack")
    place = dstack_agent.AGENT_SOCKET.parent.resolve()
    with listening(Agent(silicon.tdx()), tmp_path / "agent.sock") as path:
        stage = relocated("--tmpfs", str(place), "--ro-bind", str(path), str(place / "dstack.sock"))
        reply, log = boot(stage, "dstack", command=command)
    assert isinstance(reply, wire.BootReply), (reply, log)
    assert reply.sealed_identity


@pytest.mark.sandbox
def test_operators_command_is_the_pipe_to_the_enclave(
    silicon: Silicon, mount: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enclave = [sys.executable, "-I", "-B", "-m", "goldengrain_enclave", "--platform", "gramine"]
    with mount(GramineAttestation(silicon.sgx(), bytes(range(16)))) as attestation:
        stage = staged("--bind", str(attestation), "/dev/attestation")
        monkeypatch.setenv("GG_ENCLAVE_COMMAND", shlex.join([*stage, *enclave]))
        process = EnclaveProcess(tmp_path, tmp_path / "log", platform="gramine")
        try:
            first = process.boot(CONFIG, b"")
            again = process.boot(CONFIG, first.sealed_identity)
        finally:
            process.stop()
    assert first.measurement == SGX_MEASUREMENT
    assert again.signer == first.signer


def test_command_that_cannot_run_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GG_ENCLAVE_COMMAND", "qemu --machine 'q35")
    with pytest.raises(InvalidInput, match="cannot be split"):
        enclave_argv(tmp_path, platform="tdx")
    monkeypatch.setenv("GG_ENCLAVE_COMMAND", "  ")
    with pytest.raises(InvalidInput, match="names no program"):
        enclave_argv(tmp_path, platform="tdx")
    monkeypatch.setenv("GG_ENCLAVE_COMMAND", "/nonexistent/loader 'an argument'")
    assert enclave_argv(tmp_path, platform="tdx") == ["/nonexistent/loader", "an argument"]
    with pytest.raises(UnavailableError, match="does not start"):
        EnclaveProcess(tmp_path, tmp_path / "log", platform="tdx").boot(CONFIG, b"")


def test_gramine_needs_its_loader_and_names_are_known(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="Gramine's own loader"):
        enclave_argv(tmp_path, platform="gramine")
    with pytest.raises(InvalidInput, match="must be one of"):
        enclave_argv(tmp_path, platform="imaginary")


def test_simulated_enclave_is_always_started_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GG_ENCLAVE_COMMAND", "something else")
    command = enclave_argv(tmp_path, platform="simulated")
    assert command[-2:] == ["--platform-dir", str(tmp_path)]
    assert "something" not in command
