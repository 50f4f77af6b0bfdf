"""Fee sponsorship: the account that puts its name under payers' transfers and pays the fee."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from stellar_sdk import xdr

from mpp_asgi.intents import FaultError
from mpp_asgi.stellar.rpc import get_ledger_entries

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from stellar_sdk import Keypair

    from mpp_asgi.stellar.ledger import Ledger

MOST_WAITING: Final = 256
"""Charges that may wait for the sponsor's account in one process."""


class Sponsor:
    """One account and its sequence numbers.

    The network takes one pending transaction of an account at a time, so charges take turns: each
    holds the account until the ledger has decided about its transaction.
    """

    def __init__(
        self,
        keypair: Keypair,
        ledger: Ledger,
        *,
        max_fee: int,
        patience_seconds: float = 30,
    ) -> None:
        """
        Args:
            keypair: the account's key.
            ledger: where its sequence number is read.
            max_fee: stroops, the most that is paid for one transaction.
            patience_seconds: how long a charge waits for the account.
        """
        self.keypair = keypair
        self.address = keypair.public_key
        self.max_fee = max_fee
        self._ledger = ledger
        self._patience_seconds = patience_seconds
        self._lock = asyncio.Lock()
        self._waiting = 0
        self._sequence: int | None = None

    @asynccontextmanager
    async def account(self) -> AsyncIterator[SponsorAccount]:
        """Have the account to oneself.

        Raises:
            FaultError: too many charges wait for it, or it takes too long.
        """
        if self._waiting >= MOST_WAITING:
            raise FaultError("Too many payments are waiting.", retry_after=10)
        self._waiting += 1
        try:
            async with asyncio.timeout(self._patience_seconds):
                await self._lock.acquire()
        except TimeoutError:
            raise FaultError("Many payments are waiting.", retry_after=5) from None
        finally:
            self._waiting -= 1
        account = SponsorAccount(self)
        try:
            yield account
        finally:
            self._sequence = account.next_known
            self._lock.release()

    async def read_sequence(self) -> int:
        """The account's sequence number on the ledger.

        Raises:
            FaultError: the ledger cannot be asked, or there is no such account.
        """
        key = xdr.LedgerKey(
            type=xdr.LedgerEntryType.ACCOUNT,
            account=xdr.LedgerKeyAccount(account_id=self.keypair.xdr_account_id()),
        )
        found = await self._ledger.ask(get_ledger_entries([key.to_xdr()]))
        if not found.entries:
            raise FaultError("The server's sponsor account does not exist.")
        account = xdr.LedgerEntryData.from_xdr(found.entries[0].xdr).account
        if account is None:
            raise FaultError("The payment network gave a senseless answer.")
        return account.seq_num.sequence_number.int64

    @property
    def known_sequence(self) -> int | None:
        """The next number, if the last transaction left it certain."""
        return self._sequence


class SponsorAccount:
    """The sponsor's account while one charge holds it."""

    def __init__(self, sponsor: Sponsor) -> None:
        self._sponsor = sponsor
        self._next: int | None = sponsor.known_sequence
        self._used: int | None = None
        self.next_known: int | None = None

    async def next_sequence(self) -> int:
        """The number for the next transaction.

        Raises:
            FaultError: as `Sponsor.read_sequence`.
        """
        if self._next is None:
            self._next = await self._sponsor.read_sequence() + 1
        self._used = self._next
        self._next = None
        return self._used

    def consumed(self) -> None:
        """The ledger has the last transaction: its number is used, the following one is next."""
        if self._used is not None:
            self.next_known = self._used + 1
