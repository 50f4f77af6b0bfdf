"""The intent stellar/session: a channel funded once, then a signed voucher for each request.

The teller checks vouchers and books them; the ledger is asked only where money gets into a channel
(`Funding`) or out of it (`Cashier`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mpp_asgi.intents import RefusalError
from mpp_asgi.metering import Tab, Work
from mpp_asgi.payment import Payment
from mpp_asgi.pricing import PriceError
from mpp_asgi.protocol import problems
from mpp_asgi.stellar.funding import Voucher as FirstVoucher
from mpp_asgi.stellar.funding import require_top_up
from mpp_asgi.stellar.purse import ChannelPurse
from mpp_asgi.stellar.session_receipt import SessionReceipt
from mpp_asgi.stellar.session_terms import SessionTerms, with_standing, without_standing
from mpp_asgi.stellar.teller import Presentation, refuse_gone
from mpp_asgi.stellar.vouchers import Action, action_of, read_session
from mpp_asgi.stores.channels import ChannelStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mpp_asgi.intents import Admission, Quote
    from mpp_asgi.pricing import Price
    from mpp_asgi.protocol import Credential, Problem
    from mpp_asgi.stellar.cashier import Cashier
    from mpp_asgi.stellar.funding import Funding
    from mpp_asgi.stellar.network import Token
    from mpp_asgi.stellar.session_terms import SessionPolicy
    from mpp_asgi.stellar.teller import Teller
    from mpp_asgi.stellar.vouchers import ShownSession, Voucher
    from mpp_asgi.stores.channels import Channel

MOST_REMEMBERED: Final = 1_024
"""Terms that are kept read."""
_MANAGING: Final = frozenset({Action.TOP_UP, Action.CLOSE})
_ON_LEDGER: Final = frozenset({Action.OPEN, Action.TOP_UP, Action.CLOSE})
_NOT_TAKEN: Final = "This challenge is for a token that is not taken here any more."


@dataclass(frozen=True, slots=True, kw_only=True)
class Till:
    """Where sessions are held: everything that takes."""

    teller: Teller
    funding: Funding
    cashier: Cashier
    policy: SessionPolicy
    recipient: str
    tokens: Mapping[str | None, Token]
    """By symbol and by address; the default currency under ``None``."""


class SessionIntent:
    """Sells for vouchers of payment channels."""

    method = "stellar"
    name = "session"

    def __init__(self, till: Till) -> None:
        self._till = till
        self._counter = till.teller.counter
        self._by_address = {token.address: token for token in till.tokens.values()}
        self._terms_of: dict[str, SessionTerms] = {}

    @property
    def reusable_seconds(self) -> int:
        """See `Intent.reusable_seconds`."""
        return self._till.policy.seconds

    def requests(self, price: Price, *, description: str | None) -> Sequence[Mapping[str, Any]]:
        """See `Intent.requests`."""
        token = self._till.tokens.get(price.currency)
        if token is None:
            raise PriceError(f"{price.currency} is not a token that is taken here")
        terms = SessionTerms(
            network=self._counter.network.name,
            token=token.address,
            recipient=self._till.recipient,
            amount=price.base_units(token.decimals),
            sponsored=False,
        )
        unsponsored = terms.to_request(self._till.policy, description=description)
        if self._counter.sponsor is None:
            return [unsponsored]
        details = {**unsponsored["methodDetails"], "feePayer": True}
        return [{**unsponsored, "methodDetails": details}, unsponsored]

    def sponsorship(self, request: Mapping[str, Any]) -> bool | None:
        """See `Intent.sponsorship`: one or the other."""
        return None if self._counter.sponsor is None else request["methodDetails"]["feePayer"]

    @property
    def is_personal(self) -> bool:
        """See `Intent.is_personal`."""
        return False

    async def resume(self, request: Mapping[str, Any], session: str) -> Mapping[str, Any] | None:
        """See `Intent.resume`."""
        channel = await self._till.teller.channel(session)
        if channel is None or channel.token != request["currency"]:
            return None
        return with_standing(request, channel)

    def offered(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `Intent.offered`."""
        return without_standing(request)

    def manages(self, credential: Credential, http_method: str) -> bool:
        """See `Intent.manages`: a HEAD request has no response to pay for."""
        action = action_of(credential)
        return action in _MANAGING or (action is not None and http_method == "HEAD")

    async def verify(self, credential: Credential, quote: Quote) -> Admission:
        """See `Intent.verify`. What is to be paid here is paid at once; what was begun on the
        ledger goes on there, though its terms have lapsed since."""
        if quote.lapsed is not None and action_of(credential) not in _ON_LEDGER:
            raise RefusalError(quote.lapsed)
        shown = read_session(credential)
        terms = self._terms(credential.challenge.request, quote)
        token = self._by_address.get(terms.token)
        if token is None:  # it was, when the challenge was made
            raise RefusalError(quote.lapsed or problems.INVALID_CHALLENGE.because(_NOT_TAKEN))
        shown_for = Presentation(terms, quote.challenge_id, credential.source)
        cost = 0 if quote.manages else terms.amount
        tx_hash: str | None = None
        match shown.action:
            case Action.VOUCHER:
                channel = await self._take(shown, shown_for, cost)
            case Action.OPEN:
                tx_hash = await self._open(credential, shown_for, quote)
                if quote.lapsed is not None and cost and not quote.is_current:
                    raise RefusalError(quote.lapsed)  # it is open, and this costs something else
                channel = await self._take(shown, shown_for, cost)
            case Action.TOP_UP:
                channel, tx_hash = await self._top_up(credential, shown_for, quote)
            case Action.CLOSE:
                if quote.lapsed is not None:
                    await require_closing(self._till, _voucher(shown), quote.lapsed)
                channel, tx_hash = await close_session(self._till, _voucher(shown), shown_for)
        return SessionAdmission(
            self._till.teller,
            channel,
            SessionReceipt(
                quote.challenge_id,
                token,
                cost,
                tx_hash,
                tells=shown.voucher is not None,
            ),
        )

    def _terms(self, encoded: str, quote: Quote) -> SessionTerms:
        """Of a quote, which many credentials answer to in the same words."""
        terms = self._terms_of.get(encoded)
        if terms is None:
            if len(self._terms_of) >= MOST_REMEMBERED:
                self._terms_of.clear()
            terms = self._terms_of[encoded] = SessionTerms.from_request(quote.request)
        return terms

    async def _take(self, shown: ShownSession, shown_for: Presentation, cost: int) -> Channel:
        return await self._till.teller.take(_voucher(shown), shown_for, cost=cost)

    async def _open(
        self, credential: Credential, shown_for: Presentation, quote: Quote
    ) -> str | None:
        """Have the channel on the ledger and on record."""
        teller, voucher = self._till.teller, _voucher(read_session(credential))
        if await teller.channel(voucher.channel) is not None:
            if quote.lapsed is not None:  # it is a voucher like any other
                raise RefusalError(quote.lapsed)
            return None
        funded = await self._till.funding.open(
            credential.payload,
            voucher=FirstVoucher(voucher.amount, bytes.fromhex(voucher.signature)),
            quote=quote,
            token=shown_for.terms.token,
            least=shown_for.terms.amount,
            source=shown_for.source,
            sponsored=shown_for.terms.sponsored,
        )
        await teller.admit(funded.facts)
        return funded.tx_hash

    async def _top_up(
        self, credential: Credential, shown_for: Presentation, quote: Quote
    ) -> tuple[Channel, str | None]:
        teller = self._till.teller
        require_top_up(credential.payload)
        channel = await teller.channel(read_session(credential).channel)
        if channel is None:
            refuse_gone(None)
        await teller.check_terms(channel.id, shown_for)
        funded = await self._till.funding.top_up(
            credential.payload,
            channel,
            quote=quote,
            least=shown_for.terms.amount,
            source=shown_for.source,
            sponsored=shown_for.terms.sponsored,
        )
        return await teller.note(channel, funded.facts) or channel, funded.tx_hash


