"""Submitting a transaction and learning what became of it.

Between the moment a transaction is sent and the moment the ledger has decided there is doubt, and
doubt is not failure: a lost answer, ``DUPLICATE`` and ``TRY_AGAIN_LATER`` all mean "look it up".
Doubt ends in one of three ways: the ledger has the transaction, or a ledger has closed after the
transaction's time limit without it, or the network has answered every offer of it with a refusal
and has moved on without it. An offer without an answer may have been taken, whatever became of the
others: then the time limit alone decides.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from mpp_asgi.intents import FaultError
from mpp_asgi.stellar.rpc import (
    RpcRefusedError,
    RpcUnavailableError,
    Submission,
    TransactionStatus,
    get_transaction,
    send_transaction,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mpp_asgi.stellar.rpc import Rpc, RpcCall, T

log = logging.getLogger("mpp_asgi.ledger")

REFUSAL_LEDGERS: Final = 2
"""Ledgers that must close after a refused submission before it counts as never included: the
refusal may mean "it is in already", from a node ahead of the one that is asked."""
POLLS_A_RESUBMIT: Final = 3
"""How many looks before a transaction that was not taken yet is offered again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A signed transaction whose fate is to be learnt."""

    hash: str
    envelope: str
    """Base64 XDR, exactly as signed: sending it twice is sending it once."""
    valid_until: int
    """Unix seconds of ledger time; the transaction's maxTime."""
    sent: bool
    """It may have been sent before: look it up first."""
    ours: bool
    """Its sequence number is ours, so nobody else can have sent it: a refusal is a refusal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What became of a transaction, for good."""

    kind: Literal["success", "failed", "dropped"]
    """``dropped``: it is not in the ledger and can never be."""
    status: TransactionStatus
    refusal: str | None = None
    """With ``dropped``: the TransactionResult (base64 XDR) of a submission that was refused."""


class Ledger:
    """The network as settlement sees it.

    Args:
        rpc: a node.
        clock: Unix seconds.
        sleep: as `asyncio.sleep`.
        poll_seconds: between two looks at a pending transaction.
        patience_seconds: how long one request waits for a decision.
    """

    def __init__(
        self,
        rpc: Rpc,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        poll_seconds: float,
        patience_seconds: float,
    ) -> None:
        self._rpc = rpc
        self._clock = clock
        self._sleep = sleep
        self._poll_seconds = poll_seconds
        self._patience_seconds = patience_seconds

    async def ask(self, call: RpcCall[T]) -> T:
        """The answer to a question without effects.

        Raises:
            FaultError: the node cannot be asked, or does not understand us.
        """
        try:
            return await self._rpc.do(call)
        except (RpcUnavailableError, RpcRefusedError) as error:
            log.warning("%s: %s", call.method, error)
            raise FaultError("The payment network cannot be reached at the moment.") from None

    async def decide(self, pending: Pending) -> Decision:
        """Have the transaction included if that is still possible, and learn its fate.

        Raises:
            FaultError: there is no decision yet; ask again later, with ``sent=True``.
        """
        give_up = self._clock() + self._patience_seconds
        offers = _Offers(unanswered=pending.sent)
        if not pending.sent:
            await self._offer(pending, offers)
        looks = 0
        while True:
            status = await self._look(pending)
            decision = _decision(pending, status, offers) if status is not None else None
            if decision is not None:
                return decision
            if self._clock() >= give_up:
                raise FaultError("The payment is not on the ledger yet.", retry_after=5)
            await self._sleep(self._poll_seconds)
            looks += 1
            if not offers.taken and looks % POLLS_A_RESUBMIT == 0:
                await self._offer(pending, offers)

    async def _offer(self, pending: Pending, offers: _Offers) -> None:
        """Send the transaction and note the answer, or that there was none."""
        try:
            submission = await self._rpc.do(send_transaction(pending.envelope))
        except (RpcUnavailableError, RpcRefusedError) as error:
            log.warning("no answer to the submission of %s: %s", pending.hash, error)
            offers.unanswered = True
        else:
            offers.note(submission)

    async def _look(self, pending: Pending) -> TransactionStatus | None:
        try:
            return await self._rpc.do(get_transaction(pending.hash))
        except (RpcUnavailableError, RpcRefusedError) as error:
            log.warning("transaction %s cannot be looked up: %s", pending.hash, error)
            return None


@dataclass(slots=True)
class _Offers:
    """How the network has answered a transaction so far."""

    unanswered: bool
    """It was sent at least once without our knowing what came of it."""
    taken: bool = False
    refused_at: int | None = None
    """The latest ledger when it was refused, if it has been refused ever since."""
    refusal: str | None = None

    def note(self, answer: Submission) -> None:
        if answer.status == "ERROR":
            self.refusal = answer.error_result_xdr
            if self.refused_at is None:
                self.refused_at = answer.latest_ledger
        else:
            self.refused_at = None
            self.taken = self.taken or answer.status in ("PENDING", "DUPLICATE")


def _decision(pending: Pending, status: TransactionStatus, offers: _Offers) -> Decision | None:
    if status.status != "NOT_FOUND":
        return Decision(kind="success" if status.status == "SUCCESS" else "failed", status=status)
    if status.oldest_ledger_close_time > pending.valid_until:
        return None  # the node has forgotten the time in question: its silence means nothing
    if status.latest_ledger_close_time > pending.valid_until:
        return Decision(kind="dropped", status=status)
    if offers.refused_at is None or offers.unanswered:
        return None
    if pending.ours or status.latest_ledger >= offers.refused_at + REFUSAL_LEDGERS:
        return Decision(kind="dropped", status=status, refusal=offers.refusal)
    return None
