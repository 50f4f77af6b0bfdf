"""A profile as text: where the time goes, by package and by function of ours."""

from __future__ import annotations

import pstats
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import cProfile
    from collections.abc import Iterator

PROJECT = Path(__file__).parent.parent
SHOWN = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """One function in the profile. Times in microseconds for one run of what was profiled."""

    place: str
    """File, relative to where its package is, and function."""
    part: str
    """The package it belongs to; of ours, the module or sub-package."""
    ours: bool
    calls: float
    own: float
    total: float


def report(profile: cProfile.Profile, *, times: int, note: str) -> str:
    """The profile of ``times`` runs, told for one of them."""
    spots = list(_spots(profile, times))
    everything = sum(spot.own for spot in spots)
    parts: dict[str, float] = defaultdict(float)
    for spot in spots:
        parts[spot.part] += spot.own
    lines = [note, "", f"Own time by package, of {everything:,.0f} µs:", ""]
    for part, own in sorted(parts.items(), key=lambda item: -item[1]):
        if own >= everything / 200:
            lines.append(f"{own:8,.0f} µs {own / everything:6.1%}  {part}")
    lines += ["", "Functions of ours, by the time in and below them:", ""]
    lines += ["  own µs  total µs  calls  function"]
    ours = [spot for spot in spots if spot.ours]
    for spot in sorted(ours, key=lambda spot: -spot.total)[:SHOWN]:
        lines.append(f"{spot.own:8,.0f} {spot.total:9,.0f} {spot.calls:6,.1f}  {spot.place}")
    lines += ["", "All functions, by the time of their own:", ""]
    lines += ["  own µs  function"]
    for spot in sorted(spots, key=lambda spot: -spot.own)[:SHOWN]:
        lines.append(f"{spot.own:8,.0f}  {spot.place}")
    return "\n".join(lines) + "\n"


def _spots(profile: cProfile.Profile, times: int) -> Iterator[Spot]:
    stats: dict[tuple[str, int, str], Any] = pstats.Stats(profile).stats  # type: ignore[attr-defined] # not in typeshed
    for (file, _, function), (_, calls, own, total, _) in stats.items():
        place, part, ours = _located(file, function)
        yield Spot(
            place=place,
            part=part,
            ours=ours,
            calls=calls / times,
            own=1e6 * own / times,
            total=1e6 * total / times,
        )


def _located(file: str, function: str) -> tuple[str, str, bool]:
    """Place and part, without anything of the machine it was measured on."""
    path = Path(file)
    if file == "~":
        return function.partition(" at 0x")[0], "built-in functions", False
    if "site-packages" in path.parts:
        inside = path.parts[path.parts.index("site-packages") + 1 :]
        return f"{'/'.join(inside)}:{function}", inside[0], False
    if path.is_relative_to(PROJECT):
        inside = path.relative_to(PROJECT).parts
        return f"{'/'.join(inside)}:{function}", "/".join(inside[:2]), inside[0] == "mpp_asgi"
    return f"{path.name}:{function}", "standard library", False
