"""Bytes between the enclave and its model child.

Enclave to child: one task header (length-prefixed JSON, from the trusted side), the model, then the input batches as
raw bytes. Child to enclave: frames of 8 bytes (kind, code, 2 reserved bytes, payload length), little-endian. The
enclave knows beforehand which frame may come and how long it is; anything else ends the child.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any, Final

from .lockdown import RUNTIME_DATA_BYTES

FRAME: Final = struct.Struct("<BBHI")
LENGTH: Final = struct.Struct("<Q")
MAX_DETAIL_BYTES: Final = 1024
"""Longest explanation that a child may attach to a failure; read for local checks only."""


class Kind(IntEnum):
    """What a frame from the child says."""

    READY = 1
    """Libraries are imported; nothing hostile has been read yet."""
    LOCKED = 2
    """Locked down; `code` is the bit mask of layers that are active."""
    FAILED = 3
    """The model failed; `code` is a `Reason`, the payload a detail in UTF-8."""
    OUTPUT = 4
    """One batch of outputs: raw bytes of the expected dtype and shape, C order."""
    LOADED = 5
    """Gate and runtime accepted the model."""
    REPORT = 6
    """What was learned about the model: JSON; only where the task asks for it, which an evaluation never does."""


@dataclass(frozen=True, slots=True)
class TensorForm:
    """Name, numpy dtype name and shape of a tensor; the leading sample dimension is left out of `shape`."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelTask:
    """What a child is asked to do with the model that follows."""

    model_bytes: int
    inputs: tuple[TensorForm, ...]
    output: TensorForm
    samples: int
    batch: int
    threads: int
    cpu_s: int
    memory_bytes: int
    runtime_bytes: int = RUNTIME_DATA_BYTES
    """Private memory granted beyond `memory_bytes`, for the runtime itself."""
    report: bool = False
    """Whether the child tells what it learns about the model; for a developer's own check."""

    def encode(self) -> bytes:
        """Return the length-prefixed header."""
        body = json.dumps(asdict(self), separators=(",", ":")).encode()
        return LENGTH.pack(len(body)) + body

    @classmethod
    def decode(cls, body: bytes) -> ModelTask:
        """Return the task from a header without its length prefix. Trusts the enclave that wrote it."""
        fields: dict[str, Any] = json.loads(body)
        inputs = tuple(_form(item) for item in fields.pop("inputs"))
        return cls(inputs=inputs, output=_form(fields.pop("output")), **fields)

    def batch_sizes(self) -> list[int]:
        """Return the number of samples of each batch, in order."""
        full, rest = divmod(self.samples, self.batch)
        return [self.batch] * full + ([rest] if rest else [])


def _form(fields: dict[str, Any]) -> TensorForm:
    return TensorForm(fields["name"], fields["dtype"], tuple(fields["shape"]))
