"""A silicon vendor's keys, machines and papers, every field of which a test may set wrong and sign again.

The shapes are Intel's; the names say that they are not. Keys come from labels, so two runs build the same world.
"""

from __future__ import annotations

import base64
import datetime
import functools
import hashlib
import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

NOW: Final = 1_790_000_000
DAY_S: Final = 86_400
ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of P-256. Source: SEC 2, section 2.4.2."""

FMSPC: Final = bytes.fromhex("53494d000002")
CPU_SVN: Final = bytes([11, 11, 2, 2, 255, 1, 12, 0, 3, 0, 0, 0, 0, 0, 0, 200])
PCE_SVN: Final = 13
TEE_SVN: Final = bytes([5, 1, 2, *[0] * 13])
QE_SIGNER: Final = hashlib.sha256(b"quoting enclave's signer").digest()
MODULE_SIGNER: Final = bytes(48)
QE_VENDOR: Final = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
SGX_OID: Final = "1.2.840.113741.1.13.1"
QE_AUTHENTICATION: Final = bytes(range(32))

Document = dict[str, Any]


@functools.cache
def key(label: str) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(
        int.from_bytes(hashlib.sha256(label.encode()).digest(), "big") % ORDER, ec.SECP256R1()
    )


@functools.cache
def raw_signature(signer: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    """Return r || s."""
    r, s = decode_dss_signature(signer.sign(message, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def raw_point(of: ec.EllipticCurvePrivateKey) -> bytes:
    numbers = of.public_key().public_numbers()
    return numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


def der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    if len(content) < 128:
        return bytes([tag, len(content)]) + content
    size = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return bytes([tag, 128 + len(size)]) + size + content


def der_integer(value: int) -> bytes:
    return der(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _oid(dotted: str) -> bytes:
    arcs = [int(arc) for arc in dotted.split(".")]
    content = bytearray([arcs[0] * 40 + arcs[1]])
    for arc in arcs[2:]:
        groups = [arc & 127]
        while arc := arc >> 7:
            groups.append(128 | (arc & 127))
        content.extend(reversed(groups))
    return der(6, bytes(content))


def elements(content: bytes) -> list[bytes]:
    """Return the DER elements that follow each other in `content`."""
    found = []
    at = 0
    while at < len(content):
        length, start = content[at + 1], at + 2
        if length >= 128:
            start += length - 128
            length = int.from_bytes(content[at + 2 : start], "big")
        found.append(content[at : start + length])
        at = start + length
    return found


def content_of(element: bytes) -> bytes:
    return element[2:] if element[1] < 128 else element[2 + element[1] - 128 :]


def sgx_extension(
    cpu_svn: bytes, pce_svn: int, fmspc: bytes, pce_id: bytes, components: bytes | None = None
) -> bytes:
    tcb = [
        der(48, _oid(f"{SGX_OID}.2.{i + 1}"), der_integer(svn)) for i, svn in enumerate(components or cpu_svn)
    ]
    tcb.append(der(48, _oid(f"{SGX_OID}.2.17"), der_integer(pce_svn)))
    tcb.append(der(48, _oid(f"{SGX_OID}.2.18"), der(4, cpu_svn)))
    return der(
        48,
        der(48, _oid(f"{SGX_OID}.1"), der(4, hashlib.sha256(b"ppid").digest()[:16])),
        der(48, _oid(f"{SGX_OID}.2"), der(48, *tcb)),
        der(48, _oid(f"{SGX_OID}.3"), der(4, pce_id)),
        der(48, _oid(f"{SGX_OID}.4"), der(4, fmspc)),
        der(48, _oid(f"{SGX_OID}.5"), der(10, b"\x01")),
    )


def name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{common_name}, NOT INTEL")])


def instant(unix_s: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(unix_s, datetime.UTC)


@dataclass(frozen=True, slots=True)
class Paper:
    """What a certificate is to say."""

    subject: str
    issuer: str
    key_label: str
    signer_label: str
    serial: int
    not_before: int = NOW - 100 * DAY_S
    not_after: int = NOW + 1000 * DAY_S
    path_length: int | None = None
    """None for a certificate that is no authority."""
    key_usage: str = ""
    """"sign", "issue" or "none"; empty for what fits."""
    extension: bytes = b""
    """The SGX extension."""
    unknown_critical: bool = False

    def der(self) -> bytes:
        return _certificate(self)


@functools.cache
def _certificate(paper: Paper) -> bytes:
    is_ca = paper.path_length is not None
    issues = (paper.key_usage or ("issue" if is_ca else "sign")) == "issue"
    signs = (paper.key_usage or ("issue" if is_ca else "sign")) == "sign"
    usage = x509.KeyUsage(signs, False, paper.key_usage == "none", False, False, issues, issues, False, False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(paper.subject))
        .issuer_name(name(paper.issuer))
        .public_key(key(paper.key_label).public_key())
        .serial_number(paper.serial)
        .not_valid_before(instant(paper.not_before))
        .not_valid_after(instant(paper.not_after))
        .add_extension(x509.BasicConstraints(is_ca, paper.path_length), critical=True)
        .add_extension(usage, critical=True)
    )
    if paper.extension:
        oid = x509.ObjectIdentifier(SGX_OID)
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, paper.extension), critical=False)
    if paper.unknown_critical:
        oid = x509.ObjectIdentifier("1.2.3.4")
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, b"\x05\x00"), critical=True)
    certificate = builder.sign(key(paper.signer_label), hashes.SHA256())
    return certificate.public_bytes(serialization.Encoding.DER)


def sign_again(certificate: bytes, signer_label: str, edit: Callable[[bytes], bytes]) -> bytes:
    """Return a certificate or CRL whose signed part is what `edit` makes of it, with a signature that holds."""
    signed, algorithm, _ = elements(content_of(certificate))
    changed = edit(signed)
    signature = key(signer_label).sign(changed, ec.ECDSA(hashes.SHA256()))
    return der(48, changed, algorithm, der(3, b"\x00", signature))


@dataclass(frozen=True, slots=True)
class RevocationList:
    """What a revocation list is to say."""

    issuer: str
    signer_label: str
    revoked: tuple[int, ...] = ()
    issued: int = NOW - 2 * DAY_S
    expires: int = NOW + 28 * DAY_S

    def der(self) -> bytes:
        return _revocation_list(self)


@functools.cache
def _revocation_list(paper: RevocationList) -> bytes:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(name(paper.issuer))
        .last_update(instant(paper.issued))
        .next_update(instant(paper.expires))
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(key(paper.signer_label).public_key()), False
        )
        .add_extension(x509.CRLNumber(1), False)
    )
    for serial in paper.revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(instant(paper.issued))
        entry = entry.add_extension(x509.CRLReason(x509.ReasonFlags.key_compromise), False)
        builder = builder.add_revoked_certificate(entry.build())
    signed = builder.sign(key(paper.signer_label), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.DER)


ROOT = Paper("Root CA", "Root CA", "root", "root", serial=0x80 << 144, path_length=1)
PLATFORM_CA = Paper("PCK CA", "Root CA", "platform ca", "root", serial=(0x91 << 144) | 7, path_length=0)
TCB_SIGNER = Paper("TCB Signing", "Root CA", "tcb signing", "root", serial=0x1234567890ABCDEF1234)
PCK = Paper(
    "PCK Certificate",
    "PCK CA",
    "pck",
    "platform ca",
    serial=(0xFE << 144) | 0x00AB_CDEF_0011_2233,
    extension=sgx_extension(CPU_SVN, PCE_SVN, FMSPC, bytes(2)),
)
ROOT_CRL = RevocationList("Root CA", "root")
PCK_CRL = RevocationList("PCK CA", "platform ca", (3, (0xC0 << 144) | 99))


def zulu(unix_s: int) -> str:
    return instant(unix_s).strftime("%Y-%m-%dT%H:%M:%SZ")


def tcb_level(
    svns: Sequence[int],
    pce_svn: int,
    status: str,
    tdx: Sequence[int] | None = None,
    advisories: Sequence[str] = (),
) -> Document:
    tcb: Document = {"sgxtcbcomponents": [_component(i, svn, tdx is not None) for i, svn in enumerate(svns)]}
    tcb["pcesvn"] = pce_svn
    if tdx is not None:
        tcb["tdxtcbcomponents"] = [_component(i, svn, described=True) for i, svn in enumerate(tdx)]
    level: Document = {"tcb": tcb, "tcbDate": "2024-03-13T00:00:00Z", "tcbStatus": status}
    if advisories:
        level["advisoryIDs"] = list(advisories)
    return level


def _component(index: int, svn: int, described: bool) -> Document:
    component: Document = {"svn": svn}
    if described and index < 3:
        component["category"] = "BIOS" if index == 0 else "OS/VMM"
    if described and index == 1:
        component["type"] = "SGX Late Microcode Update"
    return component


def lower(svns: bytes, by: int = 1) -> list[int]:
    return [max(0, svn - by) for svn in svns]


def tcb_info(tee: str) -> Document:
    """Return the TCB info under which the machine is up to date, three levels high."""
    is_tdx = tee == "tdx"
    info: Document = {
        "id": tee.upper(),
        "version": 3,
        "issueDate": zulu(NOW - 2 * DAY_S),
        "nextUpdate": zulu(NOW + 28 * DAY_S),
        "fmspc": FMSPC.hex().upper(),
        "pceId": "0000",
        "tcbType": 0,
        "tcbEvaluationDataNumber": 17,
    }
    if is_tdx:
        info["tdxModule"] = tdx_module()
        levels = [_module_level(4, "UpToDate"), _module_level(2, "OutOfDate")]
        info["tdxModuleIdentities"] = [
            {"id": "TDX_03", **tdx_module(), "tcbLevels": [_module_level(3, "UpToDate")]},
            {"id": "TDX_01", **tdx_module(), "tcbLevels": levels},
        ]
    info["tcbLevels"] = [
        tcb_level(CPU_SVN, PCE_SVN, "UpToDate", TEE_SVN if is_tdx else None),
        tcb_level(
            lower(CPU_SVN), PCE_SVN, "OutOfDate", lower(TEE_SVN) if is_tdx else None, ["INTEL-SA-00615"]
        ),
        tcb_level(
            [0] * 16,
            0,
            "OutOfDateConfigurationNeeded",
            [0] * 16 if is_tdx else None,
            ["INTEL-SA-00106", "INTEL-SA-00115", "INTEL-DOC-1", ""],
        ),
    ]
    return info


def tdx_module() -> Document:
    return {"mrsigner": MODULE_SIGNER.hex(), "attributes": "00" * 8, "attributesMask": "FF" * 8}


def _module_level(isv_svn: int, status: str) -> Document:
    return {"tcb": {"isvsvn": isv_svn}, "tcbDate": "2024-03-13T00:00:00Z", "tcbStatus": status}


def qe_identity(tee: str) -> Document:
    return {
        "id": "TD_QE" if tee == "tdx" else "QE",
        "version": 2,
        "issueDate": zulu(NOW - 2 * DAY_S),
        "nextUpdate": zulu(NOW + 28 * DAY_S),
        "tcbEvaluationDataNumber": 17,
        "miscselect": "00000000",
        "miscselectMask": "FFFFFFFF",
        "attributes": "11" + "00" * 15,
        "attributesMask": "FB" + "FF" * 7 + "00" * 8,
        "mrsigner": QE_SIGNER.hex().upper(),
        "isvprodid": 2 if tee == "tdx" else 1,
        "tcbLevels": [_module_level(8, "UpToDate"), _module_level(6, "OutOfDate")],
    }


def compact(document: Document) -> str:
    return json.dumps(document, separators=(",", ":"))


def enclave_report(fields: Mapping[int, bytes]) -> bytes:
    report = bytearray(384)
    for at, value in fields.items():
        report[at : at + len(value)] = value
    return bytes(report)


def signed_part(version: int) -> bytes:
    """Return header and body of a quote that holds."""
    tee_type = 0 if version == 3 else 0x81
    header = struct.pack("<HHIHH", version, 2, tee_type, 10, 15) + QE_VENDOR + bytes(range(20))
    report_data = hashlib.sha512(b"report data").digest()
    if version == 3:
        attributes = bytes.fromhex("0500000000000000e700000000000000")
        fields = {0: CPU_SVN, 48: attributes, 64: hashlib.sha256(b"mr enclave").digest(), 320: report_data}
        return header + enclave_report(fields)
    body = bytearray(584)
    body[:16] = TEE_SVN
    body[16:64] = hashlib.sha384(b"mr seam").digest()
    body[120:128] = bytes.fromhex("0000001000000000")
    body[128:136] = bytes.fromhex("e702060000000000")
    for i, at in enumerate((136, 328, 376, 424, 472)):
        body[at : at + 48] = hashlib.sha384(bytes([i])).digest()
    body[520:584] = report_data
    if version == 4:
        return header + bytes(body)
    return header + struct.pack("<HI", 3, 648) + bytes(body) + bytes(16) + bytes(48)


def qe_report(tee: str, attestation_label: str = "attestation") -> bytes:
    binding = hashlib.sha256(raw_point(key(attestation_label)) + QE_AUTHENTICATION).digest()
    return enclave_report(
        {
            0: CPU_SVN,
            48: bytes.fromhex("1100000000000000e700000000000000"),
            64: hashlib.sha256(b"mr enclave of the quoting enclave").digest(),
            128: QE_SIGNER,
            256: struct.pack("<HH", 2 if tee == "tdx" else 1, 8),
            320: binding,
        }
    )


def pem(*certificates: bytes) -> str:
    blocks = []
    for certificate in certificates:
        text = base64.encodebytes(certificate).decode().replace("\n", "")
        lines = "\n".join(text[i : i + 64] for i in range(0, len(text), 64))
        blocks.append(f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n")
    return "".join(blocks)


@dataclass(frozen=True, slots=True)
class World:
    """Everything one verification reads. `replace` what is to be wrong; the rest is made to fit."""

    version: int = 3
    now: int = NOW
    signed: bytes = b""
    """Header and body; empty for what holds."""
    qe_report: bytes = b""
    root: Paper = ROOT
    issuer: Paper = PLATFORM_CA
    signer: Paper = TCB_SIGNER
    pck: Paper = PCK
    root_crl: RevocationList = ROOT_CRL
    pck_crl: RevocationList = PCK_CRL
    tcb_info: Document = field(default_factory=dict)
    qe_identity: Document = field(default_factory=dict)
    attestation_label: str = "attestation"
    edit_pck: Callable[[bytes], bytes] | None = None
    """Changes the finished PCK certificate."""
    edit_quote: Callable[[bytearray], None] | None = None
    """Changes the finished quote."""
    edit_collateral: Callable[[Document], None] | None = None
    """Changes the finished collateral."""

    @property
    def tee(self) -> str:
        return "sgx" if self.version == 3 else "tdx"

    def quote(self) -> bytes:
        signed = self.signed or signed_part(self.version)
        report = self.qe_report or qe_report(self.tee)
        pck = self.edit_pck(self.pck.der()) if self.edit_pck else self.pck.der()
        chain = pem(pck, self.issuer.der(), self.root.der()).encode()
        inner = report + raw_signature(key(self.pck.key_label), report)
        inner += struct.pack("<H", 32) + QE_AUTHENTICATION + struct.pack("<HI", 5, len(chain)) + chain
        if self.version != 3:
            inner = struct.pack("<HI", 6, len(inner)) + inner
        attestation = key(self.attestation_label)
        data = raw_signature(attestation, signed) + raw_point(attestation) + inner
        quote = bytearray(signed + struct.pack("<I", len(data)) + data)
        if self.edit_quote:
            self.edit_quote(quote)
        return bytes(quote)

    def collateral(self) -> Document:
        info = compact(self.tcb_info or tcb_info(self.tee))
        identity = compact(self.qe_identity or qe_identity(self.tee))
        signer = key(self.signer.key_label)
        chain = pem(self.signer.der(), self.root.der())
        collateral = {
            "pck_crl_issuer_chain": pem(self.issuer.der(), self.root.der()),
            "root_ca_crl": self.root_crl.der().hex(),
            "pck_crl": self.pck_crl.der().hex(),
            "tcb_info_issuer_chain": chain,
            "tcb_info": info,
            "tcb_info_signature": raw_signature(signer, info.encode()).hex(),
            "qe_identity_issuer_chain": chain,
            "qe_identity": identity,
            "qe_identity_signature": raw_signature(signer, identity.encode()).hex(),
        }
        if self.edit_collateral:
            self.edit_collateral(collateral)
        return collateral

    def but(self, **changes: Any) -> World:
        return replace(self, **changes)
