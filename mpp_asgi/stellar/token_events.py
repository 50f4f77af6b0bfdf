"""What moved: the events that token contracts emit (SEP-41, CAP-67)."""

from __future__ import annotations

import base64
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stellar_sdk import StrKey, scval, xdr

from mpp_asgi.stellar.address import address_from_xdr
from mpp_asgi.stellar.inspection import XDR_ERRORS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_CONTRACT_EVENT: Final = 1
"""ContractEventType CONTRACT; the others are the host's own."""


class EventError(ValueError):
    """An event cannot be decoded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenEvent:
    """An event of a contract, read as a token's. What it does not say is ``None``."""

    contract: str
    """Who emitted it (``C…``)."""
    kind: str
    """The first topic: ``transfer``, ``mint``, ``burn``, ``clawback``, …; empty if no symbol."""
    sender: str | None
    """With ``transfer``, ``burn`` and ``clawback``."""
    recipient: str | None
    """With ``transfer`` and ``mint``."""
    amount: int | None
    """Base units."""


def simulated_events(events: Iterable[str]) -> tuple[TokenEvent, ...]:
    """The contract events that would take effect, from a simulation's DiagnosticEvents (base64).

    Raises:
        EventError: one of them is not a DiagnosticEvent.
    """
    found = []
    for event in events:
        raw = _bytes(event)
        # A diagnostic event is a flag, whether its call succeeded, before a contract event.
        if _is_contract_event(raw, offset=4) and raw[:4] != bytes(4):
            found.append(_token_event(raw[4:]))
    return tuple(found)


def ledger_events(events: Iterable[str]) -> tuple[TokenEvent, ...]:
    """The contract events among the ContractEvents (base64 XDR) of a transaction that succeeded.

    Raises:
        EventError: one of them is not a ContractEvent.
    """
    raw = [_bytes(event) for event in events]
    return tuple(_token_event(each) for each in raw if _is_contract_event(each, offset=0))


def meta_events(result_meta: str) -> tuple[TokenEvent, ...]:
    """The contract events in a TransactionMeta (base64 XDR, version 3 or 4), for nodes that do
    not list them.

    Raises:
        EventError: it is no such TransactionMeta.
    """
    try:
        meta = xdr.TransactionMeta.from_xdr(result_meta)
    except XDR_ERRORS:
        raise EventError("The transaction's metadata is not valid XDR.") from None
    events: Sequence[xdr.ContractEvent]
    if meta.v4 is not None:
        events = [event for operation in meta.v4.operations for event in operation.events]
    elif meta.v3 is not None:
        events = meta.v3.soroban_meta.events if meta.v3.soroban_meta else []
    else:
        raise EventError("The transaction's metadata is of a version without events.")
    return tuple(_read(event) for event in events if event.type == xdr.ContractEventType.CONTRACT)


def _bytes(event: str) -> bytes:
    try:
        return base64.b64decode(event, validate=True)
    except ValueError:
        raise EventError("An event is not base64.") from None


def _is_contract_event(raw: bytes, offset: int) -> bool:
    """Read the type alone: most events of a simulation are diagnostics, and decoding is slow.

    A ContractEvent starts with an extension point, an optional contract id and its type.
    """
    try:
        (has_contract,) = struct.unpack_from(">I", raw, offset + 4)
        (kind,) = struct.unpack_from(">i", raw, offset + (40 if has_contract else 8))
    except struct.error:
        raise EventError("An event is not valid XDR.") from None
    return bool(kind == _CONTRACT_EVENT)


def _token_event(raw: bytes) -> TokenEvent:
    try:
        return _read(xdr.ContractEvent.from_xdr_bytes(raw))
    except XDR_ERRORS:
        raise EventError("An event is not valid XDR.") from None


def _read(event: xdr.ContractEvent) -> TokenEvent:
    body = event.body.v0
    assert body is not None  # noqa: S101 - XDR knows no other version of an event
    topics = body.topics
    kind = _symbol(topics[0]) if topics else ""
    first = _address(topics[1]) if len(topics) > 1 else None
    second = _address(topics[2]) if len(topics) > 2 else None
    if kind == "mint":
        # SEP-41 has had an administrator before the recipient; CAP-67 has the recipient alone.
        first, second = None, second or first
    elif kind != "transfer":
        second = None
    return TokenEvent(
        contract=StrKey.encode_contract(event.contract_id.contract_id.hash)
        if event.contract_id
        else "",
        kind=kind,
        sender=first,
        recipient=second,
        amount=_amount(body.data),
    )


def _symbol(value: xdr.SCVal) -> str:
    return value.sym.sc_symbol.decode("ascii", "replace") if value.sym else ""


def _address(value: xdr.SCVal) -> str | None:
    return address_from_xdr(value.address) if value.address else None


def _amount(data: xdr.SCVal) -> int | None:
    """An i128, or a map with one under ``amount`` where the recipient is multiplexed."""
    if data.type == xdr.SCValType.SCV_I128:
        return scval.from_int128(data)
    for entry in data.map.sc_map if data.map else ():
        if _symbol(entry.key) == "amount" and entry.val.type == xdr.SCValType.SCV_I128:
            return scval.from_int128(entry.val)
    return None
