"""How long to wait is the server's word, and any word may come."""

import re
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpp_asgi.client import Patience, PaymentOutcomeUnknownError
from mpp_asgi.client.retries import MOST_ATTEMPTS
from tests.client.mishaps import busy
from tests.client.shop import Shop, credentials_of

NOW = 1_800_000_000.0
"""Fri, 15 Jan 2027 08:00:00 GMT"""


def delay(retry_after: str, *, attempt: int = 1) -> float:
    response = httpx.Response(503, headers={"Retry-After": retry_after.encode("utf-8")})
    return Patience().delay(response, attempt, lambda: NOW)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("3", 3.0),
        (" 0 ", 0.0),
        ("120", 30.0),
        ("9" * 5_000, 30.0),
        ("Fri, 15 Jan 2027 08:00:07 GMT", 7.0),
        ("Fri, 15 Jan 2027 08:00:07 -0000", 7.0),
        ("Fri, 15 Jan 2027 07:59:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 30.0),
        ("Sat, 01 Jan 0100 00:00:00 -0000", 0.0),
    ],
)
def test_what_can_be_read(said: str, seconds: float) -> None:
    assert delay(said) == seconds


@pytest.mark.parametrize(
    "said",
    [
        "",
        "-5",
        "nan",
        "inf",
        "1.5",
        "\u0663",
        "\u00b2",
        "soon",
        "Mon, 01 Jan 99999999999 00:00:00 GMT",
        "Mon, 99 Jan 2027 00:00:00 GMT",
        "Mon, 01 Jan 2027 00:00:00 +99999999999999999999",
    ],
)
def test_what_cannot_be_read(said: str) -> None:
    assert [delay(said, attempt=each) for each in (1, 2, 3)] == [1.0, 2.0, 4.0]


@given(st.text(max_size=40) | st.from_regex(r"\w{3}, \d+ Jan -?\d+ \d+:\d+:\d+ [+-]\d+"))
@settings(deadline=None)
def test_anything(said: str) -> None:
    assert 0.0 <= delay(said.replace("\n", "").replace("\r", "")) <= 30.0


async def test_no_date_loses_a_payment(shop: Shop, payer: Any, fetch: Any) -> None:
    shop.reactions = [busy(503, **{"Retry-After": "Mon, 01 Jan 99999999999 00:00:00 GMT"})]
    assert (await fetch(payer())).status_code == 200
    assert len(shop.payments) == 1


async def test_the_longest_patience_is_not_too_long_for_httpx(
    shop: Shop, payer: Any, fetch: Any
) -> None:
    shop.reactions = [busy(503)] * (MOST_ATTEMPTS - 1)
    auth = payer(patience=Patience(attempts=MOST_ATTEMPTS, longest_wait=0))
    assert (await fetch(auth)).status_code == 200


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"attempts": 0}, "attempts must be from 1 to 20, not 0."),
        ({"attempts": 21}, "attempts must be from 1 to 20, not 21."),
        ({"longest_wait": -1.0}, "longest_wait must be seconds, not -1.0."),
        ({"longest_wait": float("inf")}, "longest_wait must be seconds, not inf."),
        ({"longest_wait": float("nan")}, "longest_wait must be seconds, not nan."),
    ],
)
def test_patience_has_bounds(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        Patience(**settings)


async def test_redirects_without_end_leave_it_open(shop: Shop, payer: Any, fetch: Any) -> None:
    def round_and_round(request: httpx.Request) -> httpx.Response:
        if credentials_of(request) or request.url.path == "/round":
            return httpx.Response(307, headers={"Location": "https://shop.test/round"})
        return shop(request)

    auth = payer()
    with pytest.raises(PaymentOutcomeUnknownError, match="one redirect too many"):
        await fetch(auth, server=round_and_round, follow_redirects=True)
    assert len(auth.unresolved) == 1
