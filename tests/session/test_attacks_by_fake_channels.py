"""A15: contracts that only look like a channel worth something."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from stellar_sdk import scval

from mpp_asgi.sandbox.genesis import bank_keypair
from mpp_asgi.stellar.invocation import contract_call
from mpp_asgi.stellar.network import TESTNET
from tests.charge.forgery import THIEF
from tests.session.attack import LYING_CODE, attacked_shop, is_no_customer, nothing_leaked, opened
from tests.session.drawer import (
    CALL,
    DEPOSIT,
    Drawer,
    Funder,
    problem_of,
)
from tests.shop import Payer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.shop import Shop


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with attacked_shop() as shop:
        yield shop


FAKES: dict[str, tuple[dict[str, Any], str]] = {
    "other code": ({"way": "deployed", "wasm_hash": LYING_CODE.hex()}, "code is not among"),
    "another recipient": ({"recipient": THIEF.public_key}, "another recipient"),
    "another token": ({"token": "xlm"}, "another token"),
    "a tiny waiting period": ({"waiting_period": 17_279}, "waiting period is under"),
    "no waiting period": ({"waiting_period": 0}, "waiting period is under"),
    "a key that signs nothing": ({"key": bytes(32)}, "none that can sign"),
}


def terms_of(shop: Shop, fake: str) -> tuple[dict[str, Any], str]:
    terms, says = FAKES[fake]
    token = {"token": shop.sandbox.xlm} if "token" in terms else {}
    return {**terms, **token}, says


@pytest.mark.parametrize("fake", FAKES)
async def test_a_fake_channel_is_not_opened(shop: Shop, fake: str) -> None:
    terms, says = terms_of(shop, fake)
    funder = Funder(shop, 1)
    challenge = await funder.challenge()
    before, fees = funder.balance(), shop.sponsor_funds()
    answer = await shop.show(funder.open(challenge, CALL, **terms))
    assert problem_of(answer) == (402, "verification-failed")
    assert says in answer.json()["detail"]
    assert (funder.balance(), shop.sponsor_funds()) == (before, fees)
    await is_no_customer(funder, challenge)
    nothing_leaked(f"A15, opening {fake}", served=len(shop.runs), owed=0)


@pytest.mark.parametrize("fake", FAKES)
async def test_a_fake_channel_on_the_ledger_is_not_taken(shop: Shop, fake: str) -> None:
    terms, says = terms_of(shop, fake)
    funder = Funder(shop, 1)
    challenge = await funder.challenge()
    hash_ = funder.open_alone(challenge, **terms)
    shown = funder.voucher(challenge, CALL, action="open", type="hash", hash=hash_)
    answer = await shop.show(shown)
    assert problem_of(answer) == (402, "verification-failed")
    assert says in answer.json()["detail"]
    await is_no_customer(funder, challenge)
    nothing_leaked(f"A15, showing {fake}", served=len(shop.runs), owed=0)


async def test_a_factory_that_has_changed_its_mind_opens_no_session(shop: Shop) -> None:
    """What it opens now looks the same until it is there: then its code is looked at."""
    bank = Funder(shop, 2)
    bank.payer = Payer(shop, bank_keypair(TESTNET.passphrase, 0))
    other_code = scval.to_bytes(LYING_CODE)
    bank._alone(contract_call(shop.sandbox.channel_factory, "set_wasm", [other_code]))
    funder = Funder(shop, 1)
    challenge = await funder.challenge()
    answer = await shop.show(funder.open(challenge, CALL))
    assert problem_of(answer) == (402, "verification-failed")
    await is_no_customer(funder, challenge)
    nothing_leaked("A15, by a factory of fakes", served=len(shop.runs), owed=0)


@pytest.mark.parametrize("what", ["usdc", "channel_factory"])
async def test_another_contract_is_no_channel(shop: Shop, what: str) -> None:
    funder, challenge = await opened(shop)
    funder.channel = getattr(shop.sandbox, what)
    shown = funder.voucher(challenge, CALL, action="open", type="hash", hash="00" * 32)
    assert problem_of(await shop.show(shown)) == (402, "verification-failed")
    await is_no_customer(funder, challenge)
    nothing_leaked(f"A15, {what} for a channel", served=len(shop.runs), owed=CALL)


async def test_an_empty_channel_is_worth_nothing(shop: Shop) -> None:
    funder = Funder(shop, 1)
    challenge = await funder.challenge()
    in_band = await shop.show(funder.open(challenge, 0, amount=0))
    assert problem_of(in_band) == (402, "verification-failed")
    hash_ = funder.open_alone(challenge, amount=0)
    for amount in (CALL, 1):
        shown = funder.voucher(challenge, amount, action="open", type="hash", hash=hash_)
        answer = await shop.show(shown)
        assert problem_of(answer) == (402, "session/amount-exceeds-deposit")
        assert problem_of(await funder.pay(challenge, amount)) == problem_of(answer)
    nothing_leaked("A15, an empty channel", served=len(shop.runs), owed=0)


async def test_a_voucher_for_more_than_is_deposited_opens_nothing(shop: Shop) -> None:
    funder = Funder(shop, 1)
    challenge = await funder.challenge()
    before, fees = funder.balance(), shop.sponsor_funds()
    answer = await shop.show(funder.open(challenge, DEPOSIT + 1))
    assert problem_of(answer) == (402, "session/amount-exceeds-deposit")
    assert (funder.balance(), shop.sponsor_funds()) == (before, fees)
    nothing_leaked("A15, more than is in it", served=len(shop.runs), owed=0)


async def test_an_opening_of_another_channel_is_no_proof(shop: Shop) -> None:
    """Its channel is named, its money is in another."""
    funder, other = Funder(shop, 1), Funder(shop, 2)
    challenge = await funder.challenge()
    opening = funder.open(challenge, CALL)
    other.opening(challenge)
    shown = replace(
        opening,
        payload={
            **opening.payload,
            "channelId": other.channel,
            "signature": other.sign(CALL),
        },
    )
    answer = await shop.show(shown)
    assert problem_of(answer) == (402, "verification-failed")
    nothing_leaked("A15, another's money", served=len(shop.runs), owed=0)


async def test_somebody_elses_channel_is_nobody_elses(shop: Shop) -> None:
    """A thief shows a good channel as his own; what he signs is worth nothing."""
    victim, challenge = await opened(shop)
    thief = Drawer(shop, THIEF, victim.channel, THIEF.public_key)
    for action in ("open", "voucher", "close"):
        shown = thief.voucher(challenge, 2 * CALL, action=action, type="hash", hash="00" * 32)
        assert problem_of(await shop.show(shown)) == (402, "session/invalid-signature")
    assert (await victim.pay(challenge, 2 * CALL)).status_code == 200
    nothing_leaked("A15, another's channel", served=len(shop.runs), owed=2 * CALL)
