"""A payer who submits its own transaction shows its hash, signed; until it does, everybody can read
the transaction in the network's queue. Whoever shows that as a transaction to be submitted is not
served for it, and does not keep its payer out."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from mpp_asgi.protocol import Challenge, Credential
from tests.charge.bad_line import (
    Answer,
    BadLine,
    Plan,
    Request,
    answered_without_effect,
    lost_after,
    shop_on_bad_line,
)
from tests.charge.forgery import hash_of, transaction_in
from tests.charge.test_settling import problem
from tests.shop import PRICE, Payer, Shop

FOR_EVER = 10**6


@dataclass
class Theft:
    """A payment by push that a thief shows as its own."""

    shop: Shop
    line: BadLine
    payer: Payer
    mine: Challenge
    thiefs: Challenge
    transaction: str

    def push(self) -> None:
        sent = self.shop.ask("sendTransaction", transaction=self.transaction)
        assert sent["status"] == "PENDING"

    @property
    def credential(self) -> Credential:
        return Credential(
            self.thiefs, {"type": "transaction", "transaction": self.transaction}, None
        )

    async def fails(self, theft: object) -> None:
        """The thief has nothing, and the payer what was paid for."""
        assert problem(theft)[:2] == (402, "verification-failed")
        assert "show its hash, signed" in problem(theft)[2]
        self.shop.time.now += 10
        shown = self.payer.signed_hash(self.mine, hash_of(self.transaction))
        assert (await self.shop.show(shown)).status_code == 200
        assert (self.shop.earned(), self.shop.runs) == (PRICE, ["/paid"])


@pytest.fixture
async def theft() -> AsyncIterator[Theft]:
    async with shop_on_bad_line() as (shop, line):
        shop.sandbox.set_close_interval(5)
        payer = shop.payer()
        mine, thiefs = [(await shop.challenges())[1] for _ in range(2)]
        transaction, _ = payer.own_transaction(payer.transfer(mine), max_time=payer.expires(mine))
        yield Theft(shop, line, payer, mine, thiefs, transaction)


async def test_in_the_queue(theft: Theft) -> None:
    """It waits there for longer than one ledger, as it does when the network is busy."""
    theft.shop.sandbox.delay_next_submit(3)
    theft.push()
    await theft.fails(await theft.shop.show(theft.credential))
    assert theft.line.calls.count("sendTransaction") == 1


async def test_on_a_ledger_that_the_node_does_not_have_yet(theft: Theft) -> None:
    theft.push()
    theft.shop.sandbox.fall_behind(times=2)
    theft.shop.time.now += 5.5
    await theft.fails(await theft.shop.show(theft.credential))
    assert "sendTransaction" not in theft.line.calls


async def test_on_the_ledger_by_the_time_that_it_is_sent(theft: Theft) -> None:
    """It is refused, as its sequence number is used, and is there all the same."""

    def pushed_meanwhile(line: BadLine, request: Request) -> Answer:
        theft.push()
        theft.shop.time.now += 6
        return line.sandbox.rpc(request)

    theft.line.follow(Plan("sendTransaction", 0, pushed_meanwhile))
    await theft.fails(await theft.shop.show(theft.credential))


async def test_by_a_thief_who_hangs_up(theft: Theft) -> None:
    """What the request would have learnt is learnt without it."""
    theft.shop.sandbox.delay_next_submit(3)
    theft.push()
    asking: list[asyncio.Task[object]] = []

    def hung_up(line: BadLine, request: Request) -> Answer:
        asking[0].cancel()
        return line.sandbox.rpc(request)

    theft.line.follow(Plan("sendTransaction", 0, hung_up))
    asking.append(asyncio.create_task(theft.shop.show(theft.credential)))
    with pytest.raises(asyncio.CancelledError):
        await asking[0]
    theft.line.follow()
    await theft.fails(await theft.shop.show(theft.credential))


@pytest.mark.parametrize("fault", [lost_after, answered_without_effect("TRY_AGAIN_LATER")])
async def test_transaction_that_is_offered_twice_is_its_payers(theft: Theft, fault: object) -> None:
    """The duplicate, if there is one, is our own: the answer to the first was lost."""
    theft.line.follow(Plan("sendTransaction", 0, fault))  # type: ignore[arg-type] # a Fault
    theft.shop.sandbox.delay_next_submit(3)
    assert (await theft.shop.show(theft.credential)).status_code == 200
    assert theft.line.calls.count("sendTransaction") > 1
    assert theft.shop.earned() == PRICE


async def test_transaction_that_was_sent_by_a_process_that_died(theft: Theft) -> None:
    """Nobody can tell any more whose duplicate it was."""
    theft.line.follow(Plan("sendTransaction", 0, lost_after, FOR_EVER))
    theft.shop.sandbox.delay_next_submit(20)
    assert (await theft.shop.show(theft.credential)).status_code == 503
    theft.line.follow()
    while (again := await theft.shop.show(theft.credential)).status_code == 503:
        theft.shop.time.now += 5
    assert again.status_code == 200
    assert theft.shop.earned() == PRICE


async def test_two_challenges_for_one_transaction(theft: Theft) -> None:
    """Shown for both at once, before anybody has sent it."""
    other = Credential(theft.mine, {"type": "transaction", "transaction": theft.transaction}, None)
    assert transaction_in(other) == transaction_in(theft.credential)
    answers = await asyncio.gather(*map(theft.shop.show, (other, theft.credential)))
    assert sorted(answer.status_code for answer in answers) == [200, 402]
    assert (theft.shop.earned(), theft.shop.runs) == (PRICE, ["/paid"])
