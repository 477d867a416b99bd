"""The enclave's identity: one key that signs and one that others seal secrets to."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Final

from coincurve import PrivateKey

from goldengrain_enclave.platform.base import Platform
from goldengrain_protocol.config import EnclaveConfig, config_digest
from goldengrain_protocol.eip712 import SECP256K1_ORDER, address_of_public_key
from goldengrain_protocol.errors import VerificationError
from goldengrain_protocol.sealing import open_sealed, x25519_public
from goldengrain_protocol.types import Address, Hash32

_FORMAT: Final = b"GGI1"
_SEAL_TAG: Final = b"goldengrain/enclave-identity/v1"


@dataclass(frozen=True, slots=True)
class Identity:
    """The two private keys of one enclave; they leave it only sealed to its own measurement and configuration."""

    signing_key: bytes = field(repr=False)
    sealing_key: bytes = field(repr=False)

    @property
    def signer(self) -> Address:
        """The Ethereum address of the signing key."""
        return address_of_public_key(PrivateKey(self.signing_key).public_key.format(compressed=False))

    @property
    def sealing_public(self) -> bytes:
        """The X25519 public key that secrets are sealed to."""
        return x25519_public(self.sealing_key)

    def sign(self, digest: Hash32) -> bytes:
        """Return r || s || v (v = 27 or 28) over a 32-byte digest; deterministic (RFC 6979), low s."""
        signature = PrivateKey(self.signing_key).sign_recoverable(digest, hasher=None)
        return signature[:64] + bytes([signature[64] + 27])

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """Return what was sealed to this enclave under `context`.

        Raises:
            InvalidInput, VerificationError: it does not open.
        """
        return open_sealed(self.sealing_key, sealed, context)


def fresh_identity() -> Identity:
    """Return a new identity from the machine's randomness."""
    while True:
        signing_key = secrets.token_bytes(32)
        if 0 < int.from_bytes(signing_key, "big") < SECP256K1_ORDER:
            return Identity(signing_key, secrets.token_bytes(32))


def seal_identity(identity: Identity, platform: Platform, config: EnclaveConfig) -> bytes:
    """Return the identity sealed for the next start; empty where the platform cannot seal.

    The configuration is part of the seal: otherwise a host could start the same signer under a chain-trust mode that
    it controls, and have results signed that the chain takes for those of the registered configuration.
    """
    plaintext = _FORMAT + identity.signing_key + identity.sealing_key
    return platform.seal(plaintext, _context(config)) or b""


def unseal_identity(sealed: bytes, platform: Platform, config: EnclaveConfig) -> Identity:
    """Return the identity of an earlier life with this measurement, platform and configuration.

    Raises:
        VerificationError: it does not open, or is not an identity.
        UnavailableError: the platform cannot unseal.
    """
    plaintext = platform.unseal(sealed, _context(config))
    if len(plaintext) != 68 or plaintext[:4] != _FORMAT:
        raise VerificationError("the sealed identity has another format")
    return Identity(plaintext[4:36], plaintext[36:])


def _context(config: EnclaveConfig) -> bytes:
    return _SEAL_TAG + config_digest(config)
