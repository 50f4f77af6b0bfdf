"""Two apps under real load, briefly: what is compared answered as it should."""

from __future__ import annotations

from functools import partial

import pytest

from benchmarks import apps, load
from benchmarks.comparison import Comparison, Measure, Subject, WrongAnswerError, compare
from benchmarks.http import paid_requests

PLAIN = Subject(app="benchmarks.apps:bare", requests=load.same(load.get(apps.PAID)))


def test_a_paid_app_is_measured_with_a_credential_of_its_own_for_each_request() -> None:
    paid = Subject(app="benchmarks.apps:nodded_through", requests=partial(paid_requests, 2_000))

    with load.generator() as drive:
        comparison = compare(PLAIN, paid, drive, sittings=2, rounds=1, seconds=0.03)

    assert len(comparison.ratios) == 2
    assert all(share > 0 for share in (comparison.server_share, comparison.load_share))


def test_a_wrong_answer_is_not_measured() -> None:
    tally = load.Tally(statuses={200: 9, 402: 1}, seconds=1, load_cpu_seconds=0.1)

    with pytest.raises(WrongAnswerError, match="402"):
        Measure.of(PLAIN, tally, 0.5)


def test_the_median_of_the_rounds_counts() -> None:
    base = Measure(rate=1_000, server_share=1, load_share=0.5)
    rounds = [
        (base, Measure(rate=rate, server_share=1, load_share=0.5)) for rate in (500, 10, 2_000)
    ]

    comparison = Comparison(rounds)

    assert comparison.ratio == 0.5
    assert comparison.extra_microseconds == pytest.approx(1_000)
    assert comparison.base_rate == 1_000
