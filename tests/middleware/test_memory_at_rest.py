"""What stays in memory while nothing is asked: connections are idle for long and many."""

from __future__ import annotations

import contextvars
import weakref
from typing import TYPE_CHECKING

import pytest
from fastapi import FastAPI

from mpp_asgi import price
from mpp_asgi.presence import current_visit
from tests.methods.stall import Selling, Visitor

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send


@pytest.mark.parametrize("path", ["/free", "/paid"])
async def test_what_outlives_a_request_keeps_nothing_of_it(path: str) -> None:
    """As a server's keep-alive timer does, which begins in the context of the last request."""
    contexts: list[contextvars.Context] = []
    visits: list[weakref.ref[object]] = []
    mouths: list[weakref.ref[object]] = []

    async def endpoint() -> str:
        visit = current_visit()
        assert visit is not None
        contexts.append(contextvars.copy_context())
        # A request that passes has no visit that could be referred to weakly.
        visits.extend([weakref.ref(visit)] if hasattr(visit, "__weakref__") else [])
        return "content"

    app = FastAPI()
    app.get("/free")(endpoint)
    app.get("/paid")(price("1")(endpoint))
    selling = Selling().to(app)

    async def server(scope: Scope, receive: Receive, send: Send) -> None:
        class Mouth:
            """Stands for all that a server holds for one request."""

            async def __call__(self, message: Message) -> None:
                await send(message)

        mouth = Mouth()
        mouths.append(weakref.ref(mouth))
        await selling(scope, receive, mouth)

    visitor = Visitor(server)
    shown = await (visitor.get(path) if path == "/free" else visitor.buy("GET", path))
    assert shown.status == 200
    (context,) = contexts
    assert context.run(current_visit) is None
    assert [ref() for ref in visits] == [None] * len(visits)
    assert mouths
    assert [ref() for ref in mouths] == [None] * len(mouths)
