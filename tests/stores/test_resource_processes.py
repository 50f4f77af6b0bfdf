"""Real processes that share accounts, budgets and answers: they race, and they are killed."""

from __future__ import annotations

import signal
from functools import partial

import pytest

from mpp_asgi.stores.loans import Loan
from tests.stores import racing
from tests.stores.resource_process import ACCOUNTS, DAY, KEYS, TOTAL, TRANSACTIONS

processes = partial(racing.processes, "resource_process")
OWNERS = ["w0", "w1", "w2", "w3"]


async def test_four_processes_use_each_sequence_number_once_and_leave_out_none(url, look):
    with processes(*(("send", url, owner) for owner in OWNERS)) as senders:
        results = racing.results(senders)
    used = sorted((account, number) for result in results for account, number in result)
    assert len(used) == 4 * TRANSACTIONS
    store = await look()
    last = [await store.borrow([account], until=10, now=0) for account in ACCOUNTS]
    assert used == [
        (loan.account, number) for loan in last for number in range(1, (loan.sequence or 0) + 1)
    ]
    assert racing.intact(url)


async def test_four_processes_draw_what_the_budgets_allow_and_no_more(url, look):
    with processes(*(("draw", url, owner) for owner in OWNERS)) as drawers:
        results = racing.results(drawers)
    drawn = sum(result["drawn"] for result in results)
    returned = sum(result["returned"] for result in results)
    store = await look()
    assert await store.drawn(TOTAL.name) == drawn <= TOTAL.limit
    assert await store.drawn(DAY.name) == drawn - returned <= DAY.limit
    assert {result["refused"] for result in results} <= {DAY.name, TOTAL.name}
    # Who was refused last had nobody to leave anything to.
    assert drawn == TOTAL.limit or drawn - returned == DAY.limit
    assert racing.intact(url)


async def test_four_processes_are_told_the_same_answers(url, look):
    with processes(*(("answer", url, owner) for owner in OWNERS)) as keepers:
        results = racing.results(keepers)
    assert results == [results[0]] * 4
    store = await look()
    kept = {f"{n}": await store.kept_answer(f"{n}", now=0) for n in range(KEYS)}
    assert {key: answer.content.decode() for key, answer in kept.items()} == results[0]
    assert racing.intact(url)


@pytest.mark.parametrize("step", ["borrow", "hand back", "draw", "answer"])
async def test_what_was_acknowledged_is_there_after_a_crash_in_the_same_moment(url, look, step):
    with processes(("die", url, "w", step)) as (process,):
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    store = await look()
    match step:
        case "borrow":
            assert await store.borrow(["GA"], until=20, now=9) is None
            assert (await store.borrow(["GA"], until=20, now=10)).sequence is None
        case "hand back":
            assert await store.borrow(["GA"], until=20, now=4) is None
            again = await store.borrow(["GA"], until=20, now=5)
            assert again == Loan("GA", again.fence, 7)
        case "draw":
            assert [await store.drawn(budget.name) for budget in (DAY, TOTAL)] == [60, 60]
        case "answer":
            assert (await store.kept_answer("key", now=9)).content == b"w"
    assert racing.intact(url)
