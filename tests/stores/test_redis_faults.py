"""What a Redis store does when its server dies, forgets, hangs, or answers into the void."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
from typing import TYPE_CHECKING, Any

import pytest

from mpp_asgi.stores.budgets import Budget
from mpp_asgi.stores.channels import SpendOutcome
from mpp_asgi.stores.contract import Outcome, State, StoreUnavailableError
from mpp_asgi.stores.kept_answers import KeptAnswer
from mpp_asgi.stores.redis import line, schema
from mpp_asgi.stores.redis.connection import RedisConnection
from mpp_asgi.stores.redis.predecessors import Predecessors
from mpp_asgi.stores.redis.store import RedisStore
from tests.redis_server import DURABLE, redis_process
from tests.stores.backends import patient_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

    from mpp_asgi.stores.redis.connection import Command
    from tests.redis_server import RedisProcess

VOUCHER = {"amount": 1000, "signature": "s", "cost": 1, "units": 1, "min_delta": 0, "now": 1}


@pytest.fixture
def process() -> Iterator[RedisProcess]:
    with redis_process(*DURABLE) as process:
        yield process


@contextlib.asynccontextmanager
async def opened(url: str) -> AsyncIterator[RedisStore]:
    store = patient_store(url)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def test_what_was_returned_is_there_after_the_server_was_killed(
    process, new_charge, new_channel
):
    submitted = new_charge(state=State.SUBMITTED, reference="ab" * 32, envelope="A" * 1600)
    answer = KeptAnswer("key", "ab" * 32, b"\0\xff" * 50, 100)
    async with opened(process.url) as store:
        secret = await store.secret()
        await store.claim(new_charge(), ["tx:1"], now=0)
        await store.write(submitted, ["nonce:1"], owner="w")
        await store.add_channel(new_channel())
        spend = await store.spend("channel", **VOUCHER)
        await store.draw([Budget("day", 100, 1000)], 30)
        loan = await store.borrow(["GA"], until=50, now=0)
        await store.hand_back(loan, sequence=2**62, free_at=0)
        await store.lease("guard", owner="w", until=50, now=0)
        await store.keep_answer(answer, now=0)
        process.kill()

    process.start()
    async with opened(process.url) as store:
        assert await store.secret() == secret
        assert await store.get("challenge") == submitted
        for proof in ("tx:1", "nonce:1"):
            claim = await store.claim(new_charge("other"), [proof], now=0)
            assert claim.outcome is Outcome.CONFLICT
        assert await store.channel("channel") == spend.channel
        assert await store.drawn("day") == 30
        again = await store.borrow(["GA"], until=50, now=0)
        assert (again.sequence, again.fence > loan.fence) == (2**62, True)
        assert not await store.lease("guard", owner="v", until=50, now=0)
        assert await store.kept_answer("key", now=0) == answer


async def test_killed_under_load_the_server_has_kept_every_spend_that_was_acknowledged(
    process, new_channel
):
    granted: set[str] = set()
    unanswered: list[str] = []

    async def client(store: RedisStore, number: int) -> None:
        for count in itertools.count():
            entry = f"{number:05x}{count:010x}"
            try:
                spend = await store.spend("channel", **VOUCHER, entry=entry)
            except StoreUnavailableError:
                unanswered.append(entry)
                return
            assert spend.outcome is SpendOutcome.SPENT
            granted.add(entry)
            if len(granted) == 200:
                process.kill()

    async with opened(process.url) as store:
        await store.add_channel(new_channel())
        await asyncio.gather(*(client(store, number) for number in range(20)))
        process.start()
        kept = (await store.channel("channel")).units
        # Whoever was told nothing may have spent, once each.
        assert len(granted) <= kept <= len(granted) + 20
        # That ends once they ask again, or give it back.
        for entry in unanswered[:10]:
            assert (await store.spend("channel", **VOUCHER, entry=entry)).channel is not None
        for entry in unanswered[10:]:
            await store.give_back("channel", cost=1, units=1, entry=entry, certain=False)
        found = await store.channel("channel")
        assert found.spent == found.units == len(granted) + 10


async def test_a_store_heals_when_its_server_is_back(process, new_charge):
    async with opened(process.url) as store:
        await store.claim(new_charge(), [], now=0)
        process.kill()
        for _ in range(2):
            with pytest.raises(StoreUnavailableError, match="the server cannot be reached"):
                await store.get("challenge")
        process.start()
        assert await store.get("challenge") == new_charge()
        process.kill()
        process.start()  # nobody asked anything meanwhile
        assert await store.get("challenge") == new_charge()


async def test_scripts_that_the_server_forgot_are_sent_again(process, new_channel):
    async with opened(process.url) as store:
        await store.add_channel(new_channel())
        with process.client() as client:
            for _ in range(3):
                client.script_flush()
                await asyncio.gather(*(store.spend("channel", **VOUCHER) for _ in range(10)))
        assert (await store.channel("channel")).units == 30


async def test_data_that_was_removed_is_not_begun_anew_while_a_store_is_open(process, new_charge):
    """What is used would not be known as used any more."""
    async with opened(process.url) as store:
        await store.claim(new_charge(), ["tx:1"], now=0)
        with process.client() as client:
            client.flushall()
        for _ in range(2):
            with pytest.raises(StoreUnavailableError, match="data was removed, replaced or mig"):
                await store.claim(new_charge(), ["tx:1"], now=0)
        await store.close()
        await store.open()
        claim = await store.claim(new_charge(), ["tx:1"], now=0)
        assert claim.outcome is Outcome.NEW


async def test_a_server_that_hangs_is_not_waited_for(process, new_charge):
    async with opened(process.url) as store:
        await store.claim(new_charge(), [], now=0)
    hasty = RedisStore(process.server, timeout=0.1)
    while not await can_be_opened(hasty):
        pass  # the machine is slow at times
    process.signal(signal.SIGSTOP)
    try:
        for _ in range(2):  # on the connection there is, and on one more
            with pytest.raises(StoreUnavailableError, match="took too long to answer"):
                await hasty.get("challenge")
    finally:
        process.signal(signal.SIGCONT)
    await hasty.close()
    async with opened(process.url) as store:
        assert await store.get("challenge") == new_charge()


async def test_all_who_ask_a_server_that_hangs_wait_no_longer_than_one(process):
    """Those whose turn comes too late are not sent: each would take as long to fail again."""
    hasty = RedisStore(process.server, timeout=1)
    while not await can_be_opened(hasty):
        pass  # the machine is slow at times
    with process.client() as client:
        before = client.info("stats")["total_connections_received"]
        process.signal(signal.SIGSTOP)
        try:
            beats = (hasty.heartbeat(f"{n}", alive_until=1) for n in range(3 * line.MOST_TOGETHER))
            ends = await asyncio.gather(*beats, return_exceptions=True)
        finally:
            process.signal(signal.SIGCONT)
        assert {str(end) for end in ends} == {
            "The Redis store failed: the server took too long to answer."
        }
        assert client.info("stats")["total_connections_received"] == before
        assert client.zcard("{mpp}:heartbeats") <= line.MOST_TOGETHER
    await hasty.close()


class Endless(RedisConnection):
    """Takes no step for too long, and has always one more to take."""

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        await asyncio.Event().wait()
        return [None] * len(commands)


async def test_a_call_ends_in_time_however_many_steps_its_connection_takes(process):
    connection = Endless(process.server, timeout=60, predecessors=Predecessors())
    waiting = line.RedisLine(connection, timeout=0.1)
    with pytest.raises(StoreUnavailableError, match="took too long to answer"):
        await waiting.ask(schema.secret("s"), "")
    await waiting.close()


async def test_more_than_can_wait_fails_at_once(process, monkeypatch):
    monkeypatch.setattr(line, "MOST_TOGETHER", 1)
    monkeypatch.setattr(line, "MOST_WAITING", 3)
    async with opened(process.url) as store:
        process.signal(signal.SIGSTOP)
        try:
            calls = [asyncio.create_task(store.get("challenge")) for _ in range(8)]
            first, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        finally:
            process.signal(signal.SIGCONT)
        (why,) = {str(call.exception()) for call in first}
        assert why == "The Redis store failed: too much is waiting for it."
        ends = await asyncio.gather(*calls, return_exceptions=True)
        assert 3 <= ends.count(None) <= 4  # one may have been on its way
        assert await store.get("challenge") is None


async def can_be_opened(store: RedisStore) -> bool:
    try:
        await store.open()
    except StoreUnavailableError:
        return False
    return True


class Wire:
    """Passes everything between store and server, until it is told to lose the server's word."""

    def __init__(self, process: RedisProcess, path: Path) -> None:
        self.process, self.path = process, path
        self.loses_answers = False
        self.requests = 0

    async def pass_on(self, inward: asyncio.StreamReader, outward: asyncio.StreamWriter) -> None:
        reader, writer = await asyncio.open_unix_connection(str(self.process.socket))
        try:
            while data := await inward.read(1 << 16):
                writer.write(data)
                answer = await reader.read(1 << 16)
                if self.loses_answers:
                    self.requests += 1
                    break
                outward.write(answer)
        finally:
            writer.close()
            outward.close()


