"""Random histories of two stores on one storage, as two processes have them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from mpp_asgi.stores.memory.store import MemoryStore
from mpp_asgi.stores.sqlite.store import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from mpp_asgi.stores.contract import Store

T = TypeVar("T")

which = st.integers(0, 1)
"""Which of two stores is asked."""


class Histories(RuleBasedStateMachine):
    """Two stores that a subclass has live through something.

    Args:
        new_storage: makes an empty storage; what it returns makes a store on it.
    """

    def __init__(self, new_storage: Callable[[], Callable[[], Store]]) -> None:
        super().__init__()
        self._new_storage = new_storage
        self._runner = asyncio.Runner()
        self.stores: tuple[Store, ...] = ()

    @initialize()
    def open_all(self) -> None:
        connect = self._new_storage()
        self.stores = (connect(), connect())
        for store in self.stores:
            self.do(store.open())

    def teardown(self) -> None:
        for store in self.stores:
            self.do(store.close())
        self._runner.close()

    def do(self, call: Coroutine[None, None, T]) -> T:
        """Wait for what a store is asked."""
        return self._runner.run(call)

    @rule(w=which)
    def reopen(self, w: int) -> None:
        self.do(self.stores[w].close())
        self.do(self.stores[w].open())


def live_through(
    histories: type[Histories],
    new_storage: Callable[[], Callable[[], Store]],
    *,
    examples: int = 30,
    steps: int = 30,
) -> None:
    """Fail with the shortest history found in which a store and the model differ.

    Of a server's stores, each of whose steps is a round trip, a quarter of the examples.
    """
    if not isinstance(new_storage()(), MemoryStore | SqliteStore):
        examples //= 4
    run_state_machine_as_test(
        lambda: histories(new_storage),
        settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None),
    )
