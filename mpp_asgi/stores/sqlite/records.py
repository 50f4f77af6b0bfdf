"""What each call of a `SqliteStore` does inside its transaction, and every statement it uses.

The functions take a connection with a transaction open; raising undoes what they did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mpp_asgi.stores.contract import Charge, Claim, Outcome, OwnershipLostError, State
from mpp_asgi.stores.ruling import rule
from mpp_asgi.stores.sqlite import channels

if TYPE_CHECKING:
    from collections.abc import Sequence
    from sqlite3 import Connection

# The columns of a charge are the fields of `Charge`, in their order, but for its envelope.
_INSERT = """
    INSERT INTO charge (id, credential, state, keep_until, owner, reference, valid_until, payer,
                        receipt, problem)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_FIND = """
    SELECT id, credential, state, keep_until, owner, reference, envelope.value, valid_until, payer,
           receipt, problem
    FROM charge LEFT JOIN envelope ON envelope.charge_id = charge.id
    WHERE id = ?
"""
_OPEN_CHARGES = """
    SELECT id, credential, state, keep_until, owner, reference, envelope.value, valid_until, payer,
           receipt, problem
    FROM charge LEFT JOIN envelope ON envelope.charge_id = charge.id
    WHERE state IN ('claimed', 'submitted')
      AND NOT EXISTS (SELECT 1 FROM heartbeat
                      WHERE heartbeat.owner = charge.owner AND alive_until > ?)
    ORDER BY keep_until, id LIMIT ?
"""
# Not the id, though it stays the same: SQLite would write its indexes anew and look for whatever
# refers to it.
_REPLACE = """
    UPDATE charge
    SET credential = ?, state = ?, keep_until = ?, owner = ?, reference = ?,
        valid_until = ?, payer = ?, receipt = ?, problem = ?
    WHERE id = ? AND owner = ?
"""
_TAKE_OVER = "UPDATE charge SET owner = ? WHERE id = ?"
_RELEASE = "DELETE FROM charge WHERE id = ? AND owner = ? AND state = 'claimed'"
_PURGE = """
    DELETE FROM charge
    WHERE id IN (SELECT id FROM charge WHERE keep_until <= ? ORDER BY keep_until LIMIT ?)
"""

_KEEP_ENVELOPE = """
    INSERT INTO envelope (charge_id, value) VALUES (?, ?)
    ON CONFLICT (charge_id) DO UPDATE SET value = excluded.value WHERE value <> excluded.value
"""
_DROP_ENVELOPE = "DELETE FROM envelope WHERE charge_id = ?"

_ADD_PROOF = "INSERT INTO proof (key, charge_id) VALUES (?, ?) ON CONFLICT (key) DO NOTHING"
_FOREIGN_PROOF = "SELECT 1 FROM proof WHERE key = ? AND charge_id <> ?"

_LIVES = "SELECT 1 FROM heartbeat WHERE owner = ? AND alive_until > ?"
_HEARTBEAT = """
    INSERT INTO heartbeat (owner, alive_until) VALUES (?, ?)
    ON CONFLICT (owner) DO UPDATE SET alive_until = excluded.alive_until
"""
_PURGE_HEARTBEATS = "DELETE FROM heartbeat WHERE alive_until <= ?"

_SECRET = "SELECT value FROM secret"  # noqa: S105 # a statement
_KEEP_SECRET = "INSERT INTO secret (one, value) VALUES (1, ?)"  # noqa: S105 # a statement


def is_forced(charge: Charge) -> bool:
    """Whether a charge must be on the disk as it is now before anything follows. It need not, where
    a power cut sets it back to what is found out anew: nothing was submitted, or what was written
    before that was leads to the transaction on the ledger."""
    return charge.state not in _FOUND_OUT_ANEW


