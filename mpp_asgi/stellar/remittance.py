"""A payer's deposit on its way onto the ledger: verified, written down, submitted, followed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mpp_asgi.intents import FaultError, RefusalError
from mpp_asgi.protocol import problems
from mpp_asgi.stellar import policy
from mpp_asgi.stellar.admissions import RECORD_SECONDS, leaves
from mpp_asgi.stellar.deposits import inspect_deposit, require_only_deposit
from mpp_asgi.stellar.dispatch import Dispatch, Prepared, submitted_before
from mpp_asgi.stellar.envelope import unsigned_envelope
from mpp_asgi.stellar.ledger import Pending
from mpp_asgi.stellar.rpc import Simulation, get_transaction, simulate_transaction
from mpp_asgi.stores.contract import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from stellar_sdk import xdr

    from mpp_asgi.intents import Quote
    from mpp_asgi.stellar.admissions import Counter
    from mpp_asgi.stellar.deposits import Deposit, InspectedDeposit
    from mpp_asgi.stellar.ledger import Decision
    from mpp_asgi.stores.contract import Charge
    from mpp_asgi.turns import Turn


@dataclass(frozen=True, slots=True)
class ShownDeposit:
    """A transaction that a payer shows, and what it is shown for."""

    transaction: str
    """TransactionEnvelope (base64 XDR), not read yet."""
    quote: Quote
    payer: str | None
    """Who the credential says it comes from."""
    sponsored: bool
    """We pay the fee."""
    read: Callable[[xdr.HostFunction], Deposit]
    """Makes out the deposit that is wanted, or refuses: see `inspect_deposit`."""

    @property
    def fingerprint(self) -> str:
        """Tells one transaction from another: SHA-256, hex."""
        return hashlib.sha256(self.transaction.encode()).hexdigest()


class Remittance:
    """One deposit, in the turn at its record."""

    def __init__(self, counter: Counter, turn: Turn, shown: ShownDeposit) -> None:
        self._counter = counter
        self._turn = turn
        self._shown = shown

    async def carry_out(self) -> int:
        """Bring the deposit onto the ledger, or find that it is there. Idempotent.

        Returns:
            The ledger that has it; 0 if the node does not show which.

        Raises:
            RefusalError: it will not do, or failed for good: ``session/transaction-reverted``.
            PendingError, FaultError: it could not be finished now.
        """
        try:
            return await self._carry_out()
        except RefusalError as refusal:
            if refusal.problem.slug == problems.SETTLEMENT_FAILED.slug:  # so says the record
                raise _reverted() from None
            raise

    async def require_begun(self) -> None:
        """If the terms have lapsed, see that this very deposit was begun before, so that it may be
        on its way or on the ledger.

        Raises:
            RefusalError: it was not, or has failed.
        """
        lapsed = self._shown.quote.lapsed
        if lapsed is None:
            return
        try:
            found = await self._turn.find()
        except RefusalError:  # it has failed
            found = None
        if found is None or found.credential != self._shown.fingerprint:
            raise RefusalError(lapsed)

    async def _carry_out(self) -> int:
        found = await self._turn.find()
        inspected = None
        if found is None or found.state is State.CLAIMED:
            try:
                inspected = self._inspect()
            except RefusalError:
                # What another process has begun is waited for: whatever has lapsed since, the
                # money may be moving.
                if found is None or (await self._claim(None)).state is State.CLAIMED:
                    raise
        charge = await self._claim(inspected)
        if charge.state is State.SETTLED:
            return await self._ledger_of(charge.reference or "")
        if charge.state is State.CLAIMED:
            return await self._conclude(await self._submit(inspected or self._inspect()))
        ledger = self._counter.ledger
        since = None if self._shown.sponsored else ledger.sent_since(charge.valid_until or 0)
        decision = await ledger.decide(submitted_before(charge, since=since))
        if decision.kind == "dropped" and self._shown.sponsored:
            await self._turn.withdrawn()  # what the payer allowed is unused
            raise FaultError("The deposit did not get onto the ledger.", retry_after=0)
        return await self._conclude(decision)

    async def _ledger_of(self, reference: str) -> int:
        status = await self._counter.ledger.ask(get_transaction(reference))
        return status.ledger or 0

    async def _claim(self, inspected: InspectedDeposit | None) -> Charge:
        proofs: tuple[str, ...] = ()
        if inspected is not None and self._shown.sponsored:
            # A payer's leave is good once: not in two transactions of ours at a time.
            proofs = leaves(inspected.transaction, self._counter.network)
        keep_until = max(self._shown.quote.expires, self._now()) + RECORD_SECONDS
        return await self._turn.claim(self._shown.fingerprint, proofs, keep_until=keep_until)

    def _inspect(self) -> InspectedDeposit:
        """See that a new transaction is good, so far as it says so itself.

        Raises:
            RefusalError: it is not.
        """
        counter, shown = self._counter, self._shown
        if shown.quote.lapsed is not None:
            raise RefusalError(shown.quote.lapsed)
        inspected = inspect_deposit(
            shown.transaction, counter.network.passphrase, shown.read, payer=shown.payer
        )
        transaction, funder = inspected.transaction, inspected.deposit.funder
        if shown.sponsored:
            policy.require_sponsorable(transaction, counter.own_addresses, payer=funder)
        else:
            policy.require_self_paid(transaction, expires=shown.quote.expires, now=counter.clock())
            policy.require_no_name(transaction, counter.own_addresses, payer=funder)
        return inspected

    async def _submit(self, inspected: InspectedDeposit) -> Decision:
        if self._shown.sponsored:
            return await self._submit_ours(inspected)
        await self._simulate(self._shown.transaction, inspected.deposit)
        own = Pending(
            hash=inspected.transaction.hash,
            envelope=self._shown.transaction,
            valid_until=inspected.transaction.max_time or self._shown.quote.expires,
            sent=False,
            ours=False,
        )
        await self._turn.submitted(
            reference=own.hash,
            envelope=own.envelope,
            valid_until=own.valid_until,
            payer=inspected.deposit.funder,
            proofs=(f"tx:{own.hash}",),
        )
        return await self._counter.ledger.decide(own)

    async def _submit_ours(self, inspected: InspectedDeposit) -> Decision:
        counter, sponsor = self._counter, self._counter.require_sponsor()

        async def prepare() -> Prepared:
            now, operation = counter.clock(), inspected.transaction.operation
            ours = unsigned_envelope(operation, source=sponsor.address)
            simulation = await self._simulate(ours, inspected.deposit)
            policy.require_timely_authorization(
                inspected.transaction,
                ledger=simulation.latest_ledger,
                expires=self._shown.quote.expires,
                now=now,
            )
            ends = policy.end_of_leave(
                inspected.transaction, ledger=simulation.latest_ledger, now=now
            )
            return Prepared(operation=operation, simulation=simulation, at=now, good_until=ends)

        dispatch = Dispatch(
            sponsor, counter.ledger, passphrase=counter.network.passphrase, clock=counter.clock
        )
        return await dispatch.send(
            self._turn,
            await prepare(),
            prepare,
            payer=inspected.deposit.funder,
            expires=self._shown.quote.expires,
        )

    async def _simulate(self, envelope: str, deposit: Deposit) -> Simulation:
        call = simulate_transaction(envelope, auth_mode="enforce")
        simulation = await self._counter.ledger.ask(call)
        require_only_deposit(simulation, deposit)
        return simulation

    async def _conclude(self, decision: Decision) -> int:
        """Write down what the ledger decided.

        Raises:
            RefusalError: nothing was deposited.
        """
        charge = self._turn.charge
        if decision.kind != "success" or charge is None:
            await self._turn.failed(problems.SESSION_TRANSACTION_REVERTED.slug)
            raise _reverted()
        await self._turn.settled(
            receipt="",
            payer=charge.payer or "",
            reference=charge.reference or "",
            keep_until=self._now() + RECORD_SECONDS,
        )
        return decision.status.ledger or 0

    def _now(self) -> int:
        return int(self._counter.clock())


def _reverted() -> RefusalError:
    return RefusalError(
        problems.SESSION_TRANSACTION_REVERTED.because(
            "The transaction was not carried out on the ledger; nothing was deposited."
        )
    )
