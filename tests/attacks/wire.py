"""HTTP as an attacker speaks it: bytes as they are, over connections that are kept and counted."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httptools

if TYPE_CHECKING:
    import ssl

ANSWER_SECONDS = 90.0
"""How long an answer is waited for; what takes longer counts as none."""

Fields = Iterable[tuple[str, str | bytes]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. Status 0: nothing did, or nothing that can be read."""

    status: int
    fields: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    is_whole: bool = False

    @property
    def status_code(self) -> int:
        return self.status

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def values(self, name: str) -> list[str]:
        return [value for known, value in self.fields if known == name]

    def value(self, name: str) -> str | None:
        return next(iter(self.values(name)), None)

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def slug(self) -> str:
        """The last part of the problem's type, or nothing."""
        try:
            said = json.loads(self.body)
        except ValueError:
            return ""
        return str(said.get("type", "")).rpartition("/problems/")[2] if type(said) is dict else ""


NOTHING = Answer(0)

HANDSHAKE = (
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "13"),
)
"""What makes a GET request open a WebSocket."""
SWITCHING = 101
"""The status of one that is open."""


def render(method: str, target: str, fields: Fields = (), body: bytes | None = None) -> bytes:
    """A request as it goes over the wire; nothing of it is made decent."""
    lines = [f"{method} {target} HTTP/1.1".encode("utf-8", "surrogateescape")]
    given = [(name, text if isinstance(text, bytes) else text.encode()) for name, text in fields]
    if not any(name.lower() == "host" for name, _ in given):
        given.insert(0, ("Host", b"shop.test"))
    if body is not None and not any(
        name.lower() in ("content-length", "transfer-encoding") for name, _ in given
    ):
        given.append(("Content-Length", str(len(body)).encode()))
    lines += [name.encode() + b": " + value for name, value in given]
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body or b"")


class Wire:
    """The way to one server. Connections are kept and used again."""

    def __init__(
        self, host: str, port: int, *, most: int = 64, tls: ssl.SSLContext | None = None
    ) -> None:
        """``most`` requests are under way at once."""
        self.host, self.port = host, port
        self._tls = tls
        self._idle: deque[_Connection] = deque()
        self._room = asyncio.Semaphore(most)
        self._open: set[_Connection] = set()

    async def exchange(
        self, request: bytes, *, is_head: bool = False, is_fresh: bool = False
    ) -> Answer:
        """Send a request and wait for what comes back, over a connection of its own if it
        ``is_fresh``."""
        async with self._room:
            for _ in range(2):
                kept = not is_fresh and self._take()
                connection = kept or await self._connect()
                if connection is None:
                    return NOTHING
                answer = await connection.exchange(request, is_head=is_head)
                if connection.is_good and not is_fresh:
                    self._idle.append(connection)
                else:
                    connection.close()
                if answer.status or not kept or connection.has_heard:
                    return answer
                # A kept connection may have been closed meanwhile, before it carried anything.
            return answer

    async def begin(self, request: bytes) -> Hanging:
        """Send a request and wait for nothing."""
        connection = await self._connect()
        if connection is None:
            raise ConnectionError("the server takes no connections")
        return Hanging(connection, asyncio.ensure_future(connection.exchange(request)))

    def _take(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_good:
                return connection
        return None

    async def _connect(self) -> _Connection | None:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(
                _Connection, self.host, self.port, ssl=self._tls
            )
        except OSError:
            return None
        self._open = {each for each in self._open if not each.is_closed} | {connection}
        return connection

    async def close(self) -> None:
        """Hang up on all of them."""
        self._idle.clear()
        for connection in self._open:
            connection.abort()
        async with asyncio.timeout(ANSWER_SECONDS):
            while any(not each.is_closed for each in self._open):  # noqa: ASYNC110 # one turn
                await asyncio.sleep(0)


@dataclass(slots=True)
class Hanging:
    """A request under way, whose sender may hang up."""

    _connection: _Connection
    _answer: asyncio.Future[Answer]

    @property
    def has_heard(self) -> bool:
        return self._connection.has_heard

    async def hears(self, count: int = 1) -> None:
        """Wait for so many bytes of the response's body, or its end."""
        async with asyncio.timeout(ANSWER_SECONDS):
            while self._connection.size < count and not self._answer.done():
                await self._connection.stirred()

    async def quiet(self, seconds: float = 0.5) -> None:
        """Wait until nothing has come for so long, or the response has ended."""
        while not self._answer.done():
            size = self._connection.size
            await asyncio.wait([self._answer], timeout=seconds)
            if size and size == self._connection.size:
                return

    def hang_up(self) -> None:
        self._connection.abort()

    def send(self, more: bytes) -> None:
        self._connection.write(more)

    async def answer(self) -> Answer:
        """What there was of it."""
        return await self._answer


@dataclass(slots=True)
class _Heard:
    status: int = 0
    fields: list[tuple[str, str]] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self.is_good = True
        self.is_closed = False
        self.has_heard = False
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._moved = asyncio.get_running_loop().create_future()
        self._heard = _Heard()
        self._is_head = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment] # a stream's

    @property
    def size(self) -> int:
        return len(self._heard.body)

    def write(self, more: bytes) -> None:
        if self._transport is not None:
            self._transport.write(more)

    async def stirred(self) -> None:
        await asyncio.wait([self._moved], timeout=ANSWER_SECONDS)

    async def exchange(self, request: bytes, *, is_head: bool = False) -> Answer:
        self._answer = asyncio.get_running_loop().create_future()
        self._heard, self._is_head, self.has_heard = _Heard(), is_head, False
        self._parser = httptools.HttpResponseParser(self)
        self.write(request)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._answer
        except TimeoutError:
            self.abort()
            return Answer(0, body=b"no answer in time")

    def data_received(self, data: bytes) -> None:
        self.has_heard = True
        if self._answer is None or self._answer.done():
            self.abort()  # more than was asked for: nothing to go on with
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._end(is_whole=False)
            self.abort()
        self._stir()

    def on_message_begin(self) -> None:
        self._heard = _Heard()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._heard.fields.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        self._heard.status = self._parser.get_status_code()
        if not self._parser.should_keep_alive():
            self.is_good = False
        if self._is_head:
            self.is_good = False  # the parser expects the body that is not there
            self._end(is_whole=True)

    def on_body(self, body: bytes) -> None:
        self._heard.body += body

    def on_message_complete(self) -> None:
        if self._heard.status >= 200:
            self._end(is_whole=True)

    def _end(self, *, is_whole: bool) -> None:
        if self._answer is not None and not self._answer.done():
            heard = self._heard
            self._answer.set_result(
                Answer(heard.status, tuple(heard.fields), bytes(heard.body), is_whole)
            )
        self._stir()

    def _stir(self) -> None:
        if not self._moved.done():
            self._moved.set_result(None)
        self._moved = asyncio.get_running_loop().create_future()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_good = False
        self.is_closed = True
        self._end(is_whole=False)

    def abort(self) -> None:
        self.is_good = False
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        self.is_good = False
        if self._transport is not None:
            self._transport.close()
