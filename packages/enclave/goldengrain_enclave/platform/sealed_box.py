"""Sealing under a key that a platform derives for the running code."""

from __future__ import annotations

import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from goldengrain_protocol.errors import VerificationError

_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16


def seal_under(platform_key: bytes, label: bytes, plaintext: bytes, context: bytes) -> bytes:
    """Return nonce (12 bytes) || AES-256-GCM ciphertext of `plaintext`.

    Args:
        platform_key: what the platform derived; never used itself, only through HKDF-SHA256 with `label`.
        context: bound as associated data.
    """
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCM(_key(platform_key, label)).encrypt(nonce, plaintext, context)


def open_under(platform_key: bytes, label: bytes, sealed: bytes, context: bytes) -> bytes:
    """Return what `seal_under` was given.

    Raises:
        VerificationError: another key, label or context, or altered bytes.
    """
    try:
        if len(sealed) < _NONCE_BYTES + _TAG_BYTES:
            raise InvalidTag
        cipher = AESGCM(_key(platform_key, label))
        return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], context)
    except InvalidTag as exc:
        raise VerificationError(
            "the sealed identity was not made by this measurement, platform and configuration",
            next_step="boot with an empty sealed identity and register the new one",
        ) from exc


def _key(platform_key: bytes, label: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, None, label).derive(platform_key)
