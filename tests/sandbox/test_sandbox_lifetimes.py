"""Entries of contracts live for a while, can be kept alive, and come back from the archive."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from stellar_sdk import Address, SorobanDataBuilder, StrKey, scval
from stellar_sdk import xdr as sdk

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Stage
    from stellar_sdk import TransactionEnvelope

HOLDER = StrKey.encode_contract(b"\7" * 32)
MONTH = 600_000
"""Ledgers beyond the thirty days that a balance lives."""


@pytest.fixture
def stage(new_stage: Callable[..., Stage]) -> Stage:
    """A ledger a second, and a contract with a balance of 11."""
    stage = new_stage(close_interval=1)
    stage.succeed(stage.ready_transfer(11, to=HOLDER))
    return stage


@pytest.fixture
def balance(stage: Stage) -> sdk.LedgerKey:
    """The key of that balance."""
    return sdk.LedgerKey(
        sdk.LedgerEntryType.CONTRACT_DATA,
        contract_data=sdk.LedgerKeyContractData(
            Address(stage.usdc).to_xdr_sc_address(),
            scval.to_vec([scval.to_symbol("Balance"), scval.to_address(HOLDER)]),
            sdk.ContractDataDurability.PERSISTENT,
        ),
    )


def until(stage: Stage, key: sdk.LedgerKey) -> int:
    (entry,) = stage.rpc("getLedgerEntries", keys=[key.to_xdr()])["entries"]
    return entry["liveUntilLedgerSeq"]


def prepared(stage: Stage, envelope: TransactionEnvelope) -> TransactionEnvelope:
    """Take over what simulation finds, for operations that carry no authorization."""
    result = stage.simulate(envelope)
    data = sdk.SorobanTransactionData.from_xdr(result["transactionData"])
    envelope.transaction.soroban_data = data
    envelope.transaction.fee += int(result["minResourceFee"])
    return signed(stage, envelope)


def signed(stage: Stage, envelope: TransactionEnvelope) -> TransactionEnvelope:
    envelope.signatures.clear()
    envelope.sign(stage.sponsor)
    return envelope


def extension(stage: Stage, *keys: sdk.LedgerKey, ledgers: int = 1_000_000) -> TransactionEnvelope:
    builder = stage.builder(stage.sponsor).append_extend_footprint_ttl_op(ledgers)
    builder.set_soroban_data(SorobanDataBuilder().set_read_only(list(keys)).build())
    return builder.build()


def restoration(stage: Stage, *keys: sdk.LedgerKey) -> TransactionEnvelope:
    builder = stage.builder(stage.sponsor).append_restore_footprint_op()
    builder.set_soroban_data(SorobanDataBuilder().set_read_write(list(keys)).build())
    return builder.build()


def code_of(outcome: dict[str, str]) -> str:
    (operation,) = sdk.TransactionResult.from_xdr(outcome["resultXdr"]).result.results
    tr = operation.tr
    inner = (
        tr.invoke_host_function_result
        or tr.extend_footprint_ttl_result
        or tr.restore_footprint_result
    )
    return inner.code.name


def rent_of(outcome: dict[str, str]) -> int:
    meta = sdk.TransactionMeta.from_xdr(outcome["resultMetaXdr"]).v4
    assert meta is not None
    return meta.soroban_meta.ext.v1.rent_fee_charged.int64


def test_use_keeps_a_balance_alive(stage: Stage, balance: sdk.LedgerKey) -> None:
    month = 30 * 17_280
    assert until(stage, balance) == stage.sandbox.sequence + month
    stage.clock.now += 10_000  # more than half a day: not worth it yet
    first = until(stage, balance)
    stage.succeed(stage.ready_transfer(1, to=HOLDER))
    assert until(stage, balance) == first
    stage.clock.now += 10_000  # more than a day since: now it is
    stage.succeed(stage.ready_transfer(1, to=HOLDER))
    assert until(stage, balance) == stage.sandbox.sequence + month


def test_entries_live_longer_on_request(stage: Stage, balance: sdk.LedgerKey) -> None:
    outcome = stage.succeed(prepared(stage, extension(stage, balance)))
    assert until(stage, balance) == stage.sandbox.sequence + 1_000_000
    assert rent_of(outcome) > 0
    # A request for less changes nothing, and costs no rent.
    again = extension(stage, balance, ledgers=1_000)
    again.transaction.soroban_data = (
        SorobanDataBuilder().set_read_only([balance]).set_resource_fee(100_000).build()
    )
    again.transaction.fee += 100_000
    before = until(stage, balance)
    assert rent_of(stage.succeed(signed(stage, again))) == 0
    assert until(stage, balance) == before


def test_living_longer_must_be_paid_for(stage: Stage, balance: sdk.LedgerKey) -> None:
    envelope = prepared(stage, extension(stage, balance))
    data = envelope.transaction.soroban_data
    assert data is not None
    data.resource_fee = sdk.Int64(data.resource_fee.int64 - 60_000)
    outcome = stage.apply(signed(stage, envelope))
    assert code_of(outcome) == "EXTEND_FOOTPRINT_TTL_INSUFFICIENT_REFUNDABLE_FEE"


def test_an_archived_balance_is_out_of_reach(stage: Stage) -> None:
    stage.clock.now += MONTH
    envelope = stage.ready_transfer(5, to=HOLDER)
    data = envelope.transaction.soroban_data
    assert data is not None
    assert data.ext.v == 1  # simulation asks for the archived balance
    data.ext = sdk.SorobanTransactionDataExt(0)
    outcome = stage.apply(signed(stage, envelope))
    assert code_of(outcome) == "INVOKE_HOST_FUNCTION_ENTRY_ARCHIVED"


def test_a_call_can_bring_back_what_it_needs(stage: Stage, balance: sdk.LedgerKey) -> None:
    stage.clock.now += MONTH
    assert until(stage, balance) < stage.sandbox.sequence
    outcome = stage.succeed(stage.ready_transfer(5, to=HOLDER))
    assert rent_of(outcome) > 0
    assert stage.usdc_of(HOLDER) == 16
    assert until(stage, balance) == stage.sandbox.sequence + 30 * 17_280


def test_restoring(stage: Stage, balance: sdk.LedgerKey) -> None:
    stage.clock.now += MONTH
    outcome = stage.succeed(prepared(stage, restoration(stage, balance)))
    assert rent_of(outcome) > 0
    assert until(stage, balance) == stage.sandbox.sequence + 120_959
    stage.succeed(stage.ready_transfer(5, to=HOLDER))
    assert stage.usdc_of(HOLDER) == 16


def test_restoring_too_much(stage: Stage, balance: sdk.LedgerKey) -> None:
    stage.clock.now += MONTH
    envelope = prepared(stage, restoration(stage, balance))
    data = envelope.transaction.soroban_data
    assert data is not None
    data.resources.disk_read_bytes = sdk.Uint32(10)
    outcome = stage.apply(signed(stage, envelope))
    assert code_of(outcome) == "RESTORE_FOOTPRINT_RESOURCE_LIMIT_EXCEEDED"


def test_what_cannot_be_simulated(stage: Stage, balance: sdk.LedgerKey) -> None:
    account = sdk.LedgerKey(
        sdk.LedgerEntryType.ACCOUNT, account=sdk.LedgerKeyAccount(stage.payer.xdr_account_id())
    )
    missing = sdk.LedgerKey(
        sdk.LedgerEntryType.CONTRACT_CODE,
        contract_code=sdk.LedgerKeyContractCode(sdk.Hash(bytes(32))),
    )
    assert "error" in stage.simulate(extension(stage, account))
    assert "error" in stage.simulate(restoration(stage, account))
    assert "error" in stage.simulate(restoration(stage, missing))
    # What is not there needs no longer life, and what is alive no restoring.
    assert "error" not in stage.simulate(extension(stage, missing))
    assert "error" not in stage.simulate(restoration(stage, balance))
    stage.clock.now += MONTH
    assert "error" in stage.simulate(extension(stage, balance))


def test_requests_that_make_no_sense(stage: Stage, balance: sdk.LedgerKey) -> None:
    account = sdk.LedgerKey(
        sdk.LedgerEntryType.ACCOUNT, account=sdk.LedgerKeyAccount(stage.payer.xdr_account_id())
    )

    def refused(envelope: TransactionEnvelope) -> str:
        data = envelope.transaction.soroban_data
        assert data is not None
        data.resource_fee = sdk.Int64(1_000_000)
        data.resources.disk_read_bytes = sdk.Uint32(1_000)
        data.resources.write_bytes = sdk.Uint32(1_000)
        envelope.transaction.fee = 1_000_100
        answer = stage.send(signed(stage, envelope))
        assert stage.error_of(answer) is sdk.TransactionResultCode.txFAILED
        return code_of({"resultXdr": answer["errorResultXdr"]})

    for keys, ledgers in (([account], 10), ([balance], 3_110_400)):
        envelope = extension(stage, *keys, ledgers=ledgers)
        assert refused(envelope) == "EXTEND_FOOTPRINT_TTL_MALFORMED"
    assert refused(restoration(stage, account)) == "RESTORE_FOOTPRINT_MALFORMED"
