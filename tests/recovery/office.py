"""Processes that share records and a node, and a ledger that decides when a test says so."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mpp_asgi.charges import ChargeBook
from mpp_asgi.recovery import Recovery
from mpp_asgi.stellar.ledger import Ledger
from mpp_asgi.stellar.rpc_drivers import InProcessRpc
from mpp_asgi.stores.contract import Charge, State
from mpp_asgi.stores.memory.store import MemoryStore
from tests.shop import START, Time

if TYPE_CHECKING:
    from collections.abc import Callable

    from mpp_asgi.stores.contract import Store

KEEP_UNTIL = START + 10**6
VALID_UNTIL = START + 60
REDELIVERY_SECONDS = 7_200


@dataclass
class Node:
    """Knows of transactions what it is told; its latest ledger closed just now."""

    time: Time
    decided: dict[str, str] = field(default_factory=dict)
    """SUCCESS or FAILED by hash."""
    oldest: int = START - 3_600
    is_down: bool = False
    chokes_on: set[str] = field(default_factory=set)
    """Hashes that it never has an answer to."""
    asked: Counter[str] = field(default_factory=Counter)
    """How often for each hash."""

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        transaction = request["params"]["hash"]
        self.asked[transaction] += 1
        if self.is_down or transaction in self.chokes_on:
            raise ConnectionError
        status = self.decided.get(transaction, "NOT_FOUND")
        result: dict[str, Any] = {
            "status": status,
            "latestLedger": 100,
            "latestLedgerCloseTime": str(int(self.time.now)),
            "oldestLedger": 1,
            "oldestLedgerCloseTime": str(self.oldest),
        }
        if status != "NOT_FOUND":
            result |= {
                "ledger": 50,
                "createdAt": str(START + 7),
                "envelopeXdr": "AAAA",
                "resultXdr": "AAAA",
                "resultMetaXdr": "AAAA",
            }
        return {"jsonrpc": "2.0", "id": request["id"], "result": result}


@dataclass
class Process:
    """One of the processes."""

    book: ChargeBook
    recovery: Recovery


@dataclass
class Office:
    """What they share."""

    time: Time = field(default_factory=Time)
    store: MemoryStore = field(default_factory=MemoryStore)

    def __post_init__(self) -> None:
        self.node = Node(self.time)

    def process(
        self, name: str = "heir", *, around: Callable[[Store], Any] = lambda store: store
    ) -> Process:
        book = ChargeBook(around(self.store), owner=name, clock=self.time, sleep=self.time.sleep)
        ledger = Ledger(
            InProcessRpc(self.node),
            clock=self.time,
            sleep=self.time.sleep,
            poll_seconds=1,
            patience_seconds=30,
        )
        recovery = Recovery(
            book,
            ledger,
            redelivery_seconds=REDELIVERY_SECONDS,
            clock=self.time,
            draw=lambda: 0.5,
        )
        return Process(book, recovery)

    async def left(self, record: str, state: State, *, owner: str = "the dead") -> Charge:
        """A record whose owner has died."""
        claimed = Charge(record, f"of {record}", State.CLAIMED, KEEP_UNTIL, owner)
        await self.store.claim(claimed, (f"proof of {record}",), now=int(self.time.now))
        charge = claimed
        if state is State.SUBMITTED:
            charge = charge._replace(
                state=state,
                reference=transaction_of(record),
                envelope="AAAA",
                valid_until=VALID_UNTIL,
                payer="G",
            )
            await self.store.write(charge, (), owner=owner)
        return charge


def transaction_of(record: str) -> str:
    return record.encode().hex().ljust(64, "0")[:64]
