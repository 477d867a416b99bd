"""BLS signatures of sync committees.

Every key and signature is checked to lie in its prime-order subgroup. Decoding 512 keys is what costs; the
points of the committees seen last are kept, by the bytes of their keys, so it is done once per committee.

Source: draft-irtf-cfrg-bls-signature, FastAggregateVerify with proof of possession; consensus specs,
specs/phase0/beacon-chain.md, "BLS signatures".
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from py_arkworks_bls12381 import GT, G1Point, G2Point

PUBLIC_KEY_BYTES: Final = 48
SIGNATURE_BYTES: Final = 96
DOMAIN_SEPARATION_TAG: Final = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"

_KEPT_COMMITTEES: Final = 8
_MINUS_GENERATOR: Final = -G1Point()
_IDENTITY: Final = G1Point.identity()


def fast_aggregate_verify(
    public_keys: bytes, participants: Sequence[bool], message: bytes, signature: bytes
) -> bool:
    """Return whether all participants together signed `message`.

    Args:
        public_keys: the committee's compressed keys, one after the other.
        participants: one flag per key.
        message: the 32-byte signing root.
        signature: compressed, 96 bytes.

    False if nobody takes part, a participant's key is invalid, or the signature is no point of its subgroup.
    """
    total = None
    for point, takes_part in zip(committee_points(public_keys), participants, strict=True):
        if takes_part:
            if point is None:
                return False
            total = point if total is None else total + point
    if total is None:
        return False
    try:
        # Checks the subgroup.
        signed = G2Point.from_compressed_bytes(signature)
    except ValueError:
        return False
    hashed = G2Point.hash_to_curve(message, DOMAIN_SEPARATION_TAG)
    # e(-g1, signature) * e(key, H(message)) == 1
    return bool(GT.pairing_check([_MINUS_GENERATOR, total], [signed, hashed]))


@lru_cache(maxsize=_KEPT_COMMITTEES)
def committee_points(public_keys: bytes) -> tuple[G1Point | None, ...]:
    """Return the keys as points; None for one that is invalid (no point, outside the subgroup, or zero)."""
    return tuple(
        _point(public_keys[at : at + PUBLIC_KEY_BYTES]) for at in range(0, len(public_keys), PUBLIC_KEY_BYTES)
    )


def _point(key: bytes) -> G1Point | None:
    try:
        # Checks the subgroup.
        point = G1Point.from_compressed_bytes(key)
    except ValueError:
        return None
    return None if point == _IDENTITY else point
