"""The paying side: an `httpx.Auth` with a budget."""

from mpp_asgi.client.answers import payment_receipt
from mpp_asgi.client.auth import PaymentAuth
from mpp_asgi.client.channel_file import ChannelFile
from mpp_asgi.client.channels import Channels, MemoryChannels
from mpp_asgi.client.errors import (
    BudgetExceededError,
    ChannelDisputedError,
    ChannelsUnavailableError,
    DepositInDoubtError,
    LedgerUnavailableError,
    PaymentError,
    PaymentNotMadeError,
    PaymentOutcomeUnknownError,
    PaymentRefusedError,
    TransferFailedError,
    UnacceptableOfferError,
    UnsafeConnectionError,
)
from mpp_asgi.client.events import ServerEvent
from mpp_asgi.client.held_channel import HeldChannel, Status
from mpp_asgi.client.payments import PaidRequest, SignedPayment
from mpp_asgi.client.retries import Patience
from mpp_asgi.client.session_policy import SessionPolicy

__all__ = [
    "BudgetExceededError",
    "ChannelDisputedError",
    "ChannelFile",
    "Channels",
    "ChannelsUnavailableError",
    "DepositInDoubtError",
    "HeldChannel",
    "LedgerUnavailableError",
    "MemoryChannels",
    "PaidRequest",
    "Patience",
    "PaymentAuth",
    "PaymentError",
    "PaymentNotMadeError",
    "PaymentOutcomeUnknownError",
    "PaymentRefusedError",
    "ServerEvent",
    "SessionPolicy",
    "SignedPayment",
    "Status",
    "TransferFailedError",
    "UnacceptableOfferError",
    "UnsafeConnectionError",
    "payment_receipt",
]
