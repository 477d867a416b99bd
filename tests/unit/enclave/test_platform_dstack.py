"""dstack through its guest agent's socket: what the agent gives is used, and anything else stops the start."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from goldengrain_enclave.keys import fresh_identity, seal_identity
from goldengrain_enclave.platform import dstack_agent
from goldengrain_enclave.platform.dstack import DstackPlatform
from goldengrain_enclave.platform.select import open_platform
from goldengrain_protocol import wire
from goldengrain_protocol.attestation import report_data
from goldengrain_protocol.config import config_digest
from goldengrain_protocol.constants import Assurance
from goldengrain_protocol.errors import InvalidInput, UnavailableError, VerificationError
from tests.unit.enclave.platform_emulation.agent import COMPOSE_HASH, Agent, listening
from tests.unit.enclave.platform_emulation.silicon import (
    OTHER_REGISTERS,
    TDX_MEASUREMENT,
    Silicon,
    boot,
    staged,
)
from tests.unit.enclave.platform_emulation.stage import silicon
from tests.unit.enclave.world import CONFIG

__all__ = ["silicon"]  # fixtures

REPORT = bytes(range(64))


@pytest.fixture(autouse=True)
def recursion_limit_of_the_enclave() -> Iterator[None]:
    """Libraries of other tests raise it; the enclave process does not have them."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    yield
    sys.setrecursionlimit(before)


@pytest.fixture
def agent(silicon: Silicon) -> Agent:
    return Agent(silicon.tdx())


@pytest.fixture
def path(agent: Agent, tmp_path: Path) -> Iterator[Path]:
    with listening(agent, tmp_path / "agent.sock") as socket_path:
        yield socket_path


@pytest.mark.parametrize("version", [4, 5])
def test_quote_carries_the_report_data_and_verifies(
    silicon: Silicon, agent: Agent, path: Path, version: int
) -> None:
    agent.make_quote = silicon.tdx(version=version)
    platform = DstackPlatform(path)
    verified = silicon.verify(platform.quote(REPORT), "tdx")
    assert (verified.tee, verified.version, verified.report_data) == ("tdx", version, REPORT)
    assert verified.measurement == platform.measurement() == TDX_MEASUREMENT
    assert platform.assurance == Assurance.HARDWARE


class TestSealing:
    def test_pinned_application_gets_its_identity_back(self, agent: Agent, path: Path) -> None:
        platform = DstackPlatform(path)
        sealed = platform.seal(b"identity", b"context")
        assert sealed is not None
        assert b"identity" not in sealed
        assert DstackPlatform(path).unseal(sealed, b"context") == b"identity"
        with pytest.raises(VerificationError):
            platform.unseal(sealed, b"another context")
        with pytest.raises(VerificationError):
            platform.unseal(sealed[:-1] + bytes([sealed[-1] ^ 1]), b"context")
        agent.root_key = bytes(32)
        with pytest.raises(VerificationError, match="not made by this measurement"):
            platform.unseal(sealed, b"context")

    def test_key_depends_on_the_measurement(self, silicon: Silicon, agent: Agent, path: Path) -> None:
        sealed = DstackPlatform(path).seal(b"identity", b"context")
        assert sealed is not None
        agent.make_quote = silicon.tdx(OTHER_REGISTERS)
        with pytest.raises(VerificationError):
            DstackPlatform(path).unseal(sealed, b"context")
        paths = [request["path"] for method, request in agent.calls if method == "GetKey"]
        assert paths[0] == f"goldengrain/enclave-identity/v1/{TDX_MEASUREMENT.hex()}"
        assert len(set(paths)) == 2

    def test_application_whose_owner_may_exchange_its_code_seals_nothing(
        self, agent: Agent, path: Path
    ) -> None:
        sealed = DstackPlatform(path).seal(b"identity", b"context")
        assert sealed is not None
        agent.app_id = bytes(range(20))
        agent.calls.clear()
        platform = DstackPlatform(path)
        assert seal_identity(fresh_identity(), platform, CONFIG) == b""
        with pytest.raises(UnavailableError, match="its owner may exchange"):
            platform.unseal(sealed, b"context")
        assert "GetKey" not in [method for method, _ in agent.calls]

    @pytest.mark.parametrize(
        ("key", "reason"),
        [
            ("00" * 32, "not all zero"),
            ("11" * 31, "32 bytes"),
            ("xy", "hexadecimal"),
            (None, "hexadecimal"),
            (7, "hexadecimal"),
        ],
    )
    def test_refuses_a_key_that_is_none(self, agent: Agent, path: Path, key: object, reason: str) -> None:
        platform = DstackPlatform(path)
        assert platform.seal(b"identity", b"context") is not None
        agent.changes["GetKey"] = {"key": key}
        with pytest.raises(UnavailableError, match=reason):
            platform.seal(b"identity", b"context")


