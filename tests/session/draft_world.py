"""The world of the draft's test vectors: one channel, fixed keys, fixed time, the real code."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from stellar_sdk import Keypair

from mpp_asgi.gate import Gate
from mpp_asgi.protocol import Challenge, Credential, Receipt
from mpp_asgi.stellar.channel_dialect import ChannelDialect
from mpp_asgi.stellar.commitment import sign_commitment
from mpp_asgi.stellar.envelope import NULL_ACCOUNT, network_id, unsigned_envelope
from mpp_asgi.stellar.invocation import call_operation, signed_leave
from mpp_asgi.stellar.network import TESTNET
from mpp_asgi.stores.channels import Channel
from tests.channels.market import Market
from tests.session.drawer import CALL, open_session_shop
from tests.shop import RECIPIENT, SECRET, SPONSOR, START

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    import httpx

    from mpp_asgi.stellar.channel_calls import Opening
    from mpp_asgi.stellar.invocation import Call
    from tests.shop import Shop

PASSPHRASE = TESTNET.passphrase
NETWORK_ID = network_id(PASSPHRASE)
REALM = "api.example.com"
DEPOSIT = 10 * CALL
WAITING_PERIOD = 17_280
LAST_LEDGER = 1_060
"""In which the funder's authorizations are good: some minutes from the beginning."""
SHOWN = ("cache-control", "content-type", "payment-receipt", "www-authenticate")
"""The response fields that the vectors tell."""


def seed(name: str) -> bytes:
    """The seed of a key, for whoever makes the vectors again."""
    return sha256(f"stellar-session {name}".encode()).digest()


def keypair(name: str) -> Keypair:
    return Keypair.from_raw_ed25519_seed(seed(name))


FUNDER, KEY, OTHER = keypair("funder"), keypair("commitment key"), keypair("somebody else")


def did(who: Keypair) -> str:
    return f"did:pkh:stellar:testnet:{who.public_key}"


