"""Fetching what an enclave needs to believe the chain: trusted block, header, account and storage proofs.

The node is not trusted: what it sends is put together, checked exactly as the enclave will check it, and only then
handed out.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from goldengrain.chain.client import ChainClient
from goldengrain.chain.rpc import MalformedReply
from goldengrain.chain.rpc_types import Block, as_data, as_list, as_object, as_quantity
from goldengrain_protocol.canonical import RlpInput, encode, encode_int
from goldengrain_protocol.config import DEV_PINNED, EnclaveConfig
from goldengrain_protocol.errors import InvalidInput, UnavailableError, VerificationError
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.proofs import ChainProof, DevPinned, TrustedBlock, verify_market_state
from goldengrain_protocol.proofs.dev_pinned import encode_evidence
from goldengrain_protocol.proofs.history import (
    HISTORY_CONTRACT,
    HistoryStep,
    history_slot,
    verify_history_step,
)
from goldengrain_protocol.types import Address

_DATA: Final = "data"
_QUANTITY: Final = "quantity"
_HEADER_FIELDS: Final = (
    ("parentHash", _DATA),
    ("sha3Uncles", _DATA),
    ("miner", _DATA),
    ("stateRoot", _DATA),
    ("transactionsRoot", _DATA),
    ("receiptsRoot", _DATA),
    ("logsBloom", _DATA),
    ("difficulty", _QUANTITY),
    ("number", _QUANTITY),
    ("gasLimit", _QUANTITY),
    ("gasUsed", _QUANTITY),
    ("timestamp", _QUANTITY),
    ("extraData", _DATA),
    ("mixHash", _DATA),
    ("nonce", _DATA),
)
"""The fields of every header. Source: Ethereum yellow paper, section 4.3."""
_LATER_FIELDS: Final = (
    ("baseFeePerGas", _QUANTITY),
    ("withdrawalsRoot", _DATA),
    ("blobGasUsed", _QUANTITY),
    ("excessBlobGas", _QUANTITY),
    ("parentBeaconBlockRoot", _DATA),
    ("requestsHash", _DATA),
)
"""Fields that later forks appended, in order. Source: EIP-1559, 4895, 4844, 4844, 4788, 7685."""

_TRIES: Final = 4
_RETRY_S: Final = 0.5


class TrustSource(Protocol):
    """Where the evidence of one chain-trust mode comes from."""

    def prove(self, client: ChainClient, anchor: int | None) -> tuple[bytes, int]:
        """Return (trust evidence, number of the block that it vouches for).

        Args:
            anchor: that number, where the caller needs a certain one; by default the newest.

        Raises:
            UnavailableError: nothing that holds can be had now.
        """
        ...


class DevPinnedSource:
    """Headers of the node itself: right for `dev-pinned` only."""

    def __init__(self, mode: DevPinned) -> None:
        self._confirmations = mode.confirmations

    def prove(self, client: ChainClient, anchor: int | None) -> tuple[bytes, int]:
        """As `TrustSource.prove`."""
        if anchor is None:
            anchor = min(client.finalized_number(), client.latest_number() - self._confirmations)
        if anchor < 0:
            raise UnavailableError(f"the chain is not {self._confirmations} blocks long yet")
        headers = [header_rlp(client.block(anchor + depth)) for depth in range(self._confirmations + 1)]
        return encode_evidence(headers), anchor


def fetch_chain_proof(
    client: ChainClient,
    config: EnclaveConfig,
    slots: Sequence[int],
    *,
    anchor: int | None = None,
    source: TrustSource | None = None,
) -> ChainProof:
    """Return a proof of the market's storage slots that `verify_market_state` accepts.

    Args:
        slots: storage slots, as `MarketContract.slots` returns them.
        anchor: the block to prove; by default the newest that is final and buried deep enough.
        source: from `trust_source`; `dev-pinned` needs none.

    Raises:
        InvalidInput: a chain-trust mode that needs a source, and none is given.
        UnavailableError: the node lacks a block or its state, or its proofs do not hold.
    """
    if source is None:
        if config.chain_trust.mode != DEV_PINNED:
            raise InvalidInput(f"chain-trust mode {config.chain_trust.mode!r} needs a source of evidence")
        source = DevPinnedSource(DevPinned.from_checkpoint(config.chain_trust.checkpoint))
    for attempt in range(_TRIES):
        try:
            return _fetch_once(client, config, slots, anchor, source)
        except (UnavailableError, VerificationError) as exc:
            # The chain moved under our feet, or the node dropped the state: a newer anchor may do.
            if attempt == _TRIES - 1:
                raise UnavailableError(
                    f"the rpc node gives no proof that holds: {exc.message}",
                    next_step="use a node that serves eth_getProof for recent blocks",
                ) from exc
            time.sleep(_RETRY_S)
    raise UnavailableError("the rpc node gives no proof that holds")


def fetch_history_step(client: ChainClient, head: TrustedBlock, number: int) -> HistoryStep:
    """Return the proof that block `number` is an ancestor of `head`, checked.

    Raises:
        UnavailableError: the node lacks the head or its state, or its proof does not hold.
    """
    account, storage = _fetch_proofs(client, HISTORY_CONTRACT, [history_slot(number)], head.number)
    step = HistoryStep(number, header_rlp(client.block(head.hash)), account, storage[0])
    try:
        verify_history_step(head, step)
    except (InvalidInput, VerificationError) as exc:
        raise UnavailableError(f"the rpc node's history proof does not hold: {exc.message}") from exc
    return step


def header_rlp(block: Block) -> bytes:
    """Return the RLP of a block's header, which hashes to the block's hash.

    Raises:
        UnavailableError: it does not: the node's fields are wrong, or of a fork unknown here.
    """
    return encode_header(block.fields, block.hash)


def encode_header(fields: Mapping[str, object], block_hash: bytes) -> bytes:
    """As `header_rlp`, from a node's JSON."""
    items: list[RlpInput] = [_field(fields, name, kind) for name, kind in _HEADER_FIELDS]
    for name, kind in _LATER_FIELDS:
        if fields.get(name) is None:
            break
        items.append(_field(fields, name, kind))
    header = encode(items)
    if keccak256(header) != block_hash:
        raise MalformedReply(
            "the rpc node's header does not hash to its block hash",
            next_step="use another node; if all answer so, a newer version of this package is needed",
        )
    return header


