"""What an answer tells of the latest ledger, beside what it was asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mpp_asgi.stellar.rpc import (
    FeeStats,
    Health,
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
        case TransactionStatus() | Submission() | Health():
            return Tip(result.latest_ledger, result.latest_ledger_close_time)
        case TransactionPage():
            return Tip(result.span.latest_ledger, result.span.latest_ledger_close_time)
        case Simulation() | LedgerEntries() | FeeStats():
            return Tip(result.latest_ledger, None)
        case _:
            return None


LAG_LEDGERS: Final = 5
"""By how many ledgers nodes may be apart: those behind a load balancer are not in step."""
STALE_SECONDS: Final = 60
"""How old a node's latest ledger may be, and how far ahead of the clock."""
FASTEST: Final = 4
"""Ledgers that close in a second at most; real networks need five seconds for one."""


def standing_alone(tip: Tip, now: float) -> str | None:
    """What is wrong with the end of a chain, by the wall clock (Unix seconds), if anything is."""
    if tip.close_time is None:
        return None
    if now - tip.close_time > STALE_SECONDS:
        return f"its latest ledger is {now - tip.close_time:.0f} s old"
    if tip.close_time - now > STALE_SECONDS:
        return f"its latest ledger is {tip.close_time - now:.0f} s ahead of the clock"
    return None


def is_behind(tip: Tip, other: Tip) -> bool:
    """Whether one node has noticeably less of the chain than another."""
    return tip.ledger < other.ledger - LAG_LEDGERS


def can_be_of_one_chain(one: Tip, other: Tip) -> bool:
    """Whether ledgers and times fit together: a ledger that closed later has a higher number, and
    not higher by more than can have closed meanwhile."""
    if one.close_time is None or other.close_time is None:
        return True
    earlier, later = sorted((one, other), key=lambda tip: tip.close_time or 0)
    seconds = (later.close_time or 0) - (earlier.close_time or 0)
    ledgers = later.ledger - earlier.ledger
    return -LAG_LEDGERS <= ledgers <= seconds * FASTEST + LAG_LEDGERS
