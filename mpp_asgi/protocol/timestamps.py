"""Moments on the wire: RFC 3339 date-times."""

from __future__ import annotations

import functools
import re
from datetime import UTC, datetime, timedelta

from mpp_asgi.protocol.errors import ProtocolError

_DATE_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-5][0-9]|60)"
    r"(?:\.([0-9]+))?(?:[Zz]|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))"
)

_LONGEST_REMEMBERED = 40
"""Characters; a fraction can be of any length, memory not."""


@functools.lru_cache(maxsize=64)
def format_timestamp(unix_seconds: int) -> str:
    """Seconds since 1970 as ``2026-01-29T12:05:00Z``.

    Raises:
        ProtocolError: it is outside the years 1 to 9999.
    """
    try:
        return datetime.fromtimestamp(unix_seconds, UTC).isoformat()[:19] + "Z"
    except (ValueError, OverflowError, OSError):
        raise ProtocolError(
            f"{unix_seconds} seconds since 1970 is outside the years 1 to 9999.", "timestamp"
        ) from None


def parse_timestamp(text: str) -> datetime:
    """The moment an RFC 3339 date-time names, in UTC.

    Takes any offset, ``Z`` or ``z``, fractions of any length (beyond microseconds they are cut
    off) and the leap second ``:60``, which is the next minute's first second.

    Raises:
        ProtocolError: it is anything else, or a date that does not exist.
    """
    return _moment(text) if len(text) <= _LONGEST_REMEMBERED else _moment.__wrapped__(text)


def parse_seconds(text: str) -> int:
    """The Unix second in which the moment of an RFC 3339 date-time lies.

    Raises:
        ProtocolError: as `parse_timestamp`.
    """
    return _seconds(text) if len(text) <= _LONGEST_REMEMBERED else _seconds.__wrapped__(text)


@functools.lru_cache(maxsize=512)
def _seconds(text: str) -> int:
    return int(parse_timestamp(text).timestamp())


@functools.lru_cache(maxsize=512)
def _moment(text: str) -> datetime:
    """Everything that is issued in one second bears the same times."""
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        raise _unreadable()
    *calendar, seconds, fraction, sign, hours, minutes = match.groups()
    year, month, day, hour, minute = map(int, calendar)
    try:
        moment = datetime(year, month, day, hour, minute, tzinfo=UTC)
        moment += timedelta(
            seconds=int(seconds), microseconds=int((fraction or "").ljust(6, "0")[:6])
        )
        if sign:
            offset = timedelta(hours=int(hours), minutes=int(minutes))
            moment = moment - offset if sign == "+" else moment + offset
    except (ValueError, OverflowError):
        raise _unreadable() from None
    return moment


def _unreadable() -> ProtocolError:
    return ProtocolError(
        "The time is not an RFC 3339 date-time such as 2026-01-29T12:05:00Z.", "timestamp"
    )
