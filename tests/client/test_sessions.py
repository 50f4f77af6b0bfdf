"""Paying from a payment channel: when one is opened, what is signed, and what is asked for."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest

from mpp_asgi.client import (
    MemoryChannels,
    PaymentAuth,
    SessionPolicy,
    Status,
    UnacceptableOfferError,
    UnsafeConnectionError,
)
from mpp_asgi.protocol import Secrets
from mpp_asgi.sandbox import Sandbox
from tests.client.session_shop import SessionShop, closing
from tests.client.shop import PAYER, PRICE, USDC, Clock

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
    with pytest.raises(UnacceptableOfferError, match="give channels= or sessions="):
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