class SessionAdmission:
    """What a voucher bought: one response, or a change to its channel. See `Admission`."""

    def __init__(self, teller: Teller, channel: Channel, receipt: SessionReceipt) -> None:
        self._teller = teller
        self._channel = channel
        self._receipt = receipt
        self._tab = Tab(ChannelPurse(teller, channel, receipt))
        self.payment = Payment(
            "stellar",
            receipt.intent,
            channel.funder,
            receipt.cost,
            channel.token,
            receipt.token.decimals,
            receipt.challenge_id,
            channel.id,
            receipt.to_header(channel, teller.counter.clock()),
            self._tab,
        )

    async def settle(self) -> Payment:
        """See `Admission.settle`: a voucher that was accepted is as good as money."""
        return self.payment

    def is_held(self) -> bool:
        """See `Admission.is_held`: what was spent is nobody else's."""
        return True

    async def hold(self) -> None:
        """See `Admission.hold`."""

    async def delivered(self) -> None:
        """See `Admission.delivered`: it was paid before."""
        self._tab.end(begun=True, whole=True)

    async def undelivered(self, *, begun: bool) -> None:
        """See `Admission.undelivered`. A response that was begun is paid for: else whoever hangs up
        before its last byte would have it for nothing."""
        owed = self._tab.end(begun=begun, whole=False)
        if not begun and self._receipt.cost:
            owed += Work(1, self._receipt.cost)
        if owed.units:
            await self._tab.purse.put_back(owed)


async def require_closing(till: Till, voucher: Voucher, lapsed: Problem) -> None:
    """See that the channel is being closed with this very voucher: that goes on, though the terms
    have lapsed.

    Raises:
        RefusalError: it is not; ``lapsed`` says why it is not begun either.
    """
    channel = await till.teller.channel(voucher.channel)
    shown = (voucher.amount, voucher.signature)
    if channel is None or (channel.closing_amount, channel.closing_signature) != shown:
        raise RefusalError(lapsed)


async def close_session(
    till: Till, voucher: Voucher, shown_for: Presentation
) -> tuple[Channel, str | None]:
    """Take what the voucher is worth and give the rest back to the funder, on the ledger.

    Returns:
        The channel, and the transaction's hash if it took one.

    Raises:
        RefusalError: it is not closed. If the ledger refused, it is open again, unless it was
            closed there otherwise: ``session/channel-finalized``.
        FaultError, PendingError: it is not closed yet, and takes no vouchers meanwhile.
    """
    channel = await till.teller.begin_close(voucher, shown_for)
    try:
        return channel, await till.cashier.close(channel, reopens=True)
    except RefusalError:  # the ledger will not have it, whoever tries again
        left = await till.teller.channel(channel.id)
        if left is not None and left.status is ChannelStatus.CLOSED:
            refuse_gone(left)
        raise


def _voucher(shown: ShownSession) -> Voucher:
    if shown.voucher is None:
        raise RuntimeError(f"a credential to {shown.action} has no voucher")
    return shown.voucher
