"""Deliveries that the store may not know of: responses that left whole when it would not write."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from mpp_asgi.stores.contract import Outcome, OwnershipLostError, State, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from mpp_asgi.stores.contract import Charge, Store

log = logging.getLogger("mpp_asgi.charges")

ATTEMPTS = 4
"""How often a delivery that could not be written down is tried again at once, doubling from 0.5 s;
from then on it is tried at every heartbeat."""


class Book(Protocol):
    """What a charge book is to them."""

    store: Store
    owner: str

    @property
    def clock(self) -> Callable[[], float]: ...

    def spawn(self, work: Coroutine[Any, Any, None], /) -> object:
        """Run work that outlives the request it comes from."""
        ...


class UnnotedDeliveries:
    """Until the store knows that a response left, we do: the charge is not granted again here, and
    we try to write it down for as long as we live. Kept as ids of charges.

    Args:
        book: whose charges they are.
        sleep: as `asyncio.sleep`.
    """

    def __init__(self, book: Book, *, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._book = book
        self._sleep = sleep
        self.ids: set[str] = set()

    def add(self, charge: Charge) -> None:
        """A response left whole, and it is not certain that the store knows."""
        self.ids.add(charge.id)
        self._book.spawn(self._note_soon(charge))

    async def _note_soon(self, charge: Charge) -> None:
        with suppress(StoreUnavailableError, OwnershipLostError):
            await self._book.store.write(charge.delivered(), owner=self._book.owner)
            self.ids.discard(charge.id)
            return
        for attempt in range(ATTEMPTS):
            try:
                await self.note()
            except StoreUnavailableError:
                await self._sleep(0.5 * 2**attempt)
            else:
                return

    async def note(self) -> None:
        """Try to write them all down.

        Raises:
            StoreUnavailableError: what is left has to wait.
        """
        for charge_id in tuple(self.ids):
            try:
                if await self._note(charge_id):
                    self.ids.discard(charge_id)
            except StoreUnavailableError:
                raise
            except Exception as error:  # noqa: BLE001 # whatever it is, it is this one's alone
                log.error("delivery of %s not written: %s", charge_id, type(error).__name__)

    async def _note(self, charge_id: str) -> bool:
        """Write down that a charge was delivered; ``False`` while another process is at it."""
        found = await self._book.store.get(charge_id)
        if found is None or found.state is not State.SETTLED:
            return True
        ours = found._replace(state=State.CLAIMED, owner=self._book.owner)
        claim = await self._book.store.claim(ours, (), now=int(self._book.clock()))
        if claim.outcome is not Outcome.TAKEN or claim.charge is None:
            return claim.outcome is Outcome.OVER
        try:
            await self._book.store.write(claim.charge.delivered(), owner=self._book.owner)
        except OwnershipLostError:
            return False
        return True

    async def note_last(self, *, attempts: int) -> None:
        """Try for the last time, once a second."""
        for _ in range(attempts):
            try:
                await self.note()
            except StoreUnavailableError as error:
                log.warning("store unavailable, delivery not written yet: %s", error)
            if not self.ids:
                return
            await self._sleep(1)
