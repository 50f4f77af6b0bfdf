"""A shop that sells for real on a sandbox, and can be told to misbehave."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
from stellar_sdk import Keypair, xdr

from mpp_asgi.client import PaymentAuth
from mpp_asgi.protocol import (
    Challenge,
    Credential,
    Receipt,
    Secrets,
    content_digest,
    encode_object,
    format_timestamp,
    problems,
)
from mpp_asgi.sandbox import Sandbox
from mpp_asgi.stellar.envelope import signed_envelope, unsigned_envelope
from mpp_asgi.stellar.inspection import inspect_envelope
from mpp_asgi.stellar.network import TESTNET
from mpp_asgi.stellar.rpc import (
    get_ledger_entries,
    get_transaction,
    send_transaction,
    simulate_transaction,
)
from mpp_asgi.stellar.rpc_drivers import InProcessSyncRpc
from mpp_asgi.stellar.transfer import Transfer, signed_authorization, transfer_operation

USDC = TESTNET.tokens["USDC"]
XLM = TESTNET.tokens["XLM"]
PAYER = Keypair.from_raw_ed25519_seed(b"p" * 32)
RECIPIENT = Keypair.from_raw_ed25519_seed(b"r" * 32)
SPONSOR = Keypair.from_raw_ed25519_seed(b"s" * 32)

URL = "https://shop.test/forecast?city=Paris"
PRICE = 100_000
"""0.01 USDC."""

Reaction = Callable[[httpx.Request, Credential], httpx.Response]


class Clock:
    """Unix seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Shop:
    """An HTTP server as a function. Honest unless its attributes say otherwise.

    ``reactions`` say what happens to the credentials to come, one each; then it is honest again.
    """

    def __init__(self, sandbox: Sandbox, clock: Clock) -> None:
        self.sandbox = sandbox
        self.clock = clock
        self.secrets = Secrets("a secret of the shop, long enough for it")
        self.rpc = InProcessSyncRpc(sandbox.rpc)
        self.request: dict[str, Any] = {
            "amount": str(PRICE),
            "currency": USDC.address,
            "recipient": RECIPIENT.public_key,
            "methodDetails": {
                "network": "stellar:testnet",
                "feePayer": True,
                "credentialTypes": ["transaction"],
            },
        }
        self.validity = 300.0
        self.challenge: dict[str, Any] = {}
        """Changes to the parameters of challenges."""
        self.reactions: list[Reaction] = []
        self.requests: list[httpx.Request] = []
        self.credentials: list[Credential] = []
        self.settled: dict[str, str] = {}
        """Transaction hash by challenge id."""

    # --- what it asks -----------------------------------------------------------------------------

    def unsponsored(self, *credential_types: str) -> None:
        self.request["methodDetails"] |= {
            "feePayer": False,
            "credentialTypes": list(credential_types or ("transaction", "signedHash")),
        }

    def issue(self, body: bytes = b"", **changes: Any) -> Challenge:
        """A challenge for the price as it stands, with changed parameters."""
        fields = {
            "realm": "shop.test",
            "method": "stellar",
            "intent": "charge",
            "request": encode_object(self.request),
            "expires": format_timestamp(int(self.clock() + self.validity)),
            "digest": content_digest(body) if body else None,
            "opaque": encode_object({"n": str(len(self.requests))}),
        }
        fields |= self.challenge | changes
        return Challenge(id=self.secrets.challenge_id(**fields), **fields)

    def price(
        self, request: httpx.Request, problem: Any = problems.PAYMENT_REQUIRED
    ) -> httpx.Response:
        """A 402 with a fresh challenge."""
        challenge = self.issue(request.content)
        return httpx.Response(
            402,
            headers={"WWW-Authenticate": challenge.to_header(), "Cache-Control": "no-store"},
            content=problem.because("Pay and you shall receive.").to_json(),
        )

    # --- what it does -----------------------------------------------------------------------------

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        credentials = credentials_of(request)
        if not credentials:
            return self.price(request)
        credential = Credential.from_header(credentials[0])
        self.credentials.append(credential)
        react = self.reactions.pop(0) if self.reactions else self.honestly
        return react(request, credential)

    def honestly(self, request: httpx.Request, credential: Credential) -> httpx.Response:
        if not self.secrets.authentic(credential.challenge):
            return self.price(request, problems.INVALID_CHALLENGE)
        expires = credential.challenge.expires_at()
        assert expires is not None
        if credential.challenge.id not in self.settled and self.clock() >= expires.timestamp():
            return self.price(request, problems.PAYMENT_EXPIRED)
        try:
            reference = self.take(credential)
        except AssertionError:
            return self.price(request, problems.VERIFICATION_FAILED)
        return self.deliver(reference)

    def deliver(self, reference: str) -> httpx.Response:
        receipt = Receipt("stellar", reference, format_timestamp(int(self.clock())))
        return httpx.Response(
            200, headers={"Payment-Receipt": receipt.to_header()}, json={"weather": "fine"}
        )

    def take(self, credential: Credential) -> str:
        """The money, as far as it was not taken before; the transaction's hash.

        Raises:
            AssertionError: it cannot be taken.
        """
        challenge = credential.challenge
        if challenge.id not in self.settled:
            self.settled[challenge.id] = {
                "transaction": self._take_transaction,
                "signedHash": self._take_hash,
            }[credential.payload["type"]](challenge, credential)
        return self.settled[challenge.id]

    def _take_transaction(self, challenge: Challenge, credential: Credential) -> str:
        seen = inspect_envelope(credential.payload["transaction"], TESTNET.passphrase)
        assert seen.transfer is not None, seen.no_transfer
        terms = challenge.request_object()
        assert seen.transfer.amount == int(terms["amount"])
        assert seen.transfer.recipient == terms["recipient"]
        assert seen.transfer.token == terms["currency"]
        assert credential.source == f"did:pkh:stellar:testnet:{seen.transfer.sender}"
        if not terms["methodDetails"].get("feePayer"):
            return self.submit(credential.payload["transaction"])
        return self.sponsor(seen.operation)

    def sponsor(self, operation: bytes) -> str:
        """Submit the operation in a transaction of the shop's; its hash."""
        sequence = self.sequence(SPONSOR) + 1
        simulated = self.rpc.do(
            simulate_transaction(
                unsigned_envelope(operation, source=SPONSOR.public_key, sequence=sequence)
            )
        )
        assert simulated.error is None, simulated.error
        assert simulated.transaction_data is not None
        assert simulated.min_resource_fee is not None
        ours = signed_envelope(
            operation,
            source=SPONSOR.public_key,
            sequence=sequence,
            fee=simulated.min_resource_fee + 1_000,
            max_time=int(self.clock()) + 60,
            soroban_data=simulated.transaction_data,
            signer=SPONSOR,
            passphrase=TESTNET.passphrase,
        )
        return self.submit(ours.xdr)

    def _take_hash(self, challenge: Challenge, credential: Credential) -> str:
        transaction_hash = str(credential.payload["hash"])
        assert transaction_hash not in self.settled.values(), "used before"
        signature = bytes.fromhex(credential.payload["sourceSignature"])
        PAYER.verify(f"{challenge.id}:{transaction_hash}".encode(), signature)
        found = self.rpc.do(get_transaction(transaction_hash))
        assert found.status == "SUCCESS"
        assert found.envelope_xdr is not None
        seen = inspect_envelope(found.envelope_xdr, TESTNET.passphrase)
        assert seen.transfer is not None
        assert seen.transfer.amount == int(challenge.request_object()["amount"])
        return transaction_hash

    def submit(self, envelope: str) -> str:
        submission = self.rpc.do(send_transaction(envelope))
        assert submission.status == "PENDING", submission
        self.sandbox.close_ledger()
        found = self.rpc.do(get_transaction(submission.hash))
        assert found.status == "SUCCESS", found
        return submission.hash

    def burn_all_of_the_payers(self) -> None:
        """The payer sends its USDC to the issuer, by a transaction of its own accord."""
        balance = self.sandbox.balance(PAYER.public_key, USDC.address)
        issuer = self.sandbox.usdc_issuer.public_key
        transfer = Transfer(USDC.address, PAYER.public_key, issuer, balance)
        entry = signed_authorization(
            transfer,
            nonce=len(self.requests),
            expiration_ledger=self.sandbox.sequence + 10,
            signer=PAYER,
            passphrase=TESTNET.passphrase,
        )
        self.sponsor(transfer_operation(transfer, [entry]))

    def sequence(self, account: Keypair) -> int:
        key = xdr.LedgerKey(
            xdr.LedgerEntryType.ACCOUNT, account=xdr.LedgerKeyAccount(account.xdr_account_id())
        )
        [entry] = self.rpc.do(get_ledger_entries([key.to_xdr()])).entries
        return xdr.LedgerEntryData.from_xdr(entry.xdr).account.seq_num.sequence_number.int64

    # --- what came of it --------------------------------------------------------------------------

    @property
    def earned(self) -> int:
        """Base units of USDC that the recipient has, out of nothing."""
        return self.sandbox.balance(RECIPIENT.public_key, USDC.address) - RECIPIENT_HAD

    @property
    def payments(self) -> set[str]:
        """The distinct proofs of payment that were shown."""
        return {
            json.dumps(dict(each.payload), sort_keys=True)
            if each.payload["type"] == "transaction"
            else each.payload["hash"]
            for each in self.credentials
        }

    def unpaid_requests(self) -> list[httpx.Request]:
        return [request for request in self.requests if not credentials_of(request)]


