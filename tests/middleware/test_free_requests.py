"""What costs nothing passes as if nobody stood there, and is no way to what costs something."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, Request  # FastAPI reads them

from mpp_asgi import price
from mpp_asgi.passage import Passage
from tests.methods.stall import Selling, Visitor

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import ASGIApp, Receive, Scope, Send


class Watching:
    """Notes what the application is given for each request, and may lead one elsewhere."""

    def __init__(self, app: ASGIApp, seen: list[tuple[str, Any, Any]]) -> None:
        self.app = app
        self.seen = seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.seen.append((scope["path"], receive, send))
            scope["path"] = dict(scope["headers"]).get(b"x-go-to", scope["path"].encode()).decode()
        await self.app(scope, receive, send)


@pytest.fixture
def seen() -> list[tuple[str, Any, Any]]:
    return []


@pytest.fixture
def app(seen: list[tuple[str, Any, Any]]) -> FastAPI:
    app = FastAPI()
    app.get("/free")(lambda: "free")
    app.get("/paid")(price("1")(lambda: "content"))
    app.add_middleware(Watching, seen=seen)
    return app


async def test_a_free_request_is_handed_on_with_next_to_nothing_around_it(
    seen: list[tuple[str, Any, Any]],
) -> None:
    app = FastAPI()
    app.get("/free")(lambda: "free")
    app.add_middleware(Watching, seen=seen)
    assert (await Visitor(Selling().to(app)).get("/free")).json() == "free"
    _, receive, send = seen[-1]
    assert isinstance(send.__self__, Passage)
    assert receive.__self__ is send.__self__


async def test_a_price_behind_a_rewrite_is_found_and_paid(
    app: FastAPI, seen: list[tuple[str, Any, Any]]
) -> None:
    selling = Selling()
    visitor = Visitor(selling.to(app))
    elsewhere = {"x-go-to": "/paid"}
    unpaid = await visitor.get("/free", headers=elsewhere)
    assert unpaid.status == 402
    assert [path for path, _, _ in seen] == ["/free", "/free"]  # begun again, as it was sent
    paid = await visitor.buy("GET", "/free", headers=elsewhere)
    assert paid.json() == "content"
    assert "payment-receipt" in dict(paid.headers)


async def test_only_the_first_of_them_is_begun_again(
    app: FastAPI, seen: list[tuple[str, Any, Any]]
) -> None:
    visitor = Visitor(Selling().to(app))
    for _ in range(3):
        assert (await visitor.get("/free", headers={"x-go-to": "/paid"})).status == 402
    assert len(seen) == 4
    assert (await visitor.get("/free")).json() == "free"


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_what_was_answered_is_not_begun_again(method: str) -> None:
    """A price that turns up when the response has left is nobody's to pay any more."""
    app = FastAPI()
    runs: list[str] = []
    paid = price("1")(lambda: runs.append("paid"))
    app.get("/paid")(paid)

    async def afterwards() -> None:
        await paid()

    @app.api_route("/free", methods=[method])
    async def free(tasks: BackgroundTasks) -> str:
        runs.append("free")
        tasks.add_task(afterwards)
        return "free"

    visitor = Visitor(Selling().to(app))
    answer = await visitor.ask(method, "/free")
    assert (answer.status, answer.json()) == (200, "free")
    assert runs == ["free"]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_price_in_the_midst_of_a_response_cuts_it_off(method: str) -> None:
    app = FastAPI()
    paid = price("1")(lambda: "content")
    app.get("/paid")(paid)

    async def halfway(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        body = str(await paid()).encode()
        await send({"type": "http.response.body", "body": body})

    app.add_middleware(lambda _: halfway)
    answer = await Visitor(Selling().to(app)).ask(method, "/free")
    assert (answer.status, answer.body, answer.is_whole) == (200, b"half", False)


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("DELETE", {}),
        ("GET", {"headers": {"content-length": "5"}}),
        ("GET", {"headers": {"transfer-encoding": "chunked"}}),
        ("GET", {"http_version": "2"}),  # where a body may come unannounced
    ],
)
async def test_only_what_may_be_repeated_is_begun_again(
    method: str, request_: dict[str, Any]
) -> None:
    app = FastAPI()
    runs: list[str] = []
    paid = price("1")(lambda: "content")
    app.get("/paid")(paid)

    @app.api_route("/thing", methods=["DELETE", "GET"])
    async def done_once() -> str:
        runs.append("done")
        return str(await paid())

    visitor = Visitor(Selling().to(app))
    assert (await visitor.ask(method, "/thing", **request_)).status == 402
    assert runs == ["done"]


@pytest.mark.parametrize("costs", [False, True])
async def test_what_is_called_within_a_request_does_not_end_it(costs: bool) -> None:
    """An application that is called by another has its own passages and visits, and the other's
    endpoints still insist when they are over."""
    app, other, runs = FastAPI(), FastAPI(), list[str]()
    other.get("/free")(lambda: "free")
    other.get("/paid")(price("1")(lambda: "content"))
    visitor_there = Visitor(Selling().to(other))
    paid = price("1")(lambda: runs.append("given away"))
    app.get("/paid")(paid)

    @app.delete("/thing")
    async def ask_there_first() -> None:
        there = visitor_there.buy("GET", "/paid") if costs else visitor_there.get("/free")
        runs.append((await there).json())
        await paid()

    answer = await Visitor(Selling().to(app)).ask("DELETE", "/thing")
    assert answer.status == 402
    assert runs == ["content" if costs else "free"]


class Catching:
    """An application that calls what has a price, and does as told with what that raises."""

    def __init__(self, aftermath: Callable[[], Awaitable[None]]) -> None:
        self.aftermath = aftermath
        self.paid = price("1")(lambda: "content")
        self.runs = 0
        self.app = FastAPI()
        self.app.get("/paid")(self.paid)
        self.app.add_middleware(lambda _: self.rewritten)

    async def rewritten(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.runs += 1
        try:
            await self.paid()
        except BaseException:  # noqa: BLE001 # as applications should not
            await self.aftermath()


async def test_an_application_that_swallows_the_price_is_asked_again() -> None:
    async def nothing() -> None:
        pass

    catching = Catching(nothing)
    answer = await Visitor(Selling().to(catching.app)).get("/free")
    assert answer.status == 402
    assert catching.runs == 2


async def test_a_price_that_turns_up_does_not_outlive_the_request() -> None:
    """Whoever gives a request up has given it up, whatever is being unwound at the time."""
    unwinding = asyncio.Event()

    async def linger() -> None:
        unwinding.set()
        await asyncio.Event().wait()

    catching = Catching(linger)
    visitor = Visitor(Selling().to(catching.app))
    asking = asyncio.ensure_future(visitor.get("/free"))
    await unwinding.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert catching.runs == 1


@pytest.mark.parametrize("times", [1, 2])
async def test_what_was_read_before_a_price_turned_up_is_read_again(times: int) -> None:
    """A server gives its one message of a request once, and waits for the end from then on."""

    async def reads(request: Request) -> None:
        assert await request.body() == b""

    @price("1")
    async def goods() -> str:
        return "content"

    async def endpoint(request: Request) -> str:
        assert await request.body() == b""
        return await goods()

    app = FastAPI()
    app.get("/paid", dependencies=[Depends(reads)])(endpoint)
    visitor = Visitor(Selling().to(app))
    async with asyncio.timeout(30):
        for _ in range(times):
            assert (await visitor.get("/paid")).status == 402
        served = await visitor.buy("GET", "/paid")
    assert served.json() == "content"
    assert served.is_whole
