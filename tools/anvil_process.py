"""Finds and runs anvil, the development chain, for measurements and tests."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

REPOSITORY: Final = Path(__file__).resolve().parent.parent
BESIDE_ENVIRONMENT: Final = REPOSITORY / ".venv" / "tools" / "node_modules" / ".bin" / "anvil"
HARDFORK: Final = "osaka"
START_TIMEOUT_S: Final = 30.0


def find_anvil() -> Path | None:
    """Return the anvil binary: `GG_ANVIL` if set, else the one beside the environment, else from PATH."""
    named = os.environ.get("GG_ANVIL")
    if named:
        return Path(named) if os.access(named, os.X_OK) else None
    if BESIDE_ENVIRONMENT.exists():
        return BESIDE_ENVIRONMENT
    found = shutil.which("anvil")
    return Path(found) if found else None


def call_rpc(url: str, method: str, *parameters: object) -> Any:
    """Return the `result` of one JSON-RPC call.

    Raises:
        RuntimeError: the node answered with an error; its message is kept.
        OSError: the node could not be reached.
    """
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
        answer = json.load(response)
    if "error" in answer:
        raise RuntimeError(f"{method}: {answer['error'].get('message', answer['error'])}")
    return answer["result"]


@contextlib.contextmanager
def running_anvil(*arguments: str) -> Iterator[str]:
    """Yield the URL of a fresh chain on a free local port; stop it on the way out.

    Raises:
        RuntimeError: there is no anvil, or it does not answer within `START_TIMEOUT_S`.
    """
    binary = find_anvil()
    if binary is None:
        raise RuntimeError("no anvil found: run `make setup`, or set GG_ANVIL to the binary")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(binary), "--port", str(port), "--hardfork", HARDFORK, "--silent", *arguments]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        _await_answer(process, url)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_answer(process: subprocess.Popen[bytes], url: str) -> None:
    give_up_at = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < give_up_at:
        if process.poll() is not None:
            raise RuntimeError(f"anvil ended with exit code {process.returncode} before it answered")
        try:
            call_rpc(url, "eth_chainId")
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"anvil did not answer within {START_TIMEOUT_S:.0f} s")
