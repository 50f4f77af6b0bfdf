"""Payments made by hand, piece by piece, so that they can be looked at and made wrong."""

from __future__ import annotations

import math
import secrets
import time
from typing import TYPE_CHECKING, Any

from example_app.demo.books import MismatchError
from mpp_asgi.client import payment_receipt
from mpp_asgi.protocol import Challenge, Credential
from mpp_asgi.stellar.network import LEDGER_SECONDS, TESTNET
from mpp_asgi.stellar.rpc import get_latest_ledger
from mpp_asgi.stellar.transfer import Transfer, sponsored_envelope

if TYPE_CHECKING:
    import httpx
    from stellar_sdk import Keypair

    from mpp_asgi.stellar.rpc_call import BlockingRpc


def first_challenge(answer: httpx.Response) -> Challenge:
    """The offer that a 402 puts first: here, the one whose network fee the API pays."""
    return Challenge.all_from_headers(answer.headers.get_list("WWW-Authenticate"))[0]


def price_of(challenge: Challenge) -> int:
    """Base units."""
    return int(challenge.request_object()["amount"])


def reference_of(answer: httpx.Response) -> str:
    """The transaction that the receipt names.

    Raises:
        MismatchError: there is no receipt.
    """
    receipt = payment_receipt(answer)
    if receipt is None:
        raise MismatchError(f"{answer.url.path} was paid and came without a receipt.")
    return receipt.reference


def sponsored_credential(
    challenge: Challenge, payer: Keypair, rpc: BlockingRpc, *, amount: int | None = None
) -> str:
    """The value of an Authorization header that pays a challenge, or pays another amount."""
    request: dict[str, Any] = challenge.request_object()
    expires = challenge.expires_at()
    seconds = expires.timestamp() - time.time() if expires else 0
    transfer = Transfer(
        token=request["currency"],
        sender=payer.public_key,
        recipient=request["recipient"],
        amount=price_of(challenge) if amount is None else amount,
    )
    envelope = sponsored_envelope(
        transfer,
        nonce=secrets.randbits(63),
        expiration_ledger=rpc.do(get_latest_ledger()).sequence
        + math.ceil(seconds / LEDGER_SECONDS),
        max_time=int(time.time() + seconds),
        signer=payer,
        passphrase=TESTNET.passphrase,
    )
    payload = {"type": "transaction", "transaction": envelope}
    source = f"did:pkh:{TESTNET.name}:{payer.public_key}"
    return Credential(challenge, payload, source).to_header()
