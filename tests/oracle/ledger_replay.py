"""Plays scenarios on the parts of the sandbox that clients meet: simulations, and the ledger."""

from __future__ import annotations

from base64 import b64decode
from typing import TYPE_CHECKING

from mpp_asgi.sandbox.contract_operations import FailedError, InvokeCode, Scene
from mpp_asgi.sandbox.diagnostics import Diagnostics
from mpp_asgi.sandbox.network import Moment
from mpp_asgi.sandbox.simulation import AuthMode, Failure, Foresight, Simulator
from mpp_asgi.sandbox.state import Layer, live_until
from mpp_asgi.sandbox.wire.authorization import AuthorizationEntry
from mpp_asgi.sandbox.wire.keys import LedgerKey, has_ttl
from mpp_asgi.sandbox.wire.operations import InvokeHostFunction
from mpp_asgi.sandbox.wire.transactions import Footprint, SorobanData
from tests.oracle.replay import NONCES, Stage, function_of, quoted, source_of, telling, text_of
from tests.oracle.scenario import Record

if TYPE_CHECKING:
    from mpp_asgi.sandbox.contract_operations import Outcome as Applied
    from mpp_asgi.sandbox.simulation import Success
    from tests.oracle.replay import Answer, Declared, Outcome
    from tests.oracle.scenario import Call

TRAPPED = ["trapped", 0]
_ERRORS = {InvokeCode.ENTRY_ARCHIVED: ["archived", 0], InvokeCode.TRAPPED: TRAPPED}
_PLENTY = 2**40


class LedgerStage(Stage):
    """Simulates as nodes do, and applies calls as the operations of transactions are applied."""

    __slots__ = ()

    def call(self, call: Call) -> Answer:
        answer: Answer = {}
        if call.record is not None:
            mode = AuthMode.RECORD_ALLOW_NONROOT if call.record.non_root else AuthMode.RECORD
            answer["record"] = self._told(call, (), mode, call.record)
        if call.auth is not None:
            auth = [AuthorizationEntry.parse(b64decode(entry)) for entry in call.auth]
            told = self._told(call, tuple(auth), AuthMode.ENFORCE, Record())
            # A node tells no footprint of a simulation that fails.
            simulated = told if "footprint" in told else self.simulate(call, auth, Record())
            answer["simulate"] = told
            answer["apply"] = self.apply(call, auth, self.declared(call, simulated))
        return answer

    def _told(
        self, call: Call, auth: tuple[AuthorizationEntry, ...], mode: AuthMode, record: Record
    ) -> Outcome:
        nonces = iter(NONCES)
        moment = Moment(self.sequence, self.close_time)
        simulator = Simulator(
            self.network, Foresight(self.state), moment, new_nonce=lambda: next(nonces)
        )
        body = InvokeHostFunction(function_of(call), auth, b64decode(call.function))
        told = simulator.invoke(body, source_of(call), mode, upgraded=record.upgraded, leeway=0)
        if isinstance(told, Failure):
            return telling({"diagnostics": [text_of(event) for event in told.events]})
        return _simulated(told)

    def apply(self, call: Call, auth: list[AuthorizationEntry], declared: Declared) -> Outcome:
        scene = self._scene(declared)
        body = InvokeHostFunction(function_of(call), tuple(auth), b"")
        layer = Layer(self.state, self.sequence)
        try:
            applied = scene.apply(body, source_of(call), layer)
        except FailedError as problem:
            return {"error": _ERRORS[InvokeCode(problem.code)]}
        outcome = self._applied(scene, applied, layer, declared)
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

    def _applied(self, scene: Scene, applied: Applied, layer: Layer, declared: Declared) -> Outcome:
        assert applied.returned is not None
        footprint = scene.data.footprint
        return telling(
            {
                "value": text_of(applied.returned.xdr),
                "events": [text_of(event.xdr) for event in applied.events],
                "diagnostics": [text_of(event) for event in scene.diagnostics.encoded],
                "changes": [
                    self._change(key.xdr, layer, declared)
                    for key in (*footprint.read_only, *footprint.read_write)
                ],
                "rent": applied.rent,
                "result": applied.value,
            }
        )

    def _change(self, key: bytes, layer: Layer, declared: Declared) -> list[object]:
        stored = layer.stored(key)
        data = None
        if declared.access[key] and stored is not None:
            data = text_of(stored[0].data)
        if not has_ttl(key):
            return [text_of(key), data, 0, 0]
        # What has expired counts as not there.
        lives = [live_until(view, key) for view in (self.state, layer)]
        before, after = (until if until >= self.sequence else 0 for until in lives)
        return [text_of(key), data, before, after]


def _simulated(told: Success) -> Outcome:
    assert told.value is not None
    return telling(
        {
            "value": text_of(told.value.xdr),
            "diagnostics": [text_of(event) for event in told.events],
            "auth": [text_of(entry.xdr) for entry in told.authorization],
            **quoted(told.data),
        }
    )
