"""An Altair light client for chain trust: finalised headers only, at least two thirds of a sync committee."""

from goldengrain_protocol.proofs.ethereum_pos.light_client import Store
from goldengrain_protocol.proofs.ethereum_pos.mode import EthereumPos, PosEvidence, Versioned
from goldengrain_protocol.proofs.ethereum_pos.network import Fork, Network, PresetId, mainnet

__all__ = ["EthereumPos", "Fork", "Network", "PosEvidence", "PresetId", "Store", "Versioned", "mainnet"]
