"""The recorded scenarios and answers: one compressed file per topic."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.oracle.scenario import from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.oracle.replay import Answer
    from tests.oracle.scenario import Scenario

FOLDER = Path(__file__).parent / "vectors"
ORIGIN = FOLDER / "origin.json"
"""What made the answers: crate versions, the seed, the hashes of codes."""


def topics() -> list[str]:
    return sorted(path.name.removesuffix(".jsonl.gz") for path in FOLDER.glob("*.jsonl.gz"))


def write(topic: str, pairs: Iterable[tuple[Scenario, list[Answer]]]) -> None:
    lines = [_line(to_json(scenario) | {"answers": answers}) for scenario, answers in pairs]
    path = FOLDER / f"{topic}.jsonl.gz"
    # No time of writing: the same answers are the same file.
    path.write_bytes(gzip.compress("".join(lines).encode("ascii"), 9, mtime=0))


def read(topic: str) -> Iterator[tuple[Scenario, list[Answer]]]:
    with gzip.open(FOLDER / f"{topic}.jsonl.gz", "rt", encoding="ascii") as lines:
        for line in lines:
            written = json.loads(line)
            yield from_json(written), written["answers"]


def write_origin(origin: dict[str, Any]) -> None:
    ORIGIN.write_text(json.dumps(origin, indent=2) + "\n")


def codes() -> dict[str, bytes]:
    """The hashes of the codes the scenarios name."""
    origin: dict[str, Any] = json.loads(ORIGIN.read_text())
    return {name: bytes.fromhex(text) for name, text in origin["codes"].items()}


def _line(value: object) -> str:
    return json.dumps(value, separators=(",", ":")) + "\n"
