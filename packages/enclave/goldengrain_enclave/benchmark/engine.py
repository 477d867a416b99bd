"""One evaluation: run the model on the whole test set, score what comes out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.metadata import version

from goldengrain_enclave.decrypt import OpenedJob
from goldengrain_enclave.verify import VerifiedJob
from goldengrain_protocol.constants import Outcome
from goldengrain_protocol.spec import BenchmarkSpec, TensorSpec

from .channel import ModelTask, TensorForm
from .failures import ModelFailure, Reason
from .metrics import score_outputs
from .model_process import Limits
from .sandbox import Sandbox


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """What the benchmark found, before the ladder rule. Never leaves the enclave as it is."""

    job: VerifiedJob
    outcome: Outcome
    reason: Reason
    raw_score_ppm: int
    raw_bound_ppm: int
    engine: str


def run_benchmark(opened: OpenedJob, sandbox: Sandbox) -> BenchmarkResult:
    """Return the score of the opened model, or its failure.

    Raises:
        UnavailableError: the machine could not carry the evaluation out; nothing is known about the model.
    """
    engine = engine_description(sandbox.layers(), sandbox.required_layers)
    try:
        if isinstance(opened.model, ModelFailure):
            raise opened.model
        spec = opened.job.spec
        task = model_task(spec, len(opened.model), opened.testset.samples, sandbox.threads)
        limits = Limits(spec.limits.cpu_s, spec.limits.wall_s, spec.limits.memory_bytes)
        outputs = sandbox.run(opened.model, task, opened.testset.inputs, limits)
        score = score_outputs(opened.testset.labels, outputs, spec.score)
    except ModelFailure as failure:
        return BenchmarkResult(opened.job, Outcome.MODEL_FAILED, failure.reason, 0, 0, engine)
    return BenchmarkResult(opened.job, Outcome.SCORED, Reason.NONE, score.score_ppm, score.bound_ppm, engine)


def model_task(spec: BenchmarkSpec, model_bytes: int, samples: int, threads: int) -> ModelTask:
    """Return what a child is told about a model under `spec`."""
    return ModelTask(
        model_bytes=model_bytes,
        inputs=tuple(_form(tensor) for tensor in spec.inputs),
        output=_form(spec.output),
        samples=samples,
        batch=spec.limits.batch,
        threads=threads,
        cpu_s=spec.limits.cpu_s,
        memory_bytes=spec.limits.memory_bytes,
    )


@cache
def engine_description(layers: frozenset[str], required: frozenset[str]) -> str:
    """Return the versions of what computes a score and the sandbox around it, for the evidence: the layers that were
    active, and those without which the enclave would not have started."""
    parts = [
        f"{name} {version(name)}" for name in ("goldengrain-enclave", "onnxruntime", "numpy", "scikit-learn")
    ]
    active, needed = "+".join(sorted(layers)) or "none", "+".join(sorted(required)) or "none"
    return "; ".join([*parts, f"sandbox {active} (required {needed})"])


def _form(tensor: TensorSpec) -> TensorForm:
    return TensorForm(tensor.name, tensor.dtype, tensor.sample_shape)
