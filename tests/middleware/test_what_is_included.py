"""What a payment covers: the call that was paid for, with all that it calls, and what costs no more
beside it."""

import asyncio
import contextvars
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI
from fastapi.responses import PlainTextResponse, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from mpp_asgi import Price, price
from tests.methods.sales import Ran, copying
from tests.methods.stall import Exchange, Selling, Visitor, payment


@pytest.fixture
def ran() -> Ran:
    return Ran()


async def buy(visitor: Visitor, target: str) -> Exchange:
    """Pay whatever is asked for first."""
    asked = await visitor.get(target)
    assert asked.status == 402, asked
    return await visitor.get(target, headers=payment(asked.challenge))


class Goods:
    """Two things that are priced, in every kind of function."""

    def __init__(self, ran: Ran) -> None:
        self.ran = ran

        @price("0.01")
        async def cheap() -> str:
            return self._note("cheap")

        @price("1")
        async def dear() -> str:
            return self._note("dear")

        @price("0.01")
        def cheap_function() -> str:
            return self._note("cheap")

        @price("1")
        def dear_function() -> str:
            return self._note("dear")

        @price("1")
        async def dear_stream() -> AsyncIterator[str]:
            yield self._note("dear")

        @price("1")
        def dear_generator() -> Iterator[str]:
            yield self._note("dear")

        self.cheap, self.dear = cheap, dear
        self.cheap_function, self.dear_function = cheap_function, dear_function
        self.dear_stream, self.dear_generator = dear_stream, dear_generator

    def _note(self, name: str) -> str:
        self.ran(name)
        return name


async def one_after_the_other(goods: Goods) -> Any:
    return await goods.cheap() + await goods.dear()


async def in_threads(goods: Goods) -> Any:
    return await goods.cheap_function() + await goods.dear_function()  # type: ignore[misc]


async def in_one_thread(goods: Goods) -> Any:
    from anyio.to_thread import run_sync

    return await run_sync(lambda: goods.cheap_function() + goods.dear_function())


async def in_a_task_meanwhile(goods: Goods) -> Any:
    entered, left = asyncio.Event(), asyncio.Event()

    @price("0.01")
    async def cheap() -> None:
        entered.set()
        await left.wait()

    paid = asyncio.ensure_future(cheap())
    await asyncio.wait([paid, asyncio.ensure_future(entered.wait())], return_when="FIRST_COMPLETED")
    if paid.done():
        await paid
    try:
        return await goods.dear()
    finally:
        left.set()
        await paid


async def a_stream_after_it(goods: Goods) -> Any:
    await goods.cheap()
    return StreamingResponse(goods.dear_stream())


async def a_generator_after_it(goods: Goods) -> Any:
    await goods.cheap()
    return StreamingResponse(goods.dear_generator())


async def a_stream_by_hand(goods: Goods) -> Any:
    await goods.cheap()
    return [item async for item in goods.dear_stream()]


async def between_the_items_of_a_stream(goods: Goods) -> Any:
    @price("0.01")
    async def cheap() -> AsyncIterator[str]:
        yield "a"
        yield "b"

    async for _ in cheap():
        await goods.dear()


async def between_the_items_of_a_generator(goods: Goods) -> Any:
    @price("0.01")
    def cheap() -> Iterator[str]:
        yield "a"
        yield "b"

    def run() -> None:
        for _ in cheap():
            goods.dear_function()

    from anyio.to_thread import run_sync

    await run_sync(run)


BESIDE = [
    one_after_the_other,
    in_threads,
    in_one_thread,
    in_a_task_meanwhile,
    a_stream_after_it,
    a_generator_after_it,
    a_stream_by_hand,
    between_the_items_of_a_stream,
    between_the_items_of_a_generator,
]


