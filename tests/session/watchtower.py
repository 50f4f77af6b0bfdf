"""Channels on a sandbox whose time is in the test's hand, and processes that guard them."""

from __future__ import annotations

import asyncio
from collections import Counter as Tallies
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stellar_sdk import Keypair, scval
from stellar_sdk import xdr as sdk

from mpp_asgi.charges import ChargeBook
from mpp_asgi.stellar.admissions import Counter
from mpp_asgi.stellar.cashier import Cashier
from mpp_asgi.stellar.channel import read_channels, record_of
from mpp_asgi.stellar.guardian import Guardian
from mpp_asgi.stellar.ledger import Ledger
from mpp_asgi.stellar.network import TESTNET
from mpp_asgi.stellar.rpc_drivers import InProcessRpc
from mpp_asgi.stellar.settlement import SettlementPolicy
from mpp_asgi.stellar.sponsor import Sponsor, SponsorTerms
from mpp_asgi.stores.channels import Channel, SpendOutcome
from mpp_asgi.stores.memory.store import MemoryStore
from mpp_asgi.stores.sqlite.store import SqliteStore
from tests.sandbox.channels import DEPOSIT, WAITING_PERIOD, Channels
from tests.sandbox.conftest import Stage, keypair, make_stage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from mpp_asgi.stores.contract import Store

LEDGER_SECONDS = 5.0
INTERVAL = 60

__all__ = [
    "DEPOSIT",
    "INTERVAL",
    "LEDGER_SECONDS",
    "WAITING_PERIOD",
    "Harbour",
    "Node",
    "Process",
    "make_harbour",
    "until",
]


