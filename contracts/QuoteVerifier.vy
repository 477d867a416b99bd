# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy off
"""
@title QuoteVerifier: Intel DCAP quotes, verified on chain from the root down
@license Apache-2.0
@notice SGX quotes v3, TDX quotes v4 and v5. The root and what it has said lie in the collateral contracts given
        at deployment; the assurance says whether that root is a silicon vendor's. No owner, no upgrade.
        Source: Intel, "SGX ECDSA QuoteLibReference DCAP API" appendix A.4; "TDX DCAP Quoting Library API"
        appendix A.3 and A.4. docs/spec/quote-verifier.md lists every check.
"""

from interfaces import ICollateralCertificates
from interfaces import ICollateralTcb
from interfaces import IQuoteVerifier
from modules import dcap_blob
from modules import dcap_p256

implements: IQuoteVerifier


SGX: constant(uint256) = 0
TDX: constant(uint256) = 1
HARDWARE: constant(uint256) = 2
CONFIGURATION_NEEDED: constant(uint256) = 2
OUT_OF_DATE: constant(uint256) = 4
OUT_OF_DATE_CONFIGURATION_NEEDED: constant(uint256) = 5
REVOKED: constant(uint256) = 6

# Least size of the signed part of a quote, which is header and body
SGX_QUOTE_BYTES: constant(uint256) = 48 + 384
SGX_BODY_BYTES: constant(uint256) = 384
TDX_10_BODY_BYTES: constant(uint256) = 584
TDX_15_BODY_BYTES: constant(uint256) = 648

# version, attestation key type 2 (ECDSA P-256), TEE type; little-endian
HEADER_SGX_3: constant(bytes8) = 0x0300020000000000
HEADER_TDX_4: constant(bytes8) = 0x0400020081000000
HEADER_TDX_5: constant(bytes8) = 0x0500020081000000
INTEL_QE: constant(bytes16) = 0x939a7233f79c4ca9940a0db3957f0607
# body type 2 (TD report 1.0) and 3 (TD report 1.5), body size; little-endian
BODY_TD_10: constant(bytes6) = 0x020048020000
BODY_TD_15: constant(bytes6) = 0x030088020000

SGX_DEBUG: constant(uint256) = 2
# TD attributes: SEPT_VE_DISABLE must be set; PKS (bit 30) and KL (bit 31) may be; bytes are little-endian
TD_REQUIRED: constant(bytes8) = 0x0000001000000000
TD_OPTIONAL: constant(bytes8) = 0x000000c000000000

# The first two of sixteen bytes
MODULE_COMPONENTS: constant(uint256) = 65535 << 112
# Every second byte of sixteen, twice; 256 in every 16 bits
EVEN_BYTES: constant(uint256) = (2**128 - 1) // (2**16 - 1) * 255
CARRIES: constant(uint256) = max_value(uint256) // (2**16 - 1) * 256

# As CollateralTcb keeps them at most
TCB_LEVELS: constant(uint256) = 48
TDX_MODULES: constant(uint256) = 17
TDX_MODULE_LEVELS: constant(uint256) = 7
QE_LEVELS: constant(uint256) = 40

MASK_40: constant(uint256) = 2**40 - 1
MASK_64: constant(uint256) = 2**64 - 1
MASK_128: constant(uint256) = 2**128 - 1

CERTIFICATES: public(immutable(address))
TCB: public(immutable(address))
ASSURANCE: public(immutable(uint256))


@deploy
def __init__(tcb: address, assurance: uint256):
    """
    @param tcb The CollateralTcb whose levels count; it names the certificates that count.
    @param assurance What the root vouches for: 1 simulated, 2 hardware.
    """
    assert 1 <= assurance and assurance <= HARDWARE, "verifier: bad assurance"
    TCB = tcb
    CERTIFICATES = staticcall ICollateralTcb(tcb).CERTIFICATES()
    ASSURANCE = assurance


