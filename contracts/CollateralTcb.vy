# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy off
"""
@title CollateralTcb: what the holder of one root has said about the state of its platforms
@license Apache-2.0
@notice TCB levels of families of platforms, and identities of quoting enclaves. Anyone posts them; they are
        accepted because a collateral signer under the root signed the original bytes. The newest wins and
        nothing goes back. No owner, no upgrade.
"""

from interfaces import ICollateralCertificates
from interfaces import ICollateralTcb
from modules import dcap_blob
from modules import dcap_json
from modules import dcap_p256

implements: ICollateralTcb


event TcbInfoPosted:
    tee: indexed(uint256)
    fmspc: indexed(uint256)
    evaluation_number: uint256
    issued: uint256
    expiry: uint256
    document_digest: bytes32


event QeIdentityPosted:
    tee: indexed(uint256)
    evaluation_number: uint256
    issued: uint256
    expiry: uint256
    document_digest: bytes32


COLLATERAL_SIGNER: constant(uint256) = 2

SGX: constant(uint256) = 0
TDX: constant(uint256) = 1

MAX_DOCUMENT_BYTES: constant(uint256) = 16384
MAX_QE_DOCUMENT_BYTES: constant(uint256) = 4096
MAX_LEVELS: constant(uint256) = 48
MAX_MODULES: constant(uint256) = 16
MAX_MODULE_LEVELS: constant(uint256) = 7
MAX_QE_LEVELS: constant(uint256) = 40
QE_LEVELS_PER_WORD: constant(uint256) = 10
# <96 digits>","attributes":"<16 digits>","attributesMask":"<16 digits>"
MODULE_BYTES: constant(uint256) = 165

# What can be said of a module or a quoting enclave: UpToDate, OutOfDate, Revoked
PART_STATUSES: constant(uint256[3]) = [0, 4, 6]

MASK_40: constant(uint256) = 2**40 - 1
MASK_64: constant(uint256) = 2**64 - 1

CERTIFICATES: public(immutable(address))

# tee << 48 | fmspc: blob (160) | expiry << 160 (40) | issued << 200 (40) | evaluation number << 240 (16)
tcb_infos: public(HashMap[uint256, uint256])
# tee: the same
qe_identities: public(HashMap[uint256, uint256])


@deploy
def __init__(certificates: address):
    """
    @param certificates The CollateralCertificates of the root whose word counts here.
    """
    CERTIFICATES = certificates


@external
@view
def words(tee: uint256, fmspc: uint256) -> (uint256, uint256):
    return self.tcb_infos[(tee << 48) | fmspc], self.qe_identities[tee]


