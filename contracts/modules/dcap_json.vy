# pragma version 0.4.3
"""
@title The JSON that Intel signs, read forward by one fixed grammar
@license Apache-2.0
@dev Every byte from the first to the last is matched against what must stand there, so no byte can be read as
     part of another object than its own, and there is nothing for a caller to hint at. Functions take words, or
     a window of the document padded by 32 zero bytes, because Vyper copies what it passes.
     Source: Intel, "PCS API" v4, TCB info version 3 and enclave identity version 2.
"""

from modules import dcap_der

# More than a TCB level takes: twice sixteen components with their texts, and its advisories
WINDOW: constant(uint256) = 3072

# One byte in every byte of a word
ONES: constant(uint256) = max_value(uint256) // 255
LOW_7: constant(uint256) = ONES * 127

# 1 in every 16 bits; the low half of every 32, 64 and 128 bits
PAIRS: constant(uint256) = max_value(uint256) // (2**16 - 1)
QUADS: constant(uint256) = max_value(uint256) // (2**32 - 1) * (2**16 - 1)
OCTETS: constant(uint256) = max_value(uint256) // (2**64 - 1) * (2**32 - 1)
HALVES: constant(uint256) = max_value(uint256) // (2**128 - 1) * (2**64 - 1)

# {"svn":?},{"svn":?},{"svn":?}, with its digits left out, and where they are
THREE_MASK: constant(bytes32) = 0xffffffffffffff00ffffffffffffffffff00ffffffffffffffffff00ffff0000
THREE_FORM: constant(bytes32) = 0x7b2273766e223a007d2c7b2273766e223a007d2c7b2273766e223a007d2c0000
# {"svn":
SVN: constant(bytes7) = 0x7b2273766e223a
# ,"category":"
CATEGORY: constant(bytes13) = 0x2c2263617465676f7279223a22
# ,"type":"
TYPE: constant(bytes9) = 0x2c2274797065223a22

# Bytes 4, 7, 10, 13, 16 and 19 of twenty: all ones, and - - T : : Z
DATE_MASK: constant(uint256) = 338953159128336192931401794608064102655
DATE_FORM: constant(uint256) = 59815263375588924101367396021913518170

# The other bytes: 0, 6 and the high nibble in each
DATE_DIGITS: constant(uint256) = 275106190492602307590653861606565877656069353472
DATE_SIXES: constant(uint256) = DATE_DIGITS // 8
DATE_HIGH_NIBBLES: constant(uint256) = DATE_DIGITS * 5

# {"tcb":{"sgxtcbcomponents":[
SGX_COMPONENTS: constant(bytes28) = 0x7b22746362223a7b22736778746362636f6d706f6e656e7473223a5b
# ,"pcesvn":
PCE_SVN: constant(bytes10) = 0x2c2270636573766e223a
# ,"tdxtcbcomponents":[
TDX_COMPONENTS: constant(bytes21) = 0x2c22746478746362636f6d706f6e656e7473223a5b
# ,"tcbDate":"
TCB_DATE: constant(bytes12) = 0x2c2274636244617465223a22
# ","tcbStatus":"
TCB_STATUS: constant(bytes15) = 0x222c22746362537461747573223a22
# ,"advisoryIDs":[
ADVISORIES: constant(bytes16) = 0x2c2261647669736f7279494473223a5b
# "INTEL-SA-
ADVISORY: constant(bytes10) = 0x22494e54454c2d53412d
# Names of statuses, each with the quotation mark that ends it
UP_TO_DATE: constant(bytes9) = 0x5570546f4461746522
SW_HARDENING_NEEDED: constant(bytes18) = 0x535748617264656e696e674e656564656422
CONFIGURATION_NEEDED: constant(bytes20) = 0x436f6e66696775726174696f6e4e656564656422
# One byte longer than a word: d" follows
CONFIGURATION_AND_SW_HARDENING_NEEDE: constant(bytes32) = 0x436f6e66696775726174696f6e416e64535748617264656e696e674e65656465
OUT_OF_DATE: constant(bytes10) = 0x4f75744f664461746522
OUT_OF_DATE_CONFIGURATION_NEEDED: constant(bytes29) = 0x4f75744f6644617465436f6e66696775726174696f6e4e656564656422
REVOKED: constant(bytes8) = 0x5265766f6b656422

