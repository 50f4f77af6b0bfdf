"""One payment, one use: whatever it is shown as, for whichever challenge, by whomever."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from stellar_sdk import Keypair

from mpp_asgi.protocol import Credential, Receipt
from mpp_asgi.stellar.admissions import CLOCK_SECONDS, PUSH_SECONDS
from tests.charge.bad_line import Plan, altered, shop_on_bad_line
from tests.charge.forgery import hash_of, transaction_in
from tests.shop import MODES, PRICE, START, Shop, open_shop


def refusal(response: object) -> str:
    """The problem's type, of a 402."""
    assert response.status_code == 402, response.text  # type: ignore[attr-defined]
    slug: str = response.json()["type"]  # type: ignore[attr-defined] # an httpx.Response
    return slug.rpartition("/")[2]


async def test_hash_is_the_same_in_either_case(shop: Shop) -> None:
    payer = shop.payer()
    first, second = [(await shop.challenges())[1] for _ in range(2)]
    hash_ = payer.push(payer.transfer(first))
    paid = await shop.show(payer.signed_hash(first, hash_.upper()))
    assert paid.status_code == 200
    assert Receipt.from_header(paid.headers["payment-receipt"]).reference == hash_
    for spelling in (hash_, hash_.upper(), hash_[:32] + hash_[32:].upper()):
        assert refusal(await shop.show(payer.signed_hash(second, spelling))) == "invalid-challenge"
    assert shop.runs == ["/paid"]


async def test_sponsored_settlement_is_no_push(shop: Shop) -> None:
    payer = shop.payer()
    paid = await shop.show(payer.sponsored((await shop.challenges())[0]))
    hash_ = Receipt.from_header(paid.headers["payment-receipt"]).reference
    again = payer.signed_hash((await shop.challenges())[1], hash_)
    assert refusal(await shop.show(again)) == "verification-failed"
    assert shop.runs == ["/paid"]


async def test_unsponsored_settlement_is_no_push_and_no_other_pull(shop: Shop) -> None:
    payer = shop.payer()
    credential = payer.unsponsored((await shop.challenges())[1])
    assert (await shop.show(credential)).status_code == 200
    other = (await shop.challenges())[1]
    push = payer.signed_hash(other, hash_of(transaction_in(credential)))
    assert refusal(await shop.show(push)) == "invalid-challenge"
    pull = replace(credential, challenge=other)
    assert refusal(await shop.show(pull)) == "verification-failed"
    assert (shop.runs, shop.earned()) == (["/paid"], PRICE)


@pytest.mark.parametrize("mode", MODES)
async def test_what_was_settled_is_no_push_for_as_long_as_a_push_may_be_shown(mode: str) -> None:
    """A seller who keeps payments for an hour has not sold them when the hour is over."""
    async with open_shop(redelivery_seconds=3_600) as shop:
        payer = shop.payer()
        paid = await shop.show(payer.in_mode(mode, await shop.challenges()))
        hash_ = Receipt.from_header(paid.headers["payment-receipt"]).reference
        shop.sandbox.set_close_interval(600)
        while shop.time.now < START + PUSH_SECONDS + CLOCK_SECONDS // 2:
            shop.time.now += 6_000
            while await shop.store.purge(now=int(shop.time.now), limit=100):
                pass
            again = payer.signed_hash((await shop.challenges())[1], hash_)
            assert (await shop.show(again)).status_code == 402
        assert shop.runs == ["/paid"]


async def test_authorization_is_good_once(shop: Shop) -> None:
    payer = shop.payer()
    first, second = [(await shop.challenges())[0] for _ in range(2)]
    assert (await shop.show(payer.sponsored(first, nonce=3))).status_code == 200
    assert refusal(await shop.show(payer.sponsored(second, nonce=3))) == "invalid-challenge"
    assert (await shop.show(payer.sponsored(second, nonce=4))).status_code == 200
    assert shop.earned() == 2 * PRICE


