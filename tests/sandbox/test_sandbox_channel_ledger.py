"""How channels stand on the ledger: byte for byte, for how long, and what clients can read."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from stellar_sdk import Address, StrKey, scval
from stellar_sdk import xdr as sdk
from xdrlib3 import Unpacker

from mpp_asgi.sandbox.contracts.registry import (
    CHANNEL_WASM_HASH,
    CONTRACTS,
    FACTORY_WASM_HASH,
    PUBLISHED_CHANNEL_WASM_HASH,
)
from tests.sandbox.channels import (
    DEPOSIT,
    WAITING_PERIOD,
    Channels,
    address,
    instance_key,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Stage


def entry_of(stage: Stage, key: sdk.LedgerKey) -> dict[str, Any]:
    (entry,) = stage.rpc("getLedgerEntries", keys=[key.to_xdr()])["entries"]
    return entry


def code_key(wasm_hash: bytes) -> sdk.LedgerKey:
    code = sdk.LedgerKeyContractCode(sdk.Hash(wasm_hash))
    return sdk.LedgerKey(sdk.LedgerEntryType.CONTRACT_CODE, contract_code=code)


def balance_key(token: str, owner: str) -> sdk.LedgerKey:
    return sdk.LedgerKey(
        sdk.LedgerEntryType.CONTRACT_DATA,
        contract_data=sdk.LedgerKeyContractData(
            Address(token).to_xdr_sc_address(),
            scval.to_vec([scval.to_symbol("Balance"), scval.to_address(owner)]),
            sdk.ContractDataDurability.PERSISTENT,
        ),
    )


# Bytes


def instance(wasm_hash: bytes, storage: dict[str, sdk.SCVal]) -> sdk.SCContractInstance:
    entries = [
        sdk.SCMapEntry(scval.to_vec([scval.to_symbol(name)]), value)
        for name, value in storage.items()
    ]
    executable = sdk.ContractExecutable(
        sdk.ContractExecutableType.CONTRACT_EXECUTABLE_WASM, wasm_hash=sdk.Hash(wasm_hash)
    )
    return sdk.SCContractInstance(executable, sdk.SCMap(entries))


def stored(channels: Channels, **more: sdk.SCVal) -> dict[str, sdk.SCVal]:
    """What a channel keeps, in the order it is kept in."""
    fields = {
        "CommitmentKey": scval.to_bytes(channels.key.raw_public_key()),
        "From": address(channels.stage.payer),
        "RefundWaitingPeriod": scval.to_uint32(WAITING_PERIOD),
        "To": address(channels.stage.seller),
        "Token": address(channels.stage.usdc),
        **more,
    }
    return dict(sorted(fields.items()))


def test_a_fresh_channel(channels: Channels) -> None:
    channel = channels.open()
    expected = instance(CHANNEL_WASM_HASH, stored(channels))
    entry = entry_of(channels.stage, instance_key(channel))
    data = sdk.LedgerEntryData(
        sdk.LedgerEntryType.CONTRACT_DATA,
        contract_data=sdk.ContractDataEntry(
            sdk.ExtensionPoint(0),
            Address(channel).to_xdr_sc_address(),
            sdk.SCVal(sdk.SCValType.SCV_LEDGER_KEY_CONTRACT_INSTANCE),
            sdk.ContractDataDurability.PERSISTENT,
            sdk.SCVal(sdk.SCValType.SCV_CONTRACT_INSTANCE, instance=expected),
        ),
    )
    assert entry["xdr"] == data.to_xdr()


def test_a_channel_that_was_used(channels: Channels) -> None:
    channel = channels.open()
    channels.settle(channel, 100)
    more = {"WithdrawnAmount": scval.to_int128(100)}
    assert channels.instance(channel) == instance(CHANNEL_WASM_HASH, stored(channels, **more))
    channels.do(channel, "close_start")
    effective = channels.stage.sandbox.sequence + WAITING_PERIOD
    more["CloseEffectiveAtLedger"] = scval.to_uint32(effective)
    assert channels.instance(channel) == instance(CHANNEL_WASM_HASH, stored(channels, **more))
    channels.close(channel, 300)
    more["CloseEffectiveAtLedger"] = scval.to_uint32(channels.stage.sandbox.sequence)
    more["WithdrawnAmount"] = scval.to_int128(300)
    assert channels.instance(channel) == instance(CHANNEL_WASM_HASH, stored(channels, **more))


def test_the_factory(channels: Channels) -> None:
    admin = channels.ask(channels.factory, "admin")
    storage = {
        "Admin": scval.to_address(admin),
        "WasmHash": scval.to_bytes(CHANNEL_WASM_HASH),
    }
    assert channels.instance(channels.factory) == instance(FACTORY_WASM_HASH, storage)


def test_events_byte_for_byte(channels: Channels, stage: Stage) -> None:
    channel = channels.open()
    channels.close(channel, 300)
    found = stage.rpc("getEvents", startLedger=stage.sandbox.sequence)["events"]
    emitted = [
        (event["topic"], event["value"]) for event in found if event["contractId"] == channel
    ]

    def event(name: str, **data: sdk.SCVal) -> tuple[list[str], str]:
        entries = [sdk.SCMapEntry(scval.to_symbol(key), value) for key, value in data.items()]
        value = sdk.SCVal(sdk.SCValType.SCV_MAP, map=sdk.SCMap(entries))
        return [scval.to_symbol(name).to_xdr()], value.to_xdr()

    assert emitted == [
        event("withdraw", amount=scval.to_int128(300), to=address(stage.seller)),
        event("close", effective_at_ledger=scval.to_uint32(stage.sandbox.sequence)),
        event("refund", **{"amount": scval.to_int128(200), "from": address(stage.payer)}),
    ]


# Code


@pytest.mark.parametrize("wasm_hash", [CHANNEL_WASM_HASH, FACTORY_WASM_HASH])
def test_code_is_what_its_hash_says(stage: Stage, wasm_hash: bytes) -> None:
    entry = entry_of(stage, code_key(wasm_hash))
    code = sdk.LedgerEntryData.from_xdr(entry["xdr"]).contract_code
    assert code is not None
    assert code.hash == sdk.Hash(wasm_hash)
    assert sha256(code.code).digest() == wasm_hash
    assert entry["liveUntilLedgerSeq"] > 4_000_000_000


def test_hashes_do_not_change_by_accident() -> None:
    """Configurations name them."""
    channel = "d8b12347c5e395dc580c8b81134b10fa8ddcdf90b6f64788ad5397adb3ca568b"
    factory = "f52e0c38a2b987a8a10f97394642b05187772badcb88e08cc9d01e1cb48800d8"
    published = "0a5351b5acae0a2e41f931e47d9c7c90bd157cd0548246e397ac0350498f3710"
    assert CHANNEL_WASM_HASH.hex() == channel
    assert FACTORY_WASM_HASH.hex() == factory
    assert PUBLISHED_CHANNEL_WASM_HASH.hex() == published


@pytest.mark.parametrize("wasm_hash", [CHANNEL_WASM_HASH, PUBLISHED_CHANNEL_WASM_HASH])
def test_clients_can_read_the_interface(stage: Stage, wasm_hash: bytes) -> None:
    encoded = entry_of(stage, code_key(wasm_hash))["xdr"]
    code = sdk.LedgerEntryData.from_xdr(encoded).contract_code
    assert code is not None
    functions = {}
    for entry in specification(code.code):
        if entry.function_v0 is not None:
            inputs = [given.name.decode() for given in entry.function_v0.inputs]
            functions[entry.function_v0.name.sc_symbol.decode()] = inputs
        else:
            assert entry.udt_error_enum_v0 is not None
            cases = {case.name: case.value.uint32 for case in entry.udt_error_enum_v0.cases}
    assert functions.keys() == CONTRACTS.by_wasm[wasm_hash].keys()
    terms = ["token", "from", "commitment_key", "to", "amount", "refund_waiting_period"]
    assert functions["__constructor"] == terms
    assert functions["settle"] == functions["close"] == ["amount", "sig"]
    assert functions["refund"] == []
    assert cases == {
        b"NegativeAmount": 1,
        b"NotClosed": 2,
        b"RefundWaitingPeriodNotElapsed": 3,
        b"AlreadyClosed": 4,
    }


def specification(code: bytes) -> list[sdk.SCSpecEntry]:
    """The entries of a module's section of that name, which has to be the last one."""
    name = b"contractspecv0"
    unpacker = Unpacker(code[code.index(name) + len(name) :])
    entries = []
    while unpacker.get_position() < len(unpacker.get_buffer()):
        entries.append(sdk.SCSpecEntry.unpack(unpacker))
    return entries


