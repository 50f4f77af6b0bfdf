"""What a handler sees of the payment that admitted its request."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from mpp_asgi.metering import Meter, MeteringError, Tab
from mpp_asgi.protocol import Receipt


class Payment(NamedTuple):
    """What the handler sees of the payment that admitted its request."""

    method: str
    intent: str
    payer: str | None
    """The address the money came from."""
    amount: int
    """Base units of ``currency``."""
    currency: str
    """The token's contract address."""
    decimals: int
    challenge_id: str
    reference: str | None = None
    """What the method calls the settlement; for a Stellar charge the transaction hash. ``None``
    until it is settled, as with ``settle="after"``. So is ``receipt_value``."""
    receipt_value: str | None = None
    """The ``Payment-Receipt`` field."""
    tab: Tab | None = None
    """What is drawn beyond ``amount``, where there is something to draw from."""

    def settled(self, reference: str | None, receipt_value: str | None) -> Payment:
        """It, once the money moved."""
        method, intent, payer, amount, currency, decimals, challenge_id, _, _, tab = self
        return Payment(
            method,
            intent,
            payer,
            amount,
            currency,
            decimals,
            challenge_id,
            reference,
            receipt_value,
            tab,
        )

    @property
    def receipt(self) -> Receipt | None:
        """The receipt, read."""
        return None if self.receipt_value is None else Receipt.from_header(self.receipt_value)

    @property
    def human_amount(self) -> Decimal:
        """The amount in whole tokens, exact."""
        return Decimal(f"{self.amount}e-{self.decimals}")  # Decimal's own arithmetic rounds

    def meter(self, unit_price: Decimal | str | int) -> Meter:
        """Sell more by the unit, out of what the payer of a session has signed for::

            meter = payment.meter("0.0001")

        It comes on top of the route's price.

        Args:
            unit_price: whole tokens of the payment's currency, exact to the base unit.

        Raises:
            PriceError: it is no price, or has more digits than the currency.
            MeteringError: the payment is no session's.
        """
        if self.tab is None:
            raise MeteringError(
                f"{self.method}/{self.intent} pays for one request and metering needs a session: "
                'offer nothing else on this route, @price(..., intents=["session"])'
            )
        return Meter(self.tab, unit_price)
