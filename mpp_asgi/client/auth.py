"""`PaymentAuth`: an httpx client that pays."""

from __future__ import annotations

import secrets
import time
from os import PathLike
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import anyio
from stellar_sdk import Keypair

from mpp_asgi.client.amounts import Amount, limits, readable, spendable
from mpp_asgi.client.book import Book, Owed
from mpp_asgi.client.budget import Budget
from mpp_asgi.client.channel_file import ChannelFile
from mpp_asgi.client.channel_owner import ChannelOwner
from mpp_asgi.client.channel_wallet import ChannelWallet
from mpp_asgi.client.channels import Channels, MemoryChannels
from mpp_asgi.client.connection import origins_from
from mpp_asgi.client.errand import acarry_out, carry_out
from mpp_asgi.client.flow import AsyncFlow, SyncFlow
from mpp_asgi.client.hands import AsyncHands, SyncHands
from mpp_asgi.client.node import Node
from mpp_asgi.client.offers import Mode, Rules
from mpp_asgi.client.payer import Payer
from mpp_asgi.client.reconciliation import reconcile
from mpp_asgi.client.retries import Patience
from mpp_asgi.client.session_policy import BREAK_EVEN, SessionPolicy
from mpp_asgi.client.sessions import Sessions
from mpp_asgi.client.turns import Turns
from mpp_asgi.client.wallet import Wallet
from mpp_asgi.stellar.network import TESTNET, network_named
from mpp_asgi.stellar.secret_key import key_from_secret

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        Awaitable,
        Callable,
        Collection,
        Generator,
        Mapping,
        MutableSequence,
    )
    from decimal import Decimal

    import httpx

    from mpp_asgi.client.payments import PaidRequest, SignedPayment
    from mpp_asgi.protocol import Receipt
    from mpp_asgi.stellar.network import Token

MAX_NETWORK_FEE: Final = 1_000_000
"""Stroops (0.1 XLM) for one transaction that the payer pays the network fee of."""

MAX_VALIDITY: Final = 3600.0
"""Seconds that a challenge may be valid."""


