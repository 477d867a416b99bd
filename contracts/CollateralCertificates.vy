# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy off
"""
@title CollateralCertificates: the certificates and revocation lists under one root
@license Apache-2.0
@notice Anyone posts; what is posted is accepted because its signature leads to the root certificate given at
        deployment. The newest revocation list of an issuer wins and nothing goes back. No owner, no upgrade.
"""

from interfaces import ICollateralCertificates
from modules import dcap_blob
from modules import dcap_der
from modules import dcap_p256
from modules import dcap_x509

implements: ICollateralCertificates


event AuthorityPosted:
    authority: indexed(bytes32)
    issuer: indexed(bytes32)
    x: uint256
    y: uint256
    name: bytes32
    terms: uint256


event PlatformRemembered:
    record: indexed(bytes32)
    fmspc: indexed(uint256)


event CrlPosted:
    issuer: indexed(bytes32)
    issued: uint256
    expiry: uint256
    entries: uint256
    document_digest: bytes32


# What remembering a PCK certificate keeps the digest of. `terms` is expiry (40) | serial << 40 (160).
struct Record:
    x: uint256
    y: uint256
    sgx: uint256
    terms: uint256
    issuer: bytes32
    issuer_serial: uint256


# Roles: issues PCK certificates and their revocation list; signs TCB infos and QE identities
PCK_ISSUER: constant(uint256) = 1
COLLATERAL_SIGNER: constant(uint256) = 2

REMEMBERED: constant(uint256) = 0
REMEMBER: constant(uint256) = 2

MAX_PCK_BYTES: constant(uint256) = 2304
MAX_CRL_BYTES: constant(uint256) = 16384
MAX_REVOKED: constant(uint256) = 600
SERIALS_PER_WORD: constant(uint256) = 4

MASK_40: constant(uint256) = 2**40 - 1
MASK_64: constant(uint256) = 2**64 - 1

CONTEXT_0: constant(uint256) = 160
# OID 2.5.29.20 and 2.5.29.35
CRL_NUMBER: constant(bytes5) = 0x0603551d14
AUTHORITY_KEY: constant(bytes5) = 0x0603551d23
# INTEGER 1: version 2 of a revocation list
CRL_VERSION_2: constant(bytes3) = 0x020101
# SEQUENCE { SEQUENCE { OID 2.5.29.21, OCTET STRING { ENUMERATED: the reason of a revocation
REASON: constant(bytes13) = 0x300c300a0603551d1504030a01

ROOT_X: immutable(uint256)
ROOT_Y: immutable(uint256)
ROOT_NAME: immutable(bytes32)
ROOT_EXPIRY: immutable(uint256)
ROOT_SERIAL: immutable(uint256)
ROOT_ISSUER: public(immutable(bytes32))

# keccak256(abi_encode(Authority)): 1 if accepted
authorities: public(HashMap[bytes32, uint256])
# issuer = keccak256(abi_encode(name, x, y)): blob (160) | expiry << 160 (40) | issued << 200 (40)
crls: public(HashMap[bytes32, uint256])
# keccak256(abi_encode(Record)): 1 if its certificate was verified
platforms: public(HashMap[bytes32, uint256])


@deploy
def __init__(root: Bytes[2048]):
    """
    @param root DER of the root certificate; it must be signed by its own key.
    """
    certificate: dcap_x509.Certificate = dcap_x509._decode(root)
    assert certificate.issuer == certificate.subject, "root: not its own issuer"
    assert certificate.is_ca and self._may_issue(certificate.key_usage), "root: not an authority"
    assert dcap_p256._is_signed(
        certificate.tbs_digest, certificate.r, certificate.s, certificate.x, certificate.y
    ), "root: bad signature"
    ROOT_X = certificate.x
    ROOT_Y = certificate.y
    ROOT_NAME = certificate.subject
    ROOT_EXPIRY = certificate.not_after
    ROOT_SERIAL = certificate.serial
    ROOT_ISSUER = keccak256(abi_encode(certificate.subject, certificate.x, certificate.y))


@external
@view
def check_authority(authority: ICollateralCertificates.Authority, role: uint256) -> uint256:
    return self._check_authority(authority, role)


