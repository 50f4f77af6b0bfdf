"""What a doctor finds of one thing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    good: bool
    text: str
    """What is, or what to do."""
    is_odd: bool = False
    """It may be meant, and may be a mistake."""

    @property
    def mark(self) -> str:
        """``ok``, ``note`` or ``wrong``."""
        if not self.good:
            return "wrong"
        return "note" if self.is_odd else "ok"
