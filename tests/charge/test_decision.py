"""When a submitted transaction is decided: never wrongly, and in the end always.

The network here is a model whose future is known: which offers it takes, whether they answer, when
what was taken is included, and how far behind the node is that is asked.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpp_asgi.intents import FaultError
from mpp_asgi.stellar.ledger import Decision, Ledger, Pending
from mpp_asgi.stellar.network import LEDGER_SECONDS
from mpp_asgi.stellar.rpc_call import RpcCall, RpcUnavailableError, T

START = 1_000_000_000
VALID_SECONDS = 60
HASH = "ab" * 32

FIRST = 10_000
"""The latest ledger at the start."""

LOST_BEFORE, LOST_AFTER, PENDING, DUPLICATE, LATER, ERROR = range(6)


@dataclass
class ModelNetwork:
    """One transaction's network.

    A ledger closes every five seconds. ``offers`` says what becomes of one offer after the other
    (the last one's fate is that of all further ones); what is taken is included ``delay`` ledgers
    later, if it still may be, or not at all (``None``).
    """

    offers: list[int]
    delay: int | None
    lag: int
    """Ledgers that the node which is asked is behind the one that takes offers."""
    kept: int = 1_000
    """Ledgers that the node remembers."""
    now: float = float(START)
    included_in: int | None = None
    """The ledger that has it, or will have it."""
    succeeds: bool = True
    made: list[int] = field(default_factory=list)
    valid_until: int = START + VALID_SECONDS

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds

    @property
    def latest(self) -> int:
        return FIRST + int(self.now - START) // LEDGER_SECONDS

    @staticmethod
    def closed_at(ledger: int) -> int:
        return START + (ledger - FIRST) * LEDGER_SECONDS

    def take(self) -> None:
        """Whoever submitted it."""
        if self.included_in is None and self.delay is not None:
            ledger = self.latest + 1 + self.delay
            if self.closed_at(ledger) <= self.valid_until:
                self.included_in = ledger

    async def do(self, call: RpcCall[T]) -> T:
        answer = self._sent() if call.method == "sendTransaction" else self._found()
        return call.result({"id": 1, "result": answer}, 1)

    async def aclose(self) -> None:
        pass

    def _sent(self) -> dict[str, object]:
        fate = self.offers[min(len(self.made), len(self.offers) - 1)]
        self.made.append(fate)
        if fate in (LOST_AFTER, PENDING, DUPLICATE):
            self.take()
        if fate in (LOST_BEFORE, LOST_AFTER):
            raise RpcUnavailableError("no answer")
        status = {PENDING: "PENDING", DUPLICATE: "DUPLICATE", LATER: "TRY_AGAIN_LATER"}
        return {
            "status": status.get(fate, "ERROR"),
            "hash": HASH,
            "latestLedger": self.latest,
            "latestLedgerCloseTime": self.closed_at(self.latest),
        }

    def _found(self) -> dict[str, object]:
        latest = self.latest - self.lag
        oldest = max(latest - self.kept, FIRST - self.kept)
        span = {
            "latestLedger": latest,
            "latestLedgerCloseTime": self.closed_at(latest),
            "oldestLedger": oldest,
            "oldestLedgerCloseTime": self.closed_at(oldest),
        }
        if self.included_in is None or not oldest <= self.included_in <= latest:
            return {"status": "NOT_FOUND", **span}
        return {
            "status": "SUCCESS" if self.succeeds else "FAILED",
            "ledger": self.included_in,
            "createdAt": self.closed_at(self.included_in),
            "envelopeXdr": "",
            "resultXdr": "",
            "resultMetaXdr": "",
            **span,
        }


def following(network: ModelNetwork, *, patience: float = 20) -> Ledger:
    return Ledger(
        network,
        clock=network.clock,
        sleep=network.sleep,
        poll_seconds=1,
        patience_seconds=patience,
    )


def sent(network: ModelNetwork, *, before: bool = False, ours: bool = False) -> Pending:
    return Pending(
        hash=HASH, envelope="AAAA", valid_until=network.valid_until, sent=before, ours=ours
    )


async def decided(network: ModelNetwork, *, ours: bool) -> Decision:
    """Ask as a payer does: again and again, with the pauses one is told to make."""
    ledger = following(network)
    pending = sent(network, ours=ours)
    for _ in range(20):
        try:
            return await ledger.decide(pending)
        except FaultError as doubt:
            network.now += doubt.retry_after
            pending = sent(network, before=True)
    raise AssertionError("no decision")


FATES = st.sampled_from([LOST_BEFORE, LOST_AFTER, PENDING, DUPLICATE, LATER, ERROR])


@settings(max_examples=400, deadline=None)
@given(
    offers=st.lists(FATES, min_size=1, max_size=6),
    delay=st.none() | st.integers(0, 5),
    lag=st.integers(0, 4),
    payer_submits=st.booleans(),
    ours=st.booleans(),
    succeeds=st.booleans(),
)
async def test_no_decision_is_ever_wrong(
    offers: list[int],
    delay: int | None,
    lag: int,
    payer_submits: bool,
    ours: bool,
    succeeds: bool,
) -> None:
    network = ModelNetwork(offers, delay, lag, succeeds=succeeds)
    if payer_submits and not ours:
        network.delay = 0
        network.take()
        network.now += LEDGER_SECONDS + 1  # in already: whatever is offered now is a repetition
    decision = await decided(network, ours=ours)
    if network.included_in is None:
        assert decision.kind == "dropped"
    else:
        assert decision.kind == ("success" if succeeds else "failed")


def fates_of_offers() -> Iterator[list[int]]:
    for first in range(6):
        for second in range(6):
            yield [first, second]


@pytest.mark.parametrize("offers", list(fates_of_offers()), ids=str)
@pytest.mark.parametrize("ours", [True, False])
async def test_every_pair_of_answers(offers: list[int], ours: bool) -> None:
    for delay in (None, 0, 3):
        for lag in (0, 2):
            network = ModelNetwork(offers, delay, lag)
            decision = await decided(network, ours=ours)
            assert (decision.kind == "success") == (network.included_in is not None)


async def test_refusal_of_our_own_transaction_is_believed_at_once() -> None:
    """Nobody else can have sent it, and a sponsored charge is better built anew than waited for."""
    network = ModelNetwork([ERROR], None, 0)
    assert (await following(network).decide(sent(network, ours=True))).kind == "dropped"
    assert network.now == START


async def test_refusal_is_believed_two_ledgers_later() -> None:
    network = ModelNetwork([ERROR], None, 0)
    assert (await following(network).decide(sent(network))).kind == "dropped"
    assert 2 * LEDGER_SECONDS <= network.now - START < 3 * LEDGER_SECONDS


async def test_refused_transaction_may_be_taken_later() -> None:
    """The payer's transaction before it was still on its way."""
    network = ModelNetwork([ERROR, PENDING], 0, 0)
    assert (await following(network).decide(sent(network))).kind == "success"


async def test_refusals_count_from_the_last_other_answer() -> None:
    network = ModelNetwork([ERROR, LATER, ERROR], None, 0)
    await following(network).decide(sent(network))
    assert network.now - START >= 6 + 2 * LEDGER_SECONDS - 5


async def test_last_ledger_within_the_time_limit_is_waited_for() -> None:
    last = VALID_SECONDS // LEDGER_SECONDS - 1
    network = ModelNetwork([LOST_AFTER, LOST_BEFORE], last, 0)
    assert (await decided(network, ours=False)).kind == "success"
    assert network.included_in == FIRST + last + 1
    assert network.closed_at(network.included_in) == network.valid_until


async def test_node_that_has_forgotten_the_time_in_question_decides_nothing() -> None:
    network = ModelNetwork([LOST_AFTER, LOST_BEFORE], 0, 0, kept=10)
    with pytest.raises(FaultError):
        await following(network, patience=1).decide(sent(network))
    network.now += 1_000
    with pytest.raises(FaultError):
        await following(network).decide(sent(network, before=True))


async def test_node_that_was_made_anew_after_the_transaction_decides_nothing() -> None:
    """Its oldest ledger is younger than the transaction, though not than its time limit."""
    network = ModelNetwork([LOST_AFTER], 0, 0)
    with pytest.raises(FaultError):
        await following(network, patience=1).decide(sent(network))
    network.now, network.kept = network.valid_until + 2 * LEDGER_SECONDS, 10
    assert network.included_in == FIRST + 1
    with pytest.raises(FaultError):
        await following(network).decide(sent(network, before=True))
    network.kept = 1_000
    assert (await following(network).decide(sent(network, before=True))).kind == "success"


async def test_what_may_have_been_sent_is_looked_for_before_it_is_offered() -> None:
    network = ModelNetwork([PENDING], 0, 0)
    network.take()
    network.now += LEDGER_SECONDS
    assert (await following(network).decide(sent(network, before=True))).kind == "success"
    assert network.made == []


async def test_what_was_taken_is_not_offered_again() -> None:
    network = ModelNetwork([PENDING], 3, 0)
    await following(network, patience=60).decide(sent(network))
    assert network.made == [PENDING]


async def test_doubt_says_when_to_come_back() -> None:
    network = ModelNetwork([LATER], None, 0)
    with pytest.raises(FaultError) as doubt:
        await following(network, patience=7).decide(sent(network))
    assert doubt.value.retry_after > 0
    assert network.now - START == 7
