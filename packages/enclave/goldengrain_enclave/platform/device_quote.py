"""What a device answered when it was asked for a quote, looked at before anything rests on it.

Verifiers outside check every signature. What is checked here are the mistakes and mix-ups that would otherwise surface
only after keys are made and money is spent: another TEE's quote, an old quote, somebody else's report data, a debug
enclave. Nothing here makes a quote trustworthy; it only refuses one that is certainly not ours.

The bytes come by way of the host. They are cut at fixed offsets and never given to a parser.

Source: Intel, "SGX ECDSA QuoteLibReference DCAP API" appendix A.4 (v3); "TDX DCAP Quoting Library API" appendix A.3
(v4) and A.4 (v5).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from goldengrain_protocol.attestation import measurement_sgx, measurement_tdx
from goldengrain_protocol.constants import MAX_QUOTE_BYTES
from goldengrain_protocol.errors import InvalidInput, UnavailableError
from goldengrain_protocol.types import Hash32

REPORT_DATA_BYTES: Final = 64

_HEADER: Final = struct.Struct("<HHI40x")
_BODY_HEADER: Final = struct.Struct("<HI")
"""Version 5 only: type and size of the report."""
_ECDSA_P256: Final = 2
_TEE_TYPES: Final = {"sgx": 0x00000000, "tdx": 0x00000081}
_VERSIONS: Final = {"sgx": (3,), "tdx": (4, 5)}
_SGX_REPORT_BYTES: Final = 384
_TD_REPORT_10_BYTES: Final = 584
_TD_REPORT_BYTES: Final = {2: _TD_REPORT_10_BYTES, 3: 648}
"""Sizes of TD reports 1.0 and 1.5 by the type that version 5 states; both begin alike."""
_MIN_SIGNATURE_BYTES: Final = 128
"""The quote's signature and the attestation key."""
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
    if len(answer) < _HEADER.size:
        raise _refused(f"it has {len(answer)} bytes, fewer than a quote's header")
    version, key_type, tee_type = _HEADER.unpack_from(answer)
    if tee_type != _TEE_TYPES[tee]:
        raise _refused(f"its tee type must be {_TEE_TYPES[tee]:#x} ({tee}), got {tee_type:#x}")
    if version not in _VERSIONS[tee]:
        expected = " or ".join(str(each) for each in _VERSIONS[tee])
        raise _refused(f"its version must be {expected}, got {version}")
    if key_type != _ECDSA_P256:
        raise _refused(f"its attestation key must be of type {_ECDSA_P256} (ecdsa p-256), got {key_type}")
    # 2. It is whole, and what follows it is padding.
    report, size = _report(answer, tee, version)
    if size > len(answer):
        raise _refused(f"it states {size} bytes, the device gave {len(answer)}")
    if any(answer[size:]):
        raise _refused("bytes other than zero follow it")
    if size > MAX_QUOTE_BYTES:
        raise _refused(f"it has {size} bytes, more than the {MAX_QUOTE_BYTES} that the protocol carries")
    # 3. It is the answer to our question, from a production enclave.
    if tee == "tdx":
        debug, quoted = report[120] & _TDX_DEBUG, report[520:584]
        registers = [report[at : at + 48] for at in (136, 328, 376, 424, 472)]  # MRTD, RTMR0 to RTMR3
        measurement = measurement_tdx(*registers)
    else:
        debug, quoted = report[48] & _SGX_DEBUG, report[320:384]
        measurement = measurement_sgx(report[64:96])
    if quoted != report_data:
        raise _refused("its report data is not what was asked for")
    if debug:
        raise _refused("it comes from an enclave in debug mode")
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


def _report(answer: bytes, tee: str, version: int) -> tuple[bytes, int]:
    """Return the report and the size that the quote states of itself."""
    at = _HEADER.size
    length = _SGX_REPORT_BYTES if tee == "sgx" else _TD_REPORT_10_BYTES
    if version == 5:
        if len(answer) < at + _BODY_HEADER.size:
            raise _refused("its report is cut")
        kind, stated = _BODY_HEADER.unpack_from(answer, at)
        at += _BODY_HEADER.size
        if _TD_REPORT_BYTES.get(kind) != stated:
            raise _refused(f"its report must be a td report 1.0 or 1.5, got type {kind} of {stated} bytes")
        length = stated
    end = at + length
    if len(answer) < end + 4:
        raise _refused("its report is cut")
    signature = int.from_bytes(answer[end : end + 4], "little")
    if signature < _MIN_SIGNATURE_BYTES:
        raise _refused(f"its signature must have at least {_MIN_SIGNATURE_BYTES} bytes, got {signature}")
    return answer[at:end], end + 4 + signature


def _refused(reason: str) -> UnavailableError:
    return UnavailableError(
        f"the platform's quote is refused: {reason}",
        next_step="see docs/guides for what this platform needs; the enclave never falls back to another",
    )
