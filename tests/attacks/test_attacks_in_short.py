"""Every row of attacks, with fewer of each: ``make attacks`` makes them all."""

from __future__ import annotations

import sys

import pytest

if sys.platform != "linux":
    pytest.skip("its disk is filled and its memory read as Linux has it", allow_module_level=True)

from tests.attacks import report, runner
from tests.attacks.variant import Place, all_variants


def test_every_row_is_attacked() -> None:
    variants = all_variants()
    assert {variant.row for variant in variants} == set(report.TITLES)
    assert {variant.row for variant in variants if variant.short != 0} == set(report.TITLES)
    assert len(variants) >= 120


@pytest.mark.parametrize("place", Place, ids=lambda place: place.name.lower())
def test_nothing_is_lost_to(place: Place) -> None:
    chosen = [variant for variant in all_variants() if variant.place is place]
    tallies = runner.run(chosen, seed=1, is_short=True)
    failed = [report.line(n, tally) for n, tally in tallies.items() if not tally.is_clean]
    assert not failed, "\n".join(failed)
    assert all(tally.attempts for tally in tallies.values())