async def test_what_got_no_answer_is_not_asked_for_again(process, new_channel, tmp_path):
    """It may have been done, and done twice it would cost twice."""
    wire = Wire(process, process.directory / "wire.sock")
    async with (
        await asyncio.start_unix_server(wire.pass_on, str(wire.path)),
        opened(f"redis+unix://{wire.path}") as store,
    ):
        await store.add_channel(new_channel())
        await store.spend("channel", **VOUCHER)
        wire.loses_answers = True
        with pytest.raises(StoreUnavailableError, match="cannot be reached"):
            await store.spend("channel", **VOUCHER)
        wire.loses_answers = False
        assert wire.requests == 1
        assert (await store.channel("channel")).units == 2


async def test_cancelled_at_any_step_a_call_is_whole_and_the_next_gets_its_own_answer(
    process, new_charge
):
    async with opened(process.url) as store:
        steps = 0
        while True:
            charge_id = f"{steps}"
            call = asyncio.create_task(store.claim(new_charge(charge_id), [charge_id], now=0))
            for _ in range(steps):
                await asyncio.sleep(0)
            if not call.cancel():
                break
            with pytest.raises(asyncio.CancelledError):
                await call
            others = [new_charge(f"{steps}:{n}") for n in range(3)]
            claims = await asyncio.gather(*(store.claim(other, [], now=0) for other in others))
            assert [claim.charge for claim in claims] == others
            written = await store.get(charge_id) is not None
            probe = await store.claim(new_charge("probe"), [charge_id], now=0)
            assert probe.outcome is (Outcome.CONFLICT if written else Outcome.NEW)
            await store.release("probe", owner="w")
            steps += 1
            if steps > 200:  # further steps only wait for the same answer
                break
        assert steps > 2


async def test_a_close_that_is_cancelled_leaves_no_thread_waiting(process):
    store = patient_store(process.url)
    await store.open()
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    with pytest.raises(StoreUnavailableError, match="is not open"):
        await store.secret()
    await store.close()


async def test_an_open_that_is_cancelled_stops_no_other(process):
    store = patient_store(process.url)
    opens = [asyncio.create_task(store.open()) for _ in range(3)]
    await asyncio.sleep(0)
    opens[0].cancel()
    ends = await asyncio.gather(*opens, return_exceptions=True)
    assert [type(end) for end in ends] == [asyncio.CancelledError, type(None), type(None)]
    assert await store.secret()
    await store.close()


async def test_text_that_is_none_fails_alone(process, new_charge):
    async with opened(process.url) as store:
        bad, good = await asyncio.gather(
            store.get("\ud800"), store.claim(new_charge(), [], now=0), return_exceptions=True
        )
        assert isinstance(bad, UnicodeEncodeError)
        assert good.outcome is Outcome.NEW
