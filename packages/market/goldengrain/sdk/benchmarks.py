"""Opening a benchmark (the provider's side) and reading benchmarks (everybody's)."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import safetensors.numpy

from goldengrain.bounded_json import decode_json
from goldengrain.chain.events import BenchmarkOpenedEvent
from goldengrain.home import atomic_write, read_json_object
from goldengrain.sdk.session import Session
from goldengrain.sdk.trust import require_usable_enclaves, verify_terms
from goldengrain_protocol.commitments import digest_of
from goldengrain_protocol.constants import TCB_ALLOWED_STRICT, BenchmarkState
from goldengrain_protocol.container import ContainerKind, encrypt_container
from goldengrain_protocol.errors import InvalidInput
from goldengrain_protocol.keyschedule import derive_testset_secret
from goldengrain_protocol.messages import Benchmark, CurvePoint, Sale, benchmark_id
from goldengrain_protocol.pricing import validate_curve
from goldengrain_protocol.sealing import seal, sealed_keys, testset_seal_context
from goldengrain_protocol.spec import (
    INPUT_TENSOR_PREFIX,
    LABEL_TENSOR,
    MIN_SAMPLES,
    BenchmarkSpec,
    decode_spec,
)
from goldengrain_protocol.status import BenchmarkStatus
from goldengrain_protocol.types import ZERO_ADDRESS, Address, Hash32

Array = npt.NDArray[Any]
Progress = Callable[[str, int, int], None]
"""Called with (what is being done, done, total); bytes where bytes move, steps elsewhere."""

MAX_SEALED_COPIES: Final = 32
"""Enclaves to which one test set is sealed."""


@dataclass(frozen=True, slots=True)
class BenchmarkOffer:
    """What a provider decides when opening a benchmark; the rest follows from the address book.

    `fee_wei` is in ETH, curve prices in the smallest unit of `token`. Times in seconds.
    """

    curve: tuple[CurvePoint, ...]
    token: Address = ZERO_ADDRESS
    fee_wei: int = 0
    submission_cap: int = 10
    step_ppm: int = 5_000
    closes_in_s: int = 7 * 24 * 3600
    result_window_s: int = 24 * 3600
    royalty_recipient: Address = ZERO_ADDRESS
    royalty_bps: int = 0
    quorum: int = 1
    tcb_allowed: int = TCB_ALLOWED_STRICT
    verifier: str | None = None
    title: str = ""


@dataclass(frozen=True, slots=True)
class BenchmarkView:
    """One benchmark as the chain shows it."""

    benchmark_id: Hash32
    terms: Benchmark
    status: BenchmarkStatus
    testset_sealed_keys: bytes
    title: str
    opened_at_block: int


def encode_testset(spec: BenchmarkSpec, inputs: Mapping[str, Array], label: Array) -> bytes:
    """Return the safetensors bytes of a test set that fits `spec`.

    Args:
        inputs: one array per input of the spec, first axis = samples.
        label: class ids, shape (n,), or targets, shape (n,) or (n, k).

    Raises:
        InvalidInput: names, dtypes, shapes or sample counts do not fit.
    """
    missing = {entry.name for entry in spec.inputs} ^ set(inputs)
    if missing:
        raise InvalidInput(f"test set and spec disagree about input(s) {', '.join(sorted(missing))}")
    samples = len(label)
    if samples < MIN_SAMPLES:
        raise InvalidInput(f"a test set needs at least {MIN_SAMPLES} samples, got {samples}")
    tensors: dict[str, Array] = {}
    for entry in spec.inputs:
        array = np.ascontiguousarray(inputs[entry.name])
        if array.dtype.name != entry.dtype:
            raise InvalidInput(f"input {entry.name!r}: expected dtype {entry.dtype}, got {array.dtype.name}")
        wanted = tuple(samples if axis == "n" else axis for axis in entry.shape)
        if array.shape != wanted:
            raise InvalidInput(f"input {entry.name!r}: expected shape {wanted}, got {array.shape}")
        tensors[INPUT_TENSOR_PREFIX + entry.name] = array
    if spec.task == "classification":
        tensors[LABEL_TENSOR] = _class_labels(spec, label)
    else:
        tensors[LABEL_TENSOR] = np.ascontiguousarray(label, dtype=np.float64)
        if not np.isfinite(tensors[LABEL_TENSOR]).all():
            raise InvalidInput("targets must be finite numbers")
    return safetensors.numpy.save(tensors)


def open_benchmark(
    session: Session,
    spec_toml: bytes,
    inputs: Mapping[str, Array],
    label: Array,
    offer: BenchmarkOffer,
    *,
    measurement: Hash32 | None = None,
    on_progress: Progress | None = None,
) -> Hash32:
    """Encrypt and upload the test set, seal its key to the registered enclaves, put the terms on chain.

    Safe to call again with the same arguments after a crash: it continues, and returns the same benchmark.

    Args:
        measurement: the enclave code to trust; the address book's only one by default.

    Raises:
        InvalidInput: the test set, the curve or the offer does not fit.
        UnavailableError: no registered enclave can serve the benchmark yet, or node or storage is away.
    """
    tell = on_progress or (lambda _what, _done, _total: None)
    spec = decode_spec(spec_toml)
    plain = encode_testset(spec, inputs, label)
    validate_curve(offer.curve)
    key = session.account.dangerous_private_key()
    salt = hmac.digest(key, b"goldengrain/testset-salt/v1" + plain, "sha256")
    secret = derive_testset_secret(key, session.chain_id, session.market_address, salt)
    container = encrypt_container(plain, ContainerKind.TESTSET, secret, salt)
    testset_digest = digest_of(container)
    terms = _terms(session, offer, measurement, spec_toml, testset_digest)
    verify_terms(session, terms)
    identity = benchmark_id(session.chain_id, session.market_address, terms)
    if session.market.benchmark_status(identity, block="latest").state != BenchmarkState.ABSENT:
        return identity
    enclaves = require_usable_enclaves(session, terms)
    session.blobs.put(spec_toml)
    session.blobs.put(container, on_progress=lambda done, total: tell("uploading the test set", done, total))
    context = testset_seal_context(session.chain_id, session.market_address, identity, testset_digest)
    sealed = sealed_keys(
        {each.signer: seal(each.sealing_key, secret, context) for each in enclaves[:MAX_SEALED_COPIES]}
    ).encode()
    metadata = json.dumps({"title": offer.title or spec.title}, separators=(",", ":")).encode()
    tell("opening the benchmark", 0, 1)
    session.sender.send(f"open:0x{identity.hex()}", session.market.open_benchmark(terms, sealed, metadata))
    tell("opening the benchmark", 1, 1)
    return identity


def close_benchmark(session: Session, identity: Hash32) -> None:
    """Stop taking submissions; results for open submissions are still accepted. Owner only."""
    view = get_benchmark(session, identity)
    if view.status.state == BenchmarkState.CLOSED:
        return
    session.sender.send(f"close:0x{identity.hex()}", session.market.close_benchmark(view.terms))


def list_benchmarks(session: Session) -> list[BenchmarkView]:
    """Return every finalised benchmark, oldest first."""
    events = session.market.events(BenchmarkOpenedEvent, from_block=session.book.deployed_at_block)
    return [_view(session, event) for event in events]


def get_benchmark(session: Session, identity: Hash32) -> BenchmarkView:
    """Return one finalised benchmark.

    Raises:
        InvalidInput: the market has no such benchmark (yet finalised).
    """
    events = session.market.events(
        BenchmarkOpenedEvent, from_block=session.book.deployed_at_block, benchmark_id=identity
    )
    if not events:
        raise InvalidInput(
            f"no benchmark 0x{identity.hex()} on this market", next_step="see `gg benchmark list`"
        )
    return _view(session, events[0])


def fetch_spec(session: Session, terms: Benchmark) -> BenchmarkSpec:
    """Return the benchmark's public spec from the blob store, checked against its digest."""
    return decode_spec(session.blobs.get(terms.spec_digest))


