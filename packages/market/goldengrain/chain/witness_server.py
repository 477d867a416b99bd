"""A witness's HTTP door: GET /v1/finalized, GET /v1/blocks/NUMBER, GET /v1/witness. Nothing it serves is secret."""

from __future__ import annotations

import threading
import time
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from goldengrain.chain.witness import Statement, Witness
from goldengrain_protocol.errors import GoldenGrainError, InvalidInput, UnavailableError, VerificationError
from goldengrain_protocol.types import to_checksum

MAX_CONNECTIONS: Final = 64
START_TIMEOUT_S: Final = 10.0
_STATUS: Final = ((InvalidInput, "invalid", 400), (VerificationError, "verification", 409))


class WitnessServer:
    """Runs in a thread of its own beside the witness."""

    def __init__(self, witness: Witness, host: str, port: int) -> None:
        self._witness = witness
        app = Starlette(
            routes=[
                Route("/v1/finalized", self._finalized, methods=["GET"]),
                Route("/v1/blocks/{number:int}", self._block, methods=["GET"]),
                Route("/v1/witness", self._who, methods=["GET"]),
            ]
        )
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                log_level="error",
                access_log=False,
                limit_concurrency=MAX_CONNECTIONS,
                timeout_keep_alive=5,
                lifespan="off",
            )
        )
        self._where = f"{host}:{port}"
        self._thread = threading.Thread(target=self._serve, name="witness-server", daemon=True)

    def start(self) -> str:
        """Start serving; return the URL. Raises: UnavailableError: the address is taken."""
        self._thread.start()
        end = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < end and self._thread.is_alive():
            if self._server.started:
                bound = self._server.servers[0].sockets[0].getsockname()
                return f"http://{bound[0]}:{bound[1]}"
            time.sleep(0.02)
        raise UnavailableError(
            f"the witness cannot listen on {self._where}",
            next_step="choose another address with --listen, or stop what uses it",
        )

    def stop(self) -> None:
        """End serving."""
        self._server.should_exit = True
        self._thread.join(START_TIMEOUT_S)

    def _serve(self) -> None:
        try:
            self._server.run()
        except SystemExit:  # uvicorn's way of saying that it cannot bind; `start` reports it
            return

    async def _finalized(self, _request: Request) -> JSONResponse:
        latest = self._witness.latest
        if latest is None:
            return _problem(UnavailableError("nothing is signed yet"))
        return JSONResponse(statement_json(latest))

    async def _block(self, request: Request) -> JSONResponse:
        number = int(request.path_params["number"])
        if number >= 2**64:
            return _problem(InvalidInput("block number must be in uint64"))
        try:
            return JSONResponse(statement_json(await run_in_threadpool(self._witness.sign_at, number)))
        except GoldenGrainError as exc:
            return _problem(exc)

    async def _who(self, _request: Request) -> JSONResponse:
        return JSONResponse(
            {
                "witness": to_checksum(self._witness.address),
                "chain_id": self._witness.chain_id,
                "genesis_hash": "0x" + self._witness.genesis_hash.hex(),
            }
        )


def statement_json(statement: Statement) -> dict[str, object]:
    """Return the JSON object that says a statement; numbers as decimal strings, because JSON's are not exact."""
    return {
        "number": str(statement.block.number),
        "hash": "0x" + statement.block.hash.hex(),
        "timestamp": str(statement.block.timestamp),
        "witness": to_checksum(statement.witness),
        "signature": "0x" + statement.signature.hex(),
    }


def _problem(exc: GoldenGrainError) -> JSONResponse:
    category, status = next(
        ((word, code) for kind, word, code in _STATUS if isinstance(exc, kind)), ("unavailable", 503)
    )
    error = {"category": category, "message": exc.message, "next_step": exc.next_step}
    return JSONResponse({"error": error}, status_code=status)
