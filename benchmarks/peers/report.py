"""What the attacks came to on each seller, as figures and as a table."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from benchmarks import machine, results
from benchmarks.peers.count import Count, Counts
from benchmarks.peers.variant import NAMES
from benchmarks.results import Row, at_most, fact
from tests.attacks.report import TITLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.peers.variant import Variant

COUNTERS: dict[str, tuple[str, str, str]] = {
    "leaked": ("goods that nobody paid for", "leaked", "goods"),
    "unpaid": ("a handler that ran where no payment was shown", "ran unpaid", "runs"),
    "swapped": ("goods at their price, for a payment that was made for others", "swapped", "goods"),
    "overcharged": ("more taken than was agreed to", "overcharged", "payments"),
    "denied": ("somebody who paid and was not served", "denied", "payments"),
    "errors": (
        "a 5xx where nothing was broken, or honest payers unserved for half a minute",
        "5xx",
        "responses",
    ),
    "untidy": (
        "a receipt, challenge or `Cache-Control` that is missing or misplaced",
        "untidy",
        "responses",
    ),
}
"""By attribute of a count: in words, in a word, and the unit."""


def line(variant: str, seller: str, count: Count) -> str:
    """One variant's on one seller."""
    found = ", ".join(f"{getattr(count, name)} {name}" for name in COUNTERS if getattr(count, name))
    notes = "".join(f"\n       {note}" for note in count.notes)
    verdict = "BROKEN" if count.broken else found or "ok"
    return (
        f"{seller:13} {variant}: {verdict} "
        f"({count.attempts} requests, {count.served} served, {count.seconds:.1f} s){notes}"
    )


def rows(variants: Sequence[Variant], counts: Counts, versions: Mapping[str, str]) -> list[Row]:
    """The figures: of each kind, and of each variant that found something."""
    found = [*machine.rows(), fact("date", f"{datetime.now(UTC):%Y-%m-%d}")]
    found += [fact(f"{seller}: version", version) for seller, version in versions.items()]
    for seller in versions:
        own = {name: count for (name, by), count in counts.items() if by == seller}
        found.append(fact(f"{seller}: variants", len(own), "variants"))
        attempts = sum(count.attempts for count in own.values())
        found.append(fact(f"{seller}: attempts", str(attempts), "requests"))
    for row, title in TITLES.items():
        if any(variant.row == row for variant in variants):
            for seller in versions:
                found += _of_kind(f"{row} {title}", row, seller, counts)
    for (name, seller), count in counts.items():
        found += _of_variant(name, seller, count)
    return found


def _of_kind(case: str, row: str, seller: str, counts: Counts) -> Iterator[Row]:
    own = [
        count
        for (name, by), count in counts.items()
        if by == seller and name.split(" ", 1)[0] == row
    ]
    if not own:
        return
    total = Count()
    for count in own:
        total += count
    yield fact(f"{case}: {seller}: variants", len(own), "variants")
    yield fact(f"{case}: {seller}: attempts", str(total.attempts), "requests")
    for name, (_, _, unit) in COUNTERS.items():
        yield at_most(0, f"{case}: {seller}: {name}", getattr(total, name), unit)


def _of_variant(variant: str, seller: str, count: Count) -> Iterator[Row]:
    for name, (_, _, unit) in COUNTERS.items():
        if getattr(count, name):
            yield at_most(0, f"{variant}: {seller}: {name}", getattr(count, name), unit)
    if count.broken:
        yield at_most(0, f"{variant}: {seller}: could not be made", count.broken, "attacks")


def by_kind(found: Sequence[Row]) -> str:
    """A line for each kind of attack, a column for each seller, as Markdown."""
    by_case = {row.case: row for row in found}
    lines = _head("", by_case)
    for row, title in TITLES.items():
        cells = [_cell(f"{row} {title}: {name}", by_case) for name in _sellers(by_case)]
        if set(cells) != {"–"}:
            lines.append(f"| {row} {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def in_short(found: Sequence[Row]) -> str:
    """How many attacks found what, with each seller, as Markdown."""
    by_case = {row.case: row for row in found}
    sellers = _sellers(by_case)
    kinds = {f"{row} {title}" for row, title in TITLES.items()}
    lines = _head("attacks that got", by_case)
    for name, (words, _, _) in COUNTERS.items():
        hits = [
            sum(
                case.endswith(f": {seller}: {name}") and case.split(": ")[0] not in kinds
                for case in by_case
            )
            for seller in sellers
        ]
        lines.append(f"| {words} | " + " | ".join(map(str, hits)) + " |")
    tried = (f"{by_case[f'{seller}: variants'].value:g}" for seller in sellers)
    lines.append("| of | " + " | ".join(tried) + " |")
    return "\n".join(lines) + "\n"


def _sellers(by_case: Mapping[str, Row]) -> list[str]:
    return [name for name in NAMES if f"{name}: version" in by_case]


def _head(first: str, by_case: Mapping[str, Row]) -> list[str]:
    heads = []
    for seller in _sellers(by_case):
        name, _, way = seller.partition(" ")
        heads.append(f"{name} {by_case[f'{seller}: version'].value}" + (f", {way}" if way else ""))
    return [
        f"| {first} | ".replace("|  |", "| |") + " | ".join(heads) + " |",
        "|---|" + "---|" * len(heads),
    ]


def _cell(case: str, by_case: Mapping[str, Row]) -> str:
    if f"{case}: variants" not in by_case:
        return "–"
    found = (
        f"{float(by_case[f'{case}: {name}'].value):,.0f} {word}"
        for name, (_, word, _) in COUNTERS.items()
        if by_case[f"{case}: {name}"].value
    )
    return ", ".join(found) or "0"


def write(found: Sequence[Row]) -> None:
    """Into ``benchmarks/results/peers.json`` and the table beside it."""
    results.write("peers", found)
