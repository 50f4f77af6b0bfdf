"""The payer's key at work on channels: deposits, vouchers, and the way out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mpp_asgi.client.errors import (
    LedgerUnavailableError,
    TransferFailedError,
    UnacceptableOfferError,
)
from mpp_asgi.client.held_channel import Funding
from mpp_asgi.client.payments import NonceTrace
from mpp_asgi.client.session_offers import LONGEST_OPENING
from mpp_asgi.client.steps import ask
from mpp_asgi.client.wallet import ledger_after, why_not
from mpp_asgi.stellar.channel_calls import Opening, TopUp
from mpp_asgi.stellar.channel_facts import NotAChannelError, get_channels
from mpp_asgi.stellar.commitment import sign_commitment
from mpp_asgi.stellar.envelope import EnvelopeError, network_id, unsigned_envelope
from mpp_asgi.stellar.invocation import call_operation, leave_of_source, sponsored_call
from mpp_asgi.stellar.rpc import get_latest_ledger, simulate_transaction
from mpp_asgi.stellar.rpc_call import RpcError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from stellar_sdk import Keypair

    from mpp_asgi.client.held_channel import HeldChannel, Place
    from mpp_asgi.client.offers import Mode
    from mpp_asgi.client.payments import PushedTransaction
    from mpp_asgi.client.session_offers import SessionOffer
    from mpp_asgi.client.steps import Chores
    from mpp_asgi.client.wallet import Wallet
    from mpp_asgi.stellar.channel_facts import ChannelFacts
    from mpp_asgi.stellar.invocation import Call
    from mpp_asgi.stellar.network import Network

OWN_SECONDS: Final = 60.0
"""So long a transaction is good that the payer submits for itself."""


class ChannelWallet:
    """Signs for the channels of one account on one network. The account's own key is the
    commitment key: commitments are nothing else that it could ever sign."""

    def __init__(
        self,
        wallet: Wallet,
        keypair: Keypair,
        network: Network,
        *,
        mode: Mode,
        clock: Callable[[], float],
        random_bits: Callable[[int], int],
    ) -> None:
        self._wallet = wallet
        self._keypair = keypair
        self._network = network
        self._network_id = network_id(network.passphrase)
        self._mode = mode
        self._clock = clock
        self._random_bits = random_bits

    @property
    def source(self) -> str:
        """The payer as credentials name it: ``did:pkh:stellar:testnet:G…``."""
        return f"did:pkh:{self._network.name}:{self._keypair.public_key}"

    def voucher(self, channel: str, amount: int) -> dict[str, str]:
        """What a voucher of so many base units says of itself."""
        signature = sign_commitment(self._keypair, self._network_id, channel, amount)
        return {
            "channelId": channel,
            "cumulativeAmount": str(amount),
            "signature": signature.hex(),
        }

    # --- deposits ---------------------------------------------------------------------------------

    def open(self, place: Place, offer: SessionOffer, deposit: int) -> Chores[tuple[str, Funding]]:
        """A channel that does not exist yet, and what opens it.

        Raises:
            UnacceptableOfferError: the server takes no channels of a kind that is trusted.
            LedgerUnavailableError: the RPC could not be asked.
            TransferFailedError: the opening would not go through.
            PaymentNotMadeError: the RPC is another network's, or the fee is too high.
        """
        if offer.factory is None and offer.code is None:
            raise UnacceptableOfferError(("it takes no channels of a kind that is trusted",))
        opening = Opening(
            factory=offer.factory,
            wasm_hash=offer.code if offer.factory is None else None,
            salt=self._random_bits(256).to_bytes(32, "big"),
            token=place.token,
            funder=place.payer,
            key=self._keypair.raw_public_key(),
            recipient=place.recipient,
            amount=deposit,
            waiting_period=offer.waiting_period,
        )
        passphrase = self._network.passphrase
        funding = yield from self._fund(opening.call(passphrase), offer, deposit)
        return opening.channel(passphrase), funding

    def top_up(self, held: HeldChannel, offer: SessionOffer, amount: int) -> Chores[Funding]:
        """What puts more into a channel. Raises as `open`."""
        top_up = TopUp(channel=held.id, amount=amount)
        call = top_up.call(token=held.place.token, funder=held.place.payer)
        return (yield from self._fund(call, offer, amount))

    def _fund(self, call: Call, offer: SessionOffer, amount: int) -> Chores[Funding]:
        now = self._clock()
        until = min(offer.expires, now + LONGEST_OPENING)
        try:
            yield from self._wallet.confirm_network()
            if offer.sponsored and self._mode == "pull":
                return (yield from self._sponsored(call, amount, until))
            own = yield from self._wallet.own_transaction(_by_source(call), max_time=int(until))
        except (RpcError, EnvelopeError) as error:
            raise LedgerUnavailableError(
                "Nothing was paid, because the Stellar RPC could not be asked."
            ) from error
        if self._mode == "push":
            return Funding(
                amount=amount,
                payload={"type": "hash", "hash": own.trace.hash},
                trace=own.trace,
                envelope=own.envelope,
            )
        payload = {"type": "transaction", "transaction": own.envelope}
        return Funding(amount=amount, payload=payload, trace=own.trace)

    def _sponsored(self, call: Call, amount: int, until: float) -> Chores[Funding]:
        # Whether the deposit is there is worth knowing before it is promised.
        simulation = yield from ask(
            simulate_transaction(
                unsigned_envelope(call_operation(call), source=self._keypair.public_key)
            )
        )
        if simulation.error is not None or simulation.restore:
            raise TransferFailedError(f"Nothing was paid, because {why_not(simulation)}.")
        ledger = yield from ask(get_latest_ledger())
        expiration = ledger_after(ledger, until - self._clock())
        nonce = self._random_bits(64) - 2**63
        envelope = sponsored_call(
            call,
            address=self._keypair.public_key,
            nonce=nonce,
            expiration_ledger=expiration,
            max_time=int(until),
            signer=self._keypair,
            passphrase=self._network.passphrase,
        )
        trace = NonceTrace(
            self._keypair.public_key, nonce, ledger.sequence, expiration, int(self._clock())
        )
        payload = {"type": "transaction", "transaction": envelope}
        return Funding(amount=amount, payload=payload, trace=trace)

    # --- the ledger -------------------------------------------------------------------------------

    def facts(self, held: HeldChannel) -> Chores[ChannelFacts | None]:
        """As `facts_of`."""
        return (yield from self.facts_of(held.id, [held.place.token]))

    def facts_of(self, channel: str, tokens: Collection[str]) -> Chores[ChannelFacts | None]:
        """What the ledger says of a channel of one of the tokens; ``None``: it is not there.

        Raises:
            ValueError: it is no contract's address.
            LedgerUnavailableError: the RPC could not be asked.
        """
        try:
            found = (yield from ask(get_channels([channel], tokens)))[channel]
        except RpcError as error:
            raise LedgerUnavailableError(
                "The Stellar RPC could not be asked about a payment channel."
            ) from error
        return None if isinstance(found, NotAChannelError) else found

    def way_out(self, call: Call) -> Chores[PushedTransaction]:
        """A transaction of the payer's own, such as ``close_start``. Raises as `open`."""
        try:
            yield from self._wallet.confirm_network()
            return (
                yield from self._wallet.own_transaction(
                    _by_source(call), max_time=int(self._clock() + OWN_SECONDS)
                )
            )
        except (RpcError, EnvelopeError) as error:
            raise LedgerUnavailableError(
                "Nothing happened, because the Stellar RPC could not be asked."
            ) from error


def _by_source(call: Call) -> bytes:
    """The Operation (XDR), allowed by the transaction's source."""
    return call_operation(call, [leave_of_source(call)])
