"""What the on-chain quote verifier is called with, made from a quote and its collateral as the vendor serves them.

Nothing here is trusted: the contracts verify every byte again. What is malformed is refused here with a clear
message instead of a transaction that reverts.

Source: docs/spec/quote-verifier.md.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from eth_abi.abi import encode

from goldengrain_protocol.errors import InvalidInput
from goldengrain_protocol.hashing import keccak256

HEADER_BYTES: Final = 48
SGX_BODY_BYTES: Final = 384
TD_REPORT_10_BYTES: Final = 584
QE_REPORT_BYTES: Final = 384
QE_AUTHENTICATION_BYTES: Final = 32
TEE_TYPE_TDX: Final = 0x81
CERTIFICATION_PCK_CHAIN: Final = 5
CERTIFICATION_QE_REPORT: Final = 6
MAX_CERTIFICATE_BYTES: Final = 2048


class Role(IntEnum):
    """What a certificate signed by the root may sign in turn."""

    PCK_ISSUER = 1
    COLLATERAL_SIGNER = 2


class PckForm(IntEnum):
    """How a call says which PCK certificate it means."""

    REMEMBERED = 0
    CERTIFICATE = 1
    CERTIFICATE_AND_REMEMBER = 2


@dataclass(frozen=True, slots=True)
class QuoteParts:
    """A quote taken apart. Nothing in it is verified."""

    version: int
    is_tdx: bool
    signed: bytes
    """Header and body: what the contracts call the quote, and what its digest on chain is of."""
    signature: bytes
    """r || s over `signed`."""
    attestation_key: bytes
    """x || y."""
    qe_report: bytes
    qe_signature: bytes
    qe_authentication: bytes
    certificates: tuple[bytes, ...]
    """DER, the PCK certificate first, then its issuer, then the root."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate that the root signed, as the contracts know it."""

    x: int
    y: int
    name: bytes
    """keccak256 of the subject's DER."""
    terms: int
    """expiry (40) | serial << 40 (160) | role << 200 (8)."""

    def abi_tuple(self) -> tuple[int, int, bytes, int]:
        return (self.x, self.y, self.name, self.terms)

    @property
    def key(self) -> bytes:
        """The key of `CollateralCertificates.authorities`."""
        return keccak256(encode(["(uint256,uint256,bytes32,uint256)"], [self.abi_tuple()]))

    @property
    def issuer(self) -> bytes:
        """The key of `CollateralCertificates.crls`."""
        return keccak256(encode(["bytes32", "uint256", "uint256"], [self.name, self.x, self.y]))


@dataclass(frozen=True, slots=True)
class Post:
    """One transaction that posts collateral."""

    contract: str
    """"CollateralCertificates" or "CollateralTcb"."""
    function: str
    arguments: tuple[object, ...]
    subject: str
    """What is posted, for people."""


