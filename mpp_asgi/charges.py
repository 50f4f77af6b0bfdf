"""The life of a charge: one challenge, one credential, one settlement, one delivery.

`ChargeBook` keeps that promise over a store that other processes share. A request takes the
*turn* at a challenge, and holds it until its response left or failed: in this process turns queue
up, between processes the store's ownership decides. Each step is durable before the next begins.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, TypeVar

from mpp_asgi.heart import Heart
from mpp_asgi.intents import PendingError, RefusalError
from mpp_asgi.protocol import problems
from mpp_asgi.refunds import Refunds
from mpp_asgi.stores.contract import (
    Charge,
    Outcome,
    OwnershipLostError,
    State,
    Store,
    StoreUnavailableError,
)
from mpp_asgi.unnoted import UnnotedDeliveries

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

T = TypeVar("T")

_OURS = frozenset({Outcome.NEW, Outcome.TAKEN})
_CLAIMED = State.CLAIMED

log = logging.getLogger("mpp_asgi.charges")

PATIENCE_SECONDS = 20
"""How long a request waits for another one that holds the same credential."""
POLL_SECONDS = 0.2
"""How often it asks, where the other one is in another process."""
MOST_WAITING = 64
"""Requests that may wait for one credential in one process; more are told to come back."""
MOST_UNFINISHED = 10_000
"""Charges whose end the store has not taken yet, beyond which no more are begun."""
DOUBT_SECONDS = 15
"""How long a claim that got no answer may still take effect."""
DRAIN_SECONDS = 20
"""How long a process that ends waits for what is under way, and for its store."""
HOLD_ATTEMPTS = 3
"""How often a charge is made certain of, where the store takes longer than it stays certain."""
PURGE_BATCH = 1_000
"""Records that are deleted at a time."""


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
        self._tasks: set[asyncio.Task[Any]] = set()
        self.abandoned: set[str] = set()
        """What the store still has under our name, though nobody here is at work on it."""
        self.doubtful: dict[str, float] = {}
        """What it may have under our name yet, since a claim got no answer; and until when, in Unix
        seconds."""
        self.unnoted = UnnotedDeliveries(self, sleep=sleep)
        self.refunds = Refunds(self, sleep=sleep)
        self.heart = Heart(clock=clock, say=self._say, is_needed=self._is_at_work, chores=self.tidy)

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

    def free_turn(self, charge_id: str) -> Turn | None:
        """The turn at a challenge, if nobody in this process has it; never waits."""
        if charge_id in self._queues:
            return None
        self._queues[charge_id] = []
        return Turn(self, charge_id)

    def _next(self, charge_id: str) -> None:
        queue = self._queues[charge_id]
        while queue:
            turn_came = queue.pop(0)
            if not turn_came.done():
                turn_came.set_result(None)
                return
        del self._queues[charge_id]

    async def _say(self, alive_until: int) -> None:
        await self.store.heartbeat(self.owner, alive_until=alive_until)

    def _is_at_work(self) -> bool:
        if self._queues or self.unnoted.ids or self.refunds.owed:
            return True
        return bool(self.abandoned or self.doubtful)

    def doubt(self, charge_id: str) -> None:
        """Look for a while whether a claim takes effect that nobody waits for any more."""
        if len(self.doubtful) < MOST_UNFINISHED:
            self.doubtful[charge_id] = self.clock() + DOUBT_SECONDS

    async def tidy(self) -> None:
        """Make up for what the store did not take before, and delete what is old. A record that
        fails of something nobody foresaw is told of, and keeps nothing from the others.

        Raises:
            StoreUnavailableError: what is left has to wait.
        """
        for chore in (
            self.unnoted.note,
            self.refunds.settle_all,
            self._let_go_of_abandoned,
            self._purge,
        ):
            try:
                await chore()
            except StoreUnavailableError:
                raise
            except Exception as error:  # noqa: BLE001 # whatever it is, the others are to be done
                log.error("a chore was not done, for no reason foreseen: %s", type(error).__name__)

    async def _purge(self) -> None:
        removed = PURGE_BATCH
        while removed >= PURGE_BATCH:
            removed = await self.store.purge(now=int(self.clock()), limit=PURGE_BATCH)
            await asyncio.sleep(0)

    async def _let_go_of_abandoned(self) -> None:
        """Other processes cannot take what is abandoned while we live."""
        for charge_id in self.abandoned | self.doubtful.keys():
            turn = self.free_turn(charge_id)
            if turn is None:  # somebody came for it and will let go of it
                continue
            self.abandoned.discard(charge_id)
            if self.doubtful.get(charge_id, 0) <= self.clock():
                self.doubtful.pop(charge_id, None)
            turn.may_own = True
            try:
                await turn.end()
            except Exception as error:  # noqa: BLE001 # whatever it is, it is this one's alone
                self.abandoned.add(charge_id)
                log.error("charge %s not let go of: %s", charge_id, type(error).__name__)

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run work that outlives the request it comes from; `drain` waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def drain(self) -> None:
        """Wait for everything under way."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))

    async def close(self) -> None:
        """Finish what is under way, for `DRAIN_SECONDS` at most, and leave the rest to others."""
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await self.drain()
                await self.unnoted.note_last(attempts=DRAIN_SECONDS)
                await self.refunds.settle_last(attempts=DRAIN_SECONDS)
        except TimeoutError:
            log.warning("the store is too slow to wait for any longer")
        for charge_id in self.unnoted.ids:
            log.critical("charge %s was delivered but could not be written down", charge_id)
        for refund in self.refunds:
            log.critical(
                "%s base units could not be given back to channel %s",
                refund.cost,
                refund.channel_id,
            )
        await self.heart.stop()
        if self._queues:  # the server did not wait for them: they count as alive until they are not
            return
        try:
            await self.heart.bid_farewell()
        except StoreUnavailableError as error:
            log.warning("store unavailable, this process seems alive for a while: %s", error)


