"""A transaction that a payer says is on the ledger already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mpp_asgi.intents import FaultError, RefusalError
from mpp_asgi.protocol import problems
from mpp_asgi.stellar.rpc import get_transaction

if TYPE_CHECKING:
    from mpp_asgi.stellar.admissions import Counter
    from mpp_asgi.stellar.rpc import TransactionStatus

PATIENCE_SECONDS: Final = 12
"""How long to wait for a node to catch up with the moment at which a transaction was shown."""


async def find_transaction(counter: Counter, transaction_hash: str) -> TransactionStatus:
    """The transaction as the ledger has it, failed or not.

    Raises:
        RefusalError: the ledger did not have it when it was shown.
        FaultError: the node does not know yet what the ledger had by then.
    """
    shown_at = counter.clock()
    while True:
        status = await counter.ledger.ask(get_transaction(transaction_hash))
        if status.status != "NOT_FOUND":
            return status
        if status.latest_ledger_close_time > shown_at:
            raise RefusalError(
                problems.VERIFICATION_FAILED.because(
                    "The transaction is not on the ledger. If it was just submitted, show the "
                    "same credential again; do not pay again."
                )
            )
        if counter.clock() - shown_at >= PATIENCE_SECONDS:
            raise FaultError("The payment network is behind; the payment is not seen yet.")
        await counter.sleep(0.5)
