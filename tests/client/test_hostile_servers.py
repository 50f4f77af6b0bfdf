"""Servers that ask for what they must not get. Each check is the only thing in the way."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import httpx
import pytest

from mpp_asgi.client import (
    BudgetExceededError,
    PaymentAuth,
    PaymentNotMadeError,
    PaymentOutcomeUnknownError,
    PaymentRefusedError,
    UnacceptableOfferError,
    UnsafeConnectionError,
)
from mpp_asgi.client.payments import Target
from mpp_asgi.protocol import problems
from mpp_asgi.stellar.network import PUBNET
from tests.client.mishaps import losing
from tests.client.shop import Shop

OTHER = "GBBD47IF6LWK7P7MDEVSCWR7DPUWV3NY3DTQEVFL4NAT4AQH3ZLLFLA5"


async def refuses(
    shop: Shop, auth: PaymentAuth, fetch: Any, *, match: str, **settings: Any
) -> None:
    """Nothing is signed, shown or counted."""
    before = auth.left
    with pytest.raises(PaymentNotMadeError, match=match):
        await fetch(auth, **settings)
    assert shop.credentials == []
    assert shop.earned == 0
    assert set(auth.spent.values()) == {Decimal(0)}
    assert auth.left == before


# --- the price ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "error", "match"),
    [
        ({"max_per_request": "0.0099999"}, UnacceptableOfferError, "one request may cost"),
        ({"budget": "0.0099999"}, BudgetExceededError, "left of the budget"),
        ({"recipients": [OTHER]}, UnacceptableOfferError, "not one that may be paid"),
        ({"recipients": []}, UnacceptableOfferError, "not one that may be paid"),
        ({"currencies": ["XLM"]}, UnacceptableOfferError, "not in XLM"),
        ({"budget": {"XLM": "1"}}, UnacceptableOfferError, "not in XLM"),
        ({"network": "stellar:pubnet"}, UnacceptableOfferError, "not on stellar:pubnet"),
        ({"mode": "push"}, UnacceptableOfferError, "is sponsored"),
        ({"max_validity": 299}, UnacceptableOfferError, "expires more than 299 s from now"),
        ({"origins": ["https://other.test"]}, UnsafeConnectionError, "not among the origins"),
    ],
    ids=str,
)
async def test_rules_of_the_payer(
    shop: Shop, payer: Any, fetch: Any, settings: dict[str, Any], error: type, match: str
) -> None:
    auth = payer(**settings)
    with pytest.raises(error):
        await fetch(auth)
    await refuses(shop, auth, fetch, match=match)


async def test_rules_that_just_allow_it(shop: Shop, payer: Any, fetch: Any) -> None:
    auth = payer(
        budget="0.01",
        max_per_request="0.01",
        recipients=[shop.request["recipient"]],
        currencies=["XLM", "USDC"],
        max_validity=300,
        origins=["https://other.test", "https://shop.test/"],
    )
    assert (await fetch(auth)).status_code == 200
    await_more = fetch(auth)
    with pytest.raises(BudgetExceededError, match="the 0 USDC left"):
        await await_more


@pytest.mark.parametrize(
    "amount",
    [100_000, 1.0, None, "", "-1", "+1", "01", "1e3", "0x10", "1_000", " 1", "1.0", "١", "9" * 40],
    ids=repr,
)
async def test_amounts_that_are_none(shop: Shop, payer: Any, fetch: Any, amount: object) -> None:
    shop.request["amount"] = amount
    await refuses(shop, payer(), fetch, match="not an integer of base units")


async def test_an_enormous_amount(shop: Shop, payer: Any, fetch: Any) -> None:
    shop.request["amount"] = "9" * 38
    await refuses(shop, payer(), fetch, match="left of the budget")


@pytest.mark.parametrize("currency", [None, 5, "USDC", "", OTHER, ["C"], {"a": 1}], ids=repr)
async def test_currencies_that_are_none(
    shop: Shop, payer: Any, fetch: Any, currency: object
) -> None:
    shop.request["currency"] = currency
    await refuses(shop, payer(), fetch, match="not in USDC")


@pytest.mark.parametrize("recipient", [None, 5, "", "me", OTHER[:-1] + "B", "M" + OTHER[1:]])
async def test_recipients_that_are_none(
    shop: Shop, payer: Any, fetch: Any, recipient: object
) -> None:
    shop.request["recipient"] = recipient
    await refuses(shop, payer(), fetch, match="recipient is not an address")


async def test_paying_oneself(shop: Shop, payer: Any, fetch: Any) -> None:
    auth = payer()
    shop.request["recipient"] = auth.payer
    await refuses(shop, auth, fetch, match="recipient is the payer")


@pytest.mark.parametrize(
    ("details", "match"),
    [
        (None, "which network"),
        ("stellar:testnet", "which network"),
        ({}, "not on stellar:testnet"),
        ({"network": "stellar:pubnet"}, "it is on stellar:pubnet, not on stellar:testnet"),
        ({"network": ["stellar:testnet"]}, "not on stellar:testnet"),
        ({"network": "stellar:testnet", "feePayer": "true"}, "neither true nor false"),
        ({"network": "stellar:testnet", "feePayer": 1}, "neither true nor false"),
        ({"network": "stellar:testnet", "feePayer": None}, "neither true nor false"),
        ({"network": "stellar:testnet", "credentialTypes": "transaction"}, "list of names"),
        ({"network": "stellar:testnet", "credentialTypes": [1]}, "list of names"),
        ({"network": "stellar:testnet", "credentialTypes": []}, "transactions to submit"),
        ({"network": "stellar:testnet", "credentialTypes": ["signedHash"]}, "this payer pulls"),
    ],
    ids=str,
)
async def test_method_details(
    shop: Shop, payer: Any, fetch: Any, details: object, match: str
) -> None:
    shop.request["methodDetails"] = details
    await refuses(shop, payer(), fetch, match=match)


@pytest.mark.parametrize(
    ("details", "match"),
    [
        ({"credentialTypes": ["transaction", "signedHash"], "feePayer": True}, "is sponsored"),
        ({"credentialTypes": ["transaction", "hash"]}, "signed hashes"),
        ({"credentialTypes": ["hash"], "feePayer": False}, "signed hashes"),
        ({}, "signed hashes"),
    ],
    ids=str,
)
async def test_a_hash_is_never_shown_unsigned(
    shop: Shop, payer: Any, fetch: Any, details: dict[str, Any], match: str
) -> None:
    shop.request["methodDetails"] = {"network": "stellar:testnet"} | details
    await refuses(shop, payer(mode="push"), fetch, match=match)


# --- the challenge --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"method": "tempo"}, "wants 'tempo/charge'"),
        ({"intent": "session"}, "wants a session"),
        ({"expires": None}, "never expires"),
        ({"expires": "soon"}, "not a date"),
        ({"expires": "2026-01-01T00:00:00Z"}, "has expired"),
        ({"expires": "2999-01-01T00:00:00Z"}, "expires more than 3600 s from now"),
        ({"digest": "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"}, "another request"),
        ({"digest": "md5=:abc:"}, "another request body"),
        ({"header": "Cookie"}, "not for credentials"),
        ({"header": "X-Forwarded-For"}, "not for credentials"),
    ],
    ids=str,
)
async def test_challenges(
    shop: Shop, payer: Any, fetch: Any, changes: dict[str, Any], match: str
) -> None:
    shop.challenge |= changes
    await refuses(shop, payer(), fetch, match=match, method="POST", content=b"body")


async def test_the_moment_of_expiry_is_too_late(shop: Shop, payer: Any, fetch: Any) -> None:
    shop.validity = 0
    await refuses(shop, payer(), fetch, match="has expired")
    shop.validity = 1
    assert (await fetch(payer())).status_code == 200


async def test_a_digest_of_no_body(shop: Shop, payer: Any, fetch: Any) -> None:
    """The digest of nothing is right for a request without a body."""
    shop.challenge["digest"] = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"
    assert (await fetch(payer())).status_code == 200


async def test_the_apps_authorization_is_not_replaced(shop: Shop, payer: Any, fetch: Any) -> None:
    headers = {"authorization": "Bearer mine"}
    await refuses(shop, payer(), fetch, match="own Authorization", headers=headers)


@pytest.mark.parametrize(
    "value",
    [
        'Payment id="", realm="r", method="stellar", intent="charge", request="e30"',
        'Payment realm="r", method="stellar", intent="charge", request="e30"',
        'Payment id="a", id="b", realm="r", method="stellar", intent="charge", request="e30"',
        'Payment id="a", realm="r", method="stellar", intent="charge", request="!"',
        'Payment id="a", realm="r", method="stellar", intent="charge", request="W10"',
        'Payment id="a", realm="r", method="stellar", intent="charge", request="e30',
    ],
)
async def test_challenges_that_are_none(shop: Shop, payer: Any, fetch: Any, value: str) -> None:
    def malformed(request: httpx.Request) -> httpx.Response:
        return httpx.Response(402, headers={"WWW-Authenticate": value})

    await refuses(shop, payer(), fetch, match="cannot be read", server=malformed)


async def test_every_reason_is_told(shop: Shop, payer: Any, fetch: Any) -> None:
    def many(request: httpx.Request) -> httpx.Response:
        offers = [shop.issue(method="tempo"), shop.issue(expires=None)]
        return httpx.Response(
            402, headers=[("WWW-Authenticate", offer.to_header()) for offer in offers]
        )

    with pytest.raises(UnacceptableOfferError) as caught:
        await fetch(payer(), server=many)
    assert len(caught.value.reasons) == 2


async def test_a_reason_is_told_once_and_the_network_comes_first(
    shop: Shop, payer: Any, fetch: Any
) -> None:
    strange = shop.request | {"currency": PUBNET.tokens["USDC"].address}
    strange["methodDetails"] = {"network": "stellar:pubnet"}

    def many(request: httpx.Request) -> httpx.Response:
        shop.request = strange
        offers = [shop.issue() for _ in range(3)]
        return httpx.Response(
            402, headers=[("WWW-Authenticate", offer.to_header()) for offer in offers]
        )

    with pytest.raises(UnacceptableOfferError) as caught:
        await fetch(payer(), server=many)
    assert str(caught.value) == (
        "The server's price is not acceptable: it is on stellar:pubnet, not on stellar:testnet."
    )


async def test_a_session_is_wanted_of_a_payer_who_makes_none(
    shop: Shop, payer: Any, fetch: Any
) -> None:
    def sessions(request: httpx.Request) -> httpx.Response:
        offer = shop.issue(intent="session")
        return httpx.Response(402, headers={"WWW-Authenticate": offer.to_header()})

    with pytest.raises(UnacceptableOfferError, match="give channels= or sessions="):
        await fetch(payer(), server=sessions)
    shop.request["methodDetails"] = {"network": "stellar:pubnet"}
    with pytest.raises(UnacceptableOfferError) as caught:
        await fetch(payer(sessions=5), server=sessions)
    assert caught.value.reasons == ("it is on stellar:pubnet, not on stellar:testnet",)


async def test_one_challenge_is_answered_once(shop: Shop, payer: Any, fetch: Any) -> None:
    challenge = shop.issue()
    shop.issue = lambda body=b"": challenge
    auth = payer()
    await fetch(auth)
    with pytest.raises(UnacceptableOfferError, match="answered before"):
        await fetch(auth)
    assert shop.earned == 100_000


# --- the connection -------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["http://shop.test/", "http://10.0.0.1/", "http://localhost.evil/"])
async def test_plain_http(shop: Shop, payer: Any, fetch: Any, url: str) -> None:
    await refuses(shop, payer(), fetch, match="plain HTTP", url=url)


async def test_nothing_is_signed_for_an_unsafe_connection(
    shop: Shop, payer: Any, fetch: Any
) -> None:
    asked: list[str] = []

    def rpc(request: dict[str, Any]) -> dict[str, Any]:
        asked.append(request["method"])
        return shop.sandbox.rpc(request)

    await refuses(shop, payer(rpc=rpc), fetch, match="plain HTTP", url="http://shop.test/")
    assert asked == []


@pytest.mark.parametrize("target", ["https://evil.test/", "http://shop.test/"])
async def test_a_resumed_payment_goes_nowhere_else(
    shop: Shop, payer: Any, fetch: Any, target: str
) -> None:
    shop.reactions = [losing()]
    with pytest.raises(PaymentOutcomeUnknownError) as caught:
        await fetch(payer())
    payment = caught.value.payment
    auth = payer()
    auth.resume(replace(payment, target=Target("GET", target)))
    with pytest.raises(UnsafeConnectionError):
        await fetch(auth)
    assert len(shop.credentials) == 1


@pytest.mark.parametrize(
    "url", ["http://localhost:8000/", "http://127.0.0.1/", "http://[::1]:1/", "http://a.localhost/"]
)
async def test_plain_http_on_this_machine(shop: Shop, payer: Any, fetch: Any, url: str) -> None:
    assert (await fetch(payer(), url=url)).status_code == 200


def redirecting(shop: Shop, to: str, *, status: int = 307, paid: bool = False) -> Any:
    """A shop behind a redirect: of every request, or of those with a credential."""

    def serve(request: httpx.Request) -> httpx.Response:
        carries = any(b"Payment " in value[:8] for _, value in request.headers.raw)
        if request.url.path == "/forecast" and carries is paid:
            return httpx.Response(status, headers={"Location": to})
        return shop(request)

    return serve


@pytest.mark.parametrize(
    "to",
    [
        "https://evil.test/",
        "https://shop.test:444/",
        "http://shop.test/",
        "https://shop.test.evil/",
    ],
)
async def test_redirect_of_the_question(shop: Shop, payer: Any, fetch: Any, to: str) -> None:
    server = redirecting(shop, to)
    await refuses(
        shop, payer(), fetch, match="another origin", server=server, follow_redirects=True
    )


@pytest.mark.parametrize("header", ["Authorization", "Payment-Authorization"])
@pytest.mark.parametrize(
    "to", ["https://evil.test/", "https://shop.test/other", "http://shop.test/"]
)
async def test_redirect_of_the_credential(
    shop: Shop, payer: Any, fetch: Any, to: str, header: str
) -> None:
    """It goes where the price was asked, and from there nowhere else."""
    shop.challenge["header"] = header
    auth = payer()
    with pytest.raises(PaymentRefusedError):
        await fetch(auth, server=redirecting(shop, to, paid=True), follow_redirects=True)
    assert shop.credentials == []
    assert auth.spent == {"USDC": Decimal("0.01")}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_redirect_within_the_origin(
    shop: Shop, payer: Any, fetch: Any, status: int, method: str
) -> None:
    server = redirecting(shop, "https://shop.test/elsewhere", status=status)
    content = b"body" if method == "POST" else None
    response = await fetch(payer(), method, server=server, follow_redirects=True, content=content)
    assert response.json() == {"weather": "fine"}
    asked, paid = shop.requests
    assert paid.url == asked.url == "https://shop.test/elsewhere"
    assert (paid.method, paid.content) == (asked.method, asked.content)
    assert paid.headers.get("content-length") == asked.headers.get("content-length")
    assert shop.earned == 100_000


async def test_a_paid_answer_may_redirect(shop: Shop, payer: Any, fetch: Any) -> None:
    def elsewhere(request: httpx.Request) -> httpx.Response:
        if request.url.host == "cdn.test":
            assert not any(value.startswith(b"Payment ") for _, value in request.headers.raw)
            return httpx.Response(200, text="the file")
        response = shop(request)
        if response.status_code == 200:
            headers = {"Location": "https://cdn.test/file"} | dict(response.headers)
            return httpx.Response(302, headers=headers)
        return response

    auth = payer()
    response = await fetch(auth, server=elsewhere, follow_redirects=True)
    assert response.text == "the file"
    assert len(auth.receipts) == 1


# --- after the payment ----------------------------------------------------------------------------


CATALOGUE = [problem for problem in problems.CATALOGUE if problem.status == 402]


@pytest.mark.parametrize("problem", CATALOGUE, ids=lambda problem: problem.slug)
@pytest.mark.parametrize("way", ["sponsored", "unsponsored", "push"])
async def test_a_server_that_takes_and_asks_again(
    shop: Shop, payer: Any, fetch: Any, problem: Any, way: str
) -> None:
    """Whatever it says: one payment."""

    def greedy(request: httpx.Request, credential: Any) -> httpx.Response:
        shop.take(credential)
        return shop.price(request, problem)

    if way != "sponsored":
        shop.unsponsored()
    shop.reactions = [greedy] * 10
    shop._take_hash = lambda challenge, credential: credential.payload["hash"]
    auth = payer(mode="push" if way == "push" else "pull")
    with pytest.raises(PaymentRefusedError) as caught:
        await fetch(auth)
    assert caught.value.paid is True
    assert caught.value.problem.slug == problem.slug
    assert shop.earned == 100_000
    assert len(shop.payments) == 1
    assert auth.spent == {"USDC": Decimal("0.01")}
    assert auth.in_doubt == {"USDC": Decimal(0)}


@pytest.mark.parametrize("problem", CATALOGUE, ids=lambda problem: problem.slug)
async def test_a_server_that_keeps_the_payment_and_asks_again(
    shop: Shop, payer: Any, fetch: Any, problem: Any
) -> None:
    """It can take the first payment as long as that is valid, so there is no second."""
    shop.reactions = [lambda request, credential: shop.price(request, problem)] * 10
    auth = payer()
    with pytest.raises(PaymentRefusedError) as caught:
        await fetch(auth)
    assert caught.value.paid is None
    assert len(shop.credentials) == 1
    assert auth.spent == auth.in_doubt == {"USDC": Decimal("0.01")}
    shop.take(shop.credentials[0])
    assert shop.earned == 100_000


async def test_a_server_that_overcharges_gets_what_was_agreed(
    shop: Shop, payer: Any, fetch: Any
) -> None:
    """Another transfer than the one that was signed does not go through."""
    auth = payer()
    await fetch(auth)
    seen = shop.credentials[0].payload["transaction"]
    with pytest.raises(AssertionError):
        shop.submit(seen)
    assert shop.earned == 100_000


async def test_push_does_not_answer_a_challenge_from_elsewhere(
    shop: Shop, payer: Any, fetch: Any
) -> None:
    """The signature over a challenge id is worth money to whoever issued the challenge."""
    shop.unsponsored()
    server = redirecting(shop, "https://evil.test/", paid=True)
    auth = payer(mode="push")
    with pytest.raises(PaymentRefusedError) as caught:
        await fetch(auth, server=server, follow_redirects=True)
    assert caught.value.paid is True
    assert shop.credentials == []
