"""Quotes: Intel's own where the samples are at hand, and simulated ones under their own root, fault by fault."""

from __future__ import annotations

import datetime
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from goldengrain_enclave.platform import dcap_quote, simulated_pki
from goldengrain_protocol import attestation
from goldengrain_protocol.attestation import measurement_sgx, measurement_tdx, verify_quote
from goldengrain_protocol.constants import TcbStatus
from goldengrain_protocol.errors import InvalidInput, VerificationError

SAMPLES = Path(__file__).parents[4] / "shared" / "vectors" / "dcap"
INTEL_TIME = 1_750_400_000
NOW = 1_700_000_000
DAY = 86_400
REPORT_DATA = bytes(range(64))
MR_ENCLAVE, MR_SIGNER = bytes([1]) * 32, bytes([2]) * 32
MR_TD, RTMRS = bytes([3]) * 48, (bytes([4]) * 48, bytes([5]) * 48, bytes([6]) * 48, bytes([7]) * 48)


@pytest.fixture(scope="module")
def pki() -> simulated_pki.SimulatedPki:
    return simulated_pki.create_pki(NOW, bytes(16))


def quote_of(pki: simulated_pki.SimulatedPki, kind: str, *, debug: bool = False) -> tuple[bytes, str]:
    signer = pki.quote_signer()
    if kind == "sgx3":
        return dcap_quote.sgx_quote_v3(signer, MR_ENCLAVE, MR_SIGNER, REPORT_DATA, debug=debug), "sgx"
    version = int(kind[-1])
    return dcap_quote.tdx_quote(signer, MR_TD, RTMRS, REPORT_DATA, version=version, debug=debug), "tdx"


KINDS = ("sgx3", "tdx4", "tdx5")


def sample(tee: str) -> tuple[bytes, bytes]:
    if not SAMPLES.is_dir():
        pytest.skip(f"no Intel sample quotes at {SAMPLES}")
    return (SAMPLES / f"{tee}_quote").read_bytes(), (SAMPLES / f"{tee}_quote_collateral.json").read_bytes()


def test_intel_sgx_quote() -> None:
    quote, collateral = sample("sgx")
    got = verify_quote(quote, collateral, root_der=None, at_unix_s=INTEL_TIME)
    assert (got.tee, got.version, got.tcb_status) == (
        "sgx",
        3,
        TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED,
    )
    mr_enclave = bytes.fromhex("33d8736db756ed4997e04ba358d27833188f1932ff7b1d156904d3f560452fbb")
    assert got.measurement == measurement_sgx(mr_enclave)
    assert got.report_data.rstrip(b"\0") == b"Hello, world!"
    assert (got.fmspc.hex(), got.expiry) == ("00a067110000", 1_752_919_278)
    assert got.advisory_ids == ("INTEL-SA-00289", "INTEL-SA-00615")


def test_intel_tdx_quote() -> None:
    quote, collateral = sample("tdx")
    got = verify_quote(quote, collateral, root_der=None, at_unix_s=INTEL_TIME)
    assert (got.tee, got.version, got.tcb_status) == ("tdx", 4, TcbStatus.UP_TO_DATE)
    assert (got.fmspc.hex(), got.expiry) == ("b0c06f000000", 1_752_919_235)


@pytest.mark.parametrize("tee", ["sgx", "tdx"])
def test_intel_quote_is_refused_elsewhere_and_at_other_times(
    tee: str, pki: simulated_pki.SimulatedPki
) -> None:
    quote, collateral = sample(tee)
    verify_quote(quote, collateral, root_der=None, at_unix_s=INTEL_TIME)
    for at in (INTEL_TIME - 60 * DAY, INTEL_TIME + 60 * DAY):
        with pytest.raises(VerificationError):
            verify_quote(quote, collateral, root_der=None, at_unix_s=at)
    with pytest.raises(VerificationError):
        verify_quote(quote, collateral, root_der=pki.root_der, at_unix_s=INTEL_TIME)


def test_intel_quote_with_any_signed_byte_changed_is_refused() -> None:
    quote, collateral = sample("sgx")
    for at in [*range(0, 436, 7), *range(436, 1012, 31)]:
        changed = quote[:at] + bytes([quote[at] ^ 1]) + quote[at + 1 :]
        with pytest.raises((InvalidInput, VerificationError)):
            verify_quote(changed, collateral, root_der=None, at_unix_s=INTEL_TIME)


def test_expiry_is_where_verification_ends() -> None:
    quote, collateral = sample("sgx")
    expiry = verify_quote(quote, collateral, root_der=None, at_unix_s=INTEL_TIME).expiry
    verify_quote(quote, collateral, root_der=None, at_unix_s=expiry - 1)
    with pytest.raises(VerificationError):
        verify_quote(quote, collateral, root_der=None, at_unix_s=expiry + 1)


