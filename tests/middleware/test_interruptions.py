"""A request that is cut off at any point, and a store that fails at any call.

Whatever happens: nothing is granted without a settlement, nothing is charged twice, our own fault
is never answered with 402, and afterwards the same credential is served, by any worker.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from mpp_asgi import price
from mpp_asgi.protocol import Challenge
from mpp_asgi.stores.memory.store import MemoryStore
from tests.methods.stall import Exchange, Line, Selling, Visitor, payment, scope_of
from tests.methods.stores import FailingStore, SlowStore
from tests.methods.streams import HAS_STREAMS, where_supported

TARGETS = [
    "/paid",
    "/after",
    "/stream",
    "/after-stream",
    "/by-path",
    "/hidden/paid",
    "/hidden/stream",
]


def shop() -> FastAPI:
    app = FastAPI()

    async def paid() -> str:
        await asyncio.sleep(0)
        return "content"

    async def stream() -> AsyncIterator[str]:
        yield "con"
        await asyncio.sleep(0)
        yield "tent"

    app.get("/paid")(price("1")(paid))
    app.get("/after")(price("1", settle="after")(paid))
    app.add_api_route("/by-path", lambda: "content")
    hidden = FastAPI()
    hidden.get("/paid")(price("1")(paid))
    if HAS_STREAMS:
        app.get("/stream")(price("1")(stream))
        app.get("/after-stream")(price("1", settle="after")(stream))
        hidden.get("/stream")(price("1")(stream))
    app.mount("/hidden", copying(hidden))
    return app


def copying(app: ASGIApp) -> ASGIApp:
    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        await app(dict(scope), receive, send)

    return middleware


async def give_way(step: str) -> None:
    del step
    await asyncio.sleep(0)


async def settle_down() -> None:
    """Let everything that was left behind finish."""
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others)


class Workers:
    """Two processes on one store."""

    def __init__(self) -> None:
        store = MemoryStore()
        self.selling = Selling(
            step=give_way, keep=lambda _: SlowStore(store), prices={"/by-path": "1"}
        )
        app = shop()
        self.here = Visitor(self.selling.around(app))
        self.elsewhere = Visitor(self.selling.around(app))


async def cut_off(app: ASGIApp, target: str, challenge: Challenge, *, at: int, again: bool) -> Any:
    """Cancel a paid request at its n-th turn of the event loop.

    Returns:
        What it sent, and whether it ended before it could be cancelled.
    """
    line = Line([b""], None)
    line.leave_at_end = False
    scope = scope_of("GET", target, headers=payment(challenge))
    request = asyncio.ensure_future(app(scope, line.receive, line.send))
    for _ in range(at):
        await asyncio.sleep(0)
    ended = request.done()
    request.cancel()
    while not request.done():
        await asyncio.sleep(0)
        if again:
            request.cancel()
    await settle_down()
    return line.exchange, ended


@pytest.mark.parametrize("again", [False, True], ids=["once", "at every turn from then on"])
@pytest.mark.parametrize("worker", ["here", "elsewhere"])
@pytest.mark.parametrize("target", where_supported(TARGETS))
async def test_a_request_cancelled_at_any_turn(target: str, worker: str, again: bool) -> None:
    served_whole: list[int] = []
    for at in range(500):
        workers = Workers()
        await workers.elsewhere.get("/")
        challenge = await workers.here.challenge("GET", target)
        sent, ended = await cut_off(workers.here.app, target, challenge, at=at, again=again)
        check_nothing_leaked(sent, workers.selling)
        retried = await getattr(workers, worker).get(target, headers=payment(challenge))
        if sent.is_whole:
            served_whole.append(at)
            assert retried.status == 402, (at, sent, retried)
        else:
            assert (retried.status, retried.is_whole) == (200, True), (at, sent, retried)
            last = await getattr(workers, worker).get(target, headers=payment(challenge))
            assert last.status == 402, (at, last)
        assert workers.selling.till.moves.total() == 1, at
        if ended:
            break
    assert at > 20
    assert len(served_whole) >= 1


STEPS = ["verify", "claim", "submit", "move", "settle"]


@pytest.mark.parametrize("called", ["in a thread", "in a task"])
@pytest.mark.parametrize("step", STEPS)
async def test_a_payment_that_outlives_its_request_keeps_nobody_out(step: str, called: str) -> None:
    """The request is cancelled while a thread or a task that it began has a call paid."""
    reached, goes_on = asyncio.Event(), asyncio.Event()

    async def hold_on(at: str) -> None:
        if at == step:
            reached.set()
            await goes_on.wait()

    app = FastAPI()
    in_thread, in_task = price("1")(lambda: "content"), price("1")(content)
    tasks: list[asyncio.Task[str]] = []

    @app.get("/x")
    async def endpoint() -> str:
        if called == "in a thread":
            return await asyncio.to_thread(in_thread)
        tasks.append(asyncio.create_task(in_task()))
        return await asyncio.shield(tasks[-1])

    selling = Selling(step=hold_on)
    visitor = Visitor(selling.to(app))
    headers = payment(await visitor.challenge("GET", "/x"))
    request = asyncio.create_task(visitor.get("/x", headers=headers))
    await reached.wait()
    request.cancel()
    await asyncio.wait([request])
    goes_on.set()
    await settle_down()
    again = await visitor.get("/x", headers=headers)
    assert (again.status, again.json()) == (200, "content")
    assert selling.till.moves.total() == 1


async def content() -> str:
    return "content"


def check_nothing_leaked(sent: Exchange, selling: Selling) -> None:
    if sent.messages:
        assert sent.status == 200, sent
        assert sent.receipt is not None
        assert selling.till.moves.total() == 1


# The store fails


@pytest.mark.parametrize("worker", ["here", "elsewhere"])
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("writes", [False, True], ids=["before it writes", "after it wrote"])
@pytest.mark.parametrize("target", where_supported(TARGETS))
async def test_a_store_that_fails_at_any_call(
    target: str, writes: bool, lasting: bool, worker: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL + 1)
    for at in range(100):
        stores = [FailingStore(MemoryStore(), writes=writes)]
        selling = Selling(keep=lambda _, stores=stores: stores[0], prices={"/by-path": "1"})
        app = shop()
        visitors = {name: Visitor(selling.around(app)) for name in ("here", "elsewhere")}
        for visitor in visitors.values():
            await visitor.get("/")
        [store], here = stores, visitors["here"]
        challenge = await here.challenge("GET", target)
        assert store.calls == []  # nothing is stored for the unpaid
        store.fail_at = range(at, 10_000 if lasting else at + 1)
        sent = await here.get(target, headers=payment(challenge))
        calls = len(store.calls)
        await settle_down()
        check_it_is_our_fault(sent)

        store.fail_at = range(0)
        await heartbeat(selling)
        retried = await visitors[worker].get(target, headers=payment(challenge))
        if sent.status == 503:
            assert retried.status == 200, (at, store.calls, retried)
        elif not lasting:
            assert retried.status == 402, (at, store.calls, retried)
        assert (selling.till.takings, selling.till.charged_twice) == (1, [])
        if at >= calls:
            break
    assert at >= 4


def check_it_is_our_fault(sent: Exchange) -> None:
    if sent.status == 200:
        assert sent.receipt is not None
    else:
        assert sent.status == 503, sent
        assert sent.header("retry-after") is not None
        assert sent.header("www-authenticate") is None


async def heartbeat(selling: Selling) -> None:
    """What each process does now and then, so that all of them count as alive."""
    selling.time.now += 10
    for book in selling.books:
        await book.heart.beat()
        await book.tidy()
