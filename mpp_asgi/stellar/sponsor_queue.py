"""Who waits for an account of the sponsor's, and who is next."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from mpp_asgi.intents import FaultError

if TYPE_CHECKING:
    from mpp_asgi.stores.loans import Loan

MOST_WAITING: Final = 1_000
"""Transactions that may wait in one process."""
MOST_OF_A_PAYER: Final = 100
"""Of these, of one payer."""


class Lease(NamedTuple):
    """An account on loan."""

    loan: Loan
    until: int
    """When it lapses, Unix seconds."""


@dataclass(eq=False, slots=True)
class Waiter:
    """A transaction that waits for an account."""

    payer: str | None
    """``None``: it is our own, comes first and is always let in."""
    give_up: float
    """Unix seconds."""
    lease: asyncio.Future[Lease] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class FairQueue:
    """First come, first served among one payer's; payers take turns.

    Args:
        most: how many may wait.
        most_of_a_payer: how many of one payer's.
    """

    def __init__(self, *, most: int = MOST_WAITING, most_of_a_payer: int = MOST_OF_A_PAYER) -> None:
        self._most = most
        self._most_of_a_payer = most_of_a_payer
        self._ours: deque[Waiter] = deque()
        self._payers: OrderedDict[str, deque[Waiter]] = OrderedDict()
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting + len(self._ours)

    def join(self, payer: str | None, *, give_up: float, retry_after: int) -> Waiter:
        """Wait.

        Args:
            payer: whose transaction it is.
            give_up: when it is too late for it, Unix seconds.
            retry_after: seconds after which one who is not let in may come again.

        Raises:
            FaultError: too many wait.
        """
        waiter = Waiter(payer, give_up)
        if payer is None:
            self._ours.append(waiter)
            return waiter
        others = self._payers.get(payer, ())
        if self._waiting >= self._most:
            raise FaultError("Too many payments are waiting.", retry_after=retry_after)
        if len(others) >= self._most_of_a_payer:
            raise FaultError("Too many payments of yours are waiting.", retry_after=retry_after)
        self._payers.setdefault(payer, deque()).append(waiter)
        self._waiting += 1
        return waiter

    def next(self) -> Waiter | None:
        """Whose turn it is, taken out; ``None`` if nobody waits."""
        if self._ours:
            return self._ours.popleft()
        if not self._payers:
            return None
        payer, waiting = self._payers.popitem(last=False)
        waiter = waiting.popleft()
        self._waiting -= 1
        if waiting:
            self._payers[payer] = waiting  # behind all others
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """Wait no more; whoever does not wait is passed over."""
        if waiter.payer is None:
            if waiter in self._ours:
                self._ours.remove(waiter)
            return
        waiting = self._payers.get(waiter.payer)
        if waiting is not None and waiter in waiting:
            waiting.remove(waiter)
            self._waiting -= 1
            if not waiting:
                del self._payers[waiter.payer]

    def late(self, now: float) -> list[Waiter]:
        """Those for whom it is too late (Unix seconds), taken out."""
        everybody = [*self._ours, *(each for waiting in self._payers.values() for each in waiting)]
        late = [waiter for waiter in everybody if waiter.give_up <= now]
        for waiter in late:
            self.leave(waiter)
        return late

    def clear(self) -> list[Waiter]:
        """Everybody, taken out."""
        everybody = []
        while (waiter := self.next()) is not None:
            everybody.append(waiter)
        return everybody
