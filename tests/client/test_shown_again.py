"""Payments that are shown again: in another process, under another challenge, and in vain."""

import pickle
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from mpp_asgi.client import (
    PaymentAuth,
    PaymentOutcomeUnknownError,
    PaymentRefusedError,
    UnacceptableOfferError,
)
from mpp_asgi.protocol import Credential, problems
from tests.client.mishaps import losing, one_payment, taking
from tests.client.shop import URL, Shop

# --- going on elsewhere ---------------------------------------------------------------------------


async def test_another_process_can_go_on(shop: Shop, payer: Any, fetch: Any, way: str) -> None:
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


async def test_only_a_currency_of_ones_own_is_resumed(shop: Shop, payer: Any, fetch: Any) -> None:
    shop.reactions = [losing()]
    with pytest.raises(PaymentOutcomeUnknownError) as caught:
        await fetch(payer())
    with pytest.raises(ValueError, match="does not spend USDC"):
        payer(currencies=["XLM"]).resume(caught.value.payment)


async def test_a_payment_can_be_given_up(shop: Shop, auth: PaymentAuth, fetch: Any) -> None:
    shop.reactions = [taking(shop, losing())]
    with pytest.raises(PaymentOutcomeUnknownError) as caught:
        await fetch(auth)
    auth.abandon(caught.value.payment)
    assert auth.unresolved == ()
    assert (await fetch(auth)).status_code == 200
    assert shop.earned == 200_000
    assert auth.spent == {"USDC": Decimal("0.02")}


# --- shown again, and refused ---------------------------------------------------------------------


async def test_delivered_already(shop: Shop, payer: Any, fetch: Any) -> None:
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
async def test_never_received_and_void_by_now(shop: Shop, auth: PaymentAuth, fetch: Any) -> None:
    """The ledger says that the first payment can never move, so a second one is made."""
    shop.reactions = [losing()]
    with pytest.raises(PaymentOutcomeUnknownError):
        await fetch(auth)
    shop.clock.now += 400
    shop.sandbox.close_ledger(61)
    assert (await fetch(auth)).status_code == 200
    assert len(shop.payments) == 2
    assert shop.earned == 100_000
    assert auth.spent == {"USDC": Decimal("0.01")}


@pytest.mark.parametrize("way", ["sponsored", "unsponsored"], indirect=True)
async def test_an_rpc_that_is_ahead_of_the_ledger(
    shop: Shop, payer: Any, fetch: Any, way: str
) -> None:
    """It says that the payment's time is over, and the server can still take it."""

    def ahead(request: dict[str, Any]) -> dict[str, Any]:
        answer = shop.sandbox.rpc(request)
        result = dict(answer["result"])
        if request["method"] == "getLedgerEntries" and not result["entries"]:
            result["latestLedger"] += 100
        if request["method"] == "getTransaction":
            result["latestLedgerCloseTime"] = str(int(shop.clock.now) + 500)
        return answer | {"result": result}

    shown: list[Credential] = []

    def refuse(request: httpx.Request, credential: Credential) -> httpx.Response:
        shown.append(credential)
        return shop.price(request)

    auth = payer(rpc=ahead)
    shop.reactions = [refuse]
    with pytest.raises(PaymentRefusedError, match="may take it"):
        await fetch(auth)
    shop.take(shown[0])
    assert shop.earned == 100_000
    assert len(shop.payments) == 1
    assert auth.spent == {"USDC": Decimal("0.01")}


@pytest.mark.parametrize("way", ["sponsored", "unsponsored"], indirect=True)
async def test_never_received_and_still_valid(
    shop: Shop, auth: PaymentAuth, fetch: Any, way: str
) -> None:
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
    shop: Shop, payer: Any, fetch: Any
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
    shop: Shop, payer: Any, fetch: Any, waits: list[float], problem: Any
) -> None:
    shop.unsponsored()
    shop.reactions = [lambda request, credential: shop.price(request, problem)] * 2
    auth = payer(mode="push")
    assert (await fetch(auth)).status_code == 200
    one_payment(shop, auth)
    assert len({each.challenge.id for each in shop.credentials}) == 3
    assert len({each.payload["sourceSignature"] for each in shop.credentials}) == 3
    assert waits == ([0.1] if problem is problems.PAYMENT_EXPIRED else [0.1, 1.0, 2.0])


