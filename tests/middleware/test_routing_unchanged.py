"""Whatever costs nothing is answered as without the middleware, byte for byte."""

import itertools
import random
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, HTTPException, WebSocket
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Host, Mount, Route, Router
from starlette.staticfiles import StaticFiles

from mpp_asgi import price
from tests.methods.stall import Exchange, Line, Selling, Visitor, payment, scope_of

METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "QUERY", "get", "PAY"]
HOSTS = ["shop.example", "other.example", "SHOP.example:8000", "", "x y"]


async def echo(request: Request) -> JSONResponse:
    body = await request.body()
    return JSONResponse(
        [request.method, str(request.url), request.path_params, body.decode("latin-1")]
    )


class Views(HTTPEndpoint):
    async def get(self, request: Request) -> PlainTextResponse:
        return PlainTextResponse("got")

    @price("1")
    async def post(self, request: Request) -> PlainTextResponse:
        return PlainTextResponse("posted")


async def free() -> str:
    return "free"


async def item(item: int) -> int:
    return item


async def stream() -> StreamingResponse:
    return StreamingResponse(iter(["1", "2"]))


async def error() -> None:
    raise ZeroDivisionError


async def teapot() -> None:
    raise HTTPException(418, "short and stout", headers={"x-tea": "Oolong"})


async def wants_auth() -> None:
    raise HTTPException(401, headers={"WWW-Authenticate": 'Basic realm="x"'})


async def own_402() -> None:
    raise HTTPException(402, "our own way")


def shop(directory: Path) -> FastAPI:
    (directory / "file.txt").write_text("file")
    app = FastAPI()
    priced = price("1")
    app.get("/free")(free)
    app.post("/free")(priced(free))
    app.get("/items/{item}")(item)
    app.get("/items/{item}/report")(priced(item))
    app.get("/paid")(priced(free))
    app.get("/slash/")(priced(free))
    app.get("/stream")(stream)
    app.get("/error")(error)
    app.get("/teapot")(teapot)
    app.get("/auth")(wants_auth)
    app.get("/own402")(own_402)
    router = APIRouter(prefix="/in")
    router.get("/free")(free)
    router.get("/paid")(priced(free))
    router.add_route("/views", Views)
    nested = APIRouter(prefix="/nested")
    nested.include_router(router)
    app.include_router(nested)
    app.add_route("/echo/{rest:path}", echo, methods=["GET", "POST", "PUT"])
    app.add_route("/views", Views)
    app.mount("/files", StaticFiles(directory=directory))
    app.mount("/sub", Starlette(routes=[Route("/free", echo), Route("/paid", priced(echo))]))
    hosted = Router([Route("/hosted", echo), Mount("/m", routes=[Route("/x", echo)])])
    app.router.routes.append(Host("other.example", hosted))
    return app


SEGMENTS = [
    "free", "paid", "items", "7", "x", "report", "slash", "stream", "error", "teapot", "auth",
    "own402", "in", "nested", "views", "echo", "files", "file.txt", "sub", "hosted", "m", "docs",
    "openapi.json", "", ".", "..", "%2e%2e", "%2F", "FREE", "free;x", "%00", "%C3%A9", "a b", "%0A",
]  # fmt: skip


def targets(seed: int, count: int) -> list[str]:
    chance = random.Random(seed)
    known = [
        "/", "/free", "/free/", "/items/7", "/items/x", "/items/7/", "/items/7/report", "/paid",
        "/paid/", "/slash", "/slash/", "/stream", "/error", "/teapot", "/auth", "/own402",
        "/nested/in/free", "/nested/in/paid", "/nested/in/views", "/views", "/echo/a/b", "/echo/",
        "/echo", "/files/file.txt", "/files/../x", "/files", "/sub/free", "/sub/paid", "/sub",
        "/sub/", "/hosted", "/m/x", "/docs", "/openapi.json", "//free", "/free//", "/FREE",
    ]  # fmt: skip
    made = ["/" + "/".join(chance.choices(SEGMENTS, k=chance.randint(1, 4))) for _ in range(count)]
    return [target + query for target in known + made for query in ("", "?q=1")]


async def answer(visitor: Visitor, method: str, target: str, host: str) -> Exchange:
    headers = [("host", host), ("authorization", "Payment nonsense"), ("x-other", "1")]
    return await visitor.ask(method, target, headers=headers, body=b"question")


