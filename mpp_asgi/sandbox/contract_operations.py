"""Applying the operations on contracts: a host function, extending lifetimes, restoring."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum
from hashlib import sha256
from typing import TYPE_CHECKING

from mpp_asgi.sandbox import soroban
from mpp_asgi.sandbox.fees import RentChange, Resources, rent_fee, resource_fee
from mpp_asgi.sandbox.host.environment import Environment
from mpp_asgi.sandbox.host.errors import ErrorCode, ErrorType, HostError
from mpp_asgi.sandbox.host.execution import run
from mpp_asgi.sandbox.host.invocation import Host
from mpp_asgi.sandbox.host.storage import Storage
from mpp_asgi.sandbox.state import live_until
from mpp_asgi.sandbox.wire.entries import ContractCode, ContractData, Ttl
from mpp_asgi.sandbox.wire.keys import has_ttl, is_temporary
from mpp_asgi.sandbox.wire.operations import (
    ExtendFootprintTtl,
    InvokeHostFunction,
    RestoreFootprint,
)
from mpp_asgi.sandbox.wire.stream import array
from mpp_asgi.sandbox.wire.values import Address, address_val, bytes_val

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mpp_asgi.sandbox.diagnostics import Diagnostics
    from mpp_asgi.sandbox.host.events import Event
    from mpp_asgi.sandbox.network import Moment, Network
    from mpp_asgi.sandbox.state import Layer
    from mpp_asgi.sandbox.wire.entries import Entry
    from mpp_asgi.sandbox.wire.keys import LedgerKey
    from mpp_asgi.sandbox.wire.transactions import SorobanData
    from mpp_asgi.sandbox.wire.values import Val

ContractOperation = InvokeHostFunction | ExtendFootprintTtl | RestoreFootprint


class InvokeCode(IntEnum):
    """``InvokeHostFunctionResultCode``."""

    TRAPPED = -2
    RESOURCE_LIMIT_EXCEEDED = -3
    ENTRY_ARCHIVED = -4
    INSUFFICIENT_REFUNDABLE_FEE = -5


class FootprintCode(IntEnum):
    """``ExtendFootprintTTLResultCode`` and ``RestoreFootprintResultCode``."""

    RESOURCE_LIMIT_EXCEEDED = -2
    INSUFFICIENT_REFUNDABLE_FEE = -3


class FailedError(Exception):
    """The operation failed with a code of its own."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(slots=True)
class Outcome:
    """What a successful operation leaves."""

    value: bytes = b""
    """What its result carries."""
    returned: Val | None = None
    events: list[Event] = field(default_factory=list)
    rent: int = 0
    refundable: int = 0
    """What is used of the refundable fee: rent and events."""


