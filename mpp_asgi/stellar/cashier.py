"""The recipient's side of a channel: taking the money that vouchers stand for.

What is taken is what the contract pays for the voucher, no more and no less, so nothing here can be
done twice to any effect: a settlement that was carried out already changes nothing. All the same
each is written down before it is sent, one at a time is at a channel, and doubt is followed to its
end, because a transaction costs a fee and a channel may be about to be refunded.

One at a time: in a process whose turn it is, between processes whoever has the lease. What is taken
is decided then, by the record as it stands: it may have moved on since somebody wanted it settled.
"""

from __future__ import annotations

import hashlib
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from mpp_asgi.intents import FaultError, PendingError, RefusalError
from mpp_asgi.protocol import problems
from mpp_asgi.stellar.admissions import RECORD_SECONDS
from mpp_asgi.stellar.channel import ChannelFacts, NotAChannelError, read_channel
from mpp_asgi.stellar.dispatch import Dispatch, submitted_before
from mpp_asgi.stellar.observation import note
from mpp_asgi.stellar.payout import NotPaidError, Payout, prepare
from mpp_asgi.stellar.settlement import to_settle
from mpp_asgi.stores.channels import ChannelStatus
from mpp_asgi.stores.contract import State, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from stellar_sdk import Keypair

    from mpp_asgi.stellar.admissions import Counter
    from mpp_asgi.stellar.dispatch import Prepared
    from mpp_asgi.stellar.ledger import Decision
    from mpp_asgi.stellar.sponsor import Sponsor
    from mpp_asgi.stores.channels import Channel
    from mpp_asgi.turns import Turn

log = logging.getLogger("mpp_asgi.channels")

LEASE_SECONDS: Final = 120
"""How long a channel is one process's to settle, unless it lets go earlier."""
LAG_SECONDS: Final = 12
"""How long to wait for a node to show the ledger in which a transaction of ours is."""

_LOOK_SECONDS: Final = 0.5

_LEASE: Final = "cashier:"


