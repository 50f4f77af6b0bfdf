"""Answers that get lost, servers in trouble: the same payment is shown again, and no other."""

import asyncio
from decimal import Decimal
from typing import Any

import httpx
import pytest

from mpp_asgi.client import Patience, PaymentAuth, PaymentOutcomeUnknownError
from tests.client.mishaps import Broken, busy, losing, one_payment, taking
from tests.client.shop import URL, Shop

# --- the server is in trouble ---------------------------------------------------------------------


@pytest.mark.parametrize("status", [409, 425, 429, 500, 502, 503, 504])
async def test_trouble_that_passes(
    shop: Shop, auth: PaymentAuth, fetch: Any, waits: list[float], status: int
) -> None:
    shop.reactions = [busy(status), taking(shop, busy(status))]
    assert (await fetch(auth)).json() == {"weather": "fine"}
    one_payment(shop, auth)
    assert len(shop.credentials) == 3
    assert waits[-2:] == [1.0, 2.0]
    assert auth.unresolved == ()


async def test_trouble_that_stays(shop: Shop, auth: PaymentAuth, fetch: Any) -> None:
    shop.reactions = [taking(shop, busy(503))] * 5
    with pytest.raises(PaymentOutcomeUnknownError, match="HTTP 503") as caught:
        await fetch(auth)
    assert caught.value.challenge_id == shop.credentials[0].challenge.id
    assert len(shop.credentials) == 5
    one_payment(shop, auth)
    assert auth.unresolved == (caught.value.payment,)

    assert (await fetch(auth)).json() == {"weather": "fine"}
    one_payment(shop, auth)
    assert len(shop.unpaid_requests()) == 1
    assert auth.unresolved == ()


async def test_as_often_as_patience_says(shop: Shop, payer: Any, fetch: Any) -> None:
    shop.reactions = [busy(503)] * 9
    with pytest.raises(PaymentOutcomeUnknownError):
        await fetch(payer(patience=Patience(attempts=2)))
    assert len(shop.credentials) == 2


@pytest.mark.parametrize(
    ("retry_after", "wait"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("3600", 30.0),
        ("Fri, 15 Jan 2027 08:00:12 GMT", 12.0),
        ("Fri, 15 Jan 2021 08:00:12 GMT", 0.0),
        ("-5", 1.0),
        ("soon", 1.0),
        ("1e9", 1.0),
        ("9" * 400, 30.0),
    ],
)
async def test_the_server_says_when(
    shop: Shop, payer: Any, fetch: Any, waits: list[float], retry_after: str, wait: float
) -> None:
    shop.reactions = [busy(503, **{"Retry-After": retry_after})]
    await fetch(payer())
    assert waits == [wait]


@pytest.mark.parametrize(("status", "shown"), [(500, 1), (502, 1), (504, 1), (503, 5), (409, 5)])
async def test_work_is_not_repeated_unasked(
    shop: Shop, payer: Any, fetch: Any, status: int, shown: int
) -> None:
    """A POST that failed half-way may have done its work; the app decides on its repetition."""
    shop.reactions = [busy(status)] * 5
    auth = payer()
    with pytest.raises(PaymentOutcomeUnknownError):
        await fetch(auth, "POST", content=b"order")
    assert len(shop.credentials) == shown
    shop.reactions = []
    assert (await fetch(auth, "POST", content=b"order")).status_code == 200
    one_payment(shop, auth)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 413, 422])
async def test_the_apps_own_errors_are_answers(
    shop: Shop, auth: PaymentAuth, fetch: Any, status: int
) -> None:
    shop.reactions = [taking(shop, busy(status))]
    assert (await fetch(auth)).status_code == status
    one_payment(shop, auth)
    assert auth.unresolved == ()
    assert auth.paid == ()


