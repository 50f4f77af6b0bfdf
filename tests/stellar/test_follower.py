"""One loop follows the chain for everything that is pending, and asks no more the more there is."""

import asyncio
from collections import Counter
from random import Random
from typing import Any

import pytest

from mpp_asgi.intents import FaultError
from mpp_asgi.stellar import follower
from mpp_asgi.stellar.ledger import Decision, Pending
from mpp_asgi.stellar.rpc import (
    RpcAnswerTooLargeError,
    RpcRefusedError,
    RpcUnavailableError,
    get_latest_ledger,
)
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

MANY = 20
"""More than are asked for one by one."""


@pytest.fixture
def chain() -> Chain:
    return Chain()


@pytest.fixture
def node(chain: Chain) -> Node:
    return Node(chain)


def company(chain: Chain, count: int = MANY, *, delay: int = 30) -> list[Pending]:
    """Others that wait, for long, so that pages are read."""
    others = []
    for number in range(count):
        name = hash_of(("other", number))
        chain.fates[name] = Fate(delay=delay)
        others.append(
            Pending(
                hash=name,
                envelope=name,
                valid_until=int(chain.now) + 1_000,
                sent=False,
                ours=True,
            )
        )
    return others


async def started(chain: Chain, node: Any, **settings: Any) -> Any:
    """A ledger in a process that has simulated something, as it has before it sends."""
    ledger = following(chain, node, **settings)
    await ledger.ask(get_latest_ledger())
    if isinstance(node, Node):
        node.calls.clear()
        node.by_ledger.clear()
    return ledger


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


# --- nodes that know less than they say -----------------------------------------------------------


async def test_a_page_never_says_no(chain: Chain, node: Node) -> None:
    """Pages that leave a transaction out cannot make it dropped: it is asked for in the end."""
    ledger = await started(chain, node)
    own = pending("own", chain)
    node.hidden = {own.hash}
    decision, *_ = await outcomes(ledger, own, *company(chain, delay=14))
    assert kind(decision) == "success"


async def test_what_was_in_a_gap_is_found(chain: Chain, node: Node) -> None:
    """The node was made anew, and has forgotten the pages that were to come next."""
    ledger = await started(chain, node)
    waiting = [pending(number, chain, fate=Fate(delay=2)) for number in range(MANY)]
    wait = asyncio.gather(outcomes(ledger, *waiting))
    while chain.latest < FIRST + 1:  # noqa: ASYNC110 # what it waits for cannot tell
        await asyncio.sleep(0)
    node.oldest = FIRST + 3
    assert {kind(each) for each in (await wait)[0]} == {"success"}


async def test_no_call_at_all_is_answered_for_a_while(chain: Chain, node: Node) -> None:
    def fails(method: str) -> Exception | None:
        dark = FIRST + 1 <= chain.latest <= FIRST + 6
        return RpcUnavailableError("dark") if dark else None

    node.fails = fails
    ledger = await started(chain, node)
    found = await outcomes(ledger, *company(chain, delay=2))
    assert {kind(each) for each in found} == {"success"}
    assert node.by_ledger[FIRST + 4] == {"getTransactions": 5, "getTransaction": 5}


async def test_what_is_too_far_back_is_asked_for_instead_of_read(chain: Chain, node: Node) -> None:
    """A hundred busy ledgers went by while the node could not be reached."""
    ledger = await started(chain, node, patience=1_000)
    last = FIRST + 100
    for number in range(FIRST + 1, last):
        chain.include(number, *(Applied(hash_of((number, each))) for each in range(300)))

    def fails(method: str) -> Exception | None:
        dark = FIRST + 1 <= chain.latest < last
        return RpcUnavailableError("dark") if dark else None

    node.fails = fails
    found = await outcomes(ledger, *company(chain, 50, delay=3))
    assert {kind(each) for each in found} == {"success"}
    after = sum((asked for at, asked in node.by_ledger.items() if at >= last), Counter[str]())
    assert after["getTransactions"] <= 3
    assert after["getTransaction"] == 50


async def test_a_balanced_pair_of_nodes_one_of_them_behind(chain: Chain, node: Node) -> None:
    random = Random(1)
    node.lag = lambda: random.choice([0, 2])
    ledger = await started(chain, node)
    found = await outcomes(ledger, *company(chain, delay=10))
    assert {kind(each) for each in found} == {"success"}
    assert node.calls.total() - node.calls["sendTransaction"] <= 12 * 5 + 2 * MANY