@external
def post_tcb_info(document: Bytes[MAX_DOCUMENT_BYTES], r: uint256, s: uint256, signer: ICollateralCertificates.Authority):
    """
    @notice Accepts the TCB levels of one family of platforms.
    @param document The JSON as signed: the value of "tcbInfo" in Intel's answer, byte for byte.
    @param signer The record of an accepted collateral signer.
    """
    signer_expiry: uint256 = self._check_signer(signer, sha256(document), r, s)
    padded: Bytes[MAX_DOCUMENT_BYTES + dcap_json.WINDOW] = concat(
        document, abi_encode(empty(uint256[dcap_json.WINDOW // 32]))
    )

    # 1. {"id":"SGX","version":3,"issueDate":"...","nextUpdate":"...","fmspc":"...","pceId":"...",
    tee: uint256 = SGX
    wrong: uint256 = 0
    if dcap_json._differs(extract32(padded, 0), b'{"id":"SGX","version":3,') != 0:
        wrong = dcap_json._differs(extract32(padded, 0), b'{"id":"TDX","version":3,')
        tee = TDX
    wrong |= dcap_json._differs(extract32(padded, 24), b'"issueDate":"')
    wrong |= dcap_json._differs(extract32(padded, 57), b'","nextUpdate":"')
    wrong |= dcap_json._differs(extract32(padded, 93), b'","fmspc":"')
    wrong |= dcap_json._differs(extract32(padded, 116), b'","pceId":"')
    wrong |= dcap_json._differs(extract32(padded, 131), b'","tcbType":0,"tcbEvaluationData')
    wrong |= dcap_json._differs(extract32(padded, 163), b'Number":')
    assert wrong == 0, "tcb info: not of the known form"
    issued: uint256 = dcap_json._date(extract32(padded, 37))
    expiry: uint256 = dcap_json._date(extract32(padded, 73))
    fmspc: uint256 = dcap_json._hex(extract32(padded, 104), 12)
    evaluation_number: uint256 = 0
    at: uint256 = 0
    evaluation_number, at = dcap_json._number(extract32(padded, 171))
    at += 171

    # 2. The new must be newer than the old, and valid now.
    self._check_newer(self.tcb_infos[(tee << 48) | fmspc], evaluation_number, issued, expiry)
    expiry = min(expiry, signer_expiry)

    # 3. Modules of TDX, then levels, to the last byte.
    blob: DynArray[uint256, dcap_blob.MAX_WORDS] = [
        dcap_json._hex(extract32(padded, 127), 4) | (((signer.terms >> 40) & MASK_64) << 32)
    ]
    if tee == TDX:
        blob, at = self._read_modules(padded, at, blob)
    blob, at = self._read_levels(padded, at, blob, tee == TDX)
    assert at + 1 == len(document) and convert(extract32(padded, at), uint256) >> 248 == 125, "tcb info: end"

    # 4. Keep.
    self.tcb_infos[(tee << 48) | fmspc] = self._pack(dcap_blob._write(blob), expiry, issued, evaluation_number)
    log TcbInfoPosted(
        tee=tee,
        fmspc=fmspc,
        evaluation_number=evaluation_number,
        issued=issued,
        expiry=expiry,
        document_digest=keccak256(document),
    )


@internal
@pure
def _read_modules(
    padded: Bytes[MAX_DOCUMENT_BYTES + dcap_json.WINDOW], start: uint256, words: DynArray[uint256, dcap_blob.MAX_WORDS]
) -> (DynArray[uint256, dcap_blob.MAX_WORDS], uint256):
    """
    @notice Appends two words for the module in general and for each version of it, and counts them in the first.
    @param start Where ,"tdxModule":{...},"tdxModuleIdentities":[...] stands.
    @return The words, and where the next byte is.
    """
    blob: DynArray[uint256, dcap_blob.MAX_WORDS] = words
    at: uint256 = start + 26
    wrong: uint256 = dcap_json._differs(extract32(padded, start), b',"tdxModule":{"mrsigner":"')
    module: uint256 = 0
    signer: uint256 = 0
    module, signer = self._decode_module(slice(padded, at, MODULE_BYTES))
    at += MODULE_BYTES
    blob.append(module)
    blob.append(signer)
    count: uint256 = 1
    wrong |= dcap_json._differs(extract32(padded, at), b'},"tdxModuleIdentities":[')
    at += 25
    more: bool = True
    if convert(extract32(padded, at), uint256) >> 248 == 93:
        at += 1
        more = False
    for i: uint256 in range(MAX_MODULES):
        if not more:
            break
        # {"id":"TDX_NN","mrsigner":"...","attributes":"...","attributesMask":"...","tcbLevels":[
        wrong |= dcap_json._differs(extract32(padded, at), b'{"id":"TDX_')
        wrong |= dcap_json._differs(extract32(padded, at + 13), b'","mrsigner":"')
        version: uint256 = dcap_json._hex(extract32(padded, at + 11), 2)
        at += 27
        module, signer = self._decode_module(slice(padded, at, MODULE_BYTES))
        at += MODULE_BYTES
        wrong |= dcap_json._differs(extract32(padded, at), b',"tcbLevels":[')
        assert wrong == 0, "tcb info: tdx module"
        levels: uint256 = 0
        levels, at = self._read_module_levels(padded, at + 14)
        blob.append(module | (version << 248) | levels)
        blob.append(signer)
        count += 1
        # }, or }]
        following: uint256 = convert(extract32(padded, at), uint256) >> 240
        more = following == 32044
        assert more or following == 32093, "tcb info: tdx module"
        at += 2
    assert wrong == 0 and not more, "tcb info: tdx modules"
    blob[0] |= count << 16
    return blob, at


@internal
@pure
def _read_module_levels(padded: Bytes[MAX_DOCUMENT_BYTES + dcap_json.WINDOW], start: uint256) -> (uint256, uint256):
    """
    @notice How many levels << 240, and ISVSVN (8) and status (8) of each from bit 111 down; where the next byte is.
    @param start After the opening bracket of a module's levels.
    """
    at: uint256 = start
    packed: uint256 = 0
    count: uint256 = 0
    more: bool = True
    for i: uint256 in range(MAX_MODULE_LEVELS):
        wrong: uint256 = dcap_json._differs(extract32(padded, at), b'{"tcb":{"isvsvn":')
        isv_svn: uint256 = 0
        size: uint256 = 0
        isv_svn, size = dcap_json._number(extract32(padded, at + 17))
        at += 17 + size
        wrong |= (convert(extract32(padded, at), uint256) >> 248) ^ 125
        assert wrong | isv_svn >> 8 == 0, "tcb info: tdx module level"
        status: uint256 = 0
        status, size, more = dcap_json._level_end(slice(padded, at, dcap_json.WINDOW), 1)
        at += size
        assert status in PART_STATUSES, "tdx module: status"
        packed |= ((isv_svn << 8) | status) << (96 - 16 * i)
        count += 1
        if not more:
            break
    assert not more, "tcb info: too many levels"
    return packed | (count << 240), at


@internal
@pure
def _read_levels(
    padded: Bytes[MAX_DOCUMENT_BYTES + dcap_json.WINDOW],
    start: uint256,
    words: DynArray[uint256, dcap_blob.MAX_WORDS],
    is_tdx: bool,
) -> (DynArray[uint256, dcap_blob.MAX_WORDS], uint256):
    """
    @notice Appends a word for each level, two for TDX, and counts the levels in the first word.
    @dev In the order of Intel's verifier, whatever the document's: highest components first, then highest
         PCESVN, then highest TDX components.
    @param start Where ,"tcbLevels":[...] stands.
    @return The words, and where the next byte is.
    """
    blob: DynArray[uint256, dcap_blob.MAX_WORDS] = words
    assert dcap_json._differs(extract32(padded, start), b',"tcbLevels":[') == 0, "tcb info: levels"
    at: uint256 = start + 14
    sgx_levels: uint256[MAX_LEVELS] = empty(uint256[MAX_LEVELS])
    tdx_levels: uint256[MAX_LEVELS] = empty(uint256[MAX_LEVELS])
    count: uint256 = 0
    more: bool = True
    for i: uint256 in range(MAX_LEVELS):
        sgx_level: uint256 = 0
        tdx_level: uint256 = 0
        size: uint256 = 0
        sgx_level, tdx_level, size, more = dcap_json._level(
            slice(padded, at, dcap_json.WINDOW), is_tdx
        )
        at += size
        place: uint256 = count
        for back: uint256 in range(MAX_LEVELS):
            if place == 0:
                break
            higher: uint256 = sgx_levels[place - 1] >> 112
            if higher > sgx_level >> 112:
                break
            if higher == sgx_level >> 112 and tdx_levels[place - 1] >= tdx_level:
                break
            sgx_levels[place] = sgx_levels[place - 1]
            tdx_levels[place] = tdx_levels[place - 1]
            place -= 1
        sgx_levels[place] = sgx_level
        tdx_levels[place] = tdx_level
        count += 1
        if not more:
            break
    assert not more, "tcb info: too many levels"
    for i: uint256 in range(count, bound=MAX_LEVELS):
        blob.append(sgx_levels[i])
        if is_tdx:
            blob.append(tdx_levels[i])
    blob[0] |= count << 24
    return blob, at


@external
def post_qe_identity(document: Bytes[MAX_QE_DOCUMENT_BYTES], r: uint256, s: uint256, signer: ICollateralCertificates.Authority):
    """
    @notice Accepts the identity of the quoting enclave for SGX or for TDX.
    @param document The JSON as signed: the value of "enclaveIdentity" in Intel's answer, byte for byte.
    @param signer The record of an accepted collateral signer.
    """
    signer_expiry: uint256 = self._check_signer(signer, sha256(document), r, s)
    padded: Bytes[MAX_QE_DOCUMENT_BYTES + dcap_json.WINDOW] = concat(
        document, abi_encode(empty(uint256[dcap_json.WINDOW // 32]))
    )
    wrong: uint256 = 0

    # 1. {"id":"QE","version":2,"issueDate":"...","nextUpdate":"...","tcbEvaluationDataNumber":N,
    tee: uint256 = SGX
    at: uint256 = 23
    if dcap_json._differs(extract32(padded, 0), b'{"id":"QE","version":2,') != 0:
        wrong |= dcap_json._differs(extract32(padded, 0), b'{"id":"TD_QE","version":')
        # "2," or "3,", which differ in bit 8 and mean the same form
        wrong |= ((convert(extract32(padded, 24), uint256) >> 240) | 256) ^ 13100
        tee = TDX
        at = 26
    wrong |= dcap_json._differs(extract32(padded, at), b'"issueDate":"')
    issued: uint256 = dcap_json._date(extract32(padded, at + 13))
    wrong |= dcap_json._differs(extract32(padded, at + 33), b'","nextUpdate":"')
    expiry: uint256 = dcap_json._date(extract32(padded, at + 49))
    wrong |= dcap_json._differs(extract32(padded, at + 69), b'","tcbEvaluationDataNumber":')
    assert wrong == 0, "qe identity: not of the known form"
    evaluation_number: uint256 = 0
    size: uint256 = 0
    evaluation_number, size = dcap_json._number(extract32(padded, at + 97))
    at += 97 + size
    self._check_newer(self.qe_identities[tee], evaluation_number, issued, expiry)

    # 2. What a report must say: see _read_enclave.
    blob: DynArray[uint256, dcap_blob.MAX_WORDS] = []
    blob, at = self._read_enclave(padded, at)
    blob[0] |= ((signer.terms >> 40) & MASK_64) << 32
    blob, at = self._read_qe_levels(padded, at, blob)
    assert at + 1 == len(document) and convert(extract32(padded, at), uint256) >> 248 == 125, "qe identity: end"

    # 4. Keep.
    expiry = min(expiry, signer_expiry)
    self.qe_identities[tee] = self._pack(dcap_blob._write(blob), expiry, issued, evaluation_number)
    log QeIdentityPosted(
        tee=tee,
        evaluation_number=evaluation_number,
        issued=issued,
        expiry=expiry,
        document_digest=keccak256(document),
    )


@internal
@pure
def _read_enclave(
    padded: Bytes[MAX_QE_DOCUMENT_BYTES + dcap_json.WINDOW], at: uint256
) -> (DynArray[uint256, dcap_blob.MAX_WORDS], uint256):
    """
    @notice The first four words of a QE identity's blob, without the signer; where the next byte is.
    @param at Where "miscselect", "miscselectMask", "attributes", "attributesMask", "mrsigner" and "isvprodid" stand.
    """
    wrong: uint256 = dcap_json._differs(extract32(padded, at), b',"miscselect":"')
    wrong |= dcap_json._differs(extract32(padded, at + 23), b'","miscselectMask":"')
    wrong |= dcap_json._differs(extract32(padded, at + 51), b'","attributes":"')
    wrong |= dcap_json._differs(extract32(padded, at + 99), b'","attributesMask":"')
    wrong |= dcap_json._differs(extract32(padded, at + 151), b'","mrsigner":"')
    wrong |= dcap_json._differs(extract32(padded, at + 229), b'","isvprodid":')
    product: uint256 = 0
    size: uint256 = 0
    product, size = dcap_json._number(extract32(padded, at + 243))
    assert wrong | product >> 16 == 0, "qe identity: not of the known form"
    blob: DynArray[uint256, dcap_blob.MAX_WORDS] = [
        product,
        (dcap_json._hex(extract32(padded, at + 165), 32) << 128) | dcap_json._hex(extract32(padded, at + 197), 32),
        (dcap_json._hex(extract32(padded, at + 67), 32) << 128) | dcap_json._hex(extract32(padded, at + 119), 32),
        (dcap_json._hex(extract32(padded, at + 15), 8) << 32) | dcap_json._hex(extract32(padded, at + 43), 8),
    ]
    return blob, at + 243 + size


@internal
@pure
def _read_qe_levels(
    padded: Bytes[MAX_QE_DOCUMENT_BYTES + dcap_json.WINDOW], start: uint256, words: DynArray[uint256, dcap_blob.MAX_WORDS]
) -> (DynArray[uint256, dcap_blob.MAX_WORDS], uint256):
    """
    @notice Appends a word for every ten levels, ISVSVN (16) and status (8) of each from the highest bits down
            after 16 unused ones, and counts the levels in the first word.
    @param start Where ,"tcbLevels":[{"tcb":{"isvsvn":N},...},...] stands.
    @return The words, and where the next byte is.
    """
    blob: DynArray[uint256, dcap_blob.MAX_WORDS] = words
    assert dcap_json._differs(extract32(padded, start), b',"tcbLevels":[') == 0, "qe identity: levels"
    at: uint256 = start + 14
    packed: uint256 = 0
    count: uint256 = 0
    more: bool = True
    for i: uint256 in range(MAX_QE_LEVELS):
        wrong: uint256 = dcap_json._differs(extract32(padded, at), b'{"tcb":{"isvsvn":')
        isv_svn: uint256 = 0
        size: uint256 = 0
        isv_svn, size = dcap_json._number(extract32(padded, at + 17))
        at += 17 + size
        wrong |= (convert(extract32(padded, at), uint256) >> 248) ^ 125
        assert wrong | isv_svn >> 16 == 0, "qe identity: level"
        status: uint256 = 0
        status, size, more = dcap_json._level_end(
            slice(padded, at, dcap_json.WINDOW), 1
        )
        at += size
        assert status in PART_STATUSES, "qe identity: status"
        packed |= ((isv_svn << 8) | status) << (216 - 24 * (i % QE_LEVELS_PER_WORD))
        count += 1
        if not more or count % QE_LEVELS_PER_WORD == 0:
            blob.append(packed)
            packed = 0
        if not more:
            break
    assert not more, "qe identity: too many levels"
    blob[0] |= count << 24
    return blob, at


@internal
@view
def _check_signer(
    signer: ICollateralCertificates.Authority, digest: bytes32, r: uint256, s: uint256
) -> uint256:
    """
    @notice The expiry of the collateral signer, if it is accepted, holds now and signed `digest`.
    """
    expiry: uint256 = staticcall ICollateralCertificates(CERTIFICATES).check_authority(signer, COLLATERAL_SIGNER)
    assert dcap_p256._is_signed(digest, r, s, signer.x, signer.y), "collateral: bad signature"
    return expiry


@internal
@view
def _check_newer(known: uint256, evaluation_number: uint256, issued: uint256, expiry: uint256):
    """
    @notice Reverts unless what was issued at `issued` holds now and is newer than `known`.
    """
    assert issued <= block.timestamp, "collateral: not yet valid"
    assert block.timestamp <= expiry, "collateral: expired"
    known_number: uint256 = known >> 240
    assert evaluation_number >= known_number, "collateral: older evaluation"
    if evaluation_number == known_number:
        assert issued > (known >> 200) & MASK_40, "collateral: not newer"


@internal
@pure
def _pack(account: uint256, expiry: uint256, issued: uint256, evaluation_number: uint256) -> uint256:
    assert evaluation_number <= 65535, "collateral: evaluation number"
    return account | (min(expiry, MASK_40) << 160) | (issued << 200) | (evaluation_number << 240)


@internal
@pure
def _decode_module(text: Bytes[MODULE_BYTES]) -> (uint256, uint256):
    """
    @notice attributes << 176 | mask << 112, and keccak256 of the 48 bytes of MRSIGNER.
    """
    high: uint256 = (dcap_json._hex(extract32(text, 0), 32) << 128) | dcap_json._hex(extract32(text, 32), 32)
    low: uint256 = dcap_json._hex(extract32(text, 64), 32)
    signer: bytes32 = keccak256(concat(convert(high, bytes32), convert(convert(low, uint128), bytes16)))
    wrong: uint256 = dcap_json._differs(extract32(text, 96), b'","attributes":"')
    attributes: uint256 = dcap_json._hex(extract32(text, 112), 16)
    wrong |= dcap_json._differs(extract32(text, 128), b'","attributesMask":"')
    # The mask's digits are the sixteen bytes before the last.
    mask: uint256 = dcap_json._hex(
        convert(convert(extract32(text, 133), uint256) << 120, bytes32), 16
    )
    wrong |= (convert(extract32(text, 133), uint256) & 255) ^ 34
    assert wrong == 0, "tcb info: tdx module"
    return (attributes << 176) | (mask << 112), convert(signer, uint256)
