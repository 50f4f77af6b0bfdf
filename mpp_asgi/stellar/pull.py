"""Pull: the payer signs, we submit."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from mpp_asgi.intents import FaultError, RefusalError
from mpp_asgi.protocol import problems
from mpp_asgi.stellar import policy
from mpp_asgi.stellar.admissions import ChargeAdmission, pending
from mpp_asgi.stellar.envelope import signed_envelope, unsigned_envelope
from mpp_asgi.stellar.network import LEDGER_SECONDS
from mpp_asgi.stellar.rpc import Simulation, get_transaction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpp_asgi.stellar.envelope import SignedEnvelope
    from mpp_asgi.stellar.inspection import InspectedTransfer
    from mpp_asgi.stellar.ledger import Decision
    from mpp_asgi.stellar.sponsor import Sponsor
    from mpp_asgi.stellar.transfer import Transfer

log = logging.getLogger("mpp_asgi.charge")

INCLUSION_FEE: Final = 1_000
"""Stroops we bid for a place in a ledger; the network's minimum is 100."""
SPONSORED_SECONDS: Final = 60
"""How long a transaction of ours is good: short, so that doubt about it ends soon."""
SPONSORED_ATTEMPTS: Final = 3
"""How often a sponsored transaction is built anew when its sequence number was taken."""


class SponsoredAdmission(ChargeAdmission):
    """Sponsored pull: the payer's authorization in a transaction of ours."""

    _inspected: InspectedTransfer
    _transfer: Transfer
    _simulation: Simulation
    _simulated_at: float

    def _read(self) -> Sequence[str]:
        counter = self._counter
        if counter.sponsor is None:
            raise RefusalError(
                problems.VERIFICATION_FAILED.because(
                    "Fees are not sponsored any more; pay with a new challenge."
                )
            )
        self._inspected, self._transfer = self._inspect(self._shown.value)
        policy.require_sponsorable(self._inspected, counter.own_addresses)
        nonce = self._inspected.authorizations[0].nonce
        return (f"auth:{counter.network.name}:{self._transfer.sender}:{nonce}",)

    async def _check(self) -> None:
        await self._simulate_ours()
        self.payment = self.payment._replace(payer=self._transfer.sender)

    async def _simulate_ours(self) -> None:
        """Simulate what will be submitted: our source, the payer's operation, no resources of the
        payer's choosing."""
        now = self._counter.clock()
        ours = unsigned_envelope(self._inspected.operation, source=self._sponsor.address)
        self._simulation = await self._simulate(ours, self._transfer)
        self._simulated_at = now
        policy.require_timely_authorization(
            self._inspected,
            ledger=self._simulation.latest_ledger,
            expires=self._quote.expires,
            now=now,
        )

    @property
    def _sponsor(self) -> Sponsor:
        sponsor = self._counter.sponsor
        if sponsor is None:
            raise FaultError("Fees are not sponsored at the moment.")
        return sponsor

    async def _submit(self) -> None:
        async with self._sponsor.account() as account:
            for _ in range(SPONSORED_ATTEMPTS):
                await self._look_again()
                now = int(self._counter.clock())
                valid_until = min(self._quote.expires, now + SPONSORED_SECONDS)
                built = self._build(await account.next_sequence(), valid_until)
                await self._turn.submitted(
                    reference=built.hash,
                    envelope=built.xdr,
                    valid_until=valid_until,
                    payer=self._transfer.sender,
                    proofs=(f"tx:{built.hash}",),
                )
                decision = await self._counter.ledger.decide(
                    pending(self._record(), sent=False, ours=True)
                )
                if decision.kind != "dropped":
                    account.consumed()
                    await self._conclude(decision)
                    return
                # Not the payer's doing: the authorization is unused, its nonce unspent.
                await self._turn.withdrawn()
        raise FaultError("The payment could not be brought onto the ledger.", retry_after=2)

    async def _look_again(self) -> None:
        """Simulate anew what has waited for its turn: the payer may have spent the money meanwhile,
        or used the authorization up, and a transaction that fails costs the sponsor its fee.

        Raises:
            RefusalError: it is not good any more. Nothing was submitted.
        """
        now = self._counter.clock()
        if now >= self._quote.expires:
            raise RefusalError(
                problems.PAYMENT_EXPIRED.because(
                    "This challenge has expired while the payment waited; nothing was paid."
                )
            )
        if now - self._simulated_at >= LEDGER_SECONDS:
            await self._simulate_ours()

    def _build(self, sequence: int, valid_until: int) -> SignedEnvelope:
        sponsor, simulation = self._sponsor, self._simulation
        fee = INCLUSION_FEE + (simulation.min_resource_fee or 0)
        if fee > sponsor.max_fee or simulation.transaction_data is None:
            log.warning("a sponsored transaction would cost %s stroops, over max_fee", fee)
            raise FaultError("The network's fee is too high to be sponsored at the moment.")
        return signed_envelope(
            self._inspected.operation,
            source=sponsor.address,
            sequence=sequence,
            fee=fee,
            max_time=valid_until,
            soroban_data=simulation.transaction_data,
            signer=sponsor.keypair,
            passphrase=self._counter.network.passphrase,
        )

    async def _conclude(self, decision: Decision) -> None:
        if decision.kind == "dropped":  # of an earlier request, or of a process that died
            await self._turn.withdrawn()
            raise FaultError("The payment did not get onto the ledger.", retry_after=0)
        await super()._conclude(decision)


class PullAdmission(ChargeAdmission):
    """Unsponsored pull: the payer's own transaction, submitted as it is."""

    _inspected: InspectedTransfer
    _transfer: Transfer

    def _read(self) -> Sequence[str]:
        counter = self._counter
        self._inspected, self._transfer = self._inspect(self._shown.value)
        policy.require_self_paid(self._inspected, expires=self._quote.expires, now=counter.clock())
        policy.require_no_name(self._inspected, counter.own_addresses)
        return ()

    async def _check(self) -> None:
        inspected = self._inspected
        # Whoever reads the ledger has the transactions in it; only what is not there yet comes
        # from its payer.
        status = await self._counter.ledger.ask(get_transaction(inspected.hash))
        if status.status != "NOT_FOUND":
            raise RefusalError(
                problems.VERIFICATION_FAILED.because(
                    "The transaction is on the ledger already. Its payer can show its hash, signed."
                )
            )
        await self._claim((f"tx:{inspected.hash}",))
        await self._simulate(self._shown.value, self._transfer)
        self.payment = self.payment._replace(payer=self._transfer.sender)

    async def _submit(self) -> None:
        inspected = self._inspected
        await self._turn.submitted(
            reference=inspected.hash,
            envelope=self._shown.value,
            valid_until=inspected.max_time or self._quote.expires,
            payer=self._transfer.sender,
            proofs=(),
        )
        await self._conclude(await self._counter.ledger.decide(pending(self._record(), sent=False)))
