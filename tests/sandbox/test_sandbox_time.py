"""Ledgers close by a clock the sandbox is given, and what is long past is let go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stellar_sdk import Keypair
from stellar_sdk import xdr as sdk

from mpp_asgi.sandbox import AnswerLostError, FriendbotError, Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Stage

START = 1_800_000_000
CALL = {"jsonrpc": "2.0", "id": 1, "method": "getLatestLedger"}


def latest(sandbox: Sandbox) -> tuple[int, int]:
    """Sequence and close time of the latest ledger."""
    result = sandbox.rpc(CALL)["result"]
    header = sdk.LedgerHeader.from_xdr(result["headerXdr"])
    assert header.ledger_seq.uint32 == result["sequence"]
    assert header.scp_value.close_time.time_point.uint64 == int(result["closeTime"])
    return result["sequence"], int(result["closeTime"])


@pytest.mark.parametrize(
    ("interval", "elapsed", "ledgers"),
    [(5, 4.9, 0), (5, 5, 1), (5, 14, 2), (0.5, 0.4, 0), (0.5, 60, 120), (None, 10**9, 0)],
)
def test_ledgers_close_at_equal_distances(
    new_stage: Callable[..., Stage], interval: float | None, elapsed: float, ledgers: int
) -> None:
    stage = new_stage(close_interval=interval)
    before = stage.sandbox.sequence
    stage.clock.now += elapsed
    assert stage.sandbox.sequence == before + ledgers
    expected = START + int(ledgers * (interval or 0))
    assert latest(stage.sandbox) == (before + ledgers, expected)


def test_years_pass_in_no_time(new_stage: Callable[..., Stage]) -> None:
    stage = new_stage(close_interval=0.5)
    before = stage.sandbox.sequence
    stage.clock.now += 20 * 365 * 86_400
    assert latest(stage.sandbox) == (before + 40 * 365 * 86_400, START + 20 * 365 * 86_400)
    health = stage.rpc("getHealth")
    assert health["oldestLedger"] == health["latestLedger"] - 120_959
    age = int(health["latestLedgerCloseTime"]) - int(health["oldestLedgerCloseTime"])
    assert age == 120_960 // 2
    stage.succeed(stage.ready_transfer())


@given(
    st.lists(st.floats(-1_000, 5_000), min_size=1, max_size=20),
    st.sampled_from([0.3, 1, 5, None]),
)
def test_time_never_runs_back(steps: list[float], interval: float | None) -> None:
    now = float(START)
    sandbox = Sandbox(close_interval=interval, clock=lambda: now)
    seen = [latest(sandbox)]
    for step in steps:
        now += step
        seen.append(latest(sandbox))
        if interval is None:
            sandbox.close_ledger()
            seen.append(latest(sandbox))
    assert seen == sorted(seen)


@given(
    st.floats(0, 1, exclude_max=True),
    st.lists(st.floats(0, 700), min_size=1, max_size=8),
    st.sampled_from([1, 1.1, 2.5, 5]),
)
def test_close_times_grow_where_ledgers_are_a_second_apart(
    begun: float, steps: list[float], interval: float
) -> None:
    """As they do on the network, whatever fraction of a second it all begins with."""
    now = START + begun
    sandbox = Sandbox(close_interval=interval, clock=lambda: now)
    first, _ = latest(sandbox)
    for step in steps:
        now += step
        sequence, time = latest(sandbox)
        history = sandbox._ledger.history
        times = [history.close_time(each) for each in range(first, sequence + 1)]
        assert times == sorted(set(times))
        assert times[-1] == time


@pytest.mark.parametrize(("interval", "ledgers"), [(0.5, 10), (None, 3)])
def test_close_times_do_not_run_ahead_of_the_clock(
    new_stage: Callable[..., Stage], interval: float | None, ledgers: int
) -> None:
    """Or a transaction would be too late before its time: so fast ledgers share a second."""
    stage = new_stage(close_interval=interval)
    before, _ = latest(stage.sandbox)
    if interval is None:
        stage.sandbox.close_ledger(ledgers)
    else:
        stage.clock.now += interval * ledgers
    assert latest(stage.sandbox) == (before + ledgers, int(stage.clock.now))


def test_a_clock_that_is_set_back_does_not_stop_the_ledger(
    new_stage: Callable[..., Stage],
) -> None:
    stage = new_stage(close_interval=5)
    stage.clock.now += 3_600
    before, time = latest(stage.sandbox)
    stage.clock.now -= 3_600
    assert latest(stage.sandbox) == (before, time)
    stage.clock.now += 5
    assert latest(stage.sandbox) == (before + 1, time)


def test_close_times_of_the_past_are_remembered(new_stage: Callable[..., Stage]) -> None:
    """Through changes of pace, and ledgers closed on demand in between."""
    stage = new_stage(close_interval=5)
    known = {}

    def pay() -> None:
        outcome = stage.succeed(stage.ready_transfer())
        known[outcome["ledger"]] = int(outcome["createdAt"])
        assert int(outcome["createdAt"]) == int(stage.clock.now)

    pay()
    stage.clock.now += 1
    pay()
    stage.sandbox.set_close_interval(2)
    stage.clock.now += 100
    pay()
    stage.sandbox.set_close_interval(None)
    stage.clock.now += 1_000
    pay()
    page = stage.rpc("getTransactions", startLedger=min(known))
    assert {item["ledger"]: item["createdAt"] for item in page["transactions"]} == known
    assert page["latestLedgerCloseTimestamp"] == latest(stage.sandbox)[1]


def test_a_transaction_waits_for_the_next_due_ledger(new_stage: Callable[..., Stage]) -> None:
    stage = new_stage(close_interval=5)
    stage.clock.now += 3
    envelope = stage.ready_transfer()
    stage.send(envelope)
    stage.clock.now += 1.9
    assert stage.outcome(envelope)["status"] == "NOT_FOUND"
    stage.clock.now += 0.1
    outcome = stage.outcome(envelope)
    assert (outcome["status"], int(outcome["createdAt"])) == ("SUCCESS", START + 5)


def test_old_transactions_are_forgotten(new_stage: Callable[..., Stage]) -> None:
    stage = new_stage(close_interval=1)
    envelope = stage.ready_transfer()
    ledger = stage.succeed(envelope)["ledger"]
    stage.clock.now += 120_000
    assert stage.outcome(envelope)["status"] == "SUCCESS"
    stage.clock.now += 1_000
    outcome = stage.outcome(envelope)
    assert outcome["status"] == "NOT_FOUND"
    assert outcome["oldestLedger"] > ledger
    error = stage.rpc_error("getTransactions", startLedger=ledger)
    assert error["code"] == -32600


def test_used_nonces_leave_nothing_behind(new_stage: Callable[..., Stage]) -> None:
    """An entry per payment that never went away would be a leak."""
    stage = new_stage(close_interval=1)

    def entry_of_the_nonce() -> list[dict[str, Any]]:
        return stage.rpc("getLedgerEntries", keys=[key.to_xdr()])["entries"]

    envelope = stage.ready_transfer()
    data = envelope.transaction.soroban_data
    assert data is not None
    (key,) = [
        key
        for key in data.resources.footprint.read_write
        if key.type is sdk.LedgerEntryType.CONTRACT_DATA
    ]
    stage.succeed(envelope)
    assert entry_of_the_nonce()[0]["liveUntilLedgerSeq"] == stage.sandbox.sequence + 719
    before = len(stage.sandbox._ledger.state)
    stage.clock.now += 719
    assert entry_of_the_nonce()
    stage.clock.now += 1
    assert entry_of_the_nonce() == []
    assert len(stage.sandbox._ledger.state) == before - 2


def test_frozen_time(new_stage: Callable[..., Stage], person: Callable[[str], Keypair]) -> None:
    stage = new_stage(close_interval=5)
    stage.sandbox.freeze()
    before = latest(stage.sandbox)
    stage.clock.now += 100
    assert latest(stage.sandbox) == before
    with pytest.raises(FriendbotError):
        stage.sandbox.friendbot(person("late").public_key)
    assert stage.sandbox.close_ledger() == before[0] + 1  # on demand it still does
    stage.sandbox.thaw()
    stage.clock.now += 5
    assert latest(stage.sandbox) == (before[0] + 2, START + 105)


def test_a_lost_answer_loses_no_transaction(stage: Stage) -> None:
    envelope = stage.ready_transfer()
    request = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "sendTransaction",
        "params": {"transaction": envelope.to_xdr()},
    }
    stage.sandbox.lose_next_answer(times=2)
    with pytest.raises(AnswerLostError):
        stage.sandbox.rpc(request)
    with pytest.raises(AnswerLostError):
        stage.sandbox.rpc(request)
    assert stage.sandbox.rpc(request)["result"]["status"] == "DUPLICATE"
    stage.sandbox.close_ledger()
    assert stage.outcome(envelope)["status"] == "SUCCESS"
