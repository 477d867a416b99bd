"""Every hostile model is stopped at the layer that its case names, and in time; the honest one passes them all."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest

from goldengrain_enclave.benchmark import gate
from goldengrain_enclave.benchmark.channel import ModelTask, TensorForm
from goldengrain_enclave.benchmark.failures import ModelFailure, Reason
from goldengrain_enclave.benchmark.model_process import Limits
from goldengrain_enclave.benchmark.onnx_structure import decode_structure
from goldengrain_enclave.benchmark.sandbox import Sandbox
from tests.unit.enclave.hostile import corpus
from tests.unit.enclave.hostile.corpus import Case

SAMPLES = 8
CPU_S, WALL_S, MEMORY_BYTES = 1, 40, 2**29
SECONDS_TO_REFUSE = 8.0
"""Generous: what the scanner and the gate may take for the worst file on a slow, busy machine."""
LAYER_OF = {
    Reason.DOES_NOT_LOAD: "load",
    Reason.INPUTS_DO_NOT_MATCH: "load",
    Reason.OUTPUT_DOES_NOT_MATCH: "load",
    Reason.CPU_LIMIT: "limit",
    Reason.WALL_LIMIT: "limit",
    Reason.MEMORY_LIMIT: "limit",
    Reason.RUN_FAILED: "run",
    Reason.OUTPUT_NOT_FINITE: "output",
    Reason.DEPENDS_ON_BATCH: "output",
}
GATE_LIMITS = gate.GateLimits({"image": (SAMPLES, 64)}, 1, MEMORY_BYTES, CPU_S)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    made = Sandbox(frozenset({"namespaces", "seccomp", "rlimits"}), threads=2)
    yield made
    made.close()


def run(sandbox: Sandbox, model: bytes) -> np.ndarray:
    task = ModelTask(
        len(model),
        (TensorForm("image", "float32", (64,)),),
        TensorForm("probabilities", "float32", (10,)),
        SAMPLES,
        SAMPLES,
        2,
        CPU_S,
        MEMORY_BYTES,
    )
    images = np.random.default_rng(0).random((SAMPLES, 64), dtype=np.float32)
    return sandbox.run(model, task, [images], Limits(CPU_S, WALL_S, MEMORY_BYTES))


def test_honest_model_passes_every_layer(sandbox: Sandbox) -> None:
    model = corpus.honest().SerializeToString()
    report = gate.check_model(model, GATE_LIMITS)
    assert (report.ops, report.parameters, report.macs) == (3, 640, SAMPLES * 640)
    assert run(sandbox, model).shape == (SAMPLES, 10)


def test_honest_forest_passes_the_gate() -> None:
    assert gate.check_model(corpus.forest(), GATE_LIMITS).ops == 4


@pytest.mark.parametrize("case", corpus.cases("scan"), ids=lambda case: case.name)
def test_stopped_by_the_scan(case: Case) -> None:
    model = case.build()
    start = time.process_time()
    with pytest.raises(ModelFailure) as refusal:
        decode_structure(model)
    assert time.process_time() - start < SECONDS_TO_REFUSE
    assert case.words in refusal.value.detail


@pytest.mark.parametrize("case", corpus.cases("gate"), ids=lambda case: case.name)
def test_stopped_by_the_gate(case: Case) -> None:
    model = case.build()
    decode_structure(model)
    start = time.process_time()
    with pytest.raises(ModelFailure) as refusal:
        gate.check_model(model, GATE_LIMITS)
    assert time.process_time() - start < SECONDS_TO_REFUSE
    assert case.words in refusal.value.detail


@pytest.mark.parametrize("case", corpus.cases("load", "limit", "run", "output"), ids=lambda case: case.name)
def test_stopped_in_the_sandbox(sandbox: Sandbox, case: Case) -> None:
    model = case.build()
    gate.check_model(model, GATE_LIMITS)
    with pytest.raises(ModelFailure) as refusal:
        run(sandbox, model)
    layer = LAYER_OF[refusal.value.reason]
    if refusal.value.reason == Reason.OUTPUT_DOES_NOT_MATCH and case.expect == "output":
        layer = "output"  # one reason for what is declared and for what comes out
    assert layer == case.expect, refusal.value.detail
    assert case.words in refusal.value.detail


def test_corpus_covers_every_layer() -> None:
    assert {case.expect for case in corpus.cases()} == set(corpus.LAYERS)
    assert len({case.name for case in corpus.cases()}) == len(corpus.cases())
