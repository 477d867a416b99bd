"""The protocol package is pure: what it imports and calls, read from its source."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import goldengrain_protocol

ROOT = Path(goldengrain_protocol.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))
FORBIDDEN = {
    "asyncio", "datetime", "fsspec", "goldengrain", "goldengrain_enclave", "io", "logging", "multiprocessing", "os",
    "pathlib", "random", "secrets", "shutil", "signal", "socket", "subprocess", "sys", "tempfile", "time", "urllib",
    "uuid", "web3",
}  # fmt: skip
FORBIDDEN_CALLS = {"open", "print", "input", "eval", "exec", "__import__", "breakpoint"}
THIRD_PARTY = {"Crypto", "coincurve", "cryptography", "dcap_qvl", "goldengrain_protocol"}
THIRD_PARTY_OF_THE_LIGHT_CLIENT = {"py_arkworks_bls12381", "remerkleable"}


def imports(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_module_imports_and_calls_nothing_impure(path: Path) -> None:
    tree = ast.parse(path.read_text())
    names = imports(tree)
    assert names & FORBIDDEN == set()
    allowed = THIRD_PARTY | (THIRD_PARTY_OF_THE_LIGHT_CLIENT if path.parent.name == "ethereum_pos" else set())
    assert {name for name in names if name not in sys.stdlib_module_names} <= allowed
    calls = {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert calls & FORBIDDEN_CALLS == set()
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert attributes & {"generate", "generate_key", "urandom", "environ", "now", "today"} == set()


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_module_checks_without_assert(path: Path) -> None:
    """An assert vanishes under -O; a check must not."""
    assert not [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Assert)]


def test_importing_everything_loads_no_sibling_and_no_network_library() -> None:
    names = [
        ".".join(["goldengrain_protocol", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(
            ".__init__"
        )
        for path in MODULES
    ]
    program = (
        f"import sys\nfor name in {names!r}: __import__(name)\n"
        "heavy = ('goldengrain', 'goldengrain_enclave', 'web3', 'requests', 'aiohttp', 'eth_abi', 'rlp', 'trie')\n"
        "bad = [m for m in heavy if m in sys.modules]\nsys.exit(repr(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
