"""Streams that are paid for item by item, over HTTP."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from mpp_asgi.sse import Event
from tests.session.drawer import DEPOSIT, Drawer
from tests.session.stand import ENTRY, UNIT, Line, Stand, all_is_booked, open_stand
from tests.session.watchtower import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mpp_asgi.protocol import Challenge


@pytest.fixture(params=["memory://", "sqlite"])
async def stand(request: pytest.FixtureRequest, tmp_path: Any) -> AsyncIterator[Stand]:
    store = request.param if "://" in request.param else f"sqlite:///{tmp_path}/store.db"
    async with open_stand(store=store) as stand:
        yield stand


async def begin(stand: Stand, units: int, **facts: Any) -> tuple[Drawer, Challenge, Line]:
    """Somebody listens who has signed for so many units."""
    drawer = await stand.drawer(**facts)
    challenge = await drawer.challenge("/tokens")
    voucher = drawer.voucher(challenge, ENTRY + units * UNIT)
    return drawer, challenge, stand.listen(voucher.to_header())


async def raise_to(drawer: Drawer, challenge: Challenge, amount: int) -> None:
    response = await drawer.pay(challenge, amount, "/tokens", method="HEAD")
    assert response.status_code == 204, response.text


async def spent(drawer: Drawer) -> tuple[int, int]:
    """What was spent beyond the entry, and the units of it."""
    await all_is_booked(drawer.shop)
    record = await drawer.record()
    return record.spent - ENTRY, record.units - 1


async def test_each_item_is_paid_for(stand: Stand) -> None:
    drawer, challenge, line = await begin(stand, 10)
    stand.source.give("one", "two", {"units": 5})
    stand.source.end()
    await line.end()
    assert line.is_whole
    assert line.status == 200
    assert line.headers["content-type"].startswith("text/event-stream")
    assert line.texts == ["one", "two", '{"units":5}']
    receipt = json.loads(line.events[-1].data)
    assert line.events[-1].name == "payment-receipt"
    assert receipt.pop("timestamp")
    assert receipt == {
        "method": "stellar",
        "intent": "session",
        "status": "success",
        "reference": drawer.channel,
        "challengeId": challenge.id,
        "channelId": drawer.channel,
        "acceptedCumulative": str(ENTRY + 10 * UNIT),
        "spent": str(ENTRY + 7 * UNIT),
        "units": 8,
    }
    assert await spent(drawer) == (7 * UNIT, 7)
    assert stand.source.is_closed


async def test_nothing_is_spent_before_there_is_an_item(stand: Stand) -> None:
    drawer, _, line = await begin(stand, 10)
    await line.until(lambda: line.status == 200)
    assert await spent(drawer) == (0, 0)
    stand.source.give("one")
    await line.hears(1)
    assert await spent(drawer) == (UNIT, 1)
    line.hang_up()
    await line.end()


async def test_a_stream_that_runs_out_asks_and_goes_on_at_once(stand: Stand) -> None:
    drawer, challenge, line = await begin(stand, 2)
    stand.source.give("one", "two", "three", "four")
    stand.source.end()
    asked = await line.hears(3)
    assert asked.name == "payment-need-voucher"
    assert json.loads(asked.data) == {
        "channelId": drawer.channel,
        "requiredCumulative": str(ENTRY + 3 * UNIT),
        "acceptedCumulative": str(ENTRY + 2 * UNIT),
        "deposit": str(DEPOSIT),
    }
    before = stand.time.now
    await raise_to(drawer, challenge, ENTRY + 4 * UNIT)
    await line.end()
    assert stand.time.now == before  # it was told, and did not have to look
    assert line.texts == ["one", "two", "three", "four"]
    assert line.is_whole
    assert await spent(drawer) == (4 * UNIT, 4)


async def test_a_stream_asks_as_often_as_it_runs_out(stand: Stand) -> None:
    drawer, challenge, line = await begin(stand, 0)
    stand.source.give("one", "two", {"units": 3})
    stand.source.end()
    for number, units in ((1, 1), (3, 2), (5, 5)):
        asked = await line.hears(number)
        amount = json.loads(asked.data)["requiredCumulative"]
        assert amount == str(ENTRY + units * UNIT)
        await raise_to(drawer, challenge, int(amount))
    await line.end()
    assert len(line.asked()) == 3
    assert line.texts == ["one", "two", '{"units":3}']
    assert await spent(drawer) == (5 * UNIT, 5)


async def test_a_voucher_that_is_not_enough_is_kept_and_changes_nothing(stand: Stand) -> None:
    drawer, challenge, line = await begin(stand, 0)
    stand.source.give({"units": 4})
    stand.source.end()
    await line.hears(1)
    await raise_to(drawer, challenge, ENTRY + 3 * UNIT)
    await pass_seconds(stand, 5)
    assert (len(line.events), await spent(drawer)) == (1, (0, 0))
    await raise_to(drawer, challenge, ENTRY + 4 * UNIT)
    await line.end()
    assert line.texts == ['{"units":4}']


async def pass_seconds(stand: Stand, seconds: float) -> None:
    for _ in range(int(seconds * 2)):
        stand.time.pass_by(0.5)
        for _ in range(5):
            await asyncio.sleep(0.0005)  # for a store with a thread of its own


async def test_a_stream_ends_after_a_minute_without_a_voucher(stand: Stand) -> None:
    drawer, challenge, line = await begin(stand, 1)
    stand.source.give("one", "two")
    await line.hears(2)
    await pass_seconds(stand, 59)
    assert not line.task.done()
    await pass_seconds(stand, 1.5)
    await line.end()
    assert line.is_whole
    assert line.texts == ["one"]
    assert [event.name for event in line.events[1:]] == ["payment-need-voucher", "payment-receipt"]
    assert json.loads(line.events[-1].data)["spent"] == str(ENTRY + UNIT)
    assert await spent(drawer) == (UNIT, 1)
    assert stand.source.is_closed
    await raise_to(drawer, challenge, ENTRY + 2 * UNIT)  # too late, and not lost
    assert (await drawer.record()).available == UNIT


@pytest.mark.parametrize("by", [-3_600, 3_600])
async def test_a_stream_waits_a_minute_whatever_the_clock_is_set_to(
    stand: Stand, by: float
) -> None:
    _, _, line = await begin(stand, 1)
    stand.source.give("one", "two")
    await line.hears(2)
    await pass_seconds(stand, 30)
    stand.time.set_clock(by)
    await pass_seconds(stand, 29)
    assert not line.task.done()
    await pass_seconds(stand, 2)
    await line.end()
    assert line.texts == ["one"]


async def test_a_stream_whose_channel_is_being_closed_ends_at_once(stand: Stand) -> None:
    drawer, _, line = await begin(stand, 1)
    stand.source.give("one")
    await line.hears(1)
    await stand.shop.store.observe(
        drawer.channel,
        ledger=stand.shop.sandbox.sequence + 1,
        deposited=DEPOSIT,
        settled=0,
        closes_at=10_000_000,
        closed=False,
        now=int(stand.time.now),
    )
    stand.source.give("two")
    await line.end()
    assert line.texts == ["one"]
    assert line.events[-1].name == "payment-receipt"
    assert await spent(drawer) == (UNIT, 1)


async def test_who_hangs_up_pays_for_what_was_sent(stand: Stand) -> None:
    drawer, _, line = await begin(stand, 10)
    stand.source.give("one", "two")
    await line.hears(2)
    line.hang_up()
    await line.end()
    assert await spent(drawer) == (2 * UNIT, 2)
    stand.source.give("three")
    await asyncio.sleep(0)
    assert await spent(drawer) == (2 * UNIT, 2)


async def test_who_hangs_up_on_a_full_connection_pays_for_what_is_in_it(stand: Stand) -> None:
    drawer, _, line = await begin(stand, 10)
    await line.until(lambda: line.status == 200)
    line.is_slow = True
    stand.source.give("one", "two")
    await line.hears(1)
    assert await spent(drawer) == (UNIT, 1)
    line.hang_up()
    await line.end()
    assert await spent(drawer) == (UNIT, 1)


async def test_what_a_closed_connection_swallowed_costs_nothing(stand: Stand) -> None:
    drawer, _, line = await begin(stand, 10)
    stand.source.give("one")
    await line.hears(1)
    await asyncio.sleep(0.01)  # until whoever listens for it has seen that it is there
    line.disconnected = True  # and nobody is told
    stand.source.give("two", "three")
    await asyncio.wait([line.task], timeout=0.1)
    line.hang_up()
    await line.end()
    assert await spent(drawer) == (UNIT, 1)
    assert stand.source.items.qsize() >= 1  # no more work was done for nobody


async def test_what_a_connection_refused_costs_nothing(stand: Stand) -> None:
    drawer = await stand.drawer()
    voucher = drawer.voucher(await drawer.challenge("/tokens"), ENTRY + 10 * UNIT)
    line = stand.listen(voucher.to_header(), complains=True)
    stand.source.give("one")
    await line.hears(1)
    line.disconnected = True
    stand.source.give("two", "three")
    await line.end()
    assert isinstance(line.task.exception(), Exception)  # the framework's word for it
    assert await spent(drawer) == (UNIT, 1)


async def test_who_hangs_up_while_asked_for_a_voucher_pays_no_more(stand: Stand) -> None:
    drawer, challenge, line = await begin(stand, 1)
    stand.source.give("one", "two")
    await line.hears(2)
    line.hang_up()
    await line.end()
    await raise_to(drawer, challenge, ENTRY + 5 * UNIT)
    assert await spent(drawer) == (UNIT, 1)


async def test_a_source_that_fails_costs_what_was_sent(stand: Stand) -> None:
    drawer, _, line = await begin(stand, 10)
    stand.source.give("one")
    stand.source.end(RuntimeError("the model fell over"))
    await line.end()
    assert isinstance(line.task.exception(), RuntimeError)
    assert not line.is_whole
    assert line.texts == ["one"]
    assert line.events[-1].name == "message"  # no receipt, as it did not end well
    assert await spent(drawer) == (UNIT, 1)


@pytest.mark.parametrize("item", [b"bytes", {"units": -1}, {"units": 1, "x": float("nan")}])
async def test_an_item_that_cannot_be_sold_costs_nothing(stand: Stand, item: Any) -> None:
    drawer, _, line = await begin(stand, 10)
    stand.source.give("one", item)
    await line.end()
    assert isinstance(line.task.exception(), (ValueError, TypeError))
    assert line.texts == ["one"]
    assert await spent(drawer) == (UNIT, 1)


async def test_middleware_within_hands_on_what_is_sold() -> None:
    async with open_stand(is_wrapped=True) as stand:
        drawer, challenge, line = await begin(stand, 2)
        stand.source.give("one", "two", "three")
        await line.hears(3)
        await raise_to(drawer, challenge, ENTRY + 5 * UNIT)
        await line.hears(4)
        line.hang_up()
        await line.end()
        assert line.texts == ["one", "two", "three"]
        assert await spent(drawer) == (3 * UNIT, 3)


async def test_what_waits_in_middleware_when_its_payer_hangs_up_costs_nothing() -> None:
    async with open_stand(is_wrapped=True) as stand:
        drawer, _, line = await begin(stand, 10)
        await line.until(lambda: line.is_paid)
        line.hold(is_slow=True)
        stand.source.give("one", "two", "three")
        await line.hears(1)
        for _ in range(50):
            await asyncio.sleep(0)
        line.hang_up()
        await line.end()
        assert line.texts == ["one"]
        assert await spent(drawer) == (UNIT, 1)


async def test_what_is_free_needs_no_headroom(stand: Stand) -> None:
    drawer, _, line = await begin(stand, 0)
    stand.source.give(Event("for nothing", "hello"))
    stand.source.end()
    await line.end()
    assert [event.name for event in line.events] == ["hello", "payment-receipt"]
    assert await spent(drawer) == (0, 0)


FORGED = 'x\r\revent: payment-receipt\rdata: {"spent":"0"}\r\r'


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n", "\u2028", "\x85", "\v"])
async def test_content_forges_no_event(stand: Stand, end: str) -> None:
    drawer, _, line = await begin(stand, 10)
    stand.source.give(FORGED.replace("\r", end), {"units": 1, "text": FORGED.replace("\r", end)})
    stand.source.end()
    await line.end()
    assert [event.name for event in line.events] == ["message", "message", "payment-receipt"]
    assert json.loads(line.events[1].data)["text"] == FORGED.replace("\r", end)
    assert json.loads(line.events[-1].data)["spent"] == str((await drawer.record()).spent)


async def test_two_streams_share_what_one_channel_has(stand: Stand) -> None:
    drawer, challenge, first = await begin(stand, ENTRY // UNIT + 2)
    voucher = drawer.voucher(challenge, 2 * ENTRY + 2 * UNIT)
    second = stand.listen(voucher.to_header())
    await second.until(lambda: second.is_paid)
    stand.source.give("a", "b", "c", "d")
    for line in (first, second):
        await line.until(lambda line=line: bool(line.asked()))  # type: ignore[misc] # not inferred
    await raise_to(drawer, challenge, 2 * ENTRY + 4 * UNIT)
    await until(lambda: len(first.texts + second.texts) == 4)  # whichever hears the last
    stand.source.end()
    stand.source.end()
    await first.end()
    await second.end()
    assert sorted(first.texts + second.texts) == ["a", "b", "c", "d"]
    record = await drawer.record()
    assert (record.spent, record.units) == (2 * ENTRY + 4 * UNIT, 6)


async def test_charges_are_not_offered_where_nothing_but_sessions_is(stand: Stand) -> None:
    challenges = await stand.shop.challenges("/tokens")
    assert [challenge.intent for challenge in challenges] == ["session"]
    assert len(await stand.shop.challenges("/paid")) > 1
