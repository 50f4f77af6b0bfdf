"""Contracts that call each other: who allowed what, what is undone, what is not possible.

The contract here is written for these tests; it stands for a Wasm as any contract of the sandbox.
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from stellar_sdk import Keypair, StrKey, TransactionEnvelope, scval
from stellar_sdk import xdr as sdk
from stellar_sdk.auth import authorize_entry

from mpp_asgi.sandbox.contracts.registry import CONTRACTS
from mpp_asgi.sandbox.host.errors import ErrorCode, ErrorType
from mpp_asgi.sandbox.host.native import Function, Parameter
from mpp_asgi.sandbox.wire.authorization import AuthorizedFunction, Invocation
from mpp_asgi.sandbox.wire.values import (
    VOID,
    Address,
    Kind,
    Val,
    address_val,
    bool_val,
    error_val,
    i128_val,
    symbol_val,
    u32_val,
    vec_val,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Stage

    from mpp_asgi.sandbox.host.guest import Guest

# The contract

WASM = b"\0asm of a contract written in Python"
COUNT = symbol_val("count")


def _constructor(guest: Guest, start: int) -> Val:
    if start > 100:
        guest.fail(1)
    guest.put(COUNT, u32_val(start))
    return VOID


def _count(guest: Guest) -> Val:
    value = guest.get(COUNT)
    return u32_val(0) if value is None else value


def _add(guest: Guest, amount: int) -> Val:
    guest.put(COUNT, u32_val(_count(guest).value + amount))
    return _count(guest)


def _fail_after_adding(guest: Guest, amount: int) -> Val:
    _add(guest, amount)
    guest.emit([symbol_val("added")], u32_val(amount))
    guest.fail(2)


def _pay_out(guest: Guest, token: Address, to: Address, amount: int) -> Val:
    """Pay of the contract's own: whoever calls a token directly has allowed it by that."""
    args = [address_val(guest.contract), address_val(to), i128_val(amount)]
    return guest.call(token, "transfer", args)


def _pay_for(guest: Guest, owner: Address, token: Address, to: Address, amount: int) -> Val:
    """Pay of somebody else's, who has to allow this call and the one below it."""
    guest.require_auth(owner)
    args = [address_val(owner), address_val(to), i128_val(amount)]
    return guest.call(token, "transfer", args)


def _pay_twice(guest: Guest, owner: Address, token: Address, to: Address, amount: int) -> Val:
    _pay_for(guest, owner, token, to, amount)
    return guest.call(token, "transfer", [address_val(owner), address_val(to), i128_val(amount)])


def _pass_on(
    guest: Guest, other: Address, owner: Address, token: Address, to: Address, amount: int
) -> Val:
    """Nothing of our own to allow: only the call below, or two below, needs it."""
    args = [address_val(owner), address_val(token), address_val(to), i128_val(amount)]
    return guest.call(other, "pay_for", args)


def _have_it_paid(
    guest: Guest, other: Address, token: Address, to: Address, amount: int, allowed: bool
) -> Val:
    """Another contract pays of ours; it can if we allow the call below it beforehand."""
    me, receiver = address_val(guest.contract), address_val(to)
    if allowed:
        below = AuthorizedFunction.call(token, "transfer", (me, receiver, i128_val(amount)))
        guest.allow_own([Invocation.of(below)])
    return guest.call(other, "pay_for", [me, address_val(token), receiver, i128_val(amount)])


def _attempt(guest: Guest, other: Address, amount: int) -> Val:
    """Call what fails and take it as it is; true if it did fail."""
    result = guest.try_call(other, "fail_after_adding", [u32_val(amount)])
    guest.emit([symbol_val("tried")], bool_val(result.kind is Kind.ERROR))
    return bool_val(result.kind is Kind.ERROR)


def _attempt_missing(guest: Guest, token: Address) -> Val:
    """Call a token for more than there is."""
    args = [address_val(guest.contract), address_val(guest.contract), i128_val(1)]
    (error_type, code) = guest.try_call(token, "transfer", args).value
    return vec_val([u32_val(error_type), u32_val(code)])


