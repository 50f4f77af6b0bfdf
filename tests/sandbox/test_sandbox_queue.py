"""Transactions that wait: one per account, replacement, expiry, bans, and ledgers that are full."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stellar_sdk import Asset, Keypair, TransactionBuilder, TransactionEnvelope
from stellar_sdk import xdr as sdk

if TYPE_CHECKING:
    from collections.abc import Callable

Code = sdk.TransactionResultCode


def payment(
    stage: Any, amount: str = "1", *, source: Keypair | None = None, **options: Any
) -> TransactionEnvelope:
    who = source or stage.payer
    builder = stage.builder(who, **options)
    builder.append_payment_op(stage.seller.public_key, Asset.native(), amount)
    envelope = builder.build()
    envelope.sign(who)
    return envelope


def bump(stage: Any, inner: TransactionEnvelope, fee: int) -> Any:
    envelope = TransactionBuilder.build_fee_bump_transaction(
        stage.sponsor, inner.transaction.fee, inner, stage.passphrase
    )
    envelope.transaction.fee = fee
    envelope.sign(stage.sponsor)
    return envelope


def limit(stage: Any, **settings: int) -> None:
    """Make ledgers small."""
    ledger = stage.sandbox._ledger
    network = ledger.network
    ledger.network = replace(network, settings=replace(network.settings, **settings))


def test_the_same_envelope_twice_is_a_duplicate(stage: Any) -> None:
    envelope = payment(stage)
    assert stage.send(envelope)["status"] == "PENDING"
    assert stage.send(envelope)["status"] == "DUPLICATE"
    stage.sandbox.close_ledger()
    assert stage.outcome(envelope)["status"] == "SUCCESS"
    assert stage.xlm_of(stage.seller) == 10_001_0000000


def test_an_account_has_one_waiting_transaction(stage: Any) -> None:
    current = stage.sequence_of(stage.payer)
    assert stage.send(payment(stage))["status"] == "PENDING"
    other = payment(stage, "2", sequence=current + 1)
    following = payment(stage, sequence=current + 2)
    assert stage.send(other)["status"] == "TRY_AGAIN_LATER"
    assert stage.send(following)["status"] == "TRY_AGAIN_LATER"
    older = payment(stage, sequence=current)
    assert stage.error_of(stage.send(older)) is Code.txBAD_SEQ
    stage.sandbox.close_ledger()
    assert stage.send(following)["status"] == "PENDING"


def test_classic_and_contract_transactions_of_one_account_exclude_each_other(
    stage: Any,
) -> None:
    call = stage.ready_transfer(1)
    assert stage.send(payment(stage, source=stage.sponsor))["status"] == "PENDING"
    assert stage.send(call)["status"] == "TRY_AGAIN_LATER"
    stage.sandbox.close_ledger()
    call = stage.ready_transfer(1)
    assert stage.send(call)["status"] == "PENDING"
    assert stage.send(payment(stage, source=stage.sponsor))["status"] == "TRY_AGAIN_LATER"


def test_different_accounts_do_not_wait_for_each_other(stage: Any) -> None:
    before = stage.xlm_of(stage.seller)
    assert stage.send(payment(stage))["status"] == "PENDING"
    assert stage.send(payment(stage, source=stage.sponsor))["status"] == "PENDING"
    stage.sandbox.close_ledger()
    assert stage.xlm_of(stage.seller) == before + 2_0000000


def test_ten_times_the_bid_replaces_what_waits(stage: Any) -> None:
    first = payment(stage, "1", fee=100)
    assert stage.send(first)["status"] == "PENDING"
    dearer = payment(stage, "2", fee=5_000)
    assert stage.send(dearer)["status"] == "TRY_AGAIN_LATER"  # only fee bumps replace

    # A bump counts as one operation more, so ten times the rate is twenty times the fee.
    answer = stage.send(bump(stage, first, 1_999))
    assert stage.error_of(answer) is Code.txINSUFFICIENT_FEE
    needed = sdk.TransactionResult.from_xdr(answer["errorResultXdr"]).fee_charged.int64
    assert needed == 2_000

    better = bump(stage, first, 2_000)
    assert stage.send(better)["status"] == "PENDING"
    assert stage.send(better)["status"] == "DUPLICATE"
    assert stage.send(first)["status"] == "DUPLICATE"  # it is what the bump wraps
    stage.sandbox.close_ledger()
    assert stage.outcome(better)["status"] == "SUCCESS"


def test_what_finds_no_room_expires_and_is_banned(stage: Any) -> None:
    limit(stage, ledger_max_classic_operations=0)
    envelope = payment(stage)
    assert stage.send(envelope)["status"] == "PENDING"
    stage.sandbox.close_ledger(3)
    assert stage.send(envelope)["status"] == "DUPLICATE"
    stage.sandbox.close_ledger()
    for _ in range(10):
        assert stage.send(envelope)["status"] == "TRY_AGAIN_LATER"
        stage.sandbox.close_ledger()
    assert stage.send(envelope)["status"] == "PENDING"


def test_better_bids_go_first_when_a_ledger_is_full(
    stage: Any, person: Callable[[str], Keypair]
) -> None:
    limit(stage, ledger_max_classic_operations=1)
    poor = payment(stage, fee=100)
    rich = payment(stage, fee=200, source=stage.sponsor)
    assert stage.send(poor)["status"] == stage.send(rich)["status"] == "PENDING"
    stage.sandbox.close_ledger()
    assert stage.outcome(rich)["status"] == "SUCCESS"
    assert stage.outcome(poor)["status"] == "NOT_FOUND"
    stage.sandbox.close_ledger()
    assert stage.outcome(poor)["status"] == "SUCCESS"


def test_a_payer_must_be_able_to_pay_all_that_waits(
    stage: Any, person: Callable[[str], Keypair]
) -> None:
    miser = person("miser")
    stage.sandbox.fund(miser.public_key, xlm="1.5000300")

    def bumped(inner: TransactionEnvelope) -> Any:
        envelope = TransactionBuilder.build_fee_bump_transaction(
            miser, 100, inner, stage.passphrase
        )
        envelope.sign(miser)
        return envelope

    assert stage.send(bumped(payment(stage)))["status"] == "PENDING"
    answer = stage.send(bumped(payment(stage, source=stage.sponsor)))
    assert stage.error_of(answer) is Code.txINSUFFICIENT_BALANCE


def test_refused_on_order(stage: Any) -> None:
    envelope = payment(stage)
    stage.sandbox.refuse_next_submit("TRY_AGAIN_LATER", times=2)
    stage.sandbox.refuse_next_submit("ERROR", code=Code.txINSUFFICIENT_FEE)
    statuses = [stage.send(envelope)["status"] for _ in range(4)]
    assert statuses == ["TRY_AGAIN_LATER", "TRY_AGAIN_LATER", "ERROR", "PENDING"]


def test_frozen_ledgers_leave_transactions_waiting(new_stage: Any) -> None:
    stage = new_stage(close_interval=1)
    stage.sandbox.freeze()
    envelope = payment(stage)
    stage.send(envelope)
    before = stage.sandbox.sequence
    stage.clock.now += 100
    assert stage.sandbox.sequence == before
    assert stage.outcome(envelope)["status"] == "NOT_FOUND"
    stage.sandbox.thaw()
    assert stage.sandbox.sequence == before
    stage.clock.now += 1
    assert stage.outcome(envelope)["status"] == "SUCCESS"
