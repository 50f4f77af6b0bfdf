"""One loop follows the chain for everything that is pending, and asks no more the more there is."""

import asyncio
from typing import Any

import pytest

from mpp_asgi.stellar import follower
from mpp_asgi.stellar.ledger import Decision
from tests.stellar.chain import (
    FIRST,
    VALID_SECONDS,
    Applied,
    Chain,
    Fate,
    Node,
    following,
    hash_of,
    kind,
    outcomes,
    pending,
)
from tests.stellar.company import MANY, company, started

# --- how much is asked ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "calls"),
    [
        (1, {"getTransaction": 5}),
        (8, {"getTransaction": 5 + 7}),
        (10, {"getTransactions": 5}),
        (500, {"getTransactions": 5}),
    ],
)
async def test_calls_a_ledger_do_not_grow_with_what_is_pending(
    count: int, calls: dict[str, int], chain: Chain, node: Node
) -> None:
    """There are five polls a ledger."""
    ledger = await started(chain, node)
    waiting = [
        pending(number, chain, fate=Fate(delay=5 + number % 5 if count > 8 else 5))
        for number in range(count)
    ]
    assert {kind(each) for each in await outcomes(ledger, *waiting)} == {"success"}
    assert node.calls["sendTransaction"] == count
    assert node.by_ledger[FIRST].total() - count <= sum(calls.values()) + 1
    for number in range(FIRST + 1, FIRST + 6):
        assert node.by_ledger[number] == calls
    for asked in node.by_ledger.values():
        assert asked.total() - asked["sendTransaction"] <= 5 + follower.FEW


