"""What is left of a million requests that nobody paid for, and of a million charges that somebody
did, at the time they are kept by default."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import apps, machine
from benchmarks.results import Row, at_most, fact
from mpp_asgi.stores.contract import Charge, Outcome, State
from mpp_asgi.stores.url import store_from_url

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Scope

    from mpp_asgi.stores.contract import Store

MILLION = 1_000_000
WARM = 20_000
"""Requests until every cache is full."""
AT_ONCE = 250
FEW = 1_000
"""Charges in the store that a full one is compared with."""
CLAIMS = 400
"""On either, in turns."""
KEEP_SECONDS = 48 * 3600
RECEIPT = "eyJ" + "A" * 400
"""As long as one is."""


def run() -> list[Row]:
    """Every figure about what is kept."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        rows = [*machine.rows(), *asyncio.run(_unpaid(Path(folder)))]
        return [*rows, *asyncio.run(_paid(Path(folder)))]


async def _unpaid(folder: Path) -> list[Row]:
    path = folder / "unpaid.db"
    app = apps.charged_over(f"sqlite:///{path}")
    await _ask(app, WARM)
    size, memory = _size(folder, "unpaid.db"), _resident()
    await _ask(app, MILLION)
    grown = _resident() - memory
    written = _size(folder, "unpaid.db") - size
    return [
        at_most(1, f"{MILLION:,} unpaid requests: memory", grown / 2**20, "MiB more"),
        at_most(0, f"{MILLION:,} unpaid requests: store", written, "bytes more"),
    ]


async def _ask(app: ASGIApp, times: int) -> None:
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": apps.PAID,
        "raw_path": apps.PAID.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 80),
    }
    statuses: list[int] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    for _ in range(times):
        await app(dict(scope, state={}), receive, send)
        if statuses.pop() != 402:
            raise AssertionError("it was not refused")


async def _paid(folder: Path) -> list[Row]:
    few = store_from_url(f"sqlite:///{folder / 'few.db'}")
    many = store_from_url(f"sqlite:///{folder / 'many.db'}")
    for store, count in ((few, FEW), (many, MILLION)):
        await store.open()
        await _fill(store, count)
    times = await _claim_in_turns(few, many)
    for store in (few, many):
        await store.close()
    case = f"{MILLION:,} delivered charges in SQLite"
    return [
        fact(f"{case}: size", _size(folder, "many.db") / MILLION, "bytes each"),
        fact(f"{case}: a claim", times[many] * 1e3, "ms"),
        at_most(2, f"{case}: a claim, to one among {FEW:,}", times[many] / times[few], "times"),
    ]


async def _fill(store: Store, count: int) -> None:
    """Delivered charges, spread over the time that they are kept."""
    now = int(time.time())

    async def lane(first: int) -> None:
        for number in range(first, count, AT_ONCE):
            name = f"{number * 2654435761 % 2**32:08x}{'c' * 35}"  # as ids are: in no order
            keep_until = now + KEEP_SECONDS * (number + 1) // count
            charge = Charge(name, "c" * 64, State.CLAIMED, keep_until, "worker")
            claim = await store.claim(charge, [f"nonce:{name}", f"tx:{name}"], now=now)
            if claim.outcome is not Outcome.NEW:
                raise AssertionError(claim)
            settled = charge.settled(
                receipt=RECEIPT, payer="G" * 56, reference="a" * 64, keep_until=keep_until
            )
            await store.write(settled.delivered(), owner="worker")

    await asyncio.gather(*(lane(first) for first in range(AT_ONCE)))


async def _claim_in_turns(*stores: Store) -> dict[Store, float]:
    """Seconds that a claim takes on each (median)."""
    seconds: dict[Store, list[float]] = {store: [] for store in stores}
    now = int(time.time())
    for number in range(CLAIMS):
        for store in stores:
            charge = Charge(f"new{number}", "c" * 64, State.CLAIMED, now + 300, "worker")
            begun = time.perf_counter()
            await store.claim(charge, [f"new nonce:{number}"], now=now)
            seconds[store].append(time.perf_counter() - begun)
    return {store: median(each) for store, each in seconds.items()}


def _size(folder: Path, name: str) -> int:
    return sum(file.stat().st_size for file in folder.glob(f"{name}*"))


def _resident() -> int:
    """Bytes of memory that the process has."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")
