"""Requests that are paid for: every way, with either kind of client."""

import json
from decimal import Decimal
from typing import Any

import httpx

from mpp_asgi.client import payment_receipt
from mpp_asgi.stellar.inspection import inspect_envelope
from mpp_asgi.stellar.network import TESTNET
from tests.client.shop import URL, Shop


async def test_sponsored(shop: Shop, payer: Any, fetch: Any) -> None:
    auth = payer()
    before = shop.sandbox.balance(auth.payer, shop.sandbox.xlm)
    response = await fetch(auth)
    assert response.json() == {"weather": "fine"}
    assert shop.earned == 100_000
    assert shop.sandbox.balance(auth.payer, shop.sandbox.xlm) == before
    [credential] = shop.credentials
    assert credential.source == f"did:pkh:stellar:testnet:{auth.payer}"
    assert credential.payload["type"] == "transaction"
    assert auth.spent == {"USDC": Decimal("0.01")}
    assert auth.left == {"USDC": Decimal("0.99")}
    assert auth.in_doubt == {"USDC": Decimal(0)}


async def test_unsponsored(shop: Shop, payer: Any, fetch: Any) -> None:
    shop.unsponsored()
    auth = payer()
    response = await fetch(auth)
    assert response.status_code == 200
    assert shop.earned == 100_000
    seen = inspect_envelope(shop.credentials[0].payload["transaction"], TESTNET.passphrase)
    assert (seen.source, seen.signatures) == (auth.payer, 1)
    assert seen.max_time == shop.clock.now + 300


async def test_push(shop: Shop, payer: Any, fetch: Any) -> None:
    shop.unsponsored()
    auth = payer(mode="push")
    response = await fetch(auth)
    assert response.status_code == 200
    assert shop.earned == 100_000
    [credential] = shop.credentials
    assert credential.payload["type"] == "signedHash"
    [paid] = auth.paid
    assert paid.transaction_hash == credential.payload["hash"]


async def test_the_least_that_a_challenge_says(shop: Shop, payer: Any, fetch: Any) -> None:
    """By the draft, fees are the payer's unless said otherwise, and transactions always taken."""
    shop.request["methodDetails"] = {"network": "stellar:testnet", "feePayer": False}
    assert (await fetch(payer())).status_code == 200
    shop.request["methodDetails"] = {"network": "stellar:testnet"}
    assert (await fetch(payer())).status_code == 200
    assert shop.earned == 200_000


async def test_a_recipient_that_is_a_contract(shop: Shop, payer: Any, fetch: Any) -> None:
    shop.request["recipient"] = shop.sandbox.xlm
    assert (await fetch(payer())).status_code == 200
    assert shop.sandbox.balance(shop.sandbox.xlm, shop.sandbox.usdc) == 100_000


async def test_several_payments_in_a_row(shop: Shop, payer: Any, fetch: Any) -> None:
    for mode in ("pull", "push"):
        shop.unsponsored()
        auth = payer(mode=mode)
        for _ in range(3):
            assert (await fetch(auth)).status_code == 200
    assert shop.earned == 600_000
    assert len(shop.payments) == 6


async def test_what_was_paid_is_remembered(shop: Shop, payer: Any, fetch: Any) -> None:
    kept: list[Any] = []
    auth = payer(paid=kept)
    response = await fetch(auth)
    [reference] = shop.settled.values()
    [paid] = auth.paid
    assert kept == [paid]
    assert (paid.method, paid.url) == ("GET", URL)
    assert (paid.currency, paid.amount, paid.token) == ("USDC", 100_000, shop.sandbox.usdc)
    assert paid.recipient == shop.request["recipient"]
    assert paid.challenge_id == shop.credentials[0].challenge.id
    assert paid.transaction_hash == reference
    assert auth.receipts == (payment_receipt(response),)
    assert auth.receipts[0].reference == reference


async def test_a_paid_answer_needs_no_receipt(shop: Shop, payer: Any, fetch: Any) -> None:
    shop.deliver = lambda reference: httpx.Response(204, headers={"Payment-Receipt": "garbage"})
    auth = payer()
    response = await fetch(auth)
    assert payment_receipt(response) is None
    assert auth.receipts == ()
    assert auth.spent == {"USDC": Decimal("0.01")}
    assert auth.paid[0].transaction_hash is None


async def test_ones_own_hash_is_better_than_a_receipts(shop: Shop, payer: Any, fetch: Any) -> None:
    shop.unsponsored()
    honest = shop.deliver
    shop.deliver = lambda reference: honest("00" * 32)
    auth = payer()
    await fetch(auth)
    [own] = shop.settled.values()
    assert auth.paid[0].transaction_hash == own


async def test_free_requests_are_left_alone(payer: Any, fetch: Any) -> None:
    def free(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, text=request.headers["Accept-Payment"])

    auth = payer()
    response = await fetch(auth, server=free)
    assert response.text == "stellar/charge"
    assert auth.spent == {"USDC": Decimal(0)}


