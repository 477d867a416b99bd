"""Pieces of a sale for the attacks: goods on offer, raw calls past the clients, and a ledger to the wei."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from goldengrain.chain.contracts import OrderItem
from goldengrain.chain.events import ClaimedEvent
from goldengrain.chain.transactions import TransactionRequest
from goldengrain.sdk.claims import open_orders
from goldengrain.sdk.orders import Purchase
from goldengrain.sdk.submissions import SubmissionView, recover_secret
from goldengrain_protocol.keyschedule import hashlock, order_pad
from goldengrain_protocol.messages import OrderTerms, body_hash
from goldengrain_protocol.sealing import offer_seal_context, open_sealed, x25519_public
from goldengrain_protocol.types import Address, Hash32
from goldengrain_protocol.wire import OfferReply
from tests.market_stage import MarketStage, Person, find_content_key, good_model, public_bytes


@dataclasses.dataclass(frozen=True, slots=True)
class Goods:
    """A priced submission and its developer."""

    developer: Person
    view: SubmissionView

    @property
    def submission_id(self) -> Hash32:
        return self.view.submission_id

    @property
    def price(self) -> int:
        assert self.view.price is not None
        return self.view.price

    def preimage(self, buyer: Person, buyer_key: bytes) -> bytes:
        """Return what the developer alone can compute: the key of one order."""
        session = self.developer.session
        secret = recover_secret(session, self.view)
        return order_pad(
            secret, session.chain_id, session.market_address, self.submission_id, buyer.address, buyer_key
        )


class Ledger:
    """What everybody gained since now, gas not counted; and what the market holds more than now."""

    def __init__(self, stage: MarketStage, **people: Person) -> None:
        self._stage = stage
        self._people = people
        self._before = self._now()

    def changes(self) -> dict[str, int]:
        """Return only what changed, by name; the market as `market`."""
        now = self._now()
        assert sum(now.values()) == sum(self._before.values()), "money came or went from elsewhere"
        return {name: now[name] - self._before[name] for name in now if now[name] != self._before[name]}

    def _now(self) -> dict[str, int]:
        return {name: person.gained_wei() for name, person in self._people.items()} | {
            "market": self._stage.market_wei()
        }


def goods_of(stage: MarketStage, benchmark: Hash32, *, model: bytes | None = None, **options: Any) -> Goods:
    """Return a fresh developer's scored and priced model."""
    developer = stage.person("developer")
    view = stage.sell(developer, benchmark, good_model() if model is None else model, **options)
    assert view.price is not None
    return Goods(developer, view)


def ask_offer(stage: MarketStage, goods: Goods, buyer: Person, private_key: bytes) -> OfferReply:
    """Return the worker's offer, unchecked."""
    return stage.daemon.offer(goods.submission_id, buyer.address, x25519_public(private_key))


def open_pad(goods: Goods, buyer: Person, private_key: bytes, reply: OfferReply) -> bytes:
    """Return the pad (content key xor preimage) that an offer seals to the buyer."""
    session = buyer.session
    context = offer_seal_context(
        session.chain_id, session.market_address, goods.submission_id, buyer.address, reply.offer.hashlock
    )
    return open_sealed(private_key, reply.offer.sealed_pad, context)


def order_call(
    goods: Goods, buyer: Person, lock: bytes, buyer_key: bytes, *, window_s: int, pay: int | None = None
) -> tuple[TransactionRequest, OrderTerms]:
    """Return the call that orders `goods` on any terms the buyer likes, and these terms."""
    session, sale = buyer.session, goods.view.terms.sale
    deadline = session.client.block("latest").timestamp + window_s
    body = body_hash(session.chain_id, session.market_address, goods.view.body)
    item = OrderItem(body, buyer_key, Hash32(lock))
    call = session.market.order(sale, deadline, [item], goods.price if pay is None else pay)
    return call, OrderTerms(sale, buyer.address, deadline, Hash32(lock))


def claims_of(person: Person, terms: OrderTerms | Purchase) -> list[bytes]:
    """Return the preimages that claims of an order revealed."""
    events = person.session.market.events(
        ClaimedEvent, from_block=0, order_id=_identity(terms), to_block=person.client.latest_number()
    )
    return [bytes(event.preimage) for event in events]


def is_open(person: Person, terms: OrderTerms | Purchase) -> bool:
    """Return whether an order's money is in escrow at the head."""
    return person.session.market.order_status(_identity(terms), block="latest") is not None


def await_open_order(stage: MarketStage, goods: Goods, terms: OrderTerms | Purchase) -> None:
    """Return once the developer's client sees the order as final."""
    identity = _identity(terms)
    session = goods.developer.session
    stage.await_(lambda: any(each.order_id == identity for each in open_orders(session)), "the order")


def nobody_can_open(
    stage: MarketStage, goods: Goods, *, pads: Sequence[bytes] = (), seen: Sequence[bytes] = ()
) -> bool:
    """Try to compute the model's key from the whole chain, the ciphertext's header and what the attackers have."""
    header = goods.developer.session.blobs.get(goods.view.body.content_digest)[:256]
    start = stage.client.receipt(goods.view.submit_tx)
    assert start is not None
    everything = [*public_bytes(stage.client, start.block_number), *waiting_calldata(stage), header, *seen]
    return find_content_key(goods.view.body.secret_commitment, everything, pads) is None


def waiting_calldata(stage: MarketStage) -> list[bytes]:
    """Return the calldata of all transactions that wait in the mempool."""
    content = stage.client.raw_request("txpool_content", [])
    assert isinstance(content, dict)
    queues = [queue for kind in ("pending", "queued") for queue in content[kind].values()]
    return [bytes.fromhex(each["input"][2:]) for queue in queues for each in queue.values()]


def hashlock_of(preimage: bytes) -> Hash32:
    return hashlock(preimage)


def set_code(stage: MarketStage, account: Address, code: str) -> None:
    """Put contract code at an address of the development chain."""
    stage.client.raw_request("anvil_setCode", ["0x" + account.hex(), code])


def _identity(terms: OrderTerms | Purchase) -> Hash32:
    from goldengrain_protocol.messages import order_id

    return terms.order_id if isinstance(terms, Purchase) else order_id(terms)
