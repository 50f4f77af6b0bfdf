"""What runs on a Redis server: exact arithmetic, the rules of the other stores, and no key but
those it was given, all in one slot."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.crc import key_slot

from mpp_asgi.stores.budgets import Budget
from mpp_asgi.stores.channels import Channel, ChannelStatus
from mpp_asgi.stores.contract import Charge, State
from mpp_asgi.stores.kept_answers import KeptAnswer
from mpp_asgi.stores.memory.store import MemoryStore
from mpp_asgi.stores.redis.scripts import DECIMALS
from tests.redis_server import DURABLE, redis_process, storages
from tests.stores.backends import patient_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mpp_asgi.stores.contract import Store
    from tests.redis_server import RedisProcess


@pytest.fixture(scope="module")
def process() -> Iterator[RedisProcess]:
    with redis_process(*DURABLE) as process:
        yield process


# arithmetic

EDGES = [2**53, 10**15, 2**63, 10**30, 2**64, 2**127, 2**128, 10**39]
near_an_edge = st.builds(
    lambda edge, off: max(0, edge + off), st.sampled_from(EDGES), st.integers(-2, 2)
)
amounts = st.integers(0, 3) | near_an_edge | st.integers(0, 2**128)

ARITHMETIC = (
    DECIMALS
    + """
