"""Which transactions are refused at the door, with which code and which fee."""

from __future__ import annotations

from copy import deepcopy
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from stellar_sdk import (
    Asset,
    Keypair,
    MuxedAccount,
    Network,
    Signer,
    SignerKey,
    TextMemo,
    TransactionBuilder,
    TransactionEnvelope,
    scval,
)
from stellar_sdk import xdr as sdk
from stellar_sdk.decorated_signature import DecoratedSignature
from stellar_sdk.signer_key import SignedPayloadSigner

if TYPE_CHECKING:
    from collections.abc import Callable

Code = sdk.TransactionResultCode
OpCode = sdk.OperationResultCode


def payment(stage: Any, source: Keypair | None = None, **options: Any) -> TransactionBuilder:
    builder = stage.builder(source or stage.payer, **options)
    return builder.append_payment_op(stage.seller.public_key, Asset.native(), "1")


def signed(envelope: TransactionEnvelope, *signers: Keypair) -> TransactionEnvelope:
    for signer in signers:
        envelope.sign(signer)
    return envelope


def refusal(stage: Any, envelope: Any) -> sdk.TransactionResultCode:
    return stage.error_of(stage.send(envelope))


def diagnosis(answer: dict[str, Any]) -> str:
    """What the diagnostics of a refused submission say."""
    (event,) = answer["diagnosticEventsXdr"]
    data = sdk.DiagnosticEvent.from_xdr(event).event.body.v0.data
    text = data.vec.sc_vec[0] if data.vec else data
    return text.str.sc_string.decode()


# Sequence numbers


@pytest.mark.parametrize("offset", [-1, 1, 2])
def test_the_sequence_number_must_be_the_next_one(stage: Any, offset: int) -> None:
    sequence = stage.sequence_of(stage.payer) + 1 + offset
    envelope = signed(payment(stage, sequence=sequence).build(), stage.payer)
    assert refusal(stage, envelope) is Code.txBAD_SEQ


def test_a_minimum_sequence_number_allows_gaps(stage: Any) -> None:
    current = stage.sequence_of(stage.payer)
    builder = payment(stage, sequence=current + 5).set_min_sequence_number(current)
    stage.succeed(signed(builder.build(), stage.payer))
    assert stage.sequence_of(stage.payer) == current + 5
    builder = payment(stage, sequence=current + 9).set_min_sequence_number(current + 6)
    assert refusal(stage, signed(builder.build(), stage.payer)) is Code.txBAD_SEQ


def test_an_applied_transaction_comes_back_as_bad_sequence(stage: Any) -> None:
    envelope = signed(payment(stage).build(), stage.payer)
    stage.succeed(envelope)
    assert refusal(stage, envelope) is Code.txBAD_SEQ


def test_a_missing_account(stage: Any) -> None:
    nobody = Keypair.random()
    envelope = signed(payment(stage, nobody, sequence=1).build(), nobody)
    assert refusal(stage, envelope) is Code.txNO_ACCOUNT


# Signatures


def test_signatures(stage: Any, person: Callable[[str], Keypair]) -> None:
    stranger = person("stranger")
    assert refusal(stage, payment(stage).build()) is Code.txBAD_AUTH
    assert refusal(stage, signed(payment(stage).build(), stranger)) is Code.txBAD_AUTH
    both = signed(payment(stage).build(), stage.payer, stranger)
    assert refusal(stage, both) is Code.txBAD_AUTH_EXTRA
    twice = signed(payment(stage).build(), stage.payer)
    twice.signatures.append(twice.signatures[0])
    assert refusal(stage, twice) is Code.txBAD_AUTH_EXTRA


def test_another_networks_signature(stage: Any) -> None:
    envelope = payment(stage).build()
    elsewhere = TransactionEnvelope(envelope.transaction, Network.PUBLIC_NETWORK_PASSPHRASE)
    elsewhere.sign(stage.payer)
    envelope.signatures = elsewhere.signatures
    assert refusal(stage, envelope) is Code.txBAD_AUTH


