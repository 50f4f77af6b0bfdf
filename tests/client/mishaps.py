"""What can go wrong with a credential on its way: reactions for the shop, and what holds after."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal

import httpx

from mpp_asgi.client import PaymentAuth
from mpp_asgi.protocol import Credential
from tests.client.shop import Reaction, Shop


def busy(status: int, **headers: str) -> Reaction:
    """The server is in trouble."""
    return lambda request, credential: httpx.Response(status, headers=headers)


def taking(shop: Shop, then: Reaction) -> Reaction:
    """The shop takes the money, if it still can, and then something else happens."""

    def react(request: httpx.Request, credential: Credential) -> httpx.Response:
        with contextlib.suppress(AssertionError):
            shop.take(credential)
        return then(request, credential)

    return react


def losing(error: type[httpx.TransportError] = httpx.ReadTimeout) -> Reaction:
    """The connection is lost."""

    def react(request: httpx.Request, credential: Credential) -> httpx.Response:
        raise error("lost", request=request)

    return react


def one_payment(shop: Shop, auth: PaymentAuth) -> None:
    """Whatever happened, one price was paid, once, and is counted."""
    assert shop.earned == 100_000
    assert len(shop.payments) == 1
    assert auth.spent == {"USDC": Decimal("0.01")}


class Broken(httpx.AsyncByteStream, httpx.SyncByteStream):
    """A body that breaks off."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __iter__(self) -> Iterator[bytes]:
        yield b'{"weather'
        raise self.error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk
