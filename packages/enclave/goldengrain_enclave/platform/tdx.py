"""Intel TDX virtual machines, through the kernel's configfs-tsm reports.

The whole virtual machine is what the quote measures: MRTD (firmware) and RTMR0 to RTMR3 (what the firmware and the
kernel loaded). A TDX guest has no key of its own to seal with, so every start makes a new identity.

Source: Linux, Documentation/ABI/testing/configfs-tsm-report (6.7 and later).
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

REPORTS_DIRECTORY: Final = Path("/sys/kernel/config/tsm/report")
PROVIDER: Final = "tdx_guest"
MAX_BLOB_BYTES: Final = 32 * 1024
"""TSM_REPORT_OUTBLOB_MAX of the kernel."""
MAX_TEXT_BYTES: Final = 4096

_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
_WRITE: Final = os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
_GUIDE: Final = "docs/guides/platform-tdx.md"


class TdxPlatform(base.Platform):
    """A TDX guest. Its quotes come from the kernel, one report directory per request; it cannot seal."""

    name = "tdx"
    assurance = Assurance.HARDWARE
    required_sandbox_layers = frozenset({"namespaces", "seccomp", "rlimits"})

    def __init__(self, reports_directory: Path = REPORTS_DIRECTORY) -> None:
        """Ask for one quote, over random report data, and remember what it measures.

        Args:
            reports_directory: the kernel's; no start configuration can name another.

        Raises:
            UnavailableError: this is no TDX guest, or its quote is refused.
        """
        self._reports = reports_directory
        self._measurement = self._quoted(secrets.token_bytes(REPORT_DATA_BYTES)).measurement

    def measurement(self) -> Hash32:
        return self._measurement

    def quote(self, report_data: bytes) -> bytes:
        quoted = self._quoted(require_report_data(report_data))
        return require_same_measurement(quoted, self._measurement).quote

    def _quoted(self, report_data: bytes) -> DeviceQuote:
        return accept_device_quote(
            request_report(self._reports, report_data, provider=PROVIDER), tee="tdx", report_data=report_data
        )


def request_report(reports_directory: Path, inblob: bytes, *, provider: str) -> bytes:
    """Return the kernel's report over `inblob`, made in a report directory of its own, which is removed again.

    Args:
        inblob: 1 to 64 bytes.
        provider: what the kernel must say its report comes from.

    Raises:
        UnavailableError: there is no such interface or provider, the kernel gave no report, or somebody else wrote
            to the same report directory.
    """
    directory = reports_directory / f"goldengrain-{secrets.token_hex(8)}"
    try:
        os.mkdir(directory, 0o700)
    except OSError as exc:
        raise UnavailableError(
            f"the kernel makes no TSM report in {reports_directory}: {exc.strerror}",
            next_step=f"run in a TDX guest with Linux 6.7 or later and configfs mounted writable: {_GUIDE}",
        ) from exc
    try:
        report = _report_in(directory, inblob, provider)
    except OSError as exc:
        raise UnavailableError(
            f"the kernel gave no TSM report: {exc.strerror}",
            next_step=f"check the guest's quote generation service: {_GUIDE}",
        ) from exc
    finally:
        removed = _remove(directory)
    if not removed:
        raise UnavailableError(f"the kernel did not remove the TSM report {directory.name}")
    return report


def _report_in(directory: Path, inblob: bytes, provider: str) -> bytes:
    # 1. Another provider's report would be another TEE's format.
    found = _read_text(directory / "provider")
    if found != provider:
        raise UnavailableError(
            f"the TSM provider must be {provider}, got {found[:40]!r}",
            next_step=f"run in a TDX guest: {_GUIDE}",
        )
    # 2. The kernel takes the blob when the file is closed.
    before = _read_generation(directory)
    descriptor = os.open(directory / "inblob", _WRITE)
    try:
        written = os.write(descriptor, inblob)
    finally:
        os.close(descriptor)
    if written != len(inblob):
        raise UnavailableError(f"the kernel took {written} of {len(inblob)} bytes of report data")
    # 3. Each write counts one up: exactly one says that the report is over our blob and nobody else's.
    report = _read_all(directory / "outblob", MAX_BLOB_BYTES)
    after = _read_generation(directory)
    if after != before + 1:
        raise UnavailableError(
            f"the TSM report's generation must be {before + 1}, got {after}: another process wrote to it",
            next_step="let nothing else in the guest write to the enclave's report directories",
        )
    return report


def _read_generation(directory: Path) -> int:
    text = _read_text(directory / "generation")
    if not (text.isascii() and text.isdigit()):
        raise UnavailableError(f"the TSM report's generation must be a number, got {text[:40]!r}")
    return int(text)


def _read_text(path: Path) -> str:
    return _read_all(path, MAX_TEXT_BYTES).decode("ascii", "replace").strip()


def _read_all(path: Path, limit: int) -> bytes:
    descriptor = os.open(path, _READ)
    try:
        data = b""
        while len(data) <= limit:
            piece = os.read(descriptor, limit + 1 - len(data))
            if not piece:
                return data
            data += piece
    finally:
        os.close(descriptor)
    raise UnavailableError(f"{path.name} of the TSM report has more than {limit} bytes")


def _remove(directory: Path) -> bool:
    try:
        os.rmdir(directory)
    except OSError:
        return False
    return True
