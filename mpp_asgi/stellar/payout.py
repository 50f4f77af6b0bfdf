"""A payment out of a channel to its recipient: what it goes by, and how its call is made ready."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mpp_asgi.intents import FaultError, RefusalError
from mpp_asgi.protocol import problems
from mpp_asgi.stellar.channel_calls import close_call, settle_call
from mpp_asgi.stellar.dispatch import Prepared
from mpp_asgi.stellar.envelope import unsigned_envelope
from mpp_asgi.stellar.invocation import call_operation, leave_of_source, signed_leave
from mpp_asgi.stellar.rpc import get_latest_ledger, simulate_transaction

if TYPE_CHECKING:
    from stellar_sdk import Keypair

    from mpp_asgi.stellar.admissions import Counter
    from mpp_asgi.stellar.invocation import Call
    from mpp_asgi.stellar.rpc import Simulation
    from mpp_asgi.stores.channels import Channel

log = logging.getLogger("mpp_asgi.channels")

LEAVE_LEDGERS: Final = 60
"""For how many ledgers the recipient allows a payment to itself."""

_CLOSE: Final = "close:"
_SETTLE: Final = "settle:"
_HOST_ERROR: Final = "HostError"
"""How a node begins to say what a contract, or what it called, has failed of."""
_LEAVE_ERROR: Final = f"{_HOST_ERROR}: Error(Auth,"
"""The leave that we signed was not good, such as one whose time was over."""


class NotPaidError(RefusalError):
    """The ledger does not pay a voucher, or would not: ``session/transaction-reverted``."""

    def __init__(self, detail: str, ledger: int) -> None:
        super().__init__(problems.SESSION_TRANSACTION_REVERTED.because(detail))
        self.ledger = ledger
        """Which says so."""


@dataclass(frozen=True, slots=True)
class Payout:
    """What is to be taken from a channel."""

    channel: Channel
    amount: int
    """Of the voucher, in total. Base units."""
    signature: str
    closes: bool

    @property
    def record_id(self) -> str:
        """What it goes by on record, whichever signature of the amount it is for."""
        return f"{_CLOSE if self.closes else _SETTLE}{self.channel.id}:{self.amount}"

    def call(self, *, closed: bool) -> Call:
        """The call of the channel's contract, which is closed already or not."""
        # Some builds of the contract do not close twice, but all of them settle when closed.
        write = close_call if self.closes and not closed else settle_call
        return write(self.channel.id, self.amount, bytes.fromhex(self.signature))


def is_payout(record_id: str) -> bool:
    """Whether a record is of money that the recipient takes out of a channel."""
    return record_id.startswith((_CLOSE, _SETTLE))


async def prepare(
    call: Call, counter: Counter, recipient: Keypair, *, source: str, as_of: int
) -> Prepared:
    """Sign a payout's call and simulate it.

    Args:
        call: of the channel's contract.
        counter: network and ledger.
        recipient: whose leave it takes.
        source: of the transaction (``G…``).
        as_of: the ledger that the channel is known from.

    Raises:
        NotPaidError: it would fail on the ledger.
        FaultError: the node cannot tell: it has not come to the ledger that is known, or gives no
            reason of the ledger's.
    """
    ledger, now = counter.ledger, counter.clock()
    if source == recipient.public_key:  # which then lends the number, too
        leave = leave_of_source(call)
    else:
        latest = await ledger.ask(get_latest_ledger())
        leave = signed_leave(
            call,
            address=recipient.public_key,
            nonce=_nonce(call),
            expiration_ledger=latest.sequence + LEAVE_LEDGERS,
            signer=recipient,
            passphrase=counter.network.passphrase,
        )
    operation = call_operation(call, [leave])
    envelope = unsigned_envelope(operation, source=source)
    simulation = await ledger.ask(simulate_transaction(envelope, auth_mode="enforce"))
    if simulation.error is not None or simulation.restore:
        log.warning("a channel would not pay: %s", simulation.error or "it is archived")
        if not _is_of_the_ledger(simulation, as_of):
            raise FaultError("The payment network cannot tell whether the channel would pay.")
        raise NotPaidError("The channel would not pay this voucher.", simulation.latest_ledger)
    return Prepared(operation=operation, simulation=simulation, at=now)


def _is_of_the_ledger(simulation: Simulation, as_of: int) -> bool:
    """Whether it is the ledger, as it was then or later, that would not carry a call out: not the
    node, which is in trouble or behind, and not for want of a good leave of ours."""
    if simulation.latest_ledger < as_of:
        return False
    error = simulation.error
    return error is None or (error.startswith(_HOST_ERROR) and not error.startswith(_LEAVE_ERROR))


def _nonce(call: Call) -> int:
    """The same for the same call: were two of its transactions on their way, the network would
    carry out one."""
    digest = hashlib.sha256(call.to_xdr_bytes()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
