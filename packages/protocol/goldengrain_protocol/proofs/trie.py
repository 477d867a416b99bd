"""A verified walk through a Merkle-Patricia trie: value or proven absence of one key.

A walk of our own because a proof is hostile: nodes are used in the order they come, each must be the
one its parent names, every node must be used, and no node can be used twice. The `trie` library is the
oracle in the tests. See docs/adr/0003.

Source: Ethereum yellow paper, appendix D; EIP-1186.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from goldengrain_protocol.canonical import Rlp, decode
from goldengrain_protocol.constants import MAX_PROOF_NODES, MAX_TRIE_NODE_BYTES
from goldengrain_protocol.errors import InvalidInput, VerificationError
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.types import Hash32, hash32

EMPTY_TRIE_ROOT: Final = keccak256(b"\x80")
"""Root of a trie without keys: keccak(rlp(""))."""


def verify_trie_proof(root: Hash32, key: Hash32, nodes: Sequence[bytes]) -> bytes | None:
    """Return the value at `key` under `root`; None if the proof shows that there is none.

    Args:
        key: the hashed key, 32 bytes (secure trie).
        nodes: RLP trie nodes from the root down, as in `eth_getProof`. Nodes of less than 32 bytes are
            embedded in their parents and do not appear. For an empty trie no node, or one node 0x80.

    Raises:
        InvalidInput: too many or too large nodes, or a node that is no trie node.
        VerificationError: a node that its parent does not name, a missing node, or an unused one.
    """
    if len(nodes) > MAX_PROOF_NODES:
        raise InvalidInput(f"proof has at most {MAX_PROOF_NODES} nodes, got {len(nodes)}")
    if any(len(node) > MAX_TRIE_NODE_BYTES for node in nodes):
        raise InvalidInput(f"trie node has at most {MAX_TRIE_NODE_BYTES} bytes")
    path = [nibble for byte in hash32(key) for nibble in (byte >> 4, byte & 15)]
    if hash32(root) == EMPTY_TRIE_ROOT:
        if any(node != b"\x80" for node in nodes) or len(nodes) > 1:
            raise VerificationError("proof has nodes, but the trie is empty")
        return None
    rest = iter(nodes)
    node = _named_node(root, rest)
    value: bytes | None = None
    while True:
        child, path = _step(node, path)
        if child is None:
            break
        if isinstance(child, _Value):
            value = child.data
            break
        node = child.node if isinstance(child, _Embedded) else _named_node(child, rest)
    unused = sum(1 for _ in rest)
    if unused:
        raise VerificationError(f"proof has {unused} nodes that the path does not visit")
    return value


class _Value:
    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


class _Embedded:
    __slots__ = ("node",)

    def __init__(self, node: list[Rlp]) -> None:
        self.node = node


def _named_node(reference: Hash32, rest: Iterator[bytes]) -> list[Rlp]:
    data = next(rest, None)
    if data is None:
        raise VerificationError("proof ends before the path does")
    if keccak256(data) != reference:
        raise VerificationError("trie node does not hash to its parent's reference")
    return _node(decode(data))


def _node(value: Rlp) -> list[Rlp]:
    if not isinstance(value, list) or len(value) not in (2, 17):
        raise InvalidInput("trie node must be a list of 2 or 17 items")
    return value


def _step(node: list[Rlp], path: list[int]) -> tuple["Hash32 | _Value | _Embedded | None", list[int]]:
    """Return what `path` leads to from `node` (None: nothing is there) and the path that remains."""
    if len(node) == 17:
        if not path:
            return _value_or_none(node[16]), path
        return _reference(node[path[0]]), path[1:]
    is_leaf, prefix = _compact(node[0])
    if path[: len(prefix)] != prefix:
        return None, path
    remaining = path[len(prefix) :]
    if is_leaf:
        return (_value_or_none(node[1]), remaining) if not remaining else (None, remaining)
    child = _reference(node[1])
    if child is None or not prefix:
        raise InvalidInput("trie extension must have a path and a child")
    return child, remaining


def _reference(item: Rlp) -> "Hash32 | _Embedded | None":
    if isinstance(item, list):
        return _Embedded(_node(item))
    if item == b"":
        return None
    if len(item) != 32:
        raise InvalidInput(f"trie reference must have 0 or 32 bytes, got {len(item)}")
    return Hash32(item)


def _value_or_none(item: Rlp) -> _Value | None:
    if not isinstance(item, bytes):
        raise InvalidInput("trie value must be a byte string")
    return _Value(item) if item else None


def _compact(item: Rlp) -> tuple[bool, list[int]]:
    """Return (is a leaf, nibbles) of a hex-prefix encoded path."""
    if not isinstance(item, bytes) or not item or item[0] >> 4 > 3:
        raise InvalidInput("trie path must be hex-prefix encoded")
    nibbles = [nibble for byte in item for nibble in (byte >> 4, byte & 15)]
    flag = nibbles[0]
    if flag & 1:
        return flag >= 2, nibbles[1:]
    if nibbles[1]:
        raise InvalidInput("trie path padding must be zero")
    return flag >= 2, nibbles[2:]
