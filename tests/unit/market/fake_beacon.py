"""A beacon node for tests: serves a synthetic chain over the light-client API, truly or not."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from eth_consensus_specs.debug.encode import encode

from goldengrain_protocol.proofs.ethereum_pos.mode import EthereumPos
from goldengrain_protocol.types import hash32
from tests.unit.protocol.proofs_pos.beacon_chain import Chain

SSZ = "application/octet-stream"


def to_json(value: Any) -> Any:
    """Return the JSON of the beacon API, in which every number is a string."""
    return _strings(encode(value))


def _strings(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _strings(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_strings(item) for item in value]
    return str(value)


class BeaconWorld:
    """One synthetic chain that several nodes serve; its head moves when a test says so."""

    def __init__(self, chain: Chain, start_period: int, *, at: int = 3) -> None:
        self.chain = chain
        self.per_period = chain.preset.slots_per_period
        self.start = start_period
        block = chain.block(start_period * self.per_period + at)
        self.boot = chain.bootstrap(block)
        self.mode = EthereumPos(chain.net, hash32(chain.root(block)))
        self.updates: dict[int, Any] = {}
        self.finality: Any = None
        self.head_hash = b""
        self.head_number = 0

    def advance(self, period: int, *, at: int = 20, block: tuple[int, bytes] | None = None) -> None:
        """Finalise a block in `period`; `block`: (number, hash) of the execution block."""
        for each in range(self.start, period + 1):
            if each not in self.updates:
                begin = each * self.per_period
                finalized = self.chain.block(begin + 10)
                attested = self.chain.block(begin + 12, self.chain.root(finalized))
                self.updates[each] = self.chain.update(attested, finalized)
        number, block_hash = block if block is not None else (period * 1000 + at, None)
        slot = period * self.per_period + at
        final = self.chain.block(slot, number=number, block_hash=block_hash)
        attested = self.chain.block(slot + 2, self.chain.root(final))
        update = self.chain.update(attested, final, with_committee=False)
        self.finality = self.chain.finality_update(update)
        self.head_number, self.head_hash = number, bytes(final.header.execution.block_hash)


Change = Callable[[str, str, bytes], tuple[int, str, bytes]]
"""(path, content type, body) to (status, content type, body)."""


class FakeBeacon:
    """One node. `change` may spoil its answers; `ssz` says whether it can answer in SSZ."""

    def __init__(self, world: BeaconWorld, *, ssz: bool = True, change: Change | None = None) -> None:
        self.world = world
        self.ssz = ssz
        self.change = change
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                status, kind, body = outer.answer(self.path, SSZ in self.headers.get("Accept", ""))
                if outer.change is not None:
                    status, kind, body = outer.change(self.path, kind, body)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                try:
                    self.wfile.write(body)
                except OSError:  # the client has enough
                    return

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str, wants_ssz: bool) -> tuple[int, str, bytes]:
        parts = urlsplit(path)
        world, base = self.world, "/eth/v1/beacon/light_client/"
        if parts.path == f"{base}bootstrap/0x{world.mode.trusted_block_root.hex()}":
            return self._one(world.boot, wants_ssz)
        if parts.path == f"{base}finality_update" and world.finality is not None:
            return self._one(world.finality, wants_ssz)
        if parts.path == f"{base}updates":
            query = parse_qs(parts.query)
            start, count = int(query["start_period"][0]), int(query["count"][0])
            found = [world.updates[p] for p in range(start, start + count) if p in world.updates]
            if wants_ssz and self.ssz:
                return 200, SSZ, b"".join(_chunk(update.encode_bytes()) for update in found)
            items = [{"version": "electra", "data": to_json(update)} for update in found]
            return 200, "application/json", json.dumps(items).encode()
        if parts.path in (
            "/eth/v1/beacon/genesis",
            "/eth/v1/config/spec",
            "/eth/v1/beacon/headers/finalized",
        ):
            data = {"genesis": self._genesis, "spec": self._settings, "finalized": self._header}
            return (
                200,
                "application/json",
                json.dumps({"data": data[parts.path.rsplit("/", 1)[1]]()}).encode(),
            )
        return 404, "application/json", b'{"code":404,"message":"not found"}'

    def _genesis(self) -> dict[str, Any]:
        root = self.world.chain.net.genesis_validators_root
        return {"genesis_time": "0", "genesis_validators_root": "0x" + root.hex()}

    def _settings(self) -> dict[str, Any]:
        net = self.world.chain.net
        values = {"PRESET_BASE": net.preset_id.name.lower(), "CONFIG_NAME": "synthetic"}
        for name in ("DENEB", "ELECTRA", "FULU", "GLOAS"):
            values[f"{name}_FORK_EPOCH"], values[f"{name}_FORK_VERSION"] = str(2**64 - 1), "0x00000000"
        for fork in net.forks:
            values[f"{fork.name.upper()}_FORK_EPOCH"] = str(fork.epoch)
            values[f"{fork.name.upper()}_FORK_VERSION"] = "0x" + fork.version.hex()
        return values

    def _header(self) -> dict[str, Any]:
        beacon = self.world.boot.header.beacon
        root = "0x" + self.world.mode.trusted_block_root.hex()
        return {"root": root, "canonical": True, "header": {"message": to_json(beacon), "signature": "0x"}}

    def _one(self, value: Any, wants_ssz: bool) -> tuple[int, str, bytes]:
        if wants_ssz and self.ssz:
            return 200, SSZ, value.encode_bytes()
        return 200, "application/json", json.dumps({"version": "electra", "data": to_json(value)}).encode()


def _chunk(ssz: bytes) -> bytes:
    return (len(ssz) + 4).to_bytes(8, "little") + b"\xaa\xbb\xcc\xdd" + ssz
