"""Locks the calling process in: Landlock, then rlimits, then seccomp. Nothing undoes it.

Called by the model child after its libraries are imported and before it reads the first byte of a model. It must still
be single-threaded then: Landlock binds the calling thread and the threads that it starts later.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import struct
from typing import Final

from .seccomp_program import PROGRAMS

LAYERS: Final = ("namespaces", "rlimits", "landlock", "seccomp")
"""Layer names; the position is the bit in a layer mask."""

RUNTIME_ADDRESS_BYTES: Final = 2 * 2**30
"""Address space granted beyond a model's memory limit: Python, the runtime, thread stacks and malloc arenas (2 GiB)."""
RUNTIME_DATA_BYTES: Final = 256 * 2**20
"""Private writable memory granted beyond a model's memory limit: what the runtime itself needs (256 MiB)."""

_SYS_SECCOMP: Final = {"x86_64": 317, "aarch64": 277}
_SYS_LANDLOCK_CREATE_RULESET: Final = 444
_SYS_LANDLOCK_RESTRICT_SELF: Final = 446
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38
_SECCOMP_SET_MODE_FILTER: Final = 1
_SECCOMP_FILTER_FLAG_TSYNC: Final = 1
_LANDLOCK_ACCESS_NET_ALL: Final = 0b11
_LANDLOCK_SCOPE_ALL: Final = 0b11


class _SockFprog(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def layer_mask(names: frozenset[str]) -> int:
    """Return the bit mask of layer names."""
    return sum(1 << LAYERS.index(name) for name in names)


def layer_names(mask: int) -> frozenset[str]:
    """Return the layer names of a bit mask; unknown bits are ignored."""
    return frozenset(name for bit, name in enumerate(LAYERS) if mask >> bit & 1)


def lock_down(*, cpu_s: int, memory_bytes: int, runtime_bytes: int = RUNTIME_DATA_BYTES) -> frozenset[str]:
    """Apply every layer that this kernel has and return the names of those that are active.

    Args:
        cpu_s: processor seconds from now on, over all threads.
        memory_bytes: the model's own memory, on top of what the runtime needs.
        runtime_bytes: private memory granted on top.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    active = set()
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return frozenset()
    if _restrict_files(libc):  # before the limits: it needs one more file descriptor
        active.add("landlock")
    if _set_rlimits(cpu_s, memory_bytes, runtime_bytes):
        active.add("rlimits")
    if _filter_system_calls(libc):
        active.add("seccomp")
    return frozenset(active)


def _set_rlimits(cpu_s: int, memory_bytes: int, runtime_bytes: int) -> bool:
    used = resource.getrusage(resource.RUSAGE_SELF)
    spent_s = int(used.ru_utime + used.ru_stime) + 1
    limits = {
        # the soft limit raises SIGXCPU, which ends the process; the hard one is there in case it is ignored
        resource.RLIMIT_CPU: (cpu_s + spent_s, cpu_s + spent_s + 2),
        resource.RLIMIT_AS: (memory_bytes + RUNTIME_ADDRESS_BYTES,) * 2,
        resource.RLIMIT_DATA: (memory_bytes + runtime_bytes,) * 2,
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_FSIZE: (0, 0),
        resource.RLIMIT_MEMLOCK: (0, 0),
        resource.RLIMIT_MSGQUEUE: (0, 0),
        resource.RLIMIT_NOFILE: (0, 0),
    }
    try:
        for which, limit in limits.items():
            resource.setrlimit(which, limit)
    except (OSError, ValueError):
        return False
    return True


def _restrict_files(libc: ctypes.CDLL) -> bool:
    """Handle every access right that the kernel knows and grant none. Source: landlock(7)."""
    abi = libc.syscall(_SYS_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if abi < 1:
        return False
    file_rights = (1 << 13) - 1
    for rights_since, bit in ((2, 13), (3, 14), (5, 15)):
        if abi >= rights_since:
            file_rights |= 1 << bit
    attributes = struct.pack("<Q", file_rights)
    if abi >= 4:
        attributes += struct.pack("<Q", _LANDLOCK_ACCESS_NET_ALL)
    if abi >= 6:
        attributes += struct.pack("<Q", _LANDLOCK_SCOPE_ALL)
    ruleset = libc.syscall(_SYS_LANDLOCK_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    if ruleset < 0:
        return False
    try:
        return bool(libc.syscall(_SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


def _filter_system_calls(libc: ctypes.CDLL) -> bool:
    machine = os.uname().machine
    program = PROGRAMS.get(machine)
    if program is None:
        return False
    buffer = ctypes.create_string_buffer(program, len(program))
    argument = _SockFprog(len(program) // 8, ctypes.addressof(buffer))
    # TSYNC: every thread of the process gets the filter, or the call fails
    result = libc.syscall(
        _SYS_SECCOMP[machine],
        _SECCOMP_SET_MODE_FILTER,
        _SECCOMP_FILTER_FLAG_TSYNC,
        ctypes.byref(argument),
    )
    return result == 0 and _opening_is_refused()


def _opening_is_refused() -> bool:
    try:
        os.close(os.open("/", os.O_RDONLY))
    except OSError as exc:
        return exc.errno == errno.EPERM
    return False
