"""Beside the other middleware people use, in either order; and their exception handlers."""

import asyncio
import gzip
import itertools
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.security import HTTPBearer
from fastapi.testclient import TestClient
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.httpsredirect import HTTPSRedirectMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from mpp_asgi import ConfigError, PaymentMiddleware, price
from mpp_asgi.protocol import Challenge
from tests.methods.stall import Exchange, Selling, Visitor, payment


def shop() -> FastAPI:
    app = FastAPI()

    @app.get("/paid")
    @price("1")
    async def paid(request: Request) -> str:
        if "session" in request.scope:
            request.session["visits"] = request.session.get("visits", 0) + 1
        return "content" * 200

    @app.get("/after")
    @price("1", settle="after")
    async def after() -> str:
        return "content" * 200

    @app.get("/stream")
    @price("1")
    async def stream() -> StreamingResponse:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(5):
                yield b"content" * 100

        return StreamingResponse(chunks())

    @app.get("/free")
    async def free() -> str:
        return "free"

    return app


class PassOn(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: Any) -> Any:
        response = await call_next(request)
        response.headers["x-passed"] = "on"
        return response


class ReadsBody(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: Any) -> Any:
        await request.body()
        return await call_next(request)


MIDDLEWARE: dict[str, tuple[Any, dict[str, Any]]] = {
    "cors": (
        CORSMiddleware,
        {
            "allow_origins": ["https://a.example"],
            "allow_headers": ["Authorization", "Payment-Authorization"],
            "expose_headers": ["WWW-Authenticate", "Payment-Receipt", "Retry-After"],
        },
    ),
    "gzip": (GZipMiddleware, {"minimum_size": 10}),
    "sessions": (SessionMiddleware, {"secret_key": "s"}),
    "base": (PassOn, {}),
    "base that reads": (ReadsBody, {}),
    "hosts": (TrustedHostMiddleware, {"allowed_hosts": ["shop.example"]}),
    "https": (HTTPSRedirectMiddleware, {}),
}

ORDERS = [[name] for name in MIDDLEWARE] + [
    list(order) for order in itertools.permutations(["cors", "gzip", "sessions", "base"], 3)
]


def together(outside: list[str], inside: list[str]) -> tuple[Selling, FastAPI]:
    selling, app = Selling(), shop()
    for name in inside:
        cls, options = MIDDLEWARE[name]
        app.add_middleware(cls, **options)
    selling.to(app)
    for name in outside:
        cls, options = MIDDLEWARE[name]
        app.add_middleware(cls, **options)
    return selling, app


async def check(selling: Selling, app: FastAPI) -> None:
    visitor = Visitor(app)
    headers = {"origin": "https://a.example", "accept-encoding": "gzip"}
    for n, target in enumerate(["/paid", "/after", "/stream"]):
        refused = await visitor.get(target, headers=headers)
        assert refused.status == 402
        assert refused.header("cache-control") == "no-store"
        assert unpacked(refused).startswith(b'{"type":"https://paymentauth.org')
        paid = {**headers, **payment(refused.challenge)}
        served = await visitor.get(target, headers=paid)
        assert served.status == 200
        assert unpacked(served).count(b"content") in {200, 500}
        assert served.receipt is not None
        assert served.header("cache-control") == "private"
        assert selling.till.moves.total() == n + 1
        again = await visitor.get(target, headers=paid)
        assert again.status == 402
        assert again.challenges != []
    assert (await visitor.get("/free")).json() == "free"


def unpacked(exchange: Exchange) -> bytes:
    packed = exchange.header("content-encoding") == "gzip"
    return gzip.decompress(exchange.body) if packed else exchange.body


@pytest.mark.parametrize("names", ORDERS, ids=" ".join)
async def test_other_middleware_outside(names: list[str]) -> None:
    await check(*together(outside=names, inside=[]))


@pytest.mark.parametrize("names", ORDERS, ids=" ".join)
async def test_other_middleware_inside(names: list[str]) -> None:
    await check(*together(outside=[], inside=names))


async def test_one_inside_and_one_outside() -> None:
    for outside, inside in itertools.permutations(["cors", "gzip", "base"], 2):
        await check(*together(outside=[outside], inside=[inside]))


