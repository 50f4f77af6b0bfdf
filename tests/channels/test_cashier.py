"""Settling and closing: what is taken, what is written down, and what the ledger will not pay."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from mpp_asgi.intents import FaultError, PendingError, RefusalError
from mpp_asgi.sandbox.contracts.registry import PUBLISHED_CHANNEL_WASM_HASH
from mpp_asgi.stellar.cashier import LAG_SECONDS, LEASE_SECONDS
from mpp_asgi.stellar.channel_calls import close_call
from mpp_asgi.stellar.network import TESTNET
from mpp_asgi.stores.channels import Channel, ChannelStatus
from mpp_asgi.stores.contract import Outcome, OwnershipLostError
from mpp_asgi.stores.memory.store import MemoryStore
from tests.channels.market import DEPOSIT, MAX_FEE, WAITING_PERIOD, Market
from tests.charge.bad_line import Plan, altered, ledger_stands_still
from tests.shop import RECIPIENT, SPONSOR

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from tests.channels.market import Process
    from tests.charge.bad_line import Answer, BadLine, Request

T = TypeVar("T")

SENDING = "sendTransaction"

A_WEEK = 121_000
"""Ledgers, at five seconds each; then what nobody used is archived."""


@pytest.fixture(params=[True, False], ids=["sponsored", "paid by the recipient"])
def market(request: pytest.FixtureRequest) -> Market:
    return Market(sponsored=request.param)


@pytest.fixture
async def process(market: Market) -> AsyncIterator[Process]:
    async with market.process() as running:
        yield running


async def test_settling_takes_what_the_voucher_is_worth(market: Market, process: Process) -> None:
    channel = market.open()
    held = await process.hold(channel, 300, spent=200, units=7)
    hash_ = await process.cashier.settle(held)
    assert hash_ is not None
    assert market.ask("getTransaction", hash=hash_)["status"] == "SUCCESS"
    assert market.earned() == 300
    kept = await process.kept(channel)
    assert (kept.settled, kept.deposited, kept.settled_units) == (300, DEPOSIT, 7)
    assert kept.status is ChannelStatus.OPEN
    assert kept.available == 100


async def test_closing(market: Market, process: Process) -> None:
    before = market.funder_has()
    channel = market.open()
    hash_ = await process.cashier.close(await process.closing(channel, 300))
    assert hash_ is not None
    assert market.earned() == 300
    assert market.funder_has() == before - 300
    kept = await process.kept(channel)
    assert (kept.settled, kept.status) == (300, ChannelStatus.CLOSED)


async def test_a_voucher_counts_as_published_before_the_network_has_it(
    market: Market, process: Process
) -> None:
    channel = market.open()
    held = await process.hold(channel, 300, spent=200)
    published: list[int] = []
    assert isinstance(market.store, MemoryStore)
    rows = market.store._channel_rows

    def look(line: BadLine, request: Request) -> Answer:
        published.append(rows[channel][Channel._fields.index("published")])
        return line.sandbox.rpc(request)

    market.line.follow(Plan("simulateTransaction", 0, look), Plan(SENDING, 0, look))
    assert await process.cashier.settle(held) is not None
    assert published == [300, 300]


async def test_what_was_settled_is_not_settled_again(market: Market, process: Process) -> None:
    channel = market.open()
    held = await process.hold(channel, 300)
    assert await process.cashier.settle(held) is not None
    fees = market.fees_left()
    async with market.process() as other:
        assert await process.cashier.settle(await process.kept(channel)) is not None
        assert await other.cashier.settle(held) is not None
    assert market.fees_left() == fees
    assert market.earned() == 300


async def test_a_channel_without_a_voucher(market: Market, process: Process) -> None:
    held = await process.hold(market.open(), 0)
    fees = market.fees_left()
    assert await process.cashier.settle(held._replace(signature="")) is None
    assert market.fees_left() == fees


async def test_one_voucher_after_another(market: Market, process: Process) -> None:
    channel = market.open()
    hashes = []
    for amount in (100, 250, DEPOSIT):
        hashes.append(await process.cashier.settle(await process.hold(channel, amount)))
        assert market.earned() == amount
    assert len(set(hashes)) == 3
    assert (await process.kept(channel)).settled == DEPOSIT


async def test_a_lower_voucher_after_a_higher_one(market: Market, process: Process) -> None:
    """Of a record that another process had in hand: nothing more is taken, and there is no fee."""
    channel = market.open()
    lower = await process.hold(channel, 100)
    settled = await process.cashier.settle(await process.hold(channel, 300))
    fees = market.fees_left()
    assert await process.cashier.settle(lower) == settled
    assert (market.earned(), market.fees_left()) == (300, fees)


async def test_closing_what_was_settled_for_more_than_was_spent(
    market: Market, process: Process
) -> None:
    before, channel = market.funder_has(), market.open()
    await process.cashier.settle(await process.hold(channel, 300, spent=200))
    store = process.counter.book.store
    closing = await store.begin_close(
        channel, amount=200, signature=market.voucher(channel, 200), now=int(market.time())
    )
    assert closing.channel is not None
    assert await process.cashier.close(closing.channel) is not None
    assert (market.earned(), market.funder_has()) == (300, before - 300)
    assert (await process.kept(channel)).status is ChannelStatus.CLOSED


async def test_closing_with_nothing_spent(market: Market, process: Process) -> None:
    before, channel = market.funder_has(), market.open()
    assert await process.cashier.close(await process.closing(channel, 0)) is not None
    assert (market.earned(), market.funder_has()) == (0, before)


async def test_only_a_closing_channel_is_closed(market: Market, process: Process) -> None:
    with pytest.raises(ValueError, match="not closing"):
        await process.cashier.close(await process.hold(market.open(), 300))


async def test_settling_while_the_funder_waits(market: Market, process: Process) -> None:
    channel = market.open()
    held = await process.hold(channel, 300)
    market.close_start(channel)
    assert await process.cashier.settle(held) is not None
    kept = await process.kept(channel)
    assert kept.settled == 300
    assert kept.closes_at is not None
    assert kept.status is ChannelStatus.OPEN  # its record: no more is sold, what is owed was taken


async def test_the_waiting_is_over_and_the_funder_was_slow(
    market: Market, process: Process
) -> None:
    channel = market.open()
    held = await process.hold(channel, 300)
    market.close_start(channel)
    market.sandbox.close_ledger(WAITING_PERIOD)
    assert await process.cashier.settle(held) is not None
    assert market.earned() == 300
    assert (await process.kept(channel)).status is ChannelStatus.CLOSED


async def test_closing_when_the_waiting_is_over(market: Market, process: Process) -> None:
    """What is owed is taken; what is left the funder takes, whose wish that was."""
    before, channel = market.funder_has(), market.open()
    closing = await process.closing(channel, 300)
    market.close_start(channel)
    market.sandbox.close_ledger(WAITING_PERIOD)
    assert await process.cashier.close(closing) is not None
    assert market.earned() == 300
    assert (await process.kept(channel)).status is ChannelStatus.CLOSED
    market.refund(channel)
    assert market.funder_has() == before - 300


async def test_the_build_that_closes_once() -> None:
    code = PUBLISHED_CHANNEL_WASM_HASH.hex()
    market = Market()
    async with market.process() as process:
        channel = market.open(factory=None, wasm_hash=code)
        await process.cashier.close(await process.closing(channel, 300))
        late = market.open(factory=None, wasm_hash=code)
        closing = await process.closing(late, 300)
        market.close_start(late)
        market.sandbox.close_ledger(WAITING_PERIOD)
        await process.cashier.close(closing)
        assert market.earned() == 600
        assert (await process.kept(late)).status is ChannelStatus.CLOSED


async def test_closed_by_another_hand(market: Market, process: Process) -> None:
    channel = market.open()
    closing = await process.closing(channel, 300)
    signature = bytes.fromhex(closing.closing_signature)
    market.perform(close_call(channel, 300, signature), signer=RECIPIENT)
    fees = market.fees_left()
    assert await process.cashier.close(closing) is None
    assert (market.earned(), market.fees_left()) == (300, fees)
    assert (await process.kept(channel)).status is ChannelStatus.CLOSED


# What the ledger will not pay


async def test_a_channel_that_was_refunded(market: Market, process: Process) -> None:
    channel = market.open()
    held = await process.hold(channel, 300)
    market.close_start(channel)
    market.sandbox.close_ledger(WAITING_PERIOD)
    market.refund(channel)
    fees = market.fees_left()
    for _ in range(2):
        with pytest.raises(RefusalError) as refused:
            await process.cashier.settle(held)
        assert refused.value.problem.slug == "session/transaction-reverted"
    assert (market.earned(), market.fees_left()) == (0, fees)
    kept = await process.kept(channel)
    assert (kept.accepted, kept.signature) == (300, held.signature)
    assert kept.status is ChannelStatus.CLOSED


async def test_the_refund_comes_between(market: Market, process: Process) -> None:
    """After our simulation, in the ledger before ours: the voucher stays, and money that comes
    into the channel later is taken with it."""
    channel = market.open()
    held = await process.hold(channel, 300)
    market.close_start(channel)
    market.sandbox.close_ledger(WAITING_PERIOD)

    def refund_first(line: BadLine, request: Request) -> Answer:
        market.refund(channel)
        return line.sandbox.rpc(request)

    market.line.follow(Plan(SENDING, 0, refund_first))
    with pytest.raises(RefusalError) as refused:
        await process.cashier.settle(held)
    assert refused.value.problem.slug == "session/transaction-reverted"
    kept = await process.kept(channel)
    assert (kept.signature, kept.status) == (held.signature, ChannelStatus.CLOSED)
    market.line.follow()
    market.top_up(channel, 300)
    assert await process.cashier.settle(held) is not None
    assert market.earned() == 300


async def test_a_voucher_of_another_key(market: Market, process: Process) -> None:
    channel = market.open()
    held = await process.hold(channel, 300)
    fees = market.fees_left()
    wrong = held._replace(signature=market.voucher(channel, 300, key=RECIPIENT))
    assert isinstance(market.store, MemoryStore)
    market.store._keep_channel(wrong)
    with pytest.raises(RefusalError) as refused:
        await process.cashier.settle(wrong)
    assert refused.value.problem.slug == "session/transaction-reverted"
    assert market.fees_left() == fees


async def test_a_channel_of_another_ledger(market: Market, process: Process) -> None:
    held = await process.hold(market.open(), 300)
    gone = held._replace(id=market.opening().channel(TESTNET.passphrase))
    await market.store.add_channel(gone)
    with pytest.raises(RefusalError) as refused:
        await process.cashier.settle(gone)
    assert refused.value.problem.slug == "session/channel-not-found"


async def test_fees_are_capped(market: Market, process: Process) -> None:
    channel = market.open()
    held = await process.hold(channel, 300)
    market.line.follow(Plan("simulateTransaction", 0, altered(minResourceFee=str(MAX_FEE))))
    fees = market.fees_left()
    with pytest.raises(FaultError, match="fee is too high"):
        await process.cashier.settle(held)
    market.time.now += 3
    assert (market.earned(), market.fees_left()) == (0, fees)
    assert await process.cashier.settle(held) is not None


async def test_a_channel_on_no_record(market: Market, process: Process) -> None:
    held = await process.hold(market.open(), 300)
    unknown = held._replace(id=market.opening().channel(TESTNET.passphrase))
    with pytest.raises(RefusalError) as refused:
        await process.cashier.settle(unknown)
    assert refused.value.problem.slug == "session/channel-not-found"


async def test_a_node_that_stays_behind_is_not_waited_for_for_ever(
    market: Market, process: Process, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor when the clock is set back meanwhile."""
    held = await process.hold(market.open(), 300)
    latest = market.sandbox.sequence
    looks = 0

    def set_back(line: BadLine, request: Request) -> Answer:
        nonlocal looks
        if len(request["params"]["keys"]) < 2:  # of an account
            return line.sandbox.rpc(request)
        looks += 1
        if looks == 2:
            market.time.now -= 5
        return altered(latestLedger=latest)(line, request)

    market.line.follow(Plan("getLedgerEntries", 1, set_back, more=1_000))
    assert await process.cashier.settle(held) is not None
    assert "cannot be looked at afterwards" in caplog.text
    assert looks == LAG_SECONDS / 0.5 + 1


