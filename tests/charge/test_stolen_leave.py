"""A payer's leave travels in a transaction that everybody can read: nobody else buys with it.

Until it is used, or has lapsed, a thief may copy it into a transaction of the thief's own, or show
it as it is, for another challenge.
"""

import asyncio
from dataclasses import dataclass, field

import pytest
from stellar_sdk import xdr

from mpp_asgi.protocol import Challenge, Credential
from mpp_asgi.stellar.dispatch import ATTEMPTS, GOOD_SECONDS
from mpp_asgi.stellar.envelope import NULL_ACCOUNT, signed_envelope, unsigned_envelope
from mpp_asgi.stellar.network import TESTNET
from tests.charge.bad_line import Answer, BadLine, Plan, Request, answered_without_effect
from tests.charge.bad_line import shop_on_bad_line as on_bad_line
from tests.charge.forgery import (
    authorization,
    authorized_by,
    changed,
    showing,
    transaction_in,
)
from tests.charge.test_settling import problem
from tests.shop import PRICE, Payer, Shop, payment_middleware

FOR_EVER = 10**6


def operation_in(envelope: str) -> bytes:
    """The operation, leave and all, of a transaction that somebody has seen."""
    decoded = xdr.TransactionEnvelope.from_xdr(envelope).v1
    assert decoded is not None
    return decoded.tx.operations[0].to_xdr_bytes()


def as_own(thief: Payer, seen: str, challenge: Challenge) -> Credential:
    """What was seen, in a transaction that the thief pays for."""
    operation = operation_in(seen)
    draft = unsigned_envelope(operation, source=thief.address)
    simulated = thief.shop.ask("simulateTransaction", transaction=draft)
    made = signed_envelope(
        operation,
        source=thief.address,
        sequence=thief.sequence(thief.keypair) + 1,
        fee=1_000 + int(simulated["minResourceFee"]),
        max_time=thief.expires(challenge),
        soroban_data=simulated["transactionData"],
        signer=thief.keypair,
        passphrase=TESTNET.passphrase,
    )
    return Credential(challenge, {"type": "transaction", "transaction": made.xdr}, None)


def as_payers(thief: Payer, seen: str, challenge: Challenge) -> Credential:
    """What was seen, for the sponsor to pay for once more."""
    shown = unsigned_envelope(
        operation_in(seen), source=NULL_ACCOUNT, max_time=thief.expires(challenge)
    )
    return Credential(challenge, {"type": "transaction", "transaction": shown}, None)


WAYS = {"own": as_own, "payers": as_payers}


@dataclass
class Onlooker:
    """Sees what goes to the network; drops it, if told to."""

    seen: list[str] = field(default_factory=list)
    drops: bool = False

    def watch(self, line: BadLine, request: Request) -> Answer:
        self.seen.append(request["params"]["transaction"])
        if self.drops:
            return answered_without_effect("PENDING")(line, request)
        return line.sandbox.rpc(request)


async def stolen(shop: Shop, way: str, seen: str) -> Credential:
    thief = shop.payer(2)
    offers = await shop.challenges()
    return WAYS[way](thief, seen, offers[1 if way == "own" else 0])


@pytest.mark.parametrize("way", WAYS)
async def test_leave_on_its_way_buys_nothing_for_others(way: str) -> None:
    onlooker = Onlooker()
    async with on_bad_line() as (shop, line):
        shop.sandbox.set_close_interval(5)
        payer = shop.payer()
        credential = payer.sponsored((await shop.challenges())[0])
        line.follow(Plan("sendTransaction", 0, onlooker.watch, FOR_EVER))
        paying = asyncio.create_task(shop.show(credential))
        while not onlooker.seen:  # noqa: ASYNC110 # it is on its way to the network
            await asyncio.sleep(0)
        theft = await shop.show(await stolen(shop, way, onlooker.seen[0]))
        assert problem(theft)[:2] == (402, "invalid-challenge")
        assert (await paying).status_code == 200
        assert (shop.earned(), shop.runs, len(onlooker.seen)) == (PRICE, ["/paid"], 1)


def skimpy(line: BadLine, request: Request) -> Answer:
    """The transaction passes the simulation, and fails on the ledger."""
    true = line.sandbox.rpc(request)
    data = xdr.SorobanTransactionData.from_xdr(true["result"]["transactionData"])
    data.resources.instructions = xdr.Uint32(1)
    return {**true, "result": {**true["result"], "transactionData": data.to_xdr()}}


@pytest.mark.parametrize("way", WAYS)
async def test_leave_in_a_failed_transaction_buys_nothing_for_others(way: str) -> None:
    async with on_bad_line() as (shop, line):
        payer = shop.payer()
        credential = payer.sponsored((await shop.challenges())[0])
        line.follow(Plan("simulateTransaction", 0, skimpy, FOR_EVER))
        assert (await shop.show(credential)).status_code != 200
        line.follow()
        record = await shop.store.get(credential.challenge.id)
        assert record is not None
        assert record.reference is not None
        failed = shop.ask("getTransaction", hash=record.reference)
        assert failed["status"] == "FAILED"
        theft = await shop.show(await stolen(shop, way, failed["envelopeXdr"]))
        assert problem(theft)[:2] == (402, "invalid-challenge")
        assert (shop.earned(), shop.runs) == (0, [])


