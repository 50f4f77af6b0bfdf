"""Whatever happens to streams, and in whatever order: what is spent is what was handed over."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.session.drawer import DEPOSIT, Drawer
from tests.session.stand import ENTRY, UNIT, Line, PatientTime, Stand, all_is_booked, open_stand

if TYPE_CHECKING:
    from pathlib import Path

    from mpp_asgi.protocol import Challenge

Step = tuple[str, int]
"""What happens, and with which of what there is, or how much of it."""

WHAT = ["listen", "give", "give", "give", "raise", "raise", "pay", "wait", "fail", "end"]
TO_A_LINE = ["hang up", "is closed", "slow", "fast"]
steps = st.lists(
    st.tuples(st.sampled_from(WHAT + TO_A_LINE), st.integers(0, 5)), min_size=3, max_size=25
)


class Story:
    """Listeners on one channel, and everything that may happen to them."""

    def __init__(self, stand: Stand, drawer: Drawer, challenge: Challenge) -> None:
        self.stand = stand
        self.drawer = drawer
        self.challenge = challenge
        self.lines: list[Line] = []
        self.requests: list[asyncio.Task[Any]] = []
        self.signed = 3 * ENTRY

    async def take(self, what: str, number: int) -> None:
        if what in TO_A_LINE:
            for line in self.lines[number % 3 :: 3]:
                self.do_to(line, what)
        else:
            self.do(what, number)
        for _ in range(number * 5):
            await asyncio.sleep(0)

    def do_to(self, line: Line, what: str) -> None:
        match what:
            case "hang up":
                line.hang_up()
            case "is closed":  # and nobody is told
                line.disconnected = True
            case _:
                line.hold(what == "slow")

    def do(self, what: str, number: int) -> None:
        match what:
            case "listen":
                voucher = self.drawer.voucher(self.challenge, self.signed)
                self.lines.append(self.stand.listen(voucher.to_header()))
            case "give":
                self.stand.source.give({"units": number})
            case "end":
                self.stand.source.end()
            case "fail":
                self.stand.source.end(RuntimeError("the source fails"))
            case "raise":
                self.signed = min(DEPOSIT, self.signed + number * UNIT)
                self.ask("HEAD")
            case "pay":
                self.ask("GET")
            case "wait":
                self.stand.time.pass_by(number * 5)

    def ask(self, method: str) -> None:
        path = "/tokens" if method == "HEAD" else "/paid"
        asking = self.drawer.pay(self.challenge, self.signed, path, method=method)
        self.requests.append(asyncio.ensure_future(asking))

    async def end(self) -> int:
        """Have everybody hang up; how many units they got, and what they paid besides."""
        for line in self.lines:
            line.hang_up()
        for line in self.lines:
            await line.end()
            if not line.task.cancelled():
                line.task.exception()  # of the source
        answers = await asyncio.gather(*self.requests)
        await all_is_booked(self.stand.shop)
        return sum(answer.status_code == 200 for answer in answers)

    @property
    def units(self) -> int:
        texts = [json.loads(text) for line in self.lines for text in line.texts]
        return sum(item["units"] for item in texts)


async def tell(told: list[Step], *, is_wrapped: bool) -> None:
    async with open_stand(is_wrapped=is_wrapped) as stand:
        drawer = await stand.drawer()
        story = Story(stand, drawer, await drawer.challenge("/tokens"))
        for what, number in told:
            await story.take(what, number)
        paid = await story.end()
        entered = sum(line.is_paid for line in story.lines)
        record = await drawer.record()
        assert record.spent == (paid + entered) * ENTRY + story.units * UNIT
        assert record.units == paid + entered + story.units
        assert record.spent <= record.accepted <= record.deposited


@settings(max_examples=150, deadline=None)
@given(told=steps, is_wrapped=st.booleans())
def test_every_sum_is_exact(told: list[Step], is_wrapped: bool) -> None:
    asyncio.run(tell(told, is_wrapped=is_wrapped))


async def test_a_voucher_that_another_worker_took_is_found(tmp_path: Path) -> None:
    time = PatientTime()
    store = f"sqlite:///{tmp_path}/store.db"
    async with (
        open_stand(time=time, store=store) as here,
        open_stand(time=time, store=store, sandbox=here.shop.sandbox) as there,
    ):
        drawer = await here.drawer()
        elsewhere = Drawer(there.shop, drawer.key, drawer.channel, drawer.funder)
        challenge = await drawer.challenge("/tokens")
        line = here.listen(drawer.voucher(challenge, ENTRY + UNIT).to_header())
        here.source.give("one", "two", "three")
        here.source.end()
        await line.hears(2)
        response = await elsewhere.pay(challenge, ENTRY + 3 * UNIT, "/tokens", method="HEAD")
        assert response.status_code == 204
        before = time.now
        while not line.task.done():
            time.pass_by(0.5)
            await asyncio.wait([line.task], timeout=0.05)
        assert time.now - before < 10
        assert line.texts == ["one", "two", "three"]
        assert line.is_whole
        record = await drawer.record()
        assert (record.spent, record.units) == (ENTRY + 3 * UNIT, 4)


async def test_listeners_at_two_workers_spend_one_channel_exactly(tmp_path: Path) -> None:
    time = PatientTime()
    store = f"sqlite:///{tmp_path}/store.db"
    async with (
        open_stand(time=time, store=store) as here,
        open_stand(time=time, store=store, sandbox=here.shop.sandbox) as there,
    ):
        drawer = await here.drawer()
        challenge = await drawer.challenge("/tokens")
        credential = drawer.voucher(challenge, 4 * ENTRY + 8 * UNIT).to_header()
        lines = [stand.listen(credential) for stand in (here, there) * 2]
        async with asyncio.timeout(30):
            for line in lines:
                await line.until(lambda line=line: line.is_paid)  # type: ignore[misc] # not inferred
            for stand in (here, there):
                stand.source.give(*[{"units": 1}] * 10)
            for line in lines:
                await line.until(lambda line=line: bool(line.asked()))  # type: ignore[misc] # as above
        for line in lines:
            line.hang_up()
            await line.end()
        for stand in (here, there):
            await all_is_booked(stand.shop)
        assert sum(len(line.texts) for line in lines) == 8
        record = await drawer.record()
        assert record.spent == record.accepted == 4 * ENTRY + 8 * UNIT
