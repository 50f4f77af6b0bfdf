"""What a handler draws from the payment that admitted its request, over HTTP."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse

from mpp_asgi import PriceError, price
from mpp_asgi.fastapi import CurrentPayment  # noqa: TC001 # FastAPI reads it at run time
from mpp_asgi.metering import HeadroomError, Meter, MeteringError
from mpp_asgi.protocol import Challenge
from mpp_asgi.stores.contract import StoreUnavailableError
from tests.session.drawer import (
    CALL,
    Drawer,
    open_session_shop,
    problem_of,
    receipt_of,
    session_challenge,
)
from tests.session.stand import ENTRY, UNIT, Stand, all_is_booked, open_stand

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Handler = Callable[[Meter], Awaitable[Any]]


@pytest.fixture(params=["memory://", "sqlite"])
async def stand(request: pytest.FixtureRequest, tmp_path: Any) -> AsyncIterator[Stand]:
    store = request.param if "://" in request.param else f"sqlite:///{tmp_path}/store.db"
    async with open_stand(store=store) as stand:
        yield stand


async def ask(stand: Stand, handler: Handler, units: int = 10) -> tuple[Drawer, Any]:
    """Request a route with this handler, by a voucher for so many units beyond the entry."""

    @stand.shop.app.get("/work")
    @price("0.01", intents=["session"])
    async def work(payment: CurrentPayment) -> Any:
        assert payment is not None
        return await handler(payment.meter("0.0001"))

    drawer = await stand.drawer()
    challenge = await drawer.challenge("/work")
    return drawer, await drawer.pay(challenge, ENTRY + units * UNIT, "/work")


async def cost(drawer: Drawer) -> tuple[int, int]:
    """What was spent, and the units of it."""
    await all_is_booked(drawer.shop)
    record = await drawer.record()
    return record.spent, record.units


async def test_what_is_committed_is_charged_and_the_rest_given_back(stand: Stand) -> None:
    async def handler(meter: Meter) -> str:
        reserved = await meter.reserve(8)
        assert reserved.units == 8
        await reserved.commit(3)
        assert reserved.units == 0
        return "done"

    drawer, response = await ask(stand, handler)
    assert response.json() == "done"
    assert await cost(drawer) == (ENTRY + 3 * UNIT, 4)
    receipt = receipt_of(response)
    assert (receipt["spent"], receipt["units"]) == (str(ENTRY + 3 * UNIT), 4)


async def test_what_is_reserved_is_spent_before_the_work_is_done(stand: Stand) -> None:
    during = []

    async def handler(meter: Meter) -> None:
        await meter.reserve(2)
        found = await stand.shop.store.channel(stand.shop.runs.pop())
        during.append(found)

    drawer = await stand.drawer()
    stand.shop.runs.append(drawer.channel)
    await ask(stand, handler)
    assert during[0] is not None
    assert during[0].spent == ENTRY + 2 * UNIT


async def test_what_is_not_given_back_is_charged(stand: Stand) -> None:
    async def handler(meter: Meter) -> None:
        await meter.reserve()
        await meter.reserve(2)

    drawer, response = await ask(stand, handler)
    assert response.status_code == 200
    assert await cost(drawer) == (ENTRY + 3 * UNIT, 4)


@pytest.mark.parametrize(("fails", "charged"), [(False, 4), (True, 0)])
async def test_a_context_charges_unless_it_fails(stand: Stand, fails: bool, charged: int) -> None:
    async def handler(meter: Meter) -> None:
        with suppress(LookupError):
            async with await meter.reserve(4):
                if fails:
                    raise LookupError

    drawer, response = await ask(stand, handler)
    assert response.status_code == 200
    assert await cost(drawer) == (ENTRY + charged * UNIT, 1 + charged)


async def test_a_context_keeps_to_what_was_committed_in_it(stand: Stand) -> None:
    async def handler(meter: Meter) -> None:
        async with await meter.reserve(4) as reserved:
            await reserved.commit(0)

    drawer, _ = await ask(stand, handler)
    assert await cost(drawer) == (ENTRY, 1)


async def test_a_handler_that_fails_costs_nothing_whatever_it_committed(stand: Stand) -> None:
    async def handler(meter: Meter) -> None:
        await (await meter.reserve(3)).commit()
        await meter.reserve(2)
        raise RuntimeError("and then it fails")

    drawer, response = await ask(stand, handler)
    assert response.status_code == 500
    assert await cost(drawer) == (0, 0)
    assert (await drawer.record()).accepted == ENTRY + 10 * UNIT


async def test_too_little_headroom_is_a_402_that_says_what_is_missing(stand: Stand) -> None:
    async def handler(meter: Meter) -> None:
        await (await meter.reserve(3)).commit()
        await meter.reserve(9)

    drawer, response = await ask(stand, handler)
    assert problem_of(response) == (402, "session/insufficient-balance")
    body = response.json()
    assert body["requiredTopUp"] == str(2 * UNIT)
    assert (body["spent"], body["acceptedCumulative"]) == ("0", str(ENTRY + 10 * UNIT))
    assert await cost(drawer) == (0, 0)
    challenge = session_challenge(
        Challenge.all_from_headers(response.headers.get_list("www-authenticate"))
    )
    again = await drawer.pay(challenge, ENTRY + 12 * UNIT, "/work")  # as much as it said
    assert again.status_code == 200
    assert await cost(drawer) == (ENTRY + 12 * UNIT, 13)


async def test_a_handler_may_do_with_less(stand: Stand) -> None:
    async def handler(meter: Meter) -> str:
        with pytest.raises(HeadroomError) as short:
            await meter.reserve(11)
        assert short.value.shortage["requiredCumulative"] == str(ENTRY + 11 * UNIT)
        await meter.reserve(10)
        return "a short answer"

    drawer, response = await ask(stand, handler)
    assert response.json() == "a short answer"
    assert await cost(drawer) == (ENTRY + 10 * UNIT, 11)


async def test_a_channel_that_is_closed_meanwhile_is_said_to_be(stand: Stand) -> None:
    async def handler(meter: Meter) -> None:
        await close(stand, await stand.drawer())
        await meter.reserve()

    drawer, response = await ask(stand, handler)
    assert problem_of(response) == (410, "session/channel-finalized")
    assert await cost(drawer) == (0, 0)


async def close(stand: Stand, drawer: Drawer) -> None:
    record = await drawer.record()
    begun = await stand.shop.store.begin_close(
        drawer.channel, amount=record.spent, signature=drawer.sign(record.spent), now=1
    )
    assert begun.outcome == "begun"


async def test_a_higher_voucher_that_comes_in_meanwhile_counts(stand: Stand) -> None:
    async def handler(meter: Meter) -> None:
        drawer = await stand.drawer()
        challenge = await drawer.challenge("/work")
        raised = await drawer.pay(challenge, ENTRY + 20 * UNIT, "/work", method="HEAD")
        assert raised.status_code == 204
        await meter.reserve(20)

    drawer, response = await ask(stand, handler)
    assert response.status_code == 200
    assert await cost(drawer) == (ENTRY + 20 * UNIT, 21)


async def test_a_store_that_fails_is_our_fault(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unavailable(*_: Any, **__: Any) -> None:
        raise StoreUnavailableError("it is away")

    async def handler(meter: Meter) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(type(stand.shop.store), "spend", unavailable)
            await meter.reserve()

    drawer, response = await ask(stand, handler)
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) > 0
    assert await cost(drawer) == (0, 0)


async def test_a_reservation_ends_once_and_holds_no_more_than_it_has(stand: Stand) -> None:
    async def handler(meter: Meter) -> None:
        reserved = await meter.reserve(2)
        for wrong in (3, -1):
            with pytest.raises(ValueError, match="2 units are reserved"):
                await reserved.commit(wrong)
        await reserved.commit(1)
        with pytest.raises(RuntimeError, match="once"):
            await reserved.commit(1)
        for none in (0, -1):
            with pytest.raises(ValueError, match="positive"):
                await meter.reserve(none)

    drawer, response = await ask(stand, handler)
    assert response.status_code == 200
    assert await cost(drawer) == (ENTRY + UNIT, 2)


@pytest.mark.parametrize("wrong", [2.5, 1.0, Decimal(1), "1"], ids=repr)
async def test_units_are_whole(stand: Stand, wrong: Any) -> None:
    """Half of one, written down, would be a record that nobody can read."""

    async def handler(meter: Meter) -> None:
        with pytest.raises(TypeError, match="units are whole numbers"):
            await meter.reserve(wrong)
        reserved = await meter.reserve(3)
        with pytest.raises(TypeError, match="units are whole numbers"):
            await reserved.commit(wrong)
        await reserved.commit(Couple())  # type: ignore[arg-type] # as integers of other libraries
        await (await meter.reserve(True)).commit()
        with pytest.raises(TypeError, match="units are whole numbers"):
            async for _ in meter.stream(words(), units=lambda _: wrong):
                pass

    drawer, response = await ask(stand, handler)
    assert response.status_code == 200
    assert await cost(drawer) == (ENTRY + 3 * UNIT, 4)


async def words() -> AsyncIterator[str]:
    yield "word"


class Couple:
    """An integer of some other kind."""

    def __index__(self) -> int:
        return 2


async def test_what_is_drawn_when_the_response_has_left_is_given_back(stand: Stand) -> None:
    """By work of the handler's own that its response did not wait for."""
    spent, answered = asyncio.Event(), asyncio.Event()
    drawing: list[asyncio.Task[Any]] = []

    async def handler(meter: Meter) -> str:
        store = stand.shop.store
        spend = store.spend

        async def slow(*args: Any, **terms: Any) -> Any:
            result = await spend(*args, **terms)
            spent.set()
            await answered.wait()
            return result

        store.spend = slow  # type: ignore[method-assign]
        drawing.append(asyncio.ensure_future(meter.reserve(5)))
        await spent.wait()
        store.spend = spend  # type: ignore[method-assign]
        return "done"

    drawer, response = await ask(stand, handler)
    assert response.status_code == 200
    assert (await drawer.record()).spent == ENTRY + 5 * UNIT
    answered.set()
    with pytest.raises(MeteringError):
        await drawing[0]
    assert await cost(drawer) == (ENTRY, 1)


