"""The home directory: private, atomic, locked."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from goldengrain.home import HOME_VARIABLE, Home, atomic_write, read_json_object
from goldengrain_protocol.errors import InvalidInput, UnavailableError


def test_home_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "elsewhere"))
    assert Home().root == tmp_path / "elsewhere"
    assert Home(tmp_path / "named").root == tmp_path / "named"
    monkeypatch.delenv(HOME_VARIABLE)
    assert Home().root == Path.home() / ".goldengrain"


def test_directories_are_private(home: Home) -> None:
    directory = home.worker_dir("alpha")
    for path in (home.root, home.root / "worker", directory):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_files_are_private_and_replaced_whole(home: Home) -> None:
    path = home.ensure(home.networks_dir) / "x.json"
    atomic_write(path, b"{}")
    atomic_write(path, b'{"a": 1}')
    assert read_json_object(path) == {"a": 1}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", ["", "..", "a/b", "-x", "x" * 65, "a\n", ".hidden"])
def test_rejects_names_that_are_no_file_names(home: Home, name: str) -> None:
    with pytest.raises(InvalidInput, match="name must be"):
        home.worker_dir(name)


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\xff\xfe", b"[" * 100_000])
def test_rejects_files_that_are_no_json_objects(home: Home, content: bytes) -> None:
    path = home.ensure() / "x.json"
    path.write_bytes(content)
    with pytest.raises(InvalidInput):
        read_json_object(path)


def test_lock_excludes_other_holders_and_names_the_process(home: Home) -> None:
    with home.lock("worker"):
        with pytest.raises(UnavailableError, match=r"in use by process \d+"):
            with home.lock("worker"):
                pass
    with home.lock("worker"):
        pass


def test_lock_ends_with_its_process_however_it_dies(home: Home) -> None:
    program = (
        "import os, sys, time\n"
        "from goldengrain.home import Home\n"
        "with Home(sys.argv[1]).lock('worker'):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(home.root)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UnavailableError, match=f"process {holder.pid}"):
            with home.lock("worker"):
                pass
        holder.kill()
        holder.wait()
        with home.lock("worker"):
            pass


def test_full_or_forbidden_directory_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    with pytest.raises(UnavailableError, match="cannot create"):
        Home(tmp_path / "file").ensure()
    with pytest.raises(UnavailableError, match="cannot write"):
        atomic_write(tmp_path / "absent" / "x", b"")