@pytest.mark.parametrize("way", BESIDE, ids=lambda way: way.__name__)
async def test_a_cheap_call_does_not_pay_for_a_dear_one_beside_it(
    way: Callable[[Goods], Any], ran: Ran, caplog: pytest.LogCaptureFixture
) -> None:
    app, goods = FastAPI(), Goods(ran)

    @app.get("/both")
    async def both() -> Any:
        return await way(goods)

    selling = Selling()
    served = await buy(Visitor(selling.to(app)), "/both")
    assert served.status == 500
    assert "dear" not in ran.names
    assert "does not cover" in caplog.text


async def test_nor_does_a_dependency_for_a_dearer_endpoint_that_is_hidden(ran: Ran) -> None:
    sub, goods = FastAPI(), Goods(ran)
    sub.get("/x", dependencies=[Depends(goods.cheap)])(goods.dear)
    app = FastAPI()
    app.mount("/sub", copying(sub))
    visitor = Visitor(Selling().to(app))
    assert (await visitor.challenge("GET", "/sub/x")).request_object()["amount"] == "100000"
    assert (await buy(visitor, "/sub/x")).status == 500
    assert ran.names == ["cheap"]


async def test_what_costs_no_more_is_covered(ran: Ran) -> None:
    app, goods = FastAPI(), Goods(ran)

    @app.get("/both")
    async def both() -> Any:
        return await goods.dear() + await goods.cheap() + await goods.dear()

    selling = Selling()
    served = await buy(Visitor(selling.to(app)), "/both")
    assert served.json() == "dearcheapdear"
    assert selling.till.takings == 1


async def calls(goods: Goods) -> Any:
    return await goods.dear()


async def calls_in_a_task(goods: Goods) -> Any:
    return await asyncio.gather(goods.dear(), goods.dear_function())  # type: ignore[arg-type]


async def calls_in_a_thread(goods: Goods) -> Any:
    return await asyncio.to_thread(goods.dear_function)


async def streams(goods: Goods) -> Any:
    return [item async for item in goods.dear_stream()] + list(goods.dear_generator())


@pytest.mark.parametrize("way", [calls, calls_in_a_task, calls_in_a_thread, streams])
@pytest.mark.parametrize("kind", ["coroutine", "function", "stream", "generator"])
async def test_what_a_call_that_was_not_foreseen_calls_itself_is_included(
    way: Callable[[Goods], Any], kind: str, ran: Ran
) -> None:
    app, goods = FastAPI(), Goods(ran)

    @price("0.01")
    async def coroutine() -> None:
        await way(goods)

    @price("0.01")
    def function() -> None:
        goods.dear_function()

    @price("0.01")
    async def stream() -> AsyncIterator[str]:
        await way(goods)
        yield "done"
        await way(goods)

    @price("0.01")
    def generator() -> Iterator[str]:
        goods.dear_function()
        yield "done"
        goods.dear_function()

    kinds = {"coroutine": coroutine, "function": function}

    @app.get("/calls")
    async def calls_it() -> Any:
        if kind in kinds:
            return PlainTextResponse(await kinds[kind]())  # type: ignore[misc]
        return StreamingResponse(stream() if kind == "stream" else generator())

    selling = Selling()
    served = await buy(Visitor(selling.to(app)), "/calls")
    assert (served.status, served.is_whole, selling.till.takings) == (200, True, 1)
    assert set(ran.names) == {"dear"}


def hidden(ran: Ran) -> FastAPI:
    sub, app = FastAPI(), FastAPI()
    sub.get("/x")(Goods(ran).dear)
    app.mount("/sub", copying(sub))
    return app


@pytest.mark.parametrize("by_path", ["0.01", lambda request: "0.01", lambda request: Price.free()])
async def test_a_price_by_path_opens_no_dearer_endpoint(
    by_path: Any, ran: Ran, caplog: pytest.LogCaptureFixture
) -> None:
    visitor = Visitor(Selling(prices={"/sub/{path:path}": by_path}).to(hidden(ran)))
    served = await visitor.get("/sub/x")
    if served.status == 402:
        served = await visitor.get("/sub/x", headers=payment(served.challenge))
    assert served.status == 500
    assert ran.names == []
    assert "does not cover" in caplog.text


