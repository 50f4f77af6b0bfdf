"""pympp's own client pays our server, with a stellar method plugged in."""

import asyncio
from typing import Any

import mpp
import pytest
from mpp.client.transport import Mpp
from mpp.methods import Method
from mpp.runtime import ClientMethod, CredentialParams
from pydantic import BaseModel, ConfigDict
from stellar_sdk import Keypair

from tests.interop.conftest import Seller
from tests.interop.sdk_payer import SdkPayer
from tests.shop import PRICE

MODES = ("sponsored", "unsponsored", "push")


class ChargeRequest(BaseModel):
    model_config = ConfigDict(extra="allow")
    amount: str
    currency: str
    recipient: str
    methodDetails: dict[str, Any]  # noqa: N815 # the wire's name


class ChargePayload(BaseModel):
    model_config = ConfigDict(extra="allow")
    type: str


CHARGE = Method(
    name="stellar", intent="charge", request_model=ChargeRequest, payload_model=ChargePayload
)


def stellar(payer: SdkPayer, mode: str, *, short_by: int = 0) -> ClientMethod:
    """The method for pympp: how a challenge is answered."""

    def takes(challenge: mpp.Challenge) -> bool:
        request = ChargeRequest.model_validate(challenge.request)
        return bool(request.methodDetails["feePayer"]) == (mode == "sponsored")

    async def pay(params: CredentialParams) -> str:
        challenge = params.challenge
        assert challenge.expires is not None
        request = {**challenge.request, "amount": str(int(challenge.request["amount"]) - short_by)}
        payload = await asyncio.to_thread(
            payer.payload, mode, challenge.id, request, challenge.expires
        )
        return mpp.Credential(
            challenge=challenge.to_echo(), payload=payload, source=payer.source
        ).to_authorization()

    return ClientMethod(method=CHARGE, create_credential=pay, can_handle_challenge=takes)


@pytest.fixture
def payer(seller: Seller) -> SdkPayer:
    keypair = Keypair.random()
    seller.sandbox.fund(keypair.public_key, usdc=1)
    return SdkPayer(keypair, seller.rpc_url)


def balance(seller: Seller, payer: SdkPayer) -> int:
    return seller.sandbox.balance(payer.keypair.public_key, seller.sandbox.usdc)


@pytest.mark.parametrize("mode", MODES)
async def test_paid_get(seller: Seller, payer: SdkPayer, mode: str) -> None:
    earned, runs = seller.earned(), len(seller.runs)
    async with Mpp(methods=[stellar(payer, mode)]) as client:
        answer = await client.fetch(f"{seller.url}/paid")
    assert (answer.status_code, answer.json()) == (200, {"resource": "paid"})
    receipt = mpp.Receipt.from_payment_receipt(answer.headers["payment-receipt"])
    assert (receipt.status, receipt.method) == ("success", "stellar")
    assert len(receipt.reference) == 64
    assert seller.earned() == earned + PRICE
    assert balance(seller, payer) == 10**7 - PRICE
    assert len(seller.runs) == runs + 1


@pytest.mark.parametrize("mode", MODES)
async def test_paid_post(seller: Seller, payer: SdkPayer, mode: str) -> None:
    async with Mpp(methods=[stellar(payer, mode)]) as client:
        answer = await client.fetch(
            f"{seller.url}/order", method="POST", json={"tea": "Earl Grey ☕"}
        )
    assert (answer.status_code, answer.json()) == (200, {"tea": "Earl Grey ☕"})
    assert balance(seller, payer) == 10**7 - PRICE


async def test_beside_the_routes_own_authorization(seller: Seller, payer: SdkPayer) -> None:
    async with Mpp(methods=[stellar(payer, "sponsored")]) as client:
        url = f"{seller.url}/guarded"
        # FastAPI's own answer, of older and newer versions.
        assert (await client.fetch(url)).status_code in {401, 403}
        answer = await client.fetch(url, headers={"Authorization": "Bearer sesame"})
    assert (answer.status_code, answer.json()) == (200, {"token": "sesame"})
    assert "payment-receipt" in answer.headers


async def test_whoever_pays_too_little_gets_nothing_and_keeps_it(
    seller: Seller, payer: SdkPayer
) -> None:
    """pympp answers each 402 with another payment, three times; none of them moves money."""
    earned, runs = seller.earned(), len(seller.runs)
    async with Mpp(methods=[stellar(payer, "sponsored", short_by=1)]) as client:
        answer = await client.fetch(f"{seller.url}/paid")
    assert answer.status_code == 402
    assert answer.json()["type"] == "https://paymentauth.org/problems/verification-failed"
    assert (seller.earned(), len(seller.runs)) == (earned, runs)
    assert balance(seller, payer) == 10**7


async def test_pympp_reads_each_of_our_challenges(seller: Seller) -> None:
    async with Mpp(methods=[]) as client:
        unpaid = await client.fetch(f"{seller.url}/paid")
    assert unpaid.status_code == 402
    fields = unpaid.headers.get_list("www-authenticate")
    challenges = [mpp.Challenge.from_www_authenticate(field) for field in fields]
    assert [each.request["methodDetails"]["feePayer"] for each in challenges] == [True, False]
    for challenge in challenges:
        assert (challenge.method, challenge.intent) == ("stellar", "charge")
        assert challenge.request["amount"] == str(PRICE)
        assert challenge.request["description"] == 'Tea "Earl Grey" — 5 €, 🍵'
