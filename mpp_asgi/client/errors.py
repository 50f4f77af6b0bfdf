"""What can go wrong when paying. Each message is one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import httpx

    from mpp_asgi.client.payments import SignedPayment
    from mpp_asgi.protocol import Problem

_REMEDIES: Final = (
    (
        ("payer's account is not there", "account does not exist"),
        "`mpp-asgi fund` creates one on a test network",
    ),
    (
        ("not validly authorized by its sender",),
        "an account that does not exist authorizes nothing, and `mpp-asgi fund` creates one on a "
        "test network",
    ),
    (("no trustline",), "`mpp-asgi trust USDC` adds the payer's"),
    (("balance does not cover",), "send the payer more of the token"),
)
"""What the ledger or a server says is in the way, and what the payer can do about it."""


class PaymentError(Exception):
    """A request was not paid for, or not delivered. The subclass says where the money is."""


class PaymentNotMadeError(PaymentError):
    """No money left: nothing was signed, or what was signed stayed here, or it failed for good."""


class UnacceptableOfferError(PaymentNotMadeError):
    """The server asks for something that this payer does not do.

    ``reasons`` has a clause for each thing that is in the way, whatever it is that the offers have
    in common.
    """

    def __init__(self, reasons: tuple[str, ...]) -> None:
        reasons = tuple(dict.fromkeys(reasons))
        super().__init__(f"The server's price is not acceptable: {'; '.join(reasons[:5])}.")
        self.reasons = reasons


class BudgetExceededError(PaymentNotMadeError):
    """The price is acceptable, but the budget has not enough left for it."""


class UnsafeConnectionError(PaymentNotMadeError):
    """Paying here would show a credential to somebody else: plain HTTP, or another origin."""


class LedgerUnavailableError(PaymentNotMadeError):
    """The Stellar RPC could not be asked, so nothing was signed."""

    def __str__(self) -> str:
        return " ".join((super().__str__(), *getattr(self.__cause__, "__notes__", ())))


class TransferFailedError(PaymentNotMadeError):
    """The ledger does not let the transfer through: it is certain that nothing moved."""

    def __init__(self, message: str) -> None:
        super().__init__(_with_remedy(message, message))


class ChannelsUnavailableError(PaymentNotMadeError):
    """The file of payment channels cannot be read or written, so nothing was signed."""


class ChannelDisputedError(PaymentError):
    """The server and the payer do not agree about a payment channel, and the payer signs nothing
    more for it.

    What was signed before may be gone. The rest of the deposit is safe: `PaymentAuth.close_start`
    and, after the waiting period, `PaymentAuth.refund` bring it back.
    """

    def __init__(self, message: str, *, channel: str) -> None:
        super().__init__(message)
        self.channel = channel


class DepositInDoubtError(PaymentError):
    """A deposit into a payment channel was signed and shown, and what came of it is not known.

    The next request to the same server finds out before it signs anything. The deposit is in the
    channel or with you; the server cannot take it without a voucher.
    """

    def __init__(self, message: str, *, channel: str) -> None:
        super().__init__(message)
        self.channel = channel


class PaymentRefusedError(PaymentError):
    """The server has a credential and wants another payment. It gets none.

    ``problem`` says why, in the server's words. ``paid`` tells whether the money left: ``True`` or
    ``False`` where the ledger has decided, ``None`` while the server can still take it. Unless it
    is ``False`` the amount stays counted in the budget. ``response`` has been read: of a long body
    the first 64 KiB, of a slow one what came within five seconds.
    """

    def __init__(
        self,
        message: str,
        *,
        challenge_id: str,
        transaction_hash: str | None,
        problem: Problem | None,
        paid: bool | None,
        response: httpx.Response,
    ) -> None:
        said = None if problem is None else problem.detail
        super().__init__(_with_remedy(message, said or ""))
        self.challenge_id = challenge_id
        self.transaction_hash = transaction_hash
        self.problem = problem
        self.paid = paid
        self.response = response


class PaymentOutcomeUnknownError(PaymentError):
    """A credential was shown, or a transaction submitted, and what came of it is not known.

    The amount stays counted in the budget. **Send the same request again** with the same
    `PaymentAuth`: it shows the same credential and pays nothing new. To do so from another
    process, keep ``payment`` and give it to `PaymentAuth.resume` there.
    """

    def __init__(self, message: str, *, payment: SignedPayment) -> None:
        super().__init__(message)
        self.payment = payment

    @property
    def challenge_id(self) -> str:
        return self.payment.challenge_id

    @property
    def transaction_hash(self) -> str | None:
        """64 hex digits, where the payer knows it: not for sponsored charges, whose transaction
        is the server's."""
        return self.payment.transaction_hash


def _with_remedy(message: str, trouble: str) -> str:
    """The sentence, ended with what to do about the trouble, where that is known."""
    for marks, remedy in _REMEDIES:
        if any(mark in trouble for mark in marks):
            return f"{message.removesuffix('.')}: {remedy}."
    return message
