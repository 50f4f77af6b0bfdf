"""Kept answers, in the memory of one process."""

from __future__ import annotations

from typing import Any

from mpp_asgi.stores.kept_answers import KeptAnswer
from mpp_asgi.stores.memory.expiry import Expiry


class MemoryAnswers:
    """An `AnswerStore` that lasts as long as the object does.

    No call awaits anything, so each one is atomic on its event loop.
    """

    def __init__(self) -> None:
        super().__init__()
        self._answers: dict[str, _Row] = {}
        self._answer_expiry = Expiry()

    async def keep_answer(self, answer: KeptAnswer, *, now: int) -> KeptAnswer:
        """As `AnswerStore.keep_answer`."""
        found = self._find_answer(answer.key)
        if found is not None:
            if found.keep_until > now:
                return found
            self._answer_expiry.discard(found.key, found.keep_until)
        self._answers[answer.key] = tuple(answer)
        self._answer_expiry.add(answer.key, answer.keep_until)
        return answer

    async def kept_answer(self, key: str, *, now: int) -> KeptAnswer | None:
        """As `AnswerStore.kept_answer`."""
        found = self._find_answer(key)
        return None if found is None or found.keep_until <= now else found

    def _find_answer(self, key: str) -> KeptAnswer | None:
        row = self._answers.get(key)
        return None if row is None else KeptAnswer._make(row)

    def _purge_answers(self, *, now: int, limit: int) -> int:
        over = self._answer_expiry.take(now=now, limit=limit)
        for key in over:
            del self._answers[key]
        return len(over)


_Row = tuple[Any, ...]
"""An answer in values that the garbage collector need not look at, as there may be many."""
