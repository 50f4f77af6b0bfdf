"""A stand that sells by the unit, a line to listen on, and time that waits for the test."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fastapi.responses import StreamingResponse
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint

from mpp_asgi import price
from mpp_asgi.fastapi import CurrentPayment  # noqa: TC001 # FastAPI reads it at run time
from mpp_asgi.sse import Event
from tests.session.drawer import Drawer, open_session_shop
from tests.session.event_source import Seen, read_by_the_rules
from tests.shop import Shop, Time, payment_middleware

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message

UNIT = 1_000
"""What a unit costs, in base units: 0.0001 USDC."""
ENTRY = 100_000
"""What a response costs before its first unit."""


class PatientTime(Time):
    """Unix seconds that pass when the test says so, and wake who sleeps."""

    def __init__(self) -> None:
        super().__init__()
        self._sleeping: list[tuple[float, asyncio.Future[None]]] = []

    async def sleep(self, seconds: float) -> None:
        awake = asyncio.get_running_loop().create_future()
        self._sleeping.append((self.now + seconds, awake))
        await awake

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        due = [awake for until, awake in self._sleeping if until <= self.now]
        self._sleeping = [each for each in self._sleeping if each[0] > self.now]
        for awake in due:
            if not awake.done():
                awake.set_result(None)

    def set_clock(self, by: float) -> None:
        """Set it forward or back, whoever sleeps."""
        self.now += by
        self._sleeping = [(until + by, awake) for until, awake in self._sleeping]


@dataclass
class Source:
    """What the stand sells next, as the test hands it in."""

    items: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)
    is_closed: bool = False

    def give(self, *items: Any) -> None:
        for item in items:
            self.items.put_nowait(item)

    def end(self, error: BaseException | None = None) -> None:
        self.items.put_nowait(error or StopAsyncIteration())

    async def __aiter__(self) -> AsyncIterator[Any]:
        try:
            while not isinstance(item := await self.items.get(), StopAsyncIteration):
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            self.is_closed = True


@dataclass
class Stand:
    """A shop with metered routes."""

    shop: Shop
    time: PatientTime
    source: Source

    def listen(self, credential: str, path: str = "/tokens", *, complains: bool = False) -> Line:
        return Line(self.shop.app, path, credential, complains=complains)

    async def drawer(self, number: int = 1, **facts: Any) -> Drawer:
        return await Drawer.on_record(self.shop, number, **facts)


@asynccontextmanager
async def open_stand(
    *, time: PatientTime | None = None, is_wrapped: bool = False, **settings: Any
) -> AsyncIterator[Stand]:
    """Open a stand; ``settings`` as `open_session_shop`. One that is wrapped has middleware within
    ours that passes responses on through a queue."""
    time = time or PatientTime()
    async with open_session_shop(time=time, **settings) as shop:
        if is_wrapped:
            shop.app.user_middleware.append(Middleware(BaseHTTPMiddleware, dispatch=_pass_on))
        stand = Stand(shop, time, Source())
        _sell_tokens(stand)
        yield stand


async def _pass_on(request: Request, call_next: RequestResponseEndpoint) -> Response:
    return await call_next(request)


def _sell_tokens(stand: Stand) -> None:
    @stand.shop.app.get("/tokens")
    @price("0.01", intents=["session"])
    async def tokens(payment: CurrentPayment) -> StreamingResponse:
        stand.shop.runs.append("/tokens")
        assert payment is not None
        events = payment.meter("0.0001").stream(stand.source, units=units_of)
        return StreamingResponse(events, media_type="text/event-stream")


def units_of(item: Any) -> int:
    """A text is a unit, ``{"units": n}`` so many, and an event none."""
    if isinstance(item, Event):
        return 0
    return int(item["units"]) if isinstance(item, dict) else 1


async def all_is_booked(shop: Shop) -> None:
    """Wait for what outlives its request: a spend whose request was given up is undone."""
    house = payment_middleware(shop.app)._house
    assert house is not None
    await house._book.drain()


class Line:
    """A connection that shows what comes over it as it comes, and can be broken."""

    def __init__(
        self, app: ASGIApp, path: str, credential: str, *, complains: bool = False
    ) -> None:
        self._complains = complains
        """Sending fails once it is closed, and nothing else says so."""
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.is_whole = False
        self.is_slow = False
        """What is sent waits in the connection."""
        self.disconnected = False
        self._app = app
        self._request_read = False
        self._moved = asyncio.Event()
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4" if complains else "2.3"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"shop.test"), (b"authorization", credential.encode())],
            "client": ("127.0.0.1", 1),
            "server": ("shop.test", 80),
            "state": {},
        }
        self.task = asyncio.ensure_future(self._serve())

    async def _serve(self) -> None:
        async def receive() -> Message:
            return await self.receive()

        try:
            await self._app(self._scope, receive if self._complains else self.receive, self._send)
        finally:
            self._stir()

    async def receive(self) -> Message:
        if not self._request_read:
            self._request_read = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.until(lambda: self.disconnected)
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {n.decode(): v.decode() for n, v in message["headers"]}
        if self.disconnected and self._complains:
            raise OSError("the connection is closed")
        if self.disconnected:
            return  # as servers do
        if message["type"] == "http.response.body":
            self.body += message.get("body", b"")
            self.is_whole = not message.get("more_body", False)
        self._stir()
        if self.is_slow:
            await self.until(lambda: self.disconnected or not self.is_slow)

    def hold(self, is_slow: bool) -> None:
        """Have what is sent wait, or let it go on."""
        self.is_slow = is_slow
        self._stir()

    def hang_up(self) -> None:
        self.disconnected = True
        self._stir()

    def _stir(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    async def until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            await self._moved.wait()

    async def end(self) -> None:
        """Wait until the application is done with it."""
        await asyncio.wait([self.task], timeout=20)
        assert self.task.done()

    @property
    def is_paid(self) -> bool:
        return "payment-receipt" in self.headers

    @property
    def events(self) -> list[Seen]:
        return read_by_the_rules(self.body)

    async def hears(self, count: int) -> Seen:
        """Wait for that many events; the last of them."""
        async with asyncio.timeout(20):
            await self.until(lambda: len(self.events) >= count or self.task.done())
        return self.events[count - 1]

    @property
    def texts(self) -> list[str]:
        return [event.data for event in self.events if not event.name.startswith("payment-")]

    def asked(self) -> list[dict[str, Any]]:
        """What was said in every event that asked for a voucher."""
        return [json.loads(e.data) for e in self.events if e.name == "payment-need-voucher"]
