"""Chain trust by witnesses: N of M pinned keys state that a block is final.

Every witness watches a node of its own and signs finalised blocks only. What it states contains nothing but
the block, so all honest witnesses sign the same bytes, and two statements of one witness about one height
convict it.

Source: EIP-712; docs/spec/chain-trust.md, "witness-quorum".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from goldengrain_protocol import abi
from goldengrain_protocol.canonical import decode, encode, encode_int
from goldengrain_protocol.config import WITNESS_QUORUM, ChainTrustConfig
from goldengrain_protocol.constants import MAX_TRUST_EVIDENCE_BYTES, SIGNATURE_BYTES
from goldengrain_protocol.eip712 import recover_signer
from goldengrain_protocol.errors import InvalidInput, VerificationError
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.proofs.history import (
    HistoryStep,
    optional_from_rlp,
    optional_to_rlp,
    verify_history_step,
)
from goldengrain_protocol.proofs.trusted_block import TrustedBlock
from goldengrain_protocol.rlp_fields import Fields
from goldengrain_protocol.types import Address, Hash32, address, hash32, to_checksum

MAX_WITNESSES: Final = 32
WITNESS_NAME: Final = "GoldenGrain Witness"
WITNESS_VERSION: Final = "1"
WITNESS_DOMAIN_TYPEHASH: Final = keccak256(
    b"EIP712Domain(string name,string version,uint256 chainId,bytes32 salt)"
)
FINALIZED_BLOCK_TYPEHASH: Final = keccak256(b"FinalizedBlock(uint64 number,bytes32 hash,uint64 timestamp)")


@dataclass(frozen=True, slots=True)
class FinalizedBlock:
    """What a witness states: this block of this chain is final."""

    number: int
    hash: Hash32
    timestamp: int
    """Unix seconds, the block's own: a clock of the witness would make honest statements differ."""

    def __post_init__(self) -> None:
        hash32(self.hash)
        if not 0 <= self.number < 2**64 or not 0 <= self.timestamp < 2**64:
            raise InvalidInput("block number and timestamp must be in uint64")


def finalized_block_digest(chain_id: int, genesis_hash: Hash32, block: FinalizedBlock) -> Hash32:
    """Return what a witness signs. The genesis hash is the domain's salt: chain ids are not unique."""
    domain = keccak256(
        abi.words(
            WITNESS_DOMAIN_TYPEHASH,
            keccak256(WITNESS_NAME.encode()),
            keccak256(WITNESS_VERSION.encode()),
            chain_id,
            hash32(genesis_hash),
        )
    )
    struct = abi.words(FINALIZED_BLOCK_TYPEHASH, block.number, block.hash, block.timestamp)
    return keccak256(b"\x19\x01" + domain + keccak256(struct))


@dataclass(frozen=True, slots=True)
class QuorumEvidence:
    """A statement with the signatures of witnesses, and perhaps the step to an older block."""

    block: FinalizedBlock
    signatures: tuple[bytes, ...]
    """65 bytes each, signers in strictly ascending order of their addresses."""
    history: HistoryStep | None = None

    def encode(self) -> bytes:
        """Return RLP [number, hash, timestamp, [signature, ...], [history step] or []]."""
        block = [encode_int(self.block.number), self.block.hash, encode_int(self.block.timestamp)]
        return encode([*block, list(self.signatures), optional_to_rlp(self.history)])

    @classmethod
    def decode(cls, data: bytes) -> "QuorumEvidence":
        """Return the evidence that `data` encodes. Raises: InvalidInput."""
        if len(data) > MAX_TRUST_EVIDENCE_BYTES:
            raise InvalidInput(f"trust evidence has at most {MAX_TRUST_EVIDENCE_BYTES} bytes")
        f = Fields(decode(data), "witness evidence", 5)
        block = FinalizedBlock(f.uint(64), f.hash32(), f.uint(64))
        signatures = f.blobs(most_items=MAX_WITNESSES, most_bytes=SIGNATURE_BYTES)
        return cls(block, signatures, optional_from_rlp(f.items(1)))


