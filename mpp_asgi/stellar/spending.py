"""Spending from a channel so that it counts once, and not at all if it bought nothing."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from mpp_asgi.refunds import Refund
from mpp_asgi.stellar.bell import Bell
from mpp_asgi.stores.channels import ENTRY_LENGTH, RECENT_LENGTH, SpendOutcome
from mpp_asgi.stores.contract import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mpp_asgi.stellar.admissions import Counter
    from mpp_asgi.stellar.vouchers import Voucher
    from mpp_asgi.stores.channels import Channel, ChannelStore, Spend, SpendTerms

log = logging.getLogger("mpp_asgi.session")

AGAIN_WITHIN: Final = 2.0
"""Seconds in which a store has to have failed to be asked once more while the payer waits."""
MOST_SEEN: Final = 10_000
"""Channels of which the last entry is kept at hand."""


class Spending:
    """Spends, and takes spends back.

    Args:
        counter: clock, and the process's tasks and refunds.
        store: where channels are kept.
        min_delta: base units by which a higher voucher has to be higher.
    """

    def __init__(self, counter: Counter, store: ChannelStore, *, min_delta: int) -> None:
        self._book = counter.book
        self._clock = counter.clock
        self._store = store
        self._min_delta = min_delta
        self._tell: Callable[[Channel], None] | None = None
        self._seen: dict[str, str] = {}
        """The last entry that was seen in each channel, so that it tells what it has forgotten
        since."""
        self.bell = Bell(counter.sleep)
        """Rings where more can be spent than before."""

    def when_spent(self, tell: Callable[[Channel], None]) -> None:
        """Have somebody told of each channel after it was spent from; it must not take long."""
        self._tell = tell

    async def spend(self, voucher: Voucher, cost: int, units: int, *, shown: bool = True) -> Spend:
        """One step of the store, as `ChannelStore.spend`. A request that is given up meanwhile gets
        its cost back, and so does one that gets no answer, in case it was spent.

        Raises:
            StoreUnavailableError: the store fails, or did before and owes the channel something.
        """
        book = self._book
        if book.refunds.owed:
            await book.refunds.before_spending(voucher.channel)
        now = self._clock()
        terms: SpendTerms = {
            "amount": voucher.amount,
            "signature": voucher.signature,
            "cost": cost,
            "units": units,
            "min_delta": self._min_delta,
            "now": int(now),
            "shown": shown,
            "entry": book.refunds.new_entry() if cost else "",
        }
        seen = self._seen.get(voucher.channel, "")
        try:
            spend = await self._store.spend(voucher.channel, **terms)
        except asyncio.CancelledError:
            self._doubt(voucher.channel, terms)
            raise
        except StoreUnavailableError as error:
            spend = await self._ask_again(voucher.channel, terms, error, since=now, seen=seen)
        if spend.channel is not None:
            self._remember(spend.channel)
        if self._tell is not None and spend.outcome is SpendOutcome.SPENT and spend.channel:
            self._tell(spend.channel)
        return spend

    def _remember(self, channel: Channel) -> None:
        if len(self._seen) >= MOST_SEEN:
            self._seen.clear()
        self._seen[channel.id] = channel.recent[-ENTRY_LENGTH:]

    async def _ask_again(
        self,
        channel_id: str,
        terms: SpendTerms,
        error: StoreUnavailableError,
        *,
        since: float,
        seen: str,
    ) -> Spend:
        again = self._spend_again(channel_id, terms, error, since=since, seen=seen)
        spending = self._book.spawn(again)
        try:
            return await asyncio.shield(spending)
        except asyncio.CancelledError:
            self._book.spawn(self._undo(spending, channel_id, terms))
            raise

    async def _spend_again(
        self,
        channel_id: str,
        terms: SpendTerms,
        error: StoreUnavailableError,
        *,
        since: float,
        seen: str,
    ) -> Spend:
        """Ask for a spend that got no answer: a lost connection is made anew. What is not said to
        be spent then is in doubt, as what was asked first may come late; and so is what may have
        been spent before so many others that the channel has forgotten it, and is spent twice."""
        try:
            if self._clock() - since >= AGAIN_WITHIN:
                raise error
            log.warning("store unavailable, it is asked once more: %s", error)
            spend = await self._store.spend(channel_id, **terms)
        except StoreUnavailableError:
            self._doubt(channel_id, terms)
            raise
        is_certain = not terms["entry"] or _counts_once(spend, terms["entry"], seen)
        if spend.outcome is not SpendOutcome.SPENT or not is_certain:
            self._doubt(channel_id, terms)
        if not is_certain:
            raise StoreUnavailableError("Too much was spent meanwhile to tell.") from error
        return spend

    async def _undo(
        self, spending: asyncio.Task[Spend], channel_id: str, terms: SpendTerms
    ) -> None:
        try:
            spend = await spending
        except StoreUnavailableError:
            self._doubt(channel_id, terms)
            return
        if spend.outcome is SpendOutcome.SPENT:
            await self.give_back(channel_id, terms["cost"], units=terms["units"])

    def _doubt(self, channel_id: str, terms: SpendTerms) -> None:
        if terms["cost"]:
            cost, units, entry = terms["cost"], terms["units"], terms["entry"]
            self._book.refunds.owe(Refund(channel_id, entry, cost, units, certain=False))

    async def give_back(self, channel_id: str, cost: int, *, units: int) -> None:
        """Take spends back whose units were not delivered: now, or as soon as the store lets us."""
        if not cost:
            return
        refunds = self._book.refunds
        await refunds.give(Refund(channel_id, refunds.new_entry(), cost, units, certain=True))
        self.bell.ring(channel_id)

    async def end_doubt(self, channel_id: str) -> None:
        """See that what is on record as spent was.

        Raises:
            StoreUnavailableError: that is not certain yet.
        """
        await self._book.refunds.settle(channel_id)


def _counts_once(spend: Spend, entry: str, seen: str) -> bool:
    """Whether a spend that was asked for twice cannot have been spent the first time without the
    channel's knowing of it the second time.

    Args:
        spend: what came of it the second time.
        entry: what it goes by.
        seen: the last entry that the channel was seen with before it was asked for at all, if any.
    """
    channel = spend.channel
    if channel is None or len(channel.recent) < RECENT_LENGTH:
        return True  # nothing was forgotten ever
    if seen and seen in channel.recent:
        return True  # nor since then
    return spend.outcome is SpendOutcome.SPENT and not channel.recent.endswith(entry)  # was known
