"""The events of the contracts as typed values, each with its place in the chain.

Who wants to decide on them reads them up to the newest finalised block: that is the default.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from goldengrain.chain.artifacts import encode_topic, load_artifact
from goldengrain.chain.client import ChainClient
from goldengrain.chain.rpc import MalformedReply
from goldengrain.chain.rpc_types import Log, Receipt
from goldengrain_protocol.errors import InvalidInput
from goldengrain_protocol.messages import Benchmark
from goldengrain_protocol.types import Address, Hash32


@dataclass(frozen=True, slots=True)
class EventMeta:
    """Where an event stands."""

    block_number: int
    block_hash: Hash32
    tx_hash: Hash32
    log_index: int


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events. `contract` and `event` name its ABI."""

    contract: ClassVar[str]
    event: ClassVar[str]

    meta: EventMeta


@dataclass(frozen=True, slots=True)
class BenchmarkOpenedEvent(Event):
    """A benchmark can be submitted to. `metadata` is text of its owner: untrusted."""

    contract = "Market"
    event = "BenchmarkOpened"
    benchmark_id: Hash32
    owner: Address
    benchmark: Benchmark
    sealed_keys: bytes
    metadata: str


@dataclass(frozen=True, slots=True)
class BenchmarkClosedEvent(Event):
    """A benchmark takes no further submissions."""

    contract = "Market"
    event = "BenchmarkClosed"
    benchmark_id: Hash32


@dataclass(frozen=True, slots=True)
class SubmittedEvent(Event):
    """A model waits for its result. `reserve` in units of the sale's token."""

    contract = "Market"
    event = "Submitted"
    submission_id: Hash32
    benchmark_id: Hash32
    developer: Address
    payee: Address
    content_digest: Hash32
    secret_commitment: Hash32
    reserve: int
    sealed_keys: bytes


@dataclass(frozen=True, slots=True)
class AttestedEvent(Event):
    """One enclave's result. `fee_wei` went to `worker`."""

    contract = "Market"
    event = "Attested"
    submission_id: Hash32
    enclave: Address
    worker: Address
    outcome: int
    score_ppm: int
    bound_ppm: int
    anchor_number: int
    evidence_digest: Hash32
    fee_wei: int


@dataclass(frozen=True, slots=True)
class ScoredEvent(Event):
    """What the market made of a submission's results; `state` is a `SubmissionState`."""

    contract = "Market"
    event = "Scored"
    submission_id: Hash32
    benchmark_id: Hash32
    state: int
    score_ppm: int
    bound_ppm: int
    price: int


@dataclass(frozen=True, slots=True)
class OrderedEvent(Event):
    """Money is in escrow for a model. `deadline` in Unix seconds."""

    contract = "Market"
    event = "Ordered"
    submission_id: Hash32
    buyer: Address
    order_id: Hash32
    hashlock: Hash32
    deadline: int
    buyer_key: Hash32
    amount: int


@dataclass(frozen=True, slots=True)
class ClaimedEvent(Event):
    """An order was paid out; `preimage` is the pad that opens the buyer's offer."""

    contract = "Market"
    event = "Claimed"
    order_id: Hash32
    preimage: Hash32


@dataclass(frozen=True, slots=True)
class RefundedEvent(Event):
    """An order's money went back to its buyer."""

    contract = "Market"
    event = "Refunded"
    order_id: Hash32


@dataclass(frozen=True, slots=True)
class FeeReclaimedEvent(Event):
    """A submission's fee went back to its developer for want of a result."""

    contract = "Market"
    event = "FeeReclaimed"
    submission_id: Hash32


@dataclass(frozen=True, slots=True)
class CreditedEvent(Event):
    """A share waits to be withdrawn. `token` is zero for ETH."""

    contract = "Market"
    event = "Credited"
    token: Address
    account: Address
    amount: int


@dataclass(frozen=True, slots=True)
class WithdrawnEvent(Event):
    """A credited share was paid out to `to`."""

    contract = "Market"
    event = "Withdrawn"
    token: Address
    account: Address
    to: Address
    amount: int


@dataclass(frozen=True, slots=True)
class RegisteredEvent(Event):
    """An enclave is registered until `expiry` (Unix seconds)."""

    contract = "EnclaveRegistry"
    event = "Registered"
    enclave_id: Hash32
    signer: Address
    verifier: Address
    sealing_key: Hash32
    measurement: Hash32
    config_digest: Hash32
    assurance: int
    tcb_status: int
    expiry: int
    platform: Hash32
    quote_digest: Hash32


@dataclass(frozen=True, slots=True)
class InvalidatedEvent(Event):
    """An enclave must not be trusted any more: its platform was revoked."""

    contract = "EnclaveRegistry"
    event = "Invalidated"
    enclave_id: Hash32


E = TypeVar("E", bound=Event)


def read_events(
    client: ChainClient,
    contract: Address,
    kind: type[E],
    *,
    from_block: int,
    to_block: int | None = None,
    **filters: object,
) -> list[E]:
    """Return the events of one kind that a contract emitted, in chain order.

    Args:
        to_block: last block, included; the newest finalised one by default.
        filters: wanted values of indexed fields, by name; a list means any of them.

    Raises:
        InvalidInput: a filter is no indexed field of the event, or of the wrong type.
        UnavailableError: the node fails.
    """
    event = load_artifact(kind.contract).events[kind.event]
    known = {parameter.name: parameter for parameter in event.indexed}
    for name in filters:
        if name not in known:
            raise InvalidInput(f"{kind.event} can be filtered by {', '.join(known)}, not by {name}")
    topics: list[Hash32 | Sequence[Hash32] | None] = [event.topic]
    for name, parameter in known.items():
        wanted = filters.get(name)
        if isinstance(wanted, (list, tuple, set, frozenset)):
            topics.append([encode_topic(parameter, one) for one in wanted])
        else:
            topics.append(None if wanted is None else encode_topic(parameter, wanted))
    return [decode_event(kind, log) for log in client.get_logs(contract, topics, from_block, to_block)]


def events_in(kind: type[E], contract: Address, receipt: Receipt) -> list[E]:
    """Return the events of one kind that a transaction made `contract` emit."""
    topic = load_artifact(kind.contract).events[kind.event].topic
    return [
        decode_event(kind, log)
        for log in receipt.logs
        if log.address == contract and log.topics[:1] == (topic,)
    ]


def decode_event(kind: type[E], log: Log) -> E:
    """Return the event in a log.

    Raises:
        UnavailableError: the log is no such event.
    """
    values: dict[str, Any] = load_artifact(kind.contract).decode_log(kind.event, log)
    if "benchmark" in values:
        try:
            values["benchmark"] = Benchmark.from_abi(values["benchmark"])
        except InvalidInput as exc:
            raise MalformedReply(f"the rpc node's {kind.event} holds no benchmark: {exc}") from exc
    meta = EventMeta(log.block_number, log.block_hash, log.tx_hash, log.log_index)
    return kind(meta=meta, **values)
