"""The sandbox's benchmark does what it says: sponsored transfers, each of its own."""

from __future__ import annotations

import pytest

from benchmarks import sandbox as benchmark


def test_every_transfer_moves_money() -> None:
    market, watch = benchmark.Market(), benchmark.Stopwatch()
    recipient = benchmark._key("recipient").public_key
    market.whole_round(watch)
    market.short_round(watch)
    assert market.sandbox.balance(recipient, market.sandbox.usdc) == 2 * benchmark.SPONSORS
    assert watch.spent > 0


def test_no_two_transfers_are_alike() -> None:
    market = benchmark.Market()
    envelopes = [envelope for _ in range(3) for envelope in market.transfers()]
    assert len(set(envelopes)) == len(envelopes) == 3 * benchmark.SPONSORS


def test_a_transfer_that_is_refused_stops_the_measurement() -> None:
    market = benchmark.Market()
    market.sponsors = market.sponsors[:1]
    market.begun += 4  # a gap in the sequence numbers
    with pytest.raises(RuntimeError, match="did not do as it should"):
        market.short_round(benchmark.Stopwatch())
