"""Quotes that real hardware made, through the same acceptance as the devices' answers."""

from __future__ import annotations

from pathlib import Path

import dcap_qvl
import pytest

from goldengrain_enclave.platform.device_quote import accept_device_quote
from goldengrain_protocol.attestation import verify_quote
from goldengrain_protocol.errors import UnavailableError

VECTORS = Path(__file__).resolve().parents[4] / "shared" / "vectors" / "dcap"
INTEL_TIME = 1_750_400_000  # 2025-06-20


@pytest.mark.parametrize(("tee", "other"), [("sgx", "tdx"), ("tdx", "sgx")])
def test_real_quote_is_accepted_for_its_own_report_data_and_tee_only(tee: str, other: str) -> None:
    path = VECTORS / f"{tee}_quote"
    if not path.exists():
        pytest.skip(f"Intel's sample quote {path.name} is not beside the checkout")
    raw = path.read_bytes()
    report_data = bytes(dcap_qvl.parse_quote(raw).report.report_data)
    accepted = accept_device_quote(raw, tee=tee, report_data=report_data)
    collateral = (VECTORS / f"{tee}_quote_collateral.json").read_bytes()
    verified = verify_quote(accepted.quote, collateral, root_der=None, at_unix_s=INTEL_TIME)
    assert verified.measurement == accepted.measurement
    with pytest.raises(UnavailableError, match="tee type"):
        accept_device_quote(raw, tee=other, report_data=report_data)
    with pytest.raises(UnavailableError, match="not what was asked for"):
        accept_device_quote(raw, tee=tee, report_data=bytes(64))
    with pytest.raises(UnavailableError):
        accept_device_quote(accepted.quote[:-1], tee=tee, report_data=report_data)
