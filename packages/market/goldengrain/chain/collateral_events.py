"""Events of the contracts that keep collateral."""

from dataclasses import dataclass

from goldengrain.chain.events import Event
from goldengrain_protocol.types import Hash32


@dataclass(frozen=True, slots=True)
class AuthorityPostedEvent(Event):
    """A certificate that the root signed was accepted. `name` is the digest of its subject."""

    contract = "CollateralCertificates"
    event = "AuthorityPosted"
    authority: Hash32
    issuer: Hash32
    x: int
    y: int
    name: Hash32
    terms: int


@dataclass(frozen=True, slots=True)
class CrlPostedEvent(Event):
    """A revocation list was accepted. Times in Unix seconds."""

    contract = "CollateralCertificates"
    event = "CrlPosted"
    issuer: Hash32
    issued: int
    expiry: int
    entries: int
    document_digest: Hash32


@dataclass(frozen=True, slots=True)
class TcbInfoPostedEvent(Event):
    """TCB levels of one kind of platform were accepted. `tee`: 0 SGX, 1 TDX. Times in Unix seconds."""

    contract = "CollateralTcb"
    event = "TcbInfoPosted"
    tee: int
    fmspc: int
    evaluation_number: int
    issued: int
    expiry: int
    document_digest: Hash32


@dataclass(frozen=True, slots=True)
class QeIdentityPostedEvent(Event):
    """The identity of a quoting enclave was accepted. `tee`: 0 SGX, 1 TDX. Times in Unix seconds."""

    contract = "CollateralTcb"
    event = "QeIdentityPosted"
    tee: int
    evaluation_number: int
    issued: int
    expiry: int
    document_digest: Hash32
