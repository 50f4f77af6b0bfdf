"""Paying from a payment channel: when one is opened, what is signed, and what is asked for."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from mpp_asgi.client import PaymentAuth
from mpp_asgi.sandbox import Sandbox
from tests.client.session_shop import PRICE, SessionShop
from tests.client.shop import Clock


@pytest.fixture
def shop(sandbox: Sandbox, clock: Clock) -> SessionShop:
    return SessionShop(sandbox, clock)


async def test_ten_calls_cost_one_transaction(
    shop: SessionShop, payer: Callable[..., PaymentAuth], fetch: Any
) -> None:
    auth = payer(sessions="always")
    for _ in range(10):
        response = await fetch(auth)
        assert response.json() == {"weather": "fine"}
    assert shop.actions == ["open"] + 9 * ["voucher"]
    assert len(shop.unpaid_requests()) == 1
    assert auth.spent == {"USDC": Decimal("0.10")}
    [account] = shop.accounts.values()
    assert (account.accepted, account.spent, account.deposit) == (
        10 * PRICE,
        10 * PRICE,
        10 * PRICE,
    )
