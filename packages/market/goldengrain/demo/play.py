"""The demo's play: train, submit, score, price, sell for ETH and for a token, refund, and add up the money."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from goldengrain.chain.journal import TransactionJournal
from goldengrain.demo.digits import SPEC_TOML, Digits, load_digits, spec, train_models
from goldengrain.demo.stage import NETWORK, START_ETH_WEI, START_TOKEN_UNITS, TOKEN, Stage, set_stage
from goldengrain.sdk.benchmarks import BenchmarkOffer, open_benchmark, parse_curve
from goldengrain.sdk.claims import watch_orders
from goldengrain.sdk.convert import to_onnx
from goldengrain.sdk.orders import (
    OrderState,
    OrderView,
    decrypt_purchase,
    order_view,
    place_order,
    refund_order,
    wait_for_delivery,
)
from goldengrain.sdk.runtime import Predictor
from goldengrain.sdk.submissions import SubmissionView, submit_model, wait_for_score
from goldengrain_protocol.hashing import sha256
from goldengrain_protocol.types import ZERO_ADDRESS, Address, Hash32

ETHER: Final = 10**18
USD: Final = 10**6
FEE_WEI: Final = ETHER // 1000
ROYALTY_BPS: Final = 250
REFUND_WINDOW_S: Final = 8

ETH_CURVE: Final = ((850_000, ETHER // 50), (900_000, ETHER // 10), (950_000, ETHER // 2), (980_000, ETHER))
USD_CURVE: Final = ((850_000, 50 * USD), (900_000, 250 * USD), (950_000, 1_200 * USD))

ETH_MODELS: Final = ("linear-60", "linear", "forest", "mlp", "xgboost")
USD_MODELS: Final = ("mlp",)
SOLD_FOR_ETH: Final = "forest"
NOT_DELIVERED: Final = "xgboost"


@dataclass(frozen=True, slots=True)
class SubmissionRow:
    """One submission in the report. `price` in the smallest unit of `currency`; `price_wei` the same for ETH."""

    name: str
    submission_id: str
    currency: str
    score_ppm: int | None
    bound_ppm: int | None
    price_wei: int | None
    price: int | None
    state: str
    submit_gas: int
    result_gas: int


@dataclass(frozen=True, slots=True)
class SaleRow:
    """One sale in the report. `price` in the smallest unit of `currency`."""

    name: str
    submission_id: str
    currency: str
    price: int
    order_gas: int
    claim_gas: int
    delivered: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class RefundRow:
    """An order that was not delivered and whose money came back."""

    name: str
    submission_id: str
    currency: str
    price: int
    order_gas: int
    refund_gas: int
    refunded: bool
    seconds: float


Say = Callable[[str], None]


def play(*, keep: Path | None = None, say: Say = lambda _what: None) -> dict[str, Any]:
    """Run the whole demonstration and return its report. Raises GoldenGrainError where something is missing."""
    started = time.monotonic()
    say("loading 5,000 handwritten digits")
    digits = load_digits()
    developers = [f"dev-{name}" for name in ETH_MODELS]
    with ThreadPoolExecutor(max_workers=1) as trainer:
        # Training keeps the processors busy while the stage waits for blocks.
        training = trainer.submit(_train, digits, say)
        with set_stage(["provider", "buyer", *developers], keep=keep, on_progress=say) as stage:
            report = _trade(stage, digits, training, say)
    return {**report, "seconds": round(time.monotonic() - started, 1)}


def _trade(stage: Stage, digits: Digits, training: Future[dict[str, bytes]], say: Say) -> dict[str, Any]:
    market = _open_benchmarks(stage, digits, say)
    models = training.result()
    with ThreadPoolExecutor(max_workers=3) as pool:
        eth = pool.map(lambda name: _submit(stage, market["ETH"], name, models[name], say), ETH_MODELS)
        views = {("ETH", name): view for name, view in zip(ETH_MODELS, eth, strict=True)}
    for name in USD_MODELS:
        views[TOKEN, name] = _submit(stage, market[TOKEN], name, models[name], say)
    with _watching(stage, [SOLD_FOR_ETH, *USD_MODELS]):
        sales = [
            _sell(stage, views["ETH", SOLD_FOR_ETH], SOLD_FOR_ETH, "ETH", models, digits, say),
            _sell(stage, views[TOKEN, USD_MODELS[0]], USD_MODELS[0], TOKEN, models, digits, say),
        ]
    refunds = [_refund(stage, views["ETH", NOT_DELIVERED], NOT_DELIVERED, say)]
    say("withdrawing credited fees and royalties")
    _withdraw(stage, "worker", ZERO_ADDRESS)
    _withdraw(stage, "provider", ZERO_ADDRESS)
    _withdraw(stage, "provider", stage.token_address)
    return {
        "assurance": "simulated",
        "network": NETWORK,
        "hardfork": "osaka",
        "benchmarks": {currency: "0x" + each.hex() for currency, each in market.items()},
        "submissions": [asdict(_row(stage, *key, view)) for key, view in views.items()],
        "sales": [asdict(sale) for sale in sales],
        "refunds": [asdict(refund) for refund in refunds],
        "money": _money(stage),
    }


def _train(digits: Digits, say: Say) -> dict[str, bytes]:
    trained = train_models(digits, lambda name: say(f"training {name}"))
    return {name: to_onnx(model, digits.train_x[:200], spec()) for name, model in trained.items()}


def _open_benchmarks(stage: Stage, digits: Digits, say: Say) -> dict[str, Hash32]:
    session = stage.session("provider")
    plans: list[tuple[str, Address, Any]] = [
        ("ETH", ZERO_ADDRESS, ETH_CURVE),
        (TOKEN, stage.token_address, USD_CURVE),
    ]
    opened: dict[str, Hash32] = {}
    for currency, token, curve in plans:
        say(f"opening a benchmark with 1,500 secret test images, prices in {currency}")
        offer = BenchmarkOffer(
            curve=parse_curve(curve),
            token=token,
            fee_wei=FEE_WEI,
            royalty_recipient=session.account.address if token != ZERO_ADDRESS else ZERO_ADDRESS,
            royalty_bps=ROYALTY_BPS if token != ZERO_ADDRESS else 0,
            title=f"Handwritten digits, priced in {currency}",
        )
        opened[currency] = open_benchmark(session, SPEC_TOML, {"image": digits.test_x}, digits.test_y, offer)
    return opened


def _submit(stage: Stage, benchmark: Hash32, name: str, model: bytes, say: Say) -> SubmissionView:
    session = stage.session(f"dev-{name}")
    say(f"submitting {name} ({len(model) / 1e6:.1f} MB, encrypted)")
    submission = submit_model(session, benchmark, model)
    view = wait_for_score(session, submission, timeout_s=120)
    shown = f"{view.bound_ppm / 1e6:.3f}" if view.bound_ppm is not None else "-"
    price = "no price" if view.price is None else f"price {view.price}"
    say(f"{name}: {view.state.value}, lower bound {shown}, {price}")
    return view


def _sell(
    stage: Stage,
    view: SubmissionView,
    name: str,
    currency: str,
    models: dict[str, bytes],
    digits: Digits,
    say: Say,
) -> SaleRow:
    session = stage.session("buyer")
    say(f"buying {name} for {currency}")
    started = time.monotonic()
    purchase = place_order(session, view.submission_id, window_s=3600)
    ended = wait_for_delivery(session, purchase, timeout_s=60)
    opened = decrypt_purchase(session, purchase)
    seconds = time.monotonic() - started
    same_bytes = sha256(opened) == sha256(models[name])
    wanted = Predictor(models[name]).predict(digits.spare_x, output="probabilities")
    got = Predictor(opened).predict(digits.spare_x, output="probabilities")
    accuracy = float(np.mean(got.argmax(axis=1) == digits.spare_y))
    say(f"opened {name}: {accuracy:.1%} right on 500 images that nobody had seen")
    return SaleRow(
        name=name,
        submission_id="0x" + view.submission_id.hex(),
        currency=currency,
        price=purchase.price,
        order_gas=_gas(stage, ended.order_tx),
        claim_gas=_gas(stage, ended.end_tx),
        delivered=same_bytes and bool(np.array_equal(wanted, got)),
        seconds=round(seconds, 2),
    )


def _refund(stage: Stage, view: SubmissionView, name: str, say: Say) -> RefundRow:
    session = stage.session("buyer")
    say(f"ordering {name}, whose developer is offline, and waiting for the deadline")
    started = time.monotonic()
    purchase = place_order(session, view.submission_id, window_s=REFUND_WINDOW_S)
    while order_view(session, purchase).state == OrderState.OPEN:
        time.sleep(0.5)
    ended: OrderView = refund_order(session, purchase)
    return RefundRow(
        name=name,
        submission_id="0x" + view.submission_id.hex(),
        currency="ETH",
        price=purchase.price,
        order_gas=_gas(stage, ended.order_tx),
        refund_gas=_gas(stage, ended.end_tx),
        refunded=ended.state == OrderState.REFUNDED,
        seconds=round(time.monotonic() - started, 2),
    )


class _watching:
    """Developers online: each claims its orders in a thread of its own while the block runs."""

    def __init__(self, stage: Stage, names: list[str]) -> None:
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._watch, args=(stage, f"dev-{name}"), daemon=True) for name in names
        ]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _watch(self, stage: Stage, name: str) -> None:
        watch_orders(stage.session(name), lambda _report: None, should_stop=self._stop.is_set)


def _withdraw(stage: Stage, name: str, token: Address) -> None:
    session = stage.session(name)
    if session.market.credit(token, session.account.address):
        session.sender.send(
            f"withdraw:0x{token.hex()}:demo", session.market.withdraw(token, session.account.address)
        )


def _row(stage: Stage, currency: str, name: str, view: SubmissionView) -> SubmissionRow:
    return SubmissionRow(
        name=name,
        submission_id="0x" + view.submission_id.hex(),
        currency=currency,
        score_ppm=view.score_ppm,
        bound_ppm=view.bound_ppm,
        price_wei=view.price if currency == "ETH" else None,
        price=view.price,
        state=view.state.value,
        submit_gas=_gas(stage, view.submit_tx),
        result_gas=_gas(stage, view.result_tx),
    )


def _gas(stage: Stage, tx_hash: Hash32 | None) -> int:
    receipt = stage.client.receipt(tx_hash) if tx_hash is not None else None
    return receipt.gas_used if receipt is not None else 0


def _money(stage: Stage) -> dict[str, Any]:
    """Where every wei and every token unit went: starts minus ends is gas, and nothing stays in the market."""
    journal = TransactionJournal.open(stage.home)
    accounts: dict[str, dict[str, int]] = {}
    gas_total = 0
    for name, account in stage.accounts.items():
        gas_wei = 0
        for attempt in [
            each for entry in journal.history(account=account.address) for each in entry.attempts
        ]:
            receipt = stage.client.receipt(attempt.tx_hash)
            if receipt is not None:
                gas_wei += receipt.gas_used * receipt.effective_gas_price
        gas_total += gas_wei
        accounts[name] = {"start_wei": START_ETH_WEI, "end_wei": stage.eth(name), "gas_wei": gas_wei}
        accounts[name]["tokens"] = stage.tokens(name)
    market_wei = stage.client.balance(stage.book.market)
    market_tokens = stage.session("buyer").token(stage.token_address).balance_of(stage.book.market)
    ends = sum(each["end_wei"] for each in accounts.values())
    tokens = sum(each["tokens"] for each in accounts.values())
    funded = sum(name in ("provider", "buyer") or name.startswith("dev-") for name in accounts)
    return {
        "accounts": accounts,
        "market_wei": market_wei,
        "market_tokens": market_tokens,
        "gas_wei": gas_total,
        "unaccounted_wei": START_ETH_WEI * len(accounts) - ends - gas_total - market_wei,
        "unaccounted_tokens": START_TOKEN_UNITS * funded - tokens - market_tokens,
    }
