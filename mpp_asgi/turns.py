"""A request's turn at a challenge: the steps of its charge, each durable before the next begins."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Protocol

from mpp_asgi.intents import PendingError, RefusalError
from mpp_asgi.protocol import problems
from mpp_asgi.stores.contract import (
    Charge,
    Outcome,
    OwnershipLostError,
    State,
    StoreUnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from mpp_asgi.heart import Heart
    from mpp_asgi.stores.contract import Store
    from mpp_asgi.unnoted import UnnotedDeliveries

log = logging.getLogger("mpp_asgi.charges")

PATIENCE_SECONDS = 20
"""How long a request waits for another one that holds the same credential."""
POLL_SECONDS = 0.2
"""How often it asks, where the other one is in another process."""
HOLD_ATTEMPTS = 3
"""How often a charge is made certain of, where the store takes longer than it stays certain."""

_OURS = frozenset({Outcome.NEW, Outcome.TAKEN})
_CLAIMED = State.CLAIMED


class Book(Protocol):
    """What a charge book is to its turns."""

    store: Store
    owner: str
    unnoted: UnnotedDeliveries
    abandoned: set[str]

    @property
    def heart(self) -> Heart: ...

    @property
    def clock(self) -> Callable[[], float]: ...

    @property
    def sleep(self) -> Callable[[float], Awaitable[None]]: ...

    def require_room(self) -> None:
        """See that not too much is unfinished to begin more."""
        ...

    def hand_on(self, charge_id: str) -> None:
        """Give the turn at a challenge to the next who waits for it."""
        ...

    def doubt(self, charge_id: str) -> None:
        """A claim got no answer, and may take effect yet."""
        ...

    def spawn(self, work: Coroutine[Any, Any, None], /) -> asyncio.Task[None]:
        """Run work that outlives the request it comes from."""
        ...


class Turn:
    """One request's hold on one challenge."""

    charge: Charge | None = None
    """The record, once it was found or claimed."""
    may_own = False
    _is_doubtful = False
    """A claim got no answer."""
    _ended = False
    _silences = -1

    def __init__(self, book: Book, charge_id: str) -> None:
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
            book.require_room()
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
            await book.sleep(POLL_SECONDS)
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
        fault of the payer's: the charge may begin again.

        What it was stays on record, with its proofs, and beyond this turn: others may have seen it,
        and what the payer has allowed in it may be good for a while. So nobody but who goes on with
        this charge can use that, until it is `forgotten`."""
        await self._write(self._record()._replace(state=State.CLAIMED))

    async def forgotten(self) -> None:
        """Write down that nothing in what was withdrawn is good any more, for anybody: the record
        goes with its turn."""
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
        """Let go, whatever the state: what was never more than claimed is forgotten, what was
        submitted or settled waits for the next request with the same credential. Survives
        cancellation."""
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
            if charge.state is State.CLAIMED and charge.reference is None:
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
            self._book.hand_on(self._id)

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
