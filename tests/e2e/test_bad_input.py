"""What goes wrong in practice: each gets an error that names the condition and the next step, and can be tried again.

Commands run through the command line's own entry point. Exit codes: 1 the answer is no, 2 usage, 3 the state of
things does not allow it, 4 the infrastructure does not answer, 130 Ctrl-C. "Your model failed" is never one of
these: it is a result, signed by the enclave.
"""

from __future__ import annotations

import json
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from onnx import TensorProto

from goldengrain.chain.address_book import save_address_book
from goldengrain.cli.main import run
from goldengrain.sdk.benchmarks import get_benchmark
from goldengrain_protocol.commitments import digest_of
from goldengrain_protocol.container import ContainerKind, encrypt_container
from goldengrain_protocol.errors import UnavailableError
from goldengrain_protocol.evidence import Evidence
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.keyschedule import secret_commitment
from goldengrain_protocol.messages import Submission, body_hash, submission_id
from goldengrain_protocol.sealing import seal, sealed_keys, submission_seal_context
from goldengrain_protocol.types import Address, Hash32
from tests.attacks.mortal import Command, Driver, drivers
from tests.market_stage import (
    FEE_WEI,
    NETWORK,
    SPEC,
    START_WEI,
    MarketStage,
    Person,
    digits,
    good_model,
    linear_model,
    nan_model,
    with_terms,
)

pytestmark = [pytest.mark.anvil, pytest.mark.sandbox, pytest.mark.slow]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one command line did: exit code, and the JSON document on stdout."""

    code: int
    document: dict[str, Any]

    @property
    def error(self) -> dict[str, str]:
        found: dict[str, str] = self.document["error"]
        return found


class Shell:
    """Somebody's terminal."""

    def __init__(self, stage: MarketStage, person: Person, capsys: pytest.CaptureFixture[str]) -> None:
        self.person = person
        self._capsys = capsys
        password = stage.keystore(person)
        self._own = ["--home", str(person.home.root), "--network", NETWORK, "--json"]
        self._acting = ["--account", person.name, "--password-file", str(password)]
        self._worker = ["--worker", stage.worker_url]

    def read(self, *words: str) -> Answer:
        """Run a command that needs no account."""
        return self._run([*words, *self._own])

    def act(self, *words: str) -> Answer:
        """Run a command as this person."""
        return self._run(self.acting(*words))

    def acting(self, *words: str) -> list[str]:
        worker = self._worker if words[0] in ("order", "offer") and words[1] in ("buy", "get") else []
        return [*words, *self._own, *self._acting, *worker]

    def _run(self, words: list[str]) -> Answer:
        self._capsys.readouterr()
        code = int(run(words))
        out = self._capsys.readouterr().out
        return Answer(code, json.loads(out))


@pytest.fixture(scope="session")
def benchmark(stage: MarketStage) -> Hash32:
    return stage.benchmark(stage.person("provider"))