@pytest.mark.parametrize("kind", KINDS)
def test_simulated_quote_verifies_under_its_own_root_only(kind: str, pki: simulated_pki.SimulatedPki) -> None:
    quote, tee = quote_of(pki, kind)
    collateral = simulated_pki.collateral_json(pki, tee, NOW)
    got = verify_quote(quote, collateral, root_der=pki.root_der, at_unix_s=NOW)
    expected = measurement_sgx(MR_ENCLAVE) if tee == "sgx" else measurement_tdx(MR_TD, *RTMRS)
    assert (got.tee, got.version, got.measurement) == (tee, int(kind[-1]), expected)
    assert (got.report_data, got.tcb_status, got.fmspc) == (
        REPORT_DATA,
        TcbStatus.UP_TO_DATE,
        simulated_pki.FMSPC,
    )
    assert got.expiry == NOW + 365 * DAY
    with pytest.raises(VerificationError):
        verify_quote(quote, collateral, root_der=None, at_unix_s=NOW)
    with pytest.raises(VerificationError):
        verify_quote(
            quote, collateral, root_der=simulated_pki.create_pki(NOW, bytes(16)).root_der, at_unix_s=NOW
        )


@pytest.mark.parametrize("kind", KINDS)
def test_debug_mode_is_refused(kind: str, pki: simulated_pki.SimulatedPki) -> None:
    quote, tee = quote_of(pki, kind, debug=True)
    collateral = simulated_pki.collateral_json(pki, tee, NOW)
    with pytest.raises(VerificationError, match=r"[Dd]ebug"):
        verify_quote(quote, collateral, root_der=pki.root_der, at_unix_s=NOW)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", sorted(attestation._TCB_NAMES))
def test_tcb_status_is_reported_and_revoked_refused(
    kind: str, name: str, pki: simulated_pki.SimulatedPki
) -> None:
    quote, tee = quote_of(pki, kind)
    collateral = simulated_pki.collateral_json(pki, tee, NOW, tcb_status=name)
    if name == "Revoked":
        with pytest.raises(VerificationError):
            verify_quote(quote, collateral, root_der=pki.root_der, at_unix_s=NOW)
        return
    got = verify_quote(quote, collateral, root_der=pki.root_der, at_unix_s=NOW)
    assert got.tcb_status == attestation._TCB_NAMES[name]


def test_revoked_pck_certificate_is_refused(pki: simulated_pki.SimulatedPki) -> None:
    quote, tee = quote_of(pki, "sgx3")
    collateral = simulated_pki.collateral_json(pki, tee, NOW, revoked=[pki.certificates["pck"]])
    with pytest.raises(VerificationError, match="certificate chain"):
        verify_quote(quote, collateral, root_der=pki.root_der, at_unix_s=NOW)


def test_expiry_follows_the_shortest_lived_collateral(pki: simulated_pki.SimulatedPki) -> None:
    quote, tee = quote_of(pki, "tdx4")
    week = simulated_pki.collateral_json(pki, tee, NOW, lifetime=datetime.timedelta(days=7))
    year = simulated_pki.collateral_json(pki, tee, NOW)
    for fields in (["root_ca_crl"], ["pck_crl"], ["tcb_info", "tcb_info_signature"],
                   ["qe_identity", "qe_identity_signature"]):  # fmt: skip
        mixed = json.loads(year) | {field: json.loads(week)[field] for field in fields}
        got = verify_quote(quote, json.dumps(mixed).encode(), root_der=pki.root_der, at_unix_s=NOW)
        assert got.expiry == NOW + 7 * DAY, fields


def test_platform_names_the_machine_not_the_quote(pki: simulated_pki.SimulatedPki) -> None:
    def platform(of: simulated_pki.SimulatedPki, kind: str) -> bytes:
        quote, tee = quote_of(of, kind)
        collateral = simulated_pki.collateral_json(of, tee, NOW)
        return verify_quote(quote, collateral, root_der=of.root_der, at_unix_s=NOW).platform

    other = simulated_pki.create_pki(NOW, bytes(16))
    assert platform(pki, "sgx3") == platform(pki, "sgx3") == platform(pki, "tdx4")
    assert platform(pki, "sgx3") != platform(other, "sgx3")


@pytest.mark.parametrize("kind", KINDS)
def test_only_zeros_may_follow_the_signature(kind: str, pki: simulated_pki.SimulatedPki) -> None:
    quote, tee = quote_of(pki, kind)
    collateral = simulated_pki.collateral_json(pki, tee, NOW)
    padded = verify_quote(quote + bytes(64), collateral, root_der=pki.root_der, at_unix_s=NOW)
    assert padded == verify_quote(quote, collateral, root_der=pki.root_der, at_unix_s=NOW)
    for bad in (quote + b"\1", quote + b"\0\1", quote[:-1], quote[:100], b"", quote + bytes(8192)):
        with pytest.raises(InvalidInput):
            verify_quote(bad, collateral, root_der=pki.root_der, at_unix_s=NOW)


# The issuer chain of the PCK CRL has to be there, but the chain inside the quote is what counts.
COLLATERAL_FIELDS = tuple(
    name for name in (*attestation._TEXT_FIELDS, *attestation._HEX_FIELDS) if name != "pck_crl_issuer_chain"
)


