"""What must survive a process: the record of every charge, and the contract every store keeps.

A charge moves ``claimed → submitted → settled → delivered``, or ``→ failed``. Each step is written
before the next begins, so whoever finds a half-done record knows what to do:

- ``claimed``: nothing was submitted. Start again.
- ``submitted``: look ``reference`` up on the ledger. Never submit another transaction blindly.
- ``settled``: the money moved. Deliver the resource, free.
- ``delivered``, ``failed``: over.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from mpp_asgi.stores.budgets import BudgetStore
from mpp_asgi.stores.channels import ChannelStore
from mpp_asgi.stores.kept_answers import AnswerStore
from mpp_asgi.stores.loans import LoanStore

if TYPE_CHECKING:
    from collections.abc import Sequence


class State(StrEnum):
    """Where a charge stands."""

    CLAIMED = "claimed"
    SUBMITTED = "submitted"
    SETTLED = "settled"
    DELIVERED = "delivered"
    FAILED = "failed"


class Charge(NamedTuple):
    """The record of one charge: one challenge, one credential, at most one settlement.

    A named tuple, because every paid request makes several.
    """

    id: str
    """The challenge id."""
    credential: str
    """SHA-256 of the credential's payload, hex: which proof was presented for the challenge."""
    state: State
    keep_until: int
    """Unix seconds; from then on the record may be purged with its proofs, whatever its state."""
    owner: str | None = None
    """The process at work on it; ``None``: nobody, the next to claim it may go on."""
    reference: str | None = None
    """What the method calls the settlement; for Stellar the transaction hash (64 hex digits)."""
    envelope: str | None = None
    """The transaction exactly as submitted (base64 XDR), so that it can be submitted again."""
    valid_until: int | None = None
    """Unix seconds of ledger time after which ``envelope`` can no longer be included."""
    payer: str | None = None
    receipt: str | None = None
    """The ``Payment-Receipt`` value, once settled."""
    problem: str | None = None
    """Why it failed: the problem's slug."""

    def settled(self, receipt: str, payer: str, reference: str, keep_until: int) -> Charge:
        """It, once the money moved."""
        charge_id, credential, _, _, owner, _, envelope, valid_until, *_ = self
        return Charge(
            charge_id,
            credential,
            State.SETTLED,
            keep_until,
            owner,
            reference,
            envelope,
            valid_until,
            payer,
            receipt,
        )

    def delivered(self) -> Charge:
        """It, once its response left: nobody's, and with nothing that could be submitted again."""
        charge_id, credential, _, keep_until, _, reference, _, _, payer, receipt, _ = self
        return Charge(
            charge_id,
            credential,
            State.DELIVERED,
            keep_until,
            None,
            reference,
            None,
            None,
            payer,
            receipt,
        )


class Outcome(StrEnum):
    """What came of a claim."""

    NEW = "new"
    """The charge was written; the claimer owns it."""
    TAKEN = "taken"
    """It existed, open and without a living owner; the claimer owns it now."""
    BUSY = "busy"
    """It exists and a living owner is at work on it."""
    OVER = "over"
    """It exists and is delivered or failed."""
    CONFLICT = "conflict"
    """The challenge belongs to another credential, or one of the proofs to another challenge."""


class Claim(NamedTuple):
    """The answer to a claim: the outcome, and the record as it now stands (``None`` where a proof
    belongs to another challenge)."""

    outcome: Outcome
    charge: Charge | None


class StoreUnavailableError(Exception):
    """The store could not be reached or could not write. Nothing may be granted."""


class OwnershipLostError(Exception):
    """The record belongs to another process by now, or is gone: stop working on it."""


class Store(ChannelStore, LoanStore, BudgetStore, AnswerStore, Protocol):
    """What every backend guarantees: of charges here, of the rest in the protocols it extends. Each
    call is atomic, and durable when it returns: a killed process takes nothing back. Nor does a
    power cut, but for what is then found out anew: a charge that was ``claimed`` may be gone, and
    one that was ``settled`` may be as it was before that.

    Every call raises `StoreUnavailableError` if the backend fails, having changed nothing that the
    caller can rely on. Times are Unix seconds and always passed in.
    """

    async def open(self) -> None:
        """Connect, and create or migrate what is stored. Refuses a schema newer than this code."""
        ...

    async def close(self) -> None:
        """Let go of every connection. Idempotent."""
        ...

    async def secret(self) -> str:
        """The secret that challenges are bound with when none is configured: 32 random bytes,
        base64url, made once and the same for every process on this store."""
        ...

    async def claim(self, charge: Charge, proofs: Sequence[str], *, now: int) -> Claim:
        """Take the charge, or say who has it.

        ``charge.state`` is ``claimed`` and ``charge.owner`` is the claimer. ``proofs`` are the keys
        of whatever may be used once only (a transaction hash, an authorization nonce). In one
        atomic step:

        - a proof that belongs to another challenge id: ``CONFLICT``, nothing written;
        - no record: write it and its proofs, ``NEW``;
        - a record with another ``credential``: ``CONFLICT``;
        - delivered or failed: ``OVER``;
        - open, and its owner is ``None``, is the claimer, or has no heartbeat beyond ``now``:
          the claimer becomes its owner, ``TAKEN`` (state and all else as found);
        - else ``BUSY``.
        """
        ...

    async def write(self, charge: Charge, proofs: Sequence[str] = (), *, owner: str) -> None:
        """Replace the record with ``charge`` and add ``proofs``, if ``owner`` still owns it.

        ``charge.owner`` may be ``None``, which lets go of it.

        Raises:
            OwnershipLostError: another process owns the record, it is gone, or one of ``proofs``
                belongs to another challenge. Nothing was written.
        """
        ...

    async def release(self, charge_id: str, *, owner: str) -> None:
        """Forget a charge for which nothing was submitted, with its proofs, so that the same
        challenge and proof can be used again. Does nothing unless ``owner`` owns it and it is
        ``claimed``."""
        ...

    async def get(self, charge_id: str) -> Charge | None:
        """The record as it stands."""
        ...

    async def open_charges(self, *, now: int, limit: int) -> Sequence[Charge]:
        """At most ``limit`` charges that are claimed or submitted and have no living owner; the
        lowest ``keep_until`` first, then the lowest id."""
        ...

    async def heartbeat(self, owner: str, *, alive_until: int) -> None:
        """Say that ``owner`` lives until then (Unix seconds). The latest call counts, so that a
        process that ends can say that too."""
        ...

    async def purge(self, *, now: int, limit: int) -> int:
        """Delete at most ``limit`` records with ``keep_until <= now``: charges (whatever their
        state) with their proofs, budgets and kept answers, in any order; and stale heartbeats and
        leases, which do not count.

        Returns how many records went: fewer than ``limit`` only if none is left that could go, so
        that whoever purges until then keeps a steady load at a steady size. Accounts that are lent
        are few, and stay until `forget_loans`.
        """
        ...
