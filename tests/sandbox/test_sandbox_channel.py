"""The one-way channel: paying in, paying out against commitments, and what it tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from stellar_sdk import Address, scval
from stellar_sdk import xdr as sdk

from tests.sandbox.channels import (
    BAD_SIGNATURE,
    DEPOSIT,
    NEGATIVE_AMOUNT,
    NOT_ENOUGH,
    WAITING_PERIOD,
    Channels,
    commitment,
)

if TYPE_CHECKING:
    from conftest import Stage


# Opening and topping up


def test_opening_takes_the_deposit_and_says_on_which_terms(stage: Stage) -> None:
    channels = Channels(stage)
    before = stage.usdc_of(stage.payer)
    channel = channels.open()
    assert stage.usdc_of(channel) == DEPOSIT
    assert stage.usdc_of(stage.payer) == before - DEPOSIT
    assert channels.events() == [
        ("transfer", DEPOSIT),
        (
            "open",
            {
                "amount": DEPOSIT,
                "commitment_key": channels.key.raw_public_key(),
                "from": Address(stage.payer.public_key),
                "refund_waiting_period": WAITING_PERIOD,
                "to": Address(stage.seller.public_key),
                "token": Address(stage.usdc),
            },
        ),
    ]


def test_a_channel_can_be_opened_empty_by_anybody(channels: Channels, stage: Stage) -> None:
    envelope = channels.opening_call(amount=0)
    assert stage.simulate(envelope)["results"][0]["auth"] == []
    channel = channels.open(amount=0)
    assert [name for name, _ in channels.events()] == ["open"]
    assert channels.ask(channel, "deposited") == 0
    channels.do(channel, "top_up", scval.to_int128(7))
    assert channels.ask(channel, "deposited") == 7


def test_topping_up_is_a_transfer_and_nothing_else(channels: Channels, channel: str) -> None:
    channels.do(channel, "top_up", scval.to_int128(250))
    assert channels.events() == [("transfer", 250)]
    assert channels.ask(channel, "balance") == DEPOSIT + 250


def test_topping_up_by_nothing_does_nothing(channels: Channels, channel: str, stage: Stage) -> None:
    envelope = channels.call(channel, "top_up", scval.to_int128(0))
    assert stage.simulate(envelope)["results"][0]["auth"] == []
    channels.perform(envelope)
    assert channels.events() == []


def test_a_deposit_must_be_there(channels: Channels, channel: str, stage: Stage) -> None:
    too_much = stage.usdc_of(stage.payer) + 1
    top_up = channels.call(channel, "top_up", scval.to_int128(too_much))
    assert channels.error(top_up) == NOT_ENOUGH


def test_anybody_may_send_a_channel_money(channels: Channels, channel: str, stage: Stage) -> None:
    stage.succeed(stage.ready_transfer(11, to=channel))
    assert channels.ask(channel, "deposited") == DEPOSIT + 11


# Settling


def test_settling_pays_what_was_committed(channels: Channels, channel: str, stage: Stage) -> None:
    before = stage.usdc_of(stage.seller)
    channels.settle(channel, 300)
    assert channels.events() == [
        ("transfer", 300),
        ("withdraw", {"amount": 300, "to": Address(stage.seller.public_key)}),
    ]
    assert stage.usdc_of(stage.seller) == before + 300
    assert stage.usdc_of(channel) == DEPOSIT - 300
    assert channels.ask(channel, "withdrawn") == 300
    assert channels.ask(channel, "deposited") == DEPOSIT


def test_settling_again_pays_the_difference(channels: Channels, channel: str, stage: Stage) -> None:
    channels.settle(channel, 200)
    channels.settle(channel, 300)
    assert channels.events() == [
        ("transfer", 100),
        ("withdraw", {"amount": 100, "to": Address(stage.seller.public_key)}),
    ]
    assert channels.ask(channel, "withdrawn") == 300


@pytest.mark.parametrize("amount", [300, 299, 0])
def test_an_older_commitment_pays_nothing(channels: Channels, channel: str, amount: int) -> None:
    channels.settle(channel, 300)
    channels.settle(channel, amount)
    assert channels.events() == []
    assert channels.ask(channel, "withdrawn") == 300


@pytest.mark.parametrize("function", ["settle", "close"])
def test_only_the_recipient_is_paid(
    channels: Channels, channel: str, stage: Stage, function: str
) -> None:
    envelope = channels.paying(channel, function, 300)
    (encoded,) = stage.simulate(envelope)["results"][0]["auth"]
    entry = sdk.SorobanAuthorizationEntry.from_xdr(encoded)
    assert entry.credentials.address is not None
    asked = Address.from_xdr_sc_address(entry.credentials.address.address)
    assert asked.address == stage.seller.public_key
    assert entry.root_invocation.sub_invocations == []
    stage.authorize(envelope, stage.payer)
    assert channels.error(envelope) == "Error(Auth, InvalidAction)"


@pytest.mark.parametrize("function", ["settle", "close"])
class TestBadCommitments:
    def test_of_another_amount(self, channels: Channels, channel: str, function: str) -> None:
        signature = channels.sign(channel, 300)
        assert channels.error(channels.paying(channel, function, 301, signature)) == BAD_SIGNATURE

    def test_of_another_channel(self, channels: Channels, channel: str, function: str) -> None:
        other = channels.open(b"\1" * 32)
        signature = channels.sign(other, 300)
        assert channels.error(channels.paying(channel, function, 300, signature)) == BAD_SIGNATURE

    def test_of_another_network(self, channels: Channels, channel: str, function: str) -> None:
        foreign = commitment("Public Global Stellar Network ; September 2015", channel, 300)
        signature = channels.key.sign(foreign)
        assert channels.error(channels.paying(channel, function, 300, signature)) == BAD_SIGNATURE

    def test_by_another_key(
        self, channels: Channels, channel: str, stage: Stage, function: str
    ) -> None:
        signature = stage.payer.sign(commitment(stage.passphrase, channel, 300))
        assert channels.error(channels.paying(channel, function, 300, signature)) == BAD_SIGNATURE

    def test_a_signature_counts_even_where_nothing_is_paid(
        self, channels: Channels, channel: str, function: str
    ) -> None:
        assert channels.error(channels.paying(channel, function, 0, bytes(64))) == BAD_SIGNATURE

    def test_of_less_than_nothing(self, channels: Channels, channel: str, function: str) -> None:
        signature = channels.sign(channel, -1)
        assert channels.error(channels.paying(channel, function, -1, signature)) == NEGATIVE_AMOUNT

    def test_of_more_than_there_is(self, channels: Channels, channel: str, function: str) -> None:
        assert channels.error(channels.paying(channel, function, DEPOSIT + 1)) == NOT_ENOUGH

    def test_are_looked_at_after_the_authorization(
        self, channels: Channels, channel: str, stage: Stage, function: str
    ) -> None:
        envelope = channels.paying(channel, function, 300)
        stage.authorize(envelope, stage.payer)
        operation: Any = envelope.transaction.operations[0]
        operation.host_function.invoke_contract.args[1] = scval.to_bytes(bytes(64))
        assert channels.error(envelope) == "Error(Auth, InvalidAction)"


@pytest.mark.parametrize("function", ["top_up", "prepare_commitment"])
def test_negative_amounts(channels: Channels, channel: str, function: str) -> None:
    envelope = channels.call(channel, function, scval.to_int128(-1))
    assert channels.error(envelope) == NEGATIVE_AMOUNT


# Looking


def test_what_a_channel_tells(channels: Channels, channel: str, stage: Stage) -> None:
    assert channels.ask(channel, "token") == Address(stage.usdc)
    assert channels.ask(channel, "from") == Address(stage.payer.public_key)
    assert channels.ask(channel, "to") == Address(stage.seller.public_key)
    assert channels.ask(channel, "refund_waiting_period") == WAITING_PERIOD
    assert channels.ask(channel, "balance") == DEPOSIT
    assert channels.ask(channel, "deposited") == DEPOSIT
    assert channels.ask(channel, "withdrawn") == 0
    amount = 2**127 - 1
    prepared = channels.ask(channel, "prepare_commitment", scval.to_int128(amount))
    assert prepared == commitment(stage.passphrase, channel, amount)
    assert len(prepared) == 192
