"""One payer, used by whatever runs in the process: an account has one sequence number."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import httpx
import pytest
from anyio.lowlevel import checkpoint

from mpp_asgi.client import PaymentAuth
from mpp_asgi.client.turns import TURN_SECONDS, Turns
from tests.client.shop import URL, Clock, Shop

OTHER_URL = "https://shop.test/other"
PATIENCE = 20.0
"""Real seconds until a test gives up; none passes while things are well."""


@pytest.fixture
def auth(shop: Shop, payer: Callable[..., PaymentAuth]) -> PaymentAuth:
    """A payer of transactions of its own."""
    shop.unsponsored()
    return payer()


def woken(log: list[str], name: str) -> Callable[[], None]:
    return lambda: log.append(name)


# --- through httpx --------------------------------------------------------------------------------


class Holder:
    """A payment in `httpx.Client`'s manner that was signed and is not answered yet."""

    def __init__(self, auth: PaymentAuth, shop: Shop) -> None:
        self.shop = shop
        self.flow: Any = auth.sync_auth_flow(httpx.Request("GET", URL))
        self.request = self.flow.send(self._answered(next(self.flow)))

    def _answered(self, request: httpx.Request) -> httpx.Response:
        response = self.shop(request)
        response.request = request
        return response

    def finish(self) -> None:
        with pytest.raises(StopIteration):
            self.flow.send(self._answered(self.request))
        self.flow.close()


async def blocked(auth: PaymentAuth, shop: Shop, then: Callable[[], None]) -> int:
    """A payment in this event loop; ``then`` is called when it can go no further."""
    async with httpx.AsyncClient(transport=httpx.MockTransport(shop), auth=auth) as client:
        task = asyncio.ensure_future(client.get(OTHER_URL))
        await checkpoint()
        await anyio.wait_all_tasks_blocked()
        then()
        return (await task).status_code


async def test_a_loop_waits_for_a_thread(shop: Shop, auth: PaymentAuth) -> None:
    holder = Holder(auth, shop)

    def then() -> None:
        assert len(shop.credentials) == 0, "it signed for the same sequence number"
        holder.finish()

    assert await asyncio.wait_for(blocked(auth, shop, then), PATIENCE) == 200
    assert shop.earned == 200_000


async def test_a_loop_waits_for_another(shop: Shop, auth: PaymentAuth) -> None:
    flow: Any = auth.async_auth_flow(httpx.Request("GET", URL))
    request = await flow.__anext__()
    shop_says = shop(request)
    shop_says.request = request
    request = await flow.asend(shop_says)
    waits, answers = threading.Event(), list[int]()
    other = threading.Thread(
        target=lambda: answers.append(asyncio.run(blocked(auth, shop, waits.set))), daemon=True
    )
    other.start()
    await asyncio.to_thread(waits.wait, PATIENCE)
    assert len(shop.credentials) == 0
    shop_says = shop(request)
    shop_says.request = request
    with pytest.raises(StopAsyncIteration):
        await flow.asend(shop_says)
    await flow.aclose()
    await asyncio.to_thread(other.join, PATIENCE)
    assert answers == [200], "nobody woke the other loop"
    assert shop.earned == 200_000


def test_a_thread_waits_for_another(shop: Shop, auth: PaymentAuth) -> None:
    holder = Holder(auth, shop)
    asked = threading.Event()

    def server(request: httpx.Request) -> httpx.Response:
        asked.set()
        return shop(request)

    def pay() -> int:
        with httpx.Client(transport=httpx.MockTransport(server), auth=auth) as client:
            return client.get(OTHER_URL).status_code

    with ThreadPoolExecutor(1) as other:
        paid = other.submit(pay)
        asked.wait(PATIENCE)
        holder.finish()
        assert paid.result(PATIENCE) == 200
    assert shop.earned == 200_000


async def test_whoever_is_cancelled_while_waiting_is_passed_over(
    shop: Shop, auth: PaymentAuth
) -> None:
    holder = Holder(auth, shop)
    transport = httpx.MockTransport(shop)
    async with httpx.AsyncClient(transport=transport, auth=auth) as client:
        first = asyncio.ensure_future(client.get(OTHER_URL))
        second = asyncio.ensure_future(client.get(f"{OTHER_URL}/2"))
        await checkpoint()
        await anyio.wait_all_tasks_blocked()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        holder.finish()
        assert (await asyncio.wait_for(second, PATIENCE)).status_code == 200
    assert auth.unresolved == ()
    assert shop.earned == 200_000


# --- the queue ------------------------------------------------------------------------------------


def test_first_come_first_served(clock: Clock) -> None:
    turns, log = Turns(clock), list[str]()
    assert turns.ask("a", woken(log, "a")) is None
    assert turns.ask("b", woken(log, "b")) == TURN_SECONDS
    assert turns.ask("c", woken(log, "c")) == TURN_SECONDS
    assert turns.ask("b", woken(log, "b")) == TURN_SECONDS
    turns.leave("a")
    assert log == ["a", "b"]
    assert turns.ask("b", woken(log, "b")) is None
    turns.leave("b")
    assert turns.has("c")


def test_who_has_the_turn_has_it_still_when_it_asks_again(clock: Clock) -> None:
    turns = Turns(clock)
    assert turns.ask("a", list) is None
    assert turns.ask("a", list) is None
    turns.leave("a")
    assert not turns.has("a")


def test_a_turn_that_is_woken_and_not_taken_goes_to_the_next(clock: Clock) -> None:
    turns = Turns(clock)
    turns.ask("a", list)
    turns.ask("b", list)
    turns.ask("c", list)
    turns.leave("a")
    turns.leave("b")  # cancelled between being woken and looking
    assert turns.has("c")


def test_a_closed_loop_is_passed_over(clock: Clock) -> None:
    turns = Turns(clock)
    loop = asyncio.new_event_loop()
    loop.close()
    turns.ask("a", list)
    turns.ask("b", lambda: loop.call_soon_threadsafe(list))
    turns.ask("c", list)
    turns.leave("a")
    assert turns.has("c")


def test_a_turn_has_an_end(clock: Clock) -> None:
    turns = Turns(clock)
    turns.ask("a", list)
    clock.now += TURN_SECONDS - 1
    assert turns.ask("b", list) == 1
    clock.now += 1
    assert turns.ask("b", list) is None
    turns.leave("a")
    assert turns.has("b")
    assert turns.ask("a", list) == TURN_SECONDS


def test_a_clock_that_is_set_back_makes_no_turn_longer(clock: Clock) -> None:
    turns = Turns(clock)
    turns.ask("a", list)
    clock.now -= 3600
    assert turns.ask("b", list) == TURN_SECONDS
