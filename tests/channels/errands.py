"""The four things that are done with channels on the ledger, each with what has to come of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from mpp_asgi.intents import FaultError, PendingError
from mpp_asgi.stores.channels import ChannelStatus
from tests.channels.market import DEPOSIT, FUNDER, Market, Process
from tests.shop import RECIPIENT, SPONSOR

if TYPE_CHECKING:
    from mpp_asgi.stores.channels import Channel

MORE = 5_000
VOUCHER = 300
MOST_TRIES = 30


class Errand(ABC):
    """Done once, however often it is asked for, and by whichever process."""

    submitter = SPONSOR
    """Whose transaction it is where there is a sponsor."""

    def __init__(self, market: Market) -> None:
        self.market = market
        if not market.sponsored:
            self.submitter = self.submitter_unsponsored
        self.before = market.funder_has()
        self.sequence = 0

    submitter_unsponsored = FUNDER

    @abstractmethod
    async def prepare(self, process: Process) -> None:
        """Everything that comes before."""

    @abstractmethod
    async def do(self, process: Process) -> str | None:
        """Do it; the transaction's hash."""

    @abstractmethod
    async def assert_done(self, process: Process) -> None:
        """Everybody has what is theirs, and the record says so."""

    def begin(self) -> None:
        self.sequence = self.market.sequence(self.submitter)

    async def do_until_done(self, process: Process, *, seconds: float = 1) -> str | None:
        """Try until there is an answer that ends it: nothing but our own fault may come before."""
        for _ in range(MOST_TRIES):
            try:
                return await self.do(process)
            except (FaultError, PendingError) as error:
                self.market.time.now += max(seconds, error.retry_after)
        raise AssertionError("it does not end")

    def assert_one_transaction(self) -> None:
        used = self.market.sequence(self.submitter) - self.sequence
        assert used == 1, f"{used} transactions are on the ledger"


class Settle(Errand):
    submitter_unsponsored = RECIPIENT
    held: Channel

    async def prepare(self, process: Process) -> None:
        self.held = await process.hold(self.market.open(), VOUCHER)

    async def do(self, process: Process) -> str | None:
        return await process.cashier.settle(self.held)

    async def assert_done(self, process: Process) -> None:
        assert self.market.earned() == VOUCHER
        assert self.market.funder_has() == self.before - DEPOSIT
        noted = await process.cashier.look(self.held)
        assert noted is not None
        assert (noted.settled, noted.accepted, noted.status) == (
            VOUCHER,
            VOUCHER,
            ChannelStatus.OPEN,
        )


class Close(Settle):
    async def prepare(self, process: Process) -> None:
        self.held = await process.closing(self.market.open(), VOUCHER)

    async def do(self, process: Process) -> str | None:
        return await process.cashier.close(self.held)

    async def assert_done(self, process: Process) -> None:
        assert self.market.earned() == VOUCHER
        assert self.market.funder_has() == self.before - VOUCHER
        noted = await process.cashier.look(self.held)
        assert noted is not None
        assert (noted.settled, noted.status) == (VOUCHER, ChannelStatus.CLOSED)


class Open(Errand):
    payload: dict[str, Any]

    async def prepare(self, process: Process) -> None:
        self.payload = self.market.open_payload()
        self.quote = process.quote()

    async def do(self, process: Process) -> str | None:
        funded = await process.open(self.payload, quote=self.quote)
        assert funded.facts.deposited == DEPOSIT
        return funded.tx_hash

    async def assert_done(self, process: Process) -> None:
        assert self.market.funder_has() == self.before - DEPOSIT
        facts = await process.facts(self.payload["channelId"])
        assert (facts.balance, facts.funder) == (DEPOSIT, FUNDER.public_key)


class AddTo(Open):
    async def prepare(self, process: Process) -> None:
        self.held = await process.hold(self.market.open(), VOUCHER)
        self.payload = self.market.top_up_payload(self.held.id, MORE)
        self.quote = process.quote()

    async def do(self, process: Process) -> str | None:
        funded = await process.top_up(self.payload, self.held, quote=self.quote)
        assert funded.facts.deposited == DEPOSIT + MORE
        return funded.tx_hash

    async def assert_done(self, process: Process) -> None:
        assert self.market.funder_has() == self.before - DEPOSIT - MORE
        assert (await process.facts(self.held.id)).balance == DEPOSIT + MORE


ERRANDS: dict[str, type[Errand]] = {
    "settle": Settle,
    "close": Close,
    "open": Open,
    "top up": AddTo,
}
