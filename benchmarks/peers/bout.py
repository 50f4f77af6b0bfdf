"""One attack on one seller, under way: what it asks, who pays, and what came of both."""

from __future__ import annotations

import asyncio
import time
from random import Random
from typing import TYPE_CHECKING, TypeVar

from benchmarks.peers.count import Count
from tests.attacks import goods
from tests.attacks.goods import Goods
from tests.attacks.wire import Answer, Fields, Wire, render

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from typing import TypedDict, Unpack

    from benchmarks.peers.sellers.seller import Demand, Proof, Purse, Seller
    from benchmarks.peers.trouble import Trouble

    class Asked(TypedDict, total=False):
        """The rest of a request."""

        method: str
        fields: Fields
        body: bytes | None


T = TypeVar("T")
TRIES = 4
"""How often somebody who is refused shows the same payment."""
PATIENCE = 30.0
"""For how many seconds somebody who is told to come back does so."""
BEGUN, ENDED = b"goods/breaking/", b"that was all"
"""What the stream that may break off begins with, and ends with."""
COME_BACK = (408, 409, 425, 429)


def is_whole(answer: Answer) -> bool:
    """Whether all of it arrived, and not just all that there was when its handler failed."""
    return answer.is_whole and (BEGUN not in answer.body or ENDED in answer.body)


