"""The first act: one payment, step by step, with everything that goes over the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from example_app.demo.books import MismatchError, whole
from example_app.demo.handmade import (
    first_challenge,
    price_of,
    reference_of,
    sponsored_credential,
)

if TYPE_CHECKING:
    from example_app.demo.scene import Scene

PATH = "/sun/reykjavik"


def perform(scene: Scene) -> None:
    """Ask, be told the price, pay, be served."""
    page = scene.page
    asked = scene.http.get(PATH)
    if asked.status_code != httpx.codes.PAYMENT_REQUIRED:
        raise MismatchError(f"{PATH} is not priced: it answers HTTP {asked.status_code}.")
    challenge = first_challenge(asked)
    price = price_of(challenge)
    page.entry("agent", f"GET {PATH}")
    page.entry("API", f"402 Payment Required. {asked.json()['detail']}")
    page.entry("", f"WWW-Authenticate: {asked.headers['WWW-Authenticate'][:45]}...")
    page.line()
    credential = sponsored_credential(challenge, scene.agent, scene.rpc)
    page.entry("agent", f"signs a transfer of {whole(price)} USDC to the seller, and asks again:")
    page.entry("", f"GET {PATH}")
    page.entry("", f"Authorization: {credential[:45]}...")
    page.line()
    served = scene.http.get(PATH, headers={"Authorization": credential})
    served.raise_for_status()
    scene.books.paid("agent", "seller", price)
    scene.books.fee("sponsor", reference_of(served))
    scene.books.balance("The first payment")
    page.entry(
        "API",
        "sees that the transfer is right, submits it, pays the network's fee, waits until "
        "the ledger has it for good, and only then answers:",
    )
    page.entry("", f"200 OK. The sun rises at {served.json()['sunrise']:.16} UTC.")
    page.entry("", f"Payment-Receipt: {served.headers['Payment-Receipt'][:45]}...")
    page.line()
    page.entry("receipt", "names the transaction, which anybody can look up on the ledger:")
    page.entry("", reference_of(served))
