"""What a model will need at least, from its structure alone: multiply-accumulates and memory.

Shapes are followed through the graph as far as they can be known, small computed integers (target shapes, sizes)
included. What cannot be known counts as nothing, so the figures are lower bounds for any input of the given shapes,
but that of the branches of an If the dearer one counts.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from .failures import ModelFailure, Reason
from .onnx_forms import ELEMENT_BITS
from .onnx_structure import MAX_SMALL_VALUES, Graph, Model, Node, Tensor, Value
from .shape_rules import RULES, UNKNOWN, VIEWS, Known, Step, bits_after
from .tree_rules import highest_feature

_LOST: Final = (
    IndexError,
    KeyError,
    TypeError,
    ValueError,
    ZeroDivisionError,
    OverflowError,
    ArithmeticError,
)
"""What a rule raises over a node that does not follow its operator's definition; the runtime will say so."""

_MOST_DIMS: Final = 32
_LARGEST_SIZE: Final = 2**62


@dataclass(frozen=True, slots=True)
class Estimate:
    """Lower bounds for one run of a model."""

    macs: int
    """Multiply-accumulates of one run, those on fixed values included."""
    fixed_macs: int
    """Those on values that do not depend on the input; spent once, when the model is loaded."""
    weights_bytes: int
    """All tensors in the file."""
    peak_bytes: int
    """Weights, and the largest set of inputs and outputs of one node."""
    largest_bytes: int
    """The largest single tensor that the run makes."""
    largest_node: str
    """The node that makes it, as an error text calls it."""
    costliest_node: str
    """The node with the most multiply-accumulates."""


def estimate(model: Model, inputs: Mapping[str, Sequence[int]]) -> Estimate:
    """Return what one run on inputs of these shapes needs at least.

    Args:
        inputs: shapes by name; open dimensions of other inputs count as 1.

    Raises:
        ModelFailure: a tree reads a feature that its input does not have.
    """
    run = _Run()
    run.graph(model.graph, ChainMap(), inputs)
    weights = sum(tensor.data_bytes for tensor in model.tensors)
    return Estimate(
        run.macs,
        run.fixed_macs,
        weights,
        weights + run.peak_bytes,
        run.largest_bytes,
        run.largest_node,
        run.costliest_node,
    )


class _Run:
    def __init__(self) -> None:
        self.macs = 0
        self.fixed_macs = 0
        self.peak_bytes = 0
        self.largest_bytes = 0
        self.largest_node = ""
        self.costliest_node = ""
        self._most_macs = 0

    def graph(
        self, graph: Graph, known: ChainMap[str, Known], shapes: Mapping[str, Sequence[int]]
    ) -> list[Known]:
        """Follow one graph, adding to `known`; returns what is known of its outputs."""
        for value in graph.inputs:
            known[value.name] = _input(value, shapes.get(value.name))
        for name, tensor in graph.initializers.items():
            known[name] = constant(tensor)
        for node in graph.nodes:
            fixed = node.operator != "If" and all(
                known.get(name, UNKNOWN).fixed for name in node.inputs if name
            )
            found = self._node(node, known, fixed=fixed)
            for position, name in enumerate(node.outputs):
                if name:
                    known[name] = found[position] if position < len(found) else Known(None, fixed=fixed)
        return [known.get(value.name, UNKNOWN) for value in graph.outputs]

    def _node(self, node: Node, known: ChainMap[str, Known], *, fixed: bool) -> Sequence[Known]:
        operands = [known.get(name, UNKNOWN) if name else UNKNOWN for name in node.inputs]
        if node.operator == "If":
            return self._branches(node, known)
        if node.operator.startswith("ai.onnx.ml:TreeEnsemble"):
            _check_features(node, operands)
        rule = RULES.get(node.operator)
        if rule is None:
            return ()
        step = Step(node, operands)
        try:
            outputs = rule(step)
        except _LOST:
            return ()
        bits, view = bits_after(node, operands), node.operator in VIEWS
        stored = view and operands[0].stored
        outputs = [_bounded(found, bits, stored=stored, fixed=fixed) for found in outputs]
        self._count(node, step.macs, operands, () if view else outputs)
        self.fixed_macs += step.macs if fixed else 0
        return outputs

    def _branches(self, node: Node, known: ChainMap[str, Known]) -> Sequence[Known]:
        before = self.macs
        costs, results = [], []
        for name in ("then_branch", "else_branch"):
            self.macs = 0
            results.append(self.graph(node.attributes[name].graphs[0], known.new_child(), {}))
            costs.append(self.macs)
        self.macs = before + max(costs)
        first, second = results
        return [
            Known(one.dims if one.dims == two.dims else None, None, one.bits)
            for one, two in zip(first, second, strict=False)
        ]

    def _count(self, node: Node, macs: int, operands: Sequence[Known], outputs: Sequence[Known]) -> None:
        self.macs += macs
        if macs > self._most_macs:
            self._most_macs, self.costliest_node = macs, node.label
        made = [found.size_bytes for found in outputs if not found.stored]
        if made and max(made) > self.largest_bytes:
            self.largest_bytes, self.largest_node = max(made), node.label
        held = sum(operand.size_bytes for operand in operands if not operand.stored)
        self.peak_bytes = max(self.peak_bytes, held + sum(made))


def constant(tensor: Tensor) -> Known:
    """Return what is known of a tensor in the file."""
    return Known(tensor.dims, tensor.small, ELEMENT_BITS[tensor.element_type], stored=True, fixed=True)


def _input(value: Value, shape: Sequence[int] | None) -> Known:
    bits = ELEMENT_BITS.get(value.element_type, 0)
    if shape is not None:
        return Known(tuple(shape), None, bits)
    if value.shape is None:
        return UNKNOWN
    return Known(tuple(size if isinstance(size, int) else 1 for size in value.shape), None, bits)


def _bounded(found: Known, bits: int, *, stored: bool, fixed: bool) -> Known:
    """Return what a rule found with its element size, or nothing where it is no shape that a tensor can have."""
    dims, values = found.dims, found.values
    if dims is None or len(dims) > _MOST_DIMS:
        return Known(None, fixed=fixed)
    if any(size is not None and not 0 <= size <= _LARGEST_SIZE for size in dims):
        return Known(None, fixed=fixed)
    if values is not None and values.size > MAX_SMALL_VALUES:
        values = None
    return Known(dims, values, found.bits or bits, stored=found.stored or stored, fixed=fixed)


def _check_features(node: Node, operands: Sequence[Known]) -> None:
    dims = operands[0].dims if operands else None
    width = dims[-1] if dims else None
    highest = highest_feature(node)
    if width is not None and highest >= width:
        raise ModelFailure(
            Reason.NOT_AN_ONNX_MODEL, f"{node.label} reads feature {highest}, its input has {width} features"
        )
