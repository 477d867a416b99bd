"""The static gate: what an ONNX file may contain before the runtime sees it.

Runs inside the locked-down child, on the bytes alone: its own bounded scanner reads the structure, so that no ONNX or
protobuf library meets a file that has not passed. It never follows a reference out of the file.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from .estimate import Estimate, estimate
from .failures import ModelFailure, Reason
from .onnx_structure import Graph, Model, Tensor, decode_structure, quoted
from .operator_rules import check_operator

OPSETS: Final[Mapping[str, range]] = {"": range(7, 29), "ai.onnx": range(7, 29), "ai.onnx.ml": range(1, 6)}
"""Opset versions by domain: what the runtime promises to load and the rules here were written for."""
IR_VERSIONS: Final = range(3, 15)
"""Versions of the file format."""
MACS_PER_CPU_S: Final = 2**40
"""More multiply-accumulates than any processor core does in a second. A model that needs more than its processor time
allows at this rate is refused before it runs."""
LARGEST_MEMORY_BYTES: Final = 2**37
"""Memory that no tensor may exceed, where no smaller limit is given (128 GiB)."""


@dataclass(frozen=True, slots=True)
class GateLimits:
    """What a benchmark allows, as far as the structure of a model tells."""

    input_shapes: Mapping[str, Sequence[int]]
    """Shapes of one batch, by input name; empty where they are not known."""
    batches: int
    """How many of them there will be."""
    memory_bytes: int
    cpu_s: int


@dataclass(frozen=True, slots=True)
class GateReport:
    """What the gate learned about a model that it let through."""

    ops: int
    """Nodes, those of subgraphs included."""
    parameters: int
    """Numbers in tensors and float attributes."""
    macs: int
    """Multiply-accumulates of one batch, a lower bound."""
    peak_bytes: int
    """Weights and the largest working set of one node for one batch, a lower bound."""


def check_model(data: bytes, limits: GateLimits | None = None) -> GateReport:
    """Return what the gate learned about the model in `data`, if it lets it through.

    Raises:
        ModelFailure: with a published reason and, in `detail`, the name of the node or tensor concerned.
    """
    # 1. The bytes are one ModelProto without functions, training information, sparse or external tensors.
    model = decode_structure(data)
    # 2. Versions that the rules below were written for.
    _check_versions(model)
    # 3. Every graph and node, however deep.
    _check_graph(model.graph, ChainMap(), ChainMap())
    # 4. What it will need at least.
    shapes = limits.input_shapes if limits is not None else {}
    needs = estimate(model, shapes)
    _check_needs(needs, limits)
    return GateReport(model.node_count, model.numbers, needs.macs, needs.peak_bytes)


def _check_versions(model: Model) -> None:
    if model.ir_version not in IR_VERSIONS:
        raise ModelFailure(
            Reason.NOT_AN_ONNX_MODEL,
            f"ir_version must be in {IR_VERSIONS[0]}..{IR_VERSIONS[-1]}, got {model.ir_version}",
        )
    stated: dict[str, int] = {}
    for domain, version in model.opsets:
        allowed = OPSETS.get(domain)
        if allowed is None:
            raise ModelFailure(Reason.FORBIDDEN_FEATURE, f"operator domain {quoted(domain)} is not allowed")
        if version not in allowed:
            name = domain or "ai.onnx"
            raise ModelFailure(
                Reason.NOT_AN_ONNX_MODEL,
                f"opset of {name} must be in {allowed[0]}..{allowed[-1]}, got {version}",
            )
        # some exporters state a domain twice; two different versions would leave open which one holds
        if stated.setdefault(domain or "ai.onnx", version) != version:
            raise ModelFailure(Reason.NOT_AN_ONNX_MODEL, f"opset of {domain or 'ai.onnx'} is stated twice")


def _check_graph(graph: Graph, constants: ChainMap[str, Tensor], made: ChainMap[str, None]) -> None:
    """Check a graph and its branches; the maps hold the initializers and all names of the graphs around it."""
    constants = constants.new_child(graph.initializers)
    made = made.new_child(dict.fromkeys(graph.initializers))
    own = made.maps[0]
    for what, values in (("input", graph.inputs), ("output", graph.outputs)):
        names = [value.name for value in values]
        if len(set(names)) != len(names):
            raise ModelFailure(
                Reason.NOT_AN_ONNX_MODEL, f"graph {quoted(graph.name)} declares an {what} twice"
            )
    own.update((value.name, None) for value in graph.inputs)
    later = {name for node in graph.nodes for name in node.outputs if name}
    for node in graph.nodes:
        check_operator(node, constants)
        for name in node.inputs:
            if name in later and name not in made:
                raise ModelFailure(
                    Reason.NOT_AN_ONNX_MODEL,
                    f"{node.label} reads {quoted(name)}, which only a later node makes",
                )
        for attribute in node.attributes.values():
            for branch in attribute.graphs:
                if branch.inputs:
                    raise ModelFailure(Reason.NOT_AN_ONNX_MODEL, f"{node.label} has a branch with inputs")
                _check_graph(branch, constants, made)
        for name in node.outputs:
            if name and name in own:
                raise ModelFailure(
                    Reason.NOT_AN_ONNX_MODEL, f"{node.label} makes {quoted(name)}, which is there already"
                )
            own[name] = None


def _check_needs(needs: Estimate, limits: GateLimits | None) -> None:
    memory_bytes = limits.memory_bytes if limits is not None else LARGEST_MEMORY_BYTES
    if needs.largest_bytes > memory_bytes:
        raise ModelFailure(
            Reason.MEMORY_LIMIT,
            f"{needs.largest_node} makes a tensor of {needs.largest_bytes:,} bytes, the limit is {memory_bytes:,}",
        )
    if needs.weights_bytes + needs.largest_bytes > memory_bytes:
        raise ModelFailure(
            Reason.MEMORY_LIMIT,
            f"weights of {needs.weights_bytes:,} bytes and the tensor of {needs.largest_bytes:,} bytes that "
            f"{needs.largest_node or 'no node'} makes do not fit into {memory_bytes:,}",
        )
    if limits is None:
        return
    macs = needs.fixed_macs + (needs.macs - needs.fixed_macs) * limits.batches
    if macs > limits.cpu_s * MACS_PER_CPU_S:
        raise ModelFailure(
            Reason.CPU_LIMIT,
            f"the run takes at least {macs:,} multiply-accumulates, most of them in "
            f"{needs.costliest_node}; {limits.cpu_s} s of processor time cannot hold them",
        )
