"""Budgets: exact amounts, and never more than the limit, whoever reserves and when."""

import asyncio
import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from mpp_asgi.client import BudgetExceededError, PaymentError
from mpp_asgi.client.amounts import (
    base_units,
    limits,
    price_tag,
    readable,
    spendable,
    whole_tokens,
)
from mpp_asgi.client.budget import Budget, Reservation, State
from mpp_asgi.stellar.network import PUBNET, TESTNET, Token
from tests.client.mishaps import busy, losing, taking
from tests.client.shop import Shop

USDC = TESTNET.tokens["USDC"]
XLM = TESTNET.tokens["XLM"]
LIMIT = 1_000


# --- amounts --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "units"),
    [
        ("1.00", 10_000_000),
        ("0.0000001", 1),
        (" 2 ", 20_000_000),
        ("1e3", 10_000_000_000),
        (Decimal("0.5"), 5_000_000),
        (3, 30_000_000),
        ("0", 0),
    ],
)
def test_amounts(amount: str | Decimal | int, units: int) -> None:
    assert base_units(amount, USDC) == units


@pytest.mark.parametrize("amount", [1.0, 0.1, True, None, b"1"])
def test_floats_and_the_like_are_refused(amount: object) -> None:
    with pytest.raises(TypeError, match="An amount must be"):
        base_units(amount, USDC)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "amount",
    ["", "one", "-1", "0.00000001", "NaN", "Infinity", "1e999999", "1e40", "1.0" + "0" * 90 + "1"],
)
def test_amounts_that_are_none(amount: str) -> None:
    with pytest.raises(ValueError, match="is not an amount"):
        base_units(amount, USDC)


@settings(deadline=None)
@given(units=st.integers(0, 2**127 - 1), decimals=st.integers(0, 38))
def test_whole_tokens_and_back(units: int, decimals: int) -> None:
    token = Token("C", "T", decimals)
    assert base_units(whole_tokens(units, token), token) == units


def test_price_tags() -> None:
    assert price_tag(100_000, USDC) == "0.01 USDC"
    assert price_tag(1_000_000_000, USDC) == "100 USDC"
    assert price_tag(1, USDC) == "0.0000001 USDC"
    assert price_tag(0, USDC) == "0 USDC"


def test_what_a_budget_is_for() -> None:
    own = Token("C" * 56, "OWN", 2)
    assert spendable(None, "1", TESTNET) == (USDC,)
    assert spendable(None, {"XLM": "1"}, TESTNET) == (XLM,)
    assert spendable(["XLM", own], "1", TESTNET) == (XLM, own)
    assert spendable(None, "1", PUBNET) == (PUBNET.tokens["USDC"],)
    with pytest.raises(ValueError, match="'EURC' is not a well-known currency of stellar:testnet"):
        spendable(["EURC"], "1", TESTNET)
    assert limits("0.05", (USDC, own)) == {USDC: 500_000, own: 5}
    assert limits({"OWN": "0.05"}, (USDC, own)) == {own: 5}
    with pytest.raises(ValueError, match="'XLM' has an amount, but"):
        limits({"XLM": "1"}, (USDC, own))
    with pytest.raises(ValueError, match="OWN, which has 2 decimals"):
        limits("0.001", (USDC, own))
    assert readable({own: 5}) == {"OWN": Decimal("0.05")}


# --- reservations ---------------------------------------------------------------------------------


class Accounting(RuleBasedStateMachine):
    """Against a list of what was reserved and where it went."""

    reservations = Bundle("reservations")

    def __init__(self) -> None:
        super().__init__()
        self.budget = Budget({USDC: LIMIT, XLM: LIMIT})
        self.all: list[Reservation] = []

    def counted(self, token: Token, *states: State) -> int:
        return sum(each.amount for each in self.all if each.token is token and each.state in states)

    @rule(target=reservations, token=st.sampled_from([USDC, XLM]), amount=st.integers(1, 600))
    def reserve(self, token: Token, amount: int) -> Reservation | None:
        left = self.budget.left()[token]
        try:
            reservation = self.budget.reserve(token, amount)
        except BudgetExceededError:
            assert amount > left
            return None
        assert amount <= left
        self.all.append(reservation)
        return reservation

    @rule(target=reservations, token=st.sampled_from([USDC, XLM]), amount=st.integers(0, 600))
    def count(self, token: Token, amount: int) -> Reservation:
        reservation = self.budget.count(token, amount)
        self.all.append(reservation)
        return reservation

    @rule(reservation=reservations)
    def doubt(self, reservation: Reservation | None) -> None:
        if reservation is not None:
            before = reservation.state
            reservation.doubt()
            assert reservation.state is (State.DOUBTED if before is State.HELD else before)

    @rule(reservation=reservations)
    def spend(self, reservation: Reservation | None) -> None:
        if reservation is not None:
            reservation.spend()

    @rule(reservation=consumes(reservations))
    def give_back(self, reservation: Reservation | None) -> None:
        if reservation is not None and reservation.state is not State.SPENT:
            reservation.give_back()

    @invariant()
    def sums_agree(self) -> None:
        for token in (USDC, XLM):
            gone = self.counted(token, State.SPENT, State.DOUBTED)
            held = self.counted(token, State.HELD)
            assert self.budget.spent()[token] == gone
            assert self.budget.doubted()[token] == self.counted(token, State.DOUBTED)
            assert self.budget.left()[token] == max(LIMIT - gone - held, 0)


TestAccounting = Accounting.TestCase
TestAccounting.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


