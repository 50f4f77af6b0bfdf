"""What every store promises of vouchers and spending, call by call."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from mpp_asgi.stores.channels import ChannelStatus, Spend, SpendOutcome

WIDEST = 2**127 - 1
"""The highest amount there is on the ledger."""


def spend(store, amount, cost, *, channel_id="channel", **otherwise):
    said = {"signature": f"s{amount}", "units": 1, "min_delta": 0, "now": 20} | otherwise
    return store.spend(channel_id, amount=amount, cost=cost, **said)


@pytest.fixture
async def kept(store, new_channel):
    """A channel with a voucher for 100 of which 60 are spent."""
    await store.add_channel(new_channel())
    return (await spend(store, 100, 60, now=10)).channel


async def test_a_higher_voucher_is_accepted_and_spent_from(stores, new_channel):
    one, other = stores
    channel = await one.add_channel(new_channel())
    spent = channel._replace(accepted=100, signature="s100", spent=60, units=3, used_at=10)
    assert await spend(one, 100, 60, units=3, now=10) == Spend(SpendOutcome.SPENT, spent)
    assert await other.channel(channel.id) == spent


async def test_what_a_voucher_left_over_is_spent_by_showing_it_again(store, kept):
    spent = kept._replace(spent=100, units=2, used_at=20)
    assert await spend(store, 100, 40) == Spend(SpendOutcome.SPENT, spent)
    assert await store.channel(kept.id) == spent


async def test_another_signature_of_the_same_amount_replaces_nothing(store, kept):
    spent = await spend(store, 100, 1, signature="another")
    assert (spent.outcome, spent.channel.signature) == (SpendOutcome.SPENT, kept.signature)


async def test_a_replayed_voucher_without_headroom_buys_nothing(store, kept):
    assert await spend(store, 100, 41) == Spend(SpendOutcome.INSUFFICIENT, kept)
    assert await store.channel(kept.id) == kept


async def test_a_voucher_that_does_not_cover_the_cost_is_kept_all_the_same(stores, kept):
    one, other = stores
    accepted = kept._replace(accepted=110, signature="s110", used_at=20)
    assert await spend(one, 110, 51) == Spend(SpendOutcome.INSUFFICIENT, accepted)
    assert await other.channel(kept.id) == accepted


async def test_a_voucher_may_cover_the_cost_exactly(store, kept):
    assert (await spend(store, 110, 50)).outcome is SpendOutcome.SPENT
    assert (await store.channel(kept.id)).available == 0


async def test_a_voucher_may_be_shown_for_nothing(store, kept):
    accepted = kept._replace(accepted=300, signature="s300", used_at=20)
    assert await spend(store, 300, 0, units=0) == Spend(SpendOutcome.SPENT, accepted)


async def test_a_lower_voucher_is_refused_even_if_it_would_do(store, kept):
    assert await spend(store, 99, 1) == Spend(SpendOutcome.LOWER, kept)
    assert await store.channel(kept.id) == kept


@pytest.mark.parametrize(("amount", "taken"), [(109, False), (110, True), (100, True)])
async def test_a_voucher_is_raised_by_the_minimum_or_not_at_all(store, kept, amount, taken):
    outcome = SpendOutcome.SPENT if taken else SpendOutcome.DELTA_TOO_SMALL
    assert (await spend(store, amount, 1, min_delta=10)).outcome is outcome
    assert (await store.channel(kept.id) == kept) is not taken


async def test_a_voucher_may_be_for_the_whole_deposit_and_no_more(store, kept):
    assert await spend(store, 1001, 1) == Spend(SpendOutcome.EXCEEDS_DEPOSIT, kept)
    assert await store.channel(kept.id) == kept
    assert (await spend(store, 1000, 1)).outcome is SpendOutcome.SPENT


async def test_what_was_settled_is_still_part_of_the_deposit(store, kept):
    await store.observe(
        kept.id, ledger=51, deposited=1000, settled=100, closes_at=None, closed=False, now=20
    )
    assert (await spend(store, 1000, 900)).outcome is SpendOutcome.SPENT


async def test_there_is_no_spending_from_a_channel_nobody_knows(store):
    assert await spend(store, 100, 1) == Spend(SpendOutcome.UNKNOWN, None)
    assert await store.channel("channel") is None


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ({"status": ChannelStatus.CLOSED}, SpendOutcome.CLOSED),
        ({"status": ChannelStatus.CLOSED, "closes_at": 9}, SpendOutcome.CLOSED),
        ({"status": ChannelStatus.CLOSING}, SpendOutcome.CLOSING),
        ({"closes_at": 900}, SpendOutcome.CLOSING),
        ({"closes_at": 0}, SpendOutcome.CLOSING),
    ],
)
@pytest.mark.parametrize("amount", [0, 99, 100, 200, 2000])
async def test_a_channel_that_ends_takes_nothing(store, new_channel, said, outcome, amount):
    kept = await store.add_channel(new_channel(accepted=100, signature="s", spent=60, **said))
    assert await spend(store, amount, 1) == Spend(outcome, kept)
    assert await store.channel(kept.id) == kept


@pytest.mark.parametrize("wrong", [2.0, 2.5, Decimal(2)], ids=repr)
@pytest.mark.parametrize("field", ["cost", "units"])
async def test_what_is_no_integer_is_not_counted(store, kept, field, wrong):
    """Nobody could read the record again, and the guardian reads all of them."""
    wanted = {"cost": 1, "units": 1, field: wrong}
    with pytest.raises(TypeError, match="whole numbers"):
        await spend(store, 300, wanted["cost"], units=wanted["units"])
    with pytest.raises(TypeError, match="whole numbers"):
        await store.give_back(kept.id, **wanted)
    assert await store.channel(kept.id) == kept
    assert (await spend(store, 300, 1)).outcome is SpendOutcome.SPENT


async def test_channels_do_not_mix(store, new_channel):
    for name in "ab":
        await store.add_channel(new_channel(name))
    await spend(store, 10, 10, channel_id="a")
    await spend(store, 20, 5, channel_id="b")
    assert [(await store.channel(name)).spent for name in "ab"] == [10, 5]


@pytest.mark.parametrize("amount", [2**53 + 1, 2**63 - 1, 2**63, 2**64 + 1, WIDEST])
async def test_amounts_are_as_wide_as_the_ledgers(store, new_channel, amount):
    kept = await store.add_channel(new_channel(deposited=amount))
    assert (await spend(store, amount + 1, 1)).outcome is SpendOutcome.EXCEEDS_DEPOSIT
    assert (await spend(store, amount - 1, amount - 2)).outcome is SpendOutcome.SPENT
    assert (await spend(store, 9, 0)).outcome is SpendOutcome.LOWER  # "9" sorts behind any of them
    assert (await spend(store, amount, 3)).outcome is SpendOutcome.INSUFFICIENT
    assert (await spend(store, amount, 2)).outcome is SpendOutcome.SPENT
    await store.give_back(kept.id, cost=1, units=1)
    close = await store.begin_close(kept.id, amount=amount - 1, signature="t", now=3)
    found = await store.channel(kept.id)
    assert found == close.channel
    assert (found.deposited, found.accepted, found.spent, found.closing_amount) == (
        amount,
        amount,
        amount - 1,
        amount - 1,
    )


# give_back


async def test_what_was_not_delivered_is_given_back(stores, kept):
    one, other = stores
    await one.give_back(kept.id, cost=20, units=1)
    back = kept._replace(spent=40, units=0)
    assert await other.channel(kept.id) == back
    assert (await spend(other, 100, 60)).outcome is SpendOutcome.SPENT


async def test_no_more_is_given_back_than_there_is(store, kept):
    await store.give_back(kept.id, cost=61, units=2)
    assert await store.channel(kept.id) == kept._replace(spent=0, units=0)


async def test_what_is_given_back_of_settled_money_is_headroom(store, kept):
    await store.observe(
        kept.id, ledger=51, deposited=1000, settled=100, closes_at=None, closed=False, now=20
    )
    await store.give_back(kept.id, cost=60, units=1)
    assert (await store.channel(kept.id)).available == 100


@pytest.mark.parametrize("status", ChannelStatus)
async def test_whatever_the_channel_does_a_failure_is_given_back(store, new_channel, status):
    kept = await store.add_channel(
        new_channel(accepted=100, signature="s", spent=60, units=2, status=status)
    )
    await store.give_back(kept.id, cost=20, units=1)
    assert await store.channel(kept.id) == kept._replace(spent=40, units=1)


async def test_giving_back_to_a_channel_nobody_knows_does_nothing(store):
    await store.give_back("channel", cost=1, units=1)
    assert await store.channel("channel") is None


async def test_of_many_spends_at_once_those_succeed_that_are_covered(stores, kept):
    """40 are left."""
    spends = await asyncio.gather(*(spend(stores[n % 2], 100, 3) for n in range(50)))
    assert [spend.outcome for spend in spends].count(SpendOutcome.SPENT) == 13
    found = await stores[1].channel(kept.id)
    assert (found.spent, found.units) == (99, 14)
    assert sorted(spend.channel.spent for spend in spends)[:13] == list(range(63, 100, 3))


# what everybody can show


async def test_a_published_voucher_buys_nothing_until_a_higher_one_is_shown(stores, kept):
    one, other = stores
    await one.publish(kept.id, amount=100)
    known = kept._replace(published=100)
    for store in stores:
        assert await spend(store, 100, 1) == Spend(SpendOutcome.PUBLISHED, known)
    assert await other.channel(kept.id) == known
    spent = await spend(other, 101, 41)  # all of its headroom
    assert (spent.outcome, spent.channel.spent) == (SpendOutcome.SPENT, 101)
    assert (await spend(one, 101, 0)).outcome is SpendOutcome.SPENT


async def test_a_higher_voucher_of_before_may_be_shown_again(store, kept):
    await store.publish(kept.id, amount=99)
    assert (await spend(store, 100, 1)).outcome is SpendOutcome.SPENT


async def test_what_is_published_stays_so(store, kept):
    for amount in (100, 60):
        await store.publish(kept.id, amount=amount)
    assert (await store.channel(kept.id)).published == 100


async def test_a_published_voucher_may_be_shown_for_nothing(store, kept):
    await store.publish(kept.id, amount=100)
    assert (await spend(store, 100, 0, units=0)).outcome is SpendOutcome.SPENT


async def test_what_was_begun_goes_on_when_its_voucher_is_published(store, kept):
    await store.publish(kept.id, amount=100)
    assert (await spend(store, 100, 40, shown=False)).outcome is SpendOutcome.SPENT


async def test_a_published_voucher_without_headroom_is_as_any_other(store, kept):
    await store.publish(kept.id, amount=100)
    assert (await spend(store, 100, 41)).outcome is SpendOutcome.INSUFFICIENT


async def test_what_was_settled_was_published(store, kept):
    await store.observe(
        kept.id, ledger=51, deposited=1000, settled=100, closes_at=None, closed=False, now=20
    )
    assert (await spend(store, 100, 1)).outcome is SpendOutcome.PUBLISHED


async def test_nothing_is_published_of_a_channel_nobody_knows(store):
    await store.publish("channel", amount=1)
    assert await store.channel("channel") is None
