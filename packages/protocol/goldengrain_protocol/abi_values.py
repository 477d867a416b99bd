"""Reading fields from what chain libraries return for a struct: tuple, mapping or named tuple.

Translates addresses (checksum text or 20 bytes) and `bytes32` (bytes or hex text) at the edge, so the
rest of the protocol sees one form only.
"""

from collections.abc import Mapping, Sequence

from goldengrain_protocol.errors import InvalidInput
from goldengrain_protocol.types import Address, Hash32, address, address_from_hex, hash32, hash32_from_hex

AbiStruct = Sequence[object] | Mapping[str, object] | object


def fields(value: AbiStruct, names: Sequence[str], what: str) -> list[object]:
    """Return the fields of `value` in the order of `names`.

    Args:
        value: a sequence with exactly these fields, or a mapping or object that has at least them.

    Raises:
        InvalidInput: a field is missing, or a sequence has another length.
    """
    if isinstance(value, Mapping):
        missing = [name for name in names if name not in value]
        if missing:
            raise InvalidInput(f"{what} has no field {missing[0]!r}")
        return [value[name] for name in names]
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray)):
        if len(value) != len(names):
            raise InvalidInput(f"{what} must have {len(names)} fields, got {len(value)}")
        return list(value)
    missing = [name for name in names if not hasattr(value, name)]
    if missing:
        raise InvalidInput(f"{what} has no field {missing[0]!r}")
    return [getattr(value, name) for name in names]


def as_address(value: object, what: str) -> Address:
    """Return an address given as 20 bytes or as hex text.

    Raises:
        InvalidInput: neither.
    """
    if isinstance(value, str):
        return address_from_hex(value)
    if isinstance(value, (bytes, bytearray)):
        return address(value)
    raise InvalidInput(f"{what} must be an address, got {type(value).__name__}")


def as_hash32(value: object, what: str) -> Hash32:
    """Return 32 bytes given as bytes or as hex text.

    Raises:
        InvalidInput: neither.
    """
    if isinstance(value, str):
        return hash32_from_hex(value)
    if isinstance(value, (bytes, bytearray)):
        return hash32(value)
    raise InvalidInput(f"{what} must be 32 bytes, got {type(value).__name__}")


def as_uint(value: object, what: str, bits: int = 256) -> int:
    """Return `value`, an integer in 0..2**bits - 1.

    Raises:
        InvalidInput: another type or out of range.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidInput(f"{what} must be an integer, got {type(value).__name__}")
    if not 0 <= value < 2**bits:
        raise InvalidInput(f"{what} must be in 0..2**{bits} - 1, got {value}")
    return int(value)


def as_sequence(value: object, what: str, most: int) -> Sequence[object]:
    """Return `value`, a sequence (not text or bytes) of at most `most` elements.

    Raises:
        InvalidInput: another type or too many.
    """
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes, bytearray)):
        raise InvalidInput(f"{what} must be a sequence, got {type(value).__name__}")
    if len(value) > most:
        raise InvalidInput(f"{what} has at most {most} elements, got {len(value)}")
    return value
