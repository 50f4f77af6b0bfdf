"""Somebody who pays by channel, and does it by hand, so that a test can do it wrongly."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from stellar_sdk import Keypair

from mpp_asgi.protocol import Challenge, Credential, Receipt
from mpp_asgi.stellar.channel_calls import Opening, TopUp, close_start_call, refund_call
from mpp_asgi.stellar.commitment import sign_commitment
from mpp_asgi.stellar.envelope import network_id, signed_envelope, unsigned_envelope
from mpp_asgi.stellar.invocation import call_operation, leave_of_source, sponsored_call
from mpp_asgi.stellar.network import TESTNET
from mpp_asgi.stellar.session import SessionIntent
from mpp_asgi.stores.channels import Channel
from tests.shop import RECIPIENT, START, open_shop, payment_middleware

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    import httpx
    from fastapi import FastAPI

    from mpp_asgi.stellar.invocation import Call
    from mpp_asgi.stellar.session import Till
    from tests.shop import Shop

CALL = 100_000
"""What a request costs, in base units."""
DEPOSIT = 10 * CALL
NETWORK_ID = network_id(TESTNET.passphrase)


def open_session_shop(**settings: Any) -> AbstractAsyncContextManager[Shop]:
    """A shop that takes sessions as well."""
    return open_shop(**{"recipient_secret": RECIPIENT.secret, **settings})


def address(number: int) -> str:
    """A contract's address that nobody has."""
    from stellar_sdk import StrKey

    return StrKey.encode_contract(sha256(b"channel %d" % number).digest())


@dataclass
class Drawer:
    """Draws vouchers on one channel."""

    shop: Shop
    key: Keypair
    channel: str
    funder: str

    @classmethod
    async def on_record(cls, shop: Shop, number: int = 1, **facts: Any) -> Drawer:
        """One whose channel the shop has on record, though there is none on the ledger."""
        key = Keypair.from_raw_ed25519_seed(sha256(b"key %d" % number).digest())
        funder = Keypair.from_raw_ed25519_seed(sha256(b"funder %d" % number).digest())
        await shop.challenges()  # opens the store
        channel = Channel(
            id=address(number),
            key=key.raw_public_key().hex(),
            funder=funder.public_key,
            recipient=RECIPIENT.public_key,
            token=shop.sandbox.usdc,
            waiting_period=17_280,
            deposited=DEPOSIT,
            settled=0,
            seen_ledger=shop.sandbox.sequence,
            opened_at=START,
        )
        channel = channel._replace(**facts)
        await shop.store.add_channel(channel)
        return cls(shop, key, channel.id, funder.public_key)

    def sign(
        self, amount: int, *, key: Keypair | None = None, channel: str = "", network: bytes = b""
    ) -> str:
        signer = key or self.key
        return sign_commitment(signer, network or NETWORK_ID, channel or self.channel, amount).hex()

    def voucher(self, challenge: Challenge, amount: int, **changes: Any) -> Credential:
        payload = {
            "action": "voucher",
            "channelId": self.channel,
            "cumulativeAmount": str(amount),
            "signature": self.sign(amount),
            **changes,
        }
        return Credential(challenge, {k: v for k, v in payload.items() if v is not None})

    async def challenge(self, path: str = "/paid", **request: Any) -> Challenge:
        return session_challenge(await self.shop.challenges(path, **request))

    async def pay(
        self, challenge: Challenge, amount: int, path: str = "/paid", **request: Any
    ) -> httpx.Response:
        response: httpx.Response = await self.shop.show(
            self.voucher(challenge, amount), path, **request
        )
        return response

    async def record(self) -> Channel:
        found = await self.shop.store.channel(self.channel)
        assert found is not None
        return found


def till_of(app: FastAPI) -> Till:
    """Where an application that has served a request holds its sessions."""
    house = payment_middleware(app)._house
    assert house is not None
    (intent,) = [each for each in house.gate._intents if isinstance(each, SessionIntent)]
    return intent._till


def session_challenge(challenges: list[Challenge]) -> Challenge:
    """The one for sessions."""
    (found,) = [each for each in challenges if each.intent == "session"]
    return found


def receipt_of(response: httpx.Response) -> dict[str, Any]:
    """What the receipt says beyond what every receipt does."""
    receipt = Receipt.from_header(response.headers["payment-receipt"])
    assert (receipt.method, receipt.status) == ("stellar", "success")
    return {"reference": receipt.reference, **receipt.extra}


