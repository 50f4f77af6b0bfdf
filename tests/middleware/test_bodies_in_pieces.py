"""A body that is read ahead takes about its size, however it is cut."""

from collections.abc import Iterable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from mpp_asgi import price
from mpp_asgi.body import RequestBody
from tests.methods.stall import Selling, Visitor


def body_of(chunks: Iterable[bytes]) -> RequestBody:
    pieces = [*chunks, None]
    given = iter(
        {"type": "http.request", "body": piece, "more_body": pieces[n + 1] is not None}
        for n, piece in enumerate(pieces[:-1])
    )

    async def receive() -> Any:
        return next(given, {"type": "http.disconnect"})

    return RequestBody(receive, may_exist=True)


async def messages_of(body: RequestBody) -> list[Any]:
    messages = [await body.receive()]
    while messages[-1]["more_body"]:
        messages.append(await body.receive())
    assert all(type(message["body"]) is bytes for message in messages)
    return messages


@pytest.mark.parametrize(
    ("chunks", "most"),
    [
        ([b""] * 10_000, 1),
        ([b"x"] * 10_000, 1),
        ([b"", b"x", b"", b"y" * 70_000, b"", b"z", b""], 3),
        ([b"x" * 40_000] * 5, 5),
        ([b"x" * 10_000] * 20, 4),
        ([b"whole"], 1),
    ],
)
async def test_small_pieces_are_joined(chunks: list[bytes], most: int) -> None:
    body = body_of(chunks)
    await body.read(1_000_000)
    replay = body.replay()
    messages = await messages_of(body)
    assert b"".join(message["body"] for message in messages) == b"".join(chunks)
    assert len(messages) <= most
    assert [await replay() for _ in messages] == messages


async def test_the_application_gets_its_body_whole() -> None:
    @price("1")
    async def echo(request: Request) -> Response:
        return PlainTextResponse(await request.body())

    app = Selling().to(Starlette(routes=[Route("/x", echo, methods=["POST"])]))
    chunks = [b"a", b"", b"b" * 70_000, b"c", b"d"]
    assert (await Visitor(app).buy("POST", "/x", body=chunks)).body == b"".join(chunks)
