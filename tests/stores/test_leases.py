"""What every store promises of jobs that one process does at a time."""

from __future__ import annotations

import asyncio

from mpp_asgi.stores.channels import LEASE_SLACK_SECONDS


async def test_a_lease_is_taken_by_one_until_it_lapses(stores):
    one, other = stores
    assert await one.lease("guard", owner="v", until=10, now=0)
    assert not await other.lease("guard", owner="w", until=30, now=9)
    assert await other.lease("guard", owner="w", until=20, now=10)
    assert not await one.lease("guard", owner="v", until=30, now=19)


async def test_a_lease_is_prolonged_by_its_owner(stores):
    one, other = stores
    assert await one.lease("guard", owner="v", until=10, now=0)
    assert await other.lease("guard", owner="v", until=20, now=9)
    assert not await other.lease("guard", owner="w", until=30, now=19)


async def test_the_latest_word_counts_even_if_it_is_shorter(store):
    assert await store.lease("guard", owner="v", until=20, now=0)
    assert await store.lease("guard", owner="v", until=5, now=1)
    assert await store.lease("guard", owner="w", until=9, now=5)


async def test_a_lease_that_a_clock_ahead_has_written_is_free(stores):
    """It would stand until that time: for days, in which nobody guards."""
    one, other = stores
    assert await one.lease("guard", owner="v", until=10 + LEASE_SLACK_SECONDS, now=0)
    assert not await other.lease("guard", owner="w", until=10, now=0)
    assert await one.lease("guard", owner="v", until=11 + LEASE_SLACK_SECONDS, now=0)
    assert await other.lease("guard", owner="w", until=10, now=0)
    assert not await one.lease("guard", owner="v", until=10, now=0)


async def test_no_clock_ends_leases_that_are_not_asked_for(stores):
    one, other = stores
    assert await one.lease("guard", owner="v", until=10, now=0)
    assert await other.lease("settle:a", owner="w", until=100_010, now=100_000)
    assert not await other.lease("guard", owner="w", until=11, now=1)


async def test_leases_that_lapsed_are_purged(stores):
    one, other = stores
    assert await one.lease("guard", owner="v", until=10, now=0)
    assert await one.lease("settle:a", owner="v", until=11, now=0)
    assert await other.purge(now=10, limit=10) == 0, "they are few, and do not count"
    assert not await other.lease("settle:a", owner="w", until=11, now=0)
    assert await other.lease("guard", owner="w", until=10, now=0)


async def test_leases_of_other_names_are_free(store):
    assert await store.lease("guard", owner="v", until=10, now=0)
    assert await store.lease("settle:a", owner="w", until=10, now=0)


async def test_a_lease_that_is_let_go_of_is_free(stores):
    one, other = stores
    await one.lease("guard", owner="v", until=10, now=0)
    await one.release_lease("guard", owner="v")
    assert await other.lease("guard", owner="w", until=10, now=0)


async def test_nobody_lets_go_of_anothers_lease(stores):
    one, other = stores
    await one.lease("guard", owner="v", until=10, now=0)
    await other.release_lease("guard", owner="w")
    await other.release_lease("unheard of", owner="w")
    assert not await other.lease("guard", owner="w", until=10, now=0)


async def test_a_lease_that_lapsed_is_let_go_of_in_vain(stores):
    one, other = stores
    await one.lease("guard", owner="v", until=10, now=0)
    await other.lease("guard", owner="w", until=20, now=10)
    await one.release_lease("guard", owner="v")
    assert not await one.lease("guard", owner="v", until=30, now=19)


async def test_of_many_at_once_one_has_it(stores):
    took = await asyncio.gather(
        *(stores[n % 2].lease("guard", owner=f"w{n}", until=10, now=0) for n in range(50))
    )
    assert took.count(True) == 1
