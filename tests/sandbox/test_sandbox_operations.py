"""Classic operations: what they do, and how each of them fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from stellar_sdk import (
    Asset,
    AuthorizationFlag,
    IdMemo,
    Keypair,
    Signer,
    TransactionEnvelope,
    TrustLineFlags,
    scval,
)
from stellar_sdk import xdr as sdk

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def issuer(stage: Any, person: Callable[[str], Keypair]) -> Keypair:
    stage.sandbox.fund(person("issuer").public_key)
    return person("issuer")


@pytest.fixture
def gold(issuer: Keypair) -> Asset:
    return Asset("GOLD", issuer.public_key)


def play(stage: Any, source: Keypair, *operations: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """Apply operations named as the builder's ``append_*_op`` methods."""
    builder = stage.builder(source)
    for name, arguments in operations:
        getattr(builder, f"append_{name}_op")(**arguments)
    envelope = builder.build()
    envelope.sign(source)
    return stage.apply(envelope)


def code_of(stage: Any, source: Keypair, name: str, **arguments: Any) -> int:
    """The result code of one operation, wherever it is refused."""
    builder = stage.builder(source)
    getattr(builder, f"append_{name}_op")(**arguments)
    envelope = builder.build()
    envelope.sign(source)
    answer = stage.send(envelope)
    if answer["status"] == "ERROR":
        encoded = answer["errorResultXdr"]
    else:
        stage.sandbox.close_ledger()
        encoded = stage.outcome(envelope)["resultXdr"]
    (result,) = sdk.TransactionResult.from_xdr(encoded).result.results
    assert result.code is sdk.OperationResultCode.opINNER
    inner = next(
        value
        for attribute, value in vars(result.tr).items()
        if attribute.endswith("_result") and value is not None
    )
    return inner.code.value


def test_create_account(stage: Any, person: Callable[[str], Keypair]) -> None:
    newcomer = person("newcomer")
    before = stage.xlm_of(stage.payer)
    arguments = {"destination": newcomer.public_key, "starting_balance": "5"}
    assert play(stage, stage.payer, ("create_account", arguments))["status"] == "SUCCESS"
    assert stage.xlm_of(newcomer) == 5_0000000
    assert stage.xlm_of(stage.payer) == before - 5_0000000 - 100
    account = stage.account(newcomer)
    assert account.thresholds.thresholds == b"\1\0\0\0"
    assert account.seq_num.sequence_number.int64 == stage.sandbox.sequence << 32

    assert code_of(stage, stage.payer, "create_account", **arguments) == -4
    other = {"destination": person("other").public_key}
    create = {"name": "create_account"}
    assert code_of(stage, stage.payer, **create, **other, starting_balance="0.9999999") == -3
    assert code_of(stage, stage.payer, **create, **other, starting_balance="10000") == -2
    self_made = {"destination": stage.payer.public_key, "starting_balance": "5"}
    assert code_of(stage, stage.payer, "create_account", **self_made) == -1


def test_payment_of_xlm(stage: Any, person: Callable[[str], Keypair]) -> None:
    def pay(to: str, amount: str) -> int:
        return code_of(
            stage, stage.payer, "payment", destination=to, asset=Asset.native(), amount=amount
        )

    assert pay(stage.seller.public_key, "2") == 0
    assert stage.xlm_of(stage.seller) == 10_002_0000000
    assert pay(person("nobody").public_key, "2") == -5
    assert pay(stage.seller.public_key, "9998") == -2
    assert pay(stage.payer.public_key, "1000000") == 0  # to oneself: nothing moves


def test_payment_of_an_asset(
    stage: Any, issuer: Keypair, gold: Asset, person: Callable[[str], Keypair]
) -> None:
    def pay(source: Keypair, to: Keypair, amount: str) -> int:
        arguments = {"destination": to.public_key, "asset": gold, "amount": amount}
        return code_of(stage, source, "payment", **arguments)

    assert pay(issuer, stage.payer, "5") == -6
    play(stage, stage.payer, ("change_trust", {"asset": gold, "limit": "10"}))
    assert pay(issuer, stage.payer, "10.0000001") == -8
    assert pay(issuer, stage.payer, "10") == 0
    assert pay(stage.payer, stage.seller, "1") == -6
    assert pay(stage.seller, stage.payer, "1") == -8  # the receiver's side fails first
    assert pay(stage.payer, issuer, "4") == 0
    assert pay(stage.seller, stage.payer, "1") == -3
    assert pay(stage.payer, issuer, "7") == -2
    assert pay(stage.payer, person("nobody"), "1") == -5


