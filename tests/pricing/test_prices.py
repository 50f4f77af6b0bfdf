"""Prices as values: exact, positive, finite, and never rounded."""

from __future__ import annotations

import decimal
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpp_asgi import Payment, Price, PriceError, tariff
from tests.limits import quick


@pytest.mark.parametrize("amount", ["0.01", Decimal("0.01"), "1e-2", " 0.01 ", "0.010"])
def test_an_amount_is_a_decimal_string_or_a_decimal(amount: Any) -> None:
    assert Price(amount).base_units(7) == 100_000


def test_an_amount_may_be_a_whole_number() -> None:
    assert Price(3).base_units(7) == 30_000_000


@pytest.mark.parametrize(
    ("amount", "advice"),
    [
        (0.01, '0.01 is a float and floats are not exact; write "0.01"'),
        (True, "a price is a decimal string such as '0.01', not True"),
        (None, "a price is a decimal string such as '0.01', not None"),
        (b"1", "a price is a decimal string such as '0.01', not b'1'"),
        ("", "a price is a decimal string such as '0.01', not ''"),
        ("one", "a price is a decimal string such as '0.01', not 'one'"),
        ("0,01", "a price is a decimal string such as '0.01', not '0,01'"),
        ("$1", "a price is a decimal string such as '0.01', not '$1'"),
        ("-1", "a price is positive, not -1"),
        ("NaN", "a price is positive, not NaN"),
        ("sNaN", "a price is positive, not sNaN"),
        ("Infinity", "a price is positive, not Infinity"),
        ("0", "a price of 0 is no price: leave the route undecorated, or return Price.free()"),
        ("-0.00", "a price of 0 is no price"),
        ("1e31", "no token has an amount of that size"),
        ("1e-31", "no token has an amount of that size"),
        ("1e999999999", "no token has an amount of that size"),
    ],
)
def test_anything_else_is_refused_with_what_to_write(amount: Any, advice: str) -> None:
    with pytest.raises(PriceError) as refused:
        Price(amount)
    assert str(refused.value).startswith(advice)


def test_more_digits_than_the_token_has_are_refused_not_rounded() -> None:
    with pytest.raises(PriceError, match=r"0\.12345678 has more than 7 decimal places"):
        Price("0.12345678").base_units(7)


def test_trailing_zeros_are_no_digits() -> None:
    assert Price("0.10000000000").base_units(7) == 1_000_000


@st.composite
def exact_amounts(draw: st.DrawFn) -> tuple[int, int]:
    """Base units, and the decimals of their token."""
    decimals = draw(st.integers(0, 18))
    digits = draw(st.integers(1, decimals + 20))
    return draw(st.integers(10 ** (digits - 1), 10**digits - 1)), decimals


@quick
@given(exact_amounts())
def test_base_units_come_back_exactly(amount: tuple[int, int]) -> None:
    units, decimals = amount
    digits = f"{units:0{decimals + 1}d}"
    text = f"{digits[: len(digits) - decimals]}.{digits[len(digits) - decimals :]}0"
    assert Price(text).base_units(decimals) == units


@pytest.mark.parametrize("precision", [1, 4])
def test_the_applications_decimal_context_does_not_matter(precision: int) -> None:
    payment = Payment(
        method="nod",
        intent="charge",
        payer=None,
        amount=123_456_789,
        currency="USDC",
        decimals=7,
        challenge_id="id",
    )
    with decimal.localcontext(prec=precision):
        assert Price("12.3456789").base_units(7) == 123_456_789
        assert payment.human_amount == Decimal("12.3456789")


def test_free_is_the_only_price_of_nothing() -> None:
    assert Price.free().is_free
    assert not Price("0.0000001").is_free


def test_a_price_reads_as_people_write_it() -> None:
    assert str(Price("1e-7")) == "0.0000001"
    assert str(Price("5", "XLM")) == "5 XLM"


@pytest.mark.parametrize(
    ("arguments", "options", "advice"),
    [
        ((), {}, "a route needs at least one price"),
        (("1", lambda request: "1"), {}, "a dynamic price stands alone"),
        ((["1", "2"],), {}, "a price is a decimal string"),
        (("1",), {"settle": "later"}, "settle is 'before' or 'after', not 'later'"),
        (("1",), {"vary": "accept"}, "vary is a list of header names"),
    ],
)
def test_a_tariff_that_makes_no_sense_is_refused(
    arguments: tuple[Any, ...], options: dict[str, Any], advice: str
) -> None:
    with pytest.raises(PriceError, match=advice):
        tariff(*arguments, **options)


def test_amounts_take_the_currency_given_for_all_and_keep_their_own() -> None:
    prices = tariff("1", Price("2", "XLM"), currency="EURC").prices
    assert [(str(price.amount), price.currency) for price in prices] == [
        ("1", "EURC"),
        ("2", "XLM"),
    ]


async def test_so_do_the_amounts_of_a_dynamic_price() -> None:
    quoted = tariff(lambda request: ["1", Price("2", "XLM")], currency="EURC")
    prices = await quoted.prices_for(lambda: None)  # type: ignore[arg-type, return-value]
    assert [(str(price.amount), price.currency) for price in prices] == [
        ("1", "EURC"),
        ("2", "XLM"),
    ]


@pytest.mark.parametrize("quoted", [None, [], 0.5, "free", [None], object()])
async def test_a_dynamic_price_that_returns_none_is_an_error(quoted: Any) -> None:
    with pytest.raises(PriceError):
        await tariff(lambda request: quoted).prices_for(lambda: None)  # type: ignore[arg-type, return-value]


async def test_a_dynamic_price_is_free_if_one_of_its_alternatives_is() -> None:
    quoted = tariff(lambda request: ["1", Price.free()])
    assert await quoted.prices_for(lambda: None) == ()  # type: ignore[arg-type, return-value]
