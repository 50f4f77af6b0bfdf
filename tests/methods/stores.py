"""Stores that are slow, or fail, when a test says so."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from mpp_asgi.stores.contract import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mpp_asgi.stores.contract import Store


class StoreAround(ABC):
    """A `Store` that passes every call on to another, through `_call`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        operation = getattr(self._store, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await self._call(name, lambda: operation(*args, **kwargs))

        return call

    @abstractmethod
    async def _call(self, name: str, operation: Callable[[], Awaitable[Any]]) -> Any:
        """What becomes of a call of ``name``, which ``operation`` carries out."""


class SlowStore(StoreAround):
    """Gives way before and after each call; a call that is cancelled meanwhile is done or not."""

    async def _call(self, name: str, operation: Callable[[], Awaitable[Any]]) -> Any:
        del name
        await asyncio.sleep(0)
        result = await operation()
        await asyncio.sleep(0)
        return result


class FailingStore(StoreAround):
    """Fails at chosen calls, counted from 0 since `fail_at` was set.

    Args:
        store: the real one.
        writes: whether a call that fails has been carried out all the same.
    """

    def __init__(self, store: Store, *, writes: bool = False) -> None:
        super().__init__(store)
        self._writes = writes
        self.calls: list[str] = []
        self.fail_at: range = range(0)

    async def _call(self, name: str, operation: Callable[[], Awaitable[Any]]) -> Any:
        fails = len(self.calls) in self.fail_at
        self.calls.append(name)
        if fails and not self._writes:
            raise StoreUnavailableError("the disk is full")
        result = await operation()
        if fails:
            raise StoreUnavailableError("the disk is full")
        return result
