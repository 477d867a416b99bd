"""T7, T8, T14: a host that forges jobs gets no signature, and a signature it has settles nothing else."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from goldengrain.chain.artifacts import load_artifact
from goldengrain.chain.client import ChainClient
from goldengrain.chain.contracts import MarketContract
from goldengrain.chain.devnet import Devnet
from goldengrain.chain.proofs import fetch_chain_proof, header_rlp
from goldengrain.chain.reverts import RevertError
from goldengrain.chain.transactions import TransactionRequest
from goldengrain.home import Home
from goldengrain.host.jobs import JobFinder
from goldengrain.sdk.submissions import SaleState, SubmissionView, get_submission
from goldengrain_protocol.canonical import encode
from goldengrain_protocol.config import ChainTrustConfig
from goldengrain_protocol.constants import SubmissionState
from goldengrain_protocol.eip712 import recover_signer, result_digest
from goldengrain_protocol.messages import Submission, benchmark_id, record_id
from goldengrain_protocol.proofs import ChainProof
from goldengrain_protocol.proofs.dev_pinned import encode_evidence
from goldengrain_protocol.types import ZERO_ADDRESS, Address, Hash32
from goldengrain_protocol.wire import (
    BootRequest,
    ErrorReply,
    EvaluateReply,
    JobRequest,
    OfferReply,
    OfferRequest,
    encode_request,
)
from tests.market_stage import FEE_WEI, MarketStage, Person, fair_model, good_model
from tests.unit.enclave.world import FakeChainState

pytestmark = [pytest.mark.anvil, pytest.mark.sandbox, pytest.mark.slow]


@dataclass(frozen=True, slots=True)
class Case:
    """An open submission, the honest job that evaluates it, and another submission's honest job."""

    developer: Person
    view: SubmissionView
    job: JobRequest
    other_view: SubmissionView
    other: JobRequest
    slots: list[int]


@pytest.fixture(scope="module")
def case(stage: MarketStage, provider: Person) -> Iterator[Case]:
    """Both submissions stay open, as the worker is silent while this module runs."""
    with stage.silent_worker():
        benchmark = stage.benchmark(provider, title="forged")
        developer, other = stage.person("developer"), stage.person("other-developer")
        view = stage.submit(developer, benchmark, good_model())
        other_view = stage.submit(other, benchmark, fair_model())
        yield Case(
            developer,
            view,
            honest_job(stage, view),
            other_view,
            honest_job(stage, other_view),
            _slots(stage, view),
        )


def honest_job(stage: MarketStage, view: SubmissionView) -> JobRequest:
    """Return the job as an honest worker makes it."""
    session = stage.host.session
    finder = JobFinder(session, stage.boot, stage.book.verifier(stage.verifier).address)
    finder.scan()
    opened = finder.benchmarks[view.body.benchmark_id]
    return JobRequest(
        proof=fetch_chain_proof(session.client, session.book.enclave_config(), _slots(stage, view)),
        benchmark=view.terms,
        submission=view.body,
        sealed_keys=view.sealed_keys,
        testset_sealed_keys=opened.sealed_keys,
        spec=session.blobs.get(view.terms.spec_digest),
        model=session.blobs.get(view.body.content_digest),
        testset=session.blobs.get(view.terms.testset_digest),
        worker=session.account.address,
    )


def _slots(stage: MarketStage, view: SubmissionView) -> list[int]:
    return stage.host.session.market.slots(
        benchmark_id=view.body.benchmark_id,
        submission_id=view.submission_id,
        record_id=record_id(view.body.benchmark_id, view.body.developer),
    )


def _flip(data: bytes, position: int = 40) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


def _proof(job: JobRequest, **changes: object) -> JobRequest:
    return dataclasses.replace(job, proof=dataclasses.replace(job.proof, **changes))  # type: ignore[arg-type]


def _terms(job: JobRequest, **changes: object) -> JobRequest:
    return dataclasses.replace(job, benchmark=dataclasses.replace(job.benchmark, **changes))  # type: ignore[arg-type]


def _body(job: JobRequest, **changes: object) -> JobRequest:
    return dataclasses.replace(job, submission=dataclasses.replace(job.submission, **changes))  # type: ignore[arg-type]


