"""``python -m tests.fuzz``: hunt in targets for so long each, and write down what came of it.

Each hunt is made in stretches, and each stretch is noted when it ends: what is interrupted counts
as far as it came, and the next hunt goes on from the inputs that were kept.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import machine, results
from tests.fuzz import journal
from tests.fuzz.journal import Hunt
from tests.fuzz.targets import TARGETS

KEPT = Path(".cache/fuzz")
STRETCH = 600.0
"""Seconds, by the clock on the wall."""
ENDED = (0, 72)
"""Exit status of libFuzzer when its time was over, and when it was asked to end."""

_over = threading.Event()


def hunt(target: str, seconds: float) -> list[Hunt]:
    """Hunt for so much processor time, or until something is found or it is over."""
    made: list[Hunt] = []
    while not _over.is_set() and (left := seconds - sum(each.seconds for each in made)) > 0:
        stretch = hunt_once(target, min(left, STRETCH))
        if stretch.finding or stretch.inputs:
            journal.note(stretch)
        made.append(stretch)
        if stretch.finding or not stretch.inputs:
            break
    return made


def hunt_once(target: str, seconds: float) -> Hunt:
    """One stretch; what the fuzzer said stays beside the inputs it kept."""
    KEPT.mkdir(parents=True, exist_ok=True)
    log = KEPT / f"{target}.log"
    command = [sys.executable, "-m", "tests.fuzz.hunt", target, "--seconds", str(int(seconds) + 1)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
        ending = threading.Thread(target=_end_when_over, args=[process], daemon=True)
        ending.start()
        _, status, spent = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    said = log.read_text(encoding="utf-8", errors="replace")
    return Hunt(
        target=target,
        ended=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(spent.ru_utime + spent.ru_stime, 1),
        inputs=_last(r"(?m)^(?:#|stat::number_of_executed_units: )(\d+)", said),
        branches=_last(r" cov: (\d+)", said),
        features=_last(r" ft: (\d+)", said),
        finding=None if process.returncode in ENDED or _over.is_set() else _told(said),
    )


def _end_when_over(process: subprocess.Popen[bytes]) -> None:
    while process.returncode is None:
        if _over.wait(1.0):
            process.send_signal(signal.SIGINT)
            return


def _last(pattern: str, said: str) -> int:
    found = re.findall(pattern, said)
    return int(found[-1]) if found else 0


def _told(said: str) -> str:
    """What was found, in a line."""
    lines = [line for line in said.splitlines() if re.match(r"[\w.]+(Error|Exception)\b", line)]
    return lines[-1][:200] if lines else (said.splitlines() or ["it said nothing"])[-1][:200]


def report() -> bool:
    """Write the sums of all hunts that were ever noted; whether they are as they should be."""
    told = [*machine.rows(), *journal.rows(journal.hunts(), TARGETS)]
    results.write("fuzz", told)
    print(results.table(told))
    return all(row.ok for row in told)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}")
    parser.add_argument(
        "--seconds", type=int, default=journal.HOUR, help="for each target; 0: none"
    )
    parser.add_argument("--at-once", type=int, default=1, help="targets at a time")
    wanted = parser.parse_args()
    if unknown := set(wanted.targets) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda *_: _over.set())
    with ThreadPoolExecutor(wanted.at_once) as pool:
        made = list(pool.map(lambda each: hunt(each, wanted.seconds), wanted.targets or TARGETS))
    is_well = report()
    return 0 if is_well and not any(each.finding for some in made for each in some) else 1


if __name__ == "__main__":
    sys.exit(main())
