"""A payer, a shop that sells for real on a sandbox, and httpx in both manners between them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
import pytest

from mpp_asgi.client import PaymentAuth
from mpp_asgi.sandbox import Sandbox
from tests.client.shop import URL, Clock, Shop, make_payer, open_sandbox


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sandbox(clock: Clock) -> Sandbox:
    return open_sandbox(clock)


@pytest.fixture
def shop(sandbox: Sandbox, clock: Clock) -> Shop:
    return Shop(sandbox, clock)


@pytest.fixture
def waits() -> list[float]:
    """Seconds that the payer waited."""
    return []


@pytest.fixture
def payer(sandbox: Sandbox, clock: Clock, waits: list[float]) -> Callable[..., PaymentAuth]:
    """Makes payers at the shop's network."""
    return partial(make_payer, sandbox, clock, waits)


@pytest.fixture(scope="session")
def new_world() -> Callable[..., tuple[Shop, PaymentAuth]]:
    """Makes a shop and a payer of their own, for tests that need many."""

    def make(**settings: Any) -> tuple[Shop, PaymentAuth]:
        clock = Clock()
        sandbox = open_sandbox(clock)
        return Shop(sandbox, clock), make_payer(sandbox, clock, [], **settings)

    return make


@pytest.fixture(params=["async", "sync"])
def fetch(request: pytest.FixtureRequest, shop: Shop) -> Any:
    """``await fetch(auth, method="GET", url=URL, **request)`` through httpx, in both manners."""

    async def asynchronously(
        auth: PaymentAuth,
        method: str = "GET",
        url: str = URL,
        *,
        server: Any = shop,
        follow_redirects: bool = False,
        **settings: Any,
    ) -> httpx.Response:
        transport = httpx.MockTransport(server)
        async with httpx.AsyncClient(
            transport=transport, auth=auth, follow_redirects=follow_redirects
        ) as client:
            return await client.request(method, url, **settings)

    def blocking(
        auth: PaymentAuth,
        method: str = "GET",
        url: str = URL,
        *,
        server: Any = shop,
        follow_redirects: bool = False,
        **settings: Any,
    ) -> httpx.Response:
        transport = httpx.MockTransport(server)
        with httpx.Client(
            transport=transport, auth=auth, follow_redirects=follow_redirects
        ) as client:
            return client.request(method, url, **settings)

    async def blocking_nevertheless(*args: Any, **settings: Any) -> httpx.Response:
        return blocking(*args, **settings)

    return asynchronously if request.param == "async" else blocking_nevertheless


@pytest.fixture(params=["sponsored", "unsponsored", "push"])
def way(request: pytest.FixtureRequest, shop: Shop) -> str:
    """How the payer pays; the shop offers that."""
    if request.param != "sponsored":
        shop.unsponsored()
    return str(request.param)


@pytest.fixture
def auth(payer: Callable[..., PaymentAuth], way: str) -> PaymentAuth:
    """A payer that pays this way."""
    return payer(mode="push" if way == "push" else "pull")
