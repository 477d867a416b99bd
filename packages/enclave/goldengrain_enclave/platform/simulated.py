"""The simulated platform: a directory stands in for the silicon.

It contains a hostile model exactly as a real platform would, and its quotes have the real format. It does NOT protect
the model, the test set or the keys from the host: whoever reads the directory owns the enclave. Its assurance is
recorded on chain and refused by every benchmark that asks for hardware.

    python -m goldengrain_enclave.platform.simulated DIR         make DIR, or complete and refresh it
    python -m goldengrain_enclave.platform.simulated --measure   print mr_enclave and the measurement hash
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from goldengrain_protocol.attestation import measurement_sgx
from goldengrain_protocol.constants import Assurance
from goldengrain_protocol.errors import InvalidInput, UnavailableError, VerificationError
from goldengrain_protocol.types import Hash32

from . import base
from .dcap_quote import sgx_quote_v3
from .simulated_pki import COLLATERAL_LIFETIME, SimulatedPki, collateral_json, create_pki
from .source_measurement import source_mr_enclave

SIMULATED_MR_SIGNER: Final = bytes.fromhex("53494d") + bytes(29)
ROOT_FILE: Final = "root.der"
SEALING_SECRET_FILE: Final = "sealing_secret"
REFRESH_BEFORE_S: Final = COLLATERAL_LIFETIME.total_seconds() - 30 * 86_400
"""Collateral older than this (335 days) is issued again when the directory is opened for creation."""

_KEY_ROLES: Final = ("root", "platform_ca", "tcb_signing", "pck", "attestation")
_CERTIFICATE_ROLES: Final = ("root", "platform_ca", "tcb_signing", "pck")
_TEES: Final = ("sgx", "tdx")


class SimulatedPlatform(base.Platform):
    """A platform whose keys lie in a directory. Contains a hostile model; hides nothing from the host."""

    name = "simulated"
    assurance = Assurance.SIMULATED
    required_sandbox_layers = frozenset({"namespaces", "seccomp", "rlimits"})

    def __init__(self, directory: Path) -> None:
        """Load the directory made by `create_directory`.

        Raises:
            UnavailableError: it is missing or incomplete.
        """
        self._pki = load_pki(directory)
        try:
            self._sealing_secret = (directory / SEALING_SECRET_FILE).read_bytes()
        except OSError as exc:
            raise _incomplete(directory) from exc
        self._mr_enclave = source_mr_enclave()

    def measurement(self) -> Hash32:
        return measurement_sgx(self._mr_enclave)

    def quote(self, report_data: bytes) -> bytes:
        if len(report_data) != 64:
            raise InvalidInput(f"report data must be 64 bytes, got {len(report_data)}")
        return sgx_quote_v3(self._pki.quote_signer(), self._mr_enclave, SIMULATED_MR_SIGNER, report_data)

    def seal(self, plaintext: bytes, context: bytes) -> bytes:
        nonce = secrets.token_bytes(12)
        return nonce + AESGCM(self._sealing_key()).encrypt(nonce, plaintext, context)

    def unseal(self, sealed: bytes, context: bytes) -> bytes:
        try:
            if len(sealed) < 12 + 16:
                raise InvalidTag
            return AESGCM(self._sealing_key()).decrypt(sealed[:12], sealed[12:], context)
        except InvalidTag as exc:
            raise VerificationError(
                "the sealed identity was not made by this measurement, platform and configuration",
                next_step="boot with an empty sealed identity and register the new one",
            ) from exc

    def _sealing_key(self) -> bytes:
        info = b"goldengrain/simulated-sealing/v1" + self._mr_enclave
        return HKDF(hashes.SHA256(), 32, None, info).derive(self._sealing_secret)


def create_directory(directory: Path, now_unix_s: int) -> bool:
    """Make `directory` a complete simulated platform; True if it was made now, False if it was there already.

    The directory appears in one rename, so a crash leaves either nothing or all of it. An existing one keeps its keys;
    its collateral is issued again, file by file, when it is near its expiry.

    Raises:
        InvalidInput: the path holds something else.
    """
    directory = directory.absolute()
    directory.parent.mkdir(parents=True, exist_ok=True)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        pki = load_pki(directory)
        _refresh_collateral(directory, pki, now_unix_s)
        return False
    partial = Path(tempfile.mkdtemp(prefix=f".{directory.name}.partial-", dir=directory.parent))
    try:
        _write_directory(partial, now_unix_s)
        os.rename(
            partial, directory
        )  # replaces an empty directory, fails on one that another process completed
    except OSError:
        load_pki(directory)
        return False
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return True


def load_pki(directory: Path) -> SimulatedPki:
    """Return the keys and certificates of a platform directory.

    Raises:
        UnavailableError: it is missing or incomplete.
    """
    try:
        keys: dict[str, ec.EllipticCurvePrivateKey] = {}
        for role in _KEY_ROLES:
            key = serialization.load_der_private_key((directory / f"{role}.key").read_bytes(), None)
            if not isinstance(key, ec.EllipticCurvePrivateKey):
                raise ValueError("not an elliptic-curve key")
            keys[role] = key
        certificates = {
            role: x509.load_der_x509_certificate((directory / f"{role}.der").read_bytes())
            for role in _CERTIFICATE_ROLES
        }
    except (OSError, ValueError) as exc:
        raise _incomplete(directory) from exc
    return SimulatedPki(keys, certificates)


def _write_directory(directory: Path, now_unix_s: int) -> None:
    pki = create_pki(now_unix_s, ppid=secrets.token_bytes(16))
    for role, key in pki.keys.items():
        encoded = key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        _write_private(directory / f"{role}.key", encoded)
    for role, certificate in pki.certificates.items():
        _write_private(directory / f"{role}.der", certificate.public_bytes(serialization.Encoding.DER))
    _write_private(directory / SEALING_SECRET_FILE, secrets.token_bytes(32))
    for tee in _TEES:
        _write_private(directory / f"collateral_{tee}.json", collateral_json(pki, tee, now_unix_s))


def _refresh_collateral(directory: Path, pki: SimulatedPki, now_unix_s: int) -> None:
    for tee in _TEES:
        path = directory / f"collateral_{tee}.json"
        if path.exists() and now_unix_s - path.stat().st_mtime < REFRESH_BEFORE_S:
            continue
        fresh = directory / f".{path.name}.{os.getpid()}"
        _write_private(fresh, collateral_json(pki, tee, now_unix_s))
        os.replace(fresh, path)


def _write_private(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _incomplete(directory: Path) -> UnavailableError:
    return UnavailableError(
        f"no complete simulated platform in {directory}",
        next_step=f"make one: python -m goldengrain_enclave.platform.simulated {directory}",
    )


def main(arguments: list[str] | None = None) -> int:
    """Command line of the simulated platform; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m goldengrain_enclave.platform.simulated", description=__doc__
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("directory", nargs="?", type=Path, metavar="DIR", help="where the platform lies")
    parser.add_argument("--measure", action="store_true", help="print mr_enclave and the measurement hash")
    options = parser.parse_args(arguments)
    if options.directory is None and not options.measure:
        parser.error("name a directory, or --measure")
    if options.directory is not None:
        try:
            made = create_directory(options.directory, int(time.time()))
        except UnavailableError as exc:
            print(f"error: {exc}; move it away and run again", file=sys.stderr)
            return 1
        state = "made" if made else "kept"
        print(f"{state} simulated platform in {options.directory} (SIMULATED, NOT INTEL)", file=sys.stderr)
    if options.measure:
        mr_enclave = source_mr_enclave()
        print(f"mr_enclave={mr_enclave.hex()}\nmeasurement={measurement_sgx(mr_enclave).hex()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