def _reenter(guest: Guest, other: Address) -> Val:
    return guest.call(other, "add_to", [address_val(guest.contract)])


def _add_to(guest: Guest, other: Address) -> Val:
    return guest.call(other, "add", [u32_val(1)])


def _check_auth(guest: Guest, payload: bytes, signature: Val, contexts: Val) -> Val:
    """The right password for as many calls as it says."""
    del payload
    if signature.kind is not Kind.U32 or signature.value != len(contexts.value):
        guest.fail(3)
    return VOID


def _reserved(guest: Guest, other: Address) -> Val:
    return guest.call(other, "__check_auth", [])


def _spoof(_guest: Guest) -> Val:
    return error_val(ErrorType.BUDGET, ErrorCode.EXCEEDED_LIMIT)


def _talkative_constructor(_guest: Guest) -> Val:
    return u32_val(1)


_A = Parameter.ADDRESS
_I = Parameter.I128
_U = Parameter.U32

RELAY = {
    "__constructor": Function((_U,), _constructor),
    "__check_auth": Function((Parameter.BYTES_32, Parameter.ANY, Parameter.ANY), _check_auth),
    "count": Function((), _count),
    "add": Function((_U,), _add),
    "fail_after_adding": Function((_U,), _fail_after_adding),
    "pay_out": Function((_A, _A, _I), _pay_out),
    "pay_for": Function((_A, _A, _A, _I), _pay_for),
    "pay_twice": Function((_A, _A, _A, _I), _pay_twice),
    "pass_on": Function((_A, _A, _A, _A, _I), _pass_on),
    "have_it_paid": Function((_A, _A, _A, _I, Parameter.BOOL), _have_it_paid),
    "attempt": Function((_A, _U), _attempt),
    "attempt_missing": Function((_A,), _attempt_missing),
    "reenter": Function((_A,), _reenter),
    "add_to": Function((_A,), _add_to),
    "reserved": Function((_A,), _reserved),
    "spoof": Function((), _spoof),
}
TALKATIVE = {"__constructor": Function((), _talkative_constructor)}
TALKATIVE_HASH = b"\7" * 32

# What the tests do with it


@pytest.fixture
def stage(new_stage: Callable[..., Stage]) -> Stage:
    by_wasm = {**CONTRACTS.by_wasm, sha256(WASM).digest(): RELAY}
    contracts = replace(CONTRACTS, by_wasm=by_wasm).with_wasm(TALKATIVE_HASH, TALKATIVE)
    return new_stage(contracts=contracts)


def perform(stage: Stage, envelope: TransactionEnvelope) -> Any:
    """Prepare, apply, and give the value returned."""
    stage.prepare(envelope).sign(stage.sponsor)
    outcome = stage.succeed(envelope)
    meta = sdk.TransactionMeta.from_xdr(outcome["resultMetaXdr"]).v4
    assert meta is not None
    return scval.to_native(meta.soroban_meta.return_value)


def deploy(stage: Stage, name: str, *args: sdk.SCVal) -> str:
    creation = stage.builder(stage.sponsor).append_create_contract_op(
        sha256(WASM).digest(), stage.sponsor.public_key, list(args), sha256(name.encode()).digest()
    )
    return perform(stage, creation.build()).address


@pytest.fixture
def relay(stage: Stage) -> str:
    """The contract, deployed, with a count of 5 and no money."""
    upload = stage.builder(stage.sponsor).append_upload_contract_wasm_op(WASM).build()
    assert perform(stage, upload) == sha256(WASM).digest()
    return deploy(stage, "first", scval.to_uint32(5))


def address(who: Keypair | str) -> sdk.SCVal:
    return scval.to_address(who if isinstance(who, str) else who.public_key)


def call(stage: Stage, contract: str, function: str, *args: sdk.SCVal) -> TransactionEnvelope:
    return stage.call(stage.sponsor, function, *args, contract=contract)


