"""Calls of channels: what is written is what the network takes, and is read again exactly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stellar_sdk import Address, Keypair, StrKey, scval, xdr

from mpp_asgi.stellar.channel_calls import (
    NotTheCallError,
    Opening,
    TopUp,
    close_call,
    close_start_call,
    read_opening,
    read_top_up,
    refund_call,
    settle_call,
)
from mpp_asgi.stellar.invocation import Call, contract_call, host_function
from mpp_asgi.stellar.network import TESTNET
from mpp_asgi.stellar.transfer import Transfer, transfer_call

PASSPHRASE = TESTNET.passphrase
FACTORY = StrKey.encode_contract(bytes(31) + b"f")
TOKEN = StrKey.encode_contract(bytes(31) + b"t")
CHANNEL = StrKey.encode_contract(bytes(31) + b"c")
FUNDER = Keypair.from_raw_ed25519_seed(bytes(31) + b"f").public_key
RECIPIENT = Keypair.from_raw_ed25519_seed(bytes(31) + b"r").public_key
BY_FACTORY = Opening(
    factory=FACTORY,
    wasm_hash=None,
    salt=bytes(range(32)),
    token=TOKEN,
    funder=FUNDER,
    key=bytes(range(1, 33)),
    recipient=RECIPIENT,
    amount=500,
    waiting_period=17_280,
)
BY_FUNDER = replace(BY_FACTORY, factory=None, wasm_hash="11" * 32)


@pytest.mark.parametrize("opening", [BY_FACTORY, BY_FUNDER], ids=["factory", "funder"])
@pytest.mark.parametrize("amount", [0, 1, 2**127 - 1])
def test_openings_are_read_as_they_were_written(opening: Opening, amount: int) -> None:
    opening = replace(opening, amount=amount)
    assert read_opening(host_function(opening.call(PASSPHRASE))) == opening


@given(amount=st.integers(0, 2**127 - 1))
@settings(max_examples=30, deadline=None)
def test_top_ups_are_read_as_they_were_written(amount: int) -> None:
    top_up = TopUp(channel=CHANNEL, amount=amount)
    assert read_top_up(host_function(top_up.call(token=TOKEN, funder=FUNDER))) == top_up


@pytest.mark.parametrize("opening", [BY_FACTORY, BY_FUNDER], ids=["factory", "funder"])
def test_the_deposit_is_all_that_is_allowed_below(opening: Opening) -> None:
    channel = opening.channel(PASSPHRASE)
    (constructor,) = opening.call(PASSPHRASE).sub_invocations
    assert constructor.function.contract_fn is not None
    (deposit,) = constructor.sub_invocations
    assert deposit == transfer_call(Transfer(TOKEN, FUNDER, channel, 500))
    assert replace(opening, amount=0).call(PASSPHRASE).sub_invocations == []


def test_a_channels_address_depends_on_deployer_salt_and_network() -> None:
    addresses = {
        BY_FACTORY.channel(PASSPHRASE),
        BY_FACTORY.channel("another network"),
        BY_FUNDER.channel(PASSPHRASE),
        replace(BY_FACTORY, salt=bytes(32)).channel(PASSPHRASE),
        replace(BY_FACTORY, factory=CHANNEL).channel(PASSPHRASE),
    }
    assert len(addresses) == 5
    assert replace(BY_FACTORY, amount=7, key=bytes(32)).channel(PASSPHRASE) in addresses


@pytest.mark.parametrize(
    ("call", "function", "args"),
    [
        (close_start_call(CHANNEL), b"close_start", []),
        (refund_call(CHANNEL), b"refund", []),
        (settle_call(CHANNEL, 5, bytes(64)), b"settle", [5, bytes(64)]),
        (close_call(CHANNEL, 5, bytes(64)), b"close", [5, bytes(64)]),
    ],
)
def test_the_other_calls(call: Call, function: bytes, args: list[Any]) -> None:
    called = call.function.contract_fn
    assert called is not None
    assert called.function_name.sc_symbol == function
    assert [scval.to_native(arg) for arg in called.args] == args
    assert call.sub_invocations == []


# What is none of them

TERMS = BY_FACTORY._terms()
SALT = scval.to_bytes(BY_FACTORY.salt)


def called(function: str, *args: xdr.SCVal) -> xdr.HostFunction:
    return host_function(contract_call(FACTORY, function, args))


def called_account(function: str, *args: xdr.SCVal) -> xdr.HostFunction:
    odd = called(function, *args)
    assert odd.invoke_contract is not None
    odd.invoke_contract.contract_address = Address(FUNDER).to_xdr_sc_address()
    return odd


def with_term(place: int, value: xdr.SCVal) -> xdr.HostFunction:
    terms = list(TERMS)
    terms[place] = value
    return called("open", SALT, *terms)


def deployed(**changes: Any) -> xdr.HostFunction:
    function = host_function(BY_FUNDER.call(PASSPHRASE))
    created = function.create_contract_v2
    assert created is not None
    for name, value in changes.items():
        setattr(created, name, value)
    return function


UPLOAD = xdr.HostFunction(
    xdr.HostFunctionType.HOST_FUNCTION_TYPE_UPLOAD_CONTRACT_WASM, wasm=b"code"
)
BY_ANOTHER = deployed()
assert BY_ANOTHER.create_contract_v2 is not None
BY_ANOTHER.create_contract_v2.contract_id_preimage = xdr.ContractIDPreimage(
    xdr.ContractIDPreimageType.CONTRACT_ID_PREIMAGE_FROM_ADDRESS,
    from_address=xdr.ContractIDPreimageFromAddress(
        Address(RECIPIENT).to_xdr_sc_address(),
        xdr.Uint256(bytes(32)),
    ),
)
ASSET_CODE = xdr.ContractExecutable(xdr.ContractExecutableType.CONTRACT_EXECUTABLE_STELLAR_ASSET)
NO_OPENINGS = {
    "an upload": (UPLOAD, "host function is"),
    "another function": (called("close", SALT, *TERMS), "calls 'close'"),
    "too few arguments": (called("open", *TERMS), "with 6 arguments"),
    "too many arguments": (called("open", SALT, *TERMS, SALT), "with 8 arguments"),
    "a long salt": (called("open", scval.to_bytes(bytes(33)), *TERMS), "arguments are not"),
    "no salt": (called("open", scval.to_void(), *TERMS), "arguments are not"),
    "no token": (with_term(0, scval.to_void()), "arguments are not"),
    "no funder": (with_term(1, scval.to_symbol("me")), "arguments are not"),
    "a short key": (with_term(2, scval.to_bytes(bytes(31))), "arguments are not"),
    "no recipient": (with_term(3, scval.to_bytes(bytes(32))), "arguments are not"),
    "a negative amount": (with_term(4, scval.to_int128(-1)), "arguments are not"),
    "an amount of another kind": (with_term(4, scval.to_uint128(1)), "arguments are not"),
    "a long waiting period": (with_term(5, scval.to_uint64(1)), "arguments are not"),
    "an account": (called_account("open", SALT, *TERMS), "arguments are not"),
    "a deployment by another": (BY_ANOTHER, "by another than its funder"),
    "a deployment without terms": (deployed(constructor_args=[]), "not a channel"),
    "a deployment of a token": (deployed(executable=ASSET_CODE), "not a channel"),
}


@pytest.mark.parametrize(("function", "says"), NO_OPENINGS.values(), ids=NO_OPENINGS)
def test_what_opens_no_channel(function: xdr.HostFunction, says: str) -> None:
    with pytest.raises(NotTheCallError, match=says):
        read_opening(function)


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (UPLOAD, "host function is"),
        (called("topup", scval.to_int128(1)), "calls 'topup'"),
        (called("top_up"), "with 0 arguments"),
        (called("top_up", scval.to_int128(1), scval.to_void()), "with 2 arguments"),
        (called("top_up", scval.to_int128(-1)), "arguments are not"),
        (called("top_up", scval.to_uint64(1)), "arguments are not"),
        (called_account("top_up", scval.to_int128(1)), "arguments are not"),
    ],
)
def test_what_tops_nothing_up(function: xdr.HostFunction, says: str) -> None:
    with pytest.raises(NotTheCallError, match=says):
        read_top_up(function)


@pytest.mark.parametrize(
    "change",
    [
        {"token": FUNDER + "A"},
        {"funder": "me"},
        {"recipient": ""},
        {"amount": -1},
        {"amount": 2**127},
        {"salt": bytes(31)},
        {"factory": FUNDER},
        {"waiting_period": 2**32},
    ],
    ids=str,
)
def test_impossible_openings(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the SDK's words differ
        replace(BY_FACTORY, **change).call(PASSPHRASE)