def split_quote(quote: bytes) -> QuoteParts:
    """Return the parts of an SGX v3 or TDX v4 or v5 quote that carries its PCK certificate chain.

    Zero bytes after it are dropped: platforms hand out quotes in buffers of a fixed size.

    Raises:
        InvalidInput: another kind of quote; sizes that do not add up; bytes other than zero left over.
    """
    reader = _Reader(quote)
    header = reader.take(HEADER_BYTES, "header")
    version, _, tee_type = struct.unpack_from("<HHI", header)
    is_tdx = tee_type == TEE_TYPE_TDX
    if (version, tee_type) not in ((3, 0), (4, TEE_TYPE_TDX), (5, TEE_TYPE_TDX)):
        raise InvalidInput(
            f"quote must be SGX v3 or TDX v4 or v5, got version {version}, tee type {tee_type:#x}"
        )
    body_bytes = TD_REPORT_10_BYTES if is_tdx else SGX_BODY_BYTES
    if version == 5:
        body_bytes = struct.unpack_from("<HI", reader.take(6, "body header"))[1]
    reader.take(body_bytes, "body")
    signed = quote[: reader.at]
    (rest,) = struct.unpack("<I", reader.take(4, "signature size"))
    if rest > len(quote) - reader.at:
        raise InvalidInput(f"quote states {rest} bytes of signature data, has {len(quote) - reader.at}")
    if any(quote[reader.at + rest :]):
        raise InvalidInput("quote has bytes other than zero after its signature data")
    reader.data = quote[: reader.at + rest]
    signature = reader.take(64, "signature")
    attestation_key = reader.take(64, "attestation key")
    if version != 3:
        reader.certification(CERTIFICATION_QE_REPORT)
    qe_report = reader.take(QE_REPORT_BYTES, "qe report")
    qe_signature = reader.take(64, "qe report signature")
    (authentication_bytes,) = struct.unpack("<H", reader.take(2, "qe authentication size"))
    if authentication_bytes != QE_AUTHENTICATION_BYTES:
        raise InvalidInput(f"qe authentication data must be 32 bytes, got {authentication_bytes}")
    authentication = reader.take(QE_AUTHENTICATION_BYTES, "qe authentication data")
    chain = reader.take(reader.certification(CERTIFICATION_PCK_CHAIN), "certificate chain")
    return QuoteParts(
        version,
        is_tdx,
        signed,
        signature,
        attestation_key,
        qe_report,
        qe_signature,
        authentication,
        tuple(_pem_chain(chain)),
    )


def encode_evidence(parts: QuoteParts, pck: bytes, form: PckForm) -> bytes:
    """Return the `evidence` of `verify_quote(parts.signed, evidence)`."""
    words = b"".join(
        (
            parts.signature,
            parts.attestation_key,
            parts.qe_report,
            parts.qe_signature,
            parts.qe_authentication,
            int(form).to_bytes(32, "big"),
        )
    )
    return encode(["bytes32[20]", "bytes"], [[words[i : i + 32] for i in range(0, len(words), 32)], pck])


def encode_revocation_evidence(pck: bytes, form: PckForm) -> bytes:
    """Return the `evidence` of `platform_revoked(platform, evidence)`."""
    return encode(["uint256", "bytes"], [int(form), pck])


def quote_call(quote: bytes, *, form: PckForm = PckForm.CERTIFICATE) -> tuple[bytes, bytes]:
    """Return (quote, evidence) for `EnclaveRegistry.register` or `QuoteVerifier.verify_quote`.

    Args:
        quote: whole, as the platform gave it, with its PCK certificate chain.
        form: REMEMBERED needs an earlier call with CERTIFICATE_AND_REMEMBER for the same PCK certificate.

    Raises:
        InvalidInput: the quote or one of its certificates is malformed.
    """
    parts = split_quote(quote)
    pck = remembered_platform(parts) if form == PckForm.REMEMBERED else certificate_pck(parts)
    return parts.signed, encode_evidence(parts, pck, form)


def certificate_pck(parts: QuoteParts) -> bytes:
    """Return issuer record and PCK certificate, for the forms CERTIFICATE and CERTIFICATE_AND_REMEMBER."""
    leaf, issuer, root = _three(parts.certificates)
    record = decode_authority(issuer, root)
    return encode(["(uint256,uint256,bytes32,uint256)"], [record.abi_tuple()]) + leaf


def remembered_platform(parts: QuoteParts) -> bytes:
    """Return the record of a PCK certificate, for the form REMEMBERED."""
    leaf, issuer, root = _three(parts.certificates)
    authority = decode_authority(issuer, root)
    certificate = _load(leaf)
    x, y = _point(certificate)
    expiry = min(_unix_s(certificate), authority.terms & (2**40 - 1))
    return encode(
        ["uint256", "uint256", "uint256", "uint256", "bytes32", "uint256"],
        [
            x,
            y,
            _packed_sgx(leaf),
            expiry | (certificate.serial_number << 40),
            authority.issuer,
            (authority.terms >> 40) & (2**160 - 1),
        ],
    )


def platform_fmspc(parts: QuoteParts) -> bytes:
    """Return the 6 bytes that name the platform's family in its PCK certificate."""
    return (_packed_sgx(parts.certificates[0]) >> 16 & (2**48 - 1)).to_bytes(6, "big")