def error_of(stage: Stage, envelope: TransactionEnvelope) -> str:
    """The first line of the error that a simulation gives."""
    return stage.simulate(envelope)["error"].splitlines()[0].removeprefix("HostError: ")


def count(stage: Stage, contract: str) -> int:
    result = stage.simulate(call(stage, contract, "count"))["results"][0]
    return scval.from_uint32(sdk.SCVal.from_xdr(result["xdr"]))


def endow(stage: Stage, contract: str, amount: int = 1_000) -> None:
    stage.succeed(stage.ready_transfer(amount, to=contract))


def test_deploying(stage: Stage, relay: str) -> None:
    assert StrKey.is_valid_contract(relay)
    assert count(stage, relay) == 5
    again = stage.builder(stage.sponsor).append_create_contract_op(
        sha256(WASM).digest(),
        stage.sponsor.public_key,
        [scval.to_uint32(5)],
        sha256(b"first").digest(),
    )
    assert error_of(stage, again.build()) == "Error(Storage, ExistingValue)"


@pytest.mark.parametrize("args", [[], [scval.to_uint32(101)], [scval.to_bool(True)]])
def test_a_constructor_that_fails_leaves_no_contract(
    stage: Stage, relay: str, args: list[sdk.SCVal]
) -> None:
    del relay  # the code is there because of it
    creation = stage.builder(stage.sponsor).append_create_contract_op(
        sha256(WASM).digest(), stage.sponsor.public_key, args, bytes(32)
    )
    assert error_of(stage, creation.build()) == "Error(Context, InvalidAction)"


def test_a_constructor_has_nothing_to_say(stage: Stage) -> None:
    builder = stage.builder(stage.sponsor)
    creation = builder.append_create_contract_op(TALKATIVE_HASH, stage.sponsor.public_key)
    assert error_of(stage, creation.build()) == "Error(Value, UnexpectedType)"


def test_contracts_fail_with_errors_of_their_own_only(stage: Stage, relay: str) -> None:
    """Not with the host's, which could not be caught by who calls them."""
    assert error_of(stage, call(stage, relay, "spoof")) == "Error(Context, InvalidAction)"


def test_code_must_be_there_and_known(stage: Stage) -> None:
    def creation(wasm: bytes) -> TransactionEnvelope:
        builder = stage.builder(stage.sponsor)
        source = stage.sponsor.public_key
        return builder.append_create_contract_op(sha256(wasm).digest(), source).build()

    assert error_of(stage, creation(WASM)) == "Error(Storage, MissingValue)"
    other = stage.builder(stage.sponsor).append_upload_contract_wasm_op(b"\0asm").build()
    perform(stage, other)
    assert error_of(stage, creation(b"\0asm")) == "Error(WasmVm, InvalidAction)"


def test_instance_storage_is_kept(stage: Stage, relay: str) -> None:
    assert perform(stage, call(stage, relay, "add", scval.to_uint32(2))) == 7
    assert perform(stage, call(stage, relay, "add", scval.to_uint32(3))) == 10
    assert count(stage, relay) == 10


def test_a_failure_undoes_all_that_was_done(stage: Stage, relay: str) -> None:
    envelope = call(stage, relay, "fail_after_adding", scval.to_uint32(2))
    assert error_of(stage, envelope) == "Error(Contract, #2)"
    assert count(stage, relay) == 5


def test_a_failure_that_is_caught_undoes_what_lies_below(stage: Stage, relay: str) -> None:
    other = deploy(stage, "second", scval.to_uint32(1))
    envelope = call(stage, relay, "attempt", address(other), scval.to_uint32(2))
    start = stage.sandbox.sequence + 1
    assert perform(stage, envelope) is True
    assert count(stage, other) == 1
    events = stage.rpc("getEvents", startLedger=start)["events"]
    names = [scval.to_native(sdk.SCVal.from_xdr(event["topic"][0])) for event in events]
    assert names == ["fee", "tried", "fee"]


