"""Answers that get lost, servers in trouble: the same payment is shown again, and no other."""

import asyncio
import pickle
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from mpp_asgi.client import (
    Patience,
    PaymentOutcomeUnknownError,
    PaymentRefusedError,
)
from mpp_asgi.protocol import problems

URL = "https://shop.test/forecast?city=Paris"

WAYS = ["sponsored", "unsponsored", "push"]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, shop: Any) -> str:
    """How the payer pays; the shop offers that."""
    if request.param != "sponsored":
        shop.unsponsored()
    return str(request.param)


@pytest.fixture
def auth(payer: Any, way: str) -> Any:
    return payer(mode="push" if way == "push" else "pull")


def busy(status: int, **headers: str) -> Any:
    return lambda request, credential: httpx.Response(status, headers=headers)


def taking(shop: Any, then: Any) -> Any:
    """The shop takes the money, and then something else happens."""

    def react(request: httpx.Request, credential: Any) -> httpx.Response:
        shop.take(credential)
        return then(request, credential)

    return react


def losing(error: type[httpx.TransportError] = httpx.ReadTimeout) -> Any:
    def react(request: httpx.Request, credential: Any) -> httpx.Response:
        raise error("lost", request=request)

    return react


def one_payment(shop: Any, auth: Any, *, earned: int = 100_000) -> None:
    assert shop.earned == earned
    assert len(shop.payments) == 1
    assert auth.spent == {"USDC": Decimal("0.01")}


# --- the server is in trouble ---------------------------------------------------------------------


@pytest.mark.parametrize("status", [409, 425, 429, 500, 502, 503, 504])
async def test_trouble_that_passes(
    shop: Any, auth: Any, fetch: Any, waits: list[float], status: int
) -> None:
    shop.reactions = [busy(status), taking(shop, busy(status))]
    assert (await fetch(auth)).json() == {"weather": "fine"}
    one_payment(shop, auth)
    assert len(shop.credentials) == 3
    assert waits[-2:] == [1.0, 2.0]
    assert auth.unresolved == ()


async def test_trouble_that_stays(shop: Any, auth: Any, fetch: Any) -> None:
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


async def test_as_often_as_patience_says(shop: Any, payer: Any, fetch: Any) -> None:
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
        ("9" * 400, 1.0),
    ],
)
async def test_the_server_says_when(
    shop: Any, payer: Any, fetch: Any, waits: list[float], retry_after: str, wait: float
) -> None:
    shop.reactions = [busy(503, **{"Retry-After": retry_after})]
    await fetch(payer())
    assert waits == [wait]