@dataclass(slots=True)
class Scene:
    """Where one contract operation is applied."""

    data: SorobanData
    transaction_bytes: int
    network: Network
    moment: Moment
    diagnostics: Diagnostics
    refundable: int
    """What may be spent on rent and events."""

    def apply(self, body: ContractOperation, source: Address, layer: Layer) -> Outcome:
        """Apply the operation to the layer; raises :class:`FailedError`."""
        if isinstance(body, InvokeHostFunction):
            return self._invoke(body, source, layer)
        if isinstance(body, ExtendFootprintTtl):
            return self._extend(body, layer)
        return self._restore(layer)

    # Host functions

    def _invoke(self, body: InvokeHostFunction, source: Address, layer: Layer) -> Outcome:
        self._check_reads(layer)
        host = self._host(body, source, layer)
        try:
            returned = run(host, body.function, body.authorization)
        except HostError as problem:
            raise self._failed(problem, host) from None
        finally:
            for event, failed in host.events:
                self.diagnostics.encoded.append(event.diagnostic_xdr(succeeded=not failed))
        found = soroban.changes(host.storage, layer)
        emitted = host.events.emitted()
        self._check_written(found)
        size = sum(len(event.xdr) for event in emitted) + len(returned.xdr)
        self._check_events(size)
        rent = soroban.rent(found, self.network.settings, self.moment.sequence)
        used = self._spend(rent, size, InvokeCode.INSUFFICIENT_REFUNDABLE_FEE)
        soroban.apply_changes(found, layer)
        preimage = returned.xdr + array(event.xdr for event in emitted)
        return Outcome(sha256(preimage).digest(), returned, emitted, rent, used)

    def _host(self, body: InvokeHostFunction, source: Address, layer: Layer) -> Host:
        footprint = self.data.footprint
        access = {key.xdr: False for key in footprint.read_only}
        access.update({key.xdr: True for key in footprint.read_write})
        storage = Storage(
            layer, self.moment.sequence, self.network.settings, access, self._restorable()
        )
        storage.load_all()
        return Host(
            environment(self.network, self.moment),
            storage,
            source=source.demuxed(),
            authorization=body.authorization,
            instructions=self.data.instructions,
        )

    def _restorable(self) -> set[bytes]:
        read_write = self.data.footprint.read_write
        return {read_write[index].xdr for index in self.data.archived}

    def _failed(self, problem: HostError, host: Host) -> FailedError:
        if problem.type is not ErrorType.BUDGET:
            return FailedError(InvokeCode.TRAPPED)
        self._over(
            "operation instructions exceeds amount specified",
            host.budget.spent,
            self.data.instructions,
        )
        return FailedError(InvokeCode.RESOURCE_LIMIT_EXCEEDED)

    def _check_reads(self, layer: Layer) -> None:
        """What the footprint names is read before anything runs."""
        footprint = self.data.footprint
        restorable = self._restorable()
        read = 0
        for key in (*footprint.read_only, *footprint.read_write):
            stored = layer.stored(key.xdr)
            if stored is None:
                continue
            if has_ttl(key.xdr):
                if is_temporary(key.xdr) or self._is_alive(key.xdr, layer):
                    continue
                if key.xdr not in restorable:
                    self._refuse_archived(key)
                    raise FailedError(InvokeCode.ENTRY_ARCHIVED)
            read += soroban.entry_bytes(stored[0])
            if read > self.data.disk_read_bytes:
                text = "operation byte-read resources exceeds amount specified"
                self._over(text, read, self.data.disk_read_bytes)
                raise FailedError(InvokeCode.RESOURCE_LIMIT_EXCEEDED)

    def _is_alive(self, key: bytes, layer: Layer) -> bool:
        return live_until(layer, key) >= self.moment.sequence

    def _refuse_archived(self, key: LedgerKey) -> None:
        kind = "code" if key.data is None else "data"
        if key.owner is None or key.data is None:
            args = [bytes_val(key.xdr[4:])]
        else:
            args = [address_val(key.owner), key.data]
        text = f"trying to access an archived contract {kind} entry"
        self.diagnostics.error(ErrorType.VALUE, ErrorCode.INVALID_INPUT, text, *args)

    def _check_written(self, found: Iterable[soroban.Change]) -> None:
        for change in found:
            if change.writable and change.after is not None:
                self._check_entry(change.after)
        written = soroban.written_bytes(found)
        if written > self.data.write_bytes:
            text = "operation byte-write resources exceeds amount specified"
            self._over(text, written, self.data.write_bytes)
            raise FailedError(InvokeCode.RESOURCE_LIMIT_EXCEEDED)

    def _check_entry(self, entry: Entry) -> None:
        if isinstance(entry, ContractCode):
            text = "Wasm size exceeds network config maximum contract size"
            limit = self.network.settings.max_wasm_bytes
        elif isinstance(entry, ContractData):
            text = "ContractData size exceeds network config maximum size"
            limit = self.network.settings.max_data_entry_bytes
        else:
            return
        size = soroban.entry_bytes(entry)
        if size > limit:
            self._over(text, size, limit)
            raise FailedError(InvokeCode.RESOURCE_LIMIT_EXCEEDED)

    def _check_events(self, size: int) -> None:
        limit = self.network.settings.max_events_bytes
        if size > limit:
            self._over("total events size exceeds network config maximum", size, limit)
            raise FailedError(InvokeCode.RESOURCE_LIMIT_EXCEEDED)

    # Footprint operations

    def _extend(self, body: ExtendFootprintTtl, layer: Layer) -> Outcome:
        """Let what lives of the footprint live longer; the rest is passed over."""
        until = self.moment.sequence + body.extend_to
        rents = []
        for key in self.data.footprint.read_only:
            stored = layer.stored(key.xdr)
            current = live_until(layer, key.xdr)
            if stored is None or not self.moment.sequence <= current < until:
                continue
            rents.append(unchanged_rent(stored[0], current, until))
            layer.put(Ttl(key.xdr, until))
        return self._keep(rents)

    def _restore(self, layer: Layer) -> Outcome:
        """Bring back what is archived of the footprint; the rest is passed over."""
        settings = self.network.settings
        until = self.moment.sequence + settings.min_persistent_ttl - 1
        rents = []
        size = 0
        for key in self.data.footprint.read_write:
            stored = layer.stored(key.xdr)
            if stored is None or self._is_alive(key.xdr, layer):
                continue
            size += soroban.entry_bytes(stored[0])
            if size > min(self.data.disk_read_bytes, self.data.write_bytes):
                text = "operation byte-read resources exceeds amount specified"
                self._over(text, size, self.data.disk_read_bytes)
                raise FailedError(FootprintCode.RESOURCE_LIMIT_EXCEEDED)
            rents.append(unchanged_rent(stored[0], 0, until))
            layer.put(stored[0])
            layer.put(Ttl(key.xdr, until))
        return self._keep(rents)

    def _keep(self, rents: Iterable[RentChange]) -> Outcome:
        rent = rent_fee(rents, self.network.settings, self.moment.sequence)
        used = self._spend(rent, 0, FootprintCode.INSUFFICIENT_REFUNDABLE_FEE)
        return Outcome(rent=rent, refundable=used)

    # What all have in common

    def _spend(self, rent: int, events_bytes: int, code: int) -> int:
        declared = Resources.declared(self.data, self.transaction_bytes)
        used = replace(declared, events_bytes=events_bytes)
        total = rent + resource_fee(used, self.network.settings)[1]
        if total > self.refundable:
            text = (
                "refundable resource fee was not sufficient to cover the ledger storage rent: "
                "{} > {}"
            )
            self._over(text, total, self.refundable)
            raise FailedError(code)
        return total

    def _over(self, text: str, value: int, limit: int) -> None:
        self.diagnostics.error(ErrorType.BUDGET, ErrorCode.EXCEEDED_LIMIT, text, value, limit)


def unchanged_rent(entry: Entry, old_live_until: int, new_live_until: int) -> RentChange:
    """Rent for keeping an entry as it is; ``old_live_until`` 0: it comes out of the archive."""
    size = soroban.entry_bytes(entry)
    return RentChange(
        not is_temporary(entry.key),
        isinstance(entry, ContractCode),
        size if old_live_until else 0,
        size,
        old_live_until,
        new_live_until,
    )


def environment(network: Network, moment: Moment) -> Environment:
    return Environment(
        sequence=moment.sequence,
        close_time=moment.close_time,
        network_id=network.network_id,
        base_reserve=network.base_reserve,
        contracts=network.contracts,
        verify=network.verifier,
    )
