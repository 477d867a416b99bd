"""Measure what the chain-trust modes promise about speed; entries as in `measure`.

    python tools/measure_chain_trust.py [NAME ...]

Prints a table; exit code 1 if a limit is missed. `MEASUREMENTS` may be joined with those of `measure`. The peers are
py_ecc for the signature of a committee, and the official executable specification for whole updates.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from measure import Entry, median_ms, render, seconds

from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.proofs import TrustedBlock, decode_header, verify_account, verify_storage
from goldengrain_protocol.proofs.account import mapping_slot
from goldengrain_protocol.proofs.ethereum_pos import EthereumPos, PosEvidence, Versioned, bls
from goldengrain_protocol.proofs.ethereum_pos import mode as mode_module
from goldengrain_protocol.proofs.ethereum_pos.containers import decode_finality_update, decode_update
from goldengrain_protocol.proofs.ethereum_pos.light_client import apply_update, signing_root
from goldengrain_protocol.proofs.ethereum_pos.network import PresetId
from goldengrain_protocol.proofs.history import HISTORY_CONTRACT, history_slot, verify_history_step
from goldengrain_protocol.types import Address, hash32
from tests.unit.protocol.proofs_pos.beacon_chain import Chain, network, oracle
from tests.unit.protocol.proofs_pos.execution import State, header, history_step

SLOTS_PER_PERIOD: Final = 8192
FIRST_PERIOD: Final = 10
TWO_WEEKS_PERIODS: Final = 13
"""Two weeks are 12.3 periods of 27.3 hours: at most 13 changes of committee."""
MARKET: Final = Address(b"\x22" * 20)
VERSION: Final = bytes.fromhex("05000001")
HEAD: Final = 100_000


@lru_cache(maxsize=1)
def long_chain() -> dict[str, Any]:
    """A mainnet-preset chain of two weeks with committees of 512 keys, in SSZ."""
    net = network(PresetId.MAINNET, electra=0)
    chain = Chain(net, 11)
    slots = [mapping_slot(0, hash32(keccak256(i.to_bytes(2, "big")))) for i in range(2000)]
    hashes = {history_slot(number): number for number in range(HEAD - 4000, HEAD)}
    market = State({MARKET: dict.fromkeys(slots, 2**200 + 1), HISTORY_CONTRACT: hashes}, others=2000)
    head = header(HEAD, market.root)
    start = chain.block(FIRST_PERIOD * SLOTS_PER_PERIOD + 64)
    updates = []
    for period in range(FIRST_PERIOD, FIRST_PERIOD + TWO_WEEKS_PERIODS):
        final = chain.block(period * SLOTS_PER_PERIOD + 4000)
        attested = chain.block(period * SLOTS_PER_PERIOD + 4090, chain.root(final))
        updates.append(chain.update(attested, final, participation=500))
    last = FIRST_PERIOD + TWO_WEEKS_PERIODS
    final = chain.block(last * SLOTS_PER_PERIOD + 64, number=HEAD, block_hash=decode_header(head).hash)
    attested = chain.block(last * SLOTS_PER_PERIOD + 140, chain.root(final))
    finality = chain.finality_update(chain.update(attested, final, with_committee=False, participation=500))
    return {
        "net": net,
        "chain": chain,
        "state": market,
        "head": head,
        "boot": chain.bootstrap(start),
        "updates": updates,
        "finality": finality,
        "mode": EthereumPos(net, hash32(chain.root(start))),
        "evidence": PosEvidence(
            Versioned(VERSION, chain.bootstrap(start).encode_bytes()),
            tuple(Versioned(VERSION, update.encode_bytes()) for update in updates),
            Versioned(VERSION, finality.encode_bytes()),
        ),
    }


def cold() -> None:
    """Forget all keys and stores."""
    bls.committee_points.cache_clear()
    mode_module._stores.clear()


def cold_median_ms(action: Callable[[], object], rounds: int) -> float:
    """As `median_ms`, with nothing remembered before each call."""
    times = []
    for _ in range(rounds):
        cold()
        times.append(seconds(action))
    return statistics.median(times) * 1000


def job_proof() -> Entry:
    """Milliseconds for what a job proves once its block is trusted: header, account, two slots."""
    data = long_chain()
    state, head = data["state"], data["head"]
    slots = [mapping_slot(0, hash32(keccak256(i.to_bytes(2, "big")))) for i in (3, 1500)]
    root = decode_header(head).state_root
    account_nodes = state.account_proof(MARKET)
    storage_nodes = [state.storage_proof(MARKET, slot) for slot in slots]

    def verify() -> None:
        if decode_header(head).state_root != root:
            raise SystemExit("the header changed")
        account = verify_account(root, MARKET, account_nodes)
        for slot, nodes in zip(slots, storage_nodes, strict=True):
            verify_storage(account.storage_root, slot, nodes)

    return Entry(
        "job proof after the trusted block",
        median_ms(verify, 50),
        "ms",
        "lower",
        5,
        None,
        None,
        "median of 50; header, one account in 2,000, two slots in 2,000",
    )


def known_evidence() -> Entry:
    """Milliseconds for two weeks of evidence whose committees an enclave has verified before."""
    data = long_chain()
    evidence = data["evidence"].encode()
    data["mode"].finalized(evidence)
    return Entry(
        "evidence of two weeks, known",
        median_ms(lambda: data["mode"].finalized(evidence), 15),
        "ms",
        "lower",
        25,
        None,
        None,
        f"median of 15; {len(evidence) / 1e3:.0f} kB, bootstrap and {TWO_WEEKS_PERIODS} committees remembered",
    )


def history() -> Entry:
    """Milliseconds for the EIP-2935 step to an older block."""
    data = long_chain()
    step = history_step(data["state"], data["head"], HEAD - 3000)
    trusted = TrustedBlock(HEAD, decode_header(data["head"]).hash)
    return Entry(
        "EIP-2935 step",
        median_ms(lambda: verify_history_step(trusted, step), 50),
        "ms",
        "lower",
        1,
        None,
        None,
        "median of 50; history contract with 4,000 hashes, 2,000 accounts",
    )


def committee_update() -> Entry:
    """Milliseconds to decode, verify and apply a sync-committee update with 512 keys never seen before."""
    data = long_chain()
    net, raw = data["net"], data["updates"][0].encode_bytes()
    store = data["mode"].sync(PosEvidence(data["evidence"].bootstrap, ()))

    def ours() -> None:
        apply_update(net, store, decode_update(raw, net.preset, net.forks[0].format))

    return Entry(
        "committee update, 512 keys",
        cold_median_ms(ours, 9),
        "ms",
        "lower",
        80,
        "executable specification",
        _specification(data, "LightClientUpdate", data["updates"][0]),
        "medians of 9 and 5; decoding included, no key remembered",
    )


def _specification(data: dict[str, Any], name: str, value: Any) -> float:
    spec, raw = oracle(data["net"]), value.encode_bytes()
    boot = spec.LightClientBootstrap.decode_bytes(data["boot"].encode_bytes())
    process = {"LightClientUpdate": "update", "LightClientFinalityUpdate": "finality_update"}[name]

    def theirs() -> None:
        store = spec.initialize_light_client_store(spec.hash_tree_root(boot.header.beacon), boot)
        update = getattr(spec, name).decode_bytes(raw)
        getattr(spec, f"process_light_client_{process}")(
            store, update, update.signature_slot, spec.Root(data["net"].genesis_validators_root)
        )

    return median_ms(theirs, 5)


def _finality(data: dict[str, Any]) -> tuple[Any, Any]:
    """Return (store, finality update of the same period)."""
    chain = data["chain"]
    final = chain.block(FIRST_PERIOD * SLOTS_PER_PERIOD + 200)
    attested = chain.block(FIRST_PERIOD * SLOTS_PER_PERIOD + 290, chain.root(final))
    update = chain.finality_update(chain.update(attested, final, with_committee=False, participation=500))
    return data["mode"].sync(PosEvidence(data["evidence"].bootstrap, ())), update


def finality_cold() -> Entry:
    """Milliseconds for a finality update by a committee never seen before."""
    data = long_chain()
    net = data["net"]
    store, update = _finality(data)
    raw = update.encode_bytes()

    def ours() -> None:
        apply_update(net, store, decode_finality_update(raw, net.preset, net.forks[0].format))

    return Entry(
        "finality update, cold",
        cold_median_ms(ours, 9),
        "ms",
        "lower",
        80,
        "executable specification",
        _specification(data, "LightClientFinalityUpdate", update),
        "medians of 9 and 5",
    )


def finality_cached() -> Entry:
    """Milliseconds for a finality update by a committee whose keys are known."""
    data = long_chain()
    net = data["net"]
    store, update = _finality(data)
    raw = update.encode_bytes()

    def ours() -> None:
        apply_update(net, store, decode_finality_update(raw, net.preset, net.forks[0].format))

    return Entry(
        "finality update, cached keys",
        median_ms(ours, 25),
        "ms",
        "lower",
        15,
        "executable specification",
        _specification(data, "LightClientFinalityUpdate", update),
        "medians of 25 and 5; the specification keeps no keys",
    )


def signature() -> Entry:
    """Milliseconds for one aggregate signature of 512 keys never seen before."""
    from py_ecc.bls.ciphersuites import G2ProofOfPossession

    data = long_chain()
    committee = data["chain"].committee(FIRST_PERIOD)
    keys, message = b"".join(committee.keys), signing_root(data["net"], bytes(32), FIRST_PERIOD)
    aggregate = committee.sign([True] * 512, message)
    everybody = [True] * 512
    peer = seconds(lambda: G2ProofOfPossession.FastAggregateVerify(list(committee.keys), message, aggregate))
    return Entry(
        "aggregate signature, 512 keys",
        cold_median_ms(lambda: bls.fast_aggregate_verify(keys, everybody, message, aggregate), 9),
        "ms",
        "lower",
        None,
        "py_ecc",
        peer * 1000,
        "median of 9, nothing remembered; py_ecc once",
    )


def catching_up() -> Entry:
    """Seconds from a checkpoint of two weeks ago to the newest final block."""
    data = long_chain()
    evidence = data["evidence"].encode()
    return Entry(
        "catching up two weeks",
        cold_median_ms(lambda: data["mode"].finalized(evidence), 3) / 1000,
        "s",
        "lower",
        3,
        None,
        None,
        f"median of 3, nothing remembered; {TWO_WEEKS_PERIODS} committees of 512 keys, {len(evidence) / 1e3:.0f} kB",
    )


MEASUREMENTS: Final[dict[str, Callable[[], Entry]]] = {
    "job-proof": job_proof,
    "known-evidence": known_evidence,
    "history": history,
    "committee": committee_update,
    "finality-cold": finality_cold,
    "finality-cached": finality_cached,
    "signature": signature,
    "catching-up": catching_up,
}


def main(names: list[str]) -> int:
    """Measure `names`, or everything; returns the exit code."""
    unknown = set(names) - set(MEASUREMENTS)
    if unknown:
        print(f"error: measurements are {', '.join(MEASUREMENTS)}", file=sys.stderr)
        return 2
    entries = [MEASUREMENTS[name]() for name in names or MEASUREMENTS]
    print(render(entries))
    return 0 if all(entry.kept for entry in entries) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
