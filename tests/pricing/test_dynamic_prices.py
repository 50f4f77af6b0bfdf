"""Prices that are asked for each request."""

import json
from decimal import Decimal
from typing import Any

import pytest
from fastapi import FastAPI, Form, HTTPException, Request
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from mpp_asgi import Payment, Price, price
from mpp_asgi.fastapi import CurrentPayment
from tests.methods.stall import Exchange, Selling, Visitor, payment

JSON = {"content-type": "application/json"}


class Order(BaseModel):
    pages: int = 1


def shop(quote: Any, **options: Any) -> FastAPI:
    """Sells ``/print`` at a dynamic price and echoes what its handler got."""
    app = FastAPI()

    @app.api_route("/print", methods=["POST", "PUT"])
    @price(quote, **options)
    async def print_it(request: Request) -> str:
        return (await request.body()).decode()

    @app.post("/order")
    @price(quote, **options)
    async def order(order: Order) -> int:
        return order.pages

    @app.get("/item/{name}")
    @price(quote, **options)
    async def item(name: str, payment: CurrentPayment, request: Request) -> list[str | None]:
        assert request.state.payment == payment
        return [name, None if payment is None else str(payment.human_amount)]

    return app


def amount(refused: Exchange) -> str:
    assert refused.status == 402, refused
    return f"{Decimal(refused.challenge.request_object()['amount']).scaleb(-7).normalize():f}"


async def per_page(request: Request) -> str:
    return str(Decimal("0.01") * (await request.json())["pages"])


def by_name(request: Request) -> Any:
    prices: dict[str, Any] = {"cheap": "0.01", "dear": Decimal(5), "free": Price.free(), "one": 1}
    return prices[request.path_params["name"]]


@pytest.mark.parametrize(("name", "cost"), [("cheap", "0.01"), ("dear", "5"), ("one", "1")])
async def test_a_price_by_path_parameter(name: str, cost: str) -> None:
    visitor = Visitor(Selling().to(shop(by_name)))
    assert Decimal(amount(await visitor.get(f"/item/{name}"))) == Decimal(cost)
    assert (await visitor.buy("GET", f"/item/{name}")).json()[0] == name


async def test_free_this_time() -> None:
    selling = Selling()
    visitor = Visitor(selling.to(shop(by_name)))
    served = await visitor.get("/item/free")
    assert (served.status, served.json(), served.receipt) == (200, ["free", None], None)
    assert selling.till.takings == 0


async def test_a_price_that_is_awaited_and_reads_the_body() -> None:
    visitor = Visitor(Selling().to(shop(per_page)))
    bodies: list[Any] = [b'{"pages": 3}', [b'{"pa', b'ges"', b": 3}"], [b"", b'{"pages": 3}', b""]]
    for body in bodies:
        assert amount(await visitor.ask("POST", "/print", headers=JSON, body=body)) == "0.03"
        served = await visitor.buy("POST", "/print", headers=JSON, body=body)
        assert served.json() == '{"pages": 3}'


async def test_a_price_that_streams_the_body() -> None:
    async def per_byte(request: Request) -> str:
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
        return f"0.{size:03}"

    visitor = Visitor(Selling().to(shop(per_byte)))
    assert amount(await visitor.ask("POST", "/print", body=[b"ab", b"cd"])) == "0.004"
    assert (await visitor.buy("POST", "/print", body=[b"ab", b"cd"])).json() == "abcd"


async def test_a_price_by_a_field_of_a_form() -> None:
    async def per_copy(request: Request) -> str:
        async with request.form() as form:
            return f"0.0{form['copies']}"

    app = FastAPI()

    @app.post("/copy")
    @price(per_copy)
    async def copy(copies: int = Form()) -> int:
        return copies

    visitor = Visitor(Selling().to(app))
    form = {"headers": {"content-type": "application/x-www-form-urlencoded"}, "body": b"copies=7"}
    assert amount(await visitor.ask("POST", "/copy", **form)) == "0.07"
    assert (await visitor.buy("POST", "/copy", **form)).json() == 7


