"""Finished responses that are kept, so that the same request gets the same answer again."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class KeptAnswer(NamedTuple):
    """A response, and the request it answered."""

    key: str
    """What the request is known by."""
    request: str
    """SHA-256 of what has to be the same for the answer to be given again, hex."""
    content: bytes
    """The response; the store does not look into it."""
    keep_until: int
    """Unix seconds; from then on it is not given any more and may be purged."""


class AnswerStore(Protocol):
    """What every backend guarantees of kept answers. Each call is atomic, and durable when it
    returns.

    Every call raises `mpp_asgi.stores.contract.StoreUnavailableError` if the backend fails, having
    changed nothing that the caller can rely on. `Store.purge` deletes what is over.
    """

    async def keep_answer(self, answer: KeptAnswer, *, now: int) -> KeptAnswer:
        """Keep it, unless one is kept for its key that is not over at ``now``; return what is
        kept."""
        ...

    async def kept_answer(self, key: str, *, now: int) -> KeptAnswer | None:
        """What is kept for a key, unless it is over."""
        ...