@pytest.fixture
def developer(stage: MarketStage, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(stage, stage.person("developer"), capsys)


@pytest.fixture
def buyer(stage: MarketStage, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(stage, stage.person("buyer"), capsys)


@pytest.fixture(scope="session")
def for_sale(stage: MarketStage, benchmark: Hash32) -> Hash32:
    return stage.sell(stage.person("developer"), benchmark, good_model()).submission_id


def _hex(value: bytes) -> str:
    return "0x" + value.hex()


def _is_refused(answer: Answer, code: int, category: str, message: str, next_step: str = "") -> None:
    assert answer.code == code, answer.document
    assert answer.error["category"] == category
    assert message in answer.error["message"]
    assert next_step in answer.error["next_step"]


# --- the model does not fit: noticed before anything is paid ---------------------------------------

_W, _B = np.ones((64, 10), np.float32), np.zeros(10, np.float32)

UNFIT: dict[str, tuple[Callable[[], bytes], str]] = {
    "input name": (
        lambda: linear_model(_W, _B, input_name="x"),
        "expected input(s) 'image', the model has 'x'",
    ),
    "output name": (
        lambda: linear_model(_W, _B, output_name="p"),
        "expected an output 'probabilities', the model has 'p'",
    ),
    "input shape": (
        lambda: linear_model(np.ones((63, 10), np.float32), _B),
        "input 'image': expected shape ['n', 64], the model has ['n', 63]",
    ),
    "output shape": (
        lambda: linear_model(np.ones((64, 9), np.float32), np.zeros(9, np.float32)),
        "output 'probabilities': expected shape ['n', 10], the model has ['n', 9]",
    ),
    "dtype": (
        lambda: linear_model(_W.astype(np.float64), _B.astype(np.float64), dtype=TensorProto.DOUBLE),
        "input 'image': expected dtype float32, the model has float64",
    ),
    "no ONNX": (lambda: b"MZ" + bytes(500), "not a loadable ONNX model"),
    "empty": (lambda: b"", "not a loadable ONNX model"),
    "cut short": (lambda: good_model()[:1000], "not a loadable ONNX model"),
    "too large": (
        lambda: linear_model(_W, _B, note="x" * 1_000_001),
        "the benchmark takes at most 1,000,000",
    ),
}


@pytest.mark.parametrize("fault", UNFIT)
def test_model_that_does_not_fit_is_refused_before_the_fee(
    benchmark: Hash32, developer: Shell, tmp_path: Path, fault: str
) -> None:
    make, message = UNFIT[fault]
    path, spec = tmp_path / "model.onnx", tmp_path / "spec.toml"
    path.write_bytes(make())
    spec.write_bytes(SPEC)
    checked = developer.read("model", "check", str(path), "--spec", str(spec))
    assert checked.code == 1
    assert checked.document["verdict"] == "refused"
    assert checked.document["reason"]
    refused = developer.act("model", "submit", _hex(benchmark), str(path))
    _is_refused(refused, 3, "invalid", message)
    assert developer.person.wei() == START_WEI


def test_model_can_be_submitted_once_it_is_mended(
    benchmark: Hash32, developer: Shell, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no model")
    command = ("model", "submit", _hex(benchmark), str(path), "--timeout", "60s")
    assert developer.act(*command).code == 3
    path.write_bytes(good_model())
    done = developer.act(*command)
    assert done.code == 0
    assert done.document["state"] == "for sale"
    again = developer.act(*command)
    assert (again.code, again.document["submission_id"]) == (0, done.document["submission_id"])
    assert developer.person.gained_wei() == -FEE_WEI


# --- your model failed: a result, not an error -------------------------------------------------------


def test_nan_outputs_are_the_models_failure(benchmark: Hash32, developer: Shell, tmp_path: Path) -> None:
    path = tmp_path / "nan.onnx"
    path.write_bytes(nan_model())
    done = developer.act("model", "submit", _hex(benchmark), str(path), "--timeout", "60s")
    assert done.code == 0, done.document
    assert done.document["state"] == "model failed"
    assert done.document["reasons"] == ["the model's output contains NaN or infinity"]
    assert done.document["price"] is None
    assert developer.person.gained_wei() == -FEE_WEI


def _truncated(container: bytes) -> bytes:
    return container[:-100]


def _reordered(container: bytes) -> bytes:
    body = len(container) // 2
    return container[:200] + container[body:] + container[200:body]


def _flipped(container: bytes) -> bytes:
    return container[:1500] + bytes([container[1500] ^ 4]) + container[1501:]


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "truncated": (_truncated, "the model container does not decrypt under the submission's secret"),
    "reordered": (_reordered, "the model container does not decrypt under the submission's secret"),
    "bit flipped": (_flipped, "the model container does not decrypt under the submission's secret"),
    "extended": (
        lambda c: c + bytes(16),
        "the model container does not decrypt under the submission's secret",
    ),
    "no container": (lambda _c: b"GGC0" + bytes(300), "the model container does not decrypt"),
    "sealed to another key": (lambda c: c, "the key sealed to this enclave does not open"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_container_or_sealed_key_is_the_models_failure(
    stage: MarketStage, benchmark: Hash32, developer: Shell, damage: str
) -> None:
    """Submitted past the SDK, which makes no such thing: the enclave tells what is wrong with it."""
    spoil, reason = DAMAGES[damage]
    person, secret = developer.person, secrets.token_bytes(32)
    session = person.session
    terms = get_benchmark(session, benchmark).terms
    container = spoil(encrypt_container(good_model(), ContainerKind.MODEL, secret, secrets.token_bytes(32)))
    content = session.blobs.put(container)
    assert content == digest_of(container)
    context = submission_seal_context(
        session.chain_id, session.market_address, benchmark, person.address, content
    )
    key = secrets.token_bytes(32) if damage == "sealed to another key" else stage.boot.sealing_key
    keys = sealed_keys({stage.boot.signer: seal(key, secret, context)}).encode()
    body = Submission(
        benchmark, person.address, person.address, content, secret_commitment(secret), keccak256(keys), 0
    )
    person.send(session.market.submit(body, terms.sale, keys, FEE_WEI))
    identity = submission_id(terms.sale, body_hash(session.chain_id, session.market_address, body))
    stage.await_(
        lambda: developer.read("model", "show", _hex(identity)).document.get("state") == "model failed",
        "the failure",
    )
    (shown,) = developer.read("model", "show", _hex(identity)).document["reasons"]
    assert reason in shown


def test_failed_models_evidence_says_what_failed(
    stage: MarketStage, developer: Shell, benchmark: Hash32
) -> None:
    view = stage.sell(developer.person, benchmark, nan_model("evidence"))
    evidence = Evidence.decode(stage.host.session.blobs.get(view.evidence_digests[0]))
    assert evidence.submission_id == view.submission_id
    assert (evidence.score_ppm, evidence.bound_ppm) == (0, 0)
    assert "NaN" in evidence.reason


# --- the provider's files --------------------------------------------------------------------------

_X, _Y = digits()[2:]
TESTSETS: dict[str, tuple[dict[str, Any], str]] = {
    "input name": (
        {"input.picture": _X, "label": _Y},
        "test set and spec disagree about input(s) image, picture",
    ),
    "dtype": ({"input.image": _X.astype(np.float64), "label": _Y}, "expected dtype float32, got float64"),
    "shape": ({"input.image": _X[:, :63], "label": _Y}, "expected shape (497, 64), got (497, 63)"),
    "sample counts": ({"input.image": _X[:-1], "label": _Y}, "expected shape (497, 64), got (496, 64)"),
    "classes": ({"input.image": _X, "label": _Y + 5}, "class labels must be 0..9, got 5..14"),
    "label dtype": ({"input.image": _X, "label": _Y.astype(np.float32)}, "class labels must be integers"),
    "no label": ({"input.image": _X}, "expected arrays 'input.NAME' and 'label'"),
    "one sample": ({"input.image": _X[:1], "label": _Y[:1]}, "needs at least 2 samples"),
}


@pytest.mark.parametrize("fault", [*TESTSETS, "no safetensors"])
def test_test_set_that_does_not_fit_its_spec_is_refused(buyer: Shell, tmp_path: Path, fault: str) -> None:
    spec, testset = tmp_path / "spec.toml", tmp_path / "testset.safetensors"
    spec.write_bytes(SPEC)
    if fault in TESTSETS:
        tensors, message = TESTSETS[fault]
        safetensors.numpy.save_file(
            {name: np.ascontiguousarray(each) for name, each in tensors.items()}, testset
        )
    else:
        testset.write_bytes(b"not safetensors")
        message = "is no test set"
    command = ("benchmark", "open", "--spec", str(spec), "--testset", str(testset), "--curve", "0.5:0.1")
    _is_refused(buyer.act(*command), 3, "invalid", message)
    assert buyer.person.wei() == START_WEI
    if fault == "dtype":  # mended, the same command goes through
        safetensors.numpy.save_file({"input.image": _X, "label": _Y}, testset)
        assert buyer.act(*command).code == 0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'task = "classification"', b'task = "magic"', "task"),
        (b"classes = 10\n", b"classes = 10\ncolour = 3\n", "colour"),
        (b"format = 1", b"format = ", "TOML"),
        (b"batch = 256", b"batch = 0", "batch"),
    ],
)
def test_spec_with_a_mistake_is_refused_by_name(
    buyer: Shell, tmp_path: Path, old: bytes, new: bytes, message: str
) -> None:
    spec, testset = tmp_path / "spec.toml", tmp_path / "testset.safetensors"
    spec.write_bytes(SPEC.replace(old, new))
    safetensors.numpy.save_file({"input.image": _X, "label": _Y}, testset)
    answer = buyer.act(
        "benchmark", "open", "--spec", str(spec), "--testset", str(testset), "--curve", "0.5:0.1"
    )
    assert answer.code == 3, answer.document
    assert message.lower() in answer.error["message"].lower()


# --- the wrong place -------------------------------------------------------------------------------


def test_wrong_chain_is_named(stage: MarketStage, for_sale: Hash32, buyer: Shell) -> None:
    home = buyer.person.home
    save_address_book(home, with_terms(stage.book, chain_id=1))
    answer = buyer.act("order", "buy", _hex(for_sale))
    _is_refused(answer, 3, "invalid", "serves another chain: expected chain id 1, got 31337", "right chain")
    save_address_book(home, with_terms(stage.book, genesis_hash=Hash32(b"\x01" * 32)))
    answer = buyer.act("order", "buy", _hex(for_sale))
    _is_refused(answer, 3, "invalid", "serves another chain: expected genesis block 0x0101", "deploy again")
    save_address_book(home, stage.book)
    assert buyer.act("order", "buy", _hex(for_sale), "--no-wait").code == 0


@pytest.mark.parametrize("what", ["empty", "another contract"])
def test_wrong_market_address_finds_nothing_and_pays_nothing(
    stage: MarketStage, for_sale: Hash32, benchmark: Hash32, buyer: Shell, tmp_path: Path, what: str
) -> None:
    market = Address(b"\x77" * 20) if what == "empty" else stage.book.registry
    save_address_book(buyer.person.home, with_terms(stage.book, market=market))
    path = tmp_path / "model.onnx"
    path.write_bytes(good_model())
    for command in (
        ("order", "buy", _hex(for_sale)),
        ("model", "submit", _hex(benchmark), str(path)),
    ):
        answer = buyer.act(*command)
        assert answer.code in (3, 4), answer.document
        assert answer.error["next_step"]
        assert answer.error["category"] != "internal"
    assert buyer.person.wei() == START_WEI


def test_unfunded_account_is_told_what_it_needs(
    stage: MarketStage, for_sale: Hash32, capsys: pytest.CaptureFixture[str]
) -> None:
    poor = Shell(stage, stage.person("poor", wei=10**15), capsys)
    answer = poor.act("order", "buy", _hex(for_sale), "--no-wait")
    _is_refused(answer, 3, "invalid", poor.person.account.checksum)
    assert "wei" in answer.error["message"]
    assert answer.error["next_step"]
    assert poor.person.wei() == 10**15
    stage.client.raw_request("anvil_setBalance", [_hex(poor.person.address), hex(START_WEI)])
    assert poor.act("order", "buy", _hex(for_sale), "--no-wait").code == 0


def test_unknown_things_are_named(buyer: Shell, for_sale: Hash32) -> None:
    _is_refused(
        buyer.act("order", "buy", _hex(bytes(32))), 3, "invalid", "no submission 0x0000", "gg model list"
    )
    _is_refused(buyer.act("order", "refund", _hex(for_sale)), 3, "invalid", "no order")
    _is_refused(buyer.act("order", "buy", "0x12"), 2, "usage", "0x12")
    _is_refused(
        buyer.act("order", "buy", _hex(for_sale), "--max-price", "0.0001"),
        3,
        "invalid",
        "more than the allowed",
    )
    assert buyer.person.wei() == START_WEI


def test_wrong_password_is_the_users_mistake(buyer: Shell, for_sale: Hash32) -> None:
    password = buyer.person.home.root / "password"
    right = password.read_bytes()
    password.write_bytes(b"guess")
    _is_refused(buyer.act("order", "buy", _hex(for_sale)), 3, "invalid", "wrong password for account 'buyer'")
    password.write_bytes(right)
    assert buyer.act("offer", "get", _hex(for_sale)).code == 0


def test_worker_that_is_away_is_infrastructure(stage: MarketStage, buyer: Shell, for_sale: Hash32) -> None:
    words = buyer.acting("order", "buy", _hex(for_sale))
    words[words.index("--worker") + 1] = "http://127.0.0.1:9"
    _is_refused(buyer._run(words), 4, "unavailable", "the worker does not answer", "gg worker run")
    assert buyer.person.wei() == START_WEI


# --- a node that is down, slow, or lies --------------------------------------------------------------


class BadNode:
    """A JSON-RPC node that misbehaves; passes requests on to the real one while `good`."""

    def __init__(self, upstream: str) -> None:
        import urllib.request

        self.good = False
        self.answer: Callable[[dict[str, Any]], bytes | None] = lambda _request: b""
        node = self

        class Door(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["content-length"]))
                if node.good:
                    head = {"content-type": "application/json"}
                    request = urllib.request.Request(upstream, raw, head)
                    with urllib.request.urlopen(request) as response:
                        body: bytes | None = response.read()
                else:
                    body = node.answer(json.loads(raw))
                if body is None:
                    self.close_connection = True
                    return
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def node(stage: MarketStage) -> Iterator[BadNode]:
    found = BadNode(stage.rpc_url)
    yield found
    found.server.shutdown()
    found.server.server_close()


