"""The example app answers as its OpenAPI says, paid or not, whatever it is asked (schemathesis)."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import CHECKS
from starlette.middleware import Middleware

from example_app import sun
from mpp_asgi import PaymentMiddleware
from mpp_asgi.protocol import Challenge
from mpp_asgi.sandbox import Sandbox
from tests.shop import RECIPIENT, SECRET, SPONSOR, Payer, Shop, Time, payment_middleware

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi import FastAPI
    from schemathesis import Case

SOURCE = Path(__file__).parents[2] / "example_app" / "main.py"
NOT_ASKED = frozenset({"positive_data_acceptance", "not_a_server_error"})
"""The one knows of 401, not of 402: what has to be paid counts as turned down with it. The other is
asked here, and knows of one endpoint that naps."""
EXAMPLES = {"GET /": 1, "GET /live/{city}": 4}
"""Of an operation; a live one takes a second each time."""


@pytest.fixture
def shop() -> Iterator[Shop]:
    """A copy of the example app, with time in the test's hand."""
    spec = importlib.util.spec_from_file_location("daylight_in_test", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    app: FastAPI = module.app
    clock = Time()
    sandbox = Sandbox(clock=clock, close_interval=1.0)
    sandbox.fund(RECIPIENT.public_key)
    sandbox.fund(SPONSOR.public_key)
    (added,) = app.user_middleware
    own: dict[str, Any] = {
        **added.kwargs,
        "sandbox": sandbox,
        "clock": clock,
        "sleep": clock.sleep,
        "secret": SECRET,
        "recipient": RECIPIENT.public_key,
        "sponsor": SPONSOR.secret,
    }
    app.user_middleware = [Middleware(PaymentMiddleware, **own)]
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    http = httpx.AsyncClient(transport=transport, base_url="http://shop.test")
    yield Shop(app, sandbox, clock, http, [], [])
    del sys.modules[spec.name]


def test_every_answer_is_as_the_openapi_says(shop: Shop) -> None:
    with asyncio.Runner() as runner:
        document = runner.run(shop.http.get("/openapi.json")).json()
        operations = [
            each.ok() for each in schemathesis.openapi.from_dict(document).get_all_operations()
        ]
        payer = shop.payer()
        seen = {each.label: statuses(each, shop, payer, runner) for each in operations}
        runner.run(payment_middleware(shop.app)._close())
        runner.run(shop.http.aclose())
    assert seen.pop("GET /") == {200}
    assert all(402 in each for each in seen.values()), seen
    assert set.union(*seen.values()) >= {200, 402, 404, 503}


@pytest.mark.parametrize("on", ["0001-01-01", "9999-12-31", "1899-12-31", "2100-01-01"])
async def test_a_day_that_cannot_be_told_costs_nothing(shop: Shop, on: str) -> None:
    payer = shop.payer()
    asked = f"/sun/sydney?on={on}"
    credential = payer.sponsored((await shop.challenges(asked))[0])
    had = payer.balance()
    assert (await shop.show(credential, asked)).status_code == 422
    at = {"latitude": 0, "longitude": -180, "at": f"{on}T23:59:59+00:00"}
    assert (await shop.http.post("/journeys", json={"stops": [at]})).status_code == 422
    assert payer.balance() == had
    await payment_middleware(shop.app)._close()


@pytest.mark.parametrize("on", [sun.FIRST, sun.LAST])
def test_every_other_day_can_be_told(on: date) -> None:
    for longitude in (-180, 0, 180):
        place = sun.Place(0, longitude)
        assert sun.day(place, on).sunrise
        assert sun.light(place, datetime.combine(on, time.min, UTC))


def statuses(operation: Any, shop: Shop, payer: Payer, runner: asyncio.Runner) -> set[int]:
    """Ask for all kinds of things, and pay; what was answered, once it was found to be right."""
    checks = [each for each in CHECKS.get_all() if each.__name__ not in NOT_ASKED]
    seen = set[int]()

    @settings(
        max_examples=EXAMPLES.get(operation.label, 10),
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(case=operation.as_strategy(), city=st.none() | st.sampled_from([*sun.CITIES]))
    def ask(case: Case, city: str | None) -> None:
        if city is not None and "city" in case.path_parameters:
            case.path_parameters["city"] = city
        for answer in runner.run(unpaid_and_paid(shop, payer, case)):
            seen.add(answer.status_code)
            assert answer.status_code < 500 or operation.label == "GET /sky/{city}", answer.text
            case.validate_response(answer, checks=checks)
            require_typed(answer)

    ask()
    return seen


async def unpaid_and_paid(shop: Shop, payer: Payer, case: Case) -> list[httpx.Response]:
    """What comes of a request, and of the same with a payment if there has to be one."""
    request = case.as_transport_kwargs(base_url="http://shop.test")
    names = ("method", "url", "params", "json")
    wanted = {name: request[name] for name in names if request.get(name) is not None}
    headers = dict(request.get("headers") or {})
    if isinstance(request.get("data"), bytes | str):
        wanted["content"] = request["data"]
    bare = await shop.http.request(**wanted, headers=headers)
    if bare.status_code != 402:
        return [bare]
    challenges = Challenge.all_from_headers(bare.headers.get_list("www-authenticate"))
    shown = payer.sponsored(challenges[0], nonce=int(shop.sandbox.sequence) * 1000)
    headers["Authorization"] = shown.to_header()
    return [bare, await shop.http.request(**wanted, headers=headers)]


def require_typed(answer: httpx.Response) -> None:
    """A refusal of ours says which problem it is, and a 402 how to pay."""
    if answer.status_code == 402:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["www-authenticate"].startswith("Payment ")
        assert answer.headers["cache-control"] == "no-store"
    if answer.headers.get("content-type") == "application/problem+json":
        problem = answer.json()
        assert problem["status"] == answer.status_code
        assert problem["type"].startswith(("https://paymentauth.org/problems/", "about:blank"))
