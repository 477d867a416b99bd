"""Reads protobuf's wire format within fixed bounds, without a protobuf library.

Stricter than the format asks: a byte string that two readers could take for two different messages is refused. So a
field appears as its message declares it or not at all, a singular field once, a number in its shortest form, and
nothing is skipped. Work is linear in the bytes read; runs of numbers are decoded as arrays.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .failures import ModelFailure, Reason

MAX_FIELDS: Final = 500_000
"""Most fields read one by one in a file; runs of numbers count once. Local limit against denial of service."""
MAX_DEPTH: Final = 64
"""Deepest nesting of messages (a graph inside a node's attribute takes three levels)."""
_FIRST_BLOCK: Final = 256
"""Bytes of a run that are decoded at first; each further block is four times as large as the one before."""
_LARGEST_BLOCK: Final = 2**15
"""Small enough that what is made of a block stays in the processor's cache."""
_RUN_STARTS: Final = 8
"""After so many numbers of one field in a row, the rest is decoded as a run."""

Span = tuple[int, int]
"""First byte and the one after the last."""


@dataclass(frozen=True, slots=True)
class TextRun:
    """Many short texts in a row: where each begins and how long it is, shape (k,)."""

    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]


class Kind(Enum):
    """What a field holds."""

    INT = 0
    """A varint, given as an int in 0..2**64-1."""
    DOUBLE = 1
    """Eight bytes, given as their span."""
    BYTES = 2
    """Text, bytes or a message, given as their span."""
    FLOAT = 5
    """Four bytes, given as their span."""


@dataclass(frozen=True, slots=True)
class FieldForm:
    """How a message declares a field."""

    name: str
    kind: Kind
    repeated: bool = False
    runs: bool = False
    """Of a repeated BYTES field: its reader takes a `TextRun`."""


@dataclass(frozen=True, slots=True)
class MessageForm:
    """A message type: its name for error texts, its fields by number."""

    name: str
    fields: Mapping[int, FieldForm]


