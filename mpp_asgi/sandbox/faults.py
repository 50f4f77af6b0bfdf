"""Faults on order: what tests make the network do wrong."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mpp_asgi.sandbox.queue import Status, Submission
from mpp_asgi.sandbox.wire.results import Code, Result

if TYPE_CHECKING:
    from mpp_asgi.sandbox.frame import Frame


class AnswerLostError(ConnectionError):
    """The request was carried out, but its answer never arrived."""


@dataclass(slots=True)
class Faults:
    """Faults that wait to happen, each once."""

    _refusals: deque[tuple[Status, Code]] = field(default_factory=deque)
    _losses: deque[str] = field(default_factory=deque)
    _delays: deque[int] = field(default_factory=deque)

    def refuse_submit(self, status: Status, code: Code, times: int) -> None:
        self._refusals.extend([(status, code)] * times)

    def lose_answer(self, method: str, times: int) -> None:
        self._losses.extend([method] * times)

    def delay_submit(self, ledgers: int, times: int) -> None:
        self._delays.extend([ledgers] * times)

    def delay(self) -> int:
        """How many ledgers leave out the transaction just taken; uses the fault up."""
        return self._delays.popleft() if self._delays else 0

    def refusal(self, frame: Frame) -> Submission | None:
        """What the next submission is answered with, instead of being taken."""
        if not self._refusals:
            return None
        status, code = self._refusals.popleft()
        if status is not Status.ERROR:
            return Submission(status)
        inner_hash = frame.inner_hash if frame.is_fee_bump else None
        return Submission(status, Result(0, code, inner_hash=inner_hash))

    def is_lost(self, method: object) -> bool:
        """Whether the answer to a call of ``method`` is to get lost; uses the fault up."""
        if self._losses and self._losses[0] == method:
            self._losses.popleft()
            return True
        return False
