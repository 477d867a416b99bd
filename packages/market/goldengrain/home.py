"""The user's directory (`GG_HOME`): where every file lives, and how files are written and locked.

Everything below the root belongs to one user: directories are made with mode 0700, files with 0600. Files are
replaced whole (written beside, flushed, renamed), so a crash leaves the old content or the new, never half.
"""

import fcntl
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from goldengrain.bounded_json import decode_json
from goldengrain_protocol.errors import InvalidInput, UnavailableError

HOME_VARIABLE: Final = "GG_HOME"
"""Environment variable that moves the home directory; the default is `~/.goldengrain`."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LOCK_POLL_S: Final = 0.05


def check_name(name: str, what: str) -> str:
    """Return `name` if it can safely be a file name (letters, digits, `.`, `_`, `-`; at most 64 characters).

    Raises:
        InvalidInput: it cannot.
    """
    if _NAME.fullmatch(name) is None:
        raise InvalidInput(
            f"{what} name must be 1 to 64 letters, digits, dots, dashes or underscores,"
            f" beginning with a letter or digit, got {name[:80]!r}"
        )
    return name


class Home:
    """Paths below one home directory. Creating a `Home` touches nothing; `ensure` makes directories."""

    def __init__(self, path: Path | str | None = None) -> None:
        chosen = path if path is not None else os.environ.get(HOME_VARIABLE) or Path.home() / ".goldengrain"
        self.root: Final = Path(chosen).expanduser().absolute()

    def __repr__(self) -> str:
        return f"Home({str(self.root)!r})"

    @property
    def accounts_dir(self) -> Path:
        return self.root / "accounts"

    @property
    def networks_dir(self) -> Path:
        return self.root / "networks"

    @property
    def devnet_dir(self) -> Path:
        return self.root / "devnet"

    @property
    def blobs_dir(self) -> Path:
        return self.root / "blobs"

    @property
    def blob_cache_dir(self) -> Path:
        return self.root / "blob-cache"

    @property
    def journal_path(self) -> Path:
        return self.root / "journal.sqlite"

    @property
    def simulated_platform_dir(self) -> Path:
        return self.root / "simulated-platform"

    def worker_dir(self, name: str) -> Path:
        """Return the directory of one worker, made if absent."""
        return self.ensure(self.root / "worker" / check_name(name, "worker"))

    def ensure(self, path: Path | None = None) -> Path:
        """Return `path` (default: the root) after making it and its parents up to the root with mode 0700.

        Raises:
            UnavailableError: the file system refuses.
        """
        target = self.root if path is None else path
        try:
            _make_private(self.root)
            relative = target.relative_to(self.root)
            current = self.root
            for part in relative.parts:
                current = current / part
                _make_private(current)
        except OSError as exc:
            raise UnavailableError(
                f"cannot create {target}: {exc.strerror}",
                next_step=f"make {self.root} writable, or set {HOME_VARIABLE} to another directory",
            ) from exc
        return target

    @contextmanager
    def lock(self, name: str, *, wait_s: float = 0.0) -> Iterator[None]:
        """Hold the named lock of this home against all other processes; see `directory_lock`."""
        directory = self.ensure(self.root / "locks" / check_name(name, "lock"))
        with directory_lock(directory, what=name, wait_s=wait_s):
            yield


@contextmanager
def directory_lock(directory: Path, *, what: str, wait_s: float = 0.0) -> Iterator[None]:
    """Hold `directory` exclusively against other processes and other holders in this one.

    The operating system drops the lock when the process dies, however it dies: there are no stale locks.

    Args:
        what: what the directory is, for the message.
        wait_s: seconds to wait for the present holder.

    Raises:
        UnavailableError: another process holds it still; the message names its process id.
    """
    path = directory / "lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as exc:
                if time.monotonic() >= deadline:
                    holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
                    raise UnavailableError(
                        f"{what} is in use by process {holder} ({directory})",
                        next_step="stop that process, or use another name or directory",
                    ) from exc
                time.sleep(_LOCK_POLL_S)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def atomic_write(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace the file at `path` by `data`: after a crash it holds the old content or the new, whole.

    Raises:
        UnavailableError: the file system refuses (full, read-only, no permission).
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)
    except OSError as exc:
        raise UnavailableError(f"cannot write {path}: {exc.strerror}") from exc


def sync_directory(directory: Path) -> None:
    """Make renames inside `directory` durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_json_object(path: Path) -> dict[str, object]:
    """Return the JSON object in the file at `path`.

    Raises:
        InvalidInput: no such file, not JSON, or not an object.
    """
    try:
        value = decode_json(path.read_bytes())
    except FileNotFoundError as exc:
        raise InvalidInput(f"no such file: {path}") from exc
    except OSError as exc:
        raise UnavailableError(f"cannot read {path}: {exc.strerror}") from exc
    except ValueError as exc:
        raise InvalidInput(f"{path} is not JSON: {exc}") from exc
    if not isinstance(value, dict):
        raise InvalidInput(f"{path} must hold a JSON object, got {type(value).__name__}")
    return value


def _make_private(directory: Path) -> None:
    if not directory.is_dir():
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
