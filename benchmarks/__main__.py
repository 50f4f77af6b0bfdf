"""``python -m benchmarks [NAME ...]``: run benchmarks (default: all) and write their results."""

from __future__ import annotations

import sys
from importlib import import_module

from benchmarks import results

NAMES = ("http", "session", "sandbox", "stores", "retention", "kill", "sponsor")
"""Modules of this package with a ``run()`` that returns rows."""


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there is: {', '.join(NAMES)}", file=sys.stderr)
        return 2
    kept = True
    for name in names or NAMES:
        rows = import_module(f"benchmarks.{name}").run()
        results.write(name, rows)
        print(f"{name}\n\n{results.table(rows)}")
        kept = kept and all(row.ok for row in rows)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
