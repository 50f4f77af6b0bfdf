"""What something costs, as values: `Price`, and the `Tariff` that `price` leaves on an endpoint."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from starlette.requests import Request

Settle = Literal["before", "after"]


class PriceError(ValueError):
    """A price that cannot be charged; the message says what to write instead."""


@dataclass(frozen=True, slots=True)
class Price:
    """An amount of one currency: ``Price("0.01")``, ``Price("0.25", "XLM")``.

    Args:
        amount: whole tokens as a decimal string, ``Decimal`` or ``int``; never a float.
        currency: a symbol the network knows (``"USDC"``) or a contract address (``"C..."``);
            ``None`` for the middleware's currency.

    Raises:
        PriceError: not an exact, positive, finite amount.
    """

    amount: Decimal
    currency: str | None = None

    def __init__(self, amount: Decimal | str | int, currency: str | None = None) -> None:
        object.__setattr__(self, "amount", _exact(amount))
        object.__setattr__(self, "currency", currency)

    @staticmethod
    def free() -> Price:
        """What a dynamic price returns to say "not this time"."""
        return _FREE

    @property
    def is_free(self) -> bool:
        return not self.amount

    def base_units(self, decimals: int) -> int:
        """The amount as an integer of base units.

        Raises:
            PriceError: the amount has more digits than the token; nothing is rounded.
        """
        numerator, denominator = self.amount.as_integer_ratio()  # Decimal's own arithmetic rounds
        scale: int = 10**decimals
        units, rest = divmod(numerator * scale, denominator)
        if rest:
            raise PriceError(f"{self.amount} has more than {decimals} decimal places, the token's")
        return units

    def __str__(self) -> str:
        return f"{self.amount:f} {self.currency}" if self.currency else f"{self.amount:f}"


def _exact(amount: object) -> Decimal:
    if isinstance(amount, float):
        raise PriceError(f'{amount} is a float and floats are not exact; write "{amount}"')
    if isinstance(amount, bool) or not isinstance(amount, (str, int, Decimal)):
        raise PriceError(f"a price is a decimal string such as '0.01', not {amount!r}")
    try:
        exact = Decimal(amount)
    except InvalidOperation:
        raise PriceError(f"a price is a decimal string such as '0.01', not {amount!r}") from None
    if not exact.is_finite() or exact < 0:
        raise PriceError(f"a price is positive, not {amount}")
    if exact == 0:
        raise PriceError(
            "a price of 0 is no price: leave the route undecorated, "
            "or return Price.free() from a dynamic price"
        )
    exponent = exact.as_tuple().exponent
    if exact.adjusted() > 30 or (isinstance(exponent, int) and exponent < -30):
        raise PriceError("no token has an amount of that size")
    return exact


def _free() -> Price:
    free = object.__new__(Price)
    object.__setattr__(free, "amount", Decimal(0))
    object.__setattr__(free, "currency", None)
    return free


_FREE = _free()

Amount = Price | Decimal | str | int
Quoted = Amount | Sequence[Amount]
DynamicPrice = Callable[["Request"], Quoted | Awaitable[Quoted]]


@dataclass(frozen=True, slots=True, eq=False)
class Tariff:
    """What a route costs and how: the decorator's arguments, parsed."""

    prices: tuple[Price, ...]
    """Alternatives, the seller's favourite first; empty if ``quote`` says."""
    quote: DynamicPrice | None = None
    currency: str | None = None
    """Of what ``quote`` returns without one."""
    settle: Settle = "before"
    description: str | None = None
    vary: tuple[str, ...] = ()
    """Names of the request headers that the price depends on, in lower case."""
    intents: frozenset[str] | None = None
    """The intents that may pay it; ``None``: all that are configured."""
    sold: str = ""
    """What was decorated with it first, by module and name; a price by path has its path."""

    def name_after(self, endpoint: object) -> None:
        """Take the name of what is sold, so that a quote for it can be told from other quotes: in
        every process alike, which the function that quotes cannot promise (it may be a lambda)."""
        if not self.sold:
            module, name = (getattr(endpoint, each, "") for each in ("__module__", "__qualname__"))
            object.__setattr__(self, "sold", f"{module}.{name}")

    @property
    def is_bound_to_headers(self) -> bool:
        return bool(self.vary) or self.quote is not None

    @property
    def bound_headers(self) -> tuple[str, ...]:
        """The headers a challenge binds: a dynamic price that reads the body must know its type."""
        return self.vary if self.quote is None else (*self.vary, "content-type")

    def is_enough_for(self, other: Tariff) -> bool:
        """Whether each of these prices pays the other's as well, whatever the request is."""
        if self is other:
            return True
        if self.quote is not None or other.quote is not None:
            return False
        least = {price.currency: price.amount for price in other.prices}
        return all(p.currency in least and p.amount >= least[p.currency] for p in self.prices)

    async def prices_for(self, request: Callable[[], Request]) -> tuple[Price, ...]:
        """The alternatives for one request; empty if it is free this time.

        Raises:
            PriceError: the dynamic price returned something that is none.
        """
        if self.quote is None:
            return self.prices
        quoted = self.quote(request())
        if inspect.isawaitable(quoted):
            quoted = await quoted
        prices = _alternatives(quoted, self.currency)
        return () if any(price.is_free for price in prices) else prices


