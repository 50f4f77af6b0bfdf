"""What each call of a `SqliteStore` does to channels and leases inside its transaction, and every
statement it uses.

The functions take a connection with a transaction open; raising undoes what they did.
"""

from __future__ import annotations

import heapq
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from mpp_asgi.stores import channel_ruling
from mpp_asgi.stores.channels import (
    LEASE_SLACK_SECONDS,
    Channel,
    ChannelStatus,
    Close,
    CloseOutcome,
    Spend,
    SpendOutcome,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from sqlite3 import Connection

# The columns of a channel are the fields of `Channel`, in their order.
_INSERT = """
    INSERT INTO channel (id, key, funder, recipient, token, waiting_period, deposited, settled,
                         seen_ledger, opened_at, closes_at, accepted, signature, published,
                         spent, units, settled_units, status, closing_amount,
                         closing_signature, used_at, settled_at, recent)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_FIND = """
    SELECT id, key, funder, recipient, token, waiting_period, deposited, settled, seen_ledger,
           opened_at, closes_at, accepted, signature, published, spent, units, settled_units,
           status, closing_amount, closing_signature, used_at, settled_at, recent
    FROM channel WHERE id = ?
"""
_PAGE = """
    SELECT id, key, funder, recipient, token, waiting_period, deposited, settled, seen_ledger,
           opened_at, closes_at, accepted, signature, published, spent, units, settled_units,
           status, closing_amount, closing_signature, used_at, settled_at, recent
    FROM channel WHERE status = ? AND id > ? ORDER BY id LIMIT ?
"""
_KEEP_SPENDING = """
    UPDATE channel
    SET accepted = ?, signature = ?, spent = ?, units = ?, used_at = ?, recent = ?
    WHERE id = ?
"""
_KEEP = """
    UPDATE channel
    SET deposited = ?, settled = ?, seen_ledger = ?, closes_at = ?, accepted = ?, signature = ?,
        published = ?, spent = ?, units = ?, settled_units = ?, status = ?, closing_amount = ?,
        closing_signature = ?, used_at = ?, settled_at = ?
    WHERE id = ?
"""
_FORGET = """
    DELETE FROM channel
    WHERE id IN (SELECT id FROM channel WHERE status = 'closed' AND used_at < ?
                 ORDER BY used_at, id LIMIT ?)
"""

_LEASE = """
    INSERT INTO lease (name, owner, until) VALUES (?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until
    WHERE owner = excluded.owner OR until NOT BETWEEN ? AND ?
"""
_PURGE_LEASES = "DELETE FROM lease WHERE until <= ?"
_RELEASE_LEASE = "DELETE FROM lease WHERE name = ? AND owner = ?"


def add(connection: Connection, channel: Channel) -> Channel:
    """As `ChannelStore.add_channel`."""
    found = find(connection, channel.id)
    if found is not None:
        return _keep(connection, found, channel_ruling.added_again(found, channel))
    new = channel_ruling.added(channel)
    connection.execute(_INSERT, _row(new))
    return new


def find(connection: Connection, channel_id: str) -> Channel | None:
    """As `ChannelStore.channel`."""
    row = connection.execute(_FIND, (channel_id,)).fetchone()
    return None if row is None else _channel(row)


def spend(connection: Connection, channel_id: str, rule: Callable[[Channel], Spend]) -> Spend:
    """As `ChannelStore.spend`, by ``rule``."""
    found = find(connection, channel_id)
    if found is None:
        return Spend(SpendOutcome.UNKNOWN, None)
    spend = rule(found)
    if spend.channel is not None and spend.channel is not found:
        _keep_spending(connection, spend.channel)
    return spend


def give_back(connection: Connection, channel_id: str, rule: Callable[[Channel], Channel]) -> None:
    """As `ChannelStore.give_back`, by ``rule``."""
    found = find(connection, channel_id)
    if found is not None:
        _keep_spending(connection, rule(found))


def change(
    connection: Connection, channel_id: str, rule: Callable[[Channel], Channel]
) -> Channel | None:
    """Make of the record what ``rule`` makes of it; return that, ``None`` if there is no record."""
    found = find(connection, channel_id)
    return None if found is None else _keep(connection, found, rule(found))


def begin_close(connection: Connection, channel_id: str, rule: Callable[[Channel], Close]) -> Close:
    """As `ChannelStore.begin_close`, by ``rule``."""
    found = find(connection, channel_id)
    if found is None:
        return Close(CloseOutcome.UNKNOWN, None)
    close = rule(found)
    if close.channel is not None:
        _keep(connection, found, close.channel)
    return close


def page(
    connection: Connection, limit: int, after: str, statuses: Collection[ChannelStatus]
) -> list[Channel]:
    """As `ChannelStore.channels`."""
    by_status = (
        [_channel(row) for row in connection.execute(_PAGE, (status.value, after, limit))]
        for status in set(statuses)
    )
    return list(islice(heapq.merge(*by_status, key=attrgetter("id")), limit))


def forget(connection: Connection, used_before: int, limit: int) -> int:
    """As `ChannelStore.forget_channels`."""
    return connection.execute(_FORGET, (used_before, limit)).rowcount


def lease(connection: Connection, name: str, owner: str, until: int, now: int) -> bool:
    """As `ChannelStore.lease`."""
    taken = (now + 1, until + LEASE_SLACK_SECONDS)
    return connection.execute(_LEASE, (name, owner, until, *taken)).rowcount == 1


def release_lease(connection: Connection, name: str, owner: str) -> None:
    """As `ChannelStore.release_lease`."""
    connection.execute(_RELEASE_LEASE, (name, owner))


def purge_leases(connection: Connection, now: int) -> None:
    """As `Store.purge`."""
    connection.execute(_PURGE_LEASES, (now,))


def _keep(connection: Connection, found: Channel, channel: Channel) -> Channel:
    if channel is not found:
        connection.execute(
            _KEEP,
            (
                str(channel.deposited),
                str(channel.settled),
                channel.seen_ledger,
                channel.closes_at,
                str(channel.accepted),
                channel.signature,
                str(channel.published),
                str(channel.spent),
                channel.units,
                channel.settled_units,
                channel.status.value,
                _text(channel.closing_amount),
                channel.closing_signature,
                channel.used_at,
                channel.settled_at,
                channel.id,
            ),
        )
    return channel


def _keep_spending(connection: Connection, channel: Channel) -> None:
    """What spending may change; no index has to be written for it."""
    connection.execute(
        _KEEP_SPENDING,
        (
            str(channel.accepted),
            channel.signature,
            str(channel.spent),
            channel.units,
            channel.used_at,
            channel.recent,
            channel.id,
        ),
    )


def _row(channel: Channel) -> tuple[Any, ...]:
    texts: dict[str, Any] = {
        "deposited": str(channel.deposited),
        "settled": str(channel.settled),
        "accepted": str(channel.accepted),
        "published": str(channel.published),
        "spent": str(channel.spent),
        "closing_amount": _text(channel.closing_amount),
    }
    return channel._replace(**texts)


def _channel(row: tuple[Any, ...]) -> Channel:
    found = Channel._make(row)
    closing_amount = found.closing_amount
    return found._replace(
        deposited=int(found.deposited),
        settled=int(found.settled),
        accepted=int(found.accepted),
        published=int(found.published),
        spent=int(found.spent),
        status=_STATUSES[found.status],
        closing_amount=None if closing_amount is None else int(closing_amount),
    )


def _text(amount: int | None) -> str | None:
    return None if amount is None else str(amount)


_STATUSES = {status.value: status for status in ChannelStatus}
