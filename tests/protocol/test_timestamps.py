"""RFC 3339 date-times: what is written, what is read, what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpp_asgi.protocol import ProtocolError, format_timestamp, parse_timestamp


@given(st.integers(-62_135_596_800, 253_402_300_799))
def test_what_is_written_is_read(seconds: int) -> None:
    text = format_timestamp(seconds)
    assert text.endswith("Z")
    assert len(text) == 20
    assert parse_timestamp(text).timestamp() == seconds


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-22T08:30:00Z", datetime(2026, 11, 22, 8, 30, tzinfo=UTC)),
        ("2026-11-22t08:30:00z", datetime(2026, 11, 22, 8, 30, tzinfo=UTC)),
        ("2026-11-22T08:30:00+00:00", datetime(2026, 11, 22, 8, 30, tzinfo=UTC)),
        ("2026-11-22T08:30:00-00:00", datetime(2026, 11, 22, 8, 30, tzinfo=UTC)),
        ("2026-11-22T08:30:00+05:45", datetime(2026, 11, 22, 2, 45, tzinfo=UTC)),
        ("2026-11-22T23:30:00-01:00", datetime(2026, 11, 23, 0, 30, tzinfo=UTC)),
        ("2026-11-22T08:30:00.5Z", datetime(2026, 11, 22, 8, 30, 0, 500_000, tzinfo=UTC)),
        ("2026-11-22T08:30:00.123456789Z", datetime(2026, 11, 22, 8, 30, 0, 123_456, tzinfo=UTC)),
        ("2028-02-29T00:00:00Z", datetime(2028, 2, 29, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2017-01-01T00:59:60+01:00", datetime(2017, 1, 1, tzinfo=UTC)),
    ],
)
def test_every_form_of_the_rfc_is_read(text: str, moment: datetime) -> None:
    parsed = parse_timestamp(text)
    assert parsed == moment
    assert parsed.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-22",
        "2026-11-22T08:30:00",
        "2026-11-22 08:30:00Z",
        "2026-11-22T08:30Z",
        "2026-11-22T08:30:00.Z",
        "2026-11-22T08:30:00,5Z",
        "2026-11-22T24:00:00Z",
        "2026-11-22T08:60:00Z",
        "2026-11-22T08:30:61Z",
        "2026-13-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "2026-11-22T08:30:00+24:00",
        "2026-11-22T08:30:00+01:60",
        "2026-11-22T08:30:00+0100",
        "2026-11-22T08:30:00Z ",
        "2026-11-22T08:30:00Z\n",
        "٢٠٢٦-11-22T08:30:00Z",
        "-2026-11-22T08:30:00Z",
        "20261122T083000Z",
        "1763800200",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:60Z",
        "9999-12-31T23:59:59-00:01",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_timestamp(text)
    assert caught.value.part == "timestamp"


@pytest.mark.parametrize("seconds", [253_402_300_800, -62_135_596_801, 10**18, 10**30, -(10**30)])
def test_years_that_cannot_be_written_are_refused(seconds: int) -> None:
    with pytest.raises(ProtocolError):
        format_timestamp(seconds)


@given(st.text(max_size=40) | st.from_regex(r"[0-9TtZz:.+-]{0,40}", fullmatch=True))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        moment = parse_timestamp(text)
    except ProtocolError:
        return
    assert moment.tzinfo is UTC
