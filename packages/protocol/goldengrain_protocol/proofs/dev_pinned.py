"""Chain trust for development chains: a pinned genesis and a number of confirmations.

No security against the host, who can make up headers at will; it catches mistakes (another chain, a
block not yet buried), not lies. Deployments that are not marked as development refuse this mode.

Source: docs/spec/proofs.md, "dev-pinned".
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from goldengrain_protocol.canonical import decode, encode, encode_int
from goldengrain_protocol.config import DEV_PINNED, ChainTrustConfig
from goldengrain_protocol.constants import MAX_HEADER_BYTES, MAX_TRUST_EVIDENCE_BYTES
from goldengrain_protocol.errors import InvalidInput, VerificationError
from goldengrain_protocol.proofs.header import decode_header
from goldengrain_protocol.proofs.trusted_block import TrustedBlock
from goldengrain_protocol.rlp_fields import Fields
from goldengrain_protocol.types import Hash32, hash32

MAX_CONFIRMATIONS: Final = 256


@dataclass(frozen=True, slots=True)
class DevPinned:
    """The mode `dev-pinned` with its parameters."""

    genesis_hash: Hash32
    confirmations: int
    """Headers that must follow the anchor; 0 trusts the anchor alone."""

    def __post_init__(self) -> None:
        hash32(self.genesis_hash)
        if not 0 <= self.confirmations <= MAX_CONFIRMATIONS:
            raise InvalidInput(f"confirmations must be in 0..{MAX_CONFIRMATIONS}, got {self.confirmations}")

    def checkpoint(self) -> bytes:
        """Return the canonical bytes: RLP [genesis_hash, confirmations]."""
        return encode([self.genesis_hash, encode_int(self.confirmations)])

    def config(self) -> ChainTrustConfig:
        """Return the configuration that names this mode with these parameters."""
        return ChainTrustConfig(DEV_PINNED, self.checkpoint())

    @classmethod
    def from_checkpoint(cls, data: bytes) -> "DevPinned":
        """Return the mode that the checkpoint `data` states. Raises: InvalidInput."""
        f = Fields(decode(data), "dev-pinned checkpoint", 2)
        return cls(f.hash32(), f.uint(16))

    def finalized(self, evidence: bytes) -> TrustedBlock:
        """Return the anchor: the first header, which at least `confirmations` linked headers follow.

        Args:
            evidence: RLP [header, ...], anchor first, each the parent of the next.

        Raises:
            InvalidInput: malformed evidence or header.
            VerificationError: too few headers, headers that do not link, or another genesis.
        """
        if len(evidence) > MAX_TRUST_EVIDENCE_BYTES:
            raise InvalidInput(f"trust evidence has at most {MAX_TRUST_EVIDENCE_BYTES} bytes")
        blobs = Fields([decode(evidence)], "trust evidence", 1).blobs(
            most_items=MAX_CONFIRMATIONS + 1, most_bytes=MAX_HEADER_BYTES
        )
        headers = [decode_header(blob) for blob in blobs]
        if len(headers) < self.confirmations + 1:
            raise VerificationError(
                f"anchor must have {self.confirmations} confirmations, got {max(0, len(headers) - 1)}"
            )
        anchor = headers[0]
        if anchor.number == 0 and anchor.hash != self.genesis_hash:
            raise VerificationError("block 0 is not the pinned genesis")
        if anchor.number == 1 and anchor.parent_hash != self.genesis_hash:
            raise VerificationError("block 1 does not follow the pinned genesis")
        for parent, child in pairwise(headers):
            if child.parent_hash != parent.hash or child.number != parent.number + 1:
                raise VerificationError(f"header {child.number} does not follow header {parent.number}")
        return TrustedBlock(anchor.number, anchor.hash)


def encode_evidence(headers: list[bytes]) -> bytes:
    """Return the evidence for `finalized`: anchor first, then its descendants in order (RLP headers)."""
    return encode(headers)
