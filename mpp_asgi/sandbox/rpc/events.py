"""getEvents."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from stellar_sdk import StrKey

from mpp_asgi.sandbox.history import PlacedEvent, Position
from mpp_asgi.sandbox.host.events import EventKind
from mpp_asgi.sandbox.rpc.errors import invalid_params, invalid_request
from mpp_asgi.sandbox.rpc.params import Params, decode_base64, encode_base64
from mpp_asgi.sandbox.wire.stream import XdrError
from mpp_asgi.sandbox.wire.values import Val

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mpp_asgi.sandbox.rpc.node import Node

_MAX_FILTERS = 5
_MAX_CONTRACTS = 5
_MAX_TOPICS = 5
_MAX_SEGMENTS = 4
_DEFAULT_LIMIT = 100
_MAX_LIMIT = 10_000
_SCAN_LIMIT = 10_000
"""Ledgers one request looks through at most."""
_KINDS = {"contract": EventKind.CONTRACT, "system": EventKind.SYSTEM}
_KIND_NAMES = {kind: name for name, kind in _KINDS.items()}
_LAST_EVENT = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Topics:
    """A pattern of topics: values, or ``None`` for any one; ``open_end`` for any further ones."""

    segments: tuple[bytes | None, ...]
    open_end: bool

    def matches(self, placed: PlacedEvent) -> bool:
        topics = placed.event.topics
        if len(topics) < len(self.segments):
            return False
        if not self.open_end and len(topics) != len(self.segments):
            return False
        return all(
            wanted is None or wanted == topic.xdr
            for wanted, topic in zip(self.segments, topics, strict=False)
        )


@dataclass(frozen=True, slots=True)
class Filter:
    kinds: frozenset[EventKind]
    contracts: frozenset[bytes]
    topics: tuple[Topics, ...]

    def matches(self, placed: PlacedEvent) -> bool:
        event = placed.event
        if self.kinds and event.kind not in self.kinds:
            return False
        if self.contracts and (event.contract is None or event.contract.key not in self.contracts):
            return False
        return not self.topics or any(topics.matches(placed) for topics in self.topics)


def get_events(node: Node, params: Params) -> dict[str, Any]:
    params.require_base64_format()
    pagination = params.object("pagination")
    limit = pagination.number("limit")
    if limit > _MAX_LIMIT:
        raise invalid_params(f"limit must not exceed {_MAX_LIMIT}")
    limit = limit or _DEFAULT_LIMIT
    start, is_cursor = _start(params, pagination)
    filters = _filters(params)
    history = node.ledger.history
    latest = node.ledger.sequence
    if not history.oldest <= start.ledger <= latest:
        raise invalid_request(
            f"startLedger must be within the ledger range: {history.oldest} - {latest}"
        )
    end = min(latest + 1, start.ledger + _SCAN_LIMIT)
    wanted_end = params.number("endLedger")
    if wanted_end:
        end = min(end, wanted_end)
    found = []
    for placed in _between(node, start, end, exclusive=is_cursor):
        if not filters or any(f.matches(placed) for f in filters):
            found.append(placed)
            if len(found) == limit:
                break
    if len(found) == limit:
        cursor = found[-1].position.id
    else:
        cursor = Position(end - 1, 0xFFFFF, 0xFFF, _LAST_EVENT).id
    return {
        "events": [_describe(node, placed) for placed in found],
        "cursor": cursor,
        **node.span(),
    }


def _start(params: Params, pagination: Params) -> tuple[Position, bool]:
    cursor = pagination.text("cursor")
    start = params.number("startLedger")
    end = params.number("endLedger")
    if cursor:
        if start or end:
            raise invalid_params("ledger ranges and cursor cannot both be set")
        try:
            return Position.parse(cursor), True
        except ValueError:
            raise invalid_params(f"invalid event ID {cursor}") from None
    if not start:
        raise invalid_params("startLedger must be positive")
    return Position(start), False


def _between(node: Node, start: Position, end: int, *, exclusive: bool) -> Iterator[PlacedEvent]:
    for ledger in node.ledger.history.ledgers_from(start.ledger):
        if ledger.sequence >= end:
            return
        for placed in ledger.events:
            if placed.position > start or (not exclusive and placed.position == start):
                yield placed


def _filters(params: Params) -> list[Filter]:
    items = params.items("filters")
    if len(items) > _MAX_FILTERS:
        raise invalid_params(f"maximum {_MAX_FILTERS} filters per request")
    return [_filter(item, index) for index, item in enumerate(items, start=1)]


def _filter(item: Any, index: int) -> Filter:
    if not isinstance(item, dict):
        raise invalid_params(f"filter {index} invalid: it must be an object")
    params = Params(item)
    kinds = [part for part in params.text("type").split(",") if part]
    if any(kind not in _KINDS for kind in kinds):
        raise invalid_params(
            f"filter {index} invalid: filter type invalid: if set, type must be either "
            "'system' or 'contract'"
        )
    contracts = params.texts("contractIds")
    if len(contracts) > _MAX_CONTRACTS:
        raise invalid_params(f"filter {index} invalid: maximum 5 contract IDs per filter")
    for number, contract in enumerate(contracts, start=1):
        if not StrKey.is_valid_contract(contract):
            raise invalid_params(f"filter {index} invalid: contract ID {number} invalid")
    topics = params.items("topics")
    if len(topics) > _MAX_TOPICS:
        raise invalid_params(f"filter {index} invalid: maximum 5 topics per filter")
    return Filter(
        frozenset(_KINDS[kind] for kind in kinds),
        frozenset(StrKey.decode_contract(contract) for contract in contracts),
        tuple(_topics(topic, index) for topic in topics),
    )


def _topics(topic: Any, index: int) -> Topics:
    if not isinstance(topic, list) or not all(isinstance(part, str) for part in topic):
        raise invalid_params(f"filter {index} invalid: a topic must be a list of strings")
    open_end = bool(topic) and topic[-1] == "**"
    segments = topic[:-1] if open_end else topic
    if not topic:
        raise invalid_params(f"filter {index} invalid: topic must have at least one segment")
    if len(segments) > _MAX_SEGMENTS:
        raise invalid_params(f"filter {index} invalid: topic cannot have more than 4 segments")
    return Topics(tuple(_segment(part, index) for part in segments), open_end)


def _segment(part: str, index: int) -> bytes | None:
    if part == "*":
        return None
    if part == "**":
        raise invalid_params(
            f"filter {index} invalid: wildcard '**' is only allowed as the last segment"
        )
    try:
        return Val.parse(decode_base64(part)).xdr
    except (XdrError, ValueError):
        raise invalid_params(f"filter {index} invalid: topic segment invalid") from None


def _describe(node: Node, placed: PlacedEvent) -> dict[str, Any]:
    event = placed.event
    position = placed.position
    closed = node.ledger.history.close_time(position.ledger)
    return {
        "type": _KIND_NAMES[event.kind],
        "ledger": position.ledger,
        "ledgerClosedAt": datetime.fromtimestamp(closed, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "contractId": "" if event.contract is None else str(event.contract),
        "id": position.id,
        "operationIndex": position.operation,
        "transactionIndex": position.transaction,
        "inSuccessfulContractCall": True,
        "txHash": placed.transaction_hash.hex(),
        "topic": [encode_base64(topic.xdr) for topic in event.topics],
        "value": encode_base64(event.data.xdr),
    }
