"""The operators' recipes, as far as they can be tried without the hardware: what they write, and what they refuse."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import socket
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from goldengrain_enclave.entry import _parse
from goldengrain_enclave.platform.dstack_agent import AGENT_SOCKET
from goldengrain_enclave.platform.select import PLATFORM_NAMES
from goldengrain_enclave.platform.simulated import create_directory
from goldengrain_protocol import wire
from goldengrain_protocol.frames import FrameDecoder, encode_frame
from tests.unit.enclave.world import CONFIG

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
IMAGE = "registry.example/goldengrain-enclave@sha256:" + "0123456789abcdef" * 4


def run(*words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | variables, check=False)


def newc(archive: bytes) -> list[tuple[str, int, int, bytes]]:
    """Return (name, mode, date, content) of each entry; written apart from the packer."""
    found, at = [], 0
    while True:
        assert archive[at : at + 6] == b"070701"
        field = [int(archive[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        name = archive[at + 110 : at + 110 + field[11] - 1].decode()
        start = at + -(-(110 + field[11]) // 4) * 4
        if name == "TRAILER!!!":
            assert not any(archive[start:])
            return found
        assert (field[2], field[3]) == (0, 0)
        found.append((name, field[1], field[5], archive[start : start + field[6]]))
        at = start + -(-field[6] // 4) * 4


class TestInitramfs:
    def tree(self, root: Path, names: list[str]) -> Path:
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(name.encode() * 3)
        (root / "bin").mkdir()
        (root / "bin/tool").write_bytes(b"#!/bin/sh\n")
        (root / "bin/tool").chmod(0o750)
        (root / "lib64").symlink_to("usr/lib")
        return root

    def pack(self, root: Path, out: Path) -> str:
        done = run(DEPLOY / "tdx/pack_initramfs.py", root, DEPLOY / "tdx/init", out, SOURCE_DATE_EPOCH="77")
        assert done.returncode == 0, done.stderr
        return done.stdout

    def test_same_files_give_the_same_bytes(self, tmp_path: Path) -> None:
        names = ["etc/passwd", "usr/lib/b.so", "usr/lib/a.so", "opt/x/y/z"]
        first = self.tree(tmp_path / "first", names)
        second = self.tree(tmp_path / "second", names[::-1])
        for path in second.rglob("*"):
            if not path.is_symlink():
                os.utime(path, (1, 1))
        printed = self.pack(first, tmp_path / "first.cpio")
        assert self.pack(second, tmp_path / "second.cpio") == printed
        archive = (tmp_path / "first.cpio").read_bytes()
        assert (tmp_path / "second.cpio").read_bytes() == archive
        assert printed == f"sha384 {hashlib.sha384(archive).hexdigest()}\n"
        (second / "usr/lib/a.so").write_bytes(b"other")
        assert self.pack(second, tmp_path / "second.cpio") != printed

    def test_archive_holds_every_file_and_our_init(self, tmp_path: Path) -> None:
        root = self.tree(tmp_path / "root", ["etc/passwd"])
        (root / "init").write_bytes(b"somebody else's")
        self.pack(root, tmp_path / "out.cpio")
        entries = {name: rest for name, *rest in newc((tmp_path / "out.cpio").read_bytes())}
        assert set(entries) == {"bin", "bin/tool", "etc", "etc/passwd", "init", "lib64"}
        assert entries["init"] == [stat.S_IFREG | 0o755, 77, (DEPLOY / "tdx/init").read_bytes()]
        assert entries["bin/tool"][0] == stat.S_IFREG | 0o755
        assert entries["etc/passwd"] == [stat.S_IFREG | 0o644, 77, b"etc/passwd" * 3]
        assert entries["lib64"] == [stat.S_IFLNK | 0o777, 77, b"usr/lib"]

    def test_device_nodes_and_sockets_are_refused(self, tmp_path: Path) -> None:
        root = self.tree(tmp_path / "root", ["etc/passwd"])
        self.pack(root, tmp_path / "out.cpio")
        os.mkfifo(root / "etc/pipe")
        done = run(DEPLOY / "tdx/pack_initramfs.py", root, DEPLOY / "tdx/init", tmp_path / "out.cpio")
        assert done.returncode != 0
        assert "etc/pipe is neither" in done.stderr


class TestDstack:
    def test_documents_are_the_same_everywhere_and_name_the_image(self, tmp_path: Path) -> None:
        first = run(DEPLOY / "dstack/render.py", IMAGE, tmp_path / "a")
        again = run(DEPLOY / "dstack/render.py", IMAGE, tmp_path / "b")
        assert first.returncode == 0, first.stderr
        assert first.stdout == again.stdout
        document = (tmp_path / "a/app-compose.json").read_bytes()
        digest = hashlib.sha256(document).hexdigest()
        assert first.stdout.split() == ["compose_hash", digest, "app_id", digest[:40]]
        parsed = json.loads(document)
        compose = parsed["docker_compose_file"]
        assert compose == (tmp_path / "a/docker-compose.yaml").read_text()
        assert f'image: "{IMAGE}"' in compose
        assert f"{AGENT_SOCKET}:{AGENT_SOCKET}" in compose
        assert parsed["no_instance_id"] is True
        assert parsed["allowed_envs"] == []
        assert "$" not in re.sub(r"(?m)^\s*#.*$", "", compose)
        other = run(DEPLOY / "dstack/render.py", IMAGE, tmp_path / "c", "--key-provider", "local")
        assert other.stdout != first.stdout

    @pytest.mark.parametrize(
        "image", ["goldengrain-enclave:latest", "x@sha256:00", IMAGE + " ", 'x"' + IMAGE]
    )
    def test_image_without_a_digest_is_refused(self, tmp_path: Path, image: str) -> None:
        done = run(DEPLOY / "dstack/render.py", image, tmp_path / "out")
        assert done.returncode != 0
        assert "by its digest" in done.stderr
        assert not (tmp_path / "out").exists()


def test_gramine_manifest_starts_this_enclave_in_production_mode() -> None:
    template = (DEPLOY / "gramine/goldengrain.manifest.template").read_text()
    values = {"root": "ROOT", "arch_libdir": "/lib/x86_64-linux-gnu", "gramine.libos": "LIBOS"}
    values["gramine.runtimedir()"] = "RUNTIME"
    rendered = re.sub(r"{{ (.*?) }}", lambda match: values[match[1]], template)
    manifest: dict[str, Any] = tomllib.loads(rendered)
    sgx = manifest["sgx"]
    assert (sgx["debug"], sgx["remote_attestation"]) == (False, "dcap")
    assert "allowed_files" not in sgx
    assert not [key for key in manifest["loader"] if key.startswith("insecure")]
    argv = manifest["loader"]["argv"]
    assert argv[1:5] == ["-I", "-B", "-m", "goldengrain_enclave"]
    options = _parse(argv[5:])
    assert (options.platform, options.platform_dir) == ("gramine", None)
    assert options.dangerous_sandbox_layers == ""
    mounted = {mount["uri"] for mount in manifest["fs"]["mounts"] if "uri" in mount}
    assert {uri.rstrip("/") for uri in sgx["trusted_files"]} >= mounted


@pytest.mark.parametrize("name", ["image/build.sh", "tdx/init", "tdx/run-vm.sh", "gramine/build.sh"])
def test_shell_scripts_parse_and_are_executable(name: str) -> None:
    subprocess.run(["sh", "-n", str(DEPLOY / name)], check=True)
    assert os.access(DEPLOY / name, os.X_OK)
    assert (DEPLOY / name).read_text().startswith("#!/bin/sh\n")


def test_platform_in_every_recipe_is_one_that_the_enclave_knows() -> None:
    named = set()
    for path in DEPLOY.rglob("*"):
        if path.is_file():
            named |= set(re.findall(r'--platform"?,? "?([a-z]+)', path.read_text()))
    assert named == set(PLATFORM_NAMES) - {"simulated"}


def test_image_needs_pinned_inputs(tmp_path: Path) -> None:
    def build(*words: str) -> subprocess.CompletedProcess[str]:
        command = [str(DEPLOY / "image/build.sh"), *words, str(tmp_path / "out")]
        return subprocess.run(command, capture_output=True, text=True, cwd=DEPLOY.parent, check=False)

    unpinned = build("python:3.11-slim", "1700000000")
    assert (unpinned.returncode, "by its digest" in unpinned.stderr) == (2, True)
    undated = build("python@sha256:" + "0" * 64, "today")
    assert (undated.returncode, "number of seconds" in undated.stderr) == (2, True)
    assert "ARG BASE\n" in (DEPLOY / "image/Containerfile").read_text()
    assert "--require-hashes" in (DEPLOY / "image/Containerfile").read_text()


@contextlib.contextmanager
def door(*arguments: str) -> Iterator[int]:
    """Run the door on a free port of this machine."""
    command = [sys.executable, "-I", "-B", str(DEPLOY / "image/door.py"), "--address", "127.0.0.1"]
    process = subprocess.Popen([*command, "--port", "0", "--", *arguments], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        yield int(process.stderr.readline().rsplit(" ", 1)[1])
    finally:
        process.terminate()
        process.wait(10)
        assert process.stderr is not None
        process.stderr.close()


@pytest.mark.sandbox
def test_door_lends_the_enclave_to_one_connection_after_another(tmp_path: Path) -> None:
    create_directory(tmp_path / "silicon", 1_800_000_000)

    def ask(port: int, sealed: bytes) -> Any:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            connection.sendall(encode_frame(wire.encode_request(wire.BootRequest(CONFIG, sealed))))
            decoder = FrameDecoder()
            while data := connection.recv(2**16):
                frames = decoder.feed(data)
                if frames:
                    return wire.decode_reply(frames[0])
        return None

    with door("--platform", "simulated", "--platform-dir", str(tmp_path / "silicon")) as port:
        first = ask(port, b"")
        again = ask(port, first.sealed_identity)
    assert isinstance(first, wire.BootReply)
    assert again.signer == first.signer
