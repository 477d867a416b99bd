"""The simulated platform: real-format quotes under its own root, refused under Intel's; made atomically."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509

from goldengrain_enclave.platform import simulated, simulated_pki
from goldengrain_enclave.platform.dcap_quote import sgx_quote_v3, tdx_quote
from goldengrain_enclave.platform.select import open_platform
from goldengrain_enclave.platform.simulated import SimulatedPlatform, create_directory, load_pki
from goldengrain_enclave.platform.source_measurement import measured_files, source_mr_enclave
from goldengrain_protocol import wire
from goldengrain_protocol.attestation import (
    measurement_sgx,
    measurement_tdx,
    report_data,
    verify_quote,
)
from goldengrain_protocol.config import config_digest
from goldengrain_protocol.constants import TcbStatus
from goldengrain_protocol.errors import InvalidInput, UnavailableError, VerificationError
from tests.unit.enclave.conftest import NOW
from tests.unit.enclave.world import CONFIG

REPORT = bytes(range(64))


@pytest.fixture(scope="module")
def pki() -> simulated_pki.SimulatedPki:
    return simulated_pki.create_pki(NOW, bytes(16))


def collateral(directory: Path, tee: str = "sgx") -> bytes:
    return (directory / f"collateral_{tee}.json").read_bytes()


def test_boot_quote_binds_keys_and_configuration(platform_dir: Path, booted: wire.BootReply) -> None:
    root = (platform_dir / "root.der").read_bytes()
    verified = verify_quote(booted.quote, collateral(platform_dir), root_der=root, at_unix_s=NOW)
    assert verified.report_data == report_data(booted.signer, booted.sealing_key, config_digest(CONFIG))
    assert verified.measurement == booted.measurement == measurement_sgx(source_mr_enclave())
    assert verified.tcb_status == TcbStatus.UP_TO_DATE
    assert (verified.tee, verified.version) == ("sgx", 3)


def test_quote_is_refused_under_intels_root(platform_dir: Path, booted: wire.BootReply) -> None:
    with pytest.raises(VerificationError):
        verify_quote(booted.quote, collateral(platform_dir), root_der=None, at_unix_s=NOW)


def test_quote_with_a_flipped_bit_is_refused(platform_dir: Path, booted: wire.BootReply) -> None:
    root = (platform_dir / "root.der").read_bytes()
    altered = booted.quote[:200] + bytes([booted.quote[200] ^ 1]) + booted.quote[201:]
    with pytest.raises(VerificationError):
        verify_quote(altered, collateral(platform_dir), root_der=root, at_unix_s=NOW)


@pytest.mark.parametrize("version", [4, 5])
def test_tdx_quotes_verify(pki: simulated_pki.SimulatedPki, version: int) -> None:
    registers = tuple(bytes([n]) * 48 for n in range(5))
    quote = tdx_quote(pki.quote_signer(), registers[0], registers[1:], REPORT, version=version)  # type: ignore[arg-type]
    data = simulated_pki.collateral_json(pki, "tdx", NOW)
    verified = verify_quote(quote, data, root_der=pki.root_der, at_unix_s=NOW)
    assert verified.measurement == measurement_tdx(*registers)
    assert (verified.tee, verified.version, verified.report_data) == ("tdx", version, REPORT)


def test_debug_enclaves_are_refused(pki: simulated_pki.SimulatedPki) -> None:
    signer, root = pki.quote_signer(), pki.root_der
    zero = (bytes(48),) * 4
    for quote, tee in (
        (sgx_quote_v3(signer, bytes(32), bytes(32), REPORT, debug=True), "sgx"),
        (tdx_quote(signer, bytes(48), zero, REPORT, debug=True), "tdx"),  # type: ignore[arg-type]
    ):
        data = simulated_pki.collateral_json(pki, tee, NOW)
        with pytest.raises(VerificationError, match=r"(?i)debug"):
            verify_quote(quote, data, root_der=root, at_unix_s=NOW)


def test_revoked_and_outdated_platforms_show(pki: simulated_pki.SimulatedPki) -> None:
    quote = sgx_quote_v3(pki.quote_signer(), bytes(32), bytes(32), REPORT)
    revoked = simulated_pki.collateral_json(pki, "sgx", NOW, revoked=[pki.certificates["pck"]])
    with pytest.raises(VerificationError):
        verify_quote(quote, revoked, root_der=pki.root_der, at_unix_s=NOW)
    old = simulated_pki.collateral_json(pki, "sgx", NOW, tcb_status="OutOfDate")
    assert verify_quote(quote, old, root_der=pki.root_der, at_unix_s=NOW).tcb_status == TcbStatus.OUT_OF_DATE


def test_every_certificate_says_what_it_is(platform_dir: Path) -> None:
    for certificate in load_pki(platform_dir).certificates.values():
        for name in (certificate.subject, certificate.issuer):
            text = name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
            assert "SIMULATED" in str(text)
            assert "NOT INTEL" in str(text)


class TestDirectory:
    def test_is_private_and_kept_when_made_again(self, tmp_path: Path) -> None:
        directory = tmp_path / "deep" / "silicon"
        assert create_directory(directory, NOW)
        before = {path.name: path.read_bytes() for path in directory.iterdir()}
        assert not create_directory(directory, NOW)
        assert {path.name: path.read_bytes() for path in directory.iterdir()} == before
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in directory.iterdir())

    def test_crash_half_way_leaves_nothing_and_the_next_run_completes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def crash(*args: object, **kwargs: object) -> bytes:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(simulated, "collateral_json", crash)
            with pytest.raises(KeyboardInterrupt):
                create_directory(tmp_path / "silicon", NOW)
        assert not (tmp_path / "silicon").exists()
        assert create_directory(tmp_path / "silicon", NOW)
        SimulatedPlatform(tmp_path / "silicon")

    def test_old_collateral_is_issued_again_under_the_same_root(self, tmp_path: Path) -> None:
        directory = tmp_path / "silicon"
        create_directory(directory, NOW)
        root, old = (directory / "root.der").read_bytes(), collateral(directory)
        later = int((directory / "collateral_sgx.json").stat().st_mtime) + 360 * 86_400
        create_directory(directory, later)
        assert (directory / "root.der").read_bytes() == root
        assert collateral(directory) != old

    def test_incomplete_directory_is_refused_with_the_way_out(self, tmp_path: Path) -> None:
        (tmp_path / "note.txt").write_text("something else")
        with pytest.raises(UnavailableError, match="no complete simulated platform") as caught:
            create_directory(tmp_path, NOW)
        assert "python -m goldengrain_enclave.platform.simulated" in caught.value.next_step


def test_unknown_platform_is_refused(platform_dir: Path) -> None:
    assert open_platform("simulated", platform_dir).name == "simulated"
    with pytest.raises(InvalidInput, match="platform must be one of"):
        open_platform("imaginary", platform_dir)
    with pytest.raises(InvalidInput, match="--platform-dir"):
        open_platform("simulated", None)


def test_seal_is_bound_to_context_and_machine(platform_dir: Path, tmp_path: Path) -> None:
    platform = SimulatedPlatform(platform_dir)
    sealed = platform.seal(b"identity", b"context")
    assert platform.unseal(sealed, b"context") == b"identity"
    with pytest.raises(VerificationError):
        platform.unseal(sealed, b"another context")
    create_directory(tmp_path / "other", NOW)
    with pytest.raises(VerificationError):
        SimulatedPlatform(tmp_path / "other").unseal(sealed, b"context")


def test_measurement_covers_both_packages_and_prints() -> None:
    names = [name for name, _ in measured_files()]
    assert "goldengrain_enclave/entry.py" in names
    assert "goldengrain_protocol/pricing.py" in names
    assert not [name for name in names if "__pycache__" in name]
    command = [sys.executable, "-m", "goldengrain_enclave.platform.simulated", "--measure"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    mr_enclave = source_mr_enclave()
    assert printed == f"mr_enclave={mr_enclave.hex()}\nmeasurement={measurement_sgx(mr_enclave).hex()}\n"
