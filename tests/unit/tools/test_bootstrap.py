"""The bootstrap: done once, repeated when its sources changed, and started again after an interruption."""

from __future__ import annotations

from pathlib import Path

import bootstrap
import pytest
from bootstrap import BootstrapError, digest, installer_environment, locked_version, make_part


class Part:
    """A part that counts how often it was made; `fails` interrupts the making half way."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.times = 0
        self.fails = False

    def make(self) -> None:
        self.times += 1
        (self.folder / "half").touch()
        if self.fails:
            raise KeyboardInterrupt

    def ensure(self, wanted: str, *, broken: bool = False) -> bool:
        return make_part(self.folder, wanted, self.make, broken=lambda: broken)


@pytest.fixture
def part(tmp_path: Path) -> Part:
    return Part(tmp_path / "part")


def test_part_is_made_once(part: Part) -> None:
    assert part.ensure("a")
    assert not part.ensure("a")
    assert part.times == 1


def test_part_is_updated_in_place_when_its_sources_changed(part: Part) -> None:
    part.ensure("a")
    (part.folder / "kept").touch()
    assert part.ensure("b")
    assert part.times == 2
    assert (part.folder / "kept").exists()


def test_interrupted_part_is_started_again_from_nothing(part: Part) -> None:
    part.fails = True
    with pytest.raises(KeyboardInterrupt):
        part.ensure("a")
    (part.folder / "rest").touch()
    part.fails = False
    assert part.ensure("a")
    assert not (part.folder / "rest").exists()
    assert not part.ensure("a")


def test_interrupted_update_is_started_again_from_nothing(part: Part) -> None:
    part.ensure("a")
    part.fails = True
    with pytest.raises(KeyboardInterrupt):
        part.ensure("b")
    part.fails = False
    assert part.ensure("a")
    assert part.times == 3


def test_part_that_does_not_run_any_more_is_started_again(part: Part) -> None:
    part.ensure("a")
    (part.folder / "rest").touch()
    assert part.ensure("a", broken=True)
    assert not (part.folder / "rest").exists()


def test_digest_changes_with_every_part(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    file.write_text("a==1\n")
    first = digest(file, "x")
    assert digest(file, "x") == first
    assert digest(file, "y") != first
    file.write_text("a==2\n")
    assert digest(file, "x") != first


def test_installer_follows_what_pip_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example/simple")
    monkeypatch.setenv("PIP_CERT", "/etc/mirror.pem")
    env = installer_environment()
    assert env["UV_DEFAULT_INDEX"] == "https://mirror.example/simple"
    assert env["SSL_CERT_FILE"] == "/etc/mirror.pem"
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://own.example/simple")
    assert installer_environment()["UV_DEFAULT_INDEX"] == "https://own.example/simple"


def test_locked_version_is_read_from_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    lock.write_text("# made by\nuv==0.13.9 \\\n    --hash=sha256:00\n")
    assert locked_version(lock, "uv") == "0.13.9"
    with pytest.raises(BootstrapError, match="does not name"):
        locked_version(lock, "pip")


def test_failing_command_says_which_and_shows_what_it_printed(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BootstrapError, match="exit code 3"):
        bootstrap.run(["sh", "-c", "echo the reason; exit 3"], chatty=False)
    assert "the reason" in capfd.readouterr().err
    with pytest.raises(BootstrapError, match="not installed"):
        bootstrap.run(["no-such-program-anywhere"])
