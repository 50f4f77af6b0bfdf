"""The same answers once more, where the sandbox's ledger itself applies the calls."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from mpp_asgi.sandbox.contract_operations import FailedError, InvokeCode, Scene
from mpp_asgi.sandbox.diagnostics import Diagnostics
from mpp_asgi.sandbox.network import Moment
from mpp_asgi.sandbox.state import Layer, live_until
from mpp_asgi.sandbox.wire.keys import LedgerKey, has_ttl
from mpp_asgi.sandbox.wire.operations import InvokeHostFunction
from mpp_asgi.sandbox.wire.transactions import Footprint, SorobanData
from tests.oracle import vectors
from tests.oracle.differences import differences
from tests.oracle.replay import Stage, function_of, play, source_of, telling, text_of

if TYPE_CHECKING:
    from mpp_asgi.sandbox.wire.authorization import AuthorizationEntry
    from tests.oracle.replay import Declared, Outcome
    from tests.oracle.scenario import Call

_CODES = {InvokeCode.ENTRY_ARCHIVED: ["archived", 0], InvokeCode.TRAPPED: ["trapped", 0]}
_PLENTY = 2**40


class LedgerStage(Stage):
    """Applies calls as the operations of transactions are applied."""

    __slots__ = ()

    def apply(self, call: Call, auth: list[AuthorizationEntry], declared: Declared) -> Outcome:
        scene = self._scene(declared)
        body = InvokeHostFunction(function_of(call), tuple(auth), b"")
        layer = Layer(self.state, self.sequence)
        try:
            applied = scene.apply(body, source_of(call), layer)
        except FailedError as problem:
            return {"error": _CODES[InvokeCode(problem.code)]}
        assert applied.returned is not None
        events = [event.xdr for event in applied.events]
        assert applied.value == _result_hash(applied.returned.xdr, events)
        keys = [*scene.data.footprint.read_only, *scene.data.footprint.read_write]
        outcome = telling(
            {
                "value": text_of(applied.returned.xdr),
                "events": [text_of(event) for event in events],
                "diagnostics": [text_of(event) for event in scene.diagnostics.encoded],
                "changes": [self._change(key.xdr, layer, declared) for key in keys],
                "rent": applied.rent,
            }
        )
        layer.commit()
        return outcome

    def _scene(self, declared: Declared) -> Scene:
        keys = sorted((LedgerKey.parse(key) for key in declared.access), key=lambda k: k.order)
        read_write = tuple(key for key in keys if declared.access[key.xdr])
        settings = self.network.settings
        data = SorobanData(
            footprint=Footprint(
                tuple(key for key in keys if not declared.access[key.xdr]), read_write
            ),
            instructions=settings.max_instructions,
            disk_read_bytes=settings.max_disk_read_bytes,
            write_bytes=settings.max_write_bytes,
            resource_fee=_PLENTY,
            archived=tuple(
                index for index, key in enumerate(read_write) if key.xdr in declared.restored
            ),
        )
        moment = Moment(self.sequence, self.close_time)
        return Scene(data, 1_000, self.network, moment, Diagnostics(), _PLENTY)

    def _change(self, key: bytes, layer: Layer, declared: Declared) -> list[object]:
        stored = layer.stored(key)
        shown = declared.access[key] and stored is not None
        data = text_of(stored[0].data) if shown and stored is not None else None
        if not has_ttl(key):
            return [text_of(key), data, 0, 0]
        before = live_until(self.state, key)
        # What has expired counts as not there; what was restored as new.
        before = before if before >= self.sequence else 0
        after = live_until(layer, key)
        return [text_of(key), data, before, after if after >= self.sequence else 0]


def _result_hash(value: bytes, events: list[bytes]) -> bytes:
    """What a transaction's result says: the hash of ``InvokeHostFunctionSuccessPreImage``."""
    return sha256(value + len(events).to_bytes(4, "big") + b"".join(events)).digest()


@pytest.mark.parametrize("topic", vectors.topics())
def test_the_ledger_applies_what_the_networks_host_answers(topic: str) -> None:
    found = []
    for scenario, expected in vectors.read(topic):
        answers = play(scenario, vectors.codes(), LedgerStage)
        for number, (theirs, ours) in enumerate(zip(expected, answers, strict=True)):
            if "apply" not in theirs:
                continue
            applied = {"apply": _without_details(theirs["apply"])}
            texts = differences(applied, {"apply": ours["apply"]})
            found += [f"{scenario.name}, call {number}: {text}" for text in texts]
    assert not found, f"{len(found)} differences, of which\n" + "\n".join(found[:3])


def _without_details(outcome: Outcome) -> Outcome:
    """A transaction does not tell which error it failed with, nor anything beside it."""
    if "error" not in outcome:
        return outcome
    return {"error": outcome["error"] if outcome["error"][0] == "archived" else ["trapped", 0]}
