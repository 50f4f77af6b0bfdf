"""Simulation: what a contract transaction would do, need and cost.

Instructions are an approximation (see :mod:`mpp_asgi.sandbox.host.budget`), so fees computed from
them are near the network's and never a quote of it. Footprint, sizes and rent are exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from mpp_asgi.sandbox import soroban
from mpp_asgi.sandbox.application import environment
from mpp_asgi.sandbox.fees import Resources, disk_read_entries, resource_fee
from mpp_asgi.sandbox.host.errors import HostError
from mpp_asgi.sandbox.host.execution import run
from mpp_asgi.sandbox.host.invocation import Host
from mpp_asgi.sandbox.host.storage import Storage
from mpp_asgi.sandbox.wire.keys import LedgerKey, has_ttl
from mpp_asgi.sandbox.wire.stream import array
from mpp_asgi.sandbox.wire.transactions import Footprint, SorobanData

if TYPE_CHECKING:
    from collections.abc import Callable

    from mpp_asgi.sandbox.rules import Moment, Network
    from mpp_asgi.sandbox.settings import Settings
    from mpp_asgi.sandbox.state import View
    from mpp_asgi.sandbox.wire.authorization import AuthorizationEntry
    from mpp_asgi.sandbox.wire.operations import InvokeHostFunction
    from mpp_asgi.sandbox.wire.values import Address, Val


class AuthMode(StrEnum):
    ENFORCE = "enforce"
    RECORD = "record"
    RECORD_ALLOW_NONROOT = "record_allow_nonroot"


@dataclass(frozen=True, slots=True)
class StateChange:
    """One entry before and after, as ``LedgerEntry``; ``None``: it is not there."""

    key: bytes
    before: bytes | None
    after: bytes | None


@dataclass(frozen=True, slots=True)
class Success:
    value: Val
    authorization: tuple[AuthorizationEntry, ...]
    data: SorobanData
    changes: tuple[StateChange, ...]
    events: tuple[bytes, ...]
    """Encoded ``DiagnosticEvent`` values."""


@dataclass(frozen=True, slots=True)
class Failure:
    error: str
    events: tuple[bytes, ...]


# What every envelope could still grow by: a muxed source in transaction and operation, all
# preconditions, a memo, twenty signatures.
_ENVELOPE_BYTES = 4 + 44 + 4 + 8 + (4 + 20 + 12 + 12 + 8 + 4 + 4 + 2 * 104) + 36
_SIGNATURES_BYTES = 4 + 20 * (4 + 4 + 64)
_OPERATION_BYTES = 4 + 4 + 44 + 4
_DATA_BYTES = 4 + 4 + 4 + 12 + 8


def simulate(
    body: InvokeHostFunction,
    source: Address,
    mode: AuthMode,
    *,
    upgraded: bool,
    leeway: int,
    network: Network,
    view: View,
    moment: Moment,
    new_nonce: Callable[[], int],
) -> Success | Failure:
    """Simulate a host function as of ``moment``; ``leeway`` is extra instructions asked for."""
    storage = Storage(view, moment.sequence, network.settings)
    enforced = mode is AuthMode.ENFORCE
    host = Host(
        environment(network, moment),
        storage,
        source=source.demuxed(),
        authorization=body.authorization if enforced else None,
        allow_non_root=mode is AuthMode.RECORD_ALLOW_NONROOT,
        upgraded=upgraded,
        new_nonce=new_nonce,
        verify=network.verifier,
        instructions=network.settings.max_instructions,
    )
    try:
        value = run(host, body.function)
    except HostError as problem:
        return Failure(_describe(problem), _events(host))
    events = _events(host)
    if enforced:
        authorization = body.authorization
    else:
        authorization = tuple(host.authorization.recorded())
        host.emulate_authentication()
    return Success(
        value,
        authorization,
        _data(body, authorization, host, value, view, network, leeway),
        tuple(_state_changes(host, view)),
        events,
    )


def _describe(problem: HostError) -> str:
    if not problem.log:
        return f"HostError: {problem}\nDebugInfo not available\n"
    return f"HostError: {problem}\n{problem.log}"


def _events(host: Host) -> tuple[bytes, ...]:
    return tuple(event.diagnostic_xdr(succeeded=not failed) for event, failed in host.events)


def _data(
    body: InvokeHostFunction,
    authorization: tuple[AuthorizationEntry, ...],
    host: Host,
    value: Val,
    view: View,
    network: Network,
    leeway: int,
) -> SorobanData:
    storage = host.storage
    settings = network.settings
    keys = sorted((LedgerKey.parse(key) for key in storage.access), key=lambda key: key.order)
    read_only = tuple(key for key in keys if not storage.access[key.xdr])
    read_write = tuple(key for key in keys if storage.access[key.xdr])
    changes = soroban.changes(storage, view)
    restored = {key for key in storage.restored if storage.access[key]}
    archived = tuple(i for i, key in enumerate(read_write) if key.xdr in restored)
    read = _disk_read_bytes(keys, view, restored)
    footprint = Footprint(read_only, read_write)
    instructions = max(int(host.budget.spent * 1.04), host.budget.spent + max(50_000, leeway))
    draft = SorobanData(
        footprint=footprint,
        instructions=instructions,
        disk_read_bytes=read,
        write_bytes=soroban.written_bytes(changes),
        resource_fee=0,
        archived=archived,
    )
    emitted = sum(len(event.xdr) for event in host.events.emitted()) + len(value.xdr)
    fee = _fee(draft, body, authorization, changes, emitted, storage.sequence, settings)
    return SorobanData(
        footprint=footprint,
        instructions=instructions,
        disk_read_bytes=read,
        write_bytes=draft.write_bytes,
        resource_fee=fee,
        archived=archived,
    )


def _disk_read_bytes(keys: list[LedgerKey], view: View, restored: set[bytes]) -> int:
    read = 0
    for key in keys:
        stored = view.stored(key.xdr)
        if stored is not None and (not has_ttl(key.xdr) or key.xdr in restored):
            read += soroban.entry_bytes(stored[0])
    return read


def _fee(
    data: SorobanData,
    body: InvokeHostFunction,
    authorization: tuple[AuthorizationEntry, ...],
    changes: list[soroban.Change],
    emitted: int,
    sequence: int,
    settings: Settings,
) -> int:
    encoded = len(body.function_xdr) + len(array(entry.xdr for entry in authorization))
    indexes = 4 + 4 * len(data.archived)
    size = (
        _ENVELOPE_BYTES
        + _OPERATION_BYTES
        + encoded
        + _DATA_BYTES
        + indexes
        + len(data.footprint.xdr)
        + _SIGNATURES_BYTES
    )
    size = max(int(size * 1.1), size + 500)
    resources = Resources(
        instructions=data.instructions,
        disk_read_entries=disk_read_entries(data),
        disk_read_bytes=data.disk_read_bytes,
        write_entries=len(data.footprint.read_write),
        write_bytes=data.write_bytes,
        transaction_bytes=size,
        events_bytes=emitted,
    )
    non_refundable, refundable = resource_fee(resources, settings)
    rent = soroban.rent(changes, settings, sequence)
    return non_refundable + int((refundable + rent) * 1.15)


def _state_changes(host: Host, view: View) -> list[StateChange]:
    """What would be written, in the order of the footprint."""
    found = []
    for change in soroban.changes(host.storage, view):
        if not change.writable:
            continue
        stored = view.stored(change.key)
        modified = 0 if stored is None else stored[1]
        before = soroban.encoded(change.before, modified)
        after = soroban.encoded(change.after, modified)
        if before is not None or after is not None:
            found.append(StateChange(change.key, before, after))
    order = {key.xdr: key.order for key in map(LedgerKey.parse, (c.key for c in found))}
    return sorted(found, key=lambda change: order[change.key])
