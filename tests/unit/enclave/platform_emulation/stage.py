"""Fixtures of the platform tests: the emulated machine, and the ways in which a tree is served."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from goldengrain_enclave.platform import simulated_pki
from tests.unit.enclave.platform_emulation.calls import OsCalls
from tests.unit.enclave.platform_emulation.fuse import mounted
from tests.unit.enclave.platform_emulation.silicon import NOW, Silicon, fuse_problem
from tests.unit.enclave.platform_emulation.trees import Tree

Serve = Callable[[Tree, ModuleType], contextlib.AbstractContextManager[Path]]


@pytest.fixture(scope="session")
def silicon() -> Silicon:
    return Silicon(simulated_pki.create_pki(NOW, b"emulated machine"))


@pytest.fixture(scope="session")
def fuse(tmp_path_factory: pytest.TempPathFactory) -> str:
    return fuse_problem(tmp_path_factory.mktemp("fuse"))


@pytest.fixture(params=["kernel", "calls"])
def serve(
    request: pytest.FixtureRequest, fuse: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Serve:
    """Serve a tree to a platform module: through the kernel, or in place of the module's `os`."""

    @contextlib.contextmanager
    def through_kernel(tree: Tree, module: ModuleType) -> Iterator[Path]:
        directory = tmp_path / "device"
        directory.mkdir(exist_ok=True)
        with mounted(tree, directory):
            yield directory

    @contextlib.contextmanager
    def through_calls(tree: Tree, module: ModuleType) -> Iterator[Path]:
        directory = tmp_path / "nowhere"
        with monkeypatch.context() as patched:
            patched.setattr(module, "os", OsCalls(tree, directory))
            yield directory

    if request.param == "calls":
        return through_calls
    if fuse:
        pytest.skip(fuse)
    return through_kernel


@pytest.fixture
def mount(fuse: str, tmp_path: Path) -> Callable[[Tree], contextlib.AbstractContextManager[Path]]:
    """Serve a tree to every process, through the kernel."""
    if fuse:
        pytest.skip(fuse)

    def serve_to_all(tree: Tree) -> contextlib.AbstractContextManager[Path]:
        directory = tmp_path / "mounted"
        directory.mkdir(exist_ok=True)
        return mounted(tree, directory)

    return serve_to_all
