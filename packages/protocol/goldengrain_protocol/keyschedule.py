"""Which key comes from which: HKDF-SHA256 (RFC 5869) with one label for each purpose.

    s ── content ──► K ── commitment ──► secret commitment (on chain, and in the container's header)
    └─── order ────► k ── keccak ──────► hashlock

`K` encrypts the content; `k` is the one-time pad and preimage of one order. The commitment goes through
`K`, so the enclave (which has `s`) and the buyer (who has only `K`) check the same 32 bytes.

Source: docs/spec/keys.md.
"""

from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from goldengrain_protocol.constants import SALT_BYTES, SECRET_BYTES, X25519_KEY_BYTES
from goldengrain_protocol.errors import InvalidInput
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.types import Address, Hash32, address, fixed_bytes, hash32

_CONTENT: Final = b"goldengrain/v1/content"
_COMMITMENT: Final = b"goldengrain/v1/commitment"
_ORDER: Final = b"goldengrain/v1/order"
_CONTAINER: Final = b"goldengrain/v1/container"
_SUBMISSION_SECRET: Final = b"goldengrain/v1/submission-secret"
_TESTSET_SECRET: Final = b"goldengrain/v1/testset-secret"
_BUYER_KEY: Final = b"goldengrain/v1/buyer-key"


def content_key(secret: bytes) -> bytes:
    """Return K, the 32-byte key that opens the content, from the secret `s`."""
    return _derive(_secret(secret), _CONTENT)


def key_commitment(key: bytes) -> Hash32:
    """Return the commitment to a content key K; binding and hiding for a uniformly random K."""
    return Hash32(_derive(fixed_bytes(key, SECRET_BYTES, "content key"), _COMMITMENT))


def secret_commitment(secret: bytes) -> Hash32:
    """Return the commitment to the secret `s`: the key commitment of its content key."""
    return key_commitment(content_key(secret))


def order_pad(
    secret: bytes, chain_id: int, market: Address, submission_id: Hash32, buyer: Address, buyer_key: bytes
) -> bytes:
    """Return k, the 32-byte pad of one order. Revealing it (the claim) serves this buyer key only."""
    context = _u256(chain_id) + address(market) + hash32(submission_id) + address(buyer)
    return _derive(_secret(secret), _ORDER, context + fixed_bytes(buyer_key, X25519_KEY_BYTES, "buyer key"))


def hashlock(preimage: bytes) -> Hash32:
    """Return keccak-256 of the 32-byte preimage, as `Market.claim` computes it."""
    return keccak256(fixed_bytes(preimage, SECRET_BYTES, "preimage"))


def container_stream_key(key: bytes, kind: int, salt: bytes) -> tuple[bytes, bytes]:
    """Return the AES-256 key and the 7-byte nonce prefix of one container."""
    fixed_bytes(key, SECRET_BYTES, "content key")
    salt = fixed_bytes(salt, SALT_BYTES, "container salt")
    okm = HKDF(SHA256(), 39, salt, _CONTAINER + bytes([kind])).derive(key)
    return okm[:32], okm[32:]


def derive_submission_secret(
    account_key: bytes, chain_id: int, market: Address, benchmark_id: Hash32, salt: bytes
) -> bytes:
    """Return the secret `s` of a submission, so that a developer who has the account can derive it again.

    Args:
        account_key: the account's private key, 32 bytes.
        salt: 32 bytes, random, fresh for every submission, kept in the container's header.
    """
    context = _u256(chain_id) + address(market) + hash32(benchmark_id) + _salt(salt)
    return _derive(_account(account_key), _SUBMISSION_SECRET, context)


def derive_testset_secret(account_key: bytes, chain_id: int, market: Address, salt: bytes) -> bytes:
    """Return the secret of a test set, so that a provider who has the account can derive it again."""
    context = _u256(chain_id) + address(market) + _salt(salt)
    return _derive(_account(account_key), _TESTSET_SECRET, context)


def derive_buyer_private_key(
    account_key: bytes, chain_id: int, market: Address, submission_id: Hash32, order_nonce: int
) -> bytes:
    """Return the X25519 private key of one order, so that a buyer who has the account can derive it again.

    Args:
        order_nonce: 0, 1, 2, ... for successive orders of one submission; never used twice.
    """
    context = _u256(chain_id) + address(market) + hash32(submission_id) + _u256(order_nonce)
    return _derive(_account(account_key), _BUYER_KEY, context)


def xor32(a: bytes, b: bytes) -> bytes:
    """Return the bitwise exclusive or of two 32-byte strings."""
    left, right = fixed_bytes(a, 32, "left operand"), fixed_bytes(b, 32, "right operand")
    return bytes(x ^ y for x, y in zip(left, right, strict=True))


def _derive(key_material: bytes, label: bytes, context: bytes = b"") -> bytes:
    return HKDF(SHA256(), 32, None, label + context).derive(key_material)


def _secret(secret: bytes) -> bytes:
    return fixed_bytes(secret, SECRET_BYTES, "secret")


def _account(account_key: bytes) -> bytes:
    return fixed_bytes(account_key, 32, "account key")


def _salt(salt: bytes) -> bytes:
    return fixed_bytes(salt, SALT_BYTES, "salt")


def _u256(value: int) -> bytes:
    if not isinstance(value, int) or not 0 <= value < 2**256:
        raise InvalidInput(f"expected an integer in uint256, got {value}")
    return value.to_bytes(32, "big")
