"""How RPC calls travel: over HTTP, or to a function in the same process.

Every call over HTTP is bounded in time and in size, follows no redirect, and never puts the URL
into an error message, because RPC URLs carry API keys.
"""

from __future__ import annotations

import itertools
import json
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio
import httpx

from mpp_asgi.stellar.rpc_call import RpcAnswerTooLargeError, RpcUnavailableError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping

    from mpp_asgi.stellar.rpc_call import RpcCall

T = TypeVar("T")

TIMEOUT: Final = 10.0
"""Seconds for a whole call, by default."""
IDLE_SECONDS: Final = 4.0
"""After which a connection is let go of: many servers do so after 5, and what is sent in that
moment gets lost."""
_LIMITS: Final = httpx.Limits(
    max_connections=100, max_keepalive_connections=20, keepalive_expiry=IDLE_SECONDS
)

MAX_ANSWER: Final = 4 * 1024 * 1024
"""Bytes of an answer. Only pages of transactions come near it; what asks for them asks for smaller
ones then."""

_HEADERS: Final = {"Accept-Encoding": "identity"}
"""Not compressed: a small answer could unpack to a huge one."""


def checked_url(url: str) -> httpx.URL:
    """The URL of an RPC.

    Raises:
        ValueError: it is not an http:// or https:// URL.
    """
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError):
        parsed = httpx.URL("")
    if parsed.scheme not in {"http", "https"} or not has_possible_host(parsed):
        raise ValueError("The URL of the RPC must be an http:// or https:// URL.")
    return parsed


def has_possible_host(url: httpx.URL) -> bool:
    """There is a host, and no label of its name is empty or longer than 63 bytes: looking up such
    a name is an error of the codec for names, and not one of the network."""
    try:
        url.raw_host.decode("ascii").encode("idna")
    except UnicodeError:
        return False
    return bool(url.host)


class AsyncRpc:
    """A node behind an HTTP URL.

    A ``client`` passed in stays the caller's to close. Without one, ``ssl_context`` says whom to
    trust; the default trusts the usual authorities.
    """

    def __init__(
        self,
        url: str,
        *,
        client: httpx.AsyncClient | None = None,
        ssl_context: ssl.SSLContext | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        self._url = checked_url(url)
        self._client = client or httpx.AsyncClient(verify=ssl_context or True, limits=_LIMITS)
        self._owns_client = client is None
        self._timeout = timeout
        self._ids = itertools.count(1)

    async def do(self, call: RpcCall[T]) -> T:
        """The call's result; raises as `mpp_asgi.stellar.rpc_call.Rpc` says."""
        request_id = next(self._ids)
        answer = _Answer(call.method)
        try:
            with anyio.fail_after(self._timeout):
                async with self._client.stream(
                    "POST",
                    self._url,
                    json=call.request(request_id),
                    headers=_HEADERS,
                    timeout=self._timeout,
                    follow_redirects=False,
                ) as response:
                    answer.status(response.status_code)
                    async for chunk in response.aiter_raw():
                        answer.feed(chunk)
        except (httpx.HTTPError, TimeoutError) as error:
            raise _no_answer(call.method, error) from None
        return call.result(answer.json(), request_id)

    async def aclose(self) -> None:
        """Close the connection, unless the client was passed in."""
        if self._owns_client:
            await self._client.aclose()


class SyncRpc:
    """`AsyncRpc` for code without an event loop."""

    def __init__(
        self,
        url: str,
        *,
        client: httpx.Client | None = None,
        ssl_context: ssl.SSLContext | None = None,
        timeout: float = TIMEOUT,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = checked_url(url)
        self._client = client or httpx.Client(verify=ssl_context or True, limits=_LIMITS)
        self._owns_client = client is None
        self._timeout = timeout
        self._monotonic = monotonic
        self._ids = itertools.count(1)

    def do(self, call: RpcCall[T]) -> T:
        """The call's result; raises as `mpp_asgi.stellar.rpc_call.BlockingRpc` says."""
        request_id = next(self._ids)
        answer = _Answer(call.method)
        deadline = self._monotonic() + self._timeout
        try:
            with self._client.stream(
                "POST",
                self._url,
                json=call.request(request_id),
                headers=_HEADERS,
                timeout=self._timeout,
                follow_redirects=False,
            ) as response:
                answer.status(response.status_code)
                for chunk in self._before(deadline, response):
                    answer.feed(chunk)
        except (httpx.HTTPError, TimeoutError) as error:
            raise _no_answer(call.method, error) from None
        return call.result(answer.json(), request_id)

    def _before(self, deadline: float, response: httpx.Response) -> Iterator[bytes]:
        """The client's own timeout is for each chunk: a slow drip would outlast it."""
        for chunk in response.iter_raw():
            if self._monotonic() > deadline:
                raise TimeoutError
            yield chunk

    def close(self) -> None:
        """Close the connection, unless the client was passed in."""
        if self._owns_client:
            self._client.close()


class InProcessRpc:
    """A node in the same process: a function from request object to response object."""

    def __init__(self, handler: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
        self._blocking = InProcessSyncRpc(handler)

    async def do(self, call: RpcCall[T]) -> T:
        """The call's result; raises as `mpp_asgi.stellar.rpc_call.Rpc` says."""
        return self._blocking.do(call)

    async def aclose(self) -> None:
        """Nothing to let go of."""


class InProcessSyncRpc:
    """`InProcessRpc` for code without an event loop."""

    def __init__(self, handler: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
        self._handler = handler
        self._ids = itertools.count(1)

    def do(self, call: RpcCall[T]) -> T:
        """The call's result; raises as `mpp_asgi.stellar.rpc_call.BlockingRpc` says."""
        request_id = next(self._ids)
        try:
            answer = self._handler(call.request(request_id))
        except ConnectionError as error:  # a node that is told to lose an answer
            raise _no_answer(call.method, error) from None
        return call.result(answer, request_id)

    def close(self) -> None:
        """Nothing to let go of."""


class _Answer:
    """The body of an HTTP response as it arrives."""

    def __init__(self, method: str) -> None:
        self._method = method
        self._body = bytearray()

    def status(self, code: int) -> None:
        if code != httpx.codes.OK:
            raise RpcUnavailableError(f"The RPC answered {self._method} with HTTP {code}.")

    def feed(self, chunk: bytes) -> None:
        if len(self._body) + len(chunk) > MAX_ANSWER:
            raise RpcAnswerTooLargeError(
                f"The RPC's answer to {self._method} is larger than {MAX_ANSWER} bytes."
            )
        self._body += chunk

    def json(self) -> object:
        try:
            parsed: object = json.loads(self._body)
        except (ValueError, RecursionError):
            raise RpcUnavailableError(f"The RPC's answer to {self._method} is not JSON.") from None
        return parsed


def _no_answer(method: str, error: Exception) -> RpcUnavailableError:
    return RpcUnavailableError(f"The RPC did not answer {method} ({type(error).__name__}).")
