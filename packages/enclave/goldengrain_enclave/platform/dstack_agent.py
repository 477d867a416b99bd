"""The dstack guest agent: one JSON object there, one back, over HTTP on a Unix socket.

The official SDK does the same with an HTTP library, a data-model library and a signing library beneath it; for three
calls on a local socket the standard library is enough, and everything here is measured (docs/adr/0012-platforms.md).

Source: dstack, docs/guest-api-v0.md (frozen since 0.5.11, served by 0.5 and 0.6 agents).
"""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Final

from goldengrain_protocol.errors import UnavailableError

AGENT_SOCKET: Final = Path("/var/run/dstack.sock")
TIMEOUT_S: Final = 30.0
MAX_ANSWER_BYTES: Final = 4 * 2**20
"""The event log and the compose document come with some answers."""

_GUIDE: Final = "docs/guides/platform-dstack.md"


class GuestAgent:
    """Calls to the agent at one socket. Everything that goes wrong is an `UnavailableError`."""

    def __init__(self, socket_path: Path) -> None:
        self._path = socket_path

    def call(self, method: str, request: dict[str, str]) -> dict[str, object]:
        """Return the JSON object that the agent answers to `method`.

        Raises:
            UnavailableError: no agent, no answer in 30 s, an error, or an answer that is no JSON object.
        """
        connection = _UnixConnection(self._path)
        try:
            connection.request(
                "POST", f"/{method}", json.dumps(request), {"Content-Type": "application/json"}
            )
            response = connection.getresponse()
            body = response.read(MAX_ANSWER_BYTES + 1)
        except (OSError, http.client.HTTPException) as exc:
            reason = getattr(exc, "strerror", None) or type(exc).__name__
            raise UnavailableError(
                f"the dstack guest agent at {self._path} does not answer {method}: {reason}",
                next_step=f"mount the agent's socket into the container: {_GUIDE}",
            ) from exc
        finally:
            connection.close()
        if len(body) > MAX_ANSWER_BYTES:
            raise UnavailableError(f"the dstack guest agent's answer to {method} is too long")
        if response.status != 200:
            raise UnavailableError(
                f"the dstack guest agent refuses {method} with HTTP {response.status}: {_printable(body)}",
                next_step=f"run on dstack 0.5 or later on Intel TDX: {_GUIDE}",
            )
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError) as exc:
            raise UnavailableError(f"the dstack guest agent's answer to {method} is not JSON") from exc
        if not isinstance(answer, dict):
            raise UnavailableError(f"the dstack guest agent's answer to {method} is not a JSON object")
        return answer


def hex_field(answer: dict[str, object], name: str) -> bytes:
    """Return the bytes of a hexadecimal field of an answer.

    Raises:
        UnavailableError: it is missing or not hexadecimal. The message does not repeat the value.
    """
    value = answer.get(name)
    try:
        if not isinstance(value, str):
            raise ValueError
        return bytes.fromhex(value.removeprefix("0x"))
    except ValueError:
        raise UnavailableError(f"the dstack guest agent's {name} must be hexadecimal text") from None


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("dstack", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(str(self._path))


def _printable(body: bytes) -> str:
    return "".join(
        each if each.isprintable() else " " for each in body[:200].decode("utf-8", "replace")
    ).strip()