def _alternatives(quoted: object, currency: str | None) -> tuple[Price, ...]:
    amounts = quoted if isinstance(quoted, (list, tuple)) else (quoted,)
    prices = tuple(a if isinstance(a, Price) else Price(a, currency) for a in amounts)
    if not prices:
        raise PriceError("a route needs at least one price")
    return prices


_NO_REQUESTS = frozenset({"str", "int", "float", "bool", "bytes", "list", "dict"})
"""Annotations of what a path or query gives to an endpoint."""


def _of_the_request(quote: DynamicPrice) -> DynamicPrice:
    """The function, if it can be called with a request. What cannot may well be an endpoint under
    a bare ``@price``."""
    try:
        signature = inspect.signature(quote)
    except (TypeError, ValueError):
        return quote  # not written in Python, and tells nothing of itself
    name = getattr(quote, "__name__", repr(quote))
    try:
        signature.bind(None)
    except TypeError:
        raise PriceError(
            f"a price function takes the request and nothing else; if {name} is the endpoint, "
            'write @price("0.01")'
        ) from None
    first = next(iter(signature.parameters.values())).annotation
    taken = first if isinstance(first, str) else getattr(first, "__name__", "")
    if taken in _NO_REQUESTS:
        raise PriceError(
            f"a price function takes the request, not {taken}; if {name} is the endpoint, "
            'write @price("0.01")'
        )
    return quote


def tariff(
    *amounts: Amount | DynamicPrice,
    currency: str | None = None,
    settle: Settle = "before",
    description: str | None = None,
    vary: Sequence[str] = (),
    intents: Sequence[str] | None = None,
) -> Tariff:
    """Parse what `price` takes. See there."""
    if settle not in ("before", "after"):
        raise PriceError(f"settle is 'before' or 'after', not {settle!r}")
    if isinstance(vary, str):
        raise PriceError(f"vary is a list of header names: write vary=[{vary!r}]")
    if isinstance(intents, str) or (intents is not None and not intents):
        raise PriceError("intents is a list of at least one: write intents=['session']")
    quote: DynamicPrice | None = None
    prices: tuple[Price, ...] = ()
    if len(amounts) == 1 and callable(amounts[0]):
        quote = _of_the_request(amounts[0])
    elif any(callable(amount) for amount in amounts):
        raise PriceError("a dynamic price stands alone; return several prices from it instead")
    else:
        prices = _alternatives(amounts, currency)
        if len({each.currency for each in prices}) < len(prices):
            raise PriceError(
                "several amounts are alternatives in several currencies: name another currency for "
                'each, Price("0.4", "XLM"), or leave one amount'
            )
    return Tariff(
        prices,
        quote,
        currency,
        settle,
        description,
        tuple(name.lower() for name in vary),
        None if intents is None else frozenset(intents),
    )
