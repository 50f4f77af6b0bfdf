"""A node that knows less than it says, forgets, or falls behind: nobody is told what is not so."""

import asyncio
from collections import Counter
from random import Random
from typing import Any

import pytest

from mpp_asgi.stellar.rpc_call import RpcAnswerTooLargeError, RpcRefusedError, RpcUnavailableError
from tests.stellar.chain import FIRST, Applied, Chain, Fate, Node, hash_of, kind, outcomes, pending
from tests.stellar.company import MANY, company, started


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
