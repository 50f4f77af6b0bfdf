"""The decorator: what it leaves of a function, and where it refuses to stand."""

import asyncio
import functools
import inspect
import operator
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from mpp_asgi import Price, PriceError, price
from tests.methods.stall import Selling, StartupFailedError, running


async def coroutine(city: str, days: int = 1) -> str:
    """Docstring of the endpoint."""
    return f"{city} {days}"


def function(city: str, days: int = 1) -> str:
    """Docstring of the endpoint."""
    return f"{city} {days}"


async def stream(city: str, days: int = 1) -> AsyncIterator[str]:
    """Docstring of the endpoint."""
    yield city
    yield str(days)


def generator(city: str, days: int = 1) -> Iterator[str]:
    """Docstring of the endpoint."""
    yield city
    yield str(days)


ENDPOINTS = [coroutine, function, stream, generator]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_an_endpoint_keeps_its_name_signature_and_docstring(endpoint: Any) -> None:
    priced = price("0.01")(endpoint)
    assert priced is not endpoint
    assert inspect.signature(priced) == inspect.signature(endpoint)
    assert (priced.__name__, priced.__doc__) == (endpoint.__name__, endpoint.__doc__)
    assert inspect.unwrap(priced) is endpoint


def test_annotations_that_cannot_be_looked_up_yet_stay_texts() -> None:
    async def endpoint(city: str) -> None: ...

    endpoint.__annotations__ = {"city": "City", "return": "Forecast"}
    signature = inspect.signature(price("0.01")(endpoint))
    assert signature.parameters["city"].annotation == "City"
    endpoint.__annotations__ = {"city": "Price"}
    signature = inspect.signature(price("0.01")(endpoint))
    assert signature.parameters["city"].annotation is Price


def test_outside_a_request_it_is_the_plain_function() -> None:
    assert asyncio.run(price("1")(coroutine)("Lisbon", days=2)) == "Lisbon 2"
    assert price("1")(function)("Lisbon", days=2) == "Lisbon 2"
    assert list(price("1")(generator)("Lisbon", days=2)) == ["Lisbon", "2"]


async def test_on_an_event_loop_a_plain_function_is_awaited_and_runs_in_a_thread() -> None:
    threads = []

    @price("1")
    def endpoint(city: str) -> str:
        threads.append(threading.current_thread())
        return city

    assert await endpoint("Lisbon") == "Lisbon"  # type: ignore[misc]
    assert threads != [threading.current_thread()]


async def test_a_stream_outside_a_request_is_the_plain_stream() -> None:
    assert [each async for each in price("1")(stream)("Lisbon", days=2)] == ["Lisbon", "2"]
    assert list(price("1")(generator)("Lisbon", days=2)) == ["Lisbon", "2"]


async def test_a_stream_left_early_is_closed_at_once() -> None:
    closed = []

    @price("1")
    async def endless() -> AsyncIterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    items = endless()
    await anext(items)
    await items.aclose()  # type: ignore[attr-defined]
    assert closed