@dataclass(frozen=True, slots=True)
class WitnessQuorum:
    """The mode `witness-quorum` with its parameters."""

    chain_id: int
    genesis_hash: Hash32
    threshold: int
    witnesses: tuple[Address, ...]
    """In strictly ascending order."""

    def __post_init__(self) -> None:
        hash32(self.genesis_hash)
        if not 0 < self.chain_id < 2**256:
            raise InvalidInput(f"chain id must be in 1..2**256 - 1, got {self.chain_id}")
        if not 1 <= len(self.witnesses) <= MAX_WITNESSES:
            raise InvalidInput(f"there must be 1 to {MAX_WITNESSES} witnesses, got {len(self.witnesses)}")
        for witness in self.witnesses:
            address(witness)
        if list(self.witnesses) != sorted(set(self.witnesses)):
            raise InvalidInput("witnesses must be in strictly ascending order")
        if not 1 <= self.threshold <= len(self.witnesses):
            raise InvalidInput(f"threshold must be 1 to {len(self.witnesses)}, got {self.threshold}")

    @classmethod
    def of(
        cls, chain_id: int, genesis_hash: Hash32, threshold: int, witnesses: Sequence[Address]
    ) -> "WitnessQuorum":
        """Return the mode with the witnesses put in order. Raises: InvalidInput."""
        return cls(chain_id, genesis_hash, threshold, tuple(sorted(witnesses)))

    def checkpoint(self) -> bytes:
        """Return the canonical bytes: RLP [chain_id, genesis_hash, threshold, [witness, ...]]."""
        return encode(
            [encode_int(self.chain_id), self.genesis_hash, encode_int(self.threshold), list(self.witnesses)]
        )

    def config(self) -> ChainTrustConfig:
        """Return the configuration that names this mode with these parameters."""
        return ChainTrustConfig(WITNESS_QUORUM, self.checkpoint())

    @classmethod
    def from_checkpoint(cls, data: bytes) -> "WitnessQuorum":
        """Return the mode that the checkpoint `data` states. Raises: InvalidInput."""
        f = Fields(decode(data), "witness-quorum checkpoint", 4)
        chain_id, genesis_hash, threshold = f.uint(256), f.hash32(), f.uint(8)
        witnesses = f.blobs(most_items=MAX_WITNESSES, most_bytes=20)
        return cls(chain_id, genesis_hash, threshold, tuple(address(witness) for witness in witnesses))

    def signer(self, block: FinalizedBlock, signature: bytes) -> Address:
        """Return the pinned witness that signed `block`.

        Raises:
            InvalidInput: malformed signature.
            VerificationError: signed by nobody who is pinned.
        """
        who = recover_signer(finalized_block_digest(self.chain_id, self.genesis_hash, block), signature)
        if who not in self.witnesses:
            raise VerificationError(f"{to_checksum(who)} is not a pinned witness of this chain")
        return who

    def finalized(self, evidence: bytes) -> TrustedBlock:
        """Return the block that enough witnesses signed, or its ancestor that the history step proves.

        Args:
            evidence: as `QuorumEvidence.encode` writes it.

        Raises:
            InvalidInput: malformed evidence.
            VerificationError: too few signatures, a stranger's, one counted twice, or a false history step.
        """
        parts = QuorumEvidence.decode(evidence)
        if len(parts.signatures) < self.threshold:
            raise VerificationError(f"expected {self.threshold} witnesses, got {len(parts.signatures)}")
        last = b""
        for signature in parts.signatures:
            who = self.signer(parts.block, signature)
            if who <= last:
                raise VerificationError("witnesses must sign in strictly ascending order")
            last = who
        head = TrustedBlock(parts.block.number, parts.block.hash)
        return head if parts.history is None else verify_history_step(head, parts.history)
