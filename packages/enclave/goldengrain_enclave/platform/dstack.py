"""dstack: containers in an Intel TDX guest whose agent gives quotes and keys over a Unix socket.

The quote measures dstack's image (MRTD, RTMR0 to RTMR2) and, in RTMR3, the application: the digest of its compose
document, its identity, and the key provider. So the measurement names the container images by their digests, and also
whoever provides the keys.

Sealing. dstack derives keys per application, not per measurement. An application whose identity is its owner's to keep
can be given other code later, and that code could derive the same key and open the sealed identity. So this platform
seals only where the application's identity is the digest of its own compose document; elsewhere every start makes a
new identity, as on plain TDX.

Source: dstack, docs/guest-api-v0.md, docs/attestation-tdx.md, docs/security/cvm-boundaries.md.
"""

from __future__ import annotations

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
from .dstack_agent import AGENT_SOCKET, GuestAgent, hex_field
from .sealed_box import open_under, seal_under

APP_ID_BYTES: Final = 20
COMPOSE_HASH_BYTES: Final = 32
DERIVED_KEY_BYTES: Final = 32

_SEAL_LABEL: Final = b"goldengrain/dstack-sealing/v1"
_KEY_PATH: Final = "goldengrain/enclave-identity/v1"


class DstackPlatform(base.Platform):
    """A container on dstack. It seals only where no other code can ever be the same application."""

    name = "dstack"
    assurance = Assurance.HARDWARE
    required_sandbox_layers = frozenset({"namespaces", "seccomp", "rlimits"})

    def __init__(self, agent_socket: Path = AGENT_SOCKET) -> None:
        """Ask for one quote, over random report data, and remember what it measures.

        Args:
            agent_socket: the guest agent's; no start configuration can name another.

        Raises:
            UnavailableError: there is no agent, it does not say which application this is, or its quote is refused.
        """
        self._agent = GuestAgent(agent_socket)
        self._measurement = self._quoted(secrets.token_bytes(REPORT_DATA_BYTES)).measurement
        self._is_pinned = self._application_is_pinned()

    def measurement(self) -> Hash32:
        return self._measurement

    def quote(self, report_data: bytes) -> bytes:
        quoted = self._quoted(require_report_data(report_data))
        return require_same_measurement(quoted, self._measurement).quote

    def seal(self, plaintext: bytes, context: bytes) -> bytes | None:
        if not self._is_pinned:
            return None
        return seal_under(self._sealing_key(), _SEAL_LABEL, plaintext, context)

    def unseal(self, sealed: bytes, context: bytes) -> bytes:
        if not self._is_pinned:
            raise UnavailableError(
                "dstack seals no identity for an application whose code its owner may exchange",
                next_step="boot with an empty sealed identity and register the new one",
            )
        return open_under(self._sealing_key(), _SEAL_LABEL, sealed, context)

    def _quoted(self, report_data: bytes) -> DeviceQuote:
        answer = self._agent.call("GetQuote", {"report_data": report_data.hex()})
        return accept_device_quote(hex_field(answer, "quote"), tee="tdx", report_data=report_data)

    def _application_is_pinned(self) -> bool:
        info = self._agent.call("Info", {})
        app_id, compose_hash = hex_field(info, "app_id"), hex_field(info, "compose_hash")
        if len(app_id) != APP_ID_BYTES or len(compose_hash) != COMPOSE_HASH_BYTES:
            raise UnavailableError(
                f"dstack's app_id and compose_hash must have {APP_ID_BYTES} and {COMPOSE_HASH_BYTES} bytes, "
                f"got {len(app_id)} and {len(compose_hash)}"
            )
        return app_id == compose_hash[:APP_ID_BYTES]

    def _sealing_key(self) -> bytes:
        # Only the path reaches dstack's derivation, so the measurement goes there.
        path = f"{_KEY_PATH}/{self._measurement.hex()}"
        answer = self._agent.call("GetKey", {"path": path, "purpose": "goldengrain-sealing"})
        key = hex_field(answer, "key")
        if len(key) != DERIVED_KEY_BYTES or not any(key):
            raise UnavailableError(
                f"dstack's derived key must be {DERIVED_KEY_BYTES} bytes that are not all zero"
            )
        return key
