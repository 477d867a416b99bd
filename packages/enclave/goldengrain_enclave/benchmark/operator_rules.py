"""What single operators may not do, beyond being on the allow-list."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from .failures import ModelFailure, Reason
from .onnx_structure import Node, Tensor
from .operators import ALLOWED_OPERATORS, WHY_NOT
from .tree_rules import check_trees

MAX_OPERANDS: Final = 4096
"""Most inputs or outputs of a node."""

Constants = Mapping[str, Tensor]
"""The initializers that a node sees."""


def check_operator(node: Node, constants: Constants) -> None:
    """Refuse `node` if its operator is not allowed or used as it must not be.

    Raises:
        ModelFailure: with the node's name in `detail`.
    """
    if node.operator not in ALLOWED_OPERATORS:
        why = WHY_NOT.get(node.operator, "which is not on the allow-list")
        raise ModelFailure(Reason.FORBIDDEN_OPERATOR, f"{node.label} uses {node.operator[:80]!r}, {why}")
    if len(node.inputs) > MAX_OPERANDS or not 0 < len(node.outputs) <= MAX_OPERANDS:
        raise ModelFailure(
            Reason.TOO_COMPLEX, f"{node.label} has no output, or more than {MAX_OPERANDS} inputs or outputs"
        )
    graphs = sum(len(attribute.graphs) for attribute in node.attributes.values())
    if graphs and node.operator != "If":
        raise ModelFailure(Reason.FORBIDDEN_FEATURE, f"{node.label} carries a graph; only If may")
    if (rule := _RULES.get(node.operator)) is not None:
        rule(node, constants)


def _if(node: Node, _: Constants) -> None:
    branches = [node.attributes.get(name) for name in ("then_branch", "else_branch")]
    if any(branch is None or len(branch.graphs) != 1 for branch in branches) or len(node.attributes) != 2:
        raise ModelFailure(
            Reason.NOT_AN_ONNX_MODEL, f"{node.label} must have a then_branch and an else_branch"
        )


def _dropout(node: Node, constants: Constants) -> None:
    mode = node.inputs[2] if len(node.inputs) > 2 else ""
    tensor = constants.get(mode)
    if mode and (tensor is None or tensor.small is None or np.any(tensor.small)):
        raise ModelFailure(
            Reason.FORBIDDEN_OPERATOR,
            f"{node.label} may drop at random: its training_mode is not constant false",
        )


def _batch_normalization(node: Node, _: Constants) -> None:
    if node.int_attribute("training_mode", 0) != 0 or len([name for name in node.outputs if name]) > 1:
        raise ModelFailure(
            Reason.FORBIDDEN_OPERATOR, f"{node.label} is in training mode, where samples influence each other"
        )


def _trees(node: Node, _: Constants) -> None:
    check_trees(node)


_RULES: Final[dict[str, Callable[[Node, Constants], None]]] = {
    "If": _if,
    "Dropout": _dropout,
    "BatchNormalization": _batch_normalization,
    "ai.onnx.ml:TreeEnsemble": _trees,
    "ai.onnx.ml:TreeEnsembleClassifier": _trees,
    "ai.onnx.ml:TreeEnsembleRegressor": _trees,
}