def _result(value: Any) -> Callable[[dict[str, Any]], bytes]:
    return lambda request: json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": value}).encode()


BAD_ANSWERS: dict[str, Callable[[dict[str, Any]], bytes | None]] = {
    "broken off": lambda _request: None,
    "empty": lambda _request: b"",
    "a web page": lambda _request: b"<html>Bad Gateway</html>",
    "deep nesting": lambda _request: b"[" * 200_000,
    "another type": _result({"surprise": [1, 2, 3]}),
    "nothing": _result(None),
    "too large a number": _result("0x" + "f" * 100),
    "an error": lambda request: json.dumps(
        {"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32603, "message": "internal"}}
    ).encode(),
}


@pytest.mark.parametrize("answer", BAD_ANSWERS)
def test_node_that_answers_nonsense_is_infrastructure(
    stage: MarketStage, for_sale: Hash32, buyer: Shell, node: BadNode, answer: str
) -> None:
    save_address_book(buyer.person.home, with_terms(stage.book, rpc_url=node.url))
    node.answer = BAD_ANSWERS[answer]
    refused = buyer.act("order", "buy", _hex(for_sale))
    _is_refused(refused, 4, "unavailable", "")
    assert "rpc node" in refused.error["message"] or "node" in refused.error["message"]
    node.good = True
    assert buyer.act("order", "buy", _hex(for_sale), "--no-wait").code == 0


def test_node_that_is_down_is_infrastructure(stage: MarketStage, for_sale: Hash32, buyer: Shell) -> None:
    save_address_book(buyer.person.home, with_terms(stage.book, rpc_url="http://127.0.0.1:9"))
    answer = buyer.act("order", "buy", _hex(for_sale))
    _is_refused(answer, 4, "unavailable", "cannot reach the rpc node", "gg devnet status")


def test_slow_node_runs_into_the_time_limit(stage: MarketStage, node: BadNode) -> None:
    from goldengrain.chain.client import ChainClient

    def slowly(_request: dict[str, Any]) -> bytes:
        time.sleep(1.5)
        return b"{}"

    node.answer = slowly
    started = time.monotonic()
    with pytest.raises(UnavailableError, match=r"did not answer eth_chainId within 0\.3 s"):
        ChainClient(node.url, timeout_s=0.3, attempts=2).check()
    assert time.monotonic() - started < 5


def test_node_that_hides_a_sent_transaction_does_not_make_it_be_paid_twice(
    stage: MarketStage, for_sale: Hash32, buyer: Shell, node: BadNode
) -> None:
    """The line dies the moment the order was handed over; later the same command goes on with it."""
    import urllib.request

    save_address_book(buyer.person.home, with_terms(stage.book, rpc_url=node.url))
    sent: list[str] = []

    def betray(request: dict[str, Any]) -> bytes | None:
        if sent:
            return None
        with urllib.request.urlopen(
            urllib.request.Request(
                stage.rpc_url, json.dumps(request).encode(), {"content-type": "application/json"}
            )
        ) as response:
            body: bytes = response.read()
        if request["method"] == "eth_sendRawTransaction":
            sent.append(request["method"])
            return None
        return body

    node.answer = betray
    stop = threading.Timer(6, lambda: setattr(node, "good", True))
    stop.start()
    first = buyer.act("order", "buy", _hex(for_sale), "--no-wait")
    stop.cancel()
    node.good = True
    assert sent
    assert first.code in (0, 4)
    assert buyer.act("order", "buy", _hex(for_sale), "--no-wait").code == 0
    assert stage.client.transaction_count(buyer.person.address) == 1
    assert buyer.person.gained_wei() < 0


# --- Ctrl-C ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lane(stage: MarketStage) -> Iterator[Driver]:
    with drivers(stage.root / "ctrl-c", 1) as (found,):
        yield found


@contextmanager
def _interrupted(lane: Driver, words: list[str], after: Callable[[Command], bool]) -> Iterator[Command]:
    command = lane.start(words)
    end = time.monotonic() + 60
    while command.is_running and not after(command):
        assert time.monotonic() < end, command.output
        time.sleep(0.02)
    for _ in range(3):  # as people do: Python may lose an interrupt that comes while it runs a finaliser
        if command.is_running:
            command.signal(signal.SIGINT)
        end = time.monotonic() + 5
        while command.is_running and time.monotonic() < end:
            time.sleep(0.02)
    yield command


def _after(delay_s: float) -> Callable[[Command], bool]:
    end = time.monotonic() + delay_s
    return lambda _command: time.monotonic() > end


def test_ctrl_c_at_any_moment_of_buying_leaves_a_state_to_go_on_from(
    stage: MarketStage, for_sale: Hash32, lane: Driver, capsys: pytest.CaptureFixture[str]
) -> None:
    codes = []
    for delay_s in (0.1, 0.5, 1.0):
        buyer = Shell(stage, stage.person("buyer"), capsys)
        words = buyer.acting("order", "buy", _hex(for_sale), "--timeout", "60s")
        with _interrupted(lane, words, _after(delay_s)) as command:
            codes.append(command.wait(90))  # at worst its own time runs out: a key press may get lost once
        if codes[-1] == 130:
            error = command.document()["error"]
            assert error["category"] == "interrupted"
            assert "run the same command again" in error["next_step"]
        assert buyer.act("order", "buy", _hex(for_sale), "--no-wait").code == 0
        assert stage.client.transaction_count(buyer.person.address) == 1
    assert codes.count(130) >= 2, codes


@pytest.mark.parametrize("delay_s", [0.2, 0.8])
def test_ctrl_c_while_submitting_pays_one_fee(
    stage: MarketStage,
    benchmark: Hash32,
    developer: Shell,
    lane: Driver,
    tmp_path: Path,
    delay_s: float,
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(good_model(f"ctrl-c {delay_s}"))
    submit = ("model", "submit", _hex(benchmark), str(path), "--timeout", "60s")
    with _interrupted(lane, developer.acting(*submit), _after(delay_s)) as command:
        assert command.wait(30) in (0, 130)
    assert developer.act(*submit).document["state"] == "for sale"
    assert developer.person.gained_wei() == -FEE_WEI


def test_ctrl_c_ends_the_watcher_well(stage: MarketStage, developer: Shell, lane: Driver) -> None:
    words = developer.acting("developer", "watch")
    with _interrupted(lane, words, lambda command: "watching for orders" in command.output) as command:
        assert command.wait(30) == 0
    assert command.document() == {"claims": []}
