"""What every store promises of limits that are counted over all processes."""

from __future__ import annotations

import asyncio

import pytest

from mpp_asgi.stores.budgets import Budget

DAY = Budget("sponsor:day:20779", limit=100, keep_until=50)
TOTAL = Budget("sponsor:total", limit=150, keep_until=1000)


async def test_nothing_is_drawn_at_first(store):
    assert await store.drawn(DAY.name) == 0


async def test_a_budget_is_drawn_on_up_to_its_limit(stores):
    one, other = stores
    assert await one.draw([DAY], 60) is None
    assert await other.draw([DAY], 40) is None
    assert await one.draw([DAY], 1) == DAY.name
    assert await one.draw([DAY], 0) is None
    assert await other.drawn(DAY.name) == 100


async def test_all_are_drawn_on_or_none(stores):
    one, other = stores
    assert await one.draw([DAY, TOTAL], 90) is None
    assert await other.draw([TOTAL, DAY], 60) == DAY.name
    assert await other.draw([DAY._replace(name="another day"), TOTAL], 61) == TOTAL.name
    assert [await one.drawn(name) for name in (DAY.name, TOTAL.name, "another day")] == [90, 90, 0]


async def test_the_first_that_would_be_exceeded_is_named(store):
    assert await store.draw([DAY, TOTAL], 151) == DAY.name
    assert await store.draw([TOTAL, DAY], 151) == TOTAL.name
    assert await store.draw([TOTAL, DAY], 101) == DAY.name


async def test_a_draw_on_nothing_is_free(store):
    assert await store.draw([], 10**9) is None


async def test_the_limit_is_what_the_caller_says_now(store):
    """An operator may change it."""
    assert await store.draw([DAY], 100) is None
    assert await store.draw([DAY._replace(limit=120)], 20) is None
    assert await store.draw([DAY._replace(limit=50)], 0) == DAY.name
    assert await store.drawn(DAY.name) == 120


async def test_a_limit_of_nothing_allows_nothing(store):
    assert await store.draw([DAY._replace(limit=0)], 1) == DAY.name
    assert await store.draw([DAY._replace(limit=0)], 0) is None


async def test_large_amounts_are_counted_to_the_unit(store):
    wide = DAY._replace(limit=2**63 - 1)
    assert await store.draw([wide], 2**62 + 1) is None
    assert await store.draw([wide], 2**62 - 1) == wide.name
    assert await store.draw([wide], 2**62 - 2) is None
    assert await store.drawn(DAY.name) == 2**63 - 1
    assert await store.draw([wide], 1) == wide.name
    assert await store.draw([wide], 2**63 - 1) == wide.name
    await store.put_back([DAY.name], 1)
    assert await store.drawn(DAY.name) == 2**63 - 2
    assert await store.draw([wide], 2) == wide.name
    assert await store.draw([wide], 1) is None


async def test_what_was_not_spent_can_be_drawn_again(stores):
    one, other = stores
    await one.draw([DAY, TOTAL], 100)
    await other.put_back([DAY.name, TOTAL.name], 30)
    assert [await one.drawn(name) for name in (DAY.name, TOTAL.name)] == [70, 70]
    assert await one.draw([DAY], 31) == DAY.name
    assert await one.draw([DAY], 30) is None


async def test_nothing_falls_below_zero(store):
    """As when a window was purged in between."""
    await store.draw([DAY], 10)
    await store.draw([TOTAL], 40)
    await store.put_back([DAY.name, "unheard of", TOTAL.name], 25)
    await store.put_back([], 25)
    names = (DAY.name, "unheard of", TOTAL.name)
    assert [await store.drawn(name) for name in names] == [0, 0, 15]
    assert await store.draw([DAY], 101) == DAY.name


async def test_another_window_is_another_budget(store):
    await store.draw([DAY], 100)
    assert await store.draw([DAY._replace(name="sponsor:day:20780")], 100) is None


async def test_what_is_over_counts_until_it_is_purged_and_then_no_more(stores):
    one, other = stores
    await one.draw([DAY, TOTAL], 100)
    assert await other.purge(now=49, limit=10) == 0
    assert await one.draw([DAY], 1) == DAY.name
    assert await other.purge(now=50, limit=10) == 1
    assert [await one.drawn(name) for name in (DAY.name, TOTAL.name)] == [0, 100]
    assert await one.draw([DAY], 100) is None


@pytest.mark.parametrize("later", [30, 70])
async def test_the_latest_time_to_keep_it_counts(store, later):
    await store.draw([DAY], 1)
    await store.draw([DAY._replace(keep_until=later)], 1)
    assert await store.purge(now=max(50, later) - 1, limit=10) == 0
    assert await store.drawn(DAY.name) == 2
    assert await store.purge(now=max(50, later), limit=10) == 1


async def test_a_draw_that_was_refused_keeps_nothing_longer(store):
    await store.draw([DAY], 100)
    await store.draw([DAY._replace(keep_until=70), TOTAL], 1)
    assert await store.purge(now=50, limit=10) == 1
    assert await store.purge(now=2**40, limit=10) == 0


async def test_of_many_draws_at_once_as_many_succeed_as_the_limit_allows(stores):
    """None too many, and none too few."""
    drawn = await asyncio.gather(*(stores[n % 2].draw([TOTAL, DAY], 3) for n in range(50)))
    assert (drawn.count(None), drawn.count(DAY.name)) == (33, 17)
    assert [await stores[0].drawn(name) for name in (TOTAL.name, DAY.name)] == [99, 99]


async def test_draws_and_returns_at_once_are_all_counted(stores):
    free = DAY._replace(limit=10**6)
    await stores[0].draw([free], 50)
    await asyncio.gather(
        *(stores[n % 2].draw([free], 3) for n in range(50)),
        *(stores[n % 2].put_back([DAY.name], 1) for n in range(50)),
    )
    assert await stores[0].drawn(DAY.name) == 150


async def test_budgets_in_any_order_do_not_stand_in_each_others_way(stores):
    """No deadlock: each draw locks what it needs, whatever order it is named in."""
    budgets = [DAY._replace(name=f"b{n}", limit=10**6) for n in range(4)]
    orders = [budgets, budgets[::-1], budgets[2:] + budgets[:2]]
    await asyncio.gather(*(stores[n % 2].draw(orders[n % 3], 1) for n in range(60)))
    assert [await stores[0].drawn(budget.name) for budget in budgets] == [60] * 4
