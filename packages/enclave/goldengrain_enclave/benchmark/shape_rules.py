"""How operators make shapes: the part of ONNX's shape inference that an estimate of cost needs.

A rule gets what is known of a node's inputs and returns what is then known of its outputs; an unknown size is None.
It may raise anything that bad indexing and arithmetic raise: the caller takes that as "nothing is known".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .onnx_forms import ELEMENT_BITS
from .onnx_structure import MAX_SMALL_VALUES, Node

Dims = tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a value."""

    dims: Dims | None
    """Its sizes; None where even their number is unknown."""
    values: NDArray[Any] | None = None
    """Its numbers, where they are few and do not depend on the inputs."""
    bits: int = 0
    """Of an element; 0 where unknown."""
    stored: bool = False
    """Whether it stands in the file: counted among the weights."""
    fixed: bool = False
    """Whether it is the same for all inputs: computed once, when the model is loaded."""

    @property
    def size_bytes(self) -> int:
        """Least memory that it takes; unknown sizes count as 1."""
        if self.dims is None:
            return 0
        return math.prod(1 if size is None else size for size in self.dims) * self.bits // 8


UNKNOWN: Final = Known(None)


@dataclass(slots=True)
class Step:
    """A node with what is known of its inputs; a rule adds what the node costs."""

    node: Node
    inputs: Sequence[Known]
    macs: int = field(default=0)

    def dims(self, index: int = 0) -> Dims:
        """Return the sizes of an input; raises TypeError if they are unknown."""
        dims = self.inputs[index].dims
        if dims is None:
            raise TypeError("unknown rank")
        return dims

    def numbers(self, index: int) -> NDArray[Any]:
        """Return the numbers of an input; raises TypeError if they are unknown."""
        values = self.inputs[index].values
        if values is None:
            raise TypeError("unknown values")
        return values

    def list_of(self, attribute: str, index: int) -> list[int] | None:
        """Return a list that is an attribute in old opsets and an input in new ones; None if absent."""
        found = self.node.ints_attribute(attribute)
        if found is None and len(self.node.inputs) > index and self.node.inputs[index]:
            return [int(value) for value in self.numbers(index).reshape(-1)]
        return found

    def text(self, attribute: str) -> bytes:
        """Return a text attribute, empty if absent."""
        found = self.node.attributes.get(attribute)
        return b"" if found is None or found.s is None else found.s

    def cost(self, *sizes: int | None) -> None:
        """Add the product of `sizes`; unknown ones count as 1."""
        self.macs += math.prod(1 if size is None else max(size, 0) for size in sizes)


Rule = Callable[[Step], list[Known]]


def bits_after(node: Node, inputs: Sequence[Known]) -> int:
    """Return the bits of an element of a node's output, as a lower bound."""
    if node.operator == "Cast":
        return ELEMENT_BITS.get(node.int_attribute("to", 0), 8)
    if node.operator in _TRUTHS or node.operator.startswith("ai.onnx.ml:") or "Quantize" in node.operator:
        return 8
    if node.operator in ("Gather", "Expand", "Tile", "Reshape") or not inputs:
        return inputs[0].bits if inputs else 8
    return inputs[1].bits if node.operator == "Where" and len(inputs) > 1 else inputs[0].bits


def broadcast(shapes: Sequence[Dims]) -> Dims:
    """Return the common shape of `shapes` under numpy's rules."""
    rank = max(len(shape) for shape in shapes)
    out: list[int | None] = []
    for axis in range(-rank, 0):
        sizes = [shape[axis] for shape in shapes if len(shape) >= -axis]
        fixed = [size for size in sizes if size is not None and size != 1]
        out.append(fixed[0] if fixed else (None if None in sizes else 1))
    return tuple(out)


def _same(step: Step) -> list[Known]:
    first = step.inputs[0]
    return [Known(first.dims, None, 0)]


def _carried(step: Step) -> list[Known]:
    """The first input as it is, values included (Identity, Cast among numbers that are exact)."""
    return [Known(step.inputs[0].dims, step.inputs[0].values)]


def _broadcasting(step: Step) -> list[Known]:
    dims = broadcast([step.dims(index) for index in range(len(step.inputs))])
    operation = _INTEGER_ARITHMETIC.get(step.node.operator)
    values = None
    if operation is not None and len(step.inputs) == 2:
        left, right = step.inputs[0].values, step.inputs[1].values
        if left is not None and right is not None and left.dtype.kind == right.dtype.kind == "i":
            with np.errstate(all="ignore"):
                result = np.asarray(operation(left, right))
            values = result.astype(np.int64) if result.size <= MAX_SMALL_VALUES else None
    return [Known(dims, values)]


