"""Accounts on loan: among requests of a process, among processes, and past their deaths."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from mpp_asgi.intents import FaultError
from mpp_asgi.sandbox import Sandbox
from mpp_asgi.stellar.ledger import Ledger
from mpp_asgi.stellar.rpc_drivers import InProcessRpc
from mpp_asgi.stellar.sponsor_accounts import channel_accounts
from mpp_asgi.stellar.sponsor_pool import LOAN_SECONDS, MARGIN_SECONDS, MISSING_SECONDS, Pool
from mpp_asgi.stellar.sponsor_queue import FairQueue
from mpp_asgi.stores.contract import StoreUnavailableError
from mpp_asgi.stores.memory.store import MemoryStore
from tests.charge.bad_line import BadLine
from tests.methods.stores import StoreAround
from tests.shop import SPONSOR, Time

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mpp_asgi.stellar.sponsor_pool import LentAccount

PATIENCE = 30
POLL = 1


@dataclass
class Hosts:
    """Processes that share a store and a ledger."""

    time: Time = field(default_factory=Time)
    store: Any = field(default_factory=MemoryStore)

    def __post_init__(self) -> None:
        sandbox = Sandbox(clock=self.time, close_interval=5)
        for key in channel_accounts(SPONSOR, 3):
            sandbox.fund(key.public_key)
        self.line = BadLine(sandbox)

    def pool(
        self,
        accounts: int,
        *,
        queue: FairQueue | None = None,
        store: Any = None,
        patience: float = PATIENCE,
    ) -> Pool:
        ledger = Ledger(
            InProcessRpc(self.line.rpc),
            clock=self.time,
            sleep=self.time.sleep,
            poll_seconds=POLL,
            patience_seconds=PATIENCE,
        )
        return Pool(
            {key.public_key: key for key in channel_accounts(SPONSOR, accounts)},
            store or self.store,
            ledger,
            clock=self.time,
            sleep=self.time.sleep,
            is_shared=True,
            patience_seconds=patience,
            poll_seconds=POLL,
            queue=FairQueue() if queue is None else queue,
        )


@pytest.fixture
def hosts() -> Hosts:
    return Hosts()


async def use(pool: Pool, payer: str, what: Callable[[LentAccount], Awaitable[None]]) -> None:
    async with pool.account(payer) as account:
        await what(account)


async def test_one_account_is_one_transactions_at_a_time_over_processes(hosts: Hosts) -> None:
    pools = [hosts.pool(2, patience=10_000) for _ in range(3)]
    busy: set[str] = set()
    most = 0
    turns: list[int] = []

    async def work(account: LentAccount, process: int) -> None:
        nonlocal most
        assert account.address not in busy
        busy.add(account.address)
        most = max(most, len(busy))
        for _ in range(3):
            await asyncio.sleep(0)
        busy.remove(account.address)
        turns.append(process)

    await asyncio.gather(
        *(
            use(pools[number % 3], f"payer {number}", lambda each, n=number: work(each, n % 3))  # type: ignore[misc] # bound now
            for number in range(30)
        )
    )
    assert len(turns) == 30
    assert most == 2


async def test_processes_share_what_is_short(hosts: Hosts) -> None:
    """While one process has work without end, another does not starve."""
    greedy, modest = hosts.pool(1, patience=10_000), hosts.pool(1, patience=10_000)
    served: list[str] = []

    async def work(name: str) -> None:
        await hosts.time.sleep(5)  # a ledger
        served.append(name)

    async def press() -> None:
        while "modest" not in served:
            await use(greedy, f"payer {len(served)}", lambda _: work("greedy"))

    pressing = [asyncio.create_task(press()) for _ in range(5)]
    await asyncio.sleep(0)
    await use(modest, "payer", lambda _: work("modest"))
    await asyncio.gather(*pressing)
    assert served.index("modest") <= 6


async def test_a_number_once_known_is_handed_on(hosts: Hosts) -> None:
    async with hosts.pool(1).account("payer") as account:
        number = await account.next_sequence()
        account.sending(int(hosts.time()) + 60)
        account.consumed()
    hosts.line.follow()
    async with hosts.pool(1).account("payer") as account:
        assert await account.next_sequence() == number + 1
    assert hosts.line.calls == []


async def test_nothing_sent_leaves_the_number_as_it_was(hosts: Hosts) -> None:
    async with hosts.pool(1).account("payer") as account:
        number = await account.next_sequence()
    async with hosts.pool(1).account("payer") as account:
        assert await account.next_sequence() == number


async def test_doubt_keeps_the_account_until_nothing_can_be_included(hosts: Hosts) -> None:
    pool = hosts.pool(1)
    valid_until = int(hosts.time()) + 60

    async def get_lost(account: LentAccount) -> None:
        await account.next_sequence()
        account.sending(valid_until)
        raise FaultError("The payment is not on the ledger yet.")

    with pytest.raises(FaultError, match="not on the ledger yet"):
        await use(pool, "payer", get_lost)
    with pytest.raises(FaultError, match="Many payments are waiting"):
        await use(pool, "payer", _nothing)
    hosts.time.now = valid_until + MARGIN_SECONDS - 2
    async with pool.account("payer") as again:
        assert hosts.time() >= valid_until + MARGIN_SECONDS
        hosts.line.follow()
        await again.next_sequence()
        assert hosts.line.calls == ["getLedgerEntries"]  # what came of it is asked


async def test_the_accounts_of_a_dead_process_are_lent_again_soon(hosts: Hosts) -> None:
    lost = hosts.pool(1).account("payer")
    dead = await lost.__aenter__()
    began = hosts.time()
    pool = hosts.pool(1)
    with pytest.raises(FaultError):
        await use(pool, "payer", lambda _: asyncio.sleep(0))
    hosts.time.now = max(hosts.time.now, began + LOAN_SECONDS - 2)
    async with pool.account("payer") as account:
        assert account.address == dead.address
        assert hosts.time() >= began + LOAN_SECONDS
        # It was not dead but asleep: it may not send any more, and takes nothing back.
        with pytest.raises(FaultError, match="too long"):
            await dead.keep()
        assert not await dead.hand_back()
        now = int(hosts.time())
        assert await pool._store.borrow([dead.address], until=now + 1, now=now) is None


async def test_an_account_that_is_missing_is_left_alone(hosts: Hosts) -> None:
    hosts.store = MemoryStore()
    pool = hosts.pool(4)  # and three are on the ledger
    loans = [pool.account("payer") for _ in range(11)]
    accounts = [await loan.__aenter__() for loan in loans[:4]]
    with pytest.raises(FaultError, match="does not exist"):
        await accounts[3].next_sequence()
    for account in accounts:
        await account.hand_back()
    names = {(await loan.__aenter__()).address for loan in loans[4:7]}
    assert accounts[3].address not in names
    hosts.time.now += MISSING_SECONDS
    assert accounts[3].address in {(await loan.__aenter__()).address for loan in loans[7:]}


async def test_a_store_that_fails_fails_those_who_wait_and_no_others(hosts: Hosts) -> None:
    store = Failing(hosts.store)
    pool = hosts.pool(1, store=store)
    async with pool.account("payer"):
        waiting = [asyncio.create_task(use(pool, "payer", _nothing)) for _ in range(3)]
        await _some_steps(20)
        store.fails = True
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(each, StoreUnavailableError) for each in results)
    store.fails = False
    hosts.time.now += LOAN_SECONDS  # it could not be handed back
    await use(pool, "payer", _nothing)


@pytest.mark.parametrize("steps", range(12))
async def test_whoever_gives_up_takes_no_account_along(hosts: Hosts, steps: int) -> None:
    pool = hosts.pool(1)
    holding = asyncio.create_task(use(pool, "payer", lambda _: _some_steps(4)))
    leaving = asyncio.create_task(use(pool, "payer", lambda _: _some_steps(4)))
    for _ in range(steps):
        await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(holding, leaving, return_exceptions=True)
    before = hosts.time()
    await use(pool, "payer", _nothing)
    assert hosts.time() - before < LOAN_SECONDS


async def test_full_is_said_at_once(hosts: Hosts) -> None:
    pool = hosts.pool(1, queue=FairQueue(most=1))
    async with pool.account("a"):
        waiting = asyncio.create_task(use(pool, "b", _nothing))
        await _some_steps(20)
        began = hosts.time()
        with pytest.raises(FaultError) as full:
            await use(pool, "c", _nothing)
        assert hosts.time() == began
        assert 1 <= full.value.retry_after <= 60
    await waiting


async def _nothing(_account: LentAccount) -> None:
    pass


async def _some_steps(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Failing(StoreAround):
    """A store that is out of reach now and then."""

    fails = False

    async def _call(self, name: str, operation: Callable[[], Awaitable[Any]]) -> Any:
        if self.fails:
            raise StoreUnavailableError(name)
        return await operation()
