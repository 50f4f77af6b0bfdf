"""The three ways a charge is paid, from its verification to its delivery."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from stellar_sdk import Keypair
from stellar_sdk.exceptions import BadSignatureError

from mpp_asgi.intents import FaultError, RefusalError
from mpp_asgi.payment import Payment
from mpp_asgi.protocol import Receipt, format_timestamp, problems
from mpp_asgi.stellar import policy
from mpp_asgi.stellar.envelope import signed_envelope, unsigned_envelope
from mpp_asgi.stellar.inspection import inspect_envelope
from mpp_asgi.stellar.ledger import Decision, Ledger, Pending
from mpp_asgi.stellar.payload import SIGNED_HASH
from mpp_asgi.stellar.rpc import Simulation, get_transaction, simulate_transaction
from mpp_asgi.stellar.terms import source_address
from mpp_asgi.stellar.token_events import EventError, simulated_events
from mpp_asgi.stellar.transfer import TransferError
from mpp_asgi.stores.contract import Charge, State

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from mpp_asgi.charges import ChargeBook, Turn
    from mpp_asgi.intents import Quote
    from mpp_asgi.stellar.inspection import InspectedTransfer
    from mpp_asgi.stellar.network import Network, Token
    from mpp_asgi.stellar.payload import ShownPayment
    from mpp_asgi.stellar.sponsor import Sponsor
    from mpp_asgi.stellar.terms import Terms
    from mpp_asgi.stellar.transfer import Transfer

log = logging.getLogger("mpp_asgi.charge")

INCLUSION_FEE: Final = 1_000
"""Stroops we bid for a place in a ledger; the network's minimum is 100."""
SPONSORED_SECONDS: Final = 60
"""How long a transaction of ours is good: short, so that doubt about it ends soon."""
SPONSORED_ATTEMPTS: Final = 3
"""How often a sponsored transaction is built anew when its sequence number was taken."""
RECORD_SECONDS: Final = 2 * 24 * 3600
"""How long the record of a payment is kept, and so how long it can still be redeemed."""
PUSH_SECONDS: Final = 24 * 3600
"""How old a transaction may be that is shown as payment; less than its record is kept."""
PUSH_PATIENCE_SECONDS: Final = 6
"""How long to wait for a node to learn of a transaction that the payer has seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """Where charges are paid: everything that settling takes."""

    network: Network
    ledger: Ledger
    book: ChargeBook
    sponsor: Sponsor | None
    own_addresses: Collection[str]
    """Every address that signs for us; none may have a part in a payer's transaction."""
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class ShownCharge:
    """A payment that is shown, and what it is shown for."""

    shown: ShownPayment
    terms: Terms
    token: Token
    quote: Quote


