"""The benchmark specification: what a model must take and give, how it is scored, what it may use.

TOML, decoded strictly: every key known, every value of its type and inside its bounds.

Source: docs/spec/benchmark-spec.md.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from goldengrain_protocol.constants import MAX_SPEC_BYTES, PPM
from goldengrain_protocol.errors import InvalidInput

FORMAT: Final = 1
METRICS: Final[Mapping[str, tuple[str, ...]]] = {
    "classification": ("accuracy", "balanced_accuracy", "macro_f1"),
    "regression": ("r2", "mae"),
}
INPUT_DTYPES: Final = ("float32", "float64", "int32", "int64")
OUTPUT_DTYPES: Final = ("float32", "float64")
MIN_SAMPLES: Final = 2
MAX_SAMPLES: Final = 10_000_000
MAX_INPUTS: Final = 16
MAX_DIMENSIONS: Final = 6
MAX_DIMENSION: Final = 2**24
MAX_CLASSES: Final = 100_000
MAX_TITLE_CHARS: Final = 200
MAX_NAME_CHARS: Final = 64
LABEL_TENSOR: Final = "label"
INPUT_TENSOR_PREFIX: Final = "input."
BATCH_AXIS: Final = "n"

_LIMITS: Final = {
    "model_bytes": (1, 2**31),
    "memory_bytes": (2**26, 2**37),
    "cpu_s": (1, 24 * 3600),
    "wall_s": (1, 24 * 3600),
    "batch": (1, 65_536),
}


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or the output of a model. The first axis is the batch; `shape` lists the others' sizes."""

    name: str
    dtype: str
    sample_shape: tuple[int, ...]

    @property
    def shape(self) -> tuple[str | int, ...]:
        """The shape as written: the batch axis "n", then the sizes."""
        return (BATCH_AXIS, *self.sample_shape)


@dataclass(frozen=True, slots=True)
class ScoreSpec:
    """How predictions become a score."""

    metric: str
    confidence_ppm: int
    """Of the one-sided lower bound, e.g. 950000."""
    reference: float | None
    """For "mae" alone: the error that scores zero; score = max(0, 1 - mae / reference)."""


@dataclass(frozen=True, slots=True)
class LimitSpec:
    """What one evaluation may use at most."""

    model_bytes: int
    memory_bytes: int
    cpu_s: int
    wall_s: int
    batch: int
    """Samples per call of the model; fixed, because the outcome must not depend on the machine."""


@dataclass(frozen=True, slots=True)
class BenchmarkSpec:
    """A decoded specification."""

    title: str
    task: str
    classes: int | None
    inputs: tuple[TensorSpec, ...]
    output: TensorSpec
    score: ScoreSpec
    limits: LimitSpec


def decode_spec(data: bytes) -> BenchmarkSpec:
    """Return the specification that the TOML document `data` states.

    Raises:
        InvalidInput: names the key and what it must be.
    """
    top = _Table(_parse(data), "")
    if top.integer("format", FORMAT, FORMAT) != FORMAT:
        raise InvalidInput(f"spec: format must be {FORMAT}")
    title = top.text("title", MAX_TITLE_CHARS)
    task = top.choice("task", tuple(METRICS))
    classes = top.integer("classes", 2, MAX_CLASSES) if task == "classification" else None
    inputs = tuple(_tensor(table, INPUT_DTYPES) for table in top.tables("inputs", MAX_INPUTS))
    names = [tensor.name for tensor in inputs]
    if len(set(names)) != len(names):
        raise InvalidInput("spec: inputs.name must differ from one input to the next")
    output = _tensor(top.table("output"), OUTPUT_DTYPES)
    score = _score(top.table("score"), task)
    limits_table = top.table("limits")
    limits = LimitSpec(**{name: limits_table.integer(name, *bounds) for name, bounds in _LIMITS.items()})
    limits_table.finish()
    top.finish()
    if task == "classification" and output.sample_shape != (classes,):
        raise InvalidInput(f'spec: output.shape must be ["n", {classes}] for {classes} classes')
    if task == "regression" and len(output.sample_shape) > 1:
        raise InvalidInput('spec: output.shape must be ["n"] or ["n", k] for a regression')
    return BenchmarkSpec(title, task, classes, inputs, output, score, limits)


def encode_spec(spec: BenchmarkSpec) -> bytes:
    """Return a TOML document that `decode_spec` decodes to `spec`.

    Raises:
        InvalidInput: the specification breaks a rule of the format.
    """
    lines = [f"format = {FORMAT}", f"title = {_quoted(spec.title)}", f"task = {_quoted(spec.task)}"]
    if spec.classes is not None:
        lines.append(f"classes = {spec.classes}")
    for tensor in spec.inputs:
        lines += ["", "[[inputs]]", *_tensor_lines(tensor)]
    lines += ["", "[output]", *_tensor_lines(spec.output)]
    lines += [
        "",
        "[score]",
        f"metric = {_quoted(spec.score.metric)}",
        f"confidence_ppm = {spec.score.confidence_ppm}",
    ]
    if spec.score.reference is not None:
        lines.append(f"reference = {spec.score.reference!r}")
    lines += ["", "[limits]", *(f"{name} = {getattr(spec.limits, name)}" for name in _LIMITS)]
    data = ("\n".join(lines) + "\n").encode()
    if decode_spec(data) != spec:
        raise InvalidInput("spec: a value does not survive encoding")
    return data


