"""What each call of a `PostgresStore` does to channels and leases, and every statement it uses.

Each statement applies the rules of `mpp_asgi.stores.channel_ruling` to the row as it is when its
turn comes, so it is atomic, and durable when it returns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from mpp_asgi.stores import channel_ruling
from mpp_asgi.stores.channels import (
    LEASE_SLACK_SECONDS,
    RECENT_LENGTH,
    Channel,
    ChannelStatus,
    Close,
    CloseOutcome,
    LedgerFacts,
    Return,
    Spend,
    SpendOutcome,
    SpendTerms,
    in_order,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from mpp_asgi.stores.postgres.connection import Connection


def _with_fields(statement: str) -> str:
    """A statement with the columns of a channel, which are the fields of `Channel`, in their order:
    FIELDS as they are, KEPT of what a function returned, FOUND of the row that was found."""
    fields = Channel._fields
    kept = ", ".join(f"(kept).{name}" for name in fields)
    found = ", ".join(f"channel.{name}" for name in fields)
    statement = statement.replace("KEPT", kept).replace("FOUND", found)
    return statement.replace("FIELDS", ", ".join(fields))


_FIND = _with_fields("SELECT FIELDS FROM channel WHERE id = $1")
_FIND_NEWER = _with_fields("SELECT FIELDS FROM channel WHERE id = $1 AND seen_ledger > $2")
_SPEND = _with_fields("SELECT outcome, KEPT FROM spend_v2($1, $2, $3, $4, $5, $6, $7, $8, $9)")
_PUBLISH = "UPDATE channel SET published = $2 WHERE id = $1 AND published < $2"
_GIVE_BACK = """
    UPDATE channel
    SET spent = CASE WHEN WAS_SPENT THEN greatest(0, spent - $2) ELSE spent END,
        units = CASE WHEN WAS_SPENT THEN greatest(0, units - $3) ELSE units END,
        recent = CASE WHEN $4 = '' THEN recent
                      WHEN position('+' || $4 IN recent) > 0
                          THEN replace(recent, '+' || $4, '-' || $4)
                      ELSE right(recent || '-' || $4, RECENT_LENGTH) END
    WHERE id = $1 AND ($4 = '' OR position('-' || $4 IN recent) = 0)
""".replace("WAS_SPENT", "$5 OR $4 <> '' AND position('+' || $4 IN recent) > 0").replace(
    "RECENT_LENGTH", str(RECENT_LENGTH)
)
# As `channel_ruling.observed`.
_TAKE_FACTS = """
    deposited = facts.deposited, settled = facts.settled, seen_ledger = facts.seen_ledger,
    closes_at = facts.closes_at,
    accepted = greatest(channel.accepted, facts.settled),
    signature = CASE WHEN facts.settled > channel.accepted THEN '' ELSE channel.signature END,
    published = greatest(channel.published, facts.settled),
    spent = channel.spent + greatest(0, facts.settled - channel.accepted),
    settled_units = CASE WHEN facts.settled > channel.settled
                         THEN channel.units ELSE channel.settled_units END,
    settled_at = CASE WHEN facts.settled > channel.settled
                      THEN facts.opened_at ELSE channel.settled_at END,
    status = CASE WHEN facts.status = 'closed' THEN 'closed' ELSE channel.status END,
    used_at = CASE WHEN facts.status = 'closed' AND channel.status <> 'closed'
                   THEN facts.opened_at ELSE channel.used_at END
"""
_ADD = _with_fields(
    """
    INSERT INTO channel (FIELDS) VALUES (PLACES)
    ON CONFLICT (id) DO UPDATE SET TAKE_FACTS WHERE channel.seen_ledger <= excluded.seen_ledger
    RETURNING FIELDS
    """.replace("PLACES", ", ".join(f"${n + 1}" for n in range(len(Channel._fields)))).replace(
        "TAKE_FACTS", _TAKE_FACTS.replace("facts.", "excluded.")
    )
)
_OBSERVE = _with_fields(
    """
    UPDATE channel SET TAKE_FACTS
    FROM (VALUES ($2::bigint, $3::numeric, $4::numeric, $5::bigint,
                  CASE WHEN $6::boolean THEN 'closed' END, $7::bigint))
        AS facts (seen_ledger, deposited, settled, closes_at, status, opened_at)
    WHERE id = $1 AND channel.seen_ledger <= facts.seen_ledger
    RETURNING FOUND
    """.replace("TAKE_FACTS", _TAKE_FACTS)
)
_BEGIN_CLOSE = _with_fields("""
    UPDATE channel
    SET status = 'closing', closing_amount = $2, closing_signature = $3, used_at = $4
    WHERE id = $1 AND status <> 'closed' AND spent = $2
    RETURNING FIELDS
""")
_CANCEL_CLOSE = """
    UPDATE channel SET status = 'open', closing_amount = NULL, closing_signature = ''
    WHERE id = $1 AND status = 'closing' AND closing_amount = $2