local a, b = ARGV[1], ARGV[2]
return {add(a, b), take(a, b), less(a, b) and 1 or 0}
"""
)


@settings(max_examples=200, deadline=None)
@given(a=amounts, b=amounts)
def test_sums_differences_and_order_are_exact(process, a, b):
    with process.client() as client:
        total, rest, is_less = client.eval(ARITHMETIC, 0, a, b)
    assert total.decode() == str(a + b)
    assert rest.decode() == str(max(0, a - b))
    assert bool(is_less) == (a < b)


# the rules, as in memory


class Step(NamedTuple):
    """A call of the store."""

    name: str
    arguments: tuple[Any, ...]
    named: dict[str, Any]


def step(name: str, *arguments: st.SearchStrategy, **named: st.SearchStrategy) -> Any:
    return st.builds(Step, st.just(name), st.tuples(*arguments), st.fixed_dictionaries(named))


ids = st.sampled_from("ab")
small = st.integers(0, 5)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
wide = st.one_of(amounts, small)
channels = st.builds(
    Channel,
    id=ids,
    key=texts,
    funder=texts,
    recipient=texts,
    token=texts,
    waiting_period=small,
    deposited=wide,
    settled=wide,
    seen_ledger=small,
    opened_at=small,
    closes_at=st.none() | small,
    accepted=wide,
    signature=texts,
    spent=wide,
    units=wide,
    status=st.sampled_from([*ChannelStatus, ChannelStatus.OPEN, ChannelStatus.OPEN]),
)
open_channels = channels.map(
    lambda channel: channel._replace(status=ChannelStatus.OPEN, closes_at=None, deposited=10**40)
)
entries = st.sampled_from(["", *(f"{n:015x}" for n in range(3))])
budgets = st.builds(Budget, ids, wide, small)
steps = st.one_of(
    step("add_channel", channels),
    step(
        "spend", ids, amount=wide, signature=texts, cost=wide, units=wide, min_delta=wide,
        now=small, shown=st.booleans(), entry=entries,
    ),
    step("publish", ids, amount=wide),
    step("give_back", ids, cost=wide, units=wide, entry=entries, certain=st.booleans()),
    step(
        "observe", ids, ledger=small, deposited=wide, settled=wide, closes_at=st.none() | small,
        closed=st.booleans(), now=small,
    ),
    step("begin_close", ids, amount=wide, signature=texts, now=small),
    step("cancel_close", ids, amount=wide),
    step("channels", limit=small, after=st.sampled_from(["", "a"])),
    step("forget_channels", used_before=small, limit=small),
    step("draw", st.lists(budgets, max_size=2, unique_by=lambda budget: budget.name), wide),
    step("put_back", st.lists(ids, max_size=2, unique=True), wide),
    step("drawn", ids),
    step("purge", now=small, limit=st.just(100)),
)  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(first=open_channels, steps=st.lists(steps, max_size=25))
def test_whatever_is_done_with_whatever_amounts_the_answers_are_those_of_the_memory_store(
    process, first, steps
):
    async def answers(store: Store) -> list[object]:
        await store.open()
        try:
            given = [await store.add_channel(first)]
            for one in steps:
                given.append(await getattr(store, one.name)(*one.arguments, **one.named))
                given.append([await store.channel(channel_id) for channel_id in "ab"])
            return given
        finally:
            await store.close()

    with storages(process.url) as urls:
        assert asyncio.run(answers(patient_store(urls()))) == asyncio.run(answers(MemoryStore()))


# keys


async def everything(store: Store, new_channel: Any) -> None:
    """Every call there is, so that every script runs, by all its ways that write."""
    charge = Charge("challenge", "c", State.CLAIMED, 10, owner="w")
    await store.secret()
    await store.heartbeat("w", alive_until=10)
    await store.claim(charge, ["tx:1", "nonce:1"], now=0)
    await store.claim(charge, ["tx:1", "tx:2"], now=0)
    await store.claim(charge._replace(owner="v"), [], now=0)
    await store.write(charge._replace(state=State.SUBMITTED), ["tx:3"], owner="w")
    await store.get("challenge")
    await store.open_charges(now=20, limit=10)
    await store.write(charge._replace(state=State.SETTLED, owner=None), owner="w")
    await store.claim(charge._replace(id="other"), ["tx:4"], now=0)
    await store.release("other", owner="w")
    for name in "ab":
        await store.add_channel(new_channel(name))
        await store.add_channel(new_channel(name))
        await store.spend(
            name, amount=9, signature="s", cost=5, units=1, min_delta=0, now=1, entry="0" * 15
        )
        await store.publish(name, amount=9)
        await store.give_back(name, cost=1, units=1, entry="0" * 15)
        await store.begin_close(name, amount=4, signature="s", now=1)
        await store.cancel_close(name, amount=4)
        await store.observe(
            name, ledger=99, deposited=9, settled=9, closes_at=None, closed=True, now=1
        )
        await store.channel(name)
        await store.channels(limit=9)
    await store.lease("guard", owner="w", until=10, now=0)
    await store.lease("other", owner="w", until=10, now=0)
    await store.release_lease("other", owner="w")
    loan = await store.borrow(["GA", "GB"], until=9, now=0)
    await store.prolong(loan, until=9)
    await store.hand_back(loan, sequence=7, free_at=0)
    await store.draw([Budget("day", 9, 10), Budget("all", 9, 10)], 3)
    await store.put_back(["day"], 1)
    await store.drawn("day")
    await store.keep_answer(KeptAnswer("key", "r", b"\xff", 10), now=0)
    await store.kept_answer("key", now=0)


async def forget_everything(store: Store) -> None:
    assert await store.purge(now=10, limit=100) == 4
    assert await store.forget_channels(used_before=10, limit=100) == 2
    await store.forget_loans(["GA", "GB"])
    await store.lease("last", owner="w", until=11, now=10)
    await store.release_lease("last", owner="w")


async def test_every_script_keeps_to_its_keys_and_they_are_in_one_slot(process, new_channel):
    """What a script touches, the server tells whoever watches it."""
    with storages(process.url) as urls, process.client() as client, client.monitor() as monitor:
        url = urls()
        store = patient_store(url)
        await store.open()
        await everything(store, new_channel)
        await forget_everything(store)
        await store.close()
        with process.client() as another:
            another.echo("the end")
        prefix = url.partition("prefix=")[2]
        scripts, touched, slots = set(), 0, set()
        given = set()
        while (seen := monitor.next_command())["command"] != "ECHO the end":
            name, _, words = seen["command"].partition(" ")
            if name in ("EVAL", "EVALSHA"):
                given = set(re.findall(rf"\{{{prefix}\}}:\w+", words))
                scripts.add(frozenset(given))
                slots |= {key_slot(key.encode()) for key in given}
            elif seen["client_type"] == "lua":
                assert words.split(" ")[0] in given, seen["command"]
                touched += 1
    assert touched > 100
    assert len(scripts) > 10
    assert len(slots) == 1


async def test_nothing_is_left_of_what_was_forgotten(process, new_channel):
    """Steady load is steady size."""
    with storages(process.url) as urls:
        url = urls()
        store = patient_store(url)
        await store.open()
        with process.client() as client:
            prefix = url.partition("prefix=")[2]
            for _ in range(2):
                await everything(store, new_channel)
                assert len(client.keys(f"{{{prefix}}}:*")) > 15
                await forget_everything(store)
                assert client.keys(f"{{{prefix}}}:*") == [f"{{{prefix}}}:meta".encode()]
        await store.close()


async def test_stores_of_other_prefixes_know_nothing_of_each_other(process, new_charge):
    with storages(process.url) as urls:
        one, other = patient_store(urls()), patient_store(urls())
        await one.open()
        await other.open()
        await one.claim(new_charge(), ["tx:1"], now=0)
        assert await other.get("challenge") is None
        assert await one.secret() != await other.secret()
        await one.close()
        await other.close()


async def test_a_script_that_fails_says_nothing_of_what_it_was_given(process, new_charge):
    with storages(process.url) as urls:
        url = urls()
        store = patient_store(url)
        await store.open()
        prefix = url.partition("prefix=")[2]
        with process.client() as client:
            client.set(f"{{{prefix}}}:charges", "no hash")
        with pytest.raises(Exception, match=r"^The Redis store failed: the server failed\.$"):
            await store.claim(new_charge("hidden"), [], now=0)
        await store.close()
