"""Values that XDR can write but no contract may be given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from stellar_sdk import Keypair, StrKey, scval
from stellar_sdk import xdr as sdk

if TYPE_CHECKING:
    from conftest import Stage

SOMEBODY = Keypair.from_raw_ed25519_seed(bytes(range(32))).public_key


def vec(*items: sdk.SCVal) -> sdk.SCVal:
    return scval.to_vec(list(items))


def map_of(*pairs: tuple[sdk.SCVal, sdk.SCVal]) -> sdk.SCVal:
    return sdk.SCVal(
        sdk.SCValType.SCV_MAP, map=sdk.SCMap([sdk.SCMapEntry(key, value) for key, value in pairs])
    )


def nested(levels: int) -> sdk.SCVal:
    value = scval.to_void()
    for _ in range(levels):
        value = vec(value)
    return value


def pool() -> sdk.SCVal:
    address = sdk.SCAddress(
        sdk.SCAddressType.SC_ADDRESS_TYPE_LIQUIDITY_POOL,
        liquidity_pool_id=sdk.PoolID(sdk.Hash(bytes(32))),
    )
    return sdk.SCVal(sdk.SCValType.SCV_ADDRESS, address=address)


U32 = scval.to_uint32
SYMBOL = scval.to_symbol

NEVER = [
    pytest.param(SYMBOL("what?"), "Error(Value, InvalidInput)", id="symbol of other characters"),
    pytest.param(sdk.SCVal(sdk.SCValType.SCV_VEC), "Error(Value, UnexpectedType)", id="no vector"),
    pytest.param(sdk.SCVal(sdk.SCValType.SCV_MAP), "Error(Value, UnexpectedType)", id="no map"),
    pytest.param(
        map_of((U32(2), U32(0)), (U32(1), U32(0))), "Error(Object, InvalidInput)", id="unsorted map"
    ),
    pytest.param(
        map_of((U32(1), U32(0)), (U32(1), U32(0))), "Error(Object, InvalidInput)", id="key twice"
    ),
    pytest.param(
        map_of((SYMBOL("b"), U32(0)), (SYMBOL("a"), U32(0))),
        "Error(Object, InvalidInput)",
        id="unsorted symbols",
    ),
    pytest.param(
        sdk.SCVal(sdk.SCValType.SCV_LEDGER_KEY_CONTRACT_INSTANCE),
        "Error(Value, UnexpectedType)",
        id="key of an instance",
    ),
    pytest.param(pool(), "Error(Object, UnexpectedType)", id="address of a pool"),
    pytest.param(nested(101), "Error(Context, ExceededLimit)", id="too deep"),
]


def error_of(stage: Stage, *args: sdk.SCVal, function: str = "balance") -> str:
    envelope = stage.call(stage.payer, function, *args)
    return stage.simulate(envelope)["error"].splitlines()[0].removeprefix("HostError: ")


@pytest.mark.parametrize(("value", "error"), NEVER)
def test_what_no_contract_is_given(stage: Stage, value: sdk.SCVal, error: str) -> None:
    assert error_of(stage, value) == error
    assert error_of(stage, vec(U32(1), value)) == error
    assert error_of(stage, map_of((U32(1), value))) == error


@pytest.mark.parametrize(("value", "error"), NEVER)
def test_what_no_signature_is(stage: Stage, value: sdk.SCVal, error: str) -> None:
    envelope = stage.authorize(stage.transfer(), stage.payer)
    credentials = envelope.transaction.operations[0].auth[0].credentials.address
    credentials.signature = value
    result = stage.simulate(envelope)["error"]
    assert result.splitlines()[0] == f"HostError: {error}"


@pytest.mark.parametrize(
    "value",
    [
        *(U32(1), scval.to_void(), scval.to_bool(True), scval.to_string("x"), SYMBOL("x")),
        *(scval.to_bytes(b"x"), scval.to_int128(1), scval.to_uint256(1), vec(), map_of()),
        map_of((U32(1), U32(0)), (U32(2), U32(0)), (scval.to_string("a"), U32(1))),
        nested(99),
    ],
)
def test_what_this_function_is_not_given(stage: Stage, value: sdk.SCVal) -> None:
    assert error_of(stage, value) == "Error(Value, UnexpectedType)"


@pytest.mark.parametrize("args", [[], [U32(1)] * 2])
def test_how_many_values_a_function_is_given(stage: Stage, args: list[sdk.SCVal]) -> None:
    assert error_of(stage, *args) == "Error(Context, UnexpectedSize)"


def test_names_of_functions(stage: Stage) -> None:
    address = scval.to_address(SOMEBODY)
    assert error_of(stage, address, function="balance!") == "Error(Value, InvalidInput)"
    assert error_of(stage, address, function="unheard_of") == "Error(Value, InvalidInput)"
    assert error_of(stage, address, function="__constructor") == "Error(Context, InvalidAction)"


def test_only_contracts_are_called(stage: Stage) -> None:
    envelope = stage.call(stage.payer, "balance", scval.to_address(SOMEBODY))
    operation = envelope.transaction.operations[0]
    operation.host_function.invoke_contract.contract_address = scval.to_address(SOMEBODY).address
    result = stage.simulate(envelope)["error"]
    assert result.startswith("HostError: Error(Value, UnexpectedType)")


def test_delegates_are_sorted_and_there_once(stage: Stage) -> None:
    """An account needs no delegates; but where there are some, they must be in order."""

    def delegate(address: str) -> sdk.SorobanDelegateSignature:
        return sdk.SorobanDelegateSignature(scval.to_address(address).address, U32(1), [])

    first = delegate(SOMEBODY)
    second = delegate(StrKey.encode_contract(bytes(32)))

    def outcome(*delegates: sdk.SorobanDelegateSignature) -> str | None:
        envelope = stage.authorize(stage.transfer(), stage.payer, useUpgradedAuth=True)
        entry = envelope.transaction.operations[0].auth[0]
        entry.credentials = sdk.SorobanCredentials(
            sdk.SorobanCredentialsType.SOROBAN_CREDENTIALS_ADDRESS_WITH_DELEGATES,
            address_with_delegates=sdk.SorobanAddressCredentialsWithDelegates(
                entry.credentials.address_v2, list(delegates)
            ),
        )
        result = stage.simulate(envelope)
        return result["error"].splitlines()[0] if "error" in result else None

    assert outcome() is None
    assert outcome(first, second) is None
    assert outcome(second, first) == "HostError: Error(Auth, InvalidInput)"
    assert outcome(first, first) == "HostError: Error(Auth, InvalidInput)"
