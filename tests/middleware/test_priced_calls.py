"""A priced endpoint among others: what is free beside it, what calls it, what it calls."""

import importlib
import inspect
import sys
import types
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse
from starlette.applications import Starlette
from starlette.routing import Route

from mpp_asgi import ConfigError, Price, price
from tests.methods.sales import Ran, check_is_sold
from tests.methods.stall import Selling, Visitor

priced = price("0.01")


@pytest.fixture
def ran() -> Ran:
    return Ran()


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


async def test_a_price_above_the_route_stops_the_start_of_a_made_app() -> None:
    """What nobody has kept, no route has either."""

    def create_app() -> FastAPI:
        app = FastAPI()

        @price("1")
        @app.get("/forecast")
        async def forecast() -> str:
            return "sunny"

        return app

    with pytest.raises(ConfigError, match="@price stands above the route decorator of /forecast"):
        await Visitor(Selling().to(create_app())).get("/forecast")


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


def test_without_fastapi_its_module_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)
    monkeypatch.delitem(sys.modules, "mpp_asgi.fastapi", raising=False)
    with pytest.raises(ModuleNotFoundError) as missing:
        importlib.import_module("mpp_asgi.fastapi")
    assert str(missing.value) == (
        "mpp_asgi.fastapi needs FastAPI: run pip install 'mpp-asgi[fastapi]'."
    )


async def test_the_operator_is_told_of_plain_http_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = FastAPI()
    app.get("/day")(price("1")(lambda: "day"))
    selling = Selling()
    visitor = Visitor(selling.to(app))
    told = "a request over plain HTTP was refused: behind a proxy that ends TLS, run uvicorn with"
    for seconds, lines in ((0, 1), (59, 1), (1, 2), (1, 2)):
        selling.time.now += seconds
        for _ in range(3):
            assert (await visitor.get("/day", scheme="http")).status == 400
        assert sum(told in message for message in caplog.messages) == lines
    assert "allow_http=True" in caplog.text


@pytest.mark.parametrize("annotation", ["int[str]", "sys.Nothing", "Nothing", "1 / 0"])
async def test_annotations_that_cannot_be_evaluated_are_not_ours_to_refuse(
    annotation: str, ran: Ran
) -> None:
    code = f"""
from __future__ import annotations
import sys
from starlette.responses import PlainTextResponse
from mpp_asgi import price

@price("1")
async def endpoint(request, more: {annotation} = None):
    return PlainTextResponse("sunny")
"""
    names: dict[str, Any] = {"__name__": "an_application"}
    exec(code, names)
    visitor = Visitor(Selling().to(Starlette(routes=[Route("/x", names["endpoint"])])))
    assert (await visitor.buy("GET", "/x")).body == b"sunny"
