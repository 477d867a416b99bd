"""TDX through configfs-tsm: what the kernel's interface gives is used, and anything else stops the start."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest

from goldengrain_enclave.keys import fresh_identity, seal_identity, unseal_identity
from goldengrain_enclave.platform import tdx
from goldengrain_enclave.platform.select import open_platform
from goldengrain_enclave.platform.tdx import TdxPlatform
from goldengrain_protocol import wire
from goldengrain_protocol.attestation import report_data
from goldengrain_protocol.config import config_digest
from goldengrain_protocol.constants import Assurance
from goldengrain_protocol.errors import InvalidInput, UnavailableError
from tests.unit.enclave.platform_emulation.silicon import (
    OTHER_REGISTERS,
    TDX_MEASUREMENT,
    Silicon,
    boot,
    staged,
)
from tests.unit.enclave.platform_emulation.stage import Serve, fuse, mount, serve, silicon
from tests.unit.enclave.platform_emulation.trees import ConfigfsTsm
from tests.unit.enclave.world import CONFIG

__all__ = ["fuse", "mount", "serve", "silicon"]  # fixtures

REPORT = bytes(range(64))


@pytest.mark.parametrize("version", [4, 5])
def test_quote_carries_the_report_data_and_verifies(silicon: Silicon, serve: Serve, version: int) -> None:
    kernel = ConfigfsTsm(silicon.tdx(version=version))
    with serve(kernel, tdx) as reports:
        platform = TdxPlatform(reports)
        quote = platform.quote(REPORT)
    verified = silicon.verify(quote, "tdx")
    assert (verified.tee, verified.version, verified.report_data) == ("tdx", version, REPORT)
    assert verified.measurement == platform.measurement() == TDX_MEASUREMENT
    assert platform.assurance == Assurance.HARDWARE


def test_every_request_has_its_own_directory_and_leaves_none(silicon: Silicon, serve: Serve) -> None:
    kernel = ConfigfsTsm(silicon.tdx())
    with serve(kernel, tdx) as reports:
        platform = TdxPlatform(reports)
        platform.quote(REPORT)
        platform.quote(REPORT)
        kernel.read_error = errno.ETIMEDOUT
        with pytest.raises(UnavailableError):
            platform.quote(REPORT)
    assert len(kernel.made) == len(set(kernel.made)) == 4
    assert not kernel.entries


def test_identity_is_new_at_every_start(silicon: Silicon, serve: Serve) -> None:
    with serve(ConfigfsTsm(silicon.tdx()), tdx) as reports:
        platform = TdxPlatform(reports)
        assert seal_identity(fresh_identity(), platform, CONFIG) == b""
        with pytest.raises(UnavailableError, match="cannot open sealed identities") as caught:
            unseal_identity(bytes(100), platform, CONFIG)
    assert "register the new one" in caught.value.next_step


def _flip_last_bit_of_report_data(quote: bytes) -> bytes:
    at = 48 + 584 - 1
    return quote[:at] + bytes([quote[at] ^ 1]) + quote[at + 1 :]


REFUSALS: dict[str, tuple[Callable[[ConfigfsTsm, Silicon], Any], str]] = {
    "no tsm provider": (lambda kernel, _: setattr(kernel, "provider", None), "makes no TSM report"),
    "another provider": (
        lambda kernel, _: setattr(kernel, "provider", "sev_guest"),
        "provider must be tdx_guest, got 'sev_guest'",
    ),
    "one write between": (
        lambda kernel, _: setattr(kernel, "interleaved_writes", 1),
        "generation must be 1, got 2: another process",
    ),
    "quote generation times out": (
        lambda kernel, _: setattr(kernel, "read_error", errno.ETIMEDOUT),
        "gave no TSM report",
    ),
    "directory stays": (lambda kernel, _: setattr(kernel, "keeps_directories", True), "did not remove"),
    "empty report": (lambda kernel, _: setattr(kernel, "make_quote", lambda data: b""), "0 bytes"),
    "short quote": (
        lambda kernel, machine: setattr(kernel, "make_quote", lambda data: machine.tdx()(data)[:-1]),
        "it states",
    ),
    "quote cut in its body": (
        lambda kernel, machine: setattr(kernel, "make_quote", lambda data: machine.tdx()(data)[:600]),
        "its report is cut",
    ),
    "too long": (
        lambda kernel, machine: setattr(kernel, "make_quote", lambda data: machine.tdx()(data).ljust(40_000)),
        "more than 32768 bytes",
    ),
    "bytes after the quote": (
        lambda kernel, machine: setattr(kernel, "make_quote", lambda data: machine.tdx()(data) + b"\0\1"),
        "other than zero",
    ),
    "report data of another": (
        lambda kernel, machine: setattr(kernel, "make_quote", lambda data: machine.tdx()(bytes(64))),
        "report data is not what was asked for",
    ),
    "one bit of the report data": (
        lambda kernel, machine: setattr(
            kernel, "make_quote", lambda data: _flip_last_bit_of_report_data(machine.tdx()(data))
        ),
        "report data is not what was asked for",
    ),
    "an sgx quote": (
        lambda kernel, machine: setattr(kernel, "make_quote", machine.sgx()),
        r"tee type must be 0x81 \(tdx\), got 0x0",
    ),
    "another version": (
        lambda kernel, machine: setattr(kernel, "make_quote", lambda data: b"\6\0" + machine.tdx()(data)[2:]),
        "version must be 4 or 5, got 6",
    ),
    "another report type": (
        lambda kernel, machine: setattr(
            kernel,
            "make_quote",
            lambda data: (quote := machine.tdx(version=5)(data))[:48] + b"\4" + quote[49:],
        ),
        "must be a td report 1.0 or 1.5, got type 4",
    ),
    "p-384 attestation key": (
        lambda kernel, machine: setattr(
            kernel, "make_quote", lambda data: (quote := machine.tdx()(data))[:2] + b"\3" + quote[3:]
        ),
        "attestation key must be of type 2",
    ),
    "no signature": (
        lambda kernel, machine: setattr(
            kernel, "make_quote", lambda data: machine.tdx()(data)[:632] + bytes(1000)
        ),
        "signature must have at least 128 bytes, got 0",
    ),
    "a debug td": (
        lambda kernel, machine: setattr(kernel, "make_quote", machine.tdx(debug=True)),
        "debug mode",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refuses_to_start_on(name: str, silicon: Silicon, serve: Serve) -> None:
    perturb, reason = REFUSALS[name]
    kernel = ConfigfsTsm(silicon.tdx())
    with serve(kernel, tdx) as reports:
        assert TdxPlatform(reports).measurement() == TDX_MEASUREMENT
        perturb(kernel, silicon)
        with pytest.raises(UnavailableError, match=reason):
            TdxPlatform(reports)


def test_zero_padding_of_a_quote_is_cut_off(silicon: Silicon, serve: Serve) -> None:
    kernel = ConfigfsTsm(lambda data: silicon.tdx()(data).ljust(8000, b"\0"))
    with serve(kernel, tdx) as reports:
        quote = TdxPlatform(reports).quote(REPORT)
    assert len(quote) == len(silicon.tdx()(REPORT))
    silicon.verify(quote, "tdx")


def test_refuses_a_quote_after_the_registers_moved(silicon: Silicon, serve: Serve) -> None:
    kernel = ConfigfsTsm(silicon.tdx())
    with serve(kernel, tdx) as reports:
        platform = TdxPlatform(reports)
        platform.quote(REPORT)
        kernel.make_quote = silicon.tdx(OTHER_REGISTERS)
        with pytest.raises(UnavailableError, match="the measurement changed"):
            platform.quote(REPORT)


def test_report_data_has_64_bytes(silicon: Silicon, serve: Serve) -> None:
    with serve(ConfigfsTsm(silicon.tdx()), tdx) as reports:
        platform = TdxPlatform(reports)
        platform.quote(REPORT)
        with pytest.raises(InvalidInput, match="64 bytes, got 63"):
            platform.quote(REPORT[:63])


def test_start_configuration_cannot_move_the_device(tmp_path: Any) -> None:
    with pytest.raises(InvalidInput, match="takes no --platform-dir"):
        open_platform("tdx", tmp_path)
    assert str(tdx.REPORTS_DIRECTORY) == "/sys/kernel/config/tsm/report"


@pytest.mark.sandbox
class TestEntryPoint:
    """`python -m goldengrain_enclave --platform tdx`, with the emulation at the kernel's own path."""

    def stage(self, reports: Any) -> list[str]:
        return staged("--tmpfs", "/sys/kernel", "--bind", str(reports), str(tdx.REPORTS_DIRECTORY))

    def test_boots_with_a_quote_that_binds_its_keys(self, silicon: Silicon, mount: Any) -> None:
        with mount(ConfigfsTsm(silicon.tdx(version=5))) as reports:
            reply, log = boot(self.stage(reports), "tdx")
            again, _ = boot(self.stage(reports), "tdx")
        assert isinstance(reply, wire.BootReply), (reply, log)
        verified = silicon.verify(reply.quote, "tdx")
        assert verified.measurement == reply.measurement == TDX_MEASUREMENT
        assert verified.report_data == report_data(reply.signer, reply.sealing_key, config_digest(CONFIG))
        assert reply.sealed_identity == b""
        assert isinstance(again, wire.BootReply)
        assert again.signer != reply.signer

    def test_wrong_provider_ends_the_start(self, silicon: Silicon, mount: Any) -> None:
        kernel = ConfigfsTsm(silicon.tdx())
        kernel.provider = "arm_cca_guest"
        with mount(kernel) as reports:
            reply, log = boot(self.stage(reports), "tdx")
        assert reply is None
        assert "provider must be tdx_guest" in log

    def test_no_device_ends_the_start_and_nothing_stands_in(self) -> None:
        reply, log = boot(staged("--tmpfs", "/sys/kernel"), "tdx")
        assert reply is None
        assert "makes no TSM report" in log
