"""What payment costs a request: three kinds of request, each against a bare FastAPI app.

The server is uvicorn with uvloop and httptools, one worker on a core of its own; the load comes
from another core over 32 keep-alive connections, in slices that alternate with the bare app's.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from benchmarks import apps, charge, load, machine
from benchmarks.comparison import Subject, compare
from benchmarks.results import Row, at_least, fact
from benchmarks.yes import YesIntent
from mpp_asgi.charges import ChargeBook
from mpp_asgi.gate import Gate, Resource
from mpp_asgi.pricing import tariff
from mpp_asgi.protocol import Challenge, Credential, Secrets
from mpp_asgi.stores.memory.store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.comparison import Comparison, Drive

CREDENTIALS = 25_000
"""For one round; more than any server here will take."""


def run() -> list[Row]:
    """Every figure about requests."""
    with load.generator() as drive:
        return [*machine.rows(), *_requests(drive), *charge.rows()]


def _requests(drive: Drive) -> Iterator[Row]:
    free, paid = load.same(load.get(apps.FREE)), load.same(load.get(apps.PAID))

    comparison = compare(_app("bare", free), _app("passed_through", free), drive)
    yield fact("a middleware that does nothing, to bare FastAPI", comparison.ratio, "ratio")

    comparison = compare(_app("bare", free), _app("charged", free), drive)
    yield from comparison_rows("a route without a price", 0.95, comparison)

    comparison = compare(_app("bare", paid), _app("charged", paid, status=402), drive)
    yield from comparison_rows("the 402", 1.5, comparison)

    comparison = compare(_app("bare", paid), _app("sponsored", paid, status=402), drive)
    yield fact("the 402 with two ways to pay, to bare FastAPI", comparison.ratio, "ratio")

    fresh = partial(paid_requests, CREDENTIALS)
    comparison = compare(_app("bare", paid), _app("nodded_through", fresh), drive)
    yield from comparison_rows("a paid request, protocol work alone", 0.55, comparison)


def _app(name: str, requests: load.Requests, *, status: int = 200) -> Subject:
    return Subject(app=f"benchmarks.apps:{name}", requests=requests, status=status)


def comparison_rows(case: str, wanted: float, comparison: Comparison) -> Iterator[Row]:
    """A ratio to bare FastAPI that has to be reached, and what it came from."""
    low, high = min(comparison.ratios), max(comparison.ratios)
    yield at_least(wanted, f"{case}, to bare FastAPI", comparison.ratio, "ratio")
    yield fact(f"{case}: lowest and highest round", f"{low:.3f} to {high:.3f}", "ratio")
    yield fact(f"{case}: more than bare FastAPI", comparison.extra_microseconds, "µs/request")
    yield fact(f"{case}: bare FastAPI beside it", comparison.base_rate, "requests/s")
    yield fact(f"{case}: core used by the server", comparison.server_share, "of 1")
    yield fact(f"{case}: core used by the load generator", comparison.load_share, "of 1")


def paid_requests(count: int) -> Iterator[bytes]:
    """Requests that each carry a credential of their own, for a challenge as the server makes it:
    the secret is known, and challenges are stored nowhere."""
    book = ChargeBook(MemoryStore(), owner="nobody", clock=time.time)
    gate = Gate(
        [YesIntent(book)],
        Secrets(apps.SECRET),
        clock=time.time,
        challenge_seconds=300,
        currency="yes",
    )
    cost = tariff(apps.PRICE)
    offers = gate.offers(cost, cost.prices, realm="localhost", header=None)
    resource = Resource("localhost", "GET", apps.PAID, b"")
    rendered = []
    for _ in range(count):
        (issued,) = gate.challenge(offers.ways, resource, accept=None)
        challenge = Challenge.from_header(issued.header_value)
        credential = Credential(challenge, {"type": "yes"})
        rendered.append(load.get(apps.PAID, authorization=credential.to_header()))
    return iter(rendered)
