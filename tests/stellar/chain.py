"""A chain whose future is known, and a node of it that answers as Stellar RPC does.

Ledgers close every five seconds of a time that passes only when somebody sleeps.
"""

import asyncio
import base64
import hashlib
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mpp_asgi.intents import FaultError
from mpp_asgi.stellar.ledger import Decision, Ledger, Pending
from mpp_asgi.stellar.network import LEDGER_SECONDS
from mpp_asgi.stellar.rpc_call import RpcCall, RpcUnavailableError, T

START = 1_000_000_000
FIRST = 1_000
"""The latest ledger at the start."""
OLDEST = 950
VALID_SECONDS = 60

Answer = dict[str, Any]


def hash_of(name: object) -> str:
    return hashlib.sha256(repr(name).encode()).hexdigest()


@dataclass
class Applied:
    """A transaction in a ledger."""

    hash: str
    inner: str | None = None
    succeeds: bool = True

    @property
    def result_xdr(self) -> str:
        """As much of a TransactionResult as there has to be."""
        if self.inner is None:
            return base64.b64encode(struct.pack(">qi", 100, 0) + bytes(8)).decode()
        code = 1 if self.succeeds else -13
        head = struct.pack(">qi32s", 200, code, bytes.fromhex(self.inner))
        return base64.b64encode(head + bytes(20)).decode()


@dataclass
class Fate:
    """What becomes of a transaction that is sent."""

    status: str = "PENDING"
    """The answer; ``LOST`` for none."""
    delay: int | None = 0
    """Ledgers until the one that has it; ``None``: no ledger ever does."""
    succeeds: bool = True


class Chain:
    """The ledgers, and time."""

    def __init__(self) -> None:
        self.now = float(START)
        self.first = FIRST
        self.ledgers: dict[int, list[Applied]] = {}
        self.fates: dict[str, Fate] = {}
        """By hash; the envelope of a transaction is its hash, here."""
        self.limits: dict[str, int] = {}
        """Until when a transaction may be included, by hash."""
        self.sent: Counter[str] = Counter()

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)

    @property
    def latest(self) -> int:
        return self.first + int(self.now - START) // LEDGER_SECONDS

    def closed_at(self, ledger: int) -> int:
        return START + (ledger - self.first) * LEDGER_SECONDS

    def include(self, ledger: int, *applied: Applied) -> None:
        self.ledgers.setdefault(ledger, []).extend(applied)

    def find(self, name: str) -> tuple[int, Applied] | None:
        for ledger, transactions in self.ledgers.items():
            for each in transactions:
                if name in (each.hash, each.inner):
                    return ledger, each
        return None

    def send(self, name: str, *, latest: int) -> Answer:
        """What a node says to it whose latest ledger is that one."""
        self.sent[name] += 1
        fate = self.fates.get(name, Fate())
        status = fate.status
        if status != "LOST" and (found := self.find(name)) is not None:
            status = "ERROR" if found[0] <= latest else "DUPLICATE"  # its sequence number is used
        if fate.status in ("PENDING", "LOST") and fate.delay is not None and not self.find(name):
            ledger = self.latest + 1 + fate.delay
            if self.closed_at(ledger) <= self.limits.get(name, self.closed_at(ledger)):
                self.include(ledger, Applied(name, succeeds=fate.succeeds))
        if fate.status == "LOST":
            raise RpcUnavailableError("no answer")
        return {
            "status": status,
            "hash": name,
            "latestLedger": latest,
            "latestLedgerCloseTime": str(self.closed_at(latest)),
        }


