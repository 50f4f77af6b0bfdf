"""The one-way channel: what each function does, what it announces, and how it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from stellar_sdk import Address, Asset, StrKey, scval
from stellar_sdk import xdr as sdk

from tests.sandbox.channels import DEPOSIT, WAITING_PERIOD, Channels, commitment

if TYPE_CHECKING:
    from conftest import Stage

NEGATIVE_AMOUNT = "Error(Contract, #1)"
NOT_CLOSED = "Error(Contract, #2)"
TOO_EARLY = "Error(Contract, #3)"
ALREADY_CLOSED = "Error(Contract, #4)"
NOT_ENOUGH = "Error(Contract, #10)"
BAD_SIGNATURE = "Error(Crypto, InvalidInput)"
PANIC = "Error(WasmVm, InvalidAction)"


@pytest.fixture
def channels(stage: Stage) -> Channels:
    return Channels(stage)


@pytest.fixture
def channel(channels: Channels) -> str:
    """A channel with 500 deposited and a hundred ledgers to wait."""
    return channels.open()


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


# Closing


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


# Odd calls


@pytest.mark.parametrize(
    ("function", "args", "error"),
    [
        pytest.param("settled", [], "Error(WasmVm, MissingValue)", id="no such function"),
        pytest.param("settle", [], "Error(WasmVm, UnexpectedSize)", id="no arguments"),
        pytest.param(
            "refund", [scval.to_void()], "Error(WasmVm, UnexpectedSize)", id="an argument too many"
        ),
        pytest.param(
            "refund", [scval.to_void()] * 33, "Error(WasmVm, InvalidInput)", id="far too many"
        ),
        pytest.param("top_up", [scval.to_int64(1)], PANIC, id="a number too small"),
        pytest.param("top_up", [scval.to_void()], PANIC, id="no number"),
        pytest.param(
            "settle",
            [scval.to_int128(1), scval.to_bytes(bytes(63))],
            PANIC,
            id="a signature too short",
        ),
        pytest.param("__constructor", [], "Error(Context, InvalidAction)", id="reserved"),
    ],
)
def test_odd_calls(
    channels: Channels, channel: str, function: str, args: list[sdk.SCVal], error: str
) -> None:
    assert channels.error(channels.call(channel, function, *args)) == error


def test_a_token_that_is_none(channels: Channels, stage: Stage) -> None:
    """It shows when the channel calls it, not before."""
    account = channels.open(b"\1" * 32, token=stage.payer, amount=0)
    assert channels.error(channels.call(account, "balance")) == "Error(Object, InvalidInput)"
    nothing = StrKey.encode_contract(b"\7" * 32)
    missing = channels.open(b"\2" * 32, token=nothing, amount=0)
    assert channels.error(channels.call(missing, "balance")) == "Error(Storage, MissingValue)"
    other = channels.open(b"\3" * 32, token=channels.factory, amount=0)
    assert channels.error(channels.call(other, "balance")) == "Error(WasmVm, MissingValue)"
    itself = channels.open(b"\4" * 32, token=other, amount=0)
    assert channels.error(channels.call(itself, "balance")) == "Error(WasmVm, UnexpectedSize)"


def test_a_key_that_is_no_point(channels: Channels) -> None:
    channel = channels.open(key=b"\2" * 32)
    assert channels.error(channels.paying(channel, "settle", 1)) == BAD_SIGNATURE


def test_a_failure_on_the_ledger_says_why_in_its_diagnostics(
    channels: Channels, channel: str, stage: Stage
) -> None:
    late = channels.ready(channels.call(channel, "close_start", source=stage.payer))
    channels.close(channel, 300)
    outcome = stage.apply(late)
    assert outcome["status"] == "FAILED"
    result = sdk.TransactionResult.from_xdr(outcome["resultXdr"]).result.results[0].tr
    trapped = sdk.InvokeHostFunctionResultCode.INVOKE_HOST_FUNCTION_TRAPPED
    assert result.invoke_host_function_result.code is trapped
    errors = [
        topics[1].error.contract_code.uint32
        for topics in map(_topics, outcome["diagnosticEventsXdr"])
        if scval.to_native(topics[0]) == "error"
    ]
    assert errors == [4]
    assert channels.events() == []


def _topics(encoded: str) -> list[sdk.SCVal]:
    return sdk.DiagnosticEvent.from_xdr(encoded).event.body.v0.topics


def _closes_at(channels: Channels, channel: str) -> object:
    storage = channels.instance(channel).storage
    assert storage is not None
    stored = {str(scval.to_native(e.key)): scval.to_native(e.val) for e in storage.sc_map}
    return stored["['CloseEffectiveAtLedger']"]


def _usdc(stage: Stage) -> Asset:
    return Asset("USDC", stage.sandbox.usdc_issuer.public_key)


def _decimal(units: int) -> str:
    return f"{units // 10**7}.{units % 10**7:07}"
