"""Streams that are paid for while they flow."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from itertools import pairwise
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpp_asgi.client import (
    BudgetExceededError,
    ChannelDisputedError,
    PaymentAuth,
    PaymentError,
    SessionPolicy,
    Status,
    events,
)
from mpp_asgi.client.events import LONGEST_EVENT, EventError, EventReader, ServerEvent
from mpp_asgi.protocol import Credential
from mpp_asgi.sandbox import Sandbox
from tests.client.session_shop import SessionShop, closing
from tests.client.shop import PRICE, URL, Clock

Payers = Callable[..., PaymentAuth]
UNIT = PRICE // 10


class Tokens(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A stream that sells each of its events, and asks for a voucher when there is no headroom."""

    def __init__(self, shop: SessionShop, channel: str, count: int) -> None:
        self.shop = shop
        self.channel = channel
        self.count = count
        self.asked: dict[str, str] = {}
        """Changes to what it asks for."""

    def pieces(self) -> Iterator[bytes]:
        account = self.shop.accounts[self.channel]
        for n in range(self.count):
            if account.accepted - account.spent < UNIT:
                yield self.need(account.spent + UNIT)
            if account.accepted - account.spent < UNIT:
                break
            account.spent += UNIT
            yield f"data: {n}\r\n\r\n".encode()
        yield self.event("receipt", self.shop.figures(self.channel))

    def need(self, required: int) -> bytes:
        figures = self.shop.figures(self.channel)
        figures["requiredCumulative"] = str(required)
        return self.event("need-voucher", figures | self.asked)

    def event(self, name: str, data: dict[str, str]) -> bytes:
        return f"event: payment-{name}\ndata: {json.dumps(data)}\n\n".encode()

    def __iter__(self) -> Iterator[bytes]:
        return self.pieces()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces():
            yield piece


@pytest.fixture
def shop(sandbox: Sandbox, clock: Clock) -> SessionShop:
    return SessionShop(sandbox, clock)


@pytest.fixture(params=["async", "sync"])
def follow(request: pytest.FixtureRequest, shop: SessionShop) -> Any:
    """``await follow(auth, count=…, **settings)``: the stream's events, after a first request."""

    def streaming(count: int, asked: dict[str, str]) -> None:
        def stream(at: httpx.Request, credential: Credential) -> httpx.Response:
            response = shop.honestly_by_session(at, credential)
            tokens = Tokens(shop, str(credential.payload["channelId"]), count)
            tokens.asked = asked
            response.headers["content-type"] = "text/event-stream"
            return httpx.Response(response.status_code, headers=response.headers, stream=tokens)

        shop.reactions = [stream]

    async def asynchronously(
        auth: PaymentAuth, count: int, asked: dict[str, str] | None = None, **limits: Any
    ) -> list[str]:
        async with httpx.AsyncClient(transport=httpx.MockTransport(shop), auth=auth) as client:
            await client.get(URL)
            streaming(count, asked or {})
            async with auth.astream(client, "GET", URL, **limits) as events:
                assert events.response.status_code == 200
                return [event.data async for event in events]

    def blocking(
        auth: PaymentAuth, count: int, asked: dict[str, str] | None = None, **limits: Any
    ) -> list[str]:
        with httpx.Client(transport=httpx.MockTransport(shop), auth=auth) as client:
            client.get(URL)
            streaming(count, asked or {})
            with auth.stream(client, "GET", URL, **limits) as events:
                return [event.data for event in events]

    async def blocking_nevertheless(*args: Any, **limits: Any) -> list[str]:
        return blocking(*args, **limits)

    return asynchronously if request.param == "async" else blocking_nevertheless


ANSWERS = [
    (httpx.Response(404, text="no such stream"), httpx.HTTPStatusError, "404"),
    (httpx.Response(200, json={"not": "a stream"}), httpx.DecodingError, "'application/json'"),
    (httpx.Response(307, headers={"location": "/else"}), httpx.HTTPStatusError, "307"),
]


@pytest.mark.parametrize(("answer", "error", "match"), ANSWERS, ids=lambda value: str(value)[:20])
async def test_what_is_no_stream_is_not_taken_for_an_empty_one(
    payer: Payers, answer: httpx.Response, error: type[Exception], match: str
) -> None:
    def reply(request: httpx.Request) -> httpx.Response:
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    auth, transport = payer(), httpx.MockTransport(reply)
    with (
        httpx.Client(transport=transport) as client,
        auth.stream(client, "GET", URL) as events,
    ):
        with pytest.raises(error, match=match):
            next(iter(events))
        assert events.response.status_code == answer.status_code
    async with (
        httpx.AsyncClient(transport=transport) as client,
        auth.astream(client, "GET", URL) as events,
    ):
        assert await events.response.aread() == answer.content
        with pytest.raises(error, match=match):
            await anext(aiter(events))


async def test_the_wrong_kind_of_client_is_told_the_right_method(payer: Payers) -> None:
    with (
        pytest.raises(TypeError, match=r"write: async with auth\.astream\("),
        payer().stream(httpx.AsyncClient(), "GET", URL),
    ):
        raise AssertionError
    with pytest.raises(TypeError, match=r"write: with auth\.stream\("):
        async with payer().astream(httpx.Client(), "GET", URL):
            raise AssertionError