@external
def verify_quote(quote: Bytes[8192], evidence: Bytes[16384]) -> IQuoteVerifier.QuoteVerdict:
    """
    @param quote The signed part of the quote, header and body, to the byte.
    @param evidence abi_encode(words: bytes32[20], pck: Bytes[2304]). words: quote signature (2), attestation key
           (2), QE report (12), its signature (2), QE authentication data, form of `pck`. `pck` and its form:
           see ICollateralCertificates.verify_platform.
    """
    words: bytes32[20] = empty(bytes32[20])
    pck: Bytes[2304] = b""
    words, pck = abi_decode(evidence, (bytes32[20], Bytes[2304]))

    # 1. The quote's own form: header, body type, size.
    assert len(quote) >= SGX_QUOTE_BYTES, "quote: size"
    tee: uint256 = TDX
    body: uint256 = 48
    size: uint256 = TDX_10_BODY_BYTES
    head: uint256 = convert(extract32(quote, 0), uint256)
    if head >> 192 == convert(HEADER_SGX_3, uint256):
        tee = SGX
        size = SGX_BODY_BYTES
    elif head >> 192 == convert(HEADER_TDX_5, uint256):
        body = 54
        kind: uint256 = convert(extract32(quote, 48), uint256) >> 208
        if kind == convert(BODY_TD_15, uint256):
            size = TDX_15_BODY_BYTES
        else:
            assert kind == convert(BODY_TD_10, uint256), "quote: body type"
    else:
        assert head >> 192 == convert(HEADER_TDX_4, uint256), "quote: version, key or tee type"
    assert len(quote) == body + size, "quote: size"
    assert (head >> 32) & MASK_128 == convert(INTEL_QE, uint256), "quote: qe vendor"

    # 2. Platform: PCK certificate, its issuer, expiry and revocation of both.
    platform: ICollateralCertificates.Platform = extcall ICollateralCertificates(CERTIFICATES).verify_platform(
        convert(words[19], uint256), pck
    )

    # 3. The quoting enclave: its report is signed by the platform, names the attestation key, and is not debug.
    assert dcap_p256._is_signed(
        sha256(slice(evidence, 128, 384)),
        convert(words[16], uint256),
        convert(words[17], uint256),
        platform.x,
        platform.y,
    ), "qe report: bad signature"
    assert (
        words[14] == sha256(concat(words[2], words[3], words[18])) and words[15] == empty(bytes32)
    ), "qe report: another attestation key"
    assert (convert(words[5], uint256) >> 120) & SGX_DEBUG == 0, "qe report: debug"

    # 4. The attestation key signs the quote.
    assert dcap_p256._is_signed(
        sha256(quote),
        convert(words[0], uint256),
        convert(words[1], uint256),
        convert(words[2], uint256),
        convert(words[3], uint256),
    ), "quote: bad signature"

    # 5. QE identity and TCB levels, neither expired nor signed by a certificate revoked since.
    tcb_info: uint256 = 0
    qe_identity: uint256 = 0
    tcb_info, qe_identity = staticcall ICollateralTcb(TCB).words(tee, (platform.sgx >> 16) & (2**48 - 1))
    expiry: uint256 = min((tcb_info >> 160) & MASK_40, (qe_identity >> 160) & MASK_40)
    assert block.timestamp < (tcb_info >> 160) & MASK_40, "tcb info: missing or expired"
    assert block.timestamp < (qe_identity >> 160) & MASK_40, "qe identity: missing or expired"
    status: uint256 = self._qe_status(
        qe_identity, platform.root_crl, words[4], words[5], words[8], words[12]
    )
    tee_svn: uint256 = 0
    signer: bytes32 = empty(bytes32)
    attributes: uint256 = 0
    if tee == TDX:
        tee_svn = convert(extract32(quote, body), uint256) >> 128
        signer = keccak256(slice(quote, body + 64, 48))
        attributes = convert(extract32(quote, body + 112), uint256) >> 192
    status = self._converge(
        self._platform_status(tcb_info, platform.root_crl, tee, platform.sgx, tee_svn, signer, attributes),
        status,
    )
    assert status < REVOKED, "tcb: revoked"

    # 6. What the code under attestation must not be: debuggable, or with attributes that nobody knows.
    measurement: bytes32 = empty(bytes32)
    report_data: uint256 = body + 320
    if tee == SGX:
        assert (convert(extract32(quote, body + 48), uint256) >> 248) & SGX_DEBUG == 0, "quote: debug"
        measurement = keccak256(concat(b"goldengrain/measurement/sgx/v1", extract32(quote, body + 64)))
    else:
        td: uint256 = convert(extract32(quote, body + 120), uint256) >> 192
        assert td >> 56 == 0, "quote: debug"
        assert td & ~convert(TD_OPTIONAL, uint256) == convert(TD_REQUIRED, uint256), "quote: td attributes"
        if size == TDX_15_BODY_BYTES:
            assert (
                extract32(quote, body + 600) == empty(bytes32)
                and extract32(quote, body + 616) == empty(bytes32)
            ), "quote: service td"
        measurement = keccak256(
            concat(
                b"goldengrain/measurement/tdx/v1",
                slice(quote, body + 136, 48),
                slice(quote, body + 328, 192),
            )
        )
        report_data = body + 520
    return IQuoteVerifier.QuoteVerdict(
        measurement=measurement,
        report_data_high=extract32(quote, report_data),
        report_data_low=extract32(quote, report_data + 32),
        tcb_status=status,
        assurance=ASSURANCE,
        expiry=min(expiry, platform.expiry),
        platform=self._platform_id(platform),
    )


