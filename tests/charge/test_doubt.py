"""Whatever the node does, at whichever call: nobody pays twice, and nobody pays for nothing.

Every way to pay, every call it makes, every fault of `bad_line`, for one call, for one request, and
for longer than the challenge is good.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from mpp_asgi.protocol import Credential
from tests.charge import bad_line, forgery
from tests.charge.bad_line import BadLine, Fault, Plan, shop_on_bad_line
from tests.shop import PRICE, SPONSOR, Payer, Shop, payment_middleware

PATHS = {"before": "/paid", "after": "/after"}
CALLS = {
    "sponsored": ("simulateTransaction", "getLedgerEntries", "sendTransaction", "getTransaction"),
    "unsponsored": ("simulateTransaction", "sendTransaction", "getTransaction"),
    "push": ("getTransaction",),
}
FOR_EVER = 10**6
LONG = 12
"""Requests, half a minute apart: longer than the challenge is good."""
MOST_REQUESTS = 2 * LONG


@dataclass(frozen=True)
class Case:
    mode: str
    settle: str
    method: str
    name: str
    fault: Fault

    def __str__(self) -> str:
        return f"{self.mode}, settled {self.settle}: {self.method} {self.name}"


def faults_of(method: str) -> dict[str, Fault]:
    faults = dict(bad_line.ANY_METHOD)
    if method == "sendTransaction":
        faults |= bad_line.SUBMITTING
    if method == "getTransaction":
        faults |= bad_line.LOOKING_UP
    return faults


def cases() -> Iterator[Case]:
    for mode, methods in CALLS.items():
        for settle in PATHS:
            for method in methods:
                for name, fault in faults_of(method).items():
                    yield Case(mode, settle, method, name, fault)


@dataclass
class Customer:
    """Shows one credential until there is an answer that ends it, and keeps the books."""

    shop: Shop
    line: BadLine
    payer: Payer
    path: str

    async def pay(self, mode: str, plan: Plan, *, heals_after: int) -> int:
        """Be served, or refused for good; returns the status."""
        earned = self.shop.earned()
        credential = self.payer.in_mode(mode, await self.shop.challenges(self.path))
        sequence = self.sponsor_sequence()
        self.line.follow(plan)
        status = await self._until_it_ends(credential, heals_after)
        self.heal()
        used = self.sponsor_sequence() - sequence
        if status == 200:
            assert self.shop.earned() == earned + PRICE
            assert used == (1 if mode == "sponsored" else 0)
            again = await self.shop.show(credential, self.path)
            assert (again.status_code, again.json()["type"].rpartition("/")[2]) == (
                402,
                "invalid-challenge",
            )
        else:
            assert mode != "push", "the money had moved"
            self.shop.sandbox.set_close_interval(60)
            self.shop.time.now += 600
            assert self.shop.earned() == earned, "the money moved after a refusal"
            assert self.sponsor_sequence() == sequence
            self.shop.sandbox.set_close_interval(1)
        return status

    async def _until_it_ends(self, credential: Credential, heals_after: int) -> int:
        for request in range(MOST_REQUESTS):
            if request == heals_after:
                self.heal()
            answer = await self.shop.show(credential, self.path)
            if answer.status_code == 402 and "show its hash, signed" in answer.text:
                transaction = forgery.hash_of(forgery.transaction_in(credential))
                credential = self.payer.signed_hash(credential.challenge, transaction)
                answer = await self.shop.show(credential, self.path)
            if answer.status_code in (200, 402):
                return int(answer.status_code)
            assert answer.status_code == 503, answer.text
            assert "payment-receipt" not in answer.headers
            assert "www-authenticate" not in answer.headers
            self.shop.time.now += max(1, int(answer.headers["retry-after"]))
            if heals_after > 1:
                self.shop.time.now += 30
        raise AssertionError(f"no end after {MOST_REQUESTS} requests")

    async def pay_anew(self, mode: str) -> None:
        """What was not paid can be paid, with a leave of its own."""
        offers = await self.shop.challenges(self.path)
        credential = self.payer.in_mode(mode, offers, nonce=8)
        assert (await self.shop.show(credential, self.path)).status_code == 200

    def heal(self) -> None:
        self.line.follow()
        self.shop.sandbox.thaw()

    def sponsor_sequence(self) -> int:
        return self.payer.sequence(SPONSOR)


@pytest.mark.parametrize("case", list(cases()), ids=str)
async def test_fault(case: Case) -> None:
    path = PATHS[case.settle]
    async with shop_on_bad_line(settle_seconds=2) as (shop, line):
        await Customer(shop, line, shop.payer(), path).pay_anew(case.mode)
        calls = line.calls.count(case.method)
        assert calls > 0
        plays = [(Plan(case.method, first, case.fault), 1) for first in {0, 1, calls - 1}]
        plays += [(Plan(case.method, 0, case.fault, FOR_EVER), heals) for heals in (1, LONG)]
        for number, (plan, heals_after) in enumerate(plays, 2):
            customer = Customer(shop, line, shop.payer(number), path)
            status = await customer.pay(case.mode, plan, heals_after=heals_after)
            if status != 200:
                # The only lines that end a payment: a refusal for long enough, and none at all;
                # and one that says that somebody else has sent what nobody has.
                is_others = (case.mode, case.name) == ("unsponsored", "DUPLICATE without effect")
                assert case.name == "ERROR" or heals_after == LONG or is_others
                await customer.pay_anew(case.mode)


class SlowPost:
    """A line that takes one submission without an answer, and delivers it so many ledgers later.

    Until then it refuses every other one.
    """

    def __init__(self, ledgers: int) -> None:
        self.ledgers = ledgers
        self.letter: dict[str, object] | None = None
        self.due = 0

    def send(self, line: BadLine, request: bad_line.Request) -> bad_line.Answer:
        if self.letter is None:
            self.letter, self.due = request, line.sandbox.sequence + self.ledgers
            raise ConnectionError
        return bad_line.SUBMITTING["ERROR"](line, request)

    def look(self, line: BadLine, request: bad_line.Request) -> bad_line.Answer:
        if self.letter is not None and line.sandbox.sequence >= self.due:
            line.sandbox.rpc(self.letter)
        return line.sandbox.rpc(request)


@pytest.mark.parametrize("mode", ["sponsored", "unsponsored"])
@pytest.mark.parametrize("ledgers", [0, 1, 3, 8, 30])
async def test_submission_that_arrives_when_it_was_given_up(mode: str, ledgers: int) -> None:
    """The worst answer is none: the payer must not be told to pay again while it is out there."""
    post = SlowPost(ledgers)
    async with shop_on_bad_line(settle_seconds=5) as (shop, line):
        credential = shop.payer().in_mode(mode, await shop.challenges())
        line.follow(
            Plan("sendTransaction", 0, post.send, FOR_EVER),
            Plan("getTransaction", 0, post.look, FOR_EVER),
        )
        for _ in range(20):
            answer = await shop.show(credential)
            if answer.status_code == 200:
                break
            assert answer.status_code == 503, answer.text
            shop.time.now += int(answer.headers["retry-after"])
        assert answer.status_code == 200
        assert (shop.earned(), shop.runs) == (PRICE, ["/paid"])


def silent_once_it_is_sent(line: BadLine, request: bad_line.Request) -> bad_line.Answer:
    if "sendTransaction" in line.calls:
        raise ConnectionError
    return line.sandbox.rpc(request)


@pytest.mark.parametrize("mode", ["sponsored", "unsponsored"])
async def test_node_that_was_made_anew_since_does_not_tell_what_was_before(mode: str) -> None:
    """After the transaction was included, and before its time limit: what it does not know of is
    not dropped. Another node, or the same when it is whole again, tells."""
    async with shop_on_bad_line(settle_seconds=2) as (shop, line):
        credential = shop.payer().in_mode(mode, await shop.challenges())
        line.follow(Plan("getTransaction", 0, silent_once_it_is_sent, FOR_EVER))
        assert (await shop.show(credential)).status_code == 503
        shop.time.now += 2
        assert shop.earned() == PRICE
        anew = int(shop.time.now) + 10
        line.follow(Plan("getTransaction", 0, bad_line.made_anew(anew), FOR_EVER))
        shop.time.now += 310
        house = payment_middleware(shop.app)._house
        assert house is not None
        await house._recovery.round()
        assert (await shop.show(credential)).status_code == 503
        line.follow()
        assert (await shop.show(credential)).status_code == 200
        assert (shop.earned(), shop.runs) == (PRICE, ["/paid"])


async def test_node_that_was_made_anew_since_does_not_tell_what_was_pushed_before() -> None:
    async with shop_on_bad_line() as (shop, line):
        credential = shop.payer().in_mode("push", await shop.challenges())
        anew = int(shop.time.now) + 1
        line.follow(Plan("getTransaction", 0, bad_line.made_anew(anew), FOR_EVER))
        assert (await shop.show(credential)).status_code == 503
        line.follow()
        assert (await shop.show(credential)).status_code == 200
