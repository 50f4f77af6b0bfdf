"""Prices by path: every spelling of a priced path costs, no spelling of another does."""

from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, Router
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from mpp_asgi import ConfigError, price, tariff
from tests.methods.stall import Selling, Visitor, payment, running
from tests.pricing.counter import costs, ok

# Which key prices what


@pytest.mark.parametrize(
    ("key", "request_", "cost"),
    [
        ("/a", "GET /a", "1.0"),
        ("/a", "POST /a", "1.0"),
        ("/a", "NONSENSE /a", "1.0"),
        ("* /a", "GET /a", "1.0"),
        ("GET /a", "GET /a", "1.0"),
        ("GET   /a", "GET /a", "1.0"),
        (" GET /a ", "GET /a", "1.0"),
        ("GET /a", "HEAD /a", "1.0"),
        ("GET /a", "POST /a", "free"),
        ("HEAD /a", "GET /a", "free"),
        ("POST /a", "HEAD /a", "free"),
        ("OPTIONS /a", "OPTIONS /a", "1.0"),
        ("/a", "OPTIONS /a", "free"),
        ("/a", "GET /a/b", "free"),
        ("/a", "GET /", "free"),
        ("/a", "GET /b", "free"),
        ("/a", "GET /A", "free"),
        ("/", "GET /", "1.0"),
        ("/{x}", "GET /a", "1.0"),
        ("/{x}", "GET /a/b", "free"),
        ("/{x:path}", "GET /a/b", "1.0"),
        ("/{x:int}", "GET /a", "free"),
        ("/{x:int}", "GET /12", "1.0"),
        ("/{x:int}", f"GET /{'9' * 5000}", "1.0"),
        ("/a.b", "GET /aXb", "free"),
        ("/a;b", "GET /a;b", "1.0"),
        ("/é", "GET /%C3%A9", "1.0"),
    ],
)
async def test_a_key_is_a_method_and_a_pattern(key: str, request_: str, cost: str) -> None:
    async def everything(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("content")(scope, receive, send)

    visitor = Visitor(Selling(prices={key: "1"}).around(everything))
    assert costs(await visitor.ask(*request_.split())) == cost


@pytest.mark.parametrize(
    "key", ["a", "", "get /a", "GET", "GET a", "/a b", "/{x:money}", "/{x}/{x}", "GET,POST /a"]
)
async def test_what_is_no_key_stops_the_start(key: str) -> None:
    with pytest.raises(ConfigError) as refused:
        await Visitor(Selling(prices={key: "1"}).around(Router())).get("/")
    assert str(refused.value).startswith(f"prices={{{key!r}: ...}}: ")


@pytest.mark.parametrize(
    ("key", "advice"),
    [
        ("GTE /y", "there is no method GTE: write 'GET /y'"),
        ("PSOT /y", "there is no method PSOT: write 'POST /y'"),
        (
            "FETCH /x",
            "there is no method FETCH: write one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, "
            "TRACE, QUERY",
        ),
        ("GET /z/*", "a star stands for itself: write 'GET /z/{path:path}'"),
        ("/z/**", "a star stands for itself: write '/z/{path:path}'"),
        ("* /*", "a star stands for itself: write '/{path:path}'"),
        ("/z/*.txt", "a star stands for itself: write '/z/{path:path}.txt'"),
    ],
)
async def test_what_would_match_nothing_says_what_is_meant(key: str, advice: str) -> None:
    with pytest.raises(ConfigError) as refused:
        await Visitor(Selling(prices={key: "1"}).around(Router())).get("/")
    assert str(refused.value) == f"prices={{{key!r}: ...}}: {advice}"


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        (0.5, '0.5 is a float and floats are not exact; write "0.5"'),
        ("-1", "a price is positive, not -1"),
        ("0.00000001", "The price of /a cannot be charged: 1E-8 has more than 7 decimal places"),
        (tariff("1", currency="EURC"), "The price of /a cannot be charged: currency 'EURC'"),
    ],
)
async def test_what_is_no_price_stops_the_start(value: Any, advice: str) -> None:
    with pytest.raises(ConfigError) as refused:
        await Visitor(Selling(prices={"/a": value}).around(Router())).get("/")
    assert str(refused.value).startswith(advice)


async def test_the_first_key_that_matches_counts() -> None:
    prices = {"GET /a": "1", "/a": "2", "/free": None, "/{x}": "3"}
    app = Starlette(routes=[Route("/{x}", ok, methods=["GET", "POST"])])
    visitor = Visitor(Selling(prices=prices).to(app))
    assert costs(await visitor.ask("GET", "/a")) == "1.0"
    assert costs(await visitor.ask("POST", "/a")) == "2.0"
    assert costs(await visitor.ask("GET", "/b")) == "3.0"
    assert costs(await visitor.ask("GET", "/free")) == "free"


