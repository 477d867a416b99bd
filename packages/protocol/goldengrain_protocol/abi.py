"""Standard ABI encoding of the few shapes whose hash the contracts take.

Only what the protocol's identifiers need: 32-byte words, structs of words (inline), and one trailing
dynamic array of two-word structs (a benchmark's curve). `eth-abi` is its oracle in the tests.

Source: Solidity contract ABI specification, "formal specification of the encoding".
"""

from collections.abc import Iterable

from goldengrain_protocol.errors import InvalidInput
from goldengrain_protocol.types import Address, Hash32


def word(value: int | Address | Hash32) -> bytes:
    """Return the 32-byte word of an unsigned integer, an address (left-padded) or 32 bytes.

    Raises:
        InvalidInput: an integer outside uint256, or bytes of another length.
    """
    if isinstance(value, int):
        if not 0 <= value < 2**256:
            raise InvalidInput(f"abi: integer is outside uint256: {value}")
        return value.to_bytes(32, "big")
    if len(value) not in (20, 32):
        raise InvalidInput(f"abi: expected 20 or 32 bytes, got {len(value)}")
    return bytes(32 - len(value)) + value


def words(*values: int | Address | Hash32) -> bytes:
    """Return the words of `values` one after the other: the encoding of any static tuple."""
    return b"".join(word(value) for value in values)


def offset_word(head_words: int) -> bytes:
    """Return the offset word of a dynamic part that begins after `head_words` words."""
    return word(32 * head_words)


def dynamic_array(elements: Iterable[bytes]) -> bytes:
    """Return length word and elements of a dynamic array of static elements."""
    items = list(elements)
    return word(len(items)) + b"".join(items)