def secret(connection: Connection, candidate: str) -> str:
    """The store's secret; from now on ``candidate``, if it had none."""
    row = connection.execute(_SECRET).fetchone()
    if row is not None:
        return str(row[0])
    connection.execute(_KEEP_SECRET, (candidate,))
    return candidate


def claim(connection: Connection, charge: Charge, proofs: Sequence[str], now: int) -> Claim:
    """As `Store.claim`."""
    if _conflicts(connection, charge.id, proofs):
        return Claim(Outcome.CONFLICT, None)
    found = find(connection, charge.id)
    if found is None:
        connection.execute(_INSERT, _row(charge))  # nothing was submitted: there is no envelope
        _add_proofs(connection, charge.id, proofs)
        return Claim(Outcome.NEW, charge)
    owner_lives = connection.execute(_LIVES, (found.owner, now)).fetchone() is not None
    outcome = rule(found, charge, owner_lives=owner_lives)
    if outcome is Outcome.TAKEN:
        connection.execute(_TAKE_OVER, (charge.owner, charge.id))
        _add_proofs(connection, charge.id, proofs)
        found = found._replace(owner=charge.owner)
    return Claim(outcome, found)


def write(connection: Connection, charge: Charge, proofs: Sequence[str], owner: str) -> None:
    """As `Store.write`."""
    charge_id, *rest = _row(charge)
    replaced = connection.execute(_REPLACE, (*rest, charge_id, owner)).rowcount == 1
    if not replaced or _conflicts(connection, charge.id, proofs):
        raise OwnershipLostError(charge.id)
    _keep_envelope(connection, charge)
    _add_proofs(connection, charge.id, proofs)


def release(connection: Connection, charge_id: str, owner: str) -> None:
    """As `Store.release`."""
    connection.execute(_RELEASE, (charge_id, owner))


def find(connection: Connection, charge_id: str) -> Charge | None:
    """As `Store.get`."""
    row = connection.execute(_FIND, (charge_id,)).fetchone()
    return None if row is None else _charge(row)


def open_charges(connection: Connection, now: int, limit: int) -> list[Charge]:
    """As `Store.open_charges`; what would be purged first comes first."""
    return [_charge(row) for row in connection.execute(_OPEN_CHARGES, (now, limit))]


def heartbeat(connection: Connection, owner: str, alive_until: int) -> None:
    """As `Store.heartbeat`."""
    connection.execute(_HEARTBEAT, (owner, alive_until))


def purge(connection: Connection, now: int, limit: int) -> int:
    """As `Store.purge`, of charges, heartbeats and leases; the oldest go first. Proofs and
    envelopes go with their charges (``ON DELETE``)."""
    connection.execute(_PURGE_HEARTBEATS, (now,))
    channels.purge_leases(connection, now)
    return connection.execute(_PURGE, (now, limit)).rowcount


def _conflicts(connection: Connection, charge_id: str, proofs: Sequence[str]) -> bool:
    return any(
        connection.execute(_FOREIGN_PROOF, (proof, charge_id)).fetchone() is not None
        for proof in proofs
    )


def _add_proofs(connection: Connection, charge_id: str, proofs: Sequence[str]) -> None:
    if proofs:
        connection.executemany(_ADD_PROOF, [(proof, charge_id) for proof in proofs])


def _keep_envelope(connection: Connection, charge: Charge) -> None:
    if charge.envelope is None:
        connection.execute(_DROP_ENVELOPE, (charge.id,))
    else:
        connection.execute(_KEEP_ENVELOPE, (charge.id, charge.envelope))


def _row(charge: Charge) -> tuple[Any, ...]:
    return (*charge[:_ENVELOPE], *charge[_ENVELOPE + 1 :])


def _charge(row: tuple[Any, ...]) -> Charge:
    found = Charge._make(row)
    return found._replace(state=State(found.state))


_FOUND_OUT_ANEW = frozenset({State.CLAIMED, State.SETTLED})
_ENVELOPE = Charge._fields.index("envelope")
