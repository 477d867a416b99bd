"""JSON-RPC over HTTP to an Ethereum node that may be down, slow, or answer nonsense.

`JsonRpc.request` returns whatever JSON value the node gave as `result`, or raises one of the project's
errors with a plain message. Nothing here knows what a method means. Node addresses often carry access keys,
so messages name only scheme, host and port.
"""

import json
import random
import threading
import time
import zlib
from typing import Final
from urllib.parse import urlsplit

import requests
import urllib3

from goldengrain.bounded_json import decode_json
from goldengrain_protocol.errors import InvalidInput, UnavailableError

MAX_REPLY_BYTES: Final = 64 * 2**20
"""Largest reply read (64 MiB). Local limit against a node that floods its clients."""

_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_RETRY_CODES: Final = (-32005, -32016, 429)
"""JSON-RPC error codes that nodes use for "too many requests"."""
_ONCE_PREFIXES: Final = ("anvil_", "evm_", "hardhat_")
"""Methods of development nodes whose effect would double if they were repeated."""
_BACKOFF_S: Final = 0.2


class RpcError(UnavailableError):
    """The node understood the request and answered with a JSON-RPC error object."""

    def __init__(self, method: str, code: int, text: str, data: object) -> None:
        super().__init__(f"the rpc node refused {method}: {text[:500]} (code {code})")
        self.method = method
        self.code = code
        self.text = text
        self.data = data


class MalformedReply(UnavailableError):
    """The node answered with something that is not the JSON the method promises."""


class JsonRpc:
    """A JSON-RPC endpoint; may be shared by threads.

    Args:
        url: http or https address of the node.
        timeout_s: seconds for one attempt, reply included.
        attempts: how often a request is tried before the node counts as unavailable.
    """

    def __init__(self, url: str, *, timeout_s: float = 20.0, attempts: int = 4) -> None:
        parts = urlsplit(url) if isinstance(url, str) else None
        try:
            if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError
            port = f":{parts.port}" if parts.port else ""
        except ValueError:
            raise InvalidInput(
                "the rpc address must be http://HOST[:PORT] or https://HOST[:PORT][/PATH]",
                next_step="give the address of an Ethereum node, or start one with `gg devnet up`",
            ) from None
        self.url: Final = url
        self.shown_url: Final = f"{parts.scheme}://{parts.hostname}{port}"
        self._use_proxies = parts.hostname not in _LOOPBACK
        self._timeout_s = timeout_s
        self._attempts = max(1, attempts)
        self._local = threading.local()

    def request(self, method: str, params: list[object]) -> object:
        """Return the `result` of one call (may be None).

        Raises:
            RpcError: the node answered with an error object.
            MalformedReply: every attempt got something that is no JSON-RPC reply.
            UnavailableError: no attempt got an answer in time.
        """
        attempts = 1 if method.startswith(_ONCE_PREFIXES) else self._attempts
        give_up = time.monotonic() + 2 * self._timeout_s
        for attempt in range(1, attempts + 1):
            try:
                return self._once(method, params)
            except RpcError as exc:
                if exc.code not in _RETRY_CODES or attempt == attempts:
                    raise
            except UnavailableError:
                if attempt == attempts or time.monotonic() >= give_up:
                    raise
            time.sleep(_BACKOFF_S * 2 ** (attempt - 1) * random.uniform(0.7, 1.3))  # noqa: S311 jitter only
        raise UnavailableError(f"the rpc node at {self.shown_url} did not answer {method}")

    def _once(self, method: str, params: list[object]) -> object:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        status, content = self._post(method, body)
        try:
            reply = decode_json(content)
        except ValueError:
            raise MalformedReply(
                f"the rpc node at {self.shown_url} answered {method} with HTTP {status} and no JSON"
                f" (it begins {content[:40]!r})",
                next_step="check that the address is an Ethereum JSON-RPC endpoint",
            ) from None
        if not isinstance(reply, dict):
            raise MalformedReply(
                f"the rpc node at {self.shown_url} answered {method} with no JSON-RPC object"
            )
        error = reply.get("error")
        if error is not None:
            raise _error(method, error)
        if "result" not in reply or status != 200:
            raise MalformedReply(
                f"the rpc node at {self.shown_url} answered {method} with HTTP {status} and no result"
            )
        return reply["result"]

    def _post(self, method: str, body: bytes) -> tuple[int, bytes]:
        """Send one request and return HTTP status and body, both within the time and size limits."""
        deadline = time.monotonic() + self._timeout_s
        try:
            with self._session().post(
                self.url,
                data=body,
                headers={"Content-Type": "application/json", "Accept": "application/json"},
                timeout=self._timeout_s,
                stream=True,
                allow_redirects=False,
            ) as response:
                return response.status_code, self._read(method, response, deadline)
        except requests.Timeout as exc:
            raise self._too_slow(method) from exc
        except (requests.RequestException, OSError) as exc:
            raise UnavailableError(
                f"cannot reach the rpc node at {self.shown_url}: {_plain_cause(exc)}",
                next_step="check the node and its address (`gg devnet status` for a local chain)",
            ) from exc

    def _read(self, method: str, response: requests.Response, deadline: float) -> bytes:
        """Return the body; read as it comes, so that a node dripping bytes meets the deadline too."""
        content = bytearray()
        while True:
            try:
                part = response.raw.read1(65536, decode_content=True)
            except (urllib3.exceptions.HTTPError, OSError, ValueError, zlib.error) as exc:
                raise UnavailableError(
                    f"the rpc node at {self.shown_url} broke off its answer to {method}: {_plain_cause(exc)}"
                ) from exc
            if not part:
                return bytes(content)
            content += part
            if len(content) > MAX_REPLY_BYTES:
                raise UnavailableError(
                    f"the rpc node at {self.shown_url} answered {method} with over {MAX_REPLY_BYTES} bytes"
                )
            if time.monotonic() > deadline:
                raise self._too_slow(method)

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = requests.Session()
            session.trust_env = self._use_proxies
            self._local.session = session
        return session

    def _too_slow(self, method: str) -> UnavailableError:
        return UnavailableError(
            f"the rpc node at {self.shown_url} did not answer {method} within {self._timeout_s:g} s",
            next_step="try again later, or use another node",
        )


def _error(method: str, error: object) -> RpcError:
    if not isinstance(error, dict):
        return RpcError(method, 0, str(error), None)
    code = error.get("code")
    text = error.get("message")
    return RpcError(
        method,
        code if isinstance(code, int) else 0,
        text if isinstance(text, str) else "no message",
        error.get("data"),
    )


def _plain_cause(exc: BaseException) -> str:
    """Return the innermost reason in words; library wrappers repeat addresses and object names."""
    seen: BaseException = exc
    while True:
        inner = seen.__cause__ or seen.__context__
        if inner is None or inner is seen:
            break
        seen = inner
    if isinstance(seen, OSError) and seen.strerror:
        return seen.strerror.lower()
    return type(seen).__name__
