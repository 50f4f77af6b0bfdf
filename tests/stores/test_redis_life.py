"""What becomes of a Redis store beyond open and close: its process is forked."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.redis_server import DURABLE, START_SECONDS, redis_process

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