async def test_the_body_of_a_gateway_that_announces_none_is_priced_all_the_same() -> None:
    """HTTP/2 announces a body by sending it, and some gateways call that HTTP/1.1."""
    visitor = Visitor(Selling().to(shop(per_page)))
    announced_nothing: dict[str, Any] = {"headers": [("content-type", "application/json")]}
    for version in ("1.1", "2"):
        exchange = await unannounced(visitor.app, b'{"pages": 9}', version, **announced_nothing)
        assert amount(exchange) == "0.09"


async def unannounced(app: Any, body: bytes, version: str, headers: Any) -> Exchange:
    from tests.methods.stall import Line, scope_of

    line = Line([body], None)
    await app(
        scope_of("POST", "/print", headers=headers, http_version=version), line.receive, line.send
    )
    return line.exchange


async def test_the_price_in_a_refusal_is_that_of_the_body_even_after_the_handler_read_it() -> None:
    """A used credential is refused late, when the body is with the application already."""
    prices: list[str] = []

    async def noted(request: Request) -> str:
        prices.append(await per_page(request))
        return prices[-1]

    visitor = Visitor(Selling().to(shop(noted)))
    request: dict[str, Any] = {"body": b'{"pages": 40}', "headers": JSON}
    challenge = await visitor.challenge("POST", "/order", **request)
    paid = {**JSON, **payment(challenge)}
    assert (await visitor.ask("POST", "/order", headers=paid, body=request["body"])).json() == 40
    refused = await visitor.ask("POST", "/order", headers=paid, body=request["body"])
    assert (refused.problem, amount(refused)) == ("invalid-challenge", "0.4")


async def test_a_quote_holds_until_it_expires() -> None:
    """Whatever the price could read is bound, so the price need not be asked again."""
    selling = Selling()
    asked: list[str] = []

    def rising(request: Request) -> str:
        asked.append("asked")
        return str(len(asked))

    visitor = Visitor(selling.to(shop(rising)))
    first = await visitor.challenge("POST", "/print", body=b"x")
    second = await visitor.challenge("POST", "/print", body=b"x")
    served = await visitor.ask("POST", "/print", body=b"x", headers=payment(first))
    assert served.status == 200
    assert len(asked) == 2
    selling.time.now += 300
    late = await visitor.ask("POST", "/print", body=b"x", headers=payment(second))
    assert (late.problem, amount(late)) == ("payment-expired", "3")


@pytest.mark.parametrize(
    "other",
    [
        {"body": b'{"pages": 2}'},
        {"body": b'{"pages":1}'},
        {"body": b""},
        {"method": "PUT"},
        {"target": "/print?pages=2"},
        {"headers": {**JSON, "x-plan": "gold"}},
        {"headers": {"content-type": "application/x-json", "x-plan": "free"}},
        {"headers": [*JSON.items(), ("x-plan", "free"), ("x-plan", "gold")]},
    ],
)
async def test_a_quote_is_for_all_that_its_price_could_read(other: dict[str, Any]) -> None:
    def by_plan(request: Request) -> str:
        return {"free": "0.01"}.get(request.headers.get("x-plan", ""), "10")

    visitor = Visitor(Selling().to(shop(by_plan, vary=["X-Plan"])))
    request: dict[str, Any] = {
        "method": "POST",
        "target": "/print",
        "body": b'{"pages": 1}',
        "headers": {**JSON, "x-plan": "free"},
    }
    challenge = await visitor.challenge(**request)
    substituted = {**request, **other}
    headers = substituted["headers"]
    pairs = list(headers.items()) if isinstance(headers, dict) else headers
    substituted["headers"] = [*pairs, *payment(challenge).items()]
    refused = await visitor.ask(**substituted)
    assert (refused.status, refused.problem) == (402, "invalid-challenge")
    request["headers"] = [*request["headers"].items(), *payment(challenge).items()]
    assert (await visitor.ask(**request)).status == 200


@pytest.mark.parametrize("header", ["x-plan", "Cookie", "authorization", "accept-language"])
async def test_reading_a_header_that_is_not_bound_is_an_error_that_says_so(header: str) -> None:
    def quote(request: Request) -> str:
        return "1" if request.headers.get(header) else "2"

    visitor = Visitor(Selling().to(shop(quote)), app_raises=True)
    failed = await visitor.ask("POST", "/print")
    assert f"the price reads the header {header!r}, which its challenge does not bind" in str(
        failed.error
    )
    assert f"vary=[{header.lower()!r}]" in str(failed.error)


