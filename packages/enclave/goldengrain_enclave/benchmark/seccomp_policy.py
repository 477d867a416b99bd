"""Which system calls the model child may make once it is locked down; every other one returns EPERM.

`seccomp_program.py` holds the BPF compiled from this list, so that neither libseccomp nor a compiler is part of the
trusted base. `tools/build_seccomp.py` makes it again; a test compares.
"""

from __future__ import annotations

from typing import Final

ALLOWED: Final = (
    # the two pipes
    *("read", "write", "readv", "writev", "pread64", "close", "fstat", "lseek", "poll", "ppoll"),
    # memory; mmap and mprotect stand below, without PROT_EXEC
    *("munmap", "brk", "mremap", "madvise", "membarrier"),
    # threads and their scheduling
    *("futex", "set_robust_list", "rseq", "exit", "gettid", "getpid", "sched_yield", "sched_getaffinity"),
    *("sched_setaffinity", "sched_getparam", "sched_getscheduler", "getcpu", "restart_syscall"),
    # signals that the process delivers to itself on a fault
    *("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack"),
    # clocks and randomness
    *("clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "times", "getrandom"),
    # facts about the machine
    *("sysinfo", "uname", "getrusage"),
)

CLONE_THREAD: Final = 0x10000
PROT_EXEC: Final = 4
PR_SET_NAME: Final = 15
LARGEST_EXIT_CODE: Final = 127
"""Codes above it are how the namespace's init reports a signal; a model must not be able to feign one."""

ENOSYS: Final = ("clone3",)
"""Answered with "not implemented", so that the C library falls back to `clone`, whose flags can be checked."""
