"""What a look at the ledger makes of a channel's record.

The ledger's word is taken as it is, but for one thing: that a balance is not shown does not say
that there is none. Some nodes hide what has been idle until it was archived, and whoever uses the
channel next brings it back. So what is on record as deposited stays until a balance is shown, and
no channel is let go of for want of one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mpp_asgi.stellar.channel_facts import ChannelFacts
    from mpp_asgi.stores.channels import Channel, ChannelStore


async def note(
    store: ChannelStore, channel: Channel, facts: ChannelFacts, *, now: int
) -> Channel | None:
    """Take what was read of a channel into its record, and give that; ``None`` if there is none.

    Args:
        store: where the record is.
        channel: as it is on record. Whether it is over is judged by that.
        facts: what was read.
        now: Unix seconds.

    Raises:
        StoreUnavailableError: the store fails.
    """
    return await store.observe(
        channel.id,
        ledger=facts.ledger,
        deposited=deposited(channel, facts),
        settled=facts.withdrawn,
        closes_at=facts.closes_at,
        closed=is_over(channel, facts),
        now=now,
    )


def is_hidden(channel: Channel, facts: ChannelFacts) -> bool:
    """Whether money that is on record is neither shown nor paid out."""
    return not facts.shows_balance and channel.deposited > facts.withdrawn


def deposited(channel: Channel, facts: ChannelFacts) -> int:
    """What is deposited by what is known now, in base units."""
    return channel.deposited if is_hidden(channel, facts) else facts.deposited


def is_over(channel: Channel, facts: ChannelFacts) -> bool:
    """Nothing can be had from the channel any more: it is closed, and paid what it owed or has
    nothing left. What is frozen may be thawed."""
    owed = channel.accepted if channel.closing_amount is None else channel.closing_amount
    is_left = facts.balance or facts.frozen or is_hidden(channel, facts)
    return facts.is_closed and (facts.withdrawn >= owed or not is_left)
