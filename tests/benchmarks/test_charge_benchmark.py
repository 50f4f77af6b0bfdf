"""The charges that are measured are the charges that were made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks import charge, results

if TYPE_CHECKING:
    from pathlib import Path


def test_recorded_charges_are_measured_and_profiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    monkeypatch.setattr(charge, "CHARGES", 3)
    monkeypatch.setattr(charge, "WARM_UP", 1)

    rows = list(charge.rows())

    assert [row.unit for row in rows] == ["ms", "ms"]
    assert all(isinstance(row.value, float) and row.value > 0 for row in rows)
    profile = (tmp_path / "charge-profile.txt").read_text(encoding="utf-8")
    assert "mpp_asgi/middleware.py:__call__" in profile
    assert "site-packages" not in profile


def test_an_answer_is_given_to_its_own_request_only() -> None:
    asked = {"id": 1, "method": "getHealth"}
    network = charge.ReplayedNetwork(charge.Recording(calls=[(asked, {"id": 1, "result": {}})]))

    assert network.rpc({**asked, "id": 2}) == {"id": 2, "result": {}}
    with pytest.raises(RuntimeError, match="getFeeStats"):
        network.rpc({**asked, "method": "getFeeStats"})
