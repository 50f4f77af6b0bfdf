"""Every input that is kept, and some thousand like it, without a fuzzer to lead them."""

from __future__ import annotations

from random import Random

import pytest

from tests.fuzz import targets
from tests.fuzz.corpus import inputs, mutations
from tests.fuzz.targets import TARGETS

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
