"""A dstack guest agent: the real socket and the documented calls, with quotes and keys made here.

Source: dstack, docs/guest-api-v0.md.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tests.unit.enclave.platform_emulation.trees import QuoteMaker

COMPOSE = b'{"manifest_version":2,"name":"goldengrain-enclave","runner":"docker-compose"}'
COMPOSE_HASH = hashlib.sha256(COMPOSE).digest()


@dataclass
class Agent:
    """What the agent knows, and how it may misbehave."""

    make_quote: QuoteMaker
    app_id: bytes = COMPOSE_HASH[:20]
    compose_hash: bytes = COMPOSE_HASH
    root_key: bytes = bytes(range(32))
    status: int = 200
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Fields to replace in the answers of a method; None removes one."""
    raw: dict[str, bytes] = field(default_factory=dict)
    """Whole answers of a method."""
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def answer(self, method: str, request: dict[str, Any]) -> tuple[int, bytes]:
        self.calls.append((method, request))
        if self.status != 200:
            return self.status, b'{"error": "out of order"}'
        if method in self.raw:
            return 200, self.raw[method]
        handler = {"GetQuote": self._quote, "GetKey": self._key, "Info": self._info}.get(method)
        if handler is None:
            return 404, json.dumps({"error": f"Service not found: {method}"}).encode()
        try:
            fields = handler(request) | self.changes.get(method, {})
        except ValueError as exc:
            return 400, json.dumps({"error": str(exc)}).encode()
        return 200, json.dumps({name: value for name, value in fields.items() if value is not None}).encode()

    def _quote(self, request: dict[str, Any]) -> dict[str, Any]:
        report_data = bytes.fromhex(request["report_data"])
        if len(report_data) > 64:
            raise ValueError("Report data should be at most 64 bytes")
        padded = report_data.ljust(64, b"\0")
        quote = self.make_quote(padded).hex()
        return {"quote": quote, "event_log": "[]", "report_data": padded.hex(), "vm_config": ""}

    def _key(self, request: dict[str, Any]) -> dict[str, Any]:
        derive = HKDF(hashes.SHA256(), 32, b"RATLS", request["path"].encode())
        return {"key": derive.derive(self.root_key).hex(), "signature_chain": ["00" * 65, "00" * 65]}

    def _info(self, _request: dict[str, Any]) -> dict[str, Any]:
        return {
            "app_id": self.app_id.hex(),
            "instance_id": "",
            "compose_hash": self.compose_hash.hex(),
            "key_provider_info": '{"name":"kms","id":""}',
            "tcb_info": json.dumps({"app_compose": COMPOSE.decode()}),
        }


@contextlib.contextmanager
def listening(agent: Agent, path: Path) -> Iterator[Path]:
    """Serve `agent` on a Unix socket at `path` while the block runs."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, answer = agent.answer(self.path.removeprefix("/"), json.loads(body))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class's name
            pass

    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

        def get_request(self) -> tuple[Any, Any]:
            connection, _ = super().get_request()
            return connection, ("local", 0)

    with Server(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield path
        finally:
            server.shutdown()
            thread.join(5)
