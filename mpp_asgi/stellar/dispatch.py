"""Bringing an operation onto the ledger in a transaction of ours.

Ours are the source, the sequence number, the fee and the resources; the operation may be a payer's.
Each transaction is written down before it is sent, is good for a short time, and is built anew if
it was dropped: what is in the operation is good once only, so at most one of them has an effect.

Where channel accounts lend the sequence numbers, the sponsor pays by a fee bump. On record and in
receipts a transaction goes by the hash of what is inside: it stays the same whatever is bid, and
the network's nodes find it by that hash as well.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mpp_asgi.intents import FaultError, RefusalError
from mpp_asgi.protocol import problems
from mpp_asgi.stellar.envelope import fee_bumped, signed_envelope
from mpp_asgi.stellar.ledger import Pending
from mpp_asgi.stellar.network import LEDGER_SECONDS
from mpp_asgi.stellar.sponsor_fees import fee_charged
from mpp_asgi.stores.contract import OwnershipLostError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mpp_asgi.stellar.envelope import SignedEnvelope
    from mpp_asgi.stellar.ledger import Decision, Ledger
    from mpp_asgi.stellar.rpc import Simulation
    from mpp_asgi.stellar.sponsor import Sponsor
    from mpp_asgi.stellar.sponsor_budget import Draw
    from mpp_asgi.stellar.sponsor_pool import LentAccount
    from mpp_asgi.stores.contract import Charge
    from mpp_asgi.turns import Turn

log = logging.getLogger("mpp_asgi.charge")

GOOD_SECONDS: Final = 60
"""How long a transaction of ours is good: short, so that doubt about it ends soon."""
BUMPED_OPERATIONS: Final = 2
"""What the network counts in a fee bump around one operation."""
ATTEMPTS: Final = 3
"""How often a transaction is built anew when its sequence number was taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """An operation that was found good by simulating it in a transaction of ours."""

    operation: bytes
    """XDR."""
    simulation: Simulation
    at: float
    """When it was simulated, Unix seconds."""
    good_until: int | None = None
    """Unix seconds; later than that the operation may fail, as what allows it has lapsed."""


@dataclass(slots=True, kw_only=True)
class _Sending:
    """A transaction of ours that is about to be sent."""

    inner: SignedEnvelope
    """Without the bump, if there is one."""
    envelope: SignedEnvelope
    made_at: int
    """Unix seconds."""
    valid_until: int
    resource_fee: int
    fee: int
    """Stroops, the most that it costs, by what was bid last."""
    rate: int
    """Stroops bid for each operation last."""


