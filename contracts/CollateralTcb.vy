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

MAX_DOCUMENT_BYTES: constant(uint256) = 20480
MAX_LEVELS: constant(uint256) = 48
MAX_MODULES: constant(uint256) = 16
MAX_MODULE_LEVELS: constant(uint256) = 7
MAX_QE_LEVELS: constant(uint256) = 40
QE_LEVELS_PER_WORD: constant(uint256) = 10
# <96 digits>","attributes":"<16 digits>","attributesMask":"<16 digits>"
MODULE_BYTES: constant(uint256) = 165

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
    wrong: uint256 = 0

    # 1. {"id":"SGX","version":3,"issueDate":"...","nextUpdate":"...","fmspc":"...","pceId":"...",
    tee: uint256 = SGX
    if dcap_json._differs(extract32(document, 0), b'{"id":"SGX","version":3,') != 0:
        wrong |= dcap_json._differs(extract32(document, 0), b'{"id":"TDX","version":3,')
        tee = TDX
    wrong |= dcap_json._differs(extract32(document, 24), b'"issueDate":"')
    issued: uint256 = dcap_json._date(extract32(document, 37))
    wrong |= dcap_json._differs(extract32(document, 57), b'","nextUpdate":"')
    expiry: uint256 = dcap_json._date(extract32(document, 73))
    wrong |= dcap_json._differs(extract32(document, 93), b'","fmspc":"')
    fmspc: uint256 = dcap_json._hex(extract32(document, 104), 12)
    wrong |= dcap_json._differs(extract32(document, 116), b'","pceId":"')
    pce_id: uint256 = dcap_json._hex(extract32(document, 127), 4)
    # 2. "tcbType":0,"tcbEvaluationDataNumber":N,
    wrong |= dcap_json._differs(extract32(document, 131), b'","tcbType":0,"tcbEvaluationData')
    wrong |= dcap_json._differs(extract32(document, 163), b'Number":')
    evaluation_number: uint256 = 0
    size: uint256 = 0
    evaluation_number, size = dcap_json._number(extract32(document, 171))
    at: uint256 = 171 + size

    # 3. The new must be newer than the old, and valid now.
    key: uint256 = (tee << 48) | fmspc
    self._check_newer(self.tcb_infos[key], evaluation_number, issued, expiry)

    # 4. TDX: "tdxModule":{...},"tdxModuleIdentities":[...],
    blob: DynArray[uint256, dcap_blob.MAX_WORDS] = [0]
    modules: uint256 = 0
    if tee == TDX:
        wrong |= dcap_json._differs(extract32(document, at), b',"tdxModule":{"mrsigner":"')
        at += 26
        entry: uint256[2] = self._decode_module(slice(document, at, MODULE_BYTES))
        at += MODULE_BYTES
        blob.append(entry[0])
        blob.append(entry[1])
        modules = 1
        wrong |= dcap_json._differs(extract32(document, at), b'},"tdxModuleIdentities":[')
        at += 25
        if dcap_json._differs(extract32(document, at), b"]") == 0:
            at += 1
        else:
            for i: uint256 in range(MAX_MODULES):
                # {"id":"TDX_NN","mrsigner":"...","attributes":"...","attributesMask":"...","tcbLevels":[
                wrong |= dcap_json._differs(extract32(document, at), b'{"id":"TDX_')
                module_id: uint256 = dcap_json._hex(extract32(document, at + 11), 2)
                wrong |= dcap_json._differs(extract32(document, at + 13), b'","mrsigner":"')
                at += 27
                entry = self._decode_module(slice(document, at, MODULE_BYTES))
                at += MODULE_BYTES
                wrong |= dcap_json._differs(extract32(document, at), b',"tcbLevels":[')
                at += 14
                levels: uint256 = 0
                packed: uint256 = 0
                more: bool = True
                for j: uint256 in range(MAX_MODULE_LEVELS):
                    isv_svn: uint256 = 0
                    status: uint256 = 0
                    wrong |= dcap_json._differs(extract32(document, at), b'{"tcb":{"isvsvn":')
                    isv_svn, size = dcap_json._number(extract32(document, at + 17))
                    wrong |= isv_svn >> 8
                    at += 17 + size
                    wrong |= dcap_json._differs(extract32(document, at), b"}")
                    at += 1
                    status, size, more = dcap_json._level_end(concat(
            convert(slice(document, at, min(dcap_json.WINDOW, len(document) - at)), Bytes[dcap_json.WINDOW]),
            empty(bytes32),
        ))
                    at += size
                    packed |= ((isv_svn << 8) | status) << (96 - 16 * j)
                    levels += 1
                    if not more:
                        break
                assert not more, "tcb info: too many levels"
                blob.append(entry[0] | (module_id << 248) | (levels << 240) | packed)
                blob.append(entry[1])
                modules += 1
                if dcap_json._differs(extract32(document, at), b"}]") == 0:
                    at += 2
                    break
                assert i < MAX_MODULES - 1, "tcb info: too many modules"
                wrong |= dcap_json._differs(extract32(document, at), b"},")
                at += 2

    # 5. "tcbLevels":[{"tcb":{...},...},...]}
    wrong |= dcap_json._differs(extract32(document, at), b',"tcbLevels":[')
    at += 14
    # In the order of Intel's verifier: highest components first, then highest PCESVN, then TDX components.
    sgx_levels: uint256[MAX_LEVELS] = empty(uint256[MAX_LEVELS])
    tdx_levels: uint256[MAX_LEVELS] = empty(uint256[MAX_LEVELS])
    levels: uint256 = 0
    more: bool = True
    for i: uint256 in range(MAX_LEVELS):
        sgx_level: uint256 = 0
        tdx_level: uint256 = 0
        status: uint256 = 0
        wrong |= dcap_json._differs(extract32(document, at), b'{"tcb":{"sgxtcbcomponents":[')
        at += 28
        sgx_level, size = dcap_json._components(concat(
            convert(slice(document, at, min(dcap_json.WINDOW, len(document) - at)), Bytes[dcap_json.WINDOW]),
            empty(bytes32),
        ))
        at += size
        wrong |= dcap_json._differs(extract32(document, at), b',"pcesvn":')
        at += 10
        pce_svn: uint256 = 0
        pce_svn, size = dcap_json._number(extract32(document, at))
        wrong |= pce_svn >> 16
        at += size
        if tee == TDX:
            wrong |= dcap_json._differs(extract32(document, at), b',"tdxtcbcomponents":[')
            at += 21
            tdx_level, size = dcap_json._components(concat(
            convert(slice(document, at, min(dcap_json.WINDOW, len(document) - at)), Bytes[dcap_json.WINDOW]),
            empty(bytes32),
        ))
            at += size
        wrong |= dcap_json._differs(extract32(document, at), b"}")
        at += 1
        status, size, more = dcap_json._level_end(concat(
            convert(slice(document, at, min(dcap_json.WINDOW, len(document) - at)), Bytes[dcap_json.WINDOW]),
            empty(bytes32),
        ))
        at += size
        sgx_level = (sgx_level << 128) | (pce_svn << 112) | status
        place: uint256 = levels
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
        levels += 1
        if not more:
            break
    assert not more, "tcb info: too many levels"
    assert (
        wrong == 0 and at + 1 == len(document) and slice(document, at, 1) == b"}"
    ), "tcb info: not of the known form"

    # 6. Keep: pce_id (16) | modules (8) | levels (8) | signer's serial (64), modules, levels.
    for i: uint256 in range(levels, bound=MAX_LEVELS):
        blob.append(sgx_levels[i])
        if tee == TDX:
            blob.append(tdx_levels[i])
    blob[0] = pce_id | (modules << 16) | (levels << 24) | (((signer.terms >> 40) & MASK_64) << 32)
    self.tcb_infos[key] = self._pack(
        dcap_blob._write(blob), min(expiry, signer_expiry), issued, evaluation_number
    )
    log TcbInfoPosted(
        tee=tee,
        fmspc=fmspc,
        evaluation_number=evaluation_number,
        issued=issued,
        expiry=min(expiry, signer_expiry),
        document_digest=keccak256(document),
    )