@dataclass
class World:
    """A seller, a ledger, and the funder of one channel."""

    market: Market
    shop: Shop

    def opening(self, **terms: Any) -> Opening:
        """The channel of the vectors; ``terms`` makes it another one."""
        values: dict[str, Any] = {
            "salt": seed("salt"),
            "funder": FUNDER.public_key,
            "key": KEY.raw_public_key(),
            "waiting_period": WAITING_PERIOD,
            "amount": DEPOSIT,
            **terms,
        }
        return self.market.opening(**values)

    @property
    def channel(self) -> str:
        return self.opening().channel(PASSPHRASE)

    def transaction(self, call: Call, *, nonce: int, allowed: Call | None = None) -> str:
        """What the funder sends of a call that the seller pays the fee for, and allows for it."""
        leave = signed_leave(
            allowed or call,
            address=FUNDER.public_key,
            nonce=nonce,
            expiration_ledger=LAST_LEDGER,
            signer=FUNDER,
            passphrase=PASSPHRASE,
        )
        return unsigned_envelope(
            call_operation(call, [leave]), source=NULL_ACCOUNT, max_time=START + 300
        )

    def voucher(
        self,
        amount: int,
        *,
        key: Keypair = KEY,
        network: bytes = NETWORK_ID,
        channel: str | None = None,
    ) -> dict[str, str]:
        """The members of a payload that every voucher has."""
        channel = channel or self.channel
        return {
            "channelId": channel,
            "cumulativeAmount": str(amount),
            "signature": sign_commitment(key, network, channel, amount).hex(),
        }

    async def put_on_record(self, **facts: Any) -> None:
        """Have the seller know the channel, as it would stand on the ledger."""
        channel = Channel(
            id=self.channel,
            key=KEY.raw_public_key().hex(),
            funder=FUNDER.public_key,
            recipient=RECIPIENT.public_key,
            token=self.shop.sandbox.usdc,
            waiting_period=WAITING_PERIOD,
            deposited=DEPOSIT,
            settled=0,
            seen_ledger=self.shop.sandbox.sequence,
            opened_at=START,
        )._replace(**facts)
        if channel.accepted:
            channel = channel._replace(signature=self.voucher(channel.accepted)["signature"])
        await self.shop.store.add_channel(channel)

    async def challenge(self, path: str = "/paid", **headers: str) -> Challenge:
        (challenge,) = await self.shop.challenges(path, headers=headers)
        return challenge

    async def show(
        self, challenge: Challenge, payload: Mapping[str, Any], method: str = "GET", **more: Any
    ) -> dict[str, Any]:
        """A request with a credential, and its response, as a vector."""
        path = more.pop("path", "/paid")
        credential = Credential(challenge, payload, more.pop("source", did(FUNDER)))
        request = {
            "method": method,
            "path": path,
            "payload": dict(credential.payload),
            "authorization": credential.to_header(),
        }
        return await self.exchange(request, **more)

    async def exchange(self, request: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Any request and its response, as a vector."""
        headers = dict(request.get("headers", {}))
        if "authorization" in request:
            headers["authorization"] = request["authorization"]
        self.shop.time.now = more.pop("at", START)
        response = await self.shop.http.request(request["method"], request["path"], headers=headers)
        return {"request": request, "response": told(response)}


def told(response: httpx.Response) -> dict[str, Any]:
    """A response, as vectors tell it: what is encoded stands beside what it says."""
    headers = {name: response.headers[name] for name in SHOWN if name in response.headers}
    vector: dict[str, Any] = {"status": response.status_code, "headers": headers}
    if "payment-receipt" in headers:
        vector["receipt"] = receipt_object(headers["payment-receipt"])
    if "www-authenticate" in headers:
        fresh = Challenge.from_header(headers["www-authenticate"])
        vector["challenge"] = challenge_object(fresh)
    if headers.get("content-type") == "application/problem+json":
        vector["problem"] = response.json()
    return vector


def receipt_object(value: str) -> dict[str, Any]:
    receipt = Receipt.from_header(value)
    return {
        "method": receipt.method,
        "reference": receipt.reference,
        "status": receipt.status,
        "timestamp": receipt.timestamp,
        **receipt.extra,
    }


def challenge_object(challenge: Challenge) -> dict[str, Any]:
    parameters = {
        name: value
        for name in ("id", "realm", "method", "intent", "request", "expires", "opaque")
        if (value := getattr(challenge, name)) is not None
    }
    return {"parameters": parameters, "request": challenge.request_object()}


@asynccontextmanager
async def open_world(**settings: Any) -> AsyncIterator[World]:
    """A world at the beginning of its time, the same each time."""
    market = Market()
    market.sandbox.fund(FUNDER.public_key, usdc=100)
    with (
        patch("mpp_asgi.house.Gate", partial(Gate, random_bytes=bytes)),
        patch(
            "mpp_asgi.methods.ChannelDialect",
            partial(ChannelDialect, new_reference=lambda: "00" * 16),
        ),
    ):
        async with open_session_shop(
            sandbox=market.sandbox,
            time=market.time,
            realm=REALM,
            **{"intents": ("session",), **settings},
        ) as shop:
            await shop.http.get("/paid")  # opens the store
            yield World(market, shop)


def parties(world: World) -> dict[str, Any]:
    """Who and where: what all vectors have in common."""
    sandbox = world.shop.sandbox
    return {
        "network": TESTNET.name,
        "passphrase": PASSPHRASE,
        "networkId": NETWORK_ID.hex(),
        "time": "2026-09-21T14:13:20Z",
        "realm": REALM,
        "secret": SECRET,
        "currency": sandbox.usdc,
        "channelFactory": sandbox.channel_factory,
        "channelWasmHash": sandbox.channel_wasm_hash,
        "funder": {"seed": seed("funder").hex(), "address": FUNDER.public_key},
        "commitmentKey": {
            "seed": seed("commitment key").hex(),
            "publicKey": KEY.raw_public_key().hex(),
        },
        "recipient": {"seed": RECIPIENT.raw_secret_key().hex(), "address": RECIPIENT.public_key},
        "sponsor": {"seed": SPONSOR.raw_secret_key().hex(), "address": SPONSOR.public_key},
        "salt": seed("salt").hex(),
        "channelId": world.channel,
    }
