"""What an Ethereum node says about blocks, receipts and logs, decoded strictly from its JSON.

A node may be broken, so every field is checked; whatever does not fit raises `MalformedReply`.

Source: Ethereum execution-apis, JSON-RPC specification.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from goldengrain.chain.rpc import MalformedReply
from goldengrain_protocol.types import Address, Hash32

_QUANTITY: Final = re.compile(r"0x[0-9a-fA-F]{1,64}")
_DATA: Final = re.compile(r"0x(?:[0-9a-fA-F]{2})*")


@dataclass(frozen=True, slots=True)
class Block:
    """A block header as the node tells it; `fields` keeps the whole JSON object for hashing."""

    number: int
    hash: Hash32
    parent_hash: Hash32
    state_root: Hash32
    timestamp: int
    """Seconds since 1970."""
    base_fee_wei: int
    gas_limit: int
    fields: Mapping[str, object] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Log:
    """One event as the node tells it, with its place in the chain."""

    address: Address
    topics: tuple[Hash32, ...]
    data: bytes
    block_number: int
    block_hash: Hash32
    tx_hash: Hash32
    log_index: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a mined transaction did. `status` is False when it was reverted."""

    tx_hash: Hash32
    block_number: int
    block_hash: Hash32
    status: bool
    gas_used: int
    effective_gas_price: int
    contract_address: Address | None
    logs: tuple[Log, ...]

    @property
    def cost_wei(self) -> int:
        """What the sender paid for gas."""
        return self.gas_used * self.effective_gas_price


def decode_block(value: object) -> Block:
    """Return the block in an `eth_getBlockBy*` result."""
    item = as_object(value, "block")
    return Block(
        number=as_quantity(item.get("number"), "block number"),
        hash=as_hash(item.get("hash"), "block hash"),
        parent_hash=as_hash(item.get("parentHash"), "parent hash"),
        state_root=as_hash(item.get("stateRoot"), "state root"),
        timestamp=as_quantity(item.get("timestamp"), "block timestamp"),
        base_fee_wei=as_quantity(item.get("baseFeePerGas", "0x0"), "base fee"),
        gas_limit=as_quantity(item.get("gasLimit"), "block gas limit"),
        fields=item,
    )


def decode_receipt(value: object) -> Receipt:
    """Return the receipt in an `eth_getTransactionReceipt` result that is not null."""
    item = as_object(value, "receipt")
    created = item.get("contractAddress")
    return Receipt(
        tx_hash=as_hash(item.get("transactionHash"), "transaction hash"),
        block_number=as_quantity(item.get("blockNumber"), "block number"),
        block_hash=as_hash(item.get("blockHash"), "block hash"),
        status=as_quantity(item.get("status"), "receipt status") == 1,
        gas_used=as_quantity(item.get("gasUsed"), "gas used"),
        effective_gas_price=as_quantity(item.get("effectiveGasPrice", "0x0"), "gas price"),
        contract_address=None if created is None else as_address(created, "contract address"),
        logs=decode_logs(item.get("logs")),
    )


def decode_logs(value: object) -> tuple[Log, ...]:
    """Return the logs in an `eth_getLogs` result or a receipt, in the node's order."""
    return tuple(_decode_log(item) for item in as_list(value, "logs"))


def _decode_log(value: object) -> Log:
    item = as_object(value, "log")
    return Log(
        address=as_address(item.get("address"), "log address"),
        topics=tuple(as_hash(topic, "log topic") for topic in as_list(item.get("topics"), "log topics")),
        data=as_data(item.get("data"), "log data"),
        block_number=as_quantity(item.get("blockNumber"), "block number"),
        block_hash=as_hash(item.get("blockHash"), "block hash"),
        tx_hash=as_hash(item.get("transactionHash"), "transaction hash"),
        log_index=as_quantity(item.get("logIndex"), "log index"),
    )


def as_object(value: object, what: str) -> Mapping[str, object]:
    """Return a JSON object."""
    if not isinstance(value, dict):
        raise _malformed(what, "an object", value)
    return value


def as_list(value: object, what: str) -> list[object]:
    """Return a JSON array."""
    if not isinstance(value, list):
        raise _malformed(what, "a list", value)
    return value


def as_quantity(value: object, what: str) -> int:
    """Return the integer of a hexadecimal quantity below 2**256."""
    if not isinstance(value, str) or _QUANTITY.fullmatch(value) is None:
        raise _malformed(what, "a hexadecimal quantity", value)
    return int(value, 16)


def as_data(value: object, what: str) -> bytes:
    """Return the bytes of hexadecimal data."""
    if not isinstance(value, str) or _DATA.fullmatch(value) is None:
        raise _malformed(what, "hexadecimal data", value)
    return bytes.fromhex(value[2:])


def as_hash(value: object, what: str) -> Hash32:
    """Return 32 bytes of hexadecimal data."""
    data = as_data(value, what)
    if len(data) != 32:
        raise _malformed(what, "32 bytes", value)
    return Hash32(data)


def as_address(value: object, what: str) -> Address:
    """Return 20 bytes of hexadecimal data."""
    data = as_data(value, what)
    if len(data) != 20:
        raise _malformed(what, "20 bytes", value)
    return Address(data)


def _malformed(what: str, expected: str, got: object) -> MalformedReply:
    return MalformedReply(
        f"the rpc node's {what} must be {expected}, got {str(got)[:60]!r}",
        next_step="check that the address is an Ethereum JSON-RPC endpoint, or use another node",
    )
