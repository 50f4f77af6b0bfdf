"""Opening channels, by the factory and without it: addresses, who allows what, what is refused."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from stellar_sdk import Address, Keypair, scval
from stellar_sdk import xdr as sdk
from stellar_sdk.auth import authorize_entry

from mpp_asgi.sandbox import TESTNET_PASSPHRASE
from mpp_asgi.sandbox.contracts.registry import (
    CHANNEL_WASM_HASH,
    CONTRACTS,
    FACTORY_WASM_HASH,
    PUBLISHED_CHANNEL_WASM_HASH,
)
from mpp_asgi.sandbox.genesis import bank_keypair
from mpp_asgi.sandbox.host.native import Function
from mpp_asgi.sandbox.wire.authorization import ContractIdPreimage
from mpp_asgi.sandbox.wire.values import Address as Place
from mpp_asgi.sandbox.wire.values import i128_val
from tests.sandbox.channels import DEPOSIT, Channels, address, instance_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Stage
    from stellar_sdk import TransactionEnvelope

    from mpp_asgi.sandbox.host.guest import Guest
    from mpp_asgi.sandbox.wire.values import Val

CONSTRUCTOR_FAILED = "Error(Context, InvalidAction)"
UNAUTHORIZED = "Error(Auth, InvalidAction)"


# Where


def test_the_factory_stands_where_it_always_stands(channels: Channels, new_stage: Any) -> None:
    assert channels.factory == "CCVIRHCRCFG3MFNDLFM5RJEKMD65AV2MCO3ALPX6VUQLOOMWFZ4LIWSG"
    assert new_stage(seed=7).sandbox.channel_factory == channels.factory


def test_addresses_come_from_the_factory_and_the_salt(channels: Channels) -> None:
    salt = bytes(range(32))
    preimage = sdk.HashIDPreimage(
        sdk.EnvelopeType.ENVELOPE_TYPE_CONTRACT_ID,
        contract_id=sdk.HashIDPreimageContractID(
            network_id=sdk.Hash(channels.network_id),
            contract_id_preimage=sdk.ContractIDPreimage(
                sdk.ContractIDPreimageType.CONTRACT_ID_PREIMAGE_FROM_ADDRESS,
                from_address=sdk.ContractIDPreimageFromAddress(
                    Address(channels.factory).to_xdr_sc_address(), sdk.Uint256(salt)
                ),
            ),
        ),
    )
    assert channels.open(salt) == str(Place.contract(sha256(preimage.to_xdr_bytes()).digest()))


def test_the_address_that_was_published_with_the_factorys_tests() -> None:
    """There the network's id is all zeros, the factory's address and the salt nearly."""
    factory = Place.contract((2).to_bytes(32, "big"))
    channel = ContractIdPreimage.of(factory, bytes(32)).address(bytes(32))
    assert str(factory) == "CAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAFCT4"
    assert str(channel) == "CBRIAA73VOIKPZYM5G3LGPF3NGCFXLR3IW22MKEYJAB3QBOMTUTRCASK"


def test_an_address_is_taken_once(channels: Channels, stage: Stage) -> None:
    channel = channels.open()
    assert channels.error(channels.opening_call()) == "Error(Storage, ExistingValue)"
    assert channels.open(b"\1" * 32) != channel
    assert stage.usdc_of(channel) == DEPOSIT


def test_a_salt_belongs_to_nobody(channels: Channels, stage: Stage) -> None:
    """Whoever comes first with it has the address: so may a stranger, with terms of his own."""
    taken = channels.open(amount=0, recipient=stage.sponsor, key=bytes(32))
    assert channels.ask(taken, "to") == Address(stage.sponsor.public_key)
    assert channels.error(channels.opening_call()) == "Error(Storage, ExistingValue)"


# Who allows it


def invocation(
    contract: str, function: str, args: list[sdk.SCVal], *below: sdk.SorobanAuthorizedInvocation
) -> sdk.SorobanAuthorizedInvocation:
    call = sdk.InvokeContractArgs(
        Address(contract).to_xdr_sc_address(), sdk.SCSymbol(function.encode()), args
    )
    kind = sdk.SorobanAuthorizedFunctionType.SOROBAN_AUTHORIZED_FUNCTION_TYPE_CONTRACT_FN
    return sdk.SorobanAuthorizedInvocation(
        sdk.SorobanAuthorizedFunction(kind, contract_fn=call), list(below)
    )


def deposit(stage: Stage, channel: str, terms: list[sdk.SCVal]) -> sdk.SorobanAuthorizedInvocation:
    """What a funder allows below the opening: the constructor, and the transfer by it."""
    args = [address(stage.payer), address(channel), scval.to_int128(DEPOSIT)]
    return invocation(channel, "__constructor", terms, invocation(stage.usdc, "transfer", args))


def test_the_funder_allows_the_opening_the_constructor_and_the_transfer(
    channels: Channels, stage: Stage
) -> None:
    envelope = channels.opening_call()
    result = stage.simulate(envelope)["results"][0]
    channel = scval.from_address(result["xdr"]).address
    (encoded,) = result["auth"]
    entry = sdk.SorobanAuthorizationEntry.from_xdr(encoded)
    terms = channels.opening()
    assert entry.credentials.address is not None
    funder = Address.from_xdr_sc_address(entry.credentials.address.address)
    assert funder.address == stage.payer.public_key
    opening = [scval.to_bytes(bytes(32)), *terms]
    below = deposit(stage, channel, terms)
    assert entry.root_invocation == invocation(channels.factory, "open", opening, below)


def test_a_funder_who_pays_the_fee_signs_nothing_else(channels: Channels, stage: Stage) -> None:
    opening = channels.opening()
    envelope = channels.call(
        channels.factory, "open", scval.to_bytes(bytes(32)), *opening, source=stage.payer
    )
    (encoded,) = stage.simulate(envelope)["results"][0]["auth"]
    entry = sdk.SorobanAuthorizationEntry.from_xdr(encoded)
    assert entry.credentials.address is None
    opened = channels.perform(envelope)
    assert stage.usdc_of(opened.address) == DEPOSIT


def signed(
    channels: Channels, envelope: TransactionEnvelope, change: Callable[[Any], None]
) -> TransactionEnvelope:
    """Have the funder sign something else than the opening needs."""
    stage = channels.stage
    (encoded,) = stage.simulate(envelope)["results"][0]["auth"]
    entry = sdk.SorobanAuthorizationEntry.from_xdr(encoded)
    change(entry.root_invocation)
    until = stage.sandbox.sequence + 20
    operation: Any = envelope.transaction.operations[0]
    operation.auth = [authorize_entry(entry, stage.payer, until, stage.passphrase)]
    return envelope


def test_less_than_all_of_it_is_not_enough(channels: Channels) -> None:
    def no_constructor(root: Any) -> None:
        root.sub_invocations = []

    def no_transfer(root: Any) -> None:
        root.sub_invocations[0].sub_invocations = []

    def another_recipient(root: Any) -> None:
        args = root.sub_invocations[0].function.contract_fn.args
        args[3] = scval.to_address(Keypair.from_raw_ed25519_seed(bytes(32)).public_key)

    def only_the_constructor(root: Any) -> None:
        (below,) = root.sub_invocations
        root.function, root.sub_invocations = below.function, below.sub_invocations

    for change in (no_constructor, no_transfer, another_recipient):
        envelope = signed(channels, channels.opening_call(), change)
        assert channels.error(envelope) == CONSTRUCTOR_FAILED, change.__name__
    envelope = signed(channels, channels.opening_call(), only_the_constructor)
    assert channels.error(envelope) == UNAUTHORIZED


def test_an_opening_that_fails_leaves_nothing(channels: Channels, stage: Stage) -> None:
    before = stage.usdc_of(stage.payer)
    envelope = channels.ready(channels.opening_call(amount=before))
    spent = stage.ready_transfer(1, source=stage.payer)
    stage.succeed(spent)
    key = instance_key(channels.address_of(channels.opening_call()))
    assert stage.apply(envelope)["status"] == "FAILED"
    assert channels.events() == []
    assert stage.rpc("getLedgerEntries", keys=[key.to_xdr()])["entries"] == []
    assert stage.usdc_of(stage.payer) == before - 1


@pytest.mark.parametrize("amount", [-1, 2**100])
def test_what_the_constructor_fails_with_stays_hidden(channels: Channels, amount: int) -> None:
    assert channels.error(channels.opening_call(amount=amount)) == CONSTRUCTOR_FAILED


# What is touched


def test_what_an_opening_touches(channels: Channels, stage: Stage) -> None:
    envelope = channels.ready(channels.opening_call())
    data = envelope.transaction.soroban_data
    assert data is not None
    footprint = data.resources.footprint
    codes = {key.contract_code.hash.hash for key in footprint.read_only if key.contract_code}
    assert codes == {CHANNEL_WASM_HASH, FACTORY_WASM_HASH}
    assert instance_key(channels.factory) in footprint.read_only
    assert instance_key(stage.usdc) in footprint.read_only
    channel = channels.address_of(envelope)
    assert instance_key(channel) in footprint.read_write
    kinds = [key.type.name for key in footprint.read_write]
    # The funder's nonce and trustline; the channel's instance and its balance of the token.
    assert sorted(kinds) == ["CONTRACT_DATA"] * 3 + ["TRUSTLINE"]
    accounts = [key for key in footprint.read_only if key.account]
    assert len(accounts) == 2  # the issuer's flags, the funder's signers


@pytest.mark.parametrize("wasm_hash", [CHANNEL_WASM_HASH, FACTORY_WASM_HASH])
def test_code_has_to_be_in_the_footprint(
    channels: Channels, stage: Stage, wasm_hash: bytes
) -> None:
    envelope = channels.ready(channels.opening_call())
    data = envelope.transaction.soroban_data
    assert data is not None
    footprint = data.resources.footprint
    footprint.read_only = [
        key
        for key in footprint.read_only
        if not (key.contract_code and key.contract_code.hash.hash == wasm_hash)
    ]
    envelope.signatures.clear()
    envelope.sign(stage.sponsor)
    outcome = stage.apply(envelope)
    assert outcome["status"] == "FAILED"
    (error, *_) = [
        event.event.body.v0.topics[1].error
        for event in map(sdk.DiagnosticEvent.from_xdr, outcome["diagnosticEventsXdr"])
        if scval.to_native(event.event.body.v0.topics[0]) == "error"
    ]
    assert (error.type.name, error.code.name) == ("SCE_STORAGE", "SCEC_EXCEEDED_LIMIT")


# The factory's own


def test_what_the_factory_tells(channels: Channels) -> None:
    bank = bank_keypair(TESTNET_PASSPHRASE, 0)
    assert channels.ask(channels.factory, "admin") == Address(bank.public_key)
    assert channels.ask(channels.factory, "wasm_hash") == CHANNEL_WASM_HASH
    assert channels.stage.sandbox.channel_wasm_hash == CHANNEL_WASM_HASH.hex()


def test_only_its_administrator_changes_what_it_opens(channels: Channels, stage: Stage) -> None:
    change = scval.to_bytes(PUBLISHED_CHANNEL_WASM_HASH)
    envelope = channels.call(channels.factory, "set_wasm", change)
    stage.authorize(envelope, stage.payer)
    assert channels.error(envelope) == UNAUTHORIZED

    bank = bank_keypair(TESTNET_PASSPHRASE, 0)
    envelope = channels.call(channels.factory, "set_wasm", change)
    stage.authorize(envelope, bank)
    stage.prepare(envelope).sign(stage.sponsor)
    stage.succeed(envelope)
    assert channels.events() == []
    channel = channels.open()
    assert _wasm_hash(channels, channel) == PUBLISHED_CHANNEL_WASM_HASH


# Without the factory


def creation(
    channels: Channels, wasm_hash: bytes, args: list[sdk.SCVal], deployer: Keypair | None = None
) -> TransactionEnvelope:
    stage = channels.stage
    who = (deployer or stage.payer).public_key
    builder = stage.builder(stage.sponsor)
    return builder.append_create_contract_op(wasm_hash, who, args, bytes(32)).build()


def test_a_channel_can_be_deployed_by_its_funder(channels: Channels, stage: Stage) -> None:
    envelope = creation(channels, CHANNEL_WASM_HASH, channels.opening())
    result = stage.simulate(envelope)["results"][0]
    channel = scval.from_address(result["xdr"]).address
    (encoded,) = result["auth"]
    root = sdk.SorobanAuthorizationEntry.from_xdr(encoded).root_invocation
    creating = root.function.create_contract_v2_host_fn
    assert creating is not None
    assert creating.constructor_args == channels.opening()
    assert creating.executable.wasm_hash == sdk.Hash(CHANNEL_WASM_HASH)
    assert root.sub_invocations == [deposit(stage, channel, channels.opening())]
    opened = channels.perform(envelope)
    assert opened.address == channel
    assert [name for name, _ in channels.events()] == ["transfer", "open"]
    channels.close(channel, 300)
    assert stage.usdc_of(channel) == 0


def test_a_deployer_who_is_not_the_funder_needs_both_to_sign(
    channels: Channels, stage: Stage
) -> None:
    envelope = creation(channels, CHANNEL_WASM_HASH, channels.opening(), stage.sponsor)
    assert channels.error(envelope) == CONSTRUCTOR_FAILED
    channels.perform(envelope, authMode="record_allow_nonroot")
    assert [name for name, _ in channels.events()] == ["transfer", "open"]


def test_code_nobody_uploaded_cannot_be_deployed(channels: Channels) -> None:
    envelope = creation(channels, b"\7" * 32, channels.opening())
    assert channels.error(envelope) == "Error(Storage, MissingValue)"


def test_a_channel_without_terms_cannot_be_deployed(channels: Channels) -> None:
    assert channels.error(creation(channels, CHANNEL_WASM_HASH, [])) == CONSTRUCTOR_FAILED
    odd = channels.opening()
    odd[3] = scval.to_symbol("seller")
    assert channels.error(creation(channels, CHANNEL_WASM_HASH, odd)) == CONSTRUCTOR_FAILED


# Code that differs


def test_the_published_build_closes_once(channels: Channels, stage: Stage) -> None:
    """It says so before anybody is asked for authorization; settling it allows all the same."""
    opened = channels.perform(creation(channels, PUBLISHED_CHANNEL_WASM_HASH, channels.opening()))
    channel = opened.address
    channels.do(channel, "close_start")
    channels.close(channel, 100)
    channels.do(channel, "top_up", scval.to_int128(250))
    closed = "Error(Contract, #4)"
    assert channels.error(channels.paying(channel, "close", 200, bytes(64))) == closed
    channels.settle(channel, 200)
    channels.do(channel, "refund")
    assert stage.usdc_of(channel) == 0


def _a_million(_guest: Guest) -> Val:
    return i128_val(10**6)


def test_code_that_only_looks_like_a_channel(new_stage: Callable[..., Stage]) -> None:
    """Everything looks right, from the terms to the events, but for the hash of its code."""
    lying_hash = b"\x11" * 32
    true = CONTRACTS.by_wasm[CHANNEL_WASM_HASH]
    lying = {**true, "balance": Function((), _a_million), "deposited": Function((), _a_million)}
    channels = Channels(new_stage(contracts=CONTRACTS.with_wasm(lying_hash, lying)))
    opened = channels.perform(creation(channels, lying_hash, channels.opening(amount=0)))
    assert channels.ask(opened.address, "deposited") == 10**6
    assert channels.stage.usdc_of(opened.address) == 0
    honest = channels.open(amount=0)
    assert channels.instance(opened.address).storage == channels.instance(honest).storage
    assert _wasm_hash(channels, opened.address) == lying_hash
    assert _wasm_hash(channels, honest) == CHANNEL_WASM_HASH


def _wasm_hash(channels: Channels, contract: str) -> bytes:
    executable = channels.instance(contract).executable
    assert executable.wasm_hash is not None
    return executable.wasm_hash.hash