async def test_transactions_of_others_cost_a_call_for_two_hundred(chain: Chain, node: Node) -> None:
    ledger = await started(chain, node)
    for number in range(FIRST + 1, FIRST + 5):
        chain.include(number, *(Applied(hash_of((number, each))) for each in range(900)))
    assert {kind(each) for each in await outcomes(ledger, *company(chain, 50, delay=4))} == {
        "success"
    }
    for number in range(FIRST + 1, FIRST + 5):
        assert node.by_ledger[number] == {"getTransactions": 5 + 900 // 200}


async def test_nothing_is_asked_while_nothing_is_pending(chain: Chain, node: Node) -> None:
    ledger = await started(chain, node)
    before = asyncio.all_tasks()
    await outcomes(ledger, pending("a", chain))
    asked = node.calls.total()
    for _ in range(10):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
    assert node.calls.total() == asked


async def test_many_that_may_have_been_sent_are_asked_for_once_each(
    chain: Chain, node: Node
) -> None:
    """After a restart: any ledger may have them."""
    ledger = following(chain, node)
    waiting = [pending(number, chain, sent=True) for number in range(100)]
    chain.include(FIRST - 20, *(Applied(each.hash) for each in waiting[:50]))
    chain.include(FIRST + 2, *(Applied(each.hash) for each in waiting[50:]))
    assert {kind(each) for each in await outcomes(ledger, *waiting)} == {"success"}
    assert node.calls["getTransaction"] <= 100 + 1


async def test_two_who_wait_for_the_same_cost_as_one(chain: Chain, node: Node) -> None:
    ledger = await started(chain, node)
    one = pending("a", chain, fate=Fate(delay=3))
    again = pending("a", chain, sent=True)
    both = await outcomes(ledger, one, again)
    assert [kind(each) for each in both] == ["success", "success"]
    assert node.by_ledger[FIRST + 2] == {"getTransaction": 5}


# --- every ending, alone and in company -----------------------------------------------------------


@pytest.mark.parametrize("others", [0, MANY])
@pytest.mark.parametrize("delay", [0, 3])
@pytest.mark.parametrize("succeeds", [True, False])
async def test_what_a_ledger_has(
    others: int, delay: int, succeeds: bool, chain: Chain, node: Node
) -> None:
    ledger = await started(chain, node)
    own = pending("own", chain, fate=Fate(delay=delay, succeeds=succeeds))
    decision, *_ = await outcomes(ledger, own, *company(chain, others, delay=6))
    assert isinstance(decision, Decision)
    assert decision.kind == ("success" if succeeds else "failed")
    assert decision.status.ledger == FIRST + 1 + delay
    assert decision.status.created_at == chain.closed_at(FIRST + 1 + delay)
    assert decision.status.envelope_xdr == "ENV="
    assert decision.status.result_meta_xdr == "META"
    assert decision.status.contract_events == (f"EV{own.hash[:2]}",)


@pytest.mark.parametrize("others", [0, MANY])
async def test_dropped_by_its_time_limit(others: int, chain: Chain, node: Node) -> None:
    ledger = await started(chain, node)
    own = pending("own", chain, fate=Fate(delay=None))
    decision, *_ = await outcomes(ledger, own, *company(chain, others, delay=14))
    assert kind(decision) == "dropped"
    assert isinstance(decision, Decision)
    assert decision.status.latest_ledger_close_time > own.valid_until
    assert decision.status.latest_ledger == FIRST + VALID_SECONDS // 5 + 1
    if others:
        assert node.calls["getTransaction"] == 1, "asked for only when its time was over"


@pytest.mark.parametrize("others", [0, MANY])
@pytest.mark.parametrize("ours", [True, False])
async def test_dropped_by_refusal(others: int, ours: bool, chain: Chain, node: Node) -> None:
    ledger = await started(chain, node)
    own = pending("own", chain, ours=ours, fate=Fate("ERROR"))
    decision, *_ = await outcomes(ledger, own, *company(chain, others, delay=6))
    assert isinstance(decision, Decision)
    assert decision.kind == "dropped"
    assert decision.status.latest_ledger >= FIRST + (0 if ours else 2)
    assert decision.status.latest_ledger <= FIRST + 3


@pytest.mark.parametrize("others", [0, MANY])
async def test_what_got_no_answer_is_not_dropped_by_a_refusal(
    others: int, chain: Chain, node: Node
) -> None:
    """The first offer was taken, whatever the later ones are told."""
    ledger = await started(chain, node)
    own = pending("own", chain, fate=Fate("LOST", delay=8))
    wait = asyncio.gather(outcomes(ledger, own, *company(chain, others, delay=10)))
    while not chain.sent[own.hash]:  # noqa: ASYNC110 # what it waits for cannot tell
        await asyncio.sleep(0)
    chain.fates[own.hash] = Fate("ERROR")
    assert kind((await wait)[0][0]) == "success"
    assert chain.sent[own.hash] > 1


@pytest.mark.parametrize("others", [0, MANY])
async def test_what_is_not_taken_is_offered_again(others: int, chain: Chain, node: Node) -> None:
    ledger = await started(chain, node)
    own = pending("own", chain, fate=Fate("TRY_AGAIN_LATER"))
    wait = asyncio.gather(outcomes(ledger, own, *company(chain, others, delay=6)))
    while chain.sent[own.hash] < 3:  # noqa: ASYNC110 # what it waits for cannot tell
        await asyncio.sleep(0)
    assert 6 <= chain.now - chain.closed_at(FIRST) <= 8
    chain.fates[own.hash] = Fate()
    assert kind((await wait)[0][0]) == "success"
    assert chain.sent[own.hash] == 4, "what was taken is not offered again"


@pytest.mark.parametrize("others", [0, MANY])
async def test_patience_ends_for_each_by_itself(others: int, chain: Chain, node: Node) -> None:
    ledger = await started(chain, node, patience=7)
    own = pending("own", chain, fate=Fate(delay=5))
    found = await outcomes(ledger, own, *company(chain, others, delay=5))
    assert {kind(each) for each in found} == {"doubt"}
    assert 7 <= chain.now - chain.closed_at(FIRST) <= 8
    later = [kind(await again(ledger, chain)) for _ in range(4)]
    assert later == ["doubt", "doubt", "doubt", "success"]


async def again(ledger: Any, chain: Chain) -> Any:
    (outcome,) = await outcomes(ledger, pending("own", chain, sent=True))
    return outcome


@pytest.mark.parametrize("others", [0, MANY])
@pytest.mark.parametrize("succeeds", [True, False])
@pytest.mark.parametrize("name", ["outer", "inner"])
async def test_a_fee_bump_is_known_by_either_hash(
    others: int, succeeds: bool, name: str, chain: Chain, node: Node
) -> None:
    ledger = await started(chain, node)
    own = pending(hash_of(name), chain, fate=Fate(delay=None))
    chain.include(FIRST + 3, Applied(hash_of("outer"), hash_of("inner"), succeeds))
    decision, *_ = await outcomes(ledger, own, *company(chain, others, delay=6))
    assert kind(decision) == ("success" if succeeds else "failed")
