"""A request on its way with a voucher, from its signing to its answer."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import httpx

from mpp_asgi.client.answers import problem_in
from mpp_asgi.client.deposits import decided, in_doubt
from mpp_asgi.client.errors import (
    BudgetExceededError,
    ChannelDisputedError,
    LedgerUnavailableError,
)
from mpp_asgi.client.held_channel import FalseClaimError, Flight, HeldChannel, Status
from mpp_asgi.client.ledger_truth import Verdict
from mpp_asgi.client.payments import PaidRequest
from mpp_asgi.client.showing import (
    CHANNEL_FINALIZED,
    CHANNEL_NOT_FOUND,
    INSUFFICIENT,
    PAYMENT_REQUIRED,
    REVERTED,
    refusal,
    slug_of,
)
from mpp_asgi.client.steps import RequestLostError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mpp_asgi.client.deposits import Deposits
    from mpp_asgi.client.errors import PaymentRefusedError
    from mpp_asgi.client.payer import Payer
    from mpp_asgi.client.session_offers import SessionOffer
    from mpp_asgi.client.showing import Showing
    from mpp_asgi.client.steps import Chores, Steps
    from mpp_asgi.protocol import Receipt
    from mpp_asgi.stellar.channel_facts import ChannelFacts

MOST_SHOWINGS: Final = 4
"""Vouchers that are shown for one request on one trip."""

_HASH: Final = re.compile(r"[0-9a-f]{64}")

_ASK_ANEW: Final = frozenset(
    {
        "payment-required",
        "payment-expired",
        "payment-insufficient",
        "invalid-challenge",
        "session/challenge-not-found",
        "session/delta-too-small",
    }
)
"""The challenge will not do any more; the one that comes with this will."""


class Trip:
    """One request, one channel."""

    def __init__(
        self,
        payer: Payer,
        *,
        showing: Showing,
        deposits: Deposits,
        held: HeldChannel,
        offer: SessionOffer,
        by: str,
    ) -> None:
        self._payer = payer
        self._sessions = payer.sessions
        self._showing = showing
        self._deposits = deposits
        self._held = held
        self._offer = offer
        self._by = by
        self._flight = Flight(by, offer.amount, payer.clock())
        self._reopening = False
        self._before = held.signed
        """What was signed before this trip: no other voucher can the server have settled."""
        self._refused = False
        """The server has seen the voucher as it is, and does not want it."""
        self._over = False
        self.response: httpx.Response | None = None
        """The last answer to a voucher of this trip."""

    def go(self) -> Steps[bool]:
        """Show vouchers until there is an answer.

        Returns:
            Whether the request was answered. If not, the channel is of no use any more, and the
            ledger says that there is nothing to take from it.

        Raises:
            DepositTooSmallError: the channel has to be topped up first.
            NotUsableError: it is not in use any more. Nothing was signed.
            BudgetExceededError: the budget has not enough left. Nothing was signed.
            PaymentRefusedError, ChannelDisputedError, DepositInDoubtError
        """
        try:
            yield from self._deposits.push(self._held)
            yield from self._depart()
            for _ in range(MOST_SHOWINGS):
                self.response = response = yield from self._show()
                outcome = yield from self._judge(response)
                if outcome is not None:
                    return outcome
            raise self._refusal(response)
        finally:
            if not self._over:
                # Not as a chore: this may be the end of the task.
                self._sessions.note_at_once(self._held, self._ended)

    def _ended(self, held: HeldChannel) -> HeldChannel:
        """The trip is over, and nobody said how. A refusal is the server's word that it is free."""
        ended = held.turn_back(self._by) if self._refused else held.lose(self._by)
        return ended.release(self._by)

    # --- signing ----------------------------------------------------------------------------------

    def _depart(self) -> Chores[None]:
        flight, raise_by = self._flight, self._offer.least_raise
        yield from self._sign(lambda held: held.depart(flight, least_raise=raise_by))

    def _sign(self, change: Callable[[HeldChannel], HeldChannel]) -> Chores[None]:
        self._held = yield from self._sessions.change(
            self._held, self._sessions.signing(self._offer.token, change)
        )

    def _show(self) -> Steps[httpx.Response]:
        held, self._refused = self._held, False
        action, payload = "voucher", dict(self._sessions.wallet.voucher(held.id, held.signed))
        if held.status is Status.OPENING and held.funding is not None:
            action, payload = "open", {**payload, **held.funding.payload}
        elif self._reopening and held.opened_by is not None:
            action, payload = "open", {**payload, **held.opened_by}
        try:
            return (yield from self._showing.show(self._offer, action, payload, channel=held.id))
        except RequestLostError as lost:
            if (
                held.status is Status.OPENING
                and isinstance(lost.cause, httpx.TransportError)
                and not lost.never_sent
            ):
                raise in_doubt(held) from lost.cause
            raise

    # --- the answer -------------------------------------------------------------------------------

    def _judge(self, response: httpx.Response) -> Steps[bool | None]:
        """Whether the request was answered; ``None``: show another voucher."""
        if not self._showing.from_server(response):  # a redirect led to somebody else
            yield from self._arrived(response)
            return True
        slug = slug_of(problem_in(response)) if response.is_error else ""
        if slug in {CHANNEL_NOT_FOUND, CHANNEL_FINALIZED}:
            return (yield from self._gone(slug, response))
        if response.status_code == PAYMENT_REQUIRED or slug == REVERTED:
            yield from self._go_on(slug, response)
            return None
        yield from self._arrived(response)
        return True

    def _arrived(self, response: httpx.Response) -> Chores[None]:
        """The app gets this response."""
        held, now = self._held, self._payer.clock()
        receipt, claim = self._showing.receipt(response, held.id)
        fresh = self._showing.renewed(response, self._offer)
        offer = fresh or self._offer
        known = self._sessions.prices.knows(self._showing.target.method, self._showing.url)
        served = response.is_success and (receipt is not None or known)

        def land(each: HeldChannel) -> HeldChannel:
            if response.is_success:  # which says nothing of a top-up that is under way meanwhile
                opening = each.funding if each.status is Status.OPENING else None
                opened = each if opening is None else each.funded(opening)
                each = _with_hash(opened, receipt)
            if not served:
                return each.lose(self._by).release(self._by)
            target = self._showing.target
            return (
                each.land(self._by, claim.spent)
                .believe(accepted=claim.accepted)
                .release(self._by)
                .used(
                    method=target.method,
                    url=target.url,
                    challenge=offer.challenge.to_header(),
                    at=now,
                )
            )

        try:
            if held.status is Status.OPENING:
                self._held = yield from self._sessions.change(held, land)
            else:
                self._held = yield from self._sessions.note(held, land)
        except FalseClaimError:
            # What was asked for was delivered. There is not going to be another voucher.
            yield from self._forsake()
        self._over = True
        if served:
            self._sessions.prices.learn(
                self._showing.target.method, self._showing.url, offer.challenge
            )
            self._enter(receipt)
        elif response.is_success:
            self._sessions.prices.learn_free(self._showing.target.method, self._showing.url)

    def _enter(self, receipt: Receipt | None) -> None:
        offer, request = self._offer, self._showing.request
        self._sessions.experience.add(self._held.place)
        transaction_hash = None if receipt is None else receipt.extra.get("txHash")
        self._payer.book.enter(
            PaidRequest(
                method=request.method,
                url=str(request.url),
                challenge_id=offer.challenge.id,
                currency=offer.token.symbol,
                token=offer.token.address,
                amount=offer.amount,
                decimals=offer.token.decimals,
                recipient=offer.recipient,
                transaction_hash=transaction_hash if isinstance(transaction_hash, str) else None,
                receipt=receipt,
                channel=self._held.id,
            )
        )

    # --- refusals ---------------------------------------------------------------------------------

    def _go_on(self, slug: str, response: httpx.Response) -> Chores[None]:
        """Go on with what the server says, as far as it can be so, or raise."""
        self._refused = True
        if self._held.status is Status.OPENING:
            yield from self._unopened(response)
        shown = self._held.signed
        claim = self._showing.claim(response, self._held.id)
        try:
            self._held = yield from self._sessions.change(
                self._held, lambda each: each.believe(accepted=claim.accepted, spent=claim.spent)
            )
        except FalseClaimError:
            yield from self._forsake()
            raise self._dispute() from None
        if slug == "session/amount-exceeds-deposit":
            yield from self._correct_deposit(response)
        renewed = self._showing.renewed(response, self._offer)
        if renewed is not None:
            self._sessions.prices.learn(
                self._showing.target.method, self._showing.url, renewed.challenge
            )
        anew = slug in _ASK_ANEW and renewed is not None and renewed != self._offer
        try:
            yield from self._sign_anew(renewed or self._offer)
            if slug == INSUFFICIENT and self._held.signed == shown <= self._before:
                least = self._offer.least_raise
                yield from self._sign(lambda held: held.lift(least))
        except BudgetExceededError:
            raise self._refusal(response) from None
        behind = shown < (claim.accepted or 0)
        if not (anew or behind or self._held.signed > shown):
            raise self._refusal(response)

    def _sign_anew(self, offer: SessionOffer) -> Chores[None]:
        """At the price as it is now."""
        self._offer, flight = offer, replace(self._flight, price=offer.amount)
        self._flight = flight

        def again(held: HeldChannel) -> HeldChannel:
            return held.turn_back(self._by).depart(flight, least_raise=offer.least_raise)

        yield from self._sign(again)

    def _unopened(self, response: httpx.Response) -> Chores[None]:
        """The opening was refused. What does the ledger say?"""
        found = yield from decided(self._sessions, self._held)
        if found is Verdict.VOID:
            self._over = True
            raise self._refusal(response, paid=False)
        if found is Verdict.OPEN and self._showing.renewed(response, self._offer) is None:
            raise self._refusal(response)
        self._held = yield from self._sessions.change(self._held, lambda each: each)

    def _correct_deposit(self, response: httpx.Response) -> Chores[None]:
        """The server says that the deposit is smaller than we think. The ledger knows."""
        facts = yield from self._facts(response)
        if facts is None or facts.deposited >= self._held.signed:
            raise self._refusal(response)
        self._held = yield from self._sessions.change(
            self._held, lambda each: replace(each, deposit=facts.deposited)
        )

    def _gone(self, slug: str, response: httpx.Response) -> Chores[bool | None]:
        """The server does not know the channel, or says that it is over. The ledger knows."""
        self._refused = True
        facts = yield from self._facts(response)
        empty = facts is not None and facts.is_closed and not facts.balance
        if self._held.status is Status.OPEN and facts is not None and empty:
            token, had = self._offer.token, facts.withdrawn
            yield from self._sessions.do(lambda: self._sessions.closed(self._held, token, had))
            self._over = True
            return False
        can_reopen = facts is not None and self._held.opened_by is not None
        if slug == CHANNEL_NOT_FOUND and can_reopen and not self._reopening:
            self._reopening = True
            self._offer = self._showing.renewed(response, self._offer) or self._offer
            return None
        if self._held.status is Status.OPEN:
            yield from self._forsake()
        raise self._refusal(response)

    def _facts(self, response: httpx.Response) -> Chores[ChannelFacts | None]:
        try:
            return (yield from self._sessions.wallet.facts(self._held))
        except LedgerUnavailableError:
            raise self._refusal(response) from None

    def _forsake(self) -> Chores[None]:
        yield from self._sessions.change(self._held, lambda each: each.ended(Status.FORSAKEN))
        self._over = True

    def _dispute(self) -> ChannelDisputedError:
        return ChannelDisputedError(
            "The server claims more of a payment channel than was ever signed; "
            "no voucher is signed for it any more.",
            channel=self._held.id,
        )

    def _refusal(
        self, response: httpx.Response, *, paid: bool | None = None
    ) -> PaymentRefusedError:
        return refusal("a voucher", self._offer, response, paid=paid)


def _with_hash(held: HeldChannel, receipt: Receipt | None) -> HeldChannel:
    """A hash shows the opening again in fewer words than the transaction, and for longer."""
    said = None if receipt is None else receipt.extra.get("txHash")
    if held.opened_by is None or not isinstance(said, str) or not _HASH.fullmatch(said):
        return held
    if held.opened_by.get("type") == "hash":
        return held
    return replace(held, opened_by={"type": "hash", "hash": said})
