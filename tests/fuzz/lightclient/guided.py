"""The coverage-guided fuzzer of everything that decodes chain-trust evidence.

    python -m tests.fuzz.lightclient.guided [-max_total_time=SECONDS] [CORPUS_DIRECTORY]

The first byte of an input chooses the decoder. Any error but `InvalidInput` and `VerificationError` ends the run with
the input in a file `crash-...`; so does an input that takes more than ten seconds or a gigabyte.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["goldengrain_protocol", "goldengrain.chain.beacon_json"]):
    from goldengrain.chain import beacon_json
    from goldengrain_protocol.errors import InvalidInput, VerificationError
    from goldengrain_protocol.proofs.ethereum_pos import EthereumPos
    from goldengrain_protocol.proofs.ethereum_pos.containers import (
        decode_bootstrap,
        decode_finality_update,
        decode_optimistic_update,
        decode_update,
    )
    from goldengrain_protocol.proofs.witness_quorum import WitnessQuorum

from tests.fuzz.lightclient.test_evidence import (
    EVIDENCE,
    FORMAT,
    PRESET,
    QUORUM,
    QUORUM_EVIDENCE,
    WORLD,
)
from tests.unit.market.fake_beacon import to_json

Target = tuple[Callable[[bytes], Any], list[bytes]]


def _json(read: Callable[[object], bytes]) -> Callable[[bytes], Any]:
    def target(data: bytes) -> None:
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            return
        read(value)

    return target


def _text(value: Any) -> bytes:
    return json.dumps(to_json(value)).encode()


TARGETS: list[Target] = [
    (WORLD.mode.finalized, [EVIDENCE.encode(), WORLD.evidence(updates=(), finality=None).encode()]),
    (QUORUM.finalized, [QUORUM_EVIDENCE.encode()]),
    (EthereumPos.from_checkpoint, [WORLD.mode.checkpoint()]),
    (WitnessQuorum.from_checkpoint, [QUORUM.checkpoint()]),
    (lambda data: decode_bootstrap(data, PRESET, FORMAT), [WORLD.boot.encode_bytes()]),
    (lambda data: decode_update(data, PRESET, FORMAT), [WORLD.update.encode_bytes()]),
    (lambda data: decode_finality_update(data, PRESET, FORMAT), [WORLD.finality.encode_bytes()]),
    (
        lambda data: decode_optimistic_update(data, PRESET),
        [WORLD.chain.optimistic_update(WORLD.update).encode_bytes()],
    ),
    (_json(beacon_json.bootstrap_ssz), [_text(WORLD.boot)]),
    (_json(beacon_json.update_ssz), [_text(WORLD.update)]),
    (_json(beacon_json.finality_update_ssz), [_text(WORLD.finality)]),
]


def one_input(data: bytes) -> None:
    """Give one input to its decoder."""
    if not data:
        return
    target, _ = TARGETS[data[0] % len(TARGETS)]
    try:
        target(data[1:])
    except (InvalidInput, VerificationError):
        pass


def write_corpus(directory: Path) -> None:
    """Write the valid samples, from which the fuzzer starts."""
    for at, (_, samples) in enumerate(TARGETS):
        for number, sample in enumerate(samples):
            (directory / f"seed-{at}-{number}").write_bytes(bytes([at]) + sample)


def main() -> None:
    directories = [Path(word) for word in sys.argv[1:] if not word.startswith("-")]
    if directories:
        write_corpus(directories[0])
    atheris.Setup([*sys.argv, "-timeout=10", "-rss_limit_mb=1024", "-max_len=40000"], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
