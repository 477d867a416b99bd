"""The enclave as a process on a pipe: frames only, clean ends, and the nesting that a host uses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import goldengrain_protocol
from goldengrain_enclave.benchmark.namespaces import bubblewrap_path, readable_paths
from goldengrain_protocol import wire
from goldengrain_protocol.frames import FrameDecoder, encode_frame
from tests.unit.enclave.world import CONFIG, World

pytestmark = pytest.mark.sandbox


class Process:
    """An enclave process and the frames to and from it."""

    def __init__(self, platform_dir: Path, *prefix: str, options: tuple[str, ...] = ()) -> None:
        command = [sys.executable, "-I", "-B", "-m", "goldengrain_enclave", "--platform", "simulated"]
        self.popen = subprocess.Popen(
            [*prefix, *command, "--platform-dir", str(platform_dir), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._decoder = FrameDecoder()

    def ask(self, request: wire.Request) -> Any:
        assert self.popen.stdin is not None
        assert self.popen.stdout is not None
        self.popen.stdin.write(encode_frame(wire.encode_request(request)))
        self.popen.stdin.flush()
        while data := os.read(self.popen.stdout.fileno(), 2**20):
            frames = self._decoder.feed(data)
            if frames:
                return wire.decode_reply(frames[0])
        raise AssertionError("the enclave closed its pipe")

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *args: object) -> None:
        self.popen.kill()
        self.popen.wait()
        for pipe in (self.popen.stdin, self.popen.stdout, self.popen.stderr):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def outer(platform_dir: Path) -> list[str]:
    """The namespaces that a host puts around the enclave process."""
    bubblewrap = bubblewrap_path()
    assert bubblewrap is not None
    binds: list[str] = []
    for path in [
        *readable_paths(),
        "/usr",
        str(Path(goldengrain_protocol.__file__).parent),
        str(platform_dir),
    ]:
        binds += ["--ro-bind", path, path]
    namespaces = ["--unshare-user", "--uid", "1000", "--gid", "1000", "--unshare-all"]
    filesystem = ["--proc", "/proc", "--dev", "/dev", "--ro-bind-try", "/sys/devices/system/cpu"]
    return [
        *(bubblewrap, *namespaces, "--die-with-parent", "--new-session", "--clearenv"),
        *("--tmpfs", "/tmp", *filesystem, "/sys/devices/system/cpu", *binds, "--chdir", "/", "--"),
    ]


@pytest.mark.parametrize("nested", [False, True])
def test_boots_scores_and_ends_with_its_input(
    platform_dir: Path,
    outer: list[str],
    good_model: bytes,
    digits: tuple[Any, Any],
    make_world: Callable[..., World],
    nested: bool,
) -> None:
    with Process(platform_dir, *(outer if nested else [])) as process:
        booted = process.ask(wire.BootRequest(CONFIG, b""))
        assert isinstance(booted, wire.BootReply), booted
        world = World(booted, model=good_model, inputs={"image": digits[0]}, labels=digits[1])
        reply = process.ask(world.job())
        assert isinstance(reply, wire.EvaluateReply), reply
        engine = wire.decode_evidence(reply.evidence).engine
        assert "namespaces" in engine
        assert "seccomp" in engine
        assert process.popen.stdin is not None
        process.popen.stdin.close()
        assert process.popen.wait(10) == 0


def test_ends_cleanly_on_sigterm_with_all_its_children(platform_dir: Path) -> None:
    with Process(platform_dir) as process:
        assert isinstance(process.ask(wire.BootRequest(CONFIG, b"")), wire.BootReply)
        children = _children(process.popen.pid)
        assert children
        process.popen.send_signal(signal.SIGTERM)
        assert process.popen.wait(10) == 0
        deadline = time.monotonic() + 5
        while [pid for pid in children if Path(f"/proc/{pid}").exists()] and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]


def test_prints_of_libraries_do_not_reach_the_frames(platform_dir: Path) -> None:
    script = (
        "import sys; from goldengrain_enclave import entry; original = entry.Enclave.answer\n"
        "def noisy(self, request):\n    print('noise', flush=True); import os; os.write(1, b'noise')\n"
        "    return original(self, request)\n"
        "entry.Enclave.answer = noisy\n"
        f"sys.exit(entry.main(['--platform', 'simulated', '--platform-dir', {str(platform_dir)!r}]))"
    )
    request = encode_frame(wire.encode_request(wire.BootRequest(CONFIG, b"")))
    result = subprocess.run(
        [sys.executable, "-c", script], input=request, capture_output=True, timeout=60, check=True
    )
    (frame,) = FrameDecoder().feed(result.stdout)
    assert isinstance(wire.decode_reply(frame), wire.BootReply)
    assert b"noise" in result.stderr


def test_start_without_a_platform_says_what_to_do(tmp_path: Path) -> None:
    with Process(tmp_path / "missing") as process:
        assert process.popen.wait(30) == 1
        assert process.popen.stderr is not None
        assert b"python -m goldengrain_enclave.platform.simulated" in process.popen.stderr.read()


def test_weaker_layers_need_the_dangerous_flag_and_show_in_the_evidence(
    platform_dir: Path, good_model: bytes, digits: tuple[Any, Any]
) -> None:
    with Process(platform_dir, options=("--dangerous-sandbox-layers", "seccomp")) as process:
        booted = process.ask(wire.BootRequest(CONFIG, b""))
        assert isinstance(booted, wire.BootReply)
        world = World(booted, model=good_model, inputs={"image": digits[0]}, labels=digits[1])
        engine = wire.decode_evidence(process.ask(world.job()).evidence).engine
        assert "sandbox " in engine
        assert "required seccomp" in engine


def test_frame_that_is_too_long_ends_the_process_with_an_error(platform_dir: Path) -> None:
    with Process(platform_dir) as process:
        assert process.popen.stdin is not None
        process.popen.stdin.write(b"\xff" * 8)
        process.popen.stdin.flush()
        assert process.popen.wait(30) == 1


def _children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if parent == pid:
                found.append(int(entry.name))
    return found
