"""Measure what the project promises about speed, each beside a peer in the same run.

    python tools/measure.py [NAME ...]

Prints a table and writes build/measure.json, a list of {name, value, unit, better, limit, peer, peer_value, ratio,
how}. Exit code 1 if a limit is missed. A measurement is a function that returns one `Entry`; add it to `MEASUREMENTS`.
"""

from __future__ import annotations

import json
import os
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np
import onnx
import onnxruntime
import rlp
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from onnx import TensorProto, helper, numpy_helper
from trie.hexary import HexaryTrie

from goldengrain_enclave.benchmark import gate
from goldengrain_enclave.benchmark.child import session_options
from goldengrain_enclave.benchmark.engine import model_task
from goldengrain_enclave.benchmark.metrics import score_outputs
from goldengrain_enclave.benchmark.model_process import Limits
from goldengrain_enclave.benchmark.sandbox import Sandbox
from goldengrain_enclave.platform import simulated_pki
from goldengrain_enclave.platform.dcap_quote import sgx_quote_v3
from goldengrain_protocol.attestation import verify_quote
from goldengrain_protocol.container import ContainerKind, decrypt_container, encrypt_container
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.proofs.account import mapping_slot, verify_account, verify_storage
from goldengrain_protocol.spec import BenchmarkSpec, LimitSpec, ScoreSpec, TensorSpec
from goldengrain_protocol.types import Address, Hash32

OUTPUT: Final = Path(__file__).parent.parent / "build" / "measure.json"


@dataclass(frozen=True, slots=True)
class Entry:
    """One measured value, its limit and what it is compared with."""

    name: str
    value: float
    unit: str
    better: Literal["lower", "higher"]
    limit: float | None
    peer: str | None
    peer_value: float | None
    how: str

    @property
    def ratio(self) -> float | None:
        """Value over the peer's value."""
        return self.value / self.peer_value if self.peer_value else None

    @property
    def kept(self) -> bool:
        """Whether the limit is kept."""
        if self.limit is None:
            return True
        return self.value <= self.limit if self.better == "lower" else self.value >= self.limit


def scoring_overhead() -> Entry:
    """Seconds to score 10,000 images; the limit is 1.05 times bare onnxruntime plus 0.3 s, in the same run."""
    images = np.random.default_rng(0).random((10_000, 1, 28, 28), np.float32)
    labels = np.random.default_rng(1).integers(0, 10, 10_000)
    model = small_cnn()
    spec = BenchmarkSpec(
        title="measure",
        task="classification",
        classes=10,
        inputs=(TensorSpec("image", "float32", (1, 28, 28)),),
        output=TensorSpec("probabilities", "float32", (10,)),
        score=ScoreSpec("accuracy", 950_000, None),
        limits=LimitSpec(2**24, 2**29, 120, 120, 256),
    )
    limits = Limits(spec.limits.cpu_s, spec.limits.wall_s, spec.limits.memory_bytes)
    sandbox = Sandbox(frozenset({"seccomp", "rlimits"}))
    task = model_task(spec, len(model), len(images), sandbox.threads)

    def bare() -> None:
        session = onnxruntime.InferenceSession(
            model, session_options(sandbox.threads), providers=["CPUExecutionProvider"]
        )
        for start in range(0, len(images), spec.limits.batch):
            session.run(["probabilities"], {"image": images[start : start + spec.limits.batch]})

    def enclave() -> None:
        score_outputs(labels, sandbox.run(model, task, [images], limits), spec.score)

    try:
        sandbox.layers()
        ours, theirs = [], []
        for _ in range(5):
            sandbox.prestart()
            time.sleep(1.5)  # as between two jobs: the next child imports its libraries meanwhile
            theirs.append(seconds(bare))
            ours.append(seconds(enclave))
    finally:
        sandbox.close()
    bare_s = statistics.median(theirs)
    return Entry(
        "score 10,000 images of 28x28",
        statistics.median(ours),
        "s",
        "lower",
        1.05 * bare_s + 0.3,
        "bare onnxruntime",
        bare_s,
        "median of 5; small CNN, batch 256; load, run, accuracy and bound in the sandboxed child vs load and run",
    )


def container_decrypt() -> Entry:
    """MB/s of plaintext out of a container of 256 MiB."""
    plain, secret = secrets.token_bytes(2**28), bytes(32)
    container = encrypt_container(plain, ContainerKind.MODEL, secret, bytes(32))
    ours = min(seconds(lambda: decrypt_container(container, ContainerKind.MODEL, secret)) for _ in range(5))
    cipher = AESGCM(bytes(32))
    sealed = cipher.encrypt(bytes(12), plain, None)
    theirs = min(seconds(lambda: cipher.decrypt(bytes(12), sealed, None)) for _ in range(5))
    megabytes = len(plain) / 1e6
    return Entry(
        "container decryption",
        megabytes / ours,
        "MB/s",
        "higher",
        800,
        "cryptography AES-256-GCM, one call",
        megabytes / theirs,
        "best of 5; 256 MiB, every chunk authenticated",
    )


def quote_verification() -> Entry:
    """Milliseconds to verify an SGX v3 quote with its collateral."""
    pki = simulated_pki.create_pki(1_800_000_000, bytes(16))
    quote = sgx_quote_v3(pki.quote_signer(), bytes(32), bytes(32), bytes(64))
    collateral = simulated_pki.collateral_json(pki, "sgx", 1_800_000_000)
    root = pki.root_der
    value = median_ms(lambda: verify_quote(quote, collateral, root_der=root, at_unix_s=1_800_000_000), 30)
    return Entry(
        "quote verification",
        value,
        "ms",
        "lower",
        5,
        None,
        None,
        "median of 30; SGX v3, simulated root, strict policy",
    )


