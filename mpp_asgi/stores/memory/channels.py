"""Payment channels in the memory of one process."""

from __future__ import annotations

import bisect
import heapq
from itertools import islice
from typing import TYPE_CHECKING, Any, Unpack

from mpp_asgi.stores import channel_ruling
from mpp_asgi.stores.channels import (
    LEASE_SLACK_SECONDS,
    Channel,
    ChannelStatus,
    Close,
    CloseOutcome,
    Spend,
    SpendOutcome,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from mpp_asgi.stores.channels import LedgerFacts, Return, SpendTerms


class MemoryChannels:
    """A `ChannelStore` that lasts as long as the object does.

    No call awaits anything, so each one is atomic on its event loop.
    """

    def __init__(self) -> None:
        super().__init__()
        self._channel_rows: dict[str, _Row] = {}
        self._channel_ids: list[str] = []  # in order
        self._closed_channels: set[str] = set()
        self._leases: dict[str, tuple[str, int]] = {}

    async def add_channel(self, channel: Channel) -> Channel:
        """As `ChannelStore.add_channel`."""
        found = self._find_channel(channel.id)
        if found is None:
            bisect.insort(self._channel_ids, channel.id)
            return self._keep_channel(channel_ruling.added(channel))
        return self._keep_channel(channel_ruling.added_again(found, channel))

    async def channel(self, channel_id: str) -> Channel | None:
        """As `ChannelStore.channel`."""
        return self._find_channel(channel_id)

    async def spend(self, channel_id: str, **terms: Unpack[SpendTerms]) -> Spend:
        """As `ChannelStore.spend`."""
        found = self._find_channel(channel_id)
        if found is None:
            return Spend(SpendOutcome.UNKNOWN, None)
        spend = channel_ruling.spend(found, **terms)
        if spend.channel is not None and spend.channel is not found:
            self._channel_rows[channel_id] = _as_row(spend.channel)
        return spend

    async def publish(self, channel_id: str, *, amount: int) -> None:
        """As `ChannelStore.publish`."""
        found = self._find_channel(channel_id)
        if found is not None:
            self._keep_channel(channel_ruling.published(found, amount=amount))

    async def give_back(self, channel_id: str, **what: Unpack[Return]) -> None:
        """As `ChannelStore.give_back`."""
        found = self._find_channel(channel_id)
        if found is not None:
            self._keep_channel(channel_ruling.given_back(found, **what))

    async def observe(self, channel_id: str, **facts: Unpack[LedgerFacts]) -> Channel | None:
        """As `ChannelStore.observe`."""
        found = self._find_channel(channel_id)
        if found is None:
            return None
        return self._keep_channel(channel_ruling.observed(found, **facts))

    async def begin_close(self, channel_id: str, *, amount: int, signature: str, now: int) -> Close:
        """As `ChannelStore.begin_close`."""
        found = self._find_channel(channel_id)
        if found is None:
            return Close(CloseOutcome.UNKNOWN, None)
        close = channel_ruling.begun_to_close(found, amount=amount, signature=signature, now=now)
        if close.channel is not None:
            self._keep_channel(close.channel)
        return close

    async def cancel_close(self, channel_id: str, *, amount: int) -> None:
        """As `ChannelStore.cancel_close`."""
        found = self._find_channel(channel_id)
        if found is not None:
            self._keep_channel(channel_ruling.reopened(found, amount=amount))

    async def channels(
        self,
        *,
        limit: int,
        after: str = "",
        statuses: Collection[ChannelStatus] = tuple(ChannelStatus),
    ) -> Sequence[Channel]:
        """As `ChannelStore.channels`."""
        first = bisect.bisect_right(self._channel_ids, after)
        beyond = (
            _from_row(self._channel_rows[self._channel_ids[n]])
            for n in range(first, len(self._channel_ids))
        )
        return list(islice((channel for channel in beyond if channel.status in statuses), limit))

    async def forget_channels(self, *, used_before: int, limit: int) -> int:
        """As `ChannelStore.forget_channels`."""
        closed = (_from_row(self._channel_rows[channel_id]) for channel_id in self._closed_channels)
        unused = (channel for channel in closed if channel.used_at < used_before)
        forgotten = heapq.nsmallest(
            limit, unused, key=lambda channel: (channel.used_at, channel.id)
        )
        for channel in forgotten:
            del self._channel_rows[channel.id]
            del self._channel_ids[bisect.bisect_left(self._channel_ids, channel.id)]
            self._closed_channels.discard(channel.id)
        return len(forgotten)

    async def lease(self, name: str, *, owner: str, until: int, now: int) -> bool:
        """As `ChannelStore.lease`."""
        holder, end = self._leases.get(name, (owner, until))
        if holder != owner and now < end <= until + LEASE_SLACK_SECONDS:
            return False
        self._leases[name] = (owner, until)
        return True

    async def release_lease(self, name: str, *, owner: str) -> None:
        """As `ChannelStore.release_lease`."""
        holder, _ = self._leases.get(name, (None, 0))
        if holder == owner:
            del self._leases[name]

    def _purge_leases(self, *, now: int) -> None:
        """As `Store.purge`."""
        for lapsed in [name for name, (_, end) in self._leases.items() if end <= now]:
            del self._leases[lapsed]

    def _find_channel(self, channel_id: str) -> Channel | None:
        row = self._channel_rows.get(channel_id)
        return None if row is None else _from_row(row)

    def _keep_channel(self, channel: Channel) -> Channel:
        self._channel_rows[channel.id] = _as_row(channel)
        if channel.status is ChannelStatus.CLOSED:
            self._closed_channels.add(channel.id)
        return channel


_Row = tuple[Any, ...]
"""A channel in values that the garbage collector need not look at: there may be 100,000 of them,
and each of its full rounds would stop the event loop for as long as that takes."""


def _as_row(channel: Channel) -> _Row:
    return (*channel[:_STATUS], channel.status.value, *channel[_STATUS + 1 :])


def _from_row(row: _Row) -> Channel:
    return Channel._make((*row[:_STATUS], _STATUSES[row[_STATUS]], *row[_STATUS + 1 :]))


_STATUS = Channel._fields.index("status")
_STATUSES = {status.value: status for status in ChannelStatus}
