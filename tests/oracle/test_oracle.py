"""The sandbox against answers of the network's own contract host, recorded in ``vectors/``."""

from __future__ import annotations

import copy
import json

import pytest

from mpp_asgi.sandbox.settings import BASE_RESERVE, PROTOCOL_VERSION, Settings
from tests.oracle import vectors
from tests.oracle.differences import differences
from tests.oracle.host import NETWORK, crate_version
from tests.oracle.replay import play


@pytest.mark.parametrize("topic", vectors.topics())
def test_the_sandbox_answers_as_the_networks_host_does(topic: str) -> None:
    found = []
    for scenario, expected in vectors.read(topic):
        answers = play(scenario, vectors.codes())
        for number, (theirs, ours) in enumerate(zip(expected, answers, strict=True)):
            found += [f"{scenario.name}, call {number}: {d}" for d in differences(theirs, ours)]
    assert not found, f"{len(found)} differences, of which\n" + "\n".join(found[:3])


def test_names_of_scenarios_are_unique() -> None:
    names = [scenario.name for topic in vectors.topics() for scenario, _ in vectors.read(topic)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    "part", ["error", "value", "events", "changes", "auth", "footprint", "write_bytes", "rent"]
)
def test_another_answer_is_noticed(part: str) -> None:
    scenario, expected = next(vectors.read("transfers"))
    for answer in expected:
        for outcome in answer.values():
            outcome[part] = "something else"
    answers = play(scenario, vectors.codes())
    for theirs, ours in zip(expected, answers, strict=True):
        assert list(differences(theirs, ours))


def test_a_stage_that_is_missing_is_noticed() -> None:
    scenario, expected = next(vectors.read("transfers"))
    [answer, *_] = play(scenario, vectors.codes())
    less = copy.copy(expected[0])
    del less["apply"]
    assert list(differences(less, answer))


def test_the_host_was_asked_by_the_sandboxs_own_settings() -> None:
    network = json.loads(NETWORK.read_text())
    settings = Settings()
    assert network["protocol_version"] == PROTOCOL_VERSION
    assert network["base_reserve"] == BASE_RESERVE
    shared = [name for name in network if hasattr(settings, name)]
    assert len(shared) > 8
    assert {name: network[name] for name in shared} == {n: getattr(settings, n) for n in shared}


def test_the_answers_are_from_the_crate_that_is_locked() -> None:
    origin = json.loads(vectors.ORIGIN.read_text())
    assert origin["soroban-env-host"] == crate_version("soroban-env-host")
    assert origin["soroban-env-host"].startswith(f"{PROTOCOL_VERSION}.")
