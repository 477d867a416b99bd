"""The worker's HTTP door for buyers: POST /v1/offer, GET /v1/status. Nothing it serves is secret."""

from __future__ import annotations

import threading
import time
from typing import Any, Final

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from goldengrain.bounded_json import decode_json
from goldengrain.host.worker import Worker
from goldengrain_protocol.errors import GoldenGrainError, InvalidInput, UnavailableError, VerificationError
from goldengrain_protocol.types import address_from_hex, hash32_from_hex, to_checksum
from goldengrain_protocol.wire import encode_reply

MAX_BODY_BYTES: Final = 4096
MAX_CONNECTIONS: Final = 64
START_TIMEOUT_S: Final = 10.0


class OfferServer:
    """Runs in a thread of its own beside the worker."""

    def __init__(self, worker: Worker, host: str, port: int) -> None:
        self._worker = worker
        app = Starlette(
            routes=[
                Route("/v1/offer", self._offer, methods=["POST"]),
                Route("/v1/status", self._status, methods=["GET"]),
            ]
        )
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            log_level="error",
            access_log=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=5,
            lifespan="off",
        )
        self._server = uvicorn.Server(config)
        self._where = f"{host}:{port}"
        self._thread = threading.Thread(target=self._serve, name="offer-server", daemon=True)

    def start(self) -> str:
        """Start serving; return the URL. Raises UnavailableError when the address is taken."""
        self._thread.start()
        end = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < end and self._thread.is_alive():
            if self._server.started:
                bound = self._server.servers[0].sockets[0].getsockname()
                return f"http://{bound[0]}:{bound[1]}"
            time.sleep(0.05)
        raise UnavailableError(
            f"the offer server cannot listen on {self._where}",
            next_step="choose another address with --listen, or stop the worker that uses it",
        )

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(START_TIMEOUT_S)

    def _serve(self) -> None:
        try:
            self._server.run()
        except SystemExit:  # uvicorn's way of saying that it cannot bind; `start` reports it
            return

    async def _offer(self, request: Request) -> JSONResponse:
        try:
            document = _decode(await _body(request))
            submission = hash32_from_hex(document["submission_id"])
            buyer = address_from_hex(document["buyer"])
            buyer_key = hash32_from_hex(document["buyer_key"])
            reply = await run_in_threadpool(self._worker.offer, submission, buyer, buyer_key)
        except GoldenGrainError as exc:
            return _problem(exc)
        return JSONResponse({"reply": "0x" + encode_reply(reply).hex()})

    async def _status(self, _request: Request) -> JSONResponse:
        boot = self._worker.boot
        return JSONResponse(
            {
                "signer": to_checksum(boot.signer),
                "measurement": "0x" + boot.measurement.hex(),
                "config_digest": "0x" + boot.config_digest.hex(),
            }
        )


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise InvalidInput(f"request has more than {MAX_BODY_BYTES} bytes")
    return bytes(body)


def _decode(body: bytes) -> dict[str, str]:
    try:
        document: Any = decode_json(body)
    except ValueError as exc:
        raise InvalidInput("request is not JSON") from exc
    wanted = {"submission_id", "buyer", "buyer_key"}
    if not isinstance(document, dict) or set(document) != wanted:
        raise InvalidInput(f"request must be an object with {', '.join(sorted(wanted))}")
    if not all(isinstance(value, str) for value in document.values()):
        raise InvalidInput("request values must be hexadecimal strings")
    return document


def _problem(exc: GoldenGrainError) -> JSONResponse:
    category, status = "unavailable", 503
    if isinstance(exc, InvalidInput):
        category, status = "invalid", 400
    elif isinstance(exc, VerificationError):
        category, status = "verification", 409
    error = {"category": category, "message": exc.message, "next_step": exc.next_step}
    return JSONResponse({"error": error}, status_code=status)
