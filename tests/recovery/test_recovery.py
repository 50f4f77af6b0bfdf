"""What a dead process has left is finished by the others: once, in time, and within bounds."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from mpp_asgi import recovery
from mpp_asgi.heart import LIFE_SECONDS
from mpp_asgi.protocol import Receipt
from mpp_asgi.recovery import BATCH, LEASE, LEASE_SECONDS, MOST_FAULTS, End, Recovery
from mpp_asgi.stellar.fates import Fate, fate_of
from mpp_asgi.stores.contract import Charge, Claim, Outcome, State, StoreUnavailableError
from tests.methods.stores import FailingStore, SlowStore
from tests.recovery.office import (
    KEEP_UNTIL,
    REDELIVERY_SECONDS,
    VALID_UNTIL,
    Office,
    Process,
    transaction_of,
)
from tests.session.watchtower import until
from tests.shop import START

if TYPE_CHECKING:
    from mpp_asgi.stellar.ledger import Ledger


@pytest.fixture
def office() -> Office:
    return Office()


async def claim_again(process: Process, record: str, *proofs: str) -> Claim:
    """As the next request with the same credential does."""
    charge = (await process.book.store.get(record)) or None
    credential = charge.credential if charge is not None else f"of {record}"
    turn = await process.book.turn(record)
    await turn.claim(credential, proofs, keep_until=KEEP_UNTIL)
    assert turn.charge is not None
    return Claim(Outcome.TAKEN, turn.charge)


async def test_what_was_only_claimed_can_be_used_again(office: Office) -> None:
    await office.left("a", State.CLAIMED)
    heir = office.process()
    assert await heir.recovery.round() == {End.RELEASED: 1}
    assert await office.store.get("a") is None
    again = await office.store.claim(
        (await office.left("b", State.CLAIMED))._replace(id="c"), ("proof of a",), now=START
    )
    assert again.outcome is Outcome.NEW
    assert office.node.asked == {}


async def test_what_the_ledger_has_is_settled_and_waits_for_its_payer(office: Office) -> None:
    await office.left("a", State.SUBMITTED)
    office.node.decided[transaction_of("a")] = "SUCCESS"
    heir = office.process()
    assert await heir.recovery.round() == {End.SETTLED: 1}
    settled = await office.store.get("a")
    assert settled is not None
    assert (settled.state, settled.owner, settled.payer) == (State.SETTLED, None, "G")
    assert settled.keep_until == max(KEEP_UNTIL, START + REDELIVERY_SECONDS)
    receipt = Receipt.from_header(settled.receipt or "")
    assert (receipt.reference, receipt.timestamp) == (transaction_of("a"), "2026-09-21T14:13:27Z")
    other = office.process("other")
    taken = await claim_again(other, "a")
    assert taken.charge is not None
    assert (taken.charge.state, taken.charge.owner) == (State.SETTLED, "other")


async def test_what_failed_on_the_ledger_is_over(office: Office) -> None:
    await office.left("a", State.SUBMITTED)
    office.node.decided[transaction_of("a")] = "FAILED"
    assert await office.process().recovery.round() == {End.FAILED: 1}
    failed = await office.store.get("a")
    assert failed is not None
    assert (failed.state, failed.problem) == (State.FAILED, "settlement-failed")


@pytest.mark.parametrize("kind", ["settle", "close"])
async def test_what_the_recipient_takes_may_be_tried_again(office: Office, kind: str) -> None:
    await office.left(f"{kind}:C:1", State.SUBMITTED)
    office.node.decided[transaction_of(f"{kind}:C:1")] = "FAILED"
    assert await office.process().recovery.round() == {End.RELEASED: 1}
    assert await office.store.get(f"{kind}:C:1") is None


async def test_what_is_not_decided_is_left_until_it_is(office: Office) -> None:
    left = await office.left("a", State.SUBMITTED)
    heir = office.process()
    assert await heir.recovery.round() == {End.UNDECIDED: 1}
    assert await office.store.get("a") == left._replace(owner=None)
    office.time.now = VALID_UNTIL  # it may be in the ledger that closes now
    assert await heir.recovery.round() == {End.UNDECIDED: 1}
    office.time.now += 60
    assert await heir.recovery.round() == {End.RELEASED: 1}
    assert await office.store.get("a") is None


async def test_an_undecided_record_is_looked_at_less_and_less_often(office: Office) -> None:
    await office.left("a", State.SUBMITTED)
    office.node.oldest = VALID_UNTIL + 1  # the node cannot tell any more, and never will
    heir = office.process()
    for _ in range(360):
        await heir.recovery.round()
        office.time.now += 10
    assert office.node.asked.total() < 15
    assert await office.store.get("a") is not None


async def test_a_node_that_has_forgotten_is_told_of(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    """That it has no such transaction says nothing about one that it cannot know."""
    await office.left("a", State.SUBMITTED)
    office.time.now += 10**5
    office.node.oldest = VALID_UNTIL + 1
    with caplog.at_level(logging.ERROR, "mpp_asgi.recovery"):
        assert await office.process().recovery.round() == {End.UNDECIDED: 1}
    assert "forgotten" in caplog.text


@pytest.mark.parametrize("state", [State.CLAIMED, State.SUBMITTED])
async def test_what_somebody_is_at_is_left_alone(office: Office, state: State) -> None:
    await office.store.heartbeat("alive", alive_until=START + 15)
    left = await office.left("a", state, owner="alive")
    office.node.decided[transaction_of("a")] = "SUCCESS"
    heir = office.process()
    assert await heir.recovery.round() == {}
    assert await office.store.get("a") == left
    office.time.now += LIFE_SECONDS
    assert (await heir.recovery.round()).total() == 1


async def test_what_a_request_here_is_at_is_left_alone(office: Office) -> None:
    """Its process was silent for so long that it could be taken for dead, by itself, too."""
    heir = office.process()
    turn = await heir.book.turn("a")
    await turn.claim("of a", (), keep_until=KEEP_UNTIL)
    await office.store.heartbeat("heir", alive_until=START)
    assert await heir.recovery.round() == {End.BUSY: 1}
    assert await office.store.get("a") == turn.charge
    await turn.end()
    await heir.book.close()


async def test_an_owner_that_comes_back_finds_its_claim_gone(office: Office) -> None:
    slow = office.process("slow")
    turn = await slow.book.turn("a")
    await turn.claim("of a", ("p",), keep_until=KEEP_UNTIL)
    office.time.now += LIFE_SECONDS
    await office.process().recovery.round()
    with pytest.raises(Exception, match="a"):
        await turn.submitted(reference="00" * 32, envelope="", valid_until=1, payer="", proofs=())
    assert await office.store.get("a") is None
    await turn.end()
    await slow.book.close()


async def test_a_record_is_finished_once_however_many_try(office: Office) -> None:
    """Even without the lease, which two may have for a moment."""
    for number in range(20):
        await office.left(f"a{number}", State.SUBMITTED)
        office.node.decided[transaction_of(f"a{number}")] = "SUCCESS"
    heirs = [office.process(f"heir {n}", around=SlowStore) for n in range(4)]

    async def leads(_: float) -> bool:
        return True

    for heir in heirs:
        heir.recovery._leads = leads  # type: ignore[method-assign] # as if its lease had lapsed
    ends = await asyncio.gather(*(heir.recovery.round() for heir in heirs))
    assert sum(ends, Counter())[End.SETTLED] == 20
    assert max(office.node.asked.values()) == 1
    assert await office.store.open_charges(now=START, limit=100) == []
    for heir in heirs:
        await heir.book.close()


async def test_one_process_recovers_at_a_time(office: Office) -> None:
    await office.left("a", State.SUBMITTED)
    one, other = office.process("one"), office.process("other")
    assert await one.recovery.round() == {End.UNDECIDED: 1}
    assert await other.recovery.round() == {}
    office.time.now += LEASE_SECONDS
    assert await other.recovery.round() == {End.UNDECIDED: 1}
    await other.recovery.aclose()
    assert await one.recovery.round() == {End.UNDECIDED: 1}, "the lease was not given back"


async def test_a_request_waits_for_recovery_as_for_any_owner(office: Office) -> None:
    await office.left("a", State.SUBMITTED)
    office.node.decided[transaction_of("a")] = "SUCCESS"
    heir = office.process(around=SlowStore)
    recovering = asyncio.create_task(heir.recovery.round())
    await until(lambda: bool(office.node.asked))
    here, there = await asyncio.gather(
        claim_again(heir, "a"), claim_again(office.process("there"), "b")
    )
    await recovering
    assert here.charge is not None
    assert here.charge.state is State.SETTLED
    assert there.charge is not None


async def test_another_process_waits_for_recovery_too(office: Office) -> None:
    await office.left("a", State.SUBMITTED)
    office.node.decided[transaction_of("a")] = "SUCCESS"
    heir, there = office.process(around=SlowStore), office.process("there")
    recovering = asyncio.create_task(heir.recovery.round())
    await until(lambda: bool(office.node.asked))
    taken = await claim_again(there, "a")
    await recovering
    assert taken.charge is not None
    assert (taken.charge.state, taken.charge.owner) == (State.SETTLED, "there")


async def test_a_round_is_bounded_and_comes_to_all(office: Office) -> None:
    for number in range(2 * BATCH + 1):
        await office.left(f"{number:03}", State.CLAIMED)
    heir = office.process()
    assert [(await heir.recovery.round()).total() for _ in range(4)] == [BATCH, BATCH, 1, 0]


async def test_what_cannot_be_decided_does_not_stand_before_the_rest(office: Office) -> None:
    for number in range(3 * BATCH):
        await office.left(f"a{number:03}", State.SUBMITTED)
    await office.left("b", State.CLAIMED)
    heir = office.process()
    for _ in range(4):
        await heir.recovery.round()
    assert await office.store.get("b") is None
    assert max(office.node.asked.values()) == 1


async def test_a_node_that_is_down_is_not_asked_for_every_record(office: Office) -> None:
    for number in range(50):
        await office.left(f"a{number:02}", State.SUBMITTED)
        office.node.decided[transaction_of(f"a{number:02}")] = "SUCCESS"
    office.node.is_down = True
    heir = office.process()
    assert await heir.recovery.round() == {}
    assert office.node.asked.total() == MOST_FAULTS
    office.node.is_down = False
    assert await heir.recovery.round() == {End.SETTLED: 50}


async def test_what_the_node_chokes_on_does_not_stand_before_the_rest(office: Office) -> None:
    records = [f"a{number:02}" for number in range(4 * MOST_FAULTS)]
    for record in records:
        await office.left(record, State.SUBMITTED)
        office.node.decided[transaction_of(record)] = "SUCCESS"
    office.node.is_down = True
    heir = office.process()
    for _ in range(6):  # each of them had its fault by now, some had two
        await heir.recovery.round()
    office.node.is_down = False
    office.node.chokes_on = {transaction_of(record) for record in records[:MOST_FAULTS]}
    for _ in range(2):
        await heir.recovery.round()
    left = await office.store.open_charges(now=int(office.time.now), limit=99)
    assert {charge.id for charge in left} == set(records[:MOST_FAULTS])


async def test_a_record_that_breaks_us_does_not_stand_before_the_rest(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    for record in ("a", "b"):
        await office.left(record, State.SUBMITTED)
        office.node.decided[transaction_of(record)] = "SUCCESS"

    async def breaks(ledger: Ledger, charge: Charge) -> Fate | None:
        if charge.id == "a":
            raise OverflowError("nobody has thought of that")
        return await fate_of(ledger, charge)

    monkeypatch.setattr(recovery, "fate_of", breaks)
    assert await office.process().recovery.round() == {End.SETTLED: 1}


@pytest.mark.parametrize("writes", [False, True])
async def test_any_call_of_the_store_may_fail(writes: bool) -> None:
    """What recovery leaves then is as good for the next round as what it found."""
    for call in range(20):
        office = Office()
        for record in ("a", "b", "c"):
            await office.left(record, State.SUBMITTED)
        await office.left("d", State.CLAIMED)
        office.node.decided |= {transaction_of("a"): "SUCCESS", transaction_of("b"): "FAILED"}
        office.time.now = VALID_UNTIL + 1
        stores: list[FailingStore] = []

        def failing(store: object, stores: list[FailingStore] = stores) -> FailingStore:
            stores.append(FailingStore(store, writes=writes))  # type: ignore[arg-type]
            return stores[-1]

        heir = office.process(around=failing)
        stores[0].fail_at = range(call, call + 1)
        with suppress(StoreUnavailableError):
            await heir.recovery.round()
        if len(stores[0].calls) <= call:
            assert call > 8
            return
        await heir.book.tidy()
        office.time.now += LEASE_SECONDS
        await heir.book.heart.beat()
        await office.process("other").recovery.round()
        assert await office.store.open_charges(now=int(office.time.now), limit=9) == []
        states = [await office.store.get(record) for record in ("a", "b", "c", "d")]
        assert [None if s is None else s.state for s in states] == [
            State.SETTLED,
            State.FAILED,
            None,
            None,
        ]
        await heir.book.close()
    raise AssertionError("a round takes more calls than were tried")


async def test_nothing_is_asked_and_nothing_written_where_nothing_is_left(office: Office) -> None:
    stores: list[FailingStore] = []

    def counting(store: object) -> FailingStore:
        stores.append(FailingStore(store))  # type: ignore[arg-type]
        return stores[-1]

    heir = office.process(around=counting)
    await heir.recovery.round()
    await heir.recovery.aclose()
    assert stores[0].calls == ["open_charges"]


async def test_without_a_ledger_what_was_submitted_is_left(office: Office) -> None:
    """Ways to pay of one's own may have another."""
    await office.left("a", State.SUBMITTED)
    await office.left("b", State.CLAIMED)
    book = office.process().book
    blind = Recovery(book, None, redelivery_seconds=1, clock=office.time)
    assert await blind.round() == {End.RELEASED: 1}
    assert await office.store.get("a") is not None