@external
def verify_platform(form: uint256, pck: Bytes[MAX_PCK_BYTES]) -> ICollateralCertificates.Platform:
    # 1. What the certificate says, by its own signature or from memory.
    record: Record = self._read_platform(form, pck)
    # 2. Nothing expired: certificates and both lists.
    expiry: uint256 = record.terms & MASK_40
    assert block.timestamp < expiry, "pck certificate: expired"
    root_crl: uint256 = self.crls[ROOT_ISSUER]
    crl: uint256 = self.crls[record.issuer]
    assert block.timestamp < (root_crl >> 160) & MASK_40, "root crl: missing or expired"
    assert block.timestamp < (crl >> 160) & MASK_40, "pck crl: missing or expired"
    # 3. Neither revoked.
    assert not dcap_blob._lists(root_crl, record.issuer_serial), "pck issuer: revoked"
    assert not dcap_blob._lists(crl, record.terms >> 40), "pck certificate: revoked"
    # 4. Remember it, if asked to.
    if form == REMEMBER:
        key: bytes32 = keccak256(abi_encode(record))
        self.platforms[key] = 1
        log PlatformRemembered(record=key, fmspc=(record.sgx >> 16) & (2**48 - 1))
    return ICollateralCertificates.Platform(
        x=record.x,
        y=record.y,
        sgx=record.sgx,
        expiry=min(expiry, min((root_crl >> 160) & MASK_40, (crl >> 160) & MASK_40)),
        root_crl=root_crl,
    )


@external
@view
def is_platform_revoked(form: uint256, pck: Bytes[MAX_PCK_BYTES]) -> (ICollateralCertificates.Platform, bool):
    record: Record = self._read_platform(form, pck)
    root_crl: uint256 = self.crls[ROOT_ISSUER]
    revoked: bool = dcap_blob._lists(root_crl, record.issuer_serial)
    if not revoked:
        revoked = dcap_blob._lists(self.crls[record.issuer], record.terms >> 40)
    return ICollateralCertificates.Platform(
        x=record.x, y=record.y, sgx=record.sgx, expiry=record.terms & MASK_40, root_crl=root_crl
    ), revoked


@external
def post_authority(certificate: Bytes[2048]) -> bytes32:
    """
    @notice Accepts a certificate that the root signed: an issuer of PCK certificates, or a collateral signer.
    """
    decoded: dcap_x509.Certificate = dcap_x509._decode(certificate)
    self._check_certificate(decoded, ROOT_NAME, ROOT_X, ROOT_Y)
    role: uint256 = COLLATERAL_SIGNER
    if decoded.is_ca:
        role = PCK_ISSUER
        assert self._may_issue(decoded.key_usage), "certificate: key usage"
    else:
        assert decoded.key_usage & dcap_x509.DIGITAL_SIGNATURE != 0, "certificate: key usage"
    assert decoded.subject != ROOT_NAME and decoded.sgx == 0, "authority: not one"
    record: ICollateralCertificates.Authority = ICollateralCertificates.Authority(
        x=decoded.x,
        y=decoded.y,
        name=decoded.subject,
        terms=min(min(decoded.not_after, ROOT_EXPIRY), MASK_40) | (decoded.serial << 40) | (role << 200),
    )
    authority: bytes32 = keccak256(abi_encode(record))
    self.authorities[authority] = 1
    log AuthorityPosted(
        authority=authority,
        issuer=keccak256(abi_encode(record.name, record.x, record.y)),
        x=record.x,
        y=record.y,
        name=record.name,
        terms=record.terms,
    )
    return authority


