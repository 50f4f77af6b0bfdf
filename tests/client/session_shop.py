"""A shop that sells by session: the wire format once more, written down by a second hand.

It shares nothing with the project's own server side but the protocol's texts. Channels are opened,
topped up and closed on the sandbox's ledger, and vouchers verified by the SDK alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
from stellar_sdk import Address, Keypair, scval
from stellar_sdk import xdr as sdk
from stellar_sdk.exceptions import BadSignatureError

from mpp_asgi.protocol import (
    Challenge,
    Credential,
    ProblemType,
    Receipt,
    encode_object,
    format_timestamp,
    problems,
)
from mpp_asgi.stellar.envelope import signed_envelope, unsigned_envelope
from mpp_asgi.stellar.network import TESTNET
from mpp_asgi.stellar.rpc import (
    get_latest_ledger,
    get_ledger_entries,
    get_transaction,
    simulate_transaction,
)
from tests.client.shop import (
    PRICE,
    RECIPIENT,
    URL,
    USDC,
    Clock,
    Shop,
    credentials_of,
)
from tests.sandbox.channels import commitment, instance_key

if TYPE_CHECKING:
    from mpp_asgi.client import HeldChannel, PaymentAuth
    from mpp_asgi.sandbox import Sandbox

__all__ = ["PRICE", "URL", "Account", "SessionShop"]

WAITING_PERIOD = 100


@dataclass
class Account:
    """What the shop knows of one channel."""

    key: Keypair
    deposit: int
    accepted: int = 0
    spent: int = 0
    signature: str = ""
    closed: bool = False


class _RefusedError(Exception):
    def __init__(self, problem: ProblemType, **extra: str) -> None:
        self.problem = problem
        self.extra = extra


@dataclass
class Lies:
    """What the shop says that is not so."""

    claim: dict[str, str] = field(default_factory=dict)
    """In problems and challenges."""
    receipt: dict[str, str] = field(default_factory=dict)


class SessionShop(Shop):
    """Honest unless its attributes say otherwise."""

    def __init__(self, sandbox: Sandbox, clock: Clock) -> None:
        super().__init__(sandbox, clock)
        self.session_request: dict[str, Any] = {
            "amount": str(PRICE),
            "currency": USDC.address,
            "recipient": RECIPIENT.public_key,
            "unitType": "request",
            "suggestedDeposit": str(10 * PRICE),
            "methodDetails": {
                "network": "stellar:testnet",
                "feePayer": True,
                "minVoucherDelta": "0",
                "channelFactory": sandbox.channel_factory,
                "channelWasmHashes": [sandbox.channel_wasm_hash],
                "minRefundWaitingPeriod": WAITING_PERIOD,
            },
        }
        self.charges = False
        """Offer charges, too."""
        self.session_seconds = 3600
        self.renewal_seconds = 300
        self.accounts: dict[str, Account] = {}
        self.lies = Lies()
        self.receipts = True
        self.free: set[str] = set()
        self.prices: dict[str, int] = {}
        """By path, where it is not the usual one."""
        self.actions: list[str] = []
        self.served = 0

    # --- what it asks -----------------------------------------------------------------------------

    def offer(self, request: httpx.Request) -> Challenge:
        terms = {**self.session_request, "methodDetails": dict(self.details)}
        terms["amount"] = str(self.price_of(request))
        named = request_channel(request)
        if named in self.accounts:
            terms["methodDetails"] |= self.figures(named)
        fields: dict[str, Any] = {
            "realm": "shop.test",
            "method": "stellar",
            "intent": "session",
            "request": encode_object(terms),
            "expires": format_timestamp(int(self.clock() + self.session_seconds)),
            "digest": None,
            "opaque": None,
        }
        return Challenge(id=self.secrets.challenge_id(**fields), **fields)

    @property
    def details(self) -> dict[str, Any]:
        details: dict[str, Any] = self.session_request["methodDetails"]
        return details

    def price_of(self, request: httpx.Request) -> int:
        return self.prices.get(request.url.path, int(self.session_request["amount"]))

    def figures(self, channel: str) -> dict[str, str]:
        account = self.accounts[channel]
        return {
            "channelId": channel,
            "acceptedCumulative": str(account.accepted),
            "spent": str(account.spent),
            "deposit": str(account.deposit),
        } | self.lies.claim

    def refuse(self, request: httpx.Request, problem: ProblemType, **extra: str) -> httpx.Response:
        headers = [("WWW-Authenticate", self.offer(request).to_header())]
        if self.charges:
            headers.append(("WWW-Authenticate", self.issue(request.content).to_header()))
        return httpx.Response(
            problem.status,
            headers=[*headers, ("Cache-Control", "no-store")],
            content=problem.because("No.", extra=extra | self.lies.claim).to_json(),
        )

    # --- what it does -----------------------------------------------------------------------------

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        credentials = credentials_of(request)
        if request.url.path in self.free:
            return httpx.Response(200, text="free")
        if not credentials:
            return self.refuse(request, problems.PAYMENT_REQUIRED)
        credential = Credential.from_header(credentials[0])
        self.credentials.append(credential)
        if credential.challenge.intent == "charge":
            return self.honestly(request, credential)
        self.actions.append(str(credential.payload["action"]))
        react = self.reactions.pop(0) if self.reactions else self.honestly_by_session
        return react(request, credential)

    def honestly_by_session(self, request: httpx.Request, credential: Credential) -> httpx.Response:
        try:
            return self._session(request, credential)
        except _RefusedError as refused:
            channel = str(credential.payload["channelId"])
            known = self.figures(channel) if channel in self.accounts else {}
            return self.refuse(request, refused.problem, **known | refused.extra)

    def _session(self, request: httpx.Request, credential: Credential) -> httpx.Response:
        challenge, payload = credential.challenge, credential.payload
        if not self.secrets.authentic(challenge):
            raise _RefusedError(problems.INVALID_CHALLENGE)
        expires = challenge.expires_at()
        assert expires is not None
        if self.clock() >= expires.timestamp():
            raise _RefusedError(problems.PAYMENT_EXPIRED)
        if int(challenge.request_object()["amount"]) != self.price_of(request):
            raise _RefusedError(problems.INVALID_CHALLENGE)
        assert request_channel(request) == payload["channelId"]
        channel, action = str(payload["channelId"]), payload["action"]
        if action == "open":
            transaction_hash = self.open(channel, payload)
            self.voucher(channel, payload, self.price_of(request))
            return self.serve(request, credential, txHash=transaction_hash)
        if channel not in self.accounts:
            raise _RefusedError(problems.SESSION_CHANNEL_NOT_FOUND)
        if self.accounts[channel].closed:
            raise _RefusedError(problems.SESSION_CHANNEL_FINALIZED)
        if action == "voucher":
            cost = 0 if request.method == "HEAD" else self.price_of(request)
            self.voucher(channel, payload, cost)
            return self.serve(request, credential)
        if action == "topUp":
            return self.top_up(channel, payload, credential)
        assert action == "close"
        return self.close(channel, payload, credential)

    def serve(self, request: httpx.Request, credential: Credential, **extra: str) -> httpx.Response:
        self.served += 1
        response = httpx.Response(200, json={"weather": "fine"})
        self.add_receipt(response, credential, **extra)
        expires = credential.challenge.expires_at()
        assert expires is not None
        if expires.timestamp() - self.clock() < self.renewal_seconds:
            response.headers["WWW-Authenticate"] = self.offer(request).to_header()
        return response

    def add_receipt(self, response: httpx.Response, credential: Credential, **extra: str) -> None:
        if not self.receipts:
            return
        channel = str(credential.payload["channelId"])
        receipt = Receipt(
            "stellar",
            channel,
            format_timestamp(int(self.clock())),
            extra={"intent": "session", **self.figures(channel), **extra} | self.lies.receipt,
        )
        response.headers["Payment-Receipt"] = receipt.to_header()

    # --- vouchers ---------------------------------------------------------------------------------

    def signed(self, channel: str, payload: Any) -> int:
        """The amount of a voucher, if its signature is good."""
        amount = int(payload["cumulativeAmount"])
        text = commitment(TESTNET.passphrase, channel, amount)
        try:
            self.accounts[channel].key.verify(text, bytes.fromhex(payload["signature"]))
        except BadSignatureError:
            raise _RefusedError(problems.SESSION_INVALID_SIGNATURE) from None
        return amount

    def voucher(self, channel: str, payload: Any, cost: int) -> None:
        amount, account = self.signed(channel, payload), self.accounts[channel]
        if amount < account.accepted:
            raise _RefusedError(problems.VERIFICATION_FAILED)
        if amount > account.deposit:
            raise _RefusedError(problems.SESSION_AMOUNT_EXCEEDS_DEPOSIT)
        if 0 < amount - account.accepted < int(self.details["minVoucherDelta"]):
            raise _RefusedError(problems.SESSION_DELTA_TOO_SMALL)
        account.accepted, account.signature = amount, payload["signature"]
        if account.accepted - account.spent < cost:
            required = cost - account.accepted + account.spent
            raise _RefusedError(problems.SESSION_INSUFFICIENT_BALANCE, requiredTopUp=str(required))
        account.spent += cost

    # --- the ledger -------------------------------------------------------------------------------

    def open(self, channel: str, payload: Any) -> str:
        if channel in self.accounts:
            return ""
        if payload["type"] == "hash":
            found = self.rpc.do(get_transaction(payload["hash"]))
            if found.status != "SUCCESS":
                raise _RefusedError(problems.SESSION_TRANSACTION_REVERTED)
            transaction_hash = str(payload["hash"])
        else:
            transaction_hash = self._submitted(payload["transaction"])
        stored = self.stored(channel)
        executable = self.instance(channel).executable.wasm_hash
        assert executable is not None
        assert executable.hash.hex() == self.sandbox.channel_wasm_hash
        assert stored["To"] == Address(RECIPIENT.public_key)
        assert stored["Token"] == Address(self.session_request["currency"])
        assert stored["RefundWaitingPeriod"] >= self.details["minRefundWaitingPeriod"]
        key = Keypair.from_raw_ed25519_public_key(stored["CommitmentKey"])
        self.accounts[channel] = Account(key, self.balance(channel))
        return transaction_hash

    def top_up(self, channel: str, payload: Any, credential: Credential) -> httpx.Response:
        if payload["type"] == "transaction":
            self._submitted(payload["transaction"])
        self.accounts[channel].deposit = self.balance(channel)
        response = httpx.Response(204)
        self.add_receipt(response, credential)
        return response

    def close(self, channel: str, payload: Any, credential: Credential) -> httpx.Response:
        amount, account = self.signed(channel, payload), self.accounts[channel]
        if amount != account.spent:
            raise _RefusedError(problems.VERIFICATION_FAILED)
        self._paid(channel, "close", amount, payload["signature"])
        account.closed = True
        response = httpx.Response(204)
        self.add_receipt(response, credential)
        return response

    def settle(self, channel: str) -> None:
        account = self.accounts[channel]
        self._paid(channel, "settle", account.accepted, account.signature)

    def _submitted(self, envelope: str) -> str:
        parsed = sdk.TransactionEnvelope.from_xdr(envelope)
        assert parsed.v1 is not None
        operation = parsed.v1.tx.operations[0].to_xdr_bytes()
        try:
            if parsed.v1.signatures:
                return self.submit(envelope)
            return self.sponsor(operation)
        except AssertionError:
            raise _RefusedError(problems.SESSION_TRANSACTION_REVERTED) from None

    def _paid(self, channel: str, function: str, amount: int, signature: str) -> str:
        """``settle`` or ``close`` in a transaction of the recipient's."""
        invoked = sdk.InvokeContractArgs(
            Address(channel).to_xdr_sc_address(),
            sdk.SCSymbol(function.encode()),
            [scval.to_int128(amount), scval.to_bytes(bytes.fromhex(signature))],
        )
        allowed = sdk.SorobanAuthorizedInvocation(
            sdk.SorobanAuthorizedFunction(
                sdk.SorobanAuthorizedFunctionType.SOROBAN_AUTHORIZED_FUNCTION_TYPE_CONTRACT_FN,
                contract_fn=invoked,
            ),
            [],
        )
        entry = sdk.SorobanAuthorizationEntry(
            sdk.SorobanCredentials(sdk.SorobanCredentialsType.SOROBAN_CREDENTIALS_SOURCE_ACCOUNT),
            allowed,
        )
        function_type = sdk.HostFunctionType.HOST_FUNCTION_TYPE_INVOKE_CONTRACT
        operation = sdk.Operation(
            None,
            sdk.OperationBody(
                sdk.OperationType.INVOKE_HOST_FUNCTION,
                invoke_host_function_op=sdk.InvokeHostFunctionOp(
                    sdk.HostFunction(function_type, invoke_contract=invoked), [entry]
                ),
            ),
        ).to_xdr_bytes()
        sequence = self.sequence(RECIPIENT) + 1
        simulated = self.rpc.do(
            simulate_transaction(
                unsigned_envelope(operation, source=RECIPIENT.public_key, sequence=sequence)
            )
        )
        assert simulated.error is None, simulated.error
        assert simulated.transaction_data is not None
        assert simulated.min_resource_fee is not None
        ours = signed_envelope(
            operation,
            source=RECIPIENT.public_key,
            sequence=sequence,
            fee=simulated.min_resource_fee + 1_000,
            max_time=int(self.clock()) + 60,
            soroban_data=simulated.transaction_data,
            signer=RECIPIENT,
            passphrase=TESTNET.passphrase,
        )
        return self.submit(ours.xdr)

    def instance(self, channel: str) -> sdk.SCContractInstance:
        [entry] = self.rpc.do(get_ledger_entries([instance_key(channel).to_xdr()])).entries
        data = sdk.LedgerEntryData.from_xdr(entry.xdr).contract_data
        assert data is not None
        assert data.val.instance is not None
        return data.val.instance

    def stored(self, channel: str) -> dict[str, Any]:
        storage = self.instance(channel).storage
        assert storage is not None
        return {scval.to_native(each.key)[0]: scval.to_native(each.val) for each in storage.sc_map}

    def balance(self, channel: str) -> int:
        return self.sandbox.balance(channel, self.session_request["currency"])

    @property
    def ledger(self) -> int:
        return self.rpc.do(get_latest_ledger()).sequence


def request_channel(request: httpx.Request) -> str:
    """What ``Payment-Session`` names, as it is sent."""
    return next(
        (
            value.decode()
            for name, value in request.headers.raw
            if name.lower() == b"payment-session"
        ),
        "",
    )


async def closing(auth: PaymentAuth, shop: SessionShop) -> tuple[HeldChannel, ...]:
    """Close every channel that the payer has at the shop."""
    async with httpx.AsyncClient(transport=httpx.MockTransport(shop), auth=auth) as client:
        return await auth.aclose_sessions(client)
