# pragma version 0.4.3
"""
@title X.509 certificates in the profile of Intel's SGX PKI, read strictly
@license Apache-2.0
@dev Source: RFC 5280; Intel, "SGX PCK Certificate and CRL Profile Specification" 1.5.
"""

from modules import dcap_der


struct Certificate:
    # SHA-256 of the signed part, and the signature over it
    tbs_digest: bytes32
    r: uint256
    s: uint256
    serial: uint256
    # keccak256 of the names' DER
    issuer: bytes32
    subject: bytes32
    # unix seconds, both inclusive
    not_before: uint256
    not_after: uint256
    # P-256 key
    x: uint256
    y: uint256
    is_ca: bool
    # first byte of the key usage bits: 128 digitalSignature .. 4 keyCertSign, 2 cRLSign
    key_usage: uint256
    # cpu_svn (128) | pce_svn (16) | fmspc (48) | pce_id (16), the lowest last; 0 without the SGX extension
    sgx: uint256


DIGITAL_SIGNATURE: constant(uint256) = 128
SIGNS_CERTIFICATES_AND_CRLS: constant(uint256) = 6

MAX_BYTES: constant(uint256) = 2048
MAX_EXTENSIONS: constant(uint256) = 12
# Key usage and basic constraints
REQUIRED_EXTENSIONS: constant(uint256) = 2**15 + 2**19

CONTEXT_3: constant(uint256) = 163
OCTET_STRING: constant(uint256) = 4

# [0] { INTEGER 2 }
VERSION_3: constant(bytes5) = 0xa003020102
# SEQUENCE { SEQUENCE { id-ecPublicKey, prime256v1 } BIT STRING { 0 unused bits, uncompressed point
P256_KEY: constant(bytes27) = 0x3059301306072a8648ce3d020106082a8648ce3d03010703420004
# OID 2.5.29
CERTIFICATE_EXTENSION: constant(bytes4) = 0x0603551d
# Its members: key usage, basic constraints, subject key, CRL distribution points, authority key
KNOWN_EXTENSIONS: constant(uint256[5]) = [15, 19, 14, 31, 35]
# BOOLEAN TRUE
CRITICAL: constant(bytes3) = 0x0101ff
# OID 1.2.840.113741.1.13.1
SGX_EXTENSION: constant(bytes11) = 0x06092a864886f84d010d01

# Members of the SGX extension up to their value, in Intel's order
PPID: constant(bytes16) = 0x301e060a2a864886f84d010d01010410
TCB: constant(bytes12) = 0x060a2a864886f84d010d0102
COMPONENT: constant(bytes14) = 0x3010060b2a864886f84d010d0102
LARGE_COMPONENT: constant(bytes14) = 0x3011060b2a864886f84d010d0102
CPU_SVN: constant(bytes17) = 0x301f060b2a864886f84d010d0102120410
PCE_ID: constant(bytes16) = 0x3010060a2a864886f84d010d01030402
FMSPC: constant(bytes16) = 0x3014060a2a864886f84d010d01040406
SGX_TYPE: constant(bytes16) = 0x300f060a2a864886f84d010d01050a01


