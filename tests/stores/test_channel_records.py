"""What every store promises of a channel's record besides spending, call by call."""

from __future__ import annotations

import pytest

from mpp_asgi.stores.channels import Channel, ChannelStatus, Close, CloseOutcome, SpendOutcome

CLOSABLE = (ChannelStatus.OPEN, ChannelStatus.CLOSING)


def observe(store, **otherwise):
    said = {"ledger": 60, "deposited": 1000, "settled": 0, "closes_at": None, "closed": False}
    return store.observe("channel", **(said | {"now": 20} | otherwise))


@pytest.fixture
async def kept(store, new_channel):
    """A channel with a voucher for 100 of which 60 are spent."""
    return await store.add_channel(
        new_channel(accepted=100, signature="s100", spent=60, units=5, used_at=10)
    )


# add_channel


async def test_a_new_channel_is_kept_as_it_is(stores, new_channel):
    one, other = stores
    channel = new_channel()
    assert await one.add_channel(channel) == channel
    assert await other.channel(channel.id) == channel


async def test_every_field_is_kept(stores):
    channel = Channel(
        id="C", key="k", funder="F", recipient="R", token="T", waiting_period=1, deposited=2**90,
        settled=2, seen_ledger=3, opened_at=4, closes_at=5, accepted=2**80, signature="s",
        published=2**79, spent=2**70, units=6, settled_units=7, status=ChannelStatus.CLOSING,
        closing_amount=8, closing_signature="t", used_at=9, settled_at=10,
    )  # fmt: skip
    await stores[0].add_channel(channel)
    found = await stores[1].channel("C")
    assert found == channel
    assert [type(value) for value in found] == [type(value) for value in channel]


async def test_a_channel_nobody_added_is_not_there(store):
    assert await store.channel("channel") is None


async def test_added_again_only_the_facts_are_new(store, kept, new_channel):
    again = new_channel(
        deposited=1500, settled=80, seen_ledger=61, closes_at=900, opened_at=30, key="cd" * 32
    )
    merged = kept._replace(
        deposited=1500,
        settled=80,
        seen_ledger=61,
        closes_at=900,
        settled_at=30,
        published=80,
        settled_units=5,
    )
    assert await store.add_channel(again) == merged
    assert await store.channel(kept.id) == merged


async def test_added_again_with_older_facts_nothing_is_new(store, kept, new_channel):
    assert await store.add_channel(new_channel(deposited=1, seen_ledger=49)) == kept
    assert await store.channel(kept.id) == kept


async def test_added_again_as_closed_it_is_closed(store, kept, new_channel):
    closed = new_channel(status=ChannelStatus.CLOSED, opened_at=30)
    assert (await store.add_channel(closed)).status is ChannelStatus.CLOSED


async def test_added_again_it_does_not_reopen(store, new_channel):
    await store.add_channel(new_channel(status=ChannelStatus.CLOSED))
    again = await store.add_channel(new_channel(seen_ledger=99))
    assert again.status is ChannelStatus.CLOSED


async def test_what_was_settled_before_the_first_record_is_spent(store, new_channel):
    """So that the vouchers of a store that was lost buy nothing again."""
    added = await store.add_channel(new_channel(settled=400))
    assert (added.accepted, added.spent, added.signature, added.units) == (400, 400, "", 0)
    assert await store.channel(added.id) == added
    old = {"signature": "s", "cost": 1, "units": 1, "min_delta": 0, "now": 8}
    assert (await store.spend(added.id, amount=399, **old)).outcome is SpendOutcome.LOWER
    assert (await store.spend(added.id, amount=400, **old)).outcome is SpendOutcome.INSUFFICIENT
    assert (await store.spend(added.id, amount=401, **old)).outcome is SpendOutcome.SPENT


# observe


async def test_newer_facts_replace_older_ones(stores, kept):
    one, other = stores
    seen = kept._replace(seen_ledger=60, deposited=2000, closes_at=700)
    assert await observe(one, deposited=2000, closes_at=700) == seen
    assert await other.channel(kept.id) == seen


@pytest.mark.parametrize("ledger", [0, 49])
async def test_facts_of_an_older_ledger_change_nothing(store, kept, ledger):
    older = {"deposited": 9, "settled": 500, "closes_at": 3, "closed": True}
    assert await observe(store, ledger=ledger, **older) == kept
    assert await store.channel(kept.id) == kept