REFUSALS: dict[str, tuple[Callable[[Agent, Silicon], Any], str]] = {
    "agent out of order": (lambda agent, _: setattr(agent, "status", 500), "HTTP 500: .*out of order"),
    "no such method": (lambda agent, _: setattr(agent, "status", 404), "HTTP 404"),
    "redirect": (lambda agent, _: setattr(agent, "status", 307), "HTTP 307"),
    "not json": (lambda agent, _: agent.raw.update(GetQuote=b"<html>"), "not JSON"),
    "nested json": (lambda agent, _: agent.raw.update(GetQuote=b"[" * 100_000), "not JSON"),
    "a json list": (lambda agent, _: agent.raw.update(GetQuote=b"[]"), "not a JSON object"),
    "endless answer": (lambda agent, _: agent.raw.update(GetQuote=b" " * (5 * 2**20)), "too long"),
    "no quote": (lambda agent, _: agent.changes.update(GetQuote={"quote": None}), "quote must be hex"),
    "empty quote": (lambda agent, _: agent.changes.update(GetQuote={"quote": ""}), "0 bytes"),
    "quote not hex": (lambda agent, _: agent.changes.update(GetQuote={"quote": "0g"}), "quote must be hex"),
    "short quote": (
        lambda agent, machine: setattr(agent, "make_quote", lambda data: machine.tdx()(data)[:-1]),
        "it states",
    ),
    "report data of another": (
        lambda agent, machine: setattr(agent, "make_quote", lambda data: machine.tdx()(bytes(64))),
        "report data is not what was asked for",
    ),
    "report data hashed first": (
        lambda agent, machine: setattr(agent, "make_quote", lambda data: machine.tdx()(data[::-1])),
        "report data is not what was asked for",
    ),
    "an sgx quote": (
        lambda agent, machine: setattr(agent, "make_quote", machine.sgx()),
        "tee type must be 0x81",
    ),
    "another version": (
        lambda agent, machine: setattr(agent, "make_quote", lambda data: b"\3\0" + machine.tdx()(data)[2:]),
        "version must be 4 or 5, got 3",
    ),
    "a debug td": (
        lambda agent, machine: setattr(agent, "make_quote", machine.tdx(debug=True)),
        "debug mode",
    ),
    "no application": (lambda agent, _: agent.changes.update(Info={"app_id": None}), "app_id must be hex"),
    "no compose document": (
        lambda agent, _: agent.changes.update(Info={"compose_hash": ""}),
        "got 20 and 0",
    ),
    "short application identity": (
        lambda agent, _: agent.changes.update(Info={"app_id": COMPOSE_HASH[:19].hex()}),
        "got 19 and 32",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refuses_to_start_on(name: str, silicon: Silicon, agent: Agent, path: Path) -> None:
    perturb, reason = REFUSALS[name]
    assert DstackPlatform(path).measurement() == TDX_MEASUREMENT
    perturb(agent, silicon)
    with pytest.raises(UnavailableError, match=reason):
        DstackPlatform(path)


def test_refuses_a_quote_after_the_registers_moved(silicon: Silicon, agent: Agent, path: Path) -> None:
    platform = DstackPlatform(path)
    platform.quote(REPORT)
    agent.make_quote = silicon.tdx(OTHER_REGISTERS)
    with pytest.raises(UnavailableError, match="the measurement changed"):
        platform.quote(REPORT)


class TestTransport:
    def test_nobody_at_the_socket(self, path: Path, tmp_path: Path) -> None:
        DstackPlatform(path)
        with pytest.raises(UnavailableError, match="does not answer GetQuote"):
            DstackPlatform(tmp_path / "missing.sock")
        (tmp_path / "file.sock").write_bytes(b"")
        with pytest.raises(UnavailableError, match="does not answer GetQuote"):
            DstackPlatform(tmp_path / "file.sock")

    def test_silent_agent(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(dstack_agent, "TIMEOUT_S", 0.2)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / "silent.sock"))
            listener.listen()
            with pytest.raises(UnavailableError, match="does not answer GetQuote"):
                DstackPlatform(tmp_path / "silent.sock")

    @pytest.mark.parametrize(
        "answer", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"]
    )
    def test_agent_that_speaks_no_http(self, tmp_path: Path, answer: bytes) -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / "odd.sock"))
            listener.listen()

            def speak() -> None:
                connection, _ = listener.accept()
                connection.recv(4096)
                connection.sendall(answer)
                connection.close()

            thread = threading.Thread(target=speak, daemon=True)
            thread.start()
            with pytest.raises(UnavailableError):
                DstackPlatform(tmp_path / "odd.sock")
            thread.join(5)


