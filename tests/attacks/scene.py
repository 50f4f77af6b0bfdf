"""One attack under way: the requests it makes, the money it has, and what came of both."""

from __future__ import annotations

import asyncio
import enum
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from mpp_asgi.protocol import Challenge, Credential
from tests.attacks import goods
from tests.attacks.goods import Goods
from tests.attacks.market import Market
from tests.attacks.tally import Tally
from tests.attacks.wire import NOTHING, SWITCHING, Answer, Fields, render

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from tests.attacks.ground import Ground
    from tests.shop import Payer

T = TypeVar("T")

TRIES = 60
"""How often somebody who has paid asks again when told to come back."""


class Wants(enum.Enum):
    """What has to come of a request."""

    REFUSED = "nothing of the goods"
    EITHER = "what the books say in the end"


class Scene:
    """What an attack has in its hands."""

    def __init__(
        self, ground: Ground, name: str, *, seed: int, times: int, is_short: bool = False
    ) -> None:
        self.ground = ground
        self.name = name
        self.seed = seed
        self.times = times
        self.is_short = is_short
        self.random = Random(f"{seed} {name}")
        self.tally = Tally()
        self.purses: dict[str, int] = {}
        """The USDC that each payer began with, by address."""
        self.channels: set[str] = set()
        """What is in these is nobody's yet."""
        self.granted: list[Goods] = []
        """What arrived, each time that it did, and was not forbidden to."""
        self.is_troubled = False
        """Something is broken on purpose: 503 with Retry-After is what is promised then."""
        self.market = Market(self)
        self._tag = f"{name}/{seed}".replace(" ", "-").encode("ascii", "replace").decode()

    # Requests

    async def request(
        self,
        method: str,
        target: str,
        fields: Fields = (),
        body: bytes | None = None,
        *,
        wants: Wants = Wants.EITHER,
        host: int = 0,
        is_fresh: bool = False,
    ) -> Answer:
        """Ask for something. ``host`` says which of the servers: any number will do."""
        raw = render(method, target, [(goods.TAG, self._tag), *fields], body)
        wire = self.ground.wires[host % len(self.ground.wires)]
        answer = await wire.exchange(raw, is_head=method == "HEAD", is_fresh=is_fresh)
        self.judge(answer, wants, f"{method} {target[:80]}")
        return answer

    async def raw(self, request: bytes, *, wants: Wants = Wants.REFUSED) -> Answer:
        """Send bytes, whatever they are."""
        answer = await self.ground.wires[0].exchange(request, is_fresh=True)
        self.judge(answer, wants, repr(request[:60]), may_be_silent=True)
        return answer

    def rendered(
        self, method: str, target: str, fields: Fields = (), body: bytes | None = None
    ) -> bytes:
        return render(method, target, [(goods.TAG, self._tag), *fields], body)

    def judge(
        self, answer: Answer, wants: Wants, what: str, *, may_be_silent: bool = False
    ) -> None:
        """Count a request and what is wrong with what came of it."""
        tally = self.tally
        tally.attempts += 1
        arrived = Goods.all_in(answer.body)
        arrived += [each for _, text in answer.fields for each in Goods.all_in(text.encode())]
        if arrived and wants is Wants.REFUSED:
            tally.leak(f"{what}: {answer.status}", len(arrived))
        elif arrived:
            self.granted += arrived
            if answer.value("payment-receipt") is None:
                tally.leak(f"{what}: goods without a receipt")
            elif answer.status != SWITCHING and "private" not in (
                answer.value("cache-control") or ""
            ):
                tally.leak(f"{what}: a shared cache may keep it")
        self._judge_status(answer, what, may_be_silent=may_be_silent)

    def _judge_status(self, answer: Answer, what: str, *, may_be_silent: bool) -> None:
        tally, status = self.tally, answer.status
        if status >= 500:
            if self.is_troubled and (status == 500 or answer.value("retry-after") is not None):
                tally.promised += 1
            else:
                tally.err(f"{what}: {status} {answer.text[:120]}")
        elif status == 0 and not may_be_silent:
            if self.is_troubled:
                tally.promised += 1
            else:
                tally.err(f"{what}: no answer {answer.text}")
        elif status == 402:
            if "no-store" not in (answer.value("cache-control") or ""):
                tally.err(f"{what}: a cache may keep the 402")
            if not answer.values("www-authenticate"):
                tally.err(f"{what}: a 402 without a challenge")
        if status >= 400 and answer.value("payment-receipt") is not None:
            tally.err(f"{what}: a receipt on a {status}")

    async def challenges(
        self,
        path: str = "/paid",
        *,
        method: str = "GET",
        fields: Fields = (),
        body: bytes | None = None,
        host: int = 0,
        **_: Any,
    ) -> list[Challenge]:
        """The challenges for a request: sponsored, unsponsored, session."""
        answer = await self.request(method, path, fields, body, wants=Wants.REFUSED, host=host)
        if answer.status != 402:
            raise AssertionError(f"{method} {path}: {answer.status} {answer.text[:200]}")
        return Challenge.all_from_headers(answer.values("www-authenticate"))

    async def show(
        self,
        credential: Credential | str | bytes,
        path: str = "/paid",
        *,
        method: str = "GET",
        fields: Fields = (),
        body: bytes | None = None,
        wants: Wants = Wants.EITHER,
        host: int = 0,
        carrier: str = "Authorization",
        is_fresh: bool = False,
        **_: Any,
    ) -> Answer:
        """Ask for something with a credential."""
        value = credential.to_header() if isinstance(credential, Credential) else credential
        shown = [(carrier, value), *fields]
        return await self.request(
            method, path, shown, body, wants=wants, host=host, is_fresh=is_fresh
        )

    async def refused(
        self, credential: Credential | str | bytes, path: str = "/paid", **request: Any
    ) -> Answer:
        return await self.show(credential, path, wants=Wants.REFUSED, **request)

    async def redeem(
        self, credential: Credential | str, path: str = "/paid", **request: Any
    ) -> Answer:
        """Ask with a good credential as whoever has paid does: until it is served. Whoever is told
        to pay anew is denied what it has paid for."""
        answer = NOTHING
        for _ in range(TRIES):
            answer = await self.show(credential, path, **request)
            if Goods.all_in(answer.body) and answer.is_whole:
                return answer
            if answer.status in (402, 400, 404):
                break
            await asyncio.sleep(0.5)
        self.tally.deny(f"{path}: {answer.status} {answer.slug} {answer.text[:160]}")
        return answer

    async def redeem_rest(
        self,
        credentials: Sequence[Credential | str],
        shown: Sequence[Answer],
        path: str = "/paid",
        **request: Any,
    ) -> None:
        """Redeem those that were shown and not served yet; then none of them is good any more."""
        await self.together(
            self.redeem(each, path, **request)
            for each, answer in zip(credentials, shown, strict=True)
            if not (Goods.all_in(answer.body) and answer.is_whole)
        )
        await self.together(self.refused(each, path, **request) for each in credentials)

    async def together(self, requests: Iterable[Awaitable[T]], *, most: int = 32) -> list[T]:
        """Make them at the same time, but not more than so many."""
        room = asyncio.Semaphore(most)

        async def within(request: Awaitable[T]) -> T:
            async with room:
                return await request

        return list(await asyncio.gather(*map(within, requests)))

    @staticmethod
    async def until(is_so: Callable[[], bool]) -> None:
        """Wait for something that another thread or process brings about."""
        async with asyncio.timeout(60):
            while not is_so():  # noqa: ASYNC110 # nobody there could set an event
                await asyncio.sleep(0.02)

    # Money

    async def by_hand(self, work: Callable[[], T]) -> T:
        """Do in a thread what blocks."""
        return await asyncio.to_thread(work)

    async def payer(self, number: int = 1, *, usdc: str = "10") -> Payer:
        return await self.by_hand(lambda: self.market.payer(number, usdc=usdc))

    async def sponsored(
        self, path: str = "/paid", *, payer: Payer | None = None, **request: Any
    ) -> Credential:
        """A good credential for a request."""
        payer = payer or await self.payer()
        challenge, *_ = await self.challenges(path, **request)
        nonce = self.random.getrandbits(62)
        return await self.by_hand(lambda: payer.sponsored(challenge, nonce=nonce))

    async def in_mode(
        self, mode: str, path: str = "/paid", *, payer: Payer | None = None, **request: Any
    ) -> Credential:
        """A good credential in one of the three ways."""
        payer = payer or await self.payer()
        if mode == "sponsored":
            return await self.sponsored(path, payer=payer, **request)
        challenges = await self.challenges(path, **request)
        return await self.by_hand(lambda: payer.in_mode(mode, challenges))

    async def paid(self) -> int:
        """What the payers of this attack have less than they had, in base units, except for what
        lies in channels."""
        return await self.by_hand(self._paid)

    def _paid(self) -> int:
        node = self.ground.node
        left = sum(node.balance(address, node.usdc) for address in self.purses)
        held = sum(node.held_by_contract(channel) for channel in self.channels)
        return sum(self.purses.values()) - left - held

    async def close_books(self, *, exact: bool) -> None:
        """Hold what was served against what was paid."""
        paid = await self.paid()
        self.tally.granted = len(self.granted)
        served = sum(each.price for each in self.granted)
        if served > paid:
            dearest = max(each.price for each in self.granted)
            self.tally.leak(f"served {served}, paid {paid}", -(-(served - paid) // dearest))
        if exact and paid > served:
            cheapest = min((each.price for each in self.granted), default=paid - served)
            self.tally.overcharge(f"served {served}, paid {paid}", -(-(paid - served) // cheapest))
        made = [each for each in self.ground.made(self._tag) if "after" not in each.route]
        if made and not paid and not self.tally.leaked:
            self.tally.leak(f"{made[0]} was made, and nobody had paid", len(made))
