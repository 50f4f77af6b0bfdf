"""What every store forgets, and when: steady load means steady size."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from typing import TYPE_CHECKING

import pytest

from mpp_asgi.stores.budgets import Budget
from mpp_asgi.stores.contract import Outcome, State
from mpp_asgi.stores.kept_answers import KeptAnswer
from mpp_asgi.stores.memory.store import MemoryStore
from tests.stores.backends import patient_store

if TYPE_CHECKING:
    from mpp_asgi.stores.contract import Store


@pytest.mark.parametrize("state", State)
async def test_an_expired_record_goes_whatever_its_state(stores, new_charge, state):
    one, other = stores
    await one.claim(new_charge("a", keep_until=10), ["tx:1"], now=0)
    await one.write(new_charge("a", keep_until=10, state=state), ["nonce:1"], owner="w")
    assert await other.purge(now=9, limit=10) == 0
    assert await other.get("a") is not None
    assert await other.purge(now=10, limit=10) == 1
    assert await one.get("a") is None
    assert list(await one.open_charges(now=10, limit=10)) == []
    freed = await one.claim(new_charge("b"), ["tx:1", "nonce:1"], now=10)
    assert freed.outcome is Outcome.NEW


async def test_a_purge_takes_no_more_than_its_limit(store, new_charge):
    for number in range(5):
        await store.claim(new_charge(f"{number}", keep_until=10), [f"tx:{number}"], now=0)
    await store.claim(new_charge("later", keep_until=11), ["tx:later"], now=0)
    assert [await store.purge(now=10, limit=2) for _ in range(4)] == [2, 2, 1, 0]
    assert await store.get("later") == new_charge("later", keep_until=11)
    claim = await store.claim(new_charge("b"), ["tx:later"], now=10)
    assert claim.outcome is Outcome.CONFLICT


async def test_what_was_written_last_says_how_long_a_record_is_kept(store, new_charge):
    await store.claim(new_charge("longer", keep_until=10), [], now=0)
    await store.write(new_charge("longer", keep_until=20), owner="w")
    await store.claim(new_charge("shorter", keep_until=20), [], now=0)
    await store.write(new_charge("shorter", keep_until=10), owner="w")
    assert await store.purge(now=10, limit=10) == 1
    assert await store.get("shorter") is None
    assert await store.purge(now=20, limit=10) == 1
    assert await store.get("longer") is None


async def test_a_challenge_claimed_again_is_kept_as_the_second_claim_says(store, new_charge):
    await store.claim(new_charge(keep_until=10), [], now=0)
    await store.release("challenge", owner="w")
    await store.claim(new_charge(keep_until=20), [], now=0)
    assert await store.purge(now=10, limit=10) == 0
    assert await store.purge(now=20, limit=10) == 1


async def test_a_purge_forgets_stale_heartbeats_and_no_others(store, new_charge):
    await store.claim(new_charge("a", owner="stale"), [], now=0)
    await store.claim(new_charge("b", owner="alive"), [], now=0)
    await store.heartbeat("stale", alive_until=10)
    await store.heartbeat("alive", alive_until=11)
    assert await store.purge(now=10, limit=10) == 0
    # Even for a clock that is behind, what was purged is dead.
    assert (await store.claim(new_charge("a", owner="v"), [], now=5)).outcome is Outcome.TAKEN
    assert (await store.claim(new_charge("b", owner="v"), [], now=10)).outcome is Outcome.BUSY


async def test_a_purge_takes_no_more_than_its_limit_of_all_kinds_together(stores, new_charge):
    """So whoever purges until it takes less than that has purged everything."""
    one, other = stores
    for number in range(2):
        await one.claim(new_charge(f"{number}", keep_until=10), [f"tx:{number}"], now=0)
        await one.draw([Budget(f"{number}", limit=9, keep_until=10)], 5)
        await one.keep_answer(KeptAnswer(f"{number}", "r", b"yes", keep_until=10), now=0)
    assert [await other.purge(now=10, limit=limit) for limit in (0, 1, 4, 4, 4)] == [0, 1, 4, 1, 0]
    for number in range(2):
        assert await one.get(f"{number}") is None
        assert await one.drawn(f"{number}") == 0
        assert await one.kept_answer(f"{number}", now=0) is None


@pytest.mark.parametrize("kind", ["charge", "budget", "answer"])
async def test_a_purge_of_one_kind_leaves_what_is_named_alike(store, new_charge, kind):
    until = {"charge": 20, "budget": 20, "answer": 20, kind: 10}
    await store.claim(new_charge("x", keep_until=until["charge"]), [], now=0)
    await store.draw([Budget("x", limit=9, keep_until=until["budget"])], 5)
    await store.keep_answer(KeptAnswer("x", "r", b"yes", keep_until=until["answer"]), now=0)
    assert await store.purge(now=10, limit=10) == 1
    assert (await store.get("x") is None) == (kind == "charge")
    assert (await store.drawn("x") == 0) == (kind == "budget")
    assert (await store.kept_answer("x", now=0) is None) == (kind == "answer")


# steady size

WINDOW = 10


async def live_a_second(store: Store, now: int, new_charge) -> None:
    """Sales of one second, each of which is kept for a while; and a purge."""

    async def sell(number: int) -> None:
        charge = new_charge(f"{now}-{number}", keep_until=now + WINDOW)
        await store.claim(charge, [f"tx:{charge.id}"], now=now)
        submitted = charge._replace(state=State.SUBMITTED, envelope="A" * 1600)
        await store.write(submitted, [f"nonce:{charge.id}"], owner="w")
        await store.write(submitted.delivered(), owner="w")
        await store.draw([Budget(f"payer:{charge.id}", limit=9, keep_until=now + WINDOW)], 5)
        await store.keep_answer(
            KeptAnswer(charge.id, "r", b"yes" * 500, keep_until=now + WINDOW), now=now
        )

    await store.heartbeat(f"w{now}", alive_until=now + 1)
    loan = await store.borrow(["GA", "GB"], until=now, now=now)
    await store.hand_back(loan, sequence=now, free_at=now)
    await asyncio.gather(*(sell(number) for number in range(30)))
    while await store.purge(now=now, limit=20) == 20:
        pass


async def test_steady_load_leaves_a_file_as_large_as_it_was(sqlite_urls, new_charge):
    store = patient_store(sqlite_urls())
    await store.open()
    sizes = []
    for now in range(4 * WINDOW):
        await live_a_second(store, now, new_charge)
        with contextlib.closing(sqlite3.connect(store.path)) as connection:
            sizes += connection.execute("PRAGMA page_count").fetchone()
    await store.close()
    assert sizes[0] < sizes[WINDOW // 2]  # it grew, at first
    assert max(sizes[2 * WINDOW :]) <= 1.1 * max(sizes[: 2 * WINDOW])


def items(thing: object) -> int:
    """How many there are in all containers within."""
    if isinstance(thing, dict):
        return len(thing) + sum(map(items, thing.values()))
    if isinstance(thing, list | tuple | set):
        return len(thing) + sum(map(items, thing))
    return items(vars(thing)) if hasattr(thing, "__dict__") else 0


async def test_steady_load_leaves_memory_as_full_as_it_was(new_charge):
    store = MemoryStore()
    sizes = []
    for now in range(3 * WINDOW):
        await live_a_second(store, now, new_charge)
        sizes.append(items(store))
    assert sizes[0] < sizes[WINDOW // 2]
    assert sizes[WINDOW:] == [sizes[WINDOW]] * (2 * WINDOW)