class Bout:
    """What an attack has in its hands."""

    def __init__(self, seller: Seller, name: str, *, times: int, seed: int) -> None:
        self.seller = seller
        self.name = name
        self.times = times
        self.random = Random(f"{seed} {name}")
        self.count = Count()
        self.purses: list[Purse] = []
        self.is_troubled = False
        """Something is broken on purpose, so that any 5xx is an honest answer."""
        self.is_about_money = True
        """What is paid and not served counts."""
        self.has_paid = False
        """Somebody has agreed to pay in this attack."""
        self._tag = f"{name}/{seed}/{seller.name}".replace(" ", "-").encode("ascii", "replace")

    @property
    def wire(self) -> Wire:
        return self.seller.premises.wires[0]

    # Requests

    async def request(
        self,
        method: str,
        target: str,
        fields: Fields = (),
        body: bytes | None = None,
        *,
        payer: Purse | None = None,
        is_meant: bool = True,
        wire: Wire | None = None,
        is_fresh: bool = False,
    ) -> Answer:
        """Ask for something, and count what comes. ``payer`` says whose payment is shown;
        ``is_meant``, whether it is for this request."""
        raw = self.rendered(method, target, fields, body)
        answer = await (wire or self.wire).exchange(
            raw, is_head=method == "HEAD", is_fresh=is_fresh
        )
        self.judge(answer, f"{method} {target[:60]}", payer=payer, is_meant=is_meant)
        return answer

    def rendered(
        self, method: str, target: str, fields: Fields = (), body: bytes | None = None
    ) -> bytes:
        return render(method, target, [(goods.TAG, self._tag), *fields], body)

    def judge(
        self,
        answer: Answer,
        what: str,
        *,
        payer: Purse | None = None,
        is_meant: bool = True,
        may_be_silent: bool = False,
    ) -> None:
        """Count a request, what it brought, and what is wrong with it."""
        self.count.attempts += 1
        arrived = Goods.all_in(answer.body)
        if arrived and payer is None:
            self.count.leak(f"{what}: {answer.status}, and nobody paid", len(arrived))
        elif arrived and payer is not None and not is_whole(answer):
            payer.has_parts = True
        elif arrived and payer is not None:
            self.count.served += len(arrived)
            payer.served += sum(each.price for each in arrived)
            payer.prices += [each.price for each in arrived]
            if not is_meant:
                self.count.swap(f"{what}: {answer.status}", len(arrived))
            self._judge_paid(answer, what)
        self._judge_status(answer, what, may_be_silent=may_be_silent)

    def _judge_paid(self, answer: Answer, what: str) -> None:
        if not self.seller.has_succeeded(answer):
            self.count.soil(f"{what}: goods without a receipt")
        cached = answer.value("cache-control") or ""
        if "private" not in cached and "no-store" not in cached:
            self.count.soil(f"{what}: a shared cache may keep what was paid")

    def _judge_status(self, answer: Answer, what: str, *, may_be_silent: bool) -> None:
        status = answer.status
        if (status >= 500 or (status == 0 and not may_be_silent)) and not self.is_troubled:
            self.count.err(f"{what}: {status or 'no answer'} {answer.text[:80]}")
        if status == 402:
            if "no-store" not in (answer.value("cache-control") or ""):
                self.count.soil(f"{what}: a cache may keep the 402")
            fields = (self.seller.challenge, self.seller.receipt)
            if not any(answer.values(name) for name in fields):
                self.count.soil(f"{what}: a 402 that says nothing")
        if (
            status >= 400
            and not self.seller.is_told_on_errors
            and self.seller.has_succeeded(answer)
        ):
            self.count.soil(f"{what}: a receipt on a {status}")

    # Money

    async def purse(self, cents: int = 1) -> Purse:
        """Somebody new with so much."""
        name = f"{self.name} {len(self.purses)}"
        purse = await asyncio.to_thread(self.seller.purse, name, cents)
        self.purses.append(purse)
        return purse

    async def demand(self, path: str = "/paid", **asked: Unpack[Asked]) -> Demand:
        """What a request costs.

        Raises:
            AssertionError: nothing, or nobody says.
        """
        method, fields = asked.get("method", "GET"), asked.get("fields", ())
        answer = await self.request(method, path, fields, asked.get("body"))
        if answer.status != 402:
            raise AssertionError(f"{method} {path}: {answer.status} {answer.text[:200]}")
        return self.seller.demand(answer)

    async def pay(
        self, demand: Demand, purse: Purse, how: Callable[[Purse, Demand], Proof] | None = None
    ) -> Proof:
        """Agree to it."""
        purse.agreed += demand.amount
        self.has_paid = True
        return await asyncio.to_thread(how or self.seller.pay, purse, demand)

    async def proof(
        self, path: str = "/paid", *, purse: Purse | None = None, **asked: Unpack[Asked]
    ) -> Proof:
        """A good one for a request, of somebody new unless it is said whose."""
        demand = await self.demand(path, **asked)
        if purse is None:
            purse = await self.purse(-(-demand.amount // self.seller.cent))
        return await self.pay(demand, purse)

    async def proofs(self, count: int, path: str = "/paid") -> list[Proof]:
        """Of somebody each."""
        return [await self.proof(path) for _ in range(count)]

    async def show(
        self,
        proof: Proof,
        path: str = "/paid",
        *,
        is_meant: bool = True,
        wire: Wire | None = None,
        is_fresh: bool = False,
        **asked: Unpack[Asked],
    ) -> Answer:
        """Ask for something with it."""
        fields = [(proof.field, proof.value), *asked.get("fields", ())]
        return await self.request(
            asked.get("method", "GET"), path, fields, asked.get("body"),
            payer=proof.purse, is_meant=is_meant, wire=wire, is_fresh=is_fresh,
        )  # fmt: skip

    async def redeem(self, proof: Proof, path: str = "/paid", **asked: Unpack[Asked]) -> Answer:
        """Ask with it until it is served. Who is told to come back does so for half a minute, and
        who is refused asks a few more times."""
        refused, deadline = 0, time.monotonic() + PATIENCE
        while True:
            answer = await self.show(proof, path, **asked)
            if Goods.all_in(answer.body) and is_whole(answer):
                return answer
            refused += answer.status not in COME_BACK and 0 < answer.status < 500
            if refused == TRIES or time.monotonic() > deadline:
                return answer
            await asyncio.sleep(0.4)

    async def redeem_rest(
        self, proofs: Sequence[Proof], shown: Sequence[Answer], path: str = "/paid"
    ) -> None:
        """Redeem those that were not served yet."""
        await self.together(
            self.redeem(each, path)
            for each, answer in zip(proofs, shown, strict=True)
            if not (Goods.all_in(answer.body) and is_whole(answer))
        )

    async def together(self, requests: Iterable[Awaitable[T]], *, most: int = 32) -> list[T]:
        """Make them at the same time, but not more than so many."""
        room = asyncio.Semaphore(most)

        async def within(request: Awaitable[T]) -> T:
            async with room:
                return await request

        return list(await asyncio.gather(*map(within, requests)))

    # What goes wrong

    async def bring(self, trouble: Trouble, purse: Purse | None = None) -> None:
        self.is_troubled = True
        await asyncio.to_thread(self.seller.bring, trouble, purse)

    async def calm(self) -> None:
        await asyncio.to_thread(self.seller.calm)

    async def held(self, count: int = 1) -> None:
        """Wait until so many calls hang.

        Raises:
            TimeoutError: they do not.
        """
        async with asyncio.timeout(60):
            while await asyncio.to_thread(self.seller.held) < count:  # noqa: ASYNC110 # as below
                await asyncio.sleep(0.02)

    @staticmethod
    async def until(is_so: Callable[[], bool]) -> None:
        """Wait for something that another process brings about."""
        async with asyncio.timeout(60):
            while not is_so():  # noqa: ASYNC110 # nobody there could set an event
                await asyncio.sleep(0.02)

    # The end

    async def close_books(self) -> None:
        """Hold what arrived against what was paid, for each payer."""
        for purse in self.purses:
            left = await asyncio.to_thread(self.seller.left, purse)
            paid = purse.had - left - purse.elsewhere
            price = max(purse.prices, default=self.seller.cent)
            if purse.served > paid:
                count = -(-(purse.served - paid) // price)
                self.count.leak(f"served {purse.served}, paid {paid}", count)
            elif paid > purse.served and self.is_about_money:
                count = -(-(paid - purse.served) // min(purse.prices, default=paid))
                self.count.deny(f"paid {paid}, served {purse.served}", count)
            elif purse.has_parts and not paid:
                self.count.leak("a part arrived, and nothing was paid")
            if paid > purse.agreed:
                self.count.overcharge(f"paid {paid}, agreed to {purse.agreed}")
        made = self.seller.premises.made(self._tag.decode())
        if made and not self.has_paid and not self.count.leaked:
            self.count.run_free(f"{made[0]} was made, and no payment was shown", len(made))