# '0', the high nibble, and 6 in each of five bytes
DIGITS_5: constant(uint256) = (2**40 - 1) // 255 * 48
HIGH_NIBBLES_5: constant(uint256) = (2**40 - 1) // 255 * 240
SIXES_5: constant(uint256) = (2**40 - 1) // 255 * 6

MAX_ADVISORIES: constant(uint256) = 128


@internal
@pure
def _differs(word: bytes32, literal: Bytes[32]) -> uint256:
    """
    @notice The bits in which the first bytes of `word` differ from `literal`; 0 if they are the same.
    """
    return (convert(word, uint256) >> (256 - 8 * len(literal))) ^ convert(literal, uint256)


@internal
@pure
def _text_size(word: bytes32) -> uint256:
    """
    @notice The size of the text of less than 32 bytes that `word` begins with and a quotation mark ends.
    """
    size: uint256 = self._first_mark(word)
    assert size < 32, "json: text too long"
    return size


@internal
@pure
def _first_mark(word: bytes32) -> uint256:
    """
    @notice How many bytes of `word` stand before its first quotation mark; 32 if there is none.
    @dev A backslash is refused: nothing that Intel signs needs one, and it could hide a quotation mark.
    """
    bits: uint256 = convert(word, uint256)
    # The high bit of a byte is set where that byte is zero; exact, because no carry leaves a byte.
    different: uint256 = bits ^ (ONES * 34)
    marks: uint256 = ~(((different & LOW_7) + LOW_7) | different | LOW_7)
    different = bits ^ (ONES * 92)
    escapes: uint256 = ~(((different & LOW_7) + LOW_7) | different | LOW_7)
    assert escapes <= marks, "json: escape in a text"
    if marks == 0:
        return 32
    size: uint256 = 0
    if marks >> 128 == 0:
        size = 16
        marks <<= 128
    if marks >> 192 == 0:
        size += 8
        marks <<= 64
    if marks >> 224 == 0:
        size += 4
        marks <<= 32
    if marks >> 240 == 0:
        size += 2
        marks <<= 16
    if marks >> 248 == 0:
        size += 1
    return size


@internal
@pure
def _number(word: bytes32) -> (uint256, uint256):
    """
    @notice The decimal number below 100,000 that `word` begins with, and its digits.
    """
    bits: uint256 = convert(word, uint256)
    value: uint256 = (bits >> 248) ^ 48
    assert value <= 9, "json: not a number"
    size: uint256 = 1
    for i: uint256 in range(5):
        bits <<= 8
        digit: uint256 = (bits >> 248) ^ 48
        if digit > 9:
            break
        assert value != 0 and size < 5, "json: number form"
        value = value * 10 + digit
        size += 1
    return value, size


@internal
@pure
def _hex(word: bytes32, digits: uint256) -> uint256:
    """
    @notice The value of the first `digits` (at most 32) bytes of `word`, which must be hexadecimal digits.
    """
    unused: uint256 = 256 - 8 * digits
    text: uint256 = (convert(word, uint256) >> unused << unused) | ((ONES * 48) & ((1 << unused) - 1))
    letters: uint256 = (text >> 6) & ONES
    nibbles: uint256 = unsafe_add(text & (ONES * 15), unsafe_mul(letters, 9))
    # Written back in upper case, the nibbles must be what was read, and letters exactly those above nine.
    wrong: uint256 = nibbles & (ONES * 240)
    wrong |= ((unsafe_add(nibbles, ONES * 6) >> 4) & ONES) ^ letters
    wrong |= unsafe_add(unsafe_add(nibbles, ONES * 48), unsafe_mul(letters, 7)) ^ (text & ~unsafe_mul(letters, 32))
    assert wrong == 0, "json: not hexadecimal"
    packed: uint256 = (nibbles | (nibbles >> 4)) & (PAIRS * 255)
    packed = (packed | (packed >> 8)) & QUADS
    packed = (packed | (packed >> 16)) & OCTETS
    packed = (packed | (packed >> 32)) & HALVES
    packed = (packed | (packed >> 64)) & (2**128 - 1)
    return packed >> (128 - 4 * digits)