# --- the connection is lost -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [httpx.ReadTimeout, httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError],
)
async def test_the_answer_is_lost(
    shop: Shop, auth: PaymentAuth, fetch: Any, way: str, error: type[httpx.TransportError]
) -> None:
    shop.reactions = [taking(shop, losing(error))]
    with pytest.raises(PaymentOutcomeUnknownError, match="the connection was lost") as caught:
        await fetch(auth)
    assert isinstance(caught.value.__cause__, error)
    assert (caught.value.transaction_hash is None) is (way == "sponsored")
    assert auth.spent == {"USDC": Decimal("0.01")}

    assert (await fetch(auth)).json() == {"weather": "fine"}
    one_payment(shop, auth)
    assert len(auth.receipts) == 1


async def test_the_question_is_lost_on_the_way(shop: Shop, auth: PaymentAuth, fetch: Any) -> None:
    shop.reactions = [losing(httpx.ReadError)]
    with pytest.raises(PaymentOutcomeUnknownError):
        await fetch(auth)
    assert (await fetch(auth)).json() == {"weather": "fine"}
    one_payment(shop, auth)


async def test_only_the_same_request_shows_it_again(shop: Shop, payer: Any, fetch: Any) -> None:
    auth = payer()
    shop.reactions = [losing()]
    with pytest.raises(PaymentOutcomeUnknownError):
        await fetch(auth, "POST", content=b"one")
    for other in (
        {"method": "POST", "content": b"two"},
        {"method": "PUT", "content": b"one"},
        {"method": "POST", "content": b"one", "url": URL + "&x=y"},
    ):
        assert (await fetch(auth, **other)).status_code == 200
    assert len(shop.payments) == 4
    assert len(auth.unresolved) == 1


async def test_without_a_connection_nothing_was_shown(shop: Shop, payer: Any, fetch: Any) -> None:
    auth = payer()
    shop.reactions = [losing(httpx.ConnectError)]
    with pytest.raises(httpx.ConnectError):
        await fetch(auth)
    assert auth.spent == {"USDC": Decimal(0)}
    assert auth.unresolved == ()


async def test_without_a_connection_for_the_second_time(shop: Shop, payer: Any, fetch: Any) -> None:
    auth = payer()
    shop.reactions = [busy(503), losing(httpx.ConnectError)]
    with pytest.raises(PaymentOutcomeUnknownError):
        await fetch(auth)
    assert len(auth.unresolved) == 1


async def test_no_connection_to_where_the_credential_was_redirected(
    shop: Shop, payer: Any, fetch: Any
) -> None:
    """The connection error is about the second request; the first one was received."""

    def server(request: httpx.Request) -> httpx.Response:
        if request.url.host == "gone.test":
            raise httpx.ConnectError("gone", request=request)
        return shop(request)

    shop.reactions = [taking(shop, busy(307, Location="https://gone.test/"))]
    auth = payer()
    with pytest.raises(PaymentOutcomeUnknownError):
        await fetch(auth, server=server, follow_redirects=True)
    assert auth.spent == {"USDC": Decimal("0.01")}


async def test_a_pushed_payment_survives_a_missing_connection(
    shop: Shop, payer: Any, fetch: Any
) -> None:
    shop.unsponsored()
    auth = payer(mode="push")
    shop.reactions = [losing(httpx.ConnectError)]
    with pytest.raises(PaymentOutcomeUnknownError):
        await fetch(auth)
    assert (await fetch(auth)).status_code == 200
    one_payment(shop, auth)


