"""The book of charges: turns, heartbeats, and what is written late."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mpp_asgi import charges
from mpp_asgi.charges import ChargeBook, Turn
from mpp_asgi.intents import PendingError, RefusalError
from mpp_asgi.stores.contract import Charge, OwnershipLostError, State, StoreUnavailableError
from mpp_asgi.stores.memory import MemoryStore
from tests.methods.stall import Time
from tests.methods.stores import FailingStore

ID = "a challenge"


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def store() -> FailingStore:
    return FailingStore(MemoryStore())


@pytest.fixture
def book(store: FailingStore, time: Time) -> ChargeBook:
    return ChargeBook(store, owner="here", clock=time, sleep=time.sleep)  # type: ignore[arg-type]


@pytest.fixture
def elsewhere(store: FailingStore, time: Time) -> ChargeBook:
    """Another process on the same store."""
    return ChargeBook(store, owner="elsewhere", clock=time, sleep=time.sleep)  # type: ignore[arg-type]


async def claimed(book: ChargeBook, credential: str = "c", **options: Any) -> Turn:
    turn = await book.turn(ID)
    await turn.claim(credential, options.get("proofs", ()), keep_until=int(book.clock()) + 1000)
    return turn


async def settled(book: ChargeBook) -> Turn:
    turn = await claimed(book)
    await turn.submitted(reference="r", envelope="e", valid_until=0, payer="p", proofs=())
    await turn.settled(receipt="r", payer="p", reference="r", keep_until=int(book.clock()) + 1000)
    return turn


async def record(book: ChargeBook) -> Charge | None:
    return await book.store.get(ID)


def fail_from_now_on(store: FailingStore, *, times: int = 10_000) -> None:
    store.fail_at = range(len(store.calls), len(store.calls) + times)


async def test_what_was_only_claimed_is_forgotten(book: ChargeBook) -> None:
    turn = await claimed(book, proofs=["one"])
    await turn.end()
    assert await record(book) is None
    await claimed(book, "another credential", proofs=["one"])


async def test_what_was_submitted_waits_for_the_next(
    book: ChargeBook, elsewhere: ChargeBook
) -> None:
    turn = await claimed(book)
    await turn.submitted(reference="r", envelope="e", valid_until=9, payer="p", proofs=["tx"])
    await turn.end()
    again = await elsewhere.turn(ID)
    charge = await again.claim("c", (), keep_until=0)
    assert (charge.state, charge.reference, charge.envelope) == (State.SUBMITTED, "r", "e")


async def test_what_was_withdrawn_may_begin_again(book: ChargeBook) -> None:
    turn = await claimed(book)
    await turn.submitted(reference="r", envelope="e", valid_until=9, payer="p", proofs=["tx"])
    await turn.withdrawn()
    await turn.submitted(reference="s", envelope="f", valid_until=9, payer="p", proofs=["ty"])
    charge = await record(book)
    assert charge is not None
    assert (charge.state, charge.reference) == (State.SUBMITTED, "s")


@pytest.mark.parametrize(
    ("end", "slug"), [("delivered", "invalid-challenge"), ("failed", "settlement-failed")]
)
async def test_what_is_over_is_refused(end: str, slug: str, book: ChargeBook) -> None:
    turn = await settled(book)
    await (turn.delivered() if end == "delivered" else turn.failed("settlement-failed"))
    await turn.end()  # does nothing any more
    for ask in (
        lambda turn: turn.find(),
        lambda turn: turn.claim("c", (), keep_until=0),
    ):
        next_turn = await book.turn(ID)
        with pytest.raises(RefusalError) as refused:
            await ask(next_turn)
        assert refused.value.problem.slug == slug
        await next_turn.end()


async def test_a_proof_that_turns_up_at_another_challenge_submits_nothing(
    book: ChargeBook,
) -> None:
    other = await book.turn("another challenge")
    await other.claim("c", ["tx"], keep_until=int(book.clock()) + 1000)
    turn = await claimed(book)
    with pytest.raises(RefusalError) as refused:
        await turn.submitted(reference="r", envelope="e", valid_until=9, payer="p", proofs=["tx"])
    assert refused.value.problem.slug == "invalid-challenge"
    charge = await record(book)
    assert charge is not None
    assert charge.state is State.CLAIMED


async def test_a_charge_that_was_taken_over_is_left_alone(
    book: ChargeBook, elsewhere: ChargeBook, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    turn = await claimed(book)
    time.now += charges.LIFE_SECONDS
    await claimed(elsewhere)
    with pytest.raises(OwnershipLostError):
        await turn.submitted(reference="r", envelope="e", valid_until=9, payer="p", proofs=())
    await turn.end()
    charge = await record(book)
    assert charge is not None
    assert charge.owner == "elsewhere"
    assert caplog.records == []


async def test_nothing_is_written_without_a_claim(book: ChargeBook) -> None:
    turn = await book.turn(ID)
    with pytest.raises(OwnershipLostError):
        await turn.settled(receipt="r", payer="p", reference="r", keep_until=0)
    await turn.end()


# Turns


async def test_turns_come_in_order(book: ChargeBook) -> None:
    order: list[int] = []

    async def visit(n: int) -> None:
        turn = await book.turn(ID)
        order.append(n)
        await asyncio.sleep(0)
        await turn.end()

    await asyncio.gather(*(visit(n) for n in range(10)))
    assert order == list(range(10))
    assert book._queues == {}


async def test_other_challenges_do_not_wait(book: ChargeBook) -> None:
    await book.turn(ID)
    async with asyncio.timeout(1):
        await book.turn("another challenge")


async def test_a_turn_that_comes_as_its_waiter_leaves_goes_to_the_next(book: ChargeBook) -> None:
    holding = await book.turn(ID)
    leaving = asyncio.create_task(book.turn(ID))
    waiting = asyncio.create_task(book.turn(ID))
    await asyncio.sleep(0)
    holding._over()  # the turn is given, not yet taken
    leaving.cancel()
    async with asyncio.timeout(1):
        turn = await waiting
    await turn.end()
    assert leaving.cancelled()
    assert book._queues == {}


async def test_too_many_are_told_to_come_back_at_once(book: ChargeBook) -> None:
    holding = await book.turn(ID)
    waiting = [asyncio.create_task(book.turn(ID)) for _ in range(charges.MOST_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(PendingError):
        await book.turn(ID)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    await holding.end()
    assert book._queues == {}


async def test_patience_with_another_process_ends(
    book: ChargeBook, elsewhere: ChargeBook, store: FailingStore, time: Time
) -> None:
    await claimed(elsewhere)
    await store.heartbeat("elsewhere", alive_until=int(time.now) + 1000)
    before = time.now
    with pytest.raises(PendingError):
        await claimed(book)
    assert time.now - before == pytest.approx(charges.PATIENCE_SECONDS, abs=0.5)


# Deliveries written late


async def test_a_delivery_is_written_as_soon_as_the_store_can(
    book: ChargeBook, store: FailingStore, caplog: pytest.LogCaptureFixture
) -> None:
    turn = await settled(book)
    fail_from_now_on(store, times=4)
    await turn.delivered()
    waiting = asyncio.create_task(book.turn(ID))
    await asyncio.sleep(0)
    assert not waiting.done()  # or it would be granted again
    await book.drain()
    charge = await record(book)
    assert charge is not None
    assert (charge.state, charge.owner) == (State.DELIVERED, None)
    await (await waiting).end()
    assert [entry.levelno for entry in caplog.records] == [logging.ERROR]


async def test_one_that_can_never_be_written_is_said_loudly(
    book: ChargeBook, store: FailingStore, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    turn = await settled(book)
    before = time.now
    fail_from_now_on(store)
    await turn.delivered()
    await book.drain()
    assert caplog.records[-1].levelno == logging.CRITICAL
    assert ID in caplog.records[-1].getMessage()
    assert time.now - before == sum(0.5 * 2**n for n in range(charges.DELIVERY_ATTEMPTS))
    assert book._queues == {}


async def test_one_that_was_taken_over_meanwhile_is_said_too(
    book: ChargeBook,
    elsewhere: ChargeBook,
    store: FailingStore,
    time: Time,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for times in (0, 2):
        turn = await settled(book)
        time.now += 100
        usurper = await elsewhere.turn(ID)
        await usurper.claim("c", (), keep_until=int(time.now) + 1000)
        fail_from_now_on(store, times=times)
        await turn.delivered()
        await book.drain()
        assert "taken over" in caplog.records[-1].getMessage()
        assert caplog.records[-1].levelno == logging.ERROR
        await usurper.end()
        await store.purge(now=int(time.now) + 5000, limit=10)


# Heartbeats


async def test_a_process_says_now_and_then_that_it_lives(
    book: ChargeBook, store: FailingStore, time: Time
) -> None:
    for _ in range(10):
        await book.beat()
    assert store.calls == ["heartbeat"]
    time.now += charges.HEARTBEAT_SECONDS
    await book.beat()
    assert store.calls == ["heartbeat"] * 2


async def test_a_heartbeat_that_failed_is_due_still(book: ChargeBook, store: FailingStore) -> None:
    fail_from_now_on(store, times=1)
    with pytest.raises(StoreUnavailableError):
        await book.beat()
    await book.beat()
    assert store.calls == ["heartbeat"] * 2


@pytest.fixture
async def beating(book: ChargeBook) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(book.beat_forever())
    yield task
    task.cancel()


async def test_it_goes_on_when_the_store_fails_and_what_is_old_goes(
    book: ChargeBook,
    store: FailingStore,
    time: Time,
    beating: asyncio.Task[None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    turn = await settled(book)
    await turn.delivered()
    fail_from_now_on(store, times=3)
    for _ in range(500):
        await asyncio.sleep(0)
    assert time.now > 1_790_000_000 + 2000
    assert not beating.done()
    assert "heartbeat missed" in caplog.text
    assert await record(book) is None


def test_heartbeats_come_well_before_a_process_counts_as_dead() -> None:
    assert charges.HEARTBEAT_SECONDS * 2 < charges.LIFE_SECONDS < charges.PATIENCE_SECONDS
