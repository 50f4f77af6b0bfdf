"""What came of an attack on one seller."""

from __future__ import annotations

from dataclasses import dataclass, field

MOST_NOTES = 4


@dataclass(slots=True)
class Count:
    """But for ``attempts`` and ``served``, the wanted number is 0 everywhere."""

    attempts: int = 0
    """Requests."""
    served: int = 0
    """Goods that arrived whole."""
    leaked: int = 0
    """Goods that nobody paid for, and that arrived."""
    unpaid: int = 0
    """Handlers that ran, with nothing to be seen of it but fields, where no payment was shown."""
    swapped: int = 0
    """Goods that were paid for, at their price, by a payment for something else."""
    overcharged: int = 0
    """Payments beyond what was agreed to."""
    denied: int = 0
    """Payments for which nothing arrived, though their payer showed them again and again."""
    errors: int = 0
    """5xx, and no answer at all, where nothing was broken on purpose."""
    untidy: int = 0
    """A 402 that a cache may keep or that says nothing, a paid response without a receipt or that a
    shared cache may keep, a receipt of a success on an error, a secret that got out."""
    broken: int = 0
    """Attacks that could not be made."""
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        wrong = (self.leaked, self.unpaid, self.swapped, self.overcharged, self.denied)
        return not any((*wrong, self.errors, self.untidy, self.broken))

    def note(self, text: str) -> None:
        if len(self.notes) < MOST_NOTES:
            self.notes.append(text)

    def leak(self, text: str, count: int = 1) -> None:
        self.leaked += count
        self.note(f"leaked: {text}")

    def run_free(self, text: str, count: int) -> None:
        self.unpaid += count
        self.note(f"unpaid: {text}")

    def swap(self, text: str, count: int = 1) -> None:
        self.swapped += count
        self.note(f"swapped: {text}")

    def overcharge(self, text: str) -> None:
        self.overcharged += 1
        self.note(f"overcharged: {text}")

    def deny(self, text: str, count: int = 1) -> None:
        self.denied += count
        self.note(f"denied: {text}")

    def err(self, text: str) -> None:
        self.errors += 1
        self.note(f"error: {text}")

    def soil(self, text: str) -> None:
        self.untidy += 1
        self.note(f"untidy: {text}")

    def __iadd__(self, other: Count) -> Count:
        self.attempts += other.attempts
        self.served += other.served
        self.leaked += other.leaked
        self.unpaid += other.unpaid
        self.swapped += other.swapped
        self.overcharged += other.overcharged
        self.denied += other.denied
        self.errors += other.errors
        self.untidy += other.untidy
        self.broken += other.broken
        self.seconds += other.seconds
        self.notes += other.notes
        return self


Counts = dict[tuple[str, str], Count]
"""By variant and seller."""