def test_the_envelope_needs_the_low_the_operation_the_medium_threshold(
    stage: Any, person: Callable[[str], Keypair]
) -> None:
    helper = person("helper")
    setup = stage.builder(stage.payer)
    setup.append_set_options_op(signer=Signer.ed25519_public_key(helper.public_key, 1))
    setup.append_set_options_op(master_weight=2, low_threshold=1, med_threshold=2, high_threshold=3)
    stage.succeed(signed(setup.build(), stage.payer))

    answer = stage.send(signed(payment(stage).build(), helper))
    assert stage.error_of(answer) is Code.txFAILED
    result = sdk.TransactionResult.from_xdr(answer["errorResultXdr"]).result
    assert result.results[0].code is OpCode.opBAD_AUTH

    bump = stage.builder(stage.payer).append_bump_sequence_op(0).build()
    stage.succeed(signed(bump, helper))  # a low-threshold operation
    more = stage.builder(stage.payer).append_set_options_op(high_threshold=1).build()
    assert refusal(stage, signed(deepcopy(more), stage.payer)) is Code.txFAILED
    stage.succeed(signed(more, stage.payer, helper))


def test_hash_and_pre_authorized_signers(stage: Any) -> None:
    secret = b"a secret known to two"
    setup = stage.builder(stage.payer)
    setup.append_set_options_op(signer=Signer.sha256_hash(sha256(secret).digest(), 1))
    stage.succeed(signed(setup.build(), stage.payer))
    envelope = payment(stage).build()
    envelope.sign_hashx(secret)
    stage.succeed(envelope)

    current = stage.sequence_of(stage.payer)
    later = payment(stage, sequence=current + 2).build()
    setup = stage.builder(stage.payer)
    setup.append_set_options_op(signer=Signer.pre_auth_tx(later.hash(), 1))
    stage.succeed(signed(setup.build(), stage.payer))
    assert len(stage.account(stage.payer).signers) == 2
    stage.succeed(later)  # with no signature at all
    assert len(stage.account(stage.payer).signers) == 1


def test_extra_signers_and_signed_payloads(stage: Any, person: Callable[[str], Keypair]) -> None:
    witness = person("witness")
    builder = payment(stage)
    builder.add_extra_signer(SignerKey.ed25519_public_key(witness.public_key))
    envelope = builder.build()
    assert refusal(stage, signed(deepcopy(envelope), stage.payer)) is Code.txBAD_AUTH
    stage.succeed(signed(envelope, stage.payer, witness))

    payload = b"seen"
    builder = payment(stage)
    builder.add_extra_signer(
        SignerKey.ed25519_signed_payload(SignedPayloadSigner(witness.public_key, payload))
    )
    envelope = signed(builder.build(), stage.payer)
    hint = bytes(a ^ b for a, b in zip(witness.signature_hint(), payload[-4:], strict=True))
    envelope.signatures.append(DecoratedSignature(hint, witness.sign(payload)))
    stage.succeed(envelope)


# Time


def test_time_bounds(stage: Any) -> None:
    now = int(stage.clock.now)

    def bounded(low: int, high: int) -> TransactionEnvelope:
        builder = stage.builder(stage.payer)
        builder.time_bounds = None
        builder.add_time_bounds(low, high)
        builder.append_payment_op(stage.seller.public_key, Asset.native(), "1")
        return signed(builder.build(), stage.payer)

    assert refusal(stage, bounded(now + 1, 0)) is Code.txTOO_EARLY
    assert refusal(stage, bounded(0, now - 1)) is Code.txTOO_LATE
    stage.succeed(bounded(now, now))
    stage.clock.now += 10
    # The last close is ten seconds old: what ends now cannot be in the next ledger.
    assert refusal(stage, bounded(0, now + 9)) is Code.txTOO_LATE
    stage.succeed(bounded(0, now + 10))


