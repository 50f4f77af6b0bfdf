"""A7: more requests than there is headroom for."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from mpp_asgi.sandbox import Sandbox
from tests.session.attack import attacked_shop, nothing_leaked, opened
from tests.session.drawer import (
    CALL,
    DEPOSIT,
    Drawer,
    Funder,
    open_session_shop,
    problem_of,
    receipt_of,
)
from tests.shop import Time, rng

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable
    from pathlib import Path

    import httpx

    from tests.shop import Shop

AT_ONCE = 60


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with attacked_shop() as shop:
        yield shop


@dataclass
class Workers:
    """Two processes' worth of middleware on one file, and a channel that both know."""

    shops: list[Shop]
    drawers: list[Drawer]

    @property
    def served(self) -> int:
        return sum(len(shop.runs) for shop in self.shops)


@pytest.fixture
async def workers(tmp_path: Path) -> AsyncIterator[Workers]:
    time = Time()
    sandbox = Sandbox(clock=time, close_interval=1.0)
    store = f"sqlite:///{tmp_path}/store.db"
    async with AsyncExitStack() as stack:
        shops = [
            await stack.enter_async_context(
                open_session_shop(sandbox=sandbox, time=time, store=store)
            )
            for _ in range(2)
        ]
        yield Workers(shops, [await Drawer.on_record(shop) for shop in shops])


async def test_one_headroom_is_spent_once(workers: Workers) -> None:
    worth = 7
    drawer, _ = workers.drawers
    challenge = await drawer.challenge()
    answers = await asyncio.gather(
        *(workers.drawers[n % 2].pay(challenge, worth * CALL) for n in range(AT_ONCE))
    )
    refused = [answer for answer in answers if answer.status_code != 200]
    assert len(refused) == AT_ONCE - worth
    for answer in refused:
        assert problem_of(answer) == (402, "session/insufficient-balance")
        assert answer.json()["requiredTopUp"] == str(CALL)
    spent = [int(receipt_of(each)["spent"]) for each in answers if each.status_code == 200]
    assert sorted(spent) == [n * CALL for n in range(1, worth + 1)]
    record = await drawer.record()
    assert record.spent == record.accepted == worth * CALL
    nothing_leaked("A7, one headroom", served=workers.served, owed=worth * CALL)


@pytest.mark.parametrize("seed", range(5))
async def test_racing_vouchers_never_buy_more_than_the_highest(workers: Workers, seed: int) -> None:
    random = rng(seed)
    drawer, _ = workers.drawers
    challenge = await drawer.challenge()
    most = DEPOSIT // CALL + 3  # beyond the deposit
    amounts = [random.choice([random.randint(0, most) * CALL, DEPOSIT]) for _ in range(AT_ONCE)]
    answers = await asyncio.gather(
        *(workers.drawers[random.randrange(2)].pay(challenge, amount) for amount in amounts)
    )
    granted = sum(answer.status_code == 200 for answer in answers)
    slugs = {problem_of(answer) for answer in answers if answer.status_code != 200}
    assert slugs <= {
        (402, "session/insufficient-balance"),
        (402, "session/amount-exceeds-deposit"),
        (402, "verification-failed"),
    }
    record = await drawer.record()
    assert record.accepted == max(amount for amount in amounts if amount <= DEPOSIT)
    assert record.spent == granted * CALL <= record.accepted <= record.deposited == DEPOSIT
    assert record.units == granted == workers.served
    nothing_leaked("A7, racing vouchers", served=workers.served, owed=record.spent)


async def test_an_opening_shown_many_times_at_once_opens_once(workers: Workers) -> None:
    funder = Funder(workers.shops[0], 3)
    before = funder.balance()
    opening = funder.open(await funder.challenge(), 2 * CALL)
    answers = await asyncio.gather(*(workers.shops[n % 2].show(opening) for n in range(20)))
    answers += [await workers.shops[n % 2].show(opening) for n in range(4)]
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) <= {200, 402, 409}
    assert statuses.count(200) == 2
    assert funder.balance() == before - DEPOSIT
    record = await funder.record()
    assert (record.deposited, record.spent) == (DEPOSIT, 2 * CALL)
    nothing_leaked("A7, one opening", served=workers.served, owed=record.spent)


async def test_a_top_up_shown_many_times_at_once_counts_once(workers: Workers) -> None:
    funder = Funder(workers.shops[0], 3)
    challenge = await funder.challenge()
    assert (await workers.shops[0].show(funder.open(challenge, CALL))).status_code == 200
    before = funder.balance()
    topping_up = funder.top_up(challenge, 3 * CALL)
    answers = await asyncio.gather(*(workers.shops[n % 2].show(topping_up) for n in range(20)))
    answers += [await workers.shops[n % 2].show(topping_up) for n in range(2)]
    assert {answer.status_code for answer in answers} <= {204, 409}
    assert answers[-1].status_code == 204
    assert funder.balance() == before - 3 * CALL
    record = await funder.record()
    assert record.deposited == DEPOSIT + 3 * CALL
    nothing_leaked("A7, one top-up", served=workers.served, owed=record.spent)


async def test_closing_while_it_is_spent_from(shop: Shop) -> None:
    """Whatever comes first: what was served is what the close pays."""
    funder, challenge = await opened(shop)
    before = shop.earned()
    await funder.pay(challenge, 9 * CALL)
    closing = [
        funder.voucher(challenge, number * CALL, action="close") for number in (2, 4, 5, 6, 9)
    ]
    requests: list[Awaitable[httpx.Response]] = [shop.show(each) for each in closing]
    requests[2:2] = [funder.pay(challenge, 9 * CALL) for _ in range(10)]
    answers = await asyncio.gather(*requests)
    closed = [answer for answer in answers if answer.status_code == 204]
    assert len(closed) == 1
    record = await funder.record()
    assert shop.earned() - before == record.spent == len(shop.runs) * CALL
    nothing_leaked("A7, closing meanwhile", served=len(shop.runs), owed=shop.earned() - before)
