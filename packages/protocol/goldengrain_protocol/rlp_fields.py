"""Taking the fields of a decoded RLP list in order, each checked for its type."""

from goldengrain_protocol.canonical import Rlp, decode_int
from goldengrain_protocol.errors import InvalidInput
from goldengrain_protocol.types import Address, Hash32, address, fixed_bytes, hash32


class Fields:
    """The items of one RLP list with a fixed number of fields.

    Every method takes the next field and raises `InvalidInput` if it is not what the method names.
    """

    def __init__(self, value: Rlp, what: str, count: int) -> None:
        if not isinstance(value, list):
            raise InvalidInput(f"{what} must be a list")
        if len(value) != count:
            raise InvalidInput(f"{what} must have {count} fields, got {len(value)}")
        self._items = value
        self._what = what
        self._at = 0

    def any(self) -> Rlp:
        """Take a field of any form."""
        self._at += 1
        return self._items[self._at - 1]

    def items(self, most: int) -> list[Rlp]:
        """Take a list of at most `most` items."""
        value = self.any()
        if not isinstance(value, list):
            raise InvalidInput(f"{self._here()} must be a list")
        if len(value) > most:
            raise InvalidInput(f"{self._here()} has at most {most} items, got {len(value)}")
        return value

    def blob(self, most: int) -> bytes:
        """Take a byte string of at most `most` bytes."""
        value = self.any()
        if not isinstance(value, bytes):
            raise InvalidInput(f"{self._here()} must be a byte string")
        if len(value) > most:
            raise InvalidInput(f"{self._here()} has at most {most} bytes, got {len(value)}")
        return value

    def blobs(self, *, most_items: int, most_bytes: int) -> tuple[bytes, ...]:
        """Take a list of byte strings."""
        values = self.items(most_items)
        for value in values:
            if not isinstance(value, bytes) or len(value) > most_bytes:
                raise InvalidInput(f"{self._here()} must hold byte strings of at most {most_bytes} bytes")
        return tuple(value for value in values if isinstance(value, bytes))

    def fixed(self, size: int) -> bytes:
        """Take a byte string of exactly `size` bytes."""
        return fixed_bytes(self.blob(size), size, self._here())

    def hash32(self) -> Hash32:
        """Take 32 bytes."""
        return hash32(self.fixed(32))

    def address(self) -> Address:
        """Take 20 bytes."""
        return address(self.fixed(20))

    def uint(self, bits: int) -> int:
        """Take an integer below 2**bits without leading zeros."""
        return decode_int(self.blob(32), bits)

    def text(self, most_bytes: int) -> str:
        """Take UTF-8 text of at most `most_bytes` bytes."""
        try:
            return self.blob(most_bytes).decode("utf-8")
        except UnicodeDecodeError as exc:
            raise InvalidInput(f"{self._here()} must be utf-8 text") from exc

    def _here(self) -> str:
        return f"{self._what}[{self._at - 1}]"
