"""A stall that sells for nods, and a visitor who sees every message that leaves it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from mpp_asgi import PaymentMiddleware
from mpp_asgi.protocol import Challenge, Credential, Receipt
from tests.methods.nod import Nod, Step, Till, go_on

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from mpp_asgi.charges import ChargeBook
    from mpp_asgi.stores.contract import Store

START = 1_790_000_000
SECRET = "the secret of the stall, long enough"

Pairs = Sequence[tuple[str, str]]


class Time:
    """Unix seconds that pass only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = float(START)

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


class NoNetwork:
    """Stands where the sandbox would be: nothing here needs one."""

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("the stall has no network")

    def rpc(self, request: dict[str, Any]) -> dict[str, Any]:
        raise AssertionError("the stall has no network")

    def fund(self, address: str) -> None:
        raise AssertionError("the stall has no network")


class Selling:
    """What the middleware of a test is told, and what came of it.

    Args:
        step: see `Nod`; may be changed later.
        till: where the money goes.
        time: the processes'.
        keep: makes the store that is used of the one that is configured.
        settings: of the middleware.
    """

    def __init__(
        self,
        *,
        step: Step = go_on,
        till: Till | None = None,
        time: Time | None = None,
        keep: Callable[[Store], Store] = lambda store: store,
        **settings: Any,
    ) -> None:
        self.till = till or Till()
        self.time = time or Time()
        self.step = step
        self.books: list[ChargeBook] = []

        async def current_step(name: str) -> None:
            await self.step(name)

        def nod(book: ChargeBook) -> Nod:
            self.books.append(book)
            book.store = keep(book.store)
            return Nod(book, till=self.till, step=current_step)

        self.options: dict[str, Any] = {
            "network": "sandbox",
            "sandbox": NoNetwork(),
            "intents": [nod],
            "secret": SECRET,
            "clock": self.time,
            "sleep": self.time.sleep,
            **settings,
        }

    def to(self, app: Any, **settings: Any) -> Any:
        """The application with the middleware added to it."""
        app.add_middleware(PaymentMiddleware, **{**self.options, **settings})
        return app

    def around(self, app: ASGIApp, **settings: Any) -> PaymentMiddleware:
        """The application with the middleware wrapped around it by hand."""
        return PaymentMiddleware(app, **{**self.options, **settings})


@dataclass
class Exchange:
    """One request and every message that came back."""

    messages: list[Message] = field(default_factory=list)
    error: BaseException | None = None
    """What the application raised at the server."""

    @property
    def _start(self) -> Message:
        starts = [m for m in self.messages if m["type"].endswith("response.start")]
        assert len(starts) == 1, f"{len(starts)} responses: {self.messages}, {self.error!r}"
        return starts[0]

    @property
    def status(self) -> int:
        return int(self._start["status"])

    @property
    def headers(self) -> list[tuple[str, str]]:
        return [(n.decode("latin-1"), v.decode("latin-1")) for n, v in self._start["headers"]]

    def header(self, name: str) -> str | None:
        """The field's value; all of them, joined, if it came several times."""
        values = [value for key, value in self.headers if key.lower() == name]
        return ", ".join(values) if values else None

    @property
    def chunks(self) -> list[bytes]:
        bodies = (m for m in self.messages if m["type"].endswith("response.body"))
        return [chunk for m in bodies if (chunk := m.get("body", b""))]

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def is_whole(self) -> bool:
        return any(
            message["type"].endswith("response.body") and not message.get("more_body", False)
            for message in self.messages
        )

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def problem(self) -> str:
        """The problem's slug."""
        assert self.header("content-type") == "application/problem+json", self.headers
        return str(self.json()["type"]).rpartition("/problems/")[2]

    @property
    def challenges(self) -> list[Challenge]:
        values = [value for key, value in self.headers if key == "www-authenticate"]
        return Challenge.all_from_headers([v for v in values if v.startswith("Payment")])

    @property
    def challenge(self) -> Challenge:
        return self.challenges[0]

    @property
    def receipt(self) -> Receipt | None:
        value = self.header("payment-receipt")
        return None if value is None else Receipt.from_header(value)

    def __repr__(self) -> str:
        seen = (self.status, self.headers, self.body) if self.messages else ()
        return f"<Exchange {seen} {self.error!r}>"


def credential(challenge: Challenge, **payload: Any) -> Credential:
    """A nod."""
    return Credential(challenge, {"type": "nod", **payload})


def payment(challenge: Challenge, **payload: Any) -> dict[str, str]:
    """The header that pays, the one the challenge asks for."""
    return {challenge.header or "Authorization": credential(challenge, **payload).to_header()}


