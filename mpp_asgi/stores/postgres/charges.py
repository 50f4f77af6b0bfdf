"""What each call of a `PostgresStore` does to charges, and every statement it uses.

Each function is one statement, so it is atomic, and durable when it returns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mpp_asgi.stores.contract import Charge, Claim, Outcome, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mpp_asgi.stores.postgres.connection import Connection

PURGED_TOGETHER = 1000
"""Records in one transaction: it bounds how long others may have to wait for one of them."""

# The columns of a charge are the fields of `Charge`, in their order.
_FIND = """
    SELECT id, credential, state, keep_until, owner, reference, envelope, valid_until, payer,
           receipt, problem
    FROM charge WHERE id = $1
"""
_OPEN_CHARGES = """
    SELECT id, credential, state, keep_until, owner, reference, envelope, valid_until, payer,
           receipt, problem
    FROM charge
    WHERE unsettled
      AND NOT EXISTS (SELECT FROM heartbeat
                      WHERE heartbeat.owner = charge.owner AND alive_until > $1)
    ORDER BY keep_until, id LIMIT $2
"""
_CLAIM = """
    SELECT outcome, (kept).id, (kept).credential, (kept).state, (kept).keep_until, (kept).owner,
           (kept).reference, (kept).envelope, (kept).valid_until, (kept).payer, (kept).receipt,
           (kept).problem
    FROM claim_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
"""
_WRITE = """
    SELECT write_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
"""
_REPLACE = """
    UPDATE charge
    SET credential = $2, state = $3, keep_until = $4, owner = $5, reference = $6, envelope = $7,
        valid_until = $8, payer = $9, receipt = $10, problem = $11
    WHERE id = $1 AND owner = $12
    RETURNING true
"""
_RELEASE = "SELECT release_v1($1, $2)"
_HEARTBEAT = "SELECT heartbeat_v1($1, $2)"
_PURGE = "SELECT purge_v1($1, $2)"

_SECRET = "SELECT value FROM secret"  # noqa: S105 # a statement
_KEEP_SECRET = "INSERT INTO secret VALUES (true, $1) ON CONFLICT DO NOTHING"  # noqa: S105 # as above


async def secret(connection: Connection, candidate: str) -> str:
    """The store's secret; from now on ``candidate``, if it had none."""
    found = await connection.fetchval(_SECRET)
    if found is None:
        await connection.execute(_KEEP_SECRET, candidate)
        found = await connection.fetchval(_SECRET)  # another process may have been first
    return str(found)


async def claim(connection: Connection, charge: Charge, proofs: Sequence[str], now: int) -> Claim:
    """As `Store.claim`."""
    row = await connection.fetchrow(_CLAIM, *charge, sorted(set(proofs)), now)
    assert row is not None  # noqa: S101 # the function returns one
    outcome, *found = row
    return Claim(_OUTCOMES[outcome], None if found[0] is None else _charge(found))


async def write(connection: Connection, charge: Charge, proofs: Sequence[str], owner: str) -> bool:
    """As `Store.write`; whether ``owner`` owns it and every proof."""
    if proofs:
        return bool(await connection.fetchval(_WRITE, *charge, sorted(set(proofs)), owner))
    return await connection.fetchval(_REPLACE, *charge, owner) is not None


async def release(connection: Connection, charge_id: str, owner: str) -> None:
    """As `Store.release`."""
    await connection.execute(_RELEASE, charge_id, owner)


async def find(connection: Connection, charge_id: str) -> Charge | None:
    """As `Store.get`."""
    row = await connection.fetchrow(_FIND, charge_id)
    return None if row is None else _charge(row)


async def open_charges(connection: Connection, now: int, limit: int) -> list[Charge]:
    """As `Store.open_charges`."""
    return [_charge(row) for row in await connection.fetch(_OPEN_CHARGES, now, limit)]


async def heartbeat(connection: Connection, owner: str, alive_until: int) -> None:
    """As `Store.heartbeat`."""
    await connection.execute(_HEARTBEAT, owner, alive_until)


async def purge(connection: Connection, now: int, limit: int) -> int:
    """As `Store.purge`, for a limit of `PURGED_TOGETHER` at most."""
    return int(await connection.fetchval(_PURGE, now, limit))


def _charge(row: Iterable[Any]) -> Charge:
    found = Charge._make(row)
    return found._replace(state=_STATES[found.state])


_OUTCOMES = {outcome.value: outcome for outcome in Outcome}
_STATES = {state.value: state for state in State}
