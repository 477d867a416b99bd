"""The proof that a host sends along with a job: trusted block, header, account, storage.

Source: docs/spec/proofs.md.
"""

from dataclasses import dataclass

from goldengrain_protocol.canonical import Rlp, RlpInput, decode, encode
from goldengrain_protocol.constants import (
    MAX_HEADER_BYTES,
    MAX_PROOF_NODES,
    MAX_STORAGE_PROOFS,
    MAX_TRIE_NODE_BYTES,
    MAX_TRUST_EVIDENCE_BYTES,
)
from goldengrain_protocol.errors import InvalidInput
from goldengrain_protocol.rlp_fields import Fields


@dataclass(frozen=True, slots=True)
class ChainProof:
    """Untrusted bytes until `verify_market_state` has been through them."""

    trust_evidence: bytes
    """What the chain-trust mode asks for."""
    header: bytes
    """RLP of the anchor block's header."""
    account_proof: tuple[bytes, ...]
    """Trie nodes from the state root to the market's account, root first."""
    storage_proofs: tuple[tuple[bytes, ...], ...]
    """For each slot the trie nodes from the storage root, root first."""

    def to_rlp(self) -> RlpInput:
        """Return [trust_evidence, header, [node, ...], [[node, ...], ...]]."""
        return [self.trust_evidence, self.header, self.account_proof, self.storage_proofs]

    @classmethod
    def from_rlp(cls, value: Rlp) -> "ChainProof":
        """Return the proof that `value` holds. Raises: InvalidInput."""
        items = Fields(value, "proof", 4)
        evidence, header = items.blob(MAX_TRUST_EVIDENCE_BYTES), items.blob(MAX_HEADER_BYTES)
        account = items.blobs(most_items=MAX_PROOF_NODES, most_bytes=MAX_TRIE_NODE_BYTES)
        storage: list[tuple[bytes, ...]] = []
        for nodes in items.items(MAX_STORAGE_PROOFS):
            if not isinstance(nodes, list):
                raise InvalidInput("proof[3] must hold lists of trie nodes")
            storage.append(
                Fields([nodes], "storage proof", 1).blobs(
                    most_items=MAX_PROOF_NODES, most_bytes=MAX_TRIE_NODE_BYTES
                )
            )
        return cls(evidence, header, account, tuple(storage))

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode(self.to_rlp())

    @classmethod
    def decode(cls, data: bytes) -> "ChainProof":
        """Return the proof that `data` encodes. Raises: InvalidInput."""
        return cls.from_rlp(decode(data))