class _Table:
    """A TOML table whose keys are taken one by one; what is left over at the end is unknown."""

    def __init__(self, values: Mapping[str, object], path: str) -> None:
        self._values = dict(values)
        self._path = path

    def integer(self, key: str, least: int, most: int) -> int:
        value = self._take(key)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            wanted = str(least) if least == most else f"an integer in {least}..{most}"
            raise InvalidInput(f"spec: {self._path}{key} must be {wanted}, got {_shown(value)}")
        return value

    def number(self, key: str, most: float) -> float:
        value = self._take(key)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value <= most:
            raise InvalidInput(
                f"spec: {self._path}{key} must be a number above 0 and at most {most:g}, got {_shown(value)}"
            )
        return float(value)

    def text(self, key: str, most: int) -> str:
        value = self._take(key)
        if not isinstance(value, str) or not 1 <= len(value) <= most or not value.isprintable():
            raise InvalidInput(
                f"spec: {self._path}{key} must be a printable text of 1..{most} characters, "
                f"got {_shown(value)}"
            )
        return value

    def choice(self, key: str, allowed: tuple[str, ...]) -> str:
        value = self._take(key)
        if value not in allowed:
            raise InvalidInput(
                f"spec: {self._path}{key} must be one of {', '.join(allowed)}, got {_shown(value)}"
            )
        return str(value)

    def array(self, key: str, most: int) -> list[object]:
        value = self._take(key)
        if not isinstance(value, list) or not 1 <= len(value) <= most:
            raise InvalidInput(f"spec: {self._path}{key} must be an array of 1..{most} elements")
        return value

    def table(self, key: str) -> "_Table":
        value = self._take(key)
        if not isinstance(value, dict):
            raise InvalidInput(f"spec: {self._path}{key} must be a table [{self._path}{key}]")
        return _Table(value, f"{self._path}{key}.")

    def tables(self, key: str, most: int) -> list["_Table"]:
        tables: list[_Table] = []
        for value in self.array(key, most):
            if not isinstance(value, dict):
                raise InvalidInput(f"spec: {self._path}{key} must be tables [[{self._path}{key}]]")
            tables.append(_Table(value, f"{self._path}{key}."))
        return tables

    def has(self, key: str) -> bool:
        return key in self._values

    def finish(self) -> None:
        for key in self._values:
            raise InvalidInput(f"spec: {self._path}{key[:MAX_NAME_CHARS]} is not a known key here")

    def _take(self, key: str) -> object:
        if key not in self._values:
            raise InvalidInput(f"spec: {self._path}{key} is missing")
        return self._values.pop(key)


def _parse(data: bytes) -> dict[str, object]:
    if len(data) > MAX_SPEC_BYTES:
        raise InvalidInput(f"spec must have at most {MAX_SPEC_BYTES} bytes, got {len(data)}")
    try:
        return tomllib.loads(data.decode("utf-8"))
    except RecursionError:
        raise InvalidInput("spec is nested too deeply") from None
    except ValueError as exc:  # covers UnicodeDecodeError and TOMLDecodeError
        raise InvalidInput(f"spec is not TOML: {exc}") from exc


def _tensor(table: _Table, dtypes: tuple[str, ...]) -> TensorSpec:
    name = table.text("name", MAX_NAME_CHARS)
    dtype = table.choice("dtype", dtypes)
    shape = table.array("shape", MAX_DIMENSIONS)
    table.finish()
    sizes = [
        size
        for size in shape[1:]
        if isinstance(size, int) and not isinstance(size, bool) and 1 <= size <= MAX_DIMENSION
    ]
    if shape[0] != BATCH_AXIS or len(sizes) != len(shape) - 1:
        raise InvalidInput(f'spec: shape of {name!r} must be "n" followed by sizes in 1..{MAX_DIMENSION}')
    return TensorSpec(name, dtype, tuple(sizes))


def _score(table: _Table, task: str) -> ScoreSpec:
    metric = table.choice("metric", METRICS[task])
    confidence = table.integer("confidence_ppm", PPM // 2, PPM - 1)
    reference = table.number("reference", 1e30) if metric == "mae" else None
    table.finish()
    return ScoreSpec(metric, confidence, reference)


def _tensor_lines(tensor: TensorSpec) -> list[str]:
    shape = ", ".join([f'"{BATCH_AXIS}"', *map(str, tensor.sample_shape)])
    return [f"name = {_quoted(tensor.name)}", f"dtype = {_quoted(tensor.dtype)}", f"shape = [{shape}]"]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
