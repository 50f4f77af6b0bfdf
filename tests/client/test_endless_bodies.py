"""A server that goes on and on holds up nobody, and what it says is not lost."""

import gzip
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest

from mpp_asgi.client import (
    Patience,
    PaymentAuth,
    PaymentOutcomeUnknownError,
    PaymentRefusedError,
)
from mpp_asgi.client.glance import MOST_BYTES, MOST_SECONDS
from mpp_asgi.client.turns import TURN_SECONDS
from mpp_asgi.protocol import Credential
from tests.client.shop import URL, Clock, Reaction, Shop, credentials_of

OTHER_URL = "https://shop.test/other"


class Body(httpx.AsyncByteStream, httpx.SyncByteStream):
    """A body that comes in pieces, with time between them."""

    def __init__(
        self, *pieces: bytes, clock: Clock | None = None, error: Exception | None = None
    ) -> None:
        self.pieces = pieces
        self.clock = clock
        self.error = error
        self.read = 0
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        for piece in self.pieces:
            self.read += 1
            if self.clock is not None:
                self.clock.now += 0.05
            yield piece
        if self.error is not None:
            raise self.error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece

    def close(self) -> None:
        self.closed = True

    async def aclose(self) -> None:
        self.closed = True


def endless(clock: Clock | None, piece: bytes = b"x") -> Body:
    """As good as."""
    return Body(*[piece] * 100_000, clock=clock)


def saying(status: int, body: Body, **headers: str) -> Reaction:
    return lambda request, credential: httpx.Response(status, stream=body, headers=headers)


async def test_a_byte_now_and_then_is_not_waited_for(
    shop: Shop, payer: Callable[..., PaymentAuth], fetch: Any, clock: Clock
) -> None:
    body, began = endless(clock), clock.now
    shop.reactions = [saying(503, body)]
    with pytest.raises(PaymentOutcomeUnknownError):
        await fetch(payer(patience=Patience(attempts=1)))
    assert MOST_SECONDS <= clock.now - began <= MOST_SECONDS + 1
    assert body.closed


async def test_the_same_credential_is_shown_after_an_endless_error(
    shop: Shop, payer: Callable[..., PaymentAuth], fetch: Any
) -> None:
    body = endless(None, b"x" * 1024)
    shop.reactions = [saying(503, body)]
    assert (await fetch(payer())).status_code == 200
    assert body.read <= MOST_BYTES / 1024 + 1
    assert body.closed
    assert len(shop.payments) == 1


async def test_a_refusal_has_what_was_read(
    shop: Shop, payer: Callable[..., PaymentAuth], fetch: Any
) -> None:
    body = endless(None, b"x" * 1000)
    shop.reactions = [saying(402, body)]
    with pytest.raises(PaymentRefusedError) as raised:
        await fetch(payer())
    assert raised.value.response.content == b"x" * MOST_BYTES
    assert body.closed


async def test_a_price_with_an_endless_body_is_paid(
    shop: Shop, payer: Callable[..., PaymentAuth], fetch: Any
) -> None:
    body = endless(None, b"x" * 1024)

    def server(request: httpx.Request) -> httpx.Response:
        answer = shop(request)
        if credentials_of(request):
            return answer
        return httpx.Response(402, headers=answer.headers, stream=body)

    assert (await fetch(payer(), server=server)).json() == {"weather": "fine"}
    assert body.closed


async def test_the_answer_of_the_app_is_whole(
    shop: Shop, payer: Callable[..., PaymentAuth], fetch: Any
) -> None:
    pieces = [bytes([each]) * 1000 for each in range(200)]
    shop.reactions = [saying(404, Body(*pieces))]
    answer = await fetch(payer())
    assert answer.status_code == 404
    assert answer.content == b"".join(pieces)


async def test_an_answer_that_is_compressed_is_whole(
    shop: Shop, payer: Callable[..., PaymentAuth], fetch: Any
) -> None:
    text = bytes(each * each % 251 for each in range(300_000))
    packed = gzip.compress(text, 0)
    pieces = [packed[at : at + 999] for at in range(0, len(packed), 999)]
    shop.reactions = [saying(404, Body(*pieces), **{"Content-Encoding": "gzip"})]
    assert (await fetch(payer())).content == text


async def test_what_cannot_be_decompressed_is_left_out(
    shop: Shop, payer: Callable[..., PaymentAuth], fetch: Any
) -> None:
    body = endless(None, b"x" * 1000)
    shop.reactions = [saying(503, body, **{"Content-Encoding": "gzip"})]
    assert (await fetch(payer())).status_code == 200


async def test_an_error_that_breaks_off_names_its_request(
    shop: Shop, payer: Callable[..., PaymentAuth], fetch: Any
) -> None:
    auth = payer()
    shop.reactions = [saying(503, Body(b"x", error=httpx.ReadError("lost")))]
    with pytest.raises(PaymentOutcomeUnknownError) as raised:
        await fetch(auth)
    assert isinstance(raised.value.__cause__, httpx.ReadError)
    assert raised.value.__cause__.request.url == URL
    assert len(auth.unresolved) == 1


# --- turns ----------------------------------------------------------------------------------------


def hanging(auth: PaymentAuth, shop: Shop) -> Any:
    """A payment that was signed, and whose server does not answer. Its flow."""
    flow: Any = auth.sync_auth_flow(httpx.Request("GET", URL))
    request = next(flow)
    answer = shop(request)
    answer.request = request
    assert Credential.from_header(credentials_of(flow.send(answer))[0])
    return flow


def pay(auth: PaymentAuth, shop: Shop) -> int:
    with httpx.Client(transport=httpx.MockTransport(shop), auth=auth) as client:
        return client.get(OTHER_URL).status_code


def test_a_pushed_payment_that_the_ledger_has_holds_up_nobody(
    shop: Shop, payer: Callable[..., PaymentAuth]
) -> None:
    shop.unsponsored()
    auth = payer(mode="push")
    flow = hanging(auth, shop)
    assert pay(auth, shop) == 200
    flow.close()


def test_a_server_that_hangs_holds_up_others_for_so_long(
    shop: Shop, payer: Callable[..., PaymentAuth], clock: Clock
) -> None:
    shop.unsponsored()
    auth = payer()
    flow = hanging(auth, shop)
    clock.now += TURN_SECONDS
    assert pay(auth, shop) == 200
    flow.close()
    assert len(auth.unresolved) == 1
