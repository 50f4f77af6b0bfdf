"""Every input that is kept, and some thousand like it, without a fuzzer to lead them."""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING

import pytest

from tests.fuzz import distil, journal, targets
from tests.fuzz.corpus import FOLDER, inputs, mutations
from tests.fuzz.journal import Hunt
from tests.fuzz.json_changes import changed
from tests.fuzz.targets import TARGETS

if TYPE_CHECKING:
    from pathlib import Path

LIKE_IT = {"rpc": 300, "envelopes": 600}
"""How many; of those that take long, fewer."""


@pytest.mark.parametrize("target", TARGETS)
def test_strangers_bytes(target: str) -> None:
    seeds = inputs(target)
    assert seeds
    for data in [*seeds, *mutations(seeds, LIKE_IT.get(target, 1_500), Random(target))]:
        TARGETS[target](data)


def test_an_error_that_is_not_documented_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def surprise(*_: object) -> None:
        raise KeyError

    monkeypatch.setattr(targets, "inspect_envelope", surprise)
    with pytest.raises(KeyError):
        TARGETS["envelopes"](b"")


def test_json_is_changed_into_other_json() -> None:
    seed = (FOLDER / "rpc" / "simulate").read_bytes()
    others = {changed(seed, 4_096, number, lambda data, most: data[:most]) for number in range(200)}
    assert sum(type(json.loads(other)) is dict for other in others) > 50
    assert changed(b"no JSON", 3, 1, lambda data, most: data[:most]) == b"no "


def test_hunts_add_up(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    hunt = Hunt(target="rpc", ended="", seconds=1_900, inputs=5, branches=7, features=9)
    found = Hunt(
        target="rpc", ended="", seconds=1_900, inputs=6, branches=8, features=2, finding="?"
    )
    for each in (hunt, found):
        journal.note(each, file)
    told = list(journal.rows(journal.hunts(file), ["rpc", "envelopes"]))
    assert [row.value for row in told] == [3_800, 11, 8, 9, 1, 1, *[0] * 6]
    assert [row.case for row in told if not row.ok] == [
        "rpc: findings not mended",
        "envelopes: hunted",
    ]


def test_what_gets_nowhere_new_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    known = b"stellar/*;q=1.000"
    monkeypatch.setattr(distil, "inputs", lambda _: [known])
    new = b"stellar/charge;q=2, a"
    assert distil.distilled("preferences", [known, known + b" "]) == []
    assert distil.distilled("preferences", [new, new + b" " * 9]) == [new]
