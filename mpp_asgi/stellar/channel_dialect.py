"""The intent stellar/channel: vouchers as clients of the deployed TypeScript SDK send them.

Such a client knows one channel, asks unpaid before every request, and is told in the challenge what
it has signed so far. The records, the rules and the money are those of sessions; only the words
differ. Which channel is meant, the setting says, or the seller's function of the request, or the
client itself (``Payment-Session``).
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any, Final

from stellar_sdk import StrKey

from mpp_asgi.intents import RefusalError, SingleUse
from mpp_asgi.pricing import PriceError
from mpp_asgi.protocol import problems
from mpp_asgi.stellar.channel import NotAChannelError, read_channel, require_acceptable
from mpp_asgi.stellar.session import SessionAdmission, close_session, require_closing
from mpp_asgi.stellar.session_receipt import SessionReceipt
from mpp_asgi.stellar.session_terms import SessionTerms
from mpp_asgi.stellar.teller import Presentation
from mpp_asgi.stellar.vouchers import Voucher, read_amount, read_signature

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mpp_asgi.intents import Admission, Quote
    from mpp_asgi.pricing import Price
    from mpp_asgi.protocol import Credential
    from mpp_asgi.stellar.network import Token
    from mpp_asgi.stellar.session import Till
    from mpp_asgi.stores.channels import Channel

LOOK_SECONDS: Final = 10
"""How long what came of looking for the channel holds, if it is not on record: who asks has paid
nothing yet."""
_VOUCHER: Final = "voucher"
_CLOSE: Final = "close"
_PERSONAL: Final = ("reference", "cumulativeAmount")


class ChannelDialect(SingleUse):
    """Sells for vouchers to clients that speak the ``channel`` dialect.

    Args:
        till: where sessions are held.
        channel: the one channel (``C…``) of a server with a single customer; ``None``: whichever
            a request names.
        new_reference: makes a word that tells one challenge from another.
    """

    method = "stellar"
    name = "channel"

    def __init__(
        self,
        till: Till,
        *,
        channel: str | None,
        new_reference: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        self._till = till
        self._channel = channel
        self._new_reference = new_reference
        self._looked_at = 0.0
        self._look: asyncio.Task[Channel | None] | None = None
        self._by_address = {token.address: token for token in till.tokens.values()}

    @property
    def is_personal(self) -> bool:
        """See `Intent.is_personal`: without a channel there is nothing to offer."""
        return True

    def requests(self, price: Price, *, description: str | None) -> Sequence[Mapping[str, Any]]:
        """See `Intent.requests`: what is common to all channels of the price's currency."""
        token = self._till.tokens.get(price.currency)
        if token is None:
            raise PriceError(f"{price.currency} is not a token that is taken here")
        request: dict[str, Any] = {
            "amount": str(price.base_units(token.decimals)),
            "currency": token.address,
            "methodDetails": {"network": self._till.teller.counter.network.name},
        }
        if description is not None:
            request["description"] = description
        return [request]

    async def resume(self, request: Mapping[str, Any], session: str) -> Mapping[str, Any] | None:
        """See `Intent.resume`: a channel buys what is sold for its token, as an amount of another
        is worth something else."""
        channel = await self._known(self._channel or session)
        if channel is None or channel.token != request["currency"]:
            return None
        details = {
            **request["methodDetails"],
            "reference": self._new_reference(),
            "cumulativeAmount": str(channel.accepted),
        }
        return {**request, "channel": channel.id, "methodDetails": details}

    def offered(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `Intent.offered`."""
        details = request.get("methodDetails")
        if not isinstance(details, dict):
            return request
        kept = {name: value for name, value in details.items() if name not in _PERSONAL}
        common = {name: value for name, value in request.items() if name != "channel"}
        return {**common, "methodDetails": kept}

    def manages(self, credential: Credential, http_method: str) -> bool:
        """See `Intent.manages`."""
        return credential.payload.get("action") == _CLOSE or http_method == "HEAD"

    async def verify(self, credential: Credential, quote: Quote) -> Admission:
        """See `Intent.verify`."""
        request, payload = credential.challenge.request_object(), credential.payload
        action = payload.get("action")
        if quote.lapsed is not None and action != _CLOSE:
            raise RefusalError(quote.lapsed)
        if action not in (_VOUCHER, _CLOSE):
            raise RefusalError(
                problems.INVALID_PAYLOAD.because(
                    "The payload's action must be 'voucher' or 'close'."
                )
            )
        token = self._by_address.get(str(quote.request.get("currency")))
        if token is None:
            raise RefusalError(
                problems.INVALID_CHALLENGE.because(
                    "This challenge is for no token that is taken here.",
                    challenge_id=quote.challenge_id,
                )
            )
        channel = await self._known(str(request.get("channel")))
        if channel is None:
            raise RefusalError(
                problems.SESSION_CHANNEL_NOT_FOUND.because("This channel is not taken here.")
            )
        voucher = Voucher(channel.id, read_amount(payload, "amount"), read_signature(payload))
        cost = 0 if quote.manages else int(quote.request["amount"])
        shown_for = Presentation(self._terms(token, cost), quote.challenge_id, credential.source)
        tx_hash: str | None = None
        if action == _CLOSE:
            if quote.lapsed is not None:
                await require_closing(self._till, voucher, quote.lapsed)
            channel, tx_hash = await close_session(self._till, voucher, shown_for)
        else:
            channel = await self._till.teller.take(voucher, shown_for, cost=cost)
        receipt = SessionReceipt(quote.challenge_id, token, cost, tx_hash, self.name)
        return SessionAdmission(self._till.teller, channel, receipt)

    def _terms(self, token: Token, cost: int) -> SessionTerms:
        return SessionTerms(
            network=self._till.teller.counter.network.name,
            token=token.address,
            recipient=self._till.recipient,
            amount=cost,
            sponsored=False,
        )

    async def _known(self, channel_id: str) -> Channel | None:
        """The channel on record; one that is on the ledger only is put there, if it will do."""
        if not StrKey.is_valid_contract(channel_id):
            return None
        teller = self._till.teller
        channel = await teller.channel(channel_id)
        if channel is not None or channel_id != self._channel:
            return channel if channel is None or channel.token in self._by_address else None
        return await self._look_for(channel_id)

    async def _look_for(self, channel_id: str) -> Channel | None:
        """Have the channel that the setting names on record. Others have to be opened here: whoever
        names a channel in a header is not to send us to the ledger."""
        counter = self._till.teller.counter
        now = counter.clock()
        if self._look is None or not 0 <= now - self._looked_at < LOOK_SECONDS:
            self._looked_at = now
            self._look = counter.book.spawn(self._look_at_ledger(channel_id))
        # Whoever comes while it is under way, or soon after, is told the same.
        return await asyncio.shield(self._look)

    async def _look_at_ledger(self, channel_id: str) -> Channel | None:
        till, policy = self._till, self._till.policy
        try:
            facts = await read_channel(
                till.teller.counter.ledger, channel_id, list(self._by_address)
            )
        except NotAChannelError:
            return None
        if facts.token not in self._by_address:
            return None
        require_acceptable(
            facts,
            token=facts.token,
            recipient=till.recipient,
            wasm_hashes=policy.wasm_hashes,
            min_waiting_period=policy.min_waiting_period,
        )
        await till.teller.admit(facts)
        return await till.teller.channel(channel_id)
