"""Byte layout of Intel DCAP quotes (SGX v3, TDX v4 and v5), for platforms that are simulated.

Only the simulated platform makes quotes itself; real platforms get theirs from hardware. The signing keys come in as
arguments, and the layout is the one that verifiers expect, so the same verifier code runs on both.

Source: Intel, "SGX ECDSA QuoteLibReference DCAP API" appendix A.4 (v3); "TDX DCAP Quoting Library API" appendix A.3
(v4) and A.4 (v5).
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from goldengrain_protocol.errors import InvalidInput

INTEL_QE_VENDOR_ID: Final = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
ATTESTATION_KEY_ECDSA_P256: Final = 2
TEE_TYPE_SGX: Final = 0x00000000
TEE_TYPE_TDX: Final = 0x00000081
CERTIFICATION_PCK_CHAIN: Final = 5
CERTIFICATION_QE_REPORT: Final = 6
TD_REPORT_10: Final = 2
TD_REPORT_15: Final = 3

SGX_ATTRIBUTES: Final = bytes.fromhex("0500000000000000e700000000000000")
"""INIT and MODE64BIT set, DEBUG clear; XFRM with AVX-512 state."""
SGX_ATTRIBUTES_DEBUG: Final = bytes.fromhex("0700000000000000e700000000000000")
QE_ATTRIBUTES: Final = bytes.fromhex("1100000000000000e700000000000000")
TD_ATTRIBUTES: Final = bytes.fromhex("0000001000000000")
"""SEPT_VE_DISABLE set, DEBUG clear."""
TD_ATTRIBUTES_DEBUG: Final = bytes.fromhex("0100001000000000")
TD_XFAM: Final = bytes.fromhex("e702060000000000")


@dataclass(frozen=True, slots=True)
class QuoteSigner:
    """Keys and constants of one quoting enclave: everything a quote needs beside the report itself."""

    attestation_key: ec.EllipticCurvePrivateKey
    pck_key: ec.EllipticCurvePrivateKey
    pck_chain_pem: bytes
    cpu_svn: bytes
    qe_mr_signer: bytes


def sgx_quote_v3(
    signer: QuoteSigner, mr_enclave: bytes, mr_signer: bytes, report_data: bytes, *, debug: bool = False
) -> bytes:
    """Return an SGX v3 quote over `report_data` (64 bytes) for the enclave `mr_enclave` (32 bytes)."""
    attributes = SGX_ATTRIBUTES_DEBUG if debug else SGX_ATTRIBUTES
    body = _enclave_report(signer.cpu_svn, attributes, mr_enclave, mr_signer, 1, 1, report_data)
    signed = _header(3, TEE_TYPE_SGX) + body
    return signed + _authentication(signer, signed, version=3, qe_product=1)


def tdx_quote(
    signer: QuoteSigner,
    mr_td: bytes,
    rtmrs: tuple[bytes, bytes, bytes, bytes],
    report_data: bytes,
    *,
    version: int = 4,
    debug: bool = False,
) -> bytes:
    """Return a TDX quote of `version` 4 (TD report 1.0) or 5 (TD report 1.5); measurements are 48 bytes each."""
    if version not in (4, 5):
        raise InvalidInput(f"TDX quote version must be 4 or 5, got {version}")
    body = b"".join(
        (
            bytes(16),  # TEE_TCB_SVN
            bytes(48),  # MRSEAM
            bytes(48),  # MRSIGNERSEAM: zero is Intel's own module
            bytes(8),  # SEAMATTRIBUTES
            TD_ATTRIBUTES_DEBUG if debug else TD_ATTRIBUTES,
            TD_XFAM,
            mr_td,
            bytes(48 * 3),  # MRCONFIGID, MROWNER, MROWNERCONFIG
            *rtmrs,
            report_data,
        )
    )
    _expect_length("TD report", body, 584)
    if version == 5:
        body += bytes(16) + bytes(48)  # TEE_TCB_SVN2, MRSERVICETD
        body = struct.pack("<HI", TD_REPORT_15, len(body)) + body
    signed = _header(version, TEE_TYPE_TDX) + body
    return signed + _authentication(signer, signed, version=version, qe_product=2)


def raw_signature(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    """Return the ECDSA P-256/SHA-256 signature as r || s, 32 bytes big-endian each."""
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _raw_public_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    numbers = key.public_key().public_numbers()
    return numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


def _header(version: int, tee_type: int) -> bytes:
    return (
        struct.pack("<HHIHH", version, ATTESTATION_KEY_ECDSA_P256, tee_type, 0, 0)
        + INTEL_QE_VENDOR_ID
        + bytes(20)
    )


def _enclave_report(
    cpu_svn: bytes,
    attributes: bytes,
    mr_enclave: bytes,
    mr_signer: bytes,
    isv_prod_id: int,
    isv_svn: int,
    report_data: bytes,
) -> bytes:
    report = b"".join(
        (
            cpu_svn,
            bytes(4 + 28),  # MISCSELECT, reserved
            attributes,
            mr_enclave,
            bytes(32),
            mr_signer,
            bytes(96),
            struct.pack("<HH", isv_prod_id, isv_svn),
            bytes(60),
            report_data,
        )
    )
    _expect_length("enclave report", report, 384)
    return report


def _authentication(signer: QuoteSigner, signed: bytes, *, version: int, qe_product: int) -> bytes:
    qe_authentication = bytes(range(32))
    attestation_public = _raw_public_key(signer.attestation_key)
    binding = hashlib.sha256(attestation_public + qe_authentication).digest() + bytes(32)
    qe_report = _enclave_report(
        signer.cpu_svn,
        QE_ATTRIBUTES,
        hashlib.sha256(b"SIMULATED QUOTING ENCLAVE, NOT INTEL").digest(),
        signer.qe_mr_signer,
        qe_product,
        1,
        binding,
    )
    chain = signer.pck_chain_pem
    qe_part = (
        qe_report
        + raw_signature(signer.pck_key, qe_report)
        + struct.pack("<H", len(qe_authentication))
        + qe_authentication
        + struct.pack("<HI", CERTIFICATION_PCK_CHAIN, len(chain))
        + chain
    )
    if version != 3:  # v4 and v5 wrap the QE report and its certification data once more
        qe_part = struct.pack("<HI", CERTIFICATION_QE_REPORT, len(qe_part)) + qe_part
    authentication = raw_signature(signer.attestation_key, signed) + attestation_public + qe_part
    return struct.pack("<I", len(authentication)) + authentication


def _expect_length(name: str, data: bytes, length: int) -> None:
    if len(data) != length:
        raise InvalidInput(f"{name} must be {length} bytes, got {len(data)}")
