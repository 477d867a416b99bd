"""ONNX's messages as the scanner wants them: each field's number, name and kind.

Source: onnx.proto of ONNX 1.23, https://github.com/onnx/onnx/blob/main/onnx/onnx.proto; a test compares with it.
"""

from __future__ import annotations

from typing import Final

from .protobuf_scan import FieldForm, Kind, MessageForm


def _form(message: str, /, **fields: tuple[int, str]) -> MessageForm:
    """Return a message form; each field as its number and its kind, `*` for a repeated one,
    `**` for repeated texts that are read as runs."""
    kinds = {"int": Kind.INT, "float": Kind.FLOAT, "double": Kind.DOUBLE, "bytes": Kind.BYTES}
    return MessageForm(
        message,
        {
            number: FieldForm(field, kinds[kind.rstrip("*")], kind.endswith("*"), kind.endswith("**"))
            for field, (number, kind) in fields.items()
        },
    )


MODEL: Final = _form(
    "ModelProto",
    ir_version=(1, "int"),
    producer_name=(2, "bytes"),
    producer_version=(3, "bytes"),
    domain=(4, "bytes"),
    model_version=(5, "int"),
    doc_string=(6, "bytes"),
    graph=(7, "bytes"),
    opset_import=(8, "bytes*"),
    metadata_props=(14, "bytes*"),
    training_info=(20, "bytes*"),
    functions=(25, "bytes*"),
    configuration=(26, "bytes*"),
)
GRAPH: Final = _form(
    "GraphProto",
    node=(1, "bytes*"),
    name=(2, "bytes"),
    initializer=(5, "bytes*"),
    doc_string=(10, "bytes"),
    input=(11, "bytes*"),
    output=(12, "bytes*"),
    value_info=(13, "bytes*"),
    quantization_annotation=(14, "bytes*"),
    sparse_initializer=(15, "bytes*"),
    metadata_props=(16, "bytes*"),
)
NODE: Final = _form(
    "NodeProto",
    input=(1, "bytes*"),
    output=(2, "bytes*"),
    name=(3, "bytes"),
    op_type=(4, "bytes"),
    attribute=(5, "bytes*"),
    doc_string=(6, "bytes"),
    domain=(7, "bytes"),
    overload=(8, "bytes"),
    metadata_props=(9, "bytes*"),
    device_configurations=(10, "bytes*"),
)
ATTRIBUTE: Final = _form(
    "AttributeProto",
    name=(1, "bytes"),
    f=(2, "float"),
    i=(3, "int"),
    s=(4, "bytes"),
    t=(5, "bytes"),
    g=(6, "bytes"),
    floats=(7, "float*"),
    ints=(8, "int*"),
    strings=(9, "bytes**"),
    tensors=(10, "bytes*"),
    graphs=(11, "bytes*"),
    doc_string=(13, "bytes"),
    tp=(14, "bytes"),
    type_protos=(15, "bytes*"),
    type=(20, "int"),
    ref_attr_name=(21, "bytes"),
    sparse_tensor=(22, "bytes"),
    sparse_tensors=(23, "bytes*"),
)
TENSOR: Final = _form(
    "TensorProto",
    dims=(1, "int*"),
    data_type=(2, "int"),
    segment=(3, "bytes"),
    float_data=(4, "float*"),
    int32_data=(5, "int*"),
    string_data=(6, "bytes**"),
    int64_data=(7, "int*"),
    name=(8, "bytes"),
    raw_data=(9, "bytes"),
    double_data=(10, "double*"),
    uint64_data=(11, "int*"),
    doc_string=(12, "bytes"),
    external_data=(13, "bytes*"),
    data_location=(14, "int"),
    metadata_props=(16, "bytes*"),
)
VALUE_INFO: Final = _form(
    "ValueInfoProto",
    name=(1, "bytes"),
    type=(2, "bytes"),
    doc_string=(3, "bytes"),
    metadata_props=(4, "bytes*"),
)
TYPE: Final = _form(
    "TypeProto",
    tensor_type=(1, "bytes"),
    sequence_type=(4, "bytes"),
    map_type=(5, "bytes"),
    denotation=(6, "bytes"),
    opaque_type=(7, "bytes"),
    sparse_tensor_type=(8, "bytes"),
    optional_type=(9, "bytes"),
)
TENSOR_TYPE: Final = _form("TypeProto.Tensor", elem_type=(1, "int"), shape=(2, "bytes"))
SHAPE: Final = _form("TensorShapeProto", dim=(1, "bytes*"))
DIMENSION: Final = _form(
    "TensorShapeProto.Dimension", dim_value=(1, "int"), dim_param=(2, "bytes"), denotation=(3, "bytes")
)
OPSET: Final = _form("OperatorSetIdProto", domain=(1, "bytes"), version=(2, "int"))
ENTRY: Final = _form("StringStringEntryProto", key=(1, "bytes"), value=(2, "bytes"))

CUSTOM_TYPES: Final = ("opaque_type", "sparse_tensor_type", "optional_type")
"""Types that no value of a model may have. Sequences and maps stay: classifiers declare them for their labels."""

ATTRIBUTE_TYPES: Final = {
    0: "",
    1: "f",
    2: "i",
    3: "s",
    4: "t",
    5: "g",
    6: "floats",
    7: "ints",
    8: "strings",
    9: "tensors",
    10: "graphs",
}
"""AttributeProto.AttributeType to the field that holds the value."""

STRING_TYPE: Final = 8
ELEMENT_BITS: Final = {
    1: 32,  # float
    2: 8,
    3: 8,
    4: 16,
    5: 16,
    6: 32,
    7: 64,
    STRING_TYPE: 256,  # what an empty text takes in memory
    9: 8,
    10: 16,  # float16
    11: 64,
    12: 32,
    13: 64,
    14: 64,  # complex64
    15: 128,
    16: 16,  # bfloat16
    17: 8,  # the four kinds of float8
    18: 8,
    19: 8,
    20: 8,
    21: 4,
    22: 4,
}
"""TensorProto.DataType to the bits of an element in memory."""
TYPED_DATA: Final = {
    **dict.fromkeys(ELEMENT_BITS, "int32_data"),
    1: "float_data",
    14: "float_data",
    11: "double_data",
    15: "double_data",
    7: "int64_data",
    12: "uint64_data",
    13: "uint64_data",
    STRING_TYPE: "string_data",
}
"""TensorProto.DataType to the field that holds the values where they are not raw bytes."""

TREE_MODES: Final = (
    b"LEAF",
    b"BRANCH_LEQ",
    b"BRANCH_LT",
    b"BRANCH_GTE",
    b"BRANCH_GT",
    b"BRANCH_EQ",
    b"BRANCH_NEQ",
    b"BRANCH_MEMBER",
)
"""What a node of a tree may be."""
