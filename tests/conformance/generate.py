"""Make the conformance vectors. Usage and format: README.md."""

from __future__ import annotations

import json
import sys

from tests.conformance.vector import VECTORS
from tests.conformance.vectors_of_bytes import (
    attestation_vectors,
    frame_vectors,
    rlp_vectors,
    spec_vectors,
    wire_vectors,
)
from tests.conformance.vectors_of_crypto import (
    container_vectors,
    context_vectors,
    key_vectors,
    sealed_vectors,
)
from tests.conformance.vectors_of_proofs import proof_vectors, trie_vectors
from tests.conformance.vectors_of_terms import (
    blob_vectors,
    eip712_vectors,
    identifier_vectors,
    pricing_vectors,
)


def deterministic_files() -> dict[str, str]:
    """Return path (relative to `vectors`) and text of every vector that needs no randomness."""
    makers = (
        container_vectors, key_vectors, context_vectors, identifier_vectors, eip712_vectors, pricing_vectors,
        blob_vectors, proof_vectors, trie_vectors, rlp_vectors, wire_vectors, frame_vectors, spec_vectors,
        attestation_vectors,
    )  # fmt: skip
    return {vector.path: vector.text() for maker in makers for vector in maker()}


def main(arguments: list[str]) -> None:
    files = deterministic_files()
    if "--sealing" in arguments:
        files |= {vector.path: vector.text() for vector in sealed_vectors()}
    for path in VECTORS.glob("*/*.json"):
        if not json.loads(path.read_text())["randomised"]:
            path.unlink()
    for name, text in files.items():
        target = VECTORS / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    print(f"{len(files)} vectors written")


if __name__ == "__main__":
    main(sys.argv[1:])