RECIPIENT_HAD = 10_000_000


def credentials_of(request: httpx.Request) -> list[str]:
    """The Payment credentials as they are sent."""
    return [
        value.decode()
        for name, value in request.headers.raw
        if name.lower() in (b"authorization", b"payment-authorization")
        and value.startswith(b"Payment ")
    ]


def open_sandbox(clock: Clock) -> Sandbox:
    """A network whose ledger closes when it is told to."""
    sandbox = Sandbox(close_interval=None, clock=clock)
    sandbox.fund(PAYER.public_key, usdc=100)
    sandbox.fund(RECIPIENT.public_key, usdc=1)
    sandbox.fund(SPONSOR.public_key)
    sandbox.close_ledger()
    return sandbox


def make_payer(sandbox: Sandbox, clock: Clock, waits: list[float], **settings: Any) -> PaymentAuth:
    """A payer. While it waits, time passes and ledgers close."""

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        clock.now += seconds
        sandbox.close_ledger()

    async def async_sleep(seconds: float) -> None:
        sleep(seconds)

    defaults: dict[str, Any] = {
        "budget": "1.00",
        "rpc": sandbox.rpc,
        "clock": clock,
        "sleep": sleep,
        "async_sleep": async_sleep,
    }
    return PaymentAuth(PAYER, **(defaults | settings))