@pytest.mark.parametrize("field", COLLATERAL_FIELDS)
@pytest.mark.parametrize("value", [None, 7, "", "zz", "\ud800", "missing"])
def test_malformed_collateral_is_refused(field: str, value: Any, pki: simulated_pki.SimulatedPki) -> None:
    quote, tee = quote_of(pki, "sgx3")
    values = json.loads(simulated_pki.collateral_json(pki, tee, NOW))
    values[field] = value
    if value == "missing":
        del values[field]
    with pytest.raises((InvalidInput, VerificationError)):
        verify_quote(quote, json.dumps(values).encode(), root_der=pki.root_der, at_unix_s=NOW)


def test_a_pck_chain_in_the_collateral_is_not_looked_at(pki: simulated_pki.SimulatedPki) -> None:
    quote, tee = quote_of(pki, "sgx3")
    values = json.loads(simulated_pki.collateral_json(pki, tee, NOW))
    values["pck_certificate_chain"] = (
        simulated_pki.create_pki(NOW, bytes(16)).quote_signer().pck_chain_pem.decode()
    )
    expected = verify_quote(
        quote, simulated_pki.collateral_json(pki, tee, NOW), root_der=pki.root_der, at_unix_s=NOW
    )
    got = verify_quote(quote, json.dumps(values).encode(), root_der=pki.root_der, at_unix_s=NOW)
    assert got.platform == expected.platform


def test_another_machines_certificates_are_refused(pki: simulated_pki.SimulatedPki) -> None:
    other = simulated_pki.create_pki(NOW, bytes(16))
    quote, tee = quote_of(other, "sgx3")
    with pytest.raises(VerificationError):
        verify_quote(
            quote, simulated_pki.collateral_json(pki, tee, NOW), root_der=pki.root_der, at_unix_s=NOW
        )


@pytest.mark.parametrize("root", [b"", b"\x30\x00", b"not a certificate"])
def test_a_root_that_is_no_certificate_is_refused(root: bytes, pki: simulated_pki.SimulatedPki) -> None:
    quote, tee = quote_of(pki, "sgx3")
    with pytest.raises((InvalidInput, VerificationError)):
        verify_quote(quote, simulated_pki.collateral_json(pki, tee, NOW), root_der=root, at_unix_s=NOW)


@pytest.mark.parametrize("at", [0, -1, 2**40, 2**70])
def test_a_time_that_is_no_time_is_refused(at: int, pki: simulated_pki.SimulatedPki) -> None:
    with pytest.raises(InvalidInput, match="time"):
        verify_quote(b"", b"{}", root_der=pki.root_der, at_unix_s=at)


@pytest.mark.parametrize("form", ["label", "crlf", "text-before", "text-between", "unwrapped"])
def test_a_pck_chain_that_two_readers_could_read_differently_is_refused(
    form: str, pki: simulated_pki.SimulatedPki
) -> None:
    """The leaf names the platform; a second, hidden leaf would make one machine look like two."""
    signer = pki.quote_signer()
    chain = signer.pck_chain_pem
    leaf, rest = chain[: chain.index(b"-----END") + 26], chain[chain.index(b"-----END") + 26 :]
    other = simulated_pki.create_pki(NOW, bytes(16)).quote_signer().pck_chain_pem
    forms = {
        "label": leaf.replace(b" CERTIFICATE", b" HIDDEN") + other[: other.index(b"-----END") + 26] + rest,
        "crlf": chain.replace(b"\n", b"\r\n"),
        "text-before": b"text\n" + chain,
        "text-between": leaf + b"text\n" + rest,
        "unwrapped": leaf.replace(b"\n", b"")
        .replace(b"E-----M", b"E-----\nM")
        .replace(b"-----END", b"\n-----END")
        + b"\n"
        + rest,
    }
    collateral = simulated_pki.collateral_json(pki, "sgx", NOW)
    good = dcap_quote.sgx_quote_v3(signer, MR_ENCLAVE, MR_SIGNER, REPORT_DATA)
    verify_quote(good, collateral, root_der=pki.root_der, at_unix_s=NOW)
    bad = dcap_quote.sgx_quote_v3(
        replace(signer, pck_chain_pem=forms[form]), MR_ENCLAVE, MR_SIGNER, REPORT_DATA
    )
    with pytest.raises((InvalidInput, VerificationError)):
        verify_quote(bad, collateral, root_der=pki.root_der, at_unix_s=NOW)


def test_mutated_quotes_are_refused_or_say_the_same(pki: simulated_pki.SimulatedPki) -> None:
    noise = random.Random(7)
    for kind in KINDS:
        quote, tee = quote_of(pki, kind)
        collateral = simulated_pki.collateral_json(pki, tee, NOW)
        expected = verify_quote(quote, collateral, root_der=pki.root_der, at_unix_s=NOW)
        for _ in range(400):
            bad = bytearray(quote)
            for _ in range(noise.randint(1, 3)):
                at = noise.randrange(len(bad))
                bad[at : at + noise.randint(0, 3)] = noise.randbytes(noise.randint(0, 3))
            try:
                got = verify_quote(bytes(bad), collateral, root_der=pki.root_der, at_unix_s=NOW)
            except (InvalidInput, VerificationError):
                continue
            assert got == expected
