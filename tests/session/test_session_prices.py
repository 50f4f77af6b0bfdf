"""Sessions on routes of every kind of price."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from fastapi import Depends, HTTPException
from fastapi.responses import StreamingResponse
from fastapi.security import HTTPBearer
from starlette.requests import Request  # noqa: TC002 # FastAPI reads it at run time

from mpp_asgi import Price, price
from tests.session.drawer import (
    CALL,
    Drawer,
    open_session_shop,
    problem_of,
    receipt_of,
    session_challenge,
)
from tests.shop import payment_middleware

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import FastAPI

    from tests.shop import Shop


async def by_length(request: Request) -> Any:
    """0.01 for each letter; nothing for nothing."""
    body = await request.body()
    return Price(f"0.0{len(body)}") if body else Price.free()


def sell_more(app: FastAPI) -> None:
    """Routes beside those that every shop has."""

    @app.post("/letters")
    @price(by_length)
    async def letters(request: Request) -> dict[str, int]:
        return {"letters": len(await request.body())}

    @app.get("/missing")
    @price("0.01")
    async def missing() -> None:
        raise HTTPException(404)

    @app.get("/missing-after")
    @price("0.01", settle="after")
    async def missing_after() -> None:
        raise HTTPException(404)

    @app.get("/members")
    @price("0.01")
    async def members(token: Annotated[Any, Depends(HTTPBearer())]) -> dict[str, str]:
        return {"resource": "members"}

    @app.get("/stream")
    @price("0.01")
    async def stream() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            for part in (b"one ", b"two ", b"three"):
                yield part

        return StreamingResponse(parts())


@asynccontextmanager
async def open_wide_shop(**settings: Any) -> AsyncIterator[Shop]:
    async with open_session_shop(**settings) as shop:
        sell_more(shop.app)
        yield shop


@pytest.fixture
async def drawer() -> AsyncIterator[Drawer]:
    async with open_wide_shop() as shop:
        yield await Drawer.on_record(shop)


async def ask(drawer: Drawer, body: bytes) -> Any:
    return session_challenge(await drawer.shop.challenges("/letters", method="POST", content=body))


async def test_a_dynamic_price_is_asked_every_time(drawer: Drawer) -> None:
    cheap = await ask(drawer, b"a")
    dear = await drawer.pay(cheap, 5 * CALL, "/letters", method="POST", content=b"abc")
    assert problem_of(dear) == (402, "invalid-challenge")
    assert (await drawer.record()).accepted == 0
    for body in (b"a", b"b"):  # another request of the same price
        paid = await drawer.pay(cheap, 5 * CALL, "/letters", method="POST", content=body)
        assert paid.json() == {"letters": 1}
    paid = await drawer.pay(
        await ask(drawer, b"abc"), 5 * CALL, "/letters", method="POST", content=b"xyz"
    )
    assert paid.json() == {"letters": 3}
    assert (await drawer.record()).spent == 5 * CALL


async def test_what_is_free_this_time_costs_nothing(drawer: Drawer) -> None:
    challenge = await ask(drawer, b"a")
    free = await drawer.pay(challenge, CALL, "/letters", method="POST")
    assert free.json() == {"letters": 0}
    assert (await drawer.record()).accepted == 0


async def test_a_refusal_by_the_handler_is_an_answer_and_is_paid(drawer: Drawer) -> None:
    response = await drawer.pay(await drawer.challenge("/missing"), CALL, "/missing")
    assert response.status_code == 404
    assert (await drawer.record()).spent == CALL


async def test_settled_after_success_a_refusal_by_the_handler_costs_nothing(
    drawer: Drawer,
) -> None:
    challenge = await drawer.challenge("/missing-after")
    response = await drawer.pay(challenge, CALL, "/missing-after")
    assert response.status_code == 404
    assert "payment-receipt" not in response.headers
    record = await drawer.record()
    assert (record.accepted, record.spent, record.units) == (CALL, 0, 0)


async def test_beside_an_authentication_of_its_own(drawer: Drawer) -> None:
    own = {"Authorization": "Bearer me"}
    assert (await drawer.shop.http.get("/members")).status_code in (401, 403)
    challenge = await drawer.challenge("/members", headers=own)
    assert challenge.header == "Payment-Authorization"
    value = drawer.voucher(challenge, CALL).to_header()
    headers = {**own, "Payment-Authorization": value}
    assert (await drawer.shop.http.get("/members", headers=headers)).status_code == 200
    assert (await drawer.record()).spent == CALL


async def test_a_stream_carries_its_receipt_and_leaves_whole(drawer: Drawer) -> None:
    response = await drawer.pay(await drawer.challenge("/stream"), CALL, "/stream")
    assert response.text == "one two three"
    assert receipt_of(response)["spent"] == str(CALL)


async def test_prices_by_path_are_paid_by_voucher_too() -> None:
    async with open_wide_shop(prices={"GET /docs": "0.01"}) as shop:
        drawer = await Drawer.on_record(shop)
        response = await drawer.pay(await drawer.challenge("/docs"), CALL, "/docs")
        assert response.status_code == 200
        assert (await drawer.record()).spent == CALL


@pytest.mark.parametrize(
    ("intents", "offered"),
    [
        (["charge"], ["charge", "charge"]),
        (["session"], ["session"]),
        (["session", "charge"], ["session", "charge", "charge"]),
        (None, ["charge", "charge", "session"]),
    ],
)
async def test_the_settings_say_what_is_offered_and_in_which_order(
    intents: list[str] | None, offered: list[str]
) -> None:
    async with open_session_shop(intents=intents or ()) as shop:
        assert [each.intent for each in await shop.challenges()] == offered


async def test_a_shop_without_its_recipients_key_offers_no_sessions() -> None:
    async with open_session_shop(recipient_secret=None) as shop:
        assert {each.intent for each in await shop.challenges()} == {"charge"}


async def test_asking_for_sessions_without_what_they_need_stops_the_start() -> None:
    async with open_session_shop(recipient_secret=None, intents=["session"]) as shop:
        with pytest.raises(ValueError, match=r"Sessions need recipient_secret"):
            await payment_middleware(shop.app)._open({"type": "http"})
