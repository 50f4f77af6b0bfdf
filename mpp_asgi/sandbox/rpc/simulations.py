"""simulateTransaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mpp_asgi.sandbox.rpc.params import Params, decode_base64, encode_base64
from mpp_asgi.sandbox.simulation import AuthMode, Failure, StateChange, Success, simulate
from mpp_asgi.sandbox.wire.operations import InvokeHostFunction, OperationKind
from mpp_asgi.sandbox.wire.stream import XdrError

if TYPE_CHECKING:
    from mpp_asgi.sandbox.frame import Frame
    from mpp_asgi.sandbox.rpc.node import Node
    from mpp_asgi.sandbox.wire.values import Address

_FOOTPRINT_KINDS = {OperationKind.EXTEND_FOOTPRINT_TTL, OperationKind.RESTORE_FOOTPRINT}


class _Refused(Exception):
    """A simulation that is not run; the reason is part of the result, not a JSON-RPC error."""


def simulate_transaction(node: Node, params: Params) -> dict[str, Any]:
    params.require_base64_format()
    leeway = params.object("resourceConfig").number("instructionLeeway")
    upgraded = params.flag("useUpgradedAuth")
    try:
        frame = _frame(node, params)
        body, source, mode = _operation(frame, params)
    except _Refused as refusal:
        return {"error": str(refusal), "latestLedger": 0}
    outcome = simulate(
        body,
        source,
        mode,
        upgraded=upgraded,
        leeway=leeway,
        network=node.ledger.network,
        view=node.ledger.state,
        moment=node.moment(),
        new_nonce=node.new_nonce,
    )
    return _answer(outcome) | {"latestLedger": node.ledger.sequence}


def _frame(node: Node, params: Params) -> Frame:
    try:
        return node.frame(decode_base64(params.text("transaction")))
    except (XdrError, ValueError):
        raise _Refused("Could not unmarshal transaction") from None


def _operation(frame: Frame, params: Params) -> tuple[InvokeHostFunction, Address, AuthMode]:
    transaction = frame.transaction
    if len(transaction.operations) != 1:
        raise _Refused("Transaction contains more than one operation")
    if transaction.memo:
        raise _Refused("Transaction contains a memo. Soroban transactions do not support memos.")
    operation = transaction.operations[0]
    wanted = params.text("authMode")
    if wanted not in {"", *AuthMode}:
        modes = ",".join(AuthMode)
        raise _Refused(f"optional 'authMode' must be one of {modes} when included")
    body = operation.body
    if not isinstance(body, InvokeHostFunction):
        raise _Refused(_unsupported(operation.kind))
    if not wanted:
        mode = AuthMode.ENFORCE if body.authorization else AuthMode.RECORD
    else:
        mode = AuthMode(wanted)
        if body.authorization and mode is not AuthMode.ENFORCE:
            raise _Refused(f"cannot set authMode to '{mode}' with an auth footprint")
    return body, operation.source or transaction.source, mode


def _unsupported(kind: OperationKind) -> str:
    if kind in _FOOTPRINT_KINDS:
        return "the sandbox does not simulate operations on footprints"
    name = "".join(part.capitalize() for part in kind.name.split("_"))
    return f"transaction contains unsupported operation type: OperationType{name}"


def _answer(outcome: Success | Failure) -> dict[str, Any]:
    events = [encode_base64(event) for event in outcome.events]
    if isinstance(outcome, Failure):
        return {"error": outcome.error, "events": events}
    answer: dict[str, Any] = {
        "transactionData": encode_base64(outcome.data.xdr),
        "minResourceFee": str(outcome.data.resource_fee),
        "events": events,
        "results": [
            {
                "auth": [encode_base64(entry.xdr) for entry in outcome.authorization],
                "xdr": encode_base64(outcome.value.xdr),
            }
        ],
    }
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