@pytest.mark.parametrize(("status", "shown"), [(500, 1), (502, 1), (504, 1), (503, 5), (409, 5)])
async def test_work_is_not_repeated_unasked(
    shop: Any, payer: Any, fetch: Any, status: int, shown: int
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
    shop: Any, auth: Any, fetch: Any, status: int
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
    shop: Any, auth: Any, fetch: Any, way: str, error: type[httpx.TransportError]
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


async def test_the_question_is_lost_on_the_way(shop: Any, auth: Any, fetch: Any) -> None:
    shop.reactions = [losing(httpx.ReadError)]
    with pytest.raises(PaymentOutcomeUnknownError):
        await fetch(auth)
    assert (await fetch(auth)).json() == {"weather": "fine"}
    one_payment(shop, auth)


async def test_only_the_same_request_shows_it_again(shop: Any, payer: Any, fetch: Any) -> None:
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


async def test_without_a_connection_nothing_was_shown(shop: Any, payer: Any, fetch: Any) -> None:
    auth = payer()
    shop.reactions = [losing(httpx.ConnectError)]
    with pytest.raises(httpx.ConnectError):
        await fetch(auth)
    assert auth.spent == {"USDC": Decimal(0)}
    assert auth.unresolved == ()


async def test_without_a_connection_for_the_second_time(shop: Any, payer: Any, fetch: Any) -> None:
    auth = payer()
    shop.reactions = [busy(503), losing(httpx.ConnectError)]
    with pytest.raises(PaymentOutcomeUnknownError):
        await fetch(auth)
    assert len(auth.unresolved) == 1


async def test_no_connection_to_where_the_credential_was_redirected(
    shop: Any, payer: Any, fetch: Any
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
    shop: Any, payer: Any, fetch: Any
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


async def test_the_body_breaks_off(shop: Any, auth: Any, fetch: Any) -> None:
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


async def test_the_body_of_a_refusal_breaks_off(shop: Any, payer: Any, fetch: Any) -> None:
    def broken(request: httpx.Request, credential: Any) -> httpx.Response:
        error = httpx.ReadError("lost", request=request)
        return httpx.Response(402, stream=Broken(error))

    auth = payer()
    shop.reactions = [broken]
    with pytest.raises(PaymentOutcomeUnknownError):
        await fetch(auth)
    assert len(auth.unresolved) == 1


async def test_a_reader_that_stops_early_has_what_it_wants(shop: Any, payer: Any) -> None:
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


def test_a_reader_that_stops_early_without_an_event_loop(shop: Any, payer: Any) -> None:
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


async def test_a_cancelled_task_stays_cancelled(shop: Any, payer: Any) -> None:
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


async def test_an_error_of_ones_own_stays_ones_own(shop: Any, payer: Any) -> None:
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


def test_an_interrupted_thread_keeps_the_payment(shop: Any, payer: Any) -> None:
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


# --- going on elsewhere ---------------------------------------------------------------------------


async def test_another_process_can_go_on(shop: Any, payer: Any, fetch: Any, way: str) -> None:
    mode = "push" if way == "push" else "pull"
    shop.reactions = [taking(shop, losing())]
    with pytest.raises(PaymentOutcomeUnknownError) as caught:
        await fetch(payer(mode=mode))
    saved = pickle.dumps(caught.value.payment)

    auth = payer(mode=mode)
    auth.resume(pickle.loads(saved))
    auth.resume(pickle.loads(saved))
    assert auth.spent == {"USDC": Decimal("0.01")}
    assert len(auth.unresolved) == 1
    assert (await fetch(auth)).status_code == 200
    one_payment(shop, auth)


async def test_only_a_currency_of_ones_own_is_resumed(shop: Any, payer: Any, fetch: Any) -> None:
    shop.reactions = [losing()]
    with pytest.raises(PaymentOutcomeUnknownError) as caught:
        await fetch(payer())
    with pytest.raises(ValueError, match="does not spend USDC"):
        payer(currencies=["XLM"]).resume(caught.value.payment)


async def test_a_payment_can_be_given_up(shop: Any, auth: Any, fetch: Any) -> None:
    shop.reactions = [taking(shop, losing())]
    with pytest.raises(PaymentOutcomeUnknownError) as caught:
        await fetch(auth)
    auth.abandon(caught.value.payment)
    assert auth.unresolved == ()
    assert (await fetch(auth)).status_code == 200
    assert shop.earned == 200_000
    assert auth.spent == {"USDC": Decimal("0.02")}


# --- shown again, and refused ---------------------------------------------------------------------


async def test_delivered_already(shop: Any, payer: Any, fetch: Any) -> None:
    """The server thinks that it has delivered. The payer is told, and pays anew if it wants."""
    shop.reactions = [
        taking(shop, losing()),
        lambda request, credential: shop.price(request, problems.INVALID_CHALLENGE),
    ]
    auth = payer()
    with pytest.raises(PaymentOutcomeUnknownError):
        await fetch(auth)
    with pytest.raises(PaymentRefusedError) as caught:
        await fetch(auth)
    assert caught.value.paid is True
    one_payment(shop, auth)
    assert (await fetch(auth)).status_code == 200
    assert shop.earned == 200_000


@pytest.mark.parametrize("way", ["sponsored", "unsponsored"], indirect=True)
async def test_never_received_and_void_by_now(shop: Any, auth: Any, fetch: Any) -> None:
    """The ledger says that the first payment can never move, so a second one is made."""
    shop.reactions = [losing()]
    with pytest.raises(PaymentOutcomeUnknownError):
        await fetch(auth)
    shop.clock.now += 301
    shop.sandbox.close_ledger(61)
    assert (await fetch(auth)).status_code == 200
    assert len(shop.payments) == 2
    assert shop.earned == 100_000
    assert auth.spent == {"USDC": Decimal("0.01")}


@pytest.mark.parametrize("way", ["sponsored", "unsponsored"], indirect=True)
async def test_never_received_and_still_valid(shop: Any, auth: Any, fetch: Any, way: str) -> None:
    shop.reactions = [losing()]
    with pytest.raises(PaymentOutcomeUnknownError):
        await fetch(auth)
    shop.clock.now += 301
    if way == "sponsored":
        shop.sandbox.close_ledger(59)
    with pytest.raises(PaymentRefusedError, match="may take it") as caught:
        await fetch(auth)
    assert caught.value.paid is None
    assert caught.value.problem.slug == "payment-expired"
    assert len(shop.payments) == 1
    assert auth.spent == {"USDC": Decimal("0.01")}


async def test_a_transaction_that_failed_is_made_anew_once(
    shop: Any, payer: Any, fetch: Any
) -> None:
    """It is in the ledger as FAILED: it can never move."""
    shop.unsponsored()

    def spoilt(request: httpx.Request, credential: Any) -> httpx.Response:
        shop.burn_all_of_the_payers()
        with pytest.raises(AssertionError, match="FAILED"):
            shop.take(credential)
        shop.sandbox.fund(auth.payer, usdc=1)
        return shop.price(request, problems.SETTLEMENT_FAILED)

    auth = payer()
    shop.reactions = [spoilt]
    assert (await fetch(auth)).status_code == 200
    assert len(shop.payments) == 2
    assert shop.earned == 100_000
    assert auth.spent == {"USDC": Decimal("0.01")}

    shop.reactions = [spoilt, spoilt]
    with pytest.raises(PaymentRefusedError, match="no money left") as caught:
        await fetch(auth)
    assert caught.value.paid is False
    assert len(shop.payments) == 4
    assert auth.spent == {"USDC": Decimal("0.01")}


# --- pushed payments under another challenge -----------------------------------------------------


@pytest.mark.parametrize("problem", [problems.PAYMENT_EXPIRED, problems.VERIFICATION_FAILED])
async def test_a_pushed_payment_is_shown_under_a_fresh_challenge(
    shop: Any, payer: Any, fetch: Any, waits: list[float], problem: Any
) -> None:
    shop.unsponsored()
    shop.reactions = [lambda request, credential: shop.price(request, problem)] * 2
    auth = payer(mode="push")
    assert (await fetch(auth)).status_code == 200
    one_payment(shop, auth)
    assert len({each.challenge.id for each in shop.credentials}) == 3
    assert len({each.payload["sourceSignature"] for each in shop.credentials}) == 3


async def test_a_pushed_payment_that_is_refused_is_kept(shop: Any, payer: Any, fetch: Any) -> None:
    shop.unsponsored()
    refusing = lambda request, credential: shop.price(request, problems.VERIFICATION_FAILED)  # noqa: E731
    shop.reactions = [refusing] * 3
    auth = payer(mode="push")
    with pytest.raises(PaymentRefusedError, match="the money has left") as caught:
        await fetch(auth)
    assert caught.value.transaction_hash == shop.credentials[0].payload["hash"]
    assert len(shop.credentials) == 3
    assert (await fetch(auth)).status_code == 200
    one_payment(shop, auth)


@pytest.mark.parametrize(
    "change", [{"amount": "100001"}, {"recipient": "other"}, {"currency": "x"}]
)
async def test_a_pushed_payment_is_not_shown_for_another_price(
    shop: Any, payer: Any, fetch: Any, change: dict[str, str]
) -> None:
    shop.unsponsored()

    def dearer(request: httpx.Request, credential: Any) -> httpx.Response:
        if change.get("recipient"):
            change["recipient"] = shop.sandbox.usdc_issuer.public_key
        shop.request |= change
        return shop.price(request, problems.PAYMENT_EXPIRED)

    shop.reactions = [dearer]
    auth = payer(mode="push")
    with pytest.raises(PaymentRefusedError) as caught:
        await fetch(auth)
    assert caught.value.paid is True
    assert len(shop.credentials) == 1
    one_payment(shop, auth)


async def test_the_servers_words_stay_on_one_line(shop: Any, payer: Any, fetch: Any) -> None:
    words = problems.VERIFICATION_FAILED.because("No.\nAll is well.\x1b[2J" + "x" * 999)
    shop.reactions = [lambda *_: httpx.Response(402, content=words.to_json())]
    with pytest.raises(PaymentRefusedError) as caught:
        await fetch(payer())
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 400


@pytest.mark.parametrize("value", [None, 'Payment id=""'])
async def test_a_pushed_payment_is_refused_without_a_fresh_challenge(
    shop: Any, payer: Any, fetch: Any, value: str | None
) -> None:
    shop.unsponsored()
    headers = {"WWW-Authenticate": value} if value else {}
    shop.reactions = [lambda *_: httpx.Response(402, headers=headers, text="No.")]
    auth = payer(mode="push")
    with pytest.raises(PaymentRefusedError, match=r"and the money has left\.$") as caught:
        await fetch(auth)
    assert caught.value.problem is None
    assert caught.value.response.text == "No."
    assert len(shop.credentials) == 1
    assert len(auth.unresolved) == 1


async def test_two_like_requests_show_their_own_payments(shop: Any, payer: Any, fetch: Any) -> None:
    auth = payer()
    shop.reactions = [losing(), taking(shop, losing())]
    with pytest.raises(PaymentOutcomeUnknownError) as first:
        await fetch(auth)
    auth._book.take(first.value.payment.request)
    with pytest.raises(PaymentOutcomeUnknownError):
        await fetch(auth)
    auth.resume(first.value.payment)
    assert len(auth.unresolved) == 2
    assert (await fetch(auth)).status_code == 200
    assert (await fetch(auth)).status_code == 200
    assert auth.unresolved == ()
    assert len(shop.payments) == 2
    assert shop.earned == 200_000


async def test_giving_one_up_keeps_the_others(shop: Any, payer: Any, fetch: Any) -> None:
    auth = payer()
    shop.reactions = [losing(), losing()]
    for city in ("Oslo", "Rome"):
        with pytest.raises(PaymentOutcomeUnknownError):
            await fetch(auth, url=f"https://shop.test/{city}")
    oslo, rome = auth.unresolved
    auth.abandon(oslo)
    assert auth.unresolved == (rome,)


def test_a_request_body_that_fails_is_nobodys_payment(payer: Any, shop: Any) -> None:
    def failing() -> Iterator[bytes]:
        yield b"one"
        raise OSError("the disk is gone")

    auth = payer()
    with (
        httpx.Client(transport=httpx.MockTransport(shop), auth=auth) as client,
        pytest.raises(OSError, match="the disk is gone"),
    ):
        client.post(URL, content=failing())
    assert shop.requests == []
