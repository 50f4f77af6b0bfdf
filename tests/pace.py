"""How the tests come to their end soon: who runs them, in which order, and which are measured."""

from __future__ import annotations

import gc
import os
import sys
from itertools import groupby
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WAITING = (("attacks", "interop", "cli"), ("kill", "e2e", "fronts", "benchmarks"))
"""Folders whose tests mostly wait for servers of their own, the longest first, for two workers."""
UNMEASURED = ("attacks", "benchmarks", "e2e", "fuzz", "interop", "kill", "oracle")
"""Folders whose tests go again, and many times, through what others go through."""
MEASURED_SETS = 4
"""Of so many sets of parameters of a test."""

IS_ALL_MEASURED = os.environ.get("TEST_COVERAGE") == "all"

measured = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "repeating: goes many times through what others go through, and is not measured"
    )


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors, as some tests wait for other processes; xdist itself
    would count cores, of which two processors may have but one."""
    if named := os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS"):
        return int(named)
    try:
        return len(os.sched_getaffinity(0)) + 1
    except AttributeError:  # no Linux
        return (os.cpu_count() or 1) + 1


@pytest.hookimpl(trylast=True)  # when hypothesis has marked its own
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes long begins first, so that nobody waits for it in the end."""
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    items[:] = _arranged(items, workers)
    for _, sets in groupby(items, lambda item: item.nodeid.partition("[")[0]):
        _choose(list(sets))


def _arranged(items: list[pytest.Item], workers: int) -> list[pytest.Item]:
    """With what takes long at the beginning of two workers' equal shares."""
    first, second = (
        [item for folder in folders for item in items if _folder(item) == folder]
        for folders in WAITING
    )
    waiting = {*first, *second}
    others = [item for item in items if item not in waiting]
    rest_of_first = max(0, len(items) // workers - len(first)) if workers > 1 else 0
    return [*first, *others[:rest_of_first], *second, *others[rest_of_first:]]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is imported and collected stays until the end: nobody need look through it for garbage,
    neither meanwhile nor later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def _folder(item: pytest.Item) -> str:
    """The one below ``tests``; for a file there, the file."""
    return item.nodeid.split("/")[1]


def _choose(sets: Sequence[pytest.Item]) -> None:
    """The first, the last, and some between them."""
    last = len(sets) - 1
    steps = MEASURED_SETS - 1
    chosen = {round(last * step / steps) for step in range(MEASURED_SETS)}
    for number, item in enumerate(sets):
        is_repeating = any(map(item.get_closest_marker, ("hypothesis", "repeating")))
        is_chosen = number in chosen and not is_repeating and _folder(item) not in UNMEASURED
        item.stash[measured] = is_chosen or IS_ALL_MEASURED


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Coverage is traced in a part of the tests, and so it is at least what is reported: tracing
    makes each of them take twice as long, and most go where another has been.

    The tracer is put aside and put back as it is. To stop and start coverage takes longer than most
    tests do.
    """
    if item.stash.get(measured, True) or not item.config.getoption("cov_source", None):
        return (yield)
    tracer = sys.gettrace()
    sys.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(tracer)
