"""Simulation: what a contract transaction would do, need and cost.

Instructions are an approximation (see :mod:`mpp_asgi.sandbox.host.budget`), so fees computed from
them are near the network's and never a quote of it. Footprint, sizes and rent follow the network's
rules.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from mpp_asgi.sandbox import soroban
from mpp_asgi.sandbox.contract_operations import environment, unchanged_rent
from mpp_asgi.sandbox.fees import (
    RentChange,
    Resources,
    disk_read_entries,
    rent_fee,
    resource_fee,
)
from mpp_asgi.sandbox.host.errors import HostError
from mpp_asgi.sandbox.host.execution import run
from mpp_asgi.sandbox.host.invocation import Host
from mpp_asgi.sandbox.host.storage import Storage
from mpp_asgi.sandbox.state import live_until
from mpp_asgi.sandbox.wire.entries import Account, ledger_entry
from mpp_asgi.sandbox.wire.keys import LedgerKey, has_ttl
from mpp_asgi.sandbox.wire.stream import array
from mpp_asgi.sandbox.wire.transactions import Footprint, SorobanData

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mpp_asgi.sandbox.network import Moment, Network
    from mpp_asgi.sandbox.state import Stored, View
    from mpp_asgi.sandbox.wire.authorization import AuthorizationEntry
    from mpp_asgi.sandbox.wire.entries import Entry
    from mpp_asgi.sandbox.wire.operations import (
        ExtendFootprintTtl,
        InvokeHostFunction,
        RestoreFootprint,
    )
    from mpp_asgi.sandbox.wire.values import Address, Val

INSTRUCTION_LEEWAY = 50_000
_INSTRUCTION_FACTOR = 1.04
_SIZE_LEEWAY = 500
_SIZE_FACTOR = 1.1
_REFUNDABLE_FACTOR = 1.15

# What an envelope around one contract operation can come to, apart from the operation's own body
# and the footprint: muxed sources, every precondition, a memo, twenty signatures.
_ENVELOPE_BYTES = 44 + 4 + 8 + (4 + 20 + 12 + 12 + 8 + 4 + 4 + 2 * 104) + 36
_OPERATION_BYTES = 4 + 4 + 44 + 4
_DATA_BYTES = 4 + 4 + 12 + 8
_SIGNATURES_BYTES = 4 + 20 * (4 + 4 + 64)


class AuthMode(StrEnum):
    """Whether a simulation checks the authorization it is given or records what is needed."""

    ENFORCE = "enforce"
    RECORD = "record"
    RECORD_ALLOW_NONROOT = "record_allow_nonroot"


@dataclass(frozen=True, slots=True)
class StateChange:
    """One entry before and after, as ``LedgerEntry``; ``None``: it is not there."""

    key: bytes
    before: bytes | None
    after: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Success:
    """A simulation that went well; without ``value`` where nothing was invoked."""

    data: SorobanData
    value: Val | None = None
    authorization: tuple[AuthorizationEntry, ...] = ()
    changes: tuple[StateChange, ...] = ()
    events: tuple[bytes, ...] = ()
    """Encoded ``DiagnosticEvent`` values."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A simulation that failed."""

    error: str
    events: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Foresight:
    """Entries as they will be when the transaction is applied.

    By then a transaction's source has used a sequence number, and its entry has grown by when that
    was. Resources are estimated with that growth, as the network's own simulation does.
    """

    view: View

    def stored(self, key: bytes) -> Stored | None:
        stored = self.view.stored(key)
        if stored is not None:
            entry, modified = stored
            if isinstance(entry, Account) and entry.sequence_ledger is None:
                return replace(entry, sequence_ledger=0), modified
        return stored


