"""No two calls of PostgreSQL stores wait for each other: the server counts those it had to undo."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from typing import TYPE_CHECKING

from mpp_asgi.stores.budgets import Budget
from mpp_asgi.stores.contract import OwnershipLostError, State
from mpp_asgi.stores.postgres import PostgresStore
from tests.stores.postgres_sessions import another_session

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator

    from mpp_asgi.stores.contract import Charge

SEED = 5
CALLS = 600
CHARGES = [f"c{n}" for n in range(4)]
PROOFS = [f"p{n}" for n in range(6)]
OWNERS = ["v", "w", "x"]
BUDGETS = [Budget(f"b{n}", 10**9, 5) for n in range(5)]
ACCOUNTS = [f"G{n}" for n in range(4)]


async def deadlocks(url: str) -> int:
    async with another_session(url) as session:
        await session.execute("SELECT pg_stat_clear_snapshot()")
        return await session.fetchval(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        )


def calls(stores: list[PostgresStore], new_charge) -> Iterator[Awaitable[object]]:
    """Without end, drawn from everything that takes more than one lock."""
    chance = random.Random(SEED)

    def some(things: list) -> list:
        return chance.sample(things, chance.randint(1, len(things)))

    while True:
        store = chance.choice(stores)
        owner, now = chance.choice(OWNERS), chance.randrange(10)
        charge = new_charge(chance.choice(CHARGES), owner=owner, keep_until=chance.randrange(10))
        yield store.claim(charge, some(PROOFS), now=now)
        state = chance.choice([State.CLAIMED, State.SUBMITTED])
        yield write(store, charge._replace(state=state), some(PROOFS), owner)
        yield store.claim(charge, some(PROOFS), now=now)
        yield store.release(charge.id, owner=owner)
        yield store.heartbeat(owner, alive_until=chance.randrange(10))
        yield store.claim(charge, some(PROOFS), now=now)
        yield store.purge(now=now, limit=3)
        yield store.draw(some(BUDGETS), 1)
        yield store.put_back([budget.name for budget in some(BUDGETS)], 1)
        yield store.borrow(some(ACCOUNTS), until=5, now=now)
        yield store.forget_loans(some(ACCOUNTS))


async def write(store: PostgresStore, charge: Charge, proofs: list[str], owner: str) -> None:
    with contextlib.suppress(OwnershipLostError):  # somebody else was first
        await store.write(charge, proofs, owner=owner)


async def test_calls_that_want_the_same_in_any_order_never_wait_for_each_other(
    postgres_urls, new_charge
):
    url = f"{postgres_urls()}&connections=8"
    stores = [PostgresStore.from_url(url) for _ in range(2)]
    for store in stores:
        await store.open()
    before = await deadlocks(url)
    await asyncio.gather(*itertools.islice(calls(stores, new_charge), CALLS))
    for store in stores:
        await store.close()
    async with another_session(url) as session:
        dangling = await session.fetch(
            "SELECT key FROM proof WHERE charge_id NOT IN (SELECT id FROM charge)"
        )
    assert dangling == []
    assert await deadlocks(url) == before
