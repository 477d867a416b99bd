"""Runs the public light-client `sync` cases of the consensus specifications against this light client.

A case is a folder with `meta.yaml`, `config.yaml`, `steps.yaml` and SSZ in Snappy's block format. The official
client also keeps an optimistic header and forces updates; both are played here, around the rule under test
(`validate_update`), so that every step of a case can be checked. Beside it runs the client as enclaves use it,
which must never be ahead of the official one, and equal to it until the first forced update.

    python -m tests.unit.protocol.proofs_pos.consensus_vectors DIRECTORY

Source: consensus-specs, tests/formats/light_client/sync.md.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from goldengrain_protocol.errors import VerificationError
from goldengrain_protocol.proofs.ethereum_pos.containers import (
    LightClientHeader,
    Update,
    decode_bootstrap,
    decode_update,
)
from goldengrain_protocol.proofs.ethereum_pos.light_client import (
    Store,
    apply_update,
    validate_update,
    verify_bootstrap,
)
from goldengrain_protocol.proofs.ethereum_pos.network import FORMATS, Fork, Network, PresetId
from goldengrain_protocol.types import hash32

MAX_SSZ_BYTES = 2**20
NEVER = 2**64 - 1


class VectorMismatch(AssertionError):
    """A check of a case does not hold."""


def uncompress(data: bytes, most: int = MAX_SSZ_BYTES) -> bytes:
    """Return the contents of Snappy's block format. Raises: ValueError.

    Source: google/snappy, format_description.txt.
    """
    size, shift, at = 0, 0, 0
    while True:
        if at >= len(data) or shift > 28:
            raise ValueError("snappy: bad length")
        size |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            break
    if size > most:
        raise ValueError("snappy: too large")
    out = bytearray()
    while at < len(data):
        tag = data[at]
        at += 1
        kind, length = tag & 3, (tag >> 2) + 1
        if kind == 0:
            if length > 60:
                width = length - 60
                length = int.from_bytes(data[at : at + width], "little") + 1
                at += width
            piece = data[at : at + length]
            if len(piece) != length:
                raise ValueError("snappy: truncated")
            out += piece
            at += length
        else:
            if kind == 1:
                length = ((tag >> 2) & 7) + 4
                offset = (tag >> 5) << 8 | data[at] if at < len(data) else 0
                at += 1
            else:
                width = 2 if kind == 2 else 4
                offset = int.from_bytes(data[at : at + width], "little")
                at += width
            if not 0 < offset <= len(out):
                raise ValueError("snappy: bad copy")
            for _ in range(length):
                out.append(out[-offset])
        if len(out) > size:
            raise ValueError("snappy: longer than stated")
    if len(out) != size:
        raise ValueError("snappy: shorter than stated")
    return bytes(out)


@dataclass
class OfficialClient:
    """The official process around the rule under test. Source: sync-protocol.md, `process_light_client_update`."""

    net: Network
    store: Store
    optimistic: LightClientHeader
    best: Update | None = None
    previous_max: int = 0
    current_max: int = 0

    def process(self, update: Update, current_slot: int) -> None:
        validate_update(self.net, self.store, update, current_slot)
        count, size = sum(update.participants), len(update.participants)
        if self.best is None or _is_better(self.net, update, self.best):
            self.best = update
        self.current_max = max(self.current_max, count)
        safe = max(self.previous_max, self.current_max) // 2
        if count > safe and update.attested_header.slot > self.optimistic.slot:
            self.optimistic = update.attested_header
        finalized = update.finalized_header
        brings = (
            self.store.next_sync_committee is None
            and update.next_sync_committee is not None
            and finalized is not None
            and self.net.period_at(finalized.slot) == self.net.period_at(update.attested_header.slot)
        )
        newer = _slot(finalized) > self.store.finalized_header.slot
        if count * 3 >= size * 2 and (newer or brings):
            self._apply(update, finalized)
            self.best = None

    def force(self, current_slot: int) -> bool:
        """Do what enclaves never do; return whether something was forced."""
        timeout = self.net.preset.slots_per_period
        if self.best is None or current_slot <= self.store.finalized_header.slot + timeout:
            return False
        finalized = self.best.finalized_header
        if _slot(finalized) <= self.store.finalized_header.slot:
            finalized = self.best.attested_header
        self._apply(self.best, finalized)
        self.best = None
        return True

    def _apply(self, update: Update, finalized: LightClientHeader | None) -> None:
        store, period = self.store, self.net.period_at(_slot(finalized))
        if store.next_sync_committee is None:
            if period != self.net.period_at(store.finalized_header.slot):
                raise VerificationError("another period")
            store = replace(store, next_sync_committee=update.next_sync_committee)
        elif period == self.net.period_at(store.finalized_header.slot) + 1:
            store = Store(
                store.finalized_header, store.next_sync_committee or _absent(), update.next_sync_committee
            )
            self.previous_max, self.current_max = self.current_max, 0
        if finalized is not None and finalized.slot > store.finalized_header.slot:
            store = replace(store, finalized_header=finalized)
            if finalized.slot > self.optimistic.slot:
                self.optimistic = finalized
        self.store = store


def run_case(case: Path) -> int:
    """Play one case; return the number of steps. Raises: VectorMismatch, or what the client says."""
    meta, steps = _yaml(case / "meta.yaml"), _yaml(case / "steps.yaml")
    net = _network(case, meta)
    data = uncompress((case / "bootstrap.ssz_snappy").read_bytes())
    slot = _first_slot(data)
    boot = decode_bootstrap(data, net.preset, net.fork_at(slot).format)
    store = verify_bootstrap(net, hash32(_hex(meta["trusted_block_root"])), boot)
    official = OfficialClient(net, store, store.finalized_header)
    ours, forced = store, False
    for at, step in enumerate(steps):
        (kind, body), *_ = step.items()
        if kind == "force_update":
            forced |= official.force(int(body["current_slot"]))
        elif kind == "process_update":
            data = uncompress((case / f"{body['update']}.ssz_snappy").read_bytes())
            update = decode_update(data, net.preset, net.fork_at(_first_slot(data)).format)
            official.process(update, int(body["current_slot"]))
            try:
                ours = apply_update(net, ours, update, current_slot=int(body["current_slot"]))
            except VerificationError:
                pass
        elif kind != "upgrade_store":
            raise VectorMismatch(f"step {at}: unknown kind {kind!r}")
        _check(f"step {at} ({kind})", body["checks"], official, net)
        behind = ours.finalized_header.slot <= official.store.finalized_header.slot
        if not behind or (not forced and ours != official.store):
            raise VectorMismatch(f"step {at}: the enclaves' client differs from the official one")
    return len(steps)


def find_cases(directory: Path) -> list[Path]:
    """Return the `sync` cases below a directory whose forks this client understands."""
    found = []
    for steps in sorted(directory.rglob("steps.yaml")):
        case = steps.parent
        if not (case / "bootstrap.ssz_snappy").is_file() or _fork_of(case) not in FORMATS:
            continue
        epoch = _yaml(case / "config.yaml").get("GLOAS_FORK_EPOCH", NEVER)
        if int(epoch) == NEVER:
            found.append(case)
    return found


def _check(where: str, checks: Any, official: OfficialClient, net: Network) -> None:
    for name, header in (
        ("finalized_header", official.store.finalized_header),
        ("optimistic_header", official.optimistic),
    ):
        wanted = checks[name]
        got = {
            "slot": header.slot,
            "beacon_root": "0x" + header.beacon_root.hex(),
            "execution_root": "0x" + header.execution_root.hex(),
        }
        for key, value in wanted.items():
            if str(got[key]) != str(value):
                raise VectorMismatch(f"{where}: {name}.{key} must be {value}, got {got[key]}")


def _network(case: Path, meta: Any) -> Network:
    config = _yaml(case / "config.yaml")
    preset = PresetId.MINIMAL if config["PRESET_BASE"] == "minimal" else PresetId.MAINNET
    epochs: dict[str, tuple[int, bytes]] = {}
    for name in FORMATS:
        epoch = config.get(f"{name.upper()}_FORK_EPOCH")
        version = config.get(f"{name.upper()}_FORK_VERSION")
        if epoch is not None and version is not None and int(epoch) < NEVER:
            epochs[name] = (int(epoch), _hex(version))
    forks: list[Fork] = []
    for name, (epoch, version) in epochs.items():
        if forks and forks[-1].epoch == epoch:  # several forks at genesis: the last one counts
            forks.pop()
        forks.append(Fork(name, epoch, version))
    return Network(preset, hash32(_hex(meta["genesis_validators_root"])), tuple(forks))


def _fork_of(case: Path) -> str:
    """The fork folder of a case: PRESET/FORK/light_client/sync/SUITE/CASE."""
    parts = case.parts
    return parts[parts.index("light_client") - 1] if "light_client" in parts else ""


def _is_better(net: Network, new: Update, old: Update) -> bool:
    """Source: sync-protocol.md, `is_better_update`."""
    size = len(new.participants)

    def rank(update: Update) -> tuple[Any, ...]:
        count = sum(update.participants)
        many = count * 3 >= size * 2
        attested = net.period_at(update.attested_header.slot)
        relevant = update.next_sync_committee is not None and attested == net.period_at(update.signature_slot)
        finality = update.finalized_header is not None
        same = finality and net.period_at(_slot(update.finalized_header)) == attested
        slots = (-update.attested_header.slot, -update.signature_slot)
        if not many:
            return (False, count, relevant, finality, same, *slots)
        return (True, relevant, finality, same, count, *slots)

    return rank(new) > rank(old)


def _slot(header: LightClientHeader | None) -> int:
    return 0 if header is None else header.slot


def _absent() -> Any:
    raise VectorMismatch("no next committee")


def _first_slot(data: bytes) -> int:
    at = int.from_bytes(data[:4], "little")
    return int.from_bytes(data[at : at + 8], "little")


def _hex(value: Any) -> bytes:
    return (
        value.to_bytes(4, "big") if isinstance(value, int) else bytes.fromhex(str(value).removeprefix("0x"))
    )


def _yaml(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path.read_text())


def main(arguments: list[str]) -> int:
    cases = [case for name in arguments for case in find_cases(Path(name))]
    failed = 0
    for case in cases:
        try:
            print(f"ok    {run_case(case):3} steps  {case}")
        except Exception as exc:
            failed += 1
            print(f"FAIL  {case}: {type(exc).__name__}: {exc}")
    print(f"{len(cases) - failed} of {len(cases)} cases hold")
    return 1 if failed or not cases else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
