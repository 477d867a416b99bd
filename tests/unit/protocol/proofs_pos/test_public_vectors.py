"""The consensus specifications' own `light_client/sync` cases, and what the player of them refuses."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from goldengrain_protocol.errors import GoldenGrainError
from tests.unit.protocol.proofs_pos.consensus_vectors import (
    VectorMismatch,
    find_cases,
    main,
    run_case,
    uncompress,
)

BUNDLED = Path(__file__).parent / "vectors"
FURTHER = os.environ.get("CONSENSUS_VECTORS", "")
CASES = find_cases(BUNDLED) + (find_cases(Path(FURTHER)) if FURTHER else [])


@pytest.mark.parametrize("case", CASES, ids=lambda case: "/".join(case.parts[-6:]))
def test_official_case(case: Path) -> None:
    assert run_case(case) >= 1


def test_electra_and_fulu_are_among_them() -> None:
    assert {"electra", "fulu"} <= {case.parts[case.parts.index("light_client") - 1] for case in CASES}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    source = next(case for case in CASES if "electra" in case.parts and case.name == "light_client_sync")
    target = tmp_path / "minimal" / "electra" / "light_client" / "sync" / "pyspec_tests" / "copy"
    shutil.copytree(source, target)
    return target


def test_a_wrong_check_is_noticed(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps = copy / "steps.yaml"
    text = steps.read_text()
    assert main([str(copy.parents[4])]) == 0
    steps.write_text(text.replace("slot: 72", "slot: 73"))
    with pytest.raises(VectorMismatch, match="must be 73, got 72"):
        run_case(copy)
    assert main([str(copy.parents[4])]) == 1
    assert "0 of 1 cases hold" in capsys.readouterr().out


def test_a_false_update_is_noticed(copy: Path) -> None:
    updates = sorted(copy.glob("update_*_sf.ssz_snappy"))
    shutil.copyfile(updates[0], updates[1])
    with pytest.raises((VectorMismatch, GoldenGrainError)):
        run_case(copy)


def test_another_genesis_is_noticed(copy: Path) -> None:
    meta = copy / "meta.yaml"
    meta.write_text(
        meta.read_text().replace("genesis_validators_root: '0x0", "genesis_validators_root: '0x1")
    )
    with pytest.raises(GoldenGrainError, match="signature"):
        run_case(copy)


def test_a_directory_without_cases_is_a_failure(tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 1


@pytest.mark.parametrize(
    ("data", "plain"),
    [
        (b"\0", b""),
        (b"\5\x10hello", b"hello"),
        (b"\x0c\x08abc\x15\x03", b"abc" * 4),
        (b"\x0a\x00a\x22\x01\x00", b"a" * 10),
        (b"\x80\x01\xf0\x7f" + bytes(128), bytes(128)),
    ],
)
def test_snappy(data: bytes, plain: bytes) -> None:
    assert uncompress(data) == plain


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"\5\x10hell",
        b"\5\x0chell",
        b"\4\x10hello",
        b"\4\x01\5",
        b"\xff\xff\xff\xff\x0f",
        b"\4\x05",
    ],
)
def test_snappy_refuses(data: bytes) -> None:
    with pytest.raises(ValueError, match="snappy"):
        uncompress(data)
