"""Connections that were given up, and how they are brought to their end at the server.

Closing our side ends nothing: what was sent may still be on its way, and the server would do it
when it arrives, after what was asked for on the next connection, and so write an older record over
a newer one. The server alone can rule that out, by closing its own side.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Session(NamedTuple):
    """What a connection goes by at the server."""

    run: str
    """Of the server, from its start to its end: the next one gives the same numbers to others."""
    number: int


def run_of(about: bytes) -> str | None:
    """Which run of the server has answered ``INFO server``."""
    found = re.search(rb"run_id:(\w+)", about)
    return None if found is None else found.group(1).decode()


class Predecessors:
    """Those of one store. Safe to be told of by several threads.

    One whose server was not met again is kept, as that server may be back: a node of a cluster, or
    one that could not be reached. A server that has ended leaves one, of a few bytes.
    """

    def __init__(self) -> None:
        self._sessions: set[Session] = set()

    def add(self, session: Session) -> None:
        """It was given up, and something may have been asked for on it."""
        self._sessions.add(session)

    async def end(self, session: Session, say: Callable[..., Awaitable[Any]]) -> None:
        """Have the server end those that came before this one. When it has said that it did,
        nothing that was sent on them has an effect any more.

        Args:
            session: that of the connection to say it on; nothing else was asked for there yet.
            say: sends a command and returns its answer, or raises what the server has against it.
        """
        for former in tuple(self._sessions):
            if former.run == session.run:
                await say("CLIENT", "KILL", "ID", f"{former.number}")
                self._sessions.discard(former)
        # It spares whoever says it: this only asks, now rather than when it is needed, whether we
        # may.
        await say("CLIENT", "KILL", "ID", f"{session.number}", "SKIPME", "yes")