class ChargeAdmission(ABC):
    """What the three ways have in common: the record, and its way from state to state."""

    def __init__(self, counter: Counter, turn: Turn, charge: ShownCharge) -> None:
        self._counter = counter
        self._turn = turn
        self._shown = shown = charge.shown
        self._terms = terms = charge.terms
        self._quote = charge.quote
        self._source = source_address(shown.source, counter.network.name) if shown.source else None
        self.payment = Payment(
            method="stellar",
            intent="charge",
            payer=self._source,
            amount=terms.amount,
            currency=terms.token,
            decimals=charge.token.decimals,
            challenge_id=charge.quote.challenge_id,
        )

    async def verify(self) -> None:
        """Check and claim the payment, or find the record of it.

        Raises:
            RefusalError, PendingError, FaultError: as `Intent.verify`.
        """
        found = await self._turn.find()
        if found is not None and found.credential == self._shown.fingerprint:
            found = await self._claim(())
        if found is None or found.state is State.CLAIMED:
            if self._quote.lapsed is not None:
                raise RefusalError(self._quote.lapsed)
            await self._check()
        elif found.credential != self._shown.fingerprint:
            raise RefusalError(
                problems.INVALID_CHALLENGE.because("This challenge was used with another payment.")
            )

    @abstractmethod
    async def _check(self) -> None:
        """See that a new payment is good, and claim it."""

    async def _claim(self, proofs: Sequence[str]) -> Charge:
        keep_until = max(self._quote.expires, int(self._counter.clock())) + RECORD_SECONDS
        return await self._turn.claim(self._shown.fingerprint, proofs, keep_until=keep_until)

    async def settle(self) -> Payment:
        """See `Admission.settle`."""
        charge = self._record()
        if charge.state is State.CLAIMED:
            await self._submit()
        elif charge.state is State.SUBMITTED:
            await self._conclude(await self._counter.ledger.decide(_pending(charge, sent=True)))
        charge = self._record()
        self.payment = replace(
            self.payment,
            payer=charge.payer,
            reference=charge.reference,
            receipt_value=charge.receipt,
        )
        return self.payment

    @abstractmethod
    async def _submit(self) -> None:
        """Bring a claimed charge to settled."""

    async def _conclude(self, decision: Decision) -> None:
        """Write down what the ledger decided.

        Raises:
            RefusalError: no money moved.
        """
        if decision.kind != "success":
            await self._fail()
        await self._settled(decision.status.created_at)

    async def _settled(self, created_at: int | None) -> None:
        charge = self._record()
        now = int(self._counter.clock())
        receipt = Receipt(
            method="stellar",
            reference=charge.reference or "",
            timestamp=format_timestamp(created_at or now),
            external_id=self._terms.external_id,
        )
        await self._turn.settled(
            receipt=receipt.to_header(),
            payer=charge.payer or "",
            reference=charge.reference or "",
            keep_until=now + RECORD_SECONDS,
        )

    async def _fail(self) -> None:
        log.info("charge %s failed on the ledger", self._quote.challenge_id)
        await self._turn.failed(problems.SETTLEMENT_FAILED.slug)
        raise RefusalError(
            problems.SETTLEMENT_FAILED.because(
                "The transaction was not carried out on the ledger; nothing was paid.",
                challenge_id=self._quote.challenge_id,
            )
        )

    def _record(self) -> Charge:
        if self._turn.charge is None:
            raise RuntimeError("a charge is settled once it was claimed")
        return self._turn.charge

    async def delivered(self) -> None:
        """See `Admission.delivered`."""
        await self._turn.delivered()

    async def undelivered(self) -> None:
        """See `Admission.undelivered`."""
        await self._turn.end()

    def _inspect(self, envelope: str) -> tuple[InspectedTransfer, Transfer]:
        try:
            inspected = inspect_envelope(envelope, self._counter.network.passphrase)
        except TransferError as error:
            raise RefusalError(problems.VERIFICATION_FAILED.because(str(error))) from None
        return inspected, policy.require_transfer(inspected, self._terms, self._source)

    async def _simulate(self, envelope: str, transfer: Transfer) -> Simulation:
        simulation = await self._counter.ledger.ask(simulate_transaction(envelope))
        policy.require_success(simulation)
        try:
            events = simulated_events(simulation.events)
        except EventError:
            raise FaultError("The payment network gave a senseless answer.") from None
        policy.require_only_effect(events, transfer)
        return simulation


class SponsoredAdmission(ChargeAdmission):
    """Sponsored pull: the payer's authorization in a transaction of ours."""

    _operation: bytes
    _transfer: Transfer
    _simulation: Simulation

    async def _check(self) -> None:
        counter = self._counter
        inspected, transfer = self._inspect(self._shown.value)
        policy.require_sponsorable(inspected, counter.own_addresses)
        nonce = inspected.authorizations[0].nonce
        await self._claim((f"auth:{counter.network.name}:{transfer.sender}:{nonce}",))
        self._operation, self._transfer = inspected.operation, transfer
        self._simulation = await self._simulate_ours()
        policy.require_timely_authorization(
            inspected,
            ledger=self._simulation.latest_ledger,
            expires=self._quote.expires,
            now=counter.clock(),
        )
        self.payment = replace(self.payment, payer=transfer.sender)

    async def _simulate_ours(self) -> Simulation:
        """Simulate what will be submitted: our source, the payer's operation, no resources of the
        payer's choosing."""
        ours = unsigned_envelope(self._operation, source=self._sponsor.address)
        return await self._simulate(ours, self._transfer)

    @property
    def _sponsor(self) -> Sponsor:
        sponsor = self._counter.sponsor
        if sponsor is None:
            raise FaultError("Fees are not sponsored at the moment.")
        return sponsor

    async def _submit(self) -> None:
        sponsor, simulation = self._sponsor, self._simulation
        fee = INCLUSION_FEE + (simulation.min_resource_fee or 0)
        if fee > sponsor.max_fee or simulation.transaction_data is None:
            log.warning("a sponsored transaction would cost %s stroops, over max_fee", fee)
            raise FaultError("The network's fee is too high to be sponsored at the moment.")
        async with sponsor.account() as account:
            for _ in range(SPONSORED_ATTEMPTS):
                now = int(self._counter.clock())
                valid_until = min(self._quote.expires, now + SPONSORED_SECONDS)
                built = signed_envelope(
                    self._operation,
                    source=sponsor.address,
                    sequence=await account.next_sequence(),
                    fee=fee,
                    max_time=valid_until,
                    soroban_data=simulation.transaction_data,
                    signer=sponsor.keypair,
                    passphrase=self._counter.network.passphrase,
                )
                await self._turn.submitted(
                    reference=built.hash,
                    envelope=built.xdr,
                    valid_until=valid_until,
                    payer=self._transfer.sender,
                    proofs=(f"tx:{built.hash}",),
                )
                decision = await self._counter.ledger.decide(
                    _pending(self._record(), sent=False, ours=True)
                )
                if decision.kind != "dropped":
                    account.consumed()
                    await self._conclude(decision)
                    return
                # Not the payer's doing: the authorization is unused, its nonce unspent.
                await self._turn.withdrawn()
        raise FaultError("The payment could not be brought onto the ledger.", retry_after=2)

    async def _conclude(self, decision: Decision) -> None:
        if decision.kind == "dropped":  # of an earlier request, or of a process that died
            await self._turn.withdrawn()
            raise FaultError("The payment did not get onto the ledger.", retry_after=0)
        await super()._conclude(decision)


