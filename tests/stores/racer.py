"""What every process does that takes part in a race; see racing.py."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from tests.stores import channel_process, resource_process, store_process
from tests.stores.backends import patient_store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from multiprocessing.connection import Connection

    Tasks = Mapping[str, Callable[..., Awaitable[None]]]

TASKS: dict[str, Tasks] = {
    "channel_process": channel_process.TASKS,
    "resource_process": resource_process.TASKS,
    "store_process": store_process.TASKS,
}


def take_part(module: str, command: tuple[str, ...], orders: Connection, said: Connection) -> None:
    """Do what the command says, ``TASK URL OWNER [MORE...]``: say "ready", wait for a line, open
    the store and go."""
    with (
        open(orders.fileno(), closefd=False) as heard,
        open(said.fileno(), "w", closefd=False) as sys.stdout,
    ):
        print("ready", flush=True)
        heard.readline()
        asyncio.run(_do(TASKS[module], *command))


async def _do(tasks: Tasks, task: str, url: str, owner: str, *more: str) -> None:
    store = patient_store(url)
    await store.open()
    await tasks[task](store, owner, *more)
    await store.close()
