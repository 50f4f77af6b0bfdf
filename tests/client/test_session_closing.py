"""How a payer gets back what it has not spent, with the server and without it."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest

from mpp_asgi.client import PaymentAuth, PaymentNotMadeError, Status
from mpp_asgi.sandbox import Sandbox
from tests.client.session_shop import SessionShop, closing
from tests.client.shop import PAYER, PRICE, URL, USDC, Clock

Payers = Callable[..., PaymentAuth]


@pytest.fixture
def shop(sandbox: Sandbox, clock: Clock) -> SessionShop:
    return SessionShop(sandbox, clock)


async def test_everything_adds_up(
    shop: SessionShop, sandbox: Sandbox, payer: Payers, fetch: Any
) -> None:
    had = sandbox.balance(PAYER.public_key, USDC.address)
    auth = payer(sessions="always")
    for _ in range(3):
        await fetch(auth)
    [closed] = await closing(auth, shop)
    assert closed.status is Status.CLOSED
    assert shop.earned == 3 * PRICE
    assert sandbox.balance(closed.id, USDC.address) == 0
    assert had - sandbox.balance(PAYER.public_key, USDC.address) == 3 * PRICE
    assert auth.spent == {"USDC": Decimal("0.03")}
    assert await closing(auth, shop) == ()
    assert (await fetch(auth)).status_code == 200
    assert [each.status for each in auth.channels] == [Status.CLOSED, Status.OPEN]


def test_closing_without_an_event_loop(shop: SessionShop, payer: Payers) -> None:
    auth = payer(sessions="always")
    with httpx.Client(transport=httpx.MockTransport(shop), auth=auth) as client:
        client.get(URL)
        [channel] = auth.channels
        [closed] = auth.close_sessions(client, channel=channel.id)
        assert closed.owed == shop.earned == PRICE
        with pytest.raises(ValueError, match="no channel"):
            auth.close_sessions(client, channel=USDC.address)


async def test_closing_when_the_challenge_has_ended(
    shop: SessionShop, clock: Clock, payer: Payers, fetch: Any
) -> None:
    auth = payer(sessions="always")
    await fetch(auth)
    clock.now += 100_000
    [closed] = await closing(auth, shop)
    assert closed.owed == PRICE


async def test_what_was_signed_ahead_comes_back(
    shop: SessionShop, payer: Payers, fetch: Any
) -> None:
    shop.details["minVoucherDelta"] = str(4 * PRICE)
    auth = payer(sessions="always")
    for _ in range(5):
        await fetch(auth)
    [account] = shop.accounts.values()
    assert (account.accepted, account.spent) == (8 * PRICE, 5 * PRICE)
    assert auth.spent == {"USDC": Decimal("0.08")}
    [closed] = await closing(auth, shop)
    assert closed.owed == shop.earned == 5 * PRICE
    assert auth.spent == {"USDC": Decimal("0.05")}


async def test_the_way_out_without_the_server(
    shop: SessionShop, sandbox: Sandbox, payer: Payers, fetch: Any
) -> None:
    had = sandbox.balance(PAYER.public_key, USDC.address)
    auth = payer(sessions="always")
    for _ in range(2):
        await fetch(auth)
    [channel] = auth.channels
    shop.settle(channel.id)
    closes_at = await auth.aclose_start(channel.id)
    assert closes_at == sandbox.sequence + channel.waiting_period
    with pytest.raises(PaymentNotMadeError, match="can be taken back from ledger"):
        await auth.arefund(channel.id)
    await fetch(auth)  # from a new channel
    while sandbox.sequence < closes_at:
        sandbox.close_ledger()
    refunded = await auth.arefund(channel.id)
    assert (refunded.status, refunded.owed) == (Status.CLOSED, 2 * PRICE)
    assert shop.earned == 2 * PRICE
    [another] = await closing(auth, shop)
    assert had - sandbox.balance(PAYER.public_key, USDC.address) == shop.earned == 3 * PRICE
    for gone in (channel, another):
        with pytest.raises(PaymentNotMadeError, match="nothing in the channel"):
            await auth.aclose_start(gone.id)


async def test_a_channel_that_nobody_remembers_is_not_lost(
    shop: SessionShop, sandbox: Sandbox, payer: Payers, fetch: Any
) -> None:
    forgetful = payer(sessions="always")
    await fetch(forgetful)
    [channel] = forgetful.channels
    auth = payer()
    closes_at = await auth.aclose_start(channel.id)
    while sandbox.sequence < closes_at:
        sandbox.close_ledger()
    refunded = await auth.arefund(channel.id)
    assert (refunded.status, refunded.owed) == (Status.CLOSED, 0)  # the shop was late
    assert sandbox.balance(PAYER.public_key, USDC.address) == 1_000_000_000
    for nothing in (sandbox.usdc, sandbox.channel_factory, "C"):
        with pytest.raises(ValueError, match=r"no channel|address"):
            await auth.aclose_start(nothing)


def test_the_way_out_without_an_event_loop(
    shop: SessionShop, sandbox: Sandbox, payer: Payers
) -> None:
    auth = payer(sessions="always")
    with httpx.Client(transport=httpx.MockTransport(shop), auth=auth) as client:
        client.get(URL)
    [channel] = auth.channels
    with pytest.raises(PaymentNotMadeError, match="begin with close_start"):
        auth.refund(channel.id)
    closes_at = auth.close_start(channel.id)
    while sandbox.sequence < closes_at:
        sandbox.close_ledger()
    assert auth.refund(channel.id).status is Status.CLOSED
    assert auth.spent == {"USDC": 0}


async def test_closing_takes_the_apps_own_headers_along(shop: SessionShop, payer: Payers) -> None:
    auth = payer(sessions="always")
    transport = httpx.MockTransport(shop)
    headers = {"X-Api-Key": "k", "Authorization": "Bearer x"}
    async with httpx.AsyncClient(transport=transport, auth=auth) as client:
        await client.get(URL)
    async with httpx.AsyncClient(transport=transport, auth=auth, headers=headers) as client:
        await auth.aclose_sessions(client)
    assert shop.actions[-1] == "close"
    assert shop.requests[-1].headers["X-Api-Key"] == "k"
    assert [name.lower() for name, _ in shop.requests[-1].headers.raw].count(b"authorization") == 1
