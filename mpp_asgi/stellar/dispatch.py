"""Bringing an operation onto the ledger in a transaction of ours.

Ours are the source, the sequence number, the fee and the resources; the operation may be a payer's.
Each transaction is written down before it is sent, is good for a short time, and is built anew if
it was dropped: what is in the operation is good once only, so at most one of them has an effect.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mpp_asgi.intents import FaultError, RefusalError
from mpp_asgi.protocol import problems
from mpp_asgi.stellar.envelope import signed_envelope
from mpp_asgi.stellar.ledger import Pending
from mpp_asgi.stellar.network import LEDGER_SECONDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mpp_asgi.charges import Turn
    from mpp_asgi.stellar.envelope import SignedEnvelope
    from mpp_asgi.stellar.ledger import Decision, Ledger
    from mpp_asgi.stellar.rpc import Simulation
    from mpp_asgi.stellar.sponsor import Sponsor
    from mpp_asgi.stores.contract import Charge

log = logging.getLogger("mpp_asgi.charge")

INCLUSION_FEE: Final = 1_000
"""Stroops we bid for a place in a ledger; the network's minimum is 100."""
GOOD_SECONDS: Final = 60
"""How long a transaction of ours is good: short, so that doubt about it ends soon."""
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


class Dispatch:
    """Sends operations from one account of ours.

    Args:
        account: the transactions' source, whose key we have.
        ledger: where they go.
        passphrase: the network's.
        clock: Unix seconds.
    """

    def __init__(
        self,
        account: Sponsor,
        ledger: Ledger,
        *,
        passphrase: str,
        clock: Callable[[], float],
    ) -> None:
        self.account = account
        self._ledger = ledger
        self._passphrase = passphrase
        self._clock = clock

    async def send(
        self,
        turn: Turn,
        prepared: Prepared,
        prepare: Callable[[], Awaitable[Prepared]],
        *,
        payer: str,
        expires: int,
    ) -> Decision:
        """Bring an operation onto the ledger, and learn what came of it.

        Args:
            turn: the record, which is claimed.
            prepared: the operation.
            prepare: does that anew, for one that had to wait: what it needs may have been spent
                meanwhile, and a transaction that fails costs our fee.
            payer: for the record.
            expires: Unix seconds; after that nothing may be sent any more.

        Returns:
            ``success`` or ``failed``; the record is left as submitted.

        Raises:
            RefusalError: it is too late, or not good any more (as ``prepare`` says). Nothing is on
                its way.
            FaultError: it could not be sent, or what became of it is not known yet: the record
                tells which, and so does `conclude`.
        """
        async with self.account.account() as account:
            for _ in range(ATTEMPTS):
                now = self._clock()
                if now >= expires:
                    raise RefusalError(
                        problems.PAYMENT_EXPIRED.because(
                            "This challenge has expired while the payment waited; nothing was paid."
                        )
                    )
                if now - prepared.at >= LEDGER_SECONDS:
                    prepared = await prepare()
                valid_until = min(expires, int(self._clock()) + GOOD_SECONDS)
                built = self._build(prepared, await account.next_sequence(), valid_until)
                await turn.submitted(
                    reference=built.hash,
                    envelope=built.xdr,
                    valid_until=valid_until,
                    payer=payer,
                    proofs=(f"tx:{built.hash}",),
                )
                decision = await self._ledger.decide(
                    Pending(
                        hash=built.hash,
                        envelope=built.xdr,
                        valid_until=valid_until,
                        sent=False,
                        ours=True,
                    )
                )
                if decision.kind != "dropped":
                    account.consumed()
                    return decision
                # Nobody else's doing: what is in the operation is unused.
                await turn.withdrawn()
        raise FaultError("The payment could not be brought onto the ledger.", retry_after=2)

    def _build(self, prepared: Prepared, sequence: int, valid_until: int) -> SignedEnvelope:
        simulation = prepared.simulation
        fee = INCLUSION_FEE + (simulation.min_resource_fee or 0)
        if fee > self.account.max_fee or simulation.transaction_data is None:
            log.warning("a transaction of ours would cost %s stroops, over max_fee", fee)
            raise FaultError("The network's fee is too high to be sponsored at the moment.")
        return signed_envelope(
            prepared.operation,
            source=self.account.address,
            sequence=sequence,
            fee=fee,
            max_time=valid_until,
            soroban_data=simulation.transaction_data,
            signer=self.account.keypair,
            passphrase=self._passphrase,
        )


def submitted_before(charge: Charge) -> Pending:
    """The transaction of a charge that is written down as submitted, perhaps by another process."""
    return Pending(
        hash=charge.reference or "",
        envelope=charge.envelope or "",
        valid_until=charge.valid_until or 0,
        sent=True,
        ours=False,
    )