async def test_cors_outside_lets_a_page_read_the_challenge_and_the_receipt() -> None:
    _, app = together(outside=["cors"], inside=[])
    visitor = Visitor(app)
    origin = {"origin": "https://a.example"}
    preflight = await visitor.ask(
        "OPTIONS",
        "/paid",
        headers={
            **origin,
            "access-control-request-method": "GET",
            "access-control-request-headers": "authorization",
        },
    )
    assert preflight.status == 200
    assert "Authorization" in (preflight.header("access-control-allow-headers") or "")
    refused = await visitor.get("/paid", headers=origin)
    served = await visitor.get("/paid", headers={**origin, **payment(refused.challenge)})
    for answer in (refused, served):
        assert answer.header("access-control-allow-origin") == "https://a.example"
        exposed = answer.header("access-control-expose-headers") or ""
        assert "WWW-Authenticate" in exposed
        assert "Payment-Receipt" in exposed


async def test_cors_inside_answers_preflights_and_what_is_paid() -> None:
    _, app = together(outside=[], inside=["cors"])
    visitor = Visitor(app)
    headers = {"origin": "https://a.example", "access-control-request-method": "GET"}
    assert (await visitor.ask("OPTIONS", "/paid", headers=headers)).status == 200
    served = await visitor.buy("GET", "/paid", headers={"origin": "https://a.example"})
    assert served.header("access-control-allow-origin") == "https://a.example"


@pytest.mark.parametrize("outside", [True, False])
async def test_a_session_is_kept_over_paid_requests(outside: bool) -> None:
    names = ["sessions"]
    _, app = together(*((names, []) if outside else ([], names)))
    visitor = Visitor(app)
    first = await visitor.buy("GET", "/paid")
    cookie = (first.header("set-cookie") or "").partition(";")[0]
    second = await visitor.buy("GET", "/paid", headers={"cookie": cookie})
    assert (second.header("set-cookie") or "").partition(";")[0] not in {"", cookie}


async def test_a_stream_behind_base_middleware_is_delivered_once() -> None:
    """It tells who listens that the client is gone, as soon as the response has left."""
    for names in (["base"], ["base", "base that reads"]):
        for outside, inside in ((names, []), ([], names)):
            selling, app = together(outside, inside)
            visitor = Visitor(app)
            headers = payment(await visitor.challenge("GET", "/stream"))
            served = await visitor.get("/stream", headers=headers)
            assert served.body == b"content" * 500
            assert (await visitor.get("/stream", headers=headers)).status == 402
            assert selling.till.moves.total() == 1


# Middleware that does not pass everything on


class Cached:
    """Answers in the endpoint's stead."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await JSONResponse("cached content")(scope, receive, send)
        else:
            await self.app(scope, receive, send)


@pytest.mark.parametrize("guarded", [False, True])
async def test_what_a_cache_further_in_answers_is_paid_too(guarded: bool) -> None:
    app = FastAPI()
    guards = [Depends(HTTPBearer())] if guarded else []

    @app.get("/paid", dependencies=guards)
    @price("1")
    async def paid() -> str:
        raise AssertionError("it is cached")

    app.add_middleware(Cached)
    selling = Selling()
    visitor = Visitor(selling.to(app))
    refused = await visitor.get("/paid")
    assert (refused.status, b"content" in refused.body) == (402, False)
    headers = payment(refused.challenge)
    served = await visitor.get("/paid", headers=headers)
    assert (served.json(), selling.till.takings) == ("cached content", 1)
    assert served.receipt is not None
    assert (await visitor.get("/paid", headers=headers)).status == 402


@pytest.mark.parametrize("status", [429, 503])
async def test_a_rate_limit_further_in_uses_nothing_up(status: int) -> None:
    open_again: list[bool] = []

    class Limit(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: Any) -> Any:
            return await call_next(request) if open_again else JSONResponse("later", status)

    app = shop()
    app.add_middleware(Limit)
    selling = Selling()
    visitor = Visitor(selling.to(app))
    headers = payment(await visitor.challenge("GET", "/paid"))
    assert (await visitor.get("/paid", headers=headers)).status == status
    assert selling.till.takings == 0
    open_again.append(True)
    assert (await visitor.get("/paid", headers=headers)).status == 200


class Careless:
    """Makes its own answer of everything that is raised."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        except BaseException:  # noqa: BLE001 # as people write it
            await JSONResponse({"error": "oops"}, 500)(scope, receive, send)


