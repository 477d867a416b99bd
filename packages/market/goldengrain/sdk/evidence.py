"""Everything behind one score, from the price back to what vouches for the silicon, checked link by link.

`collect` reads chain and blobs; `check` is a pure function of what was read, so that every link can be tested alone.
Nothing here relies on a contract having checked anything: signatures, digests, prices and registrations are recomputed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from goldengrain.chain.artifacts import load_artifact
from goldengrain.chain.events import (
    AttestedEvent,
    InvalidatedEvent,
    RegisteredEvent,
    ScoredEvent,
    SubmittedEvent,
)
from goldengrain.chain.rpc import RpcError
from goldengrain.chain.rpc_types import as_data, as_object
from goldengrain.sdk.benchmarks import get_benchmark
from goldengrain.sdk.session import Session
from goldengrain_protocol.attestation import report_data
from goldengrain_protocol.commitments import digest_of
from goldengrain_protocol.constants import Assurance, Outcome, TcbStatus
from goldengrain_protocol.container import decode_header
from goldengrain_protocol.eip712 import recover_signer, result_digest
from goldengrain_protocol.errors import GoldenGrainError, InvalidInput, VerificationError
from goldengrain_protocol.evidence import Evidence
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.identifiers import benchmark_id, body_hash, enclave_id, submission_id
from goldengrain_protocol.messages import Benchmark, Result, Submission
from goldengrain_protocol.pricing import chosen_result, settle
from goldengrain_protocol.types import Address, Hash32, hash32, to_checksum


@dataclass(frozen=True, slots=True)
class Link:
    """One link of the chain of evidence. `vouched_by` names what its truth rests on."""

    name: str
    holds: bool
    detail: str
    vouched_by: str


@dataclass(frozen=True, slots=True)
class SignedResult:
    """A result as it was posted, with its signature."""

    result: Result
    signature: bytes


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a benchmark's verifier says of a quote when it is asked again."""

    measurement: Hash32
    report_data: bytes
    tcb_status: int
    assurance: int
    expiry: int
    platform: Hash32


@dataclass(frozen=True, slots=True)
class Registration:
    """The latest registration before the result, and the verifier's verdict repeated at its block."""

    event: RegisteredEvent
    verdict: Verdict | None
    problem: str
    invalidated_at_block: int | None


@dataclass(frozen=True, slots=True)
class Bundle:
    """All that chain and blob store know about one score."""

    chain_id: int
    market: Address
    submission_id: Hash32
    submitted: SubmittedEvent
    terms: Benchmark
    scored: ScoredEvent
    attested: tuple[AttestedEvent, ...]
    results: tuple[SignedResult, ...]
    result_time_s: int
    best_bound_before_ppm: int
    registrations: dict[Address, Registration]
    anchor_hashes: dict[int, Hash32]
    verifier_name: str | None
    verifier_root: str
    trusted_measurements: tuple[Hash32, ...]
    blobs: dict[Hash32, bytes]

    @property
    def body(self) -> Submission:
        event = self.submitted
        return Submission(
            benchmark_id=event.benchmark_id,
            developer=event.developer,
            payee=event.payee,
            content_digest=event.content_digest,
            secret_commitment=event.secret_commitment,
            sealed_digest=keccak256(event.sealed_keys),
            reserve=event.reserve,
        )


def verify_evidence(session: Session, identity: Hash32) -> list[Link]:
    """Return every link behind a submission's score.

    Raises:
        InvalidInput: there is no such submission, or it has no final result.
        UnavailableError: the node is away.
    """
    return check(collect(session, identity))


def collect(session: Session, identity: Hash32) -> Bundle:
    """Read what chain and blob store have about a scored submission. Raises as `verify_evidence`."""
    start = session.book.deployed_at_block
    market = session.market
    submitted = market.events(SubmittedEvent, from_block=start, submission_id=identity)
    scored = market.events(ScoredEvent, from_block=start, submission_id=identity)
    if not submitted or not scored:
        raise InvalidInput(
            f"submission 0x{identity.hex()} has no final result", next_step="see `gg model show`"
        )
    terms = get_benchmark(session, submitted[0].benchmark_id).terms
    attested = tuple(market.events(AttestedEvent, from_block=start, submission_id=identity))
    results = tuple(_posted_results(session, identity, scored[0].meta.tx_hash))
    block = scored[0].meta.block_number
    entry = {each.address: each for each in session.book.verifiers}.get(terms.verifier)
    wanted = [submitted[0].content_digest, terms.spec_digest, terms.testset_digest]
    wanted += [each.result.evidence_digest for each in results]
    return Bundle(
        chain_id=session.chain_id,
        market=session.market_address,
        submission_id=identity,
        submitted=submitted[0],
        terms=terms,
        scored=scored[0],
        attested=attested,
        results=results,
        result_time_s=session.client.block(block).timestamp,
        best_bound_before_ppm=_best_bound_before(session, submitted[0], scored[0]),
        registrations={
            each.enclave: found
            for each in attested
            if (found := _registration(session, terms, each.enclave, block)) is not None
        },
        anchor_hashes={
            each.result.anchor_number: session.client.block(each.result.anchor_number).hash
            for each in results
        },
        verifier_name=entry.name if entry else None,
        verifier_root=entry.root if entry else "unknown",
        trusted_measurements=tuple(session.book.trusted_measurements),
        blobs={digest: _blob(session, digest) for digest in wanted},
    )


