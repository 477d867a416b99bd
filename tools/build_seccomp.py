"""Compile the model child's system-call policy to BPF and write `seccomp_program.py`.

    python tools/build_seccomp.py           write it
    python tools/build_seccomp.py --check   exit 1 if the committed file differs

Needs pyseccomp and libseccomp; the enclave itself needs neither.
"""

from __future__ import annotations

import argparse
import errno
import sys
import tempfile
from pathlib import Path
from typing import Final

import pyseccomp as seccomp

from goldengrain_enclave.benchmark import seccomp_policy as policy

TARGET: Final = Path(policy.__file__).with_name("seccomp_program.py")
ARCHITECTURES: Final = {"x86_64": seccomp.Arch.X86_64, "aarch64": seccomp.Arch.AARCH64}


def compile_policy(architecture: str) -> bytes:
    """Return the classic BPF program (8-byte instructions) of the policy for `architecture`."""
    program = seccomp.SyscallFilter(seccomp.ERRNO(errno.EPERM))
    wanted = ARCHITECTURES[architecture]
    if not program.exist_arch(wanted):
        program.add_arch(wanted)
    for other in ARCHITECTURES.values():
        if other != wanted and program.exist_arch(other):
            program.remove_arch(other)
    for name in policy.ALLOWED:
        program.add_rule(seccomp.ALLOW, name)
    for name in policy.ENOSYS:
        program.add_rule(seccomp.ERRNO(errno.ENOSYS), name)
    for name in ("mmap", "mprotect"):
        program.add_rule(seccomp.ALLOW, name, seccomp.Arg(2, seccomp.MASKED_EQ, policy.PROT_EXEC, 0))
    threads = seccomp.Arg(0, seccomp.MASKED_EQ, policy.CLONE_THREAD, policy.CLONE_THREAD)
    program.add_rule(seccomp.ALLOW, "clone", threads)
    program.add_rule(seccomp.ALLOW, "prctl", seccomp.Arg(0, seccomp.EQ, policy.PR_SET_NAME))
    program.add_rule(seccomp.ALLOW, "exit_group", seccomp.Arg(0, seccomp.LE, policy.LARGEST_EXIT_CODE))
    with tempfile.TemporaryFile() as file:
        program.export_bpf(file)
        file.seek(0)
        return file.read()


def render() -> str:
    """Return the text of `seccomp_program.py`."""
    lines = [
        '"""Compiled system-call filters of the model child. Made by tools/build_seccomp.py; do not edit."""',
        "",
        "from __future__ import annotations",
        "",
        "from typing import Final",
        "",
        "PROGRAMS: Final[dict[str, bytes]] = {",
    ]
    for architecture in ARCHITECTURES:
        text = compile_policy(architecture).hex()
        lines.append(f'    "{architecture}": bytes.fromhex(')
        lines += [f'        "{text[at : at + 96]}"' for at in range(0, len(text), 96)]
        lines.append("    ),")
    lines += ["}", '"""Classic BPF by machine architecture, 8 bytes an instruction."""', ""]
    return "\n".join(lines)


def main() -> int:
    """Return 0 when the file was written, or is as it should be."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    text = render()
    if not parser.parse_args().check:
        TARGET.write_text(text)
        return 0
    if TARGET.read_text() != text:
        print(f"{TARGET.name} differs from the policy; run python tools/build_seccomp.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