async def test_a_decorated_price_counts_before_one_by_path() -> None:
    app = FastAPI()

    @app.get("/a")
    @price("5")
    async def a() -> str:
        return "a"

    selling = Selling(prices={"/{x:path}": "1", "/a": None})
    visitor = Visitor(selling.to(app))
    assert costs(await visitor.get("/a")) == "5.0"
    assert (await visitor.buy("GET", "/a")).json() == "a"
    assert selling.till.takings == 1


async def test_free_by_path_does_not_make_a_decorated_route_free() -> None:
    app = FastAPI()
    app.get("/a")(price("5")(ok))
    assert costs(await Visitor(Selling(prices={"/a": None}).to(app)).get("/a")) == "5.0"


# Spelled otherwise

PRICES = {
    "/files/free.txt": None,
    "/files/public/{rest:path}": None,
    "/files/cheap/{rest:path}": "0.01",
    "/files/{rest:path}": "1",
}


@pytest.mark.parametrize(
    ("target", "cost"),
    [
        ("/files/paid.txt", "1.0"),
        ("/files//paid.txt", "1.0"),
        ("/files/./paid.txt", "1.0"),
        ("/files/%2e/paid.txt", "1.0"),
        ("/files/public/../paid.txt", "1.0"),
        ("/files/public/%2e%2e/paid.txt", "1.0"),
        ("/files/public/..%2fpaid.txt", "1.0"),
        ("/files/public/..%5cpaid.txt", "1.0"),
        ("/files/public//../paid.txt", "1.0"),
        ("/files/public/x/../../paid.txt", "1.0"),
        ("/files/free.txt/../paid.txt", "1.0"),
        ("/files/cheap/../dear/a.txt", "1.0"),
        ("/files/cheap/%2e%2e/dear/a.txt", "1.0"),
        ("/files/paid.txt/", "1.0"),
        ("/files/paid.txt;public", "1.0"),
        ("/files/paid.txt?x=/files/free.txt", "1.0"),
        ("/files/dear/a.txt", "1.0"),
        ("/files/cheap/a.txt", "0.01"),
        ("/files/free.txt", "free"),
        ("/files/public/a.txt", "free"),
        ("/files/public/", "free"),
        ("/files/public/./a.txt", "free"),
        ("/files/public//a.txt", "free"),
        ("/files/public/a.txt;x", "free"),
        ("/files/free.txt/", "1.0"),
        ("/files/.free.txt", "1.0"),
        ("/files/x/../free.txt", "1.0"),  # free is what is free in every reading
    ],
)
async def test_files_behind_a_mount(target: str, cost: str, files: Path) -> None:
    """The file server resolves what the router takes literally."""
    app = Starlette(routes=[Mount("/files", StaticFiles(directory=files, html=True))])
    answer = await Visitor(Selling(prices=PRICES).to(app)).get(target)
    assert costs(answer) == cost
    if cost == "free" and answer.status == 200:
        assert b"paid" not in answer.body
        assert b"dear" not in answer.body


@pytest.mark.parametrize("spelling", ["/paid.txt", "/paid.txt/", "//paid.txt", "/x/../paid.txt/"])
async def test_a_price_that_stands_before_what_is_free(spelling: str, files: Path) -> None:
    app = Starlette(routes=[Mount("/", StaticFiles(directory=files))])
    visitor = Visitor(Selling(prices={"/paid.txt": "1", "/{rest:path}": None}).to(app))
    assert costs(await visitor.get(spelling)) == "1.0"
    assert (await visitor.get("/free.txt")).body == b"free.txt"


@pytest.mark.parametrize("target", ["/public/", "//public/", "/./public/", "/public//", "//public"])
async def test_an_index_by_any_spelling(target: str, files: Path) -> None:
    app = Starlette(routes=[Mount("/", StaticFiles(directory=files, html=True))])
    plain = await Visitor(app).get(target)
    answer = await Visitor(Selling(prices={"/public/": "1"}).around(app)).get(target)
    assert b"index" not in answer.body
    assert answer.status == (402 if plain.body == b"index" else plain.status)


