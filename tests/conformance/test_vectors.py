"""Every vector gives what it says; the deterministic ones are what generate.py makes, byte for byte."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from goldengrain_protocol.errors import InvalidInput, VerificationError
from tests.conformance import generate
from tests.conformance.operations import OPERATIONS

VECTORS = Path(__file__).parent / "vectors"
PATHS = sorted(VECTORS.glob("*/*.json"))
ERRORS = {"invalid": InvalidInput, "verification": VerificationError}


@pytest.mark.parametrize("path", PATHS, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_vector_gives_what_it_says(path: Path) -> None:
    vector = json.loads(path.read_text())
    operation = OPERATIONS[vector["operation"]]
    if vector["expect"] == "accept":
        assert operation(vector["input"]) == vector["output"]
        return
    with pytest.raises(ERRORS[vector["expect"]]) as caught:
        operation(vector["input"])
    assert type(caught.value) is ERRORS[vector["expect"]]
    assert vector["reason"] in str(caught.value)


def test_deterministic_vectors_regenerate_byte_for_byte() -> None:
    made = generate.deterministic_files()
    stored = {
        str(path.relative_to(VECTORS)): path.read_text()
        for path in PATHS
        if not json.loads(path.read_text())["randomised"]
    }
    assert sorted(made) == sorted(stored)
    assert [name for name, text in made.items() if stored[name] != text] == []


def test_every_layer_has_vectors_to_accept_and_to_refuse() -> None:
    seen: dict[str, set[bool]] = {}
    for path in PATHS:
        vector = json.loads(path.read_text())
        seen.setdefault(vector["layer"], set()).add(vector["expect"] == "accept")
    layers = "container sealing keys identifiers eip712 pricing blobs proofs wire frames spec attestation rlp"
    assert sorted(seen) == sorted(layers.split())
    assert {layer for layer, kinds in seen.items() if kinds != {True, False}} == set()
