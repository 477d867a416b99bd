"""T: a model that takes over its child process. From inside, everything that could do harm is tried and fails.

Each attempt is made three times: free (it succeeds, so the attempt is a real one), in the whole sandbox, and in the
child without its namespaces (so that seccomp and Landlock hold alone).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from goldengrain_enclave.benchmark.namespaces import bubblewrap_path, namespace_command

pytestmark = pytest.mark.sandbox

PROBE = """
import ctypes, json, os, signal, socket, sys, threading, mmap
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime
from goldengrain_enclave.benchmark import lockdown
locked, secret_file, writable = sys.argv[1] == "locked", sys.argv[2], sys.argv[3]
parent, secret_at = int(sys.argv[4]), int(sys.argv[5])
libc = ctypes.CDLL(None, use_errno=True)
environment = dict(os.environ)
active = lockdown.lock_down(cpu_s=20, memory_bytes=2**28) if locked else frozenset()

class Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))

def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result

def read_parent_memory():
    buffer = ctypes.create_string_buffer(16)
    local, remote = Vector(ctypes.addressof(buffer), 16), Vector(secret_at, 16)
    checked(libc.process_vm_readv(parent, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0))
    return buffer.raw.decode()

def read_parent_through_proc():
    with open(f"/proc/{parent}/mem", "rb") as memory:
        memory.seek(secret_at)
        return memory.read(16).decode()

def fork():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)

def spawn():
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)

def ptrace_parent():
    checked(libc.ptrace(16, parent, None, None))   # PTRACE_ATTACH
    libc.waitpid(parent, None, 0x40000000)
    checked(libc.ptrace(17, parent, None, None))   # PTRACE_DETACH

def executable_memory():
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()

def more_memory():
    mmap.mmap(-1, 2**32).close()

ATTEMPTS = {
    "open a file": lambda: open(secret_file).read(),
    "list a directory": lambda: os.listdir("/"),
    "create a file": lambda: open(writable, "w").write("x"),
    "remove a file": lambda: os.unlink(writable),
    "socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM).close(),
    "unix socket": lambda: socket.socketpair(),
    "fork": fork,
    "spawn": spawn,
    "kill the parent": lambda: os.kill(parent, 0),
    "kill itself": lambda: os.kill(os.getpid(), 0),
    "ptrace the parent": ptrace_parent,
    "read the parent's memory": read_parent_memory,
    "read the parent through /proc": read_parent_through_proc,
    "new user namespace": lambda: checked(libc.unshare(0x10000000)),
    "executable memory": executable_memory,
    "4 GiB of memory": more_memory,
    "raise a limit": lambda: __import__("resource").setrlimit(7, (100, 100)),
    "exec": lambda: os.execv("/bin/true", ["true"]) if locked else None,
}
outcome = {}
for name, attempt in ATTEMPTS.items():
    try:
        result = attempt()
        outcome[name] = "succeeded" if not isinstance(result, str) else f"succeeded: {result}"
    except (OSError, MemoryError, ValueError) as exc:
        outcome[name] = f"failed: {type(exc).__name__}"
worker = threading.Thread(target=lambda: outcome.update({"thread": "succeeded"}))
worker.start(); worker.join()
outcome["environment"] = sorted(environment)
outcome["layers"] = sorted(active)
os.write(1, json.dumps(outcome).encode())
"""

SECRET = b"enclave key 1234"


def probe(tmp_path: Path, *, namespaces: bool, locked: bool) -> dict[str, str]:
    """Run every attempt in a child like the one that runs models; `locked` as a model would find it."""
    secret_file, writable = tmp_path / "secret.txt", tmp_path / "written.txt"
    secret_file.write_text("test set")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    address = holder.stdout.readline().strip()
    command = [sys.executable, "-I", "-B", "-c", PROBE]
    bubblewrap = bubblewrap_path()
    if namespaces:
        assert bubblewrap is not None
        command = [*namespace_command(bubblewrap), *command]
    arguments = ["locked" if locked else "free", str(secret_file), str(writable), str(holder.pid), address]
    try:
        result = subprocess.run([*command, *arguments], env={}, capture_output=True, timeout=60, check=False)
    finally:
        holder.communicate("")
    assert result.returncode == 0, result.stderr.decode()
    outcome: dict[str, str] = json.loads(result.stdout)
    return outcome


HOLDER = """
import ctypes, sys
held = ctypes.create_string_buffer(b"enclave key 1234")
print(ctypes.addressof(held), flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def free(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return probe(tmp_path_factory.mktemp("free"), namespaces=False, locked=False)


@pytest.fixture(scope="module")
def sandboxed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return probe(tmp_path_factory.mktemp("sandboxed"), namespaces=True, locked=True)


@pytest.fixture(scope="module")
def without_namespaces(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return probe(tmp_path_factory.mktemp("bare"), namespaces=False, locked=True)


ATTEMPTS = [
    "open a file",
    "list a directory",
    "create a file",
    "remove a file",
    "socket",
    "unix socket",
    "fork",
    "spawn",
    "kill the parent",
    "kill itself",
    "ptrace the parent",
    "read the parent's memory",
    "read the parent through /proc",
    "executable memory",
    "exec",
]


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_attempt_fails_in_the_sandbox(
    attempt: str, free: dict[str, str], sandboxed: dict[str, str], without_namespaces: dict[str, str]
) -> None:
    if os.geteuid() == 0 or attempt not in {"ptrace the parent", "read the parent's memory"}:
        assert free[attempt].startswith("succeeded"), free[attempt]
    assert sandboxed[attempt].startswith("failed"), sandboxed[attempt]
    assert without_namespaces[attempt].startswith("failed"), without_namespaces[attempt]


def test_free_probe_really_reads_the_key(free: dict[str, str]) -> None:
    if os.geteuid() == 0:
        assert free["read the parent's memory"] == f"succeeded: {SECRET.decode()}"
    assert free["open a file"] == "succeeded: test set"


@pytest.mark.parametrize("attempt", ["4 GiB of memory", "raise a limit", "new user namespace"])
def test_limits_cannot_be_left(attempt: str, sandboxed: dict[str, str]) -> None:
    assert sandboxed[attempt].startswith("failed"), sandboxed[attempt]


def test_threads_still_start_because_the_runtime_needs_them(sandboxed: dict[str, str]) -> None:
    assert sandboxed["thread"] == "succeeded"


def test_all_layers_are_confirmed(sandboxed: dict[str, str]) -> None:
    assert {"seccomp", "rlimits"} <= set(sandboxed["layers"])


def test_environment_is_empty_but_for_what_the_child_sets(sandboxed: dict[str, str]) -> None:
    assert set(sandboxed["environment"]) <= {"ORT_DISABLE_TELEMETRY", "PWD", "LC_CTYPE"}