async def test_a_response_that_is_given_up_before_it_begins_costs_nothing(stand: Stand) -> None:
    """A time limit strikes while its receipt is made out."""
    reading = asyncio.Event()

    async def never(channel_id: str) -> None:
        reading.set()
        await asyncio.Event().wait()

    @stand.shop.app.get("/work")
    @price("0.01", intents=["session"])
    async def work(payment: CurrentPayment) -> str:
        assert payment is not None
        await (await payment.meter("0.0001").reserve(3)).commit()
        stand.shop.store.channel = never  # type: ignore[method-assign, assignment]
        return "work"

    drawer = await stand.drawer()
    challenge = await drawer.challenge("/work")
    line = stand.listen(drawer.voucher(challenge, ENTRY + 3 * UNIT).to_header(), "/work")
    await reading.wait()
    line.task.cancel()
    await line.end()
    del stand.shop.store.channel
    assert (line.status, line.body) == (0, b"")
    assert await cost(drawer) == (0, 0)


async def test_a_meter_ends_with_its_response(stand: Stand) -> None:
    afterwards: list[BaseException] = []

    async def handler(meter: Meter) -> JSONResponse:
        async def afterwork() -> None:
            try:
                await meter.reserve()
            except MeteringError as error:
                afterwards.append(error)

        return JSONResponse("done", background=BackgroundTask(afterwork))

    drawer, _ = await ask(stand, handler)
    assert len(afterwards) == 1
    assert await cost(drawer) == (ENTRY, 1)


