"""sendTransaction, getTransaction, getTransactions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mpp_asgi.sandbox.rpc.errors import invalid_params, invalid_request
from mpp_asgi.sandbox.rpc.params import Params, decode_base64, encode_base64
from mpp_asgi.sandbox.wire.stream import XdrError

if TYPE_CHECKING:
    from mpp_asgi.sandbox.history import AppliedTransaction
    from mpp_asgi.sandbox.rpc.node import Node

_DEFAULT_LIMIT = 50
_MAX_LIMIT = 200


def send_transaction(node: Node, params: Params) -> dict[str, Any]:
    params.require_base64_format()
    try:
        frame = node.frame(decode_base64(params.text("transaction")))
    except (XdrError, ValueError):
        raise invalid_params("invalid_xdr") from None
    submission = node.submit(frame)
    answer: dict[str, Any] = {"status": submission.status.value}
    if submission.result is not None:
        answer["errorResultXdr"] = encode_base64(submission.result.xdr)
    if submission.diagnostics:
        answer["diagnosticEventsXdr"] = [encode_base64(e) for e in submission.diagnostics]
    return answer | {
        "hash": frame.hash.hex(),
        "latestLedger": node.ledger.sequence,
        "latestLedgerCloseTime": str(node.ledger.close_time),
    }


def get_transaction(node: Node, params: Params) -> dict[str, Any]:
    params.require_base64_format()
    name = params.text("hash")
    if len(name) != 64:
        raise invalid_params(f"unexpected hash length ({len(name)})")
    if not re.fullmatch(r"[0-9a-fA-F]{64}", name):
        raise invalid_params("incorrect hash: it is not hexadecimal")
    span = {key: value for key, value in node.span().items() if key != "latestLedger"}
    applied = node.ledger.history.transaction(bytes.fromhex(name))
    answer: dict[str, Any] = {"latestLedger": node.ledger.sequence, **span}
    if applied is None:
        return answer | {
            "status": "NOT_FOUND",
            "txHash": name,
            "applicationOrder": 0,
            "feeBump": False,
            "events": {},
            "ledger": 0,
            "createdAt": "0",
        }
    return answer | describe(applied) | {"txHash": name, "createdAt": str(applied.close_time)}


def describe(applied: AppliedTransaction) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "status": "SUCCESS" if applied.succeeded else "FAILED",
        "txHash": applied.hash.hex(),
        "applicationOrder": applied.order,
        "feeBump": applied.is_fee_bump,
        "envelopeXdr": encode_base64(applied.envelope),
        "resultXdr": encode_base64(applied.result),
        "resultMetaXdr": encode_base64(applied.meta),
        "events": _events(applied),
        "ledger": applied.ledger,
    }
    if applied.diagnostics:
        answer["diagnosticEventsXdr"] = [encode_base64(e) for e in applied.diagnostics]
    return answer


def _events(applied: AppliedTransaction) -> dict[str, Any]:
    """Transaction events and those of the operations; a kind there is none of is left out."""
    kinds = {
        "transactionEventsXdr": [encode_base64(e) for e in applied.transaction_events],
        "contractEventsXdr": [
            [encode_base64(e) for e in operation] for operation in applied.contract_events
        ],
    }
    return {name: found for name, found in kinds.items() if found}


def get_transactions(node: Node, params: Params) -> dict[str, Any]:
    params.require_base64_format()
    pagination = params.object("pagination")
    limit = pagination.number("limit") or _DEFAULT_LIMIT
    if limit > _MAX_LIMIT:
        raise invalid_request(f"limit must not exceed {_MAX_LIMIT}")
    cursor = pagination.text("cursor")
    start = params.number("startLedger")
    history = node.ledger.history
    latest = node.ledger.sequence
    if cursor:
        if start:
            raise invalid_request("startLedger and cursor cannot both be set")
        ledger, order = _parse_cursor(cursor)
    else:
        ledger, order = start, 0
    if not history.oldest <= ledger <= latest:
        raise invalid_request(
            f"start ledger ({ledger}) must be between the oldest ledger: {history.oldest} and "
            f"the latest ledger: {latest} for this rpc instance"
        )
    found = []
    last = (latest, len(history.latest.transactions))
    for closed in history.ledgers_from(ledger):
        after = order if closed.sequence == ledger else 0
        found += [applied for applied in closed.transactions if applied.order > after]
        if len(found) >= limit:
            break
    if len(found) >= limit:
        found = found[:limit]
        last = (found[-1].ledger, found[-1].order)
    return {
        "transactions": [
            describe(applied) | {"createdAt": applied.close_time} for applied in found
        ],
        "latestLedger": latest,
        "latestLedgerCloseTimestamp": node.ledger.close_time,
        "oldestLedger": history.oldest,
        "oldestLedgerCloseTimestamp": history.close_time(history.oldest),
        "cursor": str(last[0] << 32 | last[1] << 12 | 1),
    }


def _parse_cursor(cursor: str) -> tuple[int, int]:
    """Ledger and transaction of a total order id: ledger, transaction and operation in 64 bits."""
    if not (cursor.isascii() and cursor.isdecimal()) or int(cursor) >= 1 << 63:
        raise invalid_params("cursor must be a number")
    number = int(cursor)
    return number >> 32, number >> 12 & 0xFFFFF
