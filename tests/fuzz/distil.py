"""``python -m tests.fuzz.distil``: take into the kept corpus what hunts have found a way with.

Of all inputs that hunts kept, those are taken that get to a step of our code that none before got
to, the smallest first. It is told by tracing, so it needs no fuzzer, and is the same everywhere.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import rfc8785

import mpp_asgi
from tests.fuzz.corpus import FOLDER, inputs
from tests.fuzz.targets import TARGETS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType

    Step = tuple[str, int, int]

OURS = (f"{Path(mpp_asgi.__file__).parent}/", f"{Path(rfc8785.__file__).parent}/")
"""And that of the library that writes canonical JSON."""
LARGEST = 2_048
"""Bytes of an input that is taken."""
MOST = 60
"""Inputs that are taken for a target."""


def steps(target: str, data: bytes) -> set[Step]:
    """From which line to which it goes in our code, by file."""
    seen: set[Step] = set()
    last: dict[FrameType, int] = {}

    def trace(frame: FrameType, event: str, _: object) -> object:
        if not frame.f_code.co_filename.startswith(OURS):
            return None
        if event == "line":
            seen.add((frame.f_code.co_filename, last.get(frame, 0), frame.f_lineno))
            last[frame] = frame.f_lineno
        elif event == "return":
            last.pop(frame, None)
        return trace

    sys.settrace(trace)  # type: ignore[arg-type] # it takes what it gives
    try:
        TARGETS[target](data)
    finally:
        sys.settrace(None)
    return seen


def distilled(target: str, found: Iterable[bytes]) -> list[bytes]:
    """What the kept corpus lacks."""
    known: set[Step] = set()
    for data in inputs(target):
        known |= steps(target, data)
    taken = []
    for data in sorted({each for each in found if len(each) <= LARGEST}, key=lambda d: (len(d), d)):
        reached = steps(target, data)
        if not reached <= known and len(taken) < MOST:
            known |= reached
            taken.append(data)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.distil", description=__doc__)
    parser.add_argument("--kept", type=Path, default=Path(".cache/fuzz"), help="what hunts kept")
    kept = parser.parse_args().kept
    for target in TARGETS:
        folder = kept / target
        found = [file.read_bytes() for file in folder.iterdir()] if folder.exists() else []
        taken = distilled(target, found)
        for data in taken:
            (FOLDER / target / hashlib.sha256(data).hexdigest()[:12]).write_bytes(data)
        print(f"{target}: {len(taken)} of {len(found)}")


if __name__ == "__main__":
    main()
