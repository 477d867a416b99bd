"""Selling: submit an encrypted model to a benchmark, and see what became of it."""

from __future__ import annotations

import hmac
import json
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from goldengrain.chain.events import AttestedEvent, OrderedEvent, ScoredEvent, SubmittedEvent
from goldengrain.home import atomic_write, read_json_object
from goldengrain.sdk.benchmarks import BenchmarkView, Progress, fetch_spec, get_benchmark
from goldengrain.sdk.interface import check_interface
from goldengrain.sdk.session import Session
from goldengrain.sdk.trust import require_usable_enclaves, verify_terms
from goldengrain_protocol.commitments import digest_of
from goldengrain_protocol.constants import BenchmarkState, SubmissionState
from goldengrain_protocol.container import ContainerKind, decode_header, encrypt_container
from goldengrain_protocol.errors import InvalidInput, UnavailableError
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.keyschedule import derive_submission_secret, secret_commitment
from goldengrain_protocol.messages import Benchmark, Submission, body_hash, record_id, submission_id
from goldengrain_protocol.sealing import seal, sealed_keys, submission_seal_context
from goldengrain_protocol.types import Address, Hash32

MAX_SEALED_COPIES: Final = 8
"""Enclaves that one submission names (each sealed copy costs about 3,000 gas)."""

POLL_S: Final = 0.5


class SaleState(StrEnum):
    """What a submission is now, in the words shown to people."""

    WAITING = "waiting for its score"
    FOR_SALE = "for sale"
    NOT_PRICED = "scored, not for sale"
    MODEL_FAILED = "model failed"
    FEE_RECLAIMED = "fee taken back"
    OVERDUE = "no result in time: fee can be taken back"


@dataclass(frozen=True, slots=True)
class SubmissionView:
    """One submission as the chain shows it. `price` in the smallest unit of the benchmark's token."""

    submission_id: Hash32
    body: Submission
    terms: Benchmark
    sealed_keys: bytes
    state: SaleState
    score_ppm: int | None
    bound_ppm: int | None
    price: int | None
    evidence_digests: tuple[Hash32, ...]
    orders: int
    submit_tx: Hash32
    result_tx: Hash32 | None


def submit_model(
    session: Session,
    benchmark: Hash32,
    onnx_model: bytes,
    *,
    reserve: int = 0,
    payee: Address | None = None,
    on_progress: Progress | None = None,
) -> Hash32:
    """Encrypt and upload a model and submit it on chain with the benchmark's fee; return its submission id.

    Safe to call again after a crash: the same model continues the same submission and pays once.

    Args:
        onnx_model: serialised ONNX with the inputs and output that the benchmark's spec names.
        reserve: the lowest price you accept, in the smallest unit of the benchmark's token.
        payee: who is paid; the session's account by default.

    Raises:
        InvalidInput: the model does not fit the spec, or the benchmark takes no submission from this account now.
        VerificationError: the benchmark's terms name code or a verifier that the address book does not trust.
        UnavailableError: no registered enclave serves the benchmark, or node or storage is away.
    """
    tell = on_progress or (lambda _what, _done, _total: None)
    view = get_benchmark(session, benchmark)
    verify_terms(session, view.terms)
    spec = fetch_spec(session, view.terms)
    check_interface(onnx_model, spec)
    for attempt in range(view.terms.submission_cap + 1):
        prepared = _prepare(session, benchmark, onnx_model, attempt)
        earlier = _find_submitted(session, benchmark, prepared.content_digest)
        if earlier is None:
            break
        state = session.market.submission_status(earlier, block="latest").state
        if state != SubmissionState.RECLAIMED:
            return earlier
    draft = _SubmissionDraft(session, benchmark, prepared.content_digest)
    sealed = draft.sealed_keys
    if sealed is None:
        _require_accepting(session, view)
        enclaves = require_usable_enclaves(session, view.terms)[:MAX_SEALED_COPIES]
        context = submission_seal_context(
            session.chain_id,
            session.market_address,
            benchmark,
            session.account.address,
            prepared.content_digest,
        )
        sealed = sealed_keys(
            {each.signer: seal(each.sealing_key, prepared.secret, context) for each in enclaves}
        ).encode()
    session.blobs.put(
        prepared.container, on_progress=lambda done, total: tell("uploading the encrypted model", done, total)
    )
    body = Submission(
        benchmark_id=benchmark,
        developer=session.account.address,
        payee=payee or session.account.address,
        content_digest=prepared.content_digest,
        secret_commitment=secret_commitment(prepared.secret),
        sealed_digest=keccak256(sealed),
        reserve=reserve,
    )
    draft.save(sealed, prepared.salt)
    sale = view.terms.sale
    identity = submission_id(sale, body_hash(session.chain_id, session.market_address, body))
    tell("submitting on chain", 0, 1)
    session.sender.send(
        f"submit:0x{identity.hex()}",
        session.market.submit(body, sale, sealed, view.terms.fee_wei),
    )
    tell("submitting on chain", 1, 1)
    return identity


