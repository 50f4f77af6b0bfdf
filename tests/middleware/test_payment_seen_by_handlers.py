"""`request.state.payment` and the dependency: what a handler sees of its payment."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Request
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from mpp_asgi import Payment, Price, price
from mpp_asgi.fastapi import CurrentPayment, current_payment
from tests.methods.stall import Line, Selling, Visitor, payment, scope_of
from tests.methods.streams import where_supported


async def test_all_that_is_known_of_it() -> None:
    app = FastAPI()
    seen: list[Any] = []

    @app.get("/")
    @price("0.25", currency="XLM")
    async def endpoint(request: Request, payment: CurrentPayment) -> None:
        seen.extend([request.state.payment, payment])

    visitor = Visitor(Selling().to(app))
    challenge = await visitor.challenge("GET", "/")
    served = await visitor.get("/", headers=payment(challenge))
    assert seen[0] == seen[1]
    found: Payment = seen[0]
    assert isinstance(found, Payment)
    assert (found.method, found.intent, found.payer) == ("nod", "charge", "somebody")
    assert (found.amount, found.currency, found.decimals) == (2_500_000, "XLM", 7)
    assert found.human_amount == Decimal("0.25")
    assert (found.challenge_id, found.reference) == (challenge.id, challenge.id)
    assert found.receipt == served.receipt
    assert found.receipt_value == served.header("payment-receipt")


def kinds() -> dict[str, Any]:
    async def coroutine(payment: CurrentPayment) -> str | None:
        return payment and payment.payer

    def function(payment: CurrentPayment) -> str | None:
        return payment and payment.payer

    async def stream(payment: CurrentPayment) -> AsyncIterator[str | None]:
        yield payment and payment.payer

    def generator(payment: CurrentPayment) -> Any:
        yield payment and payment.payer

    async def by_depends(paid: Annotated[Payment, Depends(current_payment)]) -> str | None:
        return paid.payer

    async def by_name_only(*, payment: CurrentPayment, q: str = "") -> str | None:
        return payment and payment.payer

    return {
        "coroutine": coroutine,
        "function": function,
        "stream": stream,
        "generator": generator,
        "by depends": by_depends,
        "by name only": by_name_only,
    }


@pytest.mark.parametrize("kind", where_supported(kinds()))
@pytest.mark.parametrize("place", ["application", "router", "hidden"])
async def test_every_kind_of_endpoint_gets_it(kind: str, place: str) -> None:
    endpoint = price("1")(kinds()[kind])
    app = FastAPI()
    target = "/x"
    if place == "application":
        app.get("/x")(endpoint)
    elif place == "router":
        router = APIRouter(prefix="/r")
        router.get("/x")(endpoint)
        app.include_router(router)
        target = "/r/x"
    else:
        hidden = FastAPI()
        hidden.get("/x")(endpoint)
        app.mount("/h", copying(hidden))
        target = "/h/x"
    served = await Visitor(Selling().to(app)).buy("GET", target)
    assert served.json() == "somebody"


def copying(app: ASGIApp) -> ASGIApp:
    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        await app(dict(scope), receive, send)

    return middleware


@pytest.mark.parametrize("hidden", [False, True])
async def test_starlette_handlers_find_it_in_the_state(hidden: bool) -> None:
    class View(HTTPEndpoint):
        @price("1")
        def get(self, request: Request) -> JSONResponse:
            return JSONResponse(request.state.payment.payer)

    app = Starlette(routes=[Route("/", View)])
    if hidden:
        app.add_middleware(copying)  # type: ignore[arg-type]
    assert (await Visitor(Selling().to(app)).buy("GET", "/")).json() == "somebody"


async def test_it_is_there_even_if_the_server_keeps_no_state() -> None:
    app = FastAPI()

    @app.get("/")
    @price("1")
    async def endpoint(request: Request) -> str:
        return str(request.state.payment.payer)

    visitor = Visitor(Selling().to(app))
    headers = payment(await visitor.challenge("GET", "/"))
    scope = scope_of("GET", "/", headers=headers)
    del scope["state"]
    line = Line([b""], None)
    await app(scope, line.receive, line.send)
    assert line.exchange.json() == "somebody"


async def test_requests_do_not_see_each_others() -> None:
    app = FastAPI()

    @app.get("/{name}")
    @price(lambda request: "1" if request.path_params["name"] == "paid" else Price.free())
    async def endpoint(name: str, request: Request, payment: CurrentPayment) -> list[Any]:
        return [request.state.payment and "paid", payment and "paid"]

    visitor = Visitor(Selling().to(app))
    assert (await visitor.buy("GET", "/paid")).json() == ["paid", "paid"]
    assert (await visitor.get("/free")).json() == [None, None]


@pytest.mark.parametrize("method", ["GET", "POST"])  # handed on as it is, and followed
async def test_on_a_free_route_there_is_none(method: str) -> None:
    app = FastAPI()

    @app.api_route("/", methods=[method])
    async def endpoint(payment: CurrentPayment) -> bool:
        return payment is None

    assert (await Visitor(Selling().to(app)).ask(method, "/")).json() is True
    assert (await Visitor(app).ask(method, "/")).json() is True


async def test_without_the_middleware_there_is_none() -> None:
    app = FastAPI()

    @app.get("/")
    @price("1")
    async def endpoint(payment: CurrentPayment) -> bool:
        return payment is None

    assert (await Visitor(app).get("/")).json() is True


async def test_what_is_priced_by_path_sees_it_everywhere() -> None:
    app = FastAPI()
    seen: list[str | None] = []

    async def user(payment: CurrentPayment) -> str:
        assert payment is not None
        seen.append(payment.payer)
        return "user"

    @app.get("/")
    async def endpoint(
        request: Request, payment: CurrentPayment, user: Annotated[str, Depends(user)]
    ) -> str | None:
        assert payment is not None
        assert request.state.payment is payment
        return payment.payer

    served = await Visitor(Selling(prices={"/": "1"}).to(app)).buy("GET", "/")
    assert (served.json(), seen) == ("somebody", ["somebody"])


@pytest.mark.parametrize(
    "use",
    [
        lambda payment: payment.payer,
        lambda payment: payment.amount,
        lambda payment: payment.human_amount,
        lambda payment: "known" if payment else "unknown",
    ],
)
async def test_a_dependency_that_reads_it_too_early_is_told_so(use: Any) -> None:
    app = FastAPI()

    async def user(payment: CurrentPayment) -> Any:
        return use(payment)

    @app.get("/")
    @price("1")
    async def endpoint(user: Annotated[str, Depends(user)]) -> str:
        return user

    selling = Selling()
    failed = await Visitor(selling.to(app), app_raises=True).buy("GET", "/")
    assert failed.status == 500
    assert isinstance(failed.error, RuntimeError)
    assert "read it in the endpoint, not in a dependency" in str(failed.error)
    assert selling.till.takings == 0


async def test_one_that_only_hands_it_on_may() -> None:
    app = FastAPI()

    class Context:
        def __init__(self, payment: CurrentPayment) -> None:
            self.payment = payment

    @app.get("/")
    @price("1")
    async def endpoint(context: Annotated[Context, Depends()]) -> str | None:
        assert context.payment is not None
        return context.payment.payer

    assert (await Visitor(Selling().to(app)).buy("GET", "/")).json() == "somebody"


async def test_middleware_further_in_finds_none_before_and_the_payment_after() -> None:
    seen: list[Any] = []

    class Log(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: Any) -> Any:
            seen.append(getattr(request.state, "payment", "unset"))
            response = await call_next(request)
            seen.append(request.state.payment.payer)
            return response

    app = FastAPI()

    @app.get("/")
    @price("1")
    async def endpoint() -> str:
        return "content"

    app.add_middleware(Log)
    visitor = Visitor(Selling().to(app))
    assert (await visitor.buy("GET", "/")).status == 200
    assert seen == [None, "somebody"]