@dataclass(frozen=True, slots=True)
class Simulator:
    """Simulates as of one moment of one ledger."""

    network: Network
    view: View
    moment: Moment
    new_nonce: Callable[[], int]

    def invoke(
        self,
        body: InvokeHostFunction,
        source: Address,
        mode: AuthMode,
        *,
        upgraded: bool,
        leeway: int,
    ) -> Success | Failure:
        """Simulate a host function; ``leeway`` is how many spare instructions are wanted."""
        enforced = body.authorization if mode is AuthMode.ENFORCE else None
        host = Host(
            environment(self.network, self.moment),
            Storage(self.view, self.moment.sequence, self.network.settings),
            source=source.demuxed(),
            authorization=enforced,
            instructions=self.network.settings.max_instructions,
            allow_non_root=mode is AuthMode.RECORD_ALLOW_NONROOT,
            upgraded=upgraded,
            new_nonce=self.new_nonce,
        )
        try:
            value = run(host, body.function, enforced or ())
        except HostError as problem:
            return Failure(_describe(problem), _events(host))
        events = _events(host)
        if enforced is None:
            authorization = tuple(host.authorization.recorded())
            host.emulate_authentication()
        else:
            authorization = enforced
        body_bytes = len(body.function_xdr) + len(array(e.xdr for e in authorization))
        return Success(
            data=self._data(host, value, body_bytes, leeway),
            value=value,
            authorization=authorization,
            changes=tuple(self._state_changes(host)),
            events=events,
        )

    def _data(self, host: Host, value: Val, body_bytes: int, leeway: int) -> SorobanData:
        storage = host.storage
        keys = sorted((LedgerKey.parse(key) for key in storage.access), key=lambda k: k.order)
        read_write = tuple(key for key in keys if storage.access[key.xdr])
        read_only = tuple(key for key in keys if not storage.access[key.xdr])
        changes = soroban.changes(storage, self.view)
        spent = host.budget.spent
        draft = SorobanData(
            footprint=Footprint(read_only, read_write),
            instructions=max(
                int(spent * _INSTRUCTION_FACTOR), spent + max(INSTRUCTION_LEEWAY, leeway)
            ),
            disk_read_bytes=self._disk_read_bytes(keys, storage.restored),
            write_bytes=soroban.written_bytes(changes),
            resource_fee=0,
            archived=tuple(
                index for index, key in enumerate(read_write) if key.xdr in storage.restored
            ),
        )
        emitted = sum(len(event.xdr) for event in host.events.emitted()) + len(value.xdr)
        rents = [change.rent for change in changes]
        return self._with_fee(draft, body_bytes, emitted, [r for r in rents if r is not None])

    def _disk_read_bytes(self, keys: Iterable[LedgerKey], restored: set[bytes]) -> int:
        """Classic entries are read from disk, contract entries only out of the archive."""
        read = 0
        for key in keys:
            stored = self.view.stored(key.xdr)
            if stored is not None and (not has_ttl(key.xdr) or key.xdr in restored):
                read += soroban.entry_bytes(stored[0])
        return read

    def _with_fee(
        self, data: SorobanData, body_bytes: int, events_bytes: int, rents: list[RentChange]
    ) -> SorobanData:
        size = (
            _ENVELOPE_BYTES
            + _OPERATION_BYTES
            + body_bytes
            + _DATA_BYTES
            + (4 + 4 * len(data.archived))
            + len(data.footprint.xdr)
            + _SIGNATURES_BYTES
        )
        settings = self.network.settings
        resources = Resources(
            instructions=data.instructions,
            disk_read_entries=disk_read_entries(data),
            disk_read_bytes=data.disk_read_bytes,
            write_entries=len(data.footprint.read_write),
            write_bytes=data.write_bytes,
            transaction_bytes=max(int(size * _SIZE_FACTOR), size + _SIZE_LEEWAY),
            events_bytes=events_bytes,
        )
        fixed, refundable = resource_fee(resources, settings)
        rent = rent_fee(rents, settings, self.moment.sequence)
        fee = fixed + int((refundable + rent) * _REFUNDABLE_FACTOR)
        return replace(data, resource_fee=fee)

    def _state_changes(self, host: Host) -> list[StateChange]:
        """What would be written, in the order of the footprint."""
        found = []
        for change in soroban.changes(host.storage, self.view):
            stored = self.view.stored(change.key)
            modified = 0 if stored is None else stored[1]
            before = _encoded(change.before, modified)
            after = _encoded(change.after, modified)
            if change.writable and (before is not None or after is not None):
                order = LedgerKey.parse(change.key).order
                found.append((order, StateChange(change.key, before, after)))
        return [change for _, change in sorted(found, key=lambda pair: pair[0])]

    def extend(self, body: ExtendFootprintTtl, footprint: Footprint) -> Success | Failure:
        """Simulate letting entries live longer; only what needs it stays in the footprint."""
        until = self.moment.sequence + body.extend_to
        rents = []
        keys = []
        for key in footprint.read_only:
            stored = self.view.stored(key.xdr)
            if key.durability is None:
                return Failure(f"Can't extend TTL for ledger entry of kind {key.kind}")
            current = live_until(self.view, key.xdr)
            if stored is None or current >= until:
                continue
            if current < self.moment.sequence:
                return Failure("Can't extend for an expired entry: it must be restored first")
            keys.append(key)
            rents.append(unchanged_rent(stored[0], current, until))
        wanted = Footprint(tuple(sorted(keys, key=lambda k: k.order)))
        draft = SorobanData(
            footprint=wanted, instructions=0, disk_read_bytes=0, write_bytes=0, resource_fee=0
        )
        return Success(data=self._with_fee(draft, 8, 0, rents))

    def restore(self, _body: RestoreFootprint, footprint: Footprint) -> Success | Failure:
        """Simulate bringing entries back; only what is archived stays in the footprint."""
        until = self.moment.sequence + self.network.settings.min_persistent_ttl - 1
        rents = []
        keys = []
        size = 0
        for key in footprint.read_write:
            stored = self.view.stored(key.xdr)
            if key.durability != 1:
                return Failure(f"Can't restore a ledger entry of kind {key.kind}")
            if stored is None:
                return Failure("Missing entry to restore")
            if live_until(self.view, key.xdr) >= self.moment.sequence:
                continue
            keys.append(key)
            size += soroban.entry_bytes(stored[0])
            rents.append(unchanged_rent(stored[0], 0, until))
        wanted = Footprint((), tuple(sorted(keys, key=lambda k: k.order)))
        draft = SorobanData(
            footprint=wanted,
            instructions=0,
            disk_read_bytes=size,
            write_bytes=size,
            resource_fee=0,
        )
        return Success(data=self._with_fee(draft, 4, 0, rents))


def _describe(problem: HostError) -> str:
    return f"HostError: {problem}\n{problem.log or 'DebugInfo not available'}"


def _events(host: Host) -> tuple[bytes, ...]:
    return tuple(event.diagnostic_xdr(succeeded=not failed) for event, failed in host.events)


def _encoded(entry: Entry | None, modified: int) -> bytes | None:
    return None if entry is None else ledger_entry(entry, modified)
