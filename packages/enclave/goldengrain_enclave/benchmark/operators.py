"""The operators that a model may use: pure functions of their inputs, without loops, randomness or state."""

from __future__ import annotations

from typing import Final

_TENSOR: Final = """
ArgMax ArgMin Cast CastLike Compress Concat Constant ConstantOfShape CumSum DepthToSpace Expand EyeLike Flatten
Gather GatherElements GatherND Identity IsInf IsNaN NonZero OneHot Pad Range Reshape Resize ReverseSequence
ScatterElements ScatterND Shape Size Slice SpaceToDepth Split Squeeze Tile TopK Transpose Trilu Unique Unsqueeze
Upsample Where CenterCropPad Scatter
"""
"""Shapes, selection and constants."""
_ARITHMETIC: Final = """
Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Ceil Clip Cos Cosh
Div Einsum Equal Erf Exp Floor Gemm Greater GreaterOrEqual Less LessOrEqual Log MatMul MatMulInteger Max Mean Min
Mod Mul Neg Not Or Pow Reciprocal Round Sign Sin Sinh Sqrt Sub Sum Tan Tanh Xor Det
"""
"""Element by element, and products."""
_REDUCTIONS: Final = """
ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare
"""
"""Along axes."""
_NEURAL: Final = """
Attention AveragePool BatchNormalization Celu Conv ConvInteger ConvTranspose Elu GRU Gelu GlobalAveragePool
GlobalLpPool GlobalMaxPool GroupNormalization HardSigmoid HardSwish Hardmax InstanceNormalization LRN LSTM
LayerNormalization LeakyRelu LogSoftmax LpNormalization LpPool MaxPool MeanVarianceNormalization Mish PRelu
RMSNormalization RNN Relu RotaryEmbedding Selu Shrink Sigmoid Softmax Softplus Softsign Swish ThresholdedRelu
Dropout GridSample RoiAlign MaxRoiPool NonMaxSuppression STFT DFT HannWindow HammingWindow
BlackmanWindow
"""
"""Layers."""
_QUANTISED: Final = """
DequantizeLinear DynamicQuantizeLinear QLinearConv QLinearMatMul QuantizeLinear
"""
"""Integer arithmetic with scales."""
_CLASSICAL: Final = """
ArrayFeatureExtractor Binarizer CategoryMapper DictVectorizer FeatureVectorizer Imputer LabelEncoder
LinearClassifier LinearRegressor Normalizer OneHotEncoder SVMClassifier SVMRegressor Scaler TreeEnsemble
TreeEnsembleClassifier TreeEnsembleRegressor ZipMap
"""
"""Of the domain `ai.onnx.ml`."""
_CONTROL: Final = "If"

ALLOWED_OPERATORS: Final = frozenset(
    name
    for group in (_TENSOR, _ARITHMETIC, _REDUCTIONS, _NEURAL, _QUANTISED, _CONTROL)
    for name in group.split()
) | frozenset(f"ai.onnx.ml:{name}" for name in _CLASSICAL.split())
"""Names as the gate forms them: bare for `ai.onnx`, with the prefix `ai.onnx.ml:` for the classical operators.

Left out on purpose: Loop, Scan and the sequence operators (unbounded work), the random ones and Bernoulli
(not deterministic), string and image decoding (large parsers).
"""

_UNBOUNDED: Final = "which may repeat without end"
_RANDOM: Final = "which is random"
WHY_NOT: Final = {
    **dict.fromkeys(("Loop", "Scan"), _UNBOUNDED),
    **dict.fromkeys(
        (
            "RandomNormal",
            "RandomNormalLike",
            "RandomUniform",
            "RandomUniformLike",
            "Multinomial",
            "Bernoulli",
        ),
        _RANDOM,
    ),
    **dict.fromkeys(("Adagrad", "Adam", "Momentum", "Gradient", "GraphCall"), "which belongs to training"),
}
"""What is said of an operator that developers meet and that is left out; others are "not on the allow-list"."""
