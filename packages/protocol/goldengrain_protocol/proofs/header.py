"""Execution block headers: RLP to the few fields that proofs need.

Source: Ethereum yellow paper section 4.3; EIP-1559, 4895, 4844, 4788, 7685 for the later fields.
"""

from dataclasses import dataclass
from typing import Final

from goldengrain_protocol.canonical import decode
from goldengrain_protocol.constants import MAX_HEADER_BYTES
from goldengrain_protocol.errors import InvalidInput
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.rlp_fields import Fields
from goldengrain_protocol.types import Hash32

MIN_FIELDS: Final = 16
"""London: the fifteen original fields and the base fee."""
MAX_FIELDS: Final = 32
"""Osaka has 21; later forks append."""


@dataclass(frozen=True, slots=True)
class Header:
    """The fields of a block header that a proof hangs on, and the hash of all of it."""

    hash: Hash32
    number: int
    parent_hash: Hash32
    state_root: Hash32
    timestamp: int
    """Unix seconds, as the block's proposer states it."""


def decode_header(data: bytes) -> Header:
    """Return the header that `data` is the RLP of; its hash is keccak-256 of exactly these bytes.

    Fields after the sixteenth are not looked at, so headers of later forks pass.

    Raises:
        InvalidInput: not canonical, too long, too few fields, or a used field of another form.
    """
    if len(data) > MAX_HEADER_BYTES:
        raise InvalidInput(f"header has at most {MAX_HEADER_BYTES} bytes, got {len(data)}")
    items = decode(data)
    if not isinstance(items, list) or not MIN_FIELDS <= len(items) <= MAX_FIELDS:
        raise InvalidInput(f"header must be a list of {MIN_FIELDS}..{MAX_FIELDS} fields")
    f = Fields(items, "header", len(items))
    parent_hash = f.hash32()
    f.hash32()  # ommers
    f.address()  # beneficiary
    state_root = f.hash32()
    f.hash32()  # transactions
    f.hash32()  # receipts
    f.fixed(256)  # logs bloom
    f.uint(256)  # difficulty
    number = f.uint(64)
    f.uint(64)  # gas limit
    f.uint(64)  # gas used
    timestamp = f.uint(64)
    return Header(keccak256(data), number, parent_hash, state_root, timestamp)
