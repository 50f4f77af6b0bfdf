"""Closing a channel that owes nothing is a favour to its funder: it has its price, as others do."""

from __future__ import annotations

from decimal import Decimal

import pytest

from mpp_asgi.stores.channels import ChannelStatus
from tests.session.drawer import CALL, Funder, open_session_shop, problem_of

LEAST = Decimal("0.0000001")
"""XLM, which no fee is under."""


async def opened_alone(funder: Funder) -> str:
    """A channel that its funder has opened, and that the shop has on record."""
    challenge = await funder.challenge()
    hash_ = funder.open_alone(challenge, amount=2 * CALL)
    shown = funder.voucher(challenge, 0, action="open", type="hash", hash=hash_)
    response = await funder.shop.show(shown, method="HEAD")
    assert response.status_code == 204, response.text
    return funder.channel


@pytest.mark.parametrize("limit", ["sponsor_budget", "sponsor_payer_budget"])
async def test_nothing_is_paid_for_it_beyond_the_budgets(limit: str) -> None:
    async with open_session_shop(**{limit: LEAST}) as shop:
        await shop.challenges()  # has its sponsor funded
        before = shop.sponsor_funds()
        for number in range(1, 4):
            funder = Funder(shop, number)
            await opened_alone(funder)
            challenge = await funder.challenge()
            refused = await shop.show(funder.voucher(challenge, 0, action="close"))
            assert problem_of(refused) == (402, "sponsorship-exhausted")
            assert (await funder.record()).status is ChannelStatus.OPEN
        assert shop.sponsor_funds() == before


async def test_what_is_owed_is_taken_whatever_that_costs() -> None:
    async with open_session_shop(sponsor_budget=LEAST, sponsor_payer_budget=LEAST) as shop:
        funder = Funder(shop, 1)
        await opened_alone(funder)
        challenge = await funder.challenge()
        assert (await funder.pay(challenge, CALL)).status_code == 200
        closed = await shop.show(funder.voucher(challenge, CALL, action="close"))
        assert closed.status_code == 204
        assert shop.earned() == CALL


async def test_it_is_done_as_long_as_the_budgets_last() -> None:
    async with open_session_shop(sponsor_payer_budget=Decimal(1)) as shop:
        funder = Funder(shop, 1)
        await opened_alone(funder)
        challenge = await funder.challenge()
        before = funder.balance()
        closed = await shop.show(funder.voucher(challenge, 0, action="close"))
        assert closed.status_code == 204
        assert funder.balance() == before + 2 * CALL
