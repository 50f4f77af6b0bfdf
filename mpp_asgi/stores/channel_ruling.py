"""What each call of a `ChannelStore` makes of a record: its rules, for backends that decide in
Python.

Each function returns the very record it was given where there is nothing to write.
"""

from __future__ import annotations

from mpp_asgi.stores.channels import (
    RECENT_LENGTH,
    RETURNED,
    SPENT,
    Channel,
    ChannelStatus,
    Close,
    CloseOutcome,
    Spend,
    SpendOutcome,
    require_whole,
)


def spend(
    found: Channel,
    *,
    amount: int,
    signature: str,
    cost: int,
    units: int,
    min_delta: int,
    now: int,
    shown: bool = True,
    entry: str = "",
) -> Spend:
    """As `ChannelStore.spend`."""
    require_whole((amount, cost, units))
    recent = found.recent
    if entry:
        if entry in recent:
            was_spent = SPENT + entry in recent
            return Spend(SpendOutcome.SPENT if was_spent else SpendOutcome.VOID, found)
        recent = (recent + SPENT + entry)[-RECENT_LENGTH:]
    refusal = _refusal(found, amount, min_delta)
    if refusal is not None:
        return Spend(refusal, found)
    if amount > found.accepted:
        found = found._replace(accepted=amount, signature=signature, used_at=now)
    if cost > found.available:
        return Spend(SpendOutcome.INSUFFICIENT, found)
    if shown and cost and amount <= found.published:
        return Spend(SpendOutcome.PUBLISHED, found)
    spent = found._replace(
        spent=found.spent + cost, units=found.units + units, used_at=now, recent=recent
    )
    return Spend(SpendOutcome.SPENT, spent)


def _refusal(found: Channel, amount: int, min_delta: int) -> SpendOutcome | None:
    """Why the voucher is not taken."""
    if found.status is ChannelStatus.CLOSED:
        return SpendOutcome.CLOSED
    if found.status is ChannelStatus.CLOSING or found.closes_at is not None:
        return SpendOutcome.CLOSING
    if amount < found.accepted:
        return SpendOutcome.LOWER
    if found.accepted < amount < found.accepted + min_delta:
        return SpendOutcome.DELTA_TOO_SMALL
    if amount > max(found.accepted, found.deposited):
        return SpendOutcome.EXCEEDS_DEPOSIT
    return None


def published(found: Channel, *, amount: int) -> Channel:
    """As `ChannelStore.publish`."""
    return found._replace(published=amount) if amount > found.published else found


def given_back(
    found: Channel, *, cost: int, units: int, entry: str = "", certain: bool = True
) -> Channel:
    """As `ChannelStore.give_back`."""
    require_whole((cost, units))
    recent = found.recent
    if entry:
        if RETURNED + entry in recent:
            return found
        if SPENT + entry in recent:
            certain = True
            recent = recent.replace(SPENT + entry, RETURNED + entry)
        else:
            recent = (recent + RETURNED + entry)[-RECENT_LENGTH:]
    if not certain:
        return found._replace(recent=recent)
    spent, units = max(0, found.spent - cost), max(0, found.units - units)
    return found._replace(spent=spent, units=units, recent=recent)


def added(channel: Channel) -> Channel:
    """A record that is new, as `ChannelStore.add_channel` keeps it."""
    return _remember_settled(channel)


def added_again(found: Channel, channel: Channel) -> Channel:
    """A record that is there already, as `ChannelStore.add_channel` keeps it."""
    return observed(
        found,
        ledger=channel.seen_ledger,
        deposited=channel.deposited,
        settled=channel.settled,
        closes_at=channel.closes_at,
        closed=channel.status is ChannelStatus.CLOSED,
        now=channel.opened_at,
    )


def observed(
    found: Channel,
    *,
    ledger: int,
    deposited: int,
    settled: int,
    closes_at: int | None,
    closed: bool,
    now: int,
) -> Channel:
    """As `ChannelStore.observe`."""
    if ledger < found.seen_ledger:
        return found
    seen = found._replace(
        seen_ledger=ledger, deposited=deposited, settled=settled, closes_at=closes_at
    )
    if settled > found.settled:
        seen = seen._replace(settled_at=now, settled_units=found.units)
    if closed and found.status is not ChannelStatus.CLOSED:
        seen = seen._replace(status=ChannelStatus.CLOSED, used_at=now)
    return _remember_settled(seen)


def begun_to_close(found: Channel, *, amount: int, signature: str, now: int) -> Close:
    """As `ChannelStore.begin_close`."""
    if found.status is ChannelStatus.CLOSED:
        return Close(CloseOutcome.CLOSED, found)
    if amount != found.spent:
        return Close(CloseOutcome.NOT_SPENT, found)
    closing = found._replace(
        status=ChannelStatus.CLOSING,
        closing_amount=amount,
        closing_signature=signature,
        used_at=now,
    )
    return Close(CloseOutcome.BEGUN, closing)


def reopened(found: Channel, *, amount: int) -> Channel:
    """As `ChannelStore.cancel_close`."""
    if found.status is not ChannelStatus.CLOSING or found.closing_amount != amount:
        return found
    return found._replace(status=ChannelStatus.OPEN, closing_amount=None, closing_signature="")


def _remember_settled(seen: Channel) -> Channel:
    """What was settled was published; count it as accepted and spent, too, if it was settled with a
    voucher that is on no record."""
    seen = published(seen, amount=seen.settled)
    unknown = seen.settled - seen.accepted
    if unknown <= 0:
        return seen
    return seen._replace(accepted=seen.settled, signature="", spent=seen.spent + unknown)