async def test_a_challenge_that_was_answered_again_is_not_paid(
    shop: Shop, payer: Any, fetch: Any
) -> None:
    """The fresh challenge took the first payment; it does not get another."""
    shop.unsponsored()
    shop.reactions = [lambda request, credential: shop.price(request, problems.PAYMENT_EXPIRED)]
    auth = payer(mode="push")
    await fetch(auth)
    fresh = shop.credentials[1].challenge
    shop.issue = lambda body=b"": fresh
    with pytest.raises(UnacceptableOfferError, match="answered before"):
        await fetch(auth)
    one_payment(shop, auth)


async def test_a_pushed_payment_that_is_refused_is_kept(shop: Shop, payer: Any, fetch: Any) -> None:
    shop.unsponsored()
    refusing = lambda request, credential: shop.price(request, problems.VERIFICATION_FAILED)  # noqa: E731
    shop.reactions = [refusing] * 3
    auth = payer(mode="push")
    with pytest.raises(PaymentRefusedError, match="the money has left") as caught:
        await fetch(auth)
    assert auth.in_doubt == {"USDC": Decimal(0)}
    assert caught.value.transaction_hash == shop.credentials[0].payload["hash"]
    assert len(shop.credentials) == 3
    assert (await fetch(auth)).status_code == 200
    one_payment(shop, auth)


@pytest.mark.parametrize(
    "change", [{"amount": "100001"}, {"recipient": "other"}, {"currency": "x"}]
)
async def test_a_pushed_payment_is_not_shown_for_another_price(
    shop: Shop, payer: Any, fetch: Any, change: dict[str, str]
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


async def test_a_pushed_payment_is_not_shown_for_a_challenge_from_elsewhere(
    shop: Shop, payer: Any, fetch: Any
) -> None:
    """The credential led to a redirect, and who is there wants to be answered, too."""
    shop.unsponsored()

    def server(request: httpx.Request) -> httpx.Response:
        return shop.price(request) if request.url.host == "evil.test" else shop(request)

    shop.reactions = [lambda *_: httpx.Response(307, headers={"Location": "https://evil.test/"})]
    with pytest.raises(PaymentRefusedError, match="the money has left"):
        await fetch(payer(mode="push"), server=server, follow_redirects=True)
    assert len(shop.credentials) == 1


async def test_the_servers_words_stay_on_one_line(shop: Shop, payer: Any, fetch: Any) -> None:
    words = problems.VERIFICATION_FAILED.because("No.\nAll is well.\x1b[2J" + "x" * 999)
    shop.reactions = [lambda *_: httpx.Response(402, content=words.to_json())]
    with pytest.raises(PaymentRefusedError) as caught:
        await fetch(payer())
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 400


@pytest.mark.parametrize("value", [None, 'Payment id=""'])
async def test_a_pushed_payment_is_refused_without_a_fresh_challenge(
    shop: Shop, payer: Any, fetch: Any, value: str | None
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


async def test_two_like_requests_show_their_own_payments(
    shop: Shop, payer: Any, fetch: Any
) -> None:
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


async def test_giving_one_up_keeps_the_others(shop: Shop, payer: Any, fetch: Any) -> None:
    auth = payer()
    shop.reactions = [losing(), losing()]
    for city in ("Oslo", "Rome"):
        with pytest.raises(PaymentOutcomeUnknownError):
            await fetch(auth, url=f"https://shop.test/{city}")
    oslo, rome = auth.unresolved
    auth.abandon(oslo)
    assert auth.unresolved == (rome,)


def test_a_request_body_that_fails_is_nobodys_payment(payer: Any, shop: Shop) -> None:
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
