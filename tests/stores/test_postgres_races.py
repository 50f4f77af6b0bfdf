"""Calls of PostgreSQL stores that want the same in the same moment."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from typing import TYPE_CHECKING

from mpp_asgi.stores.budgets import Budget
from mpp_asgi.stores.contract import Claim, Outcome, OwnershipLostError, State
from mpp_asgi.stores.postgres.store import PostgresStore
from tests.stores.postgres_sessions import another_session, waiting

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
    """The server counts those it had to undo for that."""
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


async def test_proofs_are_taken_in_one_order_whatever_order_they_are_named_in(
    postgres_urls, new_charge
):
    """So whoever waits for the first of them holds none that others may want."""
    url = postgres_urls()
    store = PostgresStore.from_url(url)
    await store.open()
    async with another_session(url) as session, session.transaction():
        await session.execute("SET LOCAL lock_timeout = '500ms'")
        await session.execute("INSERT INTO proof VALUES ('p1', 'another')")
        claim = asyncio.create_task(store.claim(new_charge(), ["p2", "p1"], now=0))
        await waiting(url, 1)
        await session.execute("INSERT INTO proof VALUES ('p2', 'another')")
    assert (await claim).outcome is Outcome.CONFLICT
    assert await store.get("challenge") is None
    await store.close()


async def test_a_proof_that_another_lets_go_of_in_the_same_moment_is_taken(
    postgres_urls, new_charge
):
    url = postgres_urls()
    store = PostgresStore.from_url(url)
    await store.open()
    async with another_session(url) as session:
        insertion = session.transaction()
        await insertion.start()
        await session.execute("INSERT INTO proof VALUES ('p1', 'another')")
        claim = asyncio.create_task(store.claim(new_charge(), ["p1"], now=0))
        await waiting(url, 1)
        await insertion.rollback()
    assert (await claim).outcome is Outcome.NEW
    await store.close()


async def test_an_owner_that_says_it_lives_in_the_same_moment_keeps_its_charge(
    postgres_urls, new_charge
):
    """Judged dead without that word, it would be taken over after it was heard."""
    url = postgres_urls()
    store = PostgresStore.from_url(url)
    await store.open()
    await store.claim(new_charge(owner="w"), [], now=0)
    async with another_session(url) as session, session.transaction():
        await session.execute("SELECT heartbeat_v1('w', 10)")
        claim = asyncio.create_task(store.claim(new_charge(owner="v"), [], now=5))
        await waiting(url, 1)
    assert await claim == Claim(Outcome.BUSY, new_charge(owner="w"))
    await store.close()


async def test_a_proof_added_while_its_charge_is_about_to_be_released_goes_with_it(
    postgres_urls, new_charge
):
    url = postgres_urls()
    store = PostgresStore.from_url(url)
    await store.open()
    await store.claim(new_charge(), [], now=0)
    async with another_session(url) as session, session.transaction():
        await session.execute("SELECT FROM charge WHERE id = 'challenge' FOR UPDATE")
        await session.execute("INSERT INTO proof VALUES ('p1', 'challenge')")
        release = asyncio.create_task(store.release("challenge", owner="w"))
        await waiting(url, 1)
    await release
    assert (await store.claim(new_charge("b"), ["p1"], now=0)).outcome is Outcome.NEW
    await store.close()
