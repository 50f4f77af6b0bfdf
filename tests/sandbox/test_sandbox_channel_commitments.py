"""Commitments that were published with the channel contract's own tests, on a network of zeros."""

from __future__ import annotations

from json import loads
from pathlib import Path
from typing import Any

import pytest

from mpp_asgi.sandbox.contracts.channel import terms
from mpp_asgi.sandbox.contracts.channel.commitment import commitment
from mpp_asgi.sandbox.contracts.registry import CHANNEL_WASM_HASH
from mpp_asgi.sandbox.host.errors import HostError
from mpp_asgi.sandbox.wire.entries import ContractData, Ttl
from mpp_asgi.sandbox.wire.values import (
    INSTANCE_KEY,
    Address,
    Executable,
    Instance,
    address_val,
    bytes_val,
    i128_val,
    instance_val,
    u32_val,
)
from tests.sandbox.bare_host import BareHost

PUBLISHED = loads(Path(__file__).with_name("channel_commitments.json").read_text("utf-8"))
CHANNEL = Address.parse(PUBLISHED["channel"])
FUNDER = Address.account(b"\1" * 32)
RECIPIENT = Address.account(b"\2" * 32)
DEPOSIT = 1_000


@pytest.fixture
def host() -> BareHost:
    host = BareHost(network_id=bytes.fromhex(PUBLISHED["network_id"]))
    host.settle_in(FUNDER, RECIPIENT, usdc=10 * DEPOSIT)
    return host


def put_channel(host: BareHost, key: bytes) -> None:
    """Put a channel where the published commitments want it, and fund it."""
    storage = (
        (terms.COMMITMENT_KEY, bytes_val(key)),
        (terms.FUNDER, address_val(FUNDER)),
        (terms.WAITING_PERIOD, u32_val(100)),
        (terms.RECIPIENT, address_val(RECIPIENT)),
        (terms.TOKEN, address_val(host.usdc)),
    )
    instance = Instance(Executable(CHANNEL_WASM_HASH), storage)
    data = ContractData(contract=CHANNEL, name=INSTANCE_KEY, value=instance_val(instance))
    host.write([data, Ttl(data.key, 10**6)])
    host.call(CHANNEL, "top_up", i128_val(DEPOSIT))


def test_there_are_as_many_as_were_published() -> None:
    assert len(PUBLISHED["commitments"]) == 21


@pytest.mark.parametrize("function", ["settle", "close"])
@pytest.mark.parametrize("case", PUBLISHED["commitments"], ids=lambda case: case["signature"][:8])
def test_a_published_commitment_is_paid(
    host: BareHost, case: dict[str, Any], function: str
) -> None:
    amount, signature = case["amount"], bytes.fromhex(case["signature"])
    put_channel(host, bytes.fromhex(case["key"]))
    before = host.balance(RECIPIENT)
    for bad in (bytes([signature[0] ^ 1]) + signature[1:], signature[::-1]):
        with pytest.raises(HostError, match="Crypto, InvalidInput"):
            host.call(CHANNEL, function, i128_val(amount), bytes_val(bad))
    with pytest.raises(HostError, match="Crypto, InvalidInput"):
        host.call(CHANNEL, function, i128_val(amount + 1), bytes_val(signature))
    host.call(CHANNEL, function, i128_val(amount), bytes_val(signature))
    paid = ["transfer", "withdraw"] if amount else []
    closed = ["close", "transfer", "refund"] if function == "close" else []
    assert host.names() == paid + closed
    assert host.balance(RECIPIENT) == before + amount


def test_a_commitment_is_these_bytes() -> None:
    expected = (
        "0000001100000001000000040000000f00000006616d6f756e7400000000000a"
        "000000000000000000000000000001f4"
        "0000000f000000076368616e6e656c000000001200000001"
        "0000000000000000000000000000000000000000000000000000000000000005"
        "0000000f00000006646f6d61696e00000000000f000000086368616e636d6d74"
        "0000000f000000076e6574776f726b000000000d00000020"
        "0000000000000000000000000000000000000000000000000000000000000000"
    )
    assert commitment(bytes(32), CHANNEL, 500).hex() == expected