def test_a_transaction_that_becomes_too_late_while_it_waits_never_lands(stage: Any) -> None:
    builder = stage.builder(stage.payer)
    builder.time_bounds = None
    builder.add_time_bounds(0, int(stage.clock.now) + 5)
    builder.append_payment_op(stage.seller.public_key, Asset.native(), "1")
    envelope = signed(builder.build(), stage.payer)
    assert stage.send(envelope)["status"] == "PENDING"
    stage.clock.now += 60
    stage.sandbox.close_ledger()
    assert stage.outcome(envelope)["status"] == "NOT_FOUND"
    assert stage.send(envelope)["status"] == "TRY_AGAIN_LATER"


def test_ledger_bounds(stage: Any) -> None:
    following = stage.sandbox.sequence + 1

    def bounded(low: int, high: int) -> TransactionEnvelope:
        builder = payment(stage).set_ledger_bounds(low, high)
        return signed(builder.build(), stage.payer)

    assert refusal(stage, bounded(following + 1, 0)) is Code.txTOO_EARLY
    assert refusal(stage, bounded(0, following)) is Code.txTOO_LATE
    stage.succeed(bounded(following, following + 1))


def test_minimum_age_and_gap_of_the_sequence_number(stage: Any) -> None:
    stage.succeed(signed(payment(stage).build(), stage.payer))

    def waiting(age: int, gap: int) -> TransactionEnvelope:
        builder = payment(stage).set_min_sequence_age(age)
        builder.set_min_sequence_ledger_gap(gap)
        return signed(builder.build(), stage.payer)

    assert refusal(stage, waiting(10, 0)) is Code.txBAD_MIN_SEQ_AGE_OR_GAP
    assert refusal(stage, waiting(0, 2)) is Code.txBAD_MIN_SEQ_AGE_OR_GAP
    stage.clock.now += 10
    stage.sandbox.close_ledger()
    stage.succeed(waiting(10, 2))


# Fees


def test_fees_and_balances(stage: Any, person: Callable[[str], Keypair]) -> None:
    low = signed(payment(stage, fee=99).build(), stage.payer)
    assert refusal(stage, low) is Code.txINSUFFICIENT_FEE
    poor = person("poor")
    stage.sandbox.fund(poor.public_key, xlm="1.5")
    envelope = signed(payment(stage, poor).build(), poor)
    assert refusal(stage, envelope) is Code.txINSUFFICIENT_BALANCE


def test_only_the_minimum_is_charged_when_there_is_room(stage: Any) -> None:
    before = stage.xlm_of(stage.payer)
    stage.succeed(signed(payment(stage, fee=5_000).build(), stage.payer))
    assert stage.xlm_of(stage.payer) == before - 1_0000000 - 100


# Shape


def test_shape(stage: Any) -> None:
    empty = payment(stage).build()
    empty.transaction.operations.clear()
    assert refusal(stage, signed(empty, stage.payer)) is Code.txMISSING_OPERATION

    mixed = stage.ready_transfer(1)
    more = payment(stage, stage.sponsor).build().transaction.operations
    mixed.transaction.operations += more
    mixed.signatures.clear()
    assert refusal(stage, signed(mixed, stage.sponsor)) is Code.txMALFORMED

    classic = payment(stage).build()
    classic.transaction.soroban_data = stage.ready_transfer(1).transaction.soroban_data
    assert refusal(stage, signed(classic, stage.payer)) is Code.txMALFORMED


def test_an_operation_the_sandbox_does_not_have(stage: Any) -> None:
    builder = stage.builder(stage.payer).append_inflation_op()
    answer = stage.send(signed(builder.build(), stage.payer))
    assert stage.error_of(answer) is Code.txFAILED
    result = sdk.TransactionResult.from_xdr(answer["errorResultXdr"]).result
    assert result.results[0].code is OpCode.opNOT_SUPPORTED


# Contract transactions