@pytest.mark.parametrize(
    "read",
    [
        lambda request: request.headers.items(),
        lambda request: request.headers.values(),
        lambda request: dict(request.headers),
        lambda request: request.headers.getlist("x-plan"),
        lambda request: "x-plan" in request.headers,
        lambda request: request.headers.raw,
        lambda request: request.headers.mutablecopy()["x-plan"],
        lambda request: request.headers.keys(),
        lambda request: request.cookies,
        lambda request: request.scope["headers"],
        lambda request: request.client.host,
        lambda request: request.state.plan,
        lambda request: request.user,
        lambda request: request.session,
    ],
)
async def test_nothing_else_that_is_not_bound_can_be_read(read: Any) -> None:
    """By any road."""
    seen: list[Any] = []

    def quote(request: Request) -> str:
        seen.append(read(request))
        return "1"

    visitor = Visitor(Selling().to(shop(quote)), app_raises=True)
    failed = await visitor.ask("POST", "/print", headers=[("x-plan", "gold"), ("cookie", "a=b")])
    assert "gold" not in str(seen)
    assert "a" not in dict(seen[0] if seen and isinstance(seen[0], dict) else {})
    assert failed.error is not None or failed.status == 402


async def test_the_host_is_bound_for_a_price_that_reads_it() -> None:
    """Even where the realm is fixed, as for one service under many names."""

    def by_host(request: Request) -> str:
        return "0.01" if request.headers["host"] == "cheap.example" else "10"

    app = shop(by_host, vary=["host"])
    visitor = Visitor(Selling(realm="all of us").to(app))
    cheap = await visitor.challenge("POST", "/print", headers={"host": "cheap.example"})
    assert cheap.request_object()["amount"] == "100000"
    headers = {"host": "dear.example", **payment(cheap)}
    refused = await visitor.ask("POST", "/print", headers=headers)
    assert (refused.problem, amount(refused)) == ("invalid-challenge", "10")


async def test_several_currencies_are_several_challenges() -> None:
    def quote(request: Request) -> list[Any]:
        return ["0.01", Price("0.25", "XLM")]

    visitor = Visitor(Selling().to(shop(quote, currency="USDC")))
    refused = await visitor.ask("POST", "/print")
    offers = [challenge.request_object() for challenge in refused.challenges]
    assert offers == [
        {"amount": "100000", "currency": "USDC"},
        {"amount": "2500000", "currency": "XLM"},
    ]
    assert refused.json()["detail"] == "This resource costs 0.01 USDC or 0.25 XLM."
    for challenge in refused.challenges:
        assert (await visitor.ask("POST", "/print", headers=payment(challenge))).status == 200


@pytest.mark.parametrize(
    "quote", [lambda request: 1 / 0, lambda request: None, lambda request: 0.1]
)
async def test_a_price_that_fails_is_our_error_and_nothing_runs(quote: Any) -> None:
    app = shop(quote)
    visitor = Visitor(Selling().to(app), app_raises=True)
    failed = await visitor.ask("POST", "/print", body=b"x")
    assert failed.status == 500
    assert failed.receipt is None
    assert failed.body == b"Internal Server Error"


async def test_what_is_free_by_now_is_free_whatever_credential_is_shown() -> None:
    """There is nothing left to challenge for."""
    selling = Selling()
    prices: list[Any] = ["1"]
    visitor = Visitor(selling.to(shop(lambda request: prices[0])))
    challenge = await visitor.challenge("POST", "/print", body=b"x")
    prices[0] = Price.free()
    selling.time.now += 301
    for headers in (payment(challenge), {"authorization": "Payment nonsense"}):
        served = await visitor.ask("POST", "/print", body=b"x", headers=headers)
        assert (served.status, served.receipt, served.json()) == (200, None, "x")
    assert selling.till.takings == 0


