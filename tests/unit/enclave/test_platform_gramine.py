"""SGX under Gramine: what /dev/attestation gives is used, and anything else stops the start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from goldengrain_enclave.platform import gramine
from goldengrain_enclave.platform.gramine import GraminePlatform
from goldengrain_enclave.platform.select import open_platform
from goldengrain_protocol import wire
from goldengrain_protocol.attestation import report_data
from goldengrain_protocol.config import config_digest
from goldengrain_protocol.constants import Assurance
from goldengrain_protocol.errors import InvalidInput, UnavailableError, VerificationError
from tests.unit.enclave.platform_emulation.silicon import SGX_MEASUREMENT, Silicon, boot, staged
from tests.unit.enclave.platform_emulation.stage import Serve, fuse, mount, serve, silicon
from tests.unit.enclave.platform_emulation.trees import GramineAttestation
from tests.unit.enclave.world import CONFIG

__all__ = ["fuse", "mount", "serve", "silicon"]  # fixtures

REPORT = bytes(range(64))
KEY = bytes(range(16))


def test_quote_carries_the_report_data_and_verifies(silicon: Silicon, serve: Serve) -> None:
    with serve(GramineAttestation(silicon.sgx(), KEY), gramine) as attestation:
        platform = GraminePlatform(attestation)
        quote = platform.quote(REPORT)
    verified = silicon.verify(quote, "sgx")
    assert (verified.tee, verified.version, verified.report_data) == ("sgx", 3, REPORT)
    assert verified.measurement == platform.measurement() == SGX_MEASUREMENT
    assert platform.assurance == Assurance.HARDWARE


def test_seals_to_this_enclave_on_this_processor(silicon: Silicon, serve: Serve) -> None:
    enclave = GramineAttestation(silicon.sgx(), KEY)
    with serve(enclave, gramine) as attestation:
        platform = GraminePlatform(attestation)
        sealed = platform.seal(b"identity", b"context")
        assert b"identity" not in sealed
        assert platform.unseal(sealed, b"context") == b"identity"
        assert GraminePlatform(attestation).unseal(sealed, b"context") == b"identity"
        for altered in (b"", sealed[:20], sealed[:-1] + bytes([sealed[-1] ^ 1])):
            with pytest.raises(VerificationError):
                platform.unseal(altered, b"context")
        with pytest.raises(VerificationError):
            platform.unseal(sealed, b"another context")
        enclave.sealing_key = bytes(range(1, 17))
        with pytest.raises(VerificationError, match="not made by this measurement"):
            platform.unseal(sealed, b"context")


REFUSALS: dict[str, tuple[Callable[[GramineAttestation, Silicon], Any], str]] = {
    "no attestation": (
        lambda enclave, _: setattr(enclave, "attestation_type", b"none"),
        "must be dcap, got 'none'",
    ),
    "epid attestation": (
        lambda enclave, _: setattr(enclave, "attestation_type", b"epid"),
        "must be dcap, got 'epid'",
    ),
    "sealing key not set": (lambda enclave, _: setattr(enclave, "sealing_key", b""), "sealing key"),
    "short sealing key": (lambda enclave, _: setattr(enclave, "sealing_key", KEY[:15]), "sealing key"),
    "sealing key of zeros": (lambda enclave, _: setattr(enclave, "sealing_key", bytes(16)), "not all zero"),
    "long sealing key": (lambda enclave, _: setattr(enclave, "sealing_key", KEY + KEY), "more than 16 bytes"),
    "report data lost": (
        lambda enclave, _: setattr(enclave, "loses_report_data", True),
        "report data is not what was asked for",
    ),
    "an old quote": (
        lambda enclave, machine: setattr(enclave, "make_quote", lambda data: machine.sgx()(REPORT)),
        "report data is not what was asked for",
    ),
    "short quote": (
        lambda enclave, machine: setattr(enclave, "make_quote", lambda data: machine.sgx()(data)[:-1]),
        "it states",
    ),
    "empty quote": (lambda enclave, _: setattr(enclave, "make_quote", lambda data: b""), "0 bytes"),
    "a tdx quote": (
        lambda enclave, machine: setattr(enclave, "make_quote", machine.tdx()),
        r"tee type must be 0x0 \(sgx\), got 0x81",
    ),
    "another version": (
        lambda enclave, machine: setattr(
            enclave, "make_quote", lambda data: b"\4\0" + machine.sgx()(data)[2:]
        ),
        "version must be 3, got 4",
    ),
    "a debug enclave": (
        lambda enclave, machine: setattr(enclave, "make_quote", machine.sgx(debug=True)),
        "debug mode",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refuses_to_start_on(name: str, silicon: Silicon, serve: Serve) -> None:
    perturb, reason = REFUSALS[name]
    enclave = GramineAttestation(silicon.sgx(), KEY)
    with serve(enclave, gramine) as attestation:
        assert GraminePlatform(attestation).measurement() == SGX_MEASUREMENT
        perturb(enclave, silicon)
        with pytest.raises(UnavailableError, match=reason):
            GraminePlatform(attestation)


def test_refuses_a_quote_of_another_enclave_later(silicon: Silicon, serve: Serve) -> None:
    enclave = GramineAttestation(silicon.sgx(), KEY)
    with serve(enclave, gramine) as attestation:
        platform = GraminePlatform(attestation)
        platform.quote(REPORT)
        mr_enclave = 48 + 64

        def other(data: bytes) -> bytes:
            quote = silicon.sgx()(data)
            return quote[:mr_enclave] + bytes(32) + quote[mr_enclave + 32 :]

        enclave.make_quote = other
        with pytest.raises(UnavailableError, match="the measurement changed"):
            platform.quote(REPORT)


def test_start_configuration_cannot_move_the_device(tmp_path: Any) -> None:
    with pytest.raises(InvalidInput, match="takes no --platform-dir"):
        open_platform("gramine", tmp_path)
    assert str(gramine.ATTESTATION_DIRECTORY) == "/dev/attestation"


@pytest.mark.sandbox
class TestEntryPoint:
    """`python -m goldengrain_enclave --platform gramine`, with the emulation at Gramine's own path."""

    def stage(self, attestation: Any) -> list[str]:
        return staged("--bind", str(attestation), str(gramine.ATTESTATION_DIRECTORY))

    def test_boots_and_keeps_its_identity_over_a_restart(self, silicon: Silicon, mount: Any) -> None:
        enclave = GramineAttestation(silicon.sgx(), KEY)
        with mount(enclave) as attestation:
            reply, log = boot(self.stage(attestation), "gramine")
            assert isinstance(reply, wire.BootReply), (reply, log)
            again, _ = boot(self.stage(attestation), "gramine", reply.sealed_identity)
            enclave.sealing_key = bytes(range(1, 17))
            moved, _ = boot(self.stage(attestation), "gramine", reply.sealed_identity)
        verified = silicon.verify(reply.quote, "sgx")
        assert verified.measurement == reply.measurement == SGX_MEASUREMENT
        assert verified.report_data == report_data(reply.signer, reply.sealing_key, config_digest(CONFIG))
        assert isinstance(again, wire.BootReply)
        assert (again.signer, again.sealing_key) == (reply.signer, reply.sealing_key)
        assert isinstance(moved, wire.ErrorReply)
        assert moved.category == "verification"

    def test_wrong_attestation_type_ends_the_start(self, silicon: Silicon, mount: Any) -> None:
        enclave = GramineAttestation(silicon.sgx(), KEY)
        enclave.attestation_type = b"none"
        with mount(enclave) as attestation:
            reply, log = boot(self.stage(attestation), "gramine")
        assert reply is None
        assert "must be dcap" in log

    def test_no_device_ends_the_start_and_nothing_stands_in(self) -> None:
        reply, log = boot(staged(), "gramine")
        assert reply is None
        assert "/dev/attestation/attestation_type is not there" in log