def test_start_configuration_cannot_move_the_device(tmp_path: Any) -> None:
    with pytest.raises(InvalidInput, match="takes no --platform-dir"):
        open_platform("dstack", tmp_path)
    assert str(dstack_agent.AGENT_SOCKET) == "/var/run/dstack.sock"


@pytest.mark.sandbox
class TestEntryPoint:
    """`python -m goldengrain_enclave --platform dstack`, with the emulation at dstack's own path."""

    def stage(self, path: Path) -> list[str]:
        place = dstack_agent.AGENT_SOCKET.parent.resolve()
        return staged(
            "--tmpfs", str(place), "--ro-bind", str(path), str(place / dstack_agent.AGENT_SOCKET.name)
        )

    def test_boots_and_keeps_its_identity_over_a_restart(
        self, silicon: Silicon, agent: Agent, path: Path
    ) -> None:
        reply, log = boot(self.stage(path), "dstack")
        assert isinstance(reply, wire.BootReply), (reply, log)
        again, _ = boot(self.stage(path), "dstack", reply.sealed_identity)
        verified = silicon.verify(reply.quote, "tdx")
        assert verified.measurement == reply.measurement == TDX_MEASUREMENT
        assert verified.report_data == report_data(reply.signer, reply.sealing_key, config_digest(CONFIG))
        assert isinstance(again, wire.BootReply)
        assert (again.signer, again.sealing_key) == (reply.signer, reply.sealing_key)

    def test_exchangeable_application_starts_with_a_new_identity(self, agent: Agent, path: Path) -> None:
        agent.app_id = bytes(range(20))
        reply, log = boot(self.stage(path), "dstack")
        assert isinstance(reply, wire.BootReply), (reply, log)
        assert reply.sealed_identity == b""

    def test_agent_without_quotes_ends_the_start(self, agent: Agent, path: Path) -> None:
        agent.status = 400
        reply, log = boot(self.stage(path), "dstack")
        assert reply is None
        assert "refuses GetQuote with HTTP 400" in log

    def test_no_device_ends_the_start_and_nothing_stands_in(self) -> None:
        reply, log = boot(staged("--tmpfs", str(dstack_agent.AGENT_SOCKET.parent.resolve())), "dstack")
        assert reply is None
        assert "does not answer GetQuote" in log
