"""Any interleaving of what payers and sellers do to channels leaves every sum exact.

Two processes' worth of middleware share one store; the ledger is the sandbox's. After every step
the records, the ledger and a plain account of what was asked for have to agree to the base unit.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mpp_asgi import price
from mpp_asgi.intents import PendingError
from mpp_asgi.sandbox import Sandbox
from mpp_asgi.stellar.settlement import NothingToSettleError, settle_now
from mpp_asgi.stores.channels import ChannelStatus
from tests.session.drawer import CALL, DEPOSIT, Funder, open_session_shop, problem_of, till_of
from tests.shop import RECIPIENT, Time

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import Any

    import httpx

    from mpp_asgi.protocol import Challenge
    from tests.shop import Shop

PAYERS = 2
TOP_UP = 2 * CALL
MONEY = 10 * 10**7

which = st.integers(0, PAYERS - 1)
worker = st.integers(0, 1)
more = st.sampled_from([0, 0, CALL, CALL, CALL, 3 * CALL, 1, CALL - 1, -CALL, 20 * CALL])
"""By how much a voucher exceeds the one before."""


class Payer(Funder):
    """A funder at two processes, and what it should have."""

    def __init__(self, shops: list[Shop], number: int) -> None:
        super().__init__(shops[0], number)
        self.shops = shops
        self.deposited = self.accepted = self.spent = self.published = 0
        self.is_open = False

    async def at(self, worker: int, credential: Any, path: str = "/paid") -> httpx.Response:
        response: httpx.Response = await self.shops[worker].show(credential, path)
        return response

    def good_for(self, voucher: int) -> bool:
        """Whether it may be accepted."""
        return self.is_open and self.accepted <= voucher <= self.deposited

    def buys(self, voucher: int) -> bool:
        """Whether it pays for a call: everybody can read one that was settled off the ledger."""
        is_secret = voucher > self.published
        return self.good_for(voucher) and is_secret and voucher - self.spent >= CALL


class Accounting(RuleBasedStateMachine):
    """What may happen, in any order; the invariants are the test."""

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._open = AsyncExitStack()
        self._folder = TemporaryDirectory()

    def _run(self, work: Awaitable[Any]) -> Any:
        async def wait() -> Any:
            return await work

        return self._runner.run(wait())

    @initialize()
    def begin(self) -> None:
        self._run(self._begin())

    async def _begin(self) -> None:
        time = Time()
        self.sandbox = Sandbox(clock=time, close_interval=1.0)
        store = f"sqlite:///{Path(self._folder.name)}/store.db"
        self.shops = [
            await self._open.enter_async_context(
                open_session_shop(sandbox=self.sandbox, time=time, store=store)
            )
            for _ in range(2)
        ]
        for shop in self.shops:
            _add_a_route_that_fails(shop)
            await shop.challenges()
        self.payers = [Payer(self.shops, number + 1) for number in range(PAYERS)]
        self.challenge: Challenge = await self.payers[0].challenge()
        for payer in self.payers:
            answer = await payer.at(0, payer.open(self.challenge, CALL))
            assert answer.status_code == 200, answer.text
            payer.is_open, payer.deposited, payer.accepted, payer.spent = True, DEPOSIT, CALL, CALL

    def teardown(self) -> None:
        self._run(self._open.aclose())
        self._runner.close()
        self._folder.cleanup()

    # One thing at a time: what comes of it is known beforehand

    @rule(n=which, at=worker, more=more)
    def request(self, n: int, at: int, more: int) -> None:
        payer = self.payers[n]
        voucher = max(0, payer.accepted + more)
        answer = self._run(payer.at(at, payer.voucher(self.challenge, voucher)))
        if payer.good_for(voucher):
            payer.accepted = voucher
        if payer.buys(voucher):
            payer.spent += CALL
            assert answer.status_code == 200
        else:
            assert answer.status_code == (402 if payer.is_open else 410)

    @rule(n=which, at=worker, more=more)
    def request_that_fails(self, n: int, at: int, more: int) -> None:
        payer = self.payers[n]
        voucher = max(0, payer.accepted + more)
        answer = self._run(payer.at(at, payer.voucher(self.challenge, voucher), "/broken"))
        if payer.good_for(voucher):
            payer.accepted = voucher
        served = payer.buys(voucher)
        assert answer.status_code == (500 if served else 402 if payer.is_open else 410)

    @rule(n=which, at=worker)
    def settle(self, n: int, at: int) -> None:
        """On demand: the highest voucher, headroom and all."""
        before = self._run(self.payers[n].record())
        had = self._earned()
        self._run(self._settle(self.payers[n], at))
        settled = before.accepted if before.status is ChannelStatus.OPEN else before.settled
        assert self._earned() - had == settled - before.settled
        self.payers[n].published = self._run(self.payers[n].record()).published

    @rule(n=which, at=worker)
    def top_up(self, n: int, at: int) -> None:
        payer = self.payers[n]
        answer = self._run(payer.at(at, payer.top_up(self.challenge, TOP_UP)))
        if payer.is_open:
            payer.deposited += TOP_UP
        assert answer.status_code == (204 if payer.is_open else 410)

    @rule(n=which)
    def top_up_alone(self, n: int) -> None:
        """Nobody tells the server, who notices when it matters."""
        payer = self.payers[n]
        if payer.is_open:
            payer.top_up_alone(TOP_UP)
            payer.deposited += TOP_UP

    @rule(n=which, at=worker, off=st.sampled_from([0, 0, 0, 1, -1, CALL]))
    def close(self, n: int, at: int, off: int) -> None:
        payer = self.payers[n]
        closing = payer.voucher(self.challenge, max(0, payer.spent + off), action="close")
        answer = self._run(payer.at(at, closing))
        if not payer.is_open:
            assert answer.status_code == 410
        elif off:
            assert problem_of(answer) == (402, "verification-failed")
        else:
            assert answer.status_code == 204, answer.text
            payer.is_open = False

    # Many things at once: what comes of them is told by the answers

    @rule(
        n=which,
        raises=st.lists(st.tuples(worker, more), min_size=2, max_size=6),
        settles=st.booleans(),
        tops_up=st.booleans(),
        fails=st.integers(0, 2),
        closes=st.sampled_from([None, None, None, 0, CALL]),
    )
    def much_at_once(self, n: int, **happens: Any) -> None:
        self._run(self._much_at_once(self.payers[n], **happens))

    async def _much_at_once(
        self,
        payer: Payer,
        raises: list[tuple[int, int]],
        *,
        settles: bool,
        tops_up: bool,
        fails: int,
        closes: int | None,
    ) -> None:
        challenge = self.challenge
        if closes is not None:
            # A close is for what is spent by then, though it be given back, and a top-up may come
            # just after it: nothing but the payer's own haste, and its own loss or refund.
            fails, tops_up = 0, False
        vouchers = [max(0, payer.accepted + more) for _, more in raises]
        requests = [
            payer.at(at, payer.voucher(challenge, voucher), "/broken" if i < fails else "/paid")
            for i, ((at, _), voucher) in enumerate(zip(raises, vouchers, strict=True))
        ]
        others: list[Awaitable[Any]] = []
        if closes is not None:
            closing = payer.voucher(challenge, payer.spent + closes, action="close")
            others.append(payer.at(1, closing))
        if tops_up:
            others.append(payer.at(0, payer.top_up(challenge, TOP_UP)))
        if settles:
            others.append(self._settle(payer, 1))
        answers = [each for each in await asyncio.gather(*requests, *others) if each is not None]
        statuses = [answer.status_code for answer in answers[: len(requests)]]
        assert set(statuses) <= {200, 402, 410, 500}
        if tops_up and payer.is_open and answers[-1].status_code == 204:
            payer.deposited += TOP_UP
        if closes is not None and answers[len(requests)].status_code == 204:
            payer.is_open = False
        record = await payer.record()
        payer.published = record.published
        payer.spent += statuses.count(200) * CALL
        possible = {
            payer.accepted,
            *(v for v in vouchers if payer.accepted <= v <= payer.deposited),
        }
        assert record.accepted in possible
        payer.accepted = record.accepted

    async def _settle(self, payer: Payer, at: int) -> None:
        shop = self.shops[at]
        with suppress(NothingToSettleError, PendingError):
            await settle_now(shop.store, till_of(shop.app).cashier, payer.channel)

    # What always holds

    @invariant()
    def every_sum_is_exact(self) -> None:
        if hasattr(self, "challenge"):
            self._run(self._count())

    async def _count(self) -> None:
        self.sandbox.close_ledger()
        locked = earned = spent = 0
        for payer in self.payers:
            record = await payer.record()
            inside = self.sandbox.balance(payer.channel, self.sandbox.usdc)
            assert max(record.spent, record.settled) <= record.accepted
            assert (record.accepted, record.spent) == (payer.accepted, payer.spent)
            assert record.units * CALL == payer.spent
            if payer.is_open:
                assert record.accepted <= record.deposited <= payer.deposited
                assert inside == payer.deposited - record.settled
                assert payer.balance() == MONEY - payer.deposited
                earned += record.settled
            else:
                assert inside == 0
                paid = MONEY - payer.balance()
                assert paid == max(record.settled, payer.spent) == record.settled
                earned += paid
            locked += inside
            spent += payer.spent
        assert self._earned() == earned
        assert locked + self._earned() + sum(p.balance() for p in self.payers) == PAYERS * MONEY
        served = sum(len(shop.runs) for shop in self.shops)
        assert served * CALL == spent  # leaks = 0

    def _earned(self) -> int:
        return self.sandbox.balance(RECIPIENT.public_key, self.sandbox.usdc)


def _add_a_route_that_fails(shop: Shop) -> None:
    @shop.app.get("/broken")
    @price("0.01")
    async def broken() -> None:
        raise RuntimeError("it always fails")


Accounting.TestCase.settings = settings(max_examples=10, stateful_step_count=20, deadline=None)
TestAccounting = Accounting.TestCase
