"""A Redis store on a cluster: it is on one node, found from any, and found again when it moves."""

from __future__ import annotations

import contextlib
import random
import signal
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest
import redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from mpp_asgi.stores.contract import Outcome, StoreUnavailableError
from mpp_asgi.stores.redis.store import RedisStore
from mpp_asgi.stores.redis.url import redis_server
from tests.redis_server import DURABLE, START_SECONDS, redis_process
from tests.stores.backends import patient_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.redis_server import RedisProcess

SLOT = key_slot(b"{mpp}:meta")
ATTEMPTS = 50
"""A node needs two ports that nobody else takes: pairs are tried until it starts."""


class Node(NamedTuple):
    process: RedisProcess
    port: int

    def say(self, *command: str | int) -> object:
        with self.process.client() as client:
            return client.execute_command(*command)

    @property
    def id(self) -> str:
        return str(self.say("CLUSTER", "MYID"), "ascii")


def start(stack: contextlib.ExitStack) -> Node:
    """The port for the other nodes is 10,000 higher."""
    for port in random.sample(range(11_000, 21_000), ATTEMPTS):
        options = ("--port", f"{port}", "--bind", "127.0.0.1", "--cluster-enabled", "yes")
        # However slow the machine: no node is taken for dead.
        options += ("--cluster-node-timeout", "600000")
        with contextlib.suppress(redis.ConnectionError):  # it ended: a port was taken
            return Node(stack.enter_context(redis_process(*DURABLE, *options)), port)
    pytest.fail("no two ports could be had")


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def nodes() -> Iterator[tuple[Node, Node]]:
    """Two of a cluster; the second has the slot of the store."""
    with contextlib.ExitStack() as stack:
        one, other = start(stack), start(stack)
        # A node that has lost its last slot would become a replica: there is one to be left.
        others = {SLOT, (SLOT + 1) % REDIS_CLUSTER_HASH_SLOTS}
        one.say("CLUSTER", "ADDSLOTS", *(set(range(REDIS_CLUSTER_HASH_SLOTS)) - others))
        other.say("CLUSTER", "ADDSLOTS", *others)
        one.say("CLUSTER", "MEET", "127.0.0.1", other.port)
        for node in (one, other):
            wait_for(lambda node=node: b"cluster_state:ok" in node.say("CLUSTER", "INFO"))
        yield one, other


async def answer(store: RedisStore) -> int:
    """Once there is one: how often it fails before depends on how slow the machine is."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            await store.open()
            return await store.drawn("day")
        except StoreUnavailableError:
            assert time.monotonic() < deadline


def move(source: Node, target: Node) -> None:
    """The slot and everything in it."""
    target.say("CLUSTER", "SETSLOT", SLOT, "IMPORTING", source.id)
    source.say("CLUSTER", "SETSLOT", SLOT, "MIGRATING", target.id)
    keys = source.say("CLUSTER", "GETKEYSINSLOT", SLOT, 100)
    source.say("MIGRATE", "127.0.0.1", target.port, "", 0, 30_000, "KEYS", *keys)
    for node in (target, source):
        node.say("CLUSTER", "SETSLOT", SLOT, "NODE", target.id)


async def test_the_store_is_found_from_any_node_and_wherever_it_moves(nodes, new_charge):
    one, other = nodes
    store = patient_store(f"redis://127.0.0.1:{one.port}")
    await store.open()
    await store.claim(new_charge(), ["tx:1"], now=0)
    assert other.say("EXISTS", "{mpp}:charges")

    move(other, one)
    with pytest.raises(StoreUnavailableError, match="the cluster has moved it to another node"):
        await store.get("challenge")
    assert await store.get("challenge") == new_charge()
    claim = await store.claim(new_charge("other"), ["tx:1"], now=0)
    assert claim.outcome is Outcome.CONFLICT
    await store.close()


async def test_the_node_that_has_it_is_found_again_when_the_one_that_was_named_is_gone(nodes):
    one, other = nodes
    store = RedisStore(redis_server(f"redis://127.0.0.1:{one.port}"), timeout=0.5)
    assert await answer(store) == 0
    one.process.kill()
    other.process.signal(signal.SIGSTOP)
    with pytest.raises(StoreUnavailableError, match="took too long to answer"):
        await store.drawn("day")
    other.process.signal(signal.SIGCONT)
    assert await answer(store) == 0
    await store.close()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
async def test_where_it_has_moved_is_asked_of_the_named_node_when_the_last_one_is_gone(nodes, end):
    one, other = nodes
    store = RedisStore(redis_server(f"redis://127.0.0.1:{one.port}"), timeout=0.5)
    assert await answer(store) == 0
    move(other, one)
    other.process.signal(end)
    with pytest.raises(StoreUnavailableError):
        await store.drawn("day")
    assert await answer(store) == 0
    await store.close()
