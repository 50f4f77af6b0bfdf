"""A Redis store whose process is forked, and one that nobody closes."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref
from typing import TYPE_CHECKING

import pytest

from tests.redis_server import DURABLE, START_SECONDS, redis_process
from tests.stores.backends import patient_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.redis_server import RedisProcess


@pytest.fixture
def process() -> Iterator[RedisProcess]:
    with redis_process(*DURABLE) as process:
        yield process


def test_a_forked_process_is_told_that_the_store_is_not_its_own(process):
    """The thread that would answer is not there, and the connection is the other one's."""
    said = subprocess.run(
        [sys.executable, "-m", "tests.stores.forked_process", process.url],
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=True,
    )
    sentence = "The Redis store was opened before this process was forked: open one after the fork."
    assert said.stdout.splitlines() == [
        f"secret {sentence}",
        f"open {sentence}",
        "close None",
        f"secret {sentence}",
        "parent fine",
    ]


async def test_a_store_that_nobody_closes_lets_go_with_whoever_opened_it(process):
    before = set(threading.enumerate())
    store = patient_store(process.url)
    await store.open()
    assert await store.secret()
    (thread,) = set(threading.enumerate()) - before
    with store._line._lock:  # the garbage is collected wherever it happens to be
        del store
        gc.collect()
    thread.join(START_SECONDS)
    assert not thread.is_alive()
    with process.client() as client:
        assert len(client.client_list()) == 1


async def test_a_store_that_was_closed_holds_on_to_nothing(process):
    before = set(threading.enumerate())
    store = patient_store(process.url)
    for _ in range(2):
        await store.open()
        line = weakref.ref(store._line)
        (thread,) = set(threading.enumerate()) - before
        await store.close()
        thread.join(START_SECONDS)
        gc.collect()
        assert line() is None
