"""What the mode `ethereum-pos` accepts, and beside each success what it refuses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from goldengrain_protocol.canonical import encode
from goldengrain_protocol.config import ChainTrustConfig
from goldengrain_protocol.errors import InvalidInput, VerificationError
from goldengrain_protocol.proofs import TrustedBlock, chain_trust
from goldengrain_protocol.proofs.ethereum_pos import (
    EthereumPos,
    Fork,
    Network,
    PosEvidence,
    Versioned,
    mainnet,
)
from goldengrain_protocol.proofs.ethereum_pos import mode as mode_module
from goldengrain_protocol.proofs.ethereum_pos.containers import decode_update
from goldengrain_protocol.proofs.ethereum_pos.light_client import validate_update
from goldengrain_protocol.proofs.ethereum_pos.network import PresetId
from goldengrain_protocol.types import hash32
from tests.unit.protocol.proofs_pos.beacon_chain import (
    Chain,
    branch,
    network,
    oracle,
    published_config,
    with_root,
)

PER_PERIOD = 64
ELECTRA, FULU = bytes.fromhex("05000001"), bytes.fromhex("06000001")


@dataclass
class World:
    """A chain with everything to prove period 3 from a checkpoint in period 2."""

    chain: Chain
    mode: EthereumPos
    boot: Any
    update: Any
    """Of period 2: brings the committee of period 3."""
    following: Any
    """Of period 3: brings the committee of period 4."""
    finality: Any
    final: Any

    def evidence(self, **parts: Any) -> PosEvidence:
        whole: dict[str, Any] = {
            "bootstrap": Versioned(ELECTRA, self.boot.encode_bytes()),
            "updates": (self.versioned(self.update),),
            "finality": self.versioned(self.finality),
        }
        return PosEvidence(**{**whole, **parts})

    def versioned(self, value: Any, version: bytes | None = None) -> Versioned:
        slot = int(value.attested_header.beacon.slot)
        return Versioned(version or self.chain.version_at(slot), value.encode_bytes())

    def check(self, **parts: Any) -> TrustedBlock:
        return self.mode.finalized(self.evidence(**parts).encode())


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(network(PresetId.MINIMAL, electra=0, fulu=28))


def make_world(net: Network) -> World:
    chain = Chain(net, 7)
    start = chain.block(2 * PER_PERIOD + 5)

    def update(period: int, at: int, **options: Any) -> tuple[Any, Any]:
        final = chain.block(period * PER_PERIOD + at)
        attested = chain.block(period * PER_PERIOD + at + 3, chain.root(final))
        return chain.update(attested, final, **options), final

    first, _ = update(2, 30)
    following, _ = update(3, 10)
    newest, final = update(3, 40, with_committee=False)
    mode = EthereumPos(net, hash32(chain.root(start)))
    return World(chain, mode, chain.bootstrap(start), first, following, chain.finality_update(newest), final)


def test_finds_the_finalised_execution_block(world: World) -> None:
    execution = world.final.header.execution
    wanted = TrustedBlock(int(execution.block_number), hash32(bytes(execution.block_hash)))
    assert world.check() == wanted
    assert chain_trust(world.mode.config()).finalized(world.evidence().encode()) == wanted


@pytest.mark.parametrize("epochs", [{"electra": 0}, {"fulu": 0}, {"deneb": 0}])
def test_whole_states_and_bodies(epochs: dict[str, int]) -> None:
    """Branches out of real beacon states and block bodies, made by the specification."""
    net = network(PresetId.MINIMAL, **epochs)
    oracle(net)
    chain, version = Chain(net, 1), net.forks[0].version
    start, final = chain.real_block(130), chain.real_block(140)
    attested = chain.real_block(150, chain.root(final))
    update = chain.update(attested, final)
    evidence = PosEvidence(
        Versioned(version, chain.bootstrap(start).encode_bytes()),
        (Versioned(version, update.encode_bytes()),),
    )
    block = EthereumPos(net, hash32(chain.root(start))).finalized(evidence.encode())
    assert (block.number, block.hash) == (140, bytes(final.header.execution.block_hash))


def test_the_checkpoint_alone_proves_its_own_block(world: World) -> None:
    execution = world.boot.header.execution
    assert world.check(updates=(), finality=None).hash == bytes(execution.block_hash)


def test_crosses_a_fork(world: World) -> None:
    # Period 3 is slots 192..255, Fulu begins with epoch 28, slot 224.
    assert world.versioned(world.update).version == ELECTRA
    assert world.versioned(world.finality).version == FULU
    world.check()


def test_checkpoint_round_trip(world: World) -> None:
    assert EthereumPos.from_checkpoint(world.mode.checkpoint()) == world.mode
    evidence = world.evidence()
    assert PosEvidence.decode(evidence.encode()) == evidence


# --- chains and forks -------------------------------------------------------------------------------------------


def test_refuses_another_checkpoint(world: World) -> None:
    other = replace(world.mode, trusted_block_root=hash32(bytes(32)))
    with pytest.raises(VerificationError, match="not the checkpoint's block"):
        other.finalized(world.evidence().encode())


def test_refuses_another_genesis_root(world: World) -> None:
    other = replace(world.mode, network=with_root(world.mode.network, bytes(32)))
    with pytest.raises(VerificationError, match="signature"):
        other.finalized(world.evidence().encode())


def test_refuses_a_version_that_is_not_in_the_schedule(world: World) -> None:
    with pytest.raises(InvalidInput, match="not in the checkpoint's schedule"):
        world.check(finality=world.versioned(world.finality, b"\7\0\0\1"))


def test_refuses_the_version_of_another_fork(world: World) -> None:
    with pytest.raises(VerificationError, match="is not of fork electra"):
        world.check(finality=world.versioned(world.finality, ELECTRA))
    with pytest.raises(VerificationError, match="is not of fork fulu"):
        world.check(bootstrap=Versioned(FULU, world.boot.encode_bytes()))


def test_refuses_signatures_made_under_another_fork_version(world: World) -> None:
    forks = tuple(replace(fork, version=fork.version[:3] + b"\2") for fork in world.mode.network.forks)
    other = replace(world.mode, network=replace(world.mode.network, forks=forks))
    evidence = world.evidence()

    def moved(part: Versioned) -> Versioned:
        return replace(part, version=part.version[:3] + b"\2")

    renamed = PosEvidence(moved(evidence.bootstrap), tuple(map(moved, evidence.updates)), None)
    with pytest.raises(VerificationError, match="signature"):
        other.finalized(renamed.encode())


def test_refuses_blocks_before_the_schedule(world: World) -> None:
    forks = (Fork("electra", 100, ELECTRA),)
    other = replace(world.mode, network=replace(world.mode.network, forks=forks))
    with pytest.raises(VerificationError, match="before the first fork"):
        other.finalized(world.evidence().encode())


@pytest.mark.parametrize(
    "forks",
    [
        (),
        (Fork("gloas", 0, ELECTRA),),
        (Fork("electra", 0, b"\5"),),
        (Fork("electra", 0, ELECTRA), Fork("electra", 1, FULU)),
        (Fork("fulu", 0, FULU), Fork("electra", 1, ELECTRA)),
        (Fork("electra", 5, ELECTRA), Fork("fulu", 5, FULU)),
        (Fork("electra", 0, ELECTRA), Fork("fulu", 1, ELECTRA)),
        (Fork("electra", 2**64, ELECTRA),),
    ],
)
def test_refuses_impossible_schedules(forks: tuple[Fork, ...]) -> None:
    with pytest.raises(InvalidInput):
        Network(PresetId.MAINNET, hash32(bytes(32)), forks)


def test_mainnet_is_written_down() -> None:
    from eth_consensus_specs.fulu import mainnet as spec

    config = published_config(spec)
    for fork in mainnet().forks:
        assert fork.epoch == int(getattr(config, f"{fork.name.upper()}_FORK_EPOCH"))
        assert fork.version == bytes(getattr(config, f"{fork.name.upper()}_FORK_VERSION"))


def test_refuses_an_unknown_preset(world: World) -> None:
    root, net = world.mode.trusted_block_root, world.mode.network.to_rlp()
    assert isinstance(net, list)
    with pytest.raises(InvalidInput, match="preset"):
        chain_trust(ChainTrustConfig("ethereum-pos", encode([root, [b"\2", *net[1:]]])))


# --- updates ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "accepted"), [(32, True), (22, True), (21, False), (1, False), (0, False)])
def test_two_thirds_must_take_part(world: World, count: int, accepted: bool) -> None:
    chain = world.chain
    final = chain.block(3 * PER_PERIOD + 40)
    attested = chain.block(3 * PER_PERIOD + 44, chain.root(final))
    update = chain.update(attested, final, with_committee=False, participation=count)
    finality = world.versioned(chain.finality_update(update))
    if accepted:
        assert world.check(finality=finality).hash == bytes(final.header.execution.block_hash)
    else:
        with pytest.raises(VerificationError, match="two thirds"):
            world.check(finality=finality)


@pytest.mark.parametrize(("count", "accepted"), [(342, True), (341, False)])
def test_two_thirds_of_512(count: int, accepted: bool) -> None:
    net = network(PresetId.MAINNET, electra=0)
    chain = Chain(net, 3)
    start, final = chain.block(8192 * 9 + 5), chain.block(8192 * 9 + 40)
    attested = chain.block(8192 * 9 + 77, chain.root(final))
    update = chain.update(attested, final, participation=count, with_committee=False)
    evidence = PosEvidence(
        Versioned(ELECTRA, chain.bootstrap(start).encode_bytes()),
        (),
        Versioned(ELECTRA, chain.finality_update(update).encode_bytes()),
    )
    mode = EthereumPos(net, hash32(chain.root(start)))
    if accepted:
        assert mode.finalized(evidence.encode()).hash == bytes(final.header.execution.block_hash)
    else:
        with pytest.raises(VerificationError, match="two thirds"):
            mode.finalized(evidence.encode())


def test_refuses_a_skipped_period(world: World) -> None:
    with pytest.raises(VerificationError, match="period 3, the store is in 2"):
        world.check(updates=())
    with pytest.raises(VerificationError, match="period 3, the store is in 2"):
        world.check(updates=(world.versioned(world.following),))


def test_refuses_a_period_skipped_by_the_next_committee_itself(world: World) -> None:
    """The known committee of period 3 signs for period 4: its term is over."""
    chain = world.chain
    final = chain.block(4 * PER_PERIOD + 3)
    attested = chain.block(4 * PER_PERIOD + 6, chain.root(final))
    update = chain.update(attested, final, with_committee=False)
    signature_slot = 4 * PER_PERIOD + 7
    from goldengrain_protocol.proofs.ethereum_pos.light_client import signing_root

    message = signing_root(chain.net, chain.root(attested), signature_slot)
    update.sync_aggregate.sync_committee_signature = chain.committee(3).sign([True] * 32, message)
    with pytest.raises(VerificationError, match="period 4, the store is in 2"):
        world.check(finality=world.versioned(chain.finality_update(update)))


def test_refuses_updates_played_backwards_or_twice(world: World) -> None:
    first, second = world.versioned(world.update), world.versioned(world.following)
    assert world.check(updates=(first, second)) == world.check()
    with pytest.raises(VerificationError, match="period 3"):
        world.check(updates=(second, first))
    for updates in ((first, first), (first, second, first), (first, second, second)):
        with pytest.raises(VerificationError, match="not after"):
            world.check(updates=updates, finality=None)


def test_refuses_a_finality_update_that_goes_back(world: World) -> None:
    chain = world.chain
    final = chain.block(2 * PER_PERIOD + 6)
    update = chain.update(chain.block(2 * PER_PERIOD + 60, chain.root(final)), final, with_committee=False)
    older = world.versioned(chain.finality_update(update))
    assert world.check(updates=(), finality=older).number == 2 * PER_PERIOD + 6
    with pytest.raises(VerificationError, match="not after"):
        world.check(finality=older)


def test_refuses_updates_without_finality(world: World) -> None:
    """What the official protocol would keep and force after a timeout."""
    update = world.chain.update(world.chain.block(2 * PER_PERIOD + 20), None)
    with pytest.raises(VerificationError, match="finalises nothing"):
        world.check(updates=(world.versioned(update),), finality=None)


def test_optimistic_updates_have_no_place(world: World) -> None:
    optimistic = world.chain.optimistic_update(world.update)
    with pytest.raises(InvalidInput):
        world.check(finality=world.versioned(optimistic))
    with pytest.raises(InvalidInput):
        world.check(updates=(world.versioned(optimistic),))


def test_refuses_an_execution_block_that_the_beacon_block_does_not_hold(world: World) -> None:
    finality = world.finality.copy()
    finality.finalized_header.execution.block_hash = bytes(32)
    with pytest.raises(VerificationError, match="not in the block"):
        world.check(finality=world.versioned(finality))
    finality = world.finality.copy()
    finality.finalized_header.execution.block_number = 1
    with pytest.raises(VerificationError, match="not in the block"):
        world.check(finality=world.versioned(finality))


def test_refuses_a_finalised_block_of_another_branch(world: World) -> None:
    finality = world.finality.copy()
    finality.finalized_header = world.update.finalized_header
    with pytest.raises(VerificationError):
        world.check(finality=world.versioned(finality))
    finality = world.finality.copy()
    finality.finality_branch[0] = bytes(range(32))
    with pytest.raises(VerificationError, match="not the finalized checkpoint"):
        world.check(finality=world.versioned(finality))


def test_refuses_a_committee_that_is_not_of_the_state(world: World) -> None:
    update = world.update.copy()
    update.next_sync_committee = world.chain.ssz_committee(9, 2 * PER_PERIOD)
    with pytest.raises(VerificationError, match="next sync committee is not in the attested state"):
        world.check(updates=(world.versioned(update),))


def test_refuses_a_second_next_committee(world: World) -> None:
    """A state of the same period with another next committee, truly signed: a committee that equivocates."""
    chain = world.chain
    final = chain.block(2 * PER_PERIOD + 40, committees=(2, 9))
    attested = chain.block(2 * PER_PERIOD + 44, chain.root(final), committees=(2, 9))
    update = chain.update(attested, final)
    update.next_sync_committee = chain.ssz_committee(9, 2 * PER_PERIOD)
    second = world.versioned(update)
    assert world.check(updates=(second,), finality=None).number == 2 * PER_PERIOD + 40
    with pytest.raises(VerificationError, match="differs from the one already known"):
        world.check(updates=(world.versioned(world.update), second), finality=None)


def test_refuses_a_genesis_that_is_not_empty(world: World) -> None:
    """Only the empty header may stand for the finalised genesis."""
    chain = world.chain
    attested = chain.block(2 * PER_PERIOD + 40, bytes(32))
    genesis = chain.block(0)
    update = chain.update(attested, genesis)
    assert branch(attested.state, 169) == [bytes(node) for node in update.finality_branch]
    with pytest.raises(VerificationError):
        world.check(updates=(world.versioned(update),), finality=None)
    net, fmt = world.mode.network, world.mode.network.forks[0].format
    store = world.mode.sync(world.evidence(updates=(), finality=None))
    with pytest.raises(VerificationError, match="empty header"):
        validate_update(net, store, decode_update(update.encode_bytes(), net.preset, fmt), None)
    empty = chain.update(attested, None)
    empty.finality_branch = update.finality_branch
    validate_update(net, store, decode_update(empty.encode_bytes(), net.preset, fmt), None)


@pytest.mark.parametrize("key", [b"\xc0" + bytes(47), bytes(48), b"\xff" * 48])
def test_refuses_committee_keys_that_are_no_keys(world: World, key: bytes) -> None:
    """Also where the state itself holds them."""
    from tests.unit.protocol.proofs_pos.beacon_chain import partial_tree

    chain = world.chain
    start = chain.block(2 * PER_PERIOD + 5)
    boot = chain.bootstrap(start)
    boot.current_sync_committee.pubkeys[3] = key
    state = partial_tree({86: bytes(boot.current_sync_committee.hash_tree_root())}, chain.draw)
    boot.header.beacon.state_root = state[1]
    boot.current_sync_committee_branch = branch(state, 86)
    mode = replace(world.mode, trusted_block_root=hash32(bytes(boot.header.beacon.hash_tree_root())))
    evidence = world.evidence(bootstrap=Versioned(ELECTRA, boot.encode_bytes()))
    mode.finalized(replace(evidence, updates=(), finality=None).encode())
    with pytest.raises(VerificationError, match="signature"):
        mode.finalized(replace(evidence, finality=None).encode())


# --- memory -----------------------------------------------------------------------------------------------------


def test_what_is_remembered_does_not_change_the_answer(world: World) -> None:
    good, false = world.evidence(), world.evidence(updates=(world.versioned(world.following),))
    wrong_start = replace(world.mode, trusted_block_root=hash32(bytes(32)))
    for _ in range(2):
        mode_module._stores.clear()
        world.mode.finalized(good.encode())
        # With everything remembered, the false is still false, also under another checkpoint.
        with pytest.raises(VerificationError):
            world.mode.finalized(false.encode())
        with pytest.raises(VerificationError):
            wrong_start.finalized(good.encode())
        world.mode.finalized(good.encode())
    assert len(mode_module._stores) <= 4


def test_verified_prefixes_are_not_verified_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    mode_module._stores.clear()
    calls: list[int] = []
    apply_update = mode_module.apply_update

    def counted(*arguments: Any) -> Any:
        calls.append(1)
        return apply_update(*arguments)

    monkeypatch.setattr(mode_module, "apply_update", counted)
    world.check()
    assert len(calls) == 2
    world.check()
    assert len(calls) == 3


def test_evidence_is_bounded(world: World) -> None:
    with pytest.raises(InvalidInput, match="at most"):
        world.mode.finalized(bytes(2**21 + 1))
    with pytest.raises(InvalidInput):
        world.check(finality=Versioned(FULU, bytes(2**15 + 1)))
    many = (Versioned(ELECTRA, b""),) * 513
    with pytest.raises(InvalidInput):
        world.check(updates=many)
