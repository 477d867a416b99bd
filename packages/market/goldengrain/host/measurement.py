"""The measurement that an operator's enclave should report, worked out beforehand from what the platform measures.

The contracts name code by one 32-byte hash over the platform's own registers (docs/spec/attestation.md). For SGX those
follow from the signed enclave; for TDX they follow from the virtual machine's firmware, kernel and configuration, which
only the tools that know that firmware can compute.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from goldengrain_protocol.attestation import measurement_sgx, measurement_tdx
from goldengrain_protocol.errors import InvalidInput, VerificationError
from goldengrain_protocol.types import Hash32, hash32

REGISTERS: Final = ("mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3")
REGISTER_BYTES: Final = 48
SIGSTRUCT_BYTES: Final = 1808
MAX_REGISTERS_FILE_BYTES: Final = 4 * 2**20

_SIGSTRUCT_HEADER: Final = bytes.fromhex("06000000e10000000000010000000000")
_SIGSTRUCT_HEADER2: Final = bytes.fromhex("01010000600000006000000001000000")
_SGX_DEBUG: Final = 0x02
_RTMR3_INDEX: Final = 3


@dataclass(frozen=True, slots=True)
class Sigstruct:
    """What the signature file of an SGX enclave (`.sig`) says."""

    mr_enclave: bytes
    mr_signer: bytes


@dataclass(frozen=True, slots=True)
class ExpectedMeasurement:
    """A measurement, the registers below it, and where they are from."""

    measurement: Hash32
    registers: Mapping[str, bytes]
    derivation: str
    not_computed: str
    """What had to be taken as given."""


def decode_sigstruct(data: bytes) -> Sigstruct:
    """Return what an SGX SIGSTRUCT signs.

    Raises:
        InvalidInput: it is no SIGSTRUCT, or is signed for debug mode, which no verifier of ours accepts.
        VerificationError: its signature does not hold: the file is damaged.

    Source: Intel SDM volume 3D, table "Layout of Enclave Signature Structure (SIGSTRUCT)".
    """
    if len(data) != SIGSTRUCT_BYTES:
        raise InvalidInput(f"a SIGSTRUCT has {SIGSTRUCT_BYTES} bytes, got {len(data)}")
    if data[0:16] != _SIGSTRUCT_HEADER or data[24:40] != _SIGSTRUCT_HEADER2:
        raise InvalidInput("the file does not begin as a SIGSTRUCT does")
    modulus, exponent = data[128:512], int.from_bytes(data[512:516], "little")
    signature = int.from_bytes(data[516:900], "little")
    try:
        key = rsa.RSAPublicNumbers(exponent, int.from_bytes(modulus, "little")).public_key()
        key.verify(
            signature.to_bytes(384, "big"), data[0:128] + data[900:1028], padding.PKCS1v15(), hashes.SHA256()
        )
    except (InvalidSignature, ValueError) as exc:
        raise VerificationError("the SIGSTRUCT's signature does not hold") from exc
    if data[928] & _SGX_DEBUG:
        raise InvalidInput(
            "the enclave is signed for debug mode, which verifiers refuse",
            next_step="set sgx.debug = false in the manifest and sign it again",
        )
    return Sigstruct(mr_enclave=data[960:992], mr_signer=hashlib.sha256(modulus).digest())


def from_installed_code(measurement: bytes) -> ExpectedMeasurement:
    """Return what to say of the simulated platform's measurement, which the enclave's own tool computed."""
    return ExpectedMeasurement(
        hash32(measurement),
        {},
        "the simulated platform's: SHA-256 over the installed source files of goldengrain_enclave and "
        "goldengrain_protocol stands for MRENCLAVE",
        "nothing: but no silicon vouches for it; it names the code, and protects from nobody who runs it",
    )


def from_mr_enclave(mr_enclave: bytes) -> ExpectedMeasurement:
    """Return the measurement of the SGX enclave `mr_enclave` (32 bytes)."""
    return ExpectedMeasurement(
        measurement_sgx(mr_enclave),
        {"mr_enclave": mr_enclave},
        'keccak256("goldengrain/measurement/sgx/v1" || MRENCLAVE), MRENCLAVE as given',
        "that MRENCLAVE belongs to the sources: build and sign the enclave yourself, or give its .sig file",
    )


def from_sigstruct(data: bytes) -> ExpectedMeasurement:
    """Return the measurement of the SGX enclave whose `.sig` file this is. Raises as `decode_sigstruct`."""
    signed = decode_sigstruct(data)
    return ExpectedMeasurement(
        measurement_sgx(signed.mr_enclave),
        {"mr_enclave": signed.mr_enclave, "mr_signer": signed.mr_signer},
        'keccak256("goldengrain/measurement/sgx/v1" || MRENCLAVE), MRENCLAVE from the SIGSTRUCT, whose signature holds',
        "MRENCLAVE itself: gramine-sgx-sign computed it from the manifest and its trusted files",
    )


def from_registers(registers: Mapping[str, bytes], derivation: str = "as given") -> ExpectedMeasurement:
    """Return the measurement of a TDX guest.

    Args:
        registers: 48 bytes each for mrtd and rtmr0 to rtmr3.

    Raises:
        InvalidInput: one is missing or has another length.
    """
    missing = [name for name in REGISTERS if name not in registers]
    if missing:
        raise InvalidInput(
            f"a TDX measurement needs all of {', '.join(REGISTERS)}; missing: {', '.join(missing)}",
            next_step="give them with --mrtd and --rtmr0 to --rtmr3, or as JSON with --registers",
        )
    values = {name: registers[name] for name in REGISTERS}
    return ExpectedMeasurement(
        measurement_tdx(*values.values()),
        values,
        f'keccak256("goldengrain/measurement/tdx/v1" || MRTD || RTMR0 || .. || RTMR3), registers {derivation}',
        "MRTD and RTMR0 to RTMR2: they follow from firmware, virtual hardware, kernel, command line and initrd; the "
        "tools that come with the image compute them",
    )


def decode_registers(data: bytes) -> tuple[dict[str, bytes], str]:
    """Return the registers in a JSON document, and how they came about.

    Accepted: an object with mrtd and rtmr0 to rtmr3 in hexadecimal (also dstack's `tcb_info` and the output of its
    measuring tool). Where it holds dstack's `event_log`, RTMR3 is replayed from it; a stated one must agree.

    Raises:
        InvalidInput: malformed.
        VerificationError: the stated RTMR3 is not what the event log leads to.
    """
    if len(data) > MAX_REGISTERS_FILE_BYTES:
        raise InvalidInput(f"the registers file has more than {MAX_REGISTERS_FILE_BYTES} bytes")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise InvalidInput("the registers file is not JSON") from exc
    if not isinstance(document, dict):
        raise InvalidInput("the registers file must hold a JSON object")
    registers = {
        name: hex_bytes(document[name], REGISTER_BYTES, name) for name in REGISTERS if name in document
    }
    if "event_log" not in document:
        return registers, "as given"
    replayed = replay_rtmr3(_events(document["event_log"]))
    if registers.setdefault("rtmr3", replayed) != replayed:
        raise VerificationError("the stated rtmr3 is not what the event log leads to")
    return registers, "as given, RTMR3 replayed from the event log"


def hex_bytes(value: object, length: int, name: str) -> bytes:
    """Return `length` bytes from hexadecimal text, with or without 0x.

    Raises:
        InvalidInput: anything else.
    """
    try:
        decoded = bytes.fromhex(value.removeprefix("0x")) if isinstance(value, str) else b""
    except ValueError:
        decoded = b""
    if len(decoded) != length:
        raise InvalidInput(f"{name} must be {length} bytes in hexadecimal")
    return decoded


def replay_rtmr3(events: list[Mapping[str, Any]]) -> bytes:
    """Return RTMR3 after the events of a log: SHA-384(register || digest) for each event of register 3, from zero."""
    register = bytes(REGISTER_BYTES)
    for event in events:
        if event.get("imr") == _RTMR3_INDEX:
            digest = hex_bytes(event.get("digest"), REGISTER_BYTES, "the digest of an event")
            register = hashlib.sha384(register + digest).digest()
    return register


def _events(log: object) -> list[Mapping[str, Any]]:
    try:
        events = json.loads(log) if isinstance(log, str) else log
    except (ValueError, RecursionError) as exc:
        raise InvalidInput("event_log is not JSON") from exc
    if not isinstance(events, list) or not all(isinstance(each, dict) for each in events):
        raise InvalidInput("event_log must be a list of events")
    return events
