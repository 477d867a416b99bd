"""A witness: watches a node of its own, and signs the blocks that it calls final.

It signs a block only if the node's header hashes to the block hash, the node's finalised chain still holds
the newest block signed before, and the record has accepted the block (see `witness_record`).
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from goldengrain.accounts import Account
from goldengrain.chain.client import ChainClient
from goldengrain.chain.proofs import header_rlp
from goldengrain.chain.rpc import MalformedReply
from goldengrain.chain.rpc_types import Block
from goldengrain.chain.witness_record import Equivocation, WitnessRecord
from goldengrain_protocol.constants import ANCHOR_HISTORY_BLOCKS
from goldengrain_protocol.errors import InvalidInput, UnavailableError, VerificationError
from goldengrain_protocol.proofs import decode_header
from goldengrain_protocol.proofs.witness_quorum import FinalizedBlock, finalized_block_digest
from goldengrain_protocol.types import Address, Hash32

POLL_S: Final = 2.0
KEPT_STATEMENTS: Final = 1024


@dataclass(frozen=True, slots=True)
class Statement:
    """A signed finalised block."""

    block: FinalizedBlock
    witness: Address
    signature: bytes


class Witness:
    """Signs finalised blocks of one chain with one key; may be shared by threads."""

    def __init__(self, client: ChainClient, account: Account, record: WitnessRecord) -> None:
        if (client.chain_id, client.genesis_hash) != (record.chain_id, record.genesis_hash):
            raise InvalidInput("the witness record belongs to another chain than the node serves")
        if account.address != record.witness:
            raise InvalidInput("the witness record belongs to another key")
        self._client = client
        self._account = account
        self._record = record
        self._lock = threading.Lock()
        self._kept: dict[int, Statement] = {}
        self._latest: Statement | None = None

    @property
    def address(self) -> Address:
        """Whose statements these are."""
        return self._account.address

    @property
    def chain_id(self) -> int:
        """The chain witnessed."""
        return self._record.chain_id

    @property
    def genesis_hash(self) -> Hash32:
        """The chain witnessed."""
        return self._record.genesis_hash

    @property
    def latest(self) -> Statement | None:
        """The newest statement of this run."""
        return self._latest

    def sign_latest(self) -> Statement:
        """Return the statement about the node's newest finalised block.

        Raises:
            Equivocation: the node contradicts what was signed before; nothing is signed any more.
            UnavailableError: the node fails or tells nonsense, or the record cannot be written.
        """
        with self._lock:
            head = self._client.block("finalized")
            statement = self._sign(head, head.number)
            if self._latest is None or statement.block.number >= self._latest.block.number:
                self._latest = statement
            return statement

    def sign_at(self, number: int) -> Statement:
        """Return the statement about the finalised block at a height; errors as `sign_latest`.

        Raises:
            VerificationError: the block is not final, or further back than a proof can use.
        """
        with self._lock:
            kept = self._kept.get(number)
            if kept is not None:
                self._record.check()
                return kept
            head = self._client.block("finalized")
            if not head.number - ANCHOR_HISTORY_BLOCKS <= number <= head.number:
                raise VerificationError(
                    f"block {number} must be final and at most {ANCHOR_HISTORY_BLOCKS} blocks old,"
                    f" the newest final one is {head.number}"
                )
            return self._sign(head if number == head.number else self._client.block(number), head.number)

    def run(
        self,
        should_stop: Callable[[], bool],
        *,
        on_statement: Callable[[Statement], None] = lambda _statement: None,
        on_problem: Callable[[UnavailableError], None] = lambda _problem: None,
        poll_s: float = POLL_S,
    ) -> None:
        """Sign every newly finalised block that is seen until `should_stop`.

        Raises:
            Equivocation: at once, whatever the daemon was doing: a person must look.
        """
        while not should_stop():
            before = self._latest
            try:
                statement = self.sign_latest()
                if before is None or statement.block != before.block:
                    on_statement(statement)
            except UnavailableError as exc:
                on_problem(exc)
            time.sleep(poll_s)

    def _sign(self, block: Block, head: int) -> Statement:
        header = decode_header(header_rlp(block))
        if (header.number, header.timestamp) != (block.number, block.timestamp):
            raise MalformedReply("the rpc node's block differs from its own header")
        self._same_chain(head)
        final = FinalizedBlock(header.number, header.hash, header.timestamp)
        # Durable first: after this line no other hash of this height can be signed, whatever happens.
        self._record.commit(final)
        digest = finalized_block_digest(self.chain_id, self.genesis_hash, final)
        statement = Statement(final, self.address, self._account.sign_digest(digest))
        self._kept[final.number] = statement
        while len(self._kept) > KEPT_STATEMENTS:
            del self._kept[next(iter(self._kept))]
        return statement

    def _same_chain(self, head: int) -> None:
        """The newest block signed, of those that the node calls final by now, must be on the node's chain."""
        newest = self._record.newest(at_most=head)
        if newest is None:
            return
        found = self._client.block(newest.number)
        if found.hash != newest.hash:
            self._record.note_conflict(newest.number, found.hash)


__all__ = ["Equivocation", "Statement", "Witness", "WitnessRecord"]
