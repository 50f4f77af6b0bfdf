"""A16: a channel that its funder pulls away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mpp_asgi.sandbox import Sandbox
from tests.session.attack import attacked_shop, is_no_customer, nothing_leaked, opened
from tests.session.drawer import (
    CALL,
    DEPOSIT,
    Funder,
    open_session_shop,
    problem_of,
)
from tests.session.watchtower import until
from tests.shop import Time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.shop import Shop


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with attacked_shop() as shop:
        yield shop


async def test_a_server_that_was_down_loses_nothing(tmp_path: Path) -> None:
    """The funder closes while nobody is there, and the server is back before the refund."""
    time = Time()
    settings = {
        "sandbox": Sandbox(clock=time, close_interval=1.0),
        "time": time,
        "store": f"sqlite:///{tmp_path}/store.db",
        "min_refund_waiting_period": 100,
    }
    async with open_session_shop(**settings) as shop:
        funder, challenge = await opened(shop)
        before = funder.balance() + DEPOSIT
        for number in range(2, 7):
            assert (await funder.pay(challenge, number * CALL)).status_code == 200
        served = len(shop.runs)
    funder.close_start()
    shop.sandbox.close_ledger(60)
    assert shop.earned() == 0
    async with open_session_shop(**settings) as again:
        await again.challenges()  # the server is up
        await until(lambda: again.earned() > 0)
        again.sandbox.close_ledger(50)
        funder.refund()
        late = await again.show(funder.voucher(challenge, 7 * CALL))
        assert problem_of(late) == (410, "session/channel-finalized")
        nothing_leaked("A16, away for a while", served=served, owed=again.earned())
        assert again.runs == []
        assert funder.balance() == before - served * CALL


async def test_a_channel_that_closes_is_not_taken(shop: Shop) -> None:
    funder = Funder(shop, 1)
    challenge = await funder.challenge()
    hash_ = funder.open_alone(challenge)
    funder.close_start()
    shown = funder.voucher(challenge, CALL, action="open", type="hash", hash=hash_)
    assert problem_of(await shop.show(shown)) == (410, "session/channel-finalized")
    await is_no_customer(funder, challenge)
    nothing_leaked("A16, closing before it is shown", served=len(shop.runs), owed=0)


@pytest.mark.parametrize("refunds", [False, True])
async def test_once_seen_a_channel_that_closes_takes_nothing(shop: Shop, *, refunds: bool) -> None:
    funder, challenge = await opened(shop)
    funder.close_start()
    if refunds:
        shop.sandbox.close_ledger(17_281)
        shop.time.now += 2
        funder.refund()
    # Beyond what is known to be deposited: this has the ledger looked at.
    seen = await funder.pay(challenge, DEPOSIT + 1)
    assert problem_of(seen) == (410, "session/channel-finalized")
    for amount in (2 * CALL, DEPOSIT):
        refused = await funder.pay(challenge, amount)
        assert problem_of(refused) == (410, "session/channel-finalized")
    topping_up = await shop.show(funder.top_up(challenge, CALL))
    assert problem_of(topping_up) == (410, "session/channel-finalized")
    nothing_leaked("A16, closing and seen", served=len(shop.runs), owed=CALL)


async def test_closing_in_time_saves_what_is_owed(shop: Shop) -> None:
    """The funder announces a refund; a close through the server still pays the server first."""
    funder, challenge = await opened(shop)
    assert (await funder.pay(challenge, 5 * CALL)).status_code == 200
    funder.close_start()
    closed = await shop.show(funder.voucher(challenge, 2 * CALL, action="close"))
    assert closed.status_code == 204, closed.text
    assert shop.earned() == 2 * CALL
    nothing_leaked("A16, closed in time", served=len(shop.runs), owed=shop.earned())
