"""What the ledger says of a payment in doubt.

A server that holds a signed payment can say what it likes; only the ledger knows whether the money
moved, and from when on it cannot move any more.

What the ledger says comes by way of an RPC, and one that is ahead of itself, or lies, could declare
void what is still good. So nothing is void by lapse of time before its time is over by the payer's
own clock, too.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from stellar_sdk import xdr

from mpp_asgi.client.payments import NonceTrace, TransactionTrace
from mpp_asgi.client.steps import ask, look_at_clock
from mpp_asgi.stellar.address import address_to_xdr
from mpp_asgi.stellar.rpc import get_ledger_entries, get_transaction
from mpp_asgi.stellar.rpc_call import RpcError

if TYPE_CHECKING:
    from mpp_asgi.client.steps import Chores

MIN_NONCE_LEDGERS: Final = 720
"""For so many ledgers a used nonce stays in the ledger at least."""

LONGEST_LEDGER_SECONDS: Final = 6
"""Between two ledgers, on average, in a slow hour. They are meant to be five seconds apart."""

CLOCK_MARGIN: Final = 30.0
"""Seconds that the payer's clock may be ahead of the network's."""


class Verdict(Enum):
    """Where the money of a payment is."""

    PAID = auto()
    VOID = auto()
    """It never moved and never will."""
    OPEN = auto()
    """It can still move, or nothing could be learnt."""


def verdict(trace: NonceTrace | TransactionTrace) -> Chores[Verdict]:
    """Ask the ledger. An RPC that fails leaves it open."""
    try:
        if isinstance(trace, TransactionTrace):
            return (yield from _of_transaction(trace))
        return (yield from _of_nonce(trace))
    except RpcError:
        return Verdict.OPEN


def _of_transaction(trace: TransactionTrace) -> Chores[Verdict]:
    found = yield from ask(get_transaction(trace.hash))
    if found.status == "SUCCESS":
        return Verdict.PAID
    if found.status == "FAILED":
        return Verdict.VOID
    too_late = found.latest_ledger_close_time > trace.max_time
    # An older ledger than the node keeps might hold it.
    complete = found.oldest_ledger_close_time <= trace.signed_at
    return (yield from _void_after(trace.max_time)) if too_late and complete else Verdict.OPEN


def _of_nonce(trace: NonceTrace) -> Chores[Verdict]:
    found = yield from ask(get_ledger_entries([nonce_key(trace.address, trace.nonce)]))
    if found.entries:
        return Verdict.PAID
    too_late = found.latest_ledger > trace.expiration_ledger
    # The entry of a nonce that was used as early as possible would still be there.
    complete = found.latest_ledger < trace.signed_at_ledger + MIN_NONCE_LEDGERS
    ledgers = trace.expiration_ledger - trace.signed_at_ledger
    end = trace.signed_at + ledgers * LONGEST_LEDGER_SECONDS
    return (yield from _void_after(end)) if too_late and complete else Verdict.OPEN


def _void_after(end: float) -> Chores[Verdict]:
    """The ledger says that it is over. Is it, by our own clock?"""
    now = yield from look_at_clock()
    return Verdict.VOID if now > end + CLOCK_MARGIN else Verdict.OPEN


def nonce_key(address: str, nonce: int) -> str:
    """The LedgerKey (base64 XDR) under which a used nonce is kept."""
    return xdr.LedgerKey(
        xdr.LedgerEntryType.CONTRACT_DATA,
        contract_data=xdr.LedgerKeyContractData(
            contract=address_to_xdr(address),
            key=xdr.SCVal(
                xdr.SCValType.SCV_LEDGER_KEY_NONCE,
                nonce_key=xdr.SCNonceKey(xdr.Int64(nonce)),
            ),
            durability=xdr.ContractDataDurability.TEMPORARY,
        ),
    ).to_xdr()
