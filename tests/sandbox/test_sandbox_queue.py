"""Transactions that wait: one per account, replacement, expiry, bans, and ledgers that are full."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
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
    ledger.queue._network = ledger.network


def charged(outcome: dict[str, Any]) -> int:
    """Stroops."""
    return sdk.TransactionResult.from_xdr(outcome["resultXdr"]).fee_charged.int64


def base_fees(stage: Any) -> list[int]:
    """What the latest ledger's transaction set says that each operation pays, by phase."""
    meta = sdk.LedgerCloseMeta.from_xdr(stage.rpc("getLatestLedger")["metadataXdr"]).v2
    assert meta is not None
    encoded = meta.tx_set.to_xdr_bytes()
    header = meta.ledger_header.header
    assert sha256(encoded).digest() == header.scp_value.tx_set_hash.hash
    assert meta.tx_set.v1_tx_set is not None
    classic, soroban = meta.tx_set.v1_tx_set.phases
    found = [each.txs_maybe_discounted_fee.base_fee for each in classic.v0_components or ()]
    assert soroban.parallel_txs_component is not None
    found.append(soroban.parallel_txs_component.base_fee)
    return [fee.int64 for fee in found if fee is not None]


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
    limit(stage, ledger_max_classic_operations=1)
    envelope = payment(stage)
    assert stage.send(envelope)["status"] == "PENDING"
    for _ in range(4):
        assert stage.send(envelope)["status"] == "DUPLICATE"
        stage.succeed(payment(stage, source=stage.sponsor, fee=200))
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


def people(stage: Any, person: Callable[[str], Keypair], count: int) -> list[Keypair]:
    found = [person(f"somebody {number}") for number in range(count)]
    for each in found:
        stage.sandbox.fund(each.public_key)
    return found


def test_a_full_ledger_costs_what_the_lowest_in_it_bids(
    stage: Any, person: Callable[[str], Keypair]
) -> None:
    """Three operations of payments: what bids 300 does not fit, what bids less does."""
    limit(stage, ledger_max_classic_operations=3)
    rich, big, small, poor = people(stage, person, 4)
    first = payment(stage, source=rich, fee=500)
    gap = stage.builder(big, fee=300)
    for _ in range(3):
        gap.append_payment_op(stage.seller.public_key, Asset.native(), "1")
    second = gap.build()
    second.sign(big)
    third, fourth = payment(stage, source=small, fee=200), payment(stage, source=poor, fee=150)
    call = stage.ready_transfer(1, fee=900)
    envelopes = (first, second, third)
    assert {stage.send(each)["status"] for each in (*envelopes, call)} == {"PENDING"}
    assert stage.send(fourth)["status"] == "PENDING"
    stage.sandbox.close_ledger()
    assert stage.outcome(second)["status"] == "NOT_FOUND"
    assert [charged(stage.outcome(each)) for each in (first, third, fourth)] == [150] * 3
    assert base_fees(stage) == [150, 100]  # the call is in another phase, where there was room
    stats = stage.rpc("getFeeStats")
    assert (stats["inclusionFee"]["min"], stats["inclusionFee"]["max"]) == ("150", "150")
    assert stats["sorobanInclusionFee"]["max"] == "100"
    stage.sandbox.close_ledger()
    assert charged(stage.outcome(second)) == 300  # of three operations, and nobody was left out
    assert base_fees(stage) == [100]


def test_contract_calls_compete_for_count_and_for_bytes(
    stage: Any, person: Callable[[str], Keypair]
) -> None:
    poor, rich = people(stage, person, 2)
    for setting in ("ledger_max_transactions", "ledger_max_transaction_bytes"):
        low = stage.ready_transfer(1, source=poor, fee=250)
        high = stage.ready_transfer(1, source=rich, fee=700)
        size = len(low.to_xdr_object().to_xdr_bytes())
        limit(stage, **{setting: 1 if setting == "ledger_max_transactions" else size})
        assert stage.send(low)["status"] == stage.send(high)["status"] == "PENDING"
        stage.sandbox.close_ledger()
        assert stage.outcome(low)["status"] == "NOT_FOUND"
        assert stage.rpc("getFeeStats")["sorobanInclusionFee"]["max"] == "700"
        assert base_fees(stage) == [700]
        stage.sandbox.close_ledger()
        assert base_fees(stage) == [100]
        limit(stage, **{setting: 1_000_000})


