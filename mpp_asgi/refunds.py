"""Money of channels that was spent for nothing, or may have been: it is given back.

A spend gets no answer if the store fails in the midst of it, and nobody knows whether it counts. So
each goes by an *entry*, made before the store is asked: asked for again under the same entry it
counts once, and given back under it, it does not count at all, even if it comes only then. The same
holds for what is given back. Until the store has taken that, nothing more is spent from the channel
here: its payer would be told that the balance does not suffice.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from mpp_asgi.stores.channels import ENTRY_LENGTH
from mpp_asgi.stores.contract import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator
    from typing import Any

    from mpp_asgi.heart import Heart
    from mpp_asgi.stores.contract import Store

log = logging.getLogger("mpp_asgi.session")

MOST_OWED: Final = 10_000
"""Refunds that the store has not taken yet, beyond which nothing more is spent."""
ATTEMPTS: Final = 4
"""How often one is tried soon, doubling from 0.5 s; from then on it is tried at every heartbeat."""
_COUNTER_LENGTH: Final = 8


class Book(Protocol):
    """What a charge book is to refunds."""

    store: Store

    @property
    def heart(self) -> Heart: ...

    def spawn(self, work: Coroutine[Any, Any, None], /) -> asyncio.Task[None]:
        """Run work that outlives the request it comes from."""
        ...


class Refund(NamedTuple):
    """What is to be given back to a channel."""

    channel_id: str
    entry: str
    """Of the spend, or of several together, made for this."""
    cost: int
    """Base units."""
    units: int
    certain: bool
    """It was spent; otherwise nobody knows."""


class Refunds:
    """What this process owes to channels, until the store has taken it.

    Args:
        book: whose store it is.
        sleep: as `asyncio.sleep`.
        draw: makes so many random bytes, in hex.
    """

    def __init__(
        self,
        book: Book,
        *,
        sleep: Callable[[float], Awaitable[None]],
        draw: Callable[[int], str] = secrets.token_hex,
    ) -> None:
        self._book = book
        self._sleep = sleep
        self._process = draw(ENTRY_LENGTH)[: ENTRY_LENGTH - _COUNTER_LENGTH]
        self._numbers = itertools.count()
        self.owed: dict[str, dict[str, Refund]] = {}
        """By channel and entry; no channel without any."""
        self._giving: dict[str, asyncio.Task[None]] = {}
        """By channel, what is on its way."""
        self._tried: set[str] = set()
        """Channels that something is given back to soon."""

    def __len__(self) -> int:
        return sum(map(len, self.owed.values()))

    def __iter__(self) -> Iterator[Refund]:
        return (refund for owed in self.owed.values() for refund in owed.values())

    def new_entry(self) -> str:
        """One that no spend has gone by, here or in other processes."""
        return f"{self._process}{next(self._numbers) & 0xFFFFFFFF:08x}"

    def owe(self, refund: Refund) -> None:
        """Have it given back, soon if the store lets us."""
        self._add(refund)
        self._try_soon(refund.channel_id)

    async def give(self, refund: Refund) -> None:
        """Give it back at once; if the store does not let us, as soon as it does."""
        self._add(refund)
        try:
            await self.settle(refund.channel_id)
        except StoreUnavailableError:
            self._try_soon(refund.channel_id)

    def _add(self, refund: Refund) -> None:
        self.owed.setdefault(refund.channel_id, {})[refund.entry] = refund

    async def settle(self, channel_id: str) -> None:
        """Give back what is owed to a channel; whoever wants that at the same time waits together.

        Raises:
            StoreUnavailableError: what is left has to wait.
        """
        begun_before = self._giving.get(channel_id)
        if begun_before is not None and _is_under_way(begun_before):
            with suppress(StoreUnavailableError):  # which says nothing of the store as it is now
                await asyncio.shield(begun_before)
        while channel_id in self.owed:
            giving = self._giving.get(channel_id)
            if giving is None or not _is_under_way(giving):
                giving = self._giving[channel_id] = self._book.spawn(self._give_all(channel_id))
                giving.add_done_callback(_look_at)
            await asyncio.shield(giving)

    async def _give_all(self, channel_id: str) -> None:
        try:
            owed = self.owed.get(channel_id, {}).values()
            ends = await asyncio.gather(*map(self._give, owed), return_exceptions=True)
        finally:
            self._giving.pop(channel_id, None)
        for end in ends:
            if end is not None:
                raise end

    async def _give(self, refund: Refund) -> None:
        await self._book.store.give_back(
            refund.channel_id,
            cost=refund.cost,
            units=refund.units,
            entry=refund.entry,
            certain=refund.certain,
        )
        owed = self.owed.get(refund.channel_id, {})
        owed.pop(refund.entry, None)
        if not owed:
            self.owed.pop(refund.channel_id, None)

    async def before_spending(self, channel_id: str) -> None:
        """See that nothing is owed to a channel that is about to be spent from. Unless anything is
        `owed`, there is no need to ask.

        Raises:
            StoreUnavailableError: it is still owed, or too much is owed altogether.
        """
        await self.settle(channel_id)
        if len(self) >= MOST_OWED:
            raise StoreUnavailableError("Too much waits to be given back.")

    async def settle_all(self) -> None:
        """Give back everything.

        Raises:
            StoreUnavailableError: what is left has to wait.
        """
        for channel_id in tuple(self.owed):
            try:
                await self.settle(channel_id)
            except StoreUnavailableError:
                raise
            except Exception as error:  # noqa: BLE001 # whatever it is, it is this one's alone
                log.error("not given back to channel %s: %s", channel_id, type(error).__name__)

    def _try_soon(self, channel_id: str) -> None:
        if channel_id not in self._tried:
            self._tried.add(channel_id)
            self._book.spawn(self._give_soon(channel_id))

    async def _give_soon(self, channel_id: str) -> None:
        try:
            await self._give_at_last(channel_id)
        finally:
            self._tried.discard(channel_id)

    async def _give_at_last(self, channel_id: str) -> None:
        for attempt in range(ATTEMPTS):
            try:
                await self.settle(channel_id)
            except StoreUnavailableError as error:
                log.warning("store unavailable, a spend is not given back yet: %s", error)
                await self._sleep(0.5 * 2**attempt)
            else:
                return
        with suppress(StoreUnavailableError):  # it goes on trying all the same
            await self._book.heart.start()

    async def settle_last(self, *, attempts: int) -> None:
        """Try for the last time, once a second."""
        for _ in range(attempts):
            try:
                await self.settle_all()
            except StoreUnavailableError as error:
                log.warning("store unavailable, a spend is not given back yet: %s", error)
            if not self.owed:
                return
            await self._sleep(1)


def _is_under_way(task: asyncio.Task[None]) -> bool:
    return not task.done() and task.get_loop() is asyncio.get_running_loop()


def _look_at(giving: asyncio.Task[None]) -> None:
    """Whoever waited for it may have left."""
    if not giving.cancelled():
        giving.exception()
