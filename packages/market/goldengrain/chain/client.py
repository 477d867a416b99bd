"""A view of one Ethereum chain through a node that may fail, lie about progress or reorganise.

Decisions use finalised blocks only. The client checks once, before it gives out anything, that the
node serves the chain it was told to expect.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from goldengrain.chain.address_book import AddressBook
from goldengrain.chain.reverts import is_already_known, revert_of
from goldengrain.chain.rpc import JsonRpc, MalformedReply, RpcError
from goldengrain.chain.rpc_types import (
    Block,
    Log,
    Receipt,
    as_data,
    as_hash,
    as_quantity,
    decode_block,
    decode_logs,
    decode_receipt,
)
from goldengrain_protocol.errors import InvalidInput, UnavailableError
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.types import Address, Hash32

BlockTag: TypeAlias = int | Hash32 | Literal["latest", "finalized", "safe", "earliest", "pending"]
"""A block by number, by hash (32 bytes), or by the node's own word."""

MAX_LOG_RANGE: Final = 5_000
"""Blocks asked for in one `eth_getLogs`; halved wherever a node finds that too much."""
_METHOD_NOT_FOUND: Final = -32601
_REBROADCAST_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Settlement:
    """Where a transaction stands: not mined (`receipt` None), mined, or final."""

    receipt: Receipt | None
    final: bool


WaitProgress: TypeAlias = Callable[[Literal["mined", "vanished", "finalized"], Hash32, str], None]
"""Called with a stage, the transaction hash and a detail such as `block 12`."""


