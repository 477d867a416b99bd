"""What an enclave's quote says, verified from the silicon root down, offline, at a time the caller states.

Source: Intel SGX and TDX DCAP quote formats v3, v4, v5; docs/spec/attestation.md.
"""

import json
from dataclasses import dataclass
from typing import Final

import dcap_qvl
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding

from goldengrain_protocol import abi
from goldengrain_protocol.config import ChainTrustConfig, EnclaveConfig, config_digest
from goldengrain_protocol.constants import (
    MAX_COLLATERAL_BYTES,
    MAX_QUOTE_BYTES,
    X25519_KEY_BYTES,
    TcbStatus,
)
from goldengrain_protocol.errors import InvalidInput, VerificationError
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.types import Address, Hash32, address, fixed_bytes, hash32

__all__ = [
    "ChainTrustConfig",
    "EnclaveConfig",
    "VerifiedQuote",
    "config_digest",
    "measurement_sgx",
    "measurement_tdx",
    "report_data",
    "verify_quote",
]

_REPORT_DATA_TAG: Final = keccak256(b"goldengrain/report-data/v1")
_SGX_TAG: Final = b"goldengrain/measurement/sgx/v1"
_TDX_TAG: Final = b"goldengrain/measurement/tdx/v1"
_PLATFORM_TAG: Final = b"goldengrain/platform/v1"

_TCB_NAMES: Final = {
    "UpToDate": TcbStatus.UP_TO_DATE,
    "SWHardeningNeeded": TcbStatus.SW_HARDENING_NEEDED,
    "ConfigurationNeeded": TcbStatus.CONFIGURATION_NEEDED,
    "ConfigurationAndSWHardeningNeeded": TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED,
    "OutOfDate": TcbStatus.OUT_OF_DATE,
    "OutOfDateConfigurationNeeded": TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED,
    "Revoked": TcbStatus.REVOKED,
}
_TEXT_FIELDS: Final = (
    "pck_crl_issuer_chain",
    "tcb_info_issuer_chain",
    "tcb_info",
    "qe_identity_issuer_chain",
    "qe_identity",
)
_HEX_FIELDS: Final = ("root_ca_crl", "pck_crl", "tcb_info_signature", "qe_identity_signature")
_SGX_DEBUG: Final = 0x02
_MAX_TIME_S: Final = 2**40


@dataclass(frozen=True, slots=True)
class VerifiedQuote:
    """What a quote proves. Whether its status and root are good enough is the reader's decision."""

    tee: str
    """"sgx" or "tdx"."""
    version: int
    measurement: Hash32
    report_data: bytes
    """64 bytes that the measured code chose."""
    tcb_status: TcbStatus
    fmspc: bytes
    """6 bytes: Intel's name of the platform's family."""
    expiry: int
    """Unix seconds: the earliest end of anything that the verdict rests on."""
    platform: Hash32
    """Names this platform at this TCB level; the same for all its quotes, see docs/spec/attestation.md."""
    advisory_ids: tuple[str, ...]


def report_data(signer: Address, sealing_key: bytes, config: Hash32) -> bytes:
    """Return the 64 bytes that an enclave asks its platform to quote.

    The first 32 are keccak(abi_encode(keccak("goldengrain/report-data/v1"), signer, sealing_key,
    config_digest)), the last 32 zero.
    """
    key = hash32(fixed_bytes(sealing_key, X25519_KEY_BYTES, "sealing key"))
    return keccak256(abi.words(_REPORT_DATA_TAG, address(signer), key, hash32(config))) + bytes(32)


def measurement_sgx(mr_enclave: bytes) -> Hash32:
    """Return keccak("goldengrain/measurement/sgx/v1" || MRENCLAVE)."""
    return keccak256(_SGX_TAG + fixed_bytes(mr_enclave, 32, "mr_enclave"))


def measurement_tdx(mr_td: bytes, rtmr0: bytes, rtmr1: bytes, rtmr2: bytes, rtmr3: bytes) -> Hash32:
    """Return keccak("goldengrain/measurement/tdx/v1" || MRTD || RTMR0 || .. || RTMR3)."""
    registers = (mr_td, rtmr0, rtmr1, rtmr2, rtmr3)
    return keccak256(_TDX_TAG + b"".join(fixed_bytes(r, 48, "tdx register") for r in registers))


