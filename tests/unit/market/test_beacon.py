"""Following a beacon chain through nodes that are slow, down, lying, or write JSON instead of SSZ."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldengrain.chain.beacon import BeaconFollower
from goldengrain.chain.beacon_checkpoint import fetch_checkpoint
from goldengrain.chain.beacon_json import bootstrap_ssz, finality_update_ssz, update_ssz
from goldengrain_protocol.errors import GoldenGrainError, InvalidInput, UnavailableError
from goldengrain_protocol.proofs import TrustedBlock
from goldengrain_protocol.proofs.ethereum_pos.network import PresetId
from tests.unit.market.fake_beacon import BeaconWorld, FakeBeacon, to_json
from tests.unit.protocol.proofs_pos.beacon_chain import Chain, network

Start = Callable[..., FakeBeacon]


@pytest.fixture
def world() -> BeaconWorld:
    # Electra becomes Fulu in the middle of the fifth period.
    return BeaconWorld(Chain(network(PresetId.MINIMAL, electra=0, fulu=36), 5), 2)


@pytest.fixture
def start() -> Iterator[Start]:
    running: list[FakeBeacon] = []

    def begin(world: BeaconWorld, **options: Any) -> FakeBeacon:
        running.append(FakeBeacon(world, **options))
        return running[-1]

    yield begin
    for node in running:
        node.close()


def proven(world: BeaconWorld, evidence: bytes) -> bool:
    return world.mode.finalized(evidence) == TrustedBlock(world.head_number, world.head_hash)


@pytest.mark.parametrize("ssz", [True, False])
def test_catches_up_over_periods_and_a_fork(world: BeaconWorld, start: Start, ssz: bool) -> None:
    world.advance(7)
    follower = BeaconFollower(world.mode, [start(world, ssz=ssz).url])
    evidence = follower.follow()
    assert follower.problems == []
    assert len(evidence.updates) == 5
    assert proven(world, evidence.encode())


def test_follows_within_a_period_with_one_question(world: BeaconWorld, start: Start) -> None:
    node = start(world)
    world.advance(2, at=20)
    follower = BeaconFollower(world.mode, [node.url])
    assert proven(world, follower.follow().encode())
    world.advance(2, at=30)
    node.asked.clear()
    assert proven(world, follower.follow().encode())
    assert len(node.asked) == 1
    world.advance(3)
    assert proven(world, follower.follow().encode())


def test_goes_on_after_a_restart_without_asking_again(
    world: BeaconWorld, start: Start, tmp_path: Path
) -> None:
    node = start(world)
    world.advance(6)
    BeaconFollower(world.mode, [node.url], directory=tmp_path).follow()
    node.asked.clear()
    again = BeaconFollower(world.mode, [node.url], directory=tmp_path)
    assert proven(world, again.follow().encode())
    assert [path.rsplit("/", 1)[1] for path in node.asked] == ["finality_update"]


def test_damaged_memory_is_fetched_again(world: BeaconWorld, start: Start, tmp_path: Path) -> None:
    node = start(world)
    world.advance(6)
    BeaconFollower(world.mode, [node.url], directory=tmp_path).follow()
    kept = sorted(tmp_path.glob("update-*"))
    data = bytearray(kept[1].read_bytes())
    data[len(data) // 2] ^= 1
    kept[1].write_bytes(data)
    (tmp_path / "update-00009.rlp").write_bytes(b"garbage")
    follower = BeaconFollower(world.mode, [node.url], directory=tmp_path)
    assert proven(world, follower.follow().encode())
    assert follower.problems
    (tmp_path / "bootstrap.rlp").write_bytes(b"")
    assert proven(world, BeaconFollower(world.mode, [node.url], directory=tmp_path).follow().encode())


def garbage(_path: str, kind: str, body: bytes) -> tuple[int, str, bytes]:
    return 200, kind, bytes(reversed(body))


def cut(_path: str, kind: str, body: bytes) -> tuple[int, str, bytes]:
    return 200, kind, body[: len(body) // 2]


def html(_path: str, _kind: str, _body: bytes) -> tuple[int, str, bytes]:
    return 200, "text/html", b"<html>please log in</html>"


def refuses(_path: str, _kind: str, _body: bytes) -> tuple[int, str, bytes]:
    return 503, "application/json", b"{}"


def flood(_path: str, kind: str, _body: bytes) -> tuple[int, str, bytes]:
    return 200, kind, bytes(4 * 2**20)


def nested(_path: str, _kind: str, _body: bytes) -> tuple[int, str, bytes]:
    return 200, "application/json", b"[" * 100_000


@pytest.mark.parametrize("change", [garbage, cut, html, refuses, flood, nested])
def test_one_honest_node_among_bad_ones_is_enough(world: BeaconWorld, start: Start, change: Any) -> None:
    world.advance(5)
    urls = [start(world, change=change).url, "http://127.0.0.1:9", start(world).url]
    follower = BeaconFollower(world.mode, urls, timeout_s=5)
    assert proven(world, follower.follow().encode())
    assert follower.problems
    alone = BeaconFollower(world.mode, urls[:2], timeout_s=5)
    with pytest.raises(UnavailableError, match="no beacon node proves the checkpoint"):
        alone.follow()


def test_a_node_of_another_chain_counts_for_nothing(world: BeaconWorld, start: Start) -> None:
    """It serves a chain with the same committees that is further on, but signed for another genesis."""
    from tests.unit.protocol.proofs_pos.beacon_chain import with_root

    other = BeaconWorld(Chain(with_root(world.chain.net, bytes(32)), 5), 2)
    other.mode, other.boot = world.mode, world.boot
    other.advance(8)
    world.advance(4)
    follower = BeaconFollower(world.mode, [start(other).url, start(world).url])
    assert proven(world, follower.follow().encode())
    assert any("signature" in problem for problem in follower.problems)


def test_a_node_that_is_behind_does_not_take_us_back(world: BeaconWorld, start: Start) -> None:
    world.advance(5)
    node = start(world)
    follower = BeaconFollower(world.mode, [node.url])
    newest = follower.follow()
    stale = BeaconWorld(Chain(world.chain.net, 5), 2)
    stale.mode, stale.boot, stale.updates = world.mode, world.boot, world.updates
    stale.advance(5, at=12)
    node.world = stale
    assert world.mode.finalized(follower.follow().encode()) == world.mode.finalized(newest.encode())


def test_all_nodes_down_keeps_what_is_known(world: BeaconWorld, start: Start) -> None:
    world.advance(3)
    node = start(world)
    follower = BeaconFollower(world.mode, [node.url])
    follower.follow()
    node.change = refuses
    assert proven(world, follower.follow().encode())


def test_true_updates_that_bring_no_committee_do_not_pile_up(world: BeaconWorld, start: Start) -> None:
    world.advance(4)
    chain, begin = world.chain, 2 * world.per_period

    def many(path: str, kind: str, body: bytes) -> tuple[int, str, bytes]:
        if "updates" not in path:
            return 200, kind, body
        more = b""
        for at in range(12, 20):
            final = chain.block(begin + at)
            update = chain.update(chain.block(begin + at + 2, chain.root(final)), final)
            ssz = update.encode_bytes()
            more += (len(ssz) + 4).to_bytes(8, "little") + bytes(4) + ssz
        return 200, kind, more

    follower = BeaconFollower(world.mode, [start(world, change=many).url, start(world).url])
    assert len(follower.follow().updates) == 2


def test_json_and_ssz_are_the_same(world: BeaconWorld) -> None:
    world.advance(2)
    assert bootstrap_ssz(to_json(world.boot)) == world.boot.encode_bytes()
    assert update_ssz(to_json(world.updates[2])) == world.updates[2].encode_bytes()
    assert finality_update_ssz(to_json(world.finality)) == world.finality.encode_bytes()


# --- the checkpoint of a new deployment -------------------------------------------------------------------------


def test_a_checkpoint_on_which_nodes_agree(world: BeaconWorld, start: Start) -> None:
    urls = [start(world).url, start(world).url, start(world, change=html).url]
    assert fetch_checkpoint(urls) == world.mode


def test_only_forks_that_matter_are_in_a_checkpoint(start: Start) -> None:
    net = network(PresetId.MINIMAL, deneb=0, electra=4, fulu=36)
    world = BeaconWorld(Chain(net, 5), 2)  # epoch 16: Electra
    mode = fetch_checkpoint([start(world).url], agreeing=1)
    assert [fork.name for fork in mode.network.forks] == ["electra", "fulu"]
    world.advance(4)
    follower = BeaconFollower(mode, [start(world).url])
    assert mode.finalized(follower.follow().encode()).hash == world.head_hash


def test_nodes_that_differ_make_no_checkpoint(world: BeaconWorld, start: Start) -> None:
    other = BeaconWorld(Chain(world.chain.net, 6), 2)
    urls = [start(world).url, start(other).url]
    with pytest.raises(UnavailableError, match="2 different answers"):
        fetch_checkpoint(urls)
    assert fetch_checkpoint([*urls, start(other).url]) == other.mode
    with pytest.raises(InvalidInput, match="at least 2"):
        fetch_checkpoint([urls[0], urls[0]])


@pytest.mark.parametrize("change", [garbage, cut, html, refuses, nested])
def test_nonsense_makes_no_checkpoint(world: BeaconWorld, start: Start, change: Any) -> None:
    with pytest.raises(UnavailableError, match="fewer than 1"):
        fetch_checkpoint([start(world, change=change).url], agreeing=1, timeout_s=5)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just("0x00"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(value=JSON, path=st.lists(st.integers(0, 20), min_size=1, max_size=4))
def test_spoiled_json_is_invalid_input_only(value: Any, path: list[int]) -> None:
    data = json.loads(_sample())
    at = data
    for step in path:
        if isinstance(at, dict):
            key: Any = sorted(at)[step % len(at)]
        elif isinstance(at, list) and at:
            key = step % len(at)
        else:
            break
        parent, at = at, at[key]
    parent[key] = value
    for read in (update_ssz, finality_update_ssz, bootstrap_ssz):
        try:
            read(data)
        except InvalidInput:
            pass


_SAMPLES: list[str] = []


def _sample() -> str:
    if not _SAMPLES:
        world = BeaconWorld(Chain(network(PresetId.MINIMAL, electra=0), 1), 1)
        world.advance(1)
        _SAMPLES.append(json.dumps(to_json(world.updates[1])))
    return _SAMPLES[0]


def test_errors_are_the_projects_own() -> None:
    with pytest.raises(InvalidInput):
        BeaconFollower(BeaconWorld(Chain(network(PresetId.MINIMAL, electra=0), 1), 1).mode, [])
    assert issubclass(UnavailableError, GoldenGrainError)


def test_a_node_that_never_answers_is_not_waited_for(world: BeaconWorld, start: Start) -> None:
    def asleep(_path: str, kind: str, body: bytes) -> tuple[int, str, bytes]:
        time.sleep(8)
        return 200, kind, body

    world.advance(4)
    begun = time.monotonic()
    follower = BeaconFollower(world.mode, [start(world, change=asleep).url, start(world).url], timeout_s=20)
    assert proven(world, follower.follow().encode())
    assert time.monotonic() - begun < 8