async def until(condition: Callable[[], bool]) -> None:
    """Let others work until something is so."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 # what it waits for cannot tell
            await asyncio.sleep(0)


class Node:
    """The node that the processes ask: counts what it is asked, and fails when it is told to."""

    def __init__(self, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self._answer = answer
        self.calls: Tallies[str] = Tallies()
        self.silent: frozenset[str] = frozenset()
        """The methods that it does not answer; ``*``: none at all."""

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        method = str(request["method"])
        self.calls[method] += 1
        if self.silent & {"*", method}:
            raise ConnectionError("no answer")
        return self._answer(request)


@dataclass
class Process:
    """One of the processes that share the records."""

    guardian: Guardian
    cashier: Cashier
    store: Store
    book: ChargeBook

    async def die(self) -> None:
        """End without a word to the others."""
        await self.book.heart.stop()


@dataclass
class Harbour:
    """The ledger, the channels on it, and the records that all processes share."""

    stage: Stage
    path: Path | None
    node: Node
    house: Keypair = field(default_factory=lambda: keypair("house"))
    memory: MemoryStore = field(default_factory=MemoryStore)
    _processes: int = 0
    _salts: int = 0

    def __post_init__(self) -> None:
        self.channels = Channels(self.stage)
        self.stage.sandbox.fund(self.house.public_key)

    # Time

    def now(self) -> float:
        return self.stage.clock.now

    async def sleep(self, seconds: float) -> None:
        self.stage.clock.now += seconds
        await asyncio.sleep(0)

    def pass_ledgers(self, count: int) -> None:
        """Let so many ledgers close, as they do by the clock."""
        self.stage.clock.now += count * LEDGER_SECONDS

    # Processes

    @asynccontextmanager
    async def process(
        self,
        policy: SettlementPolicy | None = None,
        *,
        around: Callable[[Store], Any] = lambda store: store,
        sleep: Callable[[float], Any] | None = None,
        interval: float = INTERVAL,
    ) -> AsyncIterator[Process]:
        """A new one. Its guardian works when the test says so."""
        self._processes += 1
        owner = f"process {self._processes}"
        opened: Store = SqliteStore(self.path) if self.path else self.memory
        await opened.open()
        store = around(opened)
        rest = sleep or self.sleep
        book = ChargeBook(store, owner=owner, clock=self.now, sleep=rest)
        ledger = Ledger(
            InProcessRpc(self.node), clock=self.now, sleep=rest, poll_seconds=1, patience_seconds=30
        )
        sponsor = Sponsor(
            self.house,
            ledger,
            store,
            SponsorTerms(max_fee=10_000_000),
            clock=self.now,
            sleep=rest,
        )
        counter = Counter(
            network=TESTNET,
            ledger=ledger,
            book=book,
            sponsor=sponsor,
            own_addresses=(self.house.public_key, self.stage.seller.public_key),
            clock=self.now,
            sleep=rest,
        )
        cashier = Cashier(counter, self.stage.seller, payer=sponsor)
        guardian = Guardian(
            store,
            ledger,
            cashier,
            policy=policy or SettlementPolicy(),
            interval_seconds=interval,
            owner=owner,
            clock=self.now,
            sleep=rest,
        )
        try:
            yield Process(guardian, cashier, store, book)
        finally:
            await book.heart.stop()
            if self.path:
                await opened.close()

    # Channels

    def open(self, **terms: Any) -> str:
        """Open a channel on the ledger."""
        self._salts += 1
        return self.channels.open(self._salts.to_bytes(32, "big"), **terms)

    async def record(self, store: Store, *channels: str, token: str | None = None) -> None:
        """Put channels on record, as a server does that meets them."""
        rpc = InProcessRpc(self.stage.sandbox.rpc)
        ledger = Ledger(rpc, clock=self.now, sleep=self.sleep, poll_seconds=1, patience_seconds=30)
        found = await read_channels(ledger, channels, [token or self.stage.usdc])
        for facts in found.values():
            assert facts is not None
            await store.add_channel(record_of(facts, now=int(self.now())))

    def open_empty(self, count: int) -> list[str]:
        """Open channels with nothing in them, quicker than by `open`: nobody has to sign that."""
        addresses = []
        for _ in range(count):
            self._salts += 1
            call = self.channels.opening_call(self._salts.to_bytes(32, "big"), amount=0)
            simulated = self.stage.simulate(call)
            data = sdk.SorobanTransactionData.from_xdr(simulated["transactionData"])
            call.transaction.soroban_data = data
            call.transaction.fee += int(simulated["minResourceFee"])
            call.sign(self.stage.sponsor)
            assert self.stage.send(call)["status"] == "PENDING"
            self.stage.sandbox.close_ledger()
            value = sdk.SCVal.from_xdr(simulated["results"][0]["xdr"])
            addresses.append(scval.from_address(value).address)
        return addresses

    async def opened(self, store: Store, **terms: Any) -> str:
        """Open a channel and put it on record."""
        channel = self.open(**terms)
        await self.record(store, channel, token=terms.get("token"))
        return channel

    async def spend(self, store: Store, channel: str, cost: int, *, ahead: int = 0) -> Channel:
        """Serve a request for a voucher that is good for it, and for so much more."""
        found = await store.channel(channel)
        assert found is not None
        amount = max(found.accepted, found.spent + cost + ahead)
        spend = await store.spend(
            channel,
            amount=amount,
            signature=self.channels.sign(channel, amount).hex(),
            cost=cost,
            units=1,
            min_delta=0,
            now=int(self.now()),
        )
        assert spend.outcome is SpendOutcome.SPENT, spend
        assert spend.channel is not None
        return spend.channel

    def close_start(self, channel: str) -> None:
        """The funder wants its money back."""
        self.channels.do(channel, "close_start")

    def refund(self, channel: str) -> None:
        """The funder takes it."""
        self.channels.do(channel, "refund")

    def top_up(self, channel: str, amount: int) -> None:
        """The funder puts in more, without a word to the server."""
        self.channels.do(channel, "top_up", scval.to_int128(amount))

    def paid(self, channel: str) -> int:
        """What the recipient has had of it."""
        return int(self.channels.ask(channel, "withdrawn"))

    def earned(self) -> int:
        """What the recipient has had in all, beyond what it began with."""
        return self.stage.usdc_of(self.stage.seller) - self._began_with

    def begin(self) -> None:
        self._began_with = self.stage.usdc_of(self.stage.seller)

    def withdrawals(self, since: int) -> list[str]:
        """The channels that paid since a ledger, in order."""
        found = self.stage.rpc("getEvents", startLedger=since)["events"]
        names = [(scval.to_native(sdk.SCVal.from_xdr(e["topic"][0])), e) for e in found]
        return [event["contractId"] for name, event in names if name == "withdraw"]

    @property
    def ledger(self) -> int:
        return self.stage.sandbox.sequence


def make_harbour(path: Path | None = None) -> Harbour:
    """Its records are in a SQLite file, or in memory."""
    stage = make_stage(close_interval=LEDGER_SECONDS)
    harbour = Harbour(stage, path, Node(stage.sandbox.rpc))
    harbour.begin()
    return harbour
