"""The ways out of a channel: closed by the server at what is owed, or without the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import httpx

from mpp_asgi.client.deposits import decided
from mpp_asgi.client.errors import (
    ChannelDisputedError,
    DepositInDoubtError,
    PaymentNotMadeError,
    TransferFailedError,
    UnacceptableOfferError,
)
from mpp_asgi.client.held_channel import LOCKED, FalseClaimError, HeldChannel, Place, Status
from mpp_asgi.client.ledger_truth import Verdict
from mpp_asgi.client.offers import Asked
from mpp_asgi.client.payments import Target
from mpp_asgi.client.session_offers import session_offers
from mpp_asgi.client.showing import Showing, refusal
from mpp_asgi.client.steps import send, wait
from mpp_asgi.protocol import Challenge, ProtocolError
from mpp_asgi.protocol.headers import ACCEPT_PAYMENT, PAYMENT_SESSION
from mpp_asgi.stellar.channel_calls import close_start_call, refund_call

if TYPE_CHECKING:
    from collections.abc import Callable

    from mpp_asgi.client.payer import Payer
    from mpp_asgi.client.payments import PushedTransaction
    from mpp_asgi.client.session_offers import SessionOffer
    from mpp_asgi.client.steps import Chores, Steps

MOST_SHOWINGS: Final = 4
"""Amounts at which one closing is tried: the server's count may still be on its way here."""

MOST_LOOKS: Final = 10
"""Looks at the ledger for a closing that the server says is done."""

