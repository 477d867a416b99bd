"""Fetching what an enclave needs to believe the chain: trusted block, header, account and storage proofs.

The node is not trusted: what it sends is put together, checked exactly as the enclave will check it, and only then
handed out.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Final

from goldengrain.chain.client import ChainClient
from goldengrain.chain.rpc import MalformedReply
from goldengrain.chain.rpc_types import Block, as_data, as_list, as_object, as_quantity
from goldengrain_protocol.canonical import RlpInput, encode, encode_int
from goldengrain_protocol.config import DEV_PINNED, EnclaveConfig
from goldengrain_protocol.errors import InvalidInput, UnavailableError, VerificationError
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.proofs import ChainProof, DevPinned, verify_market_state
from goldengrain_protocol.proofs.dev_pinned import encode_evidence

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


def fetch_chain_proof(
    client: ChainClient, config: EnclaveConfig, slots: Sequence[int], *, anchor: int | None = None
) -> ChainProof:
    """Return a proof of the market's storage slots that `verify_market_state` accepts.

    Args:
        slots: storage slots, as `MarketContract.slots` returns them.
        anchor: the block to prove; by default the newest that is final and buried deep enough.

    Raises:
        InvalidInput: a chain-trust mode that this version cannot serve.
        UnavailableError: the node lacks a block or its state, or its proofs do not hold.
    """
    if config.chain_trust.mode != DEV_PINNED:
        raise InvalidInput(f"cannot fetch proofs for chain-trust mode {config.chain_trust.mode!r}")
    confirmations = DevPinned.from_checkpoint(config.chain_trust.checkpoint).confirmations
    for attempt in range(_TRIES):
        try:
            return _fetch_once(client, config, slots, anchor, confirmations)
        except (UnavailableError, VerificationError) as exc:
            # The chain moved under our feet, or the node dropped the state: a newer anchor may do.
            if attempt == _TRIES - 1:
                raise UnavailableError(
                    f"the rpc node gives no proof that holds: {exc.message}",
                    next_step="use a node that serves eth_getProof for recent blocks",
                ) from exc
            time.sleep(_RETRY_S)
    raise UnavailableError("the rpc node gives no proof that holds")


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
    confirmations: int,
) -> ChainProof:
    if anchor is None:
        anchor = min(client.finalized_number(), client.latest_number() - confirmations)
    if anchor < 0:
        raise UnavailableError(f"the chain is not {confirmations} blocks long yet")
    headers = [header_rlp(client.block(anchor + depth)) for depth in range(confirmations + 1)]
    answer = as_object(
        client.raw_request(
            "eth_getProof",
            ["0x" + config.market.hex(), [f"0x{slot:064x}" for slot in slots], hex(anchor)],
        ),
        "proof",
    )
    storage = [as_object(item, "storage proof") for item in as_list(answer.get("storageProof"), "proofs")]
    by_slot = {as_quantity(item.get("key"), "storage key"): _nodes(item.get("proof")) for item in storage}
    missing = [slot for slot in slots if slot not in by_slot]
    if missing:
        raise MalformedReply(f"the rpc node's proof lacks {len(missing)} of {len(slots)} slots")
    proof = ChainProof(
        trust_evidence=encode_evidence(headers),
        header=headers[0],
        account_proof=_nodes(answer.get("accountProof")),
        storage_proofs=tuple(by_slot[slot] for slot in slots),
    )
    try:
        verify_market_state(config, proof, slots)
    except InvalidInput as exc:
        raise VerificationError(exc.message) from exc
    return proof


def _nodes(value: object) -> tuple[bytes, ...]:
    return tuple(as_data(node, "trie node") for node in as_list(value, "trie nodes"))


def _field(fields: Mapping[str, object], name: str, kind: str) -> bytes:
    value = fields.get(name)
    return as_data(value, name) if kind == _DATA else encode_int(as_quantity(value, name))