@pytest.mark.parametrize("others", [0, MANY])
async def test_a_chain_that_begins_anew(others: int, chain: Chain, node: Node) -> None:
    """A sandbox was restarted: its ledgers have other numbers, and what was sent is gone."""
    ledger = await started(chain, node)
    waiting = [pending("own", chain, fate=Fate(delay=3)), *company(chain, others, delay=3)]
    wait = asyncio.gather(outcomes(ledger, *waiting))
    while chain.latest < FIRST + 2:  # noqa: ASYNC110 # what it waits for cannot tell
        await asyncio.sleep(0)
    chain.ledgers.clear()
    chain.first, node.oldest = 10, 5
    chain.include(16, *(Applied(each.hash) for each in waiting))
    assert {kind(each) for each in (await wait)[0]} == {"success"}


async def test_pages_that_are_too_large_are_read_smaller(chain: Chain, node: Node) -> None:
    limits = []
    read = node.getTransactions

    def getTransactions(params: Any) -> Any:
        limits.append(params["pagination"]["limit"])
        if limits[-1] > 60:
            raise RpcAnswerTooLargeError("too large")
        return read(params)

    node.getTransactions = getTransactions  # type: ignore[method-assign] # a node like no other
    ledger = await started(chain, node)
    for number in range(FIRST, FIRST + 4):
        chain.include(number, *(Applied(hash_of((number, each))) for each in range(30)))
    found = await outcomes(ledger, *company(chain, delay=3))
    assert {kind(each) for each in found} == {"success"}
    assert limits[:3] == [200, 100, 50]
    assert min(limits) == 50


async def test_a_node_with_smaller_pages_than_usual(chain: Chain, node: Node) -> None:
    node.most = 50
    ledger = await started(chain, node)
    found = await outcomes(ledger, *company(chain, delay=8))
    assert {kind(each) for each in found} == {"success"}


@pytest.mark.parametrize(
    "error",
    [RpcRefusedError(-32601, "none"), RpcUnavailableError("none"), RpcAnswerTooLargeError()],
)
async def test_a_node_without_pages(error: Exception, chain: Chain, node: Node) -> None:
    node.fails = lambda method: error if method == "getTransactions" else None
    ledger = await started(chain, node)
    waiting = company(chain, delay=6)
    found = await outcomes(ledger, *waiting, pending("never", chain, fate=Fate(delay=None)))
    assert [kind(each) for each in found] == ["success"] * MANY + ["dropped"]


async def test_a_ledger_that_was_read_while_a_transaction_was_being_sent(
    chain: Chain, node: Node
) -> None:
    """The node took it, and answered only when others had read the ledger that has it."""

    class SlowToAnswer:
        async def do(self, call: Any) -> Any:
            result = await node.do(call)
            if call.params.get("transaction") == own.hash:
                while chain.latest < FIRST + 3:  # noqa: ASYNC110 # what it waits for cannot tell
                    await asyncio.sleep(0)
            return result

        async def aclose(self) -> None:
            pass

    own = pending("own", chain)
    ledger = await started(chain, SlowToAnswer())
    others = asyncio.gather(outcomes(ledger, *company(chain, delay=9)))
    decision = await ledger.decide(own)
    assert (decision.kind, decision.status.ledger) == ("success", FIRST + 1)
    assert chain.latest <= FIRST + 4
    await others


# --- those who wait -------------------------------------------------------------------------------


@pytest.mark.parametrize("others", [3, MANY])
async def test_who_leaves_harms_no_other(others: int, chain: Chain, node: Node) -> None:
    ledger = await started(chain, node)
    tasks = [asyncio.create_task(ledger.decide(each)) for each in company(chain, others, delay=3)]
    while chain.latest < FIRST + 1:  # noqa: ASYNC110 # what it waits for cannot tell
        await asyncio.sleep(0)
    for task in tasks[:2]:
        task.cancel()
    left = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(each, asyncio.CancelledError) for each in left[:2]] == [True, True]
    assert {kind(each) for each in left[2:]} == {"success"}


async def test_when_all_have_left_the_loop_ends(chain: Chain, node: Node) -> None:
    ledger = await started(chain, node)
    before = asyncio.all_tasks()
    tasks = [asyncio.create_task(ledger.decide(each)) for each in company(chain)]
    for _ in range(5):
        await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
    assert kind((await outcomes(ledger, pending("later", chain)))[0]) == "success"