LOOK_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Leaving:
    """Of one payer."""

    payer: Payer

    def _channel(self, channel: str) -> Chores[HeldChannel]:
        """The channel with this id.

        Raises:
            ValueError: this payer has none.
        """
        found = yield from self.payer.sessions.do(lambda: self.payer.sessions.channels.get(channel))
        if found is None or not self._ours(found):
            raise _not_ours(channel)
        return found

    def _found(self, channel: str) -> Chores[HeldChannel]:
        """The channel with this id, even if nobody remembers it: the ledger knows whose it is.

        Raises:
            ValueError: this payer has none.
            LedgerUnavailableError: the RPC could not be asked.
        """
        sessions, rules = self.payer.sessions, self.payer.rules
        if (yield from sessions.do(lambda: sessions.channels.get(channel))) is not None:
            return (yield from self._channel(channel))
        facts = yield from sessions.wallet.facts_of(channel, list(rules.tokens))
        if facts is None or facts.funder != rules.payer:
            raise _not_ours(channel)
        place = Place(rules.payer, rules.network.name, "", facts.recipient, facts.token)
        held = HeldChannel(
            id=channel,
            place=place,
            waiting_period=facts.waiting_period,
            status=Status.FORSAKEN,
            deposit=facts.deposited,
        )
        yield from sessions.do(lambda: sessions.channels.add(held))
        return held

    def all(self) -> Chores[list[HeldChannel]]:
        """This payer's channels, on its network."""
        found = yield from self.payer.sessions.do(self.payer.sessions.channels.all)
        return [each for each in found if self._ours(each)]

    # --- with the server --------------------------------------------------------------------------

    def close(self, only: str | None) -> Steps[tuple[HeldChannel, ...]]:
        """Have one channel closed, or all. One that fails keeps no other from being closed; the
        first failure is raised in the end. See `_close` for what can be raised."""
        if only is not None:
            return ((yield from self._close((yield from self._channel(only)))),)
        closed, failure = [], None
        for held in (yield from self.all()):
            if held.status not in {Status.OPENING, Status.OPEN, Status.CLOSING}:
                continue
            try:
                closed.append((yield from self._close(held)))
            except Exception as error:  # noqa: BLE001 - raised below, when the others are closed
                failure = failure or error
        if failure is not None:
            raise failure
        return tuple(closed)

    def _close(self, held: HeldChannel) -> Steps[HeldChannel]:
        """Have the server close the channel at what is owed, so that the rest comes back.

        Returns:
            The channel, closed: what is ``owed`` of it now is what the recipient has had.

        Raises:
            PaymentRefusedError: the server does not want to.
            ChannelDisputedError: it claims more than was signed.
            DepositInDoubtError: it says that it did, and the ledger does not.
            UnacceptableOfferError: it offers no sessions any more.
        """
        if held.status is Status.OPENING:
            yield from decided(self.payer.sessions, held)
            held = yield from self._channel(held.id)
        if held.status not in {Status.OPEN, Status.CLOSING}:
            return held
        held = yield from self._change(held, lambda each: each.ended(Status.CLOSING))
        showing = self._showing(held)
        offer = yield from self._offer(held, showing)
        amount = held.owed
        for _ in range(MOST_SHOWINGS):
            voucher = self.payer.sessions.wallet.voucher(held.id, amount)
            response = yield from showing.show(offer, "close", voucher, channel=held.id)
            if response.is_success:
                doubt = "The server says that it closed the channel, and the ledger does not."
                return (
                    yield from self._confirmed(held, DepositInDoubtError(doubt, channel=held.id))
                )
            found = yield from self._gone(held)
            if found is not None:
                return found
            claim = showing.claim(response, held.id)
            held = yield from self._believed(held, accepted=claim.accepted, spent=claim.spent)
            renewed = showing.renewed(response, offer)
            if renewed in {None, offer} and claim.spent in {None, amount}:
                break
            offer, amount = renewed or offer, held.owed if claim.spent is None else claim.spent
        raise refusal("to close a channel", offer, response, paid=None)

    def _offer(self, held: HeldChannel, showing: Showing) -> Steps[SessionOffer]:
        """A challenge to answer with the closing: the last one, or a fresh one."""
        try:
            last = [Challenge.from_header(held.challenge)]
        except ProtocolError:
            last = []
        if (offer := self._fitting(last, held)) is not None:
            return offer
        # A request that costs nothing any more would be carried out: only one that is harmless.
        for method in ("HEAD", "GET") if held.method in {"GET", "HEAD"} else ("HEAD",):
            headers = {ACCEPT_PAYMENT: "stellar/session", PAYMENT_SESSION: held.id}
            response = yield from send(httpx.Request(method, held.url, headers=headers))
            if (offer := self._fitting(showing.challenges(response), held)) is not None:
                return offer
        raise UnacceptableOfferError(("it does not offer the session any more",))

    def _fitting(self, challenges: list[Challenge], held: HeldChannel) -> SessionOffer | None:
        payer = self.payer
        offers, _ = session_offers(
            challenges,
            payer.rules,
            payer.sessions.policy,
            Asked(b"", has_authorization=False),
            now=payer.clock(),
        )
        for each in offers:
            if (each.token.address, each.recipient) == (held.place.token, held.place.recipient):
                return each
        return None

    def _showing(self, held: HeldChannel) -> Showing:
        request = httpx.Request(held.method, held.url)
        return Showing(self.payer, request, b"", Target(held.method, held.url))

    def _believed(
        self, held: HeldChannel, *, accepted: int | None, spent: int | None
    ) -> Chores[HeldChannel]:
        try:
            return (
                yield from self._change(
                    held, lambda each: each.believe(accepted=accepted, spent=spent)
                )
            )
        except FalseClaimError:
            yield from self._change(held, lambda each: each.ended(Status.FORSAKEN))
            raise ChannelDisputedError(
                "The server claims more of a payment channel than was ever signed.",
                channel=held.id,
            ) from None

    def _confirmed(self, held: HeldChannel, doubt: DepositInDoubtError) -> Chores[HeldChannel]:
        """The channel, when the ledger says that it is closed and empty."""
        for _ in range(MOST_LOOKS):
            if (found := (yield from self._gone(held))) is not None:
                return found
            yield from wait(LOOK_SECONDS)
        raise doubt

    def _gone(self, held: HeldChannel) -> Chores[HeldChannel | None]:
        """The channel, if it is closed on the ledger and there is nothing in it any more."""
        token = self.payer.rules.tokens.get(held.place.token)
        return (yield from self.payer.sessions.found_closed(held, token))

    # --- without it -------------------------------------------------------------------------------

    def close_start(self, channel: str) -> Chores[int]:
        """Announce on the ledger that the deposit is going to be taken back.

        Returns:
            The ledger from which on `refund` can.

        Raises:
            PaymentNotMadeError: that cannot be; nothing happened.
            DepositInDoubtError: nobody knows whether it happened. It may be repeated.
        """
        held = yield from self._found(channel)
        if held.status not in LOCKED:
            raise PaymentNotMadeError("There is nothing in the channel any more.")
        pushed = yield from self.payer.sessions.wallet.way_out(close_start_call(held.id))
        yield from self._change(held, lambda each: each.ended(Status.CLOSING))
        yield from self._submit(held, pushed)
        facts = yield from self.payer.sessions.wallet.facts(held)
        if facts is None or facts.closes_at is None:
            raise _unknown(held)
        return facts.closes_at

    def refund(self, channel: str) -> Chores[HeldChannel]:
        """Take back what is left, when the waiting is over.

        Returns:
            The channel, closed: what is ``owed`` of it now is what the recipient has had.

        Raises:
            PaymentNotMadeError: it is too early, or was never announced; nothing happened.
            DepositInDoubtError: nobody knows whether it happened. It may be repeated.
        """
        held = yield from self._found(channel)
        facts = yield from self.payer.sessions.wallet.facts(held)
        if facts is None:
            raise PaymentNotMadeError("The channel is not on the ledger.")
        if facts.closes_at is None:
            raise PaymentNotMadeError("The channel is not being closed: begin with close_start.")
        if not facts.is_closed:
            raise PaymentNotMadeError(
                f"The deposit can be taken back from ledger {facts.closes_at} on; "
                f"this is {facts.ledger}."
            )
        if facts.balance:
            pushed = yield from self.payer.sessions.wallet.way_out(refund_call(held.id))
            yield from self._submit(held, pushed)
        # The recipient may have settled in between: what counts is what the ledger says now.
        return (yield from self._confirmed(held, _unknown(held)))

    def _submit(self, held: HeldChannel, pushed: PushedTransaction) -> Chores[None]:
        found = yield from self.payer.wallet.submit(pushed, submitted_before=False)
        if found is Verdict.VOID:
            raise TransferFailedError("Nothing happened, because the ledger refused it.")
        if found is Verdict.OPEN:
            raise _unknown(held)

    # --- both -------------------------------------------------------------------------------------

    def reconcile(self) -> Chores[None]:
        """Ask the ledger about deposits in doubt, and about channels that may be closed."""
        for held in (yield from self.all()):
            if held.funding is not None:
                yield from decided(self.payer.sessions, held)
            elif held.status in LOCKED - {Status.OPEN}:
                yield from self._gone(held)

    def _change(
        self, held: HeldChannel, change: Callable[[HeldChannel], HeldChannel]
    ) -> Chores[HeldChannel]:
        return (yield from self.payer.sessions.change(held, change))

    def _ours(self, held: HeldChannel) -> bool:
        rules = self.payer.rules
        return (held.place.payer, held.place.network) == (rules.payer, rules.network.name)


def _not_ours(channel: str) -> ValueError:
    return ValueError(f"This payer has no channel {channel!r}.")


def _unknown(held: HeldChannel) -> DepositInDoubtError:
    return DepositInDoubtError(
        "It is not known whether the ledger has the transaction; do the same again.",
        channel=held.id,
    )
