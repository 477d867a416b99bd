"""The emulated machine's quotes: real formats under the simulated root, for measurements chosen here."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from goldengrain_enclave.benchmark.namespaces import bubblewrap_path
from goldengrain_enclave.platform import simulated_pki
from goldengrain_enclave.platform.dcap_quote import sgx_quote_v3, tdx_quote
from goldengrain_protocol import wire
from goldengrain_protocol.attestation import VerifiedQuote, measurement_sgx, measurement_tdx, verify_quote
from goldengrain_protocol.frames import FrameDecoder, encode_frame
from tests.unit.enclave.world import CONFIG

NOW = 1_800_000_000
MR_ENCLAVE = hashlib.sha256(b"emulated enclave").digest()
REGISTERS = tuple(hashlib.sha384(b"register %d" % index).digest() for index in range(5))
OTHER_REGISTERS = (*REGISTERS[:4], hashlib.sha384(b"something loaded later").digest())
SGX_MEASUREMENT = measurement_sgx(MR_ENCLAVE)
TDX_MEASUREMENT = measurement_tdx(*REGISTERS)


@dataclass(frozen=True)
class Silicon:
    """One machine under the simulated root."""

    pki: simulated_pki.SimulatedPki

    def sgx(self, **fields: Any) -> Callable[[bytes], bytes]:
        signer = self.pki.quote_signer()
        return lambda data: sgx_quote_v3(signer, MR_ENCLAVE, bytes(32), data, **fields)

    def tdx(self, registers: tuple[bytes, ...] = REGISTERS, **fields: Any) -> Callable[[bytes], bytes]:
        signer = self.pki.quote_signer()
        rtmrs = (registers[1], registers[2], registers[3], registers[4])
        return lambda data: tdx_quote(signer, registers[0], rtmrs, data, **fields)

    def verify(self, quote: bytes, tee: str) -> VerifiedQuote:
        collateral = simulated_pki.collateral_json(self.pki, tee, NOW)
        return verify_quote(quote, collateral, root_der=self.pki.root_der, at_unix_s=NOW)


def staged(*binds: str) -> list[str]:
    """Return the namespaces in which the machine's fixed device paths are those of an emulation."""
    bubblewrap = bubblewrap_path()
    assert bubblewrap is not None
    return [
        *(
            bubblewrap,
            "--unshare-user",
            "--uid",
            "1000",
            "--gid",
            "1000",
            "--unshare-all",
            "--die-with-parent",
        ),
        *("--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", *binds, "--"),
    ]


def relocated(*binds: str) -> list[str]:
    """As `staged`, but only the mounts differ from the machine's, so that a host's whole sandbox fits inside."""
    bubblewrap = bubblewrap_path()
    assert bubblewrap is not None
    return [bubblewrap, "--unshare-user", "--die-with-parent", "--dev-bind", "/", "/", *binds, "--"]


def boot(
    prefix: list[str], platform: str, sealed_identity: bytes = b"", command: list[str] | None = None
) -> tuple[Any, str]:
    """Start `python -m goldengrain_enclave --platform ...` behind `prefix`, boot it, and let it end.

    Returns its reply, or None where it ended without one, and its log.
    """
    program = command or [sys.executable, "-I", "-B", "-m", "goldengrain_enclave", "--platform", platform]
    request = encode_frame(wire.encode_request(wire.BootRequest(CONFIG, sealed_identity)))
    done = subprocess.run([*prefix, *program], input=request, capture_output=True, timeout=120, check=False)
    frames = FrameDecoder().feed(done.stdout)
    return (wire.decode_reply(frames[0]) if frames else None), done.stderr.decode()


def fuse_problem(tmp: Path) -> str:
    """Return why nobody can serve files through the kernel here; empty if they can."""
    from tests.unit.enclave.platform_emulation.fuse import mounted
    from tests.unit.enclave.platform_emulation.trees import ConfigfsTsm

    try:
        with mounted(ConfigfsTsm(lambda data: data), tmp):
            return ""
    except OSError as exc:
        return f"this user may not mount a FUSE file system here ({exc})"