# What is to become of a channel whose close is refused

REVERTED = "HostError: Error(Contract, #4)"


def refused_after(deed: Callable[[], object]) -> Plan:
    """A simulation that fails on the ledger, once something was done."""

    def answer(line: BadLine, request: Request) -> Answer:
        deed()
        return altered(error=REVERTED)(line, request)

    return Plan("simulateTransaction", 0, answer)


def done(call: Coroutine[Any, Any, T]) -> T:
    """What a store in memory makes of a call, which waits for nothing."""
    with pytest.raises(StopIteration) as stop:
        call.send(None)
    value: T = stop.value.value
    return value


async def test_a_refused_close_opens_the_channel_if_it_is_told(
    market: Market, process: Process
) -> None:
    closing = await process.closing(market.open(), 300)
    for reopens, status in ((False, ChannelStatus.CLOSING), (True, ChannelStatus.OPEN)):
        market.line.follow(refused_after(lambda: None))
        with pytest.raises(RefusalError) as refused:
            await process.cashier.close(closing, reopens=reopens)
        assert refused.value.problem.slug == "session/transaction-reverted"
        assert (await process.kept(closing.id)).status is status


@pytest.mark.parametrize("processes", [1, 2])
async def test_a_close_that_was_given_up_is_not_sent_by_who_waited(
    market: Market, processes: int
) -> None:
    """Its record is open again, and sells."""
    async with market.process() as one, market.process() as two:
        closing = await one.closing(market.open(), 300)
        market.line.follow(refused_after(lambda: None))
        closes = [(one, two)[n % processes].cashier.close(closing, reopens=True) for n in range(2)]
        ends = await asyncio.gather(*closes, return_exceptions=True)
        assert isinstance(ends[0], RefusalError)
        assert isinstance(ends[1], PendingError)
        with pytest.raises(PendingError):
            await two.cashier.close(closing, reopens=True)
        assert SENDING not in market.line.calls
        assert (await one.kept(closing.id)).status is ChannelStatus.OPEN