def test_memo_and_muxed_source_are_not_for_contract_calls(stage: Any) -> None:
    with_memo = stage.ready_transfer(1)
    with_memo.transaction.memo = TextMemo("no")
    with_memo.signatures.clear()
    answer = stage.send(signed(with_memo, stage.sponsor))
    assert stage.error_of(answer) is Code.txSOROBAN_INVALID
    assert "memo or muxed source" in diagnosis(answer)

    muxed = stage.ready_transfer(1)
    muxed.transaction.source = MuxedAccount(stage.sponsor.public_key, 5)
    muxed.signatures.clear()
    assert refusal(stage, signed(muxed, stage.sponsor)) is Code.txSOROBAN_INVALID


def _set(path: str, value: Any) -> Callable[[sdk.SorobanTransactionData], None]:
    *parents, name = path.split(".")

    def change(data: sdk.SorobanTransactionData) -> None:
        target = data
        for parent in parents:
            target = getattr(target, parent)
        setattr(target, name, value)

    return change


def _duplicate(data: sdk.SorobanTransactionData) -> None:
    footprint = data.resources.footprint
    footprint.read_only.append(footprint.read_write[0])


def _name_a_ttl(data: sdk.SorobanTransactionData) -> None:
    key = sdk.LedgerKey(sdk.LedgerEntryType.TTL, ttl=sdk.LedgerKeyTtl(sdk.Hash(b"\1" * 32)))
    data.resources.footprint.read_only.append(key)


_RESTORE_99 = sdk.SorobanTransactionDataExt(1, sdk.SorobanResourcesExtV0([sdk.Uint32(99)]))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_set("resource_fee", sdk.Int64(1_000)), "lower than the actual Soroban resource fee"),
        (_set("resource_fee", sdk.Int64(10**8)), "higher than the full transaction fee"),
        (_set("resources.instructions", sdk.Uint32(400_000_001)), "instructions resources"),
        (_set("resources.write_bytes", sdk.Uint32(132_097)), "byte-write resources exceed"),
        (_set("resources.disk_read_bytes", sdk.Uint32(200_001)), "byte-read resources exceed"),
        (_duplicate, "Found duplicate key"),
        (_name_a_ttl, "unsupported ledger key type"),
        (_set("ext", _RESTORE_99), "out of bounds"),
    ],
)
def test_declared_resources(
    stage: Any, change: Callable[[sdk.SorobanTransactionData], None], says: str
) -> None:
    envelope = stage.ready_transfer(1)
    envelope.signatures.clear()
    change(envelope.transaction.soroban_data)
    answer = stage.send(signed(envelope, stage.sponsor))
    assert stage.error_of(answer) is Code.txSOROBAN_INVALID
    assert says in diagnosis(answer)


def test_a_contract_call_must_declare_resources(stage: Any) -> None:
    envelope = stage.ready_transfer(1)
    envelope.transaction.soroban_data = None
    envelope.signatures.clear()
    assert refusal(stage, signed(envelope, stage.sponsor)) is Code.txMALFORMED


def test_resource_fee_leaves_room_for_the_inclusion_fee(stage: Any) -> None:
    envelope = stage.ready_transfer(1)
    envelope.transaction.fee -= 1
    envelope.signatures.clear()
    assert refusal(stage, signed(envelope, stage.sponsor)) is Code.txINSUFFICIENT_FEE


# Fee bumps


def bump(stage: Any, inner: TransactionEnvelope, payer: Keypair, base_fee: int = 200) -> Any:
    envelope = TransactionBuilder.build_fee_bump_transaction(
        payer, base_fee, inner, stage.passphrase
    )
    envelope.sign(payer)
    return envelope


