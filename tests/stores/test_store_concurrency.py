"""Many callers at once, callers that are cancelled, and event loops that come and go."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from mpp_asgi.stores.contract import Outcome, OwnershipLostError, State

MANY = 100


async def test_of_many_claims_of_one_challenge_one_wins(stores, new_charge):
    for number in range(MANY):
        await stores[0].heartbeat(f"w{number}", alive_until=10)
    claims = await asyncio.gather(
        *(
            stores[number % 2].claim(new_charge(owner=f"w{number}"), ["tx:1"], now=0)
            for number in range(MANY)
        )
    )
    outcomes = [claim.outcome for claim in claims]
    assert Counter(outcomes) == {Outcome.NEW: 1, Outcome.BUSY: MANY - 1}
    winner = claims[outcomes.index(Outcome.NEW)].charge
    assert {claim.charge for claim in claims} == {winner}
    assert await stores[1].get("challenge") == winner


async def test_of_many_claims_by_one_owner_one_is_new(stores, new_charge):
    claims = await asyncio.gather(
        *(stores[number % 2].claim(new_charge(), [], now=0) for number in range(MANY))
    )
    outcomes = Counter(claim.outcome for claim in claims)
    assert outcomes == {Outcome.NEW: 1, Outcome.TAKEN: MANY - 1}


async def test_of_many_challenges_with_one_proof_one_wins(stores, new_charge):
    claims = await asyncio.gather(
        *(stores[n % 2].claim(new_charge(f"{n}"), [f"own:{n}", "tx:1"], now=0) for n in range(MANY))
    )
    outcomes = [claim.outcome for claim in claims]
    assert Counter(outcomes) == {Outcome.NEW: 1, Outcome.CONFLICT: MANY - 1}
    winner = outcomes.index(Outcome.NEW)
    for number in range(MANY):
        assert (await stores[0].get(f"{number}") is not None) == (number == winner)


async def test_of_many_takeovers_one_wins(stores, new_charge):
    await stores[0].claim(new_charge(owner="dead"), [], now=0)
    for number in range(MANY):
        await stores[0].heartbeat(f"w{number}", alive_until=10)
    claims = await asyncio.gather(
        *(stores[n % 2].claim(new_charge(owner=f"w{n}"), [], now=0) for n in range(MANY))
    )
    outcomes = Counter(claim.outcome for claim in claims)
    assert outcomes == {Outcome.TAKEN: 1, Outcome.BUSY: MANY - 1}


async def test_of_many_writes_with_one_proof_one_wins(stores, new_charge):
    for number in range(MANY):
        await stores[0].claim(new_charge(f"{number}"), [], now=0)

    async def submit(number: int) -> bool:
        charge = new_charge(f"{number}", state=State.SUBMITTED)
        try:
            await stores[number % 2].write(charge, ["tx:1"], owner="w")
        except OwnershipLostError:
            return False
        return True

    won = await asyncio.gather(*(submit(number) for number in range(MANY)))
    assert won.count(True) == 1
    records = [await stores[0].get(f"{number}") for number in range(MANY)]
    assert [record.state is State.SUBMITTED for record in records] == won


@pytest.mark.parametrize("seed", range(5))
async def test_a_cancelled_call_happened_whole_or_not_at_all(connect, new_charge, seed):
    """Callers give up at any moment, each somewhere between its start and its end."""
    chance = random.Random(seed)
    store = connect()
    await store.open()
    calls = [
        asyncio.create_task(store.claim(new_charge(f"{n}"), [f"tx:{n}", f"nonce:{n}"], now=0))
        for n in range(30)
    ]
    for call in chance.sample(calls, 15):
        for _ in range(chance.randrange(3)):
            await asyncio.sleep(0)
        call.cancel()
    ends = await asyncio.gather(*calls, return_exceptions=True)
    await store.close()  # waits for what nobody waits for any more

    await store.open()
    for number, end in enumerate(ends):
        written = await store.get(f"{number}") is not None
        assert written or isinstance(end, asyncio.CancelledError)
        for proof in (f"tx:{number}", f"nonce:{number}"):
            used = await store.claim(new_charge("probe"), [proof], now=0)
            assert used.outcome is (Outcome.CONFLICT if written else Outcome.NEW)
            await store.release("probe", owner="w")
    await store.close()


async def test_closing_waits_for_what_is_under_way(connect, new_charge):
    store = connect()
    await store.open()
    calls = [asyncio.create_task(store.claim(new_charge(f"{n}"), [], now=0)) for n in range(20)]
    await asyncio.sleep(0)
    await store.close()
    assert [claim.outcome for claim in await asyncio.gather(*calls)] == [Outcome.NEW] * 20


async def test_a_cancelled_close_closes_all_the_same(connect, new_charge):
    store = connect()
    await store.open()
    await store.claim(new_charge(), [], now=0)
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    await store.open()
    assert await store.get("challenge") == new_charge()
    await store.close()


async def test_opening_at_the_same_time_is_harmless(connect, new_charge):
    many = [connect() for _ in range(8)]
    await asyncio.gather(*(store.open() for store in many for _ in range(3)))
    await many[0].claim(new_charge(), [], now=0)
    assert [await store.get("challenge") for store in many] == [new_charge()] * 8
    assert len({await store.secret() for store in many}) == 1
    await asyncio.gather(*(store.close() for store in many))


def test_a_store_outlives_its_event_loop(connect, new_charge):
    """As under a test client that runs every request in a loop, and a thread, of its own."""
    store = connect()
    asyncio.run(store.open())
    assert asyncio.run(store.claim(new_charge(), [], now=0)).outcome is Outcome.NEW
    asyncio.run(store.write(new_charge(state=State.SETTLED), owner="w"))
    assert asyncio.run(store.get("challenge")) == new_charge(state=State.SETTLED)
    asyncio.run(store.close())


def test_a_loop_that_ends_early_leaves_the_store_usable(connect, new_charge):
    """A loop torn down with calls under way cancels them; the next loop finds them whole."""
    store = connect()

    async def leave_in_a_hurry() -> None:
        await store.open()
        calls = [store.claim(new_charge(f"{n}"), [f"{n}"], now=0) for n in range(10)]
        under_way = [asyncio.create_task(call) for call in calls]
        await asyncio.sleep(0)
        assert len(under_way) == 10

    async def look() -> None:
        for number in range(10):
            written = await store.get(f"{number}") is not None
            claim = await store.claim(new_charge("probe"), [f"{number}"], now=0)
            assert claim.outcome is (Outcome.CONFLICT if written else Outcome.NEW)
            await store.release("probe", owner="w")
        await store.close()

    asyncio.run(leave_in_a_hurry())
    asyncio.run(look())
