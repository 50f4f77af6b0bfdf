"""One worker that asks a store for as much as it gives, run by ``benchmarks.stores`` as
``python -m benchmarks.store_work JOB URL SECONDS WORKER``.

It opens the store, prints ``ready``, waits for a line, works, and prints how often it was done.
"""

from __future__ import annotations

import asyncio
import sys
import time
from itertools import count
from typing import TYPE_CHECKING

from mpp_asgi.stores.channels import ENTRY_LENGTH, Channel, SpendOutcome
from mpp_asgi.stores.contract import Charge, Outcome, State
from mpp_asgi.stores.url import store_from_url

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from mpp_asgi.stores.contract import Store

AT_ONCE = 32
"""Requests that a worker has on the way."""
KEEP_SECONDS = 3_600


async def claims(store: Store, worker: str, lane: int, is_over: Callable[[], bool]) -> int:
    """New charges, each with a proof, as when a request is paid."""
    now = int(time.time())
    for number in count():
        if is_over():
            return number
        name = f"{worker}:{lane}:{number}"
        charge = Charge(name, "c" * 64, State.CLAIMED, now + KEEP_SECONDS, worker)
        claim = await store.claim(charge, [f"nonce:{name}"], now=now)
        if claim.outcome is not Outcome.NEW:
            raise AssertionError(claim)
    raise AssertionError


async def vouchers(store: Store, worker: str, lane: int, is_over: Callable[[], bool]) -> int:
    """One higher voucher after another, each spent at once, on a channel of the lane's own."""
    now = int(time.time())
    channel = _channel(f"C{worker}:{lane}", now)
    await store.add_channel(channel)
    for number in count(1):
        if is_over():
            return number - 1
        spend = await store.spend(
            channel.id,
            amount=number,
            signature="ab" * 64,
            cost=1,
            units=1,
            min_delta=0,
            now=now,
            entry=f"{number:0{ENTRY_LENGTH}x}",
        )
        if spend.outcome is not SpendOutcome.SPENT:
            raise AssertionError(spend)
    raise AssertionError


def _channel(name: str, now: int) -> Channel:
    return Channel(
        id=name,
        key="ab" * 32,
        funder="G",
        recipient="G",
        token="C",
        waiting_period=17_280,
        deposited=10**30,
        settled=0,
        seen_ledger=1,
        opened_at=now,
    )


JOBS: dict[str, Callable[..., Coroutine[Any, Any, int]]] = {"claims": claims, "vouchers": vouchers}


async def work(job: str, url: str, seconds: float, worker: str) -> int:
    """How often it was done in that time."""
    store = store_from_url(url)
    await store.open()
    try:
        await asyncio.to_thread(_wait_for_the_start)
        end = time.monotonic() + seconds

        def is_over() -> bool:
            return time.monotonic() >= end

        lanes = (JOBS[job](store, worker, lane, is_over) for lane in range(AT_ONCE))
        return sum(await asyncio.gather(*lanes))
    finally:
        await store.close()


def _wait_for_the_start() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    _, job, url, seconds, worker = sys.argv
    print(asyncio.run(work(job, url, float(seconds), worker)))