class Turn:
    """One request's hold on one challenge."""

    charge: Charge | None = None
    """The record, once it was found or claimed."""
    may_own = False
    _is_doubtful = False
    """A claim got no answer."""
    _ended = False
    _silences = -1

    def __init__(self, book: ChargeBook, charge_id: str) -> None:
        self._book = book
        self._heart = book.heart
        self._id = charge_id

    async def find(self) -> Charge | None:
        """The record as it stands, if the challenge was used before.

        Raises:
            RefusalError: the charge is over.
        """
        self._refuse_if_delivered()
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
        if book.unnoted.ids or book.abandoned:
            self._refuse_if_delivered()
            if len(book.unnoted.ids) + len(book.abandoned) >= MOST_UNFINISHED:
                raise StoreUnavailableError("Too much waits to be written.")
        heart = self._heart
        if not heart.is_up():
            await heart.start()
        fresh = Charge(self._id, credential, _CLAIMED, keep_until, book.owner)
        self._silences = heart.silences
        self.may_own = True
        waited = 0.0
        while True:
            try:
                outcome, charge = await book.store.claim(fresh, proofs, now=int(book.clock()))
            except BaseException:
                self._is_doubtful = True
                raise
            if charge is not None and outcome in _OURS:
                self.charge = charge
                return charge
            if outcome is not Outcome.BUSY:
                if charge is not None and charge.credential == credential:
                    _refuse_if_over(charge)
                raise RefusalError(
                    problems.INVALID_CHALLENGE.because("This challenge or payment was used before.")
                )
            if waited >= PATIENCE_SECONDS:
                raise PendingError
            await book._sleep(POLL_SECONDS)  # noqa: SLF001 # the book's own clockwork
            waited += POLL_SECONDS

    async def take_over(self, found: Charge) -> Charge | None:
        """Own a charge that its owner has left; never waits for anybody.

        Args:
            found: as it was found. It may have moved on since.

        Returns:
            As it stands now; ``None`` if it is somebody's, over, or gone.
        """
        book, heart = self._book, self._heart
        if not heart.is_up():
            await heart.start()
        self._silences = heart.silences
        self.may_own = True
        ours = Charge(found.id, found.credential, State.CLAIMED, found.keep_until, book.owner)
        try:
            claim = await book.store.claim(ours, (), now=int(book.clock()))
        except BaseException:
            self._is_doubtful = True
            raise
        if claim.outcome is not Outcome.TAKEN:
            return None  # what was gone is written anew by that, and goes when the turn ends
        self.charge = claim.charge
        return claim.charge

    def is_held(self) -> bool:
        """Whether it is certain that the charge is still ours. Costs a look at the clock."""
        return self._heart.was_sure_since(self._silences)

    async def hold(self) -> None:
        """Make certain that the charge is still ours, after a silence in which we may have been
        taken for dead. To be done before anything of a response leaves, unless `is_held`.

        Raises:
            OwnershipLostError: it is another process's by now.
            StoreUnavailableError: it cannot be made certain.
        """
        for _ in range(HOLD_ATTEMPTS):
            # In this order: whoever took the charge, did so before they heard us.
            await self._book.heart.make_sure()
            self._silences = self._book.heart.silences
            await self._write(self._record())
            if self.is_held():
                return
        raise StoreUnavailableError("The store takes too long.")

    async def submitted(
        self, *, reference: str, envelope: str, valid_until: int, payer: str, proofs: Sequence[str]
    ) -> None:
        """Write down what is about to be submitted.

        Raises:
            RefusalError: one of ``proofs`` belongs to another challenge; nothing may be submitted.
            OwnershipLostError: another process is at it by now, and what it makes of it is open.
        """
        try:
            submitted = self._record()._replace(
                state=State.SUBMITTED,
                reference=reference,
                envelope=envelope,
                valid_until=valid_until,
                payer=payer,
            )
            await self._write(submitted, proofs)
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
        await self._write(
            self._record()._replace(
                state=State.CLAIMED, reference=None, envelope=None, valid_until=None
            )
        )

    async def settled(self, *, receipt: str, payer: str, reference: str, keep_until: int) -> None:
        """Write down that the money moved."""
        settled = self._record().settled(receipt, payer, reference, keep_until)
        await self._book.store.write(settled, owner=self._book.owner)
        self.charge = settled

    async def failed(self, slug: str) -> None:
        """Write down that no money moved and none will; ends the turn."""
        await self._write(self._record()._replace(state=State.FAILED, problem=slug, owner=None))
        self._over()

    async def delivered(self) -> None:
        """Write down that the response left; ends the turn. What cannot be written now is written
        later, and known here until then. Survives cancellation."""
        book = self._book
        try:
            delivered = self._record().delivered()
            await book.store.write(delivered, owner=book.owner)
            self.charge = delivered
        except StoreUnavailableError as error:
            log.error("store unavailable, delivery not written yet: %s", error)
            book.unnoted.add(self._record())
        except OwnershipLostError:
            log.error("charge %s was taken over, or over, when its response had left", self._id)
            book.unnoted.add(self._record())
        except asyncio.CancelledError:
            book.unnoted.add(self._record())
            raise
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
            self._book.abandoned.add(self._id)
        except OwnershipLostError:
            log.warning("charge %s was taken over before it was let go of", self._id)
        finally:
            if self._is_doubtful:
                self._book.doubt(self._id)
            self._over()

    def _over(self) -> None:
        if not self._ended:
            self._ended = True
            self._book._next(self._id)  # noqa: SLF001

    def _refuse_if_delivered(self) -> None:
        if self._id in self._book.unnoted.ids:
            raise _delivered_before()

    def _record(self) -> Charge:
        if self.charge is None:
            raise OwnershipLostError(self._id)
        return self.charge

    async def _write(self, changed: Charge, proofs: Sequence[str] = ()) -> None:
        await self._book.store.write(changed, proofs, owner=self._book.owner)
        self.charge = changed


def _refuse_if_over(charge: Charge) -> None:
    if charge.state is State.DELIVERED:
        raise _delivered_before()
    if charge.state is State.FAILED:
        raise RefusalError(
            problems.SETTLEMENT_FAILED.because("This payment failed; pay with a new challenge.")
        )


def _delivered_before() -> RefusalError:
    return RefusalError(
        problems.INVALID_CHALLENGE.because("This challenge was used before; its resource was sent.")
    )
