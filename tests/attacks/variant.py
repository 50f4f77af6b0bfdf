"""What an attack is, and the list of all."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.attacks.scene import Scene


class Place(enum.Enum):
    """The servers that an attack is made on."""

    PLAIN = "one worker"
    WORKERS = "two workers and another host, over one store"
    TROUBLED = "one worker whose node, clock, store and life are in the attacker's hand"


class Attack(Protocol):
    """One way to get something for nothing, to take too much, or to break something."""

    row: str
    name: str
    place: Place

    async def play(self, scene: Scene) -> None:
        """Attack; whatever came of it is noted in the scene."""


@dataclass(frozen=True, slots=True)
class Variant:
    """An attack as a function."""

    row: str
    name: str
    act: Callable[[Scene], Awaitable[None]]
    place: Place = Place.PLAIN
    times: int = 1
    """How often what it repeats is repeated."""
    short: int | None = None
    """The same in the shortened form, which goes without it if this is 0."""
    exact: bool = False
    """Only the server moves money in it: what it took must be what it gave."""

    async def play(self, scene: Scene) -> None:
        await self.act(scene)

    def __str__(self) -> str:
        return f"{self.row} {self.name}"


VARIANTS: list[Variant] = []


def attack(
    row: str,
    name: str,
    *,
    place: Place = Place.PLAIN,
    times: int = 1,
    short: int | None = None,
    exact: bool = False,
) -> Callable[[Callable[[Scene], Awaitable[None]]], Callable[[Scene], Awaitable[None]]]:
    """Put a function on the list."""

    def put(act: Callable[[Scene], Awaitable[None]]) -> Callable[[Scene], Awaitable[None]]:
        VARIANTS.append(Variant(row, name, act, place, times, short, exact))
        return act

    return put


def all_variants() -> list[Variant]:
    """Of every row, in order."""
    for file in sorted((Path(__file__).parent / "rows").glob("a*.py")):
        import_module(f"tests.attacks.rows.{file.stem}")
    unique = {str(variant): variant for variant in VARIANTS}
    if len(unique) != len(VARIANTS):
        names = [str(variant) for variant in VARIANTS]
        raise RuntimeError(f"twice: {sorted({n for n in names if names.count(n) > 1})}")
    return sorted(VARIANTS, key=lambda variant: int(variant.row[1:]))