@pytest.mark.parametrize("wrong", ["0.00000001", 0.5, "0", "-1", "cheap"])
async def test_a_unit_price_is_exact(stand: Stand, wrong: Any) -> None:
    refused: list[str] = []

    @stand.shop.app.get("/work")
    @price("0.01")
    async def work(payment: CurrentPayment) -> None:
        assert payment is not None
        for exact in ("0.0000001", Decimal("0.0000001"), 1):
            payment.meter(exact)
        with pytest.raises(PriceError):
            payment.meter(wrong)
        refused.append(wrong)

    drawer = await stand.drawer()
    await drawer.pay(await drawer.challenge("/work"), CALL, "/work")
    assert refused == [wrong]


async def test_a_charge_cannot_be_metered() -> None:
    said: list[str] = []
    async with open_session_shop() as shop:

        @shop.app.get("/work")
        @price("0.01")
        async def work(payment: CurrentPayment) -> None:
            assert payment is not None
            with pytest.raises(MeteringError, match="metering needs a session") as error:
                payment.meter("0.0001")
            said.append(str(error.value))

        charge = next(c for c in await shop.challenges("/work") if c.intent == "charge")
        response = await shop.show(shop.payer().sponsored(charge), "/work")
        assert response.status_code == 200
    assert len(said) == 1


@pytest.mark.parametrize("intents", ["session", []])
def test_which_ways_to_pay_are_offered_is_a_list(intents: Any) -> None:
    with pytest.raises(PriceError, match="intents"):
        price("0.01", intents=intents)


async def test_a_source_that_is_not_async_is_told_at_once(stand: Stand) -> None:
    sources = [["item"], (each for each in "ab"), "text"]

    async def handler(meter: Meter) -> int:
        for source in sources:
            with pytest.raises(TypeError, match="a stream is sold from an async iterator, not"):
                meter.stream(source)  # type: ignore[arg-type]
        return len(sources)

    _, response = await ask(stand, handler)
    assert response.json() == len(sources)
