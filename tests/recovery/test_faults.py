"""The store and the node fail at any call, in every way there is: before the effect, after it,
late, with nonsense, behind the others. What was promised holds, and nobody is told to pay again for
a fault of ours.

Each run draws its faults from a seed, and heals in the end; the same seed draws the same.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import TYPE_CHECKING

import pytest

from mpp_asgi import price
from tests.recovery.fate import insist, opened
from tests.session.drawer import CALL, DEPOSIT, Drawer
from tests.shop import MODES, PRICE, Payer, Shop, payment_middleware

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from mpp_asgi.charges import ChargeBook
    from mpp_asgi.protocol import Challenge, Credential

SEEDS = range(12)
PAYMENTS = 6
STORMY = 0.5
"""Of calls that go wrong where a call is tried twice."""
ROUNDS = 25


def in_mode(payer: Payer, mode: str, challenges: list[Challenge], number: int) -> Credential:
    """A good credential, and for longer than the faults last."""
    if mode == "sponsored":
        last = payer.shop.sandbox.sequence + 3_000 // 5
        return payer.sponsored(challenges[0], expiration_ledger=last, nonce=number)
    return payer.in_mode(mode, challenges)


@pytest.mark.parametrize("mode", MODES)
async def test_charges(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    struck: Counter[str] = Counter()
    statuses: Counter[int] = Counter()
    for seed in SEEDS:
        opening, fate = opened(monkeypatch, seed)
        async with opening as shop:
            for number in range(1, PAYMENTS + 1):
                payer = shop.payer(number)
                credential = in_mode(payer, mode, await shop.challenges(), number)
                where = f"seed {seed}, payment {number}"
                assert await insist(shop, fate, credential, statuses) == 200, where
                assert shop.earned() == number * PRICE, where
                again = await shop.show(credential)
                assert (again.status_code, shop.left.count(200)) == (402, number), where
            assert await left(shop) == 0, f"seed {seed}"
        struck += fate.struck
    print(f"{mode}: {dict(statuses)}; 402 for a fault of ours: {statuses[402]}")
    assert statuses[402] == 0
    assert statuses[503] > len(SEEDS), "nothing went wrong"
    assert {"claim after", "write before", "write after", "get before"} <= struck.keys()


async def left(shop: Shop) -> int:
    """Records that nobody finishes, once the processes are gone."""
    shop.time.now += 60
    opened_house = payment_middleware(shop.app)._house
    assert opened_house is not None
    await opened_house._book.tidy()
    await opened_house._recovery.round()
    return len(await shop.store.open_charges(now=int(shop.time.now), limit=100))


async def test_vouchers(monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other, each for one call: nothing is paid for twice, and nothing lost."""
    struck: Counter[str] = Counter()
    statuses: Counter[int] = Counter()
    for seed in SEEDS:
        opening, fate = opened(monkeypatch, seed, share=STORMY)
        async with opening as shop:
            drawer = await Drawer.on_record(shop, deposited=3 * DEPOSIT)
            challenge = await drawer.challenge()
            for number in range(1, 2 * PAYMENTS + 1):
                where = f"seed {seed}, voucher {number}"
                voucher = drawer.voucher(challenge, number * CALL)
                assert await insist(shop, fate, voucher, statuses) == 200, where
                channel = await drawer.record()
                assert (channel.accepted, channel.spent) == (number * CALL, number * CALL), where
            assert len(shop.runs) == channel.units == 2 * PAYMENTS, f"seed {seed}"
        struck += fate.struck
    print(f"vouchers: {dict(statuses)}; 402 for a fault of ours: {statuses[402]}")
    assert statuses[402] == 0
    assert statuses[503] > len(SEEDS), "nothing went wrong"
    assert {"spend before", "spend after", "give_back before", "give_back after"} <= struck.keys()


async def test_a_crowd_on_one_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests at once, some of which fail or are given up: at the end the payer has paid for every
    answer that was begun and for nothing else, and nobody was told to pay again."""
    statuses: Counter[int] = Counter()
    for seed in SEEDS:
        opening, fate = opened(monkeypatch, seed, share=STORMY)
        async with opening as shop:
            add_a_route_that_fails(shop)
            begun: list[int] = []
            shop.app.add_middleware(Onlooker, begun=begun)
            drawer = await Drawer.on_record(shop, deposited=10 * DEPOSIT)
            # There is enough for all who may be at it at once.
            voucher = drawer.voucher(await drawer.challenge(), 10 * DEPOSIT)
            random = Random(seed)
            fate.is_kind = False
            for _ in range(ROUNDS):
                await asyncio.gather(
                    *(once(shop, voucher, random, statuses) for _ in range(random.randint(1, 4)))
                )
            fate.is_kind = True
            book = await settled(shop)
            assert not book.refunds.owed
            channel = await drawer.record()
            paid = begun.count(200)
            assert (channel.spent, channel.units) == (paid * CALL, paid), f"seed {seed}"
    print(f"a crowd: {dict(statuses)}; 402 for a fault of ours: {statuses[402]}")
    assert statuses.keys() <= {200, 500, 503}
    assert statuses[503] > len(SEEDS), "nothing went wrong"


async def once(shop: Shop, voucher: Credential, random: Random, statuses: Counter[int]) -> None:
    """Show it, for good, for an endpoint that fails, or not until there is an answer."""
    asking = asyncio.ensure_future(shop.show(voucher, random.choice(("/paid", "/paid", "/broken"))))
    if random.random() < 0.3:
        for _ in range(random.randrange(40)):
            await asyncio.sleep(0)
        if asking.cancel():
            await asyncio.wait([asking])
            return
    statuses[(await asking).status_code] += 1


async def settled(shop: Shop) -> ChargeBook:
    """Its book, once everything is done that was left for later."""
    opened_house = payment_middleware(shop.app)._house
    assert opened_house is not None
    await opened_house._book.drain()
    await opened_house._book.tidy()
    return opened_house._book


def add_a_route_that_fails(shop: Shop) -> None:
    @shop.app.get("/broken")
    @price("0.01")
    async def broken() -> None:
        raise RuntimeError("it always fails")


class Onlooker:
    """Notes the status of each response that begins."""

    def __init__(self, app: ASGIApp, begun: list[int]) -> None:
        self.app = app
        self.begun = begun

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def note(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.begun.append(message["status"])
            await send(message)

        await self.app(scope, receive, note)