def test_a_fee_bump_pays_for_another(stage: Any) -> None:
    inner = stage.ready_transfer(5, source=stage.payer)
    payer, sponsor = stage.xlm_of(stage.payer), stage.xlm_of(stage.sponsor)
    envelope = bump(stage, inner, stage.sponsor)
    outcome = stage.apply(envelope)
    assert outcome["status"] == "SUCCESS"
    assert outcome["feeBump"] is True
    assert outcome["txHash"] == envelope.hash_hex()
    result = sdk.TransactionResult.from_xdr(outcome["resultXdr"])
    assert result.result.code is Code.txFEE_BUMP_INNER_SUCCESS
    pair = result.result.inner_result_pair
    assert pair.transaction_hash.hash == inner.hash()
    assert pair.result.fee_charged.int64 == 0
    assert stage.xlm_of(stage.payer) == payer
    assert stage.xlm_of(stage.sponsor) == sponsor - result.fee_charged.int64
    assert stage.usdc_of(stage.seller) == 1_0000000 + 5
    inside = stage.rpc("getTransaction", hash=inner.hash_hex())
    assert inside["status"] == "SUCCESS"


def test_a_fee_bump_of_a_failing_transaction_says_so(stage: Any) -> None:
    inner = stage.ready_transfer(5, source=stage.payer)
    operation = inner.transaction.operations[0]
    too_much = scval.to_int128(10**12)
    operation.host_function.invoke_contract.args[2] = too_much
    operation.auth[0].root_invocation.function.contract_fn.args[2] = too_much
    inner.signatures.clear()
    inner.sign(stage.payer)
    outcome = stage.apply(bump(stage, inner, stage.sponsor))
    assert outcome["status"] == "FAILED"
    result = sdk.TransactionResult.from_xdr(outcome["resultXdr"])
    assert result.result.code is Code.txFEE_BUMP_INNER_FAILED
    assert result.result.inner_result_pair.result.result.code is Code.txFAILED


def test_fee_bumps_that_do_not_bump(stage: Any, person: Callable[[str], Keypair]) -> None:
    inner = signed(payment(stage, fee=1_000).build(), stage.payer)
    envelope = bump(stage, inner, stage.sponsor, 1_000)
    envelope.transaction.fee = 199
    envelope.signatures.clear()
    envelope.sign(stage.sponsor)
    assert refusal(stage, envelope) is Code.txINSUFFICIENT_FEE

    envelope.transaction.fee = 1_999
    envelope.signatures.clear()
    envelope.sign(stage.sponsor)
    answer = stage.send(envelope)
    assert stage.error_of(answer) is Code.txINSUFFICIENT_FEE
    needed = sdk.TransactionResult.from_xdr(answer["errorResultXdr"]).fee_charged.int64
    assert needed == 2_000

    stranger = person("stranger")
    envelope.transaction.fee = 2_000
    envelope.signatures.clear()
    envelope.sign(stranger)
    assert refusal(stage, envelope) is Code.txBAD_AUTH
    assert refusal(stage, bump(stage, inner, stranger, 1_000)) is Code.txNO_ACCOUNT


def test_what_is_wrong_inside_a_fee_bump_is_told_inside(stage: Any) -> None:
    inner = payment(stage, sequence=stage.sequence_of(stage.payer) + 7).build()
    answer = stage.send(bump(stage, signed(inner, stage.payer), stage.sponsor))
    assert stage.error_of(answer) is Code.txFEE_BUMP_INNER_FAILED
    result = sdk.TransactionResult.from_xdr(answer["errorResultXdr"]).result
    assert result.inner_result_pair.result.result.code is Code.txBAD_SEQ


def test_inside_a_fee_bump_the_own_fee_may_be_too_small(stage: Any) -> None:
    inner = stage.ready_transfer(5, source=stage.payer)
    fee = inner.transaction.fee
    inner.transaction.fee = 0
    inner.signatures.clear()
    inner.sign(stage.payer)
    assert refusal(stage, inner) is Code.txSOROBAN_INVALID
    envelope = bump(stage, inner, stage.sponsor)
    envelope.transaction.fee = fee + 200
    envelope.signatures.clear()
    envelope.sign(stage.sponsor)
    assert stage.apply(envelope)["status"] == "SUCCESS"
