"""Compiles the contracts into `contracts/artifacts/NAME.json`, or checks that the committed ones rebuild.

    python tools/build_artifacts.py           writes every artifact
    python tools/build_artifacts.py --check   exit 1 if any committed artifact differs by a byte

Users never compile: the packages read the committed artifacts. The output depends only on the sources and the
compiler version, not on where the repository lies.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import vyper
from vyper.cli.vyper_compile import compile_files
from vyper.compiler.settings import OptimizationLevel, Settings

REPOSITORY: Final = Path(__file__).resolve().parent.parent
CONTRACTS: Final = REPOSITORY / "contracts"
ARTIFACTS: Final = CONTRACTS / "artifacts"
COMPILER_VERSION: Final = "0.4.3"
EVM_VERSION: Final = "prague"
"""Newest fork that this compiler knows; osaka, on which the gas is measured, runs its code unchanged."""

SHIPPED: Final = (
    "Market.vy",
    "EnclaveRegistry.vy",
    "AuditorQuorumVerifier.vy",
    "CollateralCertificates.vy",
    "CollateralTcb.vy",
    "QuoteVerifier.vy",
    "dev/DevToken.vy",
)
"""Contracts with an artifact, relative to `contracts/`."""


@dataclass(frozen=True, slots=True)
class Generator:
    """One of the compiler's code generators."""

    optimization: str
    experimental_codegen: bool

    def settings(self) -> Settings:
        return Settings(
            optimize=OptimizationLevel.from_string(self.optimization),
            evm_version=EVM_VERSION,
            experimental_codegen=self.experimental_codegen,
        )


GENERATORS: Final = {
    "gas": Generator("gas", experimental_codegen=False),
    "none": Generator("none", experimental_codegen=False),
    "venom": Generator("gas", experimental_codegen=True),
}
"""The behaviour suite runs against all of them and they must agree."""

RELEASE_GENERATOR: Final = "gas"
"""What is shipped: the default pipeline, optimised for gas. The experimental one only cross-checks it."""

FORMATS: Final = ["abi", "bytecode", "bytecode_runtime", "layout", "method_identifiers", "integrity"]


def compile_contract(path: Path, generator: str = RELEASE_GENERATOR) -> dict[str, Any]:
    """Return the compiler's outputs (keys: `FORMATS`) for one source file, wherever it lies.

    Raises:
        vyper.exceptions.VyperException: the source does not compile.
    """
    outputs = compile_files(
        [str(path)],
        FORMATS,
        paths=[str(CONTRACTS)],
        include_sys_path=False,
        settings=GENERATORS[generator].settings(),
        warnings_control="error",
    )
    (output,) = outputs.values()
    return dict(output)


def source_closure(path: Path) -> list[Path]:
    """Return every file below `contracts/` that `path` is compiled from, itself included, in sorted order."""
    seen: set[Path] = set()
    pending = [path]
    while pending:
        current = pending.pop()
        if current in seen:
            continue
        seen.add(current)
        for line in current.read_text(encoding="utf-8").splitlines():
            words = line.split()
            if len(words) >= 4 and words[0] == "from" and words[2] == "import":
                folder = CONTRACTS / words[1].replace(".", "/")
                candidates = [folder / f"{words[3]}{suffix}" for suffix in (".vy", ".vyi")]
                pending.extend(candidate for candidate in candidates if candidate.exists())
    return sorted(seen)


def build_artifact(path: Path) -> bytes:
    """Return the canonical bytes of one contract's artifact (JSON, sorted keys, one trailing newline)."""
    output = compile_contract(path)
    generator = GENERATORS[RELEASE_GENERATOR]
    artifact = {
        "abi": output["abi"],
        "bytecode": output["bytecode"],
        "compiler": {
            "evm_version": EVM_VERSION,
            "experimental_codegen": generator.experimental_codegen,
            "name": "vyper",
            "optimization": generator.optimization,
            "version": vyper.__version__.partition("+")[0],
        },
        "contract_name": path.stem,
        "immutables": output["layout"].get("code_layout", {}),
        "integrity": output["integrity"],
        "method_identifiers": output["method_identifiers"],
        "runtime_bytecode": output["bytecode_runtime"],
        "source": path.relative_to(REPOSITORY).as_posix(),
        "sources_sha256": {
            source.relative_to(REPOSITORY).as_posix(): hashlib.sha256(source.read_bytes()).hexdigest()
            for source in source_closure(path)
        },
        "storage_layout": output["layout"].get("storage_layout", {}),
        "transient_storage_layout": output["layout"].get("transient_storage_layout", {}),
    }
    return (json.dumps(artifact, indent=1, sort_keys=True) + "\n").encode("ascii")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare, do not write; exit 1 on a difference")
    options = parser.parse_args(arguments)
    if not vyper.__version__.startswith(COMPILER_VERSION):
        print(f"expected vyper {COMPILER_VERSION}, got {vyper.__version__}", file=sys.stderr)
        return 1

    ARTIFACTS.mkdir(exist_ok=True)
    differing = []
    for name in SHIPPED:
        path = CONTRACTS / name
        built = build_artifact(path)
        target = ARTIFACTS / f"{path.stem}.json"
        if not target.exists() or target.read_bytes() != built:
            differing.append(target)
            if not options.check:
                target.write_bytes(built)
    extra = set(ARTIFACTS.glob("*.json")) - {ARTIFACTS / f"{Path(name).stem}.json" for name in SHIPPED}
    if not options.check:
        for target in differing:
            print(f"wrote {target.relative_to(REPOSITORY)}")
        return 0
    for target in differing:
        path = target.relative_to(REPOSITORY)
        print(f"{path} does not rebuild: run tools/build_artifacts.py", file=sys.stderr)
    for target in sorted(extra):
        print(f"{target.relative_to(REPOSITORY)} belongs to no contract", file=sys.stderr)
    if differing or extra:
        return 1
    print(f"{len(SHIPPED)} artifacts rebuild byte for byte")
    return 0


if __name__ == "__main__":
    sys.exit(main())
