"""Payment channels in the memory of one process."""

from __future__ import annotations

import bisect
import heapq
from itertools import islice
from typing import TYPE_CHECKING

from mpp_asgi.stores import channel_ruling
from mpp_asgi.stores.channels import (
    Channel,
    ChannelStatus,
    Close,
    CloseOutcome,
    Spend,
    SpendOutcome,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


class MemoryChannels:
    """A `ChannelStore` that lasts as long as the object does.

    No call awaits anything, so each one is atomic on its event loop.
    """

    def __init__(self) -> None:
        self._channels: dict[str, Channel] = {}
        self._ids: list[str] = []  # in order
        self._closed: set[str] = set()
        self._leases: dict[str, tuple[str, int]] = {}

    async def add_channel(self, channel: Channel) -> Channel:
        """As `ChannelStore.add_channel`."""
        found = self._channels.get(channel.id)
        if found is None:
            bisect.insort(self._ids, channel.id)
            return self._keep(channel_ruling.added(channel))
        return self._keep(channel_ruling.added_again(found, channel))

    async def channel(self, channel_id: str) -> Channel | None:
        """As `ChannelStore.channel`."""
        return self._channels.get(channel_id)

    async def spend(
        self,
        channel_id: str,
        *,
        amount: int,
        signature: str,
        cost: int,
        units: int,
        min_delta: int,
        now: int,
    ) -> Spend:
        """As `ChannelStore.spend`."""
        found = self._channels.get(channel_id)
        if found is None:
            return Spend(SpendOutcome.UNKNOWN, None)
        spend = channel_ruling.spend(
            found,
            amount=amount,
            signature=signature,
            cost=cost,
            units=units,
            min_delta=min_delta,
            now=now,
        )
        if spend.channel is not None:
            self._channels[channel_id] = spend.channel
        return spend

    async def give_back(self, channel_id: str, *, cost: int, units: int) -> None:
        """As `ChannelStore.give_back`."""
        found = self._channels.get(channel_id)
        if found is not None:
            self._keep(channel_ruling.given_back(found, cost=cost, units=units))

    async def observe(
        self,
        channel_id: str,
        *,
        ledger: int,
        deposited: int,
        settled: int,
        closes_at: int | None,
        closed: bool,
        now: int,
    ) -> Channel | None:
        """As `ChannelStore.observe`."""
        found = self._channels.get(channel_id)
        if found is None:
            return None
        seen = channel_ruling.observed(
            found,
            ledger=ledger,
            deposited=deposited,
            settled=settled,
            closes_at=closes_at,
            closed=closed,
            now=now,
        )
        return self._keep(seen)

    async def begin_close(self, channel_id: str, *, amount: int, signature: str, now: int) -> Close:
        """As `ChannelStore.begin_close`."""
        found = self._channels.get(channel_id)
        if found is None:
            return Close(CloseOutcome.UNKNOWN, None)
        close = channel_ruling.begun_to_close(found, amount=amount, signature=signature, now=now)
        if close.channel is not None:
            self._keep(close.channel)
        return close

    async def cancel_close(self, channel_id: str) -> None:
        """As `ChannelStore.cancel_close`."""
        found = self._channels.get(channel_id)
        if found is not None:
            self._keep(channel_ruling.reopened(found))

    async def channels(
        self,
        *,
        limit: int,
        after: str = "",
        statuses: Collection[ChannelStatus] = tuple(ChannelStatus),
    ) -> Sequence[Channel]:
        """As `ChannelStore.channels`."""
        first = bisect.bisect_right(self._ids, after)
        beyond = (self._channels[self._ids[n]] for n in range(first, len(self._ids)))
        return list(islice((channel for channel in beyond if channel.status in statuses), limit))

    async def forget_channels(self, *, used_before: int, limit: int) -> int:
        """As `ChannelStore.forget_channels`."""
        closed = (self._channels[channel_id] for channel_id in self._closed)
        unused = (channel for channel in closed if channel.used_at < used_before)
        forgotten = heapq.nsmallest(
            limit, unused, key=lambda channel: (channel.used_at, channel.id)
        )
        for channel in forgotten:
            del self._channels[channel.id]
            del self._ids[bisect.bisect_left(self._ids, channel.id)]
            self._closed.discard(channel.id)
        return len(forgotten)

    async def lease(self, name: str, *, owner: str, until: int, now: int) -> bool:
        """As `ChannelStore.lease`."""
        for lapsed in [name for name, (_, end) in self._leases.items() if end <= now]:
            del self._leases[lapsed]
        holder, _ = self._leases.get(name, (owner, until))
        if holder != owner:
            return False
        self._leases[name] = (owner, until)
        return True

    async def release_lease(self, name: str, *, owner: str) -> None:
        """As `ChannelStore.release_lease`."""
        holder, _ = self._leases.get(name, (None, 0))
        if holder == owner:
            del self._leases[name]

    def _keep(self, channel: Channel) -> Channel:
        self._channels[channel.id] = channel
        if channel.status is ChannelStatus.CLOSED:
            self._closed.add(channel.id)
        return channel
