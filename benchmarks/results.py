"""What a benchmark leaves behind: ``results/<name>.json`` and the Markdown table made from it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FOLDER = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure. ``wanted`` says what it has to be (``None``: nothing), ``ok`` whether it is."""

    case: str
    value: float | str
    unit: str
    wanted: str | None = None
    ok: bool = True


def fact(case: str, value: float | str, unit: str = "") -> Row:
    """A figure nothing is wanted of."""
    return Row(case=case, value=_rounded(value), unit=unit)


def at_least(bound: float, case: str, value: float, unit: str) -> Row:
    """A figure that must not be lower than ``bound``. Judged before it is rounded."""
    return Row(
        case=case, value=_rounded(value), unit=unit, wanted=f"≥ {bound:g}", ok=value >= bound
    )


def at_most(bound: float, case: str, value: float, unit: str) -> Row:
    """A figure that must not be higher than ``bound``. Judged before it is rounded."""
    return Row(
        case=case, value=_rounded(value), unit=unit, wanted=f"≤ {bound:g}", ok=value <= bound
    )


def write(name: str, rows: Sequence[Row], *, folder: Path = FOLDER) -> None:
    """Write ``<name>.json``, a list of rows, and ``<name>.md``, their table."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps([asdict(row) for row in rows], indent=2, ensure_ascii=False)
    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    (folder / f"{name}.md").write_text(table(rows), encoding="utf-8")


def read(name: str, *, folder: Path = FOLDER) -> list[Row]:
    """The rows of ``<name>.json``."""
    text = (folder / f"{name}.json").read_text(encoding="utf-8")
    return [Row(**fields) for fields in json.loads(text)]


def table(rows: Iterable[Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| case | value | unit | wanted | ok |", "|---|---:|---|---|---|"]
    for row in rows:
        verdict = "" if row.wanted is None else ("yes" if row.ok else "**no**")
        cells = (row.case, _shown(row.value), row.unit, row.wanted or "", verdict)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _rounded(value: float | str) -> float | str:
    """Four significant digits: more would be noise."""
    return value if isinstance(value, str) else float(f"{value:.4g}")


def _shown(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
