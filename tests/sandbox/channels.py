"""Channels for tests: opened by the factory, sponsored, used by the people of a stage."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from stellar_sdk import Address, Keypair, Network, TransactionEnvelope, scval
from stellar_sdk import xdr as sdk
from stellar_sdk.auth import authorize_entry

if TYPE_CHECKING:
    from conftest import Stage

WAITING_PERIOD = 100
DEPOSIT = 500

NEGATIVE_AMOUNT = "Error(Contract, #1)"
NOT_CLOSED = "Error(Contract, #2)"
TOO_EARLY = "Error(Contract, #3)"
ALREADY_CLOSED = "Error(Contract, #4)"
NOT_ENOUGH = "Error(Contract, #10)"
BAD_SIGNATURE = "Error(Crypto, InvalidInput)"
PANIC = "Error(WasmVm, InvalidAction)"

Event = tuple[str, dict[str, Any] | int]


def commitment(passphrase: str, channel: str, amount: int) -> bytes:
    """What the funder signs, put together with the SDK and independent of the sandbox."""

    def entry(name: str, value: sdk.SCVal) -> sdk.SCMapEntry:
        return sdk.SCMapEntry(scval.to_symbol(name), value)

    fields = [
        entry("amount", scval.to_int128(amount)),
        entry("channel", scval.to_address(channel)),
        entry("domain", scval.to_symbol("chancmmt")),
        entry("network", scval.to_bytes(Network(passphrase).network_id())),
    ]
    return sdk.SCVal(sdk.SCValType.SCV_MAP, map=sdk.SCMap(fields)).to_xdr_bytes()


def address(who: Keypair | str) -> sdk.SCVal:
    return scval.to_address(who if isinstance(who, str) else who.public_key)


@dataclass
class Channels:
    """What the payer (who funds), the seller (who receives) and the sponsor do with channels."""

    stage: Stage
    key: Keypair = field(
        default_factory=lambda: Keypair.from_raw_ed25519_seed(sha256(b"commitments").digest())
    )

    @property
    def factory(self) -> str:
        return self.stage.sandbox.channel_factory

    @property
    def network_id(self) -> bytes:
        return Network(self.stage.passphrase).network_id()

    def opening(self, **terms: Any) -> list[sdk.SCVal]:
        """What a channel's constructor takes; ``terms`` replaces some of it."""
        return [
            address(terms.get("token", self.stage.usdc)),
            address(terms.get("funder", self.stage.payer)),
            scval.to_bytes(terms.get("key", self.key.raw_public_key())),
            address(terms.get("recipient", self.stage.seller)),
            scval.to_int128(terms.get("amount", DEPOSIT)),
            scval.to_uint32(terms.get("period", WAITING_PERIOD)),
        ]

    def opening_call(self, salt: bytes = bytes(32), **terms: Any) -> TransactionEnvelope:
        return self.call(self.factory, "open", scval.to_bytes(salt), *self.opening(**terms))

    def open(self, salt: bytes = bytes(32), **terms: Any) -> str:
        """Open a channel and give its address."""
        opened: Address = self.perform(self.opening_call(salt, **terms))
        return opened.address

    def address_of(self, envelope: TransactionEnvelope) -> str:
        """Where an opening will put the channel."""
        return scval.from_address(self.stage.simulate(envelope)["results"][0]["xdr"]).address

    def call(
        self, contract: str, function: str, *args: sdk.SCVal, source: Keypair | None = None
    ) -> TransactionEnvelope:
        """A call that the sponsor pays for, unless somebody else does."""
        return self.stage.call(source or self.stage.sponsor, function, *args, contract=contract)

    def paying(
        self,
        channel: str,
        function: str,
        amount: int,
        signature: bytes | None = None,
        *,
        source: Keypair | None = None,
    ) -> TransactionEnvelope:
        """``settle`` or ``close`` with a commitment to an amount."""
        proof = self.sign(channel, amount) if signature is None else signature
        args = (scval.to_int128(amount), scval.to_bytes(proof))
        return self.call(channel, function, *args, source=source)

    def sign(self, channel: str, amount: int) -> bytes:
        return self.key.sign(commitment(self.stage.passphrase, channel, amount))

    def ready(self, envelope: TransactionEnvelope, **params: Any) -> TransactionEnvelope:
        """Have everybody who has to allow a transaction sign it."""
        stage = self.stage
        signers = {who.public_key: who for who in (stage.payer, stage.seller, stage.sponsor)}
        result = stage.simulate(envelope, **params)
        assert "error" not in result, result["error"]
        signed = []
        for encoded in result["results"][0]["auth"]:
            entry = sdk.SorobanAuthorizationEntry.from_xdr(encoded)
            credentials = entry.credentials.address
            if credentials is not None:
                who = signers[Address.from_xdr_sc_address(credentials.address).address]
                until = stage.sandbox.sequence + 20
                entry = authorize_entry(entry, who, until, stage.passphrase)
            signed.append(entry)
        operation: Any = envelope.transaction.operations[0]
        operation.auth = signed
        source = signers[envelope.transaction.source.account_id]
        stage.prepare(envelope).sign(source)
        return envelope

    def perform(self, envelope: TransactionEnvelope, **params: Any) -> Any:
        """Apply a call, and give what it returned."""
        outcome = self.stage.succeed(self.ready(envelope, **params))
        meta = sdk.TransactionMeta.from_xdr(outcome["resultMetaXdr"]).v4
        assert meta is not None
        assert meta.soroban_meta is not None
        assert meta.soroban_meta.return_value is not None
        return scval.to_native(meta.soroban_meta.return_value)

    def do(self, channel: str, function: str, *args: sdk.SCVal) -> Any:
        return self.perform(self.call(channel, function, *args))

    def settle(self, channel: str, amount: int) -> None:
        self.perform(self.paying(channel, "settle", amount))

    def close(self, channel: str, amount: int) -> None:
        self.perform(self.paying(channel, "close", amount))

    def ask(self, channel: str, function: str, *args: sdk.SCVal) -> Any:
        """What a call would return."""
        result = self.stage.simulate(self.call(channel, function, *args))
        assert "error" not in result, result["error"]
        return scval.to_native(sdk.SCVal.from_xdr(result["results"][0]["xdr"]))

    def error(self, envelope: TransactionEnvelope) -> str:
        """What a call would fail with."""
        text: str = self.stage.simulate(envelope)["error"]
        return text.splitlines()[0].removeprefix("HostError: ")

    def events(self) -> list[Event]:
        """Name and data of what contracts emitted in the latest ledger, fees aside."""
        found = self.stage.rpc("getEvents", startLedger=self.stage.sandbox.sequence)["events"]
        named = [
            (
                scval.to_native(sdk.SCVal.from_xdr(event["topic"][0])),
                scval.to_native(sdk.SCVal.from_xdr(event["value"])),
            )
            for event in found
        ]
        return [event for event in named if event[0] != "fee"]

    def instance(self, contract: str) -> sdk.SCContractInstance:
        """The instance of a contract, as it stands on the ledger."""
        entry = self.stage.rpc("getLedgerEntries", keys=[instance_key(contract).to_xdr()])
        data = sdk.LedgerEntryData.from_xdr(entry["entries"][0]["xdr"]).contract_data
        assert data is not None
        assert data.val.instance is not None
        return data.val.instance


def instance_key(contract: str) -> sdk.LedgerKey:
    return sdk.LedgerKey(
        sdk.LedgerEntryType.CONTRACT_DATA,
        contract_data=sdk.LedgerKeyContractData(
            Address(contract).to_xdr_sc_address(),
            sdk.SCVal(sdk.SCValType.SCV_LEDGER_KEY_CONTRACT_INSTANCE),
            sdk.ContractDataDurability.PERSISTENT,
        ),
    )
