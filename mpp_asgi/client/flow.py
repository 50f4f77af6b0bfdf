"""Carries out the steps of a conversation inside httpx, with or without an event loop.

httpx drives an authentication flow like a generator: it asks for the next request and sends in the
response. When a request fails it only closes the flow, and lets its own error pass. What the error
was decides whether money is in doubt, so the flows here are written as classes: while they are
being closed, the error that closes them is the one being handled.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import httpx

from mpp_asgi.client.body import watch_body
from mpp_asgi.client.connection import note_peer
from mpp_asgi.client.glance import AsyncGlance, Glance
from mpp_asgi.client.purchase import purchase
from mpp_asgi.client.steps import Run

if TYPE_CHECKING:
    from mpp_asgi.client.book import Owed
    from mpp_asgi.client.hands import AsyncHands, SyncHands
    from mpp_asgi.client.payer import Payer
    from mpp_asgi.client.steps import Step


class SyncFlow:
    """What httpx drives in `httpx.Client`: of a generator, what it uses."""

    def __init__(self, payer: Payer, request: httpx.Request, hands: SyncHands) -> None:
        self._payer = payer
        self._request = request
        self._hands = hands
        self._run: Run[Step, Owed | None] | None = None

    def __next__(self) -> httpx.Request:
        """The first request."""
        return self.send(None)

    def send(self, response: httpx.Response | None) -> httpx.Request:
        """The next request; `StopIteration` when the response is the answer."""
        if response is not None:
            note_peer(response)
        glance = None if response is None else Glance(response, self._payer.clock)
        if glance is not None and glance.seen.is_error:
            glance.take()
        run = self._under_way()
        run.send(None if glance is None else glance.seen)
        while (step := run.step) is not None:
            if isinstance(step, httpx.Request):
                if glance is not None:
                    glance.leave()
                return step
            self._hands.carry_out(run, step)
        if response is not None and run.result is not None:
            watch_body(response, run.result, self._payer.book.keep)
        raise StopIteration

    def _under_way(self) -> Run[Step, Owed | None]:
        if self._run is None:
            body = self._request.read()
            self._run = Run(purchase(self._payer, self._request, body))
        return self._run

    def close(self) -> None:
        """End the flow. Called by httpx in any case, and while an error is on its way."""
        try:
            if self._run is not None:
                self._run.lose(sys.exception())
        finally:
            self._hands.close()


class AsyncFlow:
    """What httpx drives in `httpx.AsyncClient`: of a generator, what it uses."""

    def __init__(self, payer: Payer, request: httpx.Request, hands: AsyncHands) -> None:
        self._payer = payer
        self._request = request
        self._hands = hands
        self._run: Run[Step, Owed | None] | None = None

    async def __anext__(self) -> httpx.Request:
        """The first request."""
        return await self.asend(None)

    async def asend(self, response: httpx.Response | None) -> httpx.Request:
        """The next request; `StopAsyncIteration` when the response is the answer."""
        if response is not None:
            note_peer(response)
        glance = None if response is None else AsyncGlance(response, self._payer.clock)
        if glance is not None and glance.seen.is_error:
            await glance.take()
        run = await self._under_way()
        run.send(None if glance is None else glance.seen)
        while (step := run.step) is not None:
            if isinstance(step, httpx.Request):
                if glance is not None:
                    await glance.leave()
                return step
            await self._hands.carry_out(run, step)
        if response is not None and run.result is not None:
            watch_body(response, run.result, self._payer.book.keep)
        raise StopAsyncIteration

    async def _under_way(self) -> Run[Step, Owed | None]:
        if self._run is None:
            body = await self._request.aread()
            self._run = Run(purchase(self._payer, self._request, body))
        return self._run

    async def aclose(self) -> None:
        """End the flow. Called by httpx in any case, and while an error is on its way."""
        try:
            if self._run is not None:
                self._run.lose(sys.exception())
        finally:
            await self._hands.close()