class ChainClient:
    """One chain through one node; may be shared by threads.

    Args:
        chain_id, genesis_hash: what the node must serve; None accepts any.
        timeout_s, attempts: as in `JsonRpc`.
    """

    def __init__(
        self,
        rpc_url: str,
        *,
        chain_id: int | None = None,
        genesis_hash: Hash32 | None = None,
        timeout_s: float = 20.0,
        attempts: int = 4,
    ) -> None:
        self._rpc: Final = JsonRpc(rpc_url, timeout_s=timeout_s, attempts=attempts)
        self._expected_chain_id: Final = chain_id
        self._expected_genesis: Final = genesis_hash
        self._identity: tuple[int, Hash32] | None = None

    @classmethod
    def for_book(cls, book: AddressBook, *, timeout_s: float = 20.0, attempts: int = 4) -> "ChainClient":
        """Return a client of the chain that an address book describes."""
        return cls(
            book.rpc_url,
            chain_id=book.chain_id,
            genesis_hash=book.genesis_hash,
            timeout_s=timeout_s,
            attempts=attempts,
        )

    def __repr__(self) -> str:
        return f"ChainClient({self._rpc.shown_url!r})"

    @property
    def rpc_url(self) -> str:
        """The node's address, access keys included: not for messages."""
        return self._rpc.url

    @property
    def chain_id(self) -> int:
        """The chain id, as checked."""
        return self._checked()[0]

    @property
    def genesis_hash(self) -> Hash32:
        """The hash of block 0, as checked."""
        return self._checked()[1]

    def check(self) -> None:
        """Ask the node again which chain it serves.

        Raises:
            InvalidInput: another chain than expected.
            UnavailableError: the node does not answer properly.
        """
        self._identity = None
        self._checked()

    # --- reads ------------------------------------------------------------------------------------

    def block(self, tag: BlockTag) -> Block:
        """Return a block.

        Raises:
            UnavailableError: the node does not have it (yet).
        """
        self._checked()
        return self._block(tag)

    def latest_number(self) -> int:
        """Return the number of the newest block."""
        return as_quantity(self.raw_request("eth_blockNumber", []), "block number")

    def finalized_number(self) -> int:
        """Return the number of the newest finalised block."""
        return self.block("finalized").number

    def balance(self, account: Address, block: BlockTag = "latest") -> int:
        """Return the balance in wei."""
        return as_quantity(self.raw_request("eth_getBalance", [_hex(account), _tag(block)]), "balance")

    def code(self, account: Address, block: BlockTag = "latest") -> bytes:
        """Return the contract code; empty for an account without."""
        return as_data(self.raw_request("eth_getCode", [_hex(account), _tag(block)]), "code")

    def transaction_count(self, account: Address, block: BlockTag = "latest") -> int:
        """Return how many transactions of the account the chain holds: its next `tx_nonce`."""
        value = self.raw_request("eth_getTransactionCount", [_hex(account), _tag(block)])
        return as_quantity(value, "transaction count")

    def storage_at(self, account: Address, slot: int, block: BlockTag = "latest") -> int:
        """Return one storage word, unproven."""
        word = self.raw_request("eth_getStorageAt", [_hex(account), hex(slot), _tag(block)])
        return int.from_bytes(as_data(word, "storage word"), "big")

    def call(
        self,
        to: Address,
        data: bytes,
        *,
        block: BlockTag = "latest",
        sender: Address | None = None,
        value_wei: int = 0,
    ) -> bytes:
        """Return what a contract answers to a call that changes nothing.

        Raises:
            VerificationError: the contract reverted; the message is its reason.
            UnavailableError: the node could not run the call.
        """
        fields = call_fields(to, data, sender=sender, value_wei=value_wei)
        try:
            return as_data(self.raw_request("eth_call", [fields, _tag(block)]), "call result")
        except RpcError as exc:
            raise revert_of(exc) or exc from exc

    def get_logs(
        self,
        account: Address,
        topics: Sequence[Hash32 | Sequence[Hash32] | None],
        from_block: int,
        to_block: int | None = None,
    ) -> list[Log]:
        """Return the logs of one contract, in chain order.

        Args:
            topics: one entry per position: a value, several alternatives, or None for any.
            to_block: last block, included; the newest finalised one by default.

        Raises:
            UnavailableError: the node fails, or answers with logs that were not asked for.
        """
        last = self.finalized_number() if to_block is None else to_block
        found: list[Log] = []
        start = max(from_block, 0)
        span = MAX_LOG_RANGE
        while start <= last:
            end = min(start + span - 1, last)
            try:
                part = self._logs_in(account, topics, start, end)
            except RpcError as exc:
                # Nodes limit range or result size, each in its own words: a smaller range tells which.
                if exc.code == _METHOD_NOT_FOUND or start == end:
                    raise
                span = max(1, (end - start + 1) // 2)
                continue
            found.extend(part)
            start = end + 1
            span = min(span * 2, MAX_LOG_RANGE)
        found.sort(key=lambda log: (log.block_number, log.log_index))
        return found

    def receipt(self, tx_hash: Hash32) -> Receipt | None:
        """Return the receipt of a mined transaction, None while it is not mined (or unknown)."""
        value = self.raw_request("eth_getTransactionReceipt", [_hex(tx_hash)])
        if value is None:
            return None
        receipt = decode_receipt(value)
        if receipt.tx_hash != tx_hash:
            raise MalformedReply("the rpc node answered with the receipt of another transaction")
        return receipt

    def raw_request(self, method: str, params: list[object]) -> object:
        """Return the undecoded `result` of any JSON-RPC method on the checked chain."""
        self._checked()
        return self._rpc.request(method, params)

    # --- transactions -----------------------------------------------------------------------------

    def send_raw(self, raw: bytes) -> Hash32:
        """Hand a signed transaction to the node; one that it has already is fine.

        Raises:
            RpcError: the node refuses it.
        """
        tx_hash = keccak256(raw)
        try:
            answer = self.raw_request("eth_sendRawTransaction", [_hex(raw)])
        except RpcError as exc:
            if is_already_known(exc):
                return tx_hash
            raise
        if as_hash(answer, "transaction hash") != tx_hash:
            raise MalformedReply("the rpc node answered with the hash of another transaction")
        return tx_hash

    def settlement(self, tx_hash: Hash32) -> Settlement:
        """Return where a transaction stands now; final means in a finalised block of the canonical chain."""
        receipt = self.receipt(tx_hash)
        if receipt is None:
            return Settlement(None, final=False)
        if receipt.block_number > self.finalized_number():
            return Settlement(receipt, final=False)
        # The receipt may be older than a reorganisation: the chain's block must be the receipt's.
        canonical = self.block(receipt.block_number).hash == receipt.block_hash
        return Settlement(receipt if canonical else None, final=canonical)

    def wait_finalized(
        self,
        tx_hash: Hash32,
        *,
        timeout_s: float = 180.0,
        on_progress: WaitProgress | None = None,
        raw: bytes | None = None,
    ) -> Receipt:
        """Return the receipt of a transaction once its block is canonical and finalised.

        Args:
            raw: the signed transaction, handed in again whenever it is missing from the chain.

        Raises:
            UnavailableError: not final within `timeout_s`; the same call may go on waiting.
        """
        started = time.monotonic()
        mined = False
        last_sent = started
        while True:
            try:
                state = self.settlement(tx_hash)
                if state.receipt is not None and not mined:
                    mined = True
                    _tell(on_progress, "mined", tx_hash, f"block {state.receipt.block_number}")
                if state.receipt is not None and state.final:
                    _tell(on_progress, "finalized", tx_hash, f"block {state.receipt.block_number}")
                    return state.receipt
                if state.receipt is None and (mined or time.monotonic() - last_sent > _REBROADCAST_S):
                    if mined:
                        _tell(on_progress, "vanished", tx_hash, "the chain was reorganised")
                    mined = False
                    last_sent = time.monotonic()
                    if raw is not None:
                        self.send_raw(raw)
                problem = ""
            except UnavailableError as exc:
                problem = f" ({exc.message})"
            elapsed = time.monotonic() - started
            if elapsed > timeout_s:
                raise UnavailableError(
                    f"transaction {_hex(tx_hash)} is {'mined but not final' if mined else 'not mined'}"
                    f" after {timeout_s:g} s{problem}",
                    next_step="run the same command again: it goes on with this transaction",
                )
            time.sleep(poll_interval_s(elapsed))

    def wait_for_block(self, number: int, *, finalized: bool = True, timeout_s: float = 180.0) -> None:
        """Return once block `number` exists (by default: is finalised).

        Raises:
            UnavailableError: not within `timeout_s`.
        """
        started = time.monotonic()
        while (self.finalized_number() if finalized else self.latest_number()) < number:
            elapsed = time.monotonic() - started
            if elapsed > timeout_s:
                raise UnavailableError(
                    f"block {number} is not {'finalised' if finalized else 'mined'} after {timeout_s:g} s",
                    next_step="check that the chain makes progress",
                )
            time.sleep(poll_interval_s(elapsed))

    # --- private ----------------------------------------------------------------------------------

    def _checked(self) -> tuple[int, Hash32]:
        if self._identity is not None:
            return self._identity
        chain_id = as_quantity(self._rpc.request("eth_chainId", []), "chain id")
        if self._expected_chain_id is not None and chain_id != self._expected_chain_id:
            raise self._wrong_chain(f"chain id {self._expected_chain_id}, got {chain_id}")
        genesis = self._block(0).hash
        if self._expected_genesis is not None and genesis != self._expected_genesis:
            raise self._wrong_chain(f"genesis block {_hex(self._expected_genesis)}, got {_hex(genesis)}")
        self._identity = (chain_id, genesis)
        return self._identity

    def _wrong_chain(self, difference: str) -> InvalidInput:
        return InvalidInput(
            f"the rpc node at {self._rpc.shown_url} serves another chain: expected {difference}",
            next_step="give the address of a node of the right chain; after `gg devnet down --reset` deploy again",
        )

    def _block(self, tag: BlockTag) -> Block:
        by_hash = isinstance(tag, bytes)
        method = "eth_getBlockByHash" if by_hash else "eth_getBlockByNumber"
        value = self._rpc.request(method, [_tag(tag), False])
        if value is None:
            raise UnavailableError(f"the rpc node at {self._rpc.shown_url} has no block {_tag(tag)} (yet)")
        block = decode_block(value)
        if (by_hash and block.hash != tag) or (isinstance(tag, int) and block.number != tag):
            raise MalformedReply("the rpc node answered with another block than asked for")
        return block

    def _logs_in(
        self,
        account: Address,
        topics: Sequence[Hash32 | Sequence[Hash32] | None],
        start: int,
        end: int,
    ) -> tuple[Log, ...]:
        query = {
            "address": _hex(account),
            "topics": [_topic(topic) for topic in topics],
            "fromBlock": hex(start),
            "toBlock": hex(end),
        }
        logs = decode_logs(self.raw_request("eth_getLogs", [query]))
        for log in logs:
            if log.address != account or not start <= log.block_number <= end or not _fits(log, topics):
                raise MalformedReply("the rpc node answered with logs that were not asked for")
        return logs


def call_fields(
    to: Address | None, data: bytes, *, sender: Address | None = None, value_wei: int = 0
) -> dict[str, object]:
    """Return the transaction object of `eth_call` and `eth_estimateGas`."""
    fields: dict[str, object] = {"input": _hex(data), "value": hex(value_wei)}
    if to is not None:
        fields["to"] = _hex(to)
    if sender is not None:
        fields["from"] = _hex(sender)
    return fields


def poll_interval_s(elapsed_s: float) -> float:
    """Return how long to wait before asking again: a twentieth of the wait so far, 0.1 to 2 s."""
    return min(2.0, max(0.1, elapsed_s / 20))


def _tell(
    on_progress: WaitProgress | None,
    stage: Literal["mined", "vanished", "finalized"],
    tx_hash: Hash32,
    detail: str,
) -> None:
    if on_progress is not None:
        on_progress(stage, tx_hash, detail)


def _hex(value: bytes) -> str:
    return "0x" + value.hex()


def _tag(tag: BlockTag) -> str:
    if isinstance(tag, bytes):
        return _hex(tag)
    return hex(tag) if isinstance(tag, int) else tag


def _topic(topic: Hash32 | Sequence[Hash32] | None) -> object:
    if topic is None:
        return None
    if isinstance(topic, bytes):
        return _hex(topic)
    return [_hex(one) for one in topic if isinstance(one, bytes)]


def _fits(log: Log, topics: Sequence[Hash32 | Sequence[Hash32] | None]) -> bool:
    if len(log.topics) < len(topics):
        return False
    for got, wanted in zip(log.topics, topics, strict=False):
        if wanted is None:
            continue
        if got != wanted if isinstance(wanted, bytes) else got not in wanted:
            return False
    return True