def get_submission(session: Session, identity: Hash32) -> SubmissionView:
    """Return one finalised submission.

    Raises:
        InvalidInput: the market has no such submission (yet finalised).
    """
    events = _submitted_events(session, submission_id=identity)
    if not events:
        raise InvalidInput(
            f"no submission 0x{identity.hex()} on this market",
            next_step="see `gg model list`; a new one appears when its block is final",
        )
    return _view(session, events[0])


def list_submissions(
    session: Session, *, benchmark: Hash32 | None = None, developer: Address | None = None
) -> list[SubmissionView]:
    """Return finalised submissions, oldest first, of one benchmark or developer or all."""
    filters = {
        name: value
        for name, value in (("benchmark_id", benchmark), ("developer", developer))
        if value is not None
    }
    return [_view(session, event) for event in _submitted_events(session, **filters)]


def wait_for_score(
    session: Session, identity: Hash32, *, timeout_s: float = 600, on_progress: Progress | None = None
) -> SubmissionView:
    """Return the submission once a finalised result or its reclaimed fee ended the wait.

    Raises:
        UnavailableError: nothing came within `timeout_s`; the submission itself is unharmed.
    """
    started = time.monotonic()
    while True:
        elapsed = time.monotonic() - started
        if on_progress is not None:
            on_progress("waiting for the score", int(elapsed), int(timeout_s))
        if _submitted_events(session, submission_id=identity):
            view = get_submission(session, identity)
            if view.state != SaleState.WAITING:
                return view
        if elapsed > timeout_s:
            raise UnavailableError(
                f"no score for 0x{identity.hex()} within {timeout_s:.0f} s",
                next_step="check that a worker runs; after the result window `gg model reclaim` returns the fee",
            )
        time.sleep(POLL_S)


def reclaim_fee(session: Session, identity: Hash32) -> None:
    """Take back the fee of a submission that got no result in time."""
    view = get_submission(session, identity)
    if view.state == SaleState.FEE_RECLAIMED:
        return
    if view.state != SaleState.OVERDUE:
        raise InvalidInput(f"the fee cannot be taken back: the submission is {view.state.value}")
    session.sender.send(f"reclaim:0x{identity.hex()}", session.market.reclaim_fee(view.terms.sale, view.body))


def recover_secret(session: Session, view: SubmissionView) -> bytes:
    """Derive again the secret of one's own submission from the account key and the container's header.

    Raises:
        InvalidInput: the submission is not this account's.
        UnavailableError: neither the local note nor the blob store has the container's header.
    """
    if view.body.developer != session.account.address:
        raise InvalidInput("the submission belongs to another account", next_step="choose it with --account")
    salt = _SubmissionDraft(session, view.body.benchmark_id, view.body.content_digest).salt
    if salt is None:
        salt = decode_header(session.blobs.get(view.body.content_digest)).salt
    secret = derive_submission_secret(
        session.account.dangerous_private_key(),
        session.chain_id,
        session.market_address,
        view.body.benchmark_id,
        salt,
    )
    if secret_commitment(secret) != view.body.secret_commitment:
        raise InvalidInput("the derived secret does not fit the submission's commitment")
    return secret


@dataclass(frozen=True, slots=True)
class _Prepared:
    secret: bytes
    salt: bytes
    container: bytes
    content_digest: Hash32


def _prepare(session: Session, benchmark: Hash32, onnx_model: bytes, attempt: int) -> _Prepared:
    # The salt is a keyed function of the model: one key never encrypts two different models, and running the
    # same command again makes the same bytes.
    key = session.account.dangerous_private_key()
    tag = b"goldengrain/model-salt/v1" + attempt.to_bytes(4, "big")
    salt = hmac.digest(key, tag + onnx_model, "sha256")
    secret = derive_submission_secret(key, session.chain_id, session.market_address, benchmark, salt)
    container = encrypt_container(onnx_model, ContainerKind.MODEL, secret, salt)
    return _Prepared(secret, salt, container, digest_of(container))


