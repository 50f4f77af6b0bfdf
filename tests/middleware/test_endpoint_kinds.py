"""Whatever an endpoint is: unpaid it does not run, paid it answers, once."""

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, PlainTextResponse, StreamingResponse
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.routing import Route

from mpp_asgi import price
from tests.methods.sales import Ran, check_is_sold
from tests.methods.stall import Selling, Visitor, payment
from tests.methods.streams import EventSourceResponse, needs_streams, where_supported

priced = price("0.01")


@pytest.fixture
def ran() -> Ran:
    return Ran()


# Endpoints of FastAPI


def fastapi_endpoints(ran: Ran, directory: Path) -> dict[str, tuple[Callable[..., Any], bytes]]:
    file = directory / "report.txt"
    file.write_bytes(b"ab" * 40_000)

    async def coroutine() -> str:
        ran()
        return "done"

    def function() -> str:
        ran()
        return "done"

    async def stream() -> AsyncIterator[int]:
        ran()
        yield 1
        yield 2

    def generator() -> Iterator[int]:
        ran()
        yield 1
        yield 2

    async def streaming_response() -> StreamingResponse:
        ran()

        async def chunks() -> AsyncIterator[str]:
            yield "a"
            yield "b"

        return StreamingResponse(chunks())

    def file_response() -> FileResponse:
        ran()
        return FileResponse(file)

    async def with_argument(word: str) -> str:
        ran()
        return word

    return {
        "coroutine": (coroutine, b'"done"'),
        "function": (function, b'"done"'),
        "stream": (stream, b"1\n2\n"),
        "generator": (generator, b"1\n2\n"),
        "response in chunks": (streaming_response, b"ab"),
        "file_response": (file_response, b"ab" * 40_000),
        "partial": (functools.partial(with_argument, "done"), b'"done"'),
    }


KINDS = list(fastapi_endpoints(Ran(), Path("/dev/shm")))


@pytest.mark.parametrize("kind", where_supported(KINDS))
@pytest.mark.parametrize("settle", ["before", "after"])
async def test_every_kind_of_fastapi_endpoint(
    kind: str, settle: Any, ran: Ran, tmp_path: Path
) -> None:
    endpoint, content = fastapi_endpoints(ran, tmp_path)[kind]
    app = FastAPI()
    app.get("/sold", response_model=None)(price("0.01", settle=settle)(endpoint))
    selling = Selling()
    served = await check_is_sold(selling, selling.to(app), ran)
    assert served.body == content


@needs_streams
@pytest.mark.parametrize("is_async", [True, False])
async def test_server_sent_events(is_async: bool, ran: Ran) -> None:
    async def events() -> AsyncIterator[str]:
        ran()
        yield "sunny"

    def sync_events() -> Iterator[str]:
        ran()
        yield "sunny"

    app = FastAPI()
    app.get("/sold", response_class=EventSourceResponse)(
        priced(events if is_async else sync_events)
    )
    selling = Selling()
    served = await check_is_sold(selling, selling.to(app), ran)
    assert served.body == b'data: "sunny"\n\n'


# Endpoints of Starlette


def starlette_endpoints(ran: Ran) -> dict[str, Any]:
    async def coroutine(request: Request) -> PlainTextResponse:
        ran()
        return PlainTextResponse("done")

    def function(request: Request) -> PlainTextResponse:
        ran()
        return PlainTextResponse("done")

    async def with_argument(word: str, request: Request) -> PlainTextResponse:
        ran()
        return PlainTextResponse(word)

    @priced
    class PricedClass(HTTPEndpoint):
        async def get(self, request: Request) -> PlainTextResponse:
            ran()
            return PlainTextResponse("done")

    class PricedMethod(HTTPEndpoint):
        @priced
        async def get(self, request: Request) -> PlainTextResponse:
            ran()
            return PlainTextResponse("done")

    class PricedSyncMethod(HTTPEndpoint):
        @priced
        def get(self, request: Request) -> PlainTextResponse:
            ran()
            return PlainTextResponse("done")

    class Views:
        @priced
        async def view(self, request: Request) -> PlainTextResponse:
            ran()
            return PlainTextResponse("done")

    return {
        "coroutine": priced(coroutine),
        "function": priced(function),
        "partial outside": functools.partial(priced(with_argument), "done"),
        "partial inside": priced(functools.partial(with_argument, "done")),
        "class": PricedClass,
        "method of a class": PricedMethod,
        "sync method of a class": PricedSyncMethod,
        "bound method": Views().view,
    }


@pytest.mark.parametrize("kind", list(starlette_endpoints(Ran())))
async def test_every_kind_of_starlette_endpoint(kind: str, ran: Ran) -> None:
    app = Starlette(routes=[Route("/sold", starlette_endpoints(ran)[kind])])
    selling = Selling()
    served = await check_is_sold(selling, selling.to(app), ran)
    assert served.body == b"done"


@pytest.mark.parametrize("kind", ["coroutine", "class", "method of a class"])
async def test_a_head_request_costs_what_its_get_costs(kind: str, ran: Ran) -> None:
    app = Starlette(routes=[Route("/sold", starlette_endpoints(ran)[kind])])
    visitor = Visitor(Selling().to(app))
    for_get = await visitor.challenge("GET", "/sold")
    substituted = await visitor.ask("HEAD", "/sold", headers=payment(for_get))
    assert (substituted.status, substituted.problem) == (402, "invalid-challenge")
    served = await visitor.buy("HEAD", "/sold")
    assert (served.status, ran.names) == (200, ["endpoint"])


@pytest.mark.parametrize("kind", ["class", "method of a class"])
@pytest.mark.parametrize("method", ["POST", "OPTIONS", "QUERY", "NONSENSE"])
async def test_a_method_that_a_class_does_not_handle_is_405_and_free(
    kind: str, method: str, ran: Ran
) -> None:
    app = Starlette(routes=[Route("/sold", starlette_endpoints(ran)[kind])])
    assert (await Visitor(Selling().to(app)).ask(method, "/sold")).status == 405


async def test_handlers_of_a_class_may_have_prices_of_their_own() -> None:
    @price("1")
    class Forecasts(HTTPEndpoint):
        async def get(self, request: Request) -> PlainTextResponse:
            return PlainTextResponse("got")

        @price("2")
        async def post(self, request: Request) -> PlainTextResponse:
            return PlainTextResponse("posted")

    visitor = Visitor(Selling().to(Starlette(routes=[Route("/sold", Forecasts)])))
    for method, amount in [("GET", "10000000"), ("POST", "20000000")]:
        challenge = await visitor.challenge(method, "/sold")
        assert challenge.request_object()["amount"] == amount
        assert (await visitor.buy(method, "/sold")).status == 200
