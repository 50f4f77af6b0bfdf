"""When a seller settles, and what of."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mpp_asgi.stellar.settlement import (
    SettlementPolicy,
    at_risk,
    earned,
    headroom,
    is_owed,
    is_payable,
    lost,
    to_settle,
)
from mpp_asgi.stores.channels import Channel, ChannelStatus

NOW = 1_800_000_000
AMOUNTS = st.integers(0, 1_000)


def channel(**facts: object) -> Channel:
    """One with 1000 in it, opened just now, with a voucher for what was spent."""
    spent = facts.get("spent", 0)
    values = {
        "id": "C1",
        "key": "00" * 32,
        "funder": "G1",
        "recipient": "G2",
        "token": "C2",
        "waiting_period": 100,
        "deposited": 1_000,
        "settled": 0,
        "seen_ledger": 1,
        "opened_at": NOW,
        "accepted": spent,
        "signature": "ab" * 64,
        **facts,
    }
    return Channel(**values)  # type: ignore[arg-type] # a test names what it is about


@st.composite
def channels(draw: st.DrawFn) -> Channel:
    """Any that a store could have."""
    accepted = draw(AMOUNTS)
    spent = draw(st.integers(0, accepted))
    closing = draw(st.none() | st.just(spent))
    return channel(
        accepted=accepted,
        spent=spent,
        settled=draw(st.integers(0, accepted)),
        deposited=draw(AMOUNTS),
        units=draw(AMOUNTS),
        opened_at=NOW - draw(AMOUNTS),
        signature=draw(st.sampled_from(["", "ab" * 64])),
        status=draw(st.sampled_from(ChannelStatus)),
        closing_amount=closing,
        closing_signature="" if closing is None else "cd" * 64,
    )


@st.composite
def policies(draw: st.DrawFn) -> SettlementPolicy:
    limits = st.none() | st.integers(1, 1_000)
    return SettlementPolicy(amount=draw(limits), units=draw(limits), age=draw(limits))


def test_without_a_limit_nothing_is_ever_due() -> None:
    served = channel(spent=1_000, units=1_000, opened_at=0)
    assert not SettlementPolicy().is_due(served, NOW)


def test_due_by_amount() -> None:
    policy = SettlementPolicy(amount=100)
    assert not policy.is_due(channel(spent=99), NOW)
    assert policy.is_due(channel(spent=100), NOW)
    assert not policy.is_due(channel(spent=199, settled=100), NOW)
    assert policy.is_due(channel(spent=200, settled=100), NOW)


def test_due_by_units_since_the_last_settlement() -> None:
    policy = SettlementPolicy(units=10)
    assert not policy.is_due(channel(spent=5, units=9), NOW)
    assert policy.is_due(channel(spent=5, units=10), NOW)
    assert not policy.is_due(channel(spent=50, settled=5, units=19, settled_units=10), NOW)
    assert policy.is_due(channel(spent=50, settled=5, units=20, settled_units=10), NOW)


def test_due_by_time_since_the_last_settlement() -> None:
    policy = SettlementPolicy(age=3_600)
    assert not policy.is_due(channel(spent=5), NOW + 3_599)
    assert policy.is_due(channel(spent=5), NOW + 3_600)
    settled = channel(spent=5, settled=3, settled_at=NOW + 3_600)
    assert not policy.is_due(settled, NOW + 7_199)
    assert policy.is_due(settled, NOW + 7_200)


def test_headroom_can_wait_for_the_double_of_a_limit() -> None:
    policy = SettlementPolicy(amount=100, units=10, age=3_600)
    assert not policy.is_due(channel(spent=199, accepted=200, units=19), NOW + 7_199)
    assert policy.is_due(channel(spent=200, accepted=201, units=19), NOW + 7_199)
    assert policy.is_due(channel(spent=199, accepted=200, units=20), NOW + 7_199)
    assert policy.is_due(channel(spent=199, accepted=200, units=19), NOW + 7_200)


def test_headroom_that_was_settled_is_none_any_more() -> None:
    ridden = channel(spent=150, settled=100, accepted=150)
    assert headroom(channel(spent=50, settled=100, accepted=100)) == 0
    assert SettlementPolicy(amount=50).is_due(ridden, NOW)


def test_the_voucher_that_a_payer_closes_with_is_what_it_owes() -> None:
    closing = channel(
        spent=30,
        accepted=80,
        status=ChannelStatus.CLOSING,
        closing_amount=30,
        closing_signature="cd" * 64,
    )
    assert to_settle(closing) == closing._replace(accepted=30, signature="cd" * 64)
    assert at_risk(closing) == earned(closing) == 30


def test_what_the_contract_would_fail_at_is_not_tried() -> None:
    assert is_payable(channel(spent=30))
    assert not is_payable(channel(spent=30, signature="")), "its voucher is held elsewhere"
    assert not is_payable(channel(spent=30, deposited=29)), "its token is frozen"
    assert not is_payable(channel(spent=30, settled=30))


def test_lost_is_what_was_earned_when_the_channel_was_emptied() -> None:
    before = channel(spent=30)
    closed = before._replace(status=ChannelStatus.CLOSED)
    emptied = closed._replace(deposited=0)
    assert lost(before, closed) == 0, "it may still be paid"
    assert lost(before, emptied) == lost(closed, emptied) == 30
    assert lost(emptied, emptied) == 0, "that was known"
    assert lost(before, emptied._replace(deposited=30, settled=30)) == 0


@given(channels(), policies(), st.integers(0, 2_000))
def test_only_what_is_earned_and_can_be_paid_is_ever_due(
    found: Channel, policy: SettlementPolicy, later: int
) -> None:
    if policy.is_due(found, NOW + later):
        assert is_owed(found)
        assert earned(found) > 0
        assert found.status is ChannelStatus.OPEN


@given(channels(), policies(), st.integers(0, 2_000), AMOUNTS)
def test_what_is_due_stays_due_as_time_goes_by_and_more_is_served(
    found: Channel, policy: SettlementPolicy, later: int, more: int
) -> None:
    if not policy.is_due(found, NOW + later):
        return
    assert policy.is_due(found, NOW + later + more)
    served = min(more, found.accepted - found.spent)
    assert policy.is_due(found._replace(spent=found.spent + served), NOW + later)


@given(channels())
def test_a_voucher_is_worth_what_is_earned_and_its_headroom(found: Channel) -> None:
    assert headroom(found) >= 0
    assert at_risk(found) >= 0
    if found.closing_amount is None:
        assert at_risk(found) == earned(found) + headroom(found)
