"""A charge from its verification to its delivery: what every way to pay it has in common."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mpp_asgi.intents import FaultError, RefusalError
from mpp_asgi.payment import Payment
from mpp_asgi.protocol import format_timestamp, problems, receipt_header
from mpp_asgi.stellar import policy
from mpp_asgi.stellar.dispatch import submitted_before
from mpp_asgi.stellar.inspection import inspect_envelope
from mpp_asgi.stellar.rpc import Simulation, simulate_transaction
from mpp_asgi.stellar.terms import source_address
from mpp_asgi.stellar.token_events import EventError, simulated_events
from mpp_asgi.stellar.transfer import EncodingError, TransferError
from mpp_asgi.stores.contract import Charge, State

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from mpp_asgi.charges import ChargeBook
    from mpp_asgi.intents import Quote
    from mpp_asgi.stellar.inspection import InspectedTransfer
    from mpp_asgi.stellar.ledger import Decision, Ledger
    from mpp_asgi.stellar.network import Network, Token
    from mpp_asgi.stellar.payload import ShownPayment
    from mpp_asgi.stellar.sponsor import Sponsor
    from mpp_asgi.stellar.terms import Terms
    from mpp_asgi.stellar.transfer import Transfer
    from mpp_asgi.turns import Turn

log = logging.getLogger("mpp_asgi.charge")

RECORD_SECONDS: Final = 2 * 24 * 3600
"""How long the record of a payment is kept that is not settled: servers that were away for less
find out what became of it."""
PUSH_SECONDS: Final = 24 * 3600
"""How old a transaction may be that is shown as payment by its hash."""
CLOCK_SECONDS: Final = 3600
"""How much longer its record is kept at least: the clocks of two servers may differ."""
REDELIVERY_SECONDS: Final = 24 * 3600
"""How long a payment is good for its resource once it is settled, unless the seller says
otherwise."""


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
    redelivery_seconds: int = REDELIVERY_SECONDS
    """How long a settled payment is kept, and good for its resource if that did not arrive."""

    def require_sponsor(self) -> Sponsor:
        """Who pays the network's fee for payers.

        Raises:
            RefusalError: nobody, for now: ``sponsorship-exhausted``.
        """
        if self.sponsor is None or not self.sponsor.funds.suffice():
            raise RefusalError(
                problems.SPONSORSHIP_EXHAUSTED.because(
                    "Fees are not sponsored any more; pay with a new challenge."
                )
            )
        return self.sponsor


@dataclass(frozen=True, slots=True)
class ShownCharge:
    """A payment that is shown, and what it is shown for."""

    shown: ShownPayment
    terms: Terms
    token: Token
    quote: Quote


def leaves(inspected: InspectedTransfer, network: Network) -> tuple[str, ...]:
    """The proofs of what somebody allows with a transaction. They are its payer's, whoever's
    transaction it is in: everybody who has seen one can put it into another."""
    return tuple(
        f"auth:{network.name}:{entry.address}:{entry.nonce}"
        for entry in inspected.authorizations
        if entry.address is not None
    )


class ChargeAdmission(ABC):
    """What the three ways have in common: the record, and its way from state to state."""

    def __init__(self, counter: Counter, turn: Turn, charge: ShownCharge) -> None:
        self._counter = counter
        self._turn = turn
        self.is_held = turn.is_held
        self.hold = turn.hold
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
        try:
            self._require_open()
            proofs = self._read()
        except RefusalError:
            # What somebody has begun is waited for: it may be paid for all that we know, and then
            # it must not be refused, whatever has lapsed since.
            if await self._turn.find() is None or await self._is_only_claimed():
                raise
            return
        charge = await self._claim(proofs)
        if charge.state is State.CLAIMED:  # else another request has brought it further
            await self._check()

    async def _is_only_claimed(self) -> bool:
        return (await self._claim(())).state is State.CLAIMED

    def _require_open(self) -> None:
        if self._quote.lapsed is not None:
            raise RefusalError(self._quote.lapsed)

    @abstractmethod
    def _read(self) -> Sequence[str]:
        """See that a new payment is good, so far as it says so itself.

        Returns:
            The proofs that nobody but the payer can know yet, and that are claimed at once. What
            others may have seen is claimed when it is certain that it was the payer who showed it:
            a thief must not be able to keep the payer waiting.
        """

    @abstractmethod
    async def _check(self) -> None:
        """See that a payment that was read is good, by asking the network."""

    async def _claim(self, proofs: Sequence[str]) -> Charge:
        keep_until = max(self._quote.expires, int(self._counter.clock())) + RECORD_SECONDS
        return await self._turn.claim(self._shown.fingerprint, proofs, keep_until=keep_until)

    async def settle(self) -> Payment:
        """See `Admission.settle`."""
        charge = self._record()
        if charge.state is State.CLAIMED:
            await self._submit()
        elif charge.state is State.SUBMITTED:
            pending = submitted_before(charge, since=self._sent_since())
            await self._conclude(await self._counter.ledger.decide(pending))
        charge = self._record()
        self.payment = self.payment._replace(
            payer=charge.payer,
            reference=charge.reference,
            receipt_value=charge.receipt,
        )
        return self.payment

    def _sent_since(self) -> int:
        """When the transaction on record was sent at the earliest, Unix seconds: when its challenge
        was issued."""
        return self._counter.ledger.sent_since(self._quote.expires)

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
        charge = self._record()
        await self._settled(
            charge.reference or "", payer=charge.payer or "", at=decision.status.created_at
        )

    async def _settled(self, reference: str, *, payer: str, at: int | None) -> None:
        now = int(self._counter.clock())
        receipt = receipt_header(
            "stellar", reference, format_timestamp(at or now), self._terms.external_id
        )
        await self._turn.settled(
            receipt=receipt,
            payer=payer,
            reference=reference,
            keep_until=self._keep_until(settled_at=now, created_at=at or now),
        )

    def _keep_until(self, *, settled_at: int, created_at: int) -> int:
        """Until when a settled payment is on record: as long as it may be delivered, and as long
        as its transaction could be shown by its hash for another challenge, whichever way it was
        shown for this one."""
        redeemable_until = max(self._quote.expires, settled_at) + self._counter.redelivery_seconds
        return max(redeemable_until, created_at + PUSH_SECONDS + CLOCK_SECONDS)

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

    async def undelivered(self, *, begun: bool) -> None:
        """See `Admission.undelivered`."""
        await self._turn.end()

    def _inspect(
        self, envelope: str, *, is_nodes: bool = False
    ) -> tuple[InspectedTransfer, Transfer]:
        """What a transaction says, and that it pays what is asked; ``is_nodes``: it comes from the
        network, which does not take what cannot be read."""
        try:
            inspected = inspect_envelope(envelope, self._counter.network.passphrase)
        except TransferError as error:
            if is_nodes and isinstance(error, EncodingError):
                raise FaultError("The payment network gave a senseless answer.") from None
            raise RefusalError(problems.VERIFICATION_FAILED.because(str(error))) from None
        return inspected, policy.require_transfer(inspected, self._terms, self._source)

    async def _simulate(self, envelope: str, transfer: Transfer) -> Simulation:
        simulation = await self._counter.ledger.ask(
            simulate_transaction(envelope, auth_mode="enforce")
        )
        policy.require_success(simulation)
        try:
            events = simulated_events(simulation.events)
        except EventError:
            raise FaultError("The payment network gave a senseless answer.") from None
        policy.require_only_effect(events, transfer)
        return simulation
