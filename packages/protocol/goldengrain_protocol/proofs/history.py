"""An older block proven through a trusted newer one, by the chain's own record of block hashes.

A market's contract accepts an anchor that is up to 8,191 blocks old, and a chain-trust mode vouches for
whichever block is final now. This step goes from the one to the other with one storage proof instead of a
chain of headers.

Source: EIP-2935; docs/spec/chain-trust.md, "Older blocks".
"""

from dataclasses import dataclass
from typing import Final

from goldengrain_protocol.canonical import Rlp, RlpInput, encode_int
from goldengrain_protocol.constants import (
    ANCHOR_HISTORY_BLOCKS,
    MAX_HEADER_BYTES,
    MAX_PROOF_NODES,
    MAX_TRIE_NODE_BYTES,
)
from goldengrain_protocol.errors import VerificationError
from goldengrain_protocol.proofs.account import verify_account, verify_storage
from goldengrain_protocol.proofs.header import decode_header
from goldengrain_protocol.proofs.trusted_block import TrustedBlock
from goldengrain_protocol.rlp_fields import Fields
from goldengrain_protocol.types import Address, Hash32

HISTORY_CONTRACT: Final = Address(bytes.fromhex("0000f90827f1c53a10cb7a02335b175320002935"))
"""The system contract that keeps the hashes of the last 8,191 blocks. Source: EIP-2935."""


@dataclass(frozen=True, slots=True)
class HistoryStep:
    """The proof that a block is an ancestor of a trusted one."""

    number: int
    """The older block."""
    head_header: bytes
    """RLP header of the trusted block."""
    account_proof: tuple[bytes, ...]
    """Of the history contract, under the head's state root."""
    storage_proof: tuple[bytes, ...]
    """Of slot `history_slot(number)`."""

    def to_rlp(self) -> RlpInput:
        """Return [number, head_header, account_proof, storage_proof]."""
        return [encode_int(self.number), self.head_header, list(self.account_proof), list(self.storage_proof)]

    @classmethod
    def from_rlp(cls, value: Rlp) -> "HistoryStep":
        """Return the step that `value` holds. Raises: InvalidInput."""
        f = Fields(value, "history step", 4)
        number = f.uint(64)
        header = f.blob(MAX_HEADER_BYTES)
        account = f.blobs(most_items=MAX_PROOF_NODES, most_bytes=MAX_TRIE_NODE_BYTES)
        return cls(
            number, header, account, f.blobs(most_items=MAX_PROOF_NODES, most_bytes=MAX_TRIE_NODE_BYTES)
        )


def history_slot(number: int) -> int:
    """Return the storage slot in which the history contract keeps the hash of block `number`."""
    return number % ANCHOR_HISTORY_BLOCKS


def verify_history_step(head: TrustedBlock, step: HistoryStep) -> TrustedBlock:
    """Return block `step.number`, proven to be an ancestor of `head`.

    Raises:
        InvalidInput: a malformed header or node.
        VerificationError: another head, a block out of the contract's reach, or a proof that does not hold.
    """
    header = decode_header(step.head_header)
    if header.hash != head.hash or header.number != head.number:
        raise VerificationError(f"history step does not start at the trusted block {head.number}")
    # The state after block n holds the hashes of blocks n - 8191 to n - 1 (EIP-2935, "block processing").
    if not head.number - ANCHOR_HISTORY_BLOCKS <= step.number < head.number:
        raise VerificationError(
            f"block {step.number} must be one of the {ANCHOR_HISTORY_BLOCKS} blocks before {head.number}"
        )
    account = verify_account(header.state_root, HISTORY_CONTRACT, step.account_proof)
    value = verify_storage(account.storage_root, history_slot(step.number), step.storage_proof)
    if value == 0:
        raise VerificationError(f"the history contract holds no hash for block {step.number}")
    return TrustedBlock(step.number, Hash32(value.to_bytes(32, "big")))


def optional_to_rlp(step: HistoryStep | None) -> RlpInput:
    """Return [step], or [] where there is none."""
    return [] if step is None else [step.to_rlp()]


def optional_from_rlp(value: list[Rlp]) -> HistoryStep | None:
    """Return the step of a list of at most one. Raises: InvalidInput."""
    if not value:
        return None
    return HistoryStep.from_rlp(Fields(value, "history", 1).any())
