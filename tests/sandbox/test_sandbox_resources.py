"""What a transaction declared is all it gets: footprint, sizes, instructions, fee."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from stellar_sdk import scval
from stellar_sdk import xdr as sdk

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Stage
    from stellar_sdk import Keypair, TransactionEnvelope

    Change = Callable[[sdk.SorobanTransactionData], None]

TRAPPED = "INVOKE_HOST_FUNCTION_TRAPPED"
TOO_MUCH = "INVOKE_HOST_FUNCTION_RESOURCE_LIMIT_EXCEEDED"
TOO_DEAR = "INVOKE_HOST_FUNCTION_INSUFFICIENT_REFUNDABLE_FEE"


def changed(stage: Stage, change: Change) -> TransactionEnvelope:
    """A sponsored transfer that declares something else than its simulation found."""
    envelope = stage.ready_transfer()
    data = envelope.transaction.soroban_data
    assert data is not None
    change(data)
    envelope.signatures.clear()
    envelope.sign(stage.sponsor)
    return envelope


def code_of(outcome: dict[str, str]) -> str:
    result = sdk.TransactionResult.from_xdr(outcome["resultXdr"]).result
    assert result.code is sdk.TransactionResultCode.txFAILED
    assert result.results is not None
    return result.results[0].tr.invoke_host_function_result.code.name


def errors_of(outcome: dict[str, list[str]]) -> list[tuple[object, object]]:
    """Type and code of the errors among the diagnostic events."""
    found = []
    for encoded in outcome["diagnosticEventsXdr"]:
        topics = sdk.DiagnosticEvent.from_xdr(encoded).event.body.v0.topics
        if scval.to_native(topics[0]) == "error" and topics[1].error is not None:
            error = topics[1].error
            found.append((error.type.name, error.code.name if error.code else None))
    return found


def footprint_of(data: sdk.SorobanTransactionData) -> sdk.LedgerFootprint:
    return data.resources.footprint


def without(kind: sdk.LedgerEntryType, index: int = 0) -> Change:
    """Leave out the ``index``-th entry of a kind."""

    def change(data: sdk.SorobanTransactionData) -> None:
        footprint = footprint_of(data)
        keys = [*footprint.read_only, *footprint.read_write]
        gone = [key for key in keys if key.type is kind][index]
        footprint.read_only = [key for key in footprint.read_only if key != gone]
        footprint.read_write = [key for key in footprint.read_write if key != gone]

    return change


def read_only(kind: sdk.LedgerEntryType, index: int = 0) -> Change:
    """Declare the ``index``-th entry of a kind as only read."""

    def change(data: sdk.SorobanTransactionData) -> None:
        footprint = footprint_of(data)
        moved = [key for key in footprint.read_write if key.type is kind][index]
        footprint.read_write = [key for key in footprint.read_write if key != moved]
        footprint.read_only = [*footprint.read_only, moved]

    return change


TRUSTLINE = sdk.LedgerEntryType.TRUSTLINE
DATA = sdk.LedgerEntryType.CONTRACT_DATA
ACCOUNT = sdk.LedgerEntryType.ACCOUNT


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(without(TRUSTLINE), id="no first trustline"),
        pytest.param(without(TRUSTLINE, 1), id="no second trustline"),
        pytest.param(without(DATA), id="no contract instance"),
        pytest.param(without(DATA, 1), id="no nonce"),
        pytest.param(without(ACCOUNT), id="no account of the payer"),
        pytest.param(read_only(TRUSTLINE), id="first trustline only read"),
        pytest.param(read_only(TRUSTLINE, 1), id="second trustline only read"),
        pytest.param(read_only(DATA), id="nonce only read"),
    ],
)
def test_what_the_footprint_lacks_cannot_be_touched(stage: Stage, change: Change) -> None:
    outcome = stage.apply(changed(stage, change))
    assert outcome["status"] == "FAILED"
    assert code_of(outcome) == TRAPPED
    assert ("SCE_STORAGE", "SCEC_EXCEEDED_LIMIT") in errors_of(outcome)
    assert stage.usdc_of(stage.payer) == 100_0000000


def test_more_than_is_needed_does_no_harm(stage: Stage) -> None:
    def change(data: sdk.SorobanTransactionData) -> None:
        stranger = sdk.LedgerKey(
            ACCOUNT, account=sdk.LedgerKeyAccount(stage.sponsor.xdr_account_id())
        )
        footprint_of(data).read_only = [*footprint_of(data).read_only, stranger]
        data.resources.disk_read_bytes = sdk.Uint32(4_000)
        data.resource_fee = sdk.Int64(data.resource_fee.int64 + 10_000)

    envelope = changed(stage, change)
    envelope.transaction.fee += 10_000
    envelope.signatures.clear()
    envelope.sign(stage.sponsor)
    assert stage.apply(envelope)["status"] == "SUCCESS"


def exactly(name: str, value: int) -> Change:
    def change(data: sdk.SorobanTransactionData) -> None:
        setattr(data.resources, name, sdk.Uint32(value))

    return change


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(exactly("disk_read_bytes", 0), id="reads nothing"),
        pytest.param(exactly("disk_read_bytes", 300), id="reads little"),
        pytest.param(exactly("write_bytes", 0), id="writes nothing"),
        pytest.param(exactly("write_bytes", 300), id="writes little"),
        pytest.param(exactly("instructions", 0), id="runs nothing"),
        pytest.param(exactly("instructions", 200_000), id="runs little"),
    ],
)
def test_too_little_of_a_resource(stage: Stage, change: Change) -> None:
    outcome = stage.apply(changed(stage, change))
    assert outcome["status"] == "FAILED"
    assert code_of(outcome) == TOO_MUCH
    assert ("SCE_BUDGET", "SCEC_EXCEEDED_LIMIT") in errors_of(outcome)
    assert stage.usdc_of(stage.payer) == 100_0000000


@dataclass(frozen=True)
class Bill:
    bid: int
    """All the transaction may cost."""
    charged: int
    non_refundable: int
    refundable: int
    rent: int


def bill(envelope: TransactionEnvelope, outcome: dict[str, str]) -> Bill:
    meta = sdk.TransactionMeta.from_xdr(outcome["resultMetaXdr"]).v4
    assert meta is not None
    assert meta.soroban_meta is not None
    extension = meta.soroban_meta.ext.v1
    assert extension is not None
    return Bill(
        bid=envelope.transaction.fee,
        charged=sdk.TransactionResult.from_xdr(outcome["resultXdr"]).fee_charged.int64,
        non_refundable=extension.total_non_refundable_resource_fee_charged.int64,
        refundable=extension.total_refundable_resource_fee_charged.int64,
        rent=extension.rent_fee_charged.int64,
    )


def test_the_bill_of_a_success(stage: Stage) -> None:
    before = stage.xlm_of(stage.sponsor)
    envelope = stage.ready_transfer()
    found = bill(envelope, stage.succeed(envelope))
    assert found.charged == 100 + found.non_refundable + found.refundable
    assert 0 < found.rent < found.refundable
    assert found.charged < found.bid
    assert stage.xlm_of(stage.sponsor) == before - found.charged


def test_a_failure_costs_all_but_the_refundable_fee(stage: Stage) -> None:
    before = stage.xlm_of(stage.sponsor)
    envelope = changed(stage, without(DATA, 1))
    found = bill(envelope, stage.apply(envelope))
    assert (found.refundable, found.rent) == (0, 0)
    assert found.charged == 100 + found.non_refundable
    assert stage.xlm_of(stage.sponsor) == before - found.charged
    assert stage.sequence_of(stage.sponsor) == envelope.transaction.sequence


def test_a_refundable_fee_that_is_too_small(stage: Stage) -> None:
    envelope = stage.ready_transfer()
    found = bill(envelope, stage.succeed(envelope))

    def spare(stroops: int) -> TransactionEnvelope:
        again = stage.ready_transfer()
        data = again.transaction.soroban_data
        assert data is not None
        data.resource_fee = sdk.Int64(found.non_refundable + found.refundable + stroops)
        again.transaction.fee = 100 + data.resource_fee.int64
        again.signatures.clear()
        again.sign(stage.sponsor)
        return again

    # One stroop more or less decides. The envelope is of the same size, so it costs the same.
    outcome = stage.apply(spare(-1))
    assert outcome["status"] == "FAILED"
    assert code_of(outcome) == TOO_DEAR
    enough = spare(0)
    outcome = stage.apply(enough)
    assert outcome["status"] == "SUCCESS"
    assert bill(enough, outcome).charged == enough.transaction.fee


def test_a_simulated_fee_is_enough_for_what_is_applied(stage: Stage) -> None:
    """Also when the ledger is further on by then, and rent has to be paid for longer."""
    envelope = stage.ready_transfer()
    stage.sandbox.close_ledger(10)
    found = bill(envelope, stage.apply(envelope))
    assert found.charged <= found.bid


@pytest.mark.parametrize("transfers", [1, 2])
def test_accounts_that_never_did_anything_are_read_as_large_as_they_will_be(
    stage: Stage, person: Callable[[str], Keypair], transfers: int
) -> None:
    """Using its first sequence number makes an account larger, and that counts as read."""
    owner, receiver = person("a newcomer"), person("another")
    for who in (owner, receiver):
        stage.sandbox.friendbot(who.public_key)
    for _ in range(transfers):
        envelope = stage.ready_transfer(
            5, source=owner, owner=owner, to=receiver, contract=stage.sandbox.xlm
        )
        assert stage.apply(envelope)["status"] == "SUCCESS"
