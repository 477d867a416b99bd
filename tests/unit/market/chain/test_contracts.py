"""The contracts through their typed wrappers, on a real chain, and the proofs made of their state."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from goldengrain.accounts import Account
from goldengrain.chain.address_book import AddressBook, ChainTrustEntry, load_address_book
from goldengrain.chain.artifacts import load_artifact
from goldengrain.chain.client import ChainClient
from goldengrain.chain.contracts import (
    AuditorQuorum,
    MarketContract,
    OrderItem,
    QuoteVerified,
    RegistryContract,
    Token,
    eth_transfer,
)
from goldengrain.chain.deploy import TokenPlan, VerifierPlan, deploy
from goldengrain.chain.devnet import DevnetStatus
from goldengrain.chain.events import (
    AttestedEvent,
    BenchmarkOpenedEvent,
    ClaimedEvent,
    InvalidatedEvent,
    OrderedEvent,
    RegisteredEvent,
    ScoredEvent,
    SubmittedEvent,
    events_in,
)
from goldengrain.chain.proofs import encode_header, fetch_chain_proof
from goldengrain.chain.reverts import RevertError
from goldengrain.chain.rpc import MalformedReply
from goldengrain.chain.transactions import TransactionSender
from goldengrain_protocol.attestation import report_data
from goldengrain_protocol.config import config_digest
from goldengrain_protocol.constants import (
    Assurance,
    BenchmarkState,
    EnclaveState,
    Outcome,
    SubmissionState,
)
from goldengrain_protocol.eip712 import result_digest
from goldengrain_protocol.errors import GoldenGrainError, InvalidInput, UnavailableError
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.keyschedule import hashlock
from goldengrain_protocol.messages import (
    Benchmark,
    CurvePoint,
    OrderTerms,
    Result,
    Sale,
    Submission,
    benchmark_id,
    body_hash,
    enclave_id,
    order_id,
    record_id,
    submission_id,
)
from goldengrain_protocol.pricing import price_of
from goldengrain_protocol.proofs import verify_market_state
from goldengrain_protocol.status import decode_submission_status
from goldengrain_protocol.types import ZERO_ADDRESS, Address, Hash32

MakeParty = Callable[..., Any]
Deployment = tuple[AddressBook, TransactionSender]
CURVE = (CurvePoint(500_000, 10**15), CurvePoint(900_000, 10**16))
ENCLAVE = Account.from_private_key(b"\x11" * 32, "enclave")
MEASUREMENT = Hash32(b"\x33" * 32)
SEALING_KEY = b"\x44" * 32
SEALED = b"sealed keys"
FEE_WEI = 1000


@dataclass(frozen=True)
class Market:
    """A market with a registered enclave and one open benchmark."""

    book: AddressBook
    owner: TransactionSender
    market: MarketContract
    registry: RegistryContract
    terms: Benchmark
    id: Hash32


@pytest.fixture(scope="module")
def market(deployment: Deployment) -> Market:
    book, owner = deployment
    contract = MarketContract(owner.client, book.market)
    registry = RegistryContract(owner.client, book.registry)
    config = config_digest(book.enclave_config())
    verifier = AuditorQuorum(owner.client, book.verifier().address)
    now = owner.client.block("latest").timestamp
    quote = b"a quote"
    statement = QuoteVerified(
        quote_digest=keccak256(quote),
        measurement=MEASUREMENT,
        report_data_high=Hash32(report_data(ENCLAVE.address, SEALING_KEY, config)[:32]),
        report_data_low=Hash32(bytes(32)),
        tcb_status=0,
        expiry=now + 5000,
        platform=Hash32(b"\x55" * 32),
    )
    evidence = verifier.encode_evidence(statement, [verifier.sign_quote_verified(owner.account, statement)])
    owner.send(
        "register",
        registry.register(verifier.address, quote, evidence, ENCLAVE.address, SEALING_KEY, config),
    )
    terms = Benchmark(
        owner=owner.account.address,
        sale=Sale(ZERO_ADDRESS, ZERO_ADDRESS, 0),
        spec_digest=Hash32(b"\x01" * 32),
        testset_digest=Hash32(b"\x02" * 32),
        verifier=verifier.address,
        measurement=MEASUREMENT,
        config_digest=config,
        assurance=1,
        tcb_allowed=1,
        quorum=1,
        fee_wei=FEE_WEI,
        submission_cap=9,
        step_ppm=1000,
        submissions_close=now + 5000,
        result_window_s=600,
        curve=CURVE,
    )
    owner.send("open", contract.open_benchmark(terms, SEALED, "digits \u2713"))
    return Market(book, owner, contract, registry, terms, benchmark_id(book.chain_id, book.market, terms))


def _submit(market: Market, me: Any, tag: bytes = b"\x05") -> tuple[Submission, Hash32]:
    body = Submission(
        market.id,
        me.account.address,
        me.account.address,
        Hash32(tag * 32),
        Hash32(b"\x06" * 32),
        keccak256(SEALED),
        0,
    )
    me.sender.send("submit", market.market.submit(body, market.terms.sale, SEALED, FEE_WEI))
    identity = submission_id(market.terms.sale, body_hash(market.book.chain_id, market.book.market, body))
    return body, identity


def _accept(market: Market, me: Any, body: Submission, identity: Hash32, bound_ppm: int) -> Any:
    anchor = me.client.block("finalized")
    result = Result(
        submission_id=identity,
        outcome=Outcome.SCORED,
        score_ppm=bound_ppm + 1000,
        bound_ppm=bound_ppm,
        worker=me.account.address,
        anchor_number=anchor.number,
        anchor_hash=anchor.hash,
        evidence_digest=Hash32(b"\x07" * 32),
    )
    signature = ENCLAVE.sign_digest(result_digest(market.book.chain_id, market.book.market, result))
    request = market.market.accept(market.terms, body, [(result, signature)])
    return me.sender.send("accept", request)


def test_a_deployment_is_found_again_instead_of_repeated(deployment: Deployment, tmp_path: Any) -> None:
    book, sender = deployment
    before = sender.client.transaction_count(sender.account.address)
    from goldengrain.home import Home

    again = deploy(
        Home(tmp_path),
        sender,
        name="shared",
        development=True,
        chain_trust=ChainTrustEntry("dev-pinned", 2),
        verifiers=[VerifierPlan("simulated", (sender.account.address,), 1, Assurance.SIMULATED, "simulated")],
        tokens=[TokenPlan("USDX", "Test Dollar", 6)],
        blob_url=book.blob_url,
    )
    assert again == book == load_address_book(Home(tmp_path), "shared")
    assert sender.client.transaction_count(sender.account.address) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"development": False}, "refused"),
        ({"verifiers": []}, "at least one verifier"),
        ({"chain_trust": ChainTrustEntry("dev-pinned", 0)}, "confirmations must be 1"),
        ({"chain_trust": ChainTrustEntry("none", 2)}, "chain trust mode must be"),
        ({"name": "a/b"}, "network name"),
        ({"tokens": [TokenPlan("A", "A"), TokenPlan("A", "B")]}, "same symbol"),
        ({"assurance": Assurance.HARDWARE}, "cannot give hardware assurance"),
        ({"threshold": 2}, "threshold must be 1 to 1"),
    ],
)
def test_a_plan_that_contradicts_itself_is_refused(
    deployment: Deployment, tmp_path: Any, change: dict[str, Any], message: str
) -> None:
    from goldengrain.home import Home

    _, sender = deployment
    assurance = change.pop("assurance", Assurance.SIMULATED)
    threshold = change.pop("threshold", 1)
    plan: dict[str, Any] = {
        "name": "x",
        "development": True,
        "chain_trust": ChainTrustEntry("dev-pinned", 2),
        "verifiers": [VerifierPlan("v", (sender.account.address,), threshold, assurance, "simulated")],
    }
    with pytest.raises(InvalidInput, match=message):
        deploy(Home(tmp_path), sender, **(plan | change))


def test_registration_is_read_back(market: Market) -> None:
    (event,) = market.registry.events(
        RegisteredEvent, from_block=market.book.deployed_at_block, signer=ENCLAVE.address
    )
    identity = enclave_id(market.terms.verifier, ENCLAVE.address, MEASUREMENT, market.terms.config_digest)
    assert (event.enclave_id, bytes(event.sealing_key)) == (identity, SEALING_KEY)
    status = market.registry.enclave_status(identity)
    assert (status.state, status.expiry) == (EnclaveState.REGISTERED, event.expiry)
    assert market.registry.enclave_status(Hash32(bytes(32))).state is EnclaveState.ABSENT
    assert market.registry.events(InvalidatedEvent, from_block=0) == []


def test_benchmark_is_read_back_from_its_event(market: Market) -> None:
    (event,) = market.market.events(
        BenchmarkOpenedEvent, from_block=market.book.deployed_at_block, benchmark_id=market.id
    )
    assert (event.benchmark, event.sealed_keys, event.metadata) == (market.terms, SEALED, "digits \u2713")
    assert market.owner.client.block(event.meta.block_number).hash == event.meta.block_hash
    status = market.market.benchmark_status(market.id)
    assert (status.state, status.fee_wei) == (BenchmarkState.OPEN, FEE_WEI)
    assert market.market.benchmark_status(Hash32(bytes(32))).state is BenchmarkState.ABSENT


def test_prices_are_those_of_the_protocol(market: Market) -> None:
    for bound_ppm in (0, 499_999, 500_000, 654_321, 900_000, 1_000_000):
        assert market.market.price_of(CURVE, bound_ppm) == price_of(CURVE, bound_ppm)


def test_a_whole_sale_goes_through_the_wrappers(
    market: Market, shared_chain: DevnetStatus, party: MakeParty
) -> None:
    me, buyer = party(shared_chain), party(shared_chain, seed=2)
    body, identity = _submit(market, me)
    assert market.market.submission_status(identity).state is SubmissionState.OPEN
    receipt = _accept(market, me, body, identity, 700_000)
    (scored,) = events_in(ScoredEvent, market.market.address, receipt)
    (attested,) = events_in(AttestedEvent, market.market.address, receipt)
    assert scored.price == price_of(CURVE, 700_000)
    assert (attested.enclave, attested.fee_wei) == (ENCLAVE.address, FEE_WEI)
    record = market.market.record_status(record_id(market.id, me.account.address))
    assert (record.open, record.count, record.best_bound_ppm) == (False, 1, 700_000)
    assert market.market.credit(ZERO_ADDRESS, me.account.address) == FEE_WEI

    preimage = b"\x77" * 32
    deadline = me.client.block("latest").timestamp + 1000
    order = OrderTerms(market.terms.sale, buyer.account.address, deadline, hashlock(preimage))
    item = OrderItem(body_hash(market.book.chain_id, market.book.market, body), b"\x88" * 32, order.hashlock)
    buyer.sender.send("order", market.market.order(order.sale, deadline, [item], scored.price))
    (ordered,) = market.market.events(OrderedEvent, from_block=0, submission_id=identity)
    assert (ordered.order_id, ordered.amount) == (order_id(order), scored.price)
    status = market.market.order_status(order_id(order))
    assert status is not None
    assert (status.amount, status.payee) == (scored.price, me.account.address)
    with pytest.raises(RevertError, match="market: order not expired"):
        buyer.sender.send("refund", market.market.refund(order))
    claim = market.market.claim(order, preimage)
    assert claim.not_after_s == deadline
    me.sender.send("claim", claim)
    assert market.market.order_status(order_id(order)) is None
    (claimed,) = market.market.events(ClaimedEvent, from_block=0, order_id=order_id(order))
    assert bytes(claimed.preimage) == preimage


def test_a_sale_in_a_token_with_a_permit(
    market: Market, shared_chain: DevnetStatus, party: MakeParty
) -> None:
    me = party(shared_chain, seed=3)
    token = Token(me.client, market.book.token("USDX").address)
    assert (token.symbol(), token.decimals(), token.supports_permit()) == ("USDX", 6, True)
    me.sender.send("mint", token.mint(me.account.address, 500))
    deadline = me.client.block("latest").timestamp + 100
    permit = token.sign_permit(me.account, market.book.market, 300, deadline)
    artifact = load_artifact("DevToken")
    arguments = (me.account.address, market.book.market, 300, permit.deadline, permit.v, permit.r, permit.s)
    request = replace(token.approve(market.book.market, 0), data=artifact.encode_call("permit", arguments))
    me.sender.send("permit", request)
    assert token.allowance(me.account.address, market.book.market) == 300
    me.sender.send("transfer", token.transfer(market.owner.account.address, 200))
    assert token.balance_of(me.account.address) == 300
    me.sender.send("eth", eth_transfer(market.owner.account.address, 5))
    assert not Token(me.client, market.book.market).supports_permit()


def test_events_are_filtered_by_indexed_fields_only(
    market: Market, shared_chain: DevnetStatus, party: MakeParty
) -> None:
    first, second = party(shared_chain, seed=4), party(shared_chain, seed=5)
    ids = [_submit(market, one, tag)[1] for one, tag in ((first, b"\x0a"), (second, b"\x0b"))]
    read = market.market.events
    found = read(SubmittedEvent, from_block=0, submission_id=ids)
    assert [event.submission_id for event in found] == ids
    mine = read(SubmittedEvent, from_block=0, benchmark_id=market.id, developer=first.account.address)
    assert [event.submission_id for event in mine] == ids[:1]
    assert (
        read(SubmittedEvent, from_block=0, to_block=found[0].meta.block_number - 1, submission_id=ids) == []
    )
    with pytest.raises(
        InvalidInput, match="can be filtered by submission_id, benchmark_id, developer, not by payee"
    ):
        read(SubmittedEvent, from_block=0, payee=first.account.address)
    with pytest.raises(InvalidInput):
        read(SubmittedEvent, from_block=0, submission_id=b"short")


def test_arguments_that_do_not_fit_are_invalid_input(market: Market) -> None:
    with pytest.raises(InvalidInput, match="must have 20 bytes, got 19"):
        market.market.withdraw(Address(b"\x00" * 19), ZERO_ADDRESS)
    with pytest.raises(InvalidInput, match="does not fit"):
        load_artifact("Market").encode_call("price_of", ([], -1))
    order = OrderTerms(market.terms.sale, ZERO_ADDRESS, 1, market.id)
    with pytest.raises(InvalidInput, match="preimage must have 32 bytes, got 5"):
        market.market.claim(order, b"short")
    with pytest.raises(InvalidInput, match="takes 2 arguments"):
        load_artifact("Market").encode_call("withdraw", (ZERO_ADDRESS,))
    with pytest.raises(InvalidInput, match="missing or damaged"):
        load_artifact("NoSuchContract")


def test_an_address_without_contract_is_reported_plainly(shared_chain: DevnetStatus) -> None:
    nowhere = MarketContract(ChainClient(shared_chain.rpc_url), ZERO_ADDRESS)
    with pytest.raises(GoldenGrainError, match=r"does not decode|no contract"):
        nowhere.benchmark_status(Hash32(bytes(32)))


# --- proofs ---------------------------------------------------------------------------------------


def test_proofs_verify_as_the_enclave_verifies_them(
    market: Market, shared_chain: DevnetStatus, party: MakeParty
) -> None:
    me = party(shared_chain, seed=6)
    _, identity = _submit(market, me, b"\x0c")
    config = market.book.enclave_config()
    slots = market.market.slots(
        benchmark_id=market.id,
        submission_id=identity,
        record_id=record_id(market.id, me.account.address),
        order_id=Hash32(bytes(32)),
    )
    proof = fetch_chain_proof(me.client, config, slots)
    view = verify_market_state(config, proof, slots)
    assert me.client.block(view.anchor_number).hash == view.anchor_hash
    assert decode_submission_status(view.values[1]).state is SubmissionState.OPEN
    assert view.values[0] != 0
    assert view.values[3] == 0
    older = fetch_chain_proof(me.client, config, slots, anchor=view.anchor_number - 1)
    assert verify_market_state(config, older, slots).anchor_number == view.anchor_number - 1


def test_a_proof_of_a_block_not_buried_deep_enough_is_not_made(market: Market) -> None:
    client = market.owner.client
    with pytest.raises(UnavailableError, match="gives no proof that holds"):
        fetch_chain_proof(client, market.book.enclave_config(), [0], anchor=client.latest_number() + 1000)


def test_a_header_with_a_changed_field_is_refused(market: Market) -> None:
    block = market.owner.client.block("finalized")
    assert keccak256(encode_header(block.fields, block.hash)) == block.hash
    for name, value in (("timestamp", "0x1"), ("stateRoot", "0x" + "00" * 32), ("requestsHash", None)):
        with pytest.raises(MalformedReply, match="does not hash"):
            encode_header({**block.fields, name: value}, block.hash)


def test_a_lying_node_is_caught_before_the_proof_is_handed_out(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = ChainClient(market.owner.client.rpc_url)
    honest = client.raw_request

    def lie(method: str, params: list[object]) -> object:
        answer: Any = honest(method, params)
        if method == "eth_getProof":
            node = answer["storageProof"][0]["proof"][-1]
            answer["storageProof"][0]["proof"][-1] = node[:-2] + ("00" if node[-2:] != "00" else "11")
        return answer

    monkeypatch.setattr(client, "raw_request", lie)
    monkeypatch.setattr("goldengrain.chain.proofs._RETRY_S", 0.01)
    slots = market.market.slots(benchmark_id=market.id)
    with pytest.raises(UnavailableError, match="gives no proof that holds"):
        fetch_chain_proof(client, market.book.enclave_config(), slots)
