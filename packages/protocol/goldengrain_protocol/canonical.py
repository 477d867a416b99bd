"""RLP, strict and bounded: `decode(encode(x)) == x` and `encode(decode(b)) == b`.

A decoder of our own because the bytes come from the host: nesting and item count are bounded before
anything is built, nothing is copied but the strings themselves (a request may carry a model of some
hundred megabytes), and nothing but `InvalidInput` can come out. The `rlp` library is its oracle in
the tests. See docs/adr/0003.

Source: Ethereum yellow paper, appendix B.
"""

from collections.abc import Sequence
from typing import Final, TypeAlias

from goldengrain_protocol.constants import MAX_RLP_DEPTH, MAX_RLP_ITEMS
from goldengrain_protocol.errors import InvalidInput

Rlp: TypeAlias = "bytes | list[Rlp]"
"""A decoded value."""

RlpInput: TypeAlias = "bytes | bytearray | memoryview | Sequence[RlpInput]"
"""An encodable value."""

_SHORT: Final = 55
"""Longest payload whose length fits into the first byte."""


def encode(item: RlpInput) -> bytes:
    """Return the one canonical encoding of `item` (bytes, or a sequence of such).

    Raises:
        InvalidInput: the item contains something that is neither bytes nor a list or tuple.
    """
    parts: list[bytes | bytearray | memoryview] = []
    _encode_into(item, parts)
    return b"".join(parts)


def decode(data: bytes | bytearray | memoryview) -> Rlp:
    """Return the value that `data` is the canonical encoding of.

    Raises:
        InvalidInput: not canonical, truncated, followed by further bytes, nested deeper than
            `MAX_RLP_DEPTH` lists, or of more than `MAX_RLP_ITEMS` items.
    """
    view = memoryview(data).cast("B") if not isinstance(data, bytes) else memoryview(data)
    is_list, start, end = _prefix(view, 0, len(view))
    if end != len(view):
        raise InvalidInput(f"rlp: {len(view) - end} bytes after the end of the value")
    if not is_list:
        return bytes(view[start:end])
    budget = [MAX_RLP_ITEMS]
    return _decode_list(view, start, end, MAX_RLP_DEPTH, budget)


def encode_int(value: int) -> bytes:
    """Return `value` >= 0 as big-endian bytes without leading zeros; zero is empty."""
    if value < 0:
        raise InvalidInput(f"rlp: integers are not negative, got {value}")
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def decode_int(data: bytes, bits: int) -> int:
    """Return the integer below `2**bits` that `data` canonically encodes.

    Raises:
        InvalidInput: leading zero, or too large.
    """
    if data[:1] == b"\0":
        raise InvalidInput("rlp: integer has a leading zero")
    if len(data) > (bits + 7) // 8:
        raise InvalidInput(f"rlp: integer is larger than {bits} bits")
    value = int.from_bytes(data, "big")
    if value >> bits:
        raise InvalidInput(f"rlp: integer is larger than {bits} bits")
    return value


def _encode_into(item: RlpInput, parts: list[bytes | bytearray | memoryview]) -> int:
    if isinstance(item, (bytes, bytearray, memoryview)):
        if isinstance(item, memoryview):
            item = item.cast("B")
        size = len(item)
        if size == 1 and item[0] < 0x80:
            parts.append(item)
            return 1
        head = _head(0x80, size)
        parts.append(head)
        parts.append(item)
        return len(head) + size
    if not isinstance(item, (list, tuple)):
        raise InvalidInput(f"rlp: cannot encode {type(item).__name__}")
    at = len(parts)
    parts.append(b"")
    size = sum(_encode_into(child, parts) for child in item)
    parts[at] = head = _head(0xC0, size)
    return len(head) + size


def _head(offset: int, size: int) -> bytes:
    if size <= _SHORT:
        return bytes([offset + size])
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([offset + _SHORT + len(length)]) + length


def _prefix(view: memoryview, at: int, limit: int) -> tuple[bool, int, int]:
    """Return (is a list, start of payload, end of payload) of the item at `at`, all within `limit`."""
    if at >= limit:
        raise InvalidInput("rlp: value is truncated")
    first = view[at]
    if first < 0x80:
        return False, at, at + 1
    is_list = first >= 0xC0
    size = first - (0xC0 if is_list else 0x80)
    start = at + 1
    if size > _SHORT:
        start += size - _SHORT
        if start > limit:
            raise InvalidInput("rlp: value is truncated")
        if view[at + 1] == 0:
            raise InvalidInput("rlp: length has a leading zero")
        size = int.from_bytes(view[at + 1 : start], "big")
        if size <= _SHORT:
            raise InvalidInput("rlp: long form used for a short payload")
    if size > limit - start:
        raise InvalidInput("rlp: value is truncated")
    if size == 1 and not is_list and view[start] < 0x80:
        raise InvalidInput("rlp: single byte below 0x80 has a length prefix")
    return is_list, start, start + size


def _decode_list(view: memoryview, at: int, end: int, depth: int, budget: list[int]) -> list[Rlp]:
    if depth == 0:
        raise InvalidInput(f"rlp: lists are nested deeper than {MAX_RLP_DEPTH}")
    items: list[Rlp] = []
    while at < end:
        budget[0] -= 1
        if budget[0] < 0:
            raise InvalidInput(f"rlp: more than {MAX_RLP_ITEMS} items")
        is_list, start, at = _prefix(view, at, end)
        items.append(_decode_list(view, start, at, depth - 1, budget) if is_list else bytes(view[start:at]))
    return items
