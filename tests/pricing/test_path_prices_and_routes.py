"""Prices by path, and who takes the request: a route, middleware, or nobody."""

from pathlib import Path

import pytest
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.routing import Mount, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from mpp_asgi import Price
from tests.methods.stall import Selling, Visitor
from tests.pricing.counter import costs, ok


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ("GET /nowhere", 404),
        ("POST /a", 405),
        ("GET /a/", 307),
        ("GET /b", 307),
        ("GET /b?x=%20&y=a|b", 307),  # which the router's redirect spells otherwise
        ("GET /%C3%A9", 307),
        ("GET /a", 402),
        ("GET /b/", 402),
        ("GET /m", 307),
        ("GET /m/x", 402),
        ("GET /m/x/", 307),
        ("POST /m/x", 405),
        ("GET /m/nowhere", 404),
        ("GET /m/deeper/y", 402),
        ("GET /m/deeper/nowhere", 404),
        ("GET /m/else/nowhere", 402),
        ("GET /i/a", 402),
        ("GET /i/nowhere", 404),
        ("GET /docs", 402),
    ],
)
async def test_what_no_route_takes_costs_nothing(request_: str, status: int) -> None:
    app = FastAPI()
    app.get("/a")(ok)
    app.get("/b/")(ok)
    app.get("/é/")(ok)
    deeper = [Mount("/deeper", routes=[Route("/y", ok)]), Mount("/else", last_resort)]
    app.mount("/m", Starlette(routes=[Route("/x", ok), *deeper]))
    router = APIRouter(prefix="/i")
    router.get("/a")(ok)
    app.include_router(router)
    visitor = Visitor(Selling(prices={"/{everything:path}": "1"}).to(app))
    assert (await visitor.ask(*request_.split())).status == status


@pytest.mark.parametrize("target", ["/a", "/i/a", "/m/x", "/m/deeper/y", "/m/else/z"])
async def test_what_a_route_takes_does_not_run_unpaid(target: str) -> None:
    runs: list[str] = []

    async def run(request: Request) -> PlainTextResponse:
        runs.append(request.url.path)
        return PlainTextResponse("content")

    async def else_(scope: Scope, receive: Receive, send: Send) -> None:
        await (await run(Request(scope)))(scope, receive, send)

    router = APIRouter(prefix="/i")
    router.get("/a")(run)
    app = FastAPI()
    app.get("/a")(run)
    app.include_router(router)
    deeper = [Mount("/deeper", routes=[Route("/y", run)]), Mount("/else", else_)]
    app.mount("/m", Starlette(routes=[Route("/x", run), *deeper]))
    visitor = Visitor(Selling(prices={"/{everything:path}": "1"}).to(app))
    assert (await visitor.get(target)).status == 402
    assert runs == []
    assert (await visitor.buy("GET", target)).body in {b"content", b'"content"'}
    assert runs == [target]


class Answering:
    """Middleware that has something of its own, as those for files and metrics do."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith("/own/"):
            headers = {"location": scope["path"]}  # of what is there, which is no redirect
            await PlainTextResponse("own", headers=headers)(scope, receive, send)
        elif scope["path"] == "/moved":
            await RedirectResponse("/signed-link")(scope, receive, send)
        elif scope["path"] == "/stored":
            await RedirectResponse("https://cdn.test/stored?signed")(scope, receive, send)
        elif scope["path"] == "/kept":
            await RedirectResponse("https://cdn.test/kept/?signed")(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def by_name(request: Request) -> str | Price:
    return {"small": "0.5", "free": Price.free()}[request.path_params["name"]]


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
async def test_what_middleware_answers_where_no_route_is_costs(method: str) -> None:
    app = Starlette(routes=[Route("/a", ok), Route("/b/", ok), Route("/own/c/", ok)])
    app.add_middleware(Answering)
    prices = {"/own/by-name/{name}": by_name, "/{everything:path}": "1"}
    selling = Selling(prices=prices)
    visitor = Visitor(selling.to(app))
    costing = {"/own/x": "1.0", "/own/c": "1.0", "/own/by-name/small": "0.5"}
    costing |= {"/moved": "1.0", "/stored": "1.0", "/kept": "1.0"}
    for target, cost in costing.items():
        unpaid = await visitor.ask(method, target)
        assert (costs(unpaid), unpaid.problem) == (cost, "payment-required")
        paid = await visitor.buy(method, target)
        assert paid.status in {200, 307}
        assert paid.receipt is not None
    assert selling.till.takings == 6
    assert (await visitor.ask(method, "/own/by-name/free")).body in {b"own", b""}
    for target, status in (("/nowhere", 404), ("/b", 307), ("/a/", 307)):
        assert (await visitor.ask(method, target)).status == status


async def test_what_middleware_answers_is_priced_by_its_method() -> None:
    """Though somebody with a session asks by HEAD, to manage it."""
    app = Starlette()
    app.add_middleware(Answering)
    visitor = Visitor(Selling(prices={"POST /{everything:path}": "1"}).to(app))
    session = {"payment-session": "C" + "A" * 55}
    assert costs(await visitor.ask("POST", "/own/x")) == "1.0"
    assert (await visitor.ask("HEAD", "/own/x", headers=session)).status == 200


async def last_resort(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("last resort")(scope, receive, send)


async def test_what_an_application_of_last_resort_takes_costs() -> None:
    routes = [Route("/a", ok), Route("/slash/", ok)]
    router = Router(routes=routes, default=last_resort)
    visitor = Visitor(Selling(prices={"/{everything:path}": "1"}).around(router))
    for request_, status in [
        ("GET /nowhere", 402),
        ("GET /a", 402),
        ("POST /a", 405),
        ("GET /slash", 307),
        ("GET /a/", 307),
    ]:
        assert (await visitor.ask(*request_.split())).status == status


@pytest.mark.skipif(not hasattr(APIRouter, "frontend"), reason="FastAPI has none yet")
async def test_so_do_the_files_of_a_fastapi_frontend(files: Path) -> None:
    for include in (False, True):
        app = FastAPI()
        router = APIRouter() if include else app.router
        router.frontend("/", directory=files)
        if include:
            app.include_router(router)
        visitor = Visitor(Selling(prices={"/paid.txt": "1"}).to(app))
        assert costs(await visitor.get("/paid.txt")) == "1.0"
        assert (await visitor.buy("GET", "/paid.txt")).body == b"paid.txt"
        assert costs(await visitor.get("/free.txt")) == "free"


async def test_routes_that_were_replaced_are_seen() -> None:
    app = Starlette(routes=[Route("/old", ok)])
    visitor = Visitor(Selling(prices={"/{everything}": "1"}).to(app))
    assert (await visitor.get("/new")).status == 404
    app.router.routes = [Route("/new", ok)]
    assert (await visitor.get("/new")).status == 402
    assert (await visitor.get("/old")).status == 404


async def test_a_redirect_to_what_is_no_address_is_sold_as_any_response() -> None:
    class Redirecting:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            headers = [(b"location", b"http://[")]
            await send({"type": "http.response.start", "status": 302, "headers": headers})
            await send({"type": "http.response.body", "body": b""})

    app = Starlette()
    app.add_middleware(Redirecting)
    visitor = Visitor(Selling(prices={"/{path:path}": "1"}).to(app))
    assert (await visitor.get("/x")).status == 402
    assert (await visitor.buy("GET", "/x")).status == 302
