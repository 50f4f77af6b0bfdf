"""The life of a charge: one challenge, one credential, one settlement, one delivery.

`ChargeBook` keeps that promise over a store that other processes share. A request takes the
*turn* at a challenge, and holds it until its response left or failed: in this process turns queue
up, between processes the store's ownership decides. Each step is durable before the next begins.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from mpp_asgi.intents import PendingError, RefusalError
from mpp_asgi.protocol import problems
from mpp_asgi.stores.contract import (
    Charge,
    Outcome,
    OwnershipLostError,
    State,
    Store,
    StoreUnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

log = logging.getLogger("mpp_asgi.charges")

HEARTBEAT_SECONDS = 5
"""How often a process says that it lives."""
LIFE_SECONDS = 15
"""How long after its last heartbeat a process counts as alive; less than others are patient."""
PATIENCE_SECONDS = 20
"""How long a request waits for another one that holds the same credential."""
MOST_WAITING = 64
"""Requests that may wait for one credential in one process; more are told to come back."""
DELIVERY_ATTEMPTS = 6
"""How often writing ``delivered`` is tried again when the store fails, doubling from 0.5 s."""


class ChargeBook:
    """The charges of one process over a shared store.

    Args:
        store: where the records are.
        owner: this process's name among all that share the store; new at each start.
        clock: Unix seconds.
        sleep: as `asyncio.sleep`.
    """

    def __init__(
        self,
        store: Store,
        *,
        owner: str,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.store = store
        self.owner = owner
        self.clock = clock
        self._sleep = sleep
        self._queues: dict[str, list[asyncio.Future[None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._abandoned: set[str] = set()
        self._beat_due = 0.0

    async def turn(self, charge_id: str) -> Turn:
        """Wait for the turn at a challenge and take it. Give it back with `Turn.end`.

        Raises:
            PendingError: others are still at it after `PATIENCE_SECONDS`, or too many wait.
        """
        queue = self._queues.get(charge_id)
        if queue is None:
            self._queues[charge_id] = []
            return Turn(self, charge_id)
        if len(queue) >= MOST_WAITING:
            raise PendingError
        turn_came = asyncio.get_running_loop().create_future()
        queue.append(turn_came)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await turn_came
        except BaseException as error:
            if turn_came.done() and not turn_came.cancelled():  # it came in the same moment
                self._next(charge_id)
            elif turn_came in queue:
                queue.remove(turn_came)
            if isinstance(error, TimeoutError):
                raise PendingError from None
            raise
        return Turn(self, charge_id)

    def _next(self, charge_id: str) -> None:
        queue = self._queues[charge_id]
        while queue:
            turn_came = queue.pop(0)
            if not turn_came.done():
                turn_came.set_result(None)
                return
        del self._queues[charge_id]

    async def beat(self) -> None:
        """Say that this process lives, if it is time to."""
        now = self.clock()
        if now >= self._beat_due:
            await self.store.heartbeat(self.owner, alive_until=int(now) + LIFE_SECONDS)
            self._beat_due = now + HEARTBEAT_SECONDS

    async def beat_forever(self) -> None:
        """Keep saying so. Runs as a task for as long as the application does."""
        while True:
            try:
                await self.beat()
                await self._let_go_of_abandoned()
                await self.store.purge(now=int(self.clock()), limit=1000)
            except StoreUnavailableError as error:
                log.warning("store unavailable, heartbeat missed: %s", error)
            await self._sleep(HEARTBEAT_SECONDS)

    async def _let_go_of_abandoned(self) -> None:
        """Charges may name us as their owner though nobody here is at work on them, because the
        store failed when we let go. Other processes cannot take them while we live."""
        for charge_id in self._abandoned.difference(self._queues):
            self._abandoned.discard(charge_id)
            turn = await self.turn(charge_id)
            turn.may_own = True
            await turn.end()

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run work that outlives the request it comes from; `drain` waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def drain(self) -> None:
        """Wait for everything under way; at shutdown."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))


