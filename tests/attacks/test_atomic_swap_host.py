"""T5, T6: a host that lies about offers or ciphertext, or falls silent, takes neither money nor model."""

from __future__ import annotations

import dataclasses
import json
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from goldengrain.chain.reverts import RevertError
from goldengrain.home import Home
from goldengrain.host.jobs import Job, JobFinder
from goldengrain.sdk.claims import claim_open_orders
from goldengrain.sdk.orders import OrderState, decrypt_purchase, order_view, place_order
from goldengrain.sdk.session import Session
from goldengrain.sdk.submissions import SaleState, get_submission, reclaim_fee, submit_model
from goldengrain_protocol.eip712 import offer_digest
from goldengrain_protocol.errors import GoldenGrainError, InvalidInput, UnavailableError, VerificationError
from goldengrain_protocol.keyschedule import hashlock
from goldengrain_protocol.messages import Offer
from goldengrain_protocol.sealing import offer_seal_context, seal
from goldengrain_protocol.types import Hash32, address_from_hex, hash32_from_hex
from goldengrain_protocol.wire import ErrorReply, OfferReply, Reply, encode_reply
from tests.attacks.sales import Goods, Ledger, await_open_order, goods_of, nobody_can_open
from tests.market_stage import (
    FEE_WEI,
    START_WEI,
    MarketStage,
    Person,
    good_model,
    new_account,
    with_terms,
)

pytestmark = [pytest.mark.anvil, pytest.mark.sandbox, pytest.mark.slow]

WINDOW_S = 120


class HostileWorker:
    """A worker's door for offers that answers whatever `answer` makes of the request."""

    def __init__(self) -> None:
        self.answer: Callable[[dict[str, str]], bytes] = lambda _request: b"{}"
        hostile = self

        class Door(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["content-length"])))
                body = hostile.answer(request)
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def hostile() -> Iterator[HostileWorker]:
    worker = HostileWorker()
    yield worker
    worker.server.shutdown()
    worker.server.server_close()


@pytest.fixture(scope="module")
def goods(stage: MarketStage, benchmark: Hash32) -> Goods:
    return goods_of(stage, benchmark)


@pytest.fixture(scope="module")
def other_goods(stage: MarketStage, benchmark: Hash32) -> Goods:
    return goods_of(stage, benchmark, model=good_model("other"))


@pytest.fixture
def buyer(stage: MarketStage) -> Person:
    return stage.person("buyer")


def _ask_about(person: Person, url: str) -> Session:
    return Session(person.home, person.session.book, account=person.account, worker_urls=[url])


def _encoded(reply: Reply) -> bytes:
    return json.dumps({"reply": "0x" + encode_reply(reply).hex()}).encode()


def _honest(stage: MarketStage, request: dict[str, str]) -> OfferReply:
    return stage.daemon.offer(
        hash32_from_hex(request["submission_id"]),
        address_from_hex(request["buyer"]),
        hash32_from_hex(request["buyer_key"]),
    )


def _resigned(stage: MarketStage, offer: Offer) -> OfferReply:
    """Return an offer signed by a key that the host made up."""
    session = stage.host.session
    digest = offer_digest(session.chain_id, session.market_address, offer)
    return OfferReply(offer, new_account("no enclave").sign_digest(digest))


def _forged_pad(stage: MarketStage, offer: Offer) -> Offer:
    """Return an offer for a key of the host's own: paying it would give the buyer 32 random bytes."""
    session, preimage = stage.host.session, secrets.token_bytes(32)
    lock = hashlock(preimage)
    context = offer_seal_context(
        session.chain_id, session.market_address, offer.submission_id, offer.buyer, lock
    )
    pad = seal(offer.buyer_key, secrets.token_bytes(32), context)
    return dataclasses.replace(offer, hashlock=lock, sealed_pad=pad)