async def test_a_close_of_another_amount_is_not_given_up_with_it(
    market: Market, process: Process
) -> None:
    """Something was given back meanwhile, so the payer closes with less."""
    closing = await process.closing(market.open(), 300)
    store, now = process.counter.book.store, int(market.time())

    def begin_another() -> None:
        done(store.give_back(closing.id, cost=100, units=1))
        signature = market.voucher(closing.id, 200)
        done(store.begin_close(closing.id, amount=200, signature=signature, now=now))

    market.line.follow(refused_after(begin_another))
    with pytest.raises(RefusalError):
        await process.cashier.close(closing, reopens=True)
    kept = await process.kept(closing.id)
    assert (kept.status, kept.closing_amount) == (ChannelStatus.CLOSING, 200)
    with pytest.raises(PendingError):
        await process.cashier.close(closing, reopens=True)
    assert SENDING not in market.line.calls
    assert await process.cashier.close(kept, reopens=True) is not None
    assert market.earned() == 200


async def test_nothing_is_opened_while_a_higher_close_may_be_on_its_way(
    market: Market, process: Process
) -> None:
    closing = await process.closing(market.open(), 300)
    store, now = process.counter.book.store, int(market.time())
    market.line.follow(Plan(SENDING, 0, ledger_stands_still))
    with pytest.raises(FaultError):
        await process.cashier.close(closing, reopens=True)
    await store.give_back(closing.id, cost=100, units=1)
    signature = market.voucher(closing.id, 200)
    await store.begin_close(closing.id, amount=200, signature=signature, now=now)
    lower = await process.kept(closing.id)
    market.line.follow(refused_after(lambda: None))
    with pytest.raises(FaultError):
        await process.cashier.close(lower, reopens=True)
    assert (await process.kept(closing.id)).status is ChannelStatus.CLOSING