async def test_authorization_is_good_once_on_the_ledger_too(shop: Shop) -> None:
    """Somebody else has used it: another shop of the same seller, with a store of its own."""
    payer = shop.payer()
    assert (await shop.show(payer.sponsored((await shop.challenges())[0]))).status_code == 200
    async with open_shop(sandbox=shop.sandbox, time=shop.time) as other:
        had = other.sponsor_funds()
        refused = await other.show(payer.sponsored((await other.challenges())[0]))
        assert refusal(refused) == "verification-failed"
        assert refused.json()["detail"] == "This authorization was used before."
        assert (other.sponsor_funds() - had) % 10**11 == 0  # only the new shop's start-up money


async def test_challenge_is_good_for_one_payment(shop: Shop) -> None:
    """The payer pays twice for one challenge: the second payment is not taken."""
    payer = shop.payer()
    challenges = await shop.challenges()
    assert (await shop.show(payer.unsponsored(challenges[1]))).status_code == 200
    assert refusal(await shop.show(payer.unsponsored(challenges[1]))) == "invalid-challenge"
    assert shop.earned() == PRICE


# --- push: which payments count -------------------------------------------------------------------


async def test_payment_may_be_shown_for_a_day(shop: Shop) -> None:
    payer = shop.payer()
    hash_ = payer.push(payer.transfer((await shop.challenges())[1]))
    shop.sandbox.set_close_interval(600)
    shop.time.now = START + PUSH_SECONDS
    shown = payer.signed_hash((await shop.challenges())[1], hash_)
    assert (await shop.show(shown)).status_code == 200


async def test_payment_of_the_day_before_does_not_count(shop: Shop) -> None:
    payer = shop.payer()
    hash_ = payer.push(payer.transfer((await shop.challenges())[1]))
    shop.sandbox.set_close_interval(600)
    shop.time.now += PUSH_SECONDS + 2
    refused = await shop.show(payer.signed_hash((await shop.challenges())[1], hash_))
    assert refusal(refused) == "verification-failed"
    assert "too old" in refused.json()["detail"]


async def test_payment_made_in_time_may_be_shown_late(shop: Shop) -> None:
    """The money has moved: an expired challenge must not make an agent pay again."""
    payer = shop.payer()
    challenge = (await shop.challenges())[1]
    credential = payer.signed_hash(challenge, payer.push(payer.transfer(challenge)))
    shop.time.now += 1_000
    assert (await shop.show(credential)).status_code == 200
    assert refusal(await shop.show(credential)) == "invalid-challenge"
    assert shop.runs == ["/paid"]


async def test_payment_to_a_recipient_of_yesterday_does_not_count(shop: Shop) -> None:
    """The seller has moved, perhaps because the key was lost."""
    payer = shop.payer()
    challenge = (await shop.challenges())[1]
    credential = payer.signed_hash(challenge, payer.push(payer.transfer(challenge)))
    elsewhere = Keypair.from_raw_ed25519_seed(b"e" * 32).public_key
    async with open_shop(sandbox=shop.sandbox, time=shop.time, recipient=elsewhere) as moved:
        for shown in (credential, payer.unsponsored(challenge)):
            assert refusal(await moved.show(shown)) == "invalid-challenge"
        assert moved.runs == []


