"""Daylight: an API that sells where the sun is.

    uvicorn example_app.main:app

Eight routes, one for each way to price one. Everything about money is in the lines that say
``price`` or ``payment``; the rest is an ordinary FastAPI app.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, HTTPException, Query
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime, BaseModel, Field, ValidationError
from starlette.requests import Request

from example_app import sun
from example_app.sun import Day, Place
from mpp_asgi import PaymentMiddleware, Price, price
from mpp_asgi.fastapi import CurrentPayment

app = FastAPI(title="Daylight", description="Where the sun is, paid by the call.")

# The one line. Play money by default; MPP_NETWORK and the other MPP_* variables make it real.
app.add_middleware(PaymentMiddleware, network=os.environ.get("MPP_NETWORK", "sandbox"))


def place_of(city: str) -> Place:
    """Dependencies run before the payment is taken: an unknown city costs nothing."""
    if city.lower() not in sun.CITIES:
        raise HTTPException(404, f"No such city; there are {', '.join(sun.CITIES)}.")
    return sun.CITIES[city.lower()]


City = Annotated[Place, Depends(place_of)]


class Detail(BaseModel):
    """What FastAPI answers with when something is wrong."""

    detail: str


# For the OpenAPI at /openapi.json. What costs something, and the answers about that, are in it
# without a word here.
NO_SUCH_CITY: dict[int | str, dict[str, Any]] = {404: {"model": Detail}}
EVENTS: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}}}
READINGS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {}, "text/plain": {}}}
}


# 1. Free: no price, no payment, as if the middleware were not there.


@app.get("/")
async def menu() -> dict[str, str]:
    """What there is, and what it costs."""
    return {
        "GET /sun/{city}": "0.01 USDC",
        "GET /calendars/{span}/{city}": "0.02 USDC for a week, 0.05 a month, 0.25 a year",
        "POST /journeys": "0.002 USDC for each stop",
        "GET /live/{city}": "0.02 USDC",
        "GET /white-nights/{city}": "0.03 USDC if there are any",
        "GET /sky/{city}": "0.005 USDC",
        "GET /watch/{city}": "0.001 USDC, and as much for each reading",
    }


# 2. A fixed price.


@app.get("/sun/{city}", responses=NO_SUCH_CITY)
@price("0.01")
async def sun_today(
    place: City, on: Annotated[date | None, Query(ge=sun.FIRST, le=sun.LAST)] = None
) -> Day:
    """Sunrise and sunset, today or on another day."""
    return sun.day(place, on or datetime.now(UTC).date())


# 3. A price by path: a function of the request says it.

CALENDARS = {"week": (7, "0.02"), "month": (31, "0.05"), "year": (365, "0.25")}


def calendar_price(request: Request) -> str | Price:
    """What is not on the list is free, so that FastAPI can refuse it: nobody pays for a 422."""
    _, amount = CALENDARS.get(request.path_params["span"], (0, None))
    return amount or Price.free()


@app.get("/calendars/{span}/{city}", responses=NO_SUCH_CITY)
@price(calendar_price)
def calendar(span: Literal["week", "month", "year"], place: City) -> list[Day]:
    """The coming days. An endpoint may as well be a plain function."""
    days, _ = CALENDARS[span]
    first = datetime.now(UTC).date().toordinal()
    return [sun.day(place, date.fromordinal(first + n)) for n in range(days)]


# 4. A price by what was sent: the function reads the body, and the endpoint still gets it.


class Stop(BaseModel):
    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)
    at: AwareDatetime = Field(
        ge=datetime.combine(sun.FIRST, time.min, UTC), le=datetime.combine(sun.LAST, time.min, UTC)
    )


class Journey(BaseModel):
    stops: list[Stop] = Field(min_length=1, max_length=1000)


async def journey_price(request: Request) -> Decimal | Price:
    try:
        journey = Journey.model_validate_json(await request.body())
    except ValidationError:
        return Price.free()
    return Decimal("0.002") * len(journey.stops)


@app.post("/journeys")
@price(journey_price, description="Daylight at each stop of a journey")
async def journeys(journey: Journey, payment: CurrentPayment) -> dict[str, object]:
    """Day, twilight or night at each stop. The endpoint sees who paid, and how much."""
    lights = [sun.light(Place(stop.latitude, stop.longitude), stop.at) for stop in journey.stops]
    return {"lights": lights, "paid_by": payment and payment.payer}


# 5. A paid stream: nothing of it leaves before the payment is final.


@app.get("/live/{city}", response_class=StreamingResponse, responses=NO_SUCH_CITY | EVENTS)
@price("0.02")
async def live(place: City) -> StreamingResponse:
    """The sun's height, ten times a second for a second, as server-sent events."""

    async def readings() -> AsyncIterator[str]:
        for _ in range(10):
            yield f"data: {sun.elevation(place, datetime.now(UTC)):.4f}\n\n"
            await asyncio.sleep(0.1)

    return StreamingResponse(readings(), media_type="text/event-stream")


# 6. Paid only if there is something to sell: the answer is held until it succeeded and is paid.


@app.get("/white-nights/{city}", responses=NO_SUCH_CITY)
@price("0.03", settle="after")
async def white_nights(place: City) -> dict[str, object]:
    """The nights of this year on which it does not get dark."""
    nights = sun.white_nights(place, datetime.now(UTC).year)
    if not nights:
        raise HTTPException(404, "It gets dark every night.")
    return {"nights": len(nights), "from": nights[0], "until": nights[-1]}


# 7. Something that fails at times: whoever paid asks again with the same payment, for free.

awake: set[Place] = set()


@app.get("/sky/{city}", responses=NO_SUCH_CITY | {503: {"model": Detail}})
@price("0.005")
async def sky(place: City) -> dict[str, object]:
    """Brightness by the sensor on the roof, which naps: its first reading fails."""
    if place not in awake:
        awake.add(place)
        raise HTTPException(503, "The sensor is waking up.", {"Retry-After": "1"})
    awake.remove(place)
    at = datetime.now(UTC)
    return {"at": at, "light": sun.light(place, at)}


# 8. By the unit, as it is delivered: the payer of a session signs for more while it listens.


@app.get("/watch/{city}", response_class=StreamingResponse, responses=NO_SUCH_CITY | READINGS)
@price("0.001")
async def watch(
    place: City, payment: CurrentPayment, readings: Annotated[int, Query(ge=1, le=3600)] = 10
) -> StreamingResponse:
    """The sun's height for as long as it is paid for: each reading costs as much as the request.
    Who pays by charge has one reading for it."""

    async def heights(count: int) -> AsyncIterator[str]:
        for _ in range(count):
            yield f"{sun.elevation(place, datetime.now(UTC)):.4f}"
            await asyncio.sleep(0.02)

    if payment is None or payment.intent != "session":
        return StreamingResponse(heights(1), media_type="text/plain")
    events = payment.meter("0.001").stream(heights(readings))
    return StreamingResponse(events, media_type="text/event-stream")
