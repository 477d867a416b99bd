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

WINDOW: constant(uint256) = 3072

# One byte in every byte of a word
ONES: constant(uint256) = max_value(uint256) // 255
LOW_7: constant(uint256) = ONES * 127

# 1 in every 16 bits; the low half of every 32, 64 and 128 bits
PAIRS: constant(uint256) = max_value(uint256) // (2**16 - 1)
QUADS: constant(uint256) = max_value(uint256) // (2**32 - 1) * (2**16 - 1)
OCTETS: constant(uint256) = max_value(uint256) // (2**64 - 1) * (2**32 - 1)
HALVES: constant(uint256) = max_value(uint256) // (2**128 - 1) * (2**64 - 1)

# {"svn":
SVN: constant(bytes7) = 0x7b2273766e223a
# ,"category":"
CATEGORY: constant(bytes13) = 0x2c2263617465676f7279223a22
# ,"type":"
TYPE: constant(bytes9) = 0x2c2274797065223a22

# Bytes 4, 7, 10, 13, 16 and 19 of twenty: all ones, and - - T : : Z
DATE_MASK: constant(uint256) = 338953159128336192931401794608064102655
DATE_FORM: constant(uint256) = 59815263375588924101367396021913518170

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
def _components(window: Bytes[WINDOW + 32]) -> (uint256, uint256):
    """
    @notice Sixteen security version numbers, first one highest, and the bytes read.
    @param window Starts after the array's bracket; read past its closing bracket.
    """
    at: uint256 = 0
    components: uint256 = 0
    wrong: uint256 = 0
    for i: uint256 in range(16):
        word: uint256 = convert(extract32(window, at), uint256)
        wrong |= (word >> 200) ^ convert(SVN, uint256)
        # The usual short form {"svn":D}, needs one word.
        digit: uint256 = ((word >> 192) & 255) ^ 48
        if digit <= 9 and (word >> 184) & 255 == 125:
            components = (components << 8) | digit
            at = unsafe_add(at, 9)
        else:
            size: uint256 = 0
            digit, size = self._number(convert(word << 56, bytes32))
            wrong |= digit >> 8
            components = (components << 8) | digit
            at = unsafe_add(at, unsafe_add(7, size))
            word = convert(extract32(window, at), uint256)
            if word >> 152 == convert(CATEGORY, uint256):
                at = unsafe_add(at, 13)
                at = unsafe_add(at, unsafe_add(self._text_size(extract32(window, at)), 1))
                word = convert(extract32(window, at), uint256)
            if word >> 184 == convert(TYPE, uint256):
                at = unsafe_add(at, 9)
                at = unsafe_add(at, unsafe_add(self._text_size(extract32(window, at)), 1))
                word = convert(extract32(window, at), uint256)
            wrong |= (word >> 248) ^ 125
            at = unsafe_add(at, 1)
        # A comma between two, a bracket after the last
        separator: uint256 = 44
        if i == 15:
            separator = 93
        wrong |= (convert(extract32(window, at), uint256) >> 248) ^ separator
        at = unsafe_add(at, 1)
    assert wrong == 0, "json: tcb components"
    return components, at


@internal
@pure
def _level_end(window: Bytes[WINDOW + 32]) -> (uint256, uint256, bool):
    """
    @notice The status of a TCB level, the bytes read, and whether another level follows.
    @param window Starts after the level's "tcb" object; read past the level's bracket and what follows it.
    """
    # 1. ,"tcbDate":"YYYY-MM-DDThh:mm:ssZ","tcbStatus":"..."
    wrong: uint256 = self._differs(extract32(window, 0), b',"tcbDate":"')
    wrong |= self._differs(extract32(window, 32), b'","tcbStatus":"')
    # Only its form: the level's date decides nothing.
    date: uint256 = self._date(extract32(window, 12))
    at: uint256 = 47
    # One name is longer than a word, by one byte.
    size: uint256 = self._first_mark(extract32(window, at))
    if size == 32:
        size = 33
        wrong |= (convert(extract32(window, 80), uint256) >> 248) ^ 34
    status: uint256 = self._status(keccak256(slice(window, at, size)))
    at += size + 1
    # 2. optional ,"advisoryIDs":["...","..."]
    if self._differs(extract32(window, at), b',"advisoryIDs":[') == 0:
        at += 16
        separator: uint256 = 44
        if convert(extract32(window, at), uint256) >> 248 == 93:
            separator = 93
            at += 1
        for i: uint256 in range(MAX_ADVISORIES):
            if separator != 44:
                break
            wrong |= (convert(extract32(window, at), uint256) >> 248) ^ 34
            at = unsafe_add(at, 1)
            at = unsafe_add(at, unsafe_add(self._text_size(extract32(window, at)), 2))
            separator = convert(extract32(window, unsafe_sub(at, 1)), uint256) >> 248
        wrong |= separator ^ 93
    # 3. }, or }]
    end: uint256 = convert(extract32(window, at), uint256) >> 240
    more: bool = end == 32044
    if not more:
        wrong |= end ^ 32093
    assert wrong == 0, "json: tcb level"
    return status, at + 2, more


@internal
@pure
def _status(name: bytes32) -> uint256:
    """
    @notice The number of a TCB status by the keccak256 of its name.
    """
    if name == keccak256("UpToDate"):
        return 0
    if name == keccak256("SWHardeningNeeded"):
        return 1
    if name == keccak256("ConfigurationNeeded"):
        return 2
    if name == keccak256("ConfigurationAndSWHardeningNeeded"):
        return 3
    if name == keccak256("OutOfDate"):
        return 4
    if name == keccak256("OutOfDateConfigurationNeeded"):
        return 5
    assert name == keccak256("Revoked"), "json: unknown tcb status"
    return 6
