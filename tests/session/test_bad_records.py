"""A record that nobody can make sense of costs itself its care, and the others nothing."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from mpp_asgi.charges import ChargeBook
from mpp_asgi.refunds import Refund
from mpp_asgi.stellar.settlement import SettlementPolicy
from mpp_asgi.stores.contract import Charge, State, StoreUnavailableError
from mpp_asgi.stores.memory.store import MemoryStore
from tests.methods.stores import StoreAround
from tests.session.watchtower import Harbour, Process, make_harbour

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SECRET = "what a log must not tell"


class Choking(StoreAround):
    """Chokes on one record, or whatever calls are named."""

    def __init__(self, store: Any) -> None:
        super().__init__(store)
        self.bad: set[tuple[str, object]] = set()
        """Calls, with their first argument."""

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        call = super().__getattr__(name)

        async def choke(*args: Any, **kwargs: Any) -> Any:
            if (name, args[0] if args else None) in self.bad:
                raise ValueError(SECRET)
            return await call(*args, **kwargs)

        return choke

    async def _call(self, name: str, operation: Callable[[], Awaitable[Any]]) -> Any:
        del name
        return await operation()


@pytest.fixture
def harbour() -> Harbour:
    return make_harbour()


async def closing(harbour: Harbour, process: Process) -> str:
    channel = await harbour.opened(process.store)
    await harbour.spend(process.store, channel, 30)
    harbour.close_start(channel)
    return channel


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    assert SECRET not in caplog.text
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR]


async def test_a_voucher_without_sense_keeps_no_other_from_being_settled(
    harbour: Harbour, caplog: pytest.LogCaptureFixture
) -> None:
    async with harbour.process() as process:
        bad, *good = sorted([await closing(harbour, process) for _ in range(3)])
        found = await process.store.channel(bad)
        assert found is not None
        harbour.memory._keep_channel(found._replace(signature="no hex", spent=31))
        report = await process.guardian.round()
        assert report is not None
        assert (report.settled, report.failed, report.put_off) == (2, 1, 1)
        assert [harbour.paid(each) for each in (bad, *good)] == [0, 30, 30]
    (line,) = lines(caplog)
    assert bad in line


@pytest.mark.parametrize("call", ["observe", "channel"])
@pytest.mark.parametrize("number", range(3))
async def test_a_record_that_the_store_chokes_on_keeps_no_other_from_being_settled(
    harbour: Harbour, call: str, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    stores: list[Choking] = []

    def around(store: Any) -> Choking:
        stores.append(Choking(store))
        return stores[-1]

    async with harbour.process(around=around) as process:
        channels = [await closing(harbour, process) for _ in range(3)]
        bad = channels.pop(number)
        stores[-1].bad = {(call, bad)}
        report = await process.guardian.round()
        assert report is not None
        assert (report.unread, report.settled) == (1, 2)
        assert [harbour.paid(each) for each in channels] == [30, 30]
    assert [bad in line for line in lines(caplog)] == [True]


@pytest.mark.parametrize("number", range(3))
async def test_an_address_that_is_none_hides_no_other_channel(
    harbour: Harbour, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    """They are asked about together."""
    async with harbour.process() as process:
        channels = [await closing(harbour, process) for _ in range(3)]
        found = await process.store.channel(channels[0])
        assert found is not None
        name = ["A", sorted(channels)[1] + "A", "Z"][number]
        await process.store.add_channel(found._replace(id=name))
        report = await process.guardian.round()
        assert report is not None
        assert (report.channels, report.unread, report.settled) == (4, 1, 3)
    assert [name in line for line in lines(caplog)] == [True]


async def test_what_is_noted_of_a_bad_record_keeps_no_other_from_being_settled(
    harbour: Harbour,
) -> None:
    stores: list[Choking] = []

    def around(store: Any) -> Choking:
        stores.append(Choking(store))
        return stores[-1]

    async with harbour.process(SettlementPolicy(amount=10), around=around) as process:
        await process.guardian.round()
        for number in range(2):
            channel = await harbour.opened(process.store)
            process.guardian.note(await harbour.spend(process.store, channel, 30 + number))
            if number == 0:
                stores[-1].bad = {("channel", channel)}
        await process.guardian._look_again()
        assert harbour.earned() == 31


# The book's chores


def book_on(store: Any) -> ChargeBook:
    async def sleep(seconds: float) -> None:
        del seconds
        await asyncio.sleep(0)

    return ChargeBook(store, owner="w", clock=lambda: 1_000.0, sleep=sleep)


def old_charge() -> Charge:
    return Charge("old", "c", State.CLAIMED, 10, "w")


@pytest.mark.parametrize("chore", ["unnoted", "refunds", "abandoned", "purge"])
async def test_one_chore_that_fails_keeps_no_other_from_being_done(
    chore: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = Choking(MemoryStore())
    book = book_on(store)
    await store.claim(old_charge(), (), now=0)
    book.unnoted.ids.add("noted")
    book.refunds._add(Refund("c", "e" * 15, 1, 1, certain=True))
    book.abandoned.add("left")
    calls = {
        "unnoted": ("get", "noted"),
        "refunds": ("give_back", "c"),
        "abandoned": ("get", "left"),
    }
    store.bad = {calls.get(chore, ("purge", None))}
    await book.tidy()
    done = {
        "unnoted": not book.unnoted.ids,
        "refunds": not book.refunds.owed,
        "abandoned": not book.abandoned,
        "purge": await store.get("old") is None,
    }
    assert [name for name, is_done in done.items() if not is_done] == [chore]
    assert len(lines(caplog)) == 1


@pytest.mark.parametrize("number", range(3))
async def test_a_channel_that_nothing_can_be_given_back_to_keeps_nothing_from_the_others(
    number: int, caplog: pytest.LogCaptureFixture
) -> None:
    store = Choking(MemoryStore())
    book = book_on(store)
    names = ["a", "b", "c"]
    for name in names:
        book.refunds._add(Refund(name, "e" * 15, 1, 1, certain=True))
    store.bad = {("give_back", names[number])}
    await book.refunds.settle_all()
    assert list(book.refunds.owed) == [names[number]]
    assert [f" {names[number]}" in line for line in lines(caplog)] == [True]
    store.bad = set()
    await book.refunds.settle_all()
    assert not book.refunds.owed


async def test_a_store_out_of_reach_ends_the_chores(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them need it."""
    book = book_on(MemoryStore())

    async def fail() -> None:
        raise StoreUnavailableError("the disk is full")

    monkeypatch.setattr(book.unnoted, "note", fail)
    with pytest.raises(StoreUnavailableError):
        await book.tidy()
