"""Asking an enclave for an offer, and believing it only after checking everything it rests on."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import IO, Any, Final

from goldengrain.bounded_json import decode_json
from goldengrain.sdk.benchmarks import Progress
from goldengrain.sdk.session import Session
from goldengrain.sdk.submissions import SaleState, SubmissionView
from goldengrain.sdk.trust import verify_enclave, verify_terms
from goldengrain_protocol.container import decode_header
from goldengrain_protocol.eip712 import offer_digest, recover_signer
from goldengrain_protocol.errors import GoldenGrainError, InvalidInput, UnavailableError, VerificationError
from goldengrain_protocol.messages import Offer
from goldengrain_protocol.sealing import offer_seal_context, open_sealed
from goldengrain_protocol.types import Address
from goldengrain_protocol.wire import OfferReply, decode_reply

TIMEOUT_S: Final = 60
MAX_REPLY_BYTES: Final = 1 << 20
READ_BYTES: Final = 1 << 12


@dataclass(frozen=True, slots=True)
class CheckedOffer:
    """An offer whose every claim was checked: paying its hashlock buys the key of the bytes already fetched."""

    offer: Offer
    signer: Address
    signature: bytes


def fetch_offer(
    session: Session,
    view: SubmissionView,
    *,
    buyer_private_key: bytes,
    buyer_key: bytes,
    on_progress: Progress | None = None,
) -> CheckedOffer:
    """Return an offer for this account and `buyer_key`, with the model's ciphertext in the local cache.

    Raises:
        InvalidInput: the submission is not for sale.
        VerificationError: the offer, the enclave or the ciphertext does not check out.
        UnavailableError: no worker answered, or the ciphertext cannot be fetched.
    """
    if view.state != SaleState.FOR_SALE:
        raise InvalidInput(f"the submission is not for sale: {view.state.value}")
    verify_terms(session, view.terms)
    fetch_ciphertext(session, view, on_progress=on_progress)
    request = {
        "submission_id": "0x" + view.submission_id.hex(),
        "buyer": session.account.checksum,
        "buyer_key": "0x" + buyer_key.hex(),
    }
    failures: list[str] = []
    for url in session.worker_urls:
        try:
            reply = _post(f"{url.rstrip('/')}/v1/offer", request)
            return verify_offer(
                session, view, reply, buyer_private_key=buyer_private_key, buyer_key=buyer_key
            )
        except GoldenGrainError as exc:
            failures.append(f"{url}: {exc.message}")
            last = exc
    if len(failures) == 1:
        raise last
    raise UnavailableError(
        "no worker gave a valid offer: " + "; ".join(failures) if failures else "no worker is known",
        next_step="start one with `gg worker run`, or name one with --worker URL",
    )


def fetch_ciphertext(session: Session, view: SubmissionView, *, on_progress: Progress | None = None) -> None:
    """Bring the container of a submission into the local cache, checked against the chain's digests."""
    tell = on_progress or (lambda _what, _done, _total: None)
    path = session.blobs.fetch(
        view.body.content_digest,
        on_progress=lambda done, total: tell("fetching the encrypted model", done, total),
    )
    with path.open("rb") as stream:
        header = decode_header(stream.read(4096))
    if header.secret_commitment != view.body.secret_commitment:
        raise VerificationError(
            "the encrypted model commits to another key than the submission",
            next_step="do not buy this submission",
        )


def verify_offer(
    session: Session, view: SubmissionView, reply: OfferReply, *, buyer_private_key: bytes, buyer_key: bytes
) -> CheckedOffer:
    """Return the offer if a registered enclave of the benchmark's code made it for exactly this purchase."""
    offer = reply.offer
    # 1. It is about what was asked.
    if offer.submission_id != view.submission_id or offer.buyer != session.account.address:
        raise VerificationError("the offer is for another submission or buyer")
    if offer.buyer_key != buyer_key:
        raise VerificationError("the offer is for another buyer key")
    # 2. Its signer is a registered enclave of the code that the benchmark names.
    digest = offer_digest(session.chain_id, session.market_address, offer)
    signer = recover_signer(digest, reply.signature)
    verify_enclave(session, view.terms, signer)
    # 3. The sealed pad opens with this purchase's key, so that nothing but the preimage will be missing.
    context = offer_seal_context(
        session.chain_id, session.market_address, view.submission_id, offer.buyer, offer.hashlock
    )
    pad = open_sealed(buyer_private_key, offer.sealed_pad, context)
    if len(pad) != 32:
        raise VerificationError(f"the sealed pad has {len(pad)} bytes, expected 32")
    return CheckedOffer(offer, signer, reply.signature)


def _post(url: str, document: dict[str, str]) -> OfferReply:
    body = json.dumps(document).encode()
    request = urllib.request.Request(url, body, {"content-type": "application/json"})  # noqa: S310
    if not url.startswith(("http://", "https://")):
        raise InvalidInput(f"worker address must be http(s), got {url!r}")
    try:
        deadline = time.monotonic() + TIMEOUT_S
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
            answer = _document(_read(response, deadline))
    except urllib.error.HTTPError as exc:
        problem = _document(_read(exc, deadline)).get("error")
        raise _remote_error(problem, exc.code) from exc
    except (OSError, http.client.HTTPException) as exc:
        raise UnavailableError(
            f"the worker does not answer ({type(exc).__name__})",
            next_step="start one with `gg worker run`, or name one with --worker URL",
        ) from exc
    encoded = answer.get("reply")
    if not isinstance(encoded, str):
        raise UnavailableError("the worker answered without an offer")
    try:
        raw = bytes.fromhex(encoded.removeprefix("0x"))
    except ValueError as exc:
        raise UnavailableError("the worker's answer is not hexadecimal") from exc
    try:
        reply = decode_reply(raw)
    except InvalidInput as exc:
        raise UnavailableError(f"the worker's answer is no message: {exc.message}") from exc
    if not isinstance(reply, OfferReply):
        raise UnavailableError("the worker answered with something else than an offer")
    return reply


def _read(response: IO[bytes], deadline: float) -> bytes:
    """Return the body, within the limits of size and time: a worker that drips bytes meets them, too."""
    body = bytearray()
    while part := response.read(min(READ_BYTES, MAX_REPLY_BYTES + 1 - len(body))):
        body += part
        if time.monotonic() > deadline:
            raise UnavailableError(f"the worker did not answer within {TIMEOUT_S} s")
        if len(body) > MAX_REPLY_BYTES:
            raise UnavailableError(f"the worker answered with over {MAX_REPLY_BYTES} bytes")
    return bytes(body)


def _document(raw: bytes) -> dict[str, Any]:
    try:
        document = decode_json(raw)
    except ValueError as exc:
        raise UnavailableError("the worker's answer is not JSON") from exc
    if not isinstance(document, dict):
        raise UnavailableError("the worker's answer is not a JSON object")
    return document


def _remote_error(problem: object, status: int) -> GoldenGrainError:
    if not isinstance(problem, dict):
        return UnavailableError(f"the worker answered with status {status}")
    message = f"the worker refused: {str(problem.get('message', 'no reason given'))[:500]}"
    next_step = str(problem.get("next_step", ""))[:500]
    kinds = {"invalid": InvalidInput, "verification": VerificationError}
    return kinds.get(str(problem.get("category")), UnavailableError)(message, next_step=next_step)