async def test_who_was_taken_for_dead_opens_nothing(market: Market) -> None:
    """Another process has sent the close by then."""
    async with market.process() as one, market.process() as two:
        closing = await one.closing(market.open(), 300)
        store, now = market.store, int(market.time())

        def take_over() -> None:
            market.time.now += LEASE_SECONDS
            record = f"close:{closing.id}:300"
            found = done(store.get(record))
            assert found is not None
            ours = found._replace(owner=two.counter.book.owner)
            claim = done(store.claim(ours, (), now=now + LEASE_SECONDS))
            assert claim.outcome is Outcome.TAKEN

        market.line.follow(refused_after(take_over))
        with pytest.raises(OwnershipLostError):
            await one.cashier.close(closing, reopens=True)
        assert (await one.kept(closing.id)).status is ChannelStatus.CLOSING


async def test_a_close_that_fails_on_the_ledger_opens_the_channel(
    market: Market, process: Process
) -> None:
    """Not if it is closed by then: its funder's refund came first."""
    closing = await process.closing(market.open(), 300)
    market.close_start(closing.id)
    market.sandbox.close_ledger(WAITING_PERIOD)

    def refund_first(line: BadLine, request: Request) -> Answer:
        market.refund(closing.id)
        return line.sandbox.rpc(request)

    market.line.follow(Plan(SENDING, 0, refund_first))
    with pytest.raises(RefusalError):
        await process.cashier.close(closing, reopens=True)
    assert (await process.kept(closing.id)).status is ChannelStatus.CLOSED


