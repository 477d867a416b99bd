"""Execution-layer states for tests: accounts and storage in real tries, headers, and proofs of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import rlp
from trie.hexary import HexaryTrie

from goldengrain_protocol.canonical import encode, encode_int
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.proofs import EMPTY_TRIE_ROOT
from goldengrain_protocol.proofs.history import HISTORY_CONTRACT, HistoryStep, history_slot


class State:
    """A state with some accounts and their storage."""

    def __init__(self, accounts: Mapping[bytes, Mapping[int, int]], others: int = 40) -> None:
        self._accounts: Any = HexaryTrie({})
        self._storage: dict[bytes, Any] = {}
        for address, slots in accounts.items():
            trie: Any = HexaryTrie({})
            for slot, value in slots.items():
                trie[keccak256(slot.to_bytes(32, "big"))] = rlp.encode(encode_int(value))
            self._storage[address] = trie
            root = trie.root_hash if slots else EMPTY_TRIE_ROOT
            self._put(address, root)
        for i in range(others):
            self._put(keccak256(i.to_bytes(4, "big"))[:20], EMPTY_TRIE_ROOT)

    def _put(self, address: bytes, storage_root: bytes) -> None:
        account = [encode_int(1), encode_int(10**18), storage_root, keccak256(b"")]
        self._accounts[keccak256(address)] = encode(account)

    @property
    def root(self) -> bytes:
        return bytes(self._accounts.root_hash)

    def account_proof(self, address: bytes) -> tuple[bytes, ...]:
        return _proof(self._accounts, keccak256(address))

    def storage_proof(self, address: bytes, slot: int) -> tuple[bytes, ...]:
        return _proof(self._storage[address], keccak256(slot.to_bytes(32, "big")))


def _proof(trie: Any, key: bytes) -> tuple[bytes, ...]:
    """Nodes from the root down; those embedded in their parents are left out, as `eth_getProof` does."""
    nodes = [rlp.encode(node) for node in trie.get_proof(key)]
    return tuple(node for at, node in enumerate(nodes) if at == 0 or len(node) >= 32)


def header(number: int, state_root: bytes, *, salt: int = 0) -> bytes:
    """Return the RLP of a header of today's form."""
    zero = bytes(32)
    return encode(
        [
            zero,
            zero,
            bytes(20),
            state_root,
            zero,
            zero,
            bytes(256),
            b"",
            encode_int(number),
            encode_int(30_000_000),
            b"",
            encode_int(12 * number),
            encode_int(salt),
            zero,
            bytes(8),
            encode_int(7),
        ]
    )


def history_state(head: int, hashes: Mapping[int, bytes], **others: Mapping[int, int]) -> State:
    """Return the state after block `head`, in which the history contract holds some hashes."""
    slots = {history_slot(number): int.from_bytes(value, "big") for number, value in hashes.items()}
    return State({HISTORY_CONTRACT: slots})


def history_step(state: State, head_header: bytes, number: int) -> HistoryStep:
    """Return the step to block `number`."""
    return HistoryStep(
        number,
        head_header,
        state.account_proof(HISTORY_CONTRACT),
        state.storage_proof(HISTORY_CONTRACT, history_slot(number)),
    )
