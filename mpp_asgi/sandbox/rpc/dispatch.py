"""JSON-RPC 2.0: from a request to an answer, whatever the request is."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from mpp_asgi.sandbox.rpc import events, ledgers, simulations, transactions
from mpp_asgi.sandbox.rpc.errors import ErrorCode, RpcError, invalid_params, invalid_request
from mpp_asgi.sandbox.rpc.params import Params

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mpp_asgi.sandbox.rpc.node import Node

    Method = Callable[[Node, Params], dict[str, Any]]

METHODS: Final[Mapping[str, Method]] = {
    "getEvents": events.get_events,
    "getFeeStats": ledgers.get_fee_stats,
    "getHealth": ledgers.get_health,
    "getLatestLedger": ledgers.get_latest_ledger,
    "getLedgerEntries": ledgers.get_ledger_entries,
    "getNetwork": ledgers.get_network,
    "getTransaction": transactions.get_transaction,
    "getTransactions": transactions.get_transactions,
    "getVersionInfo": ledgers.get_version_info,
    "sendTransaction": transactions.send_transaction,
    "simulateTransaction": simulations.simulate_transaction,
}


def dispatch(node: Node, request: Any) -> dict[str, Any]:
    """Answer one request; a bad one gets an error, never an exception."""
    identity = _identity(request)
    try:
        method, params = _parse(request)
        return {"jsonrpc": "2.0", "id": identity, "result": method(node, params)}
    except RpcError as problem:
        return failure(identity, problem.code, problem.message)


def failure(identity: Any, code: ErrorCode, message: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": identity, "error": {"code": int(code), "message": message}}


def _identity(request: Any) -> str | int | float | None:
    """What the caller knows its request by, if it is something an answer can repeat."""
    identity = request.get("id") if isinstance(request, dict) else None
    if isinstance(identity, float):
        return identity if isfinite(identity) else None
    return identity if isinstance(identity, (str, int)) else None


def _parse(request: Any) -> tuple[Method, Params]:
    if not isinstance(request, dict):
        raise invalid_request("a request is an object")
    if request.get("jsonrpc") != "2.0":
        raise invalid_request("jsonrpc must be '2.0'")
    name = request.get("method")
    if not isinstance(name, str):
        raise invalid_request("method must be a string")
    method = METHODS.get(name)
    if method is None:
        raise RpcError(ErrorCode.METHOD_NOT_FOUND, "method not found")
    params = request.get("params")
    if params is None:
        params = {}
    if not isinstance(params, dict):
        raise invalid_params("params must be an object")
    return method, Params(params)