@pytest.mark.parametrize("body", [b"", b"{", b"[1, 2", b"\xff\xfe", b'"\xff"'])
async def test_a_body_that_the_price_cannot_parse_is_the_clients_error(body: bytes) -> None:
    visitor = Visitor(Selling().to(shop(per_page)))
    refused = await visitor.ask("POST", "/print", headers=JSON, body=body)
    assert (refused.status, refused.problem) == (400, "bad-request")


async def test_a_price_may_refuse_as_an_endpoint_does() -> None:
    async def quote(request: Request) -> str:
        order = await request.json()
        if "pages" not in order:
            raise HTTPException(422, "Say how many pages.", headers={"x-hint": "pages"})
        return "1"

    visitor = Visitor(Selling().to(shop(quote)))
    refused = await visitor.ask("POST", "/print", headers=JSON, body=b"{}")
    assert (refused.status, refused.json()["detail"]) == (422, "Say how many pages.")
    assert refused.header("x-hint") == "pages"


async def test_a_form_that_cannot_be_parsed_is_the_clients_error() -> None:
    async def quote(request: Request) -> str:
        async with request.form():
            return "1"

    visitor = Visitor(Selling().to(shop(quote)))
    headers = {"content-type": "multipart/form-data"}
    assert (await visitor.ask("POST", "/print", headers=headers, body=b"x")).status == 400


async def test_a_price_cannot_read_a_body_that_is_gone() -> None:
    """Where the route is not foreseen, its body may have been read before its price is asked."""

    def hiding(app: Any) -> Any:
        async def middleware(scope: Any, receive: Any, send: Any) -> None:
            await app(dict(scope), receive, send)

        return middleware

    selling = Selling()
    app = FastAPI()
    app.mount("/sub", hiding(shop(per_page)))
    visitor = Visitor(selling.to(app), app_raises=True)
    request: dict[str, Any] = {"body": b'{"pages": 40}', "headers": JSON}
    failed = await visitor.ask("POST", "/sub/order", **request)
    assert failed.status == 500
    assert "was read before its price was asked" in str(failed.error)
    refused = await visitor.ask("POST", "/sub/print", **request)
    assert amount(refused) == "0.4"


async def test_the_endpoint_may_take_the_price_as_a_dynamic_one_by_pattern() -> None:
    async def files(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.path_params["name"])

    app = Starlette(routes=[Route("/files/{name:path}", files)])

    def by_length(request: Request) -> str:
        return str(request.path_params["pages"])

    selling = Selling(prices={"GET /files/{pages:int}": by_length})
    visitor = Visitor(selling.to(app))
    assert amount(await visitor.get("/files/17")) == "17"
    assert (await visitor.buy("GET", "/files/17")).body == b"17"


async def test_the_payment_carries_what_was_quoted() -> None:
    app = FastAPI()
    seen: list[Payment] = []

    @app.post("/print")
    @price(per_page)
    async def print_it(payment: CurrentPayment) -> None:
        assert payment is not None
        seen.append(payment)

    visitor = Visitor(Selling().to(app))
    body = json.dumps({"pages": 12}).encode()
    await visitor.buy("POST", "/print", body=body, headers=JSON)
    assert (seen[0].human_amount, seen[0].currency) == (Decimal("0.12"), "USDC")


class Wanted(BaseModel):
    pages: int


async def by_json(request: Request) -> str:
    return "1" if await request.json() else "2"


async def by_model(request: Request) -> str:
    return str(Wanted.model_validate_json(await request.body()).pages)


@pytest.mark.parametrize(
    ("quote", "body", "status"),
    [
        (by_json, b"[" * 200_000, 400),
        (by_json, b"1" * 5_000, 400),
        (by_json, b"\xff", 400),
        (by_json, b"{", 400),
        (by_model, b'{"pages":"a"}', 422),
        (by_model, b'"\\ud800', 422),
        (by_model, b'{"pages":3}', 402),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else None,
)
async def test_a_body_that_no_price_can_be_made_from_is_its_senders_fault(
    quote: Any, body: bytes, status: int
) -> None:
    app = FastAPI()

    @app.post("/x")
    @price(quote)
    async def endpoint() -> str:
        return "content"

    refused = await Visitor(Selling().to(app)).ask("POST", "/x", body=body)
    assert refused.status == status
    assert refused.problem == ("payment-required" if status == 402 else "bad-request")