async def test_the_price_is_lost(payer: Any, fetch: Any) -> None:
    def unreachable(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("lost", request=request)

    auth = payer()
    with pytest.raises(httpx.ReadTimeout):
        await fetch(auth, server=unreachable)
    assert auth.unresolved == ()


async def test_the_body_breaks_off(shop: Shop, auth: PaymentAuth, fetch: Any) -> None:
    def broken(request: httpx.Request, credential: Any) -> httpx.Response:
        whole = shop.deliver(shop.take(credential))
        error = httpx.ReadError("lost", request=request)
        return httpx.Response(200, headers=whole.headers, stream=Broken(error))

    shop.reactions = [broken]
    with pytest.raises(httpx.ReadError):
        await fetch(auth)
    assert len(auth.unresolved) == 1
    assert (await fetch(auth)).json() == {"weather": "fine"}
    one_payment(shop, auth)
    assert auth.unresolved == ()
    assert [each.amount for each in auth.paid] == [100_000]


async def test_the_body_of_a_refusal_breaks_off(shop: Shop, payer: Any, fetch: Any) -> None:
    def broken(request: httpx.Request, credential: Any) -> httpx.Response:
        error = httpx.ReadError("lost", request=request)
        return httpx.Response(402, stream=Broken(error))

    auth = payer()
    shop.reactions = [broken]
    with pytest.raises(PaymentOutcomeUnknownError):
        await fetch(auth)
    assert len(auth.unresolved) == 1


async def test_a_reader_that_stops_early_has_what_it_wants(shop: Shop, payer: Any) -> None:
    def endless(request: httpx.Request, credential: Any) -> httpx.Response:
        shop.take(credential)
        return httpx.Response(200, stream=Broken(AssertionError("never read")))

    auth = payer()
    shop.reactions = [endless]
    transport = httpx.MockTransport(shop)
    async with (
        httpx.AsyncClient(transport=transport, auth=auth) as client,
        client.stream("GET", URL) as response,
    ):
        async for _ in response.aiter_raw():
            break
    assert auth.unresolved == ()


def test_a_reader_that_stops_early_without_an_event_loop(shop: Shop, payer: Any) -> None:
    def endless(request: httpx.Request, credential: Any) -> httpx.Response:
        shop.take(credential)
        return httpx.Response(200, stream=Broken(AssertionError("never read")))

    auth = payer()
    shop.reactions = [endless]
    transport = httpx.MockTransport(shop)
    with (
        httpx.Client(transport=transport, auth=auth) as client,
        client.stream("GET", URL) as response,
    ):
        assert next(response.iter_raw()) == b'{"weather'
    assert auth.unresolved == ()


# --- the task ends --------------------------------------------------------------------------------


async def test_a_cancelled_task_stays_cancelled(shop: Shop, payer: Any) -> None:
    """And the payment is kept."""
    shown = asyncio.Event()

    async def server(request: httpx.Request) -> httpx.Response:
        response = shop(request)
        if response.status_code == 200 and not shown.is_set():
            shown.set()
            await asyncio.Event().wait()
        return response

    auth = payer()
    async with httpx.AsyncClient(transport=httpx.MockTransport(server), auth=auth) as client:
        task = asyncio.create_task(client.get(URL))
        await shown.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(auth.unresolved) == 1
        assert (await client.get(URL)).status_code == 200
    one_payment(shop, auth)


async def test_an_error_of_ones_own_stays_ones_own(shop: Shop, payer: Any) -> None:
    """An event hook that raises is not a lost connection; but the payment is kept."""

    async def hook(response: httpx.Response) -> None:
        if response.status_code == 503:
            response.raise_for_status()

    auth = payer()
    shop.reactions = [taking(shop, busy(503))]
    async with httpx.AsyncClient(
        transport=httpx.MockTransport(shop), auth=auth, event_hooks={"response": [hook]}
    ) as client:
        with pytest.raises(httpx.HTTPStatusError):
            await client.get(URL)
        assert len(auth.unresolved) == 1
        assert (await client.get(URL)).status_code == 200
    one_payment(shop, auth)


def test_an_interrupted_thread_keeps_the_payment(shop: Shop, payer: Any) -> None:
    def interrupted(request: httpx.Request, credential: Any) -> httpx.Response:
        shop.take(credential)
        raise KeyboardInterrupt

    auth = payer()
    shop.reactions = [interrupted]
    with httpx.Client(transport=httpx.MockTransport(shop), auth=auth) as client:
        with pytest.raises(KeyboardInterrupt):
            client.get(URL)
        assert client.get(URL).status_code == 200
    one_payment(shop, auth)
