"""Plays scenarios on the sandbox, which answers in the form of the network's host."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from mpp_asgi.sandbox import soroban
from mpp_asgi.sandbox.contract_operations import environment
from mpp_asgi.sandbox.contracts.registry import (
    CHANNEL_WASM_HASH,
    CONTRACTS,
    FACTORY_WASM_HASH,
    PUBLISHED_CHANNEL_WASM_HASH,
)
from mpp_asgi.sandbox.host.errors import HostError
from mpp_asgi.sandbox.host.execution import run
from mpp_asgi.sandbox.host.invocation import Host
from mpp_asgi.sandbox.host.storage import Storage
from mpp_asgi.sandbox.network import Moment, Network
from mpp_asgi.sandbox.settings import Settings
from mpp_asgi.sandbox.signatures import Verifier
from mpp_asgi.sandbox.simulation import Failure, Simulator
from mpp_asgi.sandbox.state import Layer, State, live_until
from mpp_asgi.sandbox.wire.authorization import AuthorizationEntry
from mpp_asgi.sandbox.wire.entries import ContractCode, Ttl
from mpp_asgi.sandbox.wire.keys import LedgerKey, has_ttl, is_temporary
from mpp_asgi.sandbox.wire.operations import (
    ExtendFootprintTtl,
    InvokeHostFunction,
    OperationKind,
    RestoreFootprint,
    read_account,
    read_operation,
)
from mpp_asgi.sandbox.wire.stream import ZERO, Reader, u32
from mpp_asgi.sandbox.wire.transactions import Footprint
from mpp_asgi.sandbox.wire.values import Address
from tests.oracle import relay
from tests.oracle.entries import NETWORK_ID
from tests.oracle.ledger_entries import parse_entry
from tests.oracle.scenario import Call, Jump, Keeping, Record, Scenario

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mpp_asgi.sandbox.host.environment import Contracts
    from mpp_asgi.sandbox.soroban import Change
    from mpp_asgi.sandbox.wire.operations import HostFunction
    from mpp_asgi.sandbox.wire.transactions import SorobanData
    from mpp_asgi.sandbox.wire.values import Val

Outcome = dict[str, Any]
Answer = dict[str, Outcome]

SECONDS_PER_LEDGER = 5
NONCES = (0x2ECA69C5CE9DFC4A, 0x1196B066D60D64D4)
"""What the host draws from the oracle's seed, in order; no scenario makes it draw more."""
VERIFIER = Verifier()
STANDS_FOR = {
    "channel": CONTRACTS.by_wasm[CHANNEL_WASM_HASH],
    "published-channel": CONTRACTS.by_wasm[PUBLISHED_CHANNEL_WASM_HASH],
    "factory": CONTRACTS.by_wasm[FACTORY_WASM_HASH],
    "relay": relay.FUNCTIONS,
}
"""What of the sandbox answers for the codes that scenarios name."""


def play(
    scenario: Scenario,
    codes: Mapping[str, bytes] | None = None,
    stage_type: type[Stage] | None = None,
) -> list[Answer]:
    """An answer for each call; ``codes`` are hashes of codes by the names scenarios call them."""
    stage = (stage_type or Stage).of(scenario, codes or {})
    answers = []
    for step in scenario.steps:
        if isinstance(step, Jump):
            stage.sequence += step.ledgers
            stage.close_time += SECONDS_PER_LEDGER * step.ledgers
        elif isinstance(step, Keeping):
            answers.append({"keeping": stage.keep(step)})
        else:
            answers.append(stage.call(step))
    return answers


@dataclass(frozen=True, slots=True)
class Declared:
    """The footprint of a transaction."""

    access: dict[bytes, bool]
    """Whether each key may be written."""
    restored: set[bytes]
    """Which come back from the archive."""


