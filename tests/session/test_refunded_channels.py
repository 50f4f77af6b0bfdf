"""A channel that its funder has emptied on the ledger sells nothing any more, whoever tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mpp_asgi.stores.channels import ChannelStatus
from tests.session.drawer import CALL, Funder, open_session_shop, problem_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mpp_asgi.protocol import Challenge
    from tests.shop import Shop

FINALIZED = (410, "session/channel-finalized")


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with open_session_shop() as shop:
        yield shop


async def opened(shop: Shop, amount: int) -> tuple[Funder, Challenge]:
    """A channel of which one call was paid, with a voucher for so much."""
    funder = Funder(shop, 1)
    challenge = await funder.challenge()
    response = await shop.show(funder.open(challenge, amount))
    assert response.status_code == 200, response.text
    return funder, challenge


def refund(shop: Shop, funder: Funder) -> None:
    funder.close_start()
    shop.sandbox.close_ledger(17_281)
    shop.time.now += 2
    funder.refund()


async def test_a_close_that_comes_after_the_refund_opens_nothing_again(shop: Shop) -> None:
    funder, challenge = await opened(shop, 5 * CALL)
    refund(shop, funder)
    closing = funder.voucher(challenge, CALL, action="close")
    for _ in range(2):
        assert problem_of(await shop.show(closing)) == FINALIZED
    for amount in (5 * CALL, 6 * CALL):
        assert problem_of(await funder.pay(challenge, amount)) == FINALIZED
    assert (await funder.record()).status is ChannelStatus.CLOSED
    assert len(shop.runs) == 1


async def test_a_close_that_comes_after_the_wish_for_a_refund_is_carried_out(shop: Shop) -> None:
    funder, challenge = await opened(shop, CALL)
    funder.close_start()
    closed = await shop.show(funder.voucher(challenge, CALL, action="close"))
    assert closed.status_code == 204
    assert shop.earned() == CALL


async def test_a_close_that_fails_otherwise_leaves_what_was_seen(shop: Shop) -> None:
    """The node is lost in the middle of it; its funder's wish was seen all the same."""
    funder, challenge = await opened(shop, CALL)
    funder.close_start()
    shop.sandbox.lose_next_answer("simulateTransaction", times=10)
    failed = await shop.show(funder.voucher(challenge, CALL, action="close"))
    assert failed.status_code == 503
    shop.sandbox.lose_next_answer("simulateTransaction", times=0)
    assert (await funder.record()).closes_at is not None
    assert problem_of(await funder.pay(challenge, 2 * CALL)) == FINALIZED
