"""Posting collateral: whoever brings the vendor's signed bytes may, and the contracts accept only what is newer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from goldengrain.chain.address_book import DCAP_KIND, VerifierEntry
from goldengrain.chain.artifacts import load_artifact
from goldengrain.chain.collateral_events import (
    AuthorityPostedEvent,
    CrlPostedEvent,
    QeIdentityPostedEvent,
    TcbInfoPostedEvent,
)
from goldengrain.chain.dcap import (
    PckForm,
    Post,
    Role,
    collateral_posts,
    platform_fmspc,
    quote_call,
    split_quote,
)
from goldengrain.chain.events import Event, read_events
from goldengrain.chain.reverts import RevertError
from goldengrain.chain.transactions import TransactionRequest
from goldengrain.sdk.session import Session
from goldengrain_protocol.errors import InvalidInput
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.types import Hash32


@dataclass(frozen=True, slots=True)
class PostReport:
    """One piece of collateral. `posted` is False where the contract had it, or something newer, already."""

    subject: str
    posted: bool
    tx_hash: Hash32 | None
    gas_used: int


def post_collateral(
    session: Session,
    verifier: VerifierEntry,
    collateral_json: bytes,
    *,
    on_progress: Callable[[str], None] = lambda _what: None,
) -> list[PostReport]:
    """Post everything in one collateral document that the verifier does not know yet. Any account may.

    Raises:
        InvalidInput: the verifier does not verify on chain, or the document is malformed.
        VerificationError: the contract refuses a piece: wrong signature, expired, older.
        UnavailableError: the node is away; running it again continues.
    """
    require_dcap(verifier)
    posts = collateral_posts(collateral_json)
    # What certificates sign counts only once the certificates are there.
    certificates = [post for post in posts if post.function == "post_authority"]
    signed = [post for post in posts if post.function != "post_authority"]
    return [
        report
        for phase in (certificates, signed)
        for report in _post_all(session, verifier, phase, on_progress)
    ]


@dataclass(frozen=True, slots=True)
class PostedCollateral:
    """One piece that a verifier's contracts accepted. `expiry` in Unix seconds; 0 where it has none of its own."""

    what: str
    about: str
    expiry: int
    block_number: int


def list_collateral(session: Session, verifier: VerifierEntry) -> list[PostedCollateral]:
    """Return everything that was posted to a verifier of kind dcap, in chain order."""
    require_dcap(verifier)
    start, client = session.book.deployed_at_block, session.client
    rows: list[tuple[tuple[int, int], PostedCollateral]] = []

    def add(event: Event, what: str, about: str, expiry: int) -> None:
        number = event.meta.block_number
        rows.append(((number, event.meta.log_index), PostedCollateral(what, about, expiry, number)))

    for authority in read_events(client, verifier.certificates, AuthorityPostedEvent, from_block=start):
        role = Role(authority.terms >> 200).name.lower().replace("_", " ")
        add(
            authority, "certificate", f"{role} 0x{authority.authority.hex()[:16]}", authority.terms & _MASK_40
        )
    for crl in read_events(client, verifier.certificates, CrlPostedEvent, from_block=start):
        add(crl, "revocation list", f"issuer 0x{crl.issuer.hex()[:16]}, {crl.entries} revoked", crl.expiry)
    for info in read_events(client, verifier.tcb, TcbInfoPostedEvent, from_block=start):
        about = f"{_TEES[info.tee]} platforms {info.fmspc:012X}, evaluation {info.evaluation_number}"
        add(info, "TCB levels", about, info.expiry)
    for identity in read_events(client, verifier.tcb, QeIdentityPostedEvent, from_block=start):
        about = f"{_TEES[identity.tee]}, evaluation {identity.evaluation_number}"
        add(identity, "quoting enclave", about, identity.expiry)
    return [row for _, row in sorted(rows, key=lambda each: each[0])]


_TEES = {0: "SGX", 1: "TDX"}
_MASK_40 = 2**40 - 1


def registration_call(quote: bytes, *, remember: bool = True) -> tuple[bytes, bytes]:
    """Return (quote, evidence) as `EnclaveRegistry.register` takes them for a verifier of kind `dcap`.

    Args:
        remember: also let the contract keep the platform's certificate, which makes the next registration cheaper.
    """
    form = PckForm.CERTIFICATE_AND_REMEMBER if remember else PckForm.CERTIFICATE
    return quote_call(quote, form=form)


@dataclass(frozen=True, slots=True)
class ChainVerdict:
    """What a verifier on chain says of a quote now. `expiry` in Unix seconds, `report_data` 64 bytes."""

    measurement: Hash32
    report_data: bytes
    tcb_status: int
    assurance: int
    expiry: int
    platform: Hash32
    fmspc: bytes


def ask_verifier(session: Session, verifier: VerifierEntry, quote: bytes) -> ChainVerdict:
    """Return the verdict of a verifier of kind dcap, by a call that sends nothing.

    Raises:
        InvalidInput: the verifier is of another kind, or the quote is malformed.
        VerificationError: the contract refuses the quote; the message is its reason.
    """
    require_dcap(verifier)
    signed, evidence = quote_call(quote, form=PckForm.CERTIFICATE)
    artifact = load_artifact("QuoteVerifier")
    answer = session.client.call(
        verifier.address, artifact.encode_call("verify_quote", [signed, evidence]), block="latest"
    )
    (fields,) = artifact.decode_result("verify_quote", answer)
    measurement, high, low, tcb_status, assurance, expiry, platform = cast("tuple[Any, ...]", fields)
    return ChainVerdict(
        measurement=Hash32(measurement),
        report_data=bytes(high) + bytes(low),
        tcb_status=tcb_status,
        assurance=assurance,
        expiry=expiry,
        platform=Hash32(platform),
        fmspc=platform_fmspc(split_quote(quote)),
    )


def require_dcap(verifier: VerifierEntry) -> None:
    """Raise InvalidInput unless the verifier checks quotes on chain."""
    if verifier.kind != DCAP_KIND:
        raise InvalidInput(
            f"verifier {verifier.name!r} is an auditor quorum and keeps no collateral",
            next_step="name a verifier of kind dcap with --verifier",
        )


def _post_all(
    session: Session, verifier: VerifierEntry, posts: list[Post], on_progress: Callable[[str], None]
) -> list[PostReport]:
    """Send all first, then wait for all."""
    reports: dict[str, PostReport] = {}
    sent: list[tuple[str, Post]] = []
    for post in posts:
        on_progress(f"posting {post.subject}")
        address = verifier.certificates if post.contract == "CollateralCertificates" else verifier.tcb
        data = load_artifact(post.contract).encode_call(post.function, post.arguments)
        purpose = f"collateral:0x{address.hex()}:{keccak256(data).hex()[:32]}"
        try:
            session.sender.submit(purpose, TransactionRequest(address, data, what=f"posting {post.subject}"))
            sent.append((purpose, post))
        except RevertError as exc:
            if not any(word in exc.message for word in ALREADY_THERE):
                raise
            reports[post.subject] = PostReport(post.subject, posted=False, tx_hash=None, gas_used=0)
    for purpose, post in sent:
        receipt = session.sender.wait(purpose)
        reports[post.subject] = PostReport(
            post.subject, posted=True, tx_hash=receipt.tx_hash, gas_used=receipt.gas_used
        )
    return [reports[post.subject] for post in posts]


ALREADY_THERE = ("not newer", "older evaluation")
"""What the contracts say of a piece that they have."""