class Scanner:
    """The bytes of one file and what may still be spent on reading them."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._bytes = np.frombuffer(data, np.uint8)
        self._left = MAX_FIELDS

    def fields(self, span: Span, form: MessageForm, depth: int) -> Iterator[tuple[str, Any]]:
        """Yield the name and the value of each field of the message in `span`, in file order.

        A repeated INT is given in pieces: ints, or uint64 arrays of shape (k,). A repeated FLOAT or DOUBLE is given
        as spans of packed little-endian numbers, or as arrays of their bits (uint32, uint64) of shape (k,). Where
        the form says so, repeated BYTES come as `TextRun` too.

        Raises:
            ModelFailure: NOT_AN_ONNX_MODEL for what is malformed, unknown or ambiguous; TOO_COMPLEX past a bound.
        """
        if depth > MAX_DEPTH:
            raise ModelFailure(Reason.TOO_COMPLEX, f"messages are nested deeper than {MAX_DEPTH} levels")
        data, declared, seen = self.data, form.fields, 0
        last_tag = streak = 0
        position, end = span
        while position < end:
            self._left -= 1
            if self._left < 0:
                raise ModelFailure(Reason.TOO_COMPLEX, f"the file has more than {MAX_FIELDS:,} fields")
            start = position
            tag = data[position]
            position += 1
            if tag >= 0x80:
                tag, position = self._varint(start, end, form)
            number, wire = tag >> 3, tag & 7
            field = declared.get(number)
            if field is None:
                raise _malformed(start, f"field {number} of {form.name} is not known")
            if not field.repeated:
                if seen >> number & 1:
                    raise _malformed(start, f"{form.name} has its field {field.name!r} twice")
                seen |= 1 << number
            kind = field.kind
            streak = streak + 1 if tag == last_tag else 0
            last_tag = tag
            if wire == 2:
                if field.runs and streak >= _RUN_STARTS and position == start + 1:
                    run, after = self._text_run(start, end)
                    if run is not None:
                        yield field.name, run
                        position = after
                        continue
                size = data[position] if position < end else 0x80
                position += 1
                if size >= 0x80:
                    size, position = self._varint(position - 1, end, form)
                if size > end - position:
                    raise _malformed(start, f"{form.name}.{field.name} is longer than what surrounds it")
                inside = (position, position + size)
                position += size
                if kind is Kind.BYTES:
                    yield field.name, inside
                elif not field.repeated:
                    raise _malformed(start, f"{form.name}.{field.name} is of the wrong wire type")
                elif kind is Kind.INT:
                    yield field.name, self.packed_varints(inside)
                elif size % (4 if kind is Kind.FLOAT else 8):
                    raise _malformed(start, f"{form.name}.{field.name} ends inside a number")
                else:
                    yield field.name, inside
                continue
            if wire != kind.value:
                raise _malformed(start, f"{form.name}.{field.name} is of the wrong wire type")
            if field.repeated and streak >= _RUN_STARTS and position == start + 1:
                position, values = self._run(start, end, kind)
                yield field.name, values
            elif kind is Kind.INT:
                value, position = self._varint(position, end, form)
                yield field.name, value
            else:
                size = 4 if kind is Kind.FLOAT else 8
                if size > end - position:
                    raise _malformed(start, f"{form.name}.{field.name} ends inside a number")
                yield field.name, (position, position + size)
                position += size

    def _text_run(self, start: int, end: int) -> tuple[TextRun | None, int]:
        """Return the texts with equal tags from `start` on, as far as they are plain, and the position after them."""
        position, block = start, _FIRST_BLOCK
        starts: list[NDArray[np.int64]] = []
        lengths: list[NDArray[np.int64]] = []
        while position < end:
            used, first, sizes = _text_run_of(
                self._bytes[position : min(position + block, end)], self.data[start]
            )
            if not used:
                break
            starts.append(first + position)
            lengths.append(sizes)
            position += used
            block = min(block * 4, _LARGEST_BLOCK)
        if not starts:
            return None, start
        return TextRun(np.concatenate(starts), np.concatenate(lengths)), position

    def texts(self, run: TextRun, known: Sequence[bytes]) -> NDArray[np.int8]:
        """Return the index into `known` of each text of a run, -1 for another; shape (k,)."""
        codes = np.full(len(run.starts), -1, np.int8)
        for begin in range(0, len(codes), _LARGEST_BLOCK):
            starts, lengths = (part[begin : begin + _LARGEST_BLOCK] for part in (run.starts, run.lengths))
            for code, text in enumerate(known):
                rows = np.flatnonzero(lengths == len(text))
                for offset, byte in enumerate(text):
                    rows = rows[self._bytes[starts[rows] + offset] == byte]
                codes[begin + rows] = code
        return codes

    def packed_varints(self, span: Span) -> NDArray[np.uint64]:
        """Return the varints that fill `span`, shape (k,)."""
        start, end = span
        if start == end:
            return np.empty(0, np.uint64)
        window = self._bytes[start:end]
        lasts = np.flatnonzero(window < 0x80)
        if not len(lasts) or lasts[-1] != len(window) - 1:
            raise _malformed(start, "packed numbers end inside a number")
        firsts = np.concatenate(([0], lasts[:-1] + 1))
        return _decoded(window, firsts, lasts, start)

    def count_packed_varints(self, span: Span) -> int:
        """Return how many varints fill `span`, without decoding them."""
        start, end = span
        window = self._bytes[start:end]
        if start < end and window[-1] >= 0x80:
            raise _malformed(start, "packed numbers end inside a number")
        return int(np.count_nonzero(window < 0x80))

    def text(self, span: Span, most: int) -> str:
        """Return a text field of at most `most` bytes."""
        start, end = span
        if end - start > most:
            raise ModelFailure(Reason.TOO_COMPLEX, f"a name at byte {start} is longer than {most:,} bytes")
        try:
            return self.data[start:end].decode()
        except UnicodeDecodeError:
            raise _malformed(start, "a name is not UTF-8") from None

    def _varint(self, position: int, end: int, form: MessageForm) -> tuple[int, int]:
        value = shift = 0
        start = position
        while position < end:
            byte = self.data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >> 64 or (byte == 0 and shift):
                    raise _malformed(start, f"a number in {form.name} is not in its shortest form")
                return value, position
            shift += 7
            if shift > 63:
                break
        raise _malformed(start, f"a number in {form.name} does not end")

    def _run(self, start: int, end: int, kind: Kind) -> tuple[int, NDArray[Any]]:
        """Return the position after the run of equal tags that begins at `start`, and the numbers in it."""
        pieces: list[NDArray[Any]] = []
        block = _FIRST_BLOCK
        tag = self.data[start]
        position = start
        while position < end and self.data[position] == tag:
            window = self._bytes[position : min(position + block, end)]
            if kind is Kind.INT:
                used, values = _varint_run(window, tag, position)
            else:
                used, values = _fixed_run(window, tag, 4 if kind is Kind.FLOAT else 8)
            if not used:
                raise _malformed(position, "a repeated number does not end")
            pieces.append(values)
            position += used
            block = min(block * 4, _LARGEST_BLOCK)
        return position, pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def _text_run_of(window: NDArray[np.uint8], tag: int) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
    """Return bytes used, starts and lengths of the texts at the start of `window` that do not contain `tag`."""
    tags = np.flatnonzero(window[:-1] == tag)
    lengths = window[tags + 1].astype(np.int64)
    ends = tags + 2 + lengths
    # a tag inside a text or a length of two bytes breaks the chain; what follows is read one by one
    fits = (ends == np.append(tags[1:], len(window))) & (lengths < 0x80)
    count = len(tags) if fits.all() else int(np.argmin(fits))
    if not count or tags[0] != 0:
        return 0, tags[:0], lengths[:0]
    return int(ends[count - 1]), tags[:count] + 2, lengths[:count]


def _varint_run(window: NDArray[np.uint8], tag: int, offset: int) -> tuple[int, NDArray[np.uint64]]:
    """Return bytes used by, and values of, the pairs (tag, varint) at the start of `window`."""
    lasts = np.flatnonzero(window < 0x80)
    # tokens alternate: a tag of one byte, then a value; the first token of another form ends the run
    tag_ends, value_ends = lasts[0::2], lasts[1::2]
    pairs = len(value_ends)
    if not pairs:
        return 0, np.empty(0, np.uint64)
    tag_ends = tag_ends[:pairs]
    starts = np.concatenate(([0], value_ends[:-1] + 1))
    fits = (tag_ends == starts) & (window[starts] == tag)
    count = pairs if fits.all() else int(np.argmin(fits))
    if not count:
        return 0, np.empty(0, np.uint64)
    values = _decoded(window, tag_ends[:count] + 1, value_ends[:count], offset)
    return int(value_ends[count - 1]) + 1, values


def _fixed_run(window: NDArray[np.uint8], tag: int, size: int) -> tuple[int, NDArray[Any]]:
    stride = size + 1
    rows = window[: len(window) // stride * stride].reshape(-1, stride)
    fits = rows[:, 0] == tag
    count = len(rows) if fits.all() else int(np.argmin(fits))
    bits = np.ascontiguousarray(rows[:count, 1:]).view("<u4" if size == 4 else "<u8").reshape(-1)
    return count * stride, bits


def _decoded(
    window: NDArray[np.uint8], firsts: NDArray[np.int64], lasts: NDArray[np.int64], offset: int
) -> NDArray[np.uint64]:
    """Return the varints that lie at firsts..lasts of `window`, shape (k,)."""
    lengths = lasts - firsts + 1
    longest = int(lengths.max())
    final = window[lasts]
    if longest == 1:
        return final.astype(np.uint64)
    if longest > 10:
        raise _malformed(offset, "a repeated number does not end")
    if np.any((final == 0) & (lengths > 1)) or np.any((lengths == 10) & (final > 1)):
        raise _malformed(offset, "a repeated number is not in its shortest form")
    values = final.astype(np.uint64)
    for index in range(1, longest):  # from the last byte, which is the highest, to the first
        more = lengths > index
        lower = (values << np.uint64(7)) | (window[lasts - np.minimum(index, lengths - 1)] & 0x7F)
        values = np.where(more, lower, values)
    return values


def _malformed(position: int, what: str) -> ModelFailure:
    return ModelFailure(Reason.NOT_AN_ONNX_MODEL, f"byte {position}: {what}")
