"""Classic transactions of a sponsor's: its channel accounts put on the ledger and kept in order."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stellar_sdk import Account as SourceAccount
from stellar_sdk import TransactionBuilder, xdr

from mpp_asgi.cli.terminal import CommandError
from mpp_asgi.stellar.accounts import get_account, get_accounts
from mpp_asgi.stellar.inspection import XDR_ERRORS
from mpp_asgi.stellar.rpc import get_transaction, send_transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stellar_sdk import Keypair

    from mpp_asgi.cli.chain import Chain
    from mpp_asgi.stellar.accounts import Account
    from mpp_asgi.stellar.rpc_drivers import SyncRpc

FEE = 10_000
"""Stroops bid for each operation; in quiet times the network takes 100 of them."""
VALID_SECONDS = 60
POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class SponsorLedger:
    """The ledger, for whoever has the sponsor's key."""

    chain: Chain
    rpc: SyncRpc
    sponsor: Keypair

    def account(self) -> Account:
        """The sponsor's own.

        Raises:
            CommandError: there is none, or it cannot be read.
        """
        account = self.chain.ask(self.rpc, get_account(self.sponsor.public_key))
        if account is None:
            raise CommandError(
                f"The sponsor {self.sponsor.public_key} does not exist: create it with "
                "`mpp-asgi fund`, or send XLM to it."
            )
        return account

    def accounts(self, keys: Sequence[Keypair]) -> Mapping[str, Account]:
        """Those of them that exist, by address.

        Raises:
            CommandError: they cannot be read.
        """
        return self.chain.ask(self.rpc, get_accounts([key.public_key for key in keys]))

    def perform(
        self, add: Callable[[TransactionBuilder], object], signers: Sequence[Keypair] = ()
    ) -> str:
        """Bring operations onto the ledger in a transaction of the sponsor's; its hash.

        Args:
            add: appends them.
            signers: who signs beside the sponsor; 19 at most.

        Raises:
            CommandError: that failed, or is not decided yet.
        """
        source = SourceAccount(self.sponsor.public_key, self.account().sequence)
        builder = TransactionBuilder(source, self.chain.network.passphrase, FEE)
        add(builder)
        envelope = builder.set_timeout(VALID_SECONDS).build()
        for key in (self.sponsor, *signers):
            envelope.sign(key)
        sent = self.chain.ask(self.rpc, send_transaction(envelope.to_xdr()))
        if sent.status == "ERROR":
            raise _refusal(sent.error_result_xdr)
        if sent.status == "TRY_AGAIN_LATER":
            raise CommandError("The network is busy: run this again in a few seconds.")
        self._wait(sent.hash)
        return sent.hash

    def _wait(self, tx_hash: str) -> None:
        give_up = time.monotonic() + VALID_SECONDS
        while True:
            found = self.chain.ask(self.rpc, get_transaction(tx_hash))
            if found.status == "SUCCESS":
                return
            if found.status == "FAILED":
                raise _refusal(found.result_xdr)
            if time.monotonic() >= give_up:
                raise CommandError(
                    f"The ledger has not decided on transaction {tx_hash} yet: run this again."
                )
            time.sleep(POLL_SECONDS)


def _refusal(result: str | None) -> CommandError:
    """From the TransactionResult (base64 XDR)."""
    try:
        name = xdr.TransactionResult.from_xdr(result or "").result.code.name
    except XDR_ERRORS:
        name = "no reason given"
    return CommandError(
        f"The network refused the transaction ({name}): see that the sponsor has XLM to spare, "
        "and run this again."
    )
