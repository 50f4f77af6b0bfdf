"""Where the sun is: the sunrise equation, good to about two minutes. No money in here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from math import acos, asin, cos, degrees, radians, sin

J2000 = datetime(2000, 1, 1, 12, tzinfo=UTC)
OBLIQUITY = 23.4397
HORIZON = -0.833
"""Degrees: the sun's upper edge touches the horizon, and the air bends its light."""
FIRST, LAST = date(1900, 1, 1), date(2099, 12, 31)
"""The days that the equation is good for."""
TWILIGHT = -6.0
"""Degrees: below this the street lamps are lit."""


@dataclass(frozen=True, slots=True)
class Place:
    """Degrees north and east."""

    latitude: float
    longitude: float


@dataclass(frozen=True, slots=True)
class Day:
    """One day's sun, in UTC; no sunrise and sunset where it stays up or down."""

    on: date
    noon: datetime
    sunrise: datetime | None
    sunset: datetime | None
    daylight_minutes: int


CITIES = {
    "cairo": Place(30.04, 31.24),
    "helsinki": Place(60.17, 24.94),
    "lima": Place(-12.05, -77.04),
    "nairobi": Place(-1.29, 36.82),
    "paris": Place(48.86, 2.35),
    "reykjavik": Place(64.15, -21.94),
    "sydney": Place(-33.87, 151.21),
    "tokyo": Place(35.68, 139.69),
    "toronto": Place(43.65, -79.38),
}


def day(place: Place, on: date) -> Day:
    """Sunrise, noon and sunset."""
    noon, declination = _noon(place, on)
    half = _half_arc(place, declination, HORIZON)
    minutes = round(half * 8)  # a degree takes the sun four minutes, on either side of noon
    if not 0 < half < 180:
        return Day(on, noon, None, None, minutes)
    to_the_horizon = timedelta(minutes=half * 4)
    return Day(on, noon, noon - to_the_horizon, noon + to_the_horizon, minutes)


def elevation(place: Place, at: datetime) -> float:
    """Degrees above the horizon."""
    noon, declination = _noon(place, at.date())
    angle = radians((at - noon) / timedelta(minutes=4))
    north = radians(place.latitude)
    height = sin(north) * sin(declination) + cos(north) * cos(declination) * cos(angle)
    return degrees(asin(height))


def light(place: Place, at: datetime) -> str:
    """What one sees by."""
    height = elevation(place, at)
    if height > HORIZON:
        return "day"
    return "twilight" if height > TWILIGHT else "night"


def white_nights(place: Place, year: int) -> list[date]:
    """The nights on which it does not get dark."""
    days = (date(year, 1, 1) + timedelta(days=n) for n in range(365))
    return [on for on in days if _half_arc(place, _noon(place, on)[1], TWILIGHT) == 180]


def _noon(place: Place, on: date) -> tuple[datetime, float]:
    """When the sun stands highest, and its declination then, in radians."""
    midday = datetime(on.year, on.month, on.day, 12, tzinfo=UTC)
    days = (midday - J2000) / timedelta(days=1) - place.longitude / 360
    anomaly = radians((357.5291 + 0.98560028 * days) % 360)
    centre = 1.9148 * sin(anomaly) + 0.02 * sin(2 * anomaly) + 0.0003 * sin(3 * anomaly)
    ecliptic = radians((degrees(anomaly) + centre + 180 + 102.9372) % 360)
    transit = days + 0.0053 * sin(anomaly) - 0.0069 * sin(2 * ecliptic)
    declination = asin(sin(ecliptic) * sin(radians(OBLIQUITY)))
    return J2000 + timedelta(days=transit), declination


def _half_arc(place: Place, declination: float, height: float) -> float:
    """Degrees the sky turns between noon and the sun's being at that height: 0 if it is lower all
    day, 180 if it is higher all day."""
    north = radians(place.latitude)
    cosine = (sin(radians(height)) - sin(north) * sin(declination)) / (
        cos(north) * cos(declination)
    )
    return degrees(acos(min(1.0, max(-1.0, cosine))))
