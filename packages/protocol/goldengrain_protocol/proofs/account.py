"""Accounts and storage slots proven under a trusted state root.

Source: EIP-1186; docs/spec/proofs.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from goldengrain_protocol.canonical import decode, decode_int
from goldengrain_protocol.errors import InvalidInput, VerificationError
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.proofs.trie import verify_trie_proof
from goldengrain_protocol.rlp_fields import Fields
from goldengrain_protocol.types import Address, Hash32, address, hash32


@dataclass(frozen=True, slots=True)
class Account:
    """A proven account."""

    nonce: int
    balance_wei: int
    storage_root: Hash32
    code_hash: Hash32


def verify_account(state_root: Hash32, account: Address, nodes: Sequence[bytes]) -> Account:
    """Return the account proven under `state_root`.

    Args:
        state_root: from a trusted header.
        nodes: `accountProof` of `eth_getProof`, root first.

    Raises:
        InvalidInput: malformed nodes or account.
        VerificationError: the proof does not hold, or shows that there is no such account.
    """
    value = verify_trie_proof(state_root, keccak256(address(account)), nodes)
    if value is None:
        raise VerificationError(f"there is no account 0x{account.hex()} in this state")
    f = Fields(decode(value), "account", 4)
    return Account(f.uint(64), f.uint(256), f.hash32(), f.hash32())


def verify_storage(storage_root: Hash32, slot: int, nodes: Sequence[bytes]) -> int:
    """Return the value of `slot` proven under `storage_root`; 0 if the proof shows absence.

    Args:
        storage_root: from an account already proven against a trusted header.
        nodes: `proof` of one storage entry of `eth_getProof`, root first.

    Raises:
        InvalidInput: malformed nodes or value.
        VerificationError: the proof does not hold.

    Source: EIP-1186.
    """
    if not 0 <= slot < 2**256:
        raise InvalidInput(f"storage slot must be in uint256, got {slot}")
    value = verify_trie_proof(storage_root, keccak256(slot.to_bytes(32, "big")), nodes)
    if value is None:
        return 0
    word = decode(value)
    if not isinstance(word, bytes) or not word:
        raise InvalidInput("a stored value must be a non-empty byte string")
    return decode_int(word, 256)


def mapping_slot(slot_index: int, key: Hash32) -> int:
    """Return the storage slot of `mapping[key]` for a Vyper mapping at position `slot_index`.

    Vyper hashes keccak(slot . key); Solidity would hash keccak(key . slot).
    """
    if not 0 <= slot_index < 2**256:
        raise InvalidInput(f"slot index must be in uint256, got {slot_index}")
    return int.from_bytes(keccak256(slot_index.to_bytes(32, "big") + hash32(key)), "big")
