"""One account's journalled transactions: signing, showing, replacing, cancelling, finding them again.

A transaction may have a last moment (`not_after_s`). A claim shows the key that it is paid for: shown after
the refund it would give the key away. So past its last moment a transaction that the node has never seen is not
shown any more; its nonce is used up by an empty transaction instead.
"""

import time
from dataclasses import dataclass
from typing import Final

from eth_account.typed_transactions.typed_transaction import TypedTransaction
from hexbytes import HexBytes

from goldengrain.accounts import Account
from goldengrain.chain.client import ChainClient
from goldengrain.chain.fees import FeePolicy, Fees
from goldengrain.chain.journal import Attempt, JournalEntry, SendState, TransactionJournal, new_attempt
from goldengrain.chain.rpc import RpcError
from goldengrain.chain.rpc_types import Receipt
from goldengrain_protocol.types import Address, Hash32, to_checksum

_CANCEL_GAS: Final = 21_000


@dataclass(frozen=True, slots=True)
class FinalSend:
    """A send of which one version is in a finalised block."""

    receipt: Receipt
    attempt: Attempt


class Broadcaster:
    """Acts on journal entries of one account; keeps nothing itself."""

    def __init__(
        self, client: ChainClient, account: Account, journal: TransactionJournal, fees: FeePolicy
    ) -> None:
        self._client: Final = client
        self._account: Final = account
        self._journal: Final = journal
        self._fees: Final = fees

    def sign(self, fields: dict[str, object], fees: Fees, *, is_cancel: bool = False) -> Attempt:
        """Return the signed transaction of `fields` at these fees; nothing is sent."""
        raw, tx_hash = self._account.sign_transaction(
            {**fields, "maxFeePerGas": fees.max_fee_wei, "maxPriorityFeePerGas": fees.priority_fee_wei}
        )
        return new_attempt(tx_hash, raw, fees.max_fee_wei, fees.priority_fee_wei, is_cancel=is_cancel)

    def pending(self) -> list[JournalEntry]:
        """Return the sends that are not known to be final, lowest nonce first."""
        return self._journal.pending(self._client.genesis_hash, self._account.address)

    def final(self, entry: JournalEntry) -> FinalSend | None:
        """Return the version of a send that is final, if one is, and record what became of the send."""
        for attempt in reversed(entry.attempts):
            state = self._client.settlement(attempt.tx_hash)
            if state.final and state.receipt is not None:
                outcome = SendState.DONE if state.receipt.status else SendState.REVERTED
                outcome = SendState.DROPPED if attempt.is_cancel else outcome
                if entry.state is not outcome:
                    self._journal.set_state(entry, outcome)
                return FinalSend(state.receipt, attempt)
        return None

    def mined(self, entry: JournalEntry) -> Receipt | None:
        """Return the receipt of the version of a send that is in a block, final or not."""
        for attempt in reversed(entry.attempts):
            receipt = self._client.receipt(attempt.tx_hash)
            if receipt is not None:
                return receipt
        return None

    def show(self, entry: JournalEntry) -> None:
        """Hand the newest version to the node again, unless it must not be shown any more."""
        if self._is_too_late(entry):
            self._replace(entry, cancel=True)
            return
        self._send(entry, entry.last)

    def show_up_to(self, entry: JournalEntry) -> None:
        """Show `entry` and every open send with a lower nonce: the node keeps it back until they came."""
        for earlier in self.pending():
            if earlier.tx_nonce < entry.tx_nonce:
                self.show(earlier)
        self.show(entry)

    def replace_stuck_up_to(self, entry: JournalEntry, stuck_after_s: float) -> list[JournalEntry]:
        """Replace `entry` and earlier open sends by dearer versions where they waited too long.

        Returns:
            The sends that were replaced, as they are now.
        """
        replaced = []
        for waiting in self.pending():
            if waiting.tx_nonce > entry.tx_nonce:
                continue
            if time.time() - waiting.last.created_s < stuck_after_s or self.mined(waiting) is not None:
                continue
            if self._replace(waiting, cancel=waiting.last.is_cancel or self._is_too_late(waiting)):
                replaced.append(self._journal.reload(waiting))
        return replaced

    def _is_known(self, tx_hash: Hash32) -> bool:
        """Return whether the node has the transaction, mined or waiting: then everybody may have seen it."""
        return self._client.raw_request("eth_getTransactionByHash", ["0x" + tx_hash.hex()]) is not None

    def _is_too_late(self, entry: JournalEntry) -> bool:
        if entry.not_after_s is None or entry.was_shown or entry.last.is_cancel:
            return False
        if self._client.block("latest").timestamp <= entry.not_after_s:
            return False
        # Killed between the node's answer and writing it down, the node itself may still know.
        return not any(self._is_known(attempt.tx_hash) for attempt in entry.attempts)

    def _replace(self, entry: JournalEntry, *, cancel: bool) -> bool:
        """Sign, journal and show a dearer version; return whether the fee cap allowed one."""
        old = entry.last
        fees = self._fees.bump(self._client, Fees(old.max_fee_wei, old.priority_fee_wei))
        if fees is None:
            return False
        fields = fields_of(old.raw)
        if cancel:
            fields |= {"to": self._account.checksum, "data": b"", "value": 0, "gas": _CANCEL_GAS}
        attempt = self.sign(fields, fees, is_cancel=cancel)
        self._journal.add_attempt(entry, attempt)
        self._send(entry, attempt)
        return True

    def _send(self, entry: JournalEntry, attempt: Attempt) -> None:
        try:
            self._client.send_raw(attempt.raw)
        except RpcError:
            # Mined meanwhile, replaced, or too cheap for this node: what matters shows in the receipts.
            return
        if not attempt.is_cancel:
            self._journal.set_shown(entry)


def fields_of(raw: bytes) -> dict[str, object]:
    """Return the fields of a signed EIP-1559 transaction, without fees and signature."""
    fields = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
    kept: dict[str, object] = {"type": 2}
    for key in ("chainId", "nonce", "gas", "value", "data"):
        value = fields[key]
        kept[key] = bytes(value) if isinstance(value, (bytes, HexBytes)) else value
    to = bytes(HexBytes(fields["to"])) if fields.get("to") else b""
    if to:
        kept["to"] = to_checksum(Address(to))
    return kept
