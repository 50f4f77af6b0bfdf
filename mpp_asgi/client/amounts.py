"""Amounts of money, as people write them and in base units. Exact, or an error."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow
from typing import TYPE_CHECKING, Final

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
