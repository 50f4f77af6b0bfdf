"""The book of charges: turns, heartbeats, and what is written late."""

import asyncio
import logging
from typing import Any

import pytest

from mpp_asgi import charges, heart, turns
from mpp_asgi.charges import ChargeBook
from mpp_asgi.intents import PendingError, RefusalError
from mpp_asgi.stores.contract import Charge, OwnershipLostError, State, StoreUnavailableError
from mpp_asgi.stores.memory.store import MemoryStore
from mpp_asgi.turns import Turn
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
    time.now += heart.LIFE_SECONDS
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
    async with asyncio.timeout(60):
        await book.turn("another challenge")


async def test_a_turn_that_comes_as_its_waiter_leaves_goes_to_the_next(book: ChargeBook) -> None:
    holding = await book.turn(ID)
    leaving = asyncio.create_task(book.turn(ID))
    waiting = asyncio.create_task(book.turn(ID))
    await asyncio.sleep(0)
    holding._over()  # the turn is given, not yet taken
    leaving.cancel()
    async with asyncio.timeout(60):
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
    assert time.now - before == pytest.approx(turns.PATIENCE_SECONDS, abs=0.5)


# Deliveries written late


async def test_a_delivery_is_written_as_soon_as_the_store_can(
    book: ChargeBook, store: FailingStore, caplog: pytest.LogCaptureFixture
) -> None:
    turn = await settled(book)
    fail_from_now_on(store, times=4)
    await turn.delivered()
    await book.drain()
    charge = await record(book)
    assert charge is not None
    assert (charge.state, charge.owner) == (State.DELIVERED, None)
    assert [entry.levelno for entry in caplog.records] == [logging.ERROR]


async def test_what_was_delivered_is_not_granted_again_while_the_store_does_not_know(
    book: ChargeBook, store: FailingStore
) -> None:
    turn = await settled(book)
    waiting = asyncio.create_task(book.turn(ID))
    fail_from_now_on(store)
    await turn.delivered()
    await book.drain()  # tried again some times, in vain
    for ask in (lambda turn: turn.find(), lambda turn: turn.claim("c", (), keep_until=0)):
        refused_turn = await waiting
        with pytest.raises(RefusalError) as refused:
            await ask(refused_turn)
        assert refused.value.problem.slug == "invalid-challenge"
        waiting = asyncio.create_task(book.turn(ID))
        await refused_turn.end()
    await (await waiting).end()


async def test_it_is_written_by_a_later_heartbeat(
    book: ChargeBook, elsewhere: ChargeBook, store: FailingStore, time: Time
) -> None:
    turn = await settled(book)
    fail_from_now_on(store)
    await turn.delivered()
    await book.drain()
    store.fail_at = range(0)
    await book.tidy()
    charge = await record(book)
    assert charge is not None
    assert (charge.state, charge.owner) == (State.DELIVERED, None)
    with pytest.raises(RefusalError):
        await (await elsewhere.turn(ID)).find()
    with pytest.raises(RefusalError):  # the store says so now
        await (await book.turn(ID)).find()