def check(bundle: Bundle) -> list[Link]:
    """Return every link of the chain of evidence, in order, with whether it holds. Pure."""
    return [
        *_check_terms(bundle),
        *_check_blobs(bundle),
        *_check_results(bundle),
        *_check_enclaves(bundle),
        *_check_price(bundle),
    ]


def _check_terms(bundle: Bundle) -> Iterator[Link]:
    terms, body = bundle.terms, bundle.body
    opened = benchmark_id(bundle.chain_id, bundle.market, terms)
    yield _link(
        "benchmark terms",
        opened == body.benchmark_id,
        f"terms hash to 0x{opened.hex()[:16]}, the submission names 0x{body.benchmark_id.hex()[:16]}",
        "the benchmark id on chain",
    )
    named = submission_id(terms.sale, body_hash(bundle.chain_id, bundle.market, body))
    yield _link(
        "submission",
        named == bundle.submission_id,
        f"developer {to_checksum(body.developer)}, ciphertext 0x{body.content_digest.hex()[:16]}",
        "the submission id on chain, which contains the sender",
    )


def _check_blobs(bundle: Bundle) -> Iterator[Link]:
    body, terms = bundle.body, bundle.terms
    for name, digest in (
        ("encrypted model", body.content_digest),
        ("spec", terms.spec_digest),
        ("encrypted test set", terms.testset_digest),
    ):
        blob = bundle.blobs.get(digest, b"")
        yield _link(
            name,
            bool(blob) and digest_of(blob) == digest,
            f"{len(blob):,} bytes, digest 0x{digest.hex()[:16]}" if blob else "not in the blob store",
            "its digest on chain",
        )
    yield _link(
        "key commitment",
        _holds(
            lambda: (
                decode_header(bundle.blobs[body.content_digest]).secret_commitment == body.secret_commitment
            )
        ),
        "the encrypted model commits to the key that the submission names",
        "the secret commitment on chain",
    )


def _check_results(bundle: Bundle) -> Iterator[Link]:
    enough = len(bundle.results) == bundle.terms.quorum == len(bundle.attested)
    yield _link("quorum", enough, f"{len(bundle.results)} of {bundle.terms.quorum} results", "the terms")
    for posted, attested in zip(bundle.results, bundle.attested, strict=False):
        result = posted.result
        digest = result_digest(bundle.chain_id, bundle.market, result)
        same = (
            result.outcome,
            result.score_ppm,
            result.bound_ppm,
            result.worker,
            result.evidence_digest,
        ) == (
            attested.outcome,
            attested.score_ppm,
            attested.bound_ppm,
            attested.worker,
            attested.evidence_digest,
        )
        signed = _holds(lambda: recover_signer(digest, posted.signature) == attested.enclave)  # noqa: B023
        yield _link(
            "signed result",
            signed and same and result.submission_id == bundle.submission_id,
            f"{Outcome(result.outcome).name.lower()}, score {result.score_ppm}, bound {result.bound_ppm}",
            f"the enclave key {to_checksum(attested.enclave)}",
        )
        anchor = bundle.anchor_hashes.get(result.anchor_number)
        yield _link(
            "anchor block",
            anchor == result.anchor_hash,
            f"block {result.anchor_number}, 0x{result.anchor_hash.hex()[:16]}",
            "block history of the chain",
        )
        yield _check_evidence_blob(bundle, result)