class Cashier:
    """Settles and closes channels in the name of their recipient.

    Args:
        counter: network, ledger and records.
        recipient: the key of the account that channels pay.
        payer: who pays the network's fees; the recipient itself where nobody else does.
    """

    def __init__(self, counter: Counter, recipient: Keypair, *, payer: Sponsor) -> None:
        self._counter = counter
        self._recipient = recipient
        self._store = counter.book.store
        self._dispatch = Dispatch(
            payer,
            counter.ledger,
            passphrase=counter.network.passphrase,
            clock=counter.clock,
        )

    async def settle(self, channel: Channel) -> str | None:
        """Take what the highest voucher is worth, or that which the channel is closed with. The
        channel goes on.

        What the ledger says of the channel then is written into its record.

        Args:
            channel: which. What is held for it is read once its turn has come.

        Returns:
            The transaction's hash (64 hex digits); ``None`` if there was nothing to take.

        Raises:
            PendingError: another process or request is at this channel, or its payer closes it.
            FaultError: it could not be done or is not decided yet. Try again: it goes on there.
            RefusalError: the ledger will not pay, and nothing is on its way there:
                ``session/channel-not-found``, or ``session/transaction-reverted`` for a channel
                that has been refunded. The voucher stays where it is; trying again costs nothing
                where it is foreseen, and else a fee.
            StoreUnavailableError: the records are out of reach.
        """
        async with self._alone_at(channel.id) as until:
            kept = await self._store.channel(channel.id)
            if kept is None:
                raise _not_found()
            voucher = to_settle(kept)
            if not voucher.signature:
                return None
            payment = Payout(kept, voucher.accepted, voucher.signature, False)
            return await self._take(payment, until=until)

    async def close(self, channel: Channel, *, reopens: bool = False) -> str | None:
        """Take what the voucher it is closed with is worth, and have the funder given the rest.

        Args:
            channel: one that is closing: its ``closing_amount`` and ``closing_signature`` are set.
            reopens: if the ledger will not have it, take vouchers again, unless the ledger says
                that it is closed. For whoever tells its payer.

        Returns:
            The transaction's hash (64 hex digits); ``None`` if it was closed otherwise meanwhile,
            with nothing left to take.

        Raises:
            ValueError: it is not closing.
            PendingError: as `settle`; or this close was given up by whoever came first.
            FaultError, RefusalError, StoreUnavailableError: as `settle`.
        """
        if channel.closing_amount is None:
            raise ValueError("The channel is not closing.")
        payment = Payout(channel, channel.closing_amount, channel.closing_signature, True)
        async with self._alone_at(channel.id) as until:
            return await self._take(payment, until=until, reopens=reopens)

    async def look(self, channel: Channel) -> Channel | None:
        """Read what the ledger says of a channel into its record, and give that.

        Raises:
            RefusalError: ``session/channel-not-found``.
            FaultError, StoreUnavailableError: it cannot be read, or written.
        """
        return await self.note(channel, await self._read(channel))

    async def note(self, channel: Channel, facts: ChannelFacts) -> Channel | None:
        """Take what was read of a channel into its record, and give that; ``None`` if there is
        none. It is judged by the record as it stands, which may be newer."""
        kept = await self._store.channel(channel.id)
        return await note(self._store, kept or channel, facts, now=int(self._counter.clock()))

    @asynccontextmanager
    async def _alone_at(self, channel_id: str) -> AsyncIterator[int]:
        """Have a channel for ourselves, until then at most (Unix seconds).

        Raises:
            PendingError: others are at it.
        """
        store, owner, name = self._store, self._counter.book.owner, f"{_LEASE}{channel_id}"
        turn = await self._counter.book.turn(name)  # as the lease is granted again to its owner
        try:
            now = int(self._counter.clock())
            until = now + LEASE_SECONDS
            if not await store.lease(name, owner=owner, until=until, now=now):
                raise PendingError(retry_after=5)
            try:
                yield until
            finally:
                try:
                    await store.release_lease(name, owner=owner)
                except StoreUnavailableError as error:  # it lapses by itself
                    log.warning("store unavailable, channel %s stays taken: %s", channel_id, error)
        finally:
            await turn.end()

    async def _take(self, payment: Payout, *, until: int, reopens: bool = False) -> str | None:
        turn = await self._counter.book.turn(payment.record_id)
        try:
            return await self._take_in_turn(turn, payment, until=until)
        except RefusalError as refusal:
            if reopens:
                await self._reopen(turn, payment, refusal)
            raise
        finally:
            await turn.end()

    async def _take_in_turn(self, turn: Turn, payment: Payout, *, until: int) -> str | None:
        # It is for an amount, whichever signature of that comes first: what is under way with one
        # is followed to its end before anything is said of another.
        charge = await turn.claim(
            hashlib.sha256(payment.record_id.encode()).hexdigest(),
            (),
            keep_until=int(self._counter.clock()) + RECORD_SECONDS,
        )
        if charge.state is State.SUBMITTED:  # by an earlier request, or a process that died
            decision = await self._counter.ledger.decide(submitted_before(charge))
            await self._conclude(turn, payment, decision)
        elif charge.state is State.SETTLED:
            await self._note_after(payment.channel, 0)
        if turn.charge is not None and turn.charge.state is State.CLAIMED:
            await self._require_wanted(payment)
            facts = await self._find(payment.channel)
            if facts is not None:
                await self.note(payment.channel, facts)  # whatever becomes of our part
                if _is_done(payment, facts):  # with another voucher or hand
                    return None
            await self._store.publish(payment.channel.id, amount=payment.amount)
            await self._conclude(turn, payment, await self._send(turn, payment, facts, until))
        return turn.charge.reference if turn.charge else None

    async def _require_wanted(self, payment: Payout) -> None:
        """See that this is to be sent still: a close may have been given up, and where one began
        since, nothing beyond it is taken. To be done once the payment's record is ours: from then
        on nobody else gives a close up.

        Raises:
            PendingError: it is not.
        """
        kept = await self._store.channel(payment.channel.id)
        if kept is None:
            raise _not_found()
        closing = kept.closing_amount
        if payment.closes and kept.status is not ChannelStatus.CLOSED:  # else what is left is taken
            is_wanted = closing == payment.amount
        else:
            is_wanted = closing is None or payment.amount <= closing
        if not is_wanted:
            raise PendingError

    async def _reopen(self, turn: Turn, payment: Payout, refusal: RefusalError) -> None:
        """Take vouchers of a channel again whose close was refused. Not before it is certain that
        no payment of it is on its way, and that it is there: else more would be sold than is ever
        paid.

        Raises:
            RefusalError: the node does not show the channel.
            FaultError: it is not certain.
            OwnershipLostError: another process is at it.
        """
        if turn.charge is None or turn.charge.state is not State.CLAIMED:
            return
        as_of = refusal.ledger if isinstance(refusal, NotPaidError) else 0
        kept = await self.note(payment.channel, await self._read_at(payment.channel, as_of))
        if kept is not None and kept.published > max(payment.amount, kept.settled):
            raise FaultError("A higher voucher may be on its way to the payment network.")
        if not turn.is_held():
            await turn.hold()
        await self._store.cancel_close(payment.channel.id, amount=payment.amount)

    async def _send(
        self, turn: Turn, payment: Payout, facts: ChannelFacts | None, until: int
    ) -> Decision:
        call = payment.call(closed=facts is not None and facts.is_closed)
        as_of, settled = payment.channel.seen_ledger, payment.channel.settled
        if facts is not None:
            as_of, settled = max(as_of, facts.ledger), facts.withdrawn

        async def prepare_anew() -> Prepared:
            try:
                prepared = await prepare(
                    call,
                    self._counter,
                    self._recipient,
                    source=self._dispatch.sponsor.address,
                    as_of=as_of,
                )
            except RefusalError:
                # What has been idle for a week is archived. Not every node shows that, but all of
                # them bring it back with the transaction that needs it.
                if facts is None:
                    raise _not_found() from None
                raise
            await self._require_wanted(payment)  # as late as can be
            return prepared

        try:
            return await self._dispatch.send(
                turn,
                await prepare_anew(),
                prepare_anew,
                payer=payment.channel.funder,
                expires=until,
                is_owed=payment.amount > settled,  # else it is its funder's wish alone
            )
        except RefusalError as refusal:
            if refusal.problem.slug != problems.PAYMENT_EXPIRED.slug:
                raise
            # It is our lease that is over, which says nothing of the voucher.
            raise FaultError("The payment took too long to prepare.") from None

    async def _conclude(self, turn: Turn, payment: Payout, decision: Decision) -> None:
        """Write down what came of a transaction.

        Raises:
            RefusalError: it failed on the ledger.
        """
        if decision.kind != "success":
            await turn.forgotten()  # the leave in it is ours, for what is owed to us
        if decision.kind == "failed":
            log.error("the payment %s failed on the ledger", payment.record_id)
            ledger = decision.status.ledger or 0
            await self._note_after(payment.channel, ledger)
            raise NotPaidError("The channel did not pay this voucher.", ledger)
        if decision.kind == "success" and turn.charge is not None:
            await turn.settled(
                receipt="",
                payer=payment.channel.funder,
                reference=turn.charge.reference or "",
                keep_until=int(self._counter.clock()) + RECORD_SECONDS,
            )
            await self._note_after(payment.channel, decision.status.ledger or 0)

    async def _note_after(self, channel: Channel, ledger: int) -> None:
        """Note what the ledger says once it has our transaction, which may have failed. If the node
        does not tell, what was done is done: whoever looks next will note it."""
        try:
            facts = await self._read_at(channel, ledger)
        except (FaultError, RefusalError) as error:
            log.warning("channel %s cannot be looked at afterwards: %s", channel.id, error)
        else:
            await self.note(channel, facts)

    async def _read_at(self, channel: Channel, ledger: int) -> ChannelFacts:
        waited = 0.0  # as slept: the clock may be set back meanwhile
        while (facts := await self._read(channel)).ledger < ledger:
            if waited >= LAG_SECONDS:
                raise FaultError("The payment network is behind.")
            await self._counter.sleep(_LOOK_SECONDS)
            waited += _LOOK_SECONDS
        return facts

    async def _read(self, channel: Channel) -> ChannelFacts:
        facts = await self._find(channel)
        if facts is None:
            raise _not_found()
        return facts

    async def _find(self, channel: Channel) -> ChannelFacts | None:
        try:
            return await read_channel(self._counter.ledger, channel.id, [channel.token])
        except NotAChannelError:
            return None


def _is_done(payment: Payout, facts: ChannelFacts) -> bool:
    return facts.withdrawn >= payment.amount and (facts.is_closed or not payment.closes)


def _not_found() -> RefusalError:
    return RefusalError(
        problems.SESSION_CHANNEL_NOT_FOUND.because("The ledger has no such channel.")
    )
