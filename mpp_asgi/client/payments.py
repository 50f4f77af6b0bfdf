"""A payment that was signed: what shows it to the server, and how the ledger would know it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from mpp_asgi.protocol import Credential

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

    from mpp_asgi.client.offers import Offer
    from mpp_asgi.protocol import Receipt


@dataclass(frozen=True, slots=True)
class RequestKey:
    """Which request a payment is for. The same request has the same key."""

    method: str
    url: str
    body_sha256: str

    @classmethod
    def of(cls, request: httpx.Request, body: bytes) -> RequestKey:
        return cls(request.method, str(request.url), hashlib.sha256(body).hexdigest())


@dataclass(frozen=True, slots=True)
class Target:
    """Where the price was asked, and so where the credential goes: the request's own method and
    URL, or others of the same origin if a redirect was followed."""

    method: str
    url: str


@dataclass(frozen=True, slots=True)
class NonceTrace:
    """A sponsored transfer, whose transaction only the server knows. Its nonce is in the ledger
    once it was used."""

    address: str
    nonce: int
    signed_at_ledger: int
    expiration_ledger: int
    signed_at: int = 0
    """Unix seconds; 0 in records of versions that did not write it down."""


@dataclass(frozen=True, slots=True)
class TransactionTrace:
    """The payer's own transaction."""

    hash: str
    """64 hex digits."""
    max_time: int
    """Unix seconds; after that it is void."""
    signed_at: int
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class PushedTransaction:
    """A transaction that the payer submits itself."""

    envelope: str
    """TransactionEnvelope (base64 XDR)."""
    trace: TransactionTrace


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedPayment:
    """One payment for one request, as it can be shown again."""

    request: RequestKey
    target: Target
    offer: Offer
    payload: Mapping[str, str] = field(repr=False)
    source: str
    """``did:pkh:stellar:testnet:G…``."""
    trace: NonceTrace | TransactionTrace
    pushed: PushedTransaction | None = field(default=None, repr=False)
    """``None``: the server submits the transaction."""

    @property
    def challenge_id(self) -> str:
        return self.offer.challenge.id

    @property
    def transaction_hash(self) -> str | None:
        """64 hex digits; ``None`` where the transaction is the server's."""
        return self.trace.hash if isinstance(self.trace, TransactionTrace) else None

    def credential(self) -> str:
        """The value of the credential header."""
        return Credential(self.offer.challenge, self.payload, self.source).to_header()


@dataclass(frozen=True, slots=True, kw_only=True)
class PaidRequest:
    """A request that was paid for and answered."""

    method: str
    url: str
    challenge_id: str
    currency: str
    """The token's symbol."""
    token: str
    """The token's contract."""
    amount: int
    """Base units."""
    recipient: str
    transaction_hash: str | None
    """From the receipt, or the payer's own knowledge."""
    receipt: Receipt | None
    """``None`` from a server that gives none."""
    channel: str | None = None
    """The payment channel (``C…``) that it was paid from."""
    decimals: int = 7
    """Of the token."""

    @property
    def human_amount(self) -> Decimal:
        """The amount in whole tokens, exact."""
        return Decimal(f"{self.amount}e-{self.decimals}")  # Decimal's own arithmetic rounds
