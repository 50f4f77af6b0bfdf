"""What the attacks came to, as a table and as the figures in ``benchmarks/results``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import machine, results
from benchmarks.results import Row, at_least, at_most, fact
from tests.attacks.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TITLES = {
    "A1": "revert-grant",
    "A2": "streaming leak",
    "A3": "replay",
    "A4": "one payment, many challenges",
    "A5": "cross-resource substitution",
    "A6": "tampered challenge",
    "A7": "allowance overdraft",
    "A8": "denial of settlement",
    "A9": "fee drain",
    "A10": "sponsor theft",
    "A11": "paid but denied",
    "A12": "push theft",
    "A13": "cache and proxy confusion",
    "A14": "malformed input",
    "A15": "fake channel",
    "A16": "channel pulled away",
    "A17": "voucher games",
    "A18": "crash anywhere",
    "A19": "store trouble",
    "A20": "RPC trouble",
    "A21": "secrets and logs",
    "A22": "unpaid flood",
}
HEADS = ("row", "attack", "variants", "attempts", "leaked", "overcharged", "denied", "5xx", "s")


def line(name: str, tally: Tally) -> str:
    """One variant's."""
    verdict = "ok  " if tally.is_clean else "FAIL"
    counts = (
        f"attempts={tally.attempts} granted={tally.granted} leaked={tally.leaked} "
        f"overcharged={tally.overcharged} denied={tally.denied} 5xx={tally.errors} "
        f"promised={tally.promised}"
    )
    notes = "".join(f"\n       {note}" for note in tally.notes)
    return f"{verdict} {name}: {counts} ({tally.seconds:.1f} s){notes}"


def by_row(tallies: Mapping[str, Tally]) -> dict[str, tuple[int, Tally]]:
    """How many variants each row has, and their sum."""
    rows: dict[str, tuple[int, Tally]] = {}
    for row in TITLES:
        own = [tally for name, tally in tallies.items() if name.split(" ", 1)[0] == row]
        if own:
            total = Tally()
            for tally in own:
                total += tally
            rows[row] = (len(own), total)
    return rows


def table(tallies: Mapping[str, Tally]) -> str:
    """A line for each row, and one for all."""
    lines = [_cells(*HEADS)]
    total, variants = Tally(), 0
    for row, (count, tally) in by_row(tallies).items():
        lines.append(_line(row, TITLES[row], count, tally))
        total += tally
        variants += count
    lines.append(_line("all", "", variants, total))
    return "\n".join(lines)


def _line(row: str, title: str, count: int, tally: Tally) -> str:
    numbers = (tally.attempts, tally.leaked, tally.overcharged, tally.denied, tally.errors)
    return _cells(row, title, count, *numbers, f"{tally.seconds:.0f}")


def _cells(row: object, title: object, *numbers: object) -> str:
    return f"{row:4} {title:30}" + "".join(f"{number!s:>12}" for number in numbers)


def rows(tallies: Mapping[str, Tally]) -> Iterator[Row]:
    """The figures."""
    yield from machine.rows()
    counted = by_row(tallies)
    yield at_least(120, "variants", sum(count for count, _ in counted.values()), "variants")
    attempts = sum(tally.attempts for _, tally in counted.values())
    yield at_least(100_000, "attempts", attempts, "requests")
    for row, (count, tally) in counted.items():
        case = f"{row} {TITLES[row]}"
        yield fact(f"{case}: variants", count, "variants")
        yield fact(f"{case}: attempts", str(tally.attempts), "requests")
        yield at_most(0, f"{case}: leaked", tally.leaked, "grants")
        yield at_most(0, f"{case}: overcharged", tally.overcharged, "payments")
        yield at_most(0, f"{case}: paid but denied", tally.denied, "payments")
        yield at_most(0, f"{case}: 5xx", tally.errors, "responses")
        yield fact(f"{case}: time", tally.seconds, "s")


def write(tallies: Mapping[str, Tally]) -> None:
    """Into ``benchmarks/results/attacks.json`` and the table beside it."""
    results.write("attacks", list(rows(tallies)))
