"""A paid application on a sandbox, with time in the test's hand, and payers to visit it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import httpx
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from stellar_sdk import Keypair

from mpp_asgi import PaymentMiddleware, price
from mpp_asgi.config import EmbeddedNetwork
from mpp_asgi.protocol import Challenge, Credential
from mpp_asgi.sandbox import Sandbox
from mpp_asgi.stellar.envelope import signed_envelope, unsigned_envelope
from mpp_asgi.stellar.network import TESTNET
from mpp_asgi.stellar.transfer import (
    Transfer,
    signed_authorization,
    source_authorization,
    sponsored_envelope,
    transfer_operation,
)
from mpp_asgi.stores.contract import Store
from mpp_asgi.stores.sqlite.store import SqliteStore

START = 1_790_000_000
SECRET = "the secret of the tests, long enough"
RECIPIENT = Keypair.from_raw_ed25519_seed(bytes(31) + b"r")
SPONSOR = Keypair.from_raw_ed25519_seed(bytes(31) + b"s")
PRICE = 100_000
"""0.01 USDC in base units."""


class Time:
    """Unix seconds that pass only when somebody sleeps, and while no disk is at work: a disk's
    time is real, and who waits for it must not be taken for dead meanwhile."""

    def __init__(self) -> None:
        self.now = float(START)
        self.stores: list[Callable[[], Store | None]] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        for store in [store() for store in self.stores]:
            if isinstance(store, SqliteStore):
                await asyncio.sleep(0)  # until what was asked for is handed over
                await store._in_thread(lambda: None)  # and everything before has come back
        self.now += seconds
        await asyncio.sleep(0)


@dataclass
class Shop:
    """The application, its network, and a client."""

    app: FastAPI
    sandbox: Sandbox
    time: Time
    http: httpx.AsyncClient
    runs: list[str]
    """The paths whose endpoints ran."""
    left: list[int]
    """The status of every response whose last byte was sent."""

    def payer(self, number: int = 1, *, usdc: str = "10") -> "Payer":
        keypair = Keypair.from_raw_ed25519_seed(bytes(31) + bytes([64 + number]))
        self.sandbox.fund(keypair.public_key, usdc=usdc)
        return Payer(self, keypair)

    def earned(self) -> int:
        return self.sandbox.balance(RECIPIENT.public_key, self.sandbox.usdc)

    def sponsor_funds(self) -> int:
        """What the sponsor has left for fees, in stroops."""
        return self.sandbox.balance(SPONSOR.public_key, self.sandbox.xlm)

    @property
    def store(self) -> Store:
        """Where the records are; after the first request."""
        store = self.opened_store()
        assert store is not None
        return store

    def opened_store(self) -> Store | None:
        """The same, and nothing before the first request."""
        house = payment_middleware(self.app)._house
        return None if house is None else house._store

    async def challenges(self, path: str = "/paid", **request: Any) -> list[Challenge]:
        """The challenges for a request: sponsored first, unsponsored second."""
        method = request.pop("method", "GET")
        response = await self.http.request(method, path, **request)
        assert response.status_code == 402, response.text
        return Challenge.all_from_headers(response.headers.get_list("www-authenticate"))

    async def show(self, credential: Credential, path: str = "/paid", **request: Any) -> Any:
        method = request.pop("method", "GET")
        headers = {"Authorization": credential.to_header(), **request.pop("headers", {})}
        return await self.http.request(method, path, headers=headers, **request)

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        result: dict[str, Any] = self.sandbox.rpc(request)["result"]
        return result


@dataclass
class Payer:
    """Pays by hand, so that a test can do it wrongly."""

    shop: Shop
    keypair: Keypair

    @property
    def address(self) -> str:
        return self.keypair.public_key

    @property
    def source(self) -> str:
        return f"did:pkh:stellar:testnet:{self.address}"

    def balance(self) -> int:
        return self.shop.sandbox.balance(self.address, self.shop.sandbox.usdc)

    def transfer(self, challenge: Challenge) -> Transfer:
        request = challenge.request_object()
        return Transfer(
            token=request["currency"],
            sender=self.address,
            recipient=request["recipient"],
            amount=int(request["amount"]),
        )

    def sponsored(
        self,
        challenge: Challenge,
        *,
        change: Callable[[Transfer], Transfer] = lambda transfer: transfer,
        expiration_ledger: int | None = None,
        nonce: int = 7,
        signer: Keypair | None = None,
        passphrase: str = TESTNET.passphrase,
    ) -> Credential:
        """Sponsored pull."""
        expires = self.expires(challenge)
        ledger = self.shop.sandbox.sequence
        envelope = sponsored_envelope(
            change(self.transfer(challenge)),
            nonce=nonce,
            expiration_ledger=expiration_ledger or ledger + 50,
            max_time=expires,
            signer=signer or self.keypair,
            passphrase=passphrase,
        )
        return self.credential(challenge, type="transaction", transaction=envelope)

    def unsponsored(
        self,
        challenge: Challenge,
        *,
        change: Callable[[Transfer], Transfer] = lambda transfer: transfer,
        max_time: int | None = 0,
        sequence: int | None = None,
        source: Keypair | None = None,
    ) -> Credential:
        """Unsponsored pull; ``max_time=0`` is the challenge's expiry."""
        envelope, _ = self.own_transaction(
            change(self.transfer(challenge)),
            max_time=self.expires(challenge) if max_time == 0 else max_time,
            sequence=sequence,
            source=source,
        )
        return self.credential(challenge, type="transaction", transaction=envelope)

    def own_transaction(
        self,
        transfer: Transfer,
        *,
        max_time: int | None,
        sequence: int | None = None,
        source: Keypair | None = None,
    ) -> tuple[str, str]:
        """A whole transaction, simulated and signed: envelope and hash."""
        signer = source or self.keypair
        auth = source_authorization(transfer)
        if source is not None and source != self.keypair:
            auth = signed_authorization(
                transfer,
                nonce=99,
                expiration_ledger=self.shop.sandbox.sequence + 50,
                signer=self.keypair,
                passphrase=TESTNET.passphrase,
            )
        return self._signed(
            transfer_operation(transfer, [auth]), signer, max_time=max_time, sequence=sequence
        )

    def around(self, envelope: str, *, max_time: int) -> str:
        """What somebody else has signed a leave for, in a transaction of one's own."""
        from stellar_sdk import xdr

        theirs = xdr.TransactionEnvelope.from_xdr(envelope).v1
        assert theirs is not None
        operation = theirs.tx.operations[0].to_xdr_bytes()
        return self._signed(operation, self.keypair, max_time=max_time)[0]

    def _signed(
        self,
        operation: bytes,
        signer: Keypair,
        *,
        max_time: int | None,
        sequence: int | None = None,
    ) -> tuple[str, str]:
        draft = unsigned_envelope(operation, source=signer.public_key)
        simulated = self.shop.ask("simulateTransaction", transaction=draft)
        data = simulated.get("transactionData", "")
        fee = 1000 + int(simulated.get("minResourceFee", 100_000))
        signed = signed_envelope(
            operation,
            source=signer.public_key,
            sequence=self.sequence(signer) + 1 if sequence is None else sequence,
            fee=fee,
            max_time=max_time,
            soroban_data=data,
            signer=signer,
            passphrase=TESTNET.passphrase,
        )
        return signed.xdr, signed.hash

    def sequence(self, keypair: Keypair) -> int:
        from stellar_sdk import xdr

        key = xdr.LedgerKey(
            type=xdr.LedgerEntryType.ACCOUNT,
            account=xdr.LedgerKeyAccount(account_id=keypair.xdr_account_id()),
        )
        found = self.shop.ask("getLedgerEntries", keys=[key.to_xdr()])["entries"]
        account = xdr.LedgerEntryData.from_xdr(found[0]["xdr"]).account
        assert account is not None
        return account.seq_num.sequence_number.int64

    def push(self, transfer: Transfer, *, max_time: int | None = None) -> str:
        """Submit a transaction of one's own and see it through; its hash."""
        envelope, hash_ = self.own_transaction(
            transfer, max_time=max_time or int(self.shop.time()) + 10_000
        )
        sent = self.shop.ask("sendTransaction", transaction=envelope)
        assert sent["status"] == "PENDING", sent
        self.shop.time.now += 2
        assert self.shop.ask("getTransaction", hash=hash_)["status"] == "SUCCESS"
        return hash_

    def signed_hash(
        self, challenge: Challenge, hash_: str, *, signer: Keypair | None = None
    ) -> Credential:
        """Push."""
        message = f"{challenge.id}:{hash_.lower()}".encode()
        signature = (signer or self.keypair).sign(message).hex()
        return self.credential(challenge, type="signedHash", hash=hash_, sourceSignature=signature)

    def credential(self, challenge: Challenge, **payload: str) -> Credential:
        return Credential(challenge, payload, self.source)

    @staticmethod
    def expires(challenge: Challenge) -> int:
        expires_at = challenge.expires_at()
        assert expires_at is not None
        return int(expires_at.timestamp())

    def in_mode(self, mode: str, challenges: list[Challenge], *, nonce: int = 7) -> Credential:
        """A good credential in one of the three ways."""
        if mode == "sponsored":
            return self.sponsored(challenges[0], nonce=nonce)
        if mode == "unsponsored":
            return self.unsponsored(challenges[1])
        return self.signed_hash(challenges[1], self.push(self.transfer(challenges[1])))