def test_events_of_payments(stage: Any, issuer: Keypair, gold: Asset) -> None:
    def events(source: Keypair, to: str, memo: int | None = None) -> list[Any]:
        builder = stage.builder(source)
        builder.append_payment_op(to, gold, "0.0000003")
        if memo is not None:
            builder.add_memo(IdMemo(memo))
        envelope = builder.build()
        envelope.sign(source)
        outcome = stage.succeed(envelope)
        (event,) = outcome["events"]["contractEventsXdr"][0]
        body = sdk.ContractEvent.from_xdr(event).body.v0
        return [scval.to_native(body.topics[0]), scval.to_native(body.data)]

    for who in (stage.payer, stage.seller):
        play(stage, who, ("change_trust", {"asset": gold}))
    assert events(issuer, stage.payer.public_key) == ["mint", 3]
    assert events(stage.payer, stage.seller.public_key) == ["transfer", 3]
    assert events(stage.seller, issuer.public_key) == ["burn", 3]
    with_memo = events(issuer, stage.payer.public_key, memo=9)
    assert with_memo == ["mint", {"amount": 3, "to_muxed_id": 9}]


def test_change_trust(stage: Any, issuer: Keypair, gold: Asset) -> None:
    def trust(source: Keypair, limit: str, asset: Asset = gold) -> int:
        return code_of(stage, source, "change_trust", asset=asset, limit=limit)

    before = stage.account(stage.payer).num_sub_entries.uint32
    assert trust(stage.payer, "0") == -3
    assert trust(stage.payer, "10") == 0
    assert stage.account(stage.payer).num_sub_entries.uint32 == before + 1
    arguments = {"destination": stage.payer.public_key, "asset": gold, "amount": "4"}
    assert code_of(stage, issuer, "payment", **arguments) == 0
    assert trust(stage.payer, "3") == -3
    assert trust(stage.payer, "0") == -3
    assert trust(stage.payer, "4") == 0
    arguments["destination"] = issuer.public_key
    assert code_of(stage, stage.payer, "payment", **arguments) == 0
    assert trust(stage.payer, "0") == 0
    assert stage.account(stage.payer).num_sub_entries.uint32 == before
    assert trust(issuer, "1") == -1
    unknown = Asset("GOLD", Keypair.random().public_key)
    assert trust(stage.payer, "1", unknown) == -2


def test_reserves(stage: Any, gold: Asset, person: Callable[[str], Keypair]) -> None:
    poor = person("poor")
    stage.sandbox.fund(poor.public_key, xlm="1.9999999")
    assert code_of(stage, poor, "change_trust", asset=gold) == -4
    assert code_of(stage, poor, "manage_data", data_name="a", data_value="b") == -3
    signer = Signer.ed25519_public_key(stage.seller.public_key, 1)
    assert code_of(stage, poor, "set_options", signer=signer) == -1


def test_trustlines_of_an_issuer_that_must_approve(
    stage: Any, issuer: Keypair, gold: Asset
) -> None:
    required = AuthorizationFlag.AUTHORIZATION_REQUIRED
    assert code_of(stage, issuer, "set_options", set_flags=required) == 0
    play(stage, stage.payer, ("change_trust", {"asset": gold}))
    mint = {"destination": stage.payer.public_key, "asset": gold, "amount": "4"}
    assert code_of(stage, issuer, "payment", **mint) == -7

    def flags(**change: Any) -> int:
        return code_of(
            stage,
            issuer,
            "set_trust_line_flags",
            trustor=stage.payer.public_key,
            asset=gold,
            **change,
        )

    authorized = TrustLineFlags.AUTHORIZED_FLAG
    assert flags(set_flags=authorized) == 0
    assert code_of(stage, issuer, "payment", **mint) == 0
    assert flags(clear_flags=authorized) == -3
    assert flags(set_flags=authorized, clear_flags=authorized) == -1
    revocable = AuthorizationFlag.AUTHORIZATION_REVOCABLE
    assert code_of(stage, issuer, "set_options", set_flags=revocable) == 0
    assert flags(clear_flags=authorized) == 0
    out = {"destination": issuer.public_key, "asset": gold, "amount": "1"}
    assert code_of(stage, stage.payer, "payment", **out) == -4


def test_set_options(stage: Any) -> None:
    def options(**change: Any) -> int:
        return code_of(stage, stage.payer, "set_options", **change)

    assert options(home_domain="example.com") == 0
    domain = stage.account(stage.payer).home_domain
    assert domain.to_xdr_bytes()[4:].startswith(b"example.com")
    assert options(home_domain="bad\x07domain") == -9
    required = AuthorizationFlag.AUTHORIZATION_REQUIRED
    assert options(set_flags=required, clear_flags=required) == -3
    assert options(med_threshold=256) == -7
    assert options(signer=Signer.ed25519_public_key(stage.payer.public_key, 1)) == -8
    assert options(signer=Signer.ed25519_public_key(stage.seller.public_key, 256)) == -8
    assert options(inflation_dest=Keypair.random().public_key) == -4
    assert options(set_flags=AuthorizationFlag.AUTHORIZATION_CLAWBACK_ENABLED) == -10
    assert options(set_flags=AuthorizationFlag.AUTHORIZATION_IMMUTABLE) == 0
    assert options(clear_flags=AuthorizationFlag.AUTHORIZATION_IMMUTABLE) == -5