def comparable(exchange: Exchange) -> Any:
    messages = [dict(message) for message in exchange.messages]
    for message in messages:
        if "headers" in message:
            headers = message["headers"]
            message["headers"] = [
                (name, b", ".join(sorted(value.split(b", "))) if name == b"allow" else value)
                for name, value in headers
            ]
    return messages, type(exchange.error)


def is_priced(method: str, target: str) -> bool:
    path = target.partition("?")[0]
    return (method, path.replace("%2F", "/")) in {
        ("GET", "/paid"),
        ("POST", "/free"),
        ("GET", "/slash/"),
        ("POST", "/views"),
        ("POST", "/nested/in/views"),
        ("GET", "/nested/in/paid"),
        ("GET", "/sub/paid"),
        ("HEAD", "/sub/paid"),
    } or (method == "GET" and re.fullmatch(r"/items/[^/]+/report", path) is not None)


def is_described(method: str, target: str) -> bool:
    return target.partition("?")[0] == "/openapi.json" and method in {"GET", "HEAD"}


@pytest.mark.parametrize("how", ["added", "wrapped"])
async def test_the_same_application_with_and_without(how: str, tmp_path: Path) -> None:
    bare = Visitor(shop(tmp_path), app_raises=True)
    selling = Selling()
    app = shop(tmp_path)
    with_us = Visitor(selling.to(app) if how == "added" else selling.around(app), app_raises=True)
    compared, priced = 0, set()
    for n, (target, method) in enumerate(itertools.product(targets(7, 150), METHODS)):
        host = HOSTS[n % len(HOSTS)]
        ours = await answer(with_us, method, target, host)
        theirs = await answer(bare, method, target, host)
        if ours.messages and ours.status == 402 and theirs.status != 402:
            assert is_priced(method, target), (method, target, host)
            assert ours.problem == "malformed-credential"
            priced.add((method, target.partition("?")[0]))
        elif how == "added" and is_described(method, target):
            assert ours.json()["paths"].keys() == theirs.json()["paths"].keys()  # with its prices
        else:
            assert comparable(ours) == comparable(theirs), (method, target, host)
            assert not is_priced(method, target) or theirs.status in {404, 405}, (method, target)
            compared += 1
    assert compared > 2000
    assert len(priced) >= 8


async def test_streams_of_free_routes_are_passed_on_chunk_by_chunk() -> None:
    app = FastAPI()
    line = Line([b""], None)
    seen: list[int] = []

    @app.get("/")
    async def endpoint() -> StreamingResponse:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(3):
                yield b"x"
                seen.append(len(line.exchange.chunks))

        return StreamingResponse(chunks())

    await Selling().to(app)(scope_of("GET", "/"), line.receive, line.send)
    assert seen == [1, 2, 3]


async def test_the_scope_and_body_of_a_free_route_arrive_as_they_are() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)
        seen.append([await receive(), await receive()])
        await PlainTextResponse("ok")(scope, receive, send)

    scope = scope_of("POST", "/x?y", headers={"content-length": "4"})
    before = dict(scope)
    line = Line([b"ab", b"cd"], None)
    await Selling().around(app)(scope, line.receive, line.send)
    assert seen[0] is scope
    assert scope == before
    assert seen[1] == [
        {"type": "http.request", "body": b"ab", "more_body": True},
        {"type": "http.request", "body": b"cd", "more_body": False},
    ]


@pytest.mark.parametrize("size", [0, 1, 100_000])
async def test_a_paid_endpoint_reads_the_body_as_it_came(size: int) -> None:
    app = FastAPI()
    seen: list[bytes] = []

    @app.post("/")
    @price("1")
    async def endpoint(request: Request) -> None:
        seen.extend([chunk async for chunk in request.stream()])

    chunks = [b"x" * size] * 5
    await Visitor(Selling().to(app)).buy("POST", "/", body=chunks)
    assert b"".join(seen) == b"".join(chunks)
    if size > 1:  # small pieces are joined
        assert [chunk for chunk in seen if chunk] == chunks


