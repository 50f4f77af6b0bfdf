"""Pull: the payer signs, we submit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mpp_asgi.intents import FaultError, RefusalError
from mpp_asgi.protocol import problems
from mpp_asgi.stellar import policy
from mpp_asgi.stellar.admissions import ChargeAdmission, leaves
from mpp_asgi.stellar.dispatch import GOOD_SECONDS, Dispatch, Prepared
from mpp_asgi.stellar.envelope import unsigned_envelope
from mpp_asgi.stellar.ledger import Pending, SentByOthersError
from mpp_asgi.stellar.shown_hash import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpp_asgi.stellar.inspection import InspectedTransfer
    from mpp_asgi.stellar.ledger import Decision
    from mpp_asgi.stellar.sponsor import Sponsor
    from mpp_asgi.stellar.transfer import Transfer


class SponsoredAdmission(ChargeAdmission):
    """Sponsored pull: the payer's authorization in a transaction of ours."""

    _inspected: InspectedTransfer
    _transfer: Transfer
    _prepared: Prepared | None = None

    def _read(self) -> Sequence[str]:
        counter = self._counter
        counter.require_sponsor()
        self._inspected, self._transfer = self._inspect(self._shown.value)
        policy.require_sponsorable(
            self._inspected, counter.own_addresses, payer=self._transfer.sender
        )
        policy.require_transfer_alone_allowed(self._inspected)
        return leaves(self._inspected, counter.network)

    async def _check(self) -> None:
        pool = self._sponsor.pool
        is_crowded = pool.is_crowded
        pool.expect(self)
        try:
            if not is_crowded:  # else it is looked at when its turn has come
                self._prepared = await self._prepare()
        except BaseException:
            pool.expect_no_more(self)
            raise
        self.payment = self.payment._replace(payer=self._transfer.sender)

    async def _prepare(self) -> Prepared:
        """Simulate what will be submitted: our source, the payer's operation, no resources of the
        payer's choosing."""
        now = self._counter.clock()
        operation = self._inspected.operation
        ours = unsigned_envelope(operation, source=self._sponsor.address)
        simulation = await self._simulate(ours, self._transfer)
        policy.require_timely_authorization(
            self._inspected,
            ledger=simulation.latest_ledger,
            expires=self._quote.expires,
            now=now,
        )
        return Prepared(
            operation=operation,
            simulation=simulation,
            at=now,
            good_until=policy.end_of_leave(
                self._inspected, ledger=simulation.latest_ledger, now=now
            ),
        )

    def _sent_since(self) -> int:
        made = (self._record().valid_until or 0) - GOOD_SECONDS
        return max(made, super()._sent_since())

    @property
    def _sponsor(self) -> Sponsor:
        sponsor = self._counter.sponsor
        if sponsor is None:
            raise FaultError("Fees are not sponsored at the moment.")
        return sponsor

    async def delivered(self) -> None:
        """See `Admission.delivered`."""
        self._sponsor.pool.expect_no_more(self)
        await super().delivered()

    async def undelivered(self, *, begun: bool) -> None:
        """See `Admission.undelivered`."""
        self._sponsor.pool.expect_no_more(self)
        await super().undelivered(begun=begun)

    async def _submit(self) -> None:
        counter = self._counter
        self._sponsor.pool.expect_no_more(self)  # it comes
        dispatch = Dispatch(
            self._sponsor,
            counter.ledger,
            passphrase=counter.network.passphrase,
            clock=counter.clock,
        )
        decision = await dispatch.send(
            self._turn,
            self._prepared,
            self._prepare,
            payer=self._transfer.sender,
            expires=self._quote.expires,
        )
        await self._conclude(decision)

    async def _conclude(self, decision: Decision) -> None:
        if decision.kind == "dropped":  # of an earlier request, or of a process that died
            await self._turn.withdrawn()
            raise FaultError("The payment did not get onto the ledger.", retry_after=0)
        await super()._conclude(decision)


class PullAdmission(ChargeAdmission):
    """Unsponsored pull: the payer's own transaction, submitted as it is."""

    _inspected: InspectedTransfer
    _transfer: Transfer
    _sending: asyncio.Task[None] | None = None

    def _read(self) -> Sequence[str]:
        counter = self._counter
        self._inspected, self._transfer = self._inspect(self._shown.value)
        policy.require_self_paid(self._inspected, expires=self._quote.expires, now=counter.clock())
        policy.require_transfer_alone_allowed(self._inspected)
        policy.require_no_name(self._inspected, counter.own_addresses, payer=self._transfer.sender)
        return leaves(self._inspected, counter.network)

    async def _check(self) -> None:
        inspected = self._inspected
        # Whoever reads the network has the transactions in it; only what is not there yet, now that
        # it is shown, comes from its payer. What waits to get there is told by sending it.
        now = self._counter.clock()
        status = await self._counter.ledger.find(
            inspected.hash,
            since=self._counter.ledger.sent_since(self._quote.expires),
            as_of=now,
            patience_seconds=PATIENCE_SECONDS,
        )
        if status.status != "NOT_FOUND":
            raise _seen_before()
        now = self._counter.clock()
        simulation = await self._simulate(self._shown.value, self._transfer)
        policy.require_timely_authorization(
            inspected, ledger=simulation.latest_ledger, expires=self._quote.expires, now=now
        )
        self.payment = self.payment._replace(payer=self._transfer.sender)

    async def _submit(self) -> None:
        # A request that is given up does not take along what it was about to learn: afterwards
        # nobody can tell any more who has sent it first.
        self._sending = self._counter.book.spawn(self._send())
        await asyncio.shield(self._sending)

    async def _send(self) -> None:
        inspected = self._inspected
        valid_until = inspected.max_time or self._quote.expires
        await self._turn.submitted(
            reference=inspected.hash,
            envelope=self._shown.value,
            valid_until=valid_until,
            payer=self._transfer.sender,
            # Not before: a thief would keep its payer out, who shows its hash.
            proofs=(f"tx:{inspected.hash}",),
        )
        own = Pending(
            hash=inspected.hash,
            envelope=self._shown.value,
            valid_until=valid_until,
            sent=False,
            ours=False,
            unseen=True,
        )
        try:
            decision = await self._counter.ledger.decide(own)
        except SentByOthersError:
            await self._turn.forgotten()
            raise _seen_before() from None
        await self._conclude(decision)

    async def undelivered(self, *, begun: bool) -> None:
        """See `Admission.undelivered`."""
        await asyncio.shield(self._counter.book.spawn(self._let_go(begun=begun)))

    async def _let_go(self, *, begun: bool) -> None:
        if self._sending is not None:
            await asyncio.gather(self._sending, return_exceptions=True)
        await super().undelivered(begun=begun)


def _seen_before() -> RefusalError:
    return RefusalError(
        problems.VERIFICATION_FAILED.because(
            "The transaction is on the ledger already, or on its way there. Do not pay again: its "
            "payer can show its hash, signed."
        )
    )
