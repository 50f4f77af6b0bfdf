"""Those who wait for the follower, and leave; and those who ask for what others have sent."""

import asyncio
from typing import Any

import pytest

from mpp_asgi.intents import FaultError
from mpp_asgi.stellar import follower
from mpp_asgi.stellar.rpc_call import RpcUnavailableError
from tests.stellar.chain import (
    FIRST,
    START,
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
    return await ledger.find(hash_of(name), since=START, as_of=chain.clock(), patience_seconds=12)


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
