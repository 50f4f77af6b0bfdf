"""What a response draws from the channel that paid for it, beyond its price."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from mpp_asgi.metering import HeadroomError, SessionOverError
from mpp_asgi.stellar.teller import least_raise, problem_of
from mpp_asgi.stores.channels import ChannelStatus, SpendOutcome
from mpp_asgi.stores.contract import StoreUnavailableError

if TYPE_CHECKING:
    from mpp_asgi.metering import Work
    from mpp_asgi.stellar.session_receipt import SessionReceipt
    from mpp_asgi.stellar.teller import Teller
    from mpp_asgi.stores.channels import Channel, Spend

log = logging.getLogger("mpp_asgi.session")

PATIENCE_SECONDS: Final = 60.0
"""How long a stream waits for a voucher."""
POLL_SECONDS: Final = 0.5
"""How often it looks whether another process took one; of those taken in this it hears at once."""


class ChannelPurse:
    """Pays from one channel. See `Purse`.

    Args:
        teller: who books.
        channel: as it stood when the response was paid for.
        entry: what its receipt says of that.
    """

    __slots__ = ("_channel", "_entry", "_teller")

    def __init__(self, teller: Teller, channel: Channel, entry: SessionReceipt) -> None:
        self._teller = teller
        self._channel = channel
        self._entry = entry

    @property
    def decimals(self) -> int:
        """See `Purse.decimals`."""
        return self._entry.token.decimals

    async def draw(self, work: Work, held: Work) -> None:
        """See `Purse.draw`."""
        spend = await self._teller.draw(self._channel, cost=work.cost, units=work.units)
        if spend.channel is not None:
            self._channel = spend.channel
        if spend.outcome is not SpendOutcome.SPENT:
            raise self._error(spend, work, held)

    def _error(self, spend: Spend, work: Work, held: Work) -> HeadroomError | SessionOverError:
        """Why nothing was drawn. To whom this is the whole answer, what the response has cost so
        far is given back, and has to be paid again with the next one."""
        so_far = self._entry.cost + held.cost
        channel = self._channel
        if spend.channel is not None:
            spend = spend._replace(channel=channel._replace(spent=channel.spent - so_far))
        min_delta = self._teller.min_delta
        problem = problem_of(
            spend,
            channel.accepted,
            so_far + work.cost,
            self._entry.challenge_id,
            min_delta=min_delta,
        )
        if spend.outcome is not SpendOutcome.INSUFFICIENT:
            return SessionOverError(problem)
        shortage = {
            "channelId": channel.id,
            "requiredCumulative": str(
                channel.accepted + least_raise(channel, work.cost, min_delta)
            ),
            "acceptedCumulative": str(channel.accepted),
            "deposit": str(channel.deposited),
        }
        return HeadroomError(problem, shortage)

    async def put_back(self, work: Work) -> None:
        """See `Purse.put_back`."""
        giving = self._teller.spending.give_back(self._channel.id, work.cost, units=work.units)
        await asyncio.shield(self._teller.counter.book.spawn(giving))

    async def wait_for(self, work: Work) -> bool:
        """See `Purse.wait_for`."""
        counter, channel_id = self._teller.counter, self._channel.id
        waited = 0.0
        with self._teller.spending.bell.listening(channel_id) as listener:
            while not await self._is_decided(channel_id, work):
                if waited >= PATIENCE_SECONDS:
                    return False
                began = counter.clock()
                nap = min(PATIENCE_SECONDS - waited, POLL_SECONDS)
                await listener.wait(nap)
                # Whatever the clock was set to meanwhile.
                waited += min(max(0.0, counter.clock() - began), nap)
        return True

    async def _is_decided(self, channel_id: str, work: Work) -> bool:
        try:
            channel = await self._teller.channel(channel_id)
        except StoreUnavailableError as error:
            log.warning("store unavailable, a stream waits for it: %s", error)
            return False
        if channel is None or channel.status is not ChannelStatus.OPEN:
            return True
        return channel.closes_at is not None or channel.available >= work.cost

    async def receipt(self, drawn: Work) -> str:
        """See `Purse.receipt`."""
        try:
            self._channel = await self._teller.channel(self._channel.id) or self._channel
        except StoreUnavailableError as error:
            log.warning("store unavailable, a receipt says what was known before: %s", error)
        units = drawn.units + (1 if self._entry.cost else 0)
        return self._entry.to_header(self._channel, self._teller.counter.clock(), units=units)
