"""A shop with x402, and how one pays it."""

from __future__ import annotations

import base64
import json
import time
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from benchmarks.peers import usdc
from benchmarks.peers.sellers.evm import (
    RECIPIENT,
    THIEF,
    WORTHLESS,
    Facilitator,
    Payers,
    authorized,
    flipped,
    opened,
)
from benchmarks.peers.sellers.seller import Demand, Proof, Purse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.attacks.ground import Premises
    from tests.attacks.wire import Answer

APP = "benchmarks.peers.shops.x402_shop:app"


class X402(Payers):
    """Its terms are the ``PaymentRequired`` of its 402."""

    carrier, prefix = "PAYMENT-SIGNATURE", ""
    receipt, challenge = "payment-response", "payment-required"
    secret = ""
    is_told_on_errors = True

    def __init__(self, name: str, facilitator: Facilitator, premises: Premises) -> None:
        super().__init__(facilitator, premises)
        self.name = name
        self.version = version("x402")

    def demand(self, answer: Answer) -> Demand:
        value = answer.value(self.challenge)
        if value is None:
            raise ValueError("a 402 without terms")
        terms = json.loads(base64.b64decode(value))
        return Demand(terms, int(terms["accepts"][0]["amount"]))

    def pay(self, purse: Purse, demand: Demand) -> Proof:
        return self._shown(purse, demand, *authorized(purse, demand.amount))

    def _shown(
        self,
        purse: Purse,
        demand: Demand,
        authorization: Mapping[str, str],
        signature: str,
        **changes: Any,
    ) -> Proof:
        """As a client of theirs puts it together, but for what is changed of the terms."""
        body = {
            "x402Version": 2,
            "payload": {"authorization": dict(authorization), "signature": signature},
            "accepted": {**demand.terms["accepts"][0], **changes},
            "resource": demand.terms["resource"],
        }
        return Proof(self.carrier, self.encode(body), purse)

    def decode(self, proof: Proof) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(base64.b64decode(proof.value))
        return found

    def encode(self, proof: Mapping[str, Any] | bytes) -> str:
        raw = proof if isinstance(proof, bytes) else json.dumps(proof).encode()
        return base64.b64encode(raw).decode()

    def rewrapped(self, proof: Proof, demand: Demand, number: int) -> Proof:
        body = self.decode(proof)
        body["resource"] = {**demand.terms["resource"], "description": f"for number {number}"}
        body["extensions"] = {"number": {"info": {"number": number}}}
        words = body["payload"]
        match number % 4:
            case 1:
                words["authorization"]["nonce"] = "0x" + words["authorization"]["nonce"][2:].upper()
            case 2:
                words["authorization"]["from"] = words["authorization"]["from"].lower()
            case 3:
                words["signature"] = flipped(words["signature"])
        return Proof(self.carrier, self.encode(body), proof.purse)

    def forgeries(self) -> dict[str, Callable[[Purse, Demand], Proof]]:
        def make(
            terms: Mapping[str, Any] | None = None, amount: int | None = None, **how: Any
        ) -> Callable[[Purse, Demand], Proof]:
            def forge(purse: Purse, demand: Demand) -> Proof:
                price = demand.amount if amount is None else amount
                signed = authorized(purse, price, **how)
                return self._shown(purse, demand, *signed, **(terms or {}))

            return forge

        now = int(time.time())
        return {
            "a lower amount, in the terms too": make({"amount": "1"}, 1),
            "a lower amount, in the signed words": make(None, 1),
            "no amount": make({"amount": "0"}, 0),
            "an amount with zeros before it": make({"amount": "0000000001"}, 1),
            "a thief as recipient": make({"payTo": THIEF}, to=THIEF),
            "a thief as recipient, in the signed words": make(None, to=THIEF),
            "the recipient in lower case, and the money for a thief": make(
                {"payTo": RECIPIENT.lower()}, to=THIEF
            ),
            "another currency": make({"asset": WORTHLESS}, domain=usdc.domain(address=WORTHLESS)),
            "another network": make({"network": "eip155:1"}, domain=usdc.domain(chain=1)),
            "another network, in the signed words": make(None, domain=usdc.domain(chain=1)),
            "another name of the token": make(
                {"extra": {"name": "Gift", "version": "2"}}, domain=usdc.domain(name="Gift")
            ),
            "another scheme": make({"scheme": "upto"}),
            "a longer time": make({"maxTimeoutSeconds": 10**6}),
            "a time that is over": make(before=now - 10),
            "a time to come": make(after=now + 3_600, before=now + 7_200),
            "signed by another": make(key="0x" + "11" * 32),
            "more terms": make({"discount": "100%"}),
        }

    def has_succeeded(self, answer: Answer) -> bool:
        value = answer.value(self.receipt)
        return value is not None and bool(json.loads(base64.b64decode(value)).get("success"))

    def without_store(self) -> None:
        return None


@contextmanager
def open_x402(flow: str) -> Iterator[X402]:
    """One that settles after the handler (``authorization``), or before it (``upfront``)."""
    settings = {"X402_FLOW": flow} if flow == "upfront" else {}
    name = "x402 upfront" if flow == "upfront" else "x402"
    with opened(APP, **settings) as (facilitator, premises):
        yield X402(name, facilitator, premises)
