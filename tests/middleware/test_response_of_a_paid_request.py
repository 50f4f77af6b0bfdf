"""What leaves, and when: nothing before the payment is final, all of it afterwards, as it comes."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import BackgroundTasks, FastAPI, Response
from fastapi.responses import FileResponse, RedirectResponse, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from mpp_asgi import Price, price
from tests.methods.stall import Exchange, Line, Selling, Visitor, payment, scope_of
from tests.methods.streams import HAS_STREAMS, EventSourceResponse, needs_streams, where_supported

STEPS = ["verify", "claim", "submit", "move", "settle"]


def shop(file: Path) -> FastAPI:
    file.write_bytes(b"content" * 1000)

    async def json() -> str:
        return "content"

    def function() -> str:
        return "content"

    async def streaming() -> StreamingResponse:
        return StreamingResponse(iter(["content"] * 3))

    async def file_response() -> FileResponse:
        return FileResponse(file)

    async def lines() -> AsyncIterator[str]:
        yield "content"

    def sync_lines() -> Iterator[str]:
        yield "content"

    app = FastAPI()
    priced, after = price("1"), price("1", settle="after")
    app.get("/json")(priced(json))
    app.get("/function")(priced(function))
    app.get("/chunks")(priced(streaming))
    app.get("/file")(priced(file_response))
    app.get("/after")(after(json))
    if HAS_STREAMS:
        app.get("/lines")(priced(lines))
        app.get("/sync-lines")(priced(sync_lines))
        app.get("/events", response_class=EventSourceResponse)(priced(lines))
        app.get("/sync-events", response_class=EventSourceResponse)(priced(sync_lines))
        app.get("/after-lines")(after(lines))
    app.add_api_route("/by-path", lambda: "content")
    return app


TARGETS = [
    "/json",
    "/function",
    "/chunks",
    "/file",
    "/lines",
    "/sync-lines",
    "/events",
    "/sync-events",
    "/after",
    "/after-lines",
    "/by-path",
]


class Gate:
    """A step at which the settlement waits until it is let through."""

    def __init__(self, step: str) -> None:
        self._step = step
        self.reached = asyncio.Event()
        self.open = asyncio.Event()

    async def __call__(self, step: str) -> None:
        if step == self._step:
            self.reached.set()
            await self.open.wait()


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("target", where_supported(TARGETS))
async def test_not_a_byte_leaves_before_the_payment_is_final(
    target: str, step: str, tmp_path: Path
) -> None:
    gate = Gate(step)
    selling = Selling(prices={"/by-path": "1"})
    app = selling.to(shop(tmp_path / "file"))
    challenge = await Visitor(app).challenge("GET", target)
    selling.step = gate
    line = Line([b""], None)
    scope = scope_of("GET", target, headers=payment(challenge))
    request = asyncio.create_task(app(scope, line.receive, line.send))
    async with asyncio.timeout(60):
        await gate.reached.wait()
        for _ in range(50):
            await asyncio.sleep(0)
        assert line.exchange.messages == []
        gate.open.set()
        await request
    served = line.exchange
    assert served.status == 200
    assert b"content" in served.body
    assert served.receipt is not None
    assert selling.till.takings == 1
    assert not selling.till.charged_twice


@pytest.mark.parametrize("target", where_supported(TARGETS))
async def test_what_runs_beside_a_late_settlement_does_not_settle_again(
    target: str, tmp_path: Path
) -> None:
    """A stream may begin before its response does."""
    steps: list[str] = []

    async def slowly(step: str) -> None:
        steps.append(step)
        for _ in range(20):
            await asyncio.sleep(0)

    selling = Selling(step=slowly, prices={"/by-path": "1"})
    served = await Visitor(selling.to(shop(tmp_path / "file"))).buy("GET", target)
    assert served.status == 200
    assert steps == STEPS


# Receipt and caching


async def responding(response: Response, *, settle: Any = "before") -> Exchange:
    app = FastAPI()

    @app.get("/")
    @price("1", settle=settle)
    async def endpoint() -> Response:
        return response

    return await Visitor(Selling().to(app)).buy("GET", "/")


@pytest.mark.parametrize("status", [200, 201, 204, 206, 301, 304, 307, 399])
@pytest.mark.parametrize("settle", ["before", "after"])
async def test_a_response_that_was_paid_for_has_a_receipt_and_is_private(
    status: int, settle: str
) -> None:
    served = await responding(Response(status_code=status), settle=settle)
    assert served.status == status
    assert served.receipt is not None
    assert served.header("cache-control") == "private"


@pytest.mark.parametrize("status", [400, 402, 404, 410, 418, 429, 500, 503])
@pytest.mark.parametrize("settle", ["before", "after"])
async def test_an_error_has_no_receipt_and_is_private_all_the_same(
    status: int, settle: str
) -> None:
    """Caches may keep 404 and 410 of themselves, and rules of theirs can say so of any."""
    served = await responding(Response(status_code=status), settle=settle)
    assert served.status == status
    assert served.header("payment-receipt") is None
    assert served.header("cache-control") == "private"


@pytest.mark.parametrize(
    ("said", "sent"),
    [
        (["max-age=60"], "max-age=60, private"),
        (["public, max-age=60"], "max-age=60, private"),
        (["Public"], "private"),
        (["s-maxage=60, max-age=5"], "max-age=5, private"),
        (["S-MAXAGE=60"], "private"),
        (["private"], "private"),
        (["private, max-age=1"], "private, max-age=1"),
        (["no-store"], "no-store"),
        (["No-Store"], "No-Store"),
        (["no-cache"], "no-cache, private"),
        (['private="set-cookie"'], 'private="set-cookie", private'),
        (["public", "max-age=9"], "max-age=9, private"),
        ([" , ,public,"], "private"),
        ([""], "private"),
        (["publicity=1"], "publicity=1, private"),
        (["must-understand, no-store"], "no-store"),
    ],
)
async def test_no_shared_cache_keeps_it_whatever_the_endpoint_said(
    said: list[str], sent: str
) -> None:
    response = Response("content")
    for value in said:
        response.headers.append("Cache-Control", value)
    served = await responding(response)
    assert served.header("cache-control") == sent


@pytest.mark.parametrize(
    "name",
    [
        *("X-Accel-Expires", "Surrogate-Control", "Edge-Control", "CDN-Cache-Control"),
        *("Cloudflare-CDN-Cache-Control", "x-own-CACHE-control"),
    ],
)
async def test_what_caches_put_above_cache_control_is_taken_out(name: str) -> None:
    served = await responding(Response("content", headers={name: "600", "Expires": "0"}))
    assert served.header(name.lower()) is None
    assert (served.header("expires"), served.header("cache-control")) == ("0", "private")


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ({}, "private"),
        ({"ETag": "1"}, "private"),
        ({"Cache-Control": "public"}, "public"),
        ({"X-Accel-Expires": "600"}, None),
        ({"CDN-Cache-Control": "public"}, None),
        ({"Expires": "Sun, 22 Nov 2026 00:00:00 GMT"}, None),
    ],
)
@pytest.mark.parametrize("shows", [False, True], ids=["unpaid", "with a credential"])
async def test_what_a_price_gives_away_is_private_unless_the_endpoint_speaks_of_caches(
    said: dict[str, str], kept: str | None, shows: bool
) -> None:
    """Another request of the same URL may have to pay."""
    app, prices = FastAPI(), [*["1"] * shows, Price.free()]

    @app.get("/")
    @price(lambda _: prices.pop(0))
    async def endpoint() -> Response:
        return Response("content", headers=said)

    visitor = Visitor(Selling().to(app))
    headers = payment(await visitor.challenge("GET", "/"), type="?") if shows else {}
    served = await visitor.get("/", headers=headers)
    assert (served.status, served.receipt) == (200, None)
    assert served.header("cache-control") == kept


async def test_headers_in_mixed_case_from_another_framework_are_seen() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"Cache-Control", b"public"), (b"X-Own", b"1")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"content"})

    served = await Visitor(Selling(prices={"/": "1"}).around(app)).buy("GET", "/")
    assert served.header("cache-control") == "private"
    assert served.header("x-own") == "1"


async def test_a_response_without_headers_gets_its_own() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    served = await Visitor(Selling(prices={"/": "1"}).around(app)).buy("GET", "/")
    assert served.receipt is not None
    assert served.header("cache-control") == "private"


async def test_a_redirect_is_what_was_paid_for() -> None:
    served = await responding(RedirectResponse("/elsewhere"))
    assert (served.status, served.header("location")) == (307, "/elsewhere")
    assert served.receipt is not None


async def test_an_unpaid_request_is_told_so_by_a_response_nobody_stores() -> None:
    app = FastAPI()
    app.get("/")(price("1")(lambda: "content"))
    refused = await Visitor(Selling().to(app)).get("/")
    assert refused.headers[:3] == [
        ("content-type", "application/problem+json"),
        ("content-length", str(len(refused.body))),
        ("cache-control", "no-store"),
    ]
    assert refused.json() == {
        "type": "https://paymentauth.org/problems/payment-required",
        "title": "Payment Required",
        "status": 402,
        "detail": "This resource costs 1 USDC.",
    }
    assert refused.is_whole


# Streaming


@needs_streams
async def test_a_stream_leaves_as_it_is_made() -> None:
    app = FastAPI()
    line = Line([b""], None)
    seen: list[int] = []

    @app.get("/")
    @price("1")
    async def stream() -> AsyncIterator[int]:
        for n in range(4):
            yield n
            await asyncio.sleep(0)
            seen.append(len(line.exchange.chunks))

    challenge = await Visitor(Selling().to(app)).challenge("GET", "/")
    await app(scope_of("GET", "/", headers=payment(challenge)), line.receive, line.send)
    assert seen == [1, 2, 3, 4]
    assert line.exchange.chunks == [b"0\n", b"1\n", b"2\n", b"3\n"]


async def test_background_tasks_run_once_the_response_has_left() -> None:
    app = FastAPI()
    line = Line([b""], None)
    seen: list[bool] = []

    @app.get("/")
    @price("1")
    async def endpoint(background: BackgroundTasks) -> str:
        background.add_task(lambda: seen.append(line.exchange.is_whole))
        return "content"

    visitor = Visitor(Selling().to(app))
    challenge = await visitor.challenge("GET", "/")
    await app(scope_of("GET", "/", headers=payment(challenge)), line.receive, line.send)
    assert seen == [True]


async def test_a_background_task_that_fails_takes_nothing_back() -> None:
    app = FastAPI()

    @app.get("/")
    @price("1")
    async def endpoint(background: BackgroundTasks) -> str:
        background.add_task(lambda: 1 / 0)
        return "content"

    visitor = Visitor(Selling().to(app), app_raises=True)
    challenge = await visitor.challenge("GET", "/")
    served = await visitor.get("/", headers=payment(challenge))
    assert (served.status, served.is_whole) == (200, True)
    assert isinstance(served.error, ZeroDivisionError)
    again = await visitor.get("/", headers=payment(challenge))
    assert (again.status, again.problem) == (402, "invalid-challenge")


async def test_a_priced_endpoint_may_be_called_by_a_background_task_of_its_own() -> None:
    app = FastAPI()
    ran: list[str] = []

    @price("2")
    async def other() -> None:
        ran.append("other")

    @app.get("/")
    @price("1")
    async def endpoint(background: BackgroundTasks) -> str:
        background.add_task(other)
        return "content"

    assert (await Visitor(Selling().to(app)).buy("GET", "/")).status == 200
    assert ran == ["other"]


@pytest.mark.parametrize("kind", ["http.response.pathsend", "http.response.zerocopysend"])
@pytest.mark.parametrize("settle", ["before", "after"])
async def test_files_that_the_server_sends_itself(kind: str, settle: Any) -> None:
    app = FastAPI()
    last: Message = {"type": kind, "path": "/a/file"}

    class ServerSent(Response):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send(last)

    @app.get("/")
    @price("1", settle=settle)
    async def endpoint() -> Response:
        return ServerSent()

    visitor = Visitor(Selling().to(app))
    challenge = await visitor.challenge("GET", "/")
    served = await visitor.get("/", headers=payment(challenge))
    assert served.messages[1:] == [last]
    assert served.receipt is not None
    assert (await visitor.get("/", headers=payment(challenge))).status == 402


@pytest.mark.parametrize("settle", ["before", "after"])
async def test_trailers_follow_and_end_nothing_twice(
    settle: Any, caplog: pytest.LogCaptureFixture
) -> None:
    app = FastAPI()
    messages: list[Message] = [
        {"type": "http.response.start", "status": 200, "headers": [], "trailers": True},
        {"type": "http.response.push", "path": "/style", "headers": []},
        {"type": "http.response.body", "body": b"con", "more_body": True},
        {"type": "http.response.body", "body": b"tent"},
        {"type": "http.response.trailers", "headers": [(b"x-sum", b"1")]},
    ]

    class Trailing(Response):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            for message in messages:
                await send(message)

    @app.get("/")
    @price("1", settle=settle)
    async def endpoint() -> Response:
        return Trailing()

    visitor = Visitor(Selling().to(app))
    challenge = await visitor.challenge("GET", "/")
    line = Line([b""], None)
    line.leave_at_end = False
    await app(scope_of("GET", "/", headers=payment(challenge)), line.receive, line.send)
    assert [m["type"] for m in line.exchange.messages] == [m["type"] for m in messages]
    assert line.exchange.body == b"content"
    assert (await visitor.get("/", headers=payment(challenge))).status == 402
    assert caplog.records == []


async def test_nothing_goes_ahead_of_an_unpaid_response() -> None:
    """Early hints and debug information are content too."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.early_hint", "links": [b"</paid>"]})
        await send({"type": "http.response.debug", "info": {"paid": "content"}})
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"content"})

    selling = Selling(prices={"/": "1"})
    refused = await Visitor(selling.around(app)).get("/")
    assert [m["type"] for m in refused.messages] == ["http.response.start", "http.response.body"]
    assert refused.status == 402
