"""Transaction meta: the record of what a transaction did (``TransactionMeta`` v4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

from mpp_asgi.sandbox.wire.stream import ONE, ZERO, array, i64, optional, u32

if TYPE_CHECKING:
    from mpp_asgi.sandbox.host.events import Event
    from mpp_asgi.sandbox.wire.values import Val

_VERSION = u32(4)


class TxStage(IntEnum):
    """When a transaction's own event happened (``TransactionEventStage``)."""

    BEFORE_ALL = 0
    AFTER_TX = 1
    AFTER_ALL = 2


@dataclass(slots=True)
class OperationMeta:
    """What one operation changed and emitted."""

    changes: list[bytes] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    @property
    def xdr(self) -> bytes:
        return ZERO + array(self.changes) + array(event.xdr for event in self.events)


@dataclass(slots=True)
class SorobanMeta:
    """Fees a Soroban transaction was charged, stroops, and what it returned."""

    non_refundable: int
    refundable: int = 0
    rent: int = 0
    returned: Val | None = None

    @property
    def xdr(self) -> bytes:
        fees = ONE + ZERO + i64(self.non_refundable) + i64(self.refundable) + i64(self.rent)
        return fees + optional(None if self.returned is None else self.returned.xdr)


@dataclass(slots=True)
class Meta:
    """Everything a transaction did, in the order it did it."""

    before: list[bytes] = field(default_factory=list)
    operations: list[OperationMeta] = field(default_factory=list)
    after: list[bytes] = field(default_factory=list)
    soroban: SorobanMeta | None = None
    events: list[tuple[TxStage, Event]] = field(default_factory=list)
    """The transaction's own events: fees and refunds."""
    diagnostics: list[bytes] = field(default_factory=list)

    @property
    def transaction_events(self) -> list[bytes]:
        return [u32(stage) + event.xdr for stage, event in self.events]

    @property
    def xdr(self) -> bytes:
        return b"".join(
            (
                _VERSION,
                ZERO,
                array(self.before),
                array(operation.xdr for operation in self.operations),
                array(self.after),
                optional(None if self.soroban is None else self.soroban.xdr),
                array(self.transaction_events),
                array(self.diagnostics),
            )
        )