async def test_facts_of_the_same_ledger_are_taken(store, kept):
    assert (await observe(store, ledger=50, deposited=2000)).deposited == 2000


async def test_a_settlement_is_noted_with_its_time_and_units(store, kept):
    seen = await observe(store, settled=100)
    settled = {"settled": 100, "published": 100, "settled_at": 20, "settled_units": 5}
    assert seen == kept._replace(seen_ledger=60, **settled)
    later = await observe(store, ledger=61, settled=100, now=21)
    assert later == seen._replace(seen_ledger=61)


async def test_what_was_settled_beyond_any_voucher_leaves_the_headroom_as_it_was(store, kept):
    seen = await observe(store, settled=170)
    assert (seen.accepted, seen.signature, seen.spent, seen.units) == (170, "", 130, 5)
    assert seen.available == kept.available
    assert await store.channel(kept.id) == seen


@pytest.mark.parametrize("status", CLOSABLE)
async def test_closed_on_the_ledger_is_closed_for_good(store, new_channel, status):
    kept = await store.add_channel(new_channel(status=status))
    seen = await observe(store, closes_at=60, closed=True)
    ended = {"status": ChannelStatus.CLOSED, "closes_at": 60, "seen_ledger": 60, "used_at": 20}
    assert seen == kept._replace(**ended)
    again = await observe(store, ledger=61, now=21)
    assert (again.status, again.used_at) == (ChannelStatus.CLOSED, 20)
    assert (await observe(store, ledger=62, closed=True, now=22)).used_at == 20


async def test_what_the_ledger_says_of_a_closing_channel_does_not_open_it(store, new_channel):
    await store.add_channel(new_channel(status=ChannelStatus.CLOSING))
    assert (await observe(store)).status is ChannelStatus.CLOSING


async def test_nothing_is_observed_of_a_channel_nobody_knows(store):
    assert await observe(store) is None
    assert await store.channel("channel") is None


# begin_close and cancel_close


def begin_close(store, amount, signature="t"):
    return store.begin_close("channel", amount=amount, signature=signature, now=20)


async def test_a_close_begins_with_a_voucher_for_what_was_spent(stores, kept):
    """The higher voucher stays: should the close fail, it is worth what it was."""
    one, other = stores
    closing = kept._replace(
        status=ChannelStatus.CLOSING, closing_amount=60, closing_signature="t", used_at=20
    )
    assert await begin_close(one, 60) == Close(CloseOutcome.BEGUN, closing)
    assert await other.channel(kept.id) == closing


@pytest.mark.parametrize("amount", [0, 59, 61, 100, 1000])
async def test_no_close_begins_with_any_other_voucher(store, kept, amount):
    assert await begin_close(store, amount) == Close(CloseOutcome.NOT_SPENT, kept)
    assert await store.channel(kept.id) == kept


async def test_a_close_may_begin_again(store, kept):
    first = await begin_close(store, 60)
    assert await begin_close(store, 60) == first
    await store.give_back(kept.id, cost=10, units=1)
    assert (await begin_close(store, 60)).outcome is CloseOutcome.NOT_SPENT
    assert (await begin_close(store, 50, "u")).outcome is CloseOutcome.BEGUN
    found = await store.channel(kept.id)
    assert (found.closing_amount, found.closing_signature) == (50, "u")


async def test_a_channel_never_spent_from_closes_with_nothing(store, new_channel):
    await store.add_channel(new_channel())
    close = await begin_close(store, 0)
    assert (close.outcome, close.channel.closing_amount) == (CloseOutcome.BEGUN, 0)


async def test_a_close_may_begin_when_the_funder_has_begun_one(store, new_channel):
    await store.add_channel(new_channel(closes_at=900))
    assert (await begin_close(store, 0)).outcome is CloseOutcome.BEGUN


async def test_what_is_closed_is_not_closed_again(store, new_channel):
    kept = await store.add_channel(new_channel(status=ChannelStatus.CLOSED))
    assert await begin_close(store, 0) == Close(CloseOutcome.CLOSED, kept)
    assert await store.channel(kept.id) == kept


async def test_a_channel_nobody_knows_is_not_closed(store):
    assert await begin_close(store, 0) == Close(CloseOutcome.UNKNOWN, None)


