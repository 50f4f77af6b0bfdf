"""The list of attacks, each of them for every seller that it applies to."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from benchmarks.peers.bout import Bout

    Act = Callable[[Bout], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Variant:
    """One attack."""

    row: str
    name: str
    act: Act
    times: int = 1
    """How often what it repeats is repeated."""
    not_for: Mapping[str, str] = field(default_factory=dict)
    """The sellers that it does not apply to, and why."""

    def __str__(self) -> str:
        return f"{self.row} {self.name}"


NAMES = ("mpp_asgi", "x402", "x402 upfront", "pympp")
"""The sellers, in the order of the columns. x402 has two ways to settle."""
VARIANTS: list[Variant] = []


def attack(
    row: str, name: str, *, times: int = 1, not_for: Mapping[str, str] | None = None
) -> Callable[[Act], Act]:
    """Put a function on the list."""

    def put(act: Act) -> Act:
        VARIANTS.append(Variant(row, name, act, times, not_for or {}))
        return act

    return put


def all_variants() -> list[Variant]:
    """Of every row, in order."""
    for file in sorted((Path(__file__).parent / "attacks").glob("[a-z]*.py")):
        import_module(f"benchmarks.peers.attacks.{file.stem}")
    names = [str(variant) for variant in VARIANTS]
    if len(set(names)) != len(names):
        raise RuntimeError(f"twice: {sorted({n for n in names if names.count(n) > 1})}")
    return sorted(VARIANTS, key=lambda variant: int(variant.row[1:]))
