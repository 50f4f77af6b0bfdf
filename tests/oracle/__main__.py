"""``python -m tests.oracle PROGRAM [NAME=CODE.wasm ...]``: record what the network answers.

Makes every scenario from its seed, asks the host, writes the vectors, and asks the sandbox. Then
makes calls at random, more than are written down, and asks both. Ends with 1 where they differ.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from tests.oracle import vectors
from tests.oracle.differences import differences
from tests.oracle.host import Host, crate_version
from tests.oracle.metering import Metering
from tests.oracle.replay import STANDS_FOR, play
from tests.oracle.scenario import Call
from tests.oracle.topics import TOPICS, WASM_TOPICS, wanderings
from tests.oracle.topics.wanderings import CALLS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.oracle.replay import Answer
    from tests.oracle.scenario import Scenario

SEED = 20_261_122
_SHOWN = 10


def main() -> int:
    parser = ArgumentParser(prog="python -m tests.oracle", description=__doc__)
    parser.add_argument("program", type=Path)
    parser.add_argument("codes", nargs="*", metavar="NAME=CODE.wasm")
    parser.add_argument("--calls", type=int, default=10_000, help="how many calls at random")
    parser.add_argument("--seed", default=str(SEED), help="what the calls at random begin with")
    options = parser.parse_args()
    codes = dict(code.split("=", 1) for code in options.codes)
    if codes and codes.keys() != STANDS_FOR.keys():
        parser.error(f"give all codes or none: {', '.join(STANDS_FOR)}")
    host = Host(options.program, {name: Path(path) for name, path in codes.items()})
    hashes = host.hashes()
    told: dict[str, Iterable[Scenario]] = {
        topic: tell(Random(f"{SEED} {topic}")) for topic, tell in TOPICS.items()
    }
    if hashes:
        told |= {
            topic: tell(Random(f"{SEED} {topic}"), hashes) for topic, tell in WASM_TOPICS.items()
        }
    else:
        hashes = vectors.codes()
        print("no codes are given: what is recorded of", *WASM_TOPICS, "stays as it is")
    metering = Metering()
    wrong = 0
    for topic, stories in told.items():
        scenarios = list(stories)
        pairs = list(zip(scenarios, host.play(scenarios), strict=True))
        vectors.write(topic, pairs)
        wrong += _report(topic, pairs, hashes, metering)
    random = Random(f"{options.seed} at random")
    scenarios = list(wanderings.scenarios(random, host.hashes(), options.calls // CALLS))
    answers = host.play(scenarios)
    wrong += _report("at random", zip(scenarios, answers, strict=True), hashes, metering)
    if codes:
        metering.write()
    vectors.write_origin(_origin(hashes))
    return 1 if wrong else 0


def _origin(hashes: Mapping[str, bytes]) -> dict[str, Any]:
    return {
        "soroban-env-host": crate_version("soroban-env-host"),
        "soroban-simulation": crate_version("soroban-simulation"),
        "stellar-xdr": crate_version("stellar-xdr"),
        "seed": SEED,
        "codes": {name: digest.hex() for name, digest in hashes.items()},
    }


def _report(
    topic: str,
    pairs: Iterable[tuple[Scenario, list[Answer]]],
    codes: Mapping[str, bytes],
    metering: Metering,
) -> int:
    scenarios = calls = 0
    found = []
    for scenario, expected in pairs:
        scenarios += 1
        calls += len(expected)
        here = play(scenario, codes)
        for asked, theirs, ours in zip(scenario.asked, expected, here, strict=True):
            if isinstance(asked, Call):
                metering.add(asked, theirs, ours)
        for number, (theirs, ours) in enumerate(zip(expected, here, strict=True)):
            found += [f"{scenario.name}, call {number}: {d}" for d in differences(theirs, ours)]
    print(f"{topic:16} {scenarios:5} scenarios {calls:6} calls {len(found):5} differences")
    for difference in found[:_SHOWN]:
        print(difference)
    return len(found)


sys.exit(main())