@internal
@pure
def _date(word: bytes32) -> uint256:
    """
    @notice Unix seconds of the twenty bytes YYYY-MM-DDThh:mm:ssZ at the beginning of `word`.
    """
    bits: uint256 = convert(word, uint256)
    # Where YYYY-MM-DDThh:mm:ssZ has no digit
    assert (bits >> 96) & DATE_MASK == DATE_FORM, "json: date form"
    digits: uint256 = (
        ((bits >> 224) << 80)
        | (((bits >> 200) & 65535) << 64)
        | (((bits >> 176) & 65535) << 48)
        | (((bits >> 152) & 65535) << 32)
        | (((bits >> 128) & 65535) << 16)
        | ((bits >> 104) & 65535)
    )
    return dcap_der._unix_seconds(digits ^ dcap_der.DIGITS)


@internal
@pure
def _level(window: Bytes[WINDOW], is_tdx: bool) -> (uint256, uint256, uint256, bool):
    """
    @notice One TCB level: components << 128 | PCESVN << 112 | status, its TDX components, the bytes read, and
            whether another level follows.
    @param window Starts with the level; read past its closing bracket and what follows it.
    """
    # 1. {"tcb":{"sgxtcbcomponents":[...],"pcesvn":N
    wrong: uint256 = (convert(extract32(window, 0), uint256) >> 32) ^ convert(SGX_COMPONENTS, uint256)
    at: uint256 = 28
    level: uint256 = 0
    level, at = self._components(window, at)
    wrong |= (convert(extract32(window, at), uint256) >> 176) ^ convert(PCE_SVN, uint256)
    at += 10
    pce_svn: uint256 = 0
    size: uint256 = 0
    pce_svn, size = self._number(extract32(window, at))
    wrong |= pce_svn >> 16
    at += size
    # 2. TDX: ,"tdxtcbcomponents":[...]
    tdx_level: uint256 = 0
    if is_tdx:
        wrong |= (convert(extract32(window, at), uint256) >> 88) ^ convert(TDX_COMPONENTS, uint256)
        tdx_level, at = self._components(window, at + 21)
    # 3. }, then what every level ends with
    wrong |= (convert(extract32(window, at), uint256) >> 248) ^ 125
    assert wrong == 0, "json: tcb level"
    status: uint256 = 0
    more: bool = False
    status, at, more = self._level_end(window, at + 1)
    return (level << 128) | (pce_svn << 112) | status, tdx_level, at, more


@internal
@pure
def _components(window: Bytes[WINDOW], start: uint256) -> (uint256, uint256):
    """
    @notice Sixteen security version numbers, first one highest, and where the next byte is.
    @param start After the array's opening bracket; read past the closing one.
    """
    at: uint256 = start
    components: uint256 = 0
    wrong: uint256 = 0
    count: uint256 = 0
    for i: uint256 in range(16):
        word: uint256 = convert(extract32(window, at), uint256)
        if count < 13 and word & convert(THREE_MASK, uint256) == convert(THREE_FORM, uint256):
            # Three of one digit, as most are.
            first: uint256 = ((word >> 192) & 255) ^ 48
            second: uint256 = ((word >> 112) & 255) ^ 48
            third: uint256 = ((word >> 32) & 255) ^ 48
            wrong |= (unsafe_add(first, 246) | unsafe_add(second, 246) | unsafe_add(third, 246)) & 256
            components = (components << 24) | (first << 16) | (second << 8) | third
            at = unsafe_add(at, 30)
            count = unsafe_add(count, 3)
            continue
        wrong |= (word >> 200) ^ convert(SVN, uint256)
        value: uint256 = ((word >> 192) & 255) ^ 48
        following: uint256 = (word >> 184) & 255
        size: uint256 = 8
        wrong |= unsafe_add(value, 246) & 256
        if following ^ 48 < 10:
            # Two or three digits, the first not zero
            assert value != 0, "json: number form"
            value = unsafe_add(unsafe_mul(value, 10), following ^ 48)
            following = (word >> 176) & 255
            size = 9
            if following ^ 48 < 10:
                value = unsafe_add(unsafe_mul(value, 10), following ^ 48)
                following = (word >> 168) & 255
                size = 10
        wrong |= value >> 8
        components = (components << 8) | value
        at = unsafe_add(at, size)
        if following == 44:
            # Optional texts: ,"category":"..." and ,"type":"..."
            word = convert(extract32(window, at), uint256)
            if word >> 152 == convert(CATEGORY, uint256):
                at = unsafe_add(at, 13)
                at = unsafe_add(at, unsafe_add(self._text_size(extract32(window, at)), 1))
                word = convert(extract32(window, at), uint256)
            if word >> 184 == convert(TYPE, uint256):
                at = unsafe_add(at, 9)
                at = unsafe_add(at, unsafe_add(self._text_size(extract32(window, at)), 1))
                word = convert(extract32(window, at), uint256)
            following = word >> 248
        else:
            word <<= unsafe_mul(8, size)
        # The bracket, then a comma between two, a bracket after the last
        wrong |= following ^ 125
        count = unsafe_add(count, 1)
        following = (word >> 240) & 255
        at = unsafe_add(at, 2)
        if count == 16:
            wrong |= following ^ 93
            break
        wrong |= following ^ 44
    assert wrong == 0 and count == 16, "json: tcb components"
    return components, at


