"""How much may be spent, how much is, and how much is in doubt. Exact under concurrency."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from mpp_asgi.client.amounts import price_tag
from mpp_asgi.client.errors import BudgetExceededError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mpp_asgi.stellar.network import Token


class State(Enum):
    """Where the money of a reservation is."""

    HELD = auto()
    """Set aside; nothing was signed or shown yet."""
    DOUBTED = auto()
    """It may have left, or may still leave."""
    SPENT = auto()
    RETURNED = auto()


class Budget:
    """A limit for each token. Every amount counts from its reservation until it is certain that
    it will not be paid. Safe to use from several threads."""

    def __init__(self, limits: Mapping[Token, int]) -> None:
        """``limits`` in base units; a token without one cannot be spent."""
        self._limits = dict(limits)
        self._accounts = {token: _Account() for token in limits}
        self._lock = threading.Lock()

    def reserve(self, token: Token, amount: int) -> Reservation:
        """Set ``amount`` base units aside.

        Raises:
            BudgetExceededError: so much is not left.
        """
        with self._lock:
            left = self._limits[token] - self._accounts[token].counted
            if amount > left:
                raise BudgetExceededError(
                    f"The price of {price_tag(amount, token)} is more than "
                    f"the {price_tag(max(left, 0), token)} left of the budget."
                )
            self._accounts[token].held += amount
        return Reservation(self, token, amount, State.HELD)

    def count(self, token: Token, amount: int) -> Reservation:
        """Enter an amount that was spent, or may have been, before this budget was made; that may
        exceed the limit."""
        with self._lock:
            self._accounts[token].doubted += amount
        return Reservation(self, token, amount, State.DOUBTED)

    def take_back(self, token: Token, amount: int) -> None:
        """Base units that were counted as spent turned out not to be."""
        with self._lock:
            self._accounts[token].spent -= amount

    def spent(self) -> dict[Token, int]:
        """Base units that were paid or may have been."""
        with self._lock:
            return {token: each.spent + each.doubted for token, each in self._accounts.items()}

    def doubted(self) -> dict[Token, int]:
        """Base units that may have been paid, among those spent."""
        with self._lock:
            return {token: each.doubted for token, each in self._accounts.items()}

    def left(self) -> dict[Token, int]:
        """Base units that can still be reserved."""
        with self._lock:
            return {
                token: max(limit - self._accounts[token].counted, 0)
                for token, limit in self._limits.items()
            }

    def _move(self, reservation: Reservation, to: State, *, only_from: State | None = None) -> None:
        with self._lock:
            if only_from not in (None, reservation.state):
                return
            account = self._accounts[reservation.token]
            account.add(reservation.state, -reservation.amount)
            account.add(to, reservation.amount)
            reservation.state = to


class Reservation:
    """An amount of a budget, on its way from held to spent or returned."""

    __slots__ = ("_budget", "amount", "state", "token")

    def __init__(self, budget: Budget, token: Token, amount: int, state: State) -> None:
        self._budget = budget
        self.token = token
        self.amount = amount
        self.state = state

    def spend(self) -> None:
        """The money left."""
        self._budget._move(self, State.SPENT)  # noqa: SLF001 # the two are one class in two parts

    def doubt(self) -> None:
        """The money may have left. What is known to be spent stays so."""
        self._budget._move(self, State.DOUBTED, only_from=State.HELD)  # noqa: SLF001

    def give_back(self) -> None:
        """The money surely did not leave and never will."""
        self._budget._move(self, State.RETURNED)  # noqa: SLF001


@dataclass(slots=True)
class _Account:
    held: int = 0
    doubted: int = 0
    spent: int = 0

    @property
    def counted(self) -> int:
        return self.held + self.doubted + self.spent

    def add(self, state: State, amount: int) -> None:
        match state:
            case State.HELD:
                self.held += amount
            case State.DOUBTED:
                self.doubted += amount
            case State.SPENT:
                self.spent += amount
            case State.RETURNED:
                pass
