"""A ledger's standing as bytes, and back.

All of it is XDR: what the network has a type for as that type, the rest field by field in the
order in which it is written here. Whoever changes that raises ``snapshot.VERSION``.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from mpp_asgi.sandbox.header import Header
from mpp_asgi.sandbox.history import (
    AppliedTransaction,
    ClosedLedger,
    History,
    PlacedEvent,
    Position,
    Stretch,
)
from mpp_asgi.sandbox.host.events import Event, EventKind
from mpp_asgi.sandbox.standing import Standing
from mpp_asgi.sandbox.wire.entries import Ttl
from mpp_asgi.sandbox.wire.stored import read_entry
from mpp_asgi.sandbox.wire.stream import Reader, XdrError, array, boolean, i64, opaque, u32, u64
from mpp_asgi.sandbox.wire.values import Address, Val

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mpp_asgi.sandbox.state import Stored

_SECONDS = Struct(">d")
_TTL, _ENTRY = 0, 1


def encode(standing: Standing) -> bytes:
    """The standing as bytes; in another thread than the ledger's, if need be."""
    header = standing.header
    return b"".join(
        (
            u32(header.sequence),
            u64(header.close_time),
            header.previous_hash,
            header.transaction_set_hash,
            header.result_hash,
            header.state_hash,
            i64(header.fee_pool),
            array(_entry(stored) for stored in standing.entries.values()),
            _history(standing.history),
        )
    )


def read(reader: Reader) -> Standing:
    """What :func:`encode` wrote. Raises ``XdrError``."""
    header = Header(
        sequence=reader.u32(),
        close_time=reader.u64(),
        previous_hash=reader.fixed(32),
        transaction_set_hash=reader.fixed(32),
        result_hash=reader.fixed(32),
        state_hash=reader.fixed(32),
        fee_pool=reader.i64(),
    )
    entries = reader.array(lambda: _read_entry(reader))
    by_key = {stored[0].key: stored for stored in entries}
    return Standing(header, by_key, _read_history(reader))


def _entry(stored: Stored) -> bytes:
    entry, modified = stored
    if isinstance(entry, Ttl):
        return u32(_TTL) + u32(modified) + opaque(entry.of) + u32(entry.live_until)
    return u32(_ENTRY) + u32(modified) + opaque(entry.data)


def _read_entry(reader: Reader) -> Stored:
    kind, modified = reader.u32(), reader.u32()
    if kind == _TTL:
        return Ttl(reader.opaque(), reader.u32()), modified
    return read_entry(reader.opaque()), modified


def _history(history: History) -> bytes:
    stretches = (
        u32(each.first) + _SECONDS.pack(each.time) + _SECONDS.pack(each.step)
        for each in history.stretches
    )
    return b"".join(
        (
            u32(history.oldest),
            u32(history.retention),
            array(stretches),
            array(_closed(ledger) for ledger in history.ledgers_from(0)),
            _closed(history.latest),
        )
    )


def _read_history(reader: Reader) -> History:
    oldest, retention = reader.u32(), reader.u32()
    stretches = reader.array(lambda: _read_stretch(reader))
    closed = reader.array(lambda: _read_closed(reader))
    return History.of(oldest, retention, stretches, closed, _read_closed(reader))


def _read_stretch(reader: Reader) -> Stretch:
    return Stretch(reader.u32(), _read_seconds(reader), _read_seconds(reader))


def _read_seconds(reader: Reader) -> float:
    (seconds,) = _SECONDS.unpack(reader.fixed(8))
    return float(seconds)


def _closed(ledger: ClosedLedger) -> bytes:
    return b"".join(
        (
            u32(ledger.sequence),
            u64(ledger.close_time),
            ledger.hash,
            opaque(ledger.header),
            ledger.previous_hash,
            array(_transaction(transaction) for transaction in ledger.transactions),
            array(_placed(event) for event in ledger.events),
            _opaques(ledger.evicted),
        )
    )


def _read_closed(reader: Reader) -> ClosedLedger:
    return ClosedLedger(
        sequence=reader.u32(),
        close_time=reader.u64(),
        hash=reader.fixed(32),
        header=reader.opaque(),
        previous_hash=reader.fixed(32),
        transactions=reader.array(lambda: _read_transaction(reader)),
        events=reader.array(lambda: _read_placed(reader)),
        evicted=_read_opaques(reader),
    )


def _transaction(applied: AppliedTransaction) -> bytes:
    return b"".join(
        (
            applied.hash,
            applied.inner_hash,
            u32(applied.ledger),
            u64(applied.close_time),
            u32(applied.order),
            boolean(applied.is_fee_bump),
            boolean(applied.is_soroban),
            boolean(applied.succeeded),
            i64(applied.inclusion_fee),
            opaque(applied.envelope),
            opaque(applied.result),
            opaque(applied.meta),
            _opaques(applied.fee_changes),
            _opaques(applied.refund_changes),
            _opaques(applied.transaction_events),
            array(_opaques(events) for events in applied.contract_events),
            _opaques(applied.diagnostics),
        )
    )


def _read_transaction(reader: Reader) -> AppliedTransaction:
    return AppliedTransaction(
        hash=reader.fixed(32),
        inner_hash=reader.fixed(32),
        ledger=reader.u32(),
        close_time=reader.u64(),
        order=reader.u32(),
        is_fee_bump=reader.boolean(),
        is_soroban=reader.boolean(),
        succeeded=reader.boolean(),
        inclusion_fee=reader.i64(),
        envelope=reader.opaque(),
        result=reader.opaque(),
        meta=reader.opaque(),
        fee_changes=_read_opaques(reader),
        refund_changes=_read_opaques(reader),
        transaction_events=_read_opaques(reader),
        contract_events=reader.array(lambda: _read_opaques(reader)),
        diagnostics=_read_opaques(reader),
    )


def _placed(placed: PlacedEvent) -> bytes:
    at = placed.position
    position = u32(at.ledger) + u32(at.transaction) + u32(at.operation) + u32(at.event)
    return position + placed.transaction_hash + placed.event.xdr


def _read_placed(reader: Reader) -> PlacedEvent:
    position = Position(reader.u32(), reader.u32(), reader.u32(), reader.u32())
    transaction_hash = reader.fixed(32)
    return PlacedEvent(position, _read_event(reader), transaction_hash)


def _read_event(reader: Reader) -> Event:
    reader.extension()
    contract = reader.optional(lambda: Address.contract(reader.fixed(32)))
    try:
        kind = EventKind(reader.u32())
    except ValueError as error:
        raise XdrError(str(error)) from None
    reader.extension()
    topics = reader.array(lambda: Val.read(reader))
    return Event(kind, contract, topics, Val.read(reader))


def _opaques(items: Iterable[bytes]) -> bytes:
    return array(opaque(item) for item in items)


def _read_opaques(reader: Reader) -> tuple[bytes, ...]:
    return reader.array(reader.opaque)
