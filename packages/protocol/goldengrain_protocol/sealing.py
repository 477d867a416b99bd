"""Sealing 32-byte secrets to an enclave's or a buyer's X25519 key with HPKE.

Suite: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM, base mode; the context goes into `info`.
A sealed value is `enc || ciphertext`: 32 bytes of encapsulated key, then ciphertext and 16 bytes of tag.
The ephemeral key of `seal` is drawn inside the cryptography library: the one place in this package
where randomness enters.

Source: RFC 9180; docs/spec/keys.md.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from goldengrain_protocol.canonical import decode, encode
from goldengrain_protocol.constants import MAX_TESTSET_SEALED_BYTES, SEALED_SECRET_BYTES, X25519_KEY_BYTES
from goldengrain_protocol.errors import InvalidInput, VerificationError
from goldengrain_protocol.types import Address, Hash32, address, fixed_bytes, hash32

_OVERHEAD_BYTES: Final = 48
_SUBMISSION: Final = b"goldengrain/seal/submission/v1"
_TESTSET: Final = b"goldengrain/seal/testset/v1"
_OFFER: Final = b"goldengrain/seal/offer/v1"


def x25519_public(private_key: bytes) -> bytes:
    """Return the 32-byte X25519 public key of a 32-byte private key."""
    key = fixed_bytes(private_key, X25519_KEY_BYTES, "x25519 private key")
    return X25519PrivateKey.from_private_bytes(key).public_key().public_bytes_raw()


def seal(public_key: bytes, plaintext: bytes, context: bytes) -> bytes:
    """Return `plaintext` sealed to `public_key`, openable only with the same `context`.

    Not deterministic: HPKE draws an ephemeral key.

    Raises:
        InvalidInput: the public key is not 32 bytes, or a low-order point.
    """
    key = X25519PublicKey.from_public_bytes(fixed_bytes(public_key, X25519_KEY_BYTES, "x25519 public key"))
    try:
        return _suite().encrypt(plaintext, key, info=context)
    except ValueError as exc:
        raise InvalidInput("x25519 public key is a low-order point") from exc


def open_sealed(private_key: bytes, sealed: bytes, context: bytes) -> bytes:
    """Return the plaintext that was sealed to this key under this context.

    Raises:
        InvalidInput: the key is not 32 bytes, or `sealed` is too short to hold anything.
        VerificationError: it does not open: another key, another context, or altered bytes.
    """
    key = X25519PrivateKey.from_private_bytes(
        fixed_bytes(private_key, X25519_KEY_BYTES, "x25519 private key")
    )
    if len(sealed) < _OVERHEAD_BYTES:
        raise InvalidInput(f"sealed value must have at least {_OVERHEAD_BYTES} bytes, got {len(sealed)}")
    try:
        return _suite().decrypt(bytes(sealed), key, info=context)
    except (InvalidTag, ValueError) as exc:
        raise VerificationError("sealed value does not open with this key and context") from exc


def submission_seal_context(
    chain_id: int, market: Address, benchmark_id: Hash32, developer: Address, content_digest: Hash32
) -> bytes:
    """Return the context of a submission's sealed secret."""
    return (
        _SUBMISSION
        + _chain(chain_id, market)
        + hash32(benchmark_id)
        + address(developer)
        + hash32(content_digest)
    )


def testset_seal_context(
    chain_id: int, market: Address, benchmark_id: Hash32, testset_digest: Hash32
) -> bytes:
    """Return the context of a test set's sealed secret.

    It names the benchmark, whose identifier fixes owner, fee, cap and step: copies of the sealed keys are
    of no use in a benchmark that somebody else opens with laxer terms to probe the same test set.
    """
    return _TESTSET + _chain(chain_id, market) + hash32(benchmark_id) + hash32(testset_digest)


def offer_seal_context(
    chain_id: int, market: Address, submission_id: Hash32, buyer: Address, hashlock: Hash32
) -> bytes:
    """Return the context of an offer's sealed pad."""
    return _OFFER + _chain(chain_id, market) + hash32(submission_id) + address(buyer) + hash32(hashlock)


@dataclass(frozen=True, slots=True)
class SealedKey:
    """A 32-byte secret sealed to one enclave."""

    signer: Address
    """The enclave's signing address, under which its sealing key is registered."""
    sealed: bytes

    def __post_init__(self) -> None:
        address(self.signer)
        fixed_bytes(self.sealed, SEALED_SECRET_BYTES, "sealed secret")


@dataclass(frozen=True, slots=True)
class SealedKeys:
    """One secret sealed to several enclaves, as it travels in an event: RLP [[signer, sealed], ...]."""

    entries: tuple[SealedKey, ...]
    """At least one, signers strictly ascending."""

    def __post_init__(self) -> None:
        signers = [entry.signer for entry in self.entries]
        if not signers:
            raise InvalidInput("sealed keys must name at least one enclave")
        if any(low >= high for low, high in pairwise(signers)):
            raise InvalidInput("sealed keys must be in strictly ascending order of their signers")

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode([[entry.signer, entry.sealed] for entry in self.entries])

    @classmethod
    def decode(cls, data: bytes) -> "SealedKeys":
        """Return the list that `data` encodes.

        Raises:
            InvalidInput: not canonical, empty, unordered, a wrong length, or longer than 4,096 bytes.
        """
        if len(data) > MAX_TESTSET_SEALED_BYTES:
            raise InvalidInput(f"sealed keys have at most {MAX_TESTSET_SEALED_BYTES} bytes, got {len(data)}")
        items = decode(data)
        if not isinstance(items, list):
            raise InvalidInput("sealed keys must be a list")
        entries: list[SealedKey] = []
        for item in items:
            if not isinstance(item, list) or len(item) != 2:
                raise InvalidInput("a sealed key must be a list of signer and sealed secret")
            signer, sealed = item
            if not isinstance(signer, bytes) or not isinstance(sealed, bytes):
                raise InvalidInput("signer and sealed secret must be strings")
            entries.append(SealedKey(address(signer), sealed))
        return cls(tuple(entries))

    def for_signer(self, signer: Address) -> bytes:
        """Return the secret sealed to the enclave `signer`.

        Raises:
            VerificationError: nothing was sealed to it.
        """
        for entry in self.entries:
            if entry.signer == signer:
                return entry.sealed
        raise VerificationError(f"no key was sealed to the enclave 0x{signer.hex()}")


def sealed_keys(entries: dict[Address, bytes]) -> SealedKeys:
    """Return the list of `entries` (signer to sealed secret), put into order."""
    return SealedKeys(tuple(SealedKey(signer, entries[signer]) for signer in sorted(entries)))


def _suite() -> Suite:
    return Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def _chain(chain_id: int, market: Address) -> bytes:
    if not isinstance(chain_id, int) or not 0 <= chain_id < 2**256:
        raise InvalidInput(f"chain id must be in uint256, got {chain_id}")
    return chain_id.to_bytes(32, "big") + address(market)