def _where(step: Step) -> list[Known]:
    return [Known(broadcast([step.dims(index) for index in range(3)]))]


def _constant(step: Step) -> list[Known]:
    attributes = step.node.attributes
    if (value := attributes.get("value")) is not None and value.tensor is not None:
        tensor = value.tensor
        return [Known(tensor.dims, tensor.small, ELEMENT_BITS[tensor.element_type], stored=True)]
    if (single := attributes.get("value_int")) is not None and single.i is not None:
        return [Known((), np.array(single.i, np.int64), 64, stored=True)]
    if (many := attributes.get("value_ints")) is not None and many.ints is not None:
        small = many.ints if len(many.ints) <= MAX_SMALL_VALUES else None
        return [Known((len(many.ints),), small, 64, stored=True)]
    if (floats := attributes.get("value_floats")) is not None and floats.floats is not None:
        return [Known((floats.floats,), None, 32, stored=True)]
    return [Known((), None, 32, stored=True)] if "value_float" in attributes else [UNKNOWN]


def _constant_of_shape(step: Step) -> list[Known]:
    dims = _sizes(step.numbers(0))
    value = step.node.attributes.get("value")
    tensor = value.tensor if value is not None else None
    bits = ELEMENT_BITS[tensor.element_type] if tensor is not None else 32
    values = None
    if math.prod(dims) <= MAX_SMALL_VALUES and tensor is not None and tensor.small is not None:
        values = np.broadcast_to(tensor.small.reshape(-1)[:1].reshape([1] * len(dims)), dims)
    return [Known(dims, values, bits)]


def _shape(step: Step) -> list[Known]:
    dims = step.dims()
    start, end = step.node.int_attribute("start", 0), step.node.int_attribute("end", len(dims))
    part = dims[slice(start, end)]
    values = None if None in part else np.array(part, np.int64)
    return [Known((len(part),), values, 64)]


def _size(step: Step) -> list[Known]:
    dims = step.dims()
    values = None if None in dims else np.array(math.prod(dims), np.int64)  # type: ignore[arg-type]
    return [Known((), values, 64)]


def _gather(step: Step) -> list[Known]:
    dims, picks = step.dims(), step.dims(1)
    axis = step.node.int_attribute("axis", 0) % len(dims)
    values = None
    if step.inputs[0].values is not None and step.inputs[1].values is not None:
        values = np.take(step.numbers(0), step.numbers(1).astype(np.int64), axis=axis)
    return [Known(dims[:axis] + picks + dims[axis + 1 :], values)]


def _unsqueeze(step: Step) -> list[Known]:
    axes = step.list_of("axes", 1) or []
    dims = step.dims()
    rank = len(dims) + len(axes)
    places = {axis % rank for axis in axes}
    rest = iter(dims)
    out = tuple(1 if axis in places else next(rest) for axis in range(rank))
    return [Known(out, _reshaped(step.inputs[0].values, out))]


def _squeeze(step: Step) -> list[Known]:
    axes = step.list_of("axes", 1)
    dims = step.dims()
    places = (
        {axis % len(dims) for axis in axes}
        if axes is not None
        else {axis for axis, size in enumerate(dims) if size == 1}
    )
    if axes is None and None in dims:
        return [UNKNOWN]
    out = tuple(size for axis, size in enumerate(dims) if axis not in places)
    return [Known(out, _reshaped(step.inputs[0].values, out))]


def _concat(step: Step) -> list[Known]:
    dims = [step.dims(index) for index in range(len(step.inputs))]
    axis = step.node.int_attribute("axis", 1) % len(dims[0])
    sizes = [shape[axis] for shape in dims]
    total = None if None in sizes else sum(size for size in sizes if size is not None)
    values = None
    parts = [known.values for known in step.inputs]
    if total is not None and total <= MAX_SMALL_VALUES and all(part is not None for part in parts):
        values = np.concatenate([part for part in parts if part is not None], axis=axis)
    first = dims[0]
    return [Known((*first[:axis], total, *first[axis + 1 :]), values)]


