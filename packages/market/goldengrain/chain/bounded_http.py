"""GET over HTTP from servers that may be down, slow, or send anything: within a time and a size, or an error."""

import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Final, TypeVar
from urllib.parse import urlsplit

import requests
import urllib3

from goldengrain.bounded_json import decode_json
from goldengrain_protocol.errors import GoldenGrainError, InvalidInput, UnavailableError

_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_PIECE_BYTES: Final = 65536
MAX_SOURCES_AT_ONCE: Final = 16

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with status 200."""

    content: bytes
    headers: Mapping[str, str]
    """Names in lower case."""


class HttpSource:
    """One server, by its base address; may be shared by threads.

    Args:
        what: what the server is, for messages, e.g. `beacon node`.
        timeout_s: seconds for one answer, body included.
    """

    def __init__(self, url: str, what: str, *, timeout_s: float = 10.0) -> None:
        try:
            parts = urlsplit(url)
            port = f":{parts.port}" if parts.port else ""
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError
        except ValueError:
            raise InvalidInput(
                f"the address of a {what} must be http://HOST[:PORT] or https://HOST[:PORT][/PATH]"
            ) from None
        self._base: Final = url.rstrip("/")
        self.name: Final = f"{what} {parts.scheme}://{parts.hostname}{port}"
        """For messages: addresses often carry access keys in path or query."""
        self._use_proxies = parts.hostname not in _LOOPBACK
        self._timeout_s = timeout_s
        self._local = threading.local()

    def get(self, path: str, *, accept: str = "application/json", max_bytes: int) -> Reply:
        """Return the answer to GET `path`.

        Raises:
            UnavailableError: no answer in time, another status than 200, or more than `max_bytes`.
        """
        deadline = time.monotonic() + self._timeout_s
        try:
            with self._session().get(
                self._base + path,
                headers={"Accept": accept},
                timeout=self._timeout_s,
                stream=True,
                allow_redirects=False,
            ) as response:
                content = self._read(response, deadline, max_bytes)
                if response.status_code != 200:
                    raise UnavailableError(
                        f"{self.name} answered HTTP {response.status_code}: {content[:80]!r}"
                    )
                return Reply(content, {key.lower(): value for key, value in response.headers.items()})
        except (
            requests.RequestException,
            urllib3.exceptions.HTTPError,
            OSError,
            ValueError,
            zlib.error,
        ) as exc:
            raise UnavailableError(f"{self.name} did not answer: {type(exc).__name__}") from exc

    def get_json(self, path: str, *, max_bytes: int) -> object:
        """Return the JSON value at `path`; errors as `get`, and UnavailableError where it is no JSON."""
        reply = self.get(path, max_bytes=max_bytes)
        try:
            return decode_json(reply.content)
        except ValueError as exc:
            raise UnavailableError(f"{self.name} answered with no JSON") from exc

    def _read(self, response: requests.Response, deadline: float, max_bytes: int) -> bytes:
        content = bytearray()
        while True:
            part = response.raw.read1(_PIECE_BYTES, decode_content=True)
            if not part:
                return bytes(content)
            content += part
            if len(content) > max_bytes:
                raise UnavailableError(f"{self.name} answered with over {max_bytes} bytes")
            if time.monotonic() > deadline:
                raise UnavailableError(f"{self.name} did not answer within {self._timeout_s:g} s")

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = requests.Session()
            session.trust_env = self._use_proxies
            self._local.session = session
        return session


def ask_all(
    sources: Sequence[HttpSource],
    ask: Callable[[HttpSource], _T],
    *,
    enough: Callable[[Sequence[_T]], bool] = lambda _answers: False,
    patience_s: float = 0.0,
) -> tuple[list[tuple[HttpSource, _T]], list[str]]:
    """Ask all sources at once; return the answers, and one message for each source that failed.

    Only the project's own errors count as failures: anything else is a defect and comes out.

    Args:
        enough: whether the answers so far suffice; by default all are waited for.
        patience_s: how long the rest is still waited for once there is enough.
    """
    answers: list[tuple[HttpSource, _T]] = []
    problems: list[str] = []
    pool = ThreadPoolExecutor(max_workers=max(1, min(MAX_SOURCES_AT_ONCE, len(sources))))
    try:
        asked = {pool.submit(ask, source): source for source in sources}
        waiting = set(asked)
        give_up: float | None = None
        while waiting:
            if give_up is None and enough([answer for _, answer in answers]):
                give_up = time.monotonic() + patience_s
            left = None if give_up is None else max(0.0, give_up - time.monotonic())
            done, waiting = wait(waiting, left, FIRST_COMPLETED)
            if not done:
                break
            for future in done:
                try:
                    answers.append((asked[future], future.result()))
                except GoldenGrainError as exc:
                    problems.append(exc.message)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return answers, problems