class Turn:
    """One request's hold on one challenge."""

    def __init__(self, book: ChargeBook, charge_id: str) -> None:
        self._book = book
        self._id = charge_id
        self._ended = False
        self.may_own = False
        self.charge: Charge | None = None
        """The record, once it was found or claimed."""

    async def find(self) -> Charge | None:
        """The record as it stands, if the challenge was used before.

        Raises:
            RefusalError: the charge is over.
        """
        self.charge = await self._book.store.get(self._id)
        if self.charge is not None:
            self.may_own = self.charge.owner == self._book.owner
            _refuse_if_over(self.charge)
        return self.charge

    async def claim(self, credential: str, proofs: Sequence[str], *, keep_until: int) -> Charge:
        """Own the charge.

        Args:
            credential: SHA-256 of the credential's payload, hex.
            proofs: keys of what may be used once only.
            keep_until: Unix seconds.

        Raises:
            RefusalError: the challenge or a proof was used before.
            PendingError: another process is at it, still after `PATIENCE_SECONDS`.
        """
        book = self._book
        await book.beat()
        fresh = Charge(
            id=self._id,
            credential=credential,
            state=State.CLAIMED,
            keep_until=keep_until,
            owner=book.owner,
        )
        give_up = book.clock() + PATIENCE_SECONDS
        self.may_own = True
        while True:
            claim = await book.store.claim(fresh, proofs, now=int(book.clock()))
            if claim.outcome in (Outcome.NEW, Outcome.TAKEN) and claim.charge is not None:
                self.charge = claim.charge
                return claim.charge
            if claim.outcome is not Outcome.BUSY:
                if claim.charge is not None and claim.charge.credential == credential:
                    _refuse_if_over(claim.charge)
                raise RefusalError(
                    problems.INVALID_CHALLENGE.because("This challenge or payment was used before.")
                )
            if book.clock() >= give_up:
                raise PendingError
            await book._sleep(0.2)  # noqa: SLF001 # the book's own clockwork

    async def submitted(
        self, *, reference: str, envelope: str, valid_until: int, payer: str, proofs: Sequence[str]
    ) -> None:
        """Write down what is about to be submitted.

        Raises:
            RefusalError: one of ``proofs`` belongs to another challenge; nothing may be submitted.
            OwnershipLostError: another process is at it by now, and what it makes of it is open.
        """
        try:
            await self._write(
                proofs,
                state=State.SUBMITTED,
                reference=reference,
                envelope=envelope,
                valid_until=valid_until,
                payer=payer,
            )
        except OwnershipLostError:
            found = await self._book.store.get(self._id)
            if found is None or found.owner != self._book.owner:
                raise
            raise RefusalError(
                problems.INVALID_CHALLENGE.because("This payment was used before.")
            ) from None

    async def withdrawn(self) -> None:
        """Write down that what was submitted is not on the ledger and never will be, through no
        fault of the payer's: the charge may begin again."""
        await self._write(state=State.CLAIMED, reference=None, envelope=None, valid_until=None)

    async def settled(self, *, receipt: str, payer: str, reference: str, keep_until: int) -> None:
        """Write down that the money moved."""
        await self._write(
            state=State.SETTLED,
            receipt=receipt,
            payer=payer,
            reference=reference,
            keep_until=keep_until,
        )

    async def failed(self, slug: str) -> None:
        """Write down that no money moved and none will; ends the turn."""
        await self._write(state=State.FAILED, problem=slug, owner=None)
        self._over()

    async def delivered(self) -> None:
        """Write down that the response left; ends the turn. Keeps trying if the store fails, and
        survives cancellation."""
        try:
            await self._deliver()
        except asyncio.CancelledError:
            self._book.spawn(self._deliver())  # it has left all the same; writing it twice is once
            raise

    async def _deliver(self) -> None:
        try:
            await self._write(state=State.DELIVERED, owner=None)
        except StoreUnavailableError as error:
            log.error("store unavailable, delivery not written yet: %s", error)
            self._book.spawn(self._deliver_later())
        except OwnershipLostError:
            log.error("charge %s was taken over, or over, when its response had left", self._id)
            self._over()
        else:
            self._over()

    async def _deliver_later(self) -> None:
        try:
            for attempt in range(DELIVERY_ATTEMPTS):
                await self._book._sleep(0.5 * 2**attempt)  # noqa: SLF001
                try:
                    await self._write(state=State.DELIVERED, owner=None)
                except StoreUnavailableError:
                    continue
                return
            log.critical("charge %s was delivered but could not be written down", self._id)
        except OwnershipLostError:
            log.error("charge %s was taken over before its delivery was written", self._id)
        finally:
            self._over()

    async def end(self) -> None:
        """Let go, whatever the state: what was only claimed is forgotten, what was submitted or
        settled waits for the next request with the same credential. Survives cancellation."""
        if not self._ended:
            await asyncio.shield(self._book.spawn(self._let_go()))

    async def _let_go(self) -> None:
        store, owner = self._book.store, self._book.owner
        try:
            if not self.may_own:
                return
            # As it is stored, not as we know it: a step that was cancelled may have been written.
            charge = await store.get(self._id)
            if charge is None or charge.owner != owner:
                return
            if charge.state is State.CLAIMED:
                await store.release(self._id, owner=owner)
            else:
                await store.write(charge._replace(owner=None), owner=owner)
        except StoreUnavailableError as error:
            log.warning("charge %s could not be let go of yet: %s", self._id, error)
            self._book._abandoned.add(self._id)  # noqa: SLF001
        except OwnershipLostError:
            log.warning("charge %s was taken over before it was let go of", self._id)
        finally:
            self._over()

    def _over(self) -> None:
        if not self._ended:
            self._ended = True
            self._book._next(self._id)  # noqa: SLF001

    async def _write(self, proofs: Sequence[str] = (), /, **changes: Any) -> None:
        if self.charge is None:
            raise OwnershipLostError(self._id)
        changed = self.charge._replace(**changes)
        await self._book.store.write(changed, proofs, owner=self._book.owner)
        self.charge = changed


def _refuse_if_over(charge: Charge) -> None:
    if charge.state is State.DELIVERED:
        raise RefusalError(
            problems.INVALID_CHALLENGE.because(
                "This challenge was used before; its resource was sent."
            )
        )
    if charge.state is State.FAILED:
        raise RefusalError(
            problems.SETTLEMENT_FAILED.because("This payment failed; pay with a new challenge.")
        )