@dataclass(slots=True)
class Stage:
    """A ledger in the middle of a scenario."""

    network: Network
    state: State
    sequence: int
    close_time: int

    @classmethod
    def of(cls, scenario: Scenario, codes: Mapping[str, bytes]) -> Self:
        network = Network(
            network_id=NETWORK_ID,
            settings=Settings(),
            contracts=_contracts(codes),
            verifier=VERIFIER,
        )
        stage = cls(network, State(), scenario.sequence, scenario.timestamp)
        for encoded, until in scenario.entries:
            entry = parse_entry(b64decode(encoded))
            stage.state.write(entry.key, (entry, 1))
            if until is not None:
                ttl = Ttl(entry.key, until)
                stage.state.write(ttl.key, (ttl, 1))
        for name, until in scenario.codes:
            # The sandbox runs no Wasm: that there is a code of this hash is all it looks at.
            code = ContractCode(wasm_hash=codes[name], code=b"")
            ttl = Ttl(code.key, until)
            stage.state.write(code.key, (code, 1))
            stage.state.write(ttl.key, (ttl, 1))
        return stage

    def call(self, call: Call) -> Answer:
        answer: Answer = {}
        if call.record is not None:
            answer["record"] = self.simulate(call, None, call.record)
        if call.auth is not None:
            auth = [AuthorizationEntry.parse(b64decode(entry)) for entry in call.auth]
            answer["simulate"] = self.simulate(call, auth, Record())
            answer["apply"] = self.apply(call, auth, self.declared(call, answer["simulate"]))
        return answer

    def _host(
        self,
        call: Call,
        storage: Storage,
        auth: list[AuthorizationEntry] | None,
        record: Record,
    ) -> Host:
        nonces = iter(NONCES)
        return Host(
            environment(self.network, Moment(self.sequence, self.close_time)),
            storage,
            source=source_of(call),
            authorization=auth,
            instructions=self.network.settings.max_instructions,
            allow_non_root=record.non_root,
            upgraded=record.upgraded,
            new_nonce=lambda: next(nonces),
        )

    def keep(self, keeping: Keeping) -> Outcome:
        """Simulate keeping entries, which takes no contract host."""
        keys = tuple(LedgerKey.parse(b64decode(key)) for key in keeping.keys)
        moment = Moment(self.sequence, self.close_time)
        simulator = Simulator(self.network, self.state, moment, new_nonce=lambda: 0)
        if keeping.extend_to is None:
            told = simulator.restore(RestoreFootprint(), Footprint((), keys))
        else:
            told = simulator.extend(ExtendFootprintTtl(keeping.extend_to), Footprint(keys))
        return {} if isinstance(told, Failure) else quoted(told.data)

    def simulate(
        self,
        call: Call,
        auth: list[AuthorizationEntry] | None,
        record: Record,
    ) -> Outcome:
        storage = Storage(self.state, self.sequence, self.network.settings)
        host = self._host(call, storage, auth, record)
        try:
            value = run(host, function_of(call), auth or ())
        except HostError as problem:
            return _failure(host, problem) | {"footprint": _footprint(storage)}
        recorded = []
        if auth is None:
            recorded = [text_of(entry.xdr) for entry in host.authorization.recorded()]
            host.emulate_authentication()
        outcome = self._success(host, value)
        if recorded:
            outcome["auth"] = recorded
        found = soroban.changes(storage, self.state)
        outcome["footprint"] = _footprint(storage)
        outcome["disk_read_bytes"] = self._disk_read_bytes(storage)
        outcome["write_bytes"] = soroban.written_bytes(found)
        return outcome

    def declared(self, call: Call, simulated: Outcome) -> Declared:
        """The footprint a call is applied with."""
        footprint = simulated["footprint"]
        access = {b64decode(key): False for key in footprint["read_only"]}
        access |= {b64decode(key): True for key in footprint["read_write"]}
        access |= dict.fromkeys(access.keys() & map(b64decode, call.read_only), False)
        for key in call.without:
            access.pop(b64decode(key), None)
        read_write = footprint["read_write"]
        asked = () if call.unrestored else footprint["restored"]
        return Declared(access, {b64decode(read_write[index]) for index in asked})

    def apply(self, call: Call, auth: list[AuthorizationEntry], declared: Declared) -> Outcome:
        access, restored = declared.access, declared.restored
        if any(self._is_archived(key) and key not in restored for key in access):
            return {"error": ["archived", 0]}
        storage = Storage(self.state, self.sequence, self.network.settings, access, restored)
        storage.load_all()
        host = self._host(call, storage, auth, Record())
        try:
            value = run(host, function_of(call), auth)
        except HostError as problem:
            return _failure(host, problem)
        outcome = self._success(host, value)
        layer = Layer(self.state, self.sequence)
        soroban.apply_changes(soroban.changes(storage, layer), layer)
        layer.commit()
        return outcome

    def _success(self, host: Host, value: Val) -> Outcome:
        found = soroban.changes(host.storage, self.state)
        outcome: Outcome = {
            "value": text_of(value.xdr),
            "events": [text_of(event.xdr) for event in host.events.emitted()],
            "changes": _changes(host.storage, found),
            "diagnostics": _diagnostics(host),
            "instructions": host.budget.spent,
            "rent": soroban.rent(found, self.network.settings, self.sequence),
        }
        return telling(outcome)

    def _is_archived(self, key: bytes) -> bool:
        if not has_ttl(key) or is_temporary(key) or self.state.stored(key) is None:
            return False
        return live_until(self.state, key) < self.sequence

    def _disk_read_bytes(self, storage: Storage) -> int:
        read = 0
        for key in storage.access:
            stored = self.state.stored(key)
            if stored is not None and (not has_ttl(key) or key in storage.restored):
                read += soroban.entry_bytes(stored[0])
        return read