def decode_authority(certificate_der: bytes, root_der: bytes) -> Authority:
    """Return the record that posting this certificate makes under this root.

    Raises:
        InvalidInput: a certificate is malformed or its key is not a P-256 key.
    """
    certificate = _load(certificate_der)
    x, y = _point(certificate)
    try:
        is_ca = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError) as exc:
        raise InvalidInput("certificate must have basic constraints") from exc
    role = Role.PCK_ISSUER if is_ca else Role.COLLATERAL_SIGNER
    expiry = min(_unix_s(certificate), _unix_s(_load(root_der)))
    terms = expiry | (certificate.serial_number << 40) | (int(role) << 200)
    return Authority(x, y, keccak256(_subject_der(certificate_der)), terms)


def collateral_posts(collateral_json: bytes) -> list[Post]:
    """Return the transactions that post everything in one collateral document, in an order that works.

    What a contract already has it refuses as not newer: skip those whose effect is there.

    Args:
        collateral_json: the nine fields of docs/spec/attestation.md.

    Raises:
        InvalidInput: a field is missing or malformed.
    """
    fields = _fields(collateral_json)
    issuer, root = _two(_pem_chain(fields["pck_crl_issuer_chain"].encode()))
    posts = [_authority_post(issuer)]
    signers: dict[str, Authority] = {}
    for name in ("tcb_info", "qe_identity"):
        signer, signer_root = _two(_pem_chain(fields[f"{name}_issuer_chain"].encode()))
        signers[name] = decode_authority(signer, signer_root)
        if (post := _authority_post(signer)) not in posts:
            posts.append(post)
    root_record = decode_authority(root, root)
    for name, record in (("root_ca_crl", root_record), ("pck_crl", decode_authority(issuer, root))):
        crl = _unhex(fields, name)
        posts.append(
            Post("CollateralCertificates", "post_crl", (crl, record.abi_tuple()), name.replace("_", " "))
        )
    for name, function in (("tcb_info", "post_tcb_info"), ("qe_identity", "post_qe_identity")):
        signature = _unhex(fields, f"{name}_signature")
        if len(signature) != 64:
            raise InvalidInput(f"collateral.{name}_signature must be 64 bytes, got {len(signature)}")
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        arguments = (fields[name].encode(), r, s, signers[name].abi_tuple())
        posts.append(Post("CollateralTcb", function, arguments, name.replace("_", " ")))
    return posts


def _authority_post(der: bytes) -> Post:
    name = _load(der).subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    subject = str(name[0].value) if name else "certificate"
    return Post("CollateralCertificates", "post_authority", (der,), subject)


@dataclass(slots=True)
class _Reader:
    data: bytes
    at: int = 0

    def take(self, size: int, what: str) -> bytes:
        if size > len(self.data) - self.at:
            raise InvalidInput(
                f"quote ends in its {what}: {size} bytes stated, {len(self.data) - self.at} left"
            )
        self.at += size
        return self.data[self.at - size : self.at]

    def certification(self, expected: int) -> int:
        """Read the head of certification data that fills the rest; return its size."""
        kind, size = struct.unpack("<HI", self.take(6, "certification data"))
        if kind != expected:
            raise InvalidInput(f"certification data must be of type {expected}, got {kind}")
        if size != len(self.data) - self.at:
            raise InvalidInput(f"certification data states {size} bytes, has {len(self.data) - self.at}")
        return int(size)


def _pem_chain(pem: bytes) -> list[bytes]:
    try:
        certificates = x509.load_pem_x509_certificates(pem.rstrip(b"\x00"))
    except (ValueError, x509.InvalidVersion) as exc:
        raise InvalidInput("certificate chain is malformed") from exc
    return [certificate.public_bytes(Encoding.DER) for certificate in certificates]