@pytest.mark.parametrize("target", ["/hidden/a", "/.hidden/a", "/..hidden/a", "/...", "/.hidden"])
async def test_names_that_begin_with_dots_are_names(target: str) -> None:
    async def everything(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("content")(scope, receive, send)

    visitor = Visitor(Selling(prices={"/.hidden/{x}": "1"}).around(everything))
    assert costs(await visitor.get(target)) == ("1.0" if target == "/.hidden/a" else "free")
    assert costs(await visitor.get("/" + target)) == costs(await visitor.get(target))


async def ok_everywhere(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("content")(scope, receive, send)


async def test_a_proxy_that_is_no_router_is_priced_by_path() -> None:
    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(scope["path"])(scope, receive, send)

    async def proxy(scope: Scope, receive: Receive, send: Send) -> None:
        transport = httpx.ASGITransport(upstream)
        async with httpx.AsyncClient(transport=transport, base_url="http://up") as client:
            answer = await client.get(scope["raw_path"].decode())
        await PlainTextResponse(answer.text)(scope, receive, send)

    selling = Selling(prices={"GET /reports/{name}": "1"})
    visitor = Visitor(selling.around(proxy))
    assert (await visitor.get("/health")).body == b"/health"
    assert (await visitor.buy("GET", "/reports/q3")).body == b"/reports/q3"


@pytest.mark.parametrize(
    ("target", "cost"),
    [
        ("/reports/q3", "1.0"),
        ("/reports/q%2533", "1.0"),
        ("/reports%252Fq3", "1.0"),
        ("/x/%252e%252e/reports/q3", "1.0"),
        ("/reports/q3%253Bx", "1.0"),
        ("/reports/../reports%252fq3", "1.0"),
        ("/100%25", "free"),
        ("/samples/q%2533", "free"),
        ("/samples/%252e%252e/reports/q3", "1.0"),
    ],
)
async def test_what_a_proxy_decodes_once_more_costs(target: str, cost: str) -> None:
    """One that hands on the path it was given, which its upstream decodes again."""

    async def proxy(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(unquote(scope["path"]))(scope, receive, send)

    prices = {"GET /samples/{name}": None, "GET /{x}/{name}": "1"}
    visitor = Visitor(Selling(prices=prices).around(proxy))
    assert costs(await visitor.get(target)) == cost


@pytest.mark.parametrize(
    ("target", "cost"),
    [
        ("/reports/q3%0A", "1.0"),
        ("/reports/%0Dq3", "1.0"),
        ("/re%09ports/q%0A3", "1.0"),
        ("/.%0A./reports/q3", "1.0"),
        ("/reports/q3%00.html", "1.0"),
        ("/reports%2500/q3", "free"),
        ("/reports/q3%2500.html", "1.0"),
        ("/reports/q3%3Fx=1", "1.0"),
        ("/reports/q3%23x", "1.0"),
        ("/reports/q3%23x%0A/..", "1.0"),
        ("/reports/q3%253Fx=1", "1.0"),
        ("/reports/q4?/../q3", "free"),
        ("/all/a%0Ab", "1.0"),
        ("/all/%0A", "1.0"),
        ("/all%0A/a", "1.0"),
        ("/reports/q3.html", "free"),
    ],
)
async def test_what_others_leave_out_of_a_path_makes_no_other_path(target: str, cost: str) -> None:
    """Line breaks and tabs, as parsers of URLs do; what follows a NUL, as programs in C do; what
    follows ``?`` or ``#``, as those do who make a URL of a path."""

    async def everything(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("content")(scope, receive, send)

    prices = {"GET /reports/q3": "1", "GET /all/{path:path}": "1"}
    visitor = Visitor(Selling(prices=prices).around(everything))
    assert costs(await visitor.get(target)) == cost


DEARER = {"/cheap/{rest:path}": "0.01", "/dear/{rest:path}": "1", "/a": "0.01", "/a/": "1"}
LANES = Router(
    routes=[Route("/dear/{rest:path}", ok), Route("/cheap/{rest:path}", ok)], default=ok_everywhere
)


@pytest.mark.parametrize(
    ("target", "cost"),
    [
        ("/cheap/x", "0.01"),
        ("/dear/x", "1.0"),
        ("/cheap//x", "0.01"),
        ("/dear/../cheap/x", "1.0"),
        ("/cheap/../dear/x", "1.0"),
        ("/dear/%2e%2e/cheap/x", "1.0"),
        ("/dear/%252e%252e/cheap/x", "1.0"),
        ("/cheap/%252e%252e/dear/x", "1.0"),
        ("/dear/..%5ccheap/x", "1.0"),
        ("/a", "0.01"),
        ("/a/", "1.0"),
    ],
)
async def test_what_may_be_read_as_something_dearer_costs_that(target: str, cost: str) -> None:
    """Whoever takes the request may read it either way."""
    visitor = Visitor(Selling(prices=DEARER).around(LANES))
    assert costs(await visitor.get(target)) == cost
    bought = await visitor.buy("GET", target)
    assert bought.status == 200


@pytest.mark.parametrize("cheap", [lambda request: "0.01", tariff("0.01", currency="XLM")])
async def test_what_costs_this_or_that_is_to_be_written_plainly(cheap: Any) -> None:
    prices = {"/cheap/{rest:path}": cheap, "/dear/{rest:path}": "1"}
    selling = Selling(prices=prices)
    visitor = Visitor(selling.around(LANES))
    for target in ("/dear/../cheap/x", "/cheap/../dear/x", "/cheap/%252e%252e/dear/x"):
        refused = await visitor.get(target)
        assert (refused.status, refused.problem) == (400, "bad-request")
        assert "plain" in refused.json()["detail"]
        for plain in ("/cheap/x", "/dear/x"):
            paid = payment(await visitor.challenge("GET", plain))
            assert (await visitor.get(target, headers=paid)).status == 400
    assert selling.till.takings == 0
    assert (await visitor.buy("GET", "/cheap/x")).status == 200


@pytest.mark.parametrize(
    ("target", "cost"),
    [
        ("/gen/small/x", "0.01"),
        ("/gen/large/x", "1.0"),
        ("/gen/small/x/", "0.01"),
        ("/gen/small//x", "0.01"),
        ("//gen/large/x", "1.0"),
        ("/gen/small/../large/x", "400"),
        ("/gen/large/../small/x", "400"),
        ("/gen/small/%252e%252e/large/x", "400"),
    ],
)
async def test_a_dynamic_price_is_asked_of_a_path_that_reads_one_way(
    target: str, cost: str
) -> None:
    def by_size(request: Request) -> str:
        return {"small": "0.01", "large": "1"}[request.path_params["size"]]

    visitor = Visitor(Selling(prices={"/gen/{size}/{rest:path}": by_size}).around(ok_everywhere))
    answer = await visitor.get(target)
    assert (costs(answer) if answer.status == 402 else str(answer.status)) == cost


async def test_prices_by_path_under_a_root_path() -> None:
    app = Starlette(routes=[Route("/a", ok)])
    visitor = Visitor(Selling(prices={"/a": "1"}).to(app))
    assert costs(await visitor.get("/api/a", root_path="/api")) == "1.0"
    assert costs(await visitor.get("/apia", root_path="/api")) == "free"


async def test_a_mounted_application_is_priced_by_its_own_paths() -> None:
    inner = Starlette(routes=[Route("/a", ok)])
    app = Starlette(routes=[Mount("/sub", Selling(prices={"/a": "1"}).around(inner))])
    visitor = Visitor(app)
    assert costs(await visitor.get("/sub/a")) == "1.0"
    assert (await visitor.buy("GET", "/sub/a")).body == b"content"


async def test_a_lifespan_finds_a_wrong_price_before_the_first_request() -> None:
    def hiding(app: ASGIApp) -> ASGIApp:
        async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
            await app(scope, receive, send)

        return middleware

    for hidden in (False, True):
        app = FastAPI()
        router = APIRouter(prefix="/i")
        router.get("/a")(price("0.00000001")(ok))
        app.include_router(router)
        if hidden:
            app.add_middleware(hiding)
        with pytest.raises(Exception, match="The price of /i/a cannot be charged: 1E-8 has more"):
            async with running(Selling().to(app)):
                raise AssertionError("it started")


async def test_a_price_by_path_is_paid_once_and_delivered_once() -> None:
    app = Starlette(routes=[Route("/a", ok)])
    selling = Selling(prices={"/a": "1"})
    visitor = Visitor(selling.to(app))
    challenge = await visitor.challenge("GET", "/a")
    served = await visitor.get("/a", headers=payment(challenge))
    assert served.receipt is not None
    assert (await visitor.get("/a", headers=payment(challenge))).status == 402
    assert selling.till.moves.total() == 1


@pytest.mark.parametrize("method", ["get", "Get", "head", "GET"])
async def test_a_price_holds_for_every_spelling_of_the_method(method: str) -> None:
    async def legacy(scope: Any, receive: Any, send: Any) -> None:
        assert scope["method"].upper() in {"GET", "HEAD"}
        await PlainTextResponse("goods")(scope, receive, send)

    selling = Selling(prices={"GET /legacy/{path:path}": "1"})
    visitor = Visitor(selling.to(Starlette(routes=[Mount("/legacy", app=legacy)])))
    challenge = await visitor.challenge(method, "/legacy/x")
    other = "GET" if method != "GET" else "get"
    assert (await visitor.ask(other, "/legacy/x", headers=payment(challenge))).status == 402
    served = await visitor.ask(method, "/legacy/x", headers=payment(challenge))
    assert (served.status, selling.till.takings) == (200, 1)
