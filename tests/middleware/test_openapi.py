"""What the application's own OpenAPI says of its prices."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette

from mpp_asgi import Price, price
from tests.methods.stall import Selling, Visitor

OFFER = {"intent": "charge", "method": "nod", "amount": "10000000", "currency": "USDC"}


def shop() -> FastAPI:
    app, router, mounted = FastAPI(), APIRouter(prefix="/routed"), FastAPI()

    @app.get("/free")
    async def free() -> str:
        return "content"

    @app.get("/fixed/{name}")
    @price("1", Price("2", "XLM"), currency="USDC", description="A thing")
    async def fixed(name: str) -> str:
        return name

    @app.post("/asked")
    @price(lambda _: "1")
    async def asked(text: str) -> str:
        return text

    @router.get("/item", responses={402: {"description": "as we say"}, 409: {"model": str}})
    @price("1")
    async def item() -> str:
        return "content"

    @mounted.get("/fixed/{name}")
    async def other(name: str) -> str:
        return name

    @app.get("/files/{name}")
    async def files(name: str) -> str:
        return name

    app.include_router(router)
    app.mount("/mounted", mounted)
    return app


async def told(app: Any, path: str = "/openapi.json", **settings: Any) -> Any:
    visitor = Visitor(Selling().to(app, **settings))
    first, again = await visitor.get(path), await visitor.get(path)
    assert first.status == 200
    assert first.json() == again.json()
    return first.json()["paths"]


async def test_what_costs_something_says_so() -> None:
    paths = await told(shop(), prices={"GET /files/{name}": "1"})
    fixed = paths["/fixed/{name}"]["get"]
    dear = {**OFFER, "amount": "20000000", "currency": "XLM"}
    assert fixed["x-payment-info"]["offers"] == [
        {**OFFER, "description": "A thing"},
        {**dear, "description": "A thing"},
    ]
    assert {"200", "400", "402", "409", "503", "422"} <= set(fixed["responses"])
    required = fixed["responses"]["402"]
    assert "WWW-Authenticate" in required["headers"]
    assert list(required["content"]) == ["application/problem+json"]
    assert "Payment-Receipt" in fixed["responses"]["200"]["headers"]
    for path in ("/routed/item", "/files/{name}"):
        assert paths[path]["get"]["x-payment-info"]["offers"] == [OFFER]


async def test_a_price_that_depends_has_no_amount() -> None:
    asked = (await told(shop()))["/asked"]["post"]
    assert asked["x-payment-info"] == {
        "offers": [{"intent": "charge", "method": "nod", "amount": None}]
    }
    assert set(asked["responses"]["422"]["content"]) == {
        "application/json",
        "application/problem+json",
    }


async def test_what_the_application_says_stays() -> None:
    responses = (await told(shop()))["/routed/item"]["get"]["responses"]
    assert responses["402"]["description"] == "as we say"
    assert set(responses["402"]["content"]) == {"application/problem+json"}
    assert set(responses["409"]["content"]) == {"application/json", "application/problem+json"}


async def test_what_is_free_or_another_application_says_nothing() -> None:
    plain = {"free": shop().openapi()["paths"]["/free"]}
    app = shop()
    paths = await told(app)
    assert paths["/free"] == plain["free"]
    assert "x-payment-info" not in paths["/files/{name}"]["get"]
    below = await Visitor(app).get("/mounted/openapi.json")
    assert "x-payment-info" not in below.body.decode()


async def test_an_openapi_of_ones_own_is_kept() -> None:
    app = shop()
    app.openapi = lambda: {"paths": {"/fixed/{name}": {"get": {}}, "/x": {}}}  # type: ignore[method-assign]
    paths = await told(app)
    assert paths["/fixed/{name}"]["get"]["x-payment-info"]
    assert paths["/x"] == {}


async def test_an_application_without_one_needs_none() -> None:
    app = Starlette()
    assert (await Visitor(Selling().to(app)).get("/openapi.json")).status == 404