@settings(deadline=None)
@given(amounts=st.lists(st.integers(1, 400), min_size=1, max_size=30))
def test_reservations_never_exceed_the_limit(amounts: list[int]) -> None:
    budget = Budget({USDC: LIMIT})
    got = 0
    for amount in amounts:
        try:
            budget.reserve(USDC, amount)
        except BudgetExceededError:
            assert got + amount > LIMIT
        else:
            got += amount
    assert got <= LIMIT
    assert budget.left() == {USDC: LIMIT - got}


def test_threads_never_exceed_the_limit() -> None:
    budget = Budget({USDC: LIMIT})
    start = threading.Barrier(8)

    def spend() -> int:
        start.wait()
        got = 0
        for turn in range(500):
            try:
                reservation = budget.reserve(USDC, 3)
            except BudgetExceededError:
                continue
            if turn % 2:
                reservation.give_back()
            else:
                reservation.spend()
                got += 3
        return got

    with ThreadPoolExecutor(8) as pool:
        spent = sum(each.result() for each in [pool.submit(spend) for _ in range(8)])
    assert spent <= LIMIT
    assert budget.spent() == {USDC: spent}
    assert budget.left() == {USDC: LIMIT - spent}


# --- payments at the same time --------------------------------------------------------------------


@pytest.mark.parametrize("way", ["sponsored", "unsponsored", "push"])
async def test_tasks_share_a_budget(shop: Shop, payer: Any, way: str) -> None:
    if way != "sponsored":
        shop.unsponsored()

    async def server(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0)
        return shop(request)

    auth = payer(budget="0.05", mode="push" if way == "push" else "pull")
    async with httpx.AsyncClient(transport=httpx.MockTransport(server), auth=auth) as client:
        answers = await asyncio.gather(
            *(client.get(f"https://shop.test/?n={n}") for n in range(12)), return_exceptions=True
        )
    good = [each for each in answers if isinstance(each, httpx.Response)]
    assert len(good) == 5
    assert all(each.status_code == 200 for each in good)
    assert sum(isinstance(each, BudgetExceededError) for each in answers) == 7
    assert shop.earned == 500_000
    assert auth.spent == {"USDC": Decimal("0.05")}


@pytest.mark.parametrize("way", ["sponsored", "unsponsored", "push"])
def test_threads_share_a_budget(shop: Shop, payer: Any, way: str) -> None:
    if way != "sponsored":
        shop.unsponsored()
    one_at_a_time = threading.Lock()

    def server(request: httpx.Request) -> httpx.Response:
        with one_at_a_time:
            return shop(request)

    auth = payer(budget="0.05", mode="push" if way == "push" else "pull")
    transport = httpx.MockTransport(server)

    def get(n: int) -> int | type[Exception]:
        with httpx.Client(transport=transport, auth=auth) as client:
            try:
                return client.get(f"https://shop.test/?n={n}").status_code
            except BudgetExceededError as error:
                return type(error)

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(get, range(12)))
    assert answers.count(200) == 5
    assert answers.count(BudgetExceededError) == 7
    assert shop.earned == 500_000
    assert auth.spent == {"USDC": Decimal("0.05")}


async def test_the_same_request_at_the_same_time_is_two_requests(shop: Shop, payer: Any) -> None:
    auth = payer()
    async with httpx.AsyncClient(transport=httpx.MockTransport(shop), auth=auth) as client:
        answers = await asyncio.gather(*(client.get("https://shop.test/") for _ in range(3)))
    assert [each.status_code for each in answers] == [200, 200, 200]
    assert shop.earned == 300_000


def unseen(shop: Shop) -> Any:
    """Without a connection, the shop never saw the credential."""

    def react(request: httpx.Request, credential: Any) -> httpx.Response:
        shop.credentials.pop()
        raise httpx.ConnectError("unreachable", request=request)

    return react


FATES = {
    "pay": lambda shop: shop.honestly,
    "take and lose": lambda shop: taking(shop, losing(httpx.ReadTimeout)),
    "lose": lambda shop: losing(httpx.ReadTimeout),
    "no connection": unseen,
    "take and be busy": lambda shop: taking(shop, busy(503)),
    "be busy": lambda shop: busy(503),
    "take and ask again": lambda shop: taking(shop, lambda request, _: shop.price(request)),
    "keep and ask again": lambda shop: lambda request, _: shop.price(request),
    "fail": lambda shop: busy(404),
}


@settings(max_examples=20, deadline=None)
@given(
    way=st.sampled_from(["sponsored", "unsponsored", "push"]),
    requests=st.lists(
        st.tuples(st.integers(0, 3), st.lists(st.sampled_from(sorted(FATES)), max_size=3)),
        min_size=1,
        max_size=5,
    ),
)
def test_whatever_happens_is_covered(
    new_world: Any, way: str, requests: list[tuple[int, list[str]]]
) -> None:
    """The money that has left is never more than what is counted, even if the shop takes all that
    it was ever shown; and what is counted is never more than the budget."""
    shop, auth = new_world(budget="0.03", mode="push" if way == "push" else "pull")
    if way != "sponsored":
        shop.unsponsored()
    with httpx.Client(transport=httpx.MockTransport(shop), auth=auth) as client:
        for resource, fates in requests:
            shop.reactions = [FATES[fate](shop) for fate in fates]
            with contextlib.suppress(PaymentError, httpx.ConnectError):
                client.get(f"https://shop.test/?n={resource}")
            counted = base_units(auth.spent["USDC"], USDC)
            assert shop.earned <= counted <= 300_000
    for credential in shop.credentials:
        if credential.payload["type"] == "transaction":
            with contextlib.suppress(AssertionError):
                shop.take(credential)
    assert shop.earned <= base_units(auth.spent["USDC"], USDC)