def _nodes(nodes: tuple[bytes, ...], index: int) -> tuple[bytes, ...]:
    changed = list(nodes)
    changed[index] = _flip(changed[index], len(changed[index]) // 2)
    return tuple(changed)


Forgery = Callable[[Case], JobRequest]
FORGERIES: dict[str, tuple[str, Forgery]] = {
    # T7: the chain
    "altered header": ("verification", lambda c: _proof(c.job, header=_flip(c.job.proof.header, 100))),
    "account proof with an altered node": (
        "verification",
        lambda c: _proof(c.job, account_proof=_nodes(c.job.proof.account_proof, -1)),
    ),
    "account proof cut short": (
        "verification",
        lambda c: _proof(c.job, account_proof=c.job.proof.account_proof[:-1]),
    ),
    "account proof with a node too many": (
        "verification",
        lambda c: _proof(c.job, account_proof=(*c.job.proof.account_proof, b"\xc0" + bytes(40))),
    ),
    "storage proofs in another order": (
        "verification",
        lambda c: _proof(c.job, storage_proofs=c.job.proof.storage_proofs[::-1]),
    ),
    "storage proof with an altered node": (
        "verification",
        lambda c: _proof(
            c.job,
            storage_proofs=(
                c.job.proof.storage_proofs[0],
                _nodes(c.job.proof.storage_proofs[1], -1),
                c.job.proof.storage_proofs[2],
            ),
        ),
    ),
    "storage proof of another submission": (
        "verification",
        lambda c: _proof(
            c.job,
            storage_proofs=(
                c.job.proof.storage_proofs[0],
                c.other.proof.storage_proofs[1],
                c.job.proof.storage_proofs[2],
            ),
        ),
    ),
    "empty storage proofs": ("verification", lambda c: _proof(c.job, storage_proofs=((), (), ()))),
    "a storage proof too few": (
        "invalid",
        lambda c: _proof(c.job, storage_proofs=c.job.proof.storage_proofs[:2]),
    ),
    "no proof at all": ("invalid", lambda c: dataclasses.replace(c.job, proof=ChainProof(b"", b"", (), ()))),
    # T8: the terms
    "other measurement": ("verification", lambda c: _terms(c.job, measurement=Hash32(bytes(32)))),
    "other configuration": ("verification", lambda c: _terms(c.job, config_digest=Hash32(bytes(32)))),
    "more assurance than there is": ("verification", lambda c: _terms(c.job, assurance=2)),
    "finer steps": ("verification", lambda c: _terms(c.job, step_ppm=1)),
    "another owner": ("verification", lambda c: _terms(c.job, owner=Address(b"\x07" * 20))),
    "another specification's digest": (
        "verification",
        lambda c: _terms(c.job, spec_digest=Hash32(b"\x01" * 32)),
    ),
    "another developer": ("verification", lambda c: _body(c.job, developer=c.other.submission.developer)),
    "another payee": ("verification", lambda c: _body(c.job, payee=Address(b"\x08" * 20))),
    "another reserve": ("verification", lambda c: _body(c.job, reserve=1)),
    "another content": (
        "verification",
        lambda c: _body(
            dataclasses.replace(c.job, model=c.other.model), content_digest=c.other.submission.content_digest
        ),
    ),
    "another benchmark": ("verification", lambda c: _body(c.job, benchmark_id=Hash32(b"\x09" * 32))),
    # T8: the bytes
    "another model": ("verification", lambda c: dataclasses.replace(c.job, model=c.other.model)),
    "model with a flipped bit": (
        "verification",
        lambda c: dataclasses.replace(c.job, model=_flip(c.job.model, 200)),
    ),
    "model cut short": ("verification", lambda c: dataclasses.replace(c.job, model=c.job.model[:-1])),
    "no model": ("verification", lambda c: dataclasses.replace(c.job, model=b"")),
    "test set with a flipped bit": (
        "verification",
        lambda c: dataclasses.replace(c.job, testset=_flip(c.job.testset, 500)),
    ),
    "model as test set": ("verification", lambda c: dataclasses.replace(c.job, testset=c.job.model)),
    "altered specification": (
        "verification",
        lambda c: dataclasses.replace(c.job, spec=c.job.spec.replace(b"950000", b"900000")),
    ),
    "no specification": ("verification", lambda c: dataclasses.replace(c.job, spec=b"")),
    "another submission's sealed keys": (
        "verification",
        lambda c: dataclasses.replace(c.job, sealed_keys=c.other.sealed_keys),
    ),
    "sealed keys with a flipped bit": (
        "verification",
        lambda c: dataclasses.replace(c.job, sealed_keys=_flip(c.job.sealed_keys, 60)),
    ),
    "no test set, and none is held": (
        "unavailable",
        lambda c: dataclasses.replace(c.job, testset=b""),
    ),
    "the model's sealed keys for the test set": (
        "verification",
        lambda c: dataclasses.replace(c.job, testset_sealed_keys=c.job.sealed_keys),
    ),
    "test-set keys that are no keys": (
        "invalid",
        lambda c: dataclasses.replace(c.job, testset_sealed_keys=b"\xc0"),
    ),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_forged_job_is_refused_and_nothing_is_signed(stage: MarketStage, case: Case, forgery: str) -> None:
    category, forge = FORGERIES[forgery]
    _refused(stage, forge(case), category)


@pytest.mark.parametrize("late_blocks", [1, 2])
def test_anchor_without_its_confirmations_is_refused(
    stage: MarketStage, case: Case, late_blocks: int
) -> None:
    client = stage.client
    anchor = case.job.proof.header
    number = client.finalized_number()
    headers = [header_rlp(client.block(number + depth)) for depth in range(3)]
    short = encode_evidence(headers[: 3 - late_blocks])
    reply = _refused(stage, _proof(case.job, trust_evidence=short, header=headers[0]), "verification")
    assert "must have 2 confirmations" in reply.message
    gap = encode_evidence([headers[0], headers[2], headers[1]])
    _refused(stage, _proof(case.job, trust_evidence=gap, header=headers[0]), "verification")
    foreign = encode_evidence(headers)
    _refused(stage, _proof(case.job, trust_evidence=foreign, header=anchor), "verification")


def test_stale_anchor_from_before_the_submission_is_refused(stage: MarketStage, case: Case) -> None:
    receipt = stage.client.receipt(case.view.submit_tx)
    assert receipt is not None
    config = stage.book.enclave_config()
    stale = fetch_chain_proof(stage.client, config, case.slots, anchor=receipt.block_number - 1)
    reply = _refused(stage, dataclasses.replace(case.job, proof=stale), "verification")
    assert "open at the anchor block, got absent" in reply.message


def test_proof_from_another_chain_is_refused(stage: MarketStage, case: Case) -> None:
    home = Home(stage.root / "other-chain")
    chain = Devnet(home)
    try:
        client = ChainClient(chain.up(block_time_s=0.1).rpc_url)
        client.wait_for_block(5)
        number = client.finalized_number() - 2
        headers = [header_rlp(client.block(number + depth)) for depth in range(3)]
        answer = client.raw_request(
            "eth_getProof", ["0x" + stage.book.market.hex(), [hex(slot) for slot in case.slots], hex(number)]
        )
        assert isinstance(answer, dict)
        proof = ChainProof(
            encode_evidence(headers),
            headers[0],
            tuple(bytes.fromhex(node[2:]) for node in answer["accountProof"]),
            tuple(
                tuple(bytes.fromhex(node[2:]) for node in each["proof"]) for each in answer["storageProof"]
            ),
        )
    finally:
        chain.down()
    _refused(stage, dataclasses.replace(case.job, proof=proof), "verification")


def test_proof_of_another_contract_is_refused(stage: MarketStage, case: Case) -> None:
    config = dataclasses.replace(stage.book.enclave_config(), market=stage.book.registry)
    proof = fetch_chain_proof(stage.client, config, case.slots)
    _refused(stage, dataclasses.replace(case.job, proof=proof), "verification")


def test_bytes_that_are_no_request_are_refused(stage: MarketStage, case: Case) -> None:
    whole = encode_request(case.job)
    cuts = [1, 2, 5, 40, 1000, len(whole) // 2, len(whole) - 1]
    broken = [whole[:cut] for cut in cuts]
    broken += [whole + b"\x00", whole + whole, b"\xc0", b"\x00", b"\xff" * 64, b"\xf8" * 300, b"\xc1" * 5000]
    broken += [encode([b"evaluate"]), encode([b"shutdown"]), encode([[b"boot"]]), secrets.token_bytes(500)]
    for data in broken:
        _refused(stage, data, "invalid")


def test_booting_again_as_somebody_else_is_refused(stage: MarketStage) -> None:
    config = stage.book.enclave_config()
    for other in (
        dataclasses.replace(config, market=Address(b"\x05" * 20)),
        dataclasses.replace(config, chain_id=1),
        dataclasses.replace(config, chain_trust=ChainTrustConfig("dev-pinned", encode([bytes(32), b""]))),
    ):
        _refused(stage, BootRequest(other, b""), "invalid")


OFFER_FORGERIES: dict[str, Callable[[OfferRequest], OfferRequest]] = {
    "sealed keys": lambda r: dataclasses.replace(r, sealed_keys=_flip(r.sealed_keys, 60)),
    "storage proof": lambda r: dataclasses.replace(
        r, proof=dataclasses.replace(r.proof, storage_proofs=(_nodes(r.proof.storage_proofs[0], -1),))
    ),
    "payee": lambda r: dataclasses.replace(
        r, submission=dataclasses.replace(r.submission, payee=Address(b"\x01" * 20))
    ),
    "sale": lambda r: dataclasses.replace(
        r, benchmark=dataclasses.replace(r.benchmark, fee_wei=r.benchmark.fee_wei + 1)
    ),
    "buyer key": lambda r: dataclasses.replace(r, buyer_key=bytes(32)),
}


def test_offer_for_a_model_without_a_price_is_refused(stage: MarketStage, case: Case) -> None:
    reply = _refused(stage, _offer_request(stage, case.view), "verification")
    assert "must be priced at the anchor block, got open" in reply.message


def test_job_is_signed_once_all_of_it_is_true(stage: MarketStage, case: Case) -> None:
    """The control of all forgeries above. It comes after them: from here on the enclave holds the test set."""
    reply = stage.ask_enclave(case.job)
    assert isinstance(reply, EvaluateReply)
    assert reply.result.submission_id == case.view.submission_id
    again = stage.ask_enclave(dataclasses.replace(case.job, testset=b""))
    assert again == reply  # deterministic: repeating a job tells nothing new


def test_job_on_an_invented_chain_cannot_settle(stage: MarketStage, case: Case) -> None:
    """What `dev-pinned` leaves open: the host makes up headers, and the enclave signs; the contract does not care."""
    invented = FakeChainState()
    invented.slots = dict(zip(case.slots, (1, 1 | 2**39 << 8, 1 | 1 << 8), strict=True))
    proof = invented.prove(case.slots, market=stage.book.market)
    reply = stage.ask_enclave(dataclasses.replace(case.job, proof=proof))
    assert isinstance(reply, EvaluateReply)
    with pytest.raises(RevertError, match="market: unknown anchor"):
        _post(stage, stage.host, case.view, reply)


# --- T14: results ---------------------------------------------------------------------------------


def test_result_is_worth_nothing_elsewhere(stage: MarketStage, case: Case) -> None:
    reply = stage.ask_enclave(case.job)
    assert isinstance(reply, EvaluateReply)
    stranger = stage.person("stranger")
    result, signature = reply.result, reply.signature
    # For another submission.
    with pytest.raises(RevertError, match="market: enclave not registered"):
        _post(stage, stranger, case.other_view, reply)
    # For another worker, or a better score.
    for changes in (
        {"worker": stranger.address},
        {"score_ppm": 990_000, "bound_ppm": 990_000},
        {"outcome": 2, "score_ppm": 0, "bound_ppm": 0},
        {"evidence_digest": Hash32(bytes(32))},
    ):
        forged = dataclasses.replace(reply, result=dataclasses.replace(result, **changes))
        with pytest.raises(RevertError, match="market: enclave not registered"):
            _post(stage, stranger, case.view, forged)
    # Under the other signature of the same key (s -> n - s).
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    high = order - int.from_bytes(signature[32:64], "big")
    mirrored = signature[:32] + high.to_bytes(32, "big") + bytes([55 - signature[64]])
    call = load_artifact("Market").encode_call(
        "accept",
        (case.view.terms.abi_tuple(), case.view.body.abi_tuple(), [result.abi_tuple(mirrored)]),
    )
    with pytest.raises(RevertError, match="market: "):
        stranger.send(TransactionRequest(stage.book.market, call))
    # On another chain or another market the same signature is by nobody known.
    for chain_id, market in ((1, stage.book.market), (stage.book.chain_id, stage.book.registry)):
        assert recover_signer(result_digest(chain_id, market, result), signature) != stage.boot.signer
    assert recover_signer(result_digest(stage.book.chain_id, stage.book.market, result), signature) == (
        stage.boot.signer
    )


def test_result_is_worth_nothing_on_another_market(stage: MarketStage, case: Case) -> None:
    """The very same terms and model on a second market of the same registry."""
    reply = stage.ask_enclave(case.job)
    assert isinstance(reply, EvaluateReply)
    owner = stage.person("owner")
    creation = load_artifact("Market").encode_creation((stage.book.registry,))
    deployed = owner.send(TransactionRequest(None, creation))
    assert deployed.contract_address is not None
    second = MarketContract(owner.client, deployed.contract_address)
    terms = dataclasses.replace(case.view.terms, owner=owner.address)
    owner.send(second.open_benchmark(terms, case.job.testset_sealed_keys, ""))
    identity = benchmark_id(stage.book.chain_id, second.address, terms)
    body: Submission = dataclasses.replace(case.view.body, benchmark_id=identity)
    case.developer.send(second.submit(body, terms.sale, case.view.sealed_keys, FEE_WEI))
    with pytest.raises(RevertError, match="market: enclave not registered"):
        owner.send(second.accept(terms, body, [(reply.result, reply.signature)]))


def test_stranger_who_posts_a_result_pays_the_worker_and_it_counts_once(
    stage: MarketStage, case: Case
) -> None:
    stranger = stage.person("stranger")
    market = stage.host.session.market
    reply = stage.ask_enclave(honest_job(stage, case.view))
    assert isinstance(reply, EvaluateReply)
    before = market.credit(ZERO_ADDRESS, stage.host.address)
    _post(stage, stranger, case.view, reply)
    assert market.credit(ZERO_ADDRESS, stage.host.address) == before + FEE_WEI
    assert market.credit(ZERO_ADDRESS, stranger.address) == 0
    assert stranger.gained_wei() == 0
    view = get_submission(stranger.session, case.view.submission_id)
    assert view.state is SaleState.FOR_SALE
    assert case.developer.session.market.submission_status(view.submission_id).state == SubmissionState.PRICED
    with pytest.raises(RevertError, match="market: submission not open"):
        _post(stage, stranger, case.view, reply)
    # The old proof still shows the submission as open: the enclave repeats itself, and it settles nothing.
    stale = stage.ask_enclave(case.job)
    assert isinstance(stale, EvaluateReply)
    with pytest.raises(RevertError, match="market: submission not open"):
        _post(stage, stranger, case.view, stale)

    request = _offer_request(stage, case.view)
    for forge in OFFER_FORGERIES.values():
        assert isinstance(stage.ask_enclave(forge(request)), ErrorReply)
    assert isinstance(stage.ask_enclave(request), OfferReply)


def _offer_request(stage: MarketStage, view: SubmissionView) -> OfferRequest:
    session = stage.host.session
    slots = session.market.slots(submission_id=view.submission_id)
    return OfferRequest(
        proof=fetch_chain_proof(session.client, session.book.enclave_config(), slots),
        benchmark=view.terms,
        submission=view.body,
        sealed_keys=view.sealed_keys,
        buyer=stage.host.address,
        buyer_key=secrets.token_bytes(32),
    )


def _refused(
    stage: MarketStage, request: JobRequest | OfferRequest | BootRequest | bytes, category: str
) -> ErrorReply:
    reply = stage.ask_enclave(request)
    assert isinstance(reply, ErrorReply), f"the enclave answered {type(reply).__name__}"
    assert reply.category == category, reply.message
    assert reply.message
    return reply


def _post(stage: MarketStage, who: Person, view: SubmissionView, reply: EvaluateReply) -> None:
    who.send(stage.host.session.market.accept(view.terms, view.body, [(reply.result, reply.signature)]))