@external
def post_qe_identity(document: Bytes[MAX_DOCUMENT_BYTES], r: uint256, s: uint256, signer: ICollateralCertificates.Authority):
    """
    @notice Accepts the identity of the quoting enclave for SGX or for TDX.
    @param document The JSON as signed: the value of "enclaveIdentity" in Intel's answer, byte for byte.
    @param signer The record of an accepted collateral signer.
    """
    signer_expiry: uint256 = self._check_signer(signer, sha256(document), r, s)
    wrong: uint256 = 0

    # 1. {"id":"QE","version":2,"issueDate":"...","nextUpdate":"...","tcbEvaluationDataNumber":N,
    tee: uint256 = SGX
    at: uint256 = 23
    if dcap_json._differs(extract32(document, 0), b'{"id":"QE","version":2,') != 0:
        wrong |= dcap_json._differs(extract32(document, 0), b'{"id":"TD_QE","version":')
        # "2," or "3,", which differ in bit 8 and mean the same form
        wrong |= ((convert(extract32(document, 24), uint256) >> 240) | 256) ^ 13100
        tee = TDX
        at = 26
    wrong |= dcap_json._differs(extract32(document, at), b'"issueDate":"')
    issued: uint256 = dcap_json._date(extract32(document, at + 13))
    wrong |= dcap_json._differs(extract32(document, at + 33), b'","nextUpdate":"')
    expiry: uint256 = dcap_json._date(extract32(document, at + 49))
    wrong |= dcap_json._differs(extract32(document, at + 69), b'","tcbEvaluationDataNumber":')
    evaluation_number: uint256 = 0
    size: uint256 = 0
    evaluation_number, size = dcap_json._number(extract32(document, at + 97))
    at += 97 + size
    self._check_newer(self.qe_identities[tee], evaluation_number, issued, expiry)

    # 2. "miscselect":"...","miscselectMask":"...","attributes":"...","attributesMask":"...","mrsigner":"...",
    wrong |= dcap_json._differs(extract32(document, at), b',"miscselect":"')
    misc_select: uint256 = dcap_json._hex(extract32(document, at + 15), 8)
    wrong |= dcap_json._differs(extract32(document, at + 23), b'","miscselectMask":"')
    misc_select_mask: uint256 = dcap_json._hex(extract32(document, at + 43), 8)
    wrong |= dcap_json._differs(extract32(document, at + 51), b'","attributes":"')
    attributes: uint256 = dcap_json._hex(extract32(document, at + 67), 32)
    wrong |= dcap_json._differs(extract32(document, at + 99), b'","attributesMask":"')
    attributes_mask: uint256 = dcap_json._hex(extract32(document, at + 119), 32)
    wrong |= dcap_json._differs(extract32(document, at + 151), b'","mrsigner":"')
    mr_signer: uint256 = (dcap_json._hex(extract32(document, at + 165), 32) << 128) | dcap_json._hex(
        extract32(document, at + 197), 32
    )
    wrong |= dcap_json._differs(extract32(document, at + 229), b'","isvprodid":')
    product: uint256 = 0
    product, size = dcap_json._number(extract32(document, at + 243))
    wrong |= product >> 16
    at += 243 + size

    # 3. "tcbLevels":[{"tcb":{"isvsvn":N},...},...]}
    wrong |= dcap_json._differs(extract32(document, at), b',"tcbLevels":[')
    at += 14
    blob: DynArray[uint256, dcap_blob.MAX_WORDS] = [
        0, mr_signer, (attributes << 128) | attributes_mask, (misc_select << 32) | misc_select_mask
    ]
    levels: uint256 = 0
    packed: uint256 = 0
    more: bool = True
    for i: uint256 in range(MAX_QE_LEVELS):
        isv_svn: uint256 = 0
        status: uint256 = 0
        wrong |= dcap_json._differs(extract32(document, at), b'{"tcb":{"isvsvn":')
        isv_svn, size = dcap_json._number(extract32(document, at + 17))
        wrong |= isv_svn >> 16
        at += 17 + size
        wrong |= dcap_json._differs(extract32(document, at), b"}")
        at += 1
        status, size, more = dcap_json._level_end(concat(
            convert(slice(document, at, min(dcap_json.WINDOW, len(document) - at)), Bytes[dcap_json.WINDOW]),
            empty(bytes32),
        ))
        at += size
        packed |= ((isv_svn << 8) | status) << (216 - 24 * (levels % QE_LEVELS_PER_WORD))
        levels += 1
        if not more or levels % QE_LEVELS_PER_WORD == 0:
            blob.append(packed)
            packed = 0
        if not more:
            break
    assert not more, "qe identity: too many levels"
    assert (
        wrong == 0 and at + 1 == len(document) and slice(document, at, 1) == b"}"
    ), "qe identity: not of the known form"

    # 4. Keep: isvprodid (16) | 0 (8) | levels (8) | signer's serial (64), MRSIGNER, attributes, MISCSELECT, levels.
    blob[0] = product | (levels << 24) | (((signer.terms >> 40) & MASK_64) << 32)
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
def _decode_module(text: Bytes[MODULE_BYTES]) -> uint256[2]:
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
    return [(attributes << 176) | (mask << 112), convert(signer, uint256)]