class PullAdmission(ChargeAdmission):
    """Unsponsored pull: the payer's own transaction, submitted as it is."""

    _inspected: InspectedTransfer

    async def _check(self) -> None:
        counter = self._counter
        inspected, transfer = self._inspect(self._shown.value)
        policy.require_self_paid(inspected, expires=self._quote.expires)
        policy.require_no_name(inspected, counter.own_addresses)
        await self._claim((f"tx:{inspected.hash}",))
        await self._simulate(self._shown.value, transfer)
        self._inspected = inspected
        self.payment = replace(self.payment, payer=transfer.sender)

    async def _submit(self) -> None:
        inspected = self._inspected
        transfer = inspected.transfer
        await self._turn.submitted(
            reference=inspected.hash,
            envelope=self._shown.value,
            valid_until=inspected.max_time or self._quote.expires,
            payer=transfer.sender if transfer is not None else "",
            proofs=(),
        )
        await self._conclude(
            await self._counter.ledger.decide(_pending(self._record(), sent=False))
        )


class PushAdmission(ChargeAdmission):
    """Push: a transaction that is on the ledger already."""

    _created_at: int | None = None

    async def _check(self) -> None:
        shown = self._shown
        if shown.type == SIGNED_HASH:
            self._require_signature()
        await self._claim((f"tx:{shown.value}",))
        await self._find_transaction()

    def _require_signature(self) -> None:
        """The payer itself shows the payment: anyone can read a hash off the ledger."""
        if self._source is None or not self._source.startswith("G"):
            raise RefusalError(
                problems.VERIFICATION_FAILED.because(
                    "A signedHash credential names the payer's account as its source."
                )
            )
        message = f"{self._quote.challenge_id}:{self._shown.value}".encode()
        try:
            Keypair.from_public_key(self._source).verify(message, self._shown.signature or b"")
        except (BadSignatureError, ValueError):
            raise RefusalError(
                problems.VERIFICATION_FAILED.because(
                    "sourceSignature is not the source's signature over '{challenge id}:{hash}'."
                )
            ) from None

    async def _find_transaction(self) -> None:
        counter = self._counter
        give_up = counter.clock() + PUSH_PATIENCE_SECONDS
        while True:
            status = await counter.ledger.ask(get_transaction(self._shown.value))
            if status.status != "NOT_FOUND":
                break
            if counter.clock() >= give_up:
                if status.latest_ledger_close_time < counter.clock() - 5 * PUSH_PATIENCE_SECONDS:
                    raise FaultError("The payment network cannot be reached at the moment.")
                raise RefusalError(
                    problems.VERIFICATION_FAILED.because(
                        "The transaction is not on the ledger. If it was just submitted, show the "
                        "same credential again; do not pay again."
                    )
                )
            await counter.sleep(0.5)
        if status.status != "SUCCESS" or status.envelope_xdr is None:
            raise RefusalError(
                problems.VERIFICATION_FAILED.because("The transaction failed on the ledger.")
            )
        inspected, transfer = self._inspect(status.envelope_xdr)
        if inspected.hash != self._shown.value:
            raise FaultError("The payment network gave a senseless answer.")
        policy.require_no_name(inspected, counter.own_addresses)
        self._created_at = status.created_at
        if (self._created_at or 0) < counter.clock() - PUSH_SECONDS:
            raise RefusalError(
                problems.VERIFICATION_FAILED.because("The transaction is too old to pay for this.")
            )
        self.payment = replace(self.payment, payer=transfer.sender)

    async def _submit(self) -> None:
        await self._turn.submitted(
            reference=self._shown.value,
            envelope="",
            valid_until=self._quote.expires,
            payer=self.payment.payer or "",
            proofs=(),
        )
        await self._settled(self._created_at)


def _pending(charge: Charge, *, sent: bool, ours: bool = False) -> Pending:
    return Pending(
        hash=charge.reference or "",
        envelope=charge.envelope or "",
        valid_until=charge.valid_until or 0,
        sent=sent,
        ours=ours,
    )
