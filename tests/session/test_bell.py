"""Whoever waits for word of a channel can be woken, and can be cancelled at any moment."""

from __future__ import annotations

import asyncio

import pytest

from mpp_asgi.stellar.bell import Bell


async def ticks(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("wakes", ["a ring", "time"])
@pytest.mark.parametrize("moment", range(12))
async def test_a_cancellation_is_never_lost(wakes: str, moment: int) -> None:
    """Not even in the tick in which the wait is over."""
    passed = asyncio.Event()

    async def nap(seconds: float) -> None:
        await passed.wait()

    bell = Bell(nap)

    async def wait() -> None:
        with bell.listening("C") as listener:
            await listener.wait(1)
            await asyncio.Event().wait()

    waiting = asyncio.ensure_future(wait())
    await ticks(3)
    if wakes == "time":
        passed.set()
    else:
        bell.ring("C")
    await ticks(moment)
    waiting.cancel()
    await ticks(20)
    assert waiting.cancelled()
    assert not bell._listening


async def test_it_rings_for_those_who_listen_to_the_channel() -> None:
    bell, heard = Bell(lambda _: asyncio.Event().wait()), []

    async def listen(channel: str) -> None:
        with bell.listening(channel) as listener:
            await listener.wait(1)
            heard.append(channel)

    waiting = [asyncio.ensure_future(listen(channel)) for channel in "aab"]
    await ticks(3)
    bell.ring("a")
    await ticks(10)
    assert heard == ["a", "a"]
    for each in waiting:
        each.cancel()
    await asyncio.wait(waiting)
