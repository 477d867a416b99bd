"""The packed storage words of the contracts, taken apart.

Source: docs/spec/messages.md, "Storage words".
"""

from dataclasses import dataclass

from goldengrain_protocol.constants import BenchmarkState, EnclaveState, SubmissionState
from goldengrain_protocol.errors import InvalidInput
from goldengrain_protocol.types import Address


@dataclass(frozen=True, slots=True)
class BenchmarkStatus:
    """`Market.benchmarks[benchmark_id]`."""

    state: BenchmarkState
    submission_cap: int
    submissions_close: int
    result_window_s: int
    fee_wei: int


@dataclass(frozen=True, slots=True)
class SubmissionStatus:
    """`Market.submissions[submission_id]`; fields that the state does not carry are 0 or None."""

    state: SubmissionState
    result_deadline: int = 0
    fee_wei: int = 0
    price: int = 0
    payee: Address | None = None


@dataclass(frozen=True, slots=True)
class RecordStatus:
    """`Market.records[record_id]`: one developer in one benchmark."""

    open: bool
    """A submission of this developer is waiting for its result."""
    count: int
    best_score_ppm: int
    best_bound_ppm: int


@dataclass(frozen=True, slots=True)
class OrderStatus:
    """`Market.orders[order_id]`; an amount of 0 means there is no such order (any more)."""

    amount: int
    payee: Address | None


@dataclass(frozen=True, slots=True)
class EnclaveStatus:
    """`EnclaveRegistry.enclaves[enclave_id]`."""

    state: EnclaveState
    expiry: int
    tcb_status: int
    assurance: int
    platform_tag: bytes
    """The last 24 bytes of the platform identifier."""


def decode_benchmark_status(word: int) -> BenchmarkStatus:
    """Return the parts of the word. Raises: InvalidInput: not such a word."""
    _word(word)
    state = _bits(word, 0, 8)
    if state not in tuple(BenchmarkState) or word >> 192:
        raise InvalidInput(f"not a benchmark's storage word: {word:#x}")
    return BenchmarkStatus(
        BenchmarkState(state),
        _bits(word, 8, 16),
        _bits(word, 24, 40),
        _bits(word, 64, 32),
        _bits(word, 96, 96),
    )


def decode_submission_status(word: int) -> SubmissionStatus:
    """Return the parts of the word. Raises: InvalidInput: not such a word."""
    _word(word)
    state = _bits(word, 0, 8)
    if state not in tuple(SubmissionState):
        raise InvalidInput(f"not a submission's storage word: {word:#x}")
    match SubmissionState(state):
        case SubmissionState.OPEN:
            if word >> 144:
                raise InvalidInput(f"not an open submission's storage word: {word:#x}")
            return SubmissionStatus(
                SubmissionState.OPEN, result_deadline=_bits(word, 8, 40), fee_wei=_bits(word, 48, 96)
            )
        case SubmissionState.PRICED:
            return SubmissionStatus(
                SubmissionState.PRICED, price=_bits(word, 8, 88), payee=_address(_bits(word, 96, 160))
            )
        case other:
            return SubmissionStatus(other)


def decode_record_status(word: int) -> RecordStatus:
    """Return the parts of the word. Raises: InvalidInput: not such a word."""
    _word(word)
    if _bits(word, 0, 8) > 1 or word >> 72:
        raise InvalidInput(f"not a record's storage word: {word:#x}")
    return RecordStatus(bool(_bits(word, 0, 8)), _bits(word, 8, 16), _bits(word, 24, 24), _bits(word, 48, 24))


def decode_order_status(word: int) -> OrderStatus:
    """Return the parts of the word. Raises: InvalidInput: not such a word."""
    _word(word)
    amount = _bits(word, 0, 96)
    return OrderStatus(amount, _address(_bits(word, 96, 160)) if word else None)


def decode_enclave_status(word: int) -> EnclaveStatus:
    """Return the parts of the word. Raises: InvalidInput: not such a word."""
    _word(word)
    state = _bits(word, 0, 8)
    if state not in tuple(EnclaveState):
        raise InvalidInput(f"not an enclave's storage word: {word:#x}")
    return EnclaveStatus(
        EnclaveState(state),
        _bits(word, 8, 40),
        _bits(word, 48, 8),
        _bits(word, 56, 8),
        _bits(word, 64, 192).to_bytes(24, "big"),
    )


def _bits(word: int, at: int, width: int) -> int:
    return (word >> at) & ((1 << width) - 1)


def _address(value: int) -> Address:
    return Address(value.to_bytes(20, "big"))


def _word(word: int) -> None:
    if not isinstance(word, int) or not 0 <= word < 2**256:
        raise InvalidInput(f"a storage word is in uint256, got {word}")