def scope_of(
    method: str,
    target: str,
    *,
    headers: Mapping[str, str] | Pairs = (),
    kind: str = "http",
    **more: Any,
) -> Scope:
    """A scope as uvicorn makes it."""
    path, _, query = target.partition("?")
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
    if not any(name.lower() == "host" for name, _ in pairs):
        pairs.insert(0, ("host", "shop.example"))
    scope: Scope = {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "https" if kind == "http" else "wss",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in pairs],
        "client": ("203.0.113.9", 4711),
        "server": ("203.0.113.1", 443),
        "state": {},
    }
    if kind == "http":
        scope["method"] = method
    return {**scope, **more}


class Line:
    """The client's end of one request, as the server shows it to the application.

    Args:
        chunks: of the body.
        leave_after: go away after so many messages of the response.
    """

    leave_at_end = True
    """Whether the connection ends with the response's body."""

    def __init__(self, chunks: Sequence[bytes], leave_after: int | None) -> None:
        self.exchange = Exchange()
        self._incoming: list[Message] = [
            {"type": "http.request", "body": chunk, "more_body": n + 1 < len(chunks)}
            for n, chunk in enumerate(chunks)
        ]
        self._leave_after = leave_after
        self._gone = asyncio.Event()
        if leave_after == 0:
            self._gone.set()

    async def receive(self) -> Message:
        if self._incoming and not self._gone.is_set():
            return self._incoming.pop(0)
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self._gone.is_set():
            return  # servers are silent about it
        messages = self.exchange.messages
        messages.append(message)
        is_body = self.leave_at_end and message["type"] == "http.response.body"
        if (is_body and not message.get("more_body", False)) or len(messages) == self._leave_after:
            self._gone.set()


class Visitor:
    """Asks an application over bare ASGI and notes what it sends.

    Args:
        app: the application.
        app_raises: whether what the application raises is kept in `Exchange.error`, as a server
            would log it, instead of failing the test.
    """

    def __init__(self, app: ASGIApp, *, app_raises: bool = False) -> None:
        self.app = app
        self._app_raises = app_raises

    async def ask(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | Pairs = (),
        body: bytes | Sequence[bytes] = b"",
        leave_after: int | None = None,
        **scope: Any,
    ) -> Exchange:
        """Send one request, with its body whole or in chunks. See `Line`."""
        chunks = [body] if isinstance(body, bytes) else list(body)
        pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
        if any(chunks) and not any(name.lower() == "content-length" for name, _ in pairs):
            pairs.append(("content-length", str(sum(map(len, chunks)))))
        line = Line(chunks, leave_after)
        asked = scope_of(method, target, headers=pairs, **scope)
        try:
            await self.app(asked, line.receive, line.send)
        except Exception as error:
            if not self._app_raises:
                raise
            line.exchange.error = error
        return line.exchange

    async def get(self, target: str, **request: Any) -> Exchange:
        return await self.ask("GET", target, **request)

    async def challenge(self, method: str, target: str, **request: Any) -> Challenge:
        """The first challenge for a request."""
        refused = await self.ask(method, target, **request)
        assert refused.status == 402, refused
        return refused.challenge

    async def buy(
        self, method: str, target: str, *, leave_after: int | None = None, **request: Any
    ) -> Exchange:
        """Ask, pay, and ask again."""
        headers = dict(request.pop("headers", {}))
        asked = await self.challenge(method, target, headers=headers, **request)
        return await self.ask(
            method,
            target,
            headers={**headers, **payment(asked)},
            leave_after=leave_after,
            **request,
        )


@contextlib.asynccontextmanager
async def running(app: ASGIApp) -> AsyncIterator[None]:
    """The application with its lifespan, as a server runs it."""
    to_app: asyncio.Queue[Message] = asyncio.Queue()
    from_app: asyncio.Queue[Message] = asyncio.Queue()
    scope: Scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    task = asyncio.ensure_future(app(scope, to_app.get, from_app.put))
    to_app.put_nowait({"type": "lifespan.startup"})
    started = await from_app.get()
    if started["type"] != "lifespan.startup.complete":
        with contextlib.suppress(Exception):
            await task
        raise StartupFailedError(started.get("message", ""))
    try:
        yield
    finally:
        to_app.put_nowait({"type": "lifespan.shutdown"})
        ended = await from_app.get()
        await task
        assert ended["type"] == "lifespan.shutdown.complete", ended


class StartupFailedError(Exception):
    """What the server would have said."""