class _SubmissionDraft:
    """The local note of a submission: its salt and sealed keys, written before the transaction is sent.

    Sealing is randomised and the submission id commits to the sealed bytes, so a second run needs the first's.
    """

    def __init__(self, session: Session, benchmark: Hash32, content_digest: Hash32) -> None:
        directory = session.home.root / "submissions"
        self._session = session
        self._path: Path = directory / f"{benchmark.hex()[:16]}-{content_digest.hex()}.json"
        self._note = read_json_object(self._path) if self._path.exists() else {}

    @property
    def sealed_keys(self) -> bytes | None:
        value = self._note.get("sealed_keys")
        return bytes.fromhex(value) if isinstance(value, str) else None

    @property
    def salt(self) -> bytes | None:
        value = self._note.get("salt")
        return bytes.fromhex(value) if isinstance(value, str) else None

    def save(self, sealed_keys: bytes, salt: bytes) -> None:
        self._session.home.ensure(self._path.parent)
        note = {"sealed_keys": sealed_keys.hex(), "salt": salt.hex()}
        atomic_write(self._path, json.dumps(note).encode())


def _require_accepting(session: Session, view: BenchmarkView) -> None:
    if view.status.state != BenchmarkState.OPEN:
        raise InvalidInput("the benchmark is closed", next_step="see `gg benchmark list` for open ones")
    latest = session.client.block("latest")
    if latest.timestamp > view.status.submissions_close:
        raise InvalidInput("the benchmark stopped taking submissions", next_step="see `gg benchmark list`")
    record = session.market.record_status(
        record_id(view.benchmark_id, session.account.address), block="latest"
    )
    if record.open:
        raise InvalidInput(
            "this account has a submission without a result in this benchmark, and one may be open at a time",
            next_step="wait for its result, or take its fee back after the result window: `gg model reclaim`",
        )
    if record.count >= view.terms.submission_cap:
        raise InvalidInput(
            f"this account has used its {view.terms.submission_cap} submissions to this benchmark"
        )


def _submitted_events(session: Session, **filters: object) -> list[SubmittedEvent]:
    start = session.book.deployed_at_block
    return session.market.events(SubmittedEvent, from_block=start, to_block=None, **filters)


def _find_submitted(session: Session, benchmark: Hash32, content_digest: Hash32) -> Hash32 | None:
    mine = _submitted_events(session, benchmark_id=benchmark, developer=session.account.address)
    found = [event.submission_id for event in mine if event.content_digest == content_digest]
    return found[-1] if found else None


def _view(session: Session, event: SubmittedEvent) -> SubmissionView:
    market = session.market
    start = event.meta.block_number
    terms = get_benchmark(session, event.benchmark_id).terms
    status = market.submission_status(event.submission_id, block="latest")
    scored = market.events(ScoredEvent, from_block=start, submission_id=event.submission_id)
    attested = market.events(AttestedEvent, from_block=start, submission_id=event.submission_id)
    orders = market.events(OrderedEvent, from_block=start, submission_id=event.submission_id)
    result = scored[0] if scored else None
    body = Submission(
        benchmark_id=event.benchmark_id,
        developer=event.developer,
        payee=event.payee,
        content_digest=event.content_digest,
        secret_commitment=event.secret_commitment,
        sealed_digest=keccak256(event.sealed_keys),
        reserve=event.reserve,
    )
    state = _STATES.get(SubmissionState(status.state), SaleState.WAITING)
    if result is None and state not in (SaleState.WAITING, SaleState.FEE_RECLAIMED):
        state = SaleState.WAITING  # the result is mined but not yet final
    if state == SaleState.WAITING and status.state == SubmissionState.OPEN:
        now = session.client.block("latest").timestamp
        state = SaleState.OVERDUE if now > status.result_deadline else SaleState.WAITING
    is_scored = result is not None and state != SaleState.MODEL_FAILED
    return SubmissionView(
        submission_id=event.submission_id,
        body=body,
        terms=terms,
        sealed_keys=event.sealed_keys,
        state=state,
        score_ppm=result.score_ppm if result is not None and is_scored else None,
        bound_ppm=result.bound_ppm if result is not None and is_scored else None,
        price=result.price if result is not None and result.price else None,
        evidence_digests=tuple(each.evidence_digest for each in attested),
        orders=len(orders),
        submit_tx=event.meta.tx_hash,
        result_tx=result.meta.tx_hash if result is not None else None,
    )


_STATES: Final = {
    SubmissionState.OPEN: SaleState.WAITING,
    SubmissionState.PRICED: SaleState.FOR_SALE,
    SubmissionState.UNPRICED: SaleState.NOT_PRICED,
    SubmissionState.FAILED: SaleState.MODEL_FAILED,
    SubmissionState.RECLAIMED: SaleState.FEE_RECLAIMED,
}
