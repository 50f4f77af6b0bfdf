"""What the application refuses by itself leaves unpaid, and opens nothing behind it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import Depends, FastAPI
from fastapi.responses import StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from mpp_asgi import Price, price
from mpp_asgi.protocol import Challenge, Credential
from tests.methods.sales import Ran
from tests.methods.stall import Selling, Visitor, payment
from tests.methods.streams import needs_streams


@pytest.fixture
def ran() -> Ran:
    return Ran()


def worthless(challenge: Challenge) -> dict[str, str]:
    """A credential of which only the ledger knows that it pays nothing."""
    return {"Authorization": Credential(challenge, {"type": "nothing"}).to_header()}


class Deadline:
    """Answers when its time is over, and leaves the application at work."""

    def __init__(self, app: ASGIApp, is_over: asyncio.Event, go_on: asyncio.Event) -> None:
        self.app = app
        self._is_over = is_over
        self._go_on = go_on

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def unheard(message: Any) -> None:
            pass

        task = asyncio.ensure_future(self.app(scope, receive, unheard))
        await self._is_over.wait()
        await send({"type": "http.response.start", "status": 504, "headers": []})
        self._go_on.set()
        await asyncio.wait([task])
        await send({"type": "http.response.body", "body": b"late"})
        task.exception()


async def test_an_endpoint_that_is_reached_after_a_refusal_does_not_run(ran: Ran) -> None:
    app, is_over, go_on = FastAPI(), asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        is_over.set()
        await go_on.wait()

    @app.get("/sold", dependencies=[Depends(slow)])
    @price("1")
    async def sold() -> str:
        ran()
        return "goods"

    app.add_middleware(Deadline, is_over=is_over, go_on=go_on)
    selling = Selling()
    visitor = Visitor(selling.to(app))
    challenge = await visitor.challenge("GET", "/sold")
    for headers in (worthless(challenge), payment(challenge)):
        late = await visitor.get("/sold", headers=headers)
        assert (late.status, late.body, late.is_whole) == (504, b"late", True)
    assert ran.names == []
    assert selling.till.takings == 0


@needs_streams
async def test_a_stream_of_an_error_status_gives_nothing_away(ran: Ran) -> None:
    app = FastAPI()

    @app.get("/sold", status_code=404)
    @price("1")
    async def sold() -> AsyncIterator[str]:
        ran()
        yield "goods"

    visitor = Visitor(Selling().to(app), app_raises=True)
    headers = worthless(await visitor.challenge("GET", "/sold"))
    served = await visitor.get("/sold", headers=headers)
    assert (served.status, served.body, served.is_whole) == (404, b"", False)
    assert ran.names == []


@pytest.mark.parametrize("quoted", ["1", Price.free()])
async def test_so_does_one_that_was_not_foreseen_unless_it_is_free(ran: Ran, quoted: Any) -> None:
    @price(lambda request: quoted)
    async def goods() -> AsyncIterator[str]:
        ran()
        yield "goods"

    app = FastAPI()

    @app.post("/sold")
    async def endpoint() -> StreamingResponse:
        return StreamingResponse(goods(), status_code=404)

    served = await Visitor(Selling().to(app), app_raises=True).ask("POST", "/sold")
    is_free = quoted != "1"
    assert (served.status, served.is_whole) == (404, is_free)
    assert ran.names == ["endpoint"] * is_free
