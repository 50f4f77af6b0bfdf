"""What a payer puts into its channels, and where that ends."""

from collections.abc import Callable
from typing import Any

import pytest

from mpp_asgi.client import BudgetExceededError, PaymentAuth, SessionPolicy, TransferFailedError
from mpp_asgi.sandbox import Sandbox
from tests.client.session_shop import SessionShop
from tests.client.shop import PRICE, USDC, Clock

Payers = Callable[..., PaymentAuth]


@pytest.fixture
def shop(sandbox: Sandbox, clock: Clock) -> SessionShop:
    return SessionShop(sandbox, clock)


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
