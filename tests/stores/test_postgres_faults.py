"""What a PostgreSQL store does in trouble: it fails whole, says so, and goes on when it can."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from mpp_asgi.stores.budgets import Budget
from mpp_asgi.stores.contract import Outcome, StoreUnavailableError
from mpp_asgi.stores.kept_answers import KeptAnswer
from mpp_asgi.stores.loans import Loan
from mpp_asgi.stores.postgres import charges, connections
from mpp_asgi.stores.postgres.connection import Connection, Target, connect
from mpp_asgi.stores.postgres.store import PostgresStore
from tests import database
from tests.stores.postgres_sessions import (
    PATIENCE,
    another_session,
    end,
    nobody_waits,
    processes,
    states,
    table_locked,
    waiting,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator


@pytest.fixture
def url(postgres_urls) -> str:
    return postgres_urls()


@contextlib.asynccontextmanager
async def opened(url: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore.from_url(url)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def store(url) -> AsyncIterator[PostgresStore]:
    async with opened(url) as store:
        yield store


async def heals(call: Callable[[], Awaitable[object]]) -> object:
    """What comes of it once the store has noticed that it may go on; until then it says so."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return await call()
        except StoreUnavailableError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0)


# lost connections


async def test_a_connection_that_is_lost_in_the_midst_of_a_claim_fails_it_whole(
    store, url, new_charge
):
    async with table_locked(url, "proof"):
        claim = asyncio.create_task(store.claim(new_charge(), ["tx:1"], now=0))
        await waiting(url, 1)
        await end(url)
        with pytest.raises(StoreUnavailableError) as caught:
            await claim
        assert str(caught.value) in (
            "The PostgreSQL store failed: it is starting up or shutting down.",
            "The PostgreSQL store failed: the connection was lost.",
        )
    assert await store.get("challenge") is None
    assert (await store.claim(new_charge("b"), ["tx:1"], now=0)).outcome is Outcome.NEW


async def test_spends_that_lose_their_connection_count_once_if_they_are_asked_for_again(
    store, url, new_channel
):
    voucher = {"amount": 10**9, "signature": "s", "cost": 1, "units": 1, "min_delta": 0, "now": 1}
    granted: set[str] = set()
    unanswered: list[str] = []
    enough = asyncio.Event()
    over = False

    async def client(number: int) -> None:
        for count in itertools.count():
            if over:
                return
            entry = f"{number:05x}{count:010x}"
            try:
                await store.spend("channel", **voucher, entry=entry)
            except StoreUnavailableError:
                unanswered.append(entry)
                return
            granted.add(entry)
            if len(granted) == 50:
                enough.set()

    await store.add_channel(new_channel(deposited=10**9))
    clients = [asyncio.create_task(client(number)) for number in range(8)]
    await enough.wait()
    for _ in range(3):
        await end(url)
    over = True
    await asyncio.gather(*clients)
    again = unanswered[:4]
    for entry in again:
        await heals(lambda entry=entry: store.spend("channel", **voucher, entry=entry))
    for entry in unanswered[4:]:
        back = {"cost": 1, "units": 1, "entry": entry, "certain": False}
        await heals(lambda back=back: store.give_back("channel", **back))
    found = await store.channel("channel")
    assert found.spent == found.units == len(granted) + len(again)


async def test_idle_connections_that_are_lost_are_made_anew(store, url, new_charge):
    await held_together(store, url, 3)
    await end(url)
    await heals(lambda: store.claim(new_charge(), [], now=0))
    assert await store.get("challenge") == new_charge()


@pytest.fixture(scope="module")
def mortal() -> Iterator[database.Server]:
    """A server that tests may stop."""
    try:
        with database.server() as server:
            yield server
    except database.UnavailableError as error:
        pytest.skip(str(error))


async def test_a_server_that_is_started_again_is_found_again(mortal, new_charge):
    async with opened(mortal.url) as store:
        secret = await store.secret()
        await store.claim(new_charge(), ["tx:1"], now=0)
        mortal.stop()
        try:
            await every_call_fails(store, new_charge)
        finally:
            mortal.start()
        found = await heals(lambda: store.get("challenge"))
        assert found == new_charge()
        claim = await heals(lambda: store.claim(new_charge("b"), ["tx:1"], now=0))
        assert claim.outcome is Outcome.CONFLICT
        assert await store.secret() == secret


