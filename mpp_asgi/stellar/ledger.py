"""Submitting a transaction and learning what became of it.

Between the moment a transaction is sent and the moment the ledger has decided there is doubt, and
doubt is not failure: a lost answer, ``DUPLICATE`` and ``TRY_AGAIN_LATER`` all mean "look it up".
Doubt ends in one of three ways: the ledger has the transaction, or a ledger has closed after the
transaction's time limit without it, or the network has answered every offer of it with a refusal
and has moved on without it. An offer without an answer may have been taken, whatever became of the
others: then the time limit alone decides.

That a transaction is on the ledger may be read anywhere (`follower`); that it is not counts only
from a node that was asked for it, together with that node's own latest ledger.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from mpp_asgi.intents import FaultError
from mpp_asgi.stellar.follower import Follower
from mpp_asgi.stellar.network import CHALLENGE_SECONDS
from mpp_asgi.stellar.rpc import Submission, TransactionStatus, get_transaction, send_transaction
from mpp_asgi.stellar.rpc_call import RpcRefusedError, RpcUnavailableError
from mpp_asgi.stellar.rpc_tips import tip_told

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mpp_asgi.stellar.rpc_call import Rpc, RpcCall, T

log = logging.getLogger("mpp_asgi.ledger")

REFUSAL_LEDGERS: Final = 2
"""Ledgers that must close after a refused submission before it counts as never included: the
refusal may mean "it is in already", from a node ahead of the one that is asked."""
POLLS_A_RESUBMIT: Final = 3
"""How many looks before a transaction that was not taken yet is offered again."""
PATIENT_LEDGERS: Final = 2
"""How many ledgers may close without a transaction that was taken before more is bid for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A signed transaction whose fate is to be learnt."""

    hash: str
    envelope: str
    """Base64 XDR, exactly as signed: sending it twice is sending it once."""
    valid_until: int
    """Unix seconds of ledger time; the transaction's maxTime."""
    since: int | None = None
    """Unix seconds; it was not sent before. ``None``: see `Ledger.sent_since`."""
    sent: bool
    """It may have been sent before: look it up first."""
    ours: bool
    """Its sequence number is ours, so nobody else can have sent it: a refusal is a refusal, to a
    node that is no further behind."""
    unseen: bool = False
    """Nobody else has sent it, or else it is none of ours to see through: what was sent is for
    everybody to read, so who brings it here then need not be who made it."""
    dearer: Callable[[], Awaitable[str | None]] | None = None
    """Makes a fee bump of the same transaction (TransactionEnvelope, base64 XDR) that bids more, if
    there is more to be had. It changes nothing about its fate: the hash is the same, and its
    sequence number lets it in once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What became of a transaction, for good."""

    kind: Literal["success", "failed", "dropped"]
    """``dropped``: it is not in the ledger and can never be."""
    status: TransactionStatus
    refusal: str | None = None
    """With ``dropped``: the TransactionResult (base64 XDR) of a submission that was refused."""


class SentByOthersError(Exception):
    """A transaction that should be unseen is on its way, or there, by somebody else's hand."""


