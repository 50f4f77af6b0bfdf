"""Top-ups that no honest payer would send."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mpp_asgi.stellar.channel_calls import TopUp, close_start_call
from tests.channels.deposit_case import MALFORMED, Attack, Case, Payload, lapsed
from tests.channels.market import FUNDER, LEAST
from tests.charge.forgery import THIEF

if TYPE_CHECKING:
    from mpp_asgi.stellar.invocation import Call


def topping_up(case: Case, *, amount: int = 5_000, channel: str | None = None) -> Call:
    return TopUp(channel=channel or case.channel, amount=amount).call(
        token=case.market.sandbox.usdc, funder=FUNDER.public_key
    )


def top_up(case: Case, call: Call | None = None, **changes: Any) -> Payload:
    payload = case.market.top_up_payload(case.channel, 5_000)
    if call is not None:
        payload["transaction"] = case.market.funding_envelope(call)
    return {**payload, **changes}


TOP_UPS = [
    Attack(
        "no amount", lambda c: top_up(c, additionalDeposit=None), "additionalDeposit", MALFORMED
    ),
    Attack(
        "a number", lambda c: top_up(c, additionalDeposit=5_000), "additionalDeposit", MALFORMED
    ),
    Attack(
        "a fraction", lambda c: top_up(c, additionalDeposit="5e3"), "additionalDeposit", MALFORMED
    ),
    Attack(
        "another script",
        lambda c: top_up(c, additionalDeposit="\u0665"),
        "additionalDeposit",
        MALFORMED,
    ),
    Attack("no type", lambda c: top_up(c, type="cash"), "type", MALFORMED),
    Attack("another amount", lambda c: top_up(c, additionalDeposit="5001"), "another amount"),
    Attack(
        "too little",
        lambda c: c.market.top_up_payload(c.channel, LEAST - 1),
        "must be 1000",
    ),
    Attack(
        "another channel",
        lambda c: top_up(c, topping_up(c, channel=c.market.open())),
        "another contract",
    ),
    Attack("an opening", lambda c: top_up(c, c.call), "calls 'open'"),
    Attack(
        "a wish to close", lambda c: top_up(c, close_start_call(c.channel)), "calls 'close_start'"
    ),
    Attack(
        "leave for another amount",
        lambda c: top_up(c, transaction=c.allowed_top_up(c.leave(topping_up(c, amount=10**6)))),
        "for the deposit and nothing else",
    ),
    Attack(
        "another source",
        top_up,
        "not funded by the credential's source",
        terms=lambda c: {"source": f"did:pkh:stellar:testnet:{THIEF.public_key}"},
    ),
    Attack("too late", top_up, "has expired", "payment-expired", terms=lapsed),
]
