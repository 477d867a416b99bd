"""What a device answered when it was asked for a quote, looked at before anything rests on it.

Verifiers outside check every signature. What is checked here are the mistakes and mix-ups that would otherwise surface
only after keys are made and money is spent: another TEE's quote, an old quote, somebody else's report data, a debug
enclave. Nothing here makes a quote trustworthy; it only refuses one that is certainly not ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import dcap_qvl

from goldengrain_protocol.attestation import measurement_sgx, measurement_tdx
from goldengrain_protocol.constants import MAX_QUOTE_BYTES
from goldengrain_protocol.errors import InvalidInput, UnavailableError
from goldengrain_protocol.types import Hash32

REPORT_DATA_BYTES: Final = 64

_HEADER_BYTES: Final = 48
_TEE_TYPES: Final = {"sgx": 0x00000000, "tdx": 0x00000081}
_VERSIONS: Final = {"sgx": (3,), "tdx": (4, 5)}
_SGX_DEBUG: Final = 0x02
_TDX_DEBUG: Final = 0xFF
"""The low byte of TDATTRIBUTES is the group of debug flags (TUD): any of them makes the TD a debug TD."""


@dataclass(frozen=True, slots=True)
class DeviceQuote:
    """A quote that carries the report data it was asked for."""

    quote: bytes
    """Without the padding that some devices add."""
    measurement: Hash32


def require_report_data(report_data: bytes) -> bytes:
    """Return `report_data`.

    Raises:
        InvalidInput: it is not 64 bytes.
    """
    if len(report_data) != REPORT_DATA_BYTES:
        raise InvalidInput(f"report data must be {REPORT_DATA_BYTES} bytes, got {len(report_data)}")
    return report_data


def accept_device_quote(answer: bytes, *, tee: str, report_data: bytes) -> DeviceQuote:
    """Return the quote in a device's answer, once it is one of `tee` over exactly `report_data`.

    Args:
        tee: "sgx" (quote version 3) or "tdx" (versions 4 and 5).
        report_data: the 64 bytes that the device was asked to quote.

    Raises:
        UnavailableError: the answer is empty, too long, truncated, of another TEE, version or key type, from a debug
            enclave, or carries other report data.

    Source: docs/spec/attestation.md; Intel quote formats as in `dcap_quote`.
    """
    # 1. The header says what it claims to be.
    if len(answer) < _HEADER_BYTES:
        raise _refused(f"it has {len(answer)} bytes, fewer than a quote's header")
    version = int.from_bytes(answer[0:2], "little")
    tee_type = int.from_bytes(answer[4:8], "little")
    if tee_type != _TEE_TYPES[tee]:
        raise _refused(f"its tee type must be {_TEE_TYPES[tee]:#x} ({tee}), got {tee_type:#x}")
    if version not in _VERSIONS[tee]:
        expected = " or ".join(str(each) for each in _VERSIONS[tee])
        raise _refused(f"its version must be {expected}, got {version}")
    # 2. It is whole, and what follows it is padding.
    try:
        parsed = dcap_qvl.parse_quote(answer)
    except ValueError as exc:
        raise _refused(f"it is malformed: {' '.join(str(exc).split())[:200]}") from exc
    size = _stated_size(answer, tee, version)
    if size > len(answer):
        raise _refused(f"it states {size} bytes, the device gave {len(answer)}")
    if any(answer[size:]):
        raise _refused("bytes other than zero follow it")
    if size > MAX_QUOTE_BYTES:
        raise _refused(f"it has {size} bytes, more than the {MAX_QUOTE_BYTES} that the protocol carries")
    # 3. It is the answer to our question, from a production enclave.
    report = parsed.report
    if bytes(report.report_data) != report_data:
        raise _refused("its report data is not what was asked for")
    debug = (
        bytes(report.td_attributes)[0] & _TDX_DEBUG
        if tee == "tdx"
        else bytes(report.attributes)[0] & _SGX_DEBUG
    )
    if debug:
        raise _refused("it comes from an enclave in debug mode")
    # 4. What it measures.
    if tee == "tdx":
        registers = (bytes(each) for each in (report.rt_mr0, report.rt_mr1, report.rt_mr2, report.rt_mr3))
        measurement = measurement_tdx(bytes(report.mr_td), *registers)
    else:
        measurement = measurement_sgx(bytes(report.mr_enclave))
    return DeviceQuote(answer[:size], measurement)


def require_same_measurement(quoted: DeviceQuote, measurement: Hash32) -> DeviceQuote:
    """Return `quoted`.

    Raises:
        UnavailableError: it measures other code than the quote did with which the platform was opened.
    """
    if quoted.measurement != measurement:
        raise UnavailableError(
            "the measurement changed while the enclave ran: something was loaded or measured after its start",
            next_step="start the enclave last, and let nothing extend the measurement registers after it",
        )
    return quoted


def _stated_size(quote: bytes, tee: str, version: int) -> int:
    body = 384 if tee == "sgx" else 584
    if version == 5:
        body = 6 + int.from_bytes(quote[_HEADER_BYTES + 2 : _HEADER_BYTES + 6], "little")
    at = _HEADER_BYTES + body
    return at + 4 + int.from_bytes(quote[at : at + 4], "little")


def _refused(reason: str) -> UnavailableError:
    return UnavailableError(
        f"the platform's quote is refused: {reason}",
        next_step="see docs/guides for what this platform needs; the enclave never falls back to another",
    )