async def test_what_was_settled_before_the_seller_moved_is_delivered(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/charges.db"
    async with open_shop(store=store) as shop:
        credential = shop.payer().sponsored((await shop.challenges("/flaky"))[0])
        assert (await shop.show(credential, "/flaky")).status_code == 500
        assert shop.earned() == PRICE
    elsewhere = Keypair.from_raw_ed25519_seed(b"e" * 32).public_key
    async with open_shop(
        sandbox=shop.sandbox, time=shop.time, recipient=elsewhere, store=store
    ) as moved:
        moved.runs.append("the first time failed elsewhere")
        assert (await moved.show(credential, "/flaky")).status_code == 200
        assert shop.earned() == PRICE


# --- bare hashes ----------------------------------------------------------------------------------


async def test_bare_hash_where_the_operator_takes_them() -> None:
    async with open_shop(allow_hash=True) as shop:
        payer = shop.payer()
        challenge = (await shop.challenges())[1]
        types = challenge.request_object()["methodDetails"]["credentialTypes"]
        assert types == ["transaction", "signedHash", "hash"]
        hash_ = payer.push(payer.transfer(challenge))
        named = payer.credential(challenge, type="hash", hash=hash_)
        wrong = replace(named, source=shop.payer(2).source)
        assert refusal(await shop.show(wrong)) == "verification-failed"
        assert (await shop.show(replace(named, source=None))).status_code == 200
        other = (await shop.challenges())[1]
        for again in (named, replace(named, challenge=other), payer.signed_hash(other, hash_)):
            assert refusal(await shop.show(again)) == "invalid-challenge"
        assert shop.runs == ["/paid"]


async def test_offers_name_what_is_taken(shop: Shop) -> None:
    sponsored, unsponsored = await shop.challenges()
    assert sponsored.request_object()["methodDetails"] == {
        "network": "stellar:testnet",
        "feePayer": True,
        "credentialTypes": ["transaction"],
    }
    assert unsponsored.request_object()["methodDetails"] == {
        "network": "stellar:testnet",
        "feePayer": False,
        "credentialTypes": ["transaction", "signedHash"],
    }


# --- thieves must not keep the payer out ----------------------------------------------------------


async def test_payer_is_served_while_a_thief_waits_with_the_hash(shop: Shop) -> None:
    """The thief has seen the transaction on its way, and shows its hash first."""
    payer, thief = shop.payer(), shop.payer(2)
    mine, thiefs = [(await shop.challenges())[1] for _ in range(2)]
    shop.sandbox.freeze()
    envelope, hash_ = payer.own_transaction(payer.transfer(mine), max_time=payer.expires(mine))
    assert shop.ask("sendTransaction", transaction=envelope)["status"] == "PENDING"
    waiting = asyncio.create_task(shop.show(thief.signed_hash(thiefs, hash_)))
    while shop.time.now < START + 2:  # noqa: ASYNC110 # time passes as the thief looks
        await asyncio.sleep(0)
    shop.sandbox.close_ledger()

    assert (await shop.show(payer.signed_hash(mine, hash_))).status_code == 200
    assert refusal(await waiting) == "verification-failed"
    assert shop.runs == ["/paid"]


@pytest.mark.parametrize("payers_turn", ["before", "after"])
async def test_stolen_transaction_is_its_payers(shop: Shop, payers_turn: str) -> None:
    payer = shop.payer()
    mine, thiefs = [(await shop.challenges())[1] for _ in range(2)]
    envelope, hash_ = payer.own_transaction(payer.transfer(mine), max_time=payer.expires(mine))
    assert shop.ask("sendTransaction", transaction=envelope)["status"] == "PENDING"
    shop.time.now += 2
    theft = Credential(thiefs, {"type": "transaction", "transaction": envelope}, None)
    shown = [theft, payer.signed_hash(mine, hash_)]
    if payers_turn == "before":
        shown.reverse()
    answers = [await shop.show(each) for each in shown]
    assert sorted(answer.status_code for answer in answers) == [200, 402]
    assert answers[shown.index(theft)].status_code == 402
    assert shop.runs == ["/paid"]


async def test_settlement_of_a_former_sponsor_is_no_push(tmp_path: Path) -> None:
    """The sponsor's key was changed: nothing in the transaction is the server's any more."""
    store = f"sqlite:///{tmp_path}/charges.db"
    async with open_shop(store=store) as shop:
        payer = shop.payer()
        paid = await shop.show(payer.sponsored((await shop.challenges())[0]))
        hash_ = Receipt.from_header(paid.headers["payment-receipt"]).reference
    successor = Keypair.from_raw_ed25519_seed(b"f" * 32).secret
    async with open_shop(
        sandbox=shop.sandbox, time=shop.time, sponsor=successor, store=store
    ) as later:
        again = payer.signed_hash((await later.challenges())[1], hash_)
        assert refusal(await later.show(again)) == "invalid-challenge"
        assert later.runs == []


async def test_node_that_answers_with_another_transaction_is_not_believed() -> None:
    async with shop_on_bad_line() as (shop, line):
        payer = shop.payer()
        challenge = (await shop.challenges())[1]
        paid, other = [payer.push(payer.transfer(challenge)) for _ in range(2)]
        envelope = shop.ask("getTransaction", hash=other)["envelopeXdr"]
        line.follow(Plan("getTransaction", 0, altered(envelopeXdr=envelope)))
        credential = payer.signed_hash(challenge, paid)
        assert (await shop.show(credential)).status_code == 503
        assert (await shop.show(credential)).status_code == 200
