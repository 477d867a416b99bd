"""EIP-712 digests of what enclaves and auditors sign, and recovery of who signed.

Signing is done where the keys live (enclave, auditor), not here.

Source: EIP-712; docs/spec/messages.md, "Signatures".
"""

from dataclasses import dataclass
from typing import Final

from coincurve import PublicKey

from goldengrain_protocol import abi
from goldengrain_protocol.constants import SIGNATURE_BYTES
from goldengrain_protocol.errors import InvalidInput, VerificationError
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.messages import Offer, Result
from goldengrain_protocol.types import Address, Hash32, fixed_bytes, hash32

MARKET_NAME: Final = "GoldenGrain Market"
AUDITOR_NAME: Final = "GoldenGrain AuditorQuorumVerifier"
DOMAIN_VERSION: Final = "1"

SECP256K1_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""Source: SEC 2, section 2.4.1."""

DOMAIN_TYPEHASH: Final = keccak256(
    b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
RESULT_TYPEHASH: Final = keccak256(
    b"Result(bytes32 submissionId,uint8 outcome,uint32 scorePpm,uint32 boundPpm,address worker,"
    b"uint64 anchorNumber,bytes32 anchorHash,bytes32 evidenceDigest)"
)
OFFER_TYPEHASH: Final = keccak256(
    b"Offer(bytes32 submissionId,address buyer,bytes32 buyerKey,bytes32 hashlock,bytes32 sealedPadDigest)"
)
QUOTE_VERIFIED_TYPEHASH: Final = keccak256(
    b"QuoteVerified(bytes32 quoteDigest,bytes32 measurement,bytes32 reportDataHigh,bytes32 reportDataLow,"
    b"uint8 tcbStatus,uint64 expiry,bytes32 platform)"
)
PLATFORM_REVOKED_TYPEHASH: Final = keccak256(b"PlatformRevoked(bytes32 platform)")


@dataclass(frozen=True, slots=True)
class QuoteVerified:
    """What an auditor states: that it verified a quote, and what the quote says."""

    quote_digest: Hash32
    """keccak-256 of the quote."""
    measurement: Hash32
    report_data_high: Hash32
    """The first 32 bytes of the quote's report data."""
    report_data_low: Hash32
    """The last 32 bytes of the quote's report data."""
    tcb_status: int
    expiry: int
    """Unix seconds, uint64."""
    platform: Hash32

    def __post_init__(self) -> None:
        for value in (self.quote_digest, self.measurement, self.report_data_high, self.report_data_low):
            hash32(value)
        hash32(self.platform)
        if not 0 <= self.tcb_status < 2**8 or not 0 <= self.expiry < 2**64:
            raise InvalidInput("tcb_status must be in uint8 and expiry in uint64")


def domain_separator(name: str, chain_id: int, contract: Address) -> Hash32:
    """Return the EIP-712 domain separator of `name`, version "1", on this chain at this contract."""
    return keccak256(
        abi.words(
            DOMAIN_TYPEHASH, keccak256(name.encode()), keccak256(DOMAIN_VERSION.encode()), chain_id, contract
        )
    )


def market_domain_separator(chain_id: int, market: Address) -> Hash32:
    """Return the domain separator under which enclaves sign."""
    return domain_separator(MARKET_NAME, chain_id, market)


def auditor_domain_separator(chain_id: int, verifier: Address) -> Hash32:
    """Return the domain separator under which auditors sign."""
    return domain_separator(AUDITOR_NAME, chain_id, verifier)


def result_digest(chain_id: int, market: Address, result: Result) -> Hash32:
    """Return what an enclave signs to state `result`."""
    return _digest(
        market_domain_separator(chain_id, market),
        abi.words(
            RESULT_TYPEHASH,
            result.submission_id,
            int(result.outcome),
            result.score_ppm,
            result.bound_ppm,
            result.worker,
            result.anchor_number,
            result.anchor_hash,
            result.evidence_digest,
        ),
    )


def offer_digest(chain_id: int, market: Address, offer: Offer) -> Hash32:
    """Return what an enclave signs to make `offer`."""
    return _digest(
        market_domain_separator(chain_id, market),
        abi.words(
            OFFER_TYPEHASH,
            offer.submission_id,
            offer.buyer,
            hash32(offer.buyer_key),
            offer.hashlock,
            keccak256(offer.sealed_pad),
        ),
    )


def quote_verified_digest(chain_id: int, verifier: Address, statement: QuoteVerified) -> Hash32:
    """Return what an auditor signs to state that a quote verified."""
    return _digest(
        auditor_domain_separator(chain_id, verifier),
        abi.words(
            QUOTE_VERIFIED_TYPEHASH,
            statement.quote_digest,
            statement.measurement,
            statement.report_data_high,
            statement.report_data_low,
            statement.tcb_status,
            statement.expiry,
            statement.platform,
        ),
    )


def platform_revoked_digest(chain_id: int, verifier: Address, platform: Hash32) -> Hash32:
    """Return what an auditor signs to state that a platform must no longer be trusted."""
    return _digest(
        auditor_domain_separator(chain_id, verifier), abi.words(PLATFORM_REVOKED_TYPEHASH, platform)
    )


def recover_signer(digest: Hash32, signature: bytes) -> Address:
    """Return the address whose key made `signature` over `digest`.

    Args:
        signature: r (32 bytes), s (32), v (1: 27 or 28).

    Raises:
        InvalidInput: not 65 bytes, v not 27 or 28, r or s zero or not below the group order.
        VerificationError: s in the upper half of the order (EIP-2), or no key fits.
    """
    signature = fixed_bytes(signature, SIGNATURE_BYTES, "signature")
    r, s, v = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big"), signature[64]
    if v not in (27, 28):
        raise InvalidInput(f"signature v must be 27 or 28, got {v}")
    if not 0 < r < SECP256K1_ORDER or not 0 < s < SECP256K1_ORDER:
        raise InvalidInput("signature r and s must be in 1..n - 1")
    if s > SECP256K1_ORDER // 2:
        raise VerificationError("signature s is in the upper half of the group order")
    try:
        key = PublicKey.from_signature_and_message(
            signature[:64] + bytes([v - 27]), hash32(digest), hasher=None
        )
    except ValueError as exc:
        raise VerificationError("signature recovers to no key") from exc
    return address_of_public_key(key.format(compressed=False))


def address_of_public_key(public_key: bytes) -> Address:
    """Return the address of an uncompressed secp256k1 public key (65 bytes, 0x04 first)."""
    if len(public_key) != 65 or public_key[0] != 4:
        raise InvalidInput("public key must be 65 bytes beginning with 0x04")
    return Address(keccak256(public_key[1:])[12:])


def _digest(domain: Hash32, struct: bytes) -> Hash32:
    return keccak256(b"\x19\x01" + domain + keccak256(struct))
