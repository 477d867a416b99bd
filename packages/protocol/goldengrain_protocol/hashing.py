"""The two hash functions of the protocol: keccak-256 (chain) and SHA-256 (blobs, keys).

The keccak implementation is named here instead of being looked up, because the usual Ethereum
wrappers choose theirs by an environment variable.
"""

import hashlib
from typing import TYPE_CHECKING, cast

from Crypto.Hash import keccak as _keccak

if TYPE_CHECKING:
    from goldengrain_protocol.types import Hash32

Data = bytes | bytearray | memoryview


def keccak256_bytes(data: Data) -> bytes:
    """Return keccak-256 of `data` (32 bytes, untyped; the typed form is `keccak256`)."""
    return _keccak.new(digest_bits=256, data=data).digest()


def keccak256(data: Data) -> "Hash32":
    """Return keccak-256 of `data`, as Ethereum defines it (the padding before FIPS 202)."""
    return cast("Hash32", keccak256_bytes(data))


def sha256(data: Data) -> "Hash32":
    """Return SHA-256 of `data`. Source: FIPS 180-4."""
    return cast("Hash32", hashlib.sha256(data).digest())