def _three(chain: Sequence[bytes]) -> tuple[bytes, bytes, bytes]:
    if len(chain) != 3:
        raise InvalidInput(f"pck chain must have 3 certificates, got {len(chain)}")
    return chain[0], chain[1], chain[2]


def _two(chain: Sequence[bytes]) -> tuple[bytes, bytes]:
    if len(chain) != 2:
        raise InvalidInput(f"issuer chain must have 2 certificates, got {len(chain)}")
    return chain[0], chain[1]


def _load(der: bytes) -> x509.Certificate:
    if len(der) > MAX_CERTIFICATE_BYTES:
        raise InvalidInput(f"certificate must be at most {MAX_CERTIFICATE_BYTES} bytes, got {len(der)}")
    try:
        return x509.load_der_x509_certificate(der)
    except (ValueError, x509.InvalidVersion) as exc:
        raise InvalidInput("certificate is malformed") from exc


def _point(certificate: x509.Certificate) -> tuple[int, int]:
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise InvalidInput("certificate must have a P-256 key") from exc
    if not isinstance(key, EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise InvalidInput("certificate must have a P-256 key")
    numbers = key.public_numbers()
    return numbers.x, numbers.y


def _unix_s(certificate: x509.Certificate) -> int:
    return int(certificate.not_valid_after_utc.timestamp())


_SGX_EXTENSION: Final = bytes.fromhex("2a864886f84d010d01")


def _packed_sgx(leaf: bytes) -> int:
    """cpu_svn (128) | pce_svn (16) | fmspc (48) | pce_id (16), read where the profile puts them."""

    def member(path: str, tag: int) -> bytes:
        oid = _SGX_EXTENSION + bytes.fromhex(path)
        start = leaf.find(bytes([6, len(oid)]) + oid)
        at = start + 2 + len(oid)
        if start < 0 or len(leaf) < at + 2 or leaf[at] != tag:
            raise InvalidInput("pck certificate must have the sgx extension")
        return leaf[at + 2 : at + 2 + leaf[at + 1]]

    cpu_svn, pce_svn = member("0212", 4), member("0211", 2)
    fmspc, pce_id = member("04", 4), member("03", 4)
    return int.from_bytes(cpu_svn + pce_svn.rjust(2, b"\x00")[-2:] + fmspc + pce_id, "big")


def _subject_der(certificate_der: bytes) -> bytes:
    """The subject's bytes as they stand: an encoder might write the same name differently."""
    _, at, _ = _element(certificate_der, 0)
    _, at, _ = _element(certificate_der, at)
    for _ in range(5):  # version, serial number, algorithm, issuer, validity
        _, _, at = _element(certificate_der, at)
    start = at
    _, _, end = _element(certificate_der, at)
    return certificate_der[start:end]


def _element(der: bytes, at: int) -> tuple[int, int, int]:
    """(tag, start of content, end) of the element at `at`."""
    try:
        tag, length, start = der[at], der[at + 1], at + 2
        if length >= 128:
            size = length - 128
            length = int.from_bytes(der[start : start + size], "big")
            start += size
    except IndexError as exc:
        raise InvalidInput("certificate is malformed") from exc
    return tag, start, start + length


def _fields(collateral_json: bytes) -> Mapping[str, str]:
    try:
        fields = json.loads(collateral_json)
    except (ValueError, RecursionError) as exc:
        raise InvalidInput("collateral is not JSON") from exc
    names: tuple[str, ...] = (
        "pck_crl_issuer_chain",
        "root_ca_crl",
        "pck_crl",
        "tcb_info_issuer_chain",
        "tcb_info",
    )
    names += ("tcb_info_signature", "qe_identity_issuer_chain", "qe_identity", "qe_identity_signature")
    for name in names:
        if not isinstance(fields, dict) or not isinstance(fields.get(name), str):
            raise InvalidInput(f"collateral.{name} must be a text")
    return dict(fields)


def _unhex(fields: Mapping[str, str], name: str) -> bytes:
    try:
        return bytes.fromhex(fields[name])
    except ValueError as exc:
        raise InvalidInput(f"collateral.{name} must be hexadecimal") from exc
