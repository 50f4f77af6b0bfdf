"""The intent stellar/charge: one request, one token transfer (draft-stellar-charge).

Three ways to show a payment, each an `Admission`:

- *sponsored pull*: the payer signed an authorization; we build, pay for and submit the transaction.
- *unsponsored pull*: the payer signed a whole transaction; we submit it as it is.
- *push*: the payer submitted the transaction and shows its hash, signed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mpp_asgi.intents import SingleUse
from mpp_asgi.pricing import PriceError
from mpp_asgi.protocol import problems
from mpp_asgi.stellar.admissions import Counter, ShownCharge
from mpp_asgi.stellar.network import Token
from mpp_asgi.stellar.payload import HASH, SIGNED_HASH, TRANSACTION, ShownPayment
from mpp_asgi.stellar.pull import PullAdmission, SponsoredAdmission
from mpp_asgi.stellar.push import PushAdmission
from mpp_asgi.stellar.terms import Terms

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mpp_asgi.intents import Admission, Quote
    from mpp_asgi.pricing import Price
    from mpp_asgi.protocol import Credential, Problem


class ChargeIntent(SingleUse):
    """Sells for single transfers.

    Args:
        counter: what settling takes: network, ledger, records, sponsor.
        recipient: who is paid.
        tokens: what is taken, by symbol and by address; the default currency under ``None``.
        allow_hash: take the draft's bare ``hash`` credentials, which anyone who sees a payment on
            the ledger could present.
    """

    method = "stellar"
    name = "charge"

    def __init__(
        self,
        counter: Counter,
        *,
        recipient: str,
        tokens: Mapping[str | None, Token],
        allow_hash: bool = False,
    ) -> None:
        self._counter = counter
        self._recipient = recipient
        self._tokens = tokens
        self._by_address = {token.address: token for token in tokens.values()}
        self._allow_hash = allow_hash

    def requests(self, price: Price, *, description: str | None) -> Sequence[Mapping[str, Any]]:
        """See `Intent.requests`: sponsored first, if there is a sponsor."""
        token = self._tokens.get(price.currency)
        if token is None:
            known = ", ".join(sorted(symbol for symbol in self._tokens if symbol))
            raise PriceError(f"currency {price.currency!r} is not known here; known are: {known}")
        terms = Terms(
            network=self._counter.network.name,
            token=token.address,
            recipient=self._recipient,
            amount=price.base_units(token.decimals),
            sponsored=False,
        )
        push = [SIGNED_HASH, HASH] if self._allow_hash else [SIGNED_HASH]
        unsponsored = terms.to_request(
            description=description, credential_types=[TRANSACTION, *push]
        )
        if self._counter.sponsor is None:
            return [unsponsored]
        details = {**unsponsored["methodDetails"], "feePayer": True}
        details["credentialTypes"] = [TRANSACTION]
        return [{**unsponsored, "methodDetails": details}, unsponsored]

    def sponsorship(self, request: Mapping[str, Any]) -> bool | None:
        """See `Intent.sponsorship`."""
        return request["methodDetails"].get("feePayer") or None

    async def verify(self, credential: Credential, quote: Quote) -> Admission:
        """See `Intent.verify`. What is not taken any more is honoured if it was paid before."""
        shown = ShownPayment.in_credential(credential)
        terms = Terms.from_request(quote.request)
        token = self._by_address.get(terms.token)
        unfit = self._unfit(shown, terms, token, quote)
        if unfit is not None:
            quote = quote._replace(lapsed=unfit)
        kind: type[PullAdmission | PushAdmission | SponsoredAdmission]
        if shown.type != TRANSACTION:
            kind = PushAdmission
        else:
            kind = SponsoredAdmission if terms.sponsored else PullAdmission
        turn = await self._counter.book.turn(quote.challenge_id)
        try:
            admission = kind(
                self._counter,
                turn,
                ShownCharge(shown, terms, token or Token(terms.token, ""), quote),
            )
            await admission.verify()
        except BaseException:
            await turn.end()
            raise
        return admission

    def _unfit(
        self, shown: ShownPayment, terms: Terms, token: Token | None, quote: Quote
    ) -> Problem | None:
        """Why no payment like this may begin, if none may."""
        here = (self._counter.network.name, self._recipient)
        if token is None or (terms.network, terms.recipient) != here:
            return problems.INVALID_CHALLENGE.because(
                "This challenge is not of the seller's present terms.",
                challenge_id=quote.challenge_id,
            )
        if shown.type == TRANSACTION:
            return None
        if terms.sponsored:
            return problems.VERIFICATION_FAILED.because(
                "A sponsored charge is paid with a transaction, not with a hash."
            )
        if shown.type == HASH and not self._allow_hash:
            return problems.VERIFICATION_FAILED.because(
                "A bare hash proves nothing; show a 'signedHash'."
            )
        return None
