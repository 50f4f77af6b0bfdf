"""``python -m tests.fuzz.hunt TARGET``: look for what is wrong with one target, led by which code
an input gets to (atheris).

Inputs that get to new code are kept; a finding is printed, kept too, and ends the hunt.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import atheris

with atheris.instrument_imports(include=["mpp_asgi", "rfc8785", "stellar_sdk.xdr"]):
    from tests.fuzz.targets import TARGETS

from tests.fuzz.corpus import FOLDER, LONGEST
from tests.fuzz.json_changes import changed

if TYPE_CHECKING:
    from collections.abc import Callable

SLOW = 5.0
"""Seconds of processor time that no input of `LONGEST` bytes may take."""
STUCK = 600
"""Seconds by the clock on the wall, which stands still for nobody on a busy machine."""


TAKE_JSON = frozenset({"canonical_json", "credentials", "receipts", "rpc"})
"""Targets whose inputs are changed as what they are."""


class TooSlowError(Exception):
    """An input takes longer than any should."""


def timed(target: Callable[[bytes], None]) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        before = time.process_time()
        target(data)
        if (took := time.process_time() - before) > SLOW:
            raise TooSlowError(f"{len(data)} bytes took {took:.1f} s")

    return run


def change(data: bytes, most: int, seed: int) -> bytes:
    return changed(data, most, seed, atheris.Mutate)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.hunt", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--keep", type=Path, default=Path(".cache/fuzz"))
    wanted = parser.parse_args()
    kept = wanted.keep / wanted.target
    kept.mkdir(parents=True, exist_ok=True)
    options = {"custom_mutator": change} if wanted.target in TAKE_JSON else {}
    atheris.Setup(
        [
            *(sys.argv[0], str(kept), str(FOLDER / wanted.target)),
            f"-max_total_time={wanted.seconds}",
            f"-max_len={LONGEST}",
            f"-artifact_prefix={kept.parent}/finding-{wanted.target}-",
            *("-print_final_stats=1", f"-timeout={STUCK}"),
        ],
        timed(TARGETS[wanted.target]),
        **options,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