def test_the_error_that_is_caught_is_the_tokens(stage: Stage, relay: str) -> None:
    envelope = call(stage, relay, "attempt_missing", address(stage.usdc))
    result = stage.simulate(envelope)["results"][0]
    assert scval.to_native(sdk.SCVal.from_xdr(result["xdr"])) == [0, 10]  # not enough of a balance


def test_a_contract_pays_of_its_own(stage: Stage, relay: str) -> None:
    endow(stage, relay)
    args = (address(stage.usdc), address(stage.seller), scval.to_int128(30))
    envelope = call(stage, relay, "pay_out", *args)
    assert stage.simulate(envelope)["results"][0]["auth"] == []
    perform(stage, envelope)
    assert stage.usdc_of(relay) == 970
    assert stage.usdc_of(stage.seller) == 1_0000000 + 30


def payment(stage: Stage, relay: str, function: str = "pay_for") -> TransactionEnvelope:
    args = (stage.payer, stage.usdc, stage.seller)
    values = (*map(address, args), scval.to_int128(30))
    return call(stage, relay, function, *values)


def test_a_tree_of_calls_is_recorded_and_signed_as_one(stage: Stage, relay: str) -> None:
    envelope = payment(stage, relay)
    (encoded,) = stage.simulate(envelope)["results"][0]["auth"]
    root = sdk.SorobanAuthorizationEntry.from_xdr(encoded).root_invocation
    assert root.function.contract_fn.function_name.sc_symbol == b"pay_for"
    (below,) = root.sub_invocations
    assert below.function.contract_fn.function_name.sc_symbol == b"transfer"
    assert below.sub_invocations == []

    perform(stage, stage.authorize(envelope, stage.payer))
    assert stage.usdc_of(stage.seller) == 1_0000000 + 30


def entry_of(envelope: TransactionEnvelope) -> sdk.SorobanAuthorizationEntry:
    operation: Any = envelope.transaction.operations[0]
    return operation.auth[0]


def signed_as(
    stage: Stage, envelope: TransactionEnvelope, change: Callable[[Any], None]
) -> TransactionEnvelope:
    """Have the payer sign something else than what was recorded."""
    encoded = stage.simulate(envelope)["results"][0]["auth"][0]
    entry = sdk.SorobanAuthorizationEntry.from_xdr(encoded)
    change(entry.root_invocation)
    until = stage.sandbox.sequence + 20
    signed = authorize_entry(entry, stage.payer, until, stage.passphrase)
    operation: Any = envelope.transaction.operations[0]
    operation.auth = [signed]
    return envelope


def test_only_what_is_in_the_tree_is_allowed(stage: Stage, relay: str) -> None:
    unauthorized = "Error(Auth, InvalidAction)"

    def nothing_below(root: Any) -> None:
        root.sub_invocations = []

    def root_is_the_transfer(root: Any) -> None:
        root.function = root.sub_invocations[0].function
        root.sub_invocations = []

    def more_below(root: Any) -> None:
        root.sub_invocations = [*root.sub_invocations, *root.sub_invocations]

    def another_amount(root: Any) -> None:
        root.sub_invocations[0].function.contract_fn.args[2] = scval.to_int128(31)

    for change in (nothing_below, root_is_the_transfer, another_amount):
        envelope = signed_as(stage, payment(stage, relay), change)
        assert error_of(stage, envelope) == unauthorized, change.__name__
    perform(stage, signed_as(stage, payment(stage, relay), more_below))


def test_each_call_of_the_tree_is_good_once(stage: Stage, relay: str) -> None:
    once = signed_as(
        stage,
        payment(stage, relay, "pay_twice"),
        lambda root: root.sub_invocations.pop(),
    )
    assert error_of(stage, once) == "Error(Auth, InvalidAction)"
    perform(stage, stage.authorize(payment(stage, relay, "pay_twice"), stage.payer))
    assert stage.usdc_of(stage.seller) == 1_0000000 + 60


