"""What every store promises of spends that are asked for again, and given back."""

from __future__ import annotations

import asyncio

import pytest

from mpp_asgi.stores.channels import (
    KEPT_ENTRIES,
    RETURNED,
    SPENT,
    ChannelStatus,
    Spend,
    SpendOutcome,
)


def entry(number: int) -> str:
    return f"{number:015x}"


def spend(store, cost, number, *, amount=100, channel_id="channel", **otherwise):
    said = {"units": 1, "min_delta": 0, "now": 20} | otherwise
    return store.spend(
        channel_id, amount=amount, signature="s", cost=cost, entry=entry(number), **said
    )


def give_back(store, cost, number, *, certain=True):
    return store.give_back("channel", cost=cost, units=1, entry=entry(number), certain=certain)


@pytest.fixture
async def kept(store, new_channel):
    return await store.add_channel(new_channel(accepted=100, signature="s"))


async def test_a_spend_counts_once_however_often_it_is_asked_for(stores, kept):
    one, other = stores
    spent = kept._replace(spent=60, units=1, used_at=20, recent=SPENT + entry(1))
    assert await spend(one, 60, 1) == Spend(SpendOutcome.SPENT, spent)
    assert await spend(other, 60, 1, now=30) == Spend(SpendOutcome.SPENT, spent)
    assert await other.channel(kept.id) == spent
    assert (await spend(one, 60, 2)).outcome is SpendOutcome.INSUFFICIENT


async def test_it_counts_once_if_it_comes_twice_at_a_time(stores, kept):
    found = await asyncio.gather(*(spend(stores[n % 2], 60, 1) for n in range(10)))
    assert [each.outcome for each in found] == [SpendOutcome.SPENT] * 10
    assert (await stores[0].channel(kept.id)).spent == 60


@pytest.mark.parametrize("told", ["closing", "closed", "higher", "published"])
async def test_it_is_answered_as_it_was_whatever_has_happened_since(store, kept, told):
    await spend(store, 60, 1)
    if told == "closing":
        await store.begin_close(kept.id, amount=60, signature="t", now=20)
    elif told == "closed":
        facts = {"ledger": 51, "deposited": 1000, "settled": 0, "closes_at": None, "now": 20}
        await store.observe(kept.id, **facts, closed=True)
    elif told == "higher":
        await spend(store, 1, 2, amount=200)
    else:
        await store.publish(kept.id, amount=100)
    found = await store.channel(kept.id)
    assert await spend(store, 60, 1) == Spend(SpendOutcome.SPENT, found)


async def test_what_was_refused_is_judged_anew(store, kept):
    assert (await spend(store, 101, 1)).outcome is SpendOutcome.INSUFFICIENT
    assert (await store.channel(kept.id)).recent == ""
    assert (await spend(store, 101, 1, amount=101)).outcome is SpendOutcome.SPENT


async def test_entries_are_the_channels_own(store, kept, new_channel):
    await store.add_channel(new_channel("other", accepted=100, signature="s"))
    for channel_id in (kept.id, "other"):
        assert (await spend(store, 60, 1, channel_id=channel_id)).channel.spent == 60


async def test_the_last_entries_are_remembered(store, kept):
    for number in range(KEPT_ENTRIES):
        await spend(store, 1, number)
    await spend(store, 1, 0)
    assert (await store.channel(kept.id)).spent == KEPT_ENTRIES
    found = (await spend(store, 1, KEPT_ENTRIES)).channel
    assert found.recent == "".join(SPENT + entry(n + 1) for n in range(KEPT_ENTRIES))
    assert (await spend(store, 1, 0)).channel.spent == KEPT_ENTRIES + 2  # it was the oldest
    assert (await spend(store, 1, 2)).channel.spent == KEPT_ENTRIES + 2


@pytest.mark.parametrize("certain", [True, False])
async def test_a_spend_is_given_back_once(stores, kept, certain):
    one, other = stores
    await spend(one, 60, 1)
    back = kept._replace(used_at=20, recent=RETURNED + entry(1))
    for store in (one, other, one):
        await give_back(store, 60, 1, certain=certain)
        assert await other.channel(kept.id) == back


async def test_one_of_several_is_given_back(store, kept):
    for number in (1, 2, 3):
        await spend(store, 10 * number, number)
    await give_back(store, 20, 2, certain=False)
    found = await store.channel(kept.id)
    assert (found.spent, found.units) == (40, 2)
    assert found.recent == f"{SPENT}{entry(1)}{RETURNED}{entry(2)}{SPENT}{entry(3)}"


async def test_what_was_never_spent_is_not_given_back_and_does_not_count_if_it_comes_late(
    stores, kept
):
    """As from a server that was slow to do what it was asked."""
    one, other = stores
    await spend(one, 60, 1)
    await give_back(other, 40, 2, certain=False)
    void = kept._replace(
        spent=60, units=1, used_at=20, recent=f"{SPENT}{entry(1)}{RETURNED}{entry(2)}"
    )
    assert await spend(one, 40, 2, amount=200) == Spend(SpendOutcome.VOID, void)
    assert await other.channel(kept.id) == void


async def test_what_was_given_back_cannot_be_spent_again(store, kept):
    await spend(store, 60, 1)
    await give_back(store, 60, 1)
    assert (await spend(store, 60, 1)).outcome is SpendOutcome.VOID
    assert (await store.channel(kept.id)).spent == 0


async def test_what_is_certain_is_given_back_once_even_if_no_spend_is_remembered(stores, kept):
    """As the sum of several."""
    one, other = stores
    await one.spend(kept.id, amount=100, signature="s", cost=60, units=3, min_delta=0, now=20)
    for store in (one, other):
        await give_back(store, 40, 7)
    found = await one.channel(kept.id)
    assert (found.spent, found.units, found.recent) == (20, 2, RETURNED + entry(7))


async def test_what_is_given_back_and_spent_at_a_time_is_not_spent_in_the_end(stores, kept):
    """Whichever comes first."""
    for number in range(20):
        await asyncio.gather(
            spend(stores[number % 2], 60, number),
            give_back(stores[(number // 2) % 2], 60, number, certain=False),
        )
    found = await stores[0].channel(kept.id)
    assert (found.spent, found.units) == (0, 0)
    assert found.recent == "".join(RETURNED + entry(n) for n in range(20))


@pytest.mark.parametrize("status", ChannelStatus)
async def test_whatever_the_channel_does_a_doubt_is_ended(store, new_channel, status):
    kept = await store.add_channel(
        new_channel(accepted=100, signature="s", spent=60, units=2, status=status)
    )
    await give_back(store, 20, 1, certain=False)
    assert await store.channel(kept.id) == kept._replace(recent=RETURNED + entry(1))


async def test_a_spend_that_is_given_up_at_any_step_can_be_given_back(store, kept):
    """Whether the store was through with it, or was about to be, or goes on with it."""
    for number in range(12):
        spending = asyncio.ensure_future(spend(store, 60, number))
        for _ in range(number):
            await asyncio.sleep(0)
        spending.cancel()
        await asyncio.wait([spending])
        await give_back(store, 60, number, certain=False)
        # Full again, or this one would be refused; and what may come late came before it.
        assert (await spend(store, 100, 100 + number)).outcome is SpendOutcome.SPENT
        await give_back(store, 100, 100 + number)
    found = await store.channel(kept.id)
    assert (found.spent, found.units) == (0, 0)
