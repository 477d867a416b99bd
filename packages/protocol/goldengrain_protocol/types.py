"""Fixed-size byte types and their checked constructors."""

from typing import Final, NewType

from goldengrain_protocol.errors import InvalidInput
from goldengrain_protocol.hashing import keccak256_bytes

Hash32 = NewType("Hash32", bytes)
"""Exactly 32 bytes."""

Address = NewType("Address", bytes)
"""Exactly 20 bytes: an Ethereum account."""

Wei = NewType("Wei", int)
"""An amount in the smallest unit of ETH or of an ERC-20 token."""


def hash32(value: bytes | bytearray | memoryview) -> Hash32:
    """Return `value` as a `Hash32`.

    Raises:
        InvalidInput: the value is not bytes of length 32.
    """
    return Hash32(fixed_bytes(value, 32, "hash"))


def address(value: bytes | bytearray | memoryview) -> Address:
    """Return `value` as an `Address`.

    Raises:
        InvalidInput: the value is not bytes of length 20.
    """
    return Address(fixed_bytes(value, 20, "address"))


def fixed_bytes(value: bytes | bytearray | memoryview, size: int, what: str) -> bytes:
    """Return an immutable copy of `value`, which has exactly `size` bytes.

    Raises:
        InvalidInput: another type or another length.
    """
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise InvalidInput(f"{what} must be bytes, got {type(value).__name__}")
    data = bytes(value)
    if len(data) != size:
        raise InvalidInput(f"{what} must have {size} bytes, got {len(data)}")
    return data


def bytes_from_hex(text: str, what: str) -> bytes:
    """Return the bytes of a hexadecimal string, with or without `0x`.

    Raises:
        InvalidInput: the text is not an even number of hexadecimal digits.
    """
    if not isinstance(text, str):
        raise InvalidInput(f"{what} must be a hexadecimal string, got {type(text).__name__}")
    digits = text[2:] if text[:2] in ("0x", "0X") else text
    if len(digits) % 2 or any(c not in "0123456789abcdefABCDEF" for c in digits):
        raise InvalidInput(f"{what} must be an even number of hexadecimal digits")
    return bytes.fromhex(digits)


def hash32_from_hex(text: str) -> Hash32:
    """Return the 32 bytes written as 64 hexadecimal digits, with or without `0x`.

    Raises:
        InvalidInput: anything else.
    """
    return hash32(bytes_from_hex(text, "hash"))


def address_from_hex(text: str) -> Address:
    """Return the address written as 40 hexadecimal digits, with or without `0x`.

    Mixed case is a checksum and must be right; all-lower and all-upper digits carry none.

    Raises:
        InvalidInput: wrong length, wrong digits or wrong checksum.

    Source: EIP-55.
    """
    value = address(bytes_from_hex(text, "address"))
    digits = text[-40:]
    if digits not in (digits.lower(), digits.upper()) and to_checksum(value)[2:] != digits:
        raise InvalidInput(f"address checksum is wrong: expected {to_checksum(value)}, got {text}")
    return value


def to_checksum(value: Address) -> str:
    """Return the `0x` form of `value` with the checksum in its letter case.

    Source: EIP-55.
    """
    digits = address(value).hex()
    check = keccak256_bytes(digits.encode("ascii")).hex()
    return "0x" + "".join(c.upper() if int(k, 16) >= 8 else c for c, k in zip(digits, check, strict=False))


ZERO_ADDRESS: Final = Address(bytes(20))
"""As `Sale.token`: ETH. As `Sale.royalty_recipient`: no royalty."""

ZERO_HASH: Final = Hash32(bytes(32))