def _contracts(codes: Mapping[str, bytes]) -> Contracts:
    """The sandbox's contracts, which also stand for the codes that were compiled for the host."""
    contracts = CONTRACTS
    for name, wasm_hash in codes.items():
        contracts = contracts.with_wasm(wasm_hash, STANDS_FOR[name])
    return contracts


def quoted(data: SorobanData) -> Outcome:
    """What a simulation tells of resources."""
    return {
        "footprint": {
            "read_only": [text_of(key.xdr) for key in data.footprint.read_only],
            "read_write": [text_of(key.xdr) for key in data.footprint.read_write],
            "restored": list(data.archived),
        },
        "quote": [data.instructions, data.disk_read_bytes, data.write_bytes, data.resource_fee],
    }


def source_of(call: Call) -> Address:
    return Address.account(read_account(Reader(b64decode(call.source))))


def function_of(call: Call) -> HostFunction:
    body = u32(OperationKind.INVOKE_HOST_FUNCTION) + b64decode(call.function) + ZERO
    operation = read_operation(Reader(ZERO + body)).body
    assert isinstance(operation, InvokeHostFunction)
    return operation.function


def _failure(host: Host, problem: HostError) -> Outcome:
    name = str(problem).removeprefix("Error(").split(",", 1)[0]
    outcome: Outcome = {
        "error": [name, int(problem.code)],
        "diagnostics": _diagnostics(host),
        "instructions": host.budget.spent,
    }
    return telling(outcome)


def _sorted_access(storage: Storage) -> tuple[list[bytes], list[bytes]]:
    keys = sorted((LedgerKey.parse(key) for key in storage.access), key=lambda key: key.order)
    read_only = [key.xdr for key in keys if not storage.access[key.xdr]]
    read_write = [key.xdr for key in keys if storage.access[key.xdr]]
    return read_only, read_write


def _footprint(storage: Storage) -> dict[str, Any]:
    read_only, read_write = _sorted_access(storage)
    return {
        "read_only": [text_of(key) for key in read_only],
        "read_write": [text_of(key) for key in read_write],
        "restored": [i for i, key in enumerate(read_write) if key in storage.restored],
    }


def _changes(storage: Storage, found: Iterable[Change]) -> list[list[Any]]:
    by_key = {change.key: change for change in found}
    read_only, read_write = _sorted_access(storage)
    listed = [key for key in (*read_only, *read_write) if key in by_key]
    # What only calls that failed looked at comes last, as there is nothing to say of it.
    forgotten = sorted(storage.access.keys() - by_key.keys(), key=_order)
    return [_change(by_key[key]) for key in listed] + [[text_of(k), None, 0, 0] for k in forgotten]


def _order(key: bytes) -> Any:
    return LedgerKey.parse(key).order


def _change(change: Change) -> list[Any]:
    after = change.after if change.writable else None
    data = None if after is None else text_of(after.data)
    if not has_ttl(change.key):
        return [text_of(change.key), data, 0, 0]
    return [text_of(change.key), data, change.old_live_until, change.new_live_until]


def _diagnostics(host: Host) -> list[str]:
    return [text_of(event.diagnostic_xdr(succeeded=not failed)) for event, failed in host.events]


def telling(outcome: Outcome) -> Outcome:
    """Without lists that are empty, as the host writes it."""
    return {name: item for name, item in outcome.items() if item != []}


def text_of(data: bytes) -> str:
    return b64encode(data).decode("ascii")