class PaymentAuth(ChannelOwner):
    """Pays for what costs something, within a budget::

        auth = PaymentAuth(keypair, budget="1.00")
        async with httpx.AsyncClient(auth=auth) as client:
            forecast = await client.get("https://api.example.com/forecast/Paris")

    Works with `httpx.AsyncClient` and `httpx.Client`, in any number of threads and event loops at
    once. A 402 is answered with one payment of ``stellar/charge``, if everything in its challenge
    is acceptable (see the arguments); else a `PaymentNotMadeError` is raised and nothing was
    signed.

    **One request, one payment.** If the answer to a payment gets lost, or the server is in
    trouble, the *same* credential is shown again, as often as ``patience`` says. If that does not
    help, `PaymentOutcomeUnknownError` is raised, the amount stays counted, and the next request
    with the same method, URL and body shows the same credential before it pays anything. If the
    server answers a payment with another 402, no second payment is made, whatever its problem type
    says, because the server holds the first one and can take it until it expires:
    `PaymentRefusedError`. Only the ledger can say that a payment is void for good (its transaction
    failed, or was not there when its time was over), and only then is a second one made. A payment
    that was *pushed* is shown again under a fresh challenge of the same price.

    **Many requests, one channel.** Where a server offers ``stellar/session``, money may be put into
    a payment channel once, and each request paid with a voucher (see ``sessions`` and
    ``channels``): cumulative, signed for no more than the requests that were made cost, written
    down before it is sent. What is signed counts against the budget; what is locked up is bounded
    by `SessionPolicy.max_deposit`. A request that is lost on its way may be sent again: it is paid
    once more only if the server spent the first voucher.

    Credentials never go to another origin than the one that asked for them, nor over plain HTTP
    (loopback aside), and appear in no log: not even ``response.request.headers`` has them.

    A request's body is read into memory before it is sent, because it may have to be sent twice.

    Args:
        keypair: the payer's (or the secret, ``S…``).
        budget: how much may be spent in all: for each of ``currencies`` that much, or a mapping
            from symbol to amount. Text, Decimal or int, in whole tokens; never a float.
        max_per_request: how much one request may cost, in the same form.
        currencies: what may be spent: symbols of well-known tokens, or tokens.
        network: ``"stellar:testnet"`` (also for a sandbox) or ``"stellar:pubnet"``.
        rpc: URL of a Stellar RPC, or a function that is one (``sandbox.rpc``). By default the
            environment's ``MPP_RPC_URL``, or the network's public one.
        mode: ``"pull"`` gives signed transactions to the server, ``"push"`` submits them itself.
        sponsored: prefer offers in which the server pays the network fee; ``False``: avoid them.
        recipients: who may be paid; by default anybody.
        origins: who may be paid (``"https://api.example.com"``); by default whomever a request
            goes to.
        max_validity: seconds that the challenge of a charge may be valid at most.
        max_network_fee: stroops for the network fee of a transaction of one's own.
        sessions: when to open payment channels: a `SessionPolicy`, or its ``after`` alone. By
            default as `SessionPolicy` says if ``channels`` is given, else never: a channel that
            nobody remembers holds a deposit that nobody gets back.
        channels: where to keep payment channels: the path of a `ChannelFile`, or a store. By
            default in memory, which is for processes that close them before they end.
        patience: how often and how long to try again.
        paid: where requests that were paid for are appended to; by default a list.
        clock: Unix seconds.
        random_bits: as `secrets.randbits`.
        sleep: as `time.sleep`, for `httpx.Client`.
        async_sleep: as `anyio.sleep`, for `httpx.AsyncClient`.

    Raises:
        TypeError: an amount is a float, or the keypair is no key and no text.
        ValueError: another argument makes no sense.
    """

    def __init__(
        self,
        keypair: Keypair | str,
        *,
        budget: Amount | Mapping[str, Amount],
        max_per_request: Amount | Mapping[str, Amount] | None = None,
        currencies: Collection[str | Token] | None = None,
        network: str = TESTNET.name,
        rpc: str | Callable[[dict[str, Any]], Mapping[str, Any]] | None = None,
        mode: Mode = "pull",
        sponsored: bool = True,
        recipients: Collection[str] | None = None,
        origins: Collection[str] | None = None,
        max_validity: float = MAX_VALIDITY,
        max_network_fee: int = MAX_NETWORK_FEE,
        sessions: SessionPolicy | int | Literal["never", "always"] | None = None,
        channels: str | PathLike[str] | Channels | None = None,
        patience: Patience | None = None,
        paid: MutableSequence[PaidRequest] | None = None,
        clock: Callable[[], float] = time.time,
        random_bits: Callable[[int], int] = secrets.randbits,
        sleep: Callable[[float], None] = time.sleep,
        async_sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        if mode not in ("pull", "push"):
            raise ValueError(f"mode must be 'pull' or 'push', not {mode!r}.")
        signer = keypair if isinstance(keypair, Keypair) else key_from_secret(keypair)
        if not signer.can_sign():
            raise ValueError("The keypair has no secret, so it cannot pay.")
        chain = network_named(network)
        tokens = spendable(currencies, budget, chain)
        self._sleep = sleep
        self._async_sleep = async_sleep
        self._turns = Turns(clock)
        self._node = Node.chosen(rpc, chain)
        self._budget = Budget(dict.fromkeys(tokens, 0) | limits(budget, tokens))
        self._book = Book([] if paid is None else paid)
        most = {} if max_per_request is None else limits(max_per_request, tokens)
        if sessions is None:
            sessions = "never" if channels is None else BREAK_EVEN
        policy = SessionPolicy.of(sessions)
        deposits = limits(budget if policy.max_deposit is None else policy.max_deposit, tokens)
        wallet = Wallet(
            signer, chain, max_fee=max_network_fee, clock=clock, random_bits=random_bits
        )
        self._payer = Payer(
            rules=Rules(
                payer=signer.public_key,
                network=chain,
                tokens={token.address: token for token in tokens},
                max_per_request={token.address: units for token, units in most.items()},
                recipients=recipients,
                mode=mode,
                prefer_sponsored=sponsored,
                max_validity=max_validity,
                has_sessions=policy.after != "never",
            ),
            origins=None if origins is None else origins_from(origins),
            wallet=wallet,
            budget=self._budget,
            book=self._book,
            patience=patience or Patience(),
            clock=clock,
            sessions=Sessions(
                policy=policy,
                max_deposit=dict.fromkeys((token.address for token in tokens), 0)
                | {token.address: units for token, units in deposits.items()},
                channels=_kept(channels),
                wallet=ChannelWallet(
                    wallet, signer, chain, mode=mode, clock=clock, random_bits=random_bits
                ),
                budget=self._budget,
            ),
        )

    def __repr__(self) -> str:
        rules = self._payer.rules
        return f"PaymentAuth(payer={rules.payer!r}, network={rules.network.name!r})"

    @property
    def payer(self) -> str:
        """The address that pays."""
        return self._payer.rules.payer

    @property
    def spent(self) -> dict[str, Decimal]:
        """Whole tokens by symbol: paid, or in doubt."""
        return readable(self._budget.spent())

    @property
    def in_doubt(self) -> dict[str, Decimal]:
        """The part of `spent` of which only the ledger knows whether it left; see `reconcile`."""
        return readable(self._budget.doubted())

    @property
    def left(self) -> dict[str, Decimal]:
        """Whole tokens by symbol that may still be spent."""
        return readable(self._budget.left())

    @property
    def paid(self) -> tuple[PaidRequest, ...]:
        """The requests that were paid for and answered, in order."""
        return self._book.paid()

    @property
    def receipts(self) -> tuple[Receipt, ...]:
        """Their receipts."""
        return tuple(paid.receipt for paid in self.paid if paid.receipt is not None)

    @property
    def unresolved(self) -> tuple[SignedPayment, ...]:
        """Payments whose requests got no answer. The next request of the same method, URL and
        body shows such a payment before it makes another."""
        return self._book.unresolved()

    def resume(self, payment: SignedPayment) -> None:
        """Remember a payment that got no answer, for instance in a process that has ended. It
        counts as spent.

        Raises:
            ValueError: it is in a currency that this payer does not spend.
        """
        if payment in self.unresolved:
            return
        token = payment.offer.token
        if token.address not in self._payer.rules.tokens:
            raise ValueError(f"This payer does not spend {token.symbol}.")
        reservation = self._budget.count(token, payment.offer.amount)
        self._book.keep(Owed(payment, reservation, submitted=True, shown=True))

    def abandon(self, payment: SignedPayment) -> None:
        """Give up on a payment, so that the next request like its own is paid for anew. It stays
        counted in the budget."""
        self._book.forget(payment)

    def reconcile(self) -> None:
        """Ask the ledger about every payment and deposit in doubt, and give back what it declares
        void."""
        carry_out(reconcile(self._payer), self._hands())

    async def areconcile(self) -> None:
        """`reconcile` in an event loop."""
        await acarry_out(reconcile(self._payer), self._async_hands())

    # --- httpx ------------------------------------------------------------------------------------

    def sync_auth_flow(
        self, request: httpx.Request
    ) -> Generator[httpx.Request, httpx.Response, None]:
        """Part of httpx's interface: called by `httpx.Client` for each request."""
        flow = SyncFlow(self._payer, request, self._hands())
        return cast("Generator[httpx.Request, httpx.Response, None]", flow)

    def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Part of httpx's interface: called by `httpx.AsyncClient` for each request."""
        flow = AsyncFlow(self._payer, request, self._async_hands())
        return cast("AsyncGenerator[httpx.Request, httpx.Response]", flow)

    def _hands(self) -> SyncHands:
        return SyncHands(self._node.blocking, self._sleep, self._turns, self._payer.clock)

    def _async_hands(self) -> AsyncHands:
        return AsyncHands(
            self._node.asynchronous, self._async_sleep, self._turns, self._payer.clock
        )


def _kept(channels: str | PathLike[str] | Channels | None) -> Channels:
    if channels is None:
        return MemoryChannels()
    return ChannelFile(channels) if isinstance(channels, str | PathLike) else channels