def test_authorization_below_the_root_needs_asking_for(stage: Stage, relay: str) -> None:
    other = deploy(stage, "second", scval.to_uint32(1))
    args = (relay, stage.payer, stage.usdc, stage.seller)
    values = (*map(address, args), scval.to_int128(30))
    envelope = call(stage, other, "pass_on", *values)
    assert error_of(stage, envelope) == "Error(Auth, InvalidAction)"
    stage.authorize(envelope, stage.payer, authMode="record_allow_nonroot")
    root = entry_of(envelope).root_invocation
    assert root.function.contract_fn.function_name.sc_symbol == b"pay_for"
    perform(stage, envelope)
    assert stage.usdc_of(stage.seller) == 1_0000000 + 30


def test_another_contract_pays_of_ours_only_if_we_allow_it(stage: Stage, relay: str) -> None:
    other = deploy(stage, "second", scval.to_uint32(1))
    endow(stage, relay)

    def wanted(allowed: bool) -> TransactionEnvelope:
        values = (*map(address, (other, stage.usdc, stage.seller)), scval.to_int128(30))
        return call(stage, relay, "have_it_paid", *values, scval.to_bool(allowed))

    assert error_of(stage, wanted(False)) == "Error(Auth, InvalidAction)"
    perform(stage, wanted(True))
    assert stage.usdc_of(relay) == 970


def test_no_contract_is_entered_twice(stage: Stage, relay: str) -> None:
    other = deploy(stage, "second", scval.to_uint32(1))
    itself = call(stage, relay, "reenter", address(relay))
    assert error_of(stage, itself) == "Error(Context, InvalidAction)"
    around = call(stage, relay, "reenter", address(other))
    assert error_of(stage, around) == "Error(Context, InvalidAction)"
    assert perform(stage, call(stage, other, "add_to", address(relay))) == 6


def test_reserved_names_cannot_be_called(stage: Stage, relay: str) -> None:
    for envelope in (
        call(stage, relay, "__check_auth"),
        call(stage, relay, "__constructor", scval.to_uint32(1)),
        call(stage, relay, "reserved", address(relay)),
    ):
        assert error_of(stage, envelope) == "Error(Context, InvalidAction)"


def test_a_contract_pays_by_code_that_checks(stage: Stage, relay: str) -> None:
    """A contract account: its own code says whether it allows a transfer."""
    endow(stage, relay)
    values = (*map(address, (relay, stage.seller)), scval.to_int128(30))
    envelope = stage.call(stage.sponsor, "transfer", *values)
    recorded = stage.simulate(envelope)["results"][0]["auth"]
    entry = sdk.SorobanAuthorizationEntry.from_xdr(recorded[0])
    credentials = entry.credentials.address
    assert credentials is not None
    credentials.signature_expiration_ledger = sdk.Uint32(stage.sandbox.sequence + 20)
    operation: Any = envelope.transaction.operations[0]
    operation.auth = [entry]
    credentials.signature = scval.to_uint32(2)
    assert error_of(stage, envelope) == "Error(Auth, InvalidAction)"
    credentials.signature = scval.to_uint32(1)
    perform(stage, envelope)
    assert stage.usdc_of(relay) == 970
    # The nonce is used up.
    again = stage.call(stage.sponsor, "transfer", *values)
    repeated: Any = again.transaction.operations[0]
    repeated.auth = [entry]
    assert error_of(stage, again) == "Error(Auth, ExistingValue)"


def test_the_code_that_will_check_is_foreseen(stage: Stage, relay: str) -> None:
    """Recording does not run the contract's code, and yet what running it takes is declared."""
    endow(stage, relay)
    values = (*map(address, (relay, stage.seller)), scval.to_int128(30))
    result = stage.simulate(stage.call(stage.sponsor, "transfer", *values))
    data = sdk.SorobanTransactionData.from_xdr(result["transactionData"])
    codes = [
        key.contract_code.hash.hash
        for key in data.resources.footprint.read_only
        if key.contract_code is not None
    ]
    assert codes == [sha256(WASM).digest()]