async def every_call_fails(store: PostgresStore, new_charge) -> None:
    channel = {"amount": 1, "signature": "s", "now": 0}
    facts = {"ledger": 1, "deposited": 1, "settled": 0, "closes_at": None, "closed": False}
    loan = Loan("G", 1, None)
    for call in (
        store.secret(),
        store.claim(new_charge(), ["tx:1"], now=0),
        store.write(new_charge(), ["tx:1"], owner="w"),
        store.write(new_charge(), owner="w"),
        store.release("challenge", owner="w"),
        store.get("challenge"),
        store.open_charges(now=0, limit=1),
        store.heartbeat("w", alive_until=1),
        store.purge(now=0, limit=1),
        store.channel("c"),
        store.spend("c", cost=1, units=1, min_delta=0, **channel),
        store.publish("c", amount=1),
        store.give_back("c", cost=1, units=1),
        store.observe("c", now=0, **facts),
        store.begin_close("c", **channel),
        store.cancel_close("c", amount=0),
        store.channels(limit=1),
        store.forget_channels(used_before=1, limit=1),
        store.lease("l", owner="w", until=1, now=0),
        store.release_lease("l", owner="w"),
        store.borrow(["G"], until=1, now=0),
        store.prolong(loan, until=1),
        store.hand_back(loan, sequence=1, free_at=1),
        store.forget_loans(["G"]),
        store.draw([Budget("b", 1, 1)], 1),
        store.put_back(["b"], 1),
        store.drawn("b"),
        store.keep_answer(KeptAnswer("k", "r", b"", 1), now=0),
        store.kept_answer("k", now=0),
    ):
        with pytest.raises(StoreUnavailableError, match=r"^The PostgreSQL store failed: .*\.$"):
            await call


async def test_a_server_that_is_not_there_is_no_store(mortal):
    mortal.stop()
    try:
        store = PostgresStore.from_url(mortal.url)
        with pytest.raises(StoreUnavailableError, match="it cannot be reached"):
            await store.open()
        with pytest.raises(StoreUnavailableError, match="not open"):
            await store.get("challenge")
        await store.close()
    finally:
        mortal.start()
    await store.open()
    assert await store.get("nothing") is None
    await store.close()


async def test_an_open_store_that_is_opened_in_an_outage_stays_open(mortal, new_charge):
    async with opened(mortal.url) as store:
        await store.claim(new_charge("open"), [], now=0)
        mortal.stop()
        try:
            await store.open()
        finally:
            mortal.start()
        assert await heals(lambda: store.get("open")) == new_charge("open")


async def test_a_server_that_stands_still_is_left_alone_until_it_goes_on(mortal, new_charge):
    """As a network does that swallows everything: nobody says that the connection is lost."""
    url = f"{mortal.url}&timeout=1&application_name=impatient"
    store = PostgresStore.from_url(url)
    await heals(store.open)
    await heals(lambda: store.claim(new_charge("still"), [], now=0))
    stopped = await processes(url)
    try:
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        with pytest.raises(StoreUnavailableError, match="it did not answer in time"):
            await store.get("still")
        assert await heals(lambda: store.get("still")) == new_charge("still")  # on another one
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    await store.close()


async def test_one_call_finds_out_that_all_idle_connections_are_silent(mortal):
    """As after a fail-over, or where a network has forgotten them."""
    url = f"{mortal.url}&application_name=forgotten"
    async with opened(url) as store:
        stopped = await held_together(store, url, 3)
        try:
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)
            with pytest.raises(StoreUnavailableError, match="it did not answer in time"):
                await store._connections.call(lambda db: charges.find(db, "challenge"), within=1)
            assert await store.get("nobody") is None
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)


async def held_together(store: PostgresStore, url: str, how_many: int) -> set[int]:
    """The server's processes that serve so many calls at a time; they are idle afterwards."""
    async with table_locked(url, "charge"):
        calls = [asyncio.create_task(store.get("challenge")) for _ in range(how_many)]
        pids = await waiting(url, how_many)
    await asyncio.gather(*calls)
    return set(pids)


# waiting


async def test_nobody_waits_longer_than_the_time_limit(url, new_charge):
    """Neither for a lock nor for a connection."""
    impatient = PostgresStore.from_url(f"{url}&timeout=1&connections=2")
    await heals(impatient.open)
    async with table_locked(url, "proof"):
        claims = (impatient.claim(new_charge(f"{n}"), [f"tx:{n}"], now=0) for n in range(5))
        ends = await asyncio.gather(*claims, return_exceptions=True)
        assert {str(error) for error in ends} == {
            "The PostgreSQL store failed: it did not answer in time."
        }
    await impatient.close()
    async with opened(url) as store:
        for number in range(5):
            written = await store.get(f"{number}") is not None
            claim = await store.claim(new_charge("probe"), [f"tx:{number}"], now=0)
            assert claim.outcome is (Outcome.CONFLICT if written else Outcome.NEW)
            await store.release("probe", owner="w")


async def test_a_statement_that_nobody_waits_for_is_stopped(url):
    """What was said to have failed must not happen later, were the server ever so patient."""
    async with opened(f"{url}&timeout=999") as store, table_locked(url, "charge"):
        with pytest.raises(StoreUnavailableError, match="did not answer in time"):
            await store._connections.call(lambda db: charges.find(db, "challenge"), within=1)
        await nobody_waits(url)


async def test_nothing_begins_in_the_second_half_of_its_time(url):
    """The server gives up in time on what begins in the first half."""
    target = Target.from_url(url)
    made, begun = 0, 0

    async def connect_slowly() -> Connection:
        nonlocal made
        made += 1
        connection = await connect(target, target.url)
        loop = asyncio.get_running_loop()
        loop.time = partial(lambda time: time() + PATIENCE * 0.6, loop.time)
        return connection

    async def work(db: Connection) -> object:
        nonlocal begun
        begun += 1
        return await db.fetchval("SELECT 1")

    pool = connections.Connections(connect_slowly, most=1)
    with pytest.raises(StoreUnavailableError, match="it did not answer in time"):
        await pool.call(work, within=PATIENCE)
    assert begun == 0
    assert await pool.call(work, within=PATIENCE) == 1
    assert made == 1  # what came too late for the one is there for the other
    await pool.close()


