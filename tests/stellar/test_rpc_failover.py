"""Several nodes as one: whoever fails, lags or lies is noticed, and no answer means more than its
node knew."""

import asyncio
import logging
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpp_asgi.intents import FaultError
from mpp_asgi.sandbox import Sandbox
from mpp_asgi.stellar.rpc import get_latest_ledger, get_transaction, send_transaction
from mpp_asgi.stellar.rpc_call import (
    RpcAnswerTooLargeError,
    RpcCall,
    RpcRefusedError,
    RpcUnavailableError,
    T,
)
from mpp_asgi.stellar.rpc_drivers import InProcessRpc
from mpp_asgi.stellar.rpc_endpoints import endpoint_names, open_rpc, preferred
from mpp_asgi.stellar.rpc_failover import (
    ASIDE_SECONDS,
    PROBE_SECONDS,
    Endpoint,
    FailoverRpc,
    WrongNetworkError,
)
from mpp_asgi.stellar.rpc_pages import get_transactions
from tests.stellar.chain import FIRST, START, Chain, Fate, Node, following, hash_of, pending

PASSPHRASE = "the chain's"


class Silent:
    """A node that takes calls, and never answers."""

    def __init__(self, node: Node, *methods: str) -> None:
        self.node = node
        self.methods = methods

    async def do(self, call: RpcCall[T]) -> T:
        result = await self.node.do(call)
        if not self.methods or call.method in self.methods:
            await asyncio.Event().wait()
        return result

    async def aclose(self) -> None:
        pass


def over(chain: Chain, *nodes: Any, **bounds: float) -> FailoverRpc:
    return FailoverRpc(
        [Endpoint(f"node {number}", node) for number, node in enumerate(nodes, 1)],
        passphrase=PASSPHRASE,
        clock=chain.clock,
        **bounds,
    )


def dark(method: str) -> Exception:
    return RpcUnavailableError("dark")


def light(method: str) -> None:
    return None


def aside(rpc: FailoverRpc) -> dict[str, str]:
    return {each.name: each.aside for each in rpc.endpoints if each.aside is not None}


async def ask(rpc: FailoverRpc) -> int:
    return (await rpc.do(get_latest_ledger())).sequence


# --- failing --------------------------------------------------------------------------------------


async def test_the_first_is_preferred(chain: Chain) -> None:
    one, two = Node(chain), Node(chain)
    rpc = over(chain, one, two)
    for _ in range(3):
        await ask(rpc)
    assert one.calls["getLatestLedger"] == 3
    assert two.calls.total() == 0


