"""``python -m tests.attacks``: attack a shop in every way that is known, and count what it lost."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import TYPE_CHECKING

from tests.attacks import report, runner, weaknesses
from tests.attacks.variant import Place, Variant, all_variants

if TYPE_CHECKING:
    from tests.attacks.tally import Tally


def main() -> int:
    parser = ArgumentParser(prog="python -m tests.attacks", description=__doc__)
    parser.add_argument("--rows", help="only these, as in A7,A9")
    parser.add_argument("--place", choices=[place.name.lower() for place in Place])
    parser.add_argument("--only", help="only variants with this in their names")
    parser.add_argument("--short", action="store_true", help="fewer of each, as in the test suite")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="into benchmarks/results/")
    parser.add_argument("--list", action="store_true", help="say what there is")
    parser.add_argument("--verbose", action="store_true", help="a line for each variant")
    parser.add_argument(
        "--weakened", action="store_true", help="the same shop with one check removed at a time"
    )
    given = parser.parse_args()
    if given.weakened:
        found = weaknesses.find(seed=given.seed)
        print(weaknesses.table(found))
        return 0 if all(tally.found for tally in found.values()) else 1
    variants = chosen(given.rows, given.only, given.place)
    if given.list:
        print(*variants, sep="\n")
        return 0

    def tell(variant: Variant, tally: Tally) -> None:
        if given.verbose or not tally.is_clean:
            print(report.line(str(variant), tally), file=sys.stderr, flush=True)

    results = runner.run(variants, seed=given.seed, is_short=given.short, tell=tell)
    print(report.table(results))
    if given.write:
        report.write(results)
    return 0 if all(tally.is_clean for tally in results.values()) else 1


def chosen(rows: str | None, only: str | None, place: str | None) -> list[Variant]:
    wanted = set(rows.split(",")) if rows else None
    return [
        variant
        for variant in all_variants()
        if (wanted is None or variant.row in wanted)
        and (only is None or only in str(variant))
        and (place is None or variant.place.name.lower() == place)
    ]


if __name__ == "__main__":
    sys.exit(main())