@external
def post_crl(crl: Bytes[MAX_CRL_BYTES], issuer: ICollateralCertificates.Authority):
    """
    @notice Accepts the revocation list of the root, or of an issuer of PCK certificates.
    @param crl DER.
    @param issuer The record of an accepted issuer; for the root, its key and name.
    @dev A listed serial is kept as its low 64 bits. Serials are drawn at random by the issuer, so that two
         of them meet there with a probability of 2**-64 for each listed one; then a certificate that is
         not listed is refused, never the other way round.
    """
    is_root: bool = issuer.x == ROOT_X and issuer.y == ROOT_Y and issuer.name == ROOT_NAME
    issuer_expiry: uint256 = ROOT_EXPIRY
    if not is_root:
        issuer_expiry = self._check_authority(issuer, PCK_ISSUER)

    # 1. The signature.
    padded: Bytes[MAX_CRL_BYTES + 64] = concat(crl, empty(bytes32), empty(bytes32))
    start: uint256 = 0
    stop: uint256 = 0
    start, stop = dcap_der._header(extract32(padded, 0), dcap_der.SEQUENCE, 0, len(crl))
    at: uint256 = 0
    end: uint256 = 0
    at, end = dcap_der._header(extract32(padded, start), dcap_der.SEQUENCE, start, stop)
    assert stop == len(crl) and stop - end <= 96, "crl: bytes after it"
    r: uint256 = 0
    s: uint256 = 0
    r, s = dcap_der._signature(convert(slice(padded, end, stop - end), Bytes[96]))
    assert dcap_p256._is_signed(
        sha256(slice(padded, start, end - start)), r, s, issuer.x, issuer.y
    ), "crl: bad signature"

    # 2. Version, algorithm, issuer, dates.
    wrong: uint256 = (convert(extract32(padded, at), uint256) >> 232) ^ convert(CRL_VERSION_2, uint256)
    wrong |= (convert(extract32(padded, at + 3), uint256) >> 160) ^ convert(dcap_der.ECDSA_WITH_SHA256, uint256)
    at += 15
    start, stop = dcap_der._header(extract32(padded, at), dcap_der.SEQUENCE, at, end)
    assert keccak256(slice(padded, at, stop - at)) == issuer.name, "crl: another issuer"
    issued: uint256 = 0
    expiry: uint256 = 0
    size: uint256 = 0
    issued, size = dcap_der._time(extract32(padded, stop))
    at = stop + size
    expiry, size = dcap_der._time(extract32(padded, at))
    at += size
    assert at <= end and wrong == 0, "crl: malformed"
    key: bytes32 = keccak256(abi_encode(issuer.name, issuer.x, issuer.y))
    assert issued <= block.timestamp, "crl: not yet valid"
    assert block.timestamp <= expiry, "crl: expired"
    assert issued > (self.crls[key] >> 200) & MASK_40, "crl: not newer"
    expiry = min(expiry, issuer_expiry)

    # 3. Revoked certificates, if any.
    blob: DynArray[uint256, dcap_blob.MAX_WORDS] = []
    entries: uint256 = 0
    packed: uint256 = 0
    last: uint256 = 0
    if at < end and convert(extract32(padded, at), uint256) >> 248 == dcap_der.SEQUENCE:
        list_end: uint256 = 0
        at, list_end = dcap_der._header(extract32(padded, at), dcap_der.SEQUENCE, at, end)
        for i: uint256 in range(MAX_REVOKED):
            if at == list_end:
                break
            start, at = dcap_der._header(extract32(padded, at), dcap_der.SEQUENCE, at, list_end)
            start, stop = dcap_der._header(extract32(padded, start), dcap_der.INTEGER, start, at)
            serial: uint256 = dcap_der._unsigned(
                extract32(padded, start), extract32(padded, start + 1), stop - start
            )
            # RFC 5280 knows two forms of time, and the reason is the only extension that Intel uses.
            size = 15
            if convert(extract32(padded, stop), uint256) >> 240 != dcap_der.UTC_TIME * 256 + 13:
                wrong |= (convert(extract32(padded, stop), uint256) >> 240) ^ (dcap_der.GENERALIZED_TIME * 256 + 15)
                size = 17
            stop += size
            if stop != at:
                wrong |= (stop + 14) ^ at
                wrong |= (convert(extract32(padded, stop), uint256) >> 152) ^ convert(REASON, uint256)
            if is_root and serial == ROOT_SERIAL:
                # Nothing below a revoked root holds any longer.
                expiry = 0
            last = serial & MASK_64
            packed = (packed << 64) | last
            entries += 1
            if entries % SERIALS_PER_WORD == 0:
                blob.append(packed)
                packed = 0
        assert wrong == 0, "crl: unknown entry extension"
        assert at == list_end, "crl: too many entries"
        # The last serial again where the last word has room.
        for i: uint256 in range(SERIALS_PER_WORD):
            if (entries + i) % SERIALS_PER_WORD == 0:
                if i > 0:
                    blob.append(packed)
                break
            packed = (packed << 64) | last

    # 4. Extensions: number and authority key only. Another one could mean that the list is not complete.
    if at != end:
        start, stop = dcap_der._header(extract32(padded, at), CONTEXT_0, at, end)
        wrong = stop ^ end
        at, stop = dcap_der._header(extract32(padded, start), dcap_der.SEQUENCE, start, end)
        wrong |= stop ^ end
        for i: uint256 in range(3):
            if at == end:
                break
            start, at = dcap_der._header(extract32(padded, at), dcap_der.SEQUENCE, at, end)
            oid: uint256 = convert(extract32(padded, start), uint256) >> 216
            if oid != convert(CRL_NUMBER, uint256):
                wrong |= oid ^ convert(AUTHORITY_KEY, uint256)
        assert at == end and wrong == 0, "crl: unknown extension"

    # 5. Keep.
    account: uint256 = 0
    if entries != 0:
        account = dcap_blob._write(blob)
    self.crls[key] = account | (min(expiry, MASK_40) << 160) | (issued << 200)
    log CrlPosted(
        issuer=key, issued=issued, expiry=expiry, entries=entries, document_digest=keccak256(crl)
    )