Lie = Callable[[MarketStage, OfferReply], Reply]
LIES: dict[str, Lie] = {
    "another hashlock": lambda _s, r: dataclasses.replace(
        r, offer=dataclasses.replace(r.offer, hashlock=hashlock(bytes(32)))
    ),
    "another pad": lambda s, r: dataclasses.replace(r, offer=_forged_pad(s, r.offer)),
    "a flipped bit in the pad": lambda _s, r: dataclasses.replace(
        r, offer=dataclasses.replace(r.offer, sealed_pad=_flip(r.offer.sealed_pad, 60))
    ),
    "an unregistered signer": lambda s, r: _resigned(s, _forged_pad(s, r.offer)),
    "an honest offer under a foreign signature": lambda s, r: _resigned(s, r.offer),
    "a flipped bit in the signature": lambda _s, r: dataclasses.replace(r, signature=_flip(r.signature, 5)),
    "an offer to another buyer": lambda s, r: s.daemon.offer(
        r.offer.submission_id, s.host.address, r.offer.buyer_key
    ),
    "an offer to another buyer key": lambda s, r: s.daemon.offer(
        r.offer.submission_id, r.offer.buyer, secrets.token_bytes(32)
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_false_offer_is_not_paid(
    stage: MarketStage, goods: Goods, buyer: Person, hostile: HostileWorker, lie: str
) -> None:
    hostile.answer = lambda request: _encoded(LIES[lie](stage, _honest(stage, request)))
    with pytest.raises(VerificationError):
        place_order(_ask_about(buyer, hostile.url), goods.submission_id, window_s=WINDOW_S)
    _nothing_happened(stage, goods, buyer)
    # The same buyer, asking an honest worker, goes on as if nothing had been.
    place_order(buyer.session, goods.submission_id, window_s=WINDOW_S)
    assert buyer.gained_wei() == -goods.price


def test_offer_for_another_submission_is_not_paid(
    stage: MarketStage, goods: Goods, other_goods: Goods, buyer: Person, hostile: HostileWorker
) -> None:
    def swap(request: dict[str, str]) -> bytes:
        request["submission_id"] = "0x" + other_goods.submission_id.hex()
        return _encoded(_honest(stage, request))

    hostile.answer = swap
    with pytest.raises(VerificationError, match="for another submission or buyer"):
        place_order(_ask_about(buyer, hostile.url), goods.submission_id, window_s=WINDOW_S)
    _nothing_happened(stage, goods, buyer)


NONSENSE: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"<html>502</html>",
    "no object": b"[]",
    "no offer": b'{"reply": 7}',
    "no hexadecimal": b'{"reply": "0xzz"}',
    "no message": b'{"reply": "0xc0ffee"}',
    "an error": _encoded(ErrorReply("internal", "no", "")),
    "a flood": b'{"reply": "0x' + b"00" * (1 << 20) + b'"}',
    "deep nesting": b"[" * 100_000,
}


@pytest.mark.parametrize("answer", NONSENSE)
def test_nonsense_instead_of_an_offer_is_an_error_of_the_worker(
    stage: MarketStage, goods: Goods, buyer: Person, hostile: HostileWorker, answer: str
) -> None:
    hostile.answer = lambda _request: NONSENSE[answer]
    with pytest.raises(GoldenGrainError) as caught:
        place_order(_ask_about(buyer, hostile.url), goods.submission_id, window_s=WINDOW_S)
    assert isinstance(caught.value, UnavailableError), caught.value
    _nothing_happened(stage, goods, buyer)


@pytest.mark.parametrize("damage", ["swapped", "truncated", "one bit", "absent", "another list of pieces"])
def test_wrong_ciphertext_is_noticed_before_paying(
    stage: MarketStage, goods: Goods, other_goods: Goods, buyer: Person, tmp_path: Path, damage: str
) -> None:
    store = tmp_path / "blobs"
    shutil.copytree(stage.root / "blobs", store)
    name, other = goods.view.body.content_digest.hex(), other_goods.view.body.content_digest.hex()
    blob = store / name
    if damage == "swapped":
        shutil.copy(store / other, blob)
    elif damage == "truncated":
        blob.write_bytes(blob.read_bytes()[:-16])
    elif damage == "one bit":
        blob.write_bytes(_flip(blob.read_bytes(), 1000))
    elif damage == "absent":
        blob.unlink()
    else:
        shutil.copy(store / other, blob)
        shutil.copy(store / f"{other}.pieces", store / f"{name}.pieces")
    book = with_terms(stage.book, blob_url=str(store))
    session = Session(buyer.home, book, account=buyer.account, worker_urls=[stage.worker_url])
    expected = UnavailableError if damage == "absent" else VerificationError
    with pytest.raises((VerificationError, UnavailableError)) as caught:
        place_order(session, goods.submission_id, window_s=WINDOW_S)
    assert isinstance(caught.value, expected) or damage == "truncated"
    _nothing_happened(stage, goods, buyer)

    place_order(buyer.session, goods.submission_id, window_s=WINDOW_S)  # from a store that has it
    assert buyer.gained_wei() == -goods.price


def test_worker_that_is_down_costs_nothing(stage: MarketStage, goods: Goods, buyer: Person) -> None:
    session = _ask_about(buyer, "http://127.0.0.1:9")
    with pytest.raises(UnavailableError, match="the worker does not answer") as caught:
        place_order(session, goods.submission_id, window_s=WINDOW_S)
    assert "gg worker run" in caught.value.next_step
    _nothing_happened(stage, goods, buyer)


def test_sale_ends_without_any_worker_once_it_is_paid(
    stage: MarketStage, benchmark: Hash32, buyer: Person, tmp_path: Path
) -> None:
    goods = goods_of(stage, benchmark)
    ledger = Ledger(stage, buyer=buyer, developer=goods.developer)
    purchase = place_order(buyer.session, goods.submission_id, window_s=WINDOW_S)
    # Worker, enclave and blob store vanish: neither side needs them any more.
    alone = with_terms(stage.book, blob_url=str(tmp_path / "empty"))
    session = Session(buyer.home, alone, account=buyer.account, worker_urls=["http://127.0.0.1:9"])
    seller = goods.developer
    await_open_order(stage, goods, purchase)
    claim_open_orders(Session(seller.home, alone, account=seller.account, worker_urls=["http://127.0.0.1:9"]))
    assert order_view(session, purchase).state is OrderState.DELIVERED
    assert decrypt_purchase(session, purchase) == good_model()
    assert ledger.changes() == {"buyer": -goods.price, "developer": goods.price}


def test_withheld_result_costs_the_developer_time_only(stage: MarketStage, provider: Person) -> None:
    window_s = 90
    benchmark = stage.benchmark(provider, result_window_s=window_s, title="withheld")
    developer = stage.person("developer")
    ledger = Ledger(stage, developer=developer)
    with stage.silent_worker():
        view = stage.submit(developer, benchmark, good_model("withheld"))
        assert view.state is SaleState.WAITING
        assert ledger.changes() == {"developer": -FEE_WEI, "market": FEE_WEI}
        with pytest.raises(InvalidInput, match="the fee cannot be taken back"):
            reclaim_fee(developer.session, view.submission_id)
        with pytest.raises(RevertError, match="market: result not late"):
            developer.send(developer.session.market.reclaim_fee(view.terms.sale, view.body))
        with pytest.raises(InvalidInput, match="one may be open at a time"):
            submit_model(developer.session, benchmark, good_model("another probe"))
        stage.pass_time(window_s + 1)
        assert get_submission(developer.session, view.submission_id).state is SaleState.OVERDUE
        reclaim_fee(developer.session, view.submission_id)
        assert ledger.changes() == {}
        assert get_submission(developer.session, view.submission_id).state is SaleState.FEE_RECLAIMED
    assert nobody_can_open(stage, Goods(developer, view))
    # The same model once more, under a fresh key: a host that kept the first result can do nothing with it.
    again = stage.sell(developer, benchmark, good_model("withheld"))
    assert again.submission_id != view.submission_id
    assert again.body.content_digest != view.body.content_digest
    assert again.state is SaleState.FOR_SALE
    assert developer.gained_wei() == -FEE_WEI


def test_result_that_comes_late_is_refused(stage: MarketStage, provider: Person) -> None:
    window_s = 90
    benchmark = stage.benchmark(provider, result_window_s=window_s, title="late")
    developer = stage.person("developer")
    with stage.silent_worker():
        view = stage.submit(developer, benchmark, good_model("late"))
        job = _job(stage, view.submission_id)
        result = stage.daemon._evaluate(job)
        stage.pass_time(window_s + 1)
        accept = stage.host.session.market.accept(view.terms, view.body, [(result.result, result.signature)])
        with pytest.raises(RevertError, match="market: result too late"):
            stage.host.send(accept)
        reclaim_fee(developer.session, view.submission_id)
        with pytest.raises(RevertError, match="market: submission not open"):
            stage.host.send(accept)
    assert developer.gained_wei() == 0


def _job(stage: MarketStage, identity: Hash32) -> Job:
    finder = JobFinder(stage.host.session, stage.boot, stage.book.verifier(stage.verifier).address)
    finder.scan()
    return finder.jobs[identity]


def _nothing_happened(stage: MarketStage, goods: Goods, buyer: Person) -> None:
    assert buyer.wei() == START_WEI
    assert stage.client.transaction_count(buyer.address, "pending") == 0
    assert not list(Home(buyer.home.root).root.glob("orders/**/*.json"))


def _flip(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
