"""What became of a transaction that somebody has submitted and not seen through."""

from __future__ import annotations

import logging
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from mpp_asgi.protocol import Receipt, format_timestamp, problems
from mpp_asgi.stellar.admissions import RECORD_SECONDS
from mpp_asgi.stellar.dispatch import GOOD_SECONDS
from mpp_asgi.stellar.inspection import last_leave
from mpp_asgi.stellar.ledger import goes_back
from mpp_asgi.stellar.payout import is_payout
from mpp_asgi.stellar.rpc import get_latest_ledger, get_transaction

if TYPE_CHECKING:
    from mpp_asgi.stellar.ledger import Ledger
    from mpp_asgi.stores.contract import Charge

log = logging.getLogger("mpp_asgi.recovery")


class FateKind(StrEnum):
    """How it ended."""

    SETTLED = "settled"
    """The money moved."""
    FAILED = "failed"
    """It did not, and with this credential it never will."""
    DROPPED = "dropped"
    """It did not, and it may be tried again: nothing was used up."""


class Fate(NamedTuple):
    """What became of a transaction, for good."""

    kind: FateKind
    receipt: str = ""
    """The ``Payment-Receipt`` value, if it is settled."""
    problem: str = ""
    """The problem's slug, if it failed."""


async def is_void(ledger: Ledger, charge: Charge) -> bool:
    """Whether nothing that others may have seen of a charge which was withdrawn is good any more:
    then its record can go.

    Raises:
        FaultError: the ledger cannot be asked.
    """
    if is_payout(charge.id):
        return True  # what the recipient allows is for what it is owed
    last = last_leave(charge.envelope or "")
    return last == 0 or (await ledger.ask(get_latest_ledger())).sequence > last


def _sent_since(ledger: Ledger, charge: Charge) -> int:
    """When it was sent at the earliest, Unix seconds, whoever's transaction it was: since it was
    made if it is ours, since its challenge was issued if it is the payer's."""
    made = (charge.valid_until or 0) - GOOD_SECONDS
    if is_payout(charge.id):
        return made
    return min(made, ledger.sent_since(charge.keep_until - RECORD_SECONDS))


async def fate_of(ledger: Ledger, charge: Charge) -> Fate | None:
    """Ask the ledger once what became of a submitted charge, or of anything on record like one.

    Returns:
        ``None`` if that is not decided yet.

    Raises:
        FaultError: the ledger cannot be asked.
    """
    reference, valid_until = charge.reference or "", charge.valid_until or 0
    status = await ledger.ask(get_transaction(reference))
    if status.status == "SUCCESS":
        at = status.created_at or status.latest_ledger_close_time
        receipt = Receipt("stellar", reference, format_timestamp(at))
        return Fate(FateKind.SETTLED, receipt=receipt.to_header())
    if status.status == "FAILED":
        # What the recipient takes for itself, it may take again.
        if is_payout(charge.id):
            return Fate(FateKind.DROPPED)
        return Fate(FateKind.FAILED, problem=problems.SETTLEMENT_FAILED.slug)
    if not goes_back(status, _sent_since(ledger, charge)):
        log.error(
            "record=%s transaction=%s not recovered: the node has forgotten the time before %d, "
            "ask one that goes further back",
            *(charge.id, reference, valid_until),
        )
        return None
    if status.latest_ledger_close_time > valid_until:
        return Fate(FateKind.DROPPED)
    return None