async def test_ones_own_preference_is_kept(shop: Shop, payer: Any, fetch: Any) -> None:
    await fetch(payer(), headers={"Accept-Payment": "stellar/*;q=0.5"})
    assert {request.headers["Accept-Payment"] for request in shop.requests} == {"stellar/*;q=0.5"}


async def test_402_without_a_payment_challenge_is_the_apps(payer: Any, fetch: Any) -> None:
    def other(request: httpx.Request) -> httpx.Response:
        return httpx.Response(402, headers={"WWW-Authenticate": 'Bearer realm="x"'})

    assert (await fetch(payer(), server=other)).status_code == 402


async def test_body_is_sent_with_the_payment(shop: Shop, payer: Any, fetch: Any) -> None:
    await fetch(payer(), "POST", content=b'{"city":"Paris"}')
    assert [request.content for request in shop.requests] == [b'{"city":"Paris"}'] * 2
    assert shop.credentials[0].challenge.digest is not None
    assert shop.earned == 100_000


async def test_form_and_file_bodies(shop: Shop, payer: Any, fetch: Any) -> None:
    await fetch(payer(), "POST", data={"a": "b"}, files={"file": b"content"})
    first, second = shop.requests
    assert first.content == second.content
    assert b"content" in second.content


async def test_streamed_body_async(shop: Shop, payer: Any) -> None:
    async def chunks() -> Any:
        yield b"one,"
        yield b"two"

    transport = httpx.MockTransport(shop)
    async with httpx.AsyncClient(transport=transport, auth=payer()) as client:
        response = await client.post(URL, content=chunks())
    assert response.status_code == 200
    assert [request.content for request in shop.requests] == [b"one,two"] * 2


def test_streamed_body_sync(shop: Shop, payer: Any) -> None:
    with httpx.Client(transport=httpx.MockTransport(shop), auth=payer()) as client:
        response = client.post(URL, content=iter([b"one,", b"two"]))
    assert response.status_code == 200
    assert [request.content for request in shop.requests] == [b"one,two"] * 2


async def test_streamed_answer(shop: Shop, payer: Any) -> None:
    transport = httpx.MockTransport(shop)
    async with (
        httpx.AsyncClient(transport=transport, auth=payer()) as client,
        client.stream("GET", URL) as response,
    ):
        chunks = [chunk async for chunk in response.aiter_bytes()]
    assert json.loads(b"".join(chunks)) == {"weather": "fine"}


async def test_the_apps_own_authorization_stays(shop: Shop, payer: Any, fetch: Any) -> None:
    shop.challenge["header"] = "payment-authorization"
    response = await fetch(payer(), headers={"Authorization": "Bearer mine"})
    assert response.status_code == 200
    paid = shop.requests[1]
    assert paid.headers["Authorization"] == "Bearer mine"
    raw = dict(paid.headers.raw)
    assert raw[b"Payment-Authorization"].startswith(b"Payment ")


async def test_no_log_and_no_hook_sees_the_credential(shop: Shop, payer: Any, fetch: Any) -> None:
    auth = payer()
    response = await fetch(auth)
    assert "authorization" not in response.request.headers
    assert "Payment" not in repr(response.request.headers.multi_items())
    assert repr(auth) == f"PaymentAuth(payer={auth.payer!r}, network='stellar:testnet')"


async def test_sponsored_offers_are_preferred_or_avoided(
    shop: Shop, payer: Any, fetch: Any
) -> None:
    def both(request: httpx.Request) -> httpx.Response:
        response = shop(request)
        if response.status_code != 402:
            return response
        sponsored = shop.issue()
        before = dict(shop.request["methodDetails"])
        shop.unsponsored()
        unsponsored = shop.issue()
        shop.request["methodDetails"] = before
        values = [unsponsored.to_header(), sponsored.to_header()]
        merged = [("WWW-Authenticate", ", ".join(values))]
        return httpx.Response(402, headers=merged, content=response.content)

    for wish in (True, False):
        await fetch(payer(sponsored=wish), server=both)
        request = shop.credentials[-1].challenge.request_object()
        assert request["methodDetails"]["feePayer"] is wish
    await fetch(payer(mode="push"), server=both)
    assert shop.credentials[-1].payload["type"] == "signedHash"
    assert shop.earned == 300_000


async def test_a_currency_with_money_left_is_chosen(shop: Shop, payer: Any, fetch: Any) -> None:
    def two_currencies(request: httpx.Request) -> httpx.Response:
        response = shop(request)
        if response.status_code != 402:
            return response
        usdc = shop.issue()
        shop.request["currency"] = shop.sandbox.xlm
        xlm = shop.issue()
        shop.request["currency"] = shop.sandbox.usdc
        headers = [("WWW-Authenticate", each.to_header()) for each in (usdc, xlm)]
        return httpx.Response(402, headers=headers, content=response.content)

    auth = payer(budget={"USDC": "0.01", "XLM": "5"})
    assert (await fetch(auth, server=two_currencies)).status_code == 200
    assert (await fetch(auth, server=two_currencies)).status_code == 200
    assert auth.spent == {"USDC": Decimal("0.01"), "XLM": Decimal("0.01")}
