# pragma version 0.4.3
"""
@title The part of DER that Intel's certificates and revocation lists use, read strictly
@license Apache-2.0
@dev Functions take the 32-byte word that starts at the byte in question, not the buffer, because Vyper
     copies what it passes. Callers pad their buffer by 64 zero bytes so that every such word exists.
     Source: ITU-T X.690 section 10; RFC 5280 section 4.1.2.5.
"""

SEQUENCE: constant(uint256) = 48
INTEGER: constant(uint256) = 2
BIT_STRING: constant(uint256) = 3
UTC_TIME: constant(uint256) = 23
GENERALIZED_TIME: constant(uint256) = 24

# SEQUENCE { OID 1.2.840.10045.4.3.2 }
ECDSA_WITH_SHA256: constant(bytes12) = 0x300a06082a8648ce3d040302

# '0' in every byte; the high nibble of every byte; 6 in every byte: fourteen decimal digits at once
DIGITS: constant(uint256) = (2**112 - 1) // 255 * 48
HIGH_NIBBLES: constant(uint256) = (2**112 - 1) // 255 * 240
SIXES: constant(uint256) = (2**112 - 1) // 255 * 6
# The low byte of every 16 bits
LOW_BYTES: constant(uint256) = (2**112 - 1) // (2**16 - 1) * 255
CENTURY_19: constant(uint256) = 265
CENTURY_20: constant(uint256) = 512


@internal
@pure
def _header(word: bytes32, tag: uint256, at: uint256, end: uint256) -> (uint256, uint256):
    """
    @notice Where the content of the element at `at` starts and stops, if it has that tag, ends within its
            parent and its length is encoded in the one way that DER allows.
    @param word The bytes from `at` on.
    """
    bits: uint256 = convert(word, uint256)
    assert bits >> 248 == tag, "der: unexpected tag"
    length: uint256 = (bits >> 240) & 255
    start: uint256 = at + 2
    if length >= 128:
        if length == 129:
            length = (bits >> 232) & 255
            start = at + 3
            assert length >= 128, "der: length not minimal"
        else:
            assert length == 130, "der: length form"
            length = (bits >> 224) & 65535
            start = at + 4
            assert length >= 256, "der: length not minimal"
    assert start + length <= end, "der: length beyond its parent"
    return start, start + length


@internal
@pure
def _unsigned(word: bytes32, following: bytes32, size: uint256) -> uint256:
    """
    @notice The value of an INTEGER of `size` bytes that is not negative, fits 256 bits and is encoded minimally.
    @param word The bytes from its content on.
    @param following The bytes from one byte later on.
    """
    assert 1 <= size and size <= 33, "der: integer size"
    bits: uint256 = convert(word, uint256)
    assert bits >> 255 == 0, "der: negative integer"
    if size > 1 and bits >> 248 == 0:
        assert convert(following, uint256) >> 255 == 1, "der: integer not minimal"
    if size == 33:
        assert bits >> 248 == 0, "der: integer size"
        return convert(following, uint256)
    return bits >> (256 - 8 * size)


@internal
@pure
def _time(word: bytes32) -> (uint256, uint256):
    """
    @notice Unix seconds of a UTCTime or GeneralizedTime in the form of RFC 5280, and its whole size in bytes.
    """
    bits: uint256 = convert(word, uint256)
    size: uint256 = 15
    digits: uint256 = 0
    if bits >> 240 == UTC_TIME * 256 + 13:
        assert (bits >> 136) & 255 == 90, "der: time is not UTC"
        digits = (bits >> 144) & (2**96 - 1)
        century: uint256 = CENTURY_20
        if (digits >> 88) & 15 >= 5:
            century = CENTURY_19
        digits = (digits ^ (DIGITS & (2**96 - 1))) | (century << 96)
    else:
        assert bits >> 240 == GENERALIZED_TIME * 256 + 15, "der: unexpected time"
        assert (bits >> 120) & 255 == 90, "der: time is not UTC"
        digits = ((bits >> 128) & (2**112 - 1)) ^ DIGITS
        size = 17
    return self._unix_seconds(digits), size


@internal
@pure
def _unix_seconds(digits: uint256) -> uint256:
    """
    @notice Unix seconds of a date in the proleptic Gregorian calendar.
    @param digits YYYYMMDDHHMMSS, one digit per byte.
    """
    assert (digits | (digits + SIXES)) & HIGH_NIBBLES == 0, "time: not a digit"
    # Two digits per 16 bits: tens * 10 + units.
    pairs: uint256 = unsafe_add(unsafe_mul((digits >> 8) & LOW_BYTES, 10), digits & LOW_BYTES)
    year: uint256 = unsafe_add(unsafe_mul(pairs >> 96, 100), (pairs >> 80) & 255)
    month: uint256 = (pairs >> 64) & 255
    day: uint256 = (pairs >> 48) & 255
    hour: uint256 = (pairs >> 32) & 255
    minute: uint256 = (pairs >> 16) & 255
    second: uint256 = pairs & 255
    assert (
        1970 <= year
        and unsafe_sub(month, 1) < 12
        and unsafe_sub(day, 1) < 31
        and hour < 24
        and minute < 60
        and second < 60
    ), "time: no such time"
    # Years are counted from March, so that the leap day is the last one.
    if month <= 2:
        year = unsafe_sub(year, 1)
        month = unsafe_add(month, 9)
    else:
        month = unsafe_sub(month, 3)
    # Days of whole years, leap days, days of whole months, days; the era begins 719,468 days before 1970.
    days: uint256 = unsafe_add(unsafe_mul(365, year), unsafe_div(year, 4))
    days = unsafe_add(unsafe_sub(days, unsafe_div(year, 100)), unsafe_div(year, 400))
    days = unsafe_add(days, unsafe_div(unsafe_add(unsafe_mul(153, month), 2), 5))
    days = unsafe_sub(unsafe_add(days, day), 719469)
    return unsafe_add(
        unsafe_add(unsafe_mul(days, 86400), unsafe_mul(hour, 3600)), unsafe_add(unsafe_mul(minute, 60), second)
    )


@internal
@pure
def _signature(tail: Bytes[96]) -> (uint256, uint256):
    """
    @notice (r, s) of what follows the signed part of a certificate or revocation list, to the last byte.
    """
    padded: Bytes[160] = concat(tail, empty(bytes32), empty(bytes32))
    end: uint256 = len(tail)
    start: uint256 = 0
    stop: uint256 = 0
    wrong: uint256 = (convert(extract32(padded, 0), uint256) >> 160) ^ convert(ECDSA_WITH_SHA256, uint256)
    start, stop = self._header(extract32(padded, 12), BIT_STRING, 12, end)
    # No unused bits.
    wrong |= (stop ^ end) | convert(extract32(padded, start), uint256) >> 248
    start, stop = self._header(extract32(padded, start + 1), SEQUENCE, start + 1, end)
    wrong |= stop ^ end
    start, stop = self._header(extract32(padded, start), INTEGER, start, end)
    r: uint256 = self._unsigned(extract32(padded, start), extract32(padded, start + 1), stop - start)
    start, stop = self._header(extract32(padded, stop), INTEGER, stop, end)
    s: uint256 = self._unsigned(extract32(padded, start), extract32(padded, start + 1), stop - start)
    assert wrong | (stop ^ end) == 0, "der: signature form"
    return r, s