def _slice(step: Step) -> list[Known]:
    starts, ends = step.list_of("starts", 1), step.list_of("ends", 2)
    axes, steps = step.list_of("axes", 3), step.list_of("steps", 4)
    dims = list(step.dims())
    if starts is None or ends is None:
        return [UNKNOWN]
    where = [axis % len(dims) for axis in axes] if axes is not None else list(range(len(starts)))
    index: list[slice] = [slice(None)] * len(dims)
    for position, axis in enumerate(where):
        stride = steps[position] if steps is not None else 1
        index[axis] = slice(starts[position], _end(ends[position], stride), stride)
        size = dims[axis]
        dims[axis] = None if size is None else len(range(*index[axis].indices(size)))
    values = step.inputs[0].values
    return [Known(tuple(dims), None if values is None else values[tuple(index)])]


def _end(end: int, stride: int) -> int | None:
    """ONNX writes "to the very beginning" as a number far below zero."""
    return None if stride < 0 and end < -(2**30) else end


def _reshape(step: Step) -> list[Known]:
    dims = step.inputs[0].dims
    wanted = step.list_of("shape", 1)
    if wanted is None:
        return [UNKNOWN]
    keep_zero = step.node.int_attribute("allowzero", 0) == 0
    out: list[int | None] = []
    for axis, size in enumerate(wanted):
        if size == 0 and keep_zero:
            out.append(None if dims is None else dims[axis])
        else:
            out.append(None if size < 0 else size)
    open_axes = [axis for axis, size in enumerate(wanted) if size < 0]
    if len(open_axes) == 1 and dims is not None and None not in dims:
        rest = math.prod(size for axis, size in enumerate(out) if axis != open_axes[0] and size is not None)
        out[open_axes[0]] = math.prod(size for size in dims if size is not None) // rest
    return [Known(tuple(out), _reshaped(step.inputs[0].values, tuple(out)))]


def _flatten(step: Step) -> list[Known]:
    dims = step.dims()
    axis = step.node.int_attribute("axis", 1)
    axis = axis + len(dims) if axis < 0 else axis
    return [Known((_product(dims[:axis]), _product(dims[axis:])))]


def _transpose(step: Step) -> list[Known]:
    dims = step.dims()
    order = step.node.ints_attribute("perm") or list(range(len(dims)))[::-1]
    return [Known(tuple(dims[axis] for axis in order))]


def _expand(step: Step) -> list[Known]:
    return [Known(broadcast([step.dims(), _sizes(step.numbers(1))]))]


def _tile(step: Step) -> list[Known]:
    pairs = zip(step.dims(), _sizes(step.numbers(1)), strict=True)
    return [Known(tuple(None if size is None else size * times for size, times in pairs))]


def _range(step: Step) -> list[Known]:
    start, limit, delta = (float(step.numbers(index).reshape(())) for index in range(3))
    return [Known((max(math.ceil((limit - start) / delta), 0),))]


def _pad(step: Step) -> list[Known]:
    pads = step.list_of("pads", 1)
    dims = step.dims()
    if pads is None or len(pads) != 2 * len(dims):
        return [Known((None,) * len(dims))]
    ends = pads[len(dims) :]
    return [
        Known(
            tuple(
                None if size is None else size + before + after
                for size, before, after in zip(dims, pads, ends, strict=False)
            )
        )
    ]


def _resize(step: Step) -> list[Known]:
    dims = step.dims()
    scales_at = 1 if step.node.operator == "Upsample" or len(step.inputs) == 2 else 2
    if len(step.inputs) > 3 and step.inputs[3].values is not None:
        return [Known(_placed(dims, step.node.ints_attribute("axes"), _sizes(step.numbers(3))))]
    scales = step.numbers(scales_at).reshape(-1).astype(np.float64)
    axes = step.node.ints_attribute("axes") or list(range(len(dims)))
    sizes: list[int | None] = []
    for axis, scale in zip(axes, scales, strict=True):
        size = dims[axis]
        sizes.append(None if size is None else math.floor(size * float(scale)))
    return [Known(_placed(dims, axes, sizes))]


def _placed(dims: Dims, axes: list[int] | None, sizes: Sequence[int | None]) -> Dims:
    out = list(dims)
    for axis, size in zip(range(len(dims)) if axes is None else axes, sizes, strict=True):
        out[axis] = size
    return tuple(out)


