"""Refuses contract sources that come near a known miscompilation of Vyper 0.4.3, or near our own rules.

    python tools/lint_contracts.py [FILE...]     default: every .vy and .vyi below contracts/ and tests/contracts/

The compiler has published code-generation bugs without a fixed release; each rule below keeps its distance from
one. docs/adr/0006-contract-layout.md says why we compile with it nevertheless.
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import build_artifacts
from vyper import ast as vy_ast
from vyper.ast import parse_to_ast
from vyper.compiler.input_bundle import FileInput, FilesystemInputBundle
from vyper.compiler.phases import CompilerData
from vyper.exceptions import VyperException
from vyper.semantics.types import DArrayT, SArrayT

CONTRACTS: Final = build_artifacts.CONTRACTS
FOLDERS: Final = (CONTRACTS, build_artifacts.REPOSITORY / "tests" / "contracts")
PRAGMA: Final = f"# pragma version {build_artifacts.COMPILER_VERSION}"
REASON: Final = re.compile(r"[a-z][a-z0-9 -]*: \S.*")
"""Revert reasons are `module: unmet condition`."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line that must not stay."""

    path: Path
    line: int
    rule: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}"


def lint_file(path: Path) -> list[Finding]:
    """Return everything wrong with one source file; whether it compiles is the compiler's own matter."""
    content = path.read_bytes()
    findings = [Finding(path, line, rule) for line, rule in _character_findings(content)]
    if findings:
        return findings
    text = content.decode("ascii")
    if text.partition("\n")[0] != PRAGMA:
        findings.append(Finding(path, 1, f"the first line must be '{PRAGMA}'"))
    try:
        module = _annotated_module(path, text)
    except VyperException as error:
        return [*findings, Finding(path, 1, f"does not compile: {str(error).strip().splitlines()[0]}")]
    for rule in RULES:
        findings.extend(Finding(path, line, text) for line, text in rule(module))
    if path.is_relative_to(CONTRACTS):
        findings.extend(Finding(path, line, text) for line, text in _reason_findings(module))
    return sorted(findings, key=lambda finding: finding.line)


def _annotated_module(path: Path, text: str) -> Any:
    """Return the module with types; of an interface, the plain syntax tree."""
    if path.suffix == ".vyi":
        return parse_to_ast(text, is_interface=True)
    source = FileInput(contents=text, source_id=-1, path=path, resolved_path=path.resolve())
    bundle = FilesystemInputBundle([CONTRACTS, path.parent])
    settings = build_artifacts.GENERATORS[build_artifacts.RELEASE_GENERATOR].settings()
    return CompilerData(source, bundle, settings).annotated_vyper_module


def _character_findings(content: bytes) -> Iterator[tuple[int, str]]:
    """Only printable ASCII and line feeds: the lexer and the code generator disagree about some others."""
    for number, line in enumerate(content.split(b"\n"), start=1):
        strange = sorted({byte for byte in line if not 0x20 <= byte < 0x7F})
        if strange:
            shown = " ".join(f"0x{byte:02x}" for byte in strange)
            yield number, f"bytes outside printable ASCII: {shown}"


def _ternaries(module: Any) -> Iterator[Any]:
    return iter(module.get_descendants(vy_ast.IfExp))


def _is_call_data_size_or_value(node: Any) -> bool:
    if isinstance(node, vy_ast.Attribute) and isinstance(node.value, vy_ast.Name) and node.value.id == "msg":
        return bool(node.attr in ("value", "data"))
    return False


def _mixed_bit_or(module: Any) -> Iterator[tuple[int, str]]:
    for ternary in _ternaries(module):
        for operation in ternary.get_descendants(vy_ast.BinOp):
            if not isinstance(operation.op, vy_ast.BitOr):
                continue
            if any(_is_call_data_size_or_value(node) for node in operation.get_descendants(vy_ast.Attribute)):
                yield operation.lineno, "`|` on msg.value or len(msg.data) inside a ternary"


def _nested_array_ternary(module: Any) -> Iterator[tuple[int, str]]:
    for ternary in _ternaries(module):
        kind = ternary._metadata.get("type")
        if isinstance(kind, (DArrayT, SArrayT)) and isinstance(kind.value_type, (DArrayT, SArrayT)):
            yield ternary.lineno, "ternary over nested arrays"


def _called_builtin(module: Any, name: str) -> Iterator[int]:
    for call in module.get_descendants(vy_ast.Call):
        if isinstance(call.func, vy_ast.Name) and call.func.id == name:
            yield call.lineno


def _blueprint(module: Any) -> Iterator[tuple[int, str]]:
    for line in _called_builtin(module, "create_from_blueprint"):
        yield line, "create_from_blueprint"


def _compiler_ecrecover(module: Any) -> Iterator[tuple[int, str]]:
    for line in _called_builtin(module, "ecrecover"):
        yield line, "the compiler's ecrecover returns stale memory under experimental codegen: use signatures"


def _imported_constants(module: Any, seen: set[int] | None = None) -> set[str]:
    """Return the names of all constants of modules that this one imports, also through others."""
    seen = set() if seen is None else seen
    names: set[str] = set()
    for statement in module.get_children((vy_ast.Import, vy_ast.ImportFrom)):
        info = statement._metadata.get("import_info")
        imported = getattr(info, "parsed", None)
        if not isinstance(imported, vy_ast.Module) or id(imported) in seen:
            continue
        seen.add(id(imported))
        for declaration in imported.get_children(vy_ast.VariableDecl):
            if declaration.is_constant:
                names.add(declaration.target.id)
        names |= _imported_constants(imported, seen)
    return names


def _shadowing(module: Any) -> Iterator[tuple[int, str]]:
    constants = _imported_constants(module)
    declared: list[tuple[int, str]] = []
    for node in module.get_descendants((vy_ast.VariableDecl, vy_ast.AnnAssign)):
        if isinstance(node.target, vy_ast.Name):
            declared.append((node.lineno, node.target.id))
    declared += [(node.lineno, node.arg) for node in module.get_descendants(vy_ast.arg)]
    definitions = (vy_ast.FunctionDef, vy_ast.StructDef, vy_ast.EventDef, vy_ast.InterfaceDef, vy_ast.FlagDef)
    declared += [(node.lineno, node.name) for node in module.get_children(definitions)]
    for line, name in declared:
        if name in constants:
            yield line, f"`{name}` shadows a constant of an imported module"


def _reason_findings(module: Any) -> Iterator[tuple[int, str]]:
    for assertion in module.get_descendants(vy_ast.Assert):
        if not isinstance(assertion.msg, vy_ast.Str) or not REASON.fullmatch(assertion.msg.value):
            yield assertion.lineno, "assert without a reason of the form 'module: unmet condition'"
    for statement in module.get_descendants(vy_ast.Raise):
        if not isinstance(statement.exc, vy_ast.Str) or not REASON.fullmatch(statement.exc.value):
            yield statement.lineno, "raise without a reason of the form 'module: unmet condition'"


RULES: Final[tuple[Callable[[Any], Iterator[tuple[int, str]]], ...]] = (
    _mixed_bit_or,
    _nested_array_ternary,
    _blueprint,
    _compiler_ecrecover,
    _shadowing,
)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", type=Path)
    named = [path.resolve() for path in parser.parse_args(arguments).files]
    files = named or sorted(path for folder in FOLDERS for path in folder.rglob("*.vy*"))
    findings = [finding for path in files for finding in lint_file(path)]
    for finding in findings:
        print(finding, file=sys.stderr)
    if not findings:
        print(f"{len(files)} contract sources are clean")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
