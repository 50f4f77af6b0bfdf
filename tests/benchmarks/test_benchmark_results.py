"""What a benchmark leaves behind."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from benchmarks import results

if TYPE_CHECKING:
    from pathlib import Path

ROWS = [
    results.at_least(0.95, "a free route | to bare", 0.98765, "ratio"),
    results.at_most(3, "a charge", 3.0001, "ms"),
    results.fact("bare FastAPI", 9876.54, "requests/s"),
    results.fact("measured on", "CPython 3.11"),
]


def test_the_json_is_a_list_of_rows_with_their_verdicts(tmp_path: Path) -> None:
    results.write("sample", ROWS, folder=tmp_path)

    rows = json.loads((tmp_path / "sample.json").read_text(encoding="utf-8"))

    assert rows == [
        {
            "case": "a free route | to bare",
            "value": 0.9877,
            "unit": "ratio",
            "wanted": "≥ 0.95",
            "ok": True,
        },
        {"case": "a charge", "value": 3.0, "unit": "ms", "wanted": "≤ 3", "ok": False},
        {
            "case": "bare FastAPI",
            "value": 9877.0,
            "unit": "requests/s",
            "wanted": None,
            "ok": True,
        },
        {"case": "measured on", "value": "CPython 3.11", "unit": "", "wanted": None, "ok": True},
    ]
    assert results.read("sample", folder=tmp_path) == ROWS


def test_the_table_is_made_from_the_rows(tmp_path: Path) -> None:
    results.write("sample", ROWS, folder=tmp_path)

    assert (tmp_path / "sample.md").read_text(encoding="utf-8") == (
        "| case | value | unit | wanted | ok |\n"
        "|---|---:|---|---|---|\n"
        "| a free route \\| to bare | 0.9877 | ratio | ≥ 0.95 | yes |\n"
        "| a charge | 3 | ms | ≤ 3 | **no** |\n"
        "| bare FastAPI | 9,877 | requests/s |  |  |\n"
        "| measured on | CPython 3.11 |  |  |  |\n"
    )


def test_the_tables_in_the_repository_are_those_of_the_figures_beside_them() -> None:
    names = [path.stem for path in results.FOLDER.glob("*.json")]

    for name in names:
        table = (results.FOLDER / f"{name}.md").read_text(encoding="utf-8")
        assert table == results.table(results.read(name))