async def test_a_stream_is_paid_while_it_flows(
    shop: SessionShop, payer: Payers, follow: Any
) -> None:
    auth = payer(sessions="always")
    assert await follow(auth, 25) == [str(n) for n in range(25)]
    # Ten units are signed for at a time, and the price of two requests was before.
    assert [each.method for each in shop.requests] == ["GET", "GET", "GET", "HEAD", "HEAD", "HEAD"]
    [channel] = auth.channels
    assert (channel.signed, channel.owed) == (2 * PRICE + 30 * UNIT, 2 * PRICE + 25 * UNIT)
    [closed] = await closing(auth, shop)
    assert closed.owed == shop.earned == 2 * PRICE + 25 * UNIT
    assert auth.spent == {"USDC": Decimal("0.045")}


async def test_one_unit_at_a_time(shop: SessionShop, payer: Payers, follow: Any) -> None:
    auth = payer(sessions="always")
    assert len(await follow(auth, 5, ahead=1)) == 5
    [channel] = auth.channels
    assert channel.signed == channel.owed == 2 * PRICE + 5 * UNIT


async def test_a_stream_may_need_more_than_there_is(
    shop: SessionShop, sandbox: Sandbox, payer: Payers, follow: Any
) -> None:
    auth = payer(sessions=SessionPolicy(after="always", expected_calls=2))
    assert len(await follow(auth, 25)) == 25
    assert "topUp" in shop.actions
    [channel] = auth.channels
    assert channel.deposit == sandbox.balance(channel.id, sandbox.usdc) == 6 * PRICE


@pytest.mark.parametrize("setting", ["limit", "max_per_request"])
async def test_a_stream_costs_no_more_than_it_may(
    shop: SessionShop, payer: Payers, follow: Any, setting: str
) -> None:
    limits = {"limit": "0.012"} if setting == "limit" else {}
    auth = payer(
        sessions="always", max_per_request="0.012" if setting == "max_per_request" else None
    )
    with pytest.raises(BudgetExceededError, match=r"more than the 0\.012 USDC"):
        await follow(auth, 25, **limits)
    [account] = shop.accounts.values()
    assert account.accepted == account.spent == 2 * PRICE + 12 * UNIT


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"requiredCumulative": str(10**30)}, BudgetExceededError),
        ({"spent": str(10**9)}, ChannelDisputedError),
        ({"acceptedCumulative": str(10**9)}, ChannelDisputedError),
    ],
)
async def test_a_stream_that_asks_too_much(
    shop: SessionShop,
    payer: Payers,
    follow: Any,
    asked: dict[str, str],
    error: type[PaymentError],
) -> None:
    auth = payer(sessions="always")
    with pytest.raises(error):
        await follow(auth, 25, asked)
    assert auth.channels[0].signed == 2 * PRICE


@pytest.mark.parametrize(
    "asked",
    [
        {"channelId": "CAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAD2KM"},
        {"requiredCumulative": "much"},
        {"requiredCumulative": "-1"},
    ],
)
async def test_a_stream_that_asks_for_something_else_gets_nothing(
    shop: SessionShop, payer: Payers, follow: Any, asked: dict[str, str]
) -> None:
    auth = payer(sessions="always")
    assert await follow(auth, 25, asked) == []
    assert (auth.channels[0].status, auth.channels[0].signed) == (Status.OPEN, 2 * PRICE)


# --- events ---------------------------------------------------------------------------------------


def events_in(*pieces: bytes) -> list[ServerEvent]:
    reader = EventReader()
    return [event for piece in pieces for event in reader.feed(piece)]


def test_what_events_look_like() -> None:
    assert events_in(b"\xef\xbb\xbfdata: a\n\n: comment\n\ndata:b\rdata: c\r\revent: e\n") == [
        ServerEvent("a"),
        ServerEvent("b\nc"),
    ]
    assert events_in(b"id: 7\nevent: e\ndata\n\ndata: \xe2\x80\xa8x\r\n\r\n") == [
        ServerEvent("", "e", "7"),
        ServerEvent("\u2028x", "message", "7"),
    ]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from(["data: a", "data:b", "event: e", "", ":", "x"]), max_size=12),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.lists(st.integers(0, 120), max_size=8),
)
def test_it_does_not_matter_how_they_are_cut(lines: list[str], end: str, cuts: list[int]) -> None:
    whole = (end.join(lines) + end * 2 + "data: end\n\n").encode()
    places = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    pieces = [whole[a:b] for a, b in pairwise(places)]
    assert events_in(*pieces) == events_in(whole)


def test_an_event_without_end() -> None:
    with pytest.raises(EventError, match="longer than"):
        events_in(*[b"data: " + b"x" * 1000 + b"\n"] * (LONGEST_EVENT // 1000))


def test_a_long_line_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = []

    class Counting:
        def split(self, text: bytes) -> list[bytes]:
            looked_at.append(len(text))
            return [text]

    monkeypatch.setattr(events, "_LINE_END", Counting())
    reader = EventReader()
    for _ in range(1000):
        assert list(reader.feed(b"x" * 64)) == []
    assert sum(looked_at) == 64_000