def problem_of(response: httpx.Response) -> tuple[int, str]:
    """Status and type of a problem."""
    kind: str = response.json()["type"]
    return response.status_code, kind.removeprefix("https://paymentauth.org/problems/")


class Funder(Drawer):
    """Somebody with money, and a channel to put it into."""

    def __init__(self, shop: Shop, number: int) -> None:
        self.payer = shop.payer(number)
        key = Keypair.from_raw_ed25519_seed(sha256(b"key %d" % number).digest())
        super().__init__(shop, key, "", self.payer.address)
        self._salt = sha256(b"salt %d" % number).digest()
        self._nonce = 1000

    def balance(self) -> int:
        return self.payer.balance()

    def xlm(self) -> int:
        return self.shop.sandbox.balance(self.payer.address, self.shop.sandbox.xlm)

    def opening(self, challenge: Challenge, *, way: str = "factory", **terms: Any) -> Opening:
        request = challenge.request_object()
        details = request["methodDetails"]
        by_factory = way == "factory"
        values: dict[str, Any] = {
            "factory": details["channelFactory"] if by_factory else None,
            "wasm_hash": None if by_factory else details["channelWasmHashes"][0],
            "salt": self._salt,
            "token": request["currency"],
            "funder": self.payer.address,
            "key": self.key.raw_public_key(),
            "recipient": request["recipient"],
            "amount": DEPOSIT,
            "waiting_period": details["minRefundWaitingPeriod"],
            **terms,
        }
        opening = Opening(**values)
        self.channel = opening.channel(TESTNET.passphrase)
        return opening

    def open(self, challenge: Challenge, amount: int, /, **how: Any) -> Credential:
        """Open the channel, with a voucher for so much; the shop pays the fee."""
        call = self.opening(challenge, **how).call(TESTNET.passphrase)
        return self.voucher(
            challenge,
            amount,
            action="open",
            type="transaction",
            transaction=self._sponsored(challenge, call),
        )

    def top_up(self, challenge: Challenge, amount: int) -> Credential:
        call = TopUp(channel=self.channel, amount=amount).call(
            token=self.shop.sandbox.usdc, funder=self.payer.address
        )
        payload = {
            "action": "topUp",
            "channelId": self.channel,
            "type": "transaction",
            "transaction": self._sponsored(challenge, call),
            "additionalDeposit": str(amount),
        }
        return Credential(challenge, payload)

    def open_alone(self, challenge: Challenge, **how: Any) -> str:
        """Open the channel without the shop; the transaction's hash."""
        return self._alone(self.opening(challenge, **how).call(TESTNET.passphrase))

    def deploy(self, opening: Opening) -> str:
        """Open this very channel without the shop."""
        return self._alone(opening.call(TESTNET.passphrase))

    def top_up_alone(self, amount: int) -> str:
        call = TopUp(channel=self.channel, amount=amount).call(
            token=self.shop.sandbox.usdc, funder=self.payer.address
        )
        return self._alone(call)

    def close_start(self) -> str:
        return self._alone(close_start_call(self.channel))

    def refund(self) -> str:
        return self._alone(refund_call(self.channel))

    def _sponsored(self, challenge: Challenge, call: Call) -> str:
        self._nonce += 1
        return sponsored_call(
            call,
            address=self.payer.address,
            nonce=self._nonce,
            expiration_ledger=self.shop.sandbox.sequence + 50,
            max_time=self.payer.expires(challenge),
            signer=self.payer.keypair,
            passphrase=TESTNET.passphrase,
        )

    def _alone(self, call: Call) -> str:
        """Submit a transaction of one's own and see it through; its hash."""
        operation = call_operation(call, [leave_of_source(call)])
        draft = unsigned_envelope(operation, source=self.payer.address)
        simulated = self.shop.ask("simulateTransaction", transaction=draft)
        signed = signed_envelope(
            operation,
            source=self.payer.address,
            sequence=self.payer.sequence(self.payer.keypair) + 1,
            fee=1000 + int(simulated["minResourceFee"]),
            max_time=int(self.shop.time()) + 1_000_000,
            soroban_data=simulated["transactionData"],
            signer=self.payer.keypair,
            passphrase=TESTNET.passphrase,
        )
        sent = self.shop.ask("sendTransaction", transaction=signed.xdr)
        assert sent["status"] == "PENDING", sent
        self.shop.time.now += 2
        assert self.shop.ask("getTransaction", hash=signed.hash)["status"] == "SUCCESS"
        return signed.hash
