"""``settle="after"``: the endpoint first, its response held back, then the money."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse

from mpp_asgi import price, tariff
from mpp_asgi.fastapi import CurrentPayment
from mpp_asgi.intents import FaultError, RefusalError
from mpp_asgi.protocol import problems
from tests.methods.stall import Selling, Visitor, payment
from tests.methods.streams import needs_streams


class Endpoint:
    """Does as it is told, once for each request."""

    def __init__(self, *behaviour: Any) -> None:
        self._behaviour = list(behaviour)
        self.runs = 0

    def __call__(self) -> Any:
        self.runs += 1
        todo = self._behaviour.pop(0) if self._behaviour else "content"
        if isinstance(todo, BaseException):
            raise todo
        return todo


def shop(endpoint: Endpoint, **options: Any) -> FastAPI:
    app = FastAPI()

    @app.get("/")
    @price("1", settle="after", **options)
    async def run() -> Any:
        return endpoint()

    return app


async def test_the_endpoint_runs_before_the_money_moves() -> None:
    events: list[str] = []

    async def note(step: str) -> None:
        events.append(step)

    app = FastAPI()

    @app.get("/")
    @price("1", settle="after")
    async def run() -> str:
        events.append("run")
        return "content"

    served = await Visitor(Selling(step=note).to(app)).buy("GET", "/")
    assert served.json() == "content"
    assert events == ["verify", "claim", "run", "submit", "move", "settle"]


async def test_the_endpoint_sees_a_payment_that_is_not_settled_yet() -> None:
    app = FastAPI()
    seen: list[Any] = []

    @app.get("/")
    @price("1", settle="after")
    async def run(payment: CurrentPayment) -> None:
        assert payment is not None
        seen.append((payment.payer, payment.amount, payment.reference, payment.receipt))

    await Visitor(Selling().to(app)).buy("GET", "/")
    assert seen == [("somebody", 10_000_000, None, None)]


@pytest.mark.parametrize(
    "failure",
    [HTTPException(400), HTTPException(404), HTTPException(429), HTTPException(503), ValueError()],
)
async def test_an_endpoint_that_fails_costs_nothing_and_the_credential_stays_good(
    failure: Exception,
) -> None:
    endpoint = Endpoint(failure, failure)
    selling = Selling()
    visitor = Visitor(selling.to(shop(endpoint)), app_raises=True)
    challenge = await visitor.challenge("GET", "/")
    for _ in range(2):
        failed = await visitor.get("/", headers=payment(challenge))
        assert failed.status == getattr(failure, "status_code", 500)
        assert selling.till.takings == 0
    served = await visitor.get("/", headers=payment(challenge))
    assert (served.status, selling.till.takings, endpoint.runs) == (200, 1, 3)
    assert served.receipt is not None
    assert (await visitor.get("/", headers=payment(challenge))).status == 402
    assert endpoint.runs == 3


async def test_an_endpoint_that_fails_half_way_shows_nothing() -> None:
    app = FastAPI()

    @app.get("/")
    @price("1", settle="after")
    async def run() -> StreamingResponse:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"half the content"
            raise ValueError

        return StreamingResponse(chunks())

    selling = Selling()
    failed = await Visitor(selling.to(app), app_raises=True).buy("GET", "/")
    assert (failed.status, failed.body) == (500, b"Internal Server Error")
    assert selling.till.takings == 0


async def test_a_response_that_is_too_large_to_hold_is_our_error_and_costs_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    endpoint = Endpoint("x" * 998, "x" * 999)
    selling = Selling(hold_limit=1000)
    visitor = Visitor(selling.to(shop(endpoint)))
    assert (await visitor.buy("GET", "/")).status == 200
    too_large = await visitor.buy("GET", "/")
    assert (too_large.status, too_large.receipt) == (500, None)
    assert b"xxx" not in too_large.body
    assert selling.till.takings == 1
    assert "hold_limit" in caplog.text


@needs_streams
async def test_an_endless_response_is_not_held_for_ever() -> None:
    app = FastAPI()
    made: list[int] = []

    @app.get("/")
    @price("1", settle="after")
    async def run() -> AsyncIterator[str]:
        while True:
            made.append(1)
            yield "x" * 1000

    selling = Selling(hold_limit=10_000)
    refused = await Visitor(selling.to(app)).buy("GET", "/")
    assert refused.status == 500
    assert len(made) < 20


async def test_a_settlement_that_fails_is_said_instead_of_the_response() -> None:
    async def refuse(step: str) -> None:
        if step == "move":
            raise RefusalError(problems.SETTLEMENT_FAILED.because("The ledger refused it."))

    endpoint = Endpoint()
    selling = Selling(step=refuse)
    refused = await Visitor(selling.to(shop(endpoint))).buy("GET", "/")
    assert (refused.status, refused.problem) == (402, "settlement-failed")
    assert len(refused.challenges) == 1
    assert b"content" not in refused.body
    assert endpoint.runs == 1


async def test_a_settlement_in_doubt_is_our_error_and_the_credential_stays_good() -> None:
    async def doubt(step: str) -> None:
        if step == "settle":
            raise FaultError("The ledger has not decided yet.", retry_after=3)

    endpoint = Endpoint("first", "second")
    selling = Selling(step=doubt)
    visitor = Visitor(selling.to(shop(endpoint)))
    challenge = await visitor.challenge("GET", "/")
    doubted = await visitor.get("/", headers=payment(challenge))
    assert (doubted.status, doubted.header("retry-after")) == (503, "3")
    assert doubted.challenges == []
    assert b"first" not in doubted.body

    async def go_on(step: str) -> None: ...

    selling.step = go_on
    served = await visitor.get("/", headers=payment(challenge))
    assert served.json() == "second"
    assert (selling.till.takings, selling.till.charged_twice) == (1, [])


async def test_what_is_priced_by_path_settles_after_too() -> None:
    endpoint = Endpoint(ValueError(), "content")
    app = FastAPI()

    @app.get("/")
    async def run() -> Any:
        return endpoint()

    selling = Selling(prices={"/": tariff("1", settle="after")})
    visitor = Visitor(selling.to(app), app_raises=True)
    assert (await visitor.buy("GET", "/")).status == 500
    assert selling.till.takings == 0
    assert (await visitor.buy("GET", "/")).json() == "content"
    assert selling.till.takings == 1
