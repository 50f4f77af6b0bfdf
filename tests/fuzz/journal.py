"""What hunts came to, one line for each, so that hours add up over days and machines.

A finding stays in its line; ``mended`` says what became of it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.results import at_least, at_most, fact

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from benchmarks.results import Row

FILE = Path(__file__).with_name("journal.jsonl")
HOUR = 3_600


@dataclass(frozen=True, slots=True, kw_only=True)
class Hunt:
    """One stretch of hunting in one target."""

    target: str
    ended: str
    """When, in UTC."""
    seconds: float
    """Of processor time: a machine with other work to do counts for no more than it gave."""
    inputs: int
    branches: int
    """Of our code that were reached by all that is kept."""
    features: int
    """The same, by how often each, as libFuzzer counts them."""
    finding: str | None = None
    mended: str | None = None


def note(hunt: Hunt, file: Path = FILE) -> None:
    """Add a line."""
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(asdict(hunt)) + "\n")


def hunts(file: Path = FILE) -> list[Hunt]:
    """All that were noted."""
    if not file.exists():
        return []
    return [Hunt(**json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]


def rows(noted: Iterable[Hunt], targets: Iterable[str]) -> Iterator[Row]:
    """The sums, target by target."""
    noted = list(noted)
    for target in targets:
        ours = [hunt for hunt in noted if hunt.target == target]
        spent, found = sum(hunt.seconds for hunt in ours), [h for h in ours if h.finding]
        still = [hunt for hunt in found if not hunt.mended]
        yield at_least(HOUR, f"{target}: hunted", round(spent), "s of processor time")
        yield fact(f"{target}: inputs", sum(hunt.inputs for hunt in ours))
        yield fact(f"{target}: branches reached", max((h.branches for h in ours), default=0))
        yield fact(f"{target}: features", max((h.features for h in ours), default=0))
        yield fact(f"{target}: findings", len(found))
        yield at_most(0, f"{target}: findings not mended", len(still), "")
