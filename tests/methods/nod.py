"""A payment method of the tests' own: whoever says so has paid, unless a test has other plans.

It goes through the real charge book, step by step as a real intent does, so what the book, the gate
and the middleware promise can be tried without a network. A test may do as it likes at each step.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mpp_asgi.intents import Admission, Quote, RefusalError, SingleUse
from mpp_asgi.payment import Payment
from mpp_asgi.pricing import Price, PriceError
from mpp_asgi.protocol import Credential, Receipt, format_timestamp, problems
from mpp_asgi.stores.contract import Charge, State

if TYPE_CHECKING:
    from mpp_asgi.charges import ChargeBook
    from mpp_asgi.turns import Turn

DECIMALS = 7
CURRENCIES = {None: "USDC", "USDC": "USDC", "XLM": "XLM"}
KEEP_SECONDS = 86_400
_envelopes = itertools.count()

Step = Callable[[str], Awaitable[None]]
"""Called with the name of each step just before it: ``verify``, ``claim``, ``submit``, ``move``
(the money) and ``settle`` (write it down)."""


async def go_on(step: str) -> None:
    """A step where nothing happens."""
    del step


@dataclass
class Till:
    """The money: what moved for which charge, as a ledger would know it."""

    moves: Counter[str] = field(default_factory=Counter)
    envelopes: set[str] = field(default_factory=set)
    """What moved it: each does so once, however often it is sent."""

    def move(self, charge_id: str, envelope: str) -> None:
        """Move the money of a charge, if this envelope has not done so."""
        if envelope not in self.envelopes:
            self.envelopes.add(envelope)
            self.moves[charge_id] += 1

    @property
    def takings(self) -> int:
        """How many charges brought money in."""
        return len(self.moves)

    @property
    def charged_twice(self) -> list[str]:
        return [charge for charge, times in self.moves.items() if times > 1]


class Nod(SingleUse):
    """The intent ``nod/charge``, or another name.

    Args:
        book: the process's.
        till: where the money goes; several processes may share one.
        step: see `Step`.
        name: of the intent.
    """

    method = "nod"

    def __init__(
        self,
        book: ChargeBook,
        *,
        till: Till | None = None,
        step: Step = go_on,
        name: str = "charge",
    ) -> None:
        self.name = name
        self._book = book
        self._till = till or Till()
        self._step = step

    def requests(self, price: Price, *, description: str | None) -> Sequence[Mapping[str, Any]]:
        """See `Intent.requests`."""
        currency = CURRENCIES.get(price.currency)
        if currency is None:
            raise PriceError(f"currency {price.currency!r} is not known here")
        request = {"amount": str(price.base_units(DECIMALS)), "currency": currency}
        return [request if description is None else {**request, "description": description}]

    async def verify(self, credential: Credential, quote: Quote) -> Admission:
        """See `Intent.verify`."""
        await self._step("verify")
        if credential.payload.get("type") != "nod":
            raise RefusalError(
                problems.VERIFICATION_FAILED.because("The payload's type is not 'nod'.")
            )
        turn = await self._book.turn(quote.challenge_id)
        try:
            await self._claim(turn, credential, quote)
        except BaseException:
            await turn.end()
            raise
        return NodAdmission(self._book, self._till, self._step, turn, quote)

    async def _claim(self, turn: Turn, credential: Credential, quote: Quote) -> None:
        found = await turn.find()
        if quote.lapsed is not None and (found is None or found.state is State.CLAIMED):
            raise RefusalError(quote.lapsed)
        await self._step("claim")
        payload = dict(credential.payload)
        await turn.claim(
            hashlib.sha256(json.dumps(payload, sort_keys=True).encode()).hexdigest(),
            [f"nod:{payload['proof']}"] if "proof" in payload else [],
            keep_until=int(self._book.clock()) + KEEP_SECONDS,
        )


class NodAdmission:
    """See `Admission`."""

    def __init__(self, book: ChargeBook, till: Till, step: Step, turn: Turn, quote: Quote) -> None:
        self._book = book
        self._till = till
        self._step = step
        self._turn = turn
        self.payment = Payment(
            method="nod",
            intent="charge",
            payer="somebody",
            amount=int(quote.request["amount"]),
            currency=quote.request["currency"],
            decimals=DECIMALS,
            challenge_id=quote.challenge_id,
        )

    async def settle(self) -> Payment:
        """See `Admission.settle`."""
        if self._charge.state is State.CLAIMED:
            await self._step("submit")
            await self._turn.submitted(
                reference=self.payment.challenge_id,
                envelope=f"nod {next(_envelopes)}",
                valid_until=int(self._book.clock()) + 60,
                payer="somebody",
                proofs=(),
            )
        if self._charge.state is State.SUBMITTED:
            await self._step("move")
            self._till.move(self.payment.challenge_id, self._charge.envelope or "")
            await self._step("settle")
            await self._write_down()
        self.payment = self.payment._replace(
            reference=self._charge.reference, receipt_value=self._charge.receipt
        )
        return self.payment

    async def _write_down(self) -> None:
        now = int(self._book.clock())
        receipt = Receipt(
            method="nod",
            reference=self.payment.challenge_id,
            timestamp=format_timestamp(now),
        )
        await self._turn.settled(
            receipt=receipt.to_header(),
            payer="somebody",
            reference=self.payment.challenge_id,
            keep_until=now + KEEP_SECONDS,
        )

    @property
    def _charge(self) -> Charge:
        assert self._turn.charge is not None
        return self._turn.charge

    def is_held(self) -> bool:
        """See `Admission.is_held`."""
        return self._turn.is_held()

    async def hold(self) -> None:
        """See `Admission.hold`."""
        await self._turn.hold()

    async def delivered(self) -> None:
        """See `Admission.delivered`."""
        await self._turn.delivered()

    async def undelivered(self, *, begun: bool) -> None:
        """See `Admission.undelivered`."""
        await self._turn.end()
