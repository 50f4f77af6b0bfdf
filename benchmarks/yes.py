"""A way to pay that takes any word for it: what is left is the protocol's own work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mpp_asgi.intents import Quote, RefusalError, SingleUse
from mpp_asgi.payment import Payment
from mpp_asgi.protocol import format_timestamp, receipt_header

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mpp_asgi.charges import ChargeBook
    from mpp_asgi.intents import Admission
    from mpp_asgi.pricing import Price
    from mpp_asgi.protocol import Credential
    from mpp_asgi.turns import Turn

DECIMALS = 7


class YesIntent(SingleUse):
    """Claims, settles and delivers in the book as every intent does, and moves no money."""

    method = "yes"
    name = "charge"

    def __init__(self, book: ChargeBook) -> None:
        self._book = book

    def requests(self, price: Price, *, description: str | None) -> Sequence[Mapping[str, Any]]:
        """See `Intent.requests`."""
        return [{"amount": str(price.base_units(DECIMALS)), "currency": "yes"}]

    async def verify(self, credential: Credential, quote: Quote) -> Admission:
        """See `Intent.verify`: good if the challenge is, and claimed."""
        charge_id, request, expires, _, lapsed, _ = quote
        if lapsed is not None:
            raise RefusalError(lapsed)
        book = self._book
        turn = book.free_turn(charge_id) or await book.turn(charge_id)
        try:
            await turn.claim(str(credential.payload["type"]), (), keep_until=expires)
        except BaseException:
            await turn.end()
            raise
        return YesAdmission(book, turn, int(request["amount"]), charge_id, expires)


class YesAdmission:
    """A claimed credential."""

    def __init__(
        self, book: ChargeBook, turn: Turn, amount: int, charge_id: str, keep_until: int
    ) -> None:
        self._book = book
        self._turn = turn
        self.is_held = turn.is_held
        self.hold = turn.hold
        self.delivered = turn.delivered
        self.payment = Payment("yes", "charge", "anyone", amount, "yes", DECIMALS, charge_id)
        self._charge_id = charge_id
        self._keep_until = keep_until

    async def settle(self) -> Payment:
        """See `Admission.settle`."""
        reference = self._charge_id
        now = format_timestamp(int(self._book.clock()))
        receipt = receipt_header("yes", reference, now)
        await self._turn.settled(
            receipt=receipt, payer="anyone", reference=reference, keep_until=self._keep_until
        )
        self.payment = self.payment.settled(reference, receipt)
        return self.payment

    async def undelivered(self, *, begun: bool) -> None:
        """See `Admission.undelivered`."""
        await self._turn.end()
