"""Money into channels: openings, top-ups, and what became of them."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import httpx

from mpp_asgi.client.amounts import price_tag
from mpp_asgi.client.answers import problem_in
from mpp_asgi.client.errors import (
    BudgetExceededError,
    DepositInDoubtError,
    LedgerUnavailableError,
    PaymentNotMadeError,
    TransferFailedError,
)
from mpp_asgi.client.held_channel import (
    HeldChannel,
    NotUsableError,
    Status,
    TooMuchLockedError,
)
from mpp_asgi.client.ledger_truth import Verdict, verdict
from mpp_asgi.client.payments import PushedTransaction, TransactionTrace
from mpp_asgi.client.showing import (
    CHANNEL_FINALIZED,
    CHANNEL_NOT_FOUND,
    is_busy,
    refusal,
    slug_of,
)
from mpp_asgi.client.steps import RequestLostError, ask, wait
from mpp_asgi.stellar.rpc import get_latest_ledger
from mpp_asgi.stellar.rpc_call import RpcError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mpp_asgi.client.held_channel import Funding, Place
    from mpp_asgi.client.payer import Payer
    from mpp_asgi.client.session_offers import SessionOffer
    from mpp_asgi.client.sessions import Sessions
    from mpp_asgi.client.showing import Showing
    from mpp_asgi.client.steps import Chores, Steps

LOOK_SECONDS: Final = 0.25
"""Between two looks at what another request does with a channel."""

MOST_LOOKS: Final = 10
"""Looks at the ledger for a top-up that the server says is done."""

SETTLING_SECONDS: Final = 1.0
"""Between two of them."""


class NoRideError(Exception):
    """The request cannot be paid from a channel. Nothing was signed for it."""

    def __init__(self, why: PaymentNotMadeError) -> None:
        super().__init__(str(why))
        self.why = why


class Deposits:
    """Those of one request, at one place."""

    def __init__(self, payer: Payer, showing: Showing, place: Place, *, by: str) -> None:
        self._payer = payer
        self._sessions = payer.sessions
        self._showing = showing
        self._place = place
        self._by = by

    # --- openings ---------------------------------------------------------------------------------

    def sign_opening(self, offer: SessionOffer, *, worth: bool) -> Chores[HeldChannel | None]:
        """A channel that is about to be opened by this request; ``None``: another was faster.

        Raises:
            NoRideError: the deposit is not affordable, or not worth while.
            PaymentNotMadeError: it would not go through.
        """
        deposit = yield from self._sessions.deposit(self._place, offer, worth=worth)
        if deposit is None:
            if self._sessions.channels.live(self._place) is not None:
                return None  # what may be locked up is locked up there
            raise _not_enough(offer)
        channel, funding = yield from self._sessions.wallet.open(self._place, offer, deposit)
        held = HeldChannel(
            id=channel, place=self._place, waiting_period=offer.waiting_period, funding=funding
        ).lease(self._by, self._payer.clock())
        most = self._sessions.max_deposit[self._place.token]
        try:
            added = yield from self._sessions.do(
                lambda: self._sessions.channels.add(held, most_locked=most)
            )
        except TooMuchLockedError:  # others were faster
            raise _not_enough(offer) from None
        return held if added else None

    def resume_opening(self, held: HeldChannel) -> Chores[HeldChannel | None]:
        """An opening that is under way: by another request, which is waited for, or by one that
        has come to nothing. In the latter case it is this request's now, unless the ledger has
        decided.

        Returns:
            The channel if its opening is to be shown again, ``None`` if it is to be looked at anew.
        """
        while held.status is Status.OPENING:
            try:
                held = yield from self._lease(held)
            except NotUsableError:
                yield from wait(LOOK_SECONDS)
                held = yield from self._look(held)
                continue
            if (yield from decided(self._sessions, held)) is Verdict.OPEN:
                return held
            return None
        return None

    # --- top-ups ----------------------------------------------------------------------------------

    def top_up(self, held: HeldChannel, offer: SessionOffer, required: int) -> Steps[None]:
        """Put at least so much more into the channel that vouchers of ``required`` are good.

        Raises:
            NoRideError: that is not affordable.
            PaymentError: as its subclasses say.
        """
        while held.status is Status.OPEN and held.deposit < required:
            try:
                held = yield from self._lease(held)
            except NotUsableError:
                yield from wait(LOOK_SECONDS)
            else:
                # Another has signed one after all if this request held its lease for too long.
                with self._leased(held), suppress(NotUsableError):
                    yield from self._top_up(held, offer, required)
            held = yield from self._look(held)

    def _top_up(self, held: HeldChannel, offer: SessionOffer, required: int) -> Steps[None]:
        if held.funding is None:
            least = required - held.deposit
            funding = yield from self._sign_top_up(held, offer, least)
            most = self._sessions.max_deposit[self._place.token]
            try:
                held = yield from self._sessions.change(
                    held, lambda each: each.fund(funding), most_locked=most
                )
            except TooMuchLockedError:  # others were faster
                raise _used_up(offer, least) from None
        elif (yield from decided(self._sessions, held)) is not Verdict.OPEN:
            return
        else:
            funding = held.funding
        yield from self.push(held)
        payload = {
            "channelId": held.id,
            "additionalDeposit": str(funding.amount),
            **funding.payload,
        }
        try:
            response = yield from self._showing.show(offer, "topUp", payload, channel=held.id)
        except RequestLostError as lost:
            if isinstance(lost.cause, httpx.TransportError) and not lost.never_sent:
                raise in_doubt(held) from lost.cause
            raise
        if response.is_success:
            yield from self._require_paid(held)
        elif is_busy(response) or response.is_server_error:
            raise in_doubt(held)
        elif (yield from self._is_over(held, response)):
            return
        elif (found := (yield from decided(self._sessions, held))) is not Verdict.PAID:
            raise refusal(
                "a top-up",
                offer,
                response,
                paid=False if found is Verdict.VOID else None,
            )

    def _require_paid(self, held: HeldChannel) -> Chores[None]:
        """See that the ledger has the top-up, too: on the word of the server alone it could be kept
        for later, while another is signed.

        Raises:
            DepositInDoubtError: it has not.
        """
        for _ in range(MOST_LOOKS):
            if (yield from decided(self._sessions, held)) is Verdict.PAID:
                return
            yield from wait(SETTLING_SECONDS)
        raise in_doubt(held)

    def _is_over(self, held: HeldChannel, response: httpx.Response) -> Chores[bool]:
        """Whether the server refused because the channel is closed, and the ledger says so, too."""
        if slug_of(problem_in(response)) not in {CHANNEL_FINALIZED, CHANNEL_NOT_FOUND}:
            return False
        token = self._payer.rules.tokens.get(held.place.token)
        return (yield from self._sessions.found_closed(held, token)) is not None

    def _sign_top_up(self, held: HeldChannel, offer: SessionOffer, least: int) -> Chores[Funding]:
        amount = yield from self._sessions.deposit(self._place, offer, worth=False, at_least=least)
        if amount is None:
            raise _used_up(offer, least)
        return (yield from self._sessions.wallet.top_up(held, offer, amount))

    # --- both -------------------------------------------------------------------------------------

    def push(self, held: HeldChannel) -> Chores[None]:
        """Submit the funding, where the payer does that itself and nobody else is at it.

        Raises:
            TransferFailedError: the ledger refused it.
            DepositInDoubtError: nobody knows.
        """
        funding = held.funding
        if (
            funding is None
            or funding.envelope is None
            or not isinstance(funding.trace, TransactionTrace)
            or held.lease_by != self._by
        ):
            return
        pushed = PushedTransaction(funding.envelope, funding.trace)
        # Before it is: this may be its last step.
        yield from self._sessions.change(held, lambda each: each.submitted(funding))
        found = yield from self._payer.wallet.submit(pushed, submitted_before=funding.submitted)
        if found is Verdict.VOID:
            yield from self._sessions.change(held, lambda each: each.unfunded(funding))
            raise TransferFailedError("Nothing was paid, because the ledger refused the deposit.")
        if found is Verdict.OPEN:
            raise in_doubt(held)

    def _lease(self, held: HeldChannel) -> Chores[HeldChannel]:
        now = self._payer.clock()
        return (yield from self._sessions.change(held, lambda each: each.lease(self._by, now)))

    def _look(self, held: HeldChannel) -> Chores[HeldChannel]:
        return (yield from self._sessions.change(held, lambda each: each))

    @contextmanager
    def _leased(self, held: HeldChannel) -> Iterator[None]:
        try:
            yield
        finally:
            # At once and not as a chore: this may be the end of the task.
            self._sessions.channels.change(held.id, lambda each: each.release(self._by))


def decided(sessions: Sessions, held: HeldChannel) -> Chores[Verdict]:
    """What the ledger says of the funding, and the channel keeps that."""
    funding = held.funding
    if funding is None:
        return Verdict.PAID
    found = yield from verdict(funding.trace)
    if found is Verdict.OPEN:
        found = yield from _by_channel(sessions, held, funding)
    if found is Verdict.PAID:
        yield from sessions.change(held, lambda each: each.funded(funding))
    elif found is Verdict.VOID:
        yield from sessions.change(held, lambda each: each.unfunded(funding))
    return found


def _by_channel(sessions: Sessions, held: HeldChannel, funding: Funding) -> Chores[Verdict]:
    """What the channel itself shows of it, long after the trace is cold."""
    try:
        latest = yield from ask(get_latest_ledger())
        facts = yield from sessions.wallet.facts(held)
    except (RpcError, LedgerUnavailableError):
        return Verdict.OPEN
    if facts is not None and facts.deposited >= held.deposit + funding.amount:
        return Verdict.PAID
    trace = funding.trace
    if isinstance(trace, TransactionTrace):
        too_late = latest.close_time is not None and latest.close_time > trace.max_time
    else:
        too_late = latest.sequence > trace.expiration_ledger
    return Verdict.VOID if too_late else Verdict.OPEN


def _not_enough(offer: SessionOffer) -> NoRideError:
    return NoRideError(
        BudgetExceededError(
            "Not enough may be locked up for a payment channel: "
            f"a request costs {price_tag(offer.amount, offer.token)}."
        )
    )


def _used_up(offer: SessionOffer, least: int) -> NoRideError:
    return NoRideError(
        BudgetExceededError(
            "The payment channel is used up, and not as much as the "
            f"{price_tag(least, offer.token)} that it needs may be added."
        )
    )


def in_doubt(held: HeldChannel) -> DepositInDoubtError:
    """The funding was shown or submitted, and that is all that is known."""
    return DepositInDoubtError(
        "It is not known what came of a deposit into a payment channel; "
        "the next request to the server finds out.",
        channel=held.id,
    )