def test_signers_come_and_go(stage: Any) -> None:
    signers = [Keypair.random() for _ in range(21)]
    before = stage.account(stage.payer).num_sub_entries.uint32
    for signer in signers[:20]:
        added = Signer.ed25519_public_key(signer.public_key, 1)
        assert code_of(stage, stage.payer, "set_options", signer=added) == 0
    keys = [item.key.ed25519.uint256 for item in stage.account(stage.payer).signers]
    assert keys == sorted(keys)
    assert stage.account(stage.payer).num_sub_entries.uint32 == before + 20
    one_more = Signer.ed25519_public_key(signers[20].public_key, 1)
    assert code_of(stage, stage.payer, "set_options", signer=one_more) == -2
    changed = Signer.ed25519_public_key(signers[0].public_key, 7)
    assert code_of(stage, stage.payer, "set_options", signer=changed) == 0
    removed = Signer.ed25519_public_key(signers[0].public_key, 0)
    assert code_of(stage, stage.payer, "set_options", signer=removed) == 0
    assert len(stage.account(stage.payer).signers) == 19


def test_manage_data(stage: Any) -> None:
    def data(name: str, value: str | None) -> int:
        return code_of(stage, stage.payer, "manage_data", data_name=name, data_value=value)

    before = stage.account(stage.payer).num_sub_entries.uint32
    assert data("colour", "red") == 0
    assert data("colour", "blue") == 0
    assert stage.account(stage.payer).num_sub_entries.uint32 == before + 1
    assert data("shape", None) == -2
    assert data("bad\x07name", "x") == -4
    assert data("colour", None) == 0
    assert stage.account(stage.payer).num_sub_entries.uint32 == before


def test_bump_sequence(stage: Any) -> None:
    current = stage.sequence_of(stage.payer)
    assert code_of(stage, stage.payer, "bump_sequence", bump_to=current + 100) == 0
    assert stage.sequence_of(stage.payer) == current + 100
    assert code_of(stage, stage.payer, "bump_sequence", bump_to=1) == 0
    assert stage.sequence_of(stage.payer) == current + 101


def test_all_operations_or_none(stage: Any) -> None:
    before = stage.xlm_of(stage.seller)
    pay = {"destination": stage.seller.public_key, "asset": Asset.native(), "amount": "1"}
    fail = {"destination": Keypair.random().public_key, "asset": Asset.native(), "amount": "1"}
    sequence, xlm = stage.sequence_of(stage.payer), stage.xlm_of(stage.payer)
    outcome = play(stage, stage.payer, ("payment", pay), ("payment", fail), ("payment", pay))
    assert outcome["status"] == "FAILED"
    result = sdk.TransactionResult.from_xdr(outcome["resultXdr"])
    codes = [item.tr.payment_result.code.value for item in result.result.results]
    assert codes == [0, -5, 0]
    assert stage.xlm_of(stage.seller) == before
    assert stage.sequence_of(stage.payer) == sequence + 1
    assert stage.xlm_of(stage.payer) == xlm - 300
    meta = sdk.TransactionMeta.from_xdr(outcome["resultMetaXdr"]).v4
    assert meta.operations == []


def test_operations_of_other_accounts(stage: Any) -> None:
    builder = stage.builder(stage.sponsor)
    builder.append_payment_op(
        stage.seller.public_key, Asset.native(), "3", source=stage.payer.public_key
    )
    envelope: TransactionEnvelope = builder.build()
    envelope.sign(stage.sponsor)
    answer = stage.send(envelope)
    assert answer["status"] == "ERROR"
    envelope.sign(stage.payer)
    before = stage.xlm_of(stage.payer)
    stage.succeed(envelope)
    assert stage.xlm_of(stage.payer) == before - 3_0000000


def test_an_account_created_on_the_way_can_act_at_once(
    stage: Any, person: Callable[[str], Keypair]
) -> None:
    newcomer = person("newcomer")
    builder = stage.builder(stage.payer)
    builder.append_create_account_op(newcomer.public_key, "50")
    builder.append_set_options_op(home_domain="new.example", source=newcomer.public_key)
    envelope = builder.build()
    envelope.sign(stage.payer)
    envelope.sign(newcomer)
    assert stage.send(envelope)["status"] == "PENDING"
    stage.sandbox.close_ledger()
    outcome = stage.outcome(envelope)
    assert outcome["status"] == "SUCCESS"
