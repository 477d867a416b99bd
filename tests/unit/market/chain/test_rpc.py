"""Nodes that are down, slow, broken or of another chain: plain errors, never a traceback."""

import json
import socket
import threading
import time
from collections.abc import Callable

import pytest

from goldengrain.chain.client import ChainClient
from goldengrain.chain.devnet import DevnetStatus
from goldengrain.chain.rpc import JsonRpc, MalformedReply, RpcError
from goldengrain_protocol.errors import InvalidInput, UnavailableError
from goldengrain_protocol.types import Address, Hash32

Start = Callable[[Callable[[dict[str, object]], "bytes | None"]], str]


def _http(body: bytes, status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize(
    "response",
    [
        _http(b"<html><body>Bad gateway</body></html>", "502 Bad Gateway"),
        _http(b"<html>login first</html>"),
        _http(b""),
        _http(b"\xff\x00garbage"),
        _http(b'{"jsonrpc": "2.0", "id": 1'),
        _http(b"[1, 2]"),
        _http(b'"text"'),
        _http(b'{"jsonrpc": "2.0", "id": 1}'),
        _http(b'{"result": "0x1"}', "500 Internal Server Error"),
        _http(b"", "301 Moved Permanently"),
        _http(b"[" * 200_000),
        _http(b'{"result": ' + b"1" * 10_000 + b"}"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 7\r\n\r\nno gzip",
        b"no http at all\r\n\r\n",
        None,
    ],
)
def test_nonsense_is_an_unavailable_node(http_node: Start, response: bytes | None) -> None:
    client = ChainClient(http_node(lambda request: response), timeout_s=2.0, attempts=2)
    with pytest.raises(UnavailableError, match="rpc node") as caught:
        client.latest_number()
    assert str(caught.value) == str(caught.value).strip()
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize(
    "result",
    ["null", "7", '"0x"', '"12"', '"0xzz"', "{}", "true", '"0x' + "f" * 65 + '"', '[["0x1"]]'],
)
def test_wrong_types_are_refused_field_by_field(http_node: Start, result: str) -> None:
    url = http_node(lambda request: _http(f'{{"result": {result}}}'.encode()))
    client = ChainClient(url, timeout_s=2.0, attempts=1)
    calls: list[Callable[[], object]] = [
        client.latest_number,
        lambda: client.block("latest"),
        lambda: client.balance(Address(bytes(20))),
        lambda: client.get_logs(Address(bytes(20)), [], 0, 1),
    ]
    for call in calls:
        with pytest.raises(UnavailableError):
            call()


def test_a_node_that_is_down_is_named_without_its_access_key() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    client = ChainClient(f"http://user:hunter2@127.0.0.1:{port}/v3/access-key", attempts=2)
    with pytest.raises(
        UnavailableError, match=f"cannot reach the rpc node at http://127.0.0.1:{port}:"
    ) as caught:
        client.latest_number()
    assert "hunter2" not in str(caught.value)
    assert "access-key" not in str(caught.value)
    assert caught.value.next_step


def test_a_slow_node_meets_the_time_limit(http_node: Start) -> None:
    def answer(request: dict[str, object]) -> bytes:
        time.sleep(1.0)
        return _http(b'{"result": "0x1"}')

    rpc = JsonRpc(http_node(answer), timeout_s=0.2, attempts=1)
    started = time.monotonic()
    with pytest.raises(UnavailableError, match=r"within 0\.2 s"):
        rpc.request("eth_chainId", [])
    assert time.monotonic() - started < 0.9


def test_a_dripping_node_meets_the_time_limit_too() -> None:
    server = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            for _ in range(40):
                try:
                    connection.sendall(b" ")
                except OSError:
                    return
                time.sleep(0.05)

    threading.Thread(target=drip, daemon=True).start()
    rpc = JsonRpc(f"http://127.0.0.1:{server.getsockname()[1]}", timeout_s=0.3, attempts=1)
    started = time.monotonic()
    with pytest.raises(UnavailableError, match="did not answer"):
        rpc.request("eth_chainId", [])
    assert time.monotonic() - started < 1.5
    server.close()


def test_a_passing_failure_is_retried(http_node: Start) -> None:
    seen: list[object] = []

    def answer(request: dict[str, object]) -> bytes | None:
        seen.append(request["method"])
        return _http(b'{"result": "0x7"}') if len(seen) == 3 else None

    assert JsonRpc(http_node(answer), timeout_s=2.0).request("eth_blockNumber", []) == "0x7"
    assert len(seen) == 3


def test_methods_that_would_double_are_tried_once(http_node: Start) -> None:
    seen: list[object] = []

    def answer(request: dict[str, object]) -> None:
        seen.append(request["method"])

    with pytest.raises(UnavailableError):
        JsonRpc(http_node(answer), timeout_s=2.0).request("evm_mine", [])
    assert len(seen) == 1


def test_error_objects_keep_code_and_text(http_node: Start) -> None:
    url = http_node(lambda request: _http(b'{"error": {"code": -32000, "message": "header not found"}}'))
    with pytest.raises(RpcError, match="header not found") as caught:
        JsonRpc(url).request("eth_call", [])
    assert caught.value.code == -32000


@pytest.mark.parametrize("error", ['"text"', "7", "{}", '{"code": "x", "message": 7}', "[]"])
def test_malformed_error_objects_are_errors_too(http_node: Start, error: str) -> None:
    url = http_node(lambda request: _http(f'{{"error": {error}}}'.encode()))
    with pytest.raises(UnavailableError):
        JsonRpc(url, attempts=1).request("eth_call", [])


@pytest.mark.parametrize("url", ["", "localhost:8545", "ftp://x", "http://", "http://h:port", "ws://h"])
def test_malformed_address_is_invalid_input(url: str) -> None:
    with pytest.raises(InvalidInput, match="rpc address"):
        ChainClient(url)


def test_wrong_chain_is_refused_before_anything_is_read(shared_chain: DevnetStatus) -> None:
    ChainClient(shared_chain.rpc_url, chain_id=31337, genesis_hash=shared_chain.genesis_hash).check()
    with pytest.raises(InvalidInput, match="expected chain id 1, got 31337"):
        ChainClient(shared_chain.rpc_url, chain_id=1).balance(Address(bytes(20)))
    with pytest.raises(InvalidInput, match="serves another chain: expected genesis block"):
        ChainClient(shared_chain.rpc_url, genesis_hash=Hash32(bytes(32))).latest_number()


def test_blocks_and_receipts_other_than_asked_for_are_refused(http_node: Start) -> None:
    fields = {"number": "0x5", "timestamp": "0x1", "gasLimit": "0x1"}
    hashes = dict.fromkeys(("hash", "parentHash", "stateRoot"), "0x" + "11" * 32)
    block = json.dumps(fields | hashes)
    url = http_node(lambda request: _http(f'{{"result": {block}}}'.encode()))
    with pytest.raises(MalformedReply):
        ChainClient(url, attempts=1).block(6)


def test_log_ranges_are_split_where_the_node_finds_them_too_long(
    shared_chain: DevnetStatus, http_node: Start
) -> None:
    asked: list[tuple[int, int]] = []

    def answer(request: dict[str, object]) -> bytes:
        method = request["method"]
        if method == "eth_chainId":
            return _http(b'{"result": "0x1"}')
        if method == "eth_getBlockByNumber":
            zero = "0x" + "00" * 32
            fields = {"number": "0x0", "hash": zero, "parentHash": zero, "stateRoot": zero}
            return _http(json.dumps({"result": {**fields, "timestamp": "0x0", "gasLimit": "0x0"}}).encode())
        params = request["params"]
        assert isinstance(params, list)
        start, end = int(params[0]["fromBlock"], 16), int(params[0]["toBlock"], 16)
        if end - start >= 100:
            return _http(b'{"error": {"code": -32602, "message": "query exceeds max block range 100"}}')
        asked.append((start, end))
        return _http(b'{"result": []}')

    assert ChainClient(http_node(answer)).get_logs(Address(bytes(20)), [], 10, 1000) == []
    covered = [number for start, end in asked for number in range(start, end + 1)]
    assert covered == list(range(10, 1001))
