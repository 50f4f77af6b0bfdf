"""A shop with pympp, and how one pays it."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from eth_utils.crypto import keccak

from benchmarks.peers import usdc
from benchmarks.peers.sellers.evm import (
    THIEF,
    WORTHLESS,
    Facilitator,
    Payers,
    authorized,
    flipped,
    opened,
)
from benchmarks.peers.sellers.seller import Demand, Proof, Purse
from mpp_asgi.protocol import Challenge, Credential, b64url_decode, b64url_encode, canonical
from tests.redis_server import DURABLE, RedisProcess, redis_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.attacks.ground import Premises
    from tests.attacks.wire import Answer

APP = "benchmarks.peers.shops.pympp_shop:app"
SECRET = "planted-secret-of-the-shop-0123456789"


class Pympp(Payers):
    """Its terms are a challenge of the Payment scheme; the payer's nonce is a hash of it."""

    name = "pympp"
    carrier, prefix = "Authorization", "Payment "
    receipt, challenge = "payment-receipt", "www-authenticate"
    secret = SECRET
    is_told_on_errors = False

    def __init__(self, facilitator: Facilitator, premises: Premises, store: RedisProcess) -> None:
        super().__init__(facilitator, premises)
        self.version = version("pympp")
        self._store = store

    def demand(self, answer: Answer) -> Demand:
        challenge, *_ = Challenge.all_from_headers(answer.values(self.challenge))
        return Demand(challenge, int(challenge.request_object()["amount"]))

    def pay(self, purse: Purse, demand: Demand) -> Proof:
        return self._shown(purse, demand.terms, demand.amount)

    def _shown(self, purse: Purse, challenge: Challenge, amount: int, **how: Any) -> Proof:
        how.setdefault("nonce", nonce_for(challenge))
        authorization, signature = authorized(purse, amount, **how)
        payload = {"type": "authorization", **authorization, "signature": signature}
        source = f"did:pkh:eip155:{usdc.CHAIN}:{purse.address}"
        return Proof(self.carrier, Credential(challenge, payload, source).to_header(), purse)

    def decode(self, proof: Proof) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(b64url_decode(proof.value.partition(" ")[2]))
        return found

    def encode(self, proof: Mapping[str, Any] | bytes) -> str:
        raw = proof if isinstance(proof, bytes) else json.dumps(proof).encode()
        return self.prefix + b64url_encode(raw)

    def rewrapped(self, proof: Proof, demand: Demand, number: int) -> Proof:
        credential = Credential.from_header(proof.value)
        payload = dict(credential.payload)
        match number % 4:
            case 1:
                payload["nonce"] = "0x" + payload["nonce"][2:].upper()
            case 2:
                payload["from"] = payload["from"].lower()
            case 3:
                payload["signature"] = flipped(payload["signature"])
        own = number % 2 == 0
        shown = Credential(credential.challenge if own else demand.terms, payload)
        return Proof(self.carrier, shown.to_header(), proof.purse)

    def forgeries(self) -> dict[str, Callable[[Purse, Demand], Proof]]:

        def make(
            change: Callable[[Challenge], Challenge] | None = None,
            amount: int | None = None,
            **how: Any,
        ) -> Callable[[Purse, Demand], Proof]:
            def forge(purse: Purse, demand: Demand) -> Proof:
                challenge = change(demand.terms) if change is not None else demand.terms
                price = demand.amount if amount is None else amount
                return self._shown(purse, challenge, price, **how)

            return forge

        def terms(**changes: Any) -> Callable[[Challenge], Challenge]:
            def change(challenge: Challenge) -> Challenge:
                request = {**challenge.request_object(), **changes}
                return replace(challenge, request=b64url_encode(canonical(request)))

            return change

        def echo(**changes: Any) -> Callable[[Challenge], Challenge]:
            return lambda challenge: replace(challenge, **changes)

        now = int(time.time())
        return {
            "a lower amount, in the terms too": make(terms(amount="1"), 1),
            "a lower amount, in the signed words": make(None, 1),
            "no amount": make(terms(amount="0"), 0),
            "an amount with zeros before it": make(terms(amount="0000000001"), 1),
            "a thief as recipient": make(terms(recipient=THIEF), to=THIEF),
            "a thief as recipient, in the signed words": make(None, to=THIEF),
            "another currency": make(
                terms(currency=WORTHLESS), domain=usdc.domain(address=WORTHLESS)
            ),
            "another network": make(
                terms(
                    methodDetails={
                        "chainId": 1,
                        "credentialTypes": ["authorization"],
                        "decimals": 6,
                    }
                ),
                domain=usdc.domain(chain=1),
            ),
            "another network, in the signed words": make(None, domain=usdc.domain(chain=1)),
            "another method": make(echo(method="tempo")),
            "another realm": make(echo(realm="evil.test")),
            "a later expiry": make(echo(expires="2099-01-01T00:00:00Z")),
            "no expiry": make(echo(expires=None)),
            "no opaque": make(echo(opaque=None)),
            "another id": make(echo(id="A" * 43)),
            "a time that is over": make(before=now - 10),
            "a time to come": make(after=now + 3_600, before=now + 7_200),
            "signed by another": make(key="0x" + "11" * 32),
            "a nonce of its own": make(nonce="0x" + "22" * 32),
            "more terms": make(terms(discount="100%")),
        }

    def has_succeeded(self, answer: Answer) -> bool:
        return answer.value(self.receipt) is not None

    @contextmanager
    def without_store(self) -> Iterator[None]:
        self._store.kill()
        try:
            yield
        finally:
            self._store.start()


def nonce_for(challenge: Challenge) -> str:
    """What binds an authorization to its challenge."""
    words = json.dumps([challenge.id, challenge.realm], separators=(",", ":"), ensure_ascii=False)
    return "0x" + bytes(keccak(text=words)).hex()


@contextmanager
def open_pympp() -> Iterator[Pympp]:
    """One with a Redis of its own, which waits for the disk."""
    with redis_process(*DURABLE) as store:
        url = f"unix://{store.socket}"
        with opened(APP, SECRET=SECRET, REDIS=url) as (facilitator, premises):
            yield Pympp(facilitator, premises, store)
