"""The one thing that every chain-trust mode yields."""

from dataclasses import dataclass

from goldengrain_protocol.types import Hash32


@dataclass(frozen=True, slots=True)
class TrustedBlock:
    """A block that a chain-trust mode vouches for."""

    number: int
    hash: Hash32
