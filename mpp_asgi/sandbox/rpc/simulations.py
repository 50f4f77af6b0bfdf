"""simulateTransaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mpp_asgi.sandbox.rpc.params import Params, decode_base64, encode_base64
from mpp_asgi.sandbox.simulation import AuthMode, Failure, StateChange, Success
from mpp_asgi.sandbox.wire.operations import (
    ExtendFootprintTtl,
    InvokeHostFunction,
    OperationKind,
    RestoreFootprint,
)
from mpp_asgi.sandbox.wire.stream import XdrError

if TYPE_CHECKING:
    from mpp_asgi.sandbox.frame import Frame
    from mpp_asgi.sandbox.rpc.node import Node


class _RefusedError(Exception):
    """A simulation that is not run; the reason is part of the result, not a JSON-RPC error."""


def simulate_transaction(node: Node, params: Params) -> dict[str, Any]:
    params.require_base64_format()
    try:
        outcome = _simulate(node, params)
    except _RefusedError as refusal:
        return {"error": str(refusal), "latestLedger": 0}
    return _answer(outcome) | {"latestLedger": node.ledger.sequence}


def _simulate(node: Node, params: Params) -> Success | Failure:
    frame = _frame(node, params)
    transaction = frame.transaction
    if len(transaction.operations) != 1:
        raise _RefusedError("Transaction contains more than one operation")
    if transaction.memo:
        raise _RefusedError(
            "Transaction contains a memo. Soroban transactions do not support memos."
        )
    operation = transaction.operations[0]
    body = operation.body
    simulator = node.simulator()
    mode = _auth_mode(params)
    if isinstance(body, InvokeHostFunction):
        return simulator.invoke(
            body,
            operation.source or transaction.source,
            _effective_mode(mode, body),
            upgraded=params.flag("useUpgradedAuth"),
            leeway=params.object("resourceConfig").number("instructionLeeway"),
        )
    if not isinstance(body, ExtendFootprintTtl | RestoreFootprint):
        raise _RefusedError(_unsupported(operation.kind))
    if mode is not None:
        raise _RefusedError("cannot set authMode with non-InvokeHostFunction operations")
    if frame.soroban is None:
        raise _RefusedError(
            "To perform a SimulateTransaction for ExtendFootprintTtl or RestoreFootprint "
            "operations, SorobanTransactionData must be provided"
        )
    if isinstance(body, ExtendFootprintTtl):
        return simulator.extend(body, frame.soroban.footprint)
    return simulator.restore(body, frame.soroban.footprint)


def _frame(node: Node, params: Params) -> Frame:
    try:
        return node.frame(decode_base64(params.text("transaction")))
    except (XdrError, ValueError):
        raise _RefusedError("Could not unmarshal transaction") from None


def _auth_mode(params: Params) -> AuthMode | None:
    wanted = params.text("authMode")
    if not wanted:
        return None
    try:
        return AuthMode(wanted)
    except ValueError:
        modes = ",".join(AuthMode)
        raise _RefusedError(f"optional 'authMode' must be one of {modes} when included") from None


def _effective_mode(wanted: AuthMode | None, body: InvokeHostFunction) -> AuthMode:
    if wanted is None:
        return AuthMode.ENFORCE if body.authorization else AuthMode.RECORD
    if body.authorization and wanted is not AuthMode.ENFORCE:
        raise _RefusedError(f"cannot set authMode to '{wanted}' with an auth footprint")
    return wanted


def _unsupported(kind: OperationKind) -> str:
    name = "".join(part.capitalize() for part in kind.name.split("_"))
    return f"transaction contains unsupported operation type: OperationType{name}"


def _answer(outcome: Success | Failure) -> dict[str, Any]:
    events = [encode_base64(event) for event in outcome.events]
    if isinstance(outcome, Failure):
        return {"error": outcome.error, "events": events}
    answer: dict[str, Any] = {
        "transactionData": encode_base64(outcome.data.xdr),
        "minResourceFee": str(outcome.data.resource_fee),
    }
    if events:
        answer["events"] = events
    if outcome.value is not None:
        recorded = [encode_base64(entry.xdr) for entry in outcome.authorization]
        answer["results"] = [{"auth": recorded, "xdr": encode_base64(outcome.value.xdr)}]
    if outcome.changes:
        answer["stateChanges"] = [_state_change(change) for change in outcome.changes]
    return answer


def _state_change(change: StateChange) -> dict[str, Any]:
    kind = "updated"
    if change.before is None:
        kind = "created"
    elif change.after is None:
        kind = "deleted"
    return {
        "type": kind,
        "key": encode_base64(change.key),
        "before": None if change.before is None else encode_base64(change.before),
        "after": None if change.after is None else encode_base64(change.after),
    }