async def test_no_more_connections_are_made_than_allowed(url):
    async with opened(f"{url}&connections=2") as store:
        async with table_locked(url, "charge"):
            calls = [asyncio.create_task(store.get(f"{n}")) for n in range(10)]
            await waiting(url, 2)
            assert len(await states(url)) == 2
        assert await asyncio.gather(*calls) == [None] * 10
        assert len(await states(url)) == 2


async def test_more_than_can_wait_fails_at_once(store, url, new_charge, monkeypatch):
    monkeypatch.setattr(connections, "MOST_WAITING", 3)
    async with table_locked(url, "charge"):
        calls = [asyncio.create_task(store.get("challenge")) for _ in range(3)]
        await waiting(url, 3)
        with pytest.raises(StoreUnavailableError, match="too much is waiting"):
            await store.claim(new_charge(), [], now=0)
    assert await asyncio.gather(*calls) == [None] * 3
    assert (await store.claim(new_charge(), [], now=0)).outcome is Outcome.NEW


# cancelled callers


async def test_a_claim_that_is_cancelled_in_its_midst_happens_whole(store, url, new_charge):
    async with table_locked(url, "proof"):
        claim = asyncio.create_task(store.claim(new_charge(), ["tx:1"], now=0))
        await waiting(url, 1)
        claim.cancel()
        for _ in range(100):
            await asyncio.sleep(0)
        assert not claim.done()  # whoever it is tidies up when it is over, not before
    with pytest.raises(asyncio.CancelledError):
        await claim
    assert await store.get("challenge") == new_charge()
    claim = await store.claim(new_charge("b"), ["tx:1"], now=0)
    assert claim.outcome is Outcome.CONFLICT
    assert set(await states(url)) == {"idle"}  # no transaction was left open


async def test_a_claim_that_is_cancelled_before_its_turn_never_happens(url, new_charge):
    async with opened(f"{url}&connections=1") as store:
        async with table_locked(url, "proof"):
            first = asyncio.create_task(store.claim(new_charge("a"), ["tx:1"], now=0))
            await waiting(url, 1)
            second = asyncio.create_task(store.claim(new_charge("b"), ["tx:2"], now=0))
            await asyncio.sleep(0)
            second.cancel()
            await asyncio.gather(second, return_exceptions=True)
        assert (await first).outcome is Outcome.NEW
        assert await store.get("b") is None
        assert (await store.claim(new_charge("c"), ["tx:2"], now=0)).outcome is Outcome.NEW


# what the server undoes or refuses


REFUSE = """
    CREATE SEQUENCE refusals;
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF nextval('refusals') <= {times} THEN
            RAISE EXCEPTION 'hunter2' USING ERRCODE = '{state}', DETAIL = 'hunter2';
        END IF;
        RETURN new;
    END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON heartbeat FOR EACH ROW EXECUTE FUNCTION refuse();
"""


@contextlib.asynccontextmanager
async def heartbeats_refused(url: str, *, state: str, times: int) -> AsyncIterator[None]:
    """The first so many; the sequence is not undone."""
    async with another_session(url) as session:
        await session.execute(REFUSE.format(times=times, state=state))
        try:
            yield
        finally:
            await session.execute("DROP FUNCTION refuse CASCADE; DROP SEQUENCE refusals")


@pytest.mark.parametrize("state", ["40001", "40P01"])
async def test_what_the_server_undid_because_of_another_is_done_again(store, url, state):
    times = connections.ATTEMPTS - 1
    async with heartbeats_refused(url, state=state, times=times):
        await store.heartbeat("w", alive_until=1)


@pytest.mark.parametrize("state", ["40001", "40P01"])
async def test_what_the_server_undoes_again_and_again_fails(store, url, state):
    times = connections.ATTEMPTS
    async with heartbeats_refused(url, state=state, times=times):
        with pytest.raises(StoreUnavailableError, match=f"PostgreSQL answered {state}"):
            await store.heartbeat("w", alive_until=1)
        await store.heartbeat("w", alive_until=1)


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ("53100", "its disk is full"),
        ("53200", "it is out of memory"),
        ("25006", "it takes no writes at the moment"),
        ("57014", "it did not answer in time"),
        ("58030", "its disk failed"),
        ("XX001", "its data are damaged"),
        ("22012", "PostgreSQL answered 22012"),
    ],
)
async def test_a_refusal_is_one_sentence_that_gives_nothing_away(store, url, state, why):
    async with heartbeats_refused(url, state=state, times=1):
        with pytest.raises(StoreUnavailableError) as caught:
            await store.heartbeat("w", alive_until=1)
        assert str(caught.value) == f"The PostgreSQL store failed: {why}."
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
        await store.heartbeat("w", alive_until=1)
