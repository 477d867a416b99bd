"""What a chain-trust mode is: evidence in, a block that the enclave may build on out.

Source: docs/spec/chain-trust.md.
"""

from typing import Protocol

from goldengrain_protocol.config import DEV_PINNED, ETHEREUM_POS, WITNESS_QUORUM, ChainTrustConfig
from goldengrain_protocol.errors import InvalidInput
from goldengrain_protocol.proofs.dev_pinned import DevPinned
from goldengrain_protocol.proofs.trusted_block import TrustedBlock
from goldengrain_protocol.proofs.witness_quorum import WitnessQuorum

__all__ = ["ChainTrust", "TrustedBlock", "chain_trust"]


class ChainTrust(Protocol):
    """One chain-trust mode with its checkpoint."""

    def finalized(self, evidence: bytes) -> TrustedBlock:
        """Return the block that `evidence` shows to be final.

        Raises:
            InvalidInput: malformed evidence.
            VerificationError: the evidence does not show a final block.
        """
        ...


def chain_trust(config: ChainTrustConfig) -> ChainTrust:
    """Return the mode that `config` names. Raises: InvalidInput: unknown mode or malformed checkpoint."""
    if config.mode == DEV_PINNED:
        return DevPinned.from_checkpoint(config.checkpoint)
    if config.mode == WITNESS_QUORUM:
        return WitnessQuorum.from_checkpoint(config.checkpoint)
    if config.mode == ETHEREUM_POS:
        # Here, because it alone needs the pairing library, which is a compiled one.
        from goldengrain_protocol.proofs.ethereum_pos import EthereumPos

        return EthereumPos.from_checkpoint(config.checkpoint)
    raise InvalidInput(f"unknown chain-trust mode {config.mode!r}")