def load_testset(path: Path) -> tuple[dict[str, Array], Array]:
    """Return (inputs by name, label) from a .safetensors or .npz file with arrays `input.NAME` and `label`.

    Raises:
        InvalidInput: another kind of file, or arrays of other names.
    """
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        else:
            arrays = safetensors.numpy.load(path.read_bytes())
    except (OSError, ValueError, safetensors.SafetensorError) as exc:
        raise InvalidInput(
            f"{path} is no test set: {exc}",
            next_step="write it with safetensors.numpy.save_file or numpy.savez",
        ) from exc
    label = arrays.pop(LABEL_TENSOR, None)
    strange = [name for name in arrays if not name.startswith(INPUT_TENSOR_PREFIX)]
    if label is None or strange or not arrays:
        raise InvalidInput(
            f"{path}: expected arrays 'input.NAME' and 'label', got {', '.join(sorted(arrays)) or 'none'}"
        )
    return {name.removeprefix(INPUT_TENSOR_PREFIX): array for name, array in arrays.items()}, label


def parse_curve(points: Sequence[tuple[int, int]]) -> tuple[CurvePoint, ...]:
    """Return (score_ppm, price) pairs as a valid price curve, or raise InvalidInput."""
    curve = tuple(CurvePoint(score, price) for score, price in points)
    validate_curve(curve)
    return curve