async def test_what_is_done_is_told_of(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    await office.left("a", State.SUBMITTED)
    await office.left("b", State.CLAIMED)
    office.node.decided[transaction_of("a")] = "SUCCESS"
    with caplog.at_level(logging.INFO, "mpp_asgi.recovery"):
        await office.process().recovery.round()
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        f"record=a was=submitted became=settled transaction={transaction_of('a')} owner=the dead",
        "record=b was=claimed became=released transaction=none owner=the dead",
        "recovered settled=1 released=1",
    ]


async def test_it_works_again_and_again_until_it_is_closed(office: Office) -> None:
    """Pauses differ, so that processes do not keep step; a full batch is followed by the next."""
    heir = office.process()
    assert await heir.recovery._work() == 10.0
    for number in range(BATCH):
        await office.left(f"{number:03}", State.CLAIMED)
    assert await heir.recovery._work() == 0.0
    assert await heir.recovery._work() == 10.0
    await office.left("a", State.SUBMITTED)
    await heir.recovery._work()
    assert not await office.store.lease(LEASE, owner="other", until=START + 1, now=START)
    await heir.recovery.aclose()
    assert await office.store.lease(LEASE, owner="other", until=START + 1, now=START)


async def test_a_store_out_of_reach_ends_no_more_than_a_round(office: Office) -> None:
    stores: list[FailingStore] = []

    def failing(store: object) -> FailingStore:
        stores.append(FailingStore(store))  # type: ignore[arg-type]
        return stores[-1]

    heir = office.process(around=failing)
    await heir.recovery._work()
    await office.left("a", State.CLAIMED)
    stores[0].fail_at = range(1)
    assert await heir.recovery._work() == 10.0
    assert await office.store.get("a") is not None
    await heir.recovery._work()
    assert await office.store.get("a") is None