class Ledger:
    """The network as settlement sees it.

    Args:
        rpc: a node.
        clock: Unix seconds.
        sleep: as `asyncio.sleep`.
        poll_seconds: between two looks at the chain, while anything is pending.
        patience_seconds: how long one request waits for a decision.
        challenge_seconds: how long challenges are good, and so the transactions made for them.
    """

    def __init__(
        self,
        rpc: Rpc,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        poll_seconds: float,
        patience_seconds: float,
        challenge_seconds: int = CHALLENGE_SECONDS,
    ) -> None:
        self._rpc = rpc
        self._clock = clock
        self._challenge_seconds = challenge_seconds
        self._follower = Follower(rpc, clock=clock, sleep=sleep, poll_seconds=poll_seconds)
        self._patience_seconds = patience_seconds

    async def ask(self, call: RpcCall[T]) -> T:
        """The answer to a question without effects.

        Raises:
            FaultError: the node cannot be asked, or does not understand us.
        """
        try:
            result = await self._rpc.do(call)
        except (RpcUnavailableError, RpcRefusedError) as error:
            log.warning("%s: %s", call.method, error)
            raise FaultError("The payment network cannot be reached at the moment.") from None
        self._note(result)
        return result

    def sent_since(self, valid_until: int) -> int:
        """Since when a transaction may be on the ledger that is good until then, or that pays for a
        challenge which is (Unix seconds): whoever concludes from a node's silence about it has to
        ask one that goes back so far, see `goes_back`."""
        return valid_until - self._challenge_seconds

    async def decide(self, pending: Pending) -> Decision:
        """Have the transaction included if that is still possible, and learn its fate.

        Raises:
            FaultError: there is no decision yet; ask again later, with ``sent=True``.
            SentByOthersError: it is not ``unseen``.
        """
        give_up = self._clock() + self._patience_seconds
        offers = _Offers(unanswered=pending.sent)
        since = self.sent_since(pending.valid_until) if pending.since is None else pending.since
        status: TransactionStatus | None = None
        with self._follower.watch(
            pending.hash, is_new=not pending.sent, valid_until=pending.valid_until, until=give_up
        ) as watch:
            if not pending.sent:
                await self._offer(pending, offers)
            offer_at = POLLS_A_RESUBMIT + 1
            while True:
                watch.is_doubtful = offers.is_refused
                may_rest = offers.taken and pending.dearer is None
                news = await watch.news(wake_at_round=None if may_rest else offer_at)
                status = news or status
                decision = None if status is None else _decision(pending, since, status, offers)
                if decision is not None:
                    if decision.kind == "success" and pending.unseen and not offers.may_be_in:
                        raise SentByOthersError
                    return decision
                if self._clock() >= give_up:
                    raise FaultError("The payment is not on the ledger yet.", retry_after=5)
                if watch.rounds >= offer_at:
                    await self._insist(pending, offers)
                    offer_at = watch.rounds + POLLS_A_RESUBMIT

    async def find(
        self, transaction_hash: str, *, since: int, as_of: float, patience_seconds: float
    ) -> TransactionStatus:
        """A transaction of somebody else, which the ledger should have, or that it has not.

        Args:
            transaction_hash: 64 hex digits.
            since: Unix seconds; "not found" is said by a node that goes back so far.
            as_of: Unix seconds; it is said by a ledger that closed after that.
            patience_seconds: how long to wait for a node to get there.

        Raises:
            FaultError: the node cannot be asked, or does not know yet.
        """
        status = await self.ask(get_transaction(transaction_hash))
        give_up = self._clock() + patience_seconds
        with self._follower.watch(
            transaction_hash, is_new=True, valid_until=int(as_of), until=give_up
        ) as watch:
            while status.status == "NOT_FOUND" and status.latest_ledger_close_time <= as_of:
                if self._clock() >= give_up:
                    raise FaultError("The payment network is behind; the payment is not seen yet.")
                status = await watch.news(wake_at_round=None) or status
        if status.status == "NOT_FOUND" and not goes_back(status, since):
            log.error("the node has forgotten the time since %d, ask one that goes back", since)
            raise FaultError("The payment network does not go back far enough.")
        return status

    async def _insist(self, pending: Pending, offers: _Offers) -> None:
        """Offer a transaction again that was not taken, or bid more for one that waits."""
        latest = self._follower.highest
        if not offers.taken:
            await self._offer(pending, offers)
        elif pending.dearer is not None and latest >= offers.bid_at + PATIENT_LEDGERS:
            offers.bid_at = latest
            envelope = await pending.dearer()
            if envelope is None:
                return
            try:
                submission = await self._rpc.do(send_transaction(envelope))
            except (RpcUnavailableError, RpcRefusedError) as error:
                log.warning("no answer to a higher bid for %s: %s", pending.hash, error)
            else:  # whatever it is, what was taken before may still get in
                log.info("a higher bid for %s: %s", pending.hash, submission.status)
                self._note(submission)

    async def _offer(self, pending: Pending, offers: _Offers) -> None:
        """Send the transaction and note the answer, or that there was none."""
        try:
            submission = await self._rpc.do(send_transaction(pending.envelope))
        except (RpcUnavailableError, RpcRefusedError) as error:
            log.warning("no answer to the submission of %s: %s", pending.hash, error)
            offers.unanswered = True
        else:
            self._note(submission)
            may_be_ours = offers.may_be_in or submission.after_silence
            if pending.unseen and submission.status == "DUPLICATE" and not may_be_ours:
                raise SentByOthersError
            offers.note(submission, self._follower.highest)

    def _note(self, result: object) -> None:
        tip = tip_told(result)
        # Without a time nobody can have held it against a clock.
        if tip is not None and tip.close_time is not None:
            self._follower.note(tip.ledger, tip.close_time)


@dataclass(slots=True)
class _Offers:
    """How the network has answered a transaction so far."""

    unanswered: bool
    """It was sent at least once without our knowing what came of it."""
    taken: bool = False
    refused_at: int | None = None
    """The latest ledger when it was refused, if it has been refused ever since."""
    refusal: str | None = None
    bid_at: int = 0
    """The latest ledger when something was bid for it."""

    @property
    def is_refused(self) -> bool:
        """Every offer of it was answered, and the last ones with a refusal."""
        return self.refused_at is not None and not self.unanswered

    @property
    def may_be_in(self) -> bool:
        """An offer of ours may have brought it into the network's queue."""
        return self.taken or self.unanswered

    def note(self, answer: Submission, latest: int) -> None:
        """``latest`` is the latest ledger that any node knows of: another one than that which
        answered may be ahead of it."""
        if answer.status == "ERROR":
            self.refusal = answer.error_result_xdr
            if self.refused_at is None:
                self.refused_at = max(answer.latest_ledger, latest)
        else:
            self.refused_at = None
            self.bid_at = max(answer.latest_ledger, latest)
            self.taken = self.taken or answer.status in ("PENDING", "DUPLICATE")


def goes_back(status: TransactionStatus, since: int) -> bool:
    """Whether a node has every ledger that closed since then (Unix seconds): else its silence about
    a transaction of that time means nothing."""
    return status.oldest_ledger_close_time <= since


def _decision(
    pending: Pending, since: int, status: TransactionStatus, offers: _Offers
) -> Decision | None:
    if status.status != "NOT_FOUND":
        return Decision(kind="success" if status.status == "SUCCESS" else "failed", status=status)
    if not goes_back(status, since):
        return None
    if status.latest_ledger_close_time > pending.valid_until:
        return Decision(kind="dropped", status=status)
    if offers.refused_at is None or offers.unanswered:
        return None
    if status.latest_ledger >= offers.refused_at + (0 if pending.ours else REFUSAL_LEDGERS):
        return Decision(kind="dropped", status=status, refusal=offers.refusal)
    return None