async def test_a_body_beyond_the_limit_is_refused_before_it_is_read_whole() -> None:
    app = FastAPI()

    @app.post("/")
    @price("1")
    async def endpoint(request: Request) -> int:
        return len(await request.body())

    @app.post("/free")
    async def free(request: Request) -> int:
        return len(await request.body())

    visitor = Visitor(Selling(body_limit=10).to(app))
    assert (await visitor.buy("POST", "/", body=[b"12345", b"67890"])).json() == 10
    line = Line([b"123456"] * 100, None)
    scope = scope_of("POST", "/", headers={"transfer-encoding": "chunked"})
    await visitor.app(scope, line.receive, line.send)
    assert (line.exchange.status, line.exchange.problem) == (413, "bad-request")
    assert "10 bytes" in line.exchange.json()["detail"]
    assert len(line._incoming) == 98
    assert (await visitor.ask("POST", "/free", body=b"x" * 11)).json() == 11


# CORS preflights


@pytest.mark.parametrize("prices", [{}, {"/by-path": "1"}])
async def test_a_preflight_is_never_priced(prices: dict[str, str]) -> None:
    app = FastAPI()

    @app.get("/paid")
    @price("1")
    async def paid() -> None: ...

    @app.api_route("/by-path", methods=["GET", "OPTIONS"])
    async def by_path() -> str:
        return "preflight"

    visitor = Visitor(Selling(prices=prices).to(app))
    headers = {"origin": "https://a.example", "access-control-request-method": "GET"}
    assert (await visitor.ask("OPTIONS", "/paid", headers=headers)).status == 405
    assert (await visitor.ask("OPTIONS", "/by-path", headers=headers)).json() == "preflight"


@pytest.mark.parametrize("prices", [{}, {"GET /paid": "1", "OPTIONS /paid": "1"}])
async def test_calling_a_request_a_preflight_does_not_make_it_free(prices: dict[str, str]) -> None:
    app = FastAPI()

    def paid() -> str:
        return "content"

    app.api_route("/paid", methods=["GET", "OPTIONS"])(paid if prices else price("1")(paid))
    visitor = Visitor(Selling(prices=prices).to(app))
    headers = {"origin": "https://a.example", "access-control-request-method": "GET"}
    assert (await visitor.get("/paid", headers=headers)).status == 402
    assert (await visitor.ask("OPTIONS", "/paid", headers=headers)).status == 402
    assert (await visitor.buy("OPTIONS", "/paid", headers=headers)).json() == "content"


async def test_a_preflight_is_answered_further_in_where_it_would_have_cost() -> None:
    app = FastAPI()
    app.api_route("/paid", methods=["GET", "OPTIONS"])(price("1")(lambda: "content"))
    app.add_middleware(CORSMiddleware, allow_origins=["*"])
    visitor = Visitor(Selling().to(app))
    headers = {"origin": "https://a.example", "access-control-request-method": "GET"}
    assert (await visitor.ask("OPTIONS", "/paid", headers=headers)).body == b"OK"
    assert (await visitor.ask("OPTIONS", "/paid")).status == 402


# What is no HTTP


async def test_other_protocols_pass_through() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    line = Line([b""], None)
    await Selling().around(app)({"type": "mqtt", "asgi": {}}, line.receive, line.send)
    assert seen == ["mqtt"]


async def test_a_free_websocket_passes_through() -> None:
    app = FastAPI()

    @app.websocket("/ws")
    async def ws(websocket: WebSocket) -> None:
        await websocket.accept(subprotocol="chat")
        await websocket.send_text("hello")
        await websocket.close()

    line = Line([b""], None)
    line._incoming = [{"type": "websocket.connect"}]
    await Selling().to(app)(scope_of("", "/ws", kind="websocket"), line.receive, line.send)
    assert [message["type"] for message in line.exchange.messages] == [
        "websocket.accept",
        "websocket.send",
        "websocket.close",
    ]


async def test_a_credential_at_a_free_route_is_left_alone() -> None:
    app = FastAPI()

    @app.get("/paid")
    @price("1")
    async def paid() -> None: ...

    @app.get("/free")
    async def free(request: Request) -> str | None:
        return request.headers.get("authorization")

    selling = Selling()
    visitor = Visitor(selling.to(app))
    headers = payment(await visitor.challenge("GET", "/paid"))
    served = await visitor.get("/free", headers=headers)
    assert served.json() == headers["Authorization"]
    assert served.receipt is None
    assert selling.till.takings == 0