@pytest.mark.parametrize("way", WAYS)
async def test_leave_that_was_not_included_is_its_payers_alone(way: str) -> None:
    """The network was full. Others have seen the leave; it is good for minutes to come."""
    onlooker = Onlooker(drops=True)
    async with on_bad_line(settle_seconds=(ATTEMPTS + 1) * GOOD_SECONDS) as (shop, line):
        shop.sandbox.set_close_interval(5)
        payer = shop.payer()
        credential = payer.sponsored((await shop.challenges())[0])
        line.follow(Plan("sendTransaction", 0, onlooker.watch, FOR_EVER))
        assert (await shop.show(credential)).status_code == 503
        line.follow()
        await recovered(shop)
        theft = await shop.show(await stolen(shop, way, onlooker.seen[0]))
        assert problem(theft)[:2] == (402, "invalid-challenge")
        assert (await shop.show(credential)).status_code == 200
        assert (shop.earned(), shop.runs) == (PRICE, ["/paid"])


async def test_leave_that_was_never_sent_is_good_for_another_challenge(shop: Shop) -> None:
    """Nobody has seen it."""
    payer = shop.payer()
    first, second = [(await shop.challenges())[0] for _ in range(2)]
    too_late = payer.sponsored(first, nonce=5, expiration_ledger=1)
    assert problem(await shop.show(too_late))[:2] == (402, "verification-failed")
    assert (await shop.show(payer.sponsored(second, nonce=5))).status_code == 200


async def test_leave_in_a_transaction_of_ones_own_is_good_for_one_challenge(shop: Shop) -> None:
    """Two transactions with one leave: the ledger takes one of them, and so do we."""
    payer, friend = shop.payer(), shop.payer(3)
    first, second = [(await shop.challenges())[1] for _ in range(2)]
    one = payer.unsponsored(first, source=friend.keypair)
    sequence = payer.sequence(friend.keypair) + 2
    other = payer.unsponsored(second, source=friend.keypair, sequence=sequence)
    shop.sandbox.freeze()
    paying = asyncio.create_task(shop.show(one))
    for _ in range(50):
        await asyncio.sleep(0)
    assert problem(await shop.show(other))[:2] == (402, "invalid-challenge")
    shop.sandbox.thaw()
    assert (await paying).status_code == 200
    assert (shop.earned(), shop.runs) == (PRICE, ["/paid"])


@pytest.mark.parametrize("dies", ["before it is dropped", "after it is dropped"])
async def test_leave_that_was_sent_is_on_record_until_it_has_lapsed(dies: str) -> None:
    """Its payer does not come back, and its process dies."""
    onlooker = Onlooker(drops=True)
    patience = 1 if dies == "before it is dropped" else 10 * GOOD_SECONDS
    async with on_bad_line(settle_seconds=patience) as (shop, line):
        shop.sandbox.set_close_interval(5)
        payer = shop.payer()
        challenge = (await shop.challenges())[0]
        lapses = shop.sandbox.sequence + 55
        credential = payer.sponsored(challenge, expiration_ledger=lapses)
        line.follow(Plan("sendTransaction", 0, onlooker.watch, FOR_EVER))
        assert (await shop.show(credential)).status_code == 503
        line.follow()
        while shop.sandbox.sequence <= lapses:
            theft = await shop.show(await stolen(shop, "own", onlooker.seen[0]))
            assert problem(theft)[:2] == (402, "invalid-challenge")
            shop.time.now += 20
            await recovered(shop)
        shop.time.now += 600  # recovery takes its time
        await recovered(shop)
        assert await shop.store.get(challenge.id) is None
        assert shop.runs == []


async def test_unsponsored_leave_is_void_when_the_challenge_is(shop: Shop) -> None:
    """A transaction of the payer's own that fails would leave it behind for others, for as long as
    it is good."""
    payer, friend = shop.payer(), shop.payer(3)
    challenge = (await shop.challenges())[1]
    leave = authorization(
        payer.transfer(challenge), payer.keypair, nonce=99, expiration_ledger=10**5
    )
    shown = payer.unsponsored(challenge, source=friend.keypair)
    lasting = changed(transaction_in(shown), authorized_by(leave), signer=friend.keypair)
    refused = await shop.show(showing(shown, lasting))
    assert problem(refused)[1] == "verification-failed"
    assert "valid beyond the challenge" in problem(refused)[2]
    assert (await shop.show(shown)).status_code == 200


async def recovered(shop: Shop) -> None:
    """Recovery has looked at what is left."""
    house = payment_middleware(shop.app)._house
    assert house is not None
    await house._recovery.round()
