"""Transactions by the page: everything that ledgers have, in their order."""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mpp_asgi.stellar.rpc import Span, applied_transaction
from mpp_asgi.stellar.rpc_call import Fields, RpcCall

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from mpp_asgi.stellar.rpc import TransactionStatus

MOST_A_PAGE: Final = 200
"""Transactions that a node gives at a time."""

_INNER: Final = struct.Struct(">qi32s")
"""How the TransactionResult of a fee bump begins: fee, code, hash of the inner transaction."""
_INNER_TEXT: Final = -(-_INNER.size // 3) * 4
"""Base64 digits that hold as much."""
_INNER_CODES: Final = frozenset({1, -13})
"""txFEE_BUMP_INNER_SUCCESS and txFEE_BUMP_INNER_FAILED."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionPage:
    """Some transactions that follow one another, and where to read on."""

    found: Mapping[str, TransactionStatus]
    """Those that were wanted, by the hash they were wanted by: a fee bump's own or its inner
    transaction's."""
    count: int
    """All transactions of the page. Fewer than asked for: there are no more up to the latest
    ledger, so far as the node knows."""
    last_ledger: int | None
    """The ledger of the last of them."""
    cursor: str
    """Opaque. Of a page without transactions it may stand before where reading was to go on."""
    span: Span


def get_transactions(
    *, start: int | str, limit: int, wanted: Collection[str]
) -> RpcCall[TransactionPage]:
    """A page of at most ``limit`` transactions, of which only those ``wanted`` are read.

    Args:
        start: the ledger to begin with, or the cursor of another page to go on after.
        limit: from 1 to 200.
        wanted: hashes, 64 lower-case hex digits each.
    """
    pagination: dict[str, Any] = {"limit": limit}
    params: dict[str, Any] = {"pagination": pagination}
    if isinstance(start, str):
        pagination["cursor"] = start
    else:
        params["startLedger"] = start
    return RpcCall("getTransactions", params, lambda answer: _page(answer, wanted))


def _page(answer: Fields, wanted: Collection[str]) -> TransactionPage:
    span = Span(
        latest_ledger=answer.ledger("latestLedger"),
        latest_ledger_close_time=answer.time("latestLedgerCloseTimestamp"),
        oldest_ledger=answer.ledger("oldestLedger"),
        oldest_ledger_close_time=answer.time("oldestLedgerCloseTimestamp"),
    )
    entries = answer.objects("transactions")
    found = {}
    for entry in entries:
        for name in _names(entry):
            if name in wanted:
                found[name] = applied_transaction(entry, span)
    return TransactionPage(
        found=found,
        count=len(entries),
        last_ledger=entries[-1].ledger("ledger") if entries else None,
        cursor=answer.text("cursor"),
        span=span,
    )


def _names(entry: Fields) -> tuple[str, ...]:
    """The hashes that a transaction goes by."""
    own = entry.text("txHash")
    inner = _inner_hash(entry.text("resultXdr")) if entry.values.get("feeBump") is True else None
    return (own,) if inner is None else (own, inner)


def _inner_hash(result: str) -> str | None:
    """The hash of what a fee bump wraps, from its TransactionResult (base64 XDR)."""
    try:
        _, code, digest = _INNER.unpack_from(base64.b64decode(result[:_INNER_TEXT], validate=True))
    except (binascii.Error, struct.error):
        return None
    return digest.hex() if code in _INNER_CODES else None