MODES = ("sponsored", "unsponsored", "push")


def paid_app(runs: list[str]) -> FastAPI:
    app = FastAPI()

    @app.get("/paid")
    @price("0.01")
    async def paid() -> dict[str, str]:
        runs.append("/paid")
        return {"resource": "paid"}

    @app.get("/other")
    @price("0.01")
    async def other() -> dict[str, str]:
        runs.append("/other")
        return {"resource": "other"}

    @app.get("/dear")
    @price("1")
    async def dear() -> dict[str, str]:
        runs.append("/dear")
        return {"resource": "dear"}

    @app.get("/asked")
    @price(lambda request: "0.01")
    async def asked() -> dict[str, str]:
        runs.append("/asked")
        return {"resource": "asked"}

    @app.get("/flaky")
    @price("0.01")
    async def flaky() -> dict[str, str]:
        runs.append("/flaky")
        if len(runs) == 1:
            raise RuntimeError("the first time fails")
        return {"resource": "flaky"}

    @app.get("/after")
    @price("0.01", settle="after")
    async def after() -> dict[str, str]:
        runs.append("/after")
        return {"resource": "after"}

    return app


@asynccontextmanager
async def open_shop(
    *,
    sandbox: Sandbox | None = None,
    node: EmbeddedNetwork | None = None,
    time: Time | None = None,
    **settings: Any,
) -> AsyncIterator[Shop]:
    """Open a shop; ``settings`` go to the middleware, which asks ``node`` if there is one."""
    runs: list[str] = []
    app = paid_app(runs)
    time = time or Time()
    sandbox = sandbox or Sandbox(clock=time, close_interval=1.0)
    sandbox.fund(RECIPIENT.public_key)
    sandbox.fund(SPONSOR.public_key)
    values: dict[str, Any] = {
        "network": "sandbox",
        "sandbox": node or sandbox,
        "recipient": RECIPIENT.public_key,
        "sponsor": SPONSOR.secret,
        "secret": SECRET,
        "clock": time,
        "sleep": time.sleep,
        "store": "memory://",
        **settings,
    }
    app.add_middleware(PaymentMiddleware, **values)
    left: list[int] = []
    transport = httpx.ASGITransport(app=seeing_off(app, left), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop.test") as http:
        shop = Shop(app, sandbox, time, http, runs, left)
        time.stores.append(shop.opened_store)
        try:
            yield shop
        finally:
            time.stores.remove(shop.opened_store)
            await payment_middleware(app)._close()


def seeing_off(app: ASGIApp, left: list[int]) -> ASGIApp:
    """The application, with a note of the status of each response that left it whole."""

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        status = 0

        async def note(message: Message) -> None:
            nonlocal status
            await send(message)
            status = message.get("status", status)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                left.append(status)

        await app(scope, receive, note)

    return watched


def payment_middleware(app: FastAPI) -> PaymentMiddleware:
    """The middleware of an application that has served a request, or a new one that is not open."""
    layer: Any = app.middleware_stack or app.build_middleware_stack()
    while not isinstance(layer, PaymentMiddleware):
        layer = layer.app
    return layer


def renamed(challenge: Challenge, **changes: Any) -> Challenge:
    """The challenge with other parameters, as a forger would echo it."""
    return replace(challenge, **changes)


def rng(seed: int) -> Random:
    return Random(seed)