def _terms(
    session: Session, offer: BenchmarkOffer, measurement: Hash32 | None, spec_toml: bytes, testset: Hash32
) -> Benchmark:
    book = session.book
    if measurement is None:
        if len(book.trusted_measurements) != 1:
            raise InvalidInput(
                f"the address book trusts {len(book.trusted_measurements)} measurements, expected exactly one",
                next_step="name one with --measurement",
            )
        measurement = book.trusted_measurements[0]
    if offer.quorum != 1:
        raise InvalidInput(
            f"quorum {offer.quorum}: workers of this release post single results only",
            next_step="open the benchmark with quorum 1",
        )
    verifier = book.verifier(offer.verifier)
    digest = digest_of(spec_toml)
    draft = _Draft(session, hashlib.sha256(repr((offer, measurement, digest, testset)).encode()).hexdigest())
    return Benchmark(
        owner=session.account.address,
        sale=Sale(offer.token, offer.royalty_recipient, offer.royalty_bps),
        spec_digest=digest,
        testset_digest=testset,
        verifier=verifier.address,
        measurement=measurement,
        config_digest=session.config_digest,
        assurance=verifier.assurance,
        tcb_allowed=offer.tcb_allowed,
        quorum=offer.quorum,
        fee_wei=offer.fee_wei,
        submission_cap=offer.submission_cap,
        step_ppm=offer.step_ppm,
        submissions_close=draft.closing_time(offer.closes_in_s),
        result_window_s=offer.result_window_s,
        curve=offer.curve,
    )


class _Draft:
    """Remembers the absolute closing time of terms being opened, so that a second run opens the same."""

    def __init__(self, session: Session, name: str) -> None:
        self._session = session
        self._path = session.home.root / "benchmarks" / f"{session.account.checksum}-{name}.json"

    def closing_time(self, closes_in_s: int) -> int:
        now = self._session.client.block("latest").timestamp
        if self._path.exists():
            closes = read_json_object(self._path).get("submissions_close")
            if isinstance(closes, int) and closes > now:
                return closes
        closes = now + closes_in_s
        self._session.home.ensure(self._path.parent)
        atomic_write(self._path, json.dumps({"submissions_close": closes}).encode())
        return closes


def _class_labels(spec: BenchmarkSpec, label: Array) -> Array:
    ids = np.ascontiguousarray(label)
    if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
        raise InvalidInput(f"class labels must be integers of shape (n,), got {ids.dtype} {ids.shape}")
    classes = spec.classes or 0
    if ids.min() < 0 or ids.max() >= classes:
        raise InvalidInput(f"class labels must be 0..{classes - 1}, got {ids.min()}..{ids.max()}")
    return ids.astype(np.int64)


def _view(session: Session, event: BenchmarkOpenedEvent) -> BenchmarkView:
    try:
        metadata = decode_json(event.metadata.encode())
        title = str(metadata.get("title", "")) if isinstance(metadata, dict) else ""
    except ValueError:
        title = ""
    return BenchmarkView(
        benchmark_id=event.benchmark_id,
        terms=event.benchmark,
        status=session.market.benchmark_status(event.benchmark_id, block="latest"),
        testset_sealed_keys=event.sealed_keys,
        title=title[:120],
        opened_at_block=event.meta.block_number,
    )