async def test_a_close_that_failed_leaves_the_channel_open(stores, kept):
    one, other = stores
    await begin_close(one, 60)
    await one.cancel_close(kept.id, amount=60)
    assert await other.channel(kept.id) == kept._replace(used_at=20)


@pytest.mark.parametrize("amount", [0, 59, 61])
async def test_a_close_is_not_cancelled_by_one_of_another_amount(store, kept, amount):
    """Whose close failed does not speak for one that began since."""
    begun = await begin_close(store, 60)
    await store.cancel_close(kept.id, amount=amount)
    assert await store.channel(kept.id) == begun.channel


async def test_of_two_closes_the_later_one_is_cancelled(store, kept):
    await begin_close(store, 60)
    await store.give_back(kept.id, cost=10, units=1)
    begun = await begin_close(store, 50)
    await store.cancel_close(kept.id, amount=60)
    assert await store.channel(kept.id) == begun.channel
    await store.cancel_close(kept.id, amount=50)
    assert (await store.channel(kept.id)).status is ChannelStatus.OPEN


@pytest.mark.parametrize("status", [ChannelStatus.OPEN, ChannelStatus.CLOSED])
async def test_only_a_close_that_began_can_be_cancelled(store, new_channel, status):
    kept = await store.add_channel(new_channel(status=status))
    await store.cancel_close(kept.id, amount=0)
    assert await store.channel(kept.id) == kept
    await store.cancel_close("another", amount=0)


# channels and forget_channels


async def test_channels_are_listed_by_id_in_pages(stores, new_channel):
    names = ["b", "a", "Z", "c"]
    for name in names:
        await stores[0].add_channel(new_channel(name))
    assert [channel.id for channel in await stores[1].channels(limit=9)] == ["Z", "a", "b", "c"]
    assert [channel.id for channel in await stores[1].channels(limit=2)] == ["Z", "a"]
    assert [channel.id for channel in await stores[1].channels(limit=2, after="a")] == ["b", "c"]
    assert [channel.id for channel in await stores[1].channels(limit=2, after="aa")] == ["b", "c"]
    assert list(await stores[1].channels(limit=2, after="c")) == []
    assert list(await stores[1].channels(limit=0)) == []


async def test_channels_are_listed_by_status(store, new_channel):
    open_, closing, closed = [
        await store.add_channel(new_channel(f"{n}", status=status))
        for n, status in enumerate(ChannelStatus)
    ]
    assert list(await store.channels(limit=9)) == [open_, closing, closed]
    living = await store.channels(limit=9, statuses={ChannelStatus.CLOSING, ChannelStatus.OPEN})
    assert list(living) == [open_, closing]
    assert list(await store.channels(limit=1, statuses=[ChannelStatus.CLOSED] * 2)) == [closed]
    assert list(await store.channels(limit=9, statuses=[])) == []


async def test_closed_channels_are_forgotten_the_longest_unused_first(stores, new_channel):
    one, other = stores
    for name, used_at in {"a": 5, "b": 3, "c": 4, "d": 3}.items():
        await one.add_channel(new_channel(name, used_at=used_at, status=ChannelStatus.CLOSED))
    assert await one.forget_channels(used_before=5, limit=2) == 2
    assert [channel.id for channel in await other.channels(limit=9)] == ["a", "c"]
    assert await one.forget_channels(used_before=5, limit=2) == 1
    assert await one.forget_channels(used_before=5, limit=2) == 0
    assert [channel.id for channel in await other.channels(limit=9)] == ["a"]
    assert await other.channel("b") is None


@pytest.mark.parametrize("status", CLOSABLE)
async def test_nothing_is_forgotten_that_is_not_closed(store, new_channel, status):
    kept = await store.add_channel(new_channel(status=status))
    assert await store.forget_channels(used_before=10**9, limit=9) == 0
    assert await store.channel(kept.id) == kept


async def test_a_forgotten_channel_may_be_added_anew(store, new_channel):
    closed = new_channel(status=ChannelStatus.CLOSED)
    for _ in range(2):
        await store.add_channel(closed)
        assert list(await store.channels(limit=9)) == [closed]
        assert await store.forget_channels(used_before=1, limit=1) == 1
    assert list(await store.channels(limit=9)) == []
