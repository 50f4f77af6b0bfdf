"""``python -m tests.fuzz.hunt TARGET``: look for what is wrong with one target, led by which code
an input gets to (atheris).

Inputs that get to new code are kept; a finding is printed, kept too, and ends the hunt.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["mpp_asgi"]):
    from tests.fuzz.targets import TARGETS

from tests.fuzz.corpus import FOLDER, LONGEST


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.hunt", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--keep", type=Path, default=Path(".cache/fuzz"))
    wanted = parser.parse_args()
    kept = wanted.keep / wanted.target
    kept.mkdir(parents=True, exist_ok=True)
    atheris.Setup(
        [
            *(sys.argv[0], str(kept), str(FOLDER / wanted.target)),
            f"-max_total_time={wanted.seconds}",
            f"-max_len={LONGEST}",
            f"-artifact_prefix={kept.parent}/finding-{wanted.target}-",
            *("-print_final_stats=1", "-timeout=10"),
        ],
        TARGETS[wanted.target],
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
