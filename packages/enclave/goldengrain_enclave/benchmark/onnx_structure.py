"""The structure of an ONNX file, read by our own scanner: graphs, nodes, attributes, tensors, few values.

Everything that can bring code or data of its own is refused here, wherever it stands: functions, training
information, sparse tensors, data outside the file. Weights are measured, not copied.

Source: onnx.proto of ONNX 1.23, https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .failures import ModelFailure, Reason
from .onnx_forms import (
    ATTRIBUTE,
    ATTRIBUTE_TYPES,
    CUSTOM_TYPES,
    DIMENSION,
    ELEMENT_BITS,
    ENTRY,
    GRAPH,
    MODEL,
    NODE,
    OPSET,
    SHAPE,
    STRING_TYPE,
    TENSOR,
    TENSOR_TYPE,
    TREE_MODES,
    TYPE,
    TYPED_DATA,
    VALUE_INFO,
)
from .protobuf_scan import Scanner, Span, TextRun

MAX_NODES: Final = 50_000
"""Most nodes in a model, subgraphs included. Local limit against denial of service."""
MAX_TENSORS: Final = 20_000
"""Most tensors in a model, in initializers and attributes."""
MAX_SUBGRAPH_DEPTH: Final = 8
"""Deepest nesting of graphs inside node attributes."""
MAX_NAME_BYTES: Final = 1024
"""Longest name of a node, a tensor, an operator or a dimension."""
MAX_STRING_BYTES: Final = 2**20
"""Longest text in an attribute or a string tensor (1 MiB)."""
MAX_RANK: Final = 16
"""Most dimensions of a tensor."""
MAX_DIMENSION: Final = 2**40
"""Largest declared dimension."""
MAX_SMALL_VALUES: Final = 256
"""Tensors of at most so many numbers are read, to follow shapes that a model computes."""

Shape = tuple[int | str | None, ...]
"""Sizes; a name where the model leaves a dimension open, None where it says nothing."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor in the file."""

    name: str
    element_type: int
    dims: tuple[int, ...]
    data_bytes: int
    """Bytes that it takes in memory."""
    small: NDArray[Any] | None
    """Its values as int64 or float32, shape `dims`, where they are few; else None."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """A node's attribute; which of the values counts is told by the type."""

    name: str
    i: int | None = None
    f: bool = False
    s: bytes | None = None
    ints: NDArray[np.int64] | None = None
    floats: int | None = None
    """How many floats."""
    texts: int | None = None
    """How many texts."""
    modes: NDArray[np.int8] | None = None
    """Of a tree's `nodes_modes`: each text as its index in `TREE_MODES`, -1 for another."""
    tensor: Tensor | None = None
    tensors: Sequence[Tensor] = ()
    graphs: Sequence[Graph] = ()


@dataclass(frozen=True, slots=True)
class Node:
    """An operator with its inputs and outputs by name; an empty name is an optional one left out."""

    name: str
    operator: str
    """Bare for the domain `ai.onnx`, with the prefix `ai.onnx.ml:` for the classical operators."""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Attribute]

    @property
    def label(self) -> str:
        """What an error text calls it."""
        return f"node {quoted(self.name or (self.outputs[0] if self.outputs else ''))} ({self.operator})"

    def int_attribute(self, name: str, default: int) -> int:
        """Return an integer attribute."""
        found = self.attributes.get(name)
        return default if found is None or found.i is None else found.i

    def ints_attribute(self, name: str) -> list[int] | None:
        """Return a list attribute, None if it is absent."""
        found = self.attributes.get(name)
        return None if found is None or found.ints is None else [int(value) for value in found.ints]


@dataclass(frozen=True, slots=True)
class Value:
    """A declared input, output or intermediate value; the shape is None where there is none."""

    name: str
    element_type: int
    shape: Shape | None


@dataclass(slots=True)
class Graph:
    """A graph, the model's or a branch's."""

    name: str = ""
    nodes: list[Node] = field(default_factory=list)
    initializers: dict[str, Tensor] = field(default_factory=dict)
    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)


@dataclass(slots=True)
class Model:
    """A model file."""

    ir_version: int = 0
    opsets: list[tuple[str, int]] = field(default_factory=list)
    graph: Graph = field(default_factory=Graph)
    node_count: int = 0
    tensors: list[Tensor] = field(default_factory=list)
    """All of them, wherever they stand."""
    numbers: int = 0
    """How many numbers these tensors and all float attributes hold."""


