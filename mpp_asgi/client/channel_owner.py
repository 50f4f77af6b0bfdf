"""What `PaymentAuth` does with payment channels, beside paying from them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final

import httpx

from mpp_asgi.client.errand import AsyncErrands, Errands, acarry_out, carry_out
from mpp_asgi.client.leaving import Leaving
from mpp_asgi.client.streaming import AsyncEventStream, EventStream, StreamPayer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from mpp_asgi.client.amounts import Amount
    from mpp_asgi.client.hands import AsyncHands, SyncHands
    from mpp_asgi.client.held_channel import HeldChannel
    from mpp_asgi.client.payer import Payer

AHEAD: Final = 10
"""Times that the missing amount is signed at once for a stream."""


class ChannelOwner(httpx.Auth, ABC):
    """Who has payment channels, and can close them, leave them, and follow streams."""

    _payer: Payer

    @abstractmethod
    def _hands(self) -> SyncHands: ...

    @abstractmethod
    def _async_hands(self) -> AsyncHands: ...

    @property
    def channels(self) -> tuple[HeldChannel, ...]:
        """The payment channels of this payer, closed ones, too; oldest first."""
        rules = self._payer.rules
        return tuple(
            each
            for each in self._payer.sessions.channels.all()
            if (each.place.payer, each.place.network) == (rules.payer, rules.network.name)
        )

    def close_sessions(
        self, client: httpx.Client | None = None, *, channel: str | None = None
    ) -> tuple[HeldChannel, ...]:
        """Have the servers close all channels, or that one: each is paid what is owed to it, and
        the rest of the deposit comes back at once.

        Args:
            client: what to reach the servers through; by default one of its own.
            channel: the only one to close (``C…``).

        Returns:
            The channels closed; ``owed`` is what was paid from each in all, in base units.

        Raises:
            PaymentError: one could not be closed; the others were, as far as possible. Where the
                server is gone, `close_start` and `refund` do without it.
            ValueError: there is no such channel.
        """
        return carry_out(self._leaving.close(channel), self._hands(), client)

    async def aclose_sessions(
        self, client: httpx.AsyncClient | None = None, *, channel: str | None = None
    ) -> tuple[HeldChannel, ...]:
        """`close_sessions` in an event loop."""
        return await acarry_out(self._leaving.close(channel), self._async_hands(), client)

    def close_start(self, channel: str) -> int:
        """Announce on the ledger, without the server, that the rest of a deposit is going to be
        taken back. The payer pays the network fee.

        Returns:
            The ledger from which on `refund` does that. Until then the server can take what was
            signed, and should.

        Raises:
            PaymentNotMadeError: it cannot be; nothing happened.
            DepositInDoubtError: nobody knows whether it happened; do it again.
            ValueError: there is no such channel.
        """
        return carry_out(self._leaving.close_start(channel), self._hands())

    async def aclose_start(self, channel: str) -> int:
        """`close_start` in an event loop."""
        return await acarry_out(self._leaving.close_start(channel), self._async_hands())

    def refund(self, channel: str) -> HeldChannel:
        """Take back the rest of a deposit, without the server.

        Returns:
            The channel, closed; ``owed`` is what was paid from it in all, in base units.

        Raises:
            PaymentNotMadeError: it is too early; nothing happened.
            DepositInDoubtError: nobody knows whether it happened; do it again.
            ValueError: there is no such channel.
        """
        return carry_out(self._leaving.refund(channel), self._hands())

    async def arefund(self, channel: str) -> HeldChannel:
        """`refund` in an event loop."""
        return await acarry_out(self._leaving.refund(channel), self._async_hands())

    # --- streams ----------------------------------------------------------------------------------

    @contextmanager
    def stream(
        self,
        client: httpx.Client,
        method: str,
        url: httpx.URL | str,
        *,
        limit: Amount | None = None,
        ahead: int = AHEAD,
        **request: Any,
    ) -> Iterator[EventStream]:
        """Follow server-sent events that are paid for from a channel while they come::

            with auth.stream(client, "GET", "/tokens", limit="0.50") as events:
                for event in events:
                    print(event.data)

        When the stream asks for a voucher, it gets one, and the channel is topped up where it has
        to be. Such events are not given to the app.

        Args:
            client: what to request it through.
            method: of the request, as ``client.stream`` takes it.
            url: likewise.
            limit: how much it may cost in all beyond the price of the request, in whole tokens. By
                default ``max_per_request``, or else what is left of the budget.
            ahead: how many times what is missing is signed at once, so that the stream need not
                ask for each event. What is not used up pays for later requests, or comes back.
            request: further arguments of ``client.stream``.

        Raises:
            TypeError: the client is an `httpx.AsyncClient`, which `astream` is for.
            httpx.HTTPStatusError: while iterating: the answer is an error.
            httpx.DecodingError: while iterating: it is no event stream. ``events.response`` is the
                answer, whatever it is.
            BudgetExceededError: while iterating: it wants more than ``limit``.
            PaymentError: likewise, as its subclasses say.
        """
        if isinstance(client, httpx.AsyncClient):
            raise TypeError("For an httpx.AsyncClient write: async with auth.astream(client, ...).")
        with client.stream(method, url, auth=self, **request) as response:
            payer = StreamPayer(self._payer, response, limit=limit, ahead=ahead)
            yield EventStream(response, payer, Errands(self._hands, client))

    @asynccontextmanager
    async def astream(
        self,
        client: httpx.AsyncClient,
        method: str,
        url: httpx.URL | str,
        *,
        limit: Amount | None = None,
        ahead: int = AHEAD,
        **request: Any,
    ) -> AsyncIterator[AsyncEventStream]:
        """`stream` in an event loop."""
        if isinstance(client, httpx.Client):
            raise TypeError("For an httpx.Client write: with auth.stream(client, ...).")
        async with client.stream(method, url, auth=self, **request) as response:
            payer = StreamPayer(self._payer, response, limit=limit, ahead=ahead)
            yield AsyncEventStream(response, payer, AsyncErrands(self._async_hands, client))

    @property
    def _leaving(self) -> Leaving:
        return Leaving(self._payer)