def _check_evidence_blob(bundle: Bundle, result: Result) -> Link:
    blob = bundle.blobs.get(result.evidence_digest, b"")
    body, terms = bundle.body, bundle.terms

    def fits() -> bool:
        said = Evidence.decode(blob)
        return digest_of(blob) == result.evidence_digest and (
            said.chain_id,
            said.market,
            said.benchmark_id,
            said.submission_id,
            said.measurement,
            said.config_digest,
            said.content_digest,
            said.testset_digest,
            said.spec_digest,
            said.outcome,
            said.score_ppm,
            said.bound_ppm,
            said.anchor_number,
            said.anchor_hash,
        ) == (
            bundle.chain_id,
            bundle.market,
            body.benchmark_id,
            bundle.submission_id,
            terms.measurement,
            terms.config_digest,
            body.content_digest,
            terms.testset_digest,
            terms.spec_digest,
            result.outcome,
            result.score_ppm,
            result.bound_ppm,
            result.anchor_number,
            result.anchor_hash,
        )

    detail = "not in the blob store"
    if blob:
        detail = "says the same as the signed result" if _holds(fits) else "altered, or about something else"
    return _link("evidence record", bool(blob) and _holds(fits), detail, "its digest in the signed result")


def _check_enclaves(bundle: Bundle) -> Iterator[Link]:
    terms = bundle.terms
    for attested in bundle.attested:
        found = bundle.registrations.get(attested.enclave)
        if found is None:
            yield _link(
                "registration",
                False,
                f"{to_checksum(attested.enclave)} is not registered for this verifier, code and configuration",
                "the registry",
            )
            continue
        event = found.event
        named = enclave_id(event.verifier, event.signer, event.measurement, event.config_digest)
        problems = [
            text
            for bad, text in (
                (named != event.enclave_id, "the enclave id does not fit its parts"),
                (event.measurement != terms.measurement, "it runs other code than the benchmark names"),
                (event.config_digest != terms.config_digest, "it runs under another configuration"),
                (event.verifier != terms.verifier, "another verifier vouched for it"),
                (event.expiry < bundle.result_time_s, "it had expired before the result"),
                (found.invalidated_at_block is not None, "it had been invalidated before the result"),
                (not terms.tcb_allowed >> event.tcb_status & 1, "its TCB status is not allowed by the terms"),
                (event.assurance < terms.assurance, "its assurance is too low for the terms"),
            )
            if bad
        ]
        state = f"since block {event.meta.block_number}, TCB {TcbStatus(event.tcb_status).name.lower()}"
        yield _link("registration", not problems, "; ".join(problems) or state, "the registry on chain")
        yield _check_verdict(found, attested)
    name = bundle.verifier_name
    root = {"simulated": "a SIMULATED root, which protects nothing from the host", "intel": "Intel's root"}
    assurance = {Assurance.SIMULATED: "simulated", Assurance.HARDWARE: "hardware"}
    words = root.get(bundle.verifier_root, "a root that this address book does not know")
    yield _link(
        "silicon root",
        name is not None,
        f"verifier {name or to_checksum(terms.verifier)}, {assurance[Assurance(terms.assurance)]} assurance: {words}",
        "your address book",
    )
    yield _link(
        "enclave code",
        terms.measurement in bundle.trusted_measurements,
        f"measurement 0x{terms.measurement.hex()}",
        "your address book; compare with `gg enclave measure`",
    )


def _check_verdict(found: Registration, attested: AttestedEvent) -> Link:
    event, verdict = found.event, found.verdict
    if verdict is None:
        return _link("quote", False, found.problem, "the verifier, asked again at the registration's block")
    said = report_data(event.signer, event.sealing_key, event.config_digest)
    fits = (
        event.signer == attested.enclave
        and verdict.report_data == said
        and verdict.measurement == event.measurement
        and verdict.platform == event.platform
        and verdict.expiry == event.expiry
        and (verdict.tcb_status, verdict.assurance) == (event.tcb_status, event.assurance)
    )
    detail = f"binds signing key {to_checksum(event.signer)}, its sealing key and configuration"
    return _link(
        "quote",
        fits,
        detail if fits else "the verifier's verdict does not fit the registration",
        "the verifier, asked again at the registration's block",
    )


def _check_price(bundle: Bundle) -> Iterator[Link]:
    scored, terms = bundle.scored, bundle.terms
    try:
        chosen = chosen_result([each.result for each in bundle.results])
    except InvalidInput as exc:
        yield _link("price", False, exc.message, "the price curve in the terms")
        return
    state, price = settle(
        terms.curve,
        chosen,
        best_bound_ppm=bundle.best_bound_before_ppm,
        step_ppm=terms.step_ppm,
        reserve=bundle.submitted.reserve,
    )
    yield _link(
        "price",
        (price, int(state)) == (scored.price, scored.state),
        f"curve gives {price} for a bound of {chosen.bound_ppm}, the chain says {scored.price}",
        "the price curve in the terms",
    )