"""
# Each status has a part of the index that is in order.
_PAGE = _with_fields("""
    SELECT FOUND
    FROM unnest($3::text[]) AS wanted (status), LATERAL (
        SELECT * FROM channel WHERE channel.status = wanted.status COLLATE "C" AND id > $2
        ORDER BY id LIMIT $1
    ) AS channel
    ORDER BY id LIMIT $1
""")
_FORGET = """
    WITH gone AS (
        DELETE FROM channel WHERE id = ANY (ARRAY (
            SELECT id FROM channel WHERE unused_since < $1
            ORDER BY unused_since, id LIMIT $2 FOR UPDATE SKIP LOCKED
        )) RETURNING 1
    )
    SELECT count(*) FROM gone
"""

_LEASE = """
    INSERT INTO lease (name, owner, until) VALUES ($1, $2, $3)
    ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until
    WHERE lease.owner = excluded.owner OR lease.until NOT BETWEEN $4 AND $5
    RETURNING true
"""
_RELEASE_LEASE = "DELETE FROM lease WHERE name = $1 AND owner = $2"


async def add(connection: Connection, channel: Channel) -> Channel:
    """As `ChannelStore.add_channel`."""
    new = channel_ruling.added(channel)
    while True:
        row = await connection.fetchrow(_ADD, *new)
        if row is None:  # it is there, with newer facts; or was, until a moment ago
            row = await connection.fetchrow(_FIND_NEWER, new.id, new.seen_ledger)
        if row is not None:
            return _channel(row)


async def find(connection: Connection, channel_id: str) -> Channel | None:
    """As `ChannelStore.channel`."""
    return _found(await connection.fetchrow(_FIND, channel_id))


async def spend(connection: Connection, channel_id: str, **terms: Unpack[SpendTerms]) -> Spend:
    """As `ChannelStore.spend`."""
    row = await connection.fetchrow(_SPEND, channel_id, *in_order(SpendTerms, terms))
    assert row is not None  # noqa: S101 # the function returns one
    outcome, *found = row
    return Spend(_OUTCOMES[outcome], None if found[0] is None else _channel(found))


async def publish(connection: Connection, channel_id: str, amount: int) -> None:
    """As `ChannelStore.publish`."""
    await connection.execute(_PUBLISH, channel_id, amount)


async def give_back(connection: Connection, channel_id: str, **what: Unpack[Return]) -> None:
    """As `ChannelStore.give_back`."""
    await connection.execute(_GIVE_BACK, channel_id, *in_order(Return, what))


async def observe(
    connection: Connection, channel_id: str, **facts: Unpack[LedgerFacts]
) -> Channel | None:
    """As `ChannelStore.observe`."""
    row = await connection.fetchrow(_OBSERVE, channel_id, *in_order(LedgerFacts, facts))
    if row is None:
        row = await connection.fetchrow(_FIND_NEWER, channel_id, facts["ledger"])
    return _found(row)


async def begin_close(
    connection: Connection, channel_id: str, *, amount: int, signature: str, now: int
) -> Close:
    """As `ChannelStore.begin_close`."""
    while True:
        row = await connection.fetchrow(_BEGIN_CLOSE, channel_id, amount, signature, now)
        if row is not None:
            return Close(CloseOutcome.BEGUN, _channel(row))
        found = await find(connection, channel_id)
        if found is None:
            return Close(CloseOutcome.UNKNOWN, None)
        ruling = channel_ruling.begun_to_close(found, amount=amount, signature=signature, now=now)
        if ruling.outcome is not CloseOutcome.BEGUN:  # else it has changed since
            return ruling


async def cancel_close(connection: Connection, channel_id: str, amount: int) -> None:
    """As `ChannelStore.cancel_close`."""
    await connection.execute(_CANCEL_CLOSE, channel_id, amount)


async def page(
    connection: Connection, limit: int, after: str, statuses: Collection[ChannelStatus]
) -> list[Channel]:
    """As `ChannelStore.channels`."""
    wanted = sorted({status.value for status in statuses})
    return [_channel(row) for row in await connection.fetch(_PAGE, limit, after, wanted)]


async def forget(connection: Connection, used_before: int, limit: int) -> int:
    """As `ChannelStore.forget_channels`."""
    return int(await connection.fetchval(_FORGET, used_before, limit))


async def lease(connection: Connection, name: str, owner: str, until: int, now: int) -> bool:
    """As `ChannelStore.lease`."""
    taken = (now + 1, until + LEASE_SLACK_SECONDS)
    return await connection.fetchval(_LEASE, name, owner, until, *taken) is not None


async def release_lease(connection: Connection, name: str, owner: str) -> None:
    """As `ChannelStore.release_lease`."""
    await connection.execute(_RELEASE_LEASE, name, owner)


def _found(row: Iterable[Any] | None) -> Channel | None:
    return None if row is None else _channel(row)


def _channel(row: Iterable[Any]) -> Channel:
    """The driver gives amounts as whole decimals."""
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


_OUTCOMES = {outcome.value: outcome for outcome in SpendOutcome}
_STATUSES = {status.value: status for status in ChannelStatus}
