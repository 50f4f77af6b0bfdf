"""Who is next for an account, and who is turned away."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpp_asgi.intents import FaultError
from mpp_asgi.stellar.sponsor_queue import FairQueue, Waiter


def join(queue: FairQueue, payer: str | None, *, give_up: float = 100) -> Waiter:
    return queue.join(payer, give_up=give_up, retry_after=7)


def drained(queue: FairQueue) -> list[str | None]:
    order = []
    while (waiter := queue.next()) is not None:
        order.append(waiter.payer)
    return order


async def test_payers_take_turns() -> None:
    queue = FairQueue()
    for payer in ["a", "a", "a", "b", "c", "a", "b"]:
        join(queue, payer)
    assert drained(queue) == ["a", "b", "c", "a", "b", "a", "a"]
    assert len(queue) == 0


async def test_what_we_owe_ourselves_comes_first_and_is_always_let_in() -> None:
    queue = FairQueue(most=1, most_of_a_payer=1)
    join(queue, "a")
    join(queue, None)
    join(queue, None)
    assert drained(queue) == [None, None, "a"]


async def test_whoever_finds_it_full_is_told_when_to_come_back() -> None:
    queue = FairQueue(most=3, most_of_a_payer=2)
    for payer in ["a", "a"]:
        join(queue, payer)
    with pytest.raises(FaultError, match="yours") as of_one:
        join(queue, "a")
    join(queue, "b")
    with pytest.raises(FaultError, match="Too many payments are waiting") as of_all:
        join(queue, "c")
    assert of_one.value.retry_after == of_all.value.retry_after == 7
    queue.next()
    join(queue, "c")


async def test_the_late_leave() -> None:
    queue = FairQueue()
    late = [join(queue, "a", give_up=5), join(queue, None, give_up=5)]
    join(queue, "a", give_up=6)
    assert set(queue.late(5)) == set(late)
    assert drained(queue) == ["a"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(["join a", "join b", "join c", "next", "leave"]),
        ),
        max_size=60,
    )
)
async def test_nobody_is_passed_by_more_often_than_there_are_others(steps: list[str]) -> None:
    """From when a payer's first comes to wait until its turn, no other payer has two turns."""
    queue = FairQueue()
    waiting: list[Waiter] = []
    passed: dict[str, list[str | None]] = {}
    for step in steps:
        if step.startswith("join"):
            payer = step[-1]
            if all(each.payer != payer for each in waiting):
                passed[payer] = []
            waiting.append(join(queue, payer))
        elif step == "leave" and waiting:
            queue.leave(waiting.pop())
        elif step == "next" and waiting:
            served = queue.next()
            assert served is not None
            waiting.remove(served)
            passed[served.payer or ""] = []
            for payer, turns in passed.items():
                if payer != served.payer and any(each.payer == payer for each in waiting):
                    turns.append(served.payer)
                    assert len(set(turns)) == len(turns)
        assert len(queue) == len(waiting)