def test_event_loops_may_change(chain: Chain, node: Node) -> None:
    """The first ends with a payment pending."""
    ledger = following(chain, node)

    async def left_pending() -> None:
        task = asyncio.create_task(ledger.decide(pending("a", chain, fate=Fate(delay=9))))
        for _ in range(3):
            await asyncio.sleep(0)
        assert not task.done()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(left_pending())
    tasks = asyncio.all_tasks(loop)
    assert asyncio.run(outcomes(ledger, pending("b", chain)))[0].kind == "success"  # type: ignore[union-attr] # else it fails as it should
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.close()
    assert asyncio.run(outcomes(ledger, pending("c", chain)))[0].kind == "success"  # type: ignore[union-attr] # else it fails as it should


@pytest.mark.parametrize("others", [0, MANY])
async def test_an_error_that_nobody_foresaw_reaches_those_who_wait(
    others: int, chain: Chain, node: Node
) -> None:
    class DefectError(BaseException):
        pass

    def fails(method: str) -> Exception | None:
        if method != "sendTransaction" and chain.latest == FIRST + 2:
            raise DefectError
        return None

    node.fails = fails
    ledger = await started(chain, node)
    found = await outcomes(ledger, *company(chain, 1 + others, delay=5))
    assert {type(each) for each in found} == {DefectError}
    node.fails = lambda method: None
    assert kind((await outcomes(ledger, pending("later", chain)))[0]) == "success"


async def test_a_loop_that_is_cancelled_leaves_doubt(chain: Chain, node: Node) -> None:
    ledger = await started(chain, node)
    before = asyncio.all_tasks()
    waiting = asyncio.create_task(ledger.decide(pending("a", chain, fate=Fate(delay=9))))
    for _ in range(3):
        await asyncio.sleep(0)
    (task,) = asyncio.all_tasks() - before - {waiting}
    task.cancel()
    with pytest.raises(FaultError):
        await waiting


async def test_no_more_are_waited_for_than_there_is_room_for(
    chain: Chain, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "MOST_WATCHED", 5)
    ledger = await started(chain, node)
    waiting = [asyncio.create_task(ledger.decide(each)) for each in company(chain, 5, delay=2)]
    await asyncio.sleep(0)
    with pytest.raises(FaultError, match="Too many"):
        await ledger.decide(pending("own", chain))
    assert chain.sent[hash_of("own")] == 0
    await asyncio.gather(*waiting)
    assert kind((await outcomes(ledger, pending("own", chain)))[0]) == "success"


# --- what others have sent ------------------------------------------------------------------------


async def found(ledger: Any, chain: Chain, name: str) -> Any:
    return await ledger.find(hash_of(name), as_of=chain.clock(), patience_seconds=12)


async def test_what_others_sent_is_found_at_once(chain: Chain, node: Node) -> None:
    ledger = await started(chain, node)
    chain.include(FIRST - 1, Applied(hash_of("theirs")))
    assert (await found(ledger, chain, "theirs")).ledger == FIRST - 1
    assert node.calls == {"getTransaction": 1}


async def test_what_others_have_just_sent_is_waited_for(chain: Chain, node: Node) -> None:
    node.lag = lambda: 1
    ledger = await started(chain, node)
    chain.include(FIRST, Applied(hash_of("theirs")))
    assert (await found(ledger, chain, "theirs")).ledger == FIRST
    assert chain.latest == FIRST + 1


@pytest.mark.parametrize(("others", "calls"), [(0, 12), (MANY, 2)])
async def test_what_is_not_there_is_said_by_a_later_ledger(
    others: int, calls: int, chain: Chain, node: Node
) -> None:
    ledger = await started(chain, node)
    company_waits = asyncio.gather(outcomes(ledger, *company(chain, others, delay=9)))
    while chain.latest == FIRST and others:  # noqa: ASYNC110 # what it waits for cannot tell
        await asyncio.sleep(0)
    before = node.calls["getTransaction"]
    shown_at = chain.now
    status = await found(ledger, chain, "nothing")
    assert status.status == "NOT_FOUND"
    assert status.latest_ledger_close_time > shown_at
    assert node.calls["getTransaction"] - before <= calls
    await company_waits


async def test_a_node_that_does_not_get_there_says_nothing(chain: Chain, node: Node) -> None:
    node.lag = lambda: 10
    ledger = await started(chain, node)
    with pytest.raises(FaultError, match="behind"):
        await found(ledger, chain, "theirs")
    node.fails = lambda method: RpcUnavailableError("dark")
    with pytest.raises(FaultError, match="cannot be reached"):
        await found(ledger, chain, "theirs")
