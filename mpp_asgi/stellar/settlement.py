"""When the recipient takes what it is owed out of a channel, on the ledger: its own decision.

A channel's contract pays exactly what a voucher says, so only whole vouchers can be settled, and of
these the highest is held. It may be for more than was served so far, as payers may sign ahead and
ride on that for many requests. What is *earned* is what was served and not settled; the *headroom*
is what the voucher has beyond that. Once it is settled the payer can still use it up (by showing a
higher voucher, as everybody can read the settled one), but does not get it back by closing. So,
between the two:

- Nothing is settled where nothing is earned, whatever was signed.
- A routine settlement waits for a voucher without headroom, but not for ever: from twice the limit
  on the headroom is settled, too.
- In an emergency (the funder is closing the channel), at the end of the process and on demand, the
  voucher is settled as it is: else what is earned is lost.
- Where the payer has asked us to close, it is owed what its closing voucher says, and no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mpp_asgi.stores.channels import ChannelStatus

if TYPE_CHECKING:
    from mpp_asgi.stellar.cashier import Cashier
    from mpp_asgi.stores.channels import Channel, ChannelStore

HEADROOM_PATIENCE: Final = 2
"""How many times a limit must be reached before headroom is settled with what is earned."""


class NothingToSettleError(Exception):
    """There is no money to be had from a channel. The text is a sentence for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementPolicy:
    """When to settle without being asked; what is ``None`` is no reason. Each settlement costs the
    network's fee, so it should be well below what is settled."""

    amount: int | None = None
    """Base units earned."""
    units: int | None = None
    """Requests (or other units) served since the last settlement."""
    age: int | None = None
    """Seconds since the last settlement, or since the channel was first seen."""
    at_shutdown: bool = False
    """Settle whatever is earned when the process ends: nobody guards it from then on."""

    def is_due(self, channel: Channel, now: float) -> bool:
        """Whether to settle the channel now (Unix seconds), as a matter of routine."""
        if channel.spent <= channel.settled or channel.status is not ChannelStatus.OPEN:
            return False
        return self._is_reached(channel, now) and is_payable(channel)

    def _is_reached(self, channel: Channel, now: float) -> bool:
        times = HEADROOM_PATIENCE if headroom(channel) else 1
        since = channel.settled_at or channel.opened_at
        return (
            (self.amount is not None and earned(channel) >= times * self.amount)
            or (
                self.units is not None
                and channel.units - channel.settled_units >= times * self.units
            )
            or (self.age is not None and now - since >= times * self.age)
        )


def earned(channel: Channel) -> int:
    """What was served and not settled, in base units."""
    return max(0, channel.spent - channel.settled)


def headroom(channel: Channel) -> int:
    """What settling the highest voucher would take beyond what is earned, in base units."""
    return channel.accepted - max(channel.spent, channel.settled)


def at_risk(channel: Channel) -> int:
    """What the vouchers held are worth beyond what was settled, in base units."""
    return max(0, to_settle(channel).accepted - channel.settled)


def to_settle(channel: Channel) -> Channel:
    """The channel, its voucher being the one that is to be settled."""
    if channel.closing_amount is None:
        return channel
    return channel._replace(accepted=channel.closing_amount, signature=channel.closing_signature)


def is_payable(channel: Channel) -> bool:
    """Whether the channel's contract would pay anything for the voucher to settle."""
    voucher = to_settle(channel)
    # The contract fails if it cannot pay all of it.
    return bool(voucher.signature) and channel.settled < voucher.accepted <= channel.deposited


def is_unpaid(channel: Channel) -> bool:
    """Whether something is earned that a voucher is held for, there or not when it was last
    seen."""
    voucher = to_settle(channel)
    return bool(voucher.signature) and min(channel.spent, voucher.accepted) > channel.settled


def is_owed(channel: Channel) -> bool:
    """Whether something is earned, and can be had."""
    return channel.spent > channel.settled and is_payable(channel)


def lost(before: Channel, after: Channel) -> int:
    """What was earned and is gone for good by what was seen last, in base units: the channel is
    closed, and empty since then."""
    was_there = before.status is not ChannelStatus.CLOSED or before.deposited > before.settled
    is_gone = after.status is ChannelStatus.CLOSED and after.deposited <= after.settled
    return earned(after) if was_there and is_gone else 0


async def settle_now(store: ChannelStore, cashier: Cashier, channel_id: str) -> str | None:
    """Settle the voucher held for a channel because somebody wants it, with whatever headroom it
    has.

    Returns:
        The transaction's hash; ``None`` if it was settled meanwhile.

    Raises:
        NothingToSettleError: there is nothing to be had.
        PendingError, FaultError, RefusalError: as `Cashier.settle`.
        StoreUnavailableError: the store fails.
    """
    channel = await store.channel(channel_id)
    if channel is None:
        raise NothingToSettleError("This channel is not on record.")
    if not is_payable(channel):
        raise NothingToSettleError("No voucher is held that this channel would pay for.")
    return await cashier.settle(channel)
