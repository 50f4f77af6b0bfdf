"""Over plain HTTP payments are taken from this machine alone, and who is that is not guessed."""

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from mpp_asgi import price
from tests.methods.stall import Selling, scope_of


async def status(**scope: Any) -> int:
    @price("1")
    async def sold(request: Request) -> Response:
        return PlainTextResponse("goods")

    messages: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        messages.append(message)

    asked = {**scope_of("GET", "/x"), **scope}
    app = Selling().to(Starlette(routes=[Route("/x", sold)]))
    await app({key: value for key, value in asked.items() if value != "left out"}, receive, send)
    return int(messages[0]["status"])


@pytest.mark.parametrize("scheme", ["http", "left out"])
@pytest.mark.parametrize(
    ("client", "is_local"),
    [
        (None, True),
        ("left out", True),
        (("127.0.0.1", 1), True),
        (("::1", 1), True),
        (("::ffff:127.0.0.1", 1), True),
        (("", 0), True),
        (("testclient", 50000), True),
        (("203.0.113.9", 1), False),
        (("203.0.113.9:4711", 0), False),
        (("[::1]:4711", 0), False),
        (("unknown", 0), False),
        (("_hidden", 0), False),
    ],
)
async def test_who_is_on_this_machine(scheme: str, client: Any, is_local: bool) -> None:
    assert await status(scheme=scheme, client=client) == (402 if is_local else 400)


async def test_whoever_comes_over_tls_may_be_anybody() -> None:
    assert await status(scheme="https", client=("unknown", 0)) == 402
