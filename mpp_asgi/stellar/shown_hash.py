"""A transaction that a payer says is on the ledger already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mpp_asgi.intents import RefusalError
from mpp_asgi.protocol import problems

if TYPE_CHECKING:
    from mpp_asgi.stellar.admissions import Counter
    from mpp_asgi.stellar.rpc import TransactionStatus

PATIENCE_SECONDS: Final = 12
"""How long to wait for a node to catch up with the moment at which a transaction was shown."""


async def find_transaction(
    counter: Counter, transaction_hash: str, *, expires: int | None = None
) -> TransactionStatus:
    """The transaction as the ledger has it, failed or not.

    Args:
        counter: where it is shown.
        transaction_hash: 64 hex digits.
        expires: of the challenge that it pays for, Unix seconds; ``None``: it pays for none, so
            that nothing is lost if a node that was made anew does not know it.

    Raises:
        RefusalError: the ledger did not have it when it was shown.
        FaultError: the node does not know yet what the ledger had by then, or not any more.
    """
    now = counter.clock()
    status = await counter.ledger.find(
        transaction_hash,
        since=int(now) if expires is None else counter.ledger.sent_since(expires),
        as_of=now,
        patience_seconds=PATIENCE_SECONDS,
    )
    if status.status == "NOT_FOUND":
        raise RefusalError(
            problems.VERIFICATION_FAILED.because(
                "The transaction is not on the ledger. If it was just submitted, show the "
                "same credential again; do not pay again."
            )
        )
    return status