@internal
@pure
def _decode(der: Bytes[MAX_BYTES]) -> Certificate:
    """
    @notice What a certificate says. Nothing is verified but its form.
    @dev `wrong` collects the bits in which what stands there differs from what must; reading on after a
         difference does no harm, and one check at the end is smaller than thirty on the way.
    """
    certificate: Certificate = empty(Certificate)
    padded: Bytes[MAX_BYTES + 64] = concat(der, empty(bytes32), empty(bytes32))
    start: uint256 = 0
    stop: uint256 = 0
    wrong: uint256 = 0
    start, stop = dcap_der._header(extract32(padded, 0), dcap_der.SEQUENCE, 0, len(der))
    wrong = stop ^ len(der)

    # 1. The signed part, and the signature that follows it.
    at: uint256 = 0
    tbs_end: uint256 = 0
    at, tbs_end = dcap_der._header(extract32(padded, start), dcap_der.SEQUENCE, start, len(der))
    assert len(der) - tbs_end <= 96, "certificate: bytes after it"
    certificate.tbs_digest = sha256(slice(padded, start, tbs_end - start))
    certificate.r, certificate.s = dcap_der._signature(
        convert(slice(padded, tbs_end, len(der) - tbs_end), Bytes[96])
    )

    # 2. Version, serial number, algorithm.
    wrong |= (convert(extract32(padded, at), uint256) >> 216) ^ convert(VERSION_3, uint256)
    at += 5
    start, stop = dcap_der._header(extract32(padded, at), dcap_der.INTEGER, at, tbs_end)
    certificate.serial = dcap_der._unsigned(
        extract32(padded, start), extract32(padded, start + 1), stop - start
    )
    wrong |= certificate.serial >> 160
    wrong |= (convert(extract32(padded, stop), uint256) >> 160) ^ convert(dcap_der.ECDSA_WITH_SHA256, uint256)

    # 3. Names and validity.
    at = stop + 12
    start, stop = dcap_der._header(extract32(padded, at), dcap_der.SEQUENCE, at, tbs_end)
    certificate.issuer = keccak256(slice(padded, at, stop - at))
    start, at = dcap_der._header(extract32(padded, stop), dcap_der.SEQUENCE, stop, tbs_end)
    size: uint256 = 0
    certificate.not_before, size = dcap_der._time(extract32(padded, start))
    start += size
    certificate.not_after, size = dcap_der._time(extract32(padded, start))
    wrong |= (start + size) ^ at
    start, stop = dcap_der._header(extract32(padded, at), dcap_der.SEQUENCE, at, tbs_end)
    certificate.subject = keccak256(slice(padded, at, stop - at))

    # 4. Key.
    wrong |= (convert(extract32(padded, stop), uint256) >> 40) ^ convert(P256_KEY, uint256)
    at = stop + 91
    assert at <= tbs_end and wrong == 0, "certificate: malformed"
    certificate.x = convert(extract32(padded, stop + 27), uint256)
    certificate.y = convert(extract32(padded, stop + 59), uint256)

    # 5. Extensions, to the last byte of the signed part.
    start, stop = dcap_der._header(extract32(padded, at), CONTEXT_3, at, tbs_end)
    wrong = stop ^ tbs_end
    at, stop = dcap_der._header(extract32(padded, start), dcap_der.SEQUENCE, start, tbs_end)
    wrong |= stop ^ tbs_end
    seen: uint256 = 0
    for i: uint256 in range(MAX_EXTENSIONS):
        if at == tbs_end:
            break
        start, stop = dcap_der._header(extract32(padded, at), dcap_der.SEQUENCE, at, tbs_end)
        at = stop
        word: uint256 = convert(extract32(padded, start), uint256)
        kind: uint256 = 0
        if word >> 224 == convert(CERTIFICATE_EXTENSION, uint256):
            # Subject and authority key identifier and CRL distribution points are hints, not rules.
            kind = (word >> 216) & 255
            assert kind in KNOWN_EXTENSIONS, "certificate: unknown extension"
            start += 5
        else:
            assert word >> 168 == convert(SGX_EXTENSION, uint256), "certificate: unknown extension"
            start += 11
        wrong |= seen & (1 << kind)
        seen |= 1 << kind
        if convert(extract32(padded, start), uint256) >> 232 == convert(CRITICAL, uint256):
            start += 3
        start, size = dcap_der._header(extract32(padded, start), OCTET_STRING, start, stop)
        wrong |= size ^ stop
        word = convert(extract32(padded, start), uint256)
        size = stop - start
        if kind == 15:
            # BIT STRING of at most nine bits
            if size == 4:
                wrong |= (word >> 240) ^ 770
            else:
                wrong |= (size ^ 5) | ((word >> 240) ^ 771)
            certificate.key_usage = (word >> 224) & 255
        elif kind == 19:
            # SEQUENCE { cA BOOLEAN DEFAULT FALSE, pathLenConstraint INTEGER OPTIONAL }
            wrong |= (word >> 240) ^ (12286 + size)
            if size != 2:
                certificate.is_ca = True
                wrong |= ((word >> 216) & 16777215) ^ convert(CRITICAL, uint256)
                if size != 5:
                    wrong |= (size ^ 8) | (((word >> 200) & 65535) ^ 513)
        elif kind == 0:
            certificate.sgx = self._decode_sgx(padded, start, stop)
    assert (
        at == tbs_end and wrong == 0 and seen & REQUIRED_EXTENSIONS == REQUIRED_EXTENSIONS
    ), "certificate: extensions"
    return certificate


