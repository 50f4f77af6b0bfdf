"""Writing down a ledger that closed: its transactions and events as they are kept."""

from __future__ import annotations

from hashlib import sha256
from itertools import count
from typing import TYPE_CHECKING

from mpp_asgi.sandbox.history import (
    FEES_AFTER,
    FEES_BEFORE,
    AppliedTransaction,
    ClosedLedger,
    PlacedEvent,
    Position,
)
from mpp_asgi.sandbox.meta import TxStage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mpp_asgi.sandbox.application import Application
    from mpp_asgi.sandbox.header import Header
    from mpp_asgi.sandbox.network import Moment


def closed_ledger(
    header: Header,
    *,
    transactions: tuple[AppliedTransaction, ...] = (),
    events: tuple[PlacedEvent, ...] = (),
    evicted: tuple[bytes, ...] = (),
) -> ClosedLedger:
    encoded = header.xdr
    return ClosedLedger(
        sequence=header.sequence,
        close_time=header.close_time,
        hash=sha256(encoded).digest(),
        header=encoded,
        previous_hash=header.previous_hash,
        transactions=transactions,
        events=events,
        evicted=evicted,
    )


def applied_transaction(application: Application, moment: Moment, order: int) -> AppliedTransaction:
    frame = application.frame
    meta = application.meta
    return AppliedTransaction(
        hash=frame.hash,
        inner_hash=frame.inner_hash,
        ledger=moment.sequence,
        close_time=moment.close_time,
        order=order,
        is_fee_bump=frame.is_fee_bump,
        is_soroban=frame.is_soroban,
        succeeded=application.result.succeeded,
        inclusion_fee=application.base_fee,  # nobody is taken who bids less
        envelope=frame.envelope.xdr,
        result=application.result.xdr,
        meta=meta.xdr,
        fee_changes=tuple(application.fee_changes),
        refund_changes=tuple(application.refund_changes),
        transaction_events=tuple(meta.transaction_events),
        contract_events=tuple(
            tuple(event.xdr for event in operation.events) for operation in meta.operations
        ),
        diagnostics=tuple(meta.diagnostics),
    )


def placed_events(applications: Sequence[Application], ledger: int) -> list[PlacedEvent]:
    """Events in the order RPC gives them: fees, then each transaction's own, then refunds."""
    found = [*_operation_events(applications, ledger), *_transaction_events(applications, ledger)]
    return sorted(found, key=lambda placed: placed.position)


def _operation_events(applications: Sequence[Application], ledger: int) -> Iterator[PlacedEvent]:
    for order, application in enumerate(applications, start=1):
        for index, operation in enumerate(application.meta.operations):
            for number, event in enumerate(operation.events):
                position = Position(ledger, order, index, number)
                yield PlacedEvent(position, event, application.frame.hash)


def _transaction_events(applications: Sequence[Application], ledger: int) -> Iterator[PlacedEvent]:
    """Fees and refunds: counted through the ledger, not by transaction."""
    places = {TxStage.BEFORE_ALL: (FEES_BEFORE, count()), TxStage.AFTER_ALL: (FEES_AFTER, count())}
    for application in applications:
        for stage, event in application.meta.events:
            place, number = places[stage]
            position = Position(ledger, place, 0, next(number))
            yield PlacedEvent(position, event, application.frame.hash)
