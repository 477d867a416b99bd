"""Following a beacon chain through several nodes that may be down, slow or lying.

Everything is asked of all endpoints at once and verified with the enclave's own code; an answer counts by what it
proves, not by who gave it. What has been verified is kept on disk, so a restart asks only for what is new.

Source: Ethereum beacon-APIs, /eth/v1/beacon/light_client.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from goldengrain.bounded_json import decode_json
from goldengrain.chain.beacon_json import bootstrap_ssz, finality_update_ssz, update_ssz
from goldengrain.chain.bounded_http import HttpSource, ask_all
from goldengrain.chain.client import ChainClient
from goldengrain.chain.proofs import fetch_history_step
from goldengrain.home import atomic_write
from goldengrain_protocol.canonical import decode, encode
from goldengrain_protocol.errors import GoldenGrainError, InvalidInput, UnavailableError
from goldengrain_protocol.proofs import TrustedBlock
from goldengrain_protocol.proofs.ethereum_pos import EthereumPos, PosEvidence, Store, Versioned
from goldengrain_protocol.proofs.ethereum_pos.containers import decode_finality_update
from goldengrain_protocol.proofs.ethereum_pos.mode import MAX_SSZ_BYTES

UPDATES_PER_REQUEST: Final = 16
"""Periods asked for at once. Beacon nodes give at most 128."""
SSZ: Final = "application/octet-stream"
_ACCEPT: Final = f"{SSZ};q=1.0, application/json;q=0.9"
_PATIENCE_S: Final = 1.0
"""How long slower endpoints are waited for once one has answered."""
_JSON_FACTOR: Final = 3
"""JSON writes a byte as two digits and adds names and quotes."""


@dataclass(frozen=True, slots=True)
class Finality:
    """A finality update as an endpoint sent it, with what it claims."""

    data: Versioned
    finalized_slot: int
    signature_slot: int


class BeaconFollower:
    """A light client with a memory on disk; may be shared by threads, one directory by one process.

    Args:
        directory: where verified data is kept, one directory per checkpoint; None keeps nothing.
    """

    def __init__(
        self,
        mode: EthereumPos,
        urls: Sequence[str],
        *,
        directory: Path | None = None,
        timeout_s: float = 15.0,
    ) -> None:
        if not urls:
            raise InvalidInput(
                "no beacon node is named",
                next_step="add addresses to the address book (chain_trust.endpoints)",
            )
        self._mode: Final = mode
        self._sources: Final = [HttpSource(url, "beacon node", timeout_s=timeout_s) for url in urls]
        self._directory: Final = directory
        self._lock: Final = threading.Lock()
        self._base: PosEvidence | None = None
        """Bootstrap and committee updates, verified."""
        self._newest: PosEvidence | None = None
        """What proves the newest block seen so far."""
        self.problems: list[str] = []
        """What was wrong with answers since the last `follow`, for people."""

    def prove(self, client: ChainClient, anchor: int | None) -> tuple[bytes, int]:
        """As `TrustSource.prove`; older blocks by a step through the history contract."""
        evidence = self.follow()
        header = self._mode.sync(evidence).finalized_header
        head = TrustedBlock(header.block_number, header.block_hash)
        if anchor is None or anchor == head.number:
            return evidence.encode(), head.number
        if anchor > head.number:
            raise UnavailableError(
                f"block {anchor} is not final yet, the newest final block is {head.number}"
            )
        step = fetch_history_step(client, head, anchor)
        return replace(evidence, history=step).encode(), anchor

    def follow(self) -> PosEvidence:
        """Return evidence for the newest finalised block that any endpoint can prove.

        Without any endpoint that answers, what is known already is returned, as long as there is something.

        Raises:
            UnavailableError: no endpoint gives a bootstrap for the checkpoint, or nothing newer than it.
        """
        with self._lock:
            self.problems = []
            if self._base is None:
                self._base = self._load() or self._fetch_bootstrap()
                self._offer(self._base)
            for candidate in self._fetch_finality():
                if candidate.finalized_slot <= self._newest_slot() or self._reach(candidate):
                    break
            if self._newest is None:
                raise UnavailableError("the checkpoint is not proven yet")
            return self._newest

    # --- steps ----------------------------------------------------------------------------------------------

    def _reach(self, candidate: Finality) -> bool:
        """Take in a finality update, and before it the committees that it needs; False if that fails."""
        base = self._base
        if base is None:
            return False
        wanted = self._mode.network.period_at(candidate.signature_slot)
        while (reach := self._reach_of(self._mode.sync(base))) < wanted:
            following = self._fetch_updates(base, reach, wanted)
            if following is None:
                self.problems.append(f"no committee update for period {reach} holds")
                return False
            base = following
            self._keep(base)
        try:
            self._offer(replace(base, finality=candidate.data))
        except GoldenGrainError as exc:
            self.problems.append(f"a finality update is refused: {exc.message}")
            return False
        return True

    def _offer(self, evidence: PosEvidence) -> None:
        """Take evidence that verifies and is newer than what there is. Raises: what is wrong with it."""
        slot = self._mode.sync(evidence).finalized_header.slot
        if self._newest is None or slot > self._newest_slot():
            self._newest = evidence

    def _newest_slot(self) -> int:
        return -1 if self._newest is None else self._mode.sync(self._newest).finalized_header.slot

    def _fetch_updates(self, evidence: PosEvidence, start: int, wanted: int) -> PosEvidence | None:
        """Return the evidence with at least one more committee update; None if no endpoint has one that holds."""
        path = f"/eth/v1/beacon/light_client/updates?start_period={start}&count={UPDATES_PER_REQUEST}"

        def ask(source: HttpSource) -> list[Versioned]:
            reply = source.get(
                path, accept=_ACCEPT, max_bytes=_JSON_FACTOR * UPDATES_PER_REQUEST * MAX_SSZ_BYTES
            )
            if _is_ssz(reply.headers):
                return [self._versioned(ssz) for ssz in _split(reply.content)]
            return self._each_json(source, reply.content)

        answers, problems = ask_all(self._sources, ask, enough=bool, patience_s=_PATIENCE_S)
        self.problems += problems
        best = evidence
        for source, updates in answers:
            grown = self._grown(evidence, updates, wanted, source.name)
            if len(grown.updates) > len(best.updates):
                best = grown
        return best if best is not evidence else None

    def _grown(
        self, evidence: PosEvidence, updates: Iterable[Versioned], wanted: int, name: str
    ) -> PosEvidence:
        """Return the evidence with those updates that bring a committee, until the `wanted` period is reached.

        Ends at the first that does not hold.
        """
        evidence = replace(evidence, finality=None)
        reach = self._reach_of(self._mode.sync(evidence))
        for update in updates:
            if reach >= wanted:
                break
            longer = replace(evidence, updates=(*evidence.updates, update))
            try:
                store = self._mode.sync(longer)
            except GoldenGrainError as exc:
                self.problems.append(f"{name}: {exc.message}")
                break
            # A true update that only finalises a little more would make the evidence grow without end.
            if self._reach_of(store) > reach:
                evidence, reach = longer, self._reach_of(store)
        return evidence

    def _reach_of(self, store: Store) -> int:
        """Return the last sync-committee period whose committee the store knows."""
        known = store.next_sync_committee is not None
        return self._mode.network.period_at(store.finalized_header.slot) + known

    def _fetch_bootstrap(self) -> PosEvidence:
        path = f"/eth/v1/beacon/light_client/bootstrap/0x{self._mode.trusted_block_root.hex()}"

        def ask(source: HttpSource) -> PosEvidence:
            reply = source.get(path, accept=_ACCEPT, max_bytes=_JSON_FACTOR * MAX_SSZ_BYTES)
            ssz = reply.content if _is_ssz(reply.headers) else bootstrap_ssz(_data(reply.content))
            evidence = PosEvidence(self._versioned(ssz), ())
            self._mode.sync(evidence)
            return evidence

        answers, problems = ask_all(self._sources, ask, enough=bool)
        self.problems += problems
        if not answers:
            raise UnavailableError(
                f"no beacon node proves the checkpoint: {'; '.join(problems[:4])}",
                next_step="add beacon nodes that serve light clients and still have the checkpoint's block",
            )
        self._keep(answers[0][1])
        return answers[0][1]

    def _fetch_finality(self) -> list[Finality]:
        """Return what the endpoints claim to be final, the newest first, each once."""

        def ask(source: HttpSource) -> Finality:
            reply = source.get(
                "/eth/v1/beacon/light_client/finality_update",
                accept=_ACCEPT,
                max_bytes=_JSON_FACTOR * MAX_SSZ_BYTES,
            )
            ssz = reply.content if _is_ssz(reply.headers) else finality_update_ssz(_data(reply.content))
            return self._finality(self._versioned(ssz))

        answers, problems = ask_all(self._sources, ask, enough=bool, patience_s=_PATIENCE_S)
        self.problems += problems
        found = {finality.data: finality for _, finality in answers}
        return sorted(found.values(), key=lambda finality: finality.finalized_slot, reverse=True)

    # --- reading --------------------------------------------------------------------------------------------

    def _versioned(self, ssz: bytes) -> Versioned:
        """Return SSZ bytes with the version of the fork at their first header's slot."""
        if len(ssz) > MAX_SSZ_BYTES:
            raise InvalidInput(f"light-client data has at most {MAX_SSZ_BYTES} bytes, got {len(ssz)}")
        at = int.from_bytes(ssz[:4], "little")
        if len(ssz) < at + 8:
            raise InvalidInput("light-client data is truncated")
        slot = int.from_bytes(ssz[at : at + 8], "little")
        return Versioned(self._mode.network.fork_at(slot).version, ssz)

    def _finality(self, data: Versioned) -> Finality:
        network = self._mode.network
        update = decode_finality_update(
            data.ssz, network.preset, network.fork_of_version(data.version).format
        )
        if update.finalized_header is None:
            raise InvalidInput("the finality update finalises nothing")
        return Finality(data, update.finalized_header.slot, update.signature_slot)

    def _each_json(self, source: HttpSource, content: bytes) -> list[Versioned]:
        items = _json(content)
        if not isinstance(items, list):
            raise UnavailableError(f"{source.name} answered with no list of updates")
        found = []
        for item in items[:UPDATES_PER_REQUEST]:
            if not isinstance(item, dict):
                raise InvalidInput("an update must be an object")
            found.append(self._versioned(update_ssz(item.get("data"))))
        return found

    # --- memory ---------------------------------------------------------------------------------------------

    def _keep(self, evidence: PosEvidence) -> None:
        """Remember verified evidence; the files are checked again when they are read."""
        self._base = evidence
        self._offer(evidence)
        if self._directory is None:
            return
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        parts = [("bootstrap", evidence.bootstrap)]
        parts += [(f"update-{at:05}", update) for at, update in enumerate(evidence.updates)]
        for name, part in parts:
            path = self._directory / f"{name}.rlp"
            content = encode(part.to_rlp())
            if not path.exists() or path.read_bytes() != content:
                atomic_write(path, content)

    def _load(self) -> PosEvidence | None:
        """Return what an earlier run kept, as far as it still verifies."""
        if self._directory is None or not (self._directory / "bootstrap.rlp").is_file():
            return None
        try:
            evidence = PosEvidence(_read(self._directory / "bootstrap.rlp"), ())
            self._mode.sync(evidence)
        except (GoldenGrainError, OSError) as exc:
            self.problems.append(f"kept bootstrap is not usable: {exc}")
            return None
        kept: list[Versioned] = []
        for path in sorted(self._directory.glob("update-*.rlp")):
            try:
                kept.append(_read(path))
            except (GoldenGrainError, OSError) as exc:
                self.problems.append(f"kept update is not usable: {exc}")
                break
        return self._grown(evidence, kept, 2**64, "kept on disk")


def _read(path: Path) -> Versioned:
    return Versioned.from_rlp(decode(path.read_bytes()))


def _split(content: bytes) -> list[bytes]:
    """Return the payloads of an SSZ answer: each 8 bytes of length, 4 bytes of fork digest, payload."""
    found = []
    at = 0
    while at < len(content):
        size = int.from_bytes(content[at : at + 8], "little")
        if not 4 <= size <= MAX_SSZ_BYTES + 4 or at + 8 + size > len(content):
            raise InvalidInput("an update's length is wrong")
        found.append(content[at + 12 : at + 8 + size])
        at += 8 + size
        if len(found) > UPDATES_PER_REQUEST:
            raise InvalidInput("more updates than were asked for")
    return found


def _is_ssz(headers: Mapping[str, str]) -> bool:
    return SSZ in headers.get("content-type", "")


def _json(content: bytes) -> object:
    try:
        return decode_json(content)
    except ValueError as exc:
        raise InvalidInput("the answer is no JSON") from exc


def _data(content: bytes) -> object:
    value = _json(content)
    if not isinstance(value, dict):
        raise InvalidInput("the answer must be an object")
    return value.get("data")
