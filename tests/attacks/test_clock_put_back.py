"""A clock that was wrong for a while: nobody is locked out when it is right again."""

from __future__ import annotations

from mpp_asgi.sandbox import Sandbox
from tests.shop import Time, open_shop

AHEAD = 3_000


async def test_a_clock_that_was_ahead_keeps_no_account_on_loan() -> None:
    time, ahead = Time(), 0
    sandbox = Sandbox(clock=lambda: time.now - ahead, close_interval=1.0)  # the network's is right
    async with open_shop(sandbox=sandbox, time=time) as shop:
        statuses = []
        for nonce, seconds in enumerate((0, AHEAD, 0), 1):
            time.now += seconds - ahead
            ahead = seconds
            challenge, *_ = await shop.challenges()
            credential = shop.payer(nonce).sponsored(challenge, nonce=nonce)
            statuses.append((await shop.show(credential)).status_code)
    assert statuses == [200, 200, 200]
