"""Channels called wrongly, with odd tokens and keys: they fail as the network's would."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from stellar_sdk import StrKey, scval
from stellar_sdk import xdr as sdk

from mpp_asgi.sandbox.contracts.registry import CONTRACTS
from mpp_asgi.sandbox.host.native import Function, Parameter
from mpp_asgi.sandbox.wire.values import VOID, i128_val, u32_val
from tests.sandbox.channels import (
    BAD_SIGNATURE,
    PANIC,
    Channels,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Stage

    from mpp_asgi.sandbox.host.guest import Guest
    from mpp_asgi.sandbox.wire.values import Val


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


def _answers(answer: Val) -> Function:
    def give(_guest: Guest, *_args: object) -> Val:
        return answer

    return Function((Parameter.ANY,) * 3, give)


def _has(amount: Val) -> Function:
    def give(_guest: Guest, _owner: object) -> Val:
        return amount

    return Function((Parameter.ANY,), give)


def test_a_token_that_answers_oddly(new_stage: Callable[..., Stage]) -> None:
    """What it returns from transfers has to be nothing, but where a failure would not matter."""
    contracts = CONTRACTS.with_wasm(
        b"\1" * 32, {"balance": _has(u32_val(9)), "transfer": _answers(VOID)}
    ).with_wasm(b"\2" * 32, {"balance": _has(i128_val(9)), "transfer": _answers(i128_val(9))})
    channels = Channels(new_stage(contracts=contracts))

    def channel_of(wasm_hash: bytes) -> str:
        builder = channels.stage.builder(channels.stage.sponsor)
        source = channels.stage.sponsor.public_key
        creation = builder.append_create_contract_op(wasm_hash, source, [], wasm_hash).build()
        token = channels.perform(creation).address
        return channels.open(wasm_hash, token=token, amount=0)

    channel = channel_of(b"\1" * 32)
    channels.do(channel, "top_up", scval.to_int128(5))
    assert channels.error(channels.call(channel, "balance")) == PANIC
    assert channels.error(channels.paying(channel, "close", 0)) == PANIC

    channel = channel_of(b"\2" * 32)
    assert channels.ask(channel, "deposited") == 9
    assert channels.error(channels.call(channel, "top_up", scval.to_int128(5))) == PANIC
    assert channels.error(channels.paying(channel, "settle", 5)) == PANIC
    channels.close(channel, 0)
    assert [name for name, _ in channels.events()] == ["close", "refund"]


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