def _posted_results(session: Session, identity: Hash32, tx_hash: Hash32) -> Iterator[SignedResult]:
    raw = as_object(
        session.client.raw_request("eth_getTransactionByHash", ["0x" + tx_hash.hex()]), "transaction"
    )
    call = load_artifact("Market").decode_call("accept", as_data(raw["input"], "calldata"))
    for item in cast("tuple[tuple[Any, ...], ...]", call["results"]):
        outcome, score, bound, worker, number, block_hash, evidence, v, r, s = item
        result = Result(
            submission_id=identity,
            outcome=Outcome(outcome),
            score_ppm=score,
            bound_ppm=bound,
            worker=_address(worker),
            anchor_number=number,
            anchor_hash=hash32(block_hash),
            evidence_digest=hash32(evidence),
        )
        yield SignedResult(result, bytes(r) + bytes(s) + bytes([v]))


def _best_bound_before(session: Session, submitted: SubmittedEvent, scored: ScoredEvent) -> int:
    """The developer's published best in the benchmark before this result: what the ladder rule compares with."""
    start = session.book.deployed_at_block
    own = session.market.events(
        SubmittedEvent,
        from_block=start,
        benchmark_id=submitted.benchmark_id,
        developer=submitted.developer,
    )
    names = {event.submission_id for event in own}
    earlier = [
        event
        for event in session.market.events(
            ScoredEvent,
            from_block=start,
            to_block=scored.meta.block_number,
            benchmark_id=submitted.benchmark_id,
        )
        if event.submission_id in names
        and (event.meta.block_number, event.meta.log_index)
        < (scored.meta.block_number, scored.meta.log_index)
    ]
    return earlier[-1].bound_ppm if earlier else 0


def _registration(session: Session, terms: Benchmark, signer: Address, block: int) -> Registration | None:
    identity = enclave_id(terms.verifier, signer, terms.measurement, terms.config_digest)
    start = session.book.deployed_at_block
    registered = session.registry.events(
        RegisteredEvent, from_block=start, to_block=block, enclave_id=identity
    )
    if not registered:
        return None
    invalidated = session.registry.events(
        InvalidatedEvent, from_block=start, to_block=block, enclave_id=identity
    )
    event = registered[-1]
    verdict: Verdict | None = None
    problem = ""
    try:
        verdict = _ask_again(session, event)
    except GoldenGrainError as exc:
        problem = f"the verifier does not repeat its verdict: {exc.message}"
    ended = invalidated[0].meta.block_number if invalidated else None
    return Registration(event, verdict, problem, ended)


def _ask_again(session: Session, event: RegisteredEvent) -> Verdict:
    raw = as_object(
        session.client.raw_request("eth_getTransactionByHash", ["0x" + event.meta.tx_hash.hex()]),
        "transaction",
    )
    call = load_artifact("EnclaveRegistry").decode_call("register", as_data(raw["input"], "calldata"))
    quote, evidence = bytes(cast(bytes, call["quote"])), bytes(cast(bytes, call["evidence"]))
    if keccak256(quote) != event.quote_digest:
        raise VerificationError("the quote in the registration's calldata has another digest")
    verifier = load_artifact("AuditorQuorumVerifier")  # every verifier has the interface IQuoteVerifier
    question = verifier.encode_call("verify_quote", [quote, evidence])
    try:
        answer = session.client.call(event.verifier, question, block=event.meta.block_number)
    except RpcError:  # a node without that block's state: ask for today's verdict
        answer = session.client.call(event.verifier, question)
    (fields,) = verifier.decode_result("verify_quote", answer)
    measurement, high, low, tcb_status, assurance, expiry, platform = cast("tuple[Any, ...]", fields)
    return Verdict(
        hash32(measurement), bytes(high) + bytes(low), tcb_status, assurance, expiry, hash32(platform)
    )


def _blob(session: Session, digest: Hash32) -> bytes:
    try:
        return session.blobs.get(digest)
    except GoldenGrainError:
        return b""


def _address(value: object) -> Address:
    return Address(value if isinstance(value, bytes) else bytes.fromhex(str(value)[2:]))


def _holds(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except (GoldenGrainError, KeyError):
        return False


def _link(name: str, holds: bool, detail: str, vouched_by: str) -> Link:
    return Link(name, holds, detail, vouched_by)
