"""What a Redis store makes of calls that failed and are still on their way to the server."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from mpp_asgi.stores.contract import Outcome, State, StoreUnavailableError
from tests.redis_server import DURABLE, redis_process
from tests.stores.backends import patient_store
from tests.stores.late_network import LateNetwork

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from mpp_asgi.stores.contract import Charge
    from mpp_asgi.stores.redis.store import RedisStore
    from tests.redis_server import RedisProcess


@pytest.fixture
def process() -> Iterator[RedisProcess]:
    with redis_process(*DURABLE) as process:
        yield process


@pytest.fixture
async def network(process: RedisProcess) -> AsyncIterator[LateNetwork]:
    async with LateNetwork(process) as network:
        yield network


@pytest.fixture
async def store(
    network: LateNetwork, new_charge: Callable[..., Charge]
) -> AsyncIterator[RedisStore]:
    """The server knows all its scripts that are used here, so that none has to be sent twice."""
    store = patient_store(network.url)
    await store.open()
    await store.claim(new_charge("known"), [], now=0)
    await store.write(new_charge("known"), owner="w")
    await store.heartbeat("known", alive_until=0)
    yield store
    await store.close()


async def test_a_late_write_does_not_replace_a_newer_one(network, store, new_charge):
    await store.claim(new_charge(), [], now=0)
    first = new_charge(state=State.SUBMITTED, reference="11" * 32, envelope="first")
    second = first._replace(reference="22" * 32, envelope="second")
    network.lose(b"challenge")
    with pytest.raises(StoreUnavailableError):
        await store.write(first, ["tx:1"], owner="w")
    await store.write(second, ["tx:2"], owner="w")
    await network.deliver()
    assert await store.get("challenge") == second
    claim = await store.claim(new_charge("other"), ["tx:1"], now=0)
    assert claim.outcome is Outcome.NEW


async def test_a_late_claim_does_not_come_after_its_release(network, store, new_charge):
    network.lose(b"challenge")
    with pytest.raises(StoreUnavailableError):
        await store.claim(new_charge(), ["tx:1"], now=0)
    await store.release("challenge", owner="w")
    await network.deliver()
    assert await store.get("challenge") is None


async def test_a_late_heartbeat_does_not_take_back_a_newer_one(network, store, new_charge):
    network.lose(b"heartbeats")
    with pytest.raises(StoreUnavailableError):
        await store.heartbeat("w", alive_until=10)
    await store.heartbeat("w", alive_until=20)
    await network.deliver()
    await store.claim(new_charge(), [], now=0)
    assert (await store.claim(new_charge(owner="v"), [], now=15)).outcome is Outcome.BUSY


@pytest.mark.parametrize(
    "word", [b"INFO", b"\r\nID\r\n", b"KILL", b"SKIPME", b"HEXISTS", b"appendfsync"]
)
async def test_it_is_ruled_out_even_if_the_next_connection_is_lost_while_it_begins(
    network, store, new_charge, word
):
    network.lose(b"heartbeats", word)
    for _ in range(2):
        with pytest.raises(StoreUnavailableError):
            await store.heartbeat("w", alive_until=10)
    assert network.has_lost_all
    await store.heartbeat("w", alive_until=20)
    await network.deliver()
    await store.claim(new_charge(), [], now=0)
    assert (await store.claim(new_charge(owner="v"), [], now=15)).outcome is Outcome.BUSY


async def test_it_is_ruled_out_even_if_the_store_was_closed_and_opened_meanwhile(
    network, store, new_charge
):
    network.lose(b"heartbeats")
    with pytest.raises(StoreUnavailableError):
        await store.heartbeat("w", alive_until=10)
    await store.close()
    await store.open()
    await store.heartbeat("w", alive_until=20)
    await network.deliver()
    await store.claim(new_charge(), [], now=0)
    assert (await store.claim(new_charge(owner="v"), [], now=15)).outcome is Outcome.BUSY


async def test_no_other_connection_is_ended(process, network, store):
    async with contextlib.AsyncExitStack() as closing:
        for url in (network.url, process.url):
            other = patient_store(url)
            await other.open()
            closing.push_async_callback(other.close)
        with process.client() as client:
            own = client.client_id()
            before = {int(each["id"]) for each in client.client_list()} - {own}
            network.lose(b"heartbeats")
            with pytest.raises(StoreUnavailableError):
                await store.heartbeat("w", alive_until=10)
            await store.heartbeat("w", alive_until=20)
            after = {int(each["id"]) for each in client.client_list()} - {own}
    assert len(before) == len(after) == 3
    assert len(before & after) == 2


async def test_nobody_is_ended_who_has_its_number_since_the_server_was_restarted(process):
    store = patient_store(process.url)
    await store.open()
    with process.client() as client:
        last = client.client_id()
    process.kill()
    process.start()
    with contextlib.ExitStack() as others:
        numbers: set[int] = set()
        while not numbers or max(numbers) < last:
            other = others.enter_context(process.client())
            numbers.add(other.client_id())
        await store.heartbeat("w", alive_until=20)
        assert {int(each["id"]) for each in other.client_list()} > numbers
    await store.close()
