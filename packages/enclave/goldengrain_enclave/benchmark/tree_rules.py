"""Tree ensembles must be forests: each id points to a node that is there, none is reached twice, no path is endless.

The runtime follows these ids as they are; a cycle makes it run for ever, an id out of range reads what is not the
model's.

Source: ONNX-ML operators TreeEnsembleClassifier, TreeEnsembleRegressor (versions 1 and 3) and TreeEnsemble (5).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from .failures import ModelFailure, Reason
from .onnx_structure import Node

MAX_DOUBLINGS: Final = 12
"""No leaf lies deeper than 2**12 nodes below its root. The runtime builds trees by recursion."""
_LEAF: Final = 0
_Ints = NDArray[np.int64]


def check_trees(node: Node) -> None:
    """Refuse the ensemble in `node` unless it is a forest.

    Raises:
        ModelFailure: NOT_AN_ONNX_MODEL, or TOO_COMPLEX for trees that are too deep.
    """
    if node.operator == "ai.onnx.ml:TreeEnsemble":
        _check_compact(node)
    else:
        _check_classic(node)


def highest_feature(node: Node) -> int:
    """Return the highest feature index that the ensemble reads; -1 if it reads none."""
    features = _ints(node, "nodes_featureids")
    return int(features.max()) if len(features) else -1


def _check_classic(node: Node) -> None:
    trees, ids = _ints(node, "nodes_treeids"), _ints(node, "nodes_nodeids")
    yes, no = _ints(node, "nodes_truenodeids"), _ints(node, "nodes_falsenodeids")
    modes = node.attributes["nodes_modes"].modes if "nodes_modes" in node.attributes else None
    count = len(ids)
    if modes is None or not count or any(len(column) != count for column in (trees, yes, no, modes)):
        raise _refused(node, "has columns of different lengths, or none")
    if (modes < 0).any():
        raise _refused(node, "has a node mode that is not known")
    for name in ("nodes_featureids", "nodes_missing_value_tracks_true"):
        if (column := _ints(node, name)).size not in (0, count) or (column < 0).any():
            raise _refused(node, f"has {name} that are negative or not one for each node")
    for name in ("nodes_values", "nodes_hitrates"):
        if _floats(node, name) not in (0, count):
            raise _refused(node, f"has {name} that are not one for each node")
    for column in (trees, ids):
        if column.min() < 0 or column.max() >= 2**31:
            raise _refused(node, "has a tree id or node id outside 0..2^31-1")

    # 1. A node is known by its tree and its id; all are different.
    keys = trees << 32 | ids
    order = None if (np.diff(keys) > 0).all() else np.argsort(keys, kind="stable")
    ordered = keys if order is None else keys[order]
    if order is not None and (np.diff(ordered) == 0).any():
        raise _refused(node, "has two nodes of one id in a tree")

    # 2. Both branches of an inner node lead to nodes of its tree.
    inner = np.flatnonzero(modes != _LEAF)
    # where ids count up from 0 in every tree, which exporters do, a child lies as far behind its parent as its id does
    guess = inner - ids[inner]
    children = [
        _position(node, ordered, order, trees[inner] << 32, column[inner], guess) for column in (yes, no)
    ]
    _check_forest(node, count, inner, children)

    # 3. Results hang on nodes that are there, and count up from 0.
    prefix = "class" if node.operator.endswith("Classifier") else "target"
    result_trees, result_ids = _ints(node, f"{prefix}_treeids"), _ints(node, f"{prefix}_nodeids")
    results = _ints(node, f"{prefix}_ids")
    weights = _floats(node, f"{prefix}_weights")
    if not len(result_trees) == len(result_ids) == len(results) == weights:
        raise _refused(node, f"has {prefix} columns of different lengths")
    if len(result_trees) and (result_trees.min() < 0 or result_trees.max() >= 2**31):
        raise _refused(node, f"has a {prefix}_treeid outside 0..2^31-1")
    _position(node, ordered, order, result_trees << 32, result_ids)
    if prefix == "class":
        labels = node.attributes.get("classlabels_int64s")
        names = node.attributes.get("classlabels_strings")
        most = len(labels.ints) if labels and labels.ints is not None else 0
        most = max(most, (names.texts or 0) if names else 0)
    else:
        most = node.int_attribute("n_targets", 1)
    if len(results) and (results.min() < 0 or results.max() >= most):
        raise _refused(node, f"has {prefix}_ids outside 0..{most - 1}")


def _check_compact(node: Node) -> None:
    roots, yes, no = (
        _ints(node, f"{name}") for name in ("tree_roots", "nodes_truenodeids", "nodes_falsenodeids")
    )
    yes_leaf, no_leaf = _ints(node, "nodes_trueleafs"), _ints(node, "nodes_falseleafs")
    features = _ints(node, "nodes_featureids")
    count, leaves = len(yes), len(_ints(node, "leaf_targetids"))
    if not count or any(len(column) != count for column in (no, yes_leaf, no_leaf, features)):
        raise _refused(node, "has columns of different lengths, or none")
    if (features < 0).any() or (len(roots) and (roots.min() < 0 or roots.max() >= count)):
        raise _refused(node, "has a feature or a root out of range")
    targets = _ints(node, "leaf_targetids")
    if leaves and (targets.min() < 0 or targets.max() >= node.int_attribute("n_targets", 1)):
        raise _refused(node, "has leaf_targetids out of range")
    for branch, leaf in ((yes, yes_leaf), (no, no_leaf)):
        if (branch < 0).any() or (branch >= np.where(leaf != 0, leaves, count)).any():
            raise _refused(node, "leads to a node that is not there")
    # both sides as one list of (parent, child) between inner nodes; a leaf needs no check beyond its range
    parents, children = [], []
    for branch, leaf in ((yes, yes_leaf), (no, no_leaf)):
        inner = np.flatnonzero(leaf == 0)
        parents.append(inner)
        # a tree of one leaf is written as a node whose both branches are that leaf
        children.append(branch[inner])
    _check_reached(node, count, np.concatenate(parents), np.concatenate(children))


def _check_forest(node: Node, count: int, inner: _Ints, children: list[_Ints]) -> None:
    _check_reached(node, count, np.concatenate([inner, inner]), np.concatenate(children))


def _check_reached(node: Node, count: int, parents: _Ints, children: _Ints) -> None:
    """Refuse nodes with two parents, and those that no root leads to."""
    if (np.bincount(children, minlength=count) > 1).any():
        raise _refused(node, "reaches a node in two ways")
    above = np.arange(count)
    above[children] = parents
    roots = np.ones(count, bool)
    roots[children] = False
    for _ in range(MAX_DOUBLINGS):
        if roots[above].all():
            return
        above = above[above]
    # of the nodes that are still below something, those in a cycle stay so for ever
    for _ in range(int(count).bit_length()):
        above = above[above]
    if roots[above].all():
        raise ModelFailure(
            Reason.TOO_COMPLEX, f"{node.label} has a tree of more than {2**MAX_DOUBLINGS} levels"
        )
    raise _refused(node, "has a tree with a cycle")


def _position(
    node: Node, ordered: _Ints, order: _Ints | None, tree: _Ints, wanted: _Ints, guess: _Ints | None = None
) -> _Ints:
    """Return the positions of the nodes with these ids; `guess` is where a tree's node 0 may lie."""
    if len(wanted) and (wanted.min() < 0 or wanted.max() >= 2**31):
        raise _refused(node, "leads to a node that is not there")
    keys = tree | wanted
    if order is None and guess is not None:
        places: _Ints = np.clip(guess + wanted, 0, len(ordered) - 1)
        if (ordered[places] == keys).all():
            return places
    places = np.minimum(np.searchsorted(ordered, keys), len(ordered) - 1)
    if (ordered[places] != keys).any():
        raise _refused(node, "leads to a node that is not there")
    return places if order is None else order[places]


def _ints(node: Node, name: str) -> _Ints:
    found = node.attributes.get(name)
    return found.ints if found is not None and found.ints is not None else np.empty(0, np.int64)


def _floats(node: Node, name: str) -> int:
    """Return how many values a column has, as floats or as a tensor (the variants `*_as_tensor`)."""
    found, tensor = node.attributes.get(name), node.attributes.get(f"{name}_as_tensor")
    if found is not None and found.floats:
        return found.floats
    if tensor is not None and tensor.tensor is not None:
        return int(np.prod(tensor.tensor.dims, dtype=np.int64))
    return 0


def _refused(node: Node, what: str) -> ModelFailure:
    return ModelFailure(Reason.NOT_AN_ONNX_MODEL, f"{node.label} {what}")
