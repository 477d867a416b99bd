"""SGX enclaves run by Gramine, through its pseudo-files in /dev/attestation.

MRENCLAVE covers Gramine, its manifest, and through the manifest every file, argument and variable that the enclave
sees. The sealing key is Gramine's `_sgx_mrenclave`: the processor derives it from MRENCLAVE and its own fuses.

Source: Gramine, Documentation/attestation.rst and manifest-syntax.rst (1.5 and later).
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

from goldengrain_protocol.constants import Assurance
from goldengrain_protocol.errors import UnavailableError
from goldengrain_protocol.types import Hash32

from . import base
from .device_quote import (
    REPORT_DATA_BYTES,
    DeviceQuote,
    accept_device_quote,
    require_report_data,
    require_same_measurement,
)
from .sealed_box import open_under, seal_under

ATTESTATION_DIRECTORY: Final = Path("/dev/attestation")
SEALING_KEY_FILE: Final = "keys/_sgx_mrenclave"
SEALING_KEY_BYTES: Final = 16
MAX_QUOTE_FILE_BYTES: Final = 8192
"""QUOTE_MAX_SIZE of Gramine."""

_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
_WRITE: Final = os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
_SEAL_LABEL: Final = b"goldengrain/gramine-sealing/v1"
_GUIDE: Final = "docs/guides/platform-gramine.md"


class GraminePlatform(base.Platform):
    """An SGX enclave under Gramine. Its quotes are version 3; it seals to MRENCLAVE on this processor."""

    name = "gramine"
    assurance = Assurance.HARDWARE
    required_sandbox_layers = frozenset({"namespaces", "seccomp", "rlimits"})

    def __init__(self, attestation_directory: Path = ATTESTATION_DIRECTORY) -> None:
        """Check the attestation type and the sealing key, ask for one quote, and remember what it measures.

        Args:
            attestation_directory: Gramine's; no start configuration can name another.

        Raises:
            UnavailableError: this is no Gramine enclave with DCAP attestation, or its quote is refused.
        """
        self._directory = attestation_directory
        kind = self._read("attestation_type", 64).decode("ascii", "replace").strip()
        if kind != "dcap":
            raise UnavailableError(
                f"Gramine's attestation type must be dcap, got {kind!r}",
                next_step='set sgx.remote_attestation = "dcap" in the manifest and sign it again',
            )
        self._sealing_key()
        self._measurement = self._quoted(secrets.token_bytes(REPORT_DATA_BYTES)).measurement

    def measurement(self) -> Hash32:
        return self._measurement

    def quote(self, report_data: bytes) -> bytes:
        quoted = self._quoted(require_report_data(report_data))
        return require_same_measurement(quoted, self._measurement).quote

    def seal(self, plaintext: bytes, context: bytes) -> bytes:
        return seal_under(self._sealing_key(), _SEAL_LABEL, plaintext, context)

    def unseal(self, sealed: bytes, context: bytes) -> bytes:
        return open_under(self._sealing_key(), _SEAL_LABEL, sealed, context)

    def _quoted(self, report_data: bytes) -> DeviceQuote:
        # Gramine takes the report data when the file is closed, and quotes it when the quote is opened.
        try:
            descriptor = os.open(self._directory / "user_report_data", _WRITE)
            try:
                written = os.write(descriptor, report_data)
            finally:
                os.close(descriptor)
        except OSError as exc:
            raise _missing("user_report_data", exc) from exc
        if written != len(report_data):
            raise UnavailableError(f"Gramine took {written} of {len(report_data)} bytes of report data")
        answer = self._read("quote", MAX_QUOTE_FILE_BYTES)
        return accept_device_quote(answer, tee="sgx", report_data=report_data)

    def _sealing_key(self) -> bytes:
        key = self._read(SEALING_KEY_FILE, SEALING_KEY_BYTES)
        if len(key) != SEALING_KEY_BYTES or not any(key):
            raise UnavailableError(
                f"Gramine's sealing key must be {SEALING_KEY_BYTES} bytes that are not all zero",
                next_step=f"run under gramine-sgx, not gramine-direct: {_GUIDE}",
            )
        return key

    def _read(self, name: str, limit: int) -> bytes:
        try:
            descriptor = os.open(self._directory / name, _READ)
            try:
                data = b""
                while len(data) <= limit:
                    piece = os.read(descriptor, limit + 1 - len(data))
                    if not piece:
                        return data
                    data += piece
            finally:
                os.close(descriptor)
        except OSError as exc:
            raise _missing(name, exc) from exc
        raise UnavailableError(f"Gramine's {name} has more than {limit} bytes")


def _missing(name: str, exc: OSError) -> UnavailableError:
    return UnavailableError(
        f"Gramine's /dev/attestation/{name} is not there or does not answer: {exc.strerror}",
        next_step=f"run under gramine-sgx with DCAP attestation: {_GUIDE}",
    )