@dataclass
class Node:
    """A node that follows the chain, or fails to."""

    chain: Chain
    lag: Callable[[], int] = lambda: 0
    """Ledgers that it is behind."""
    oldest: int = OLDEST
    hidden: set[str] = field(default_factory=set)
    """What its pages leave out."""
    most: int = 200
    """Transactions that it gives at a time."""
    passphrase: str = "the chain's"
    fails: Callable[[str], Exception | None] = lambda method: None
    calls: Counter[str] = field(default_factory=Counter)
    by_ledger: dict[int, Counter[str]] = field(default_factory=dict)

    async def do(self, call: RpcCall[T]) -> T:
        self.calls[call.method] += 1
        self.by_ledger.setdefault(self.chain.latest, Counter())[call.method] += 1
        error = self.fails(call.method)
        if error is not None:
            raise error
        answer = getattr(self, call.method)(call.params)
        if "code" in answer:
            return call.result({"id": 1, "error": answer}, 1)
        return call.result({"id": 1, "result": answer}, 1)

    async def aclose(self) -> None:
        pass

    @property
    def latest(self) -> int:
        return self.chain.latest - self.lag()

    def getNetwork(self, params: Any) -> Answer:
        return {"passphrase": self.passphrase, "protocolVersion": 28}

    def getLatestLedger(self, params: Any) -> Answer:
        latest = self.latest
        return {
            "sequence": latest,
            "closeTime": str(self.chain.closed_at(latest)),
            "protocolVersion": 28,
        }

    def getHealth(self, params: Any) -> Answer:
        latest = self.latest
        return {
            "status": "healthy",
            "latestLedger": latest,
            "latestLedgerCloseTime": str(self.chain.closed_at(latest)),
        }

    def sendTransaction(self, params: Any) -> Answer:
        return self.chain.send(params["transaction"], latest=self.latest)

    def getTransaction(self, params: Any) -> Answer:
        latest = self.latest
        span = {
            "latestLedger": latest,
            "latestLedgerCloseTime": str(self.chain.closed_at(latest)),
            "oldestLedger": self.oldest,
            "oldestLedgerCloseTime": str(self.chain.closed_at(self.oldest)),
        }
        found = self.chain.find(params["hash"])
        if found is None or not self.oldest <= found[0] <= latest:
            return {"status": "NOT_FOUND", **span}
        return self._describe(*found) | span

    def _describe(self, ledger: int, applied: Applied) -> Answer:
        return {
            "status": "SUCCESS" if applied.succeeds else "FAILED",
            "txHash": applied.hash,
            "feeBump": applied.inner is not None,
            "ledger": ledger,
            "createdAt": self.chain.closed_at(ledger),
            "envelopeXdr": "ENV=",
            "resultXdr": applied.result_xdr,
            "resultMetaXdr": "META",
            "events": {"contractEventsXdr": [[f"EV{applied.hash[:2]}"]]},
        }

    def getTransactions(self, params: Any) -> Answer:
        """As stellar-rpc does it, with its cursors: that of a ledger without anything to give
        stands before the ledger's transactions, and that of a node which is behind is 0."""
        limit = params["pagination"]["limit"]
        if limit > self.most:
            return {"code": -32600, "message": f"limit must not exceed {self.most}"}
        latest = self.latest
        if (text := params["pagination"].get("cursor")) is not None:
            start, order = int(text) >> 32, (int(text) >> 12 & 0xFFFFF) + 1
        else:
            start, order = params["startLedger"], 1
            if not self.oldest <= start <= latest:
                return {"code": -32600, "message": "start ledger must be between ..."}
        if start < self.oldest:
            return {"code": -32602, "message": "database does not contain metadata for ledger"}
        given: list[Answer] = []
        cursor = (0, 0)
        for ledger in range(start, latest + 1):
            transactions = self.chain.ledgers.get(ledger, [])
            cursor = (ledger, 0)
            for number, each in enumerate(transactions, 1):
                if (ledger == start and number < order) or len(given) >= limit:
                    continue
                cursor = (ledger, number)
                if each.hash not in self.hidden:
                    given.append(self._describe(ledger, each))
            if len(given) >= limit:
                break
        return {
            "transactions": given,
            "cursor": str(cursor[0] << 32 | cursor[1] << 12 | 1),
            "latestLedger": latest,
            "latestLedgerCloseTimestamp": self.chain.closed_at(latest),
            "oldestLedger": self.oldest,
            "oldestLedgerCloseTimestamp": self.chain.closed_at(self.oldest),
        }


def following(chain: Chain, node: Any, *, patience: float = 100) -> Ledger:
    return Ledger(
        node, clock=chain.clock, sleep=chain.sleep, poll_seconds=1, patience_seconds=patience
    )


def pending(
    name: object, chain: Chain, *, sent: bool = False, ours: bool = True, fate: Fate | None = None
) -> Pending:
    name = name if isinstance(name, str) and len(name) == 64 else hash_of(name)
    if fate is not None:
        chain.fates[name] = fate
    limit = chain.limits.setdefault(name, int(chain.now) + VALID_SECONDS)
    return Pending(
        hash=name,
        envelope=name,
        valid_until=limit,
        sent=sent,
        ours=ours,
    )


async def outcomes(ledger: Ledger, *waiting: Pending) -> list[Decision | BaseException]:
    """What becomes of them, all at once."""
    async with asyncio.timeout(60):
        return await asyncio.gather(
            *(ledger.decide(each) for each in waiting), return_exceptions=True
        )


def kind(outcome: Decision | BaseException) -> str:
    if isinstance(outcome, Decision):
        return outcome.kind
    if isinstance(outcome, FaultError):
        return "doubt"
    raise outcome