@internal
@pure
def _decode_sgx(der: Bytes[MAX_BYTES + 64], at: uint256, end: uint256) -> uint256:
    """
    @notice The packed `sgx` of a certificate whose SGX extension stands at `at`..`end`.
    """
    start: uint256 = 0
    stop: uint256 = 0
    start, stop = dcap_der._header(extract32(der, at), dcap_der.SEQUENCE, at, end)
    wrong: uint256 = stop ^ end
    wrong |= (convert(extract32(der, start), uint256) >> 128) ^ convert(PPID, uint256)
    start += 32

    # TCB: sixteen components, PCESVN, CPUSVN.
    tcb_end: uint256 = 0
    start, tcb_end = dcap_der._header(extract32(der, start), dcap_der.SEQUENCE, start, end)
    wrong |= (convert(extract32(der, start), uint256) >> 160) ^ convert(TCB, uint256)
    start += 12
    start, stop = dcap_der._header(extract32(der, start), dcap_der.SEQUENCE, start, tcb_end)
    wrong |= stop ^ tcb_end
    # Of the least size, so that what is read below lies within the extension.
    assert wrong == 0 and start + 339 <= tcb_end and tcb_end + 57 <= end, "certificate: sgx extension"
    components: uint256 = 0
    for i: uint256 in range(1, 17):
        word: uint256 = convert(extract32(der, start), uint256)
        # OID member i, INTEGER of one byte below 128, or of two of which the first is zero
        if (word >> 240) == 12304:
            wrong |= (word >> 144) ^ convert(COMPONENT, uint256)
            wrong |= ((word >> 119) & 33554431) ^ (unsafe_add(i << 16, 513) << 1)
            components = (components << 8) | ((word >> 112) & 255)
            start = unsafe_add(start, 18)
        else:
            wrong |= (word >> 144) ^ convert(LARGE_COMPONENT, uint256)
            wrong |= ((word >> 111) & 8589934591) ^ (unsafe_add(unsafe_add(i << 24, 131584) << 1, 1))
            components = (components << 8) | ((word >> 104) & 255)
            start = unsafe_add(start, 19)
    word: uint256 = convert(extract32(der, start), uint256)
    # 1 or 2 bytes
    size: uint256 = ((word >> 240) & 3) + 1
    wrong |= (word >> 144) ^ (convert(COMPONENT, uint256) + ((size - 1) << 96))
    wrong |= ((word >> 120) & 16777215) ^ ((17 << 16) + 512 + size)
    assert wrong == 0 and size <= 2, "certificate: sgx tcb"
    start += 17
    pce_svn: uint256 = dcap_der._unsigned(extract32(der, start), extract32(der, start + 1), size)
    start += size
    wrong |= (convert(extract32(der, start), uint256) >> 120) ^ convert(CPU_SVN, uint256)
    cpu_svn: uint256 = convert(extract32(der, start + 17), uint256) >> 128
    wrong |= (start + 33) ^ tcb_end
    # Intel's verifier reads the components, others read CPUSVN: only where they agree do they mean the same.
    wrong |= cpu_svn ^ components
    assert wrong == 0, "certificate: sgx tcb"

    # PCE id, FMSPC, SGX type. What follows (platform instance, configuration) decides nothing.
    word = convert(extract32(der, tcb_end), uint256)
    wrong |= (word >> 128) ^ convert(PCE_ID, uint256)
    pce_id: uint256 = (word >> 112) & 65535
    word = convert(extract32(der, tcb_end + 18), uint256)
    wrong |= (word >> 128) ^ convert(FMSPC, uint256)
    fmspc: uint256 = (word >> 80) & (2**48 - 1)
    wrong |= (convert(extract32(der, tcb_end + 40), uint256) >> 128) ^ convert(SGX_TYPE, uint256)
    assert wrong == 0, "certificate: sgx extension"
    return (cpu_svn << 80) | (pce_svn << 64) | (fmspc << 16) | pce_id
