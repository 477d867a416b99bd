"""Each pattern near a known miscompilation is caught, and its harmless neighbour is not."""

from pathlib import Path

import lint_contracts
import pytest

HEAD = "# pragma version 0.4.3\n"


def _findings(tmp_path: Path, text: str, suffix: str = ".vy") -> list[str]:
    path = tmp_path / f"Contract{suffix}"
    path.write_bytes((HEAD + text).encode())
    return [finding.rule for finding in lint_contracts.lint_file(path)]


def _function(body: str, head: str = "@external\n@payable\ndef f(x: bool, a: uint256) -> uint256:") -> str:
    return f"{head}\n    return {body}\n"


@pytest.mark.parametrize(
    "body",
    [
        "(msg.value | 4) if x else 0",
        "0 if x else (4 | msg.value)",
        "(len(msg.data) | 1) if x else 0",
        "a if (msg.value | 4) == 5 else 0",
        "(a + (msg.value | a)) if x else 0",
    ],
)
def test_catches_or_on_call_context_inside_a_ternary(tmp_path: Path, body: str) -> None:
    assert _findings(tmp_path, _function(body)) == ["`|` on msg.value or len(msg.data) inside a ternary"]


@pytest.mark.parametrize(
    "body", ["msg.value | 4", "msg.value if x else 0", "(a | 4) if x else 0", "(msg.value & 4) if x else 0"]
)
def test_leaves_or_without_ternary_and_ternary_without_or(tmp_path: Path, body: str) -> None:
    assert _findings(tmp_path, _function(body)) == []


ARRAYS = "@external\ndef f(x: bool, a: {0}, b: {0}) -> {0}:\n    return a if x else b\n"


@pytest.mark.parametrize(
    "kind", ["DynArray[DynArray[uint256, 2], 2]", "uint256[2][2]", "DynArray[uint256[2], 2]"]
)
def test_catches_a_ternary_over_nested_arrays(tmp_path: Path, kind: str) -> None:
    assert _findings(tmp_path, ARRAYS.format(kind)) == ["ternary over nested arrays"]


@pytest.mark.parametrize("kind", ["DynArray[uint256, 2]", "uint256[2]", "uint256"])
def test_leaves_a_ternary_over_flat_values(tmp_path: Path, kind: str) -> None:
    assert _findings(tmp_path, ARRAYS.format(kind)) == []


def test_catches_create_from_blueprint(tmp_path: Path) -> None:
    head = "@external\ndef f(target: address) -> address:"
    assert _findings(tmp_path, _function("create_from_blueprint(target)", head)) == ["create_from_blueprint"]
    assert _findings(tmp_path, _function("create_minimal_proxy_to(target)", head)) == []


def test_catches_the_compilers_ecrecover(tmp_path: Path) -> None:
    head = "@external\ndef f(d: bytes32, r: uint256) -> address:"
    (finding,) = _findings(tmp_path, _function("ecrecover(d, 27, r, r)", head))
    assert "ecrecover" in finding


SHADOWS = {
    "storage variable": "MAX_PPM: uint256\n",
    "constant": "MAX_PPM: constant(uint256) = 5\n",
    "argument": "@external\ndef f(MAX_PPM: uint256):\n    pass\n",
    "local": "@external\ndef f():\n    MAX_PPM: uint256 = 5\n",
    "loop variable": "@external\ndef f():\n    for MAX_PPM: uint256 in range(3):\n        pass\n",
    "function": "@external\ndef MAX_PPM():\n    pass\n",
    "struct": "struct MAX_PPM:\n    a: uint256\n",
}


@pytest.mark.parametrize("kind", SHADOWS)
def test_catches_a_name_that_shadows_an_imported_constant(tmp_path: Path, kind: str) -> None:
    text = "from modules import pricing\n\n" + SHADOWS[kind]
    assert "`MAX_PPM` shadows a constant of an imported module" in _findings(tmp_path, text)
    assert _findings(tmp_path, text.replace("MAX_PPM", "MOST_PPM")) == []


def test_catches_shadowing_through_an_import_of_an_import(tmp_path: Path) -> None:
    (tmp_path / "between.vy").write_text(HEAD + "import inner\n")
    (tmp_path / "inner.vy").write_text(HEAD + "LIMIT: constant(uint256) = 5\n")
    assert _findings(tmp_path, "import between\nLIMIT: uint256\n") != []
    assert _findings(tmp_path, "import between\nLIMITS: uint256\n") == []


@pytest.mark.parametrize(
    "strange", ["\u2028", "\u00e9", "\f", "\t", "\r", "\ufeff", "\u00a0", "\x00", "\x7f"], ids=ascii
)
def test_catches_characters_that_the_compiler_may_read_otherwise(tmp_path: Path, strange: str) -> None:
    (finding,) = _findings(tmp_path, f"# a comment{strange}\n")
    assert finding.startswith("bytes outside printable ASCII: 0x")


def test_catches_a_byte_order_mark_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "Contract.vy"
    path.write_bytes(b"\xef\xbb\xbf" + HEAD.encode())
    assert [finding.line for finding in lint_contracts.lint_file(path)] == [1]


@pytest.mark.parametrize(
    "pragma", ["# pragma version ~=0.4.3", "# pragma version 0.4.2", "#pragma version 0.4.3", ""]
)
def test_demands_the_exact_compiler(tmp_path: Path, pragma: str) -> None:
    path = tmp_path / "Contract.vy"
    path.write_text(f"{pragma}\na: uint256\n")
    assert "first line" in lint_contracts.lint_file(path)[0].rule


def test_reports_what_does_not_compile(tmp_path: Path) -> None:
    (finding,) = _findings(tmp_path, "a: nonsense\n")
    assert finding.startswith("does not compile")


@pytest.mark.parametrize(
    ("statement", "clean"),
    [
        ('assert a == 1, "market: not one"', True),
        ('raise "market: never"', True),
        ("assert a == 1", False),
        ('assert a == 1, "Not one"', False),
        ('raise "no module"', False),
        ("assert a == 1, UNREACHABLE", False),
    ],
)
def test_demands_a_reason_from_every_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statement: str, clean: bool
) -> None:
    monkeypatch.setattr(lint_contracts, "CONTRACTS", tmp_path)
    assert (_findings(tmp_path, f"@external\ndef f(a: uint256):\n    {statement}\n") == []) is clean


def test_names_file_line_and_rule_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "Contract.vy"
    path.write_text(HEAD + _function("(msg.value | 4) if x else 0"))
    assert lint_contracts.main([str(path)]) == 1
    assert f"{path}:5: `|` on msg.value" in capsys.readouterr().err


def test_the_repositorys_own_contracts_are_clean() -> None:
    assert lint_contracts.main([]) == 0