def sync_wrapper(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(endpoint)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return endpoint(*args, **kwargs)

    return wrapper


async def test_a_plain_wrapper_around_a_coroutine_function_is_still_awaited() -> None:
    """FastAPI looks through wrappers to see what to await; so must we."""
    priced = price("1")(sync_wrapper(coroutine))
    assert inspect.iscoroutinefunction(priced)
    assert await priced("Lisbon") == "Lisbon 1"
    assert [each async for each in price("1")(sync_wrapper(stream))("Lisbon")] == ["Lisbon", "1"]


async def test_partial_functions_keep_their_kind() -> None:
    assert await price("1")(functools.partial(coroutine, "Lisbon"))(days=3) == "Lisbon 3"
    assert await price("1")(functools.partial(function, "Lisbon"))(days=3) == "Lisbon 3"  # type: ignore[misc]
    priced = price("1")(functools.partial(functools.partial(stream, "Lisbon"), days=3))
    assert [each async for each in priced()] == ["Lisbon", "3"]


class Forecaster:
    async def __call__(self, request: Any) -> None: ...


@pytest.mark.parametrize("endpoint", [Forecaster(), "a route", None])
def test_what_is_no_function_is_refused_and_the_other_way_named(endpoint: Any) -> None:
    with pytest.raises(PriceError, match=r"price this route by path: PaymentMiddleware\(prices="):
        price("1")(endpoint)


def test_a_class_that_dispatches_nothing_is_refused() -> None:
    class Views:
        async def get(self) -> None: ...

    with pytest.raises(PriceError, match=r"Views has no dispatch\(\); put @price on its methods"):
        price("1")(Views)


def test_two_decorators_are_one_too_many() -> None:
    with pytest.raises(PriceError, match=r"coroutine has a price already"):
        price("1")(price("2")(coroutine))


def test_neither_do_they_stack_on_a_class() -> None:
    class Forecast(HTTPEndpoint):
        async def get(self, request: Any) -> None: ...

    priced = price("2")(Forecast)
    with pytest.raises(PriceError, match=r"Forecast has a price already"):
        price("1")(priced)


def test_one_function_may_have_another_price_elsewhere() -> None:
    cheap, dear = price("1")(coroutine), price("2")(coroutine)
    assert cheap is not dear


def test_a_class_priced_by_inheritance_may_have_a_price_of_its_own() -> None:
    @price("1")
    class Forecast(HTTPEndpoint):
        async def get(self, request: Any) -> None: ...

    @price("2")
    class Hourly(Forecast):
        pass

    assert Hourly is not Forecast


# --- without an amount ----------------------------------------------------------------------------


def nothing() -> str:
    return ""


def one_by_text(city: "str") -> str:
    return city


async def one_by_type(number: int) -> str:
    return str(number)


def keyword(*, request: Request) -> str:
    return ""


@pytest.mark.parametrize("endpoint", [nothing, lambda a, b: "1", one_by_text, one_by_type, keyword])
def test_a_bare_price_is_told_at_the_import(endpoint: Any) -> None:
    with pytest.raises(PriceError) as refused:
        price(endpoint)
    told = str(refused.value)
    assert told.startswith("a price function takes the request")
    assert told.endswith(f'if {endpoint.__name__} is the endpoint, write @price("0.01")')


async def test_a_bare_price_of_an_endpoint_of_the_request_stops_the_start() -> None:
    @price
    async def home(request: Request) -> PlainTextResponse: ...

    for app in (Starlette(routes=[Route("/home", home)]), FastAPI()):
        if isinstance(app, FastAPI):
            app.get("/home")(home)
        with pytest.raises(StartupFailedError) as refused:
            async with running(Selling().to(app)):
                raise AssertionError
        assert str(refused.value) == 'The @price of /home has no amount: write @price("0.01").'


class ByPlan:
    async def __call__(self, request: Request) -> str:
        return "1"

    def at(self, request: Request, factor: int = 1) -> str:
        return "1"


@pytest.mark.parametrize(
    "quote",
    [
        lambda request: "1",
        lambda *_: "1",
        lambda request, more=1: "1",
        ByPlan(),
        ByPlan().at,
        functools.partial(ByPlan().at, factor=2),
        operator.attrgetter("state.price"),
    ],
)
def test_whatever_takes_a_request_may_say_the_price(quote: Any) -> None:
    assert callable(price(quote))


@pytest.mark.parametrize(
    ("intents", "trouble"),
    [
        (["x"], "'x' is no way to pay"),
        (["charge", "chrage"], "'chrage' is no way to pay"),
        (["session"], "it takes session only"),
    ],
)
async def test_a_price_that_nothing_pays_stops_the_start(intents: list[str], trouble: str) -> None:
    for cost in ("1", lambda request: "1"):
        app = FastAPI()
        app.get("/home")(price(cost, intents=intents)(nothing))
        with pytest.raises(StartupFailedError) as refused:
            async with running(Selling().to(app)):
                raise AssertionError
        assert str(refused.value) == (
            f"The price of /home cannot be charged: {trouble}, and what is configured is charge."
        )


async def test_a_price_may_name_ways_to_pay_that_are_not_configured_everywhere() -> None:
    app = FastAPI()
    app.get("/home")(price("1", intents=["session", "charge"])(nothing))
    async with running(Selling().to(app)):
        pass


@pytest.mark.parametrize(
    "amounts", [("1", "2"), ("1", Price("2")), (Price("1", "XLM"), Price("2", "XLM"))]
)
def test_alternatives_are_in_several_currencies(amounts: Any) -> None:
    with pytest.raises(PriceError, match="name another currency for each"):
        price(*amounts)
    assert price("1", Price("2", "XLM"))


# --- without the middleware -----------------------------------------------------------------------


def asked_twice(app: Any, path: str) -> None:
    with TestClient(app) as visitor:
        for _ in range(2):
            assert visitor.get(path).status_code == 200


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.__name__)
def test_what_is_served_without_the_middleware_is_told_once(
    endpoint: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpp_asgi.presence._given_away", set())
    app, priced = FastAPI(), price("1")(endpoint)

    @app.get("/items/{city}")
    async def items(city: str) -> list[str]:
        made = priced(city)
        if inspect.isasyncgen(made):
            return [each async for each in made]
        return list(await made if inspect.isawaitable(made) else made)

    asked_twice(app, "/items/Lisbon")
    (told,) = caplog.messages
    assert told == (
        f"{__name__}.{endpoint.__name__} has a price and is served for nothing: its app has no "
        'PaymentMiddleware, app.add_middleware(PaymentMiddleware, network="...")'
    )


def test_so_it_is_in_a_thread_and_in_a_class(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpp_asgi.presence._given_away", set())

    @price("1")
    class Home(HTTPEndpoint):
        def get(self, request: Request) -> PlainTextResponse:
            return PlainTextResponse("home")

    def threaded() -> list[str]:
        return list(price("1")(generator)("Lisbon"))

    app = FastAPI()
    app.get("/threaded")(threaded)
    app.add_route("/home", Home)
    asked_twice(app, "/threaded")
    asked_twice(app, "/home")
    assert [message.partition(" has")[0].rpartition(".")[2] for message in caplog.messages] == [
        "generator",
        "Home",
    ]


async def test_a_plain_call_is_nobodys_business(caplog: pytest.LogCaptureFixture) -> None:
    await price("1")(coroutine)("Lisbon")
    await price("1")(function)("Lisbon")  # type: ignore[misc]
    assert list(price("1")(generator)("Lisbon"))
    assert [each async for each in price("1")(stream)("Lisbon")]
    assert caplog.messages == []
