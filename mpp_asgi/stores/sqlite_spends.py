"""Spends of one process that wait for their transaction, and have it together."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, NamedTuple

from mpp_asgi.stores import sqlite_channels

if TYPE_CHECKING:
    from collections.abc import Callable
    from sqlite3 import Connection

    from mpp_asgi.stores.channels import Channel, Spend

MOST_AT_ONCE = 200
"""Bounds how long the other processes on the file wait."""


class _Waiting(NamedTuple):
    channel_id: str
    rule: Callable[[Channel], Spend]
    turn: Future[Spend]


class SpendQueue:
    """Spends that wait for the store's thread.

    A transaction takes a hundred times as long to reach the disk as a spend takes in it. While one
    is on its way, others gather; the next takes them all, one after the other.
    """

    def __init__(self) -> None:
        self._waiting: deque[_Waiting] = deque()

    def add(self, channel_id: str, rule: Callable[[Channel], Spend]) -> Future[Spend]:
        """Let one wait; `settle` has to be called after that. It may be cancelled until it is in a
        transaction."""
        turn: Future[Spend] = Future()
        self._waiting.append(_Waiting(channel_id, rule, turn))
        return turn

    def settle(
        self, transact: Callable[[Callable[[Connection], list[Spend]]], list[Spend]]
    ) -> None:
        """Give those that wait their turn, in one transaction: kept together or not at all."""
        spends = self._take()
        if not spends:
            return  # those before took them along
        try:
            results = transact(lambda db: [_spend(db, spend) for spend in spends])
        except Exception as error:  # noqa: BLE001 # whatever it is, those that wait are told
            for spend in spends:
                spend.turn.set_exception(error)
        else:
            for spend, result in zip(spends, results, strict=True):
                spend.turn.set_result(result)

    def _take(self) -> list[_Waiting]:
        count = min(len(self._waiting), MOST_AT_ONCE)
        taken = [self._waiting.popleft() for _ in range(count)]
        return [spend for spend in taken if spend.turn.set_running_or_notify_cancel()]


def _spend(connection: Connection, spend: _Waiting) -> Spend:
    return sqlite_channels.spend(connection, spend.channel_id, spend.rule)
