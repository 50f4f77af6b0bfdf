"""Which core does what: the server has the first one this process may use, the load the second."""

from __future__ import annotations

import math
import os
import sys
import time


def available() -> list[int]:
    """The cores this process may use; empty where the system does not say (macOS, Windows)."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def pin(core: int, *, pid: int = 0) -> None:
    """Bind the process (0: this one) to one core, where that can be done and there is more than
    one to choose from."""
    cores = available()
    if len(cores) > 1:
        os.sched_setaffinity(pid, {cores[core]})


def cpu_seconds(pid: int) -> float:
    """CPU time another process has used so far, in seconds; not a number where that is unknown."""
    if not sys.platform.startswith("linux"):
        return math.nan
    # What clock_getcpuclockid(3) returns; Python offers it for threads only.
    return time.clock_gettime((~pid << 3) | 2)
