"""What the payer remembers: payments that are owed an answer, those in doubt, and those made."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mpp_asgi.client.budget import State

if TYPE_CHECKING:
    from collections.abc import MutableSequence

    from mpp_asgi.client.budget import Reservation
    from mpp_asgi.client.payments import PaidRequest, RequestKey, SignedPayment

MOST_REMEMBERED: Final = 10_000
"""Challenges that are known to have been paid; each is good for some minutes only."""


@dataclass(slots=True)
class Owed:
    """A signed payment and the money set aside for it."""

    payment: SignedPayment
    reservation: Reservation
    submitted: bool = False
    """Its transaction may have been submitted by the payer."""
    shown: bool = False
    """Its credential may have been seen by the server."""
    resolved: bool = False
    """There is nothing left to ask the server for."""
    entered: bool = False
    """It is among the requests that were paid for, though its answer may have been lost since."""


class Book:
    """Safe to use from several threads."""

    def __init__(self, paid: MutableSequence[PaidRequest]) -> None:
        self._owed: dict[RequestKey, deque[Owed]] = {}
        self._doubts: list[Owed] = []
        self._paid = paid
        self._challenges: deque[str] = deque(maxlen=MOST_REMEMBERED)
        self._lock = threading.Lock()

    def begin(self, owed: Owed) -> None:
        """From now on the money may leave."""
        owed.reservation.doubt()
        with self._lock:
            doubts = [each for each in self._doubts if each is not owed]
            self._doubts = [each for each in doubts if each.reservation.state is State.DOUBTED]
            self._doubts.append(owed)
            self._challenges.append(owed.payment.challenge_id)

    def knows(self, challenge_id: str) -> bool:
        """The challenge was answered before."""
        with self._lock:
            return challenge_id in self._challenges

    def keep(self, owed: Owed) -> None:
        """The request was not answered; the next one like it shows the same payment."""
        with self._lock:
            self._owed.setdefault(owed.payment.request, deque()).append(owed)

    def take(self, key: RequestKey) -> Owed | None:
        """A payment for such a request that was kept, which now is the caller's alone."""
        with self._lock:
            waiting = self._owed.get(key)
            if waiting is None:
                return None
            owed = waiting.popleft()
            if not waiting:
                del self._owed[key]
        owed.resolved = False
        return owed

    def forget(self, payment: SignedPayment) -> None:
        """Do not show this payment again."""
        with self._lock:
            for key, waiting in list(self._owed.items()):
                left = deque(
                    each for each in waiting if each.payment.challenge_id != payment.challenge_id
                )
                if left:
                    self._owed[key] = left
                else:
                    del self._owed[key]

    def unresolved(self) -> tuple[SignedPayment, ...]:
        """The payments that were kept."""
        with self._lock:
            return tuple(owed.payment for waiting in self._owed.values() for owed in waiting)

    def doubts(self) -> tuple[Owed, ...]:
        """The payments of which it is not known whether the money left."""
        with self._lock:
            return tuple(each for each in self._doubts if each.reservation.state is State.DOUBTED)

    def enter(self, paid: PaidRequest) -> None:
        """The request was paid for and answered."""
        with self._lock:
            self._paid.append(paid)

    def paid(self) -> tuple[PaidRequest, ...]:
        with self._lock:
            return tuple(self._paid)