def _fetch_once(
    client: ChainClient,
    config: EnclaveConfig,
    slots: Sequence[int],
    anchor: int | None,
    source: TrustSource,
) -> ChainProof:
    evidence, number = source.prove(client, anchor)
    account, storage = _fetch_proofs(client, config.market, slots, number)
    proof = ChainProof(
        trust_evidence=evidence,
        header=header_rlp(client.block(number)),
        account_proof=account,
        storage_proofs=storage,
    )
    try:
        verify_market_state(config, proof, slots)
    except InvalidInput as exc:
        raise VerificationError(exc.message) from exc
    return proof


def _fetch_proofs(
    client: ChainClient, account: Address, slots: Sequence[int], number: int
) -> tuple[tuple[bytes, ...], tuple[tuple[bytes, ...], ...]]:
    """Return (account proof, storage proofs in the order of `slots`) as the node tells them."""
    answer = as_object(
        client.raw_request(
            "eth_getProof", ["0x" + account.hex(), [f"0x{slot:064x}" for slot in slots], hex(number)]
        ),
        "proof",
    )
    storage = [as_object(item, "storage proof") for item in as_list(answer.get("storageProof"), "proofs")]
    by_slot = {as_quantity(item.get("key"), "storage key"): _nodes(item.get("proof")) for item in storage}
    missing = [slot for slot in slots if slot not in by_slot]
    if missing:
        raise MalformedReply(f"the rpc node's proof lacks {len(missing)} of {len(slots)} slots")
    return _nodes(answer.get("accountProof")), tuple(by_slot[slot] for slot in slots)


def _nodes(value: object) -> tuple[bytes, ...]:
    return tuple(as_data(node, "trie node") for node in as_list(value, "trie nodes"))


def _field(fields: Mapping[str, object], name: str, kind: str) -> bytes:
    value = fields.get(name)
    return as_data(value, name) if kind == _DATA else encode_int(as_quantity(value, name))