def decode_structure(data: bytes) -> Model:
    """Return the structure of the ONNX file `data`.

    Raises:
        ModelFailure: the file is malformed, ambiguous or past a bound, or carries what no model may.
    """
    return _Reader(data).model()


def quoted(name: str) -> str:
    """Return a name from the file, short and printable."""
    text = "".join(character if character.isprintable() else "?" for character in name[:60])
    return f"'{text}'"


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._scan = Scanner(data)
        self._model = Model()

    def model(self) -> Model:
        model, graphs = self._model, 0
        for name, value in self._scan.fields((0, len(self._scan.data)), MODEL, 0):
            if name == "graph":
                graphs += 1
                model.graph = self._graph(value, 1, 0)
            elif name == "opset_import":
                model.opsets.append(self._opset(value))
            elif name == "ir_version":
                model.ir_version = value
            elif name in ("functions", "training_info", "configuration"):
                raise _forbidden(f"the model carries {MODEL_WORDS[name]}")
            elif name == "metadata_props":
                self._entry(value, 1)
        if not graphs or not model.graph.outputs or not model.opsets:
            raise ModelFailure(Reason.NOT_AN_ONNX_MODEL, "the model has no graph, no output or no opset")
        return model

    def _graph(self, span: Span, depth: int, level: int) -> Graph:
        if level > MAX_SUBGRAPH_DEPTH:
            raise ModelFailure(Reason.TOO_COMPLEX, f"subgraphs are nested deeper than {MAX_SUBGRAPH_DEPTH}")
        graph, nodes = Graph(), []
        for name, value in self._scan.fields(span, GRAPH, depth):
            if name == "node":
                self._model.node_count += 1
                if self._model.node_count > MAX_NODES:
                    raise ModelFailure(Reason.TOO_COMPLEX, f"the model has more than {MAX_NODES:,} nodes")
                nodes.append(value)
            elif name == "initializer":
                tensor = self._tensor(value, depth + 1)
                if not tensor.name or tensor.name in graph.initializers:
                    raise ModelFailure(
                        Reason.NOT_AN_ONNX_MODEL,
                        f"initializer {quoted(tensor.name)} has no name or one that is taken",
                    )
                graph.initializers[tensor.name] = tensor
            elif name == "input":
                graph.inputs.append(self._value(value, depth + 1))
            elif name == "output":
                graph.outputs.append(self._value(value, depth + 1))
            elif name == "value_info":
                graph.values.append(self._value(value, depth + 1))
            elif name == "name":
                graph.name = self._scan.text(value, MAX_NAME_BYTES)
            elif name == "sparse_initializer":
                raise _forbidden(f"graph {quoted(graph.name)} has sparse initializers")
            elif name == "metadata_props":
                self._entry(value, depth + 1)
        # nodes last: they are counted before the first is decoded
        graph.nodes = [self._node(node, depth + 1, level) for node in nodes]
        return graph

    def _node(self, span: Span, depth: int, level: int) -> Node:
        inputs, outputs, attributes = [], [], []
        texts = {"name": "", "op_type": "", "domain": ""}
        text = self._scan.text
        for field_name, value in self._scan.fields(span, NODE, depth):
            if field_name == "input":
                inputs.append(text(value, MAX_NAME_BYTES))
            elif field_name == "output":
                outputs.append(text(value, MAX_NAME_BYTES))
            elif field_name in texts:
                texts[field_name] = text(value, MAX_NAME_BYTES)
            elif field_name == "attribute":
                attributes.append(value)
            elif field_name == "metadata_props":
                self._entry(value, depth + 1)
            elif field_name in ("overload", "device_configurations") and value[0] != value[1]:
                raise _forbidden(f"node {quoted(texts['name'])} carries {MODEL_WORDS[field_name]}")
        name = texts["name"] or (outputs[0] if outputs else "")
        domain = texts["domain"]
        if domain not in ("", "ai.onnx", "ai.onnx.ml"):
            label = f"node {quoted(name)} ({quoted(texts['op_type'])})"
            raise _forbidden(f"{label} is of the operator domain {quoted(domain)}")
        operator = f"ai.onnx.ml:{texts['op_type']}" if domain == "ai.onnx.ml" else texts["op_type"]
        decoded: dict[str, Attribute] = {}
        for attribute in attributes:
            found = self._attribute(attribute, name, depth + 1, level)
            if found.name in decoded:
                raise ModelFailure(
                    Reason.NOT_AN_ONNX_MODEL,
                    f"node {quoted(name)} has the attribute {quoted(found.name)} twice",
                )
            decoded[found.name] = found
        return Node(texts["name"], operator, tuple(inputs), tuple(outputs), decoded)

    def _attribute(self, span: Span, owner: str, depth: int, level: int) -> Attribute:
        kind, name, used = 0, "", set()
        found: dict[str, Any] = {}
        ints: list[Any] = []
        floats = 0
        texts: list[Any] = []
        tensors: list[Tensor] = []
        graphs: list[Graph] = []
        for field_name, value in self._scan.fields(span, ATTRIBUTE, depth):
            if field_name == "name":
                name = self._scan.text(value, MAX_NAME_BYTES)
                continue
            if field_name == "type":
                kind = value
                continue
            if field_name == "doc_string":
                continue
            used.add(field_name)  # a value of another type than the stated one would escape the checks
            if field_name == "i":
                found["i"] = _signed(value)
            elif field_name == "f":
                found["f"] = True
            elif field_name == "s":
                found["s"] = self._string(value, owner)
            elif field_name == "ints":
                ints.append(value)
            elif field_name == "floats":
                floats += (value[1] - value[0]) // 4 if isinstance(value, tuple) else len(value)
            elif field_name == "strings":
                texts.append(value)
                self._count_texts(value, owner)
            elif field_name in ("t", "tensors"):
                tensors.append(self._tensor(value, depth + 1))
            elif field_name in ("g", "graphs"):
                graphs.append(self._graph(value, depth + 1, level + 1))
            elif field_name in ("sparse_tensor", "sparse_tensors"):
                raise _forbidden(f"node {quoted(owner)} has a sparse tensor in the attribute {quoted(name)}")
            elif field_name == "ref_attr_name":
                if value[0] != value[1]:
                    raise _forbidden(f"node {quoted(owner)} refers to an attribute of a function")
                used.discard(field_name)
            else:
                raise _forbidden(f"node {quoted(owner)} has a type in the attribute {quoted(name)}")
        expected = ATTRIBUTE_TYPES.get(kind)
        if expected is None or not used <= {expected}:
            raise ModelFailure(
                Reason.NOT_AN_ONNX_MODEL,
                f"node {quoted(owner)}: the attribute {quoted(name)} is not of its stated type",
            )
        self._model.numbers += floats
        return Attribute(
            name,
            ints=_joined(ints) if expected == "ints" else None,
            floats=floats if expected == "floats" else None,
            texts=sum(map(_text_count, texts)) if expected == "strings" else None,
            modes=self._modes(texts) if name == "nodes_modes" else None,
            tensor=tensors[0] if expected == "t" and tensors else None,
            tensors=tensors,
            graphs=graphs,
            **found,
        )

    def _string(self, span: Span, owner: str) -> bytes:
        if span[1] - span[0] > MAX_STRING_BYTES:
            raise ModelFailure(
                Reason.TOO_COMPLEX, f"{quoted(owner)} has a text of more than {MAX_STRING_BYTES:,} bytes"
            )
        return self._scan.data[span[0] : span[1]]

    def _count_texts(self, value: Any, owner: str) -> int:
        if isinstance(value, TextRun):
            return len(value.starts)
        self._string(value, owner)
        return 1

    def _modes(self, texts: Sequence[Any]) -> NDArray[np.int8]:
        known = {text: code for code, text in enumerate(TREE_MODES)}
        pieces = [
            self._scan.texts(text, TREE_MODES)
            if isinstance(text, TextRun)
            else np.array([known.get(self._scan.data[text[0] : text[1]], -1)], np.int8)
            for text in texts
        ]
        return np.concatenate(pieces) if pieces else np.empty(0, np.int8)

    def _tensor(self, span: Span, depth: int) -> Tensor:
        if len(self._model.tensors) >= MAX_TENSORS:
            raise ModelFailure(Reason.TOO_COMPLEX, f"the model has more than {MAX_TENSORS:,} tensors")
        name, element_type, sizes = "", 0, []
        typed: dict[str, list[Any]] = {}
        raw: Span | None = None
        outside = False
        for field_name, value in self._scan.fields(span, TENSOR, depth):
            if field_name == "name":
                name = self._scan.text(value, MAX_NAME_BYTES)
            elif field_name == "dims":
                sizes += self._sizes(value)
            elif field_name == "data_type":
                element_type = value
            elif field_name == "raw_data":
                raw = value
            elif field_name == "external_data":
                outside = True
            elif field_name == "data_location":
                outside |= value != 0
            elif field_name == "metadata_props":
                self._entry(value, depth + 1)
            elif field_name == "segment":
                raise _forbidden(f"tensor {quoted(name)} is a segment of another")
            elif field_name != "doc_string":
                typed.setdefault(field_name, []).append(value)
        if outside:
            raise _forbidden(f"tensor {quoted(name)} keeps its data outside the file")
        dims = tuple(sizes)
        tensor = self._measured(name, element_type, dims, typed, raw)
        self._model.tensors.append(tensor)
        self._model.numbers += math.prod(dims)
        return tensor

    @staticmethod
    def _sizes(value: Any) -> list[int]:
        """Return the dimensions in one piece of them; of very many only the first, which are too many already."""
        if isinstance(value, np.ndarray):
            return [_signed(int(size)) for size in value[: MAX_RANK + 1]]
        return [_signed(value)]

    def _measured(
        self,
        name: str,
        element_type: int,
        dims: tuple[int, ...],
        typed: dict[str, list[Any]],
        raw: Span | None,
    ) -> Tensor:
        """Compare the declared size with the real one."""
        bits = ELEMENT_BITS.get(element_type)
        if bits is None:
            raise ModelFailure(
                Reason.FORBIDDEN_FEATURE, f"tensor {quoted(name)} has the element type {element_type}"
            )
        if len(dims) > MAX_RANK or any(size < 0 for size in dims):
            raise ModelFailure(
                Reason.NOT_AN_ONNX_MODEL,
                f"tensor {quoted(name)} has a negative dimension or more than {MAX_RANK} of them",
            )
        count = math.prod(dims)
        wanted = TYPED_DATA[element_type]
        if len(typed) + (raw is not None) > 1 and any(
            _size(part) for parts in typed.values() for part in parts
        ):
            raise ModelFailure(Reason.NOT_AN_ONNX_MODEL, f"tensor {quoted(name)} has its data twice")
        if any(field_name != wanted for field_name in typed):
            raise ModelFailure(
                Reason.NOT_AN_ONNX_MODEL, f"tensor {quoted(name)} has data of another element type"
            )
        memory = (count * bits + 7) // 8
        if raw is not None:
            real, declared = raw[1] - raw[0], memory
            if element_type == STRING_TYPE:
                raise ModelFailure(Reason.NOT_AN_ONNX_MODEL, f"tensor {quoted(name)} has texts as raw data")
        else:
            real = sum(self._typed_count(element_type, part, name) for part in typed.get(wanted, ()))
            per_item = 2 if element_type in (14, 15) else 1  # complex numbers take two
            packed = max(1, 8 // bits) if bits < 8 else 1
            declared = -(-count * per_item // packed)
        if real != declared:
            unit = "bytes" if raw is not None else "values"
            raise ModelFailure(
                Reason.NOT_AN_ONNX_MODEL,
                f"tensor {quoted(name)} of shape {list(dims)} needs {declared:,} {unit}, the file has {real:,}",
            )
        small = self._small(element_type, dims, count, typed.get(wanted, ()), raw)
        return Tensor(name, element_type, dims, memory, small)

    def _typed_count(self, element_type: int, part: Any, name: str) -> int:
        if element_type == STRING_TYPE:
            return self._count_texts(part, name)
        if not isinstance(part, tuple):
            return _size(part)
        width = {1: 4, 14: 4, 11: 8, 15: 8}.get(element_type)
        return self._scan.count_packed_varints(part) if width is None else (part[1] - part[0]) // width

    def _small(
        self, element_type: int, dims: tuple[int, ...], count: int, parts: Sequence[Any], raw: Span | None
    ) -> NDArray[Any] | None:
        dtype = {1: "<f4", 6: "<i4", 7: "<i8", 9: "?"}.get(element_type)
        if dtype is None or count > MAX_SMALL_VALUES:
            return None
        values: NDArray[Any]
        numbers = np.float32 if element_type == 1 else np.int64
        if raw is not None:
            values = np.frombuffer(self._scan.data[raw[0] : raw[1]], dtype)
        elif element_type == 1:
            values = np.concatenate([self._floats(part) for part in parts] or [np.empty(0, np.float32)])
        else:
            values = _joined(parts)
        small: NDArray[Any] = values.astype(numbers).reshape(dims)
        return small

    def _floats(self, part: Any) -> NDArray[np.float32]:
        if isinstance(part, tuple):
            return np.frombuffer(self._scan.data[part[0] : part[1]], "<f4").astype(np.float32)
        return np.asarray(part).view(np.float32)

    def _value(self, span: Span, depth: int) -> Value:
        name, element_type, shape = "", 0, None
        for field_name, value in self._scan.fields(span, VALUE_INFO, depth):
            if field_name == "name":
                name = self._scan.text(value, MAX_NAME_BYTES)
            elif field_name == "type":
                element_type, shape = self._type(value, depth + 1)
        return Value(name, element_type, self._checked_shape(name, shape))

    def _type(self, span: Span, depth: int) -> tuple[int, Shape | None]:
        element_type, shape, kinds = 0, None, 0
        for name, value in self._scan.fields(span, TYPE, depth):
            kinds += name != "denotation"
            if kinds > 1:
                raise ModelFailure(Reason.NOT_AN_ONNX_MODEL, "a value has two types")
            if name == "tensor_type":
                for inner, content in self._scan.fields(value, TENSOR_TYPE, depth + 1):
                    if inner == "elem_type":
                        element_type = content
                    else:
                        shape = tuple(
                            self._dimension(dimension, depth + 3)
                            for _, dimension in self._scan.fields(content, SHAPE, depth + 2)
                        )
            elif name in CUSTOM_TYPES:
                raise _forbidden(f"a value has a {name.replace('_', ' ')}")
        return element_type, shape

    def _dimension(self, span: Span, depth: int) -> int | str | None:
        size: int | str | None = None
        for name, value in self._scan.fields(span, DIMENSION, depth):
            if size is not None and name != "denotation":
                raise ModelFailure(Reason.NOT_AN_ONNX_MODEL, "a dimension has both a size and a name")
            if name == "dim_value":
                size = _signed(value)
            elif name == "dim_param":
                size = self._scan.text(value, MAX_NAME_BYTES) or None
        return size

    @staticmethod
    def _checked_shape(name: str, shape: Shape | None) -> Shape | None:
        if shape is None:
            return None
        shape = tuple(None if size == -1 else size for size in shape)  # how some exporters leave one open
        sizes = [size for size in shape if isinstance(size, int)]
        if len(shape) > MAX_RANK or any(not 0 <= size <= MAX_DIMENSION for size in sizes):
            raise ModelFailure(
                Reason.NOT_AN_ONNX_MODEL,
                f"value {quoted(name)} declares a dimension outside 0..2^40, or more than {MAX_RANK}",
            )
        return shape

    def _opset(self, span: Span) -> tuple[str, int]:
        domain, version = "", 0
        for name, value in self._scan.fields(span, OPSET, 1):
            if name == "domain":
                domain = self._scan.text(value, MAX_NAME_BYTES)
            else:
                version = _signed(value)
        return domain, version

    def _entry(self, span: Span, depth: int) -> None:
        for _ in self._scan.fields(span, ENTRY, depth):
            pass


MODEL_WORDS: Final = {
    "functions": "functions",
    "training_info": "training information",
    "configuration": "device configurations",
    "overload": "the overload of a function",
    "device_configurations": "device configurations",
}


def _joined(pieces: Sequence[Any]) -> NDArray[np.int64]:
    """Return the numbers of pieces as `Scanner.fields` gives them, shape (k,)."""
    arrays = [piece if isinstance(piece, np.ndarray) else np.array([piece], np.uint64) for piece in pieces]
    if not arrays:
        return np.empty(0, np.int64)
    return (arrays[0] if len(arrays) == 1 else np.concatenate(arrays)).view(np.int64)


def _text_count(part: Any) -> int:
    return len(part.starts) if isinstance(part, TextRun) else 1


def _size(part: Any) -> int:
    if isinstance(part, tuple):
        return int(part[1] - part[0])
    return len(part) if isinstance(part, np.ndarray) else 1


def _signed(value: int) -> int:
    return value - 2**64 if value >> 63 else value


def _forbidden(detail: str) -> ModelFailure:
    return ModelFailure(Reason.FORBIDDEN_FEATURE, detail)
