"""What an answer tells of the latest ledger, beside what it was asked."""

from __future__ import annotations

from dataclasses import dataclass

from mpp_asgi.stellar.rpc import (
    FeeStats,
    LatestLedger,
    LedgerEntries,
    Simulation,
    Submission,
    TransactionStatus,
)
from mpp_asgi.stellar.rpc_pages import TransactionPage


@dataclass(frozen=True, slots=True)
class Tip:
    """The end of the chain as a node sees it."""

    ledger: int
    close_time: int | None
    """Unix seconds; ``None`` where the answer does not say."""


def tip_told(result: object) -> Tip | None:
    """The latest ledger at the time of the answer, on the node that gave it."""
    match result:
        case LatestLedger():
            return Tip(result.sequence, result.close_time)
        case TransactionStatus() | Submission():
            return Tip(result.latest_ledger, result.latest_ledger_close_time)
        case TransactionPage():
            return Tip(result.span.latest_ledger, result.span.latest_ledger_close_time)
        case Simulation() | LedgerEntries() | FeeStats():
            return Tip(result.latest_ledger, None)
        case _:
            return None
