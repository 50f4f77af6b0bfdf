"""Our own shop, on the embedded network over HTTP."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
from starlette.responses import Response
from stellar_sdk import Keypair

import mpp_asgi
from benchmarks.peers.sellers.seller import Demand, Proof, Purse
from mpp_asgi.protocol import Challenge, Credential, b64url_decode, b64url_encode, canonical
from mpp_asgi.stellar.network import TESTNET
from mpp_asgi.stellar.transfer import Transfer
from tests.attacks.ground import SECRET, Ground, open_ground
from tests.attacks.market import PatientPayer
from tests.attacks.scene import Scene
from tests.attacks.variant import Place
from tests.charge.forgery import THIEF
from tests.servers import clean_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from benchmarks.peers.trouble import Trouble
    from tests.attacks.crooked_node import Call, Forward
    from tests.attacks.wire import Answer

CALLS = {"verify": "simulateTransaction", "settle": "sendTransaction"}
ACCOUNTS = "50"
PACE = 0.3
"""Seconds between ledgers. The chain that the others settle on has a block at once."""
NEVER = 4
"""Ledgers: what the network is told to have so late, it forgets."""


class Ours:
    """Its terms are a challenge of the Payment scheme, for a sponsored charge."""

    name = "mpp_asgi"
    cent = 100_000
    carrier, prefix = "Authorization", "Payment "
    receipt, challenge = "payment-receipt", "www-authenticate"
    secret = SECRET
    is_told_on_errors = False

    def __init__(self, ground: Ground) -> None:
        self.version = mpp_asgi.__version__
        self.premises = ground
        self._node = ground.node
        self._market = Scene(ground, "peers", seed=1, times=1).market
        self._nonces = itertools.count(1)
        self._is_well = False
        self._held = 0

    def purse(self, name: str, cents: int) -> Purse:
        key = Keypair.random()
        self._node.fund(key.public_key, usdc=f"{cents / 100:.2f}")
        return Purse(key.public_key, key, cents * self.cent)

    def left(self, purse: Purse) -> int:
        return self._node.balance(purse.address, self._node.usdc)

    def demand(self, answer: Answer) -> Demand:
        challenge, *_ = Challenge.all_from_headers(answer.values(self.challenge))
        return Demand(challenge, int(challenge.request_object()["amount"]))

    def pay(self, purse: Purse, demand: Demand) -> Proof:
        return self._shown(purse, demand.terms)

    def _payer(self, purse: Purse) -> PatientPayer:
        return PatientPayer(self._market, purse.key)  # type: ignore[arg-type] # all that it asks is there

    def _shown(self, purse: Purse, challenge: Challenge, **how: Any) -> Proof:
        made = self._payer(purse).sponsored(challenge, nonce=next(self._nonces), **how)
        return Proof(self.carrier, made.to_header(), purse)

    def decode(self, proof: Proof) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(b64url_decode(proof.value.partition(" ")[2]))
        return found

    def encode(self, proof: Mapping[str, Any] | bytes) -> str:
        raw = proof if isinstance(proof, bytes) else json.dumps(proof).encode()
        return self.prefix + b64url_encode(raw)

    def rewrapped(self, proof: Proof, demand: Demand, number: int) -> Proof:
        credential = Credential.from_header(proof.value)
        payload = dict(credential.payload)
        shown = Credential(demand.terms if number else credential.challenge, payload)
        return Proof(self.carrier, shown.to_header(), proof.purse)

    def forgeries(self) -> dict[str, Callable[[Purse, Demand], Proof]]:
        def make(
            tamper: Callable[[Challenge], Challenge] | None = None, **how: Any
        ) -> Callable[[Purse, Demand], Proof]:
            def forge(purse: Purse, demand: Demand) -> Proof:
                challenge = tamper(demand.terms) if tamper is not None else demand.terms
                return self._shown(purse, challenge, **how)

            return forge

        def terms(**changes: Any) -> Callable[[Challenge], Challenge]:
            def change(challenge: Challenge) -> Challenge:
                request = {**challenge.request_object(), **changes}
                return replace(challenge, request=b64url_encode(canonical(request)))

            return change

        def echo(**changes: Any) -> Callable[[Challenge], Challenge]:
            return lambda challenge: replace(challenge, **changes)

        xlm = TESTNET.tokens["XLM"].address
        return {
            "a lower amount, in the terms too": make(terms(amount="1")),
            "a lower amount, in the signed words": make(**signed(amount=1)),
            "an amount with zeros before it": make(terms(amount="0000000001")),
            "a thief as recipient": make(terms(recipient=THIEF.public_key)),
            "a thief as recipient, in the signed words": make(**signed(recipient=THIEF.public_key)),
            "another currency": make(terms(currency=xlm)),
            "another currency, in the signed words": make(**signed(token=xlm)),
            "another network, in the signed words": make(passphrase="Another Network"),
            "another method": make(echo(method="tempo")),
            "another realm": make(echo(realm="evil.test")),
            "a later expiry": make(echo(expires="2099-01-01T00:00:00Z")),
            "no opaque": make(echo(opaque=None)),
            "another id": make(echo(id="A" * 43)),
            "a time that is over": make(expiration_ledger=1),
            "signed by another": make(signer=Keypair.random()),
            "more terms": make(terms(discount="100%")),
        }

    def has_succeeded(self, answer: Answer) -> bool:
        return answer.value(self.receipt) is not None

    def bring(self, trouble: Trouble, purse: Purse | None = None) -> None:
        crooked = self.premises.crooked
        assert crooked is not None
        self._is_well = False
        match trouble.kind:
            case "late":
                self._node.control("delay-submit", ledgers=2, times=trouble.times)
            case "lost":
                self._node.control("delay-submit", ledgers=NEVER, times=trouble.times)
            case "reverted":
                crooked.behave = self._drained(purse, trouble.times)
            case _:
                crooked.behave = self._crooked(trouble)

    def _drained(self, purse: Purse | None, times: int) -> Any:
        """The payer's money is gone when the transaction is sent."""
        assert purse is not None

        async def behave(call: Call, _: Forward) -> Response | None:
            nonlocal times
            if call["method"] == CALLS["settle"] and times:
                times -= 1
                await asyncio.to_thread(self._empty, purse)
            return None

        return behave

    def _empty(self, purse: Purse) -> None:
        payer = self._payer(purse)
        gone = payer.balance()
        if gone:
            token = payer.shop.sandbox.usdc
            payer.push(Transfer(token, payer.address, THIEF.public_key, gone))
            purse.elsewhere += gone

    def _crooked(self, trouble: Trouble) -> Any:
        left = trouble.times

        async def behave(call: Call, forward: Forward) -> Response | None:
            nonlocal left
            if call["method"] != CALLS[trouble.at] or left <= 0:
                return None
            left -= 1
            said = await forward() if trouble.is_after else None
            match trouble.kind:
                case "500":
                    return Response(b'{"error": "internal"}', 500)
                case "garbage":
                    return Response(b"<html>Bad Gateway</html>", 200, media_type="text/html")
                case "cut":
                    return Response(b'{"jsonrpc":"2.0","id":1,"res', media_type="application/json")
            self._held += 1
            while not self._is_well:  # noqa: ASYNC110 # it is another thread that calms down
                await anyio.sleep(0.02)
            self._held -= 1
            return said

        return behave

    def calm(self) -> None:
        self._is_well = True
        if self.premises.crooked is not None:
            self.premises.crooked.reset()

    def held(self) -> int:
        return self._held

    def without_store(self) -> AbstractContextManager[None]:
        return self.premises.locked_store()


def signed(**changes: Any) -> dict[str, Any]:
    """Other words than the terms."""
    return {"change": lambda transfer: replace(transfer, **changes)}


@contextmanager
def open_ours() -> Iterator[Ours]:
    """One worker whose node is in the attacker's hand. Its sponsor has channel accounts, as is
    recommended wherever several pay at a time."""
    with open_ground(Place.TROUBLED) as ground:
        ground.node.control("close-interval", seconds=PACE)
        ground.servers.pop().stop()
        subprocess.run(
            [sys.executable, "-m", "mpp_asgi.cli", "sponsor", "create", "--accounts", ACCOUNTS],
            env=clean_environment() | ground.settings,
            check=True,
            capture_output=True,
        )
        ground.settings["MPP_SPONSOR_ACCOUNTS"] = ACCOUNTS
        ground.wires[0] = ground.start()
        seller = Ours(ground)
        yield seller
        seller.calm()
