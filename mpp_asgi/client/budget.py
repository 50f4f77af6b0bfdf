"""How much may be spent, how much is, and how much is in doubt. Exact under concurrency."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from mpp_asgi.client.errors import BudgetExceededError

if TYPE_CHECKING:
    from collections.abc import Collection

    from mpp_asgi.stellar.network import Network, Token

Amount = str | Decimal | int
"""An amount of whole tokens, such as ``"0.25"``. Never a float: 0.1 is not a tenth."""

_EXACT: Final = Context(prec=80, traps=[Inexact, InvalidOperation, Overflow])
_MAX_UNITS: Final = 2**127 - 1


def base_units(amount: Amount, token: Token) -> int:
    """The amount in the token's smallest units.

    Raises:
        TypeError: it is a float or something else that is no `Amount`.
        ValueError: it is no number, negative, or has more digits than the token.
    """
    if isinstance(amount, bool) or not isinstance(amount, str | Decimal | int):
        raise TypeError(
            f"An amount must be a text, a Decimal or an int, not {type(amount).__name__}: "
            f'write "{amount}".'
        )
    try:
        scaled = Decimal(amount).scaleb(token.decimals, context=_EXACT)
        possible = 0 <= scaled <= _MAX_UNITS
    except (Inexact, InvalidOperation, Overflow):
        raise ValueError(f"{amount!r} is not an amount of money.") from None
    if not possible or scaled != (units := int(scaled)):
        raise ValueError(
            f"{amount!r} is not an amount of {token.symbol}, which has {token.decimals} decimals."
        )
    return units


def price_tag(units: int, token: Token) -> str:
    """The amount as people write it: ``0.01 USDC``."""
    return f"{whole_tokens(units, token).normalize(_EXACT):f} {token.symbol}"


def whole_tokens(units: int, token: Token) -> Decimal:
    """The exact amount in whole tokens."""
    return Decimal(units).scaleb(-token.decimals, context=_EXACT)


def spendable(
    currencies: Collection[str | Token] | None,
    budget: Amount | Mapping[str, Amount],
    network: Network,
) -> tuple[Token, ...]:
    """The tokens that a budget is for: those named, else those it has amounts for, else USDC.

    Raises:
        ValueError: a symbol is not that of a well-known token of the network.
    """
    if currencies is None:
        currencies = tuple(budget) if isinstance(budget, Mapping) else ("USDC",)
    tokens = []
    for currency in currencies:
        token = network.tokens.get(currency) if isinstance(currency, str) else currency
        if token is None:
            known = " and ".join(network.tokens)
            raise ValueError(
                f"{currency!r} is not a well-known currency of {network.name}, which has {known}: "
                "give a Token."
            )
        tokens.append(token)
    return tuple(tokens)


def limits(amounts: Amount | Mapping[str, Amount], tokens: Collection[Token]) -> dict[Token, int]:
    """The amounts in base units: the same for each token, or those named by symbol.

    Raises:
        TypeError, ValueError: as `base_units`, or a symbol is none of the tokens'.
    """
    if not isinstance(amounts, Mapping):
        return {token: base_units(amounts, token) for token in tokens}
    by_symbol = {token.symbol: token for token in tokens}
    if strange := sorted(amounts.keys() - by_symbol.keys()):
        raise ValueError(f"{strange[0]!r} has an amount, but is not among the currencies.")
    return {
        (token := by_symbol[symbol]): base_units(each, token) for symbol, each in amounts.items()
    }


def readable(units: Mapping[Token, int]) -> dict[str, Decimal]:
    """Whole tokens by symbol."""
    return {token.symbol: whole_tokens(each, token) for token, each in units.items()}


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