def test_a_full_queue_says_what_gets_in(stage: Any, person: Callable[[str], Keypair]) -> None:
    """It has room for two ledgers; who bids more drives out the lowest."""
    limit(stage, ledger_max_classic_operations=1)
    one, two, three, four, five = people(stage, person, 5)
    lowest, low = payment(stage, source=one, fee=120), payment(stage, source=two, fee=150)
    assert stage.send(lowest)["status"] == stage.send(low)["status"] == "PENDING"

    def refused(envelope: TransactionEnvelope) -> int:
        answer = stage.send(envelope)
        assert stage.error_of(answer) is Code.txINSUFFICIENT_FEE
        assert stage.send(envelope)["status"] == "TRY_AGAIN_LATER"  # it is banned now
        return sdk.TransactionResult.from_xdr(answer["errorResultXdr"]).fee_charged.int64

    assert refused(payment(stage, source=three, fee=120)) == 121
    high = payment(stage, source=three, fee=121)
    assert stage.send(high)["status"] == "PENDING"
    assert stage.send(lowest)["status"] == "TRY_AGAIN_LATER"  # it was driven out
    assert refused(payment(stage, source=four, fee=121)) == 122
    huge = stage.builder(four, fee=10_000)
    for _ in range(3):
        huge.append_bump_sequence_op(0)
    too_large = huge.build()
    too_large.sign(four)
    assert stage.send(too_large)["status"] == "TRY_AGAIN_LATER"  # no bid makes it fit

    stage.sandbox.close_ledger()
    assert charged(stage.outcome(low)) == 150
    assert stage.send(payment(stage, source=five, fee=100))["status"] == "PENDING"


def test_after_one_was_driven_out_none_gets_in_below_it(
    stage: Any, person: Callable[[str], Keypair]
) -> None:
    """Even where there is room again, until the next ledger."""
    limit(stage, ledger_max_classic_operations=1)
    one, two, three = people(stage, person, 3)
    wide = stage.builder(one, fee=130)
    wide.append_bump_sequence_op(0)
    wide.append_bump_sequence_op(0)
    first = wide.build()
    first.sign(one)
    assert stage.send(first)["status"] == "PENDING"
    assert stage.send(payment(stage, source=two, fee=140))["status"] == "PENDING"
    answer = stage.send(payment(stage, source=three, fee=130))
    needed = sdk.TransactionResult.from_xdr(answer["errorResultXdr"])
    assert needed.result.code is Code.txINSUFFICIENT_FEE
    assert needed.fee_charged.int64 == 131
    assert stage.send(payment(stage, source=three, fee=131))["status"] == "PENDING"


def test_a_replacement_needs_only_the_room_that_it_takes_more(
    stage: Any, person: Callable[[str], Keypair]
) -> None:
    """A bump counts as one operation more: it drives out somebody else, never what it replaces."""
    limit(stage, ledger_max_classic_operations=1)
    (other,) = people(stage, person, 1)
    first, second = payment(stage, fee=100), payment(stage, source=other, fee=101)
    assert stage.send(first)["status"] == stage.send(second)["status"] == "PENDING"
    assert stage.send(bump(stage, first, 2_000))["status"] == "TRY_AGAIN_LATER"
    limit(stage, ledger_max_classic_operations=2)
    better = bump(stage, first, 2_002)
    assert stage.send(better)["status"] == "PENDING"
    stage.sandbox.close_ledger()
    assert stage.outcome(better)["status"] == "SUCCESS"


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
