"""Friendbot: creates an account with 10,000 XLM by a real transaction, applied at once."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stellar_sdk import Account as SdkAccount
from stellar_sdk import Keypair, TransactionBuilder

from mpp_asgi.sandbox.frame import Frame
from mpp_asgi.sandbox.queue import Status
from mpp_asgi.sandbox.state import require_account
from mpp_asgi.sandbox.wire.transactions import Envelope

if TYPE_CHECKING:
    from mpp_asgi.sandbox.history import AppliedTransaction
    from mpp_asgi.sandbox.ledger import Ledger

STARTING_BALANCE = "10000"


class FriendbotError(Exception):
    """The account was not created; the message says why, as friendbot does."""


@dataclass(frozen=True, slots=True)
class Friendbot:
    ledger: Ledger
    bank: Keypair
    passphrase: str

    def create(self, address: str, now: float) -> AppliedTransaction:
        """Create the account ``address`` (``G…``) and close a ledger with it."""
        if self.ledger.is_frozen:
            raise FriendbotError("the ledger is frozen")
        bank = require_account(self.ledger.state, self.bank.raw_public_key())
        envelope = (
            TransactionBuilder(
                SdkAccount(self.bank.public_key, bank.sequence), self.passphrase, 100
            )
            .add_time_bounds(0, 0)
            .append_create_account_op(address, STARTING_BALANCE)
            .build()
        )
        envelope.sign(self.bank)
        data = envelope.to_xdr_object().to_xdr_bytes()
        frame = Frame.of(Envelope.parse(data), self.ledger.network.network_id)
        submission = self.ledger.submit(frame, now)
        if submission.status is not Status.PENDING:
            raise FriendbotError(f"the transaction was not taken: {submission.status}")
        self.ledger.close(now)
        applied = self.ledger.history.transaction(frame.hash)
        if applied is None:
            raise FriendbotError("the ledger was full")
        if not applied.succeeded:
            # Nothing else can be wrong with it; clients look for this very word.
            result = b64encode(applied.result).decode("ascii")
            raise FriendbotError(f"createAccountAlreadyExist ({result})")
        return applied
