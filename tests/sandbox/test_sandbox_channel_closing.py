"""How channels end: closed by the recipient, or by the funder who has waited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from stellar_sdk import Address, Asset, scval

from tests.sandbox.channels import (
    ALREADY_CLOSED,
    DEPOSIT,
    NOT_CLOSED,
    NOT_ENOUGH,
    TOO_EARLY,
    WAITING_PERIOD,
    Channels,
)

if TYPE_CHECKING:
    from conftest import Stage


# By the recipient


def test_closing_pays_both(channels: Channels, channel: str, stage: Stage) -> None:
    funder, recipient = stage.usdc_of(stage.payer), stage.usdc_of(stage.seller)
    channels.close(channel, 300)
    assert channels.events() == [
        ("transfer", 300),
        ("withdraw", {"amount": 300, "to": Address(stage.seller.public_key)}),
        ("close", {"effective_at_ledger": stage.sandbox.sequence}),
        ("transfer", 200),
        ("refund", {"amount": 200, "from": Address(stage.payer.public_key)}),
    ]
    assert stage.usdc_of(stage.seller) == recipient + 300
    assert stage.usdc_of(stage.payer) == funder + 200
    assert stage.usdc_of(channel) == 0
    assert channels.ask(channel, "deposited") == 300


def test_closing_with_nothing_owed(channels: Channels, channel: str) -> None:
    channels.close(channel, 0)
    assert [name for name, _ in channels.events()] == ["close", "transfer", "refund"]
    assert channels.ask(channel, "withdrawn") == 0


def test_closing_with_all_owed(channels: Channels, channel: str) -> None:
    channels.close(channel, DEPOSIT)
    assert [name for name, _ in channels.events()] == ["transfer", "withdraw", "close"]


def test_closing_again_pays_what_came_in_since(
    channels: Channels, channel: str, stage: Stage
) -> None:
    channels.close(channel, 300)
    closed_at = stage.sandbox.sequence
    channels.do(channel, "top_up", scval.to_int128(250))
    channels.close(channel, 400)
    assert [name for name, _ in channels.events()] == ["transfer", "withdraw", "transfer", "refund"]
    assert channels.ask(channel, "withdrawn") == 400
    assert _closes_at(channels, channel) == closed_at


def test_closing_overrules_a_waiting_period(channels: Channels, channel: str, stage: Stage) -> None:
    channels.do(channel, "close_start")
    channels.close(channel, 300)
    assert _closes_at(channels, channel) == stage.sandbox.sequence


def test_settling_stays_possible_until_the_refund(channels: Channels, channel: str) -> None:
    channels.do(channel, "close_start")
    channels.settle(channel, 100)
    channels.stage.sandbox.close_ledger(WAITING_PERIOD)
    channels.settle(channel, 200)
    channels.do(channel, "refund")
    assert channels.events()[-1][1] == {
        "amount": DEPOSIT - 200,
        "from": Address(channels.stage.payer.public_key),
    }
    assert channels.error(channels.paying(channel, "settle", 201)) == NOT_ENOUGH


def test_a_refund_that_fails_does_not_keep_the_recipient_from_closing(stage: Stage) -> None:
    """The funder cannot be paid back, being at its limit; the recipient is paid all the same."""
    channels = Channels(stage)
    channel = channels.open()
    holding = stage.usdc_of(stage.payer)
    limit = (
        stage.builder(stage.payer).append_change_trust_op(_usdc(stage), _decimal(holding)).build()
    )
    limit.sign(stage.payer)
    stage.succeed(limit)
    channels.close(channel, 300)
    assert [name for name, _ in channels.events()] == ["transfer", "withdraw", "close"]
    assert stage.usdc_of(channel) == 200
    assert stage.usdc_of(stage.payer) == holding
    assert channels.error(channels.call(channel, "refund")) == NOT_ENOUGH
    unlimited = stage.builder(stage.payer).append_change_trust_op(_usdc(stage)).build()
    unlimited.sign(stage.payer)
    stage.succeed(unlimited)
    channels.do(channel, "refund")
    assert stage.usdc_of(stage.payer) == holding + 200


def test_a_footprint_too_small_for_the_refund_fails_all(
    channels: Channels, channel: str, stage: Stage
) -> None:
    """No contract can catch that: else whoever submits a closing could keep the refund back."""
    envelope = channels.ready(channels.paying(channel, "close", 300))
    data = envelope.transaction.soroban_data
    assert data is not None
    footprint = data.resources.footprint
    funder = stage.payer.xdr_account_id()
    footprint.read_write = [
        key
        for key in footprint.read_write
        if key.trust_line is None or key.trust_line.account_id != funder
    ]
    envelope.signatures.clear()
    envelope.sign(stage.sponsor)
    assert stage.apply(envelope)["status"] == "FAILED"
    assert channels.events() == []
    assert stage.usdc_of(channel) == DEPOSIT


def test_a_withdrawal_that_fails_leaves_all_as_it_was(channels: Channels, stage: Stage) -> None:
    channel = channels.open(period=0)
    channels.settle(channel, 100)
    late = channels.ready(channels.paying(channel, "settle", 300, source=stage.seller))
    channels.do(channel, "close_start")
    channels.do(channel, "refund")
    before = stage.usdc_of(stage.seller)
    assert stage.apply(late)["status"] == "FAILED"
    assert channels.events() == []
    assert stage.usdc_of(stage.seller) == before
    assert channels.ask(channel, "withdrawn") == 100


# The funder's way out


def test_a_closing_that_was_started_takes_effect_later(
    channels: Channels, channel: str, stage: Stage
) -> None:
    channels.do(channel, "close_start")
    effective = stage.sandbox.sequence + WAITING_PERIOD
    assert channels.events() == [("close", {"effective_at_ledger": effective})]
    stage.sandbox.close_ledger(effective - stage.sandbox.sequence - 1)
    assert channels.error(channels.call(channel, "refund")) == TOO_EARLY
    assert stage.sandbox.close_ledger() == effective
    assert channels.error(channels.call(channel, "close_start")) == ALREADY_CLOSED
    before = stage.usdc_of(stage.payer)
    channels.do(channel, "refund")
    assert channels.events() == [
        ("transfer", DEPOSIT),
        ("refund", {"amount": DEPOSIT, "from": Address(stage.payer.public_key)}),
    ]
    assert stage.usdc_of(stage.payer) == before + DEPOSIT
    assert channels.ask(channel, "deposited") == 0


def test_starting_again_waits_anew(channels: Channels, channel: str, stage: Stage) -> None:
    channels.do(channel, "close_start")
    stage.sandbox.close_ledger(50)
    channels.do(channel, "close_start")
    assert _closes_at(channels, channel) == stage.sandbox.sequence + WAITING_PERIOD


def test_starting_is_too_late_once_closed(channels: Channels, channel: str, stage: Stage) -> None:
    """And that is said before anybody is asked for authorization."""
    channels.close(channel, 300)
    envelope = channels.call(channel, "close_start")
    assert channels.error(envelope) == ALREADY_CLOSED
    operation: Any = envelope.transaction.operations[0]
    stranger = channels.ready(channels.call(channel, "refund")).transaction.operations[0]
    operation.auth = list(getattr(stranger, "auth", []))
    assert operation.auth
    assert channels.error(envelope) == ALREADY_CLOSED


def test_starting_takes_effect_at_once_without_a_period(channels: Channels, stage: Stage) -> None:
    channel = channels.open(period=0)
    channels.do(channel, "close_start")
    assert _closes_at(channels, channel) == stage.sandbox.sequence
    channels.do(channel, "refund")
    assert stage.usdc_of(channel) == 0


def test_a_period_beyond_the_last_ledger(channels: Channels) -> None:
    channel = channels.open(period=2**32 - 1)
    channels.do(channel, "close_start")
    assert channels.events() == [("close", {"effective_at_ledger": 2**32 - 1})]


@pytest.mark.parametrize("function", ["close_start", "refund", "top_up"])
def test_only_the_funder_gets_out(
    channels: Channels, channel: str, stage: Stage, function: str
) -> None:
    channels.close(channel, 300)
    if function == "close_start":
        channel = channels.open(b"\1" * 32)
    args = [scval.to_int128(1)] if function == "top_up" else []
    envelope = channels.call(channel, function, *args)
    stage.authorize(envelope, stage.seller)
    assert channels.error(envelope) == "Error(Auth, InvalidAction)"
    channels.do(channel, function, *args)


def test_no_refund_before_anything_was_closed(channels: Channels, channel: str) -> None:
    assert channels.error(channels.call(channel, "refund")) == NOT_CLOSED


def test_refunds_can_be_had_again(channels: Channels, channel: str, stage: Stage) -> None:
    channels.close(channel, 300)
    channels.do(channel, "refund")
    assert channels.events() == []
    channels.do(channel, "top_up", scval.to_int128(40))
    channels.do(channel, "refund")
    assert channels.events() == [
        ("transfer", 40),
        ("refund", {"amount": 40, "from": Address(stage.payer.public_key)}),
    ]


def _closes_at(channels: Channels, channel: str) -> object:
    storage = channels.instance(channel).storage
    assert storage is not None
    stored = {str(scval.to_native(e.key)): scval.to_native(e.val) for e in storage.sc_map}
    return stored["['CloseEffectiveAtLedger']"]


def _usdc(stage: Stage) -> Asset:
    return Asset("USDC", stage.sandbox.usdc_issuer.public_key)


def _decimal(units: int) -> str:
    return f"{units // 10**7}.{units % 10**7:07}"
