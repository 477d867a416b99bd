"""What a node's refusals mean: reverts of contracts in their own words, and refusals of transactions."""

import re
from typing import Final

from eth_abi.abi import decode as abi_decode
from eth_abi.exceptions import DecodingError

from goldengrain.chain.rpc import RpcError
from goldengrain_protocol.errors import InvalidInput, VerificationError

ERROR_SELECTOR: Final = bytes.fromhex("08c379a0")
"""`Error(string)`: what a revert with a reason returns."""
PANIC_SELECTOR: Final = bytes.fromhex("4e487b71")
"""`Panic(uint256)`: what checked arithmetic returns."""

_REVERT_CODE: Final = 3
_REVERT_WORDS: Final = re.compile(r"revert", re.IGNORECASE)
_REASON_AFTER_COLON: Final = re.compile(
    r"reverted(?: with reason string)?:?\s*['\"]?(.+?)['\"]?$", re.IGNORECASE
)

_KNOWN: Final = (
    "already known",
    "already imported",
    "known transaction",
    "already in mempool",
    "alreadyknown",
)
_NONCE_TOO_LOW: Final = ("nonce too low", "nonce is too low", "oldnonce", "invalid nonce")
_UNDERPRICED: Final = ("underpriced", "fee too low", "gas price too low", "less than block base fee")
_NO_FUNDS: Final = ("insufficient funds", "insufficient balance", "lack of funds")


class RevertError(VerificationError):
    """The contract refused the call; `reason` is its own message, `data` what it returned."""

    def __init__(self, reason: str, *, data: bytes = b"", next_step: str = "") -> None:
        super().__init__(reason, next_step=next_step)
        self.reason = reason
        self.data = data


def revert_of(error: RpcError) -> RevertError | None:
    """Return the contract's refusal behind a JSON-RPC error, or None if the error is something else."""
    data = _revert_data(error.data)
    if error.code != _REVERT_CODE and not data and _REVERT_WORDS.search(error.text) is None:
        return None
    reason = decode_reason(data)
    if reason is None:
        found = _REASON_AFTER_COLON.search(error.text)
        reason = found.group(1) if found else "the contract refused the call without a reason"
    return RevertError(reason, data=data, next_step=hint(reason))


def decode_reason(data: bytes) -> str | None:
    """Return the text of an `Error(string)` or `Panic(uint256)`; None for anything else."""
    try:
        if data[:4] == ERROR_SELECTOR:
            (text,) = abi_decode(["string"], data[4:])
            return str(text)
        if data[:4] == PANIC_SELECTOR:
            (code,) = abi_decode(["uint256"], data[4:])
            return f"the contract panicked with code {code:#x}"
    except (DecodingError, UnicodeDecodeError, OverflowError, ValueError):
        return None
    return None


def hint(reason: str) -> str:
    """Return the next step for a contract's reason; empty if there is none worth saying."""
    return dict(_HINTS).get(reason, "")


def is_already_known(error: RpcError) -> bool:
    """Return whether the node has this very transaction already."""
    return _contains(error, _KNOWN)


def is_nonce_too_low(error: RpcError) -> bool:
    """Return whether another transaction of the account took the nonce."""
    return _contains(error, _NONCE_TOO_LOW)


def is_underpriced(error: RpcError) -> bool:
    """Return whether the node wants a higher fee (to take it at all, or to replace another)."""
    return _contains(error, _UNDERPRICED)


def is_no_funds(error: RpcError) -> bool:
    """Return whether the account cannot pay value and gas."""
    return _contains(error, _NO_FUNDS)


def no_funds_error(account: str, needed_wei: int, available_wei: int, what: str) -> InvalidInput:
    """Return the error that names what is needed and what there is."""
    return InvalidInput(
        f"account {account} needs up to {needed_wei} wei for {what}, it has {available_wei} wei",
        next_step=f"send it at least {max(needed_wei - available_wei, 0)} wei, then run the same command",
    )


def _contains(error: RpcError, words: tuple[str, ...]) -> bool:
    text = error.text.lower()
    return any(word in text for word in words)


def _revert_data(value: object) -> bytes:
    if isinstance(value, dict):
        value = value.get("data", value.get("result"))
    if not isinstance(value, str):
        return b""
    try:
        return bytes.fromhex(value.removeprefix("0x"))
    except ValueError:
        return b""


_HINTS: Final = (
    ("market: another submission is open", "wait for its result, or take its fee back after its deadline"),
    ("market: submission cap reached", "this benchmark takes no further submission of this account"),
    ("market: benchmark not open", "list open benchmarks with `gg benchmark list`"),
    ("market: submissions closed", "list open benchmarks with `gg benchmark list`"),
    ("market: wrong fee", "see the benchmark's fee with `gg benchmark show`"),
    ("market: not the owner", "use the account that opened the benchmark"),
    ("market: benchmark exists", "see it with `gg benchmark list`; other terms make another benchmark"),
    ("market: bad closing time", "choose a closing time in the future"),
    ("market: submission exists", "see it with `gg model list`"),
    ("market: submission not open", "its result is in, or its fee was taken back: see `gg model show`"),
    ("market: result too late", "the developer may take the fee back now"),
    ("market: result not late", "wait for the result's deadline (`gg model show`)"),
    ("market: not for sale", "see the submission's state with `gg model show`"),
    ("market: wrong payment", "see the price with `gg model show`"),
    ("market: bad deadline", "choose an order deadline within 30 days"),
    ("market: no such order", "it was claimed or refunded: see `gg order show`"),
    ("market: order not expired", "wait for the order's deadline (`gg order show`)"),
    ("market: token refused transfer", "check the token's balance and its allowance for the market"),
    ("market: token took a fee", "this token cannot be used: it delivers less than it takes"),
    ("market: nothing credited", "there is nothing to withdraw"),
    ("market: unknown anchor", "run the worker again: it evaluates against a newer block"),
    ("market: enclave not registered", "register the worker's enclave: restart `gg worker run`"),
    ("market: enclave expired", "register the worker's enclave again: restart `gg worker run`"),
    ("market: tcb status not allowed", "update the platform, or choose another benchmark"),
    ("market: assurance too low", "this benchmark wants hardware enclaves"),
    ("registry: enclave invalidated", "this platform was revoked: use another machine"),
    ("registry: not later than registered", "the enclave is registered already"),
    ("registry: verdict expired", "let the auditors verify a fresh quote"),
    ("verifier: too few signatures", "ask more auditors to verify the quote"),
    ("verifier: not an auditor", "ask the auditors named in the address book"),
)
"""The next step for each reason that a user can meet; the reasons are those of the contracts."""
