"""The development chain: one per home, lasting over restarts, and careful whom it signals."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from goldengrain.accounts import Account
from goldengrain.chain.client import ChainClient
from goldengrain.chain.devnet import DEV_BALANCE_WEI, Devnet, dev_private_key, find_anvil, fund
from goldengrain.home import Home
from goldengrain_protocol.errors import InvalidInput, UnavailableError
from goldengrain_protocol.types import Address


def test_chain_is_started_once_and_lasts_over_a_restart(home: Home) -> None:
    devnet = Devnet(home)
    assert devnet.status() is None
    assert devnet.down() is False
    first = devnet.up(block_time_s=0.2)
    try:
        assert devnet.up().pid == first.pid
        client = ChainClient(first.rpc_url, chain_id=31337, genesis_hash=first.genesis_hash)
        rich = Account.from_private_key(dev_private_key(0)).address
        assert client.balance(rich) == DEV_BALANCE_WEI
        friend = Address(b"\x55" * 20)
        fund(client, friend, 12345)
        with pytest.raises(InvalidInput, match="on port"):
            devnet.up(port=1)
        with pytest.raises(InvalidInput, match="runs"):
            devnet.reset()
        assert devnet.down() is True
        assert devnet.status() is None
        again = devnet.up(block_time_s=0.2)
        assert (again.port, again.genesis_hash) == (first.port, first.genesis_hash)
        assert again.pid != first.pid
        assert again.block_number >= 2
        assert client.balance(friend) == 12345
        # anvil alone makes another genesis block at its second restart
        assert devnet.down() is True
        third = devnet.up(block_time_s=0.2)
        assert third.genesis_hash == first.genesis_hash
        assert abs(client.block("latest").timestamp - time.time()) < 3
    finally:
        devnet.down()
    devnet.reset()
    fresh = devnet.up(block_time_s=0.2)
    devnet.down()
    assert fresh.genesis_hash != first.genesis_hash


def test_finality_follows_two_blocks_behind_and_time_stays_true(home: Home) -> None:
    devnet = Devnet(home)
    status = devnet.up(block_time_s=0.2)
    try:
        client = ChainClient(status.rpc_url)
        client.wait_for_block(12)
        latest, final = client.block("latest"), client.block("finalized")
        assert 2 <= latest.number - final.number + 1 <= 4
        assert abs(latest.timestamp - time.time()) < 3
    finally:
        devnet.down()


def test_survives_being_killed(home: Home) -> None:
    devnet = Devnet(home)
    first = devnet.up(block_time_s=0.2)
    os.kill(first.pid, signal.SIGKILL)
    try:
        second = devnet.up(block_time_s=0.2)
        assert second.port == first.port
    finally:
        devnet.down()


def test_never_signals_a_process_that_is_not_its_anvil(home: Home) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "anvil"]) as stranger:
        home.ensure(home.devnet_dir)
        record = {"pid": stranger.pid, "started_ticks": 1, "port": 18545, "block_time_s": 0.5}
        (home.devnet_dir / "process.json").write_text(json.dumps(record))
        assert Devnet(home).status() is None
        assert Devnet(home).down() is False
        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.parametrize("content", ["", "{}", '{"pid": "x"}', "[1]", '{"pid": -1, "port": 1}'])
def test_damaged_record_is_no_chain(home: Home, content: str) -> None:
    home.ensure(home.devnet_dir)
    (home.devnet_dir / "process.json").write_text(content)
    assert Devnet(home).status() is None


def test_damaged_state_names_the_way_out(home: Home) -> None:
    home.ensure(home.devnet_dir)
    (home.devnet_dir / "state.json").write_text('{"block":')
    with pytest.raises(UnavailableError, match=r"saved state .* is damaged") as caught:
        Devnet(home).up()
    assert "gg devnet reset" in caught.value.next_step or "gg devnet down --reset" in caught.value.next_step
    Devnet(home).reset()
    assert not (home.devnet_dir / "state.json").exists()


def test_taken_port_is_named(home: Home) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InvalidInput, match=f"port {port} is taken"):
            Devnet(home).up(port=port)


def test_anvil_that_dies_at_once_shows_its_last_words(home: Home) -> None:
    with pytest.raises(UnavailableError, match=r"anvil ended at once: .*no-such-option"):
        Devnet(home).up(extra_arguments=["--no-such-option"])


def test_named_anvil_must_exist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "anvil"
    monkeypatch.setenv("GG_ANVIL", str(program))
    with pytest.raises(InvalidInput, match="GG_ANVIL names no program"):
        find_anvil()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert find_anvil() == program


def test_development_keys_are_the_well_known_ones() -> None:
    assert (
        Account.from_private_key(dev_private_key(0)).checksum == "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
    )
    with pytest.raises(InvalidInput):
        dev_private_key(-1)