@internal
@pure
def _may_issue(key_usage: uint256) -> bool:
    """
    @notice Whether the key usage holds both keyCertSign and cRLSign.
    """
    return key_usage & dcap_x509.SIGNS_CERTIFICATES_AND_CRLS == dcap_x509.SIGNS_CERTIFICATES_AND_CRLS


@internal
@view
def _read_platform(form: uint256, pck: Bytes[MAX_PCK_BYTES]) -> Record:
    """
    @notice What a PCK certificate says, once its issuer's signature and its form are verified. Not yet whether
            anything has expired or was revoked.
    """
    if form == REMEMBERED:
        assert self.platforms[keccak256(pck)] == 1, "pck certificate: not remembered"
        return abi_decode(pck, Record)
    assert form <= REMEMBER and len(pck) > 128, "pck certificate: form"
    issuer: ICollateralCertificates.Authority = abi_decode(slice(pck, 0, 128), ICollateralCertificates.Authority)
    assert self.authorities[keccak256(slice(pck, 0, 128))] == 1, "authority: not posted"
    assert issuer.terms >> 200 == PCK_ISSUER, "authority: another role"
    leaf: dcap_x509.Certificate = dcap_x509._decode(
        convert(slice(pck, 128, len(pck) - 128), Bytes[dcap_x509.MAX_BYTES])
    )
    self._check_certificate(leaf, issuer.name, issuer.x, issuer.y)
    assert not leaf.is_ca and leaf.key_usage & dcap_x509.DIGITAL_SIGNATURE != 0, "certificate: key usage"
    assert leaf.sgx != 0, "pck certificate: no sgx extension"
    return Record(
        x=leaf.x,
        y=leaf.y,
        sgx=leaf.sgx,
        terms=min(leaf.not_after, issuer.terms & MASK_40) | (leaf.serial << 40),
        issuer=keccak256(abi_encode(issuer.name, issuer.x, issuer.y)),
        issuer_serial=(issuer.terms >> 40) & (2**160 - 1),
    )


@internal
@view
def _check_certificate(certificate: dcap_x509.Certificate, name: bytes32, x: uint256, y: uint256):
    """
    @notice Reverts unless the issuer with that name and key signed the certificate and it has begun.
    """
    assert certificate.issuer == name, "certificate: another issuer"
    assert dcap_p256._is_signed(
        certificate.tbs_digest, certificate.r, certificate.s, x, y
    ), "certificate: bad signature"
    assert certificate.not_before <= block.timestamp, "certificate: not yet valid"
    assert block.timestamp <= certificate.not_after, "certificate: expired"


@internal
@view
def _check_authority(authority: ICollateralCertificates.Authority, role: uint256) -> uint256:
    """
    @notice The expiry of an accepted authority in that role that holds now.
    """
    assert self.authorities[keccak256(abi_encode(authority))] == 1, "authority: not posted"
    assert authority.terms >> 200 == role, "authority: another role"
    expiry: uint256 = authority.terms & MASK_40
    assert block.timestamp <= expiry, "authority: expired"
    assert not dcap_blob._lists(self.crls[ROOT_ISSUER], authority.terms >> 40), "authority: revoked"
    return expiry
