"""What an attack on a deposit is made from, and how it is to be refused."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mpp_asgi.intents import Quote
from mpp_asgi.protocol import problems
from mpp_asgi.stellar.invocation import contract_call, signed_leave, sponsored_call
from mpp_asgi.stellar.network import TESTNET
from mpp_asgi.stellar.transfer import Transfer, transfer_call
from tests.channels.market import CHALLENGE_SECONDS, FUNDER, Market
from tests.charge import forgery
from tests.charge.forgery import TransactionChange, changed

if TYPE_CHECKING:
    from collections.abc import Callable

    from stellar_sdk import xdr

    from mpp_asgi.stellar.channel_calls import Opening
    from mpp_asgi.stellar.invocation import Call

FAILED = "verification-failed"
MALFORMED = "invalid-payload"

Payload = dict[str, Any]


@dataclass(frozen=True)
class Attack:
    name: str
    forge: Callable[[Case], Payload]
    says: str
    """Part of the problem's detail: the reason is this check's and no other's."""
    slug: str = FAILED
    terms: Callable[[Case], dict[str, Any]] = lambda case: {}
    """What is changed on the server's side."""

    def __str__(self) -> str:
        return self.name


@dataclass
class Case:
    """A market with an opening that would be good, and the address of a channel that is open."""

    market: Market
    opening: Opening = field(init=False)
    channel: str = field(init=False)

    def __post_init__(self) -> None:
        self.opening = self.market.opening()
        self.channel = self.market.open()

    @property
    def call(self) -> Call:
        return self.opening.call(TESTNET.passphrase)

    def good(self, **changes: Any) -> Payload:
        return self.market.open_payload(self.opening, **changes)

    def on_terms(self, *, amount: int = 100, **terms: Any) -> Payload:
        """An opening on other terms, for which everything else is as it has to be."""
        return self.market.open_payload(replace(self.opening, **terms), amount=amount)

    def calling(self, call: Call) -> Payload:
        return self.good(transaction=self.market.funding_envelope(call))

    def changed(self, *changes: TransactionChange) -> Payload:
        signer = None if self.market.sponsored else FUNDER
        payload = self.good()
        return {**payload, "transaction": changed(payload["transaction"], *changes, signer=signer)}

    def allowed(self, *entries: xdr.SorobanAuthorizationEntry) -> Payload:
        """With other authorization entries than the funder's one."""
        return self.changed(forgery.authorized_by(*entries))

    def allowed_top_up(self, *entries: xdr.SorobanAuthorizationEntry) -> str:
        """A top-up with other authorization entries than the funder's one."""
        signer = None if self.market.sponsored else FUNDER
        honest = self.market.top_up_payload(self.channel, 5_000)["transaction"]
        return changed(honest, forgery.authorized_by(*entries), signer=signer)

    def leave(self, call: Call | None = None, **changes: Any) -> xdr.SorobanAuthorizationEntry:
        values: dict[str, Any] = {
            "address": FUNDER.public_key,
            "nonce": 77,
            "expiration_ledger": self.market.sandbox.sequence + 50,
            "signer": FUNDER,
            "passphrase": TESTNET.passphrase,
        }
        return signed_leave(call or self.call, **{**values, **changes})

    def sent(self, **changes: Any) -> Payload:
        """A sponsored opening with another nonce, signer, network or end."""
        values: dict[str, Any] = {
            "address": FUNDER.public_key,
            "nonce": 77,
            "expiration_ledger": self.market.sandbox.sequence + 50,
            "max_time": int(self.market.time()) + CHALLENGE_SECONDS,
            "signer": FUNDER,
            "passphrase": TESTNET.passphrase,
        }
        return self.good(transaction=sponsored_call(self.call, **{**values, **changes}))

    def greedy(self) -> Call:
        """The opening, and leave for another transfer to come from within it."""
        call = self.call
        (constructor,) = call.sub_invocations
        more = Transfer(self.opening.token, FUNDER.public_key, self.channel, 10**6)
        constructor.sub_invocations.append(transfer_call(more))
        return call

    def modest(self) -> Call:
        """The opening, without leave for what it takes."""
        call = self.call
        call.sub_invocations = []
        return call

    def elsewhere(self) -> Call:
        """The same call, of a contract that is not the factory."""
        called = self.call.function.contract_fn
        assert called is not None
        return contract_call(self.channel, "open", called.args)


def lapsed(case: Case) -> dict[str, Any]:
    problem = problems.PAYMENT_EXPIRED.because("This challenge has expired.")
    expires = int(case.market.time()) + CHALLENGE_SECONDS
    return {"quote": Quote("challenge", {}, expires=expires, lapsed=problem)}
