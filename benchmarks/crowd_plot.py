"""Ledgers and RPC calls over the number of channel accounts, as SVG."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from benchmarks.crowd import MOST_CALLS_A_LEDGER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from benchmarks.crowd import Crowd


_WIDTH: Final = 760
_HEIGHT: Final = 330
_PANEL: Final = 300
_LEFT: Final = 60
_TOP: Final = 50
_BOTTOM: Final = 270
_STYLE: Final = (
    "text{font:12px sans-serif;fill:#57606a}.title{font-weight:bold}"
    ".axis{stroke:#8c959f}.line{fill:none;stroke:#0969da;stroke-width:2}"
    ".bound{fill:none;stroke:#8c959f;stroke-dasharray:4 4}.dot{fill:#0969da}"
)


def plot(crowds: Sequence[Crowd], path: Path) -> None:
    """Write two panels: ledgers beside their bound, and RPC calls of a charge."""
    most = max(crowd.bound for crowd in crowds)
    ledgers = _Panel(crowds, _LEFT, f"ledgers until {crowds[0].payers:,} payers have settled")
    calls = _Panel(crowds, _LEFT + _PANEL + 70, "RPC calls for a charge, all in all")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH}" height="{_HEIGHT}" role="img">',
        f"<style>{_STYLE}</style>",
        *ledgers.draw(
            lambda crowd: math.log10(max(1, crowd.ledgers)) / math.log10(most),
            lambda crowd: f"{crowd.ledgers:,}",
            bound=lambda crowd: math.log10(crowd.bound) / math.log10(most),
        ),
        *calls.draw(
            lambda crowd: _all_calls(crowd) / 20,
            lambda crowd: f"{_all_calls(crowd):.1f}",
            bound=lambda crowd: _promised_calls(crowd) / 20,
        ),
        "</svg>",
    ]
    path.write_text("\n".join(parts) + "\n", encoding="utf-8")


def _all_calls(crowd: Crowd) -> float:
    return sum(crowd.calls.values()) / crowd.payers


def _promised_calls(crowd: Crowd) -> float:
    """Two, and a constant for each ledger, and each account's first look at its number."""
    return 2 + (MOST_CALLS_A_LEDGER * crowd.ledgers + crowd.accounts) / crowd.payers


class _Panel:
    def __init__(self, crowds: Sequence[Crowd], left: int, title: str) -> None:
        self._crowds = crowds
        self._left = left
        self._title = title

    def draw(
        self,
        height: Callable[[Crowd], float],
        label: Callable[[Crowd], str],
        *,
        bound: Callable[[Crowd], float],
    ) -> list[str]:
        points = [self._point(crowd, height) for crowd in self._crowds]
        bounds = [self._point(crowd, bound) for crowd in self._crowds]
        right = self._left + _PANEL
        parts = [
            f'<text class="title" x="{self._left}" y="{_TOP - 25}">{self._title}</text>',
            f'<path class="axis" d="M{self._left} {_BOTTOM}H{right}"/>',
            f'<polyline class="bound" points="{_joined(bounds)}"/>',
            f'<polyline class="line" points="{_joined(points)}"/>',
        ]
        for crowd, (x, y) in zip(self._crowds, points, strict=True):
            parts += [
                f'<circle class="dot" cx="{x:.0f}" cy="{y:.0f}" r="4"/>',
                f'<text x="{x:.0f}" y="{y - 10:.0f}" text-anchor="middle">{label(crowd)}</text>',
                f'<text x="{x:.0f}" y="{_BOTTOM + 18}" text-anchor="middle">'
                f"{crowd.accounts}</text>",
            ]
        middle = (self._left + right) / 2
        parts.append(
            f'<text x="{middle:.0f}" y="{_BOTTOM + 40}" text-anchor="middle">channel accounts '
            "(dashed: what is promised)</text>"
        )
        return parts

    def _point(self, crowd: Crowd, height: Callable[[Crowd], float]) -> tuple[float, float]:
        most = math.log10(max(each.accounts for each in self._crowds))
        x = self._left + 20 + (_PANEL - 40) * math.log10(crowd.accounts) / (most or 1)
        return x, _BOTTOM - (_BOTTOM - _TOP) * min(1.0, height(crowd))


def _joined(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.0f},{y:.0f}" for x, y in points)
