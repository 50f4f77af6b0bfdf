"""What came of an attack, counted."""

from __future__ import annotations

from dataclasses import dataclass, field

MOST_NOTES = 5


@dataclass(slots=True)
class Tally:
    """The wanted number is 0 everywhere but in ``attempts``, ``granted`` and ``promised``."""

    attempts: int = 0
    """Requests."""
    granted: int = 0
    """What arrived where it might."""
    leaked: int = 0
    """Grants that nobody paid for."""
    overcharged: int = 0
    """Payments for which nothing was granted, or that nobody had agreed to."""
    denied: int = 0
    """Who paid and was not served, whatever they tried."""
    errors: int = 0
    """5xx that are not promised, and requests without any answer."""
    promised: int = 0
    """503 and 500 where something was broken on purpose; no defect."""
    broken: int = 0
    """Attacks that could not be made. Among the errors, too."""
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    """Of what is not wanted, the first few in words."""

    @property
    def is_clean(self) -> bool:
        return not (self.leaked or self.overcharged or self.denied or self.errors)

    @property
    def found(self) -> int:
        """How much an attack found out about a shop that is not as it should be."""
        return self.leaked + self.overcharged + self.denied + self.errors - self.broken

    def note(self, text: str) -> None:
        if len(self.notes) < MOST_NOTES:
            self.notes.append(text)

    def leak(self, text: str, count: int = 1) -> None:
        self.leaked += count
        self.note(f"leaked: {text}")

    def overcharge(self, text: str, count: int = 1) -> None:
        self.overcharged += count
        self.note(f"overcharged: {text}")

    def deny(self, text: str) -> None:
        self.denied += 1
        self.note(f"denied: {text}")

    def err(self, text: str) -> None:
        self.errors += 1
        self.note(f"error: {text}")

    def __iadd__(self, other: Tally) -> Tally:
        self.attempts += other.attempts
        self.granted += other.granted
        self.leaked += other.leaked
        self.overcharged += other.overcharged
        self.denied += other.denied
        self.errors += other.errors
        self.promised += other.promised
        self.broken += other.broken
        self.seconds += other.seconds
        self.notes += other.notes
        return self
