"""JSON from strangers cannot overflow the stack."""

import json
import sys

import pytest

from goldengrain.bounded_json import MAX_DEPTH, decode_json


def test_nesting_is_bounded_whatever_the_recursion_limit() -> None:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)
    try:
        for opening in (b"[", b'{"a":', b'[{"a":['):
            with pytest.raises(ValueError, match="nested deeper"):
                decode_json(opening * 200_000)
    finally:
        sys.setrecursionlimit(before)


def test_importing_the_key_library_leaves_a_safe_recursion_limit() -> None:
    import subprocess

    program = "import sys, goldengrain.accounts; print(sys.getrecursionlimit())"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(shown.stdout) <= 10_000


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, {"b": "[" * 1000}]},
        ['\\"[[[' * 100, "}" * 500],
        [[i] for i in range(10_000)],
        "[" * 10_000,
    ],
)
def test_brackets_in_strings_and_wide_values_pass(value: object) -> None:
    assert decode_json(json.dumps(value).encode()) == value


def test_the_deepest_accepted_nesting_passes() -> None:
    text = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    decode_json(text + b" " * 10)
    with pytest.raises(ValueError, match="nested deeper"):
        decode_json(b"[" + text + b"]")


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"nul", b'{"a" 1}', b"[]]"])
def test_malformed_text_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode_json(data)
