"""Whatever an endpoint is and wherever it is mounted: unpaid it does not run, paid it answers."""

import functools
import inspect
import sys
import types
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import FileResponse, PlainTextResponse, StreamingResponse
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.routing import Host, Mount, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from mpp_asgi import ConfigError, PaymentMiddleware, Price, price
from tests.methods.stall import Selling, Visitor, payment
from tests.methods.streams import EventSourceResponse, needs_streams, where_supported

priced = price("0.01")


class Ran:
    """Notes what ran."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, name: str = "endpoint") -> None:
        self.names.append(name)


@pytest.fixture
def ran() -> Ran:
    return Ran()


async def check_is_sold(
    selling: Selling, app: ASGIApp, ran: Ran, target: str = "/sold", **request: Any
) -> Any:
    """Unpaid: 402 and nothing ran. Paid: it ran once and came with its receipt. Again: refused."""
    visitor = Visitor(app)
    refused = await visitor.get(target, **request)
    assert (refused.status, refused.problem) == (402, "payment-required"), refused
    assert ran.names == []
    headers = {**request.pop("headers", {}), **payment(refused.challenge)}
    served = await visitor.get(target, headers=headers, **request)
    assert served.status == 200, served
    assert served.receipt is not None
    assert served.receipt.reference == refused.challenge.id
    assert len(ran.names) == 1
    again = await visitor.get(target, headers=headers, **request)
    assert (again.status, again.problem) == (402, "invalid-challenge")
    assert len(ran.names) == 1
    assert selling.till.takings == 1
    return served


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


# Places


def plain(ran: Ran) -> Callable[[Request], Any]:
    @priced
    async def endpoint(request: Request) -> PlainTextResponse:
        ran()
        return PlainTextResponse("done")

    return endpoint


def copying(app: ASGIApp) -> ASGIApp:
    """Middleware as a function, which hides the application and hands on a copy of the scope."""

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        await app(dict(scope), receive, send)

    return middleware


def fastapi_with(ran: Ran, path: str = "/sold", **options: Any) -> FastAPI:
    app = FastAPI(**options)
    app.add_route(path, plain(ran))
    return app


def api_router(ran: Ran, prefix: str = "") -> APIRouter:
    router = APIRouter(prefix=prefix)

    @router.get("/sold")
    @priced
    async def endpoint() -> str:
        ran()
        return "done"

    return router


def included(ran: Ran) -> tuple[Any, str]:
    app = FastAPI()
    app.include_router(api_router(ran), prefix="/a")
    return app, "/a/sold"


def included_thrice(ran: Ran) -> tuple[Any, str]:
    outer, middle = APIRouter(prefix="/o"), APIRouter(prefix="/m")
    middle.include_router(api_router(ran, "/i"), prefix="/x")
    outer.include_router(middle)
    app = FastAPI()
    app.include_router(outer, prefix="/v1")
    return app, "/v1/o/m/x/i/sold"


def included_with_parameters(ran: Ran) -> tuple[Any, str]:
    app = FastAPI()
    app.include_router(api_router(ran, "/{user}"), prefix="/{tenant:int}")
    return app, "/7/ann/sold"


def included_starlette_route(ran: Ran) -> tuple[Any, str]:
    router = APIRouter()
    router.add_route("/sold", plain(ran))
    app = FastAPI()
    app.include_router(router, prefix="/a")
    return app, "/a/sold"


def mounted_in_an_included_router(ran: Ran) -> tuple[Any, str]:
    router = APIRouter()
    router.mount("/sub", fastapi_with(ran))
    app = FastAPI()
    app.include_router(router, prefix="/a")
    return app, "/a/sub/sold"


def mounted(ran: Ran) -> tuple[Any, str]:
    return Starlette(routes=[Mount("/sub", routes=[Route("/sold", plain(ran))])]), "/sub/sold"


def mounted_twice(ran: Ran) -> tuple[Any, str]:
    inner = Mount("/{inner}", routes=[Route("/sold/{n:int}", plain(ran))])
    return Starlette(routes=[Mount("/outer", routes=[inner])]), "/outer/x/sold/3"


def mounted_at_the_root(ran: Ran) -> tuple[Any, str]:
    return Starlette(routes=[Mount("", routes=[Route("/sold", plain(ran))])]), "/sold"


def sub_application(ran: Ran) -> tuple[Any, str]:
    app = FastAPI()
    app.mount("/sub", fastapi_with(ran))
    return app, "/sub/sold"


def hidden_sub_application(ran: Ran) -> tuple[Any, str]:
    app = FastAPI()
    app.mount("/sub", copying(fastapi_with(ran)))
    return app, "/sub/sold"


def hidden_stream(ran: Ran) -> tuple[Any, str]:
    sub = FastAPI()

    @sub.get("/sold")
    @priced
    async def stream() -> AsyncIterator[str]:
        ran()
        yield "done"

    app = FastAPI()
    app.mount("/sub", copying(sub))
    return app, "/sub/sold"


def hidden_events(ran: Ran) -> tuple[Any, str]:
    sub = FastAPI()

    @sub.get("/sold", response_class=EventSourceResponse)
    @priced
    def events() -> Iterator[str]:
        ran()
        yield "done"

    app = FastAPI()
    app.mount("/sub", copying(sub))
    return app, "/sub/sold"


def behind_middleware_of_the_route(ran: Ran) -> tuple[Any, str]:
    route = Route("/sold", plain(ran), middleware=[Middleware(copying)])
    return Starlette(routes=[route]), "/sold"


def behind_middleware_of_the_mount(ran: Ran) -> tuple[Any, str]:
    routes = [Route("/sold", plain(ran))]
    return Starlette(
        routes=[Mount("/m", routes=routes, middleware=[Middleware(copying)])]
    ), "/m/sold"


def behind_hidden_middleware(ran: Ran) -> tuple[Any, str]:
    app = fastapi_with(ran)
    app.add_middleware(copying)
    return app, "/sold"


def hosted(ran: Ran) -> tuple[Any, str]:
    shop = Router(routes=[Route("/sold", plain(ran))])
    return Starlette(routes=[Host("shop.example", shop)]), "/sold"


def hosted_by_pattern(ran: Ran) -> tuple[Any, str]:
    shop = Router(routes=[Mount("/sub", routes=[Route("/sold", plain(ran))])])
    return Starlette(routes=[Host("{name}.example", shop)]), "/sub/sold"


def under_a_decorator_that_wraps(ran: Ran) -> tuple[Any, str]:
    endpoint = plain(ran)

    @functools.wraps(endpoint)
    async def outer(request: Request) -> Any:
        return await endpoint(request)

    return Starlette(routes=[Route("/sold", outer)]), "/sold"


def under_a_decorator_that_hides(ran: Ran) -> tuple[Any, str]:
    endpoint = plain(ran)

    async def outer(request: Request) -> Any:
        return await endpoint(request)

    return Starlette(routes=[Route("/sold", outer)]), "/sold"


def over_a_decorator(ran: Ran) -> tuple[Any, str]:
    def decorator(endpoint: Any) -> Any:
        @functools.wraps(endpoint)
        async def outer(request: Request) -> Any:
            return await endpoint(request)

        return outer

    @priced
    @decorator
    async def endpoint(request: Request) -> Any:
        ran()
        return PlainTextResponse("done")

    return Starlette(routes=[Route("/sold", endpoint)]), "/sold"


def called_through_a_dependency(ran: Ran) -> tuple[Any, str]:
    app = FastAPI()

    @priced
    async def dear() -> None:
        ran()

    @app.get("/sold", dependencies=[Depends(dear)])
    async def endpoint() -> str:
        return "done"

    return app, "/sold"


def added_later(ran: Ran) -> tuple[Any, str]:
    app = FastAPI()

    @app.get("/add")
    async def add() -> None:
        app.add_api_route("/sold", price("0.01")(run))

    async def run() -> str:
        ran()
        return "done"

    return app, "/sold"


PLACES = [
    included,
    included_thrice,
    included_with_parameters,
    included_starlette_route,
    pytest.param(mounted_in_an_included_router, marks=needs_streams),
    mounted,
    mounted_twice,
    mounted_at_the_root,
    sub_application,
    hidden_sub_application,
    hidden_stream,
    hidden_events,
    behind_middleware_of_the_route,
    behind_middleware_of_the_mount,
    behind_hidden_middleware,
    hosted,
    hosted_by_pattern,
    under_a_decorator_that_wraps,
    under_a_decorator_that_hides,
    over_a_decorator,
    called_through_a_dependency,
]


@pytest.mark.parametrize("place", where_supported(PLACES), ids=lambda place: place.__name__)
async def test_every_place(place: Callable[[Ran], tuple[Any, str]], ran: Ran) -> None:
    app, target = place(ran)
    selling = Selling()
    await check_is_sold(selling, selling.to(app), ran, target)


@pytest.mark.parametrize("place", where_supported(PLACES), ids=lambda place: place.__name__)
async def test_every_place_with_the_middleware_wrapped_around_by_hand(
    place: Callable[[Ran], tuple[Any, str]], ran: Ran
) -> None:
    app, target = place(ran)
    selling = Selling()
    await check_is_sold(selling, selling.around(app), ran, target)


async def test_a_route_added_while_the_application_runs(ran: Ran) -> None:
    app, target = added_later(ran)
    selling = Selling()
    selling.to(app)
    await Visitor(app).get(target)
    await Visitor(app).get("/add")
    await check_is_sold(selling, app, ran, target)


async def test_a_bare_router(ran: Ran) -> None:
    selling = Selling()
    router = Router(routes=[Route("/sold", plain(ran))])
    await check_is_sold(selling, selling.around(router), ran)


async def test_a_router_whose_middleware_is_ours(ran: Ran) -> None:
    selling = Selling()
    router = Router(
        routes=[Route("/sold", plain(ran))],
        middleware=[Middleware(PaymentMiddleware, **selling.options)],
    )
    await check_is_sold(selling, Starlette(routes=[Mount("/sub", router)]), ran, "/sub/sold")


async def test_a_sub_application_with_the_middleware_of_its_own(ran: Ran) -> None:
    outside, inside = Selling(), Selling()
    app = FastAPI()
    app.mount("/sub", inside.to(fastapi_with(ran)))
    await check_is_sold(inside, outside.to(app), ran, "/sub/sold")
    assert outside.till.takings == 0


@pytest.mark.parametrize("path", ["/sold", "/other"])
async def test_a_sub_application_wrapped_by_hand_has_its_own_routes_looked_up(
    path: str, ran: Ran
) -> None:
    """Not those of the application it is mounted in, which may have the same paths."""
    selling = Selling()
    free = Starlette(routes=[Route("/free", lambda request: PlainTextResponse("free"))])
    free.add_route(path, plain(ran))
    app = fastapi_with(ran, "/free")
    app.mount("/sub", selling.around(free))
    visitor = Visitor(app)
    assert (await visitor.get("/sub/free")).status == 200
    await check_is_sold(selling, app, ran, "/sub" + path)


@pytest.mark.parametrize("target", ["/api/sold", "/sold"])
async def test_a_root_path_that_the_proxy_strips_or_does_not(target: str, ran: Ran) -> None:
    selling = Selling()
    app = selling.to(fastapi_with(ran))
    await check_is_sold(selling, app, ran, target, root_path="/api")


async def test_another_method_of_a_priced_path_is_free(ran: Ran) -> None:
    app = FastAPI()

    @app.get("/sold")
    @priced
    async def get() -> str:
        ran()
        return "sold"

    @app.post("/sold")
    async def post() -> str:
        return "free"

    selling = Selling()
    selling.to(app)
    assert (await Visitor(app).ask("POST", "/sold")).json() == "free"
    await check_is_sold(selling, app, ran)


async def test_path_parameters_reach_the_endpoint_converted() -> None:
    app = FastAPI()

    @app.get("/forecast/{city}/{days}")
    @price("0.01")
    async def forecast(city: str, days: int, unit: str = "C") -> dict[str, object]:
        return {"city": city, "days": days, "unit": unit}

    visitor = Visitor(Selling().to(app))
    served = await visitor.buy("GET", "/forecast/Lisbon/3?unit=F")
    assert served.json() == {"city": "Lisbon", "days": 3, "unit": "F"}


async def test_string_annotations_are_resolved_where_the_endpoint_stands(ran: Ran) -> None:
    """As `from __future__ import annotations` makes them, with names our module does not have."""
    code = inspect.cleandoc(
        """
        from __future__ import annotations
        from pydantic import BaseModel
        from fastapi import Body, FastAPI
        from mpp_asgi import price
        from mpp_asgi.fastapi import CurrentPayment

        class Order(BaseModel):
            city: str

        app = FastAPI()

        @app.post("/sold")
        @price("0.01")
        async def endpoint(order: Order, payment: CurrentPayment) -> list[str]:
            return [order.city, payment.payer]
        """
    )
    names: dict[str, Any] = {"__name__": "an_application"}
    exec(code, names)
    visitor = Visitor(Selling().to(names["app"]))
    served = await visitor.buy(
        "POST", "/sold", body=b'{"city":"Lisbon"}', headers={"content-type": "application/json"}
    )
    assert served.json() == ["Lisbon", "somebody"]


async def test_what_a_paid_endpoint_calls_itself_is_included(ran: Ran) -> None:
    app = FastAPI()

    @app.get("/day")
    @price("1")
    async def day() -> str:
        ran("day")
        return "day"

    @price("2")
    def night() -> str:
        ran("night")
        return "night"

    @app.get("/both")
    @price("1.5")
    async def both() -> list[str]:
        return [await day(), await night()]  # type: ignore[misc]

    @app.get("/threaded")
    @price("1.5")
    def threaded() -> list[str]:
        return [night(), night()]

    @app.get("/sometimes")
    @price(lambda request: "1" if request.query_params else Price.free())
    async def sometimes() -> list[str]:
        return [await day(), await night()]  # type: ignore[misc]

    selling = Selling()
    visitor = Visitor(selling.to(app))
    assert (await visitor.buy("GET", "/both")).json() == ["day", "night"]
    assert (await visitor.get("/sometimes")).json() == ["day", "night"]
    assert (await visitor.buy("GET", "/threaded")).json() == ["night", "night"]
    assert selling.till.takings == 2


async def test_a_priced_endpoint_called_by_a_free_one_insists_all_the_same(ran: Ran) -> None:
    """Nothing tells a caller from a decorator that hides what it decorates."""
    app = FastAPI()

    @app.get("/day")
    @price("1")
    async def day() -> str:
        ran("day")
        return "day"

    @app.get("/today")
    async def today() -> str:
        return await day()

    @app.get("/sample")
    async def sample() -> str:
        return await inspect.unwrap(day)()

    visitor = Visitor(Selling().to(app))
    assert (await visitor.get("/today")).status == 402
    assert ran.names == []
    assert (await visitor.get("/sample")).json() == "day"


async def test_a_price_above_the_route_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
from fastapi import FastAPI
from mpp_asgi import price
app = FastAPI()

@price("1")
@app.get("/forecast")
async def forecast(): ...
"""
    module = types.ModuleType("a_shop")
    monkeypatch.setitem(sys.modules, "a_shop", module)
    exec(code, module.__dict__)
    with pytest.raises(ConfigError) as refused:
        await Visitor(Selling().to(module.app)).get("/forecast")
    assert str(refused.value) == (
        "@price stands above the route decorator of /forecast, where it has no effect: "
        "put it below."
    )


async def test_where_that_is_not_certain_there_is_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = FastAPI()

    @price("1")
    @app.get("/forecast")
    async def forecast() -> str:
        return "sunny"

    assert (await Visitor(Selling().to(app)).get("/forecast")).status == 200
    assert "/forecast is free, though its endpoint has a price elsewhere" in caplog.text


async def sunny(request: Request) -> PlainTextResponse:
    return PlainTextResponse("sunny")


async def test_a_function_may_be_free_on_one_route_and_priced_on_another() -> None:
    app = Starlette(routes=[Route("/sample", sunny), Route("/forecast", priced(sunny))])
    visitor = Visitor(Selling().to(app))
    assert (await visitor.get("/sample")).status == 200
    assert (await visitor.get("/forecast")).status == 402
