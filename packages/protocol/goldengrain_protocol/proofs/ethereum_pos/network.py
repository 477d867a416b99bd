"""What distinguishes one beacon chain from another: preset, genesis, and the schedule of its forks.

Source: Ethereum consensus specs, presets/ and configs/, specs/altair/light-client/sync-protocol.md.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from goldengrain_protocol.canonical import Rlp, RlpInput, encode_int
from goldengrain_protocol.errors import InvalidInput, VerificationError
from goldengrain_protocol.rlp_fields import Fields
from goldengrain_protocol.types import Hash32, fixed_bytes, hash32

MAX_FORKS: Final = 16


class PresetId(IntEnum):
    """Which compile-time constants a chain uses; the number stands in the checkpoint."""

    MAINNET = 0
    MINIMAL = 1


@dataclass(frozen=True, slots=True)
class Preset:
    """Compile-time constants of a chain."""

    slots_per_epoch: int
    sync_committee_size: int
    epochs_per_sync_committee_period: int

    @property
    def slots_per_period(self) -> int:
        """Slots for which one sync committee serves."""
        return self.slots_per_epoch * self.epochs_per_sync_committee_period


PRESETS: Final = {PresetId.MAINNET: Preset(32, 512, 256), PresetId.MINIMAL: Preset(8, 32, 8)}


@dataclass(frozen=True, slots=True)
class LightClientFormat:
    """Where a fork's light-client data has what, as generalized indices of its trees."""

    finalized_root_gindex: int
    """In the beacon state."""
    current_sync_committee_gindex: int
    next_sync_committee_gindex: int
    execution_payload_gindex: int
    """In the beacon block body."""


_DENEB: Final = LightClientFormat(105, 54, 55, 25)
_ELECTRA: Final = LightClientFormat(169, 86, 87, 25)
FORMATS: Final = {"deneb": _DENEB, "electra": _ELECTRA, "fulu": _ELECTRA}
"""The forks understood here, in their order. Deneb is there for chains that finalised its last blocks under Electra.

Gloas will get its entry when its light-client header is fixed: it carries the execution block hash with a
branch of its own in place of the execution payload header, which `containers.decode_header` then has to read.
Until then a chain stops being provable at its Gloas fork; nothing wrong is accepted.
"""


@dataclass(frozen=True, slots=True)
class Fork:
    """One fork of a schedule."""

    name: str
    epoch: int
    """The first epoch."""
    version: bytes
    """Four bytes."""

    @property
    def format(self) -> LightClientFormat:
        """The shape of this fork's light-client data."""
        return FORMATS[self.name]


@dataclass(frozen=True, slots=True)
class Network:
    """One beacon chain as a light client must know it."""

    preset_id: PresetId
    genesis_validators_root: Hash32
    forks: tuple[Fork, ...]
    """From the fork of the checkpoint on, in order. Blocks before the first are not understood."""

    def __post_init__(self) -> None:
        hash32(self.genesis_validators_root)
        if not 1 <= len(self.forks) <= MAX_FORKS:
            raise InvalidInput(f"a fork schedule has 1 to {MAX_FORKS} forks, got {len(self.forks)}")
        known = list(FORMATS)
        for fork in self.forks:
            fixed_bytes(fork.version, 4, "fork version")
            if fork.name not in known:
                raise InvalidInput(f"fork must be one of {', '.join(known)}, got {fork.name[:20]!r}")
            if not 0 <= fork.epoch < 2**64:
                raise InvalidInput("a fork's epoch must be in uint64")
        order = [known.index(fork.name) for fork in self.forks]
        epochs = [fork.epoch for fork in self.forks]
        if order != sorted(set(order)) or epochs != sorted(set(epochs)):
            raise InvalidInput(
                "a fork schedule must be in order, each fork once, each at an epoch of its own"
            )
        if len({fork.version for fork in self.forks}) != len(self.forks):
            raise InvalidInput("each fork must have a version of its own")

    @property
    def preset(self) -> Preset:
        """The chain's constants."""
        return PRESETS[self.preset_id]

    def period_at(self, slot: int) -> int:
        """Return the sync-committee period of a slot."""
        return slot // self.preset.slots_per_period

    def fork_at(self, slot: int) -> Fork:
        """Return the fork that is active at a slot.

        Raises:
            VerificationError: the slot lies before the schedule.
        """
        epoch = slot // self.preset.slots_per_epoch
        found = None
        for fork in self.forks:
            if fork.epoch <= epoch:
                found = fork
        if found is None:
            raise VerificationError(f"slot {slot} lies before the first fork of the checkpoint's schedule")
        return found

    def fork_of_version(self, version: bytes) -> Fork:
        """Return the fork with this version. Raises: InvalidInput: none has it."""
        for fork in self.forks:
            if fork.version == version:
                return fork
        raise InvalidInput(f"fork version 0x{version.hex()} is not in the checkpoint's schedule")

    def to_rlp(self) -> RlpInput:
        """Return [preset, genesis_validators_root, [[name, epoch, version], ...]]."""
        forks = [[fork.name.encode("ascii"), encode_int(fork.epoch), fork.version] for fork in self.forks]
        return [encode_int(self.preset_id), self.genesis_validators_root, forks]

    @classmethod
    def from_rlp(cls, value: Rlp) -> "Network":
        """Return the network that `value` holds. Raises: InvalidInput."""
        f = Fields(value, "network", 3)
        preset = f.uint(8)
        if preset not in PRESETS:
            raise InvalidInput(f"preset must be 0 (mainnet) or 1 (minimal), got {preset}")
        root = f.hash32()
        forks = []
        for item in f.items(MAX_FORKS):
            g = Fields(item, "fork", 3)
            forks.append(Fork(g.text(20), g.uint(64), g.fixed(4)))
        return cls(PresetId(preset), root, tuple(forks))


def mainnet(forks: tuple[Fork, ...] | None = None) -> Network:
    """Return Ethereum's main network.

    Source: consensus specs, configs/mainnet.yaml; the genesis validators root is in every `/eth/v1/beacon/genesis`.
    """
    root = "4b363db94e286120d76eb905340fdd4e54bfe9f06bf33ff6cf5ad27f511bfe95"
    scheduled = (
        Fork("electra", 364_032, bytes.fromhex("05000000")),
        Fork("fulu", 411_392, bytes.fromhex("06000000")),
    )
    return Network(PresetId.MAINNET, hash32(bytes.fromhex(root)), scheduled if forks is None else forks)
