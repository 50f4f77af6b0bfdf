"""A server that sells sessions guards what it has earned, from its start to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.session.drawer import CALL, DEPOSIT, Funder, open_session_shop, session_challenge
from tests.session.watchtower import until
from tests.shop import Time

if TYPE_CHECKING:
    from pathlib import Path

    from tests.shop import Shop

PERIOD = 100


async def customer(shop: Shop, *, calls: int) -> Funder:
    """Somebody who has opened a channel and made so many calls."""
    funder = Funder(shop, 1)
    challenge = session_challenge(await shop.challenges())
    response = await shop.show(funder.open(challenge, CALL))
    assert response.status_code == 200, response.text
    for call in range(2, calls + 1):
        response = await funder.pay(challenge, call * CALL)
        assert response.status_code == 200, response.text
    return funder


def settings(path: Path, **more: Any) -> dict[str, Any]:
    return {
        "store": f"sqlite:///{path}/records.db",
        "min_refund_waiting_period": PERIOD,
        **more,
    }


async def test_money_is_saved_that_was_pulled_away_while_no_server_ran(tmp_path: Path) -> None:
    time = Time()
    async with open_session_shop(time=time, **settings(tmp_path)) as shop:
        funder = await customer(shop, calls=5)
        sandbox, before = shop.sandbox, shop.earned()
    funder.close_start()
    time.now += PERIOD - 20

    async with open_session_shop(time=time, sandbox=sandbox, **settings(tmp_path)) as shop:
        await shop.challenges()
        await until(lambda: shop.earned() == before + 5 * CALL)

        time.now += 20
        funds = funder.balance()
        funder.refund()
        assert funder.balance() == funds + DEPOSIT - 5 * CALL


async def test_a_server_takes_what_it_has_earned_when_it_is_enough(tmp_path: Path) -> None:
    async with open_session_shop(**settings(tmp_path, settle_amount="0.03")) as shop:
        before = shop.earned()
        await customer(shop, calls=2)
        assert shop.earned() == before
    time = shop.time

    async with open_session_shop(
        time=time, sandbox=shop.sandbox, **settings(tmp_path, settle_amount="0.02")
    ) as shop:
        await shop.challenges()
        await until(lambda: shop.earned() == before + 2 * CALL)


async def test_a_spend_that_makes_it_enough_is_settled_at_once(tmp_path: Path) -> None:
    async with open_session_shop(**settings(tmp_path, settle_amount="0.03")) as shop:
        before = shop.earned()
        await customer(shop, calls=3)
        await until(lambda: shop.earned() == before + 3 * CALL)


async def test_a_server_that_ends_takes_what_it_has_earned_if_asked(tmp_path: Path) -> None:
    async with open_session_shop(**settings(tmp_path, settle_at_shutdown=True)) as shop:
        before = shop.earned()
        await customer(shop, calls=3)
        assert shop.earned() == before

    assert shop.earned() == before + 3 * CALL