@internal
@pure
def _level_end(window: Bytes[WINDOW], start: uint256) -> (uint256, uint256, bool):
    """
    @notice The status of a TCB level, where the next byte is, and whether another level follows.
    @param start After the level's "tcb" object; read past the level's bracket and what follows it.
    """
    # 1. ,"tcbDate":"YYYY-MM-DDThh:mm:ssZ","tcbStatus":"..."
    word: uint256 = convert(extract32(window, start), uint256)
    wrong: uint256 = (word >> 160) ^ convert(TCB_DATE, uint256)
    # Only its form: a level's date decides nothing.
    word &= 2**160 - 1
    wrong |= (word & DATE_MASK) ^ DATE_FORM
    word = (word & ~DATE_MASK) ^ DATE_DIGITS
    wrong |= (word | unsafe_add(word, DATE_SIXES)) & DATE_HIGH_NIBBLES
    wrong |= (convert(extract32(window, start + 32), uint256) >> 136) ^ convert(TCB_STATUS, uint256)
    at: uint256 = start + 47
    status: uint256 = 0
    size: uint256 = 0
    status, size = self._status(extract32(window, at))
    at += size
    if size == 34:
        wrong |= (convert(extract32(window, at - 2), uint256) >> 240) ^ 25634
    # 2. optional ,"advisoryIDs":["...","..."]
    word = convert(extract32(window, at), uint256)
    if word >> 128 == convert(ADVISORIES, uint256):
        at += 16
        separator: uint256 = 44
        if (word >> 120) & 255 == 93:
            separator = 93
            at += 1
        for i: uint256 in range(MAX_ADVISORIES):
            if separator != 44:
                break
            word = convert(extract32(window, at), uint256)
            digits: uint256 = ((word >> 136) & (2**40 - 1)) ^ DIGITS_5
            if (
                word >> 176 == convert(ADVISORY, uint256)
                and (digits | unsafe_add(digits, SIXES_5)) & HIGH_NIBBLES_5 == 0
                and (word >> 128) & 255 == 34
            ):
                # The usual form: five digits
                at = unsafe_add(at, 17)
                separator = (word >> 120) & 255
            else:
                wrong |= (word >> 248) ^ 34
                at = unsafe_add(at, 1)
                at = unsafe_add(at, unsafe_add(self._text_size(extract32(window, at)), 2))
                separator = convert(extract32(window, unsafe_sub(at, 1)), uint256) >> 248
        wrong |= separator ^ 93
        word = convert(extract32(window, at), uint256)
    # 3. }, or }]
    more: bool = word >> 240 == 32044
    if not more:
        wrong |= (word >> 240) ^ 32093
    assert wrong == 0, "json: tcb level"
    return status, at + 2, more


@internal
@pure
def _status(word: bytes32) -> (uint256, uint256):
    """
    @notice The number of the TCB status whose name `word` begins with, and its size with its quotation mark.
    """
    bits: uint256 = convert(word, uint256)
    if bits >> 184 == convert(UP_TO_DATE, uint256):
        return 0, 9
    if bits >> 112 == convert(SW_HARDENING_NEEDED, uint256):
        return 1, 18
    if bits >> 96 == convert(CONFIGURATION_NEEDED, uint256):
        return 2, 20
    if word == CONFIGURATION_AND_SW_HARDENING_NEEDE:
        return 3, 34
    if bits >> 176 == convert(OUT_OF_DATE, uint256):
        return 4, 10
    if bits >> 24 == convert(OUT_OF_DATE_CONFIGURATION_NEEDED, uint256):
        return 5, 29
    assert bits >> 192 == convert(REVOKED, uint256), "json: unknown tcb status"
    return 6, 8
