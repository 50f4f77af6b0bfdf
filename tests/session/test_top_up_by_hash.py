"""Deposits that somebody says to have made: the ledger says whether; strangers learn nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mpp_asgi import price
from mpp_asgi.protocol import Credential
from mpp_asgi.stellar.transfer import Transfer
from tests.session.drawer import (
    CALL,
    DEPOSIT,
    Funder,
    open_session_shop,
    problem_of,
    receipt_of,
)
from tests.shop import RECIPIENT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mpp_asgi.protocol import Challenge
    from tests.shop import Shop

STANDING = {"acceptedCumulative", "spent", "deposit"}


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with open_session_shop() as shop:
        yield shop


async def opened(shop: Shop, number: int = 1) -> tuple[Funder, Challenge]:
    funder = Funder(shop, number)
    challenge = await funder.challenge()
    response = await shop.show(funder.open(challenge, CALL))
    assert response.status_code == 200, response.text
    return funder, challenge


async def show(funder: Funder, challenge: Challenge, hash_: str, amount: int) -> Any:
    payload = {
        "action": "topUp",
        "channelId": funder.channel,
        "type": "hash",
        "hash": hash_,
        "additionalDeposit": str(amount),
    }
    return await funder.shop.show(Credential(challenge, payload))


async def test_a_deposit_that_was_made_counts(shop: Shop) -> None:
    funder, challenge = await opened(shop)
    hash_ = funder.top_up_alone(2 * CALL)
    for _ in range(2):  # shown again, it is as true as before
        answer = await show(funder, challenge, hash_, 2 * CALL)
        assert answer.status_code == 204, answer.text
        assert receipt_of(answer)["channelId"] == funder.channel
    assert (await funder.record()).deposited == DEPOSIT + 2 * CALL
    assert (await funder.pay(challenge, DEPOSIT + 2 * CALL)).status_code == 200


async def test_it_counts_though_it_was_seen_before(shop: Shop) -> None:
    funder, challenge = await opened(shop)
    hash_ = funder.top_up_alone(2 * CALL)
    assert (await funder.pay(challenge, DEPOSIT + CALL)).status_code == 200
    assert (await show(funder, challenge, hash_, 2 * CALL)).status_code == 204


async def test_another_transaction_is_no_deposit(shop: Shop) -> None:
    """It is on the ledger, and did well: for another channel, or with less money."""
    funder, challenge = await opened(shop)
    other, _ = await opened(shop, 2)
    elsewhere = other.top_up_alone(2 * CALL)
    less = funder.top_up_alone(CALL)
    await funder.pay(challenge, DEPOSIT + CALL)
    for hash_ in (elsewhere, less):
        answer = await show(funder, challenge, hash_, 2 * CALL)
        assert problem_of(answer) == (402, "verification-failed")
        assert not STANDING & answer.json().keys()


async def test_another_token_is_no_deposit(shop: Shop) -> None:
    """Whatever arrives in the channel: it is of one token."""
    funder, challenge = await opened(shop)
    transfer = Transfer(shop.sandbox.xlm, funder.payer.address, funder.channel, 2 * CALL)
    answer = await show(funder, challenge, funder.payer.push(transfer), 2 * CALL)
    assert problem_of(answer) == (402, "verification-failed")


@pytest.mark.parametrize("amount", ["-1", "1.5", "01", str(2**127), 1])
async def test_what_is_no_amount_is_refused_for_its_form(shop: Shop, amount: Any) -> None:
    funder, challenge = await opened(shop)
    payload = {**funder.top_up(challenge, CALL).payload, "additionalDeposit": amount}
    answer = await shop.show(Credential(challenge, payload))
    assert problem_of(answer) == (402, "invalid-payload")


@pytest.mark.parametrize("amount", ["0", "-1", "1.5"])
async def test_nothing_is_no_deposit(shop: Shop, amount: str) -> None:
    funder, challenge = await opened(shop)
    answer = await show(funder, challenge, funder.top_up_alone(CALL), amount)  # type: ignore[arg-type] # garbage
    assert answer.status_code == 402


# By hash or not


OTHER = "did:pkh:stellar:testnet:" + RECIPIENT.public_key


@pytest.mark.parametrize("by_hash", [True, False])
@pytest.mark.parametrize(
    ("what", "refusal"),
    [
        ("another token", "verification-failed"),
        ("another source", "session/signer-mismatch"),
        ("no amount", "invalid-payload"),
    ],
)
async def test_a_channel_is_topped_up_on_its_own_terms_by_its_own_funder(
    shop: Shop, what: str, refusal: str, by_hash: bool
) -> None:
    @shop.app.get("/xlm")
    @price("0.0000001", currency="XLM")
    async def xlm() -> dict[str, str]:
        return {}

    funder, challenge = await opened(shop)
    if what == "another token":
        challenge = await funder.challenge("/xlm")
    payload = dict(funder.top_up(challenge, CALL).payload)
    if by_hash:
        payload.update(type="hash", hash=funder.top_up_alone(CALL))
    if what == "no amount":
        payload["additionalDeposit"] = "1.5"
    source = None if what == "another token" else OTHER
    before, record = (shop.sponsor_funds(), funder.balance()), await funder.record()
    path = "/xlm" if what == "another token" else "/paid"
    answer = await shop.show(Credential(challenge, payload, source), path)
    assert problem_of(answer) == (402, refusal)
    assert (shop.sponsor_funds(), funder.balance()) == before
    assert await funder.record() == record


@pytest.mark.parametrize("by_hash", [True, False])
async def test_a_deposit_is_not_less_than_a_request_costs(shop: Shop, by_hash: bool) -> None:
    """If we are to pay a fee for it; who has made it has made it."""
    funder, challenge = await opened(shop)
    credential = funder.top_up(challenge, CALL - 1)
    if by_hash:
        answer = await show(funder, challenge, funder.top_up_alone(CALL - 1), CALL - 1)
        assert answer.status_code == 204
    else:
        assert problem_of(await shop.show(credential)) == (402, "verification-failed")


async def test_what_the_ledger_does_not_show_is_not_waited_for(shop: Shop) -> None:
    funder, challenge = await opened(shop)
    before = shop.time.now
    answer = await show(funder, challenge, "ab" * 32, CALL)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert shop.time.now == before
    assert not STANDING & answer.json().keys()


@pytest.mark.parametrize("by_hash", [True, False])
async def test_a_receipt_tells_no_stranger_what_was_spent(shop: Shop, *, by_hash: bool) -> None:
    """Whoever shows a deposit has shown no voucher: a transaction is public."""
    funder, challenge = await opened(shop)
    if by_hash:
        answer = await show(funder, challenge, funder.top_up_alone(CALL), CALL)
    else:
        answer = await shop.show(funder.top_up(challenge, CALL))
    assert answer.status_code == 204
    assert not STANDING & receipt_of(answer).keys()