@pytest.mark.parametrize("by_path", ["1", "1.5"])
async def test_one_that_costs_as_much_opens_it(by_path: str, ran: Ran) -> None:
    selling = Selling(prices={"/sub/{path:path}": by_path})
    served = await buy(Visitor(selling.to(hidden(ran))), "/sub/x")
    assert (served.status, served.json(), selling.till.takings) == (200, "dear", 1)


async def test_nor_does_it_where_the_path_is_rewritten_further_in(ran: Ran) -> None:
    class Rewriting:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await self.app({**scope, "path": "/dear"}, receive, send)

    app = FastAPI()
    app.get("/dear")(Goods(ran).dear)
    app.get("/alias")(Goods(ran).cheap.__wrapped__)  # type: ignore[attr-defined]
    app.add_middleware(Rewriting)
    visitor = Visitor(Selling(prices={"/alias": "0.01"}).to(app))
    assert (await buy(visitor, "/alias")).status == 500
    assert ran.names == []


async def test_nor_an_endpoint_that_was_added_later_to_an_included_router(ran: Ran) -> None:
    router, app = APIRouter(), FastAPI()

    @router.get("/free")
    async def free() -> str:
        return "free"

    app.include_router(router)
    visitor = Visitor(Selling(prices={"/{path:path}": "0.01"}).to(app))
    await visitor.get("/dear")
    router.add_api_route("/dear", Goods(ran).dear)
    served = await visitor.get("/dear")
    if served.status == 402:
        assert (await visitor.get("/dear", headers=payment(served.challenge))).status != 200
    assert ran.names == []


@pytest.mark.parametrize("kind", ["coroutine", "function"])
@pytest.mark.parametrize("place", ["free", "decorated"])
@pytest.mark.parametrize("is_dynamic", [False, True])
async def test_two_priced_calls_at_once_are_paid_once(
    kind: str, place: str, is_dynamic: bool, ran: Ran
) -> None:
    async def take_time(step: str) -> None:
        for _ in range(3):
            await asyncio.sleep(0)

    async def quote(request: Any) -> str:
        await take_time("quote")
        return "0.01"

    priced = price(quote if is_dynamic else "0.01")

    @priced
    async def coroutine() -> Any:
        ran()
        return "goods"

    @priced
    def function() -> Any:
        ran()
        return "goods"

    goods: Any = coroutine if kind == "coroutine" else function

    async def batch() -> Any:
        return await asyncio.gather(goods(), goods())

    if place == "decorated":  # by something that calls twice what it decorates
        batch = functools.wraps(goods)(batch)
    app = FastAPI()
    app.get("/batch")(batch)
    selling = Selling(step=take_time)
    async with asyncio.timeout(30):
        served = await buy(Visitor(selling.to(app)), "/batch")
    assert (served.status, served.json()) == (200, ["goods", "goods"])
    assert (selling.till.takings, len(ran.names)) == (1, 2)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_priced_function_may_be_called_in_any_thread(method: str, ran: Ran) -> None:
    @price("1")
    def goods() -> str:
        ran()
        return "goods"

    async def to_thread() -> str:
        return await asyncio.to_thread(goods)

    async def in_executor() -> str:
        run = contextvars.copy_context().run
        return await asyncio.get_running_loop().run_in_executor(None, run, goods)

    app = FastAPI()
    app.api_route("/to_thread", methods=[method])(to_thread)
    app.api_route("/executor", methods=[method])(in_executor)
    app.api_route("/decorated", methods=[method])(functools.wraps(goods)(to_thread))
    selling = Selling()
    visitor = Visitor(selling.to(app))
    for target in ("/to_thread", "/executor", "/decorated"):
        ran.names.clear()
        asked = await visitor.ask(method, target)
        assert (asked.status, ran.names) == (402, [])
        served = await visitor.ask(method, target, headers=payment(asked.challenge))
        assert (served.status, served.json()) == (200, "goods")
    assert selling.till.takings == 3
