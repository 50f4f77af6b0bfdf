"""A stage for tests of the sandbox: a ledger with a clock in the test's hand, and people on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import pytest
from stellar_sdk import (
    Account,
    FeeBumpTransactionEnvelope,
    Keypair,
    TransactionBuilder,
    TransactionEnvelope,
    scval,
)
from stellar_sdk import xdr as sdk
from stellar_sdk.auth import authorize_entry

from mpp_asgi.sandbox import Sandbox
from tests.sandbox.channels import Channels

START = 1_800_000_000


def keypair(name: str) -> Keypair:
    """Somebody, always with the same key."""
    return Keypair.from_raw_ed25519_seed(sha256(name.encode()).digest())


@dataclass
class Clock:
    now: float = START

    def __call__(self) -> float:
        return self.now


@dataclass
class Stage:
    """A sandbox, its clock, and the steps a client takes."""

    sandbox: Sandbox
    clock: Clock
    payer: Keypair = field(default_factory=lambda: keypair("payer"))
    seller: Keypair = field(default_factory=lambda: keypair("seller"))
    sponsor: Keypair = field(default_factory=lambda: keypair("sponsor"))

    @property
    def passphrase(self) -> str:
        return self.sandbox.passphrase

    @property
    def usdc(self) -> str:
        return self.sandbox.usdc

    def rpc(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of a call that must not be a JSON-RPC error."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = self.sandbox.rpc(request)
        assert "error" not in answer, answer
        return answer["result"]

    def rpc_error(self, method: str, **params: Any) -> dict[str, Any]:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = self.sandbox.rpc(request)
        assert "result" not in answer, answer
        return answer["error"]

    def account(self, who: Keypair) -> sdk.AccountEntry:
        key = sdk.LedgerKey(
            sdk.LedgerEntryType.ACCOUNT, account=sdk.LedgerKeyAccount(who.xdr_account_id())
        )
        entries = self.rpc("getLedgerEntries", keys=[key.to_xdr()])["entries"]
        entry = sdk.LedgerEntryData.from_xdr(entries[0]["xdr"])
        assert entry.account is not None
        return entry.account

    def sequence_of(self, who: Keypair) -> int:
        return self.account(who).seq_num.sequence_number.int64

    def usdc_of(self, who: Keypair | str) -> int:
        address = who if isinstance(who, str) else who.public_key
        return self.sandbox.balance(address, self.sandbox.usdc)

    def xlm_of(self, who: Keypair | str) -> int:
        address = who if isinstance(who, str) else who.public_key
        return self.sandbox.balance(address, self.sandbox.xlm)

    def builder(
        self, source: Keypair, *, fee: int = 100, sequence: int | None = None
    ) -> TransactionBuilder:
        """A transaction of ``source`` without time bounds; ``sequence`` is the one it uses."""
        current = self.sequence_of(source) if sequence is None else sequence - 1
        account = Account(source.public_key, current)
        return TransactionBuilder(account, self.passphrase, fee).add_time_bounds(0, 0)

    def call(
        self,
        source: Keypair,
        function: str,
        *args: sdk.SCVal,
        contract: str | None = None,
        fee: int = 100,
        sequence: int | None = None,
    ) -> TransactionEnvelope:
        """A contract call, of USDC unless another contract is named."""
        return (
            self.builder(source, fee=fee, sequence=sequence)
            .append_invoke_contract_function_op(contract or self.usdc, function, list(args))
            .build()
        )

    def transfer(
        self,
        amount: int = 10,
        *,
        source: Keypair | None = None,
        owner: Keypair | None = None,
        to: Keypair | str | None = None,
        contract: str | None = None,
        fee: int = 100,
    ) -> TransactionEnvelope:
        """A transfer from the payer to the seller, paid for by the sponsor, not yet prepared."""
        receiver = to or self.seller
        to_address = receiver if isinstance(receiver, str) else receiver.public_key
        return self.call(
            source or self.sponsor,
            "transfer",
            scval.to_address((owner or self.payer).public_key),
            scval.to_address(to_address),
            scval.to_int128(amount),
            contract=contract,
            fee=fee,
        )

    def simulate(self, envelope: TransactionEnvelope, **params: Any) -> dict[str, Any]:
        return self.rpc("simulateTransaction", transaction=envelope.to_xdr(), **params)

    def authorize(
        self,
        envelope: TransactionEnvelope,
        *signers: Keypair,
        ledgers: int = 20,
        passphrase: str | None = None,
        **params: Any,
    ) -> TransactionEnvelope:
        """Record what authorization is needed and have it signed."""
        result = self.simulate(envelope, **params)["results"][0]
        until = self.sandbox.sequence + ledgers
        signed = []
        for encoded in result["auth"]:
            entry = sdk.SorobanAuthorizationEntry.from_xdr(encoded)
            for signer in signers:
                entry = authorize_entry(entry, signer, until, passphrase or self.passphrase)
            signed.append(entry)
        envelope.transaction.operations[0].auth = signed
        return envelope

    def prepare(self, envelope: TransactionEnvelope) -> TransactionEnvelope:
        """Take over the resources a simulation finds."""
        result = self.simulate(envelope)
        assert "error" not in result, result["error"]
        data = sdk.SorobanTransactionData.from_xdr(result["transactionData"])
        envelope.transaction.soroban_data = data
        envelope.transaction.fee += int(result["minResourceFee"])
        operation = envelope.transaction.operations[0]
        if not operation.auth:
            operation.auth = [
                sdk.SorobanAuthorizationEntry.from_xdr(entry)
                for entry in result["results"][0]["auth"]
            ]
        envelope.signatures.clear()
        return envelope

    def ready_transfer(self, amount: int = 10, **options: Any) -> TransactionEnvelope:
        """A sponsored transfer, authorized, prepared and signed."""
        envelope = self.transfer(amount, **options)
        source = options.get("source") or self.sponsor
        owner = options.get("owner") or self.payer
        if source.public_key != owner.public_key:
            self.authorize(envelope, owner)
        self.prepare(envelope).sign(source)
        return envelope

    def send(self, envelope: TransactionEnvelope | FeeBumpTransactionEnvelope) -> dict[str, Any]:
        return self.rpc("sendTransaction", transaction=envelope.to_xdr())

    def error_of(self, answer: dict[str, Any]) -> sdk.TransactionResultCode:
        """The result code of a refused submission."""
        assert answer["status"] == "ERROR", answer
        result = sdk.TransactionResult.from_xdr(answer["errorResultXdr"]).result
        return result.code

    def outcome(self, envelope: TransactionEnvelope | FeeBumpTransactionEnvelope) -> dict[str, Any]:
        return self.rpc("getTransaction", hash=envelope.hash_hex())

    def apply(self, envelope: TransactionEnvelope | FeeBumpTransactionEnvelope) -> dict[str, Any]:
        """Submit, close a ledger, and look at what became of it."""
        answer = self.send(envelope)
        assert answer["status"] == "PENDING", (answer, self._explain(answer))
        self.sandbox.close_ledger()
        return self.outcome(envelope)

    def _explain(self, answer: dict[str, Any]) -> object:
        if "errorResultXdr" not in answer:
            return None
        return sdk.TransactionResult.from_xdr(answer["errorResultXdr"])

    def succeed(self, envelope: TransactionEnvelope) -> dict[str, Any]:
        outcome = self.apply(envelope)
        assert outcome["status"] == "SUCCESS", sdk.TransactionResult.from_xdr(outcome["resultXdr"])
        return outcome


def make_stage(**options: Any) -> Stage:
    clock = Clock()
    options.setdefault("close_interval", None)
    stage = Stage(Sandbox(clock=clock, **options), clock)
    stage.sandbox.fund(stage.payer.public_key, usdc=100)
    stage.sandbox.fund(stage.seller.public_key, usdc=1)
    stage.sandbox.fund(stage.sponsor.public_key)
    return stage


@pytest.fixture
def stage() -> Stage:
    """Payer and seller hold USDC, the sponsor XLM; ledgers close only when told to."""
    return make_stage()


@pytest.fixture(scope="session")
def person() -> Any:
    """Gives the key pair of somebody by name."""
    return keypair


@pytest.fixture(scope="session")
def new_stage() -> Any:
    """Makes stages with options of their own."""
    return make_stage


@pytest.fixture
def channels(stage: Stage) -> Channels:
    """What the stage's people do with channels."""
    return Channels(stage)


@pytest.fixture
def channel(channels: Channels) -> str:
    """A channel with 500 deposited and a hundred ledgers to wait."""
    return channels.open()
