"""The paying side: an `httpx.Auth` with a budget."""

from mpp_asgi.client.answers import payment_receipt
from mpp_asgi.client.auth import PaymentAuth
from mpp_asgi.client.errors import (
    BudgetExceededError,
    LedgerUnavailableError,
    PaymentError,
    PaymentNotMadeError,
    PaymentOutcomeUnknownError,
    PaymentRefusedError,
    TransferFailedError,
    UnacceptableOfferError,
    UnsafeConnectionError,
)
from mpp_asgi.client.payments import PaidRequest, SignedPayment
from mpp_asgi.client.retries import Patience
from mpp_asgi.client.session_policy import SessionPolicy

__all__ = [
    "BudgetExceededError",
    "LedgerUnavailableError",
    "PaidRequest",
    "Patience",
    "PaymentAuth",
    "PaymentError",
    "PaymentNotMadeError",
    "PaymentOutcomeUnknownError",
    "PaymentRefusedError",
    "SessionPolicy",
    "SignedPayment",
    "TransferFailedError",
    "UnacceptableOfferError",
    "UnsafeConnectionError",
    "payment_receipt",
]
