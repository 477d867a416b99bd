"""Sending transactions so that a crash, a reorganisation or a stingy fee never sends one twice or loses it.

    request -> estimated -> journalled -> broadcast -> mined -> finalised

Every step after "journalled" may be repeated at any time by any process of the same home directory.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from goldengrain.accounts import Account
from goldengrain.chain.broadcast import Broadcaster, FinalSend, fields_of
from goldengrain.chain.client import ChainClient, call_fields, poll_interval_s
from goldengrain.chain.fees import FeePolicy, Fees
from goldengrain.chain.journal import JournalEntry, SendState, TransactionJournal
from goldengrain.chain.reverts import (
    RevertError,
    is_no_funds,
    is_nonce_too_low,
    is_underpriced,
    no_funds_error,
    revert_of,
)
from goldengrain.chain.rpc import RpcError
from goldengrain.chain.rpc_types import Receipt, as_address, as_data, as_object, as_quantity
from goldengrain_protocol.errors import GoldenGrainError, InvalidInput, UnavailableError, VerificationError
from goldengrain_protocol.types import Address, Hash32, to_checksum

Stage: TypeAlias = Literal["signed", "broadcast", "mined", "finalized", "replaced", "vanished"]

_REBROADCAST_S: Final = 5.0
_ALLOCATE_TRIES: Final = 5


@dataclass(frozen=True, slots=True)
class TransactionRequest:
    """A transaction to be sent: where, what, and how much with it. `to` None creates a contract."""

    to: Address | None
    data: bytes
    value_wei: int = 0
    gas_limit: int | None = None
    """None: estimated."""
    what: str = "a transaction"
    """In words, for messages."""
    not_after_s: int | None = None
    """Chain time after which it is not shown to the network if it has not been before."""


@dataclass(frozen=True, slots=True)
class SendProgress:
    """One step of a send. `tx_hash` changes when a transaction is replaced."""

    stage: Stage
    tx_hash: Hash32
    detail: str


OnSend: TypeAlias = Callable[[SendProgress], None]
RequestSource: TypeAlias = TransactionRequest | Callable[[], TransactionRequest]
"""A request, or a function that makes it; called only when a transaction is really signed."""


class TransactionSender:
    """Sends one account's transactions on one chain; may be shared by threads and run in several processes.

    Args:
        stuck_after_s: seconds without being mined after which a transaction is replaced by a dearer one.
        timeout_s: seconds that `send` and `wait` wait for finality.
    """

    def __init__(
        self,
        client: ChainClient,
        account: Account,
        journal: TransactionJournal,
        *,
        fees: FeePolicy | None = None,
        stuck_after_s: float = 60.0,
        timeout_s: float = 300.0,
    ) -> None:
        self.client: Final = client
        self.account: Final = account
        self.journal: Final = journal
        self._fees: Final = fees or FeePolicy()
        self._broadcaster: Final = Broadcaster(client, account, journal, self._fees)
        self._stuck_after_s = stuck_after_s
        self._timeout_s = timeout_s

    def send(
        self,
        purpose: str,
        request: RequestSource,
        *,
        timeout_s: float | None = None,
        on_progress: OnSend | None = None,
    ) -> Receipt:
        """Return the receipt of the final, successful transaction for `purpose`, sending it if needed.

        A transaction for the purpose that is alive (from this process or one that died) is continued;
        `request` is then not looked at. One that reverted for good does not count: a new one is sent.

        Raises:
            RevertError: the contract refuses; the message is its reason.
            VerificationError: its last moment (`not_after_s`) went by before anybody saw it.
            InvalidInput: the account cannot pay.
            UnavailableError: the node fails, or no finality in time: the same call goes on later.
        """
        deadline = time.monotonic() + (self._timeout_s if timeout_s is None else timeout_s)
        while True:
            entry = self._find_or_sign(purpose, request, on_progress)
            receipt = self._settle(entry, deadline, on_progress)
            if receipt is not None:
                return receipt

    def submit(self, purpose: str, request: RequestSource, *, on_progress: OnSend | None = None) -> Hash32:
        """Journal and broadcast a transaction for `purpose` without waiting; return its hash.

        Raises:
            As `send`, except for what only the chain can tell later.
        """
        entry = self._find_or_sign(purpose, request, on_progress)
        return entry.last.tx_hash

    def wait(
        self, purpose: str, *, timeout_s: float | None = None, on_progress: OnSend | None = None
    ) -> Receipt:
        """Return the receipt of the live transaction for `purpose` once it is final.

        Raises:
            InvalidInput: nothing was sent for this purpose (or another transaction took its place).
            RevertError, VerificationError, UnavailableError: as `send`.
        """
        deadline = time.monotonic() + (self._timeout_s if timeout_s is None else timeout_s)
        entry = self.find(purpose)
        receipt = None if entry is None else self._settle(entry, deadline, on_progress)
        if receipt is None:
            raise InvalidInput(
                f"no transaction of account {self.account.checksum} is known for {purpose}",
                next_step="run the command that sends it again",
            )
        return receipt

    def find(self, purpose: str) -> JournalEntry | None:
        """Return the live journal entry for `purpose`, None if there is none."""
        return self.journal.find(self.client.genesis_hash, self.account.address, purpose)

    def resume(self) -> int:
        """Show the network again whatever of this account is not final; return how many sends are still open.

        Raises:
            UnavailableError: the node fails.
        """
        still_open = 0
        for entry in self._broadcaster.pending():
            if self._broadcaster.final(entry) is None:
                still_open += 1
                self._broadcaster.show(entry)
        return still_open

    # --- making a transaction ---------------------------------------------------------------------

    def _find_or_sign(self, purpose: str, request: RequestSource, on_progress: OnSend | None) -> JournalEntry:
        entry = self.find(purpose)
        if entry is not None:
            return entry
        has_pending = self.resume() > 0
        made = request() if callable(request) else request
        self._check_in_time(made)
        fees = self._fees.quote(self.client)
        gas = made.gas_limit or self._estimate(made, pending=has_pending)
        self._check_funds(made, gas, fees)
        for _ in range(_ALLOCATE_TRIES):
            entry, is_new = self.journal.allocate(
                self.client.genesis_hash,
                self.account.address,
                purpose,
                chain_nonce=lambda: self.client.transaction_count(self.account.address, "pending"),
                is_mined=lambda tx_hash: self.client.receipt(tx_hash) is not None,
                sign=lambda tx_nonce: self._broadcaster.sign(self._fields(made, gas, tx_nonce), fees),
                not_after_s=made.not_after_s,
            )
            if not is_new:
                return entry
            _tell(on_progress, "signed", entry.last.tx_hash, f"nonce {entry.tx_nonce}")
            try:
                self.client.send_raw(entry.last.raw)
            except RpcError as exc:
                if self._is_taken(entry, exc):
                    continue
                self._raise_refusal(entry, exc, made)
            except UnavailableError:
                # Journalled: whether the node has it is found out while waiting, or by the next run.
                return entry
            else:
                self.journal.set_shown(entry)
            _tell(on_progress, "broadcast", entry.last.tx_hash, made.what)
            return entry
        raise UnavailableError(
            f"other programs keep using the nonces of account {self.account.checksum}",
            next_step="stop them, then run the same command",
        )

    def _is_taken(self, entry: JournalEntry, error: RpcError) -> bool:
        """Return whether a fresh transaction lost its nonce to a foreign one; it is dropped then."""
        if not is_nonce_too_low(error) or self.client.receipt(entry.last.tx_hash) is not None:
            return False
        self.journal.set_state(entry, SendState.DROPPED)
        return True

    def _raise_refusal(self, entry: JournalEntry, error: RpcError, made: TransactionRequest) -> None:
        """Raise what the node's refusal of a fresh transaction means, unless waiting can cure it."""
        if is_nonce_too_low(error) or is_underpriced(error):
            return
        self.journal.drop_unless_followed(entry)
        if is_no_funds(error):
            gas = as_quantity(hex(int(str(fields_of(entry.last.raw)["gas"]))), "gas")
            raise self._no_funds(made, made.value_wei + gas * entry.last.max_fee_wei) from error
        raise revert_of(error) or error

    def _estimate(self, made: TransactionRequest, *, pending: bool) -> int:
        """Return the gas limit, margin included.

        Raises:
            RevertError: the transaction would revert.
        """
        fields = call_fields(made.to, made.data, sender=self.account.address, value_wei=made.value_wei)
        try:
            answer = self.client.raw_request("eth_estimateGas", [fields, "pending" if pending else "latest"])
        except RpcError as exc:
            if is_no_funds(exc):
                raise self._no_funds(made, made.value_wei) from exc
            raise revert_of(exc) or exc from exc
        estimate = as_quantity(answer, "gas estimate")
        if estimate > self._fees.gas_cap:
            raise InvalidInput(f"{made.what} needs {estimate} gas, above the cap of {self._fees.gas_cap}")
        return self._fees.gas_limit(estimate)

    def _check_in_time(self, made: TransactionRequest) -> None:
        if made.not_after_s is not None and self.client.block("latest").timestamp > made.not_after_s:
            raise _too_late(made.what)

    def _check_funds(self, made: TransactionRequest, gas: int, fees: Fees) -> None:
        needed_wei = made.value_wei + gas * fees.max_fee_wei
        if self.client.balance(self.account.address) < needed_wei:
            raise self._no_funds(made, needed_wei)

    def _no_funds(self, made: TransactionRequest, needed_wei: int) -> InvalidInput:
        available_wei = self.client.balance(self.account.address)
        return no_funds_error(self.account.checksum, needed_wei, available_wei, made.what)

    def _fields(self, made: TransactionRequest, gas: int, tx_nonce: int) -> dict[str, object]:
        fields: dict[str, object] = {
            "type": 2,
            "chainId": self.client.chain_id,
            "nonce": tx_nonce,
            "gas": gas,
            "value": made.value_wei,
            "data": made.data,
        }
        if made.to is not None:
            fields["to"] = to_checksum(made.to)
        return fields

    # --- seeing it through ------------------------------------------------------------------------

    def _settle(self, entry: JournalEntry, deadline: float, on_progress: OnSend | None) -> Receipt | None:
        """Return the final receipt; None if another transaction took the nonce for good."""
        started = time.monotonic()
        first_block: int | None = None
        next_show = started
        mined: Receipt | None = None
        lost_polls = 0
        while True:
            problem = ""
            try:
                # The count is read first: whatever it counts is visible to the receipts read after it.
                settled_nonces = self.client.transaction_count(self.account.address, "finalized")
                final = self._broadcaster.final(entry)
                if final is not None:
                    return self._successful(entry, final, on_progress)
                seen = self._broadcaster.mined(entry)
                if seen is None and mined is not None:
                    _tell(on_progress, "vanished", mined.tx_hash, "the chain was reorganised")
                    next_show = started
                elif seen is not None and seen != mined:
                    _tell(on_progress, "mined", seen.tx_hash, f"block {seen.block_number}")
                elif seen is None and entry.state is SendState.DONE:
                    # A development chain was rolled back to before a transaction that was final.
                    self.journal.set_state(entry, SendState.PENDING)
                mined = seen
                lost_polls = lost_polls + 1 if seen is None and settled_nonces > entry.tx_nonce else 0
                if lost_polls >= 2:
                    self.journal.set_state(entry, SendState.DROPPED)
                    return None
                if seen is None:
                    number = self.client.latest_number()
                    first_block = number if first_block is None else first_block
                    if time.monotonic() >= next_show:
                        next_show = time.monotonic() + _REBROADCAST_S
                        self._broadcaster.show_up_to(entry)
                    if number > first_block:
                        # Only a chain that makes blocks without it shows that the fee is too low.
                        self._replace_if_stuck(entry, on_progress)
            except UnavailableError as exc:
                problem = f" ({exc.message})"
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"transaction 0x{entry.last.tx_hash.hex()} for {entry.purpose} is"
                    f" {'mined but not final' if mined else 'not mined'} in time{problem}",
                    next_step="run the same command again: it goes on with this transaction",
                )
            time.sleep(poll_interval_s(time.monotonic() - started))
            entry = self.journal.reload(entry)

    def _replace_if_stuck(self, entry: JournalEntry, on_progress: OnSend | None) -> None:
        for replaced in self._broadcaster.replace_stuck_up_to(entry, self._stuck_after_s):
            detail = f"nonce {replaced.tx_nonce}, now {replaced.last.max_fee_wei} wei per gas at most"
            _tell(on_progress, "replaced", replaced.last.tx_hash, detail)

    def _successful(self, entry: JournalEntry, final: FinalSend, on_progress: OnSend | None) -> Receipt:
        receipt = final.receipt
        if final.attempt.is_cancel:
            raise _too_late(entry.purpose)
        _tell(on_progress, "finalized", receipt.tx_hash, f"block {receipt.block_number}")
        if receipt.status:
            return receipt
        raise self._reason(receipt)

    def _reason(self, receipt: Receipt) -> RevertError:
        """Return why a mined transaction reverted, found by running it again on the block before."""
        try:
            found = as_object(
                self.client.raw_request("eth_getTransactionByHash", ["0x" + receipt.tx_hash.hex()]),
                "transaction",
            )
            to = found.get("to")
            fields = call_fields(
                None if to is None else as_address(to, "recipient"),
                as_data(found.get("input"), "input"),
                sender=self.account.address,
                value_wei=as_quantity(found.get("value"), "value"),
            )
            self.client.raw_request("eth_call", [fields, hex(receipt.block_number - 1)])
        except RpcError as exc:
            reverted = revert_of(exc)
            if reverted is not None:
                return reverted
        except GoldenGrainError:
            pass
        return RevertError(
            f"transaction 0x{receipt.tx_hash.hex()} reverted in block {receipt.block_number}",
            next_step="run the same command again to see whether the condition persists",
        )


def _too_late(what: str) -> VerificationError:
    return VerificationError(
        f"{what}: its last safe moment went by before it was sent, so it was withdrawn",
        next_step="see the state with `gg order show`",
    )


def _tell(on_progress: OnSend | None, stage: Stage, tx_hash: Hash32, detail: str) -> None:
    if on_progress is not None:
        on_progress(SendProgress(stage, tx_hash, detail))
