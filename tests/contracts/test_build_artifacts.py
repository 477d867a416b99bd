"""The build: same bytes everywhere, and a difference does not pass unnoticed."""

import json
import shutil
from pathlib import Path

import build_artifacts
import pytest
from vyper.compiler.input_bundle import FileInput, FilesystemInputBundle
from vyper.compiler.phases import CompilerData

VERIFIER = build_artifacts.CONTRACTS / "AuditorQuorumVerifier.vy"


def test_an_artifact_records_what_it_was_made_from() -> None:
    artifact = json.loads(build_artifacts.build_artifact(VERIFIER))
    assert artifact["compiler"] == {
        "name": "vyper",
        "version": "0.4.3",
        "evm_version": "prague",
        "optimization": "gas",
        "experimental_codegen": False,
    }
    assert list(artifact["sources_sha256"]) == [
        "contracts/AuditorQuorumVerifier.vy",
        "contracts/interfaces/IQuoteVerifier.vyi",
        "contracts/modules/signatures.vy",
    ]
    assert artifact["bytecode"].startswith("0x")
    assert artifact["storage_layout"] == {}
    assert set(artifact["immutables"]) == {"DOMAIN_SEPARATOR", "AUDITORS", "THRESHOLD", "ASSURANCE"}


@pytest.mark.parametrize("name", build_artifacts.SHIPPED)
def test_the_recorded_sources_are_those_the_compiler_read(name: str) -> None:
    path = build_artifacts.CONTRACTS / name
    source = FileInput(contents=path.read_text(), source_id=-1, path=path, resolved_path=path)
    data = CompilerData(source, FilesystemInputBundle([build_artifacts.CONTRACTS]))
    read = {Path(i.resolved_path) for i in data.resolved_imports.compiler_inputs if not i.from_builtin}
    assert set(build_artifacts.source_closure(path)) == read | {path}


def test_bytes_do_not_depend_on_where_the_repository_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = build_artifacts.build_artifact(VERIFIER)
    shutil.copytree(build_artifacts.CONTRACTS, tmp_path / "contracts")
    monkeypatch.setattr(build_artifacts, "REPOSITORY", tmp_path)
    monkeypatch.setattr(build_artifacts, "CONTRACTS", tmp_path / "contracts")
    assert build_artifacts.build_artifact(tmp_path / "contracts" / VERIFIER.name) == here


@pytest.fixture
def small_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One contract and its artifact."""
    contracts = tmp_path / "contracts"
    contracts.mkdir()
    (contracts / "A.vy").write_text("# pragma version 0.4.3\na: public(uint256)\n")
    monkeypatch.setattr(build_artifacts, "REPOSITORY", tmp_path)
    monkeypatch.setattr(build_artifacts, "CONTRACTS", contracts)
    monkeypatch.setattr(build_artifacts, "ARTIFACTS", contracts / "artifacts")
    monkeypatch.setattr(build_artifacts, "SHIPPED", ("A.vy",))
    assert build_artifacts.main([]) == 0
    return contracts


def test_check_passes_on_what_was_just_built_and_writes_nothing(small_repository: Path) -> None:
    artifact = small_repository / "artifacts/A.json"
    before = artifact.stat().st_mtime_ns
    assert build_artifacts.main(["--check"]) == 0
    assert artifact.stat().st_mtime_ns == before


@pytest.mark.parametrize("tampering", ["bytecode", "source", "missing", "extra"])
def test_check_fails_on_any_difference(
    small_repository: Path, tampering: str, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact = small_repository / "artifacts/A.json"
    if tampering == "bytecode":
        artifact.write_bytes(artifact.read_bytes().replace(b"0x", b"0y", 1))
    elif tampering == "source":
        with (small_repository / "A.vy").open("a") as source:
            source.write("# a comment\n")
    elif tampering == "missing":
        artifact.unlink()
    else:
        (small_repository / "artifacts/B.json").write_text("{}")
    assert build_artifacts.main(["--check"]) == 1
    assert capsys.readouterr().err.startswith("contracts/artifacts/")
