"""``python -m benchmarks.peers``: attack our shop and others, and count what each lost."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import TYPE_CHECKING

from benchmarks.peers import report, runner
from benchmarks.peers.variant import Variant, all_variants

if TYPE_CHECKING:
    from benchmarks.peers.count import Count


def main() -> int:
    parser = ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--rows", help="only these, as in A3,A5")
    parser.add_argument("--only", help="only variants with this in their names")
    parser.add_argument("--sellers", help=f"only these, as in {','.join(list(runner.SELLERS)[:2])}")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="into benchmarks/results/")
    parser.add_argument("--list", action="store_true", help="say what there is")
    given = parser.parse_args()
    rows = set(given.rows.split(",")) if given.rows else None
    variants = [
        variant
        for variant in all_variants()
        if (rows is None or variant.row in rows) and (given.only or "") in str(variant)
    ]
    if given.list:
        print(*variants, sep="\n")
        return 0

    def tell(variant: Variant, seller: str, count: Count) -> None:
        print(report.line(str(variant), seller, count), file=sys.stderr, flush=True)

    names = given.sellers.split(",") if given.sellers else list(runner.SELLERS)
    counts, versions = runner.run(variants, names, seed=given.seed, tell=tell)
    found = report.rows(variants, counts, versions)
    print(report.by_kind(found), report.in_short(found), sep="\n")
    if given.write:
        report.write(found)
    return 1 if any(count.broken for count in counts.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
