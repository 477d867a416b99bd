"""A local public-key infrastructure in the shape of Intel's, for machines without TEE hardware.

Every certificate name says SIMULATED, NOT INTEL. Quotes under it verify with the same code as Intel's, but only
against this root: no verifier that is told to use Intel's root accepts them.

Source: Intel, "SGX PCK Certificate and CRL Profile Specification" 1.5; "PCS API" v4 (TCB info and QE identity).
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .dcap_quote import QuoteSigner, raw_signature

SGX_EXTENSION_OID: Final = "1.2.840.113741.1.13.1"
FMSPC: Final = bytes.fromhex("53494d000001")
"""First three bytes spell SIM."""
CPU_SVN: Final = bytes([2] * 16)
PCE_SVN: Final = 11
PCE_ID: Final = bytes(2)
QE_MR_SIGNER: Final = hashlib.sha256(b"SIMULATED QE SIGNER, NOT INTEL").digest()
CERTIFICATE_LIFETIME: Final = datetime.timedelta(days=3650)
COLLATERAL_LIFETIME: Final = datetime.timedelta(days=365)
CLOCK_SKEW: Final = datetime.timedelta(days=1)
"""How far certificates and collateral are back-dated."""

_ROLES: Final = ("root", "platform_ca", "tcb_signing", "pck")


@dataclass(frozen=True, slots=True)
class SimulatedPki:
    """Keys and certificates of the simulated silicon vendor and of one simulated machine."""

    keys: dict[str, ec.EllipticCurvePrivateKey]
    """One P-256 key per role (root, platform_ca, tcb_signing, pck) and `attestation`."""
    certificates: dict[str, x509.Certificate]
    """One certificate per role."""

    @property
    def root_der(self) -> bytes:
        """DER of the simulated root certificate."""
        return self.certificates["root"].public_bytes(serialization.Encoding.DER)

    def quote_signer(self) -> QuoteSigner:
        """Return what `dcap_quote` needs to sign quotes of this machine."""
        chain = "".join(_pem(self.certificates[role]) for role in ("pck", "platform_ca", "root"))
        return QuoteSigner(self.keys["attestation"], self.keys["pck"], chain.encode(), CPU_SVN, QE_MR_SIGNER)


def create_pki(now_unix_s: int, ppid: bytes) -> SimulatedPki:
    """Return a fresh PKI valid from a day before `now_unix_s` for ten years.

    Args:
        ppid: 16 bytes that name the simulated machine.
    """
    start = _instant(now_unix_s) - CLOCK_SKEW
    keys = {role: ec.generate_private_key(ec.SECP256R1()) for role in (*_ROLES, "attestation")}

    def issue(role: str, name: str, issuer: str, *, path_length: int | None = None, sgx: bytes = b"") -> None:
        issuer_name = certificates[issuer].subject if issuer != role else _name(name)
        certificates[role] = _certificate(
            _name(name),
            keys[role],
            issuer_name,
            keys[issuer],
            start,
            path_length=path_length,
            sgx_extension=sgx,
        )

    certificates: dict[str, x509.Certificate] = {}
    issue("root", "SIMULATED Root CA, NOT INTEL", "root", path_length=1)
    issue("platform_ca", "SIMULATED PCK Platform CA, NOT INTEL", "root", path_length=0)
    issue("tcb_signing", "SIMULATED TCB Signing, NOT INTEL", "root")
    issue("pck", "SIMULATED PCK Certificate, NOT INTEL", "platform_ca", sgx=_sgx_extension(ppid))
    return SimulatedPki(keys, certificates)


def collateral_json(
    pki: SimulatedPki,
    tee: str,
    now_unix_s: int,
    *,
    tcb_status: str = "UpToDate",
    revoked: Sequence[x509.Certificate] = (),
    lifetime: datetime.timedelta = COLLATERAL_LIFETIME,
) -> bytes:
    """Return verification collateral for quotes of this PKI, in the JSON form that dcap-qvl reads.

    Args:
        tee: "sgx" or "tdx".
        now_unix_s: issue time; back-dated by a day.
        tcb_status: status of the only TCB level, in Intel's spelling.
        revoked: certificates listed in the PCK revocation list.
    """
    start = _instant(now_unix_s) - CLOCK_SKEW
    end = start + CLOCK_SKEW + lifetime
    tcb_info = _compact(_tcb_info(tee, tcb_status, start, end))
    qe_identity = _compact(_qe_identity(tee, start, end))
    signing_key = pki.keys["tcb_signing"]
    signing_chain = _pem(pki.certificates["tcb_signing"]) + _pem(pki.certificates["root"])
    return _compact(
        {
            "pck_crl_issuer_chain": _pem(pki.certificates["platform_ca"]) + _pem(pki.certificates["root"]),
            "root_ca_crl": _crl(pki, "root", (), start, end).hex(),
            "pck_crl": _crl(pki, "platform_ca", revoked, start, end).hex(),
            "tcb_info_issuer_chain": signing_chain,
            "tcb_info": tcb_info,
            "tcb_info_signature": raw_signature(signing_key, tcb_info.encode()).hex(),
            "qe_identity_issuer_chain": signing_chain,
            "qe_identity": qe_identity,
            "qe_identity_signature": raw_signature(signing_key, qe_identity.encode()).hex(),
        }
    ).encode()


def _tcb_info(tee: str, status: str, start: datetime.datetime, end: datetime.datetime) -> dict[str, object]:
    level: dict[str, object] = {"sgxtcbcomponents": [{"svn": svn} for svn in CPU_SVN], "pcesvn": PCE_SVN}
    info: dict[str, object] = {
        "id": tee.upper(),
        "version": 3,
        "issueDate": _zulu(start),
        "nextUpdate": _zulu(end),
        "fmspc": FMSPC.hex().upper(),
        "pceId": PCE_ID.hex(),
        "tcbType": 0,
        "tcbEvaluationDataNumber": 1,
    }
    if tee == "tdx":
        level["tdxtcbcomponents"] = [{"svn": 0}] * 16
        info["tdxModule"] = {"mrsigner": "00" * 48, "attributes": "00" * 8, "attributesMask": "FF" * 8}
        info["tdxModuleIdentities"] = []
    info["tcbLevels"] = [{"tcb": level, "tcbDate": _zulu(start), "tcbStatus": status, "advisoryIDs": []}]
    return info


def _qe_identity(tee: str, start: datetime.datetime, end: datetime.datetime) -> dict[str, object]:
    return {
        "id": "TD_QE" if tee == "tdx" else "QE",
        "version": 2,
        "issueDate": _zulu(start),
        "nextUpdate": _zulu(end),
        "tcbEvaluationDataNumber": 1,
        "miscselect": "00000000",
        "miscselectMask": "FFFFFFFF",
        "attributes": "11" + "00" * 15,
        "attributesMask": "FB" + "FF" * 7 + "00" * 8,
        "mrsigner": QE_MR_SIGNER.hex().upper(),
        "isvprodid": 2 if tee == "tdx" else 1,
        "tcbLevels": [{"tcb": {"isvsvn": 1}, "tcbDate": _zulu(start), "tcbStatus": "UpToDate"}],
    }


def _certificate(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    start: datetime.datetime,
    *,
    path_length: int | None,
    sgx_extension: bytes,
) -> x509.Certificate:
    is_ca = path_length is not None
    usage = x509.KeyUsage(
        digital_signature=not is_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + CERTIFICATE_LIFETIME)
        .add_extension(x509.BasicConstraints(is_ca, path_length), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
    )
    if sgx_extension:
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(SGX_EXTENSION_OID), sgx_extension)
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _crl(
    pki: SimulatedPki,
    issuer: str,
    revoked: Sequence[x509.Certificate],
    start: datetime.datetime,
    end: datetime.datetime,
) -> bytes:
    key = pki.keys[issuer]
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(pki.certificates[issuer].subject)
        .last_update(start)
        .next_update(end)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .add_extension(x509.CRLNumber(1), critical=False)
    )
    for certificate in revoked:
        entry = (
            x509.RevokedCertificateBuilder().serial_number(certificate.serial_number).revocation_date(start)
        )
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def _sgx_extension(ppid: bytes) -> bytes:
    base = SGX_EXTENSION_OID
    tcb = [_der(0x30, _oid(f"{base}.2.{i + 1}"), _integer(svn)) for i, svn in enumerate(CPU_SVN)]
    tcb.append(_der(0x30, _oid(f"{base}.2.17"), _integer(PCE_SVN)))
    tcb.append(_der(0x30, _oid(f"{base}.2.18"), _der(0x04, CPU_SVN)))
    return _der(
        0x30,
        _der(0x30, _oid(f"{base}.1"), _der(0x04, ppid)),
        _der(0x30, _oid(f"{base}.2"), _der(0x30, *tcb)),
        _der(0x30, _oid(f"{base}.3"), _der(0x04, PCE_ID)),
        _der(0x30, _oid(f"{base}.4"), _der(0x04, FMSPC)),
        _der(0x30, _oid(f"{base}.5"), _der(0x0A, b"\x01")),
    )


def _der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    length = len(content)
    if length < 128:
        return bytes([tag, length]) + content
    encoded = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(encoded)]) + encoded + content


def _oid(dotted: str) -> bytes:
    arcs = [int(arc) for arc in dotted.split(".")]
    content = bytearray([arcs[0] * 40 + arcs[1]])
    for arc in arcs[2:]:
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(0x80 | (arc & 0x7F))
        content.extend(reversed(groups))
    return _der(0x06, bytes(content))


def _integer(value: int) -> bytes:
    return _der(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _instant(unix_s: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(unix_s, datetime.UTC)


def _zulu(instant: datetime.datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
