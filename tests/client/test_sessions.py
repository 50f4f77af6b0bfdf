"""Paying from a payment channel: when one is opened, what is signed, and what is asked for."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest

from mpp_asgi.client import (
    BudgetExceededError,
    MemoryChannels,
    PaymentAuth,
    PaymentNotMadeError,
    SessionPolicy,
    Status,
    TransferFailedError,
    UnacceptableOfferError,
    UnsafeConnectionError,
)
from mpp_asgi.protocol import Secrets
from mpp_asgi.sandbox import Sandbox
from tests.client.session_shop import SessionShop
from tests.client.shop import PAYER, PRICE, URL, USDC, Clock

Payers = Callable[..., PaymentAuth]


@pytest.fixture
def shop(sandbox: Sandbox, clock: Clock) -> SessionShop:
    return SessionShop(sandbox, clock)


def at(path: str) -> str:
    return f"https://shop.test{path}"


# --- the way --------------------------------------------------------------------------------------


async def test_ten_calls_take_one_transaction_and_one_402(
    shop: SessionShop, payer: Payers, fetch: Any
) -> None:
    auth = payer(sessions="always")
    for _ in range(10):
        response = await fetch(auth)
        assert response.json() == {"weather": "fine"}
    assert shop.actions == ["open"] + 9 * ["voucher"]
    assert len(shop.requests) == 11
    assert auth.spent == {"USDC": Decimal("0.10")}
    [account] = shop.accounts.values()
    assert (account.accepted, account.spent) == (10 * PRICE, 10 * PRICE)
    [channel] = auth.channels
    assert (channel.signed, channel.owed, channel.deposit) == (10 * PRICE, 10 * PRICE, 10 * PRICE)


async def test_vouchers_take_no_call_to_the_ledger(
    shop: SessionShop, sandbox: Sandbox, payer: Payers, fetch: Any
) -> None:
    calls: list[str] = []

    def rpc(request: dict[str, Any]) -> Any:
        calls.append(request["method"])
        return sandbox.rpc(request)

    auth = payer(sessions="always", rpc=rpc)
    await fetch(auth)
    calls.clear()
    for _ in range(5):
        await fetch(auth)
    assert calls == []


@pytest.mark.parametrize("kind", ["factory", "code"])
@pytest.mark.parametrize("way", ["sponsored", "unsponsored", "push"])
async def test_every_way_to_open(
    shop: SessionShop, sandbox: Sandbox, payer: Payers, fetch: Any, kind: str, way: str
) -> None:
    shop.details["feePayer"] = way == "sponsored"
    factories = [sandbox.channel_factory] if kind == "factory" else []
    auth = payer(
        sessions=SessionPolicy(after="always", factories=factories, expected_calls=5),
        mode="push" if way == "push" else "pull",
    )
    xlm = sandbox.balance(PAYER.public_key, sandbox.xlm)
    for _ in range(2):
        assert (await fetch(auth)).status_code == 200
    assert (sandbox.balance(PAYER.public_key, sandbox.xlm) == xlm) is (way == "sponsored")
    [channel] = auth.channels
    assert channel.status is Status.OPEN
    assert sandbox.balance(channel.id, USDC.address) == 5 * PRICE
    assert shop.actions == ["open", "voucher"]
    [closed] = await closing(auth, shop)
    assert closed.owed == shop.earned == 2 * PRICE
    assert sandbox.balance(PAYER.public_key, USDC.address) == 1_000_000_000 - 2 * PRICE


async def test_the_credential_is_seen_by_the_shop_alone(
    shop: SessionShop, payer: Payers, fetch: Any
) -> None:
    auth = payer(sessions="always")
    for _ in range(2):
        response = await fetch(auth)
        assert "Authorization" not in response.request.headers
        assert "Payment-Session" not in response.request.headers


# --- the rule -------------------------------------------------------------------------------------


async def test_the_third_payment_shows_that_a_channel_is_worth_while(
    shop: SessionShop, payer: Payers, fetch: Any
) -> None:
    shop.charges = True
    auth = payer(channels=MemoryChannels())
    for _ in range(6):
        await fetch(auth)
    assert shop.actions == ["open", "voucher", "voucher"]
    assert shop.earned == 3 * PRICE
    assert auth.spent == {"USDC": Decimal("0.06")}


@pytest.mark.parametrize(
    ("sessions", "actions"),
    [
        ("never", []),
        ("always", ["open", "voucher"]),
        (1, ["open"]),
        (2, []),
        (SessionPolicy(expected_calls=2), []),
        (SessionPolicy(expected_calls=3), ["open", "voucher"]),
    ],
)
async def test_the_rule_is_the_users(
    shop: SessionShop, payer: Payers, fetch: Any, sessions: Any, actions: list[str]
) -> None:
    shop.charges = True
    auth = payer(sessions=sessions)
    for _ in range(2):
        await fetch(auth)
    assert shop.actions == actions
    assert auth.spent == {"USDC": Decimal("0.02")}


async def test_nobody_opens_a_channel_who_did_not_say_where_to_remember_it(
    shop: SessionShop, payer: Payers, fetch: Any
) -> None:
    with pytest.raises(UnacceptableOfferError, match="this payer does stellar/charge"):
        await fetch(payer())
    shop.charges = True
    auth = payer()
    for _ in range(5):
        await fetch(auth)
    assert shop.actions == []


async def test_a_server_without_charges_gets_a_channel_at_once(
    shop: SessionShop, payer: Payers, fetch: Any
) -> None:
    await fetch(payer(channels=MemoryChannels()))
    assert shop.actions == ["open"]


# --- deposits -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "suggested", "deposit"),
    [
        ({}, 10 * PRICE, 10 * PRICE),
        ({}, None, 100 * PRICE),
        ({}, 10**30, 100 * PRICE),  # the budget is 1 USDC
        ({"expected_calls": 7}, 10 * PRICE, 7 * PRICE),
        ({"max_deposit": "0.05"}, 10 * PRICE, 5 * PRICE),
        ({"max_deposit": {"USDC": "0.05"}, "expected_calls": 7}, None, 5 * PRICE),
    ],
)
async def test_what_is_put_in(
    shop: SessionShop,
    payer: Payers,
    fetch: Any,
    settings: dict[str, Any],
    suggested: int | None,
    deposit: int,
) -> None:
    if suggested is None:
        del shop.session_request["suggestedDeposit"]
    else:
        shop.session_request["suggestedDeposit"] = str(suggested)
    auth = payer(sessions=SessionPolicy(after="always", **settings))
    await fetch(auth)
    assert [each.deposit for each in auth.channels] == [deposit]


async def test_topping_up(shop: SessionShop, sandbox: Sandbox, payer: Payers, fetch: Any) -> None:
    auth = payer(sessions=SessionPolicy(after="always", expected_calls=2))
    for _ in range(5):
        assert (await fetch(auth)).status_code == 200
    assert shop.actions == ["open", "voucher", "topUp", "voucher", "voucher", "topUp", "voucher"]
    [channel] = auth.channels
    assert channel.deposit == sandbox.balance(channel.id, USDC.address) == 6 * PRICE
    assert len(shop.unpaid_requests()) == 1


@pytest.mark.parametrize("way", ["unsponsored", "push"])
async def test_topping_up_at_ones_own_expense(
    shop: SessionShop, sandbox: Sandbox, payer: Payers, fetch: Any, way: str
) -> None:
    shop.details["feePayer"] = False
    auth = payer(
        sessions=SessionPolicy(after="always", expected_calls=1),
        mode="push" if way == "push" else "pull",
    )
    for _ in range(2):
        await fetch(auth)
    [channel] = auth.channels
    assert channel.deposit == sandbox.balance(channel.id, USDC.address) == 2 * PRICE


async def test_what_may_be_locked_up_bounds_all_channels_together(
    shop: SessionShop, payer: Payers, fetch: Any
) -> None:
    policy = SessionPolicy(after="always", expected_calls=2, max_deposit="0.05")
    auth = payer(sessions=policy)
    for host in ("a.test", "b.test", "c.test"):
        await fetch(auth, url=f"https://{host}/forecast")
    assert [each.deposit for each in auth.channels] == [2 * PRICE, 2 * PRICE, PRICE]
    with pytest.raises(BudgetExceededError, match="locked up"):
        await fetch(auth, url="https://d.test/forecast")
    await fetch(auth, url="https://a.test/forecast")
    with pytest.raises(BudgetExceededError, match="used up"):
        await fetch(auth, url="https://a.test/forecast")


async def test_the_budget_bounds_what_is_signed_away(
    shop: SessionShop, payer: Payers, fetch: Any
) -> None:
    auth = payer(sessions=SessionPolicy(after="always", max_deposit="9"), budget="0.03")
    for _ in range(3):
        await fetch(auth)
    with pytest.raises(BudgetExceededError):
        await fetch(auth)
    [account] = shop.accounts.values()
    assert account.accepted == 3 * PRICE


async def test_a_deposit_that_is_not_there_is_not_promised(
    shop: SessionShop, payer: Payers, fetch: Any
) -> None:
    shop.burn_all_of_the_payers()
    auth = payer(sessions="always")
    with pytest.raises(TransferFailedError, match="balance does not cover it"):
        await fetch(auth)
    assert auth.channels == ()
    assert shop.actions == []


# --- prices ---------------------------------------------------------------------------------------


async def test_siblings_are_taken_to_cost_the_same(
    shop: SessionShop, payer: Payers, fetch: Any
) -> None:
    auth = payer(sessions="always")
    for city in ("paris", "oslo", "rome"):
        await fetch(auth, url=at(f"/forecast/{city}"))
    assert len(shop.unpaid_requests()) == 1
    await fetch(auth, url=at("/news"))  # at the root nothing is guessed
    await fetch(auth, url=at("/weather"))
    assert len(shop.unpaid_requests()) == 3


async def test_another_price_is_learnt(shop: SessionShop, payer: Payers, fetch: Any) -> None:
    shop.prices = {"/forecast/rome": 3 * PRICE}
    auth = payer(sessions="always")
    for city in ("paris", "rome", "rome", "paris"):
        assert (await fetch(auth, url=at(f"/forecast/{city}"))).status_code == 200
    [account] = shop.accounts.values()
    assert (account.accepted, account.spent) == (8 * PRICE, 8 * PRICE)
    assert len(shop.unpaid_requests()) == 1
    assert auth.spent == {"USDC": Decimal("0.08")}


async def test_a_sibling_that_is_free_costs_nothing(
    shop: SessionShop, payer: Payers, fetch: Any
) -> None:
    shop.free = {"/forecast/status"}
    auth = payer(sessions="always")
    await fetch(auth, url=at("/forecast/paris"))
    for _ in range(3):
        assert (await fetch(auth, url=at("/forecast/status"))).text == "free"
    await fetch(auth, url=at("/forecast/paris"))
    [account] = shop.accounts.values()
    assert (account.accepted, account.spent) == (2 * PRICE, 2 * PRICE)
    assert auth.spent == {"USDC": Decimal("0.02")}


async def test_an_own_authorization_is_not_replaced(
    shop: SessionShop, payer: Payers, fetch: Any
) -> None:
    auth = payer(sessions="always")
    await fetch(auth)
    with pytest.raises(UnacceptableOfferError, match="own Authorization"):
        await fetch(auth, headers={"Authorization": "Bearer x"})
    assert shop.requests[-1].headers["Authorization"] == "Bearer x"


async def test_a_challenge_is_renewed_before_it_ends(
    shop: SessionShop, clock: Clock, payer: Payers, fetch: Any
) -> None:
    auth = payer(sessions="always")
    for _ in range(5):
        await fetch(auth)
        clock.now += shop.session_seconds - 100
        await fetch(auth)
    assert len(shop.unpaid_requests()) == 1


async def test_a_challenge_that_has_ended_is_asked_for_again(
    shop: SessionShop, clock: Clock, payer: Payers, fetch: Any
) -> None:
    auth = payer(sessions="always")
    await fetch(auth)
    clock.now += 2 * shop.session_seconds
    await fetch(auth)
    assert len(shop.unpaid_requests()) == 2
    assert shop.actions == ["open", "voucher"]


async def test_a_secret_that_was_changed_costs_one_more_trip(
    shop: SessionShop, payer: Payers, fetch: Any
) -> None:
    auth = payer(sessions="always")
    await fetch(auth)
    shop.secrets = Secrets("another secret of the shop, long enough for it")
    await fetch(auth)
    assert shop.actions == ["open", "voucher", "voucher"]
    [account] = shop.accounts.values()
    assert account.accepted == 2 * PRICE


# --- where vouchers go ----------------------------------------------------------------------------


async def test_no_voucher_goes_elsewhere(shop: SessionShop, payer: Payers, fetch: Any) -> None:
    auth = payer(sessions="always")
    await fetch(auth)
    for url in ("https://elsewhere.test/forecast", "https://shop.test:8443/forecast"):
        await fetch(auth, url=url)
    assert shop.actions == ["open", "open", "open"]
    assert len({each.place.origin for each in auth.channels}) == 3
    with pytest.raises(UnsafeConnectionError):
        await fetch(auth, url="http://shop.test/forecast")


async def test_a_redirect_carries_no_voucher(shop: SessionShop, payer: Payers, fetch: Any) -> None:
    auth = payer(sessions="always")
    await fetch(auth)
    moved: list[httpx.Request] = []

    def moving(request: httpx.Request) -> httpx.Response:
        if request.url.host == "shop.test":
            return httpx.Response(307, headers={"Location": "https://thief.test/"})
        moved.append(request)
        return httpx.Response(200, text="hello")

    await fetch(auth, server=moving, follow_redirects=True)
    [seen] = moved
    assert {b"authorization", b"payment-session"}.isdisjoint(
        name.lower() for name, _ in seen.headers.raw
    )


# --- closing --------------------------------------------------------------------------------------


async def closing(auth: PaymentAuth, shop: SessionShop) -> Any:
    async with httpx.AsyncClient(transport=httpx.MockTransport(shop), auth=auth) as client:
        return await auth.aclose_sessions(client)


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
