"""The recorded answers once more, from the sandbox's own simulations and ledger."""

from __future__ import annotations

from base64 import b64decode
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from mpp_asgi.sandbox.settings import Settings
from tests.oracle import vectors
from tests.oracle.ledger_replay import TRAPPED, LedgerStage
from tests.oracle.replay import play

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.oracle.replay import Answer, Outcome

SIMULATED = ("value", "diagnostics", "footprint")
APPLIED = ("error", "value", "events", "changes", "diagnostics", "rent")


@pytest.mark.parametrize("topic", vectors.topics())
def test_clients_are_told_what_the_network_tells(topic: str) -> None:
    found = []
    for scenario, expected in vectors.read(topic):
        answers = play(scenario, vectors.codes(), LedgerStage)
        for number, (theirs, ours) in enumerate(zip(expected, answers, strict=True)):
            assert theirs.keys() == ours.keys()
            found += [f"{scenario.name}, call {number}: {d}" for d in _differences(theirs, ours)]
    assert not found, f"{len(found)} differences, of which\n" + "\n".join(found[:3])


def _differences(theirs: Answer, ours: Answer) -> Iterator[str]:
    for stage, there in theirs.items():
        if stage == "keeping":
            continue  # No other part of the sandbox answers that.
        here = ours[stage]
        compare = _applied if stage == "apply" else _simulated
        for name, ok in compare(there, here):
            if not ok:
                yield f"{stage}: {name} {there.get(name)} on the network, {here.get(name)} here"


def _simulated(theirs: Outcome, ours: Outcome) -> Iterator[tuple[str, bool]]:
    if "error" in theirs:
        yield "diagnostics", theirs.get("diagnostics") == ours.get("diagnostics")
        yield "value", "value" not in ours
        return
    for name in SIMULATED:
        yield name, theirs.get(name) == ours.get(name)
    if "auth" in theirs:
        yield "auth", theirs["auth"] == ours["auth"]
    yield "quote", _comparable(theirs["quote"]) == _comparable(ours["quote"])


def _comparable(quote: list[int]) -> list[int]:
    """Bytes read and written, and the fee without what instructions cost, which are estimated."""
    instructions, read, written, fee = quote
    return [read, written, fee - _instructions_fee(instructions)]


def _instructions_fee(instructions: int) -> int:
    return -(-instructions * Settings().fee_per_10k_instructions // 10_000)


def _applied(theirs: Outcome, ours: Outcome) -> Iterator[tuple[str, bool]]:
    if "error" in theirs:
        # A transaction does not tell which error it failed with.
        archived = theirs["error"][0] == "archived"
        yield "error", ours == {"error": theirs["error"] if archived else TRAPPED}
        return
    for name in APPLIED:
        yield name, theirs.get(name) == ours.get(name)
    yield "result", ours["result"] == _result(theirs)


def _result(outcome: Outcome) -> bytes:
    """What a transaction's result says: the hash of ``InvokeHostFunctionSuccessPreImage``."""
    events = [b64decode(event) for event in outcome.get("events", ())]
    preimage = b64decode(outcome["value"]) + len(events).to_bytes(4, "big") + b"".join(events)
    return sha256(preimage).digest()