def _split(step: Step) -> list[Known]:
    dims = list(step.dims())
    axis = step.node.int_attribute("axis", 0) % len(dims)
    sizes = step.list_of("split", 1)
    count = len(step.node.outputs)
    out = []
    for position in range(count):
        size = dims[axis]
        if sizes is not None:
            dims[axis] = sizes[position]
            out.append(Known(tuple(dims)))
            continue
        part = None if size is None else -(-size // count)
        if part is not None and size is not None:
            part = min(part, size - part * position)
        out.append(Known((*dims[:axis], part, *dims[axis + 1 :])))
    return out


def _matmul(step: Step) -> list[Known]:
    left, right = step.dims(), step.dims(1)
    rows = left[-2:-1] if len(left) > 1 else ()
    columns = right[-1:] if len(right) > 1 else ()
    inner = left[-1] if left[-1] is not None else right[-2 if len(right) > 1 else -1]
    out = (*broadcast([left[:-2], right[:-2]]), *rows, *columns)
    step.cost(*out, inner)
    return [Known(out)]


def _gemm(step: Step) -> list[Known]:
    left, right = step.dims(), step.dims(1)
    rows, inner = left[::-1] if step.node.int_attribute("transA", 0) else left
    columns = right[0] if step.node.int_attribute("transB", 0) else right[1]
    step.cost(rows, inner, columns)
    return [Known((rows, columns))]


def _conv(step: Step) -> list[Known]:
    kernel_at = 3 if step.node.operator == "QLinearConv" else 1
    dims, weights = step.dims(), step.dims(kernel_at)
    out = (dims[0], weights[0], *_windows(step, dims[2:], weights[2:]))
    step.cost(*out, *weights[1:])
    return [Known(out)]


def _conv_transpose(step: Step) -> list[Known]:
    dims, weights = step.dims(), step.dims(1)
    group = step.node.int_attribute("group", 1)
    kernel = weights[2:]
    rank = len(kernel)
    strides = step.node.ints_attribute("strides") or [1] * rank
    dilations = step.node.ints_attribute("dilations") or [1] * rank
    pads = step.node.ints_attribute("pads") or [0] * (2 * rank)
    extra = step.node.ints_attribute("output_padding") or [0] * rank
    out: list[int | None] = []
    for axis in range(rank):
        size, span = dims[2 + axis], kernel[axis]
        if size is None or span is None:
            out.append(None)
        else:
            reach = (span - 1) * dilations[axis] + 1
            out.append(strides[axis] * (size - 1) + extra[axis] + reach - pads[axis] - pads[axis + rank])
    step.cost(*dims, *weights[1:])
    channels = weights[1]
    return [Known((dims[0], None if channels is None else channels * group, *out))]


def _pool(step: Step) -> list[Known]:
    dims = step.dims()
    kernel = tuple(step.node.ints_attribute("kernel_shape") or ())
    out = (*dims[:2], *_windows(step, dims[2:], kernel))
    return [Known(out)] * len(step.node.outputs)


def _windows(step: Step, sizes: Dims, kernel: Dims) -> Dims:
    """Return how many windows of a kernel lie along each axis."""
    rank, node = len(sizes), step.node
    strides = node.ints_attribute("strides") or [1] * rank
    dilations = node.ints_attribute("dilations") or [1] * rank
    pads = node.ints_attribute("pads") or [0] * (2 * rank)
    automatic = step.text("auto_pad")
    out: list[int | None] = []
    for axis, size in enumerate(sizes):
        span = kernel[axis]
        if size is None or span is None:
            out.append(None)
        elif automatic.startswith(b"SAME"):
            out.append(-(-size // strides[axis]))
        else:
            padded = size if automatic == b"VALID" else size + pads[axis] + pads[axis + rank]
            free = padded - (span - 1) * dilations[axis] - 1
            round_up = node.int_attribute("ceil_mode", 0)
            out.append((-(-free // strides[axis]) if round_up else free // strides[axis]) + 1)
    return tuple(None if size is None else max(size, 0) for size in out)


def _global_pool(step: Step) -> list[Known]:
    dims = step.dims()
    return [Known((*dims[:2], *([1] * (len(dims) - 2))))]


def _reduce(step: Step) -> list[Known]:
    dims = step.dims()
    axes = step.list_of("axes", 1)
    if step.node.operator in ("ArgMax", "ArgMin"):
        axes = [step.node.int_attribute("axis", 0)]
    if axes is None or (not axes and step.node.int_attribute("noop_with_empty_axes", 0) == 0):
        axes = list(range(len(dims)))
    places = {axis % len(dims) for axis in axes}
    if step.node.int_attribute("keepdims", 1):
        return [Known(tuple(1 if axis in places else size for axis, size in enumerate(dims)))]
    return [Known(tuple(size for axis, size in enumerate(dims) if axis not in places))]


def _recurrent(step: Step) -> list[Known]:
    length, batch, _ = step.dims()
    directions, gates, width = step.dims(1)
    hidden = step.node.int_attribute("hidden_size", 0)
    step.cost(length, batch, directions, gates, width)
    step.cost(length, batch, directions, gates, hidden)
    state = Known((directions, batch, hidden))
    return [Known((length, directions, batch, hidden)), state, state]


def _top_k(step: Step) -> list[Known]:
    dims = list(step.dims())
    count = int(step.numbers(1).reshape(-1)[0])
    dims[step.node.int_attribute("axis", -1)] = count
    return [Known(tuple(dims))] * 2


def _one_hot(step: Step) -> list[Known]:
    dims = step.dims()
    depth = int(step.numbers(1).reshape(-1)[0])
    axis = step.node.int_attribute("axis", -1)
    axis = axis + len(dims) + 1 if axis < 0 else axis
    return [Known((*dims[:axis], depth, *dims[axis:]), None, step.inputs[2].bits)]


def _indices(step: Step) -> list[Known]:
    return [Known(step.dims(1))]


def _window_function(step: Step) -> list[Known]:
    return [Known((int(step.numbers(0).reshape(-1)[0]),), None, 32)]


def _blocks_to_space(step: Step) -> list[Known]:
    batch, channels, height, width = step.dims()
    block = step.node.int_attribute("blocksize", 1)
    if None in (channels, height, width) or channels is None or height is None or width is None:
        return [UNKNOWN]
    if step.node.operator == "DepthToSpace":
        return [Known((batch, channels // block**2, height * block, width * block))]
    return [Known((batch, channels * block**2, height // block, width // block))]


def _linear(step: Step) -> list[Known]:
    dims = step.dims()
    found = step.node.attributes["coefficients"].floats or 0
    rows = dims[0] if len(dims) > 1 else 1
    step.cost(rows, found)
    width = dims[-1]
    outputs = None if not width else found // width
    scores = Known((rows, outputs), None, 32)
    return [Known((rows,), None, 64), scores] if step.node.operator.endswith("Classifier") else [scores]


def _support_vectors(step: Step) -> list[Known]:
    dims = step.dims()
    found = step.node.attributes.get("support_vectors") or step.node.attributes["coefficients"]
    step.cost(dims[0], found.floats or 0)
    if step.node.operator.endswith("Regressor"):
        return [Known((dims[0], 1), None, 32)]
    return [Known((dims[0],), None, 64)]


def _ensemble(step: Step) -> list[Known]:
    """A tree costs one comparison for each level; counted as one for each tree, which is the least."""
    rows = step.dims()[0]
    attribute = step.node.attributes.get("nodes_treeids") or step.node.attributes.get("tree_roots")
    ids = attribute.ints if attribute is not None else None
    # not numpy.unique: it imports on first use, which a locked child cannot
    step.cost(rows, 1 if ids is None else len(set(ids.tolist())))
    if step.node.operator.endswith("Classifier"):
        return [Known((rows,), None, 64)]
    return [Known((rows, step.node.int_attribute("n_targets", 1)), None, 32)]


def _einsum(step: Step) -> list[Known]:
    """Costs the product of all index sizes."""
    left, arrow, right = step.text("equation").decode("ascii").replace(" ", "").partition("->")
    terms = left.split(",")
    if not arrow or "." in left or len(terms) != len(step.inputs):
        return [UNKNOWN]
    sizes: dict[str, int | None] = {}
    for index, term in enumerate(terms):
        sizes.update(zip(term, step.dims(index), strict=True))
    step.cost(*sizes.values())
    return [Known(tuple(sizes[letter] for letter in right))]


def _attention(step: Step) -> list[Known]:
    query, key, value = step.dims(0), step.dims(1), step.dims(2)
    step.cost(*query, key[-2])
    step.cost(*query[:-1], value[-1], key[-2])
    return [Known((*query[:-1], value[-1]))]


def _sizes(numbers: NDArray[Any]) -> tuple[int, ...]:
    sizes = tuple(int(value) for value in numbers.reshape(-1))
    if min(sizes, default=0) < 0:
        raise ValueError("negative size")
    return sizes


def _product(sizes: Dims) -> int | None:
    return None if None in sizes else math.prod(size for size in sizes if size is not None)


def _reshaped(values: NDArray[Any] | None, dims: Dims) -> NDArray[Any] | None:
    if values is None or None in dims:
        return None
    return values.reshape([size for size in dims if size is not None])


_INTEGER_ARITHMETIC: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.floor_divide,
    "Max": np.maximum,
    "Min": np.minimum,
}
_TRUTHS: Final = frozenset(
    (
        *("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"),
        *("And", "Or", "Xor", "Not", "IsNaN", "IsInf"),
    )
)


VIEWS: Final = frozenset({"Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze"})
"""Operators whose output is their input's memory."""


def _named(names: str, rule: Rule) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), rule)


RULES: Final[dict[str, Rule]] = {
    **_named(
        """
        Abs Acos Acosh Asin Asinh Atan Atanh BitwiseNot Ceil Celu Clip Cos Cosh CumSum Dropout Elu Erf Exp Floor
        Gelu HardSigmoid HardSwish Hardmax InstanceNormalization IsInf IsNaN LRN LayerNormalization LeakyRelu Log
        LogSoftmax LpNormalization MeanVarianceNormalization Mish Neg Not Reciprocal Relu RMSNormalization Round
        ScatterElements ScatterND Scatter Selu Shrink Sigmoid Sign Sin Sinh Softmax Softplus Softsign Sqrt Swish Tan
        Tanh ThresholdedRelu Trilu EyeLike GroupNormalization BatchNormalization QuantizeLinear DequantizeLinear
        DynamicQuantizeLinear ReverseSequence RotaryEmbedding
        ai.onnx.ml:Scaler ai.onnx.ml:Normalizer ai.onnx.ml:Imputer ai.onnx.ml:Binarizer ai.onnx.ml:LabelEncoder
        """,
        _same,
    ),
    **_named("Identity Cast CastLike", _carried),
    **_named(
        """
        Add And BitShift BitwiseAnd BitwiseOr BitwiseXor Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean
        Min Mod Mul Or PRelu Pow Sub Sum Xor
        """,
        _broadcasting,
    ),
    **_named("Where", _where),
    **_named("Constant", _constant),
    **_named("ConstantOfShape", _constant_of_shape),
    **_named("Shape", _shape),
    **_named("Size", _size),
    **_named("Gather", _gather),
    **_named("GatherElements", _indices),
    **_named("Unsqueeze", _unsqueeze),
    **_named("Squeeze", _squeeze),
    **_named("Concat", _concat),
    **_named("Slice", _slice),
    **_named("Reshape", _reshape),
    **_named("Flatten", _flatten),
    **_named("Transpose", _transpose),
    **_named("Expand", _expand),
    **_named("Tile", _tile),
    **_named("Range", _range),
    **_named("Pad", _pad),
    **_named("Resize Upsample", _resize),
    **_named("Split", _split),
    **_named("MatMul MatMulInteger", _matmul),
    **_named("Gemm", _gemm),
    **_named("Conv ConvInteger QLinearConv", _conv),
    **_named("ConvTranspose", _conv_transpose),
    **_named("MaxPool AveragePool LpPool", _pool),
    **_named("GlobalAveragePool GlobalMaxPool GlobalLpPool", _global_pool),
    **_named(
        """
        ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
        ReduceSumSquare ArgMax ArgMin
        """,
        _reduce,
    ),
    **_named("LSTM GRU RNN", _recurrent),
    **_named("TopK", _top_k),
    **_named("OneHot", _one_hot),
    **_named("HannWindow HammingWindow BlackmanWindow", _window_function),
    **_named("DepthToSpace SpaceToDepth", _blocks_to_space),
    **_named("Einsum", _einsum),
    **_named("Attention", _attention),
    **_named("ai.onnx.ml:LinearClassifier ai.onnx.ml:LinearRegressor", _linear),
    **_named("ai.onnx.ml:SVMClassifier ai.onnx.ml:SVMRegressor", _support_vectors),
    **_named(
        "ai.onnx.ml:TreeEnsembleClassifier ai.onnx.ml:TreeEnsembleRegressor ai.onnx.ml:TreeEnsemble",
        _ensemble,
    ),
}
"""Rules by operator; the others are known to the runtime alone."""
