"""How fast the embedded network is, and whether its memory stays flat.

Times are CPU time of the sandbox alone, on one core; whoever builds and signs the transactions is
not counted. ``SANDBOX_TRANSACTIONS=40000 python -m benchmarks sandbox`` is a shorter run.
"""

from __future__ import annotations

import cProfile
import gc
import os
import resource
import sys
import time
from base64 import b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stellar_sdk import Keypair

from benchmarks import cores, machine, results
from benchmarks.profile import report
from benchmarks.results import Row, at_least, at_most, fact
from benchmarks.transfers import Numbers, Sponsor, call
from mpp_asgi.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable

SPONSORS = 20
"""And so many transfers a ledger: each account has one transaction on the way."""
TRANSFERS = 1_000
PROFILED = 200
VARIABLE = "SANDBOX_TRANSACTIONS"
TRANSACTIONS = 100_000
"""For the memory. By 20,000 all is full that ever will be: 10,000 transactions are kept, and the
nonces of 720 ledgers."""
SETTLED = 20_000
START = 1_790_000_000
NOTE = """\
One sponsored transfer of USDC: simulated twice (before and after the payer has signed), sent,
applied in a ledger of twenty, and looked up. A profiler costs time itself, most where functions are
small: the shares are what to read."""


@dataclass(slots=True)
class Stopwatch:
    """CPU seconds of what is done under it."""

    spent: float = 0.0
    profile: cProfile.Profile | None = None

    def __call__(self, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        before = time.process_time()
        if self.profile is not None:
            self.profile.enable()
        result = work()
        if self.profile is not None:
            self.profile.disable()
        self.spent += time.process_time() - before
        return result


@dataclass(slots=True)
class Market:
    """A sandbox, and sponsors who have transfers to send."""

    sandbox: Sandbox = field(
        default_factory=lambda: Sandbox(close_interval=None, clock=lambda: START)
    )
    sponsors: list[Sponsor] = field(init=False)
    rounds: int = 0
    begun: int = field(init=False)

    def __post_init__(self) -> None:
        payer, recipient = _key("payer"), _key("recipient").public_key
        keys = [_key(f"sponsor {number}") for number in range(SPONSORS)]
        self.begun = self.sandbox.sequence << 32
        for key in (*keys, payer):
            self.sandbox.fund(key.public_key, xlm=1_000_000, usdc=1_000)
        self.sandbox.fund(recipient, usdc=0)
        self.sponsors = [Sponsor(self.sandbox, key, payer, recipient) for key in keys]

    def transfers(self) -> list[bytes]:
        """One of each sponsor, for the next ledger."""
        self.rounds += 1
        until = self.sandbox.sequence + 20
        first = self.rounds * SPONSORS
        return [
            sponsor.transfer(Numbers(self.begun + self.rounds, first + number, until))
            for number, sponsor in enumerate(self.sponsors)
        ]

    def whole_round(self, watch: Stopwatch) -> None:
        """Simulate, authorize, simulate, send, close, confirm."""
        for sponsor in self.sponsors:
            self._call(watch, "simulateTransaction", transaction=sponsor.unsigned)
        hashes = []
        for envelope in self.transfers():
            text = b64encode(envelope).decode()
            simulated = self._call(watch, "simulateTransaction", transaction=text)
            _require("error" not in simulated, simulated)
            hashes.append(self._send(watch, text))
        watch(self._close)
        for name in hashes:
            found = self._call(watch, "getTransaction", hash=name)
            _require(found["status"] == "SUCCESS", found)

    def short_round(self, watch: Stopwatch) -> None:
        """Send and close only: all that leaves something behind."""
        for envelope in self.transfers():
            self._send(watch, b64encode(envelope).decode())
        watch(self._close)

    def _send(self, watch: Stopwatch, text: str) -> str:
        sent = self._call(watch, "sendTransaction", transaction=text)
        _require(sent["status"] == "PENDING", sent)
        name: str = sent["hash"]
        return name

    def _call(self, watch: Stopwatch, method: str, **params: Any) -> dict[str, Any]:
        return watch(lambda: call(self.sandbox, method, **params))

    def _close(self) -> dict[str, Any]:
        return {"sequence": self.sandbox.close_ledger()}


def run() -> list[Row]:
    """Every figure about the sandbox; the profile goes into ``results/sandbox-profile.txt``."""
    rows, allowed = list(machine.rows()), cores.available()
    cores.pin(0)
    try:
        return [*rows, *_speed(), *_memory()]
    finally:
        if allowed:
            os.sched_setaffinity(0, allowed)


def _speed() -> list[Row]:
    market = Market()
    market.whole_round(Stopwatch())  # warms up
    watch = Stopwatch()
    for _ in range(TRANSFERS // SPONSORS):
        market.whole_round(watch)
    # By CPU time: whatever else the machine does is nobody's here.
    profiled = Stopwatch(profile=cProfile.Profile(timer=time.process_time))
    gc.disable()  # or whoever allocates at the wrong moment is charged for all the others
    for _ in range(PROFILED // SPONSORS):
        market.whole_round(profiled)
    gc.enable()
    results.FOLDER.mkdir(exist_ok=True)
    if profiled.profile is not None:
        text = report(profiled.profile, times=PROFILED, note=NOTE)
        (results.FOLDER / "sandbox-profile.txt").write_text(text, encoding="utf-8")
    case = "sponsored USDC transfers: simulate twice, send, confirm"
    return [at_least(100, case, TRANSFERS / watch.spent, "per CPU second")]


def _memory() -> list[Row]:
    wanted = int(os.environ.get(VARIABLE, TRANSACTIONS))
    market, watch = Market(), Stopwatch()
    settled = 0.0
    while market.rounds * SPONSORS < wanted:
        market.short_round(watch)
        if market.rounds * SPONSORS == SETTLED:
            settled = _resident()
    grown = _resident()
    before = time.process_time()
    saved = market.sandbox.snapshot().to_bytes()
    saving = time.process_time() - before
    case = "memory of the process"
    rows = [
        fact("sponsored USDC transfers: send and close only", wanted / watch.spent, "per CPU s"),
        fact(f"{case} after {SETTLED:,} transactions", settled, "MB"),
        fact(f"{case} after {wanted:,} transactions", grown, "MB"),
    ]
    if settled:
        growth = f"growth of it between {SETTLED:,} and {wanted:,}"
        rows.append(at_most(5, growth, 100 * (grown / settled - 1), "%"))
    return [
        *rows,
        fact("state file, full", len(saved) / 1e6, "MB"),
        fact("writing the state file's content, full", saving, "CPU s"),
    ]


def _resident() -> float:
    """Megabytes of memory in use; where the system does not say, the most that ever was."""
    gc.collect()
    described = Path("/proc/self/statm")
    if described.exists():
        pages = int(described.read_text(encoding="ascii").split()[1])
        return pages * resource.getpagesize() / 1e6
    unit = 1 if sys.platform == "darwin" else 1_024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _require(condition: bool, answer: dict[str, Any]) -> None:
    if not condition:
        raise RuntimeError(f"the sandbox did not do as it should: {answer}")


def _key(role: str) -> Keypair:
    return Keypair.from_raw_ed25519_seed(sha256(f"benchmark {role}".encode()).digest())
