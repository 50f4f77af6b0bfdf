"""What every process does that takes part in a race; see racing.py."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from tests.stores.backends import patient_store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping


def take_part(tasks: Mapping[str, Callable[..., Awaitable[None]]]) -> None:
    """Do what the command line says, ``TASK URL OWNER [MORE...]``: say "ready", wait for a line on
    standard input, open the store and go."""
    asyncio.run(_do(tasks))


async def _do(tasks: Mapping[str, Callable[..., Awaitable[None]]]) -> None:
    task, url, owner, *more = sys.argv[1:]
    print("ready", flush=True)
    sys.stdin.readline()
    store = patient_store(url)
    await store.open()
    await tasks[task](store, owner, *more)
    await store.close()
