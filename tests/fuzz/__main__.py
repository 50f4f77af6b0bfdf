"""``python -m tests.fuzz``: hunt in every target for so long, and write down what came of it."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from benchmarks import machine, results
from benchmarks.results import at_most, fact
from tests.fuzz.targets import TARGETS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.results import Row


def hunt(target: str, seconds: int) -> list[Row]:
    """The figures of one hunt; what was found is printed."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.hunt", target, "--seconds", str(seconds)],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        print(f"{target}:\n{done.stderr[-4_000:]}", file=sys.stderr)
    executed = re.findall(r"number_of_executed_units: (\d+)", done.stderr)
    covered = re.findall(r" cov: (\d+)", done.stderr)
    return [
        fact(f"{target}: inputs", int(executed[-1]) if executed else 0),
        fact(f"{target}: branches of our code reached", int(covered[-1]) if covered else 0),
        at_most(0, f"{target}: findings", int(done.returncode != 0), ""),
    ]


def rows(seconds: int, at_once: int) -> Iterator[Row]:
    yield from machine.rows()
    yield fact("each target", seconds, "seconds")
    with ThreadPoolExecutor(at_once) as pool:
        for found in pool.map(lambda target: hunt(target, seconds), TARGETS):
            yield from found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=3_600, help="for each target")
    parser.add_argument("--at-once", type=int, default=1, help="targets at a time")
    wanted = parser.parse_args()
    told = list(rows(wanted.seconds, wanted.at_once))
    results.write("fuzz", told)
    print(results.table(told))
    return 0 if all(row.ok for row in told) else 1


if __name__ == "__main__":
    sys.exit(main())