async def test_middleware_that_catches_everything_swallows_no_challenge() -> None:
    app = FastAPI()
    hidden = FastAPI()
    hidden.get("/paid")(price("1")(lambda: "content"))

    async def function(scope: Scope, receive: Receive, send: Send) -> None:
        await hidden(dict(scope), receive, send)

    app.mount("/hidden", function)
    app.add_middleware(Careless)
    visitor = Visitor(Selling().to(app))
    refused = await visitor.get("/hidden/paid")
    assert (refused.status, refused.problem) == (402, "payment-required")
    assert (await visitor.buy("GET", "/hidden/paid")).json() == "content"


# Exception handlers


def with_handlers() -> tuple[FastAPI, list[str]]:
    app = shop()
    handled: list[str] = []

    async def handle(request: Request, error: Exception) -> JSONResponse:
        handled.append(type(error).__name__)
        return JSONResponse({"handled": True}, status_code=getattr(error, "status_code", 500))

    app.add_exception_handler(Exception, handle)
    app.add_exception_handler(HTTPException, handle)
    app.add_exception_handler(402, handle)
    app.add_exception_handler(500, handle)

    @app.get("/fails")
    @price("1")
    async def fails() -> None:
        raise ZeroDivisionError("a secret of the handler")

    @app.get("/own")
    async def own() -> None:
        raise HTTPException(402, "our own way")

    hidden = FastAPI()
    hidden.get("/paid")(price("1")(lambda: "content"))
    app.mount("/hidden", hidden)
    return app, handled


@pytest.mark.parametrize("by_hand", [False, True])
@pytest.mark.parametrize("target", ["/paid", "/hidden/paid", "/stream"])
async def test_the_applications_handlers_see_nothing_of_ours(target: str, by_hand: bool) -> None:
    app, handled = with_handlers()
    selling = Selling()
    visitor = Visitor(selling.around(app) if by_hand else selling.to(app))
    refused = await visitor.get(target)
    assert (refused.status, refused.problem) == (402, "payment-required")
    assert (await visitor.get(target, headers=payment(refused.challenge))).status == 200
    assert (await visitor.get(target, headers=payment(refused.challenge))).status == 402
    assert handled == []


@pytest.mark.parametrize("by_hand", [False, True])
async def test_they_see_what_is_theirs(by_hand: bool) -> None:
    app, handled = with_handlers()
    selling = Selling()
    visitor = Visitor(selling.around(app) if by_hand else selling.to(app), app_raises=True)
    failed = await visitor.buy("GET", "/fails")
    assert (failed.status, failed.json()) == (500, {"handled": True})
    own = await visitor.get("/own")
    assert (own.status, own.json()) == (402, {"handled": True})
    assert handled == ["ZeroDivisionError", "HTTPException"]


async def test_debug_pages_do_not_show_a_credential() -> None:
    app, _ = with_handlers()
    app.debug = True
    del app.exception_handlers[500], app.exception_handlers[Exception]
    visitor = Visitor(Selling().to(app), app_raises=True)
    headers = payment(await visitor.challenge("GET", "/fails"))
    failed = await visitor.get("/fails", headers={**headers, "accept": "text/html"})
    assert failed.status == 500
    assert b"ZeroDivisionError" in failed.body
    assert headers["Authorization"].removeprefix("Payment ").encode() not in failed.body


# Twice


async def test_the_middleware_added_twice_stops_the_start() -> None:
    """Each would want its own payment."""
    app = shop()
    selling = Selling()
    selling.to(selling.to(app))
    with pytest.raises(ConfigError, match="PaymentMiddleware was added twice"):
        await Visitor(app).get("/paid")


# Starlette's test client


def test_a_paid_application_can_be_tested_with_the_test_client() -> None:
    app = shop()
    app.add_middleware(PaymentMiddleware, **Selling(clock=time.time, sleep=asyncio.sleep).options)
    with TestClient(app) as client:
        refused = client.get("/paid")
        assert refused.status_code == 402
        challenge = Challenge.from_header(refused.headers["www-authenticate"])
        served = client.get("/paid", headers=payment(challenge))
        assert (served.status_code, served.json()) == (200, "content" * 200)
        assert "payment-receipt" in served.headers
    assert TestClient(app).get("/paid").status_code == 402
