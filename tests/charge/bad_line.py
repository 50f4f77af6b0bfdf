"""A node behind a bad line: the sandbox, with faults in its calls and answers."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from stellar_sdk import xdr

from mpp_asgi.sandbox import Sandbox
from tests.shop import Shop, Time, open_shop

Answer = dict[str, Any]
Request = dict[str, Any]
Fault = Callable[["BadLine", Request], Answer]
"""Answers a request wrongly, or raises `ConnectionError`."""


@dataclass(frozen=True)
class Plan:
    """A fault in the ``first`` call (from 0) of a method and ``more`` calls of it after that."""

    method: str
    first: int
    fault: Fault
    more: int = 0

    def strikes(self, method: str, call: int) -> bool:
        return method == self.method and self.first <= call <= self.first + self.more


class BadLine:
    """What a shop is given in the sandbox's stead (`open_shop(node=...)`)."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.app = sandbox.app
        self.fund = sandbox.fund
        self.channel_factory = sandbox.channel_factory
        self.channel_wasm_hash = sandbox.channel_wasm_hash
        self.calls: list[str] = []
        self._plans: tuple[Plan, ...] = ()
        self._counted: Counter[str] = Counter()

    def follow(self, *plans: Plan) -> None:
        """Count the calls from here, and go wrong as planned; without a plan, not at all."""
        self._plans = plans
        self.calls = []
        self._counted.clear()

    def rpc(self, request: Request) -> Answer:
        method = request["method"]
        call = self._counted[method]
        self._counted[method] += 1
        self.calls.append(method)
        for plan in self._plans:
            if plan.strikes(method, call):
                return plan.fault(self, request)
        return self.sandbox.rpc(request)


@asynccontextmanager
async def shop_on_bad_line(**settings: Any) -> AsyncIterator[tuple[Shop, BadLine]]:
    """A shop, and the line to its node; nothing is wrong with it until a plan is followed."""
    time = Time()
    sandbox = Sandbox(clock=time, close_interval=1.0)
    line = BadLine(sandbox)
    async with open_shop(sandbox=sandbox, node=line, time=time, **settings) as shop:
        yield shop, line


# --- faults of any method -------------------------------------------------------------------------


def lost_before(line: BadLine, request: Request) -> Answer:
    """The request never arrives."""
    raise ConnectionError


def lost_after(line: BadLine, request: Request) -> Answer:
    """The request has its effect, its answer never arrives."""
    line.sandbox.rpc(request)
    raise ConnectionError


def refused(line: BadLine, request: Request) -> Answer:
    return {"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32602, "message": "no"}}


def failed(line: BadLine, request: Request) -> Answer:
    return {"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32603, "message": "no"}}


def garbage(line: BadLine, request: Request) -> Answer:
    """Has its effect, and answers what makes no sense."""
    line.sandbox.rpc(request)
    return {"jsonrpc": "2.0", "id": request["id"], "result": {"status": 7, "error": []}}


def of_another_request(line: BadLine, request: Request) -> Answer:
    return {**line.sandbox.rpc(request), "id": -1}


def altered(**changes: object) -> Fault:
    """The true answer with other fields; ``None`` leaves a field out."""

    def answer(line: BadLine, request: Request) -> Answer:
        true = line.sandbox.rpc(request)
        result = {**true["result"], **changes}
        return {**true, "result": {key: val for key, val in result.items() if val is not None}}

    return answer


ANY_METHOD: dict[str, Fault] = {
    "lost before": lost_before,
    "lost after": lost_after,
    "refused": refused,
    "failed": failed,
    "garbage": garbage,
    "of another request": of_another_request,
}


# --- faults of submitting -------------------------------------------------------------------------


def answered_without_effect(status: str) -> Fault:
    """The node says so, and the transaction goes nowhere."""

    def answer(line: BadLine, request: Request) -> Answer:
        latest = line.sandbox.rpc({"jsonrpc": "2.0", "id": 1, "method": "getLatestLedger"})[
            "result"
        ]
        envelope = xdr.TransactionEnvelope.from_xdr(request["params"]["transaction"])
        result: Answer = {
            "status": status,
            "hash": "00" * 32,
            "latestLedger": latest["sequence"],
            "latestLedgerCloseTime": latest["closeTime"],
        }
        if status == "ERROR":
            assert envelope.v1 is not None
            result["errorResultXdr"] = _BAD_SEQUENCE.to_xdr()
        return {"jsonrpc": "2.0", "id": request["id"], "result": result}

    return answer


_BAD_SEQUENCE = xdr.TransactionResult(
    fee_charged=xdr.Int64(0),
    result=xdr.TransactionResultResult(xdr.TransactionResultCode.txBAD_SEQ),
    ext=xdr.TransactionResultExt(0),
)


def duplicate_after_effect(line: BadLine, request: Request) -> Answer:
    """A line that sends everything twice and passes the second answer on."""
    line.sandbox.rpc(request)
    return line.sandbox.rpc(request)


def ledger_stands_still(line: BadLine, request: Request) -> Answer:
    """From now on no ledger closes, until the sandbox is told to thaw."""
    line.sandbox.freeze()
    return line.sandbox.rpc(request)


SUBMITTING: dict[str, Fault] = {
    "while the ledger stands still": ledger_stands_still,
    "DUPLICATE": duplicate_after_effect,
    "DUPLICATE without effect": answered_without_effect("DUPLICATE"),
    "TRY_AGAIN_LATER": answered_without_effect("TRY_AGAIN_LATER"),
    "ERROR": answered_without_effect("ERROR"),
}


# --- faults of looking up -------------------------------------------------------------------------


def behind(ledgers: int) -> Fault:
    """A node that is so many ledgers behind the one that takes submissions."""

    def answer(line: BadLine, request: Request) -> Answer:
        true = line.sandbox.rpc(request)
        result = dict(true["result"])
        result["latestLedger"] -= ledgers
        result["latestLedgerCloseTime"] = str(int(result["latestLedgerCloseTime"]) - ledgers)
        if result["status"] != "NOT_FOUND" and result["ledger"] > result["latestLedger"]:
            result |= {"status": "NOT_FOUND", "ledger": 0, "createdAt": "0"}
        return {**true, "result": result}

    return answer


def made_anew(at: int) -> Fault:
    """A node that knows nothing of the time before (Unix seconds)."""

    def answer(line: BadLine, request: Request) -> Answer:
        true = line.sandbox.rpc(request)
        result = {**true["result"], "oldestLedger": 100, "oldestLedgerCloseTime": str(at)}
        if result["status"] != "NOT_FOUND" and int(result["createdAt"]) < at:
            result |= {"status": "NOT_FOUND", "ledger": 0, "createdAt": "0"}
        return {**true, "result": result}

    return answer


LOOKING_UP: dict[str, Fault] = {
    "while the ledger stands still": ledger_stands_still,
    "one ledger behind": behind(1),
    "five ledgers behind": behind(5),
    "far behind": behind(1_000),
}