def proof_verification() -> Entry:
    """Milliseconds for an account proof and three storage proofs in tries of 2,000 entries."""
    market = Address(b"\x11" * 20)
    slots = [mapping_slot(index, Hash32(bytes([n]) * 32)) for index in range(4) for n in range(250)]
    storage: Any = HexaryTrie({})
    for slot in slots:
        storage.set(keccak256(slot.to_bytes(32, "big")), rlp.encode(2**200 + 1))
    state: Any = HexaryTrie({})
    for n in range(2000):
        address = market if n == 0 else n.to_bytes(20, "big")
        state.set(keccak256(address), rlp.encode([1, 0, storage.root_hash, keccak256(b"")]))
    account_nodes = [rlp.encode(node) for node in state.get_proof(keccak256(market))]
    chosen = slots[:3]
    slot_nodes = [
        [rlp.encode(node) for node in storage.get_proof(keccak256(slot.to_bytes(32, "big")))]
        for slot in chosen
    ]

    def verify() -> None:
        account = verify_account(Hash32(state.root_hash), market, account_nodes)
        for slot, nodes in zip(chosen, slot_nodes, strict=True):
            verify_storage(account.storage_root, slot, nodes)

    return Entry(
        "chain proof of a job",
        median_ms(verify, 50),
        "ms",
        "lower",
        5,
        None,
        None,
        "median of 50; one account in 2,000 and three slots in 1,000",
    )


def gate_time() -> Entry:
    """Milliseconds of the static gate on a model of 50 MB."""
    rows = numpy_helper.from_array(np.zeros((1250, 10_000), np.float32), "W")
    nodes = [helper.make_node("MatMul", ["x", "W"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1250])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10_000])],
        [rows],
    )
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()
    return Entry(
        "static gate at 50 MB",
        median_ms(lambda: gate.check_model(data), 7),
        "ms",
        "lower",
        100,
        "onnx.load_from_string",
        median_ms(lambda: onnx.load_from_string(data), 7),
        f"median of 7; {len(data) / 1e6:.0f} MB",
    )


MEASUREMENTS: Final[dict[str, Callable[[], Entry]]] = {
    "scoring": scoring_overhead,
    "container": container_decrypt,
    "quote": quote_verification,
    "proof": proof_verification,
    "gate": gate_time,
}


def small_cnn() -> bytes:
    """A CNN on 28x28: two convolutions of 16 and 32 channels with pooling, then a dense layer."""
    generator = np.random.default_rng(0)

    def weights(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(generator.normal(0, 0.1, shape).astype(np.float32), name)

    convolution: dict[str, Any] = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    pooling: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        helper.make_node("Conv", ["image", "c1"], ["a"], **convolution),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MaxPool", ["b"], ["c"], **pooling),
        helper.make_node("Conv", ["c", "c2"], ["d"], **convolution),
        helper.make_node("Relu", ["d"], ["e"]),
        helper.make_node("MaxPool", ["e"], ["f"], **pooling),
        helper.make_node("Flatten", ["f"], ["g"]),
        helper.make_node("MatMul", ["g", "w"], ["h"]),
        helper.make_node("Softmax", ["h"], ["probabilities"]),
    ]
    graph = helper.make_graph(
        nodes,
        "cnn",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, 28, 28])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 10])],
        [weights("c1", 16, 1, 3, 3), weights("c2", 32, 16, 3, 3), weights("w", 1568, 10)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def seconds(action: Callable[[], object]) -> float:
    """Return the wall time of one call."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def median_ms(action: Callable[[], object], rounds: int) -> float:
    """Return the median wall time of `rounds` calls in milliseconds, after one that does not count."""
    action()
    return statistics.median(seconds(action) for _ in range(rounds)) * 1000


def render(entries: list[Entry]) -> str:
    """Return the table."""
    lines = [f"{'':2}{'what':<32}{'value':>12}{'limit':>12}{'peer':>12}{'ratio':>8}  compared with"]
    for entry in entries:
        limit = f"{entry.limit:.3g}" if entry.limit is not None else "-"
        peer = f"{entry.peer_value:.3g}" if entry.peer_value is not None else "-"
        ratio = f"{entry.ratio:.2f}" if entry.ratio is not None else "-"
        mark = "  " if entry.kept else "! "
        value = f"{entry.value:.3g} {entry.unit}"
        lines.append(f"{mark}{entry.name:<32}{value:>12}{limit:>12}{peer:>12}{ratio:>8}  {entry.peer or '-'}")
    return "\n".join(lines)


def write(entries: list[Entry]) -> None:
    """Write build/measure.json in one rename."""
    OUTPUT.parent.mkdir(exist_ok=True)
    records = [asdict(entry) | {"ratio": entry.ratio} for entry in entries]
    with tempfile.NamedTemporaryFile("w", dir=OUTPUT.parent, delete=False) as file:
        json.dump(records, file, indent=2)
    os.replace(file.name, OUTPUT)


def main(names: list[str]) -> int:
    """Measure `names`, or everything; returns the exit code."""
    import measure_chain_trust  # it uses this module

    known = MEASUREMENTS | measure_chain_trust.MEASUREMENTS
    unknown = set(names) - set(known)
    if unknown:
        print(
            f"error: measurements are {', '.join(known)}, got {', '.join(sorted(unknown))}",
            file=sys.stderr,
        )
        return 2
    entries = []
    for name in names or known:
        print(f"measuring {name} ...", file=sys.stderr)
        entries.append(known[name]())
    write(entries)
    print(render(entries))
    return 0 if all(entry.kept for entry in entries) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
