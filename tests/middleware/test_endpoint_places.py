"""Wherever an endpoint is mounted: unpaid it does not run, paid it answers, once."""

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import PlainTextResponse
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Host, Mount, Route, Router

from mpp_asgi import PaymentMiddleware, price
from tests.methods.sales import Ran, check_is_sold, copying
from tests.methods.stall import Selling, Visitor
from tests.methods.streams import EventSourceResponse, needs_streams, where_supported

priced = price("0.01")


@pytest.fixture
def ran() -> Ran:
    return Ran()


def plain(ran: Ran) -> Callable[[Request], Any]:
    @priced
    async def endpoint(request: Request) -> PlainTextResponse:
        ran()
        return PlainTextResponse("done")

    return endpoint


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
