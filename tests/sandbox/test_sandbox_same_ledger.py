"""Transactions that were good when they were taken, and are no more when their turn comes.

Classic transactions of a ledger are applied before those that call contracts, so they can spoil
them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stellar_sdk import scval
from stellar_sdk import xdr as sdk

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Stage
    from stellar_sdk import Keypair, TransactionBuilder, TransactionEnvelope

Code = sdk.TransactionResultCode


def spoil(
    stage: Stage, envelope: TransactionEnvelope, change: Callable[[TransactionBuilder], Any]
) -> tuple[sdk.TransactionResultResult, int]:
    """Apply in one ledger what the seller changes and what the sponsor wanted.

    Gives the result of the latter, and what the sponsor paid for it.
    """
    builder = stage.builder(stage.seller)
    change(builder)
    spoiler = builder.build()
    sources = [operation.source for operation in spoiler.transaction.operations]
    needed = {source.account_id for source in sources if source} | {stage.seller.public_key}
    for signer in (stage.seller, stage.sponsor, stage.payer):
        if signer.public_key in needed:
            spoiler.sign(signer)
    before = stage.xlm_of(stage.sponsor)
    assert stage.send(envelope)["status"] == "PENDING"
    assert stage.send(spoiler)["status"] == "PENDING"
    stage.sandbox.close_ledger()
    assert stage.outcome(spoiler)["status"] == "SUCCESS"
    outcome = stage.outcome(envelope)
    assert outcome["status"] == "FAILED"
    result = sdk.TransactionResult.from_xdr(outcome["resultXdr"])
    paid = before - stage.xlm_of(stage.sponsor)
    assert result.fee_charged.int64 == paid > 0
    assert stage.usdc_of(stage.payer) == 100_0000000
    return result.result, paid


def test_the_sequence_number_has_moved_on(stage: Stage) -> None:
    envelope = stage.ready_transfer()
    beyond = envelope.transaction.sequence + 5

    def change(builder: TransactionBuilder) -> None:
        builder.append_bump_sequence_op(beyond, source=stage.sponsor.public_key)

    result, paid = spoil(stage, envelope, change)
    assert result.code is Code.txBAD_SEQ
    assert stage.sequence_of(stage.sponsor) == beyond
    assert paid < envelope.transaction.fee  # what was not used comes back


def test_the_signature_is_not_enough_any_more(stage: Stage) -> None:
    envelope = stage.ready_transfer()

    def change(builder: TransactionBuilder) -> None:
        builder.append_set_options_op(master_weight=0, source=stage.sponsor.public_key)

    result, _ = spoil(stage, envelope, change)
    assert result.code is Code.txBAD_AUTH
    # It was the right one for the sequence number, which is used up.
    assert stage.sequence_of(stage.sponsor) == envelope.transaction.sequence


def test_an_operation_lacks_a_signature_now(stage: Stage) -> None:
    builder = stage.builder(stage.sponsor).append_invoke_contract_function_op(
        stage.usdc,
        "transfer",
        [
            scval.to_address(stage.payer.public_key),
            scval.to_address(stage.seller.public_key),
            scval.to_int128(10),
        ],
        source=stage.payer.public_key,
    )
    envelope = stage.prepare(builder.build())
    envelope.sign(stage.sponsor)
    envelope.sign(stage.payer)

    def change(builder: TransactionBuilder) -> None:
        builder.append_set_options_op(master_weight=0, source=stage.payer.public_key)

    result, _ = spoil(stage, envelope, change)
    assert result.code is Code.txFAILED
    assert result.results is not None
    assert result.results[0].code is sdk.OperationResultCode.opBAD_AUTH
    assert stage.sequence_of(stage.sponsor) == envelope.transaction.sequence


def test_two_may_want_the_same_money(stage: Stage, person: Callable[[str], Keypair]) -> None:
    other = person("other sponsor")
    stage.sandbox.fund(other.public_key)
    first = stage.ready_transfer(60_0000000)
    second = stage.ready_transfer(60_0000000, source=other)
    for envelope in (first, second):
        assert stage.send(envelope)["status"] == "PENDING"
    stage.sandbox.close_ledger()
    outcomes = [stage.outcome(envelope) for envelope in (first, second)]
    assert sorted(outcome["status"] for outcome in outcomes) == ["FAILED", "SUCCESS"]
    assert outcomes[0]["ledger"] == outcomes[1]["ledger"]
    assert stage.usdc_of(stage.payer) == 40_0000000
