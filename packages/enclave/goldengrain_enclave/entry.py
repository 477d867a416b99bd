"""The enclave's one door: bytes in, bytes out. And the loop that serves it on a pipe.

    bytes -> JobRequest -> VerifiedJob -> OpenedJob -> BenchmarkResult -> SignedResult -> bytes

Each stage takes only its predecessor's type, so an unverified job cannot reach a key. Every failure leaves as an
`ErrorReply` that says what is wrong with the request or the machine; what is wrong with a model leaves as a signed
result instead.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import resource
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from goldengrain_protocol.attestation import report_data
from goldengrain_protocol.config import config_digest
from goldengrain_protocol.errors import GoldenGrainError, InvalidInput, UnavailableError, VerificationError
from goldengrain_protocol.frames import FrameDecoder, frame_header
from goldengrain_protocol.wire import (
    BootReply,
    BootRequest,
    ErrorCategory,
    ErrorReply,
    EvaluateReply,
    JobRequest,
    OfferReply,
    OfferRequest,
    Reply,
    decode_request,
    encode_reply,
)

from .benchmark.engine import run_benchmark
from .benchmark.lockdown import LAYERS
from .benchmark.sandbox import Sandbox
from .decrypt import TestsetStore, open_job
from .keys import Identity, fresh_identity, seal_identity, unseal_identity
from .platform.base import Platform
from .platform.select import PLATFORM_NAMES, open_platform
from .result import sign_offer, sign_result
from .verify import EnclaveFacts, verify_job, verify_offer

READ_BYTES: Final = 2**20
_PR_SET_DUMPABLE: Final = 4
_CATEGORIES: Final[tuple[tuple[type[Exception], ErrorCategory], ...]] = (
    (InvalidInput, "invalid"),
    (VerificationError, "verification"),
    (UnavailableError, "unavailable"),
)


@dataclass(frozen=True, slots=True)
class _Booted:
    facts: EnclaveFacts
    identity: Identity
    reply: BootReply


class Enclave:
    """An enclave in memory: its identity once booted, test sets it has opened, its sandbox."""

    def __init__(self, platform: Platform, sandbox: Sandbox) -> None:
        """Prepare an enclave that waits for its `BootRequest`; starts nothing."""
        self._platform = platform
        self._sandbox = sandbox
        self._booted: _Booted | None = None
        self._testsets = TestsetStore()

    def answer(self, request: bytes) -> bytes:
        """Return the encoded reply to an encoded request. Raises nothing but `SystemExit` and `KeyboardInterrupt`."""
        try:
            reply = self._reply(request)
        except GoldenGrainError as exc:
            reply = ErrorReply(_category(exc), exc.message[:1000], exc.next_step[:1000])
        except MemoryError:
            reply = ErrorReply("unavailable", "the enclave is out of memory", "give the machine more memory")
        except Exception as exc:  # noqa: BLE001  the boundary: nothing of an unknown error but its type may leave
            reply = ErrorReply("internal", f"internal error of type {type(exc).__name__}", "report it")
        return encode_reply(reply)

    def close(self) -> None:
        """End every child."""
        self._sandbox.close()

    def _reply(self, data: bytes) -> Reply:
        request = decode_request(data)
        match request:
            case BootRequest():
                return self._boot(request)
            case JobRequest():
                return self._evaluate(request)
            case OfferRequest():
                return self._offer(request)

    def _boot(self, request: BootRequest) -> BootReply:
        """Boot once; the same request again gets the same reply, another configuration is refused."""
        if self._booted is not None:
            if request.config != self._booted.facts.config:
                raise InvalidInput(
                    "the enclave is booted with another configuration",
                    next_step="start another enclave process",
                )
            return self._booted.reply
        self._sandbox.layers()  # fail closed: no identity in a process that cannot contain a model
        if request.sealed_identity:
            identity = unseal_identity(request.sealed_identity, self._platform, request.config)
            sealed = request.sealed_identity
        else:
            identity = fresh_identity()
            sealed = seal_identity(identity, self._platform, request.config)
        facts = EnclaveFacts(request.config, self._platform.measurement(), self._platform.assurance)
        digest = config_digest(request.config)
        quote = self._platform.quote(report_data(identity.signer, identity.sealing_public, digest))
        reply = BootReply(identity.signer, identity.sealing_public, facts.measurement, digest, quote, sealed)
        self._booted = _Booted(facts, identity, reply)
        return reply

    def _evaluate(self, request: JobRequest) -> EvaluateReply:
        state = self._require_booted()
        job = verify_job(request, state.facts)
        opened = open_job(job, state.facts.config, state.identity, self._testsets)
        found = run_benchmark(opened, self._sandbox)
        signed = sign_result(found, state.facts, state.identity)
        return EvaluateReply(signed.result, signed.signature, signed.evidence)

    def _offer(self, request: OfferRequest) -> OfferReply:
        state = self._require_booted()
        signed = sign_offer(verify_offer(request, state.facts), state.facts, state.identity)
        return OfferReply(signed.offer, signed.signature)

    def _require_booted(self) -> _Booted:
        if self._booted is None:
            raise InvalidInput("the enclave is not booted", next_step="send a boot request first")
        return self._booted


def serve(enclave: Enclave, descriptor_in: int, descriptor_out: int) -> None:
    """Answer frames until the other side closes the pipe.

    Raises:
        InvalidInput: the stream is no sequence of frames.
    """
    for request in _requests(descriptor_in):
        reply = enclave.answer(request)
        for part in (frame_header(len(reply)), reply):
            view = memoryview(part)
            while view:
                view = view[os.write(descriptor_out, view) :]


def main(arguments: list[str] | None = None) -> int:
    """Start from the command line and serve on standard input and output; returns the exit code."""
    options = _parse(arguments)
    _harden()
    frames_out = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints goes to the log, never between two frames
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit_cleanly)
    try:
        platform = open_platform(options.platform, options.platform_dir)
        required = platform.required_sandbox_layers
        if options.dangerous_sandbox_layers is not None:
            required = frozenset(filter(None, options.dangerous_sandbox_layers.split(",")))
        sandbox = Sandbox(required, threads=options.threads)
        sandbox.prestart()
    except GoldenGrainError as exc:
        _log(f"error: {exc.message}" + (f"; next: {exc.next_step}" if exc.next_step else ""))
        return 1
    enclave = Enclave(platform, sandbox)
    try:
        serve(enclave, 0, frames_out)
    except BrokenPipeError:
        return 0
    except GoldenGrainError as exc:
        _log(f"error: {exc.message}")
        return 1
    finally:
        enclave.close()
    return 0


def _requests(descriptor: int) -> Iterator[bytes]:
    decoder = FrameDecoder()
    while data := os.read(descriptor, READ_BYTES):
        yield from decoder.feed(data)
    decoder.finish()


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m goldengrain_enclave", description="Serve frames on a pipe."
    )
    parser.add_argument("--platform", required=True, help=f"TEE platform: {', '.join(PLATFORM_NAMES)}")
    parser.add_argument(
        "--platform-dir", type=Path, metavar="DIR", help="directory of the simulated platform"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="threads of the model runtime")
    parser.add_argument(
        "--dangerous-sandbox-layers",
        metavar="LIST",
        help=f"require only these layers ({','.join(LAYERS)}) instead of the platform's; shown in the evidence",
    )
    return parser.parse_args(arguments)


def _harden() -> None:
    """No core dumps, and no reading of this process's memory by others of the same user."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _category(exc: GoldenGrainError) -> ErrorCategory:
    for kind, name in _CATEGORIES:
        if isinstance(exc, kind):
            return name
    return "internal"


def _exit_cleanly(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


def _log(text: str) -> None:
    sys.stderr.write(f"enclave: {text}\n")