def verify_quote(
    quote: bytes, collateral_json: bytes, *, root_der: bytes | None, at_unix_s: int
) -> VerifiedQuote:
    """Return what `quote` proves at the time `at_unix_s`, given Intel's (or another root's) collateral.

    Args:
        collateral_json: the nine fields of docs/spec/attestation.md; other keys are not looked at.
        root_der: DER of the root certificate to trust; None for Intel's.

    Raises:
        InvalidInput: the quote or the collateral is malformed.
        VerificationError: a signature, chain, revocation, identity or date does not hold; the platform is
            revoked; or the enclave or TD runs in debug mode.
    """
    if not 0 < at_unix_s < _MAX_TIME_S:
        raise InvalidInput(f"time must be in 1..{_MAX_TIME_S - 1} unix seconds, got {at_unix_s}")
    # 1. Form.
    parsed = _parse(quote)
    collateral = _collateral(collateral_json)
    # 2. Certificate chains, CRLs, QE report and identity, TCB level, quote signature, all dates.
    #    `claims_only` leaves nothing of that out; it only does not judge the TCB status, which is reported.
    policy = dcap_qvl.QuotePolicy.claims_only(at_unix_s)
    try:
        verifier = dcap_qvl.QuoteVerifier(root_der)
        claims = json.loads(verifier.verify_with_policy(quote, collateral, at_unix_s, policy).to_json())
    except ValueError as exc:
        raise VerificationError(f"quote does not verify: {_reason(exc)}") from exc
    # 3. Production mode only, checked here too: nothing else stands between a debugger and the keys.
    report = parsed.report
    is_tdx = bool(parsed.is_tdx())
    if is_tdx and bytes(report.td_attributes)[0]:
        raise VerificationError("the trust domain runs in debug mode")
    if not is_tdx and bytes(report.attributes)[0] & _SGX_DEBUG:
        raise VerificationError("the enclave runs in debug mode")
    # 4. What it says.
    status = _TCB_NAMES.get(claims["tcb"]["status"])
    if status is None or status == TcbStatus.REVOKED:
        raise VerificationError(f"platform tcb status is {claims['tcb']['status']}")
    pck = claims["platform"]["pck"]
    chain = _pck_chain(parsed)
    expiry = min(
        claims["earliest_expiration_date"],
        claims["qe_iden_earliest_expiration_date"],
        *(int(certificate.not_valid_after_utc.timestamp()) for certificate in chain),
    )
    if is_tdx:
        rtmrs = (bytes(r) for r in (report.rt_mr0, report.rt_mr1, report.rt_mr2, report.rt_mr3))
        measurement = measurement_tdx(bytes(report.mr_td), *rtmrs)
    else:
        measurement = measurement_sgx(bytes(report.mr_enclave))
    return VerifiedQuote(
        tee="tdx" if is_tdx else "sgx",
        version=int(parsed.header.version),
        measurement=measurement,
        report_data=fixed_bytes(bytes(report.report_data), 64, "report data"),
        tcb_status=status,
        fmspc=fixed_bytes(bytes(pck["fmspc"]), 6, "fmspc"),
        expiry=expiry,
        platform=_platform(pck, chain[0]),
        advisory_ids=tuple(claims["tcb"]["advisory_ids"]),
    )


def _parse(quote: bytes) -> "dcap_qvl.Quote":
    if not isinstance(quote, bytes) or len(quote) > MAX_QUOTE_BYTES:
        raise InvalidInput(f"quote must be at most {MAX_QUOTE_BYTES} bytes")
    try:
        parsed = dcap_qvl.parse_quote(quote)
    except ValueError as exc:
        raise InvalidInput(f"quote is malformed: {_reason(exc)}") from exc
    if any(quote[_quote_bytes(quote, int(parsed.header.version)) :]):
        raise InvalidInput("quote has bytes other than zero after its signature")
    return parsed


def _quote_bytes(quote: bytes, version: int) -> int:
    """Return the size that the quote's own length fields state; platforms pad quotes with zeros."""
    body_at = 48
    if version == 5:
        body = 6 + int.from_bytes(quote[body_at + 2 : body_at + 6], "little")
    else:
        body = 584 if int.from_bytes(quote[4:8], "little") == 0x81 else 384
    at = body_at + body
    return at + 4 + int.from_bytes(quote[at : at + 4], "little")


def _collateral(collateral_json: bytes) -> "dcap_qvl.QuoteCollateralV3":
    if len(collateral_json) > MAX_COLLATERAL_BYTES:
        raise InvalidInput(f"collateral has at most {MAX_COLLATERAL_BYTES} bytes, got {len(collateral_json)}")
    try:
        values = json.loads(collateral_json)
    except (ValueError, RecursionError) as exc:
        raise InvalidInput("collateral is not JSON") from exc
    if not isinstance(values, dict):
        raise InvalidInput("collateral must be a JSON object")
    fields: dict[str, str | bytes] = {}
    for name in (*_TEXT_FIELDS, *_HEX_FIELDS):
        value = values.get(name)
        if not isinstance(value, str):
            raise InvalidInput(f"collateral.{name} must be a text")
        fields[name] = value
    for name in _HEX_FIELDS:
        try:
            fields[name] = bytes.fromhex(str(fields[name]))
        except ValueError as exc:
            raise InvalidInput(f"collateral.{name} must be hexadecimal") from exc
    # Built field by field: the PCK chain counts only as the quote itself carries it.
    try:
        return dcap_qvl.QuoteCollateralV3(**fields)
    except (ValueError, TypeError) as exc:
        raise InvalidInput("collateral holds text that is not unicode") from exc


def _pck_chain(parsed: "dcap_qvl.Quote") -> list[x509.Certificate]:
    pem = parsed.cert_chain_pem_bytes()
    if pem is None:
        raise VerificationError("quote must carry its pck certificate chain")
    try:
        chain = x509.load_pem_x509_certificates(bytes(pem))
    except ValueError as exc:
        raise VerificationError("pck certificate chain is malformed") from exc
    # Nothing but the certificates, each in its one form: then two PEM readers cannot see two different leaves.
    canonical = b"".join(certificate.public_bytes(Encoding.PEM) for certificate in chain)
    if bytes(pem).rstrip(b"\n\0") != canonical.rstrip(b"\n"):
        raise VerificationError("pck certificate chain must be plain pem")
    return chain


def _platform(pck: dict[str, list[int]], leaf: x509.Certificate) -> Hash32:
    """keccak(tag, fmspc 6, cpu_svn 16, pce_svn 2 big-endian, pce_id 2, PCK public key x 32, y 32)."""
    key = leaf.public_key()
    if not isinstance(key, EllipticCurvePublicKey):
        raise VerificationError("pck key must be an elliptic-curve key")
    numbers = key.public_numbers()
    pce_svn = int(str(pck["pce_svn"])).to_bytes(2, "big")
    point = numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
    return keccak256(
        _PLATFORM_TAG + bytes(pck["fmspc"]) + bytes(pck["cpu_svn"]) + pce_svn + bytes(pck["pce_id"]) + point
    )


def _reason(exc: Exception) -> str:
    text = " ".join(str(exc).split())
    return text[:300]
