"""Whatever happens, in whatever order: nobody is served for nothing, nobody pays twice, and whoever
has paid is served in the end."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from mpp_asgi.heart import LIFE_SECONDS
from mpp_asgi.intents import FaultError, PendingError, RefusalError
from mpp_asgi.protocol import problems
from mpp_asgi.stores.contract import StoreUnavailableError
from tests.interleaving.processes import GOODS, ROUTES, Town
from tests.methods.stall import Visitor, payment

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from mpp_asgi.protocol import Challenge
    from tests.interleaving.processes import Asking

MOST_AT_ONCE = 4
TROUBLE = (
    *("we cannot now", "somebody is at it", "the store is away", "it is not good"),
    *("the client hangs up", "the server cancels it"),
)
MEANWHILE = (
    *(1, 9, 11, *[LIFE_SECONDS + 1] * 4, 310),
    *("fails before", "fails after", "dies", "restarts"),
)
CHANGES: dict[str, Any] = {
    "amount": {"request": "eyJhbW91bnQiOiIxIiwiY3VycmVuY3kiOiJVU0RDIn0"},
    "expiry": {"expires": "2100-01-01T00:00:00Z"},
    "id": {"id": "A" * 43},
    "realm": {"realm": "elsewhere.example"},
    "nonce": {"opaque": "eyJuIjoiMSJ9"},
    "method": {"method": "other"},
}
PLACES = st.integers(0, 1)
WHICH = st.integers(0, MOST_AT_ONCE - 1)


FAR = st.sampled_from([0, 1, 2, 3, 4, 5, 9, 9])
"""Steps; there are six to a request."""


def trouble_of(trouble: str, *, in_endpoint: bool) -> Exception:
    if in_endpoint:
        return RuntimeError(trouble)
    match trouble:
        case "we cannot now":
            return FaultError(trouble)
        case "somebody is at it":
            return PendingError()
        case "the store is away":
            return StoreUnavailableError(trouble)
    return RefusalError(problems.VERIFICATION_FAILED.because(trouble))


class History(RuleBasedStateMachine):
    """Two processes over one store.

    No rule has a precondition, so what is drawn does not depend on what came of the last step: a
    disk, and timers of the loop, take a time of their own.
    """

    issued = Bundle("issued")
    on_disk = False

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.town = Town(f"{self.folder.name}/store.db" if self.on_disk else None)
        self.routes: dict[str, str] = {}
        self.challenges: dict[str, Challenge] = {}
        self.shown: set[str] = set()
        self.excused: set[str] = set()
        """Delivered, and nobody could be told: if that process dies or is silent, these may be
        delivered again."""
        self.counted: set[Asking] = set()
        self.granted: Counter[str] = Counter()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    # What payers do

    @initialize(target=issued, routes=st.lists(st.sampled_from(ROUTES), min_size=1, max_size=3))
    def begin(self, routes: list[str]) -> Any:
        return multiple(*[self.issue(n % 2, route) for n, route in enumerate(routes)])

    def issue(self, where: int, route: str) -> str:
        challenge = self.run(self.town.challenge(self.town.processes[where], route))
        self.challenges[challenge.id], self.routes[challenge.id] = challenge, route
        return str(challenge.id)

    @rule(of=issued, where=PLACES, far=FAR)
    def pay(self, of: str, where: int, far: int) -> None:
        """Also again, also while it is at work."""
        if len(self.town.under_way) < MOST_AT_ONCE:
            self.run(self.town.go(self.shows(of, where), far))

    def shows(self, of: str, where: int) -> Asking:
        self.shown.add(of)
        process = self.town.processes[where]
        asking: Asking = self.run(self.town.ask(process, self.routes[of], self.challenges[of]))
        return asking

    @rule(of=issued, where=PLACES, how=st.sampled_from([*ROUTES, *CHANGES]))
    def cheat(self, of: str, where: int, how: str) -> None:
        """With a challenge that was changed, or is another route's."""
        changed = replace(self.challenges[of], **CHANGES.get(how, {}))
        route = how if how in ROUTES else self.routes[of]
        if (route, changed) == (self.routes[of], self.challenges[of]):
            return
        visitor = Visitor(self.town.processes[where].app)
        answer = self.run(visitor.get(route, headers=payment(changed)))
        assert answer.status in (400, 402)
        assert GOODS not in answer.body

    # What happens to them

    @rule(which=WHICH, of=issued, where=PLACES, far=FAR)
    def go_on(self, which: int, of: str, where: int, far: int) -> None:
        self.run(self.town.go(self.chosen(which, of, where), far + 1))

    @rule(which=WHICH, of=issued, where=PLACES, trouble=st.sampled_from(TROUBLE))
    def meet_trouble(self, which: int, of: str, where: int, trouble: str) -> None:
        asking = self.chosen(which, of, where)
        if trouble == "the client hangs up":
            asking.leave()
        elif trouble == "the server cancels it" and asking.task is not None:
            asking.task.cancel()
        else:
            asking.tell(trouble_of(trouble, in_endpoint=asking.at in ("run", "part")))
        self.run(self.town.calm())

    @rule(which=WHICH, of=issued, where=PLACES, far=FAR)
    def overtake(self, which: int, of: str, where: int, far: int) -> None:
        """A process is silent for too long, and its payer asks the other one."""
        slow = self.chosen(which, of, where)
        self.town.time.now += LIFE_SECONDS + 1
        is_first = slow.process is self.town.processes[0]
        asking = self.shows(str(slow.challenge.id), 1 if is_first else 0)
        self.run(self.town.go(asking, far))

    def chosen(self, which: int, of: str, where: int) -> Asking:
        """One of the requests under way, or else a new one."""
        under_way = self.town.under_way
        return under_way[which % len(under_way)] if under_way else self.shows(of, where)

    @rule(where=PLACES, what=st.sampled_from(MEANWHILE))
    def meanwhile(self, where: int, what: int | str) -> None:
        """Seconds pass, or something becomes of a process or of its next call of the store."""
        process = self.town.processes[where]
        if isinstance(what, int):
            self.town.time.now += what
        elif what == "dies":
            self.run(self.town.kill(where))
        elif process.cord is None:
            return
        elif what != "restarts":
            process.cord.fails = what.removeprefix("fails ")
        elif not any(each.process is process for each in self.town.under_way):
            process.cord.fails = None
            self.run(self.town.restart(where))

    # What holds

    @invariant()
    def books_are_right(self) -> None:
        for process in self.town.processes:
            if (book := process.book) is not None:
                self.excused |= book.unnoted.ids
        for asking in self.town.asking.values():
            if GOODS in asking.exchange.body if asking.exchange.messages else False:
                assert self.town.till.moves[asking.challenge.id] == 1, "served, and not paid"
            if asking.is_over and asking not in self.counted:
                self.counted.add(asking)
                self.count(asking)
        assert not self.town.till.charged_twice
        for charge, times in self.granted.items():
            assert times == 1 or charge in self.excused, "served twice"

    def count(self, asking: Asking) -> None:
        exchange = asking.exchange
        if not exchange.messages or not exchange.is_whole:
            return
        if exchange.status == 200:
            assert exchange.receipt is not None
            self.granted[str(asking.challenge.id)] += 1
        else:
            assert exchange.status in (402, 409, 500, 503), exchange
            assert GOODS not in exchange.body

    def teardown(self) -> None:
        try:
            self.run(self.settle())
        finally:
            with suppress(StoreUnavailableError):
                self.run(self.town.close())
            self.runner.close()
            self.folder.cleanup()

    async def settle(self) -> None:
        """Everything comes to its end, and then whoever has paid is served."""
        town = self.town
        for process in town.processes:
            if process.cord is not None:
                process.cord.fails = None
        while town.under_way:
            for asking in town.under_way:
                asking.is_free = True
                asking.tell()
            await town.calm()
        self.books_are_right()
        town.time.now += LIFE_SECONDS + 1
        for id_ in sorted(self.shown):
            await self.claim(id_)
        self.books_are_right()
        await self.forget()

    async def claim(self, id_: str) -> None:
        """Show a credential once more, when nothing stands in its way."""
        paid, had = self.town.till.moves[id_] == 1, self.granted[id_]
        challenge = self.challenges[id_]
        asking = await self.town.ask(
            self.town.processes[0], self.routes[id_], challenge, is_free=True
        )
        while not asking.is_over:
            await self.town.calm()
        expires = challenge.expires_at()
        assert expires is not None
        is_due = paid or self.town.time.now < expires.timestamp()
        if had and id_ not in self.excused:
            assert asking.exchange.status == 402
        elif is_due and not had:
            assert asking.exchange.status == 200, asking.exchange

    async def forget(self) -> None:
        """What the store has grows with what was paid, and all of it is forgotten in the end."""
        store = self.town.shared or self.town.processes[0].store
        if store is None:
            return
        now = int(self.town.time.now)
        kept = [each for each in self.challenges if await store.get(each) is not None]
        assert set(kept) <= self.shown
        while await store.purge(now=now + 10**8, limit=1_000):
            pass
        assert [each for each in self.challenges if await store.get(each) is not None] == []


class HistoryOnDisk(History):
    on_disk = True


IS_ELSEWHERE = os.environ.get("HYPOTHESIS_PROFILE") == "elsewhere"


def explore(machine: type[History], examples: int, steps: int) -> None:
    more = 10 if IS_ELSEWHERE else 1
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples * more,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_any_history_in_memory() -> None:
    explore(History, 60, 50)


def test_any_history_on_disk() -> None:
    explore(HistoryOnDisk, 12, 50)