# Lifetimes


@pytest.fixture
def aging(new_stage: Callable[..., Stage]) -> Channels:
    """A ledger a second."""
    return Channels(new_stage(close_interval=1))


def test_a_channel_lives_as_long_as_any_new_entry(aging: Channels) -> None:
    """It never prolongs its own life; that of its balance the token prolongs, to thirty days."""
    stage = aging.stage
    channel = aging.open()
    opened_at = stage.sandbox.sequence
    balance = balance_key(stage.usdc, channel)
    assert entry_of(stage, instance_key(channel))["liveUntilLedgerSeq"] == opened_at + 120_959
    assert entry_of(stage, balance)["liveUntilLedgerSeq"] == opened_at + 518_400
    stage.clock.now += 50_000
    aging.settle(channel, 100)
    settled_at = stage.sandbox.sequence
    assert entry_of(stage, instance_key(channel))["liveUntilLedgerSeq"] == opened_at + 120_959
    assert entry_of(stage, balance)["liveUntilLedgerSeq"] == settled_at + 518_400


def test_an_archived_channel_comes_back_when_it_is_used(aging: Channels) -> None:
    stage = aging.stage
    channel = aging.open()
    stage.clock.now += 600_000
    envelope = aging.ready(aging.paying(channel, "close", 300))
    data = envelope.transaction.soroban_data
    assert data is not None
    restored = data.ext.resource_ext.archived_soroban_entries
    keys = [data.resources.footprint.read_write[index.uint32] for index in restored]
    assert instance_key(channel) in keys
    assert balance_key(stage.usdc, channel) in keys
    before = stage.usdc_of(stage.seller)
    stage.clock.now += 1
    stage.succeed(envelope)
    assert stage.usdc_of(stage.seller) == before + 300
    assert stage.usdc_of(channel) == 0
    until = entry_of(stage, instance_key(channel))["liveUntilLedgerSeq"]
    assert until == stage.sandbox.sequence + 120_959


def test_money_of_channels_is_the_tokens(channels: Channels, stage: Stage) -> None:
    channel = channels.open()
    data = sdk.LedgerEntryData.from_xdr(entry_of(stage, balance_key(stage.usdc, channel))["xdr"])
    assert data.contract_data is not None
    assert scval.to_native(data.contract_data.val) == {
        "amount": DEPOSIT,
        "authorized": True,
        "clawback": False,
    }
    assert StrKey.is_valid_contract(channel)