@pytest.mark.parametrize(
    "error",
    ["could not read", "HostError: Error(Auth, InvalidInput)"],
    ids=["trouble", "our leave"],
)
async def test_what_is_no_word_of_the_channel_is_no_refusal(
    market: Market, process: Process, error: str
) -> None:
    closing = await process.closing(market.open(), 300)
    market.line.follow(Plan("simulateTransaction", 0, altered(error=error)))
    with pytest.raises(FaultError):
        await process.cashier.close(closing, reopens=True)
    assert (await process.kept(closing.id)).status is ChannelStatus.CLOSING


async def test_too_late_is_no_refusal(market: Market, process: Process) -> None:
    """What is over is our time at the channel."""
    closing = await process.closing(market.open(), 300)

    def dawdle(line: BadLine, request: Request) -> Answer:
        market.time.now += LEASE_SECONDS
        return line.sandbox.rpc(request)

    market.line.follow(Plan("getLedgerEntries", 0, dawdle))
    with pytest.raises(FaultError):
        await process.cashier.close(closing, reopens=True)
    assert (await process.kept(closing.id)).status is ChannelStatus.CLOSING
    assert SENDING not in market.line.calls


# Several at once


@pytest.mark.parametrize("processes", [1, 2])
async def test_many_settle_at_once(market: Market, processes: int) -> None:
    async with market.process() as one, market.process() as two:
        held = await one.hold(market.open(), 300)
        submitter = SPONSOR if market.sponsored else RECIPIENT
        sequence = market.sequence(submitter)
        done = await asyncio.gather(
            *((one, two)[number % processes].cashier.settle(held) for number in range(6)),
            return_exceptions=True,
        )
        hashes = {each for each in done if isinstance(each, str)}
        assert all(isinstance(each, str | PendingError) for each in done)
        assert len(hashes) == 1
        assert market.earned() == 300
        assert market.sequence(submitter) == sequence + 1


async def test_one_at_a_time_is_at_a_channel_in_a_process_as_well(
    market: Market, process: Process
) -> None:
    """Whatever they take: a lease is granted again to whoever has it."""
    channel = market.open()
    held = await process.hold(channel, 300)
    settling = asyncio.ensure_future(process.cashier.settle(held))
    while "simulateTransaction" not in market.line.calls:  # noqa: ASYNC110 # it cannot tell
        await asyncio.sleep(0)
    hashes = await asyncio.gather(
        settling, process.cashier.settle(await process.hold(channel, 500))
    )
    assert len(set(hashes)) == 2
    order = [call for call in market.line.calls if call in {"simulateTransaction", SENDING}]
    assert order == ["simulateTransaction", SENDING] * 2
    assert market.earned() == 500


@pytest.mark.parametrize("call", ["getLedgerEntries", "simulateTransaction"])
async def test_nothing_beyond_a_close_is_taken_that_began_meanwhile(
    market: Market, process: Process, call: str
) -> None:
    """Its payer has said what it owes; the headroom is its own."""
    channel = market.open()
    held = await process.hold(channel, 300, spent=100)
    store, now = process.counter.book.store, int(market.time())
    signature = market.voucher(channel, 100)

    def begin_close(line: BadLine, request: Request) -> Answer:
        done(store.begin_close(channel, amount=100, signature=signature, now=now))
        return line.sandbox.rpc(request)

    market.line.follow(Plan(call, 0, begin_close))
    with pytest.raises(PendingError):
        await process.cashier.settle(held)
    assert SENDING not in market.line.calls
    assert await process.cashier.close(await process.kept(channel)) is not None
    assert market.earned() == 100


