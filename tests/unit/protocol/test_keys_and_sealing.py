"""Keys differ wherever their context differs; sealed secrets open for one key under one context only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldengrain_protocol import keyschedule as ks
from goldengrain_protocol import sealing
from goldengrain_protocol.errors import InvalidInput, VerificationError
from goldengrain_protocol.types import Address, Hash32
from tests.conformance.wire_samples import addr, digest

SECRET, KEY32 = bytes(range(32)), bytes([7]) * 32
B32 = st.binary(min_size=32, max_size=32)

DERIVATIONS: dict[str, tuple[Callable[..., bytes], tuple[Any, ...]]] = {
    "content_key": (ks.content_key, (SECRET,)),
    "secret_commitment": (ks.secret_commitment, (SECRET,)),
    "order_pad": (ks.order_pad, (SECRET, 1, addr(1), digest(2), addr(3), digest(4))),
    "submission_secret": (ks.derive_submission_secret, (SECRET, 1, addr(1), digest(2), digest(3))),
    "testset_secret": (ks.derive_testset_secret, (SECRET, 1, addr(1), digest(3))),
    "buyer_private_key": (ks.derive_buyer_private_key, (SECRET, 1, addr(1), digest(2), 0)),
    "submission_context": (sealing.submission_seal_context, (1, addr(1), digest(2), addr(3), digest(4))),
    "testset_context": (sealing.testset_seal_context, (1, addr(1), digest(2), digest(3))),
    "offer_context": (sealing.offer_seal_context, (1, addr(1), digest(2), addr(3), digest(4))),
}


def other(value: Any) -> Any:
    return value + 1 if isinstance(value, int) else bytes([value[0] ^ 1]) + value[1:]


@pytest.mark.parametrize("name", sorted(DERIVATIONS))
def test_every_argument_matters(name: str) -> None:
    function, arguments = DERIVATIONS[name]
    results = {function(*arguments)}
    for at, value in enumerate(arguments):
        results.add(function(*arguments[:at], other(value), *arguments[at + 1 :]))
    assert len(results) == len(arguments) + 1


def test_purposes_never_share_a_key() -> None:
    results = {function(*arguments) for function, arguments in DERIVATIONS.values()}
    assert len(results) == len(DERIVATIONS)


@pytest.mark.parametrize("name", sorted(DERIVATIONS))
def test_arguments_of_another_size_are_refused(name: str) -> None:
    function, arguments = DERIVATIONS[name]
    for at, value in enumerate(arguments):
        for bad in (-1, 2**256) if isinstance(value, int) else (value[:-1], value + b"\0", "text"):
            with pytest.raises(InvalidInput):
                function(*arguments[:at], bad, *arguments[at + 1 :])


@given(secret=B32, buyer_key=B32)
def test_a_sale_gives_the_buyer_the_content_key(secret: bytes, buyer_key: bytes) -> None:
    pad = ks.order_pad(secret, 1, addr(1), digest(2), addr(3), buyer_key)
    delivered = ks.xor32(ks.content_key(secret), pad)
    assert ks.xor32(delivered, pad) == ks.content_key(secret)
    assert ks.key_commitment(ks.xor32(delivered, pad)) == ks.secret_commitment(secret)
    assert len(ks.hashlock(pad)) == 32


@given(private=B32, plaintext=st.binary(max_size=64), context=st.binary(max_size=64))
def test_sealed_opens_only_with_its_key_and_context(private: bytes, plaintext: bytes, context: bytes) -> None:
    sealed = sealing.seal(sealing.x25519_public(private), plaintext, context)
    assert len(sealed) == len(plaintext) + 48
    assert sealing.open_sealed(private, sealed, context) == plaintext
    different = bytes([private[1] ^ 0xFF]) * 32
    for key, data, info in (
        (different, sealed, context),
        (private, sealed, context + b"\0"),
        (private, sealed[:-1] + bytes([sealed[-1] ^ 1]), context),
        (private, sealed + b"\0", context),
    ):
        with pytest.raises(VerificationError):
            sealing.open_sealed(key, data, info)


@pytest.mark.parametrize("point", [bytes(32), b"\1" + bytes(31)])
def test_low_order_keys_are_refused(point: bytes) -> None:
    with pytest.raises(InvalidInput, match="low-order"):
        sealing.seal(point, SECRET, b"")
    with pytest.raises(VerificationError):
        sealing.open_sealed(KEY32, point + bytes(48), b"")


def test_sealed_keys_find_their_enclave() -> None:
    keys = sealing.sealed_keys({addr(9): bytes([9]) * 80, addr(3): bytes([3]) * 80})
    assert [entry.signer for entry in keys.entries] == [addr(3), addr(9)]
    assert sealing.SealedKeys.decode(keys.encode()) == keys
    assert keys.for_signer(addr(9)) == bytes([9]) * 80
    with pytest.raises(VerificationError, match="no key was sealed"):
        keys.for_signer(addr(4))


def test_sealed_keys_fill_the_contracts_limits_as_documented() -> None:
    def size(count: int) -> int:
        return len(
            sealing.sealed_keys({Address(n.to_bytes(20, "big")): bytes(80) for n in range(count)}).encode()
        )

    assert size(9) <= 1024 < size(10)
    assert size(38) <= 4096 < size(39)
    with pytest.raises(InvalidInput, match="at most"):
        sealing.SealedKeys.decode(bytes(4097))


def test_hashlock_is_what_the_contract_computes() -> None:
    from eth_utils import keccak

    assert ks.hashlock(SECRET) == Hash32(keccak(SECRET))