@external
def platform_revoked(platform: bytes32, evidence: Bytes[16384]) -> bool:
    """
    @notice Whether the PCK certificate of `platform` or its issuer is revoked, or whether TCB infos say Revoked
            of every level that the platform could be at.
    @param evidence abi_encode(form: uint256, pck: Bytes[2304]), as for verify_quote.
    """
    form: uint256 = 0
    pck: Bytes[2304] = b""
    form, pck = abi_decode(evidence, (uint256, Bytes[2304]))
    named: ICollateralCertificates.Platform = empty(ICollateralCertificates.Platform)
    revoked: bool = False
    named, revoked = staticcall ICollateralCertificates(CERTIFICATES).is_platform_revoked(form, pck)
    assert self._platform_id(named) == platform, "verifier: another platform"
    if revoked:
        return True
    for tee: uint256 in range(2):
        if self._is_tcb_revoked(tee, named.sgx):
            return True
    return False


@internal
@view
def _qe_status(
    qe_identity: uint256,
    root_crl: uint256,
    word_0: bytes32,
    word_1: bytes32,
    mr_signer: bytes32,
    word_8: bytes32,
) -> uint256:
    """
    @notice The TCB status of the quoting enclave whose report consists of these words; reverts if it is another
            enclave than the identity's.
    """
    identity: Bytes[dcap_blob.MAX_BYTES] = dcap_blob._read(qe_identity)
    head: uint256 = convert(extract32(identity, 0), uint256)
    assert not dcap_blob._lists(root_crl, head >> 32), "qe identity: signer revoked"
    assert mr_signer == extract32(identity, 32), "qe identity: mrsigner"
    word: uint256 = convert(extract32(identity, 64), uint256)
    assert (convert(word_1, uint256) ^ (word >> 128)) & word & MASK_128 == 0, "qe identity: attributes"
    word = convert(extract32(identity, 96), uint256)
    assert ((convert(word_0, uint256) >> 96) ^ (word >> 32)) & word & (2**32 - 1) == 0, "qe identity: miscselect"
    word = convert(word_8, uint256)
    assert ((word >> 248) | ((word >> 232) & 65280)) == head & 65535, "qe identity: isvprodid"
    isv_svn: uint256 = ((word >> 232) & 255) | ((word >> 216) & 65280)
    for i: uint256 in range((head >> 24) & 255, bound=QE_LEVELS):
        level: uint256 = convert(extract32(identity, 128 + 32 * (i // 10)), uint256) >> (216 - 24 * (i % 10))
        if isv_svn >= (level >> 8) & 65535:
            return level & 255
    raise "qe identity: isvsvn below every level"


@internal
@view
def _platform_status(
    tcb_info: uint256,
    root_crl: uint256,
    tee: uint256,
    sgx: uint256,
    tee_svn: uint256,
    module_signer: bytes32,
    module_attributes: uint256,
) -> uint256:
    """
    @notice The TCB status of a platform and, for TDX, of its module; reverts if no level or identity covers it.
    """
    info: Bytes[dcap_blob.MAX_BYTES] = dcap_blob._read(tcb_info)
    head: uint256 = convert(extract32(info, 0), uint256)
    assert not dcap_blob._lists(root_crl, head >> 32), "tcb info: signer revoked"
    assert head & 65535 == sgx & 65535, "tcb info: pce id"

    # 1. The highest level that the platform reaches.
    cpu: uint256 = self._spread(sgx >> 80) | CARRIES
    pce_svn: uint256 = (sgx >> 64) & 65535
    # A module with a version is judged by its own identity, not by the first two components.
    version: uint256 = (tee_svn >> 112) & 255
    td: uint256 = self._spread(tee_svn) | CARRIES
    if version > 0:
        td = self._spread(tee_svn | MODULE_COMPONENTS) | CARRIES
    at: uint256 = 32 + 64 * ((head >> 16) & 255)
    status: uint256 = max_value(uint256)
    for i: uint256 in range((head >> 24) & 255, bound=TCB_LEVELS):
        level: uint256 = convert(extract32(info, at), uint256)
        at += 32
        reached: bool = pce_svn >= (level >> 112) & 65535 and self._covers(cpu, level >> 128)
        if tee == TDX:
            if reached:
                reached = self._covers(td, convert(extract32(info, at), uint256))
            at += 32
        if reached:
            status = level & 255
            break
    assert status != max_value(uint256), "tcb info: no level"
    if tee == SGX:
        return status

    # 2. The identity of the TDX module: the one of its version if it has one, else the general one.
    modules: uint256 = (head >> 16) & 255
    at = 32
    if version > 0:
        found: bool = False
        for i: uint256 in range(1, modules, bound=TDX_MODULES):
            at += 64
            if convert(extract32(info, at), uint256) >> 248 == version:
                found = True
                break
        assert found, "tdx module: unknown version"
    module: uint256 = convert(extract32(info, at), uint256)
    assert extract32(info, at + 32) == module_signer, "tdx module: mrsigner"
    # Also where the mask is zero the attributes must be.
    mask: uint256 = (module >> 112) & MASK_64
    assert module_attributes == (module >> 176) & mask, "tdx module: attributes"
    levels: uint256 = (module >> 240) & 255
    if at == 32:
        return status
    for i: uint256 in range(levels, bound=TDX_MODULE_LEVELS):
        level: uint256 = module >> (96 - 16 * i)
        if tee_svn >> 120 >= (level >> 8) & 255:
            return self._converge(status, level & 255)
    raise "tdx module: isvsvn below every level"


@internal
@pure
def _converge(platform: uint256, part: uint256) -> uint256:
    """
    @notice The status of a platform together with that of its quoting enclave or module, which is UpToDate,
            OutOfDate or Revoked.
    @dev Source: Intel, DCAP quote verification library, convergence of TCB statuses.
    """
    if part == REVOKED:
        return REVOKED
    if part == OUT_OF_DATE:
        if platform < CONFIGURATION_NEEDED:
            return OUT_OF_DATE
        if platform < OUT_OF_DATE:
            return OUT_OF_DATE_CONFIGURATION_NEEDED
    return platform


@internal
@view
def _is_tcb_revoked(tee: uint256, sgx: uint256) -> bool:
    """
    @notice Whether the newest TCB info says Revoked of this platform; for TDX, whatever its module.
    """
    tcb_info: uint256 = 0
    qe_identity: uint256 = 0
    tcb_info, qe_identity = staticcall ICollateralTcb(TCB).words(tee, (sgx >> 16) & (2**48 - 1))
    if tcb_info == 0:
        return False
    info: Bytes[dcap_blob.MAX_BYTES] = dcap_blob._read(tcb_info)
    head: uint256 = convert(extract32(info, 0), uint256)
    if head & 65535 != sgx & 65535:
        return False
    cpu: uint256 = self._spread(sgx >> 80) | CARRIES
    at: uint256 = 32 + 64 * ((head >> 16) & 255)
    revoked: bool = False
    for i: uint256 in range((head >> 24) & 255, bound=TCB_LEVELS):
        level: uint256 = convert(extract32(info, at), uint256)
        at += 32 + 32 * tee
        if (sgx >> 64) & 65535 >= (level >> 112) & 65535 and self._covers(cpu, level >> 128):
            if level & 255 != REVOKED:
                return False
            revoked = True
            if tee == SGX:
                break
    return revoked


@internal
@pure
def _spread(components: uint256) -> uint256:
    """
    @notice Sixteen bytes, one in every 16 bits.
    """
    return (components & EVEN_BYTES) | (((components >> 8) & EVEN_BYTES) << 128)


@internal
@pure
def _covers(spread: uint256, level: uint256) -> bool:
    """
    @notice Whether each of sixteen bytes is at least the level's.
    @param spread The platform's, spread, each with 256 added: what remains of it says that nothing was borrowed.
    """
    return unsafe_sub(spread, self._spread(level)) & CARRIES == CARRIES


@internal
@pure
def _platform_id(platform: ICollateralCertificates.Platform) -> bytes32:
    """
    @notice keccak256("goldengrain/platform/v1", fmspc 6, cpu_svn 16, pce_svn 2, pce_id 2, x 32, y 32).
    """
    sgx: uint256 = platform.sgx
    # The order of the packed word is cpu_svn, pce_svn, fmspc, pce_id.
    return keccak256(
        concat(
            b"goldengrain/platform/v1",
            convert(convert((sgx >> 16) & (2**48 - 1), uint48), bytes6),
            convert(convert(sgx >> 80, uint128), bytes16),
            convert(convert((sgx >> 64) & 65535, uint16), bytes2),
            convert(convert(sgx & 65535, uint16), bytes2),
            convert(platform.x, bytes32),
            convert(platform.y, bytes32),
        )
    )