async def test_what_is_settled_is_read_when_the_turn_has_come(
    market: Market, process: Process
) -> None:
    channel = market.open()
    held = await process.hold(channel, 300, spent=100)
    await process.counter.book.store.begin_close(
        channel, amount=100, signature=market.voucher(channel, 100), now=int(market.time())
    )
    assert await process.cashier.settle(held) is not None
    assert market.earned() == 100


async def test_one_process_at_a_channel_at_a_time(market: Market) -> None:
    async with market.process() as one, market.process() as two:
        channel = market.open()
        lower, higher = await one.hold(channel, 100), await one.hold(channel, 300)
        market.line.follow(Plan(SENDING, 0, ledger_stands_still))
        with pytest.raises(FaultError):
            await one.cashier.settle(lower)
        market.sandbox.thaw()
        market.line.follow()
        market.time.now += 2
        assert await two.cashier.settle(higher) is not None
        assert await one.cashier.settle(lower) is not None
        assert market.earned() == 300


async def test_a_process_that_holds_the_channel_is_waited_for(market: Market) -> None:
    async with market.process() as one, market.process() as two:
        held = await one.hold(market.open(), 300)
        now = int(market.time())
        store, owner = one.counter.book.store, one.counter.book.owner
        lease = f"cashier:{held.id}"
        assert await store.lease(lease, owner=owner, until=now + LEASE_SECONDS, now=now)
        with pytest.raises(PendingError):
            await two.cashier.settle(held)
        assert await one.cashier.settle(held) is not None
        assert await two.cashier.settle(held) is not None
        assert market.earned() == 300


async def test_another_signature_of_the_same_amount(market: Market, process: Process) -> None:
    """A funder can sign an amount in many ways. What is under way with one of them is followed."""
    channel = market.open()
    closing = await process.closing(channel, 300)
    market.line.follow(Plan(SENDING, 0, ledger_stands_still))
    with pytest.raises(FaultError):
        await process.cashier.close(closing)
    other = closing._replace(closing_signature="00" * 64)
    market.line.follow()
    market.sandbox.thaw()
    market.time.now += 2
    assert await process.cashier.close(other) is not None
    assert market.earned() == 300
    assert (await process.kept(channel)).status is ChannelStatus.CLOSED


async def test_a_node_that_has_lost_the_channel(market: Market, process: Process) -> None:
    """What is on its way is followed before anybody says that there is no such channel."""
    closing = await process.closing(market.open(), 300)
    market.line.follow(Plan(SENDING, 0, ledger_stands_still))
    with pytest.raises(FaultError):
        await process.cashier.close(closing)
    market.line.follow(Plan("getLedgerEntries", 0, altered(entries=[]), more=100))
    with pytest.raises(FaultError):
        await process.cashier.close(closing)
    market.line.follow()
    market.sandbox.thaw()
    market.time.now += 2
    assert await process.cashier.close(closing) is not None
    assert market.earned() == 300


async def test_a_voucher_that_came_meanwhile_is_not_over(market: Market, process: Process) -> None:
    """Facts that were read for an older record do not end one that has more to take."""
    channel = market.open()
    older = await process.hold(channel, 100)
    await process.cashier.settle(older)
    newer = await process.hold(channel, 300)
    market.close_start(channel)
    market.sandbox.close_ledger(WAITING_PERIOD)
    noted = await process.cashier.look(older)
    assert noted is not None
    assert noted.status is ChannelStatus.OPEN
    await process.cashier.settle(newer)
    assert market.earned() == 300


@pytest.mark.parametrize("shown", [True, False], ids=["shown by the node", "not shown"])
@pytest.mark.parametrize("closes", [True, False], ids=["close", "settle"])
async def test_a_channel_that_was_idle_for_so_long_that_it_is_archived(
    market: Market, process: Process, *, closes: bool, shown: bool
) -> None:
    channel = market.open()
    prepare = process.closing if closes else process.hold
    held = await prepare(channel, 300)
    market.sandbox.close_ledger(A_WEEK)
    if not shown:
        market.line.follow(Plan("getLedgerEntries", 0, altered(entries=[])))
    take = process.cashier.close if closes else process.cashier.settle
    assert await take(held) is not None
    assert market.earned() == 300
    assert (await process.kept(channel)).settled == 300
