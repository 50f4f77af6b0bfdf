"""What each store takes: claims and voucher steps in a second, of one worker and of four, durable
as it says; and whether a million records make it slower.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import machine
from benchmarks.results import Row, fact
from benchmarks.store_servers import UnavailableError, postgres, redis

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 3.0
"""Of one round."""
ROUNDS = 3
WORKERS = (1, 4)
JOBS = {"claims": "claims of new charges", "vouchers": "vouchers accepted and spent"}
DURABILITY = {
    "memory": "none: it lives as long as the process",
    "SQLite": "WAL, synchronous=FULL: on disk when the call returns",
    "PostgreSQL": "fsync and synchronous_commit on: on disk when the call returns",
    "Redis": "appendonly, appendfsync always: on disk before the answer",
}


def run() -> list[Row]:
    """Every figure about stores."""
    rows = list(machine.rows())
    for name, durability in DURABILITY.items():
        try:
            with _storage(name) as url:
                rows += [fact(f"{name}: durability", durability), *_rates(name, url)]
        except UnavailableError as error:
            rows.append(fact(f"{name}: not measured", str(error)))
    return rows


@contextmanager
def _storage(name: str) -> Iterator[str]:
    """The URL of a storage on this machine's disk."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=Path.cwd())))
        match name:
            case "memory":
                yield "memory://"
            case "SQLite":
                yield f"sqlite:///{folder}/payments.db"
            case "PostgreSQL":
                yield stack.enter_context(postgres())
            case _:
                yield stack.enter_context(redis(folder))


def _rates(name: str, url: str) -> Iterator[Row]:
    for job, told in JOBS.items():
        for workers in WORKERS:
            if name == "memory" and workers > 1:
                continue  # each would have a memory of its own
            rounds = [_round(job, url, workers, f"{number}") for number in range(ROUNDS)]
            crowd = "1 worker" if workers == 1 else f"{workers} workers"
            yield fact(f"{name}: {told}, {crowd}", median(rounds), "1/s")


def _round(job: str, url: str, workers: int, number: str) -> float:
    """All workers begin together; how much they did in a second."""
    processes = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "benchmarks.store_work"),
                *(job, url, str(SECONDS), f"{job}{workers}.{number}.{worker}"),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for worker in range(workers)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    done = [int(process.communicate()[0]) for process in processes]
    return sum(done) / SECONDS
