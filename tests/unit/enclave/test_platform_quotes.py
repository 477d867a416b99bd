"""Accepting a device's answer: real hardware's quotes, every truncation, alterations and nonsense."""

from __future__ import annotations

from pathlib import Path

import dcap_qvl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldengrain_enclave.platform.device_quote import accept_device_quote
from goldengrain_protocol.attestation import measurement_sgx, measurement_tdx, verify_quote
from goldengrain_protocol.errors import UnavailableError
from tests.unit.enclave.platform_emulation.silicon import Silicon
from tests.unit.enclave.platform_emulation.stage import silicon

__all__ = ["silicon"]  # fixtures

VECTORS = Path(__file__).resolve().parents[4] / "shared" / "vectors" / "dcap"
INTEL_TIME = 1_750_400_000  # 2025-06-20
REPORT = bytes(range(64))


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


@pytest.mark.parametrize(("tee", "version"), [("sgx", 3), ("tdx", 4), ("tdx", 5)])
def test_no_beginning_of_a_quote_is_accepted(silicon: Silicon, tee: str, version: int) -> None:
    quote = (silicon.sgx() if tee == "sgx" else silicon.tdx(version=version))(REPORT)
    assert accept_device_quote(quote, tee=tee, report_data=REPORT).quote == quote
    for size in range(len(quote)):
        with pytest.raises(UnavailableError):
            accept_device_quote(quote[:size], tee=tee, report_data=REPORT)


@pytest.mark.parametrize(("tee", "version"), [("sgx", 3), ("tdx", 4), ("tdx", 5)])
@given(data=st.data())
def test_altered_answer_is_refused_or_measures_what_a_verifier_reads(
    silicon: Silicon, tee: str, version: int, data: st.DataObject
) -> None:
    quote = bytearray((silicon.sgx() if tee == "sgx" else silicon.tdx(version=version))(REPORT))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, 48 + 6 + 648 + 4))
        quote[at] = data.draw(st.integers(0, 255))
    try:
        accepted = accept_device_quote(bytes(quote), tee=tee, report_data=REPORT)
    except UnavailableError:
        return
    report = dcap_qvl.parse_quote(accepted.quote).report
    assert bytes(report.report_data) == REPORT
    if tee == "sgx":
        assert accepted.measurement == measurement_sgx(bytes(report.mr_enclave))
    else:
        rtmrs = (bytes(each) for each in (report.rt_mr0, report.rt_mr1, report.rt_mr2, report.rt_mr3))
        assert accepted.measurement == measurement_tdx(bytes(report.mr_td), *rtmrs)


@given(answer=st.binary(max_size=2000))
def test_nonsense_is_refused_and_nothing_worse(answer: bytes) -> None:
    for tee in ("sgx", "tdx"):
        with pytest.raises(UnavailableError):
            accept_device_quote(answer, tee=tee, report_data=REPORT)