async def test_the_next_answers_for_one_that_fails(
    chain: Chain, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = Node(chain, fails=light), Node(chain)
    rpc = over(chain, one, two)
    await ask(rpc)
    one.fails = dark
    assert await ask(rpc) == FIRST
    assert aside(rpc) == {}, "once is nothing"
    await ask(rpc)
    assert aside(rpc) == {"node 1": "dark"}
    assert "rpc aside endpoint=node 1 reason='dark' ledger=1000 seconds=30" in caplog.text
    calls = one.calls.total()
    await ask(rpc)
    assert one.calls.total() == calls, "it is left alone for a while"


async def test_one_that_will_not_say_its_network_is_none_to_ask(chain: Chain) -> None:
    """A plan, or a key, may forbid a method."""

    def forbidden(method: str) -> Exception | None:
        return RpcRefusedError(-32601, "not in your plan") if method == "getNetwork" else None

    one, two = Node(chain, fails=forbidden), Node(chain)
    rpc = over(chain, one, two)
    assert await ask(rpc) == FIRST
    assert list(aside(rpc)) == ["node 1"]
    with pytest.raises(RpcUnavailableError, match="not in your plan"):
        await ask(over(chain, one))


async def test_it_comes_back_when_it_is_well(
    chain: Chain, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    one, two = Node(chain, fails=dark), Node(chain)
    rpc = over(chain, one, two)
    await ask(rpc)
    await ask(rpc)
    await chain.sleep(ASIDE_SECONDS + 1)
    await rpc.probe()
    assert aside(rpc) == {"node 1": "dark"}
    one.fails = light
    await chain.sleep(ASIDE_SECONDS + 1)
    await rpc.probe()
    assert list(aside(rpc)) == ["node 1"], "the second time it takes twice as long"
    await chain.sleep(ASIDE_SECONDS)
    await rpc.probe()
    assert aside(rpc) == {}
    assert f"rpc back endpoint=node 1 ledger={chain.latest}" in caplog.text
    calls = two.calls.total()
    await ask(rpc)
    assert two.calls.total() == calls


async def test_those_not_in_use_are_looked_after_beside_the_calls(chain: Chain) -> None:
    one, two = Node(chain), Node(chain, lag=lambda: 50)
    rpc = over(chain, one, two)
    await ask(rpc)
    await asyncio.sleep(0)
    assert two.calls.total() == 0
    await chain.sleep(PROBE_SECONDS)
    for _ in range(5):
        await ask(rpc)
        await asyncio.sleep(0)
    assert two.calls == {"getNetwork": 1, "getHealth": 1}
    assert list(aside(rpc)) == ["node 2"]
    await rpc.aclose()


async def test_one_that_says_it_is_not_well_is_put_aside(chain: Chain) -> None:
    """As nodes do whose ledger is older than 30 seconds; here, two of the sandbox."""
    sandboxes = [Sandbox(clock=chain.clock, close_interval=5) for _ in range(2)]
    rpc = FailoverRpc(
        [Endpoint(f"node {n}", InProcessRpc(each.rpc)) for n, each in enumerate(sandboxes, 1)],
        passphrase=sandboxes[0].passphrase,
        clock=chain.clock,
    )
    sandboxes[0].fall_behind()
    await chain.sleep(31)
    await rpc.probe()
    words = "latency (31s) since last known ledger closed is too high (>30s)"
    assert aside(rpc) == {"node 1": f"The RPC failed at getHealth: {words} (-32603)."}
    assert await ask(rpc) == sandboxes[1].sequence
    sandboxes[0].catch_up()
    await chain.sleep(ASIDE_SECONDS)
    await rpc.probe()
    assert aside(rpc) == {}


async def test_looking_after_others_ends_with_the_rest(chain: Chain) -> None:
    rpc = over(chain, Node(chain), Silent(Node(chain)))
    before = asyncio.all_tasks()
    await chain.sleep(PROBE_SECONDS)
    await ask(rpc)
    assert asyncio.all_tasks() != before
    await rpc.aclose()
    assert asyncio.all_tasks() == before


async def test_a_node_that_does_not_answer_is_given_up(chain: Chain) -> None:
    rpc = over(chain, Silent(Node(chain)), Node(chain), call_seconds=0.01)
    assert await ask(rpc) == FIRST
    assert aside(rpc) == {"node 1": "no answer to getNetwork in time"}


async def test_a_call_ends_when_its_time_is_over(chain: Chain) -> None:
    nodes = [Silent(Node(chain)) for _ in range(5)]
    rpc = over(chain, *nodes, call_seconds=100, total_seconds=0.01)
    with pytest.raises(RpcUnavailableError, match="No RPC answered getLatestLedger in time"):
        await ask(rpc)


async def test_all_fail(chain: Chain) -> None:
    one, two = Node(chain, fails=dark), Node(chain, fails=dark)
    rpc = over(chain, one, two)
    for _ in range(5):
        with pytest.raises(RpcUnavailableError, match="dark"):
            await ask(rpc)
    assert list(aside(rpc)) == ["node 1", "node 2"]
    two.fails = light
    assert await ask(rpc) == FIRST, "they are asked all the same"


async def test_what_a_node_refuses_is_refused(chain: Chain) -> None:
    one, two = Node(chain, most=10), Node(chain)
    rpc = over(chain, one, two)
    with pytest.raises(RpcRefusedError):
        await rpc.do(get_transactions(start=FIRST, limit=50, wanted=()))
    assert two.calls.total() == 0
    assert aside(rpc) == {}


async def test_too_large_an_answer_is_no_fault_of_the_node(chain: Chain) -> None:
    def fails(method: str) -> Exception | None:
        return RpcAnswerTooLargeError("large") if method == "getLatestLedger" else None

    one, two = Node(chain, fails=fails), Node(chain)
    rpc = over(chain, one, two)
    for _ in range(3):
        with pytest.raises(RpcAnswerTooLargeError):
            await ask(rpc)
    assert two.calls.total() == 0
    assert aside(rpc) == {}


async def test_a_single_node_is_never_given_up(chain: Chain) -> None:
    one = Node(chain, fails=dark)
    rpc = over(chain, one)
    for _ in range(3):
        with pytest.raises(RpcUnavailableError):
            await ask(rpc)
    one.fails = light
    assert await ask(rpc) == FIRST
    await chain.sleep(ASIDE_SECONDS)
    assert await ask(rpc) == chain.latest
    assert aside(rpc) == {}


# --- the wrong network ----------------------------------------------------------------------------


async def test_the_only_node_follows_another_network(chain: Chain) -> None:
    one = Node(chain, passphrase="another")
    rpc = over(chain, one)
    with pytest.raises(WrongNetworkError):
        await rpc.require_network()
    with pytest.raises(RpcUnavailableError, match="no RPC that follows the network"):
        await ask(rpc)
    assert one.calls == {"getNetwork": 1}


async def test_a_node_of_another_network_is_never_asked(chain: Chain) -> None:
    one, two = Node(chain, passphrase="another"), Node(chain)
    rpc = over(chain, one, two)
    await rpc.require_network()
    assert aside(rpc) == {"node 1": "it follows another network"}
    two.fails = dark
    for _ in range(3):
        with pytest.raises(RpcUnavailableError):
            await ask(rpc)
    assert one.calls == {"getNetwork": 1}


async def test_a_start_does_not_wait_for_nodes_that_are_silent(chain: Chain) -> None:
    one, two = Silent(Node(chain)), Node(chain, fails=dark)
    rpc = over(chain, one, two)
    await rpc.require_network(seconds=0.01)
    two.fails = light
    assert await over(chain, two).do(get_latest_ledger())


async def test_what_was_silent_at_the_start_is_checked_before_it_is_used(chain: Chain) -> None:
    one, two = Node(chain, fails=dark, passphrase="another"), Node(chain)
    rpc = over(chain, one, two)
    await rpc.require_network()
    one.fails = light
    assert await ask(rpc) == FIRST
    assert one.calls["getLatestLedger"] == 0


# --- nodes that lag, and liars --------------------------------------------------------------------


class Liar(Node):
    """Says another latest ledger, or another time of it, than there is."""

    ledgers = 0
    seconds = 0

    def getLatestLedger(self, params: Any) -> Any:
        true = super().getLatestLedger(params)
        return true | {
            "sequence": true["sequence"] + self.ledgers,
            "closeTime": str(int(true["closeTime"]) + self.seconds),
        }


def liar(chain: Chain, *, ledgers: int = 0, seconds: int = 0) -> Liar:
    node = Liar(chain)
    node.ledgers, node.seconds = ledgers, seconds
    return node


async def after(chain: Chain, rpc: FailoverRpc) -> int:
    """The ledger that is told, when every node has told its own before."""
    for each in rpc.endpoints:
        await rpc._ask(each, get_latest_ledger())
    await chain.sleep(1)
    return await ask(rpc)


async def test_a_node_that_is_behind_is_put_aside(chain: Chain) -> None:
    rpc = over(chain, Node(chain, lag=lambda: 6), Node(chain))
    assert await after(chain, rpc) == FIRST
    assert aside(rpc) == {"node 1": "6 ledgers behind node 2"}


async def test_nodes_need_not_be_in_step(chain: Chain) -> None:
    rpc = over(chain, Node(chain, lag=lambda: 5), Node(chain))
    await after(chain, rpc)
    assert aside(rpc) == {}


@pytest.mark.parametrize(
    ("seconds", "reason"),
    [
        (-61, "its latest ledger is 61 s old"),
        (61, "its latest ledger is 61 s ahead of the clock"),
    ],
)
async def test_a_ledger_that_the_clock_does_not_allow(
    seconds: int, reason: str, chain: Chain
) -> None:
    rpc = over(chain, liar(chain, seconds=seconds), Node(chain))
    assert await ask(rpc) == FIRST
    assert aside(rpc) == {"node 1": reason}


async def test_a_node_that_goes_backwards(chain: Chain) -> None:
    one = liar(chain)
    rpc = over(chain, one, Node(chain))
    await ask(rpc)
    one.ledgers = -6
    assert await ask(rpc) == FIRST
    assert aside(rpc) == {"node 1": "it went backwards from ledger 1000"}


@pytest.mark.parametrize("ledgers", [-1_000, -20, 40, 10**9])
@pytest.mark.parametrize("place", [0, 1, 2])
async def test_of_three_the_one_that_lies_is_noticed(
    ledgers: int, place: int, chain: Chain
) -> None:
    nodes = [Node(chain), Node(chain)]
    nodes.insert(place, liar(chain, ledgers=ledgers))
    rpc = over(chain, *nodes)
    for each in rpc.endpoints:
        await rpc._ask(each, get_latest_ledger())
    await chain.sleep(ASIDE_SECONDS + 1)
    await rpc.probe()
    assert await after(chain, rpc) == chain.latest
    assert list(aside(rpc)) == [f"node {place + 1}"]


async def test_of_two_that_contradict_each_other_the_preferred_is_believed(chain: Chain) -> None:
    rpc = over(chain, Node(chain), liar(chain, ledgers=1_000))
    assert await after(chain, rpc) == FIRST
    assert aside(rpc) == {"node 2": "its latest ledger contradicts node 1's"}


async def test_when_all_are_behind_they_are_asked_all_the_same(chain: Chain) -> None:
    """The network stands still: its last ledger is an hour old everywhere."""
    one, two = Node(chain, lag=lambda: 720), Node(chain, lag=lambda: 720)
    rpc = over(chain, one, two)
    for _ in range(3):
        assert await ask(rpc) == FIRST - 720
    assert list(aside(rpc)) == ["node 1", "node 2"]
    assert two.calls["getLatestLedger"] == 1


# --- what is concluded ----------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "told"), [("PENDING", "DUPLICATE"), ("DUPLICATE", "DUPLICATE")])
async def test_after_silence_a_yes_is_passed_on(status: str, told: str, chain: Chain) -> None:
    one, two = Silent(Node(chain), "sendTransaction"), Node(chain)
    rpc = over(chain, one, two, call_seconds=0.01)
    chain.fates[hash_of("a")] = Fate(status)
    submission = await rpc.do(send_transaction(hash_of("a")))
    assert (submission.status, submission.after_silence) == (told, True)
    again = await over(chain, two, one).do(send_transaction(hash_of("a")))
    assert (again.status, again.after_silence) == ("DUPLICATE", False)


@pytest.mark.parametrize("status", ["ERROR", "TRY_AGAIN_LATER"])
async def test_after_silence_a_no_means_nothing(status: str, chain: Chain) -> None:
    one, two = Silent(Node(chain), "sendTransaction"), Node(chain)
    rpc = over(chain, one, two, call_seconds=0.01)
    chain.fates[hash_of("a")] = Fate(status)
    with pytest.raises(RpcUnavailableError, match="did not answer sendTransaction"):
        await rpc.do(send_transaction(hash_of("a")))


async def test_what_the_first_took_in_silence_and_the_second_refused_is_not_dropped(
    chain: Chain,
) -> None:
    """Its sequence number is used, says the second: by itself."""

    class Taker(Node):
        def sendTransaction(self, params: Any) -> Any:
            super().sendTransaction(params)
            chain.fates[params["transaction"]] = Fate("ERROR")
            raise RpcUnavailableError("no answer")

    rpc = over(chain, Taker(chain), Node(chain, lag=lambda: 3))
    decision = await following(chain, rpc).decide(pending("a", chain, fate=Fate(delay=4)))
    assert decision.kind == "success"


class Taker(Node):
    """Takes what it is sent; from then on everybody says that its sequence number is used."""

    def sendTransaction(self, params: Any) -> Any:
        answer = super().sendTransaction(params)
        self.chain.fates[params["transaction"]] = Fate("ERROR")
        return answer


async def behind_what_another_told(chain: Chain, one: Node, two: Node) -> FailoverRpc:
    """The first is put aside at its next answer, for all that its answers are good."""
    rpc = over(chain, one, two)
    await rpc.probe()
    await chain.sleep(PROBE_SECONDS)
    one.lag = lambda: 9
    await rpc._probe(rpc.endpoints[1])
    return rpc


async def test_what_was_taken_by_a_node_that_is_found_behind_is_taken(chain: Chain) -> None:
    one, two = Taker(chain), Node(chain, lag=lambda: 3)
    rpc = await behind_what_another_told(chain, one, two)
    own = pending("a", chain, fate=Fate(delay=4))
    assert (await following(chain, rpc).decide(own)).kind == "success"
    assert list(aside(rpc)) == ["node 1"]
    assert two.calls["sendTransaction"] == 0


async def test_what_one_node_refused_another_may_have_taken_in_silence(chain: Chain) -> None:
    """The first says no and is found behind; the second takes it without a word."""

    class Refuser(Node):
        def sendTransaction(self, params: Any) -> Any:
            return super().sendTransaction(params) | {"status": "ERROR"}

    one, two = Refuser(chain), Silent(Node(chain), "sendTransaction")
    rpc = await behind_what_another_told(chain, one, two.node)
    rpc.endpoints[1].rpc = two
    rpc._call_seconds = 0.01
    with pytest.raises(RpcUnavailableError):
        await rpc.do(send_transaction(pending("a", chain, fate=Fate()).hash))


async def test_what_is_refused_is_dropped_by_a_node_that_knows_as_much(chain: Chain) -> None:
    """Something between us and the nodes sends it twice: the second of them is 9 ledgers ahead, and
    has it on its ledger by then."""

    class Twice(Node):
        def sendTransaction(self, params: Any) -> Any:
            super().sendTransaction(params)
            chain.now += 60
            return super().sendTransaction(params)

    node = Twice(chain)
    asked_elsewhere = iter([20, 20, 20])
    ledger = following(chain, node)
    own = pending("a", chain, fate=Fate())

    def lag() -> int:
        return 0 if node.calls["getTransaction"] == 0 else next(asked_elsewhere, 0)

    node.lag = lag
    assert (await ledger.decide(own)).kind == "success"


async def test_a_node_that_is_behind_drops_nothing(chain: Chain) -> None:
    """The first has it, and falls silent; the second is 13 ledgers behind."""
    rpc = over(chain, one := Node(chain), Node(chain, lag=lambda: 13))
    own = pending("a", chain, fate=Fate(delay=11))
    await rpc.do(send_transaction(own.hash))
    await chain.sleep(70)
    one.fails = dark
    again = pending("a", chain, sent=True, ours=False)
    assert (await rpc.do(get_transaction(own.hash))).status == "NOT_FOUND"
    with pytest.raises(FaultError):
        await following(chain, rpc, patience=10).decide(again)
    one.fails = light
    assert (await following(chain, rpc).decide(again)).kind == "success"


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    lags=st.lists(st.integers(0, 20), min_size=1, max_size=3),
    trouble=st.floats(0, 0.4),
    count=st.integers(1, 12),
    ours=st.booleans(),
)
async def test_no_decision_is_ever_wrong(
    seed: int, lags: list[int], trouble: float, count: int, ours: bool
) -> None:
    """Nodes fail, fall behind and catch up as they like; what they take may go unanswered."""
    chain, random = Chain(), Random(seed)
    nodes = [_wanderer(chain, random, lag, trouble) for lag in lags]
    ledger = following(chain, over(chain, *nodes), patience=20)
    fates = [
        Fate("PENDING", 0), Fate("PENDING", 8), Fate("PENDING", None), Fate("LOST", 3),
        Fate("LOST", None), Fate("ERROR", None), Fate("TRY_AGAIN_LATER", None),
    ]  # fmt: skip

    async def decided(number: int) -> str:
        own = pending(number, chain, ours=ours, fate=random.choice(fates))
        for _ in range(40):
            try:
                return (await ledger.decide(own)).kind
            except FaultError as doubt:
                chain.now += doubt.retry_after
            if random.random() < 0.3:
                chain.fates[own.hash] = random.choice(fates)
            own = pending(number, chain, sent=True, ours=False)
        raise AssertionError("no decision")

    async with asyncio.timeout(60):
        kinds = await asyncio.gather(*map(decided, range(count)))
    for number, decision in enumerate(kinds):
        found = chain.find(hash_of(number))
        assert decision == ("dropped" if found is None else "success")


def _wanderer(chain: Chain, random: Random, lag: int, trouble: float) -> Node:
    def fails(method: str) -> Exception | None:
        return RpcUnavailableError("dark") if random.random() < trouble else None

    return Node(chain, lag=lambda: random.randint(0, lag), fails=fails)


# --- by URL ---------------------------------------------------------------------------------------


def test_names_tell_no_keys() -> None:
    urls = ["https://me:key@a.example/v1/key", "https://a.example/key2", "http://127.0.0.1:8000"]
    assert endpoint_names(urls) == ["a.example#1", "a.example#2", "127.0.0.1:8000"]


def test_whoever_asks_one_node_asks_the_preferred() -> None:
    assert preferred("https://a.example, https://b.example") == "https://a.example"
    assert preferred("https://a.example") == "https://a.example"
    assert preferred("") is None
    assert preferred(None) is None


@pytest.mark.parametrize("count", [1, 3])
async def test_nodes_behind_urls(count: int) -> None:
    urls = [f"http://127.0.0.1:9/{number}" for number in range(count)]
    rpc = open_rpc(urls, passphrase=PASSPHRASE, clock=lambda: START)
    try:
        assert len(rpc.endpoints) == count
        with pytest.raises(RpcUnavailableError):
            await rpc.do(get_latest_ledger())
    finally:
        await rpc.aclose()
