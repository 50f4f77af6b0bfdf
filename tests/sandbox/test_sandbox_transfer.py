"""A sponsored USDC transfer from simulation to the closed ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stellar_sdk import Address, Asset, Keypair, MuxedAccount, scval
from stellar_sdk import xdr as sdk

if TYPE_CHECKING:
    from conftest import Stage


def topics_of(event: sdk.ContractEvent) -> list[object]:
    return [scval.to_native(topic) for topic in event.body.v0.topics]


def test_token_addresses_are_those_of_testnet(stage: Stage) -> None:
    issuer = "GBBD47IF6LWK7P7MDEVSCWR7DPUWV3NY3DTQEVFL4NAT4AQH3ZLLFLA5"
    assert stage.sandbox.usdc_issuer.public_key == issuer
    assert stage.usdc == Asset("USDC", issuer).contract_id(stage.passphrase)
    assert stage.usdc == "CBIELTK6YBZJU5UP2WWQEUCYKLPU6AUNZ2BQ4WWFEIE3USCIHMXQDAMA"
    assert stage.sandbox.xlm == Asset.native().contract_id(stage.passphrase)
    assert stage.sandbox.xlm == "CDLZFC3SYJYDZT7K67VZ75HPJVIEUVNIXF47ZG2FB2RMQQVU2HHGCYSC"


def test_sponsored_transfer_moves_the_amount_and_only_the_sponsor_pays(stage: Stage) -> None:
    payer_xlm, sponsor_xlm = stage.xlm_of(stage.payer), stage.xlm_of(stage.sponsor)
    envelope = stage.ready_transfer(25_0000000)

    assert stage.send(envelope)["status"] == "PENDING"
    assert stage.outcome(envelope)["status"] == "NOT_FOUND"
    sequence = stage.sandbox.close_ledger()
    outcome = stage.outcome(envelope)

    assert outcome["status"] == "SUCCESS"
    assert outcome["ledger"] == sequence
    assert stage.usdc_of(stage.payer) == 75_0000000
    assert stage.usdc_of(stage.seller) == 26_0000000
    assert stage.xlm_of(stage.payer) == payer_xlm
    charged = sdk.TransactionResult.from_xdr(outcome["resultXdr"]).fee_charged.int64
    assert stage.xlm_of(stage.sponsor) == sponsor_xlm - charged
    assert 0 < charged < envelope.transaction.fee


def test_meta_tells_the_return_value_the_changes_and_the_events(stage: Stage) -> None:
    outcome = stage.succeed(stage.ready_transfer(7))
    meta = sdk.TransactionMeta.from_xdr(outcome["resultMetaXdr"])
    assert meta.to_xdr() == outcome["resultMetaXdr"]
    assert meta.v == 4
    assert meta.v4 is not None
    assert meta.v4.soroban_meta is not None
    assert meta.v4.soroban_meta.return_value is not None
    assert meta.v4.soroban_meta.return_value.type is sdk.SCValType.SCV_VOID

    (operation,) = meta.v4.operations
    kinds = [
        (change.type.name.removeprefix("LEDGER_ENTRY_"), entry.data.type.name)
        for change in operation.changes.ledger_entry_changes
        if (entry := change.state or change.updated or change.created)
    ]
    assert kinds.count(("STATE", "TRUSTLINE")) == kinds.count(("UPDATED", "TRUSTLINE")) == 2
    assert ("CREATED", "CONTRACT_DATA") in kinds  # the nonce
    assert ("CREATED", "TTL") in kinds

    (event,) = operation.events
    asset = f"USDC:{stage.sandbox.usdc_issuer.public_key}"
    assert topics_of(event) == [
        "transfer",
        Address(stage.payer.public_key),
        Address(stage.seller.public_key),
        asset,
    ]
    assert scval.from_int128(event.body.v0.data) == 7
    assert outcome["events"]["contractEventsXdr"] == [[event.to_xdr()]]

    stages = [event.stage.name for event in meta.v4.events]
    assert stages == [
        "TRANSACTION_EVENT_STAGE_BEFORE_ALL_TXS",
        "TRANSACTION_EVENT_STAGE_AFTER_ALL_TXS",
    ]
    fees = [scval.from_int128(event.event.body.v0.data) for event in meta.v4.events]
    charged = sdk.TransactionResult.from_xdr(outcome["resultXdr"]).fee_charged.int64
    assert fees[0] > 0 > fees[1]
    assert sum(fees) == charged
    extension = meta.v4.soroban_meta.ext.v1
    assert extension is not None
    paid = (
        extension.total_non_refundable_resource_fee_charged.int64
        + extension.total_refundable_resource_fee_charged.int64
    )
    assert paid == charged - 100


def test_result_commits_to_the_return_value_and_the_events(stage: Stage) -> None:
    outcome = stage.succeed(stage.ready_transfer(7))
    event = sdk.ContractEvent.from_xdr(outcome["events"]["contractEventsXdr"][0][0])
    preimage = sdk.InvokeHostFunctionSuccessPreImage(sdk.SCVal(sdk.SCValType.SCV_VOID), [event])
    from hashlib import sha256

    result = sdk.TransactionResult.from_xdr(outcome["resultXdr"]).result
    inner = result.results[0].tr.invoke_host_function_result
    assert inner.success.hash == sha256(preimage.to_xdr_bytes()).digest()


def test_payer_can_pay_for_himself(stage: Stage) -> None:
    envelope = stage.transfer(5, source=stage.payer)
    result = stage.simulate(envelope)
    (entry,) = result["results"][0]["auth"]
    credentials = sdk.SorobanAuthorizationEntry.from_xdr(entry).credentials
    assert credentials.type is sdk.SorobanCredentialsType.SOROBAN_CREDENTIALS_SOURCE_ACCOUNT

    before = stage.usdc_of(stage.payer)
    stage.prepare(envelope).sign(stage.payer)
    stage.succeed(envelope)
    assert stage.usdc_of(stage.payer) == before - 5


def test_transfer_to_a_muxed_account_names_its_id_in_the_event(stage: Stage) -> None:
    muxed = MuxedAccount(stage.seller.public_key, 77).account_muxed
    assert muxed is not None
    outcome = stage.succeed(stage.ready_transfer(9, to=muxed))
    event = sdk.ContractEvent.from_xdr(outcome["events"]["contractEventsXdr"][0][0])
    assert topics_of(event)[2] == Address(stage.seller.public_key)
    assert scval.to_native(event.body.v0.data) == {"amount": 9, "to_muxed_id": 77}
    assert stage.usdc_of(stage.seller) == 1_0000000 + 9


def test_transfer_to_oneself_changes_nothing_but_is_announced(stage: Stage) -> None:
    before = stage.usdc_of(stage.payer)
    outcome = stage.succeed(stage.ready_transfer(9, to=stage.payer))
    event = sdk.ContractEvent.from_xdr(outcome["events"]["contractEventsXdr"][0][0])
    assert topics_of(event)[0] == "transfer"
    assert stage.usdc_of(stage.payer) == before


def test_transfer_to_a_contract_is_kept_in_the_tokens_storage(stage: Stage) -> None:
    holder = Address.from_raw_contract(b"\7" * 32).address
    stage.succeed(stage.ready_transfer(11, to=holder))
    assert stage.usdc_of(holder) == 11
    balance = scval.to_vec([scval.to_symbol("Balance"), scval.to_address(holder)])
    key = sdk.LedgerKey(
        sdk.LedgerEntryType.CONTRACT_DATA,
        contract_data=sdk.LedgerKeyContractData(
            Address(stage.usdc).to_xdr_sc_address(),
            balance,
            sdk.ContractDataDurability.PERSISTENT,
        ),
    )
    (entry,) = stage.rpc("getLedgerEntries", keys=[key.to_xdr()])["entries"]
    value = sdk.LedgerEntryData.from_xdr(entry["xdr"]).contract_data.val
    assert scval.to_native(value) == {"amount": 11, "authorized": True, "clawback": False}
    assert entry["liveUntilLedgerSeq"] == stage.sandbox.sequence + 30 * 17_280


def test_xlm_is_a_token_too_and_its_transfer_creates_accounts(stage: Stage) -> None:
    newcomer = Keypair.random()
    transfer = stage.ready_transfer(2_0000000, to=newcomer, contract=stage.sandbox.xlm)
    stage.succeed(transfer)
    assert stage.xlm_of(newcomer) == 2_0000000
    assert stage.sequence_of(newcomer) == stage.sandbox.sequence << 32


def test_ledgers_close_by_the_clock_alone(new_stage) -> None:
    stage = new_stage(close_interval=0.5)
    first = stage.sandbox.sequence
    envelope = stage.ready_transfer(3)
    stage.send(envelope)
    stage.clock.now += 0.4
    assert stage.sandbox.sequence == first
    stage.clock.now += 0.1
    assert stage.sandbox.sequence == first + 1
    assert stage.outcome(envelope)["status"] == "SUCCESS"


def test_equal_seeds_and_calls_give_equal_ledgers(new_stage) -> None:
    def play() -> tuple[str, str]:
        stage = new_stage(seed=7)
        outcome = stage.succeed(stage.ready_transfer(3))
        return outcome["resultMetaXdr"], stage.rpc("getLatestLedger")["id"]

    assert play() == play()
