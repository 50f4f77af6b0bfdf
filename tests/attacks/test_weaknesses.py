"""An attack that cannot succeed anywhere proves nothing: these find what they are to find.

``python -m tests.attacks --weakened`` tries all of them; here are those that take no time.
"""

from __future__ import annotations

import sys

import pytest

if sys.platform != "linux":
    pytest.skip("its disk is filled and its memory read as Linux has it", allow_module_level=True)

from tests.attacks import weaknesses
from tests.attacks.report import TITLES
from tests.attacks.variant import all_variants
from tests.attacks.weaknesses import FINDERS

SLOW = {"A9", "A16", "A19", "A20", "A21"}
BY_SETTING = {"A8", "A18"}
"""What these hold against is no single check that could be removed."""


def row(name: str) -> str:
    return name.partition(" ")[0]


def test_each_row_has_an_attack_that_finds_a_missing_check() -> None:
    assert {row(name) for _, name in FINDERS} == set(TITLES) - BY_SETTING
    assert {name for _, name in FINDERS} <= {str(variant) for variant in all_variants()}


def test_a_missing_check_is_found() -> None:
    finders = [finder for finder in FINDERS if row(finder[1]) not in SLOW]
    found = weaknesses.find(seed=1, finders=finders)
    assert all(tally.found for tally in found.values()), weaknesses.table(found)
