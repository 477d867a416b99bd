"""JSON from strangers: nesting is bounded before the decoder sees it.

The decoder recurses on the C stack and relies on Python's recursion limit, which libraries raise (py_ecc to
100,000): a deeply nested text would then end the process instead of raising an error.
"""

import json
import re
from typing import Final

MAX_DEPTH: Final = 64
"""Deepest nesting of objects and lists accepted. Local limit against denial of service."""

_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NO_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")


def decode_json(data: bytes) -> object:
    """Return the value of a JSON text.

    Raises:
        ValueError: not JSON, or nested deeper than `MAX_DEPTH`.
    """
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH:
        _check_depth(data)
    value: object = json.loads(data)
    return value


def _check_depth(data: bytes) -> None:
    depth = 0
    for bracket in _STRING.sub(b"", data).translate(None, _NO_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH}")
