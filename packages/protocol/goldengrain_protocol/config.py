"""The configuration of an enclave: which chain, which contracts, which trust. Bound into its quote.

Source: docs/spec/attestation.md.
"""

from dataclasses import dataclass
from typing import Final

from goldengrain_protocol.canonical import Rlp, RlpInput, decode, encode, encode_int
from goldengrain_protocol.constants import MAX_CONFIG_CHECKPOINT_BYTES
from goldengrain_protocol.errors import InvalidInput
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.rlp_fields import Fields
from goldengrain_protocol.types import Address, Hash32, address

_CONFIG_TAG: Final = b"goldengrain/config/v1"
DEV_PINNED: Final = "dev-pinned"
WITNESS_QUORUM: Final = "witness-quorum"
ETHEREUM_POS: Final = "ethereum-pos"
CHAIN_TRUST_MODES: Final = (DEV_PINNED, WITNESS_QUORUM, ETHEREUM_POS)


@dataclass(frozen=True, slots=True)
class ChainTrustConfig:
    """How the enclave comes to trust a block, and where that trust starts."""

    mode: str
    """One of `CHAIN_TRUST_MODES`."""
    checkpoint: bytes
    """Mode-specific canonical bytes, e.g. `DevPinned.checkpoint()`."""

    def __post_init__(self) -> None:
        if self.mode not in CHAIN_TRUST_MODES:
            raise InvalidInput(
                f"chain-trust mode must be one of {', '.join(CHAIN_TRUST_MODES)}, got {self.mode[:40]!r}"
            )
        if not isinstance(self.checkpoint, bytes) or len(self.checkpoint) > MAX_CONFIG_CHECKPOINT_BYTES:
            raise InvalidInput(f"checkpoint must be at most {MAX_CONFIG_CHECKPOINT_BYTES} bytes")


@dataclass(frozen=True, slots=True)
class EnclaveConfig:
    """What an enclave is told at boot and binds into its quote."""

    chain_id: int
    market: Address
    registry: Address
    chain_trust: ChainTrustConfig

    def __post_init__(self) -> None:
        if not isinstance(self.chain_id, int) or not 0 < self.chain_id < 2**256:
            raise InvalidInput(f"chain id must be in 1..2**256 - 1, got {self.chain_id}")
        address(self.market)
        address(self.registry)

    def to_rlp(self) -> RlpInput:
        """Return [chain_id, market, registry, [mode, checkpoint]]."""
        trust = [self.chain_trust.mode.encode("ascii"), self.chain_trust.checkpoint]
        return [encode_int(self.chain_id), self.market, self.registry, trust]

    @classmethod
    def from_rlp(cls, value: Rlp) -> "EnclaveConfig":
        """Return the configuration that `value` holds. Raises: InvalidInput."""
        items = Fields(value, "config", 4)
        chain_id, market, registry = items.uint(256), items.address(), items.address()
        trust = Fields(items.any(), "config.chain_trust", 2)
        return cls(
            chain_id,
            market,
            registry,
            ChainTrustConfig(trust.text(40), trust.blob(MAX_CONFIG_CHECKPOINT_BYTES)),
        )

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode(self.to_rlp())

    @classmethod
    def decode(cls, data: bytes) -> "EnclaveConfig":
        """Return the configuration that `data` encodes. Raises: InvalidInput."""
        return cls.from_rlp(decode(data))


def config_digest(config: EnclaveConfig) -> Hash32:
    """Return keccak("goldengrain/config/v1" || rlp(config))."""
    return keccak256(_CONFIG_TAG + config.encode())
