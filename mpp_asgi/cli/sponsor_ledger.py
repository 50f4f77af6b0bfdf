"""Classic transactions of a sponsor's: its channel accounts put on the ledger and kept in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mpp_asgi.cli.classic import perform
from mpp_asgi.cli.terminal import CommandError
from mpp_asgi.stellar.accounts import get_account, get_accounts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stellar_sdk import Keypair, TransactionBuilder

    from mpp_asgi.cli.chain import Chain
    from mpp_asgi.stellar.accounts import Account
    from mpp_asgi.stellar.rpc_drivers import SyncRpc


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
        return perform(
            self.chain,
            self.rpc,
            self.sponsor,
            add,
            sequence=self.account().sequence,
            refusal=("transaction", "the sponsor has XLM to spare, and run this again"),
            signers=signers,
        )
