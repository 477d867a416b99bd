"""The little of SSZ that light-client containers need: Merkle trees over 32-byte chunks, and branches.

All these containers have fixed shapes, so their decoding is slicing (`containers`) and their roots are
trees over a known number of leaves. See docs/adr/0011.

Source: Ethereum consensus specs, ssz/simple-serialize.md and ssz/merkle-proofs.md.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from goldengrain_protocol.errors import InvalidInput

ZERO_CHUNK: Final = bytes(32)


def merkle_root(chunks: Sequence[bytes]) -> bytes:
    """Return the root of the smallest binary tree over `chunks` (32 bytes each), padded with zero chunks."""
    layer = list(chunks) or [ZERO_CHUNK]
    layer += [ZERO_CHUNK] * ((1 << (len(layer) - 1).bit_length()) - len(layer))
    while len(layer) > 1:
        layer = [sha256(layer[i] + layer[i + 1]).digest() for i in range(0, len(layer), 2)]
    return layer[0]


def bytes_root(data: bytes) -> bytes:
    """Return the root of a vector of bytes."""
    return merkle_root([data[at : at + 32].ljust(32, b"\0") for at in range(0, len(data), 32)])


def uint_chunk(value: int) -> bytes:
    """Return the chunk of an unsigned integer."""
    return value.to_bytes(32, "little")


def mix_in_length(root: bytes, length: int) -> bytes:
    """Return the root of a list from the root of its contents."""
    return sha256(root + uint_chunk(length)).digest()


def branch_root(leaf: bytes, branch: Sequence[bytes], gindex: int) -> bytes:
    """Return the root of the tree in which `branch` leads from `leaf` at generalized index `gindex`.

    Args:
        branch: the siblings, from the leaf up.

    Raises:
        InvalidInput: the branch has another length than the index is deep.
    """
    if len(branch) != gindex.bit_length() - 1:
        raise InvalidInput(f"branch must have {gindex.bit_length() - 1} nodes, got {len(branch)}")
    node = leaf
    for sibling in branch:
        node = sha256(sibling + node if gindex & 1 else node + sibling).digest()
        gindex >>= 1
    return node


def is_valid_branch(leaf: bytes, branch: Sequence[bytes], gindex: int, root: bytes) -> bool:
    """Return whether `branch` proves `leaf` at `gindex` under `root`."""
    return branch_root(leaf, branch, gindex) == root