async def test_a_process_that_ends_writes_what_it_can(
    book: ChargeBook, store: FailingStore, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    turn = await settled(book)
    fail_from_now_on(store, times=8)
    await turn.delivered()
    await book.close()
    charge = await record(book)
    assert charge is not None
    assert charge.state is State.DELIVERED
    assert logging.CRITICAL not in {entry.levelno for entry in caplog.records}


async def test_one_that_can_never_be_written_is_said_loudly(
    book: ChargeBook, store: FailingStore, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    turn = await settled(book)
    fail_from_now_on(store)
    await turn.delivered()
    await book.drain()
    before = time.now
    await book.close()
    [loud] = [entry for entry in caplog.records if entry.levelno == logging.CRITICAL]
    assert ID in loud.getMessage()
    assert time.now - before == charges.DRAIN_SECONDS
    assert book._queues == {}


async def test_one_that_was_taken_over_meanwhile_is_said_and_written_when_it_is_free(
    book: ChargeBook,
    elsewhere: ChargeBook,
    store: FailingStore,
    time: Time,
    caplog: pytest.LogCaptureFixture,
) -> None:
    turn = await settled(book)
    time.now += 100
    usurper = await elsewhere.turn(ID)
    await usurper.claim("c", (), keep_until=int(time.now) + 1000)
    await turn.delivered()
    assert "taken over" in caplog.records[-1].getMessage()
    assert caplog.records[-1].levelno == logging.ERROR
    await book.drain()
    charge = await record(book)
    assert charge is not None
    assert (charge.state, charge.owner) == (State.SETTLED, "elsewhere")
    await usurper.end()  # its response did not leave
    await book.tidy()
    with pytest.raises(RefusalError):
        await (await elsewhere.turn(ID)).find()


async def test_what_is_gone_from_the_store_is_forgotten_here_too(
    book: ChargeBook, store: FailingStore, time: Time
) -> None:
    turn = await settled(book)
    fail_from_now_on(store)
    await turn.delivered()
    await book.drain()
    store.fail_at = range(0)
    await store.purge(now=int(time.now) + 5000, limit=10)
    await book.tidy()
    assert await (await book.turn(ID)).find() is None


async def test_nothing_is_begun_while_too_much_waits_for_the_store(
    book: ChargeBook, store: FailingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(charges, "MOST_UNFINISHED", 1)
    turn = await settled(book)
    fail_from_now_on(store)
    await turn.delivered()
    await book.drain()
    store.fail_at = range(0)
    other = await book.turn("another challenge")
    with pytest.raises(StoreUnavailableError):
        await other.claim("c", (), keep_until=int(book.clock()) + 1000)
    await other.end()
    await book.tidy()
    await (await book.turn("another challenge")).claim("c", (), keep_until=0)


async def test_a_charge_that_could_not_be_let_go_of_is_let_go_of_later(
    book: ChargeBook,
    elsewhere: ChargeBook,
    store: FailingStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", 0)
    turn = await settled(book)
    fail_from_now_on(store)
    await turn.end()
    store.fail_at = range(0)
    other = await elsewhere.turn(ID)
    with pytest.raises(PendingError):
        await other.claim("c", (), keep_until=0)
    await book.tidy()
    assert (await other.claim("c", (), keep_until=0)).state is State.SETTLED


@pytest.mark.parametrize("ended", ["unanswered", "cancelled"])
@pytest.mark.parametrize("left", [False, True])
async def test_a_claim_that_takes_effect_when_nobody_waits_for_it_any_more(
    book: ChargeBook,
    elsewhere: ChargeBook,
    store: FailingStore,
    monkeypatch: pytest.MonkeyPatch,
    time: Time,
    ended: str,
    left: bool,
) -> None:
    """The network kept it, or another transaction did. Its owner lives, and knows nothing of it."""
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", 0)
    if left:
        await (await settled(elsewhere)).end()
    asked: list[Any] = []
    claim = store.claim

    async def kept_on_its_way(*arguments: Any, **named: Any) -> None:
        asked.append((arguments, named))
        if ended == "cancelled":
            raise asyncio.CancelledError
        raise StoreUnavailableError("it did not answer in time")

    monkeypatch.setattr(store, "claim", kept_on_its_way, raising=False)
    turn = await book.turn(ID)
    found = await turn.find()
    taking: Any = turn.take_over(found) if found else turn.claim("c", (), keep_until=10**10)
    with pytest.raises((StoreUnavailableError, asyncio.CancelledError)):
        await taking
    await turn.end()
    monkeypatch.setattr(store, "claim", claim, raising=False)
    await book.tidy()  # too early
    for arguments, named in asked:
        await claim(*arguments, **named)
    other = await elsewhere.turn(ID)
    with pytest.raises(PendingError):
        await other.claim("c", (), keep_until=0)
    assert book.heart.is_beating()
    await book.tidy()
    await other.claim("c", (), keep_until=int(book.clock()) + 1000)

    time.now += charges.DOUBT_SECONDS
    await book.tidy()
    calls = len(store.calls)
    await book.tidy()
    assert store.calls[calls:] == ["purge"], "nothing is looked at for ever"


async def test_letting_go_waits_for_nobody(book: ChargeBook, store: FailingStore) -> None:
    """Somebody comes for a charge just as another one is let go of."""
    turns = [await book.turn(f"challenge {n}") for n in range(3)]
    for turn in turns:
        await turn.claim("c", (), keep_until=int(book.clock()) + 1000)
    fail_from_now_on(store)
    for turn in turns:
        await turn.end()
    store.fail_at = range(0)
    tidying = asyncio.create_task(book.tidy())
    await asyncio.sleep(0)
    at_work = {name: await book.turn(name) for name in map("challenge {}".format, range(3))
               if name not in book._queues}  # fmt: skip
    assert at_work
    async with asyncio.timeout(60):
        await tidying
    for turn in at_work.values():
        await turn.claim("c", (), keep_until=int(book.clock()) + 1000)
        await turn.end()
    await book.tidy()
    assert [await store.get(f"challenge {n}") for n in range(3)] == [None] * 3


async def test_all_that_is_old_goes_at_once(book: ChargeBook, time: Time) -> None:
    many = 2 * charges.PURGE_BATCH + 1
    for n in range(many):
        turn = await book.turn(f"challenge {n}")
        await turn.claim("c", (), keep_until=int(time.now) + 1)
    time.now += 1
    await book.tidy()
    assert await book.store.purge(now=int(time.now), limit=many) == 0


async def test_a_heartbeat_that_is_long_on_its_way_takes_nothing_back(
    book: ChargeBook, store: FailingStore, time: Time
) -> None:
    """Two at once would come to the store in either order; what we believe must be what it has."""
    real, first, said = store.heartbeat, asyncio.Event(), []

    async def heartbeat(owner: str, *, alive_until: int) -> None:
        if not said:
            said.append(alive_until)
            await first.wait()
        else:
            said.append(alive_until)
        await real(owner, alive_until=alive_until)

    store.heartbeat = heartbeat  # type: ignore[method-assign]
    slow = asyncio.create_task(book.heart.beat())
    await asyncio.sleep(0)
    time.now += heart.LIFE_SECONDS
    later = asyncio.create_task(book.heart.make_sure())
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(said) == 1
    first.set()
    await asyncio.gather(slow, later)
    assert said == sorted(said)
    assert said[-1] == int(time.now) + heart.LIFE_SECONDS
    assert book.heart.is_sure()


async def test_a_heartbeat_by_a_clock_that_was_set_back_is_not_trusted_when_it_fails(
    book: ChargeBook, store: FailingStore, time: Time
) -> None:
    await book.heart.beat()
    time.now -= 3600
    fail_from_now_on(store, times=1)
    with pytest.raises(StoreUnavailableError):
        await book.heart.beat()
    time.now += 3600
    assert not book.heart.is_sure()  # it may have been written all the same


async def test_one_heartbeat_may_fail(book: ChargeBook, store: FailingStore, time: Time) -> None:
    await book.heart.beat()
    time.now += heart.HEARTBEAT_SECONDS
    fail_from_now_on(store, times=1)
    with pytest.raises(StoreUnavailableError):
        await book.heart.beat()
    assert book.heart.is_sure()
    time.now += heart.HEARTBEAT_SECONDS
    assert not book.heart.is_sure()


def test_others_wait_longer_than_a_process_may_be_silent() -> None:
    assert heart.HEARTBEAT_SECONDS * 2 <= heart.SURE_SECONDS
    assert heart.SURE_SECONDS + 4 <= heart.LIFE_SECONDS - 1  # a second goes with rounding
    assert heart.LIFE_SECONDS < turns.PATIENCE_SECONDS
