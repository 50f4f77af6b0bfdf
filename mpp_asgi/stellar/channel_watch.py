"""Following channels: what the ledger says of those on record, and keeping the records right.

A hundred channels are read with one call to the node, and only what has changed is written.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, NamedTuple

from mpp_asgi.intents import FaultError
from mpp_asgi.stellar.channel import read_channels
from mpp_asgi.stellar.channel_facts import channels_a_call
from mpp_asgi.stellar.observation import deposited, is_hidden, is_over
from mpp_asgi.stellar.settlement import is_unpaid
from mpp_asgi.stores.channels import ChannelStatus
from mpp_asgi.stores.contract import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterator,
        Awaitable,
        Callable,
        Collection,
        Iterable,
        Sequence,
    )

    from mpp_asgi.stellar.cashier import Cashier
    from mpp_asgi.stellar.channel import ChannelFacts
    from mpp_asgi.stellar.ledger import Ledger
    from mpp_asgi.stores.channels import Channel, ChannelStore

log = logging.getLogger("mpp_asgi.guardian")

PAGE: Final = 500
"""Channels that are read from the store at a time."""
PAUSE_SECONDS: Final = 0.2
"""Between two calls of a sweep, which makes five a second at most."""
MOST_FAULTS: Final = 3
"""Calls in a row that may fail before the node counts as out of reach."""

FOLLOWED: Final = frozenset({ChannelStatus.OPEN, ChannelStatus.CLOSING})


class Seen(NamedTuple):
    """A channel on record, and what was seen of it."""

    before: Channel
    """As it was on record."""
    channel: Channel
    """As it is on record now."""
    ledger: int | None
    """The ledger it was read from; ``None``: it was not."""
    is_missing: bool = False
    """The node does not show it, or not the money in it: it was idle until it was archived, or the
    node lies. It is judged by its record."""


async def on_record(
    store: ChannelStore, statuses: Collection[ChannelStatus] = tuple(ChannelStatus)
) -> AsyncIterator[Channel]:
    """Every channel of these statuses, by id.

    Raises:
        StoreUnavailableError: the store fails.
    """
    after = ""
    while page := await store.channels(after=after, limit=PAGE, statuses=statuses):
        for channel in page:
            yield channel
        after = page[-1].id


class ChannelWatch:
    """Reads channels for whoever guards them.

    Args:
        store: where the records are.
        ledger: whom to ask.
        cashier: writes down what was read.
        sleep: as `asyncio.sleep`.
    """

    def __init__(
        self,
        store: ChannelStore,
        ledger: Ledger,
        cashier: Cashier,
        *,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._cashier = cashier
        self._sleep = sleep
        self._faults = 0
        self.calls = 0
        """How often the node was asked so far."""

    async def sweep(self, *, closed_too: bool) -> AsyncGenerator[Sequence[Seen]]:
        """Look at every channel that is not closed, a call's worth at a time.

        Costs ⌈n / 100⌉ calls for each token with n channels.

        Args:
            closed_too: also at those that are closed and have not paid what was earned: whatever
                was seen before, the ledger says whether there is money for us in them.

        Raises:
            FaultError: the node is out of reach.
            StoreUnavailableError: the store fails.
        """
        self._faults = 0
        waiting: dict[str, list[Channel]] = {}
        async for channel in on_record(
            self._store, tuple(ChannelStatus) if closed_too else FOLLOWED
        ):
            if channel.status is ChannelStatus.CLOSED and not is_unpaid(channel):
                continue
            batch = waiting.setdefault(channel.token, [])
            batch.append(channel)
            if len(batch) == channels_a_call((channel.token,)):
                yield await self._look(waiting.pop(channel.token))
                await self._sleep(PAUSE_SECONDS)
        for batch in waiting.values():
            yield await self._look(batch)

    async def look(self, channels: Iterable[Channel]) -> Sequence[Seen]:
        """Look at some channels.

        Raises:
            FaultError, StoreUnavailableError: as `sweep`.
        """
        self._faults = 0
        by_token: dict[str, list[Channel]] = {}
        for channel in channels:
            by_token.setdefault(channel.token, []).append(channel)
        seen: list[Seen] = []
        for token, some in by_token.items():
            a_call = channels_a_call((token,))
            for start in range(0, len(some), a_call):
                seen += await self._look(some[start : start + a_call])
        return seen

    async def _look(self, batch: Sequence[Channel]) -> Sequence[Seen]:
        """Look at channels of one token, with one call."""
        self.calls += 1
        try:
            facts = await read_channels(
                self._ledger, [channel.id for channel in batch], (batch[0].token,)
            )
        except FaultError as error:
            self._faults += 1
            if self._faults >= MOST_FAULTS:
                raise
            # One that makes no sense to us must not hide the others.
            log.warning("%d channels from %s on unread: %s", len(batch), batch[0].id, error)
            return [Seen(channel, channel, None) for channel in batch]
        except Exception as error:  # noqa: BLE001 # whatever it is, it must not hide the others
            return await self._look_apart(batch, error)
        self._faults = 0
        return [await self._keep(channel, facts[channel.id]) for channel in batch]

    async def _look_apart(self, batch: Sequence[Channel], error: Exception) -> Sequence[Seen]:
        """Look at the halves of a batch that cannot be looked at as a whole, for a reason that
        nobody foresaw, until it is known which channel's doing that is."""
        if len(batch) == 1:
            return [_not_seen(batch[0], error)]
        seen: list[Seen] = []
        half = len(batch) // 2
        for part in (batch[:half], batch[half:]):
            await self._sleep(PAUSE_SECONDS)
            seen += await self._look(part)
        return seen

    async def _keep(self, channel: Channel, facts: ChannelFacts | None) -> Seen:
        try:
            return await self._note(channel, facts)
        except StoreUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 # whatever it is, it is this channel's alone
            return _not_seen(channel, error)

    async def _note(self, channel: Channel, facts: ChannelFacts | None) -> Seen:
        if facts is None:
            return Seen(channel, channel, None, is_missing=True)
        is_missing = is_hidden(channel, facts)
        if not _is_news(channel, facts):
            return Seen(channel, channel, facts.ledger, is_missing)
        kept = await self._cashier.note(channel, facts)
        return Seen(channel, kept or channel, facts.ledger, is_missing)


def _not_seen(channel: Channel, error: Exception) -> Seen:
    log.error("channel %s cannot be looked at: %s", channel.id, type(error).__name__)
    return Seen(channel, channel, None)


def _is_news(channel: Channel, facts: ChannelFacts) -> bool:
    """Whether there is anything to write, beyond that a younger ledger says the same."""
    was_over = channel.status is ChannelStatus.CLOSED
    now = deposited(channel, facts), facts.withdrawn, facts.closes_at, is_over(channel, facts)
    return now != (channel.deposited, channel.settled, channel.closes_at, was_over)