class Dispatch:
    """Sends operations that a sponsor pays for.

    Args:
        sponsor: pays, and has the accounts that are the transactions' sources.
        ledger: where they go.
        passphrase: the network's.
        clock: Unix seconds.
    """

    def __init__(
        self,
        sponsor: Sponsor,
        ledger: Ledger,
        *,
        passphrase: str,
        clock: Callable[[], float],
    ) -> None:
        self.sponsor = sponsor
        self._ledger = ledger
        self._passphrase = passphrase
        self._clock = clock

    async def send(
        self,
        turn: Turn,
        prepared: Prepared | None,
        prepare: Callable[[], Awaitable[Prepared]],
        *,
        payer: str,
        expires: int,
        is_owed: bool = False,
    ) -> Decision:
        """Bring an operation onto the ledger, and learn what came of it.

        Args:
            turn: the record, which is claimed.
            prepared: the operation; ``None``: it is prepared when its turn has come.
            prepare: does that, too, for one that had to wait: what it needs may have been spent
                meanwhile, and a transaction that fails costs our fee.
            payer: for the record, and for whom the sponsor pays.
            expires: Unix seconds; after that nothing may be sent any more.
            is_owed: it is ours to do and no favour to the payer: it waits for nobody's, and is done
                whatever the payer has cost today.

        Returns:
            ``success`` or ``failed``; the record is left as submitted.

        Raises:
            RefusalError: it is too late, or not good any more (as ``prepare`` says), or no more is
                paid for this payer today. Nothing is on its way.
            FaultError: it could not be sent, or what became of it is not known yet: the record
                tells which, and so does `conclude`.
        """
        async with self.sponsor.pool.account(None if is_owed else payer) as account:
            for _ in range(ATTEMPTS):
                self._require_time(expires)
                if prepared is None or self._clock() - prepared.at >= LEDGER_SECONDS:
                    prepared = await prepare()
                sending = await self._build(prepared, account, expires)
                draw = await self.sponsor.budget.draw(sending.fee, payer=payer, is_owed=is_owed)
                try:
                    await self._write_down(turn, account, sending, payer)
                except (FaultError, RefusalError, OwnershipLostError):  # it is not on record
                    await self._account_for(draw, 0)
                    raise
                decision = await self._see_through(account, sending, draw)
                if decision.kind != "dropped":
                    return decision
                # Nobody else's doing: what is in the operation is unused.
                await turn.withdrawn()
        raise FaultError("The payment could not be brought onto the ledger.", retry_after=2)

    def _require_time(self, expires: int) -> None:
        if self._clock() >= expires:
            raise RefusalError(
                problems.PAYMENT_EXPIRED.because(
                    "This challenge has expired while the payment waited; nothing was paid."
                )
            )

    async def _build(self, prepared: Prepared, account: LentAccount, expires: int) -> _Sending:
        simulation, sponsor = prepared.simulation, self.sponsor
        sequence = await account.next_sequence()
        resource_fee = simulation.min_resource_fee or 0
        fee = sponsor.bids.first(resource_fee, sponsor.operations)
        if simulation.transaction_data is None:
            raise FaultError("The payment network gave a senseless answer.")
        now = int(self._clock())
        # It ends before the leave does: dropped, it costs nothing, and failed it would.
        valid_until = min(expires, prepared.good_until or expires, now + GOOD_SECONDS)
        envelope = inner = signed_envelope(
            prepared.operation,
            source=account.address,
            sequence=sequence,
            fee=resource_fee if sponsor.has_channel_accounts else fee,
            max_time=valid_until,
            soroban_data=simulation.transaction_data,
            signer=account.keypair,
            passphrase=self._passphrase,
        )
        if sponsor.has_channel_accounts:
            envelope = self._bumped(inner, fee)
        return _Sending(
            inner=inner,
            envelope=envelope,
            made_at=now,
            valid_until=valid_until,
            resource_fee=resource_fee,
            fee=fee,
            rate=(fee - resource_fee) // sponsor.operations,
        )

    def _bumped(self, inner: SignedEnvelope, fee: int) -> SignedEnvelope:
        return fee_bumped(inner, fee=fee, signer=self.sponsor.keypair, passphrase=self._passphrase)

    async def _write_down(
        self, turn: Turn, account: LentAccount, sending: _Sending, payer: str
    ) -> None:
        await account.keep()
        await turn.submitted(
            reference=sending.envelope.hash,
            envelope=sending.envelope.xdr,
            valid_until=sending.valid_until,
            payer=payer,
            proofs=(f"tx:{sending.envelope.hash}",),
        )

    async def _see_through(self, account: LentAccount, sending: _Sending, draw: Draw) -> Decision:
        account.sending(sending.valid_until)
        pending = Pending(
            hash=sending.envelope.hash,
            envelope=sending.envelope.xdr,
            valid_until=sending.valid_until,
            since=sending.made_at,
            sent=False,
            ours=True,
            dearer=lambda: self._bid_more(sending, draw),
        )
        decision = await self._ledger.decide(pending)
        if decision.kind == "dropped":
            account.dropped()
            await self._account_for(draw, 0)
        else:
            account.consumed()
            charged = fee_charged(decision.status.result_xdr)
            await self._account_for(draw, sending.fee if charged is None else charged)
        return decision

    async def _bid_more(self, sending: _Sending, draw: Draw) -> str | None:
        """The same transaction in a fee bump that takes the place of what waits; ``None`` if it
        would cost more than may be spent."""
        fee = self.sponsor.bids.next(sending.resource_fee, BUMPED_OPERATIONS, bid=sending.rate)
        if fee is None:
            return None
        try:
            if await draw.raise_to(fee) is not None:
                return None
        except StoreUnavailableError as error:
            log.warning("store unavailable, no more is bid for a transaction: %s", error)
            return None
        sending.fee = fee
        sending.rate = (fee - sending.resource_fee) // BUMPED_OPERATIONS
        return self._bumped(sending.inner, fee).xdr

    async def _account_for(self, draw: Draw, spent: int) -> None:
        """Note what a transaction cost, in stroops. What the store does not take counts in full."""
        self.sponsor.funds.spent(spent)
        try:
            await draw.spent(spent)
        except StoreUnavailableError as error:
            log.warning("store unavailable, a fee counts as higher than it was: %s", error)


def submitted_before(charge: Charge, *, since: int | None = None) -> Pending:
    """The transaction of a charge that is written down as submitted, perhaps by another process.

    Args:
        charge: the record.
        since: Unix seconds before which it was not sent; ``None``: it is one of ours, and all that
            is known is how long those are good.
    """
    valid_until = charge.valid_until or 0
    return Pending(
        hash=charge.reference or "",
        envelope=charge.envelope or "",
        valid_until=valid_until,
        since=valid_until - GOOD_SECONDS if since is None else since,
        sent=True,
        ours=False,
    )
