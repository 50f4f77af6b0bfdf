"""Recovery: finishes what processes have begun and left.

A process may die between any two steps. What it leaves is a record that says how far it had come
(`mpp_asgi.stores.contract`), and a heartbeat that ends. Whoever shows the same credential again
takes such a record over; for those who never come back, or come late, this does:

- ``claimed``: nothing is on its way. The record is forgotten, so that the challenge and the proof
  are good again; if something was sent for it once, not before the payer's leave in that has
  lapsed: others have seen it, and only its payer may go on with it.
- ``submitted``: the ledger is asked what became of it. If the money moved, the record is settled,
  with its receipt, and waits for its payer, who is served free. Otherwise it ends as failed, or is
  claimed and no more if it can be done again. As long as the ledger has not decided, it is left as
  it is and looked at again. Nothing is submitted here: nobody waits for it.

The same goes for what else moves money (channels that are opened, topped up, settled, closed),
which is on record as charges are.

Every process recovers, one at a time: the one that has the lease. Should there be two, ownership of
the record decides, as it does between requests; who comes for a record that is being recovered
waits for that as for any other owner. A round costs one read of the store if there is nothing to
do, and one call to the network for each submitted record otherwise.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from mpp_asgi.intents import FaultError
from mpp_asgi.stellar.clockwork import Clockwork
from mpp_asgi.stellar.fates import FateKind, fate_of, is_void
from mpp_asgi.stores.contract import OwnershipLostError, State, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mpp_asgi.charges import ChargeBook
    from mpp_asgi.stellar.ledger import Ledger
    from mpp_asgi.stores.contract import Charge
    from mpp_asgi.turns import Turn

log = logging.getLogger("mpp_asgi.recovery")

LEASE: Final = "recovery"
LEASE_SECONDS: Final = 20
"""How long one process recovers alone; after half of that it begins another round."""
INTERVAL_SECONDS: Final = 10.0
"""From one round to the next, between half and one and a half times that."""
BATCH: Final = 100
"""Records that are looked at in a round."""
MOST_WAITING: Final = 1_000
"""Undecided records that are passed over until they are looked at again."""
LONGEST_PAUSE: Final = 600
"""Seconds until an undecided record is looked at again: at first `INTERVAL_SECONDS`, then twice as
long each time."""
MOST_FAULTS: Final = 3
"""Faults of the network in a row that end a round."""
STOP_SECONDS: Final = 5
"""How long recovery that is to end may take to finish what it is at."""


class End(StrEnum):
    """What recovery made of a record."""

    SETTLED = "settled"
    FAILED = "failed"
    RELEASED = "released"
    """Forgotten, so that its challenge and proof can be used again."""
    UNDECIDED = "undecided"
    """The ledger has not decided yet, or what was sent is not void yet."""
    BUSY = "busy"
    """Somebody is at it, or was faster."""


class _Later(NamedTuple):
    """An undecided record."""

    looks: int
    at: float
    """When to look again, Unix seconds."""


class Recovery:
    """Finishes what others have left, from `start` to `aclose`.

    Args:
        book: this process's charges.
        ledger: is asked what became of what was submitted. Without it, as there is none that all
            ways to pay have in common, only what was never submitted is recovered.
        redelivery_seconds: how long a payment that is found settled stays good for its resource.
        clock: Unix seconds.
        draw: a number between 0 and 1, so that processes do not keep step.
    """

    def __init__(
        self,
        book: ChargeBook,
        ledger: Ledger | None,
        *,
        redelivery_seconds: int,
        clock: Callable[[], float],
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._book = book
        self._ledger = ledger
        self._redelivery_seconds = redelivery_seconds
        self._clock = clock
        self._draw = draw
        self._clockwork = Clockwork(self._work)
        self._later: dict[str, _Later] = {}
        self._faults: Counter[str] = Counter()
        """How often the network could not be asked about a record."""
        self._has_begun = False
        self._has_led = False

    def start(self) -> None:
        """Recover from now on, on the running event loop; the first round comes with the others'.
        Harmless twice."""
        self._clockwork.start()

    async def aclose(self) -> None:
        """Finish what is under way, within `STOP_SECONDS`, and leave the rest to others."""
        await self._clockwork.stop(STOP_SECONDS)
        if self._has_led:
            try:
                await self._book.store.release_lease(LEASE, owner=self._book.owner)
            except StoreUnavailableError as error:
                log.warning("store unavailable, others recover a little later: %s", error)

    async def _work(self) -> float:
        """A round; the seconds until the next."""
        pause = INTERVAL_SECONDS * (0.5 + self._draw())
        if not self._has_begun:  # whoever died just now counts as alive for longer than that
            self._has_begun = True
            return pause
        try:
            ends = await self.round()
        except StoreUnavailableError as error:
            log.warning("store unavailable, nothing recovered: %s", error)
            return pause
        return 0.0 if sum(ends.values()) >= BATCH else pause

    async def round(self) -> Counter[End]:
        """Look at what is left once, at `BATCH` records at most.

        Returns:
            How many came to which end.

        Raises:
            StoreUnavailableError: the store is out of reach.
        """
        ends: Counter[End] = Counter()
        began = self._clock()
        left = await self._find_left(began)
        if not left or not await self._leads(began):
            return ends
        faults = 0
        for charge in left:
            if faults >= MOST_FAULTS or not 0 <= self._clock() - began < LEASE_SECONDS / 2:
                break
            try:
                end = await self._finish(charge)
            except StoreUnavailableError:
                raise
            except Exception as error:  # whatever is odd about one, others wait too
                log.warning(
                    "record=%s was=%s not recovered: %s",
                    *(charge.id, charge.state, error),
                    exc_info=not isinstance(error, FaultError),
                )
                faults += 1
                self._faults[charge.id] += 1
                continue
            faults = 0
            ends[end] += 1
            self._note(charge, end)
        if ends:
            log.info("recovered %s", " ".join(f"{end}={count}" for end, count in ends.items()))
        return ends

    async def _find_left(self, now: float) -> Sequence[Charge]:
        """What nobody is at, but for what was found undecided a short time ago. What the network
        could not be asked about comes last, so that it keeps nothing else from its turn."""
        limit = BATCH + min(len(self._later) + len(self._faults), MOST_WAITING)
        found = await self._book.store.open_charges(now=int(now), limit=limit)
        known = {charge.id: self._later.get(charge.id) for charge in found}
        self._later = {record: later for record, later in known.items() if later is not None}
        self._faults = Counter({r: count for r, count in self._faults.items() if r in known})
        due = (c for c in found if (later := self._later.get(c.id)) is None or later.at <= now)
        due = (c for c in due if c.state is State.CLAIMED or self._ledger is not None)
        return sorted(due, key=lambda c: self._faults[c.id])[:BATCH]

    async def _leads(self, now: float) -> bool:
        until, owner = int(now) + LEASE_SECONDS, self._book.owner
        leads = await self._book.store.lease(LEASE, owner=owner, until=until, now=int(now))
        self._has_led |= leads
        return leads

    async def _finish(self, charge: Charge) -> End:
        if charge.owner == self._book.owner:
            return End.BUSY  # we were silent for too long, and find that out where it matters
        turn = self._book.free_turn(charge.id)
        if turn is None:
            return End.BUSY
        try:
            taken = await turn.take_over(charge)
            if taken is None or taken.state is State.SETTLED:
                return End.BUSY
            return await self._conclude(turn, taken)
        except OwnershipLostError:
            return End.BUSY
        finally:
            await turn.end()  # what is claimed by now is forgotten by that

    async def _conclude(self, turn: Turn, charge: Charge) -> End:
        """Find out what became of a charge that is ours, and write it down."""
        if charge.state is State.CLAIMED:
            return await self._forget(turn, charge)
        fate = None if self._ledger is None else await fate_of(self._ledger, charge)
        if fate is None:
            return End.UNDECIDED
        match fate.kind:
            case FateKind.SETTLED:
                redeemable_until = int(self._clock()) + self._redelivery_seconds
                await turn.settled(
                    receipt=fate.receipt,
                    payer=charge.payer or "",
                    reference=charge.reference or "",
                    keep_until=max(charge.keep_until, redeemable_until),
                )
                return End.SETTLED
            case FateKind.FAILED:
                await turn.failed(fate.problem)
                return End.FAILED
            case FateKind.DROPPED:
                await turn.withdrawn()
                return await self._forget(turn, charge)

    async def _forget(self, turn: Turn, charge: Charge) -> End:
        """Have a charge that is ours forgotten when the turn ends, unless others could use what was
        sent for it."""
        if charge.reference is not None:
            if self._ledger is None or not await is_void(self._ledger, charge):
                return End.UNDECIDED
            await turn.forgotten()
        return End.RELEASED

    def _note(self, charge: Charge, end: End) -> None:
        last = self._later.pop(charge.id, None)
        del self._faults[charge.id]
        if end is not End.UNDECIDED:
            log.info(
                "record=%s was=%s became=%s transaction=%s owner=%s",
                *(charge.id, charge.state, end, charge.reference or "none"),
                charge.owner or "nobody",
            )
        elif len(self._later) < MOST_WAITING:
            looks = 0 if last is None else last.looks + 1
            pause = min(INTERVAL_SECONDS * 2.0 ** min(looks, 10), LONGEST_PAUSE)
            self._later[charge.id] = _Later(looks, self._clock() + pause)
