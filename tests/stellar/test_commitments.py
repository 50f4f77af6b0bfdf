"""Commitments: the bytes, the signatures, and everything that is not one."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.bindings import (
    crypto_core_ed25519_add,
    crypto_core_ed25519_scalar_add,
    crypto_core_ed25519_scalar_mul,
    crypto_core_ed25519_scalar_reduce,
    crypto_scalarmult_ed25519_base_noclamp,
)
from stellar_sdk import Keypair, StrKey, scval, xdr

from mpp_asgi.stellar.commitment import (
    MAX_AMOUNT,
    Commitments,
    commitment_bytes,
    is_commitment_key,
    sign_commitment,
)

VECTORS = json.loads((Path(__file__).parent / "commitment_vectors.json").read_text())
NETWORK_ID = bytes(range(32))
CHANNEL = StrKey.encode_contract(bytes(range(100, 132)))
KEY = Keypair.from_raw_ed25519_seed(bytes(31) + b"c")
ORDER_EIGHT = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493
AMOUNTS = st.integers(0, MAX_AMOUNT) | st.sampled_from([0, 1, MAX_AMOUNT])


def commitments(key: Keypair = KEY, *, channel: str = CHANNEL) -> Commitments:
    return Commitments(NETWORK_ID, channel, key.raw_public_key())


@pytest.mark.parametrize("vector", VECTORS["commitments"], ids=lambda vector: vector["test"])
def test_what_the_contract_pays_for_is_good(vector: dict[str, Any]) -> None:
    network_id, channel = bytes.fromhex(VECTORS["network_id"]), VECTORS["channel"]
    key, signature = bytes.fromhex(vector["key"]), bytes.fromhex(vector["signature"])
    amount = int(vector["amount"])
    of_channel = Commitments(network_id, channel, key)
    assert of_channel.verify(amount, signature)
    assert not of_channel.verify(amount + 1, signature)


@given(
    amount=AMOUNTS,
    network_id=st.binary(min_size=32, max_size=32),
    seed=st.binary(min_size=32, max_size=32),
)
@settings(max_examples=50, deadline=None)
def test_bytes_are_the_general_encoding_of_the_map(
    amount: int, network_id: bytes, seed: bytes
) -> None:
    channel = StrKey.encode_contract(seed)
    fields = {
        "amount": scval.to_int128(amount),
        "channel": scval.to_address(channel),
        "domain": scval.to_symbol("chancmmt"),
        "network": scval.to_bytes(network_id),
    }
    entries = [xdr.SCMapEntry(scval.to_symbol(name), value) for name, value in fields.items()]
    general = xdr.SCVal(xdr.SCValType.SCV_MAP, map=xdr.SCMap(entries)).to_xdr_bytes()
    assert commitment_bytes(network_id, channel, amount) == general
    assert len(general) == 192
    key = Keypair.from_raw_ed25519_seed(seed)
    signature = sign_commitment(key, network_id, channel, amount)
    assert signature == key.sign(general)
    assert Commitments(network_id, channel, key.raw_public_key()).verify(amount, signature)


@given(amount=AMOUNTS, bit=st.integers(0, 511))
@settings(max_examples=100, deadline=None)
def test_no_bit_of_a_signature_may_differ(amount: int, bit: int) -> None:
    signature = bytearray(sign_commitment(KEY, NETWORK_ID, CHANNEL, amount))
    assert commitments().verify(amount, bytes(signature))
    signature[bit // 8] ^= 1 << bit % 8
    assert not commitments().verify(amount, bytes(signature))


@given(amount=AMOUNTS, other=AMOUNTS)
@settings(max_examples=50, deadline=None)
def test_a_signature_is_for_one_amount(amount: int, other: int) -> None:
    signature = sign_commitment(KEY, NETWORK_ID, CHANNEL, amount)
    assert commitments().verify(other, signature) == (other == amount)


def test_a_signature_is_for_one_channel_network_and_key() -> None:
    signature = sign_commitment(KEY, NETWORK_ID, CHANNEL, 5)
    other_channel = StrKey.encode_contract(bytes(32))
    other_key = Keypair.from_raw_ed25519_seed(bytes(31) + b"d")
    assert not commitments(channel=other_channel).verify(5, signature)
    assert not commitments(other_key).verify(5, signature)
    assert not Commitments(bytes(32), CHANNEL, KEY.raw_public_key()).verify(5, signature)


def test_a_signature_that_ends_in_what_is_signed_is_not_one() -> None:
    """Bytes moved across the border between signature and message."""
    signature = sign_commitment(KEY, NETWORK_ID, CHANNEL, 5)
    for wrong in (b"", signature[:-1], signature + b"\0", signature[:32], signature * 2):
        assert not commitments().verify(5, wrong)


@pytest.mark.parametrize("amount", [-1, -(2**127), MAX_AMOUNT + 1, 2**200])
def test_impossible_amounts(amount: int) -> None:
    assert not commitments().verify(amount, bytes(64))
    with pytest.raises(ValueError, match="no amount"):
        commitment_bytes(NETWORK_ID, CHANNEL, amount)


@pytest.mark.parametrize(
    "channel", ["", "C", KEY.public_key, CHANNEL[:-1], CHANNEL.lower(), "é" * 56]
)
def test_impossible_channels(channel: str) -> None:
    with pytest.raises(ValueError, match="contract"):
        commitments(channel=channel)


def test_impossible_networks() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        commitment_bytes(bytes(31), CHANNEL, 1)


def test_the_other_solution_for_the_same_point_is_refused() -> None:
    """Adding the group's order to S gives the same equation, and another signature."""
    signature = sign_commitment(KEY, NETWORK_ID, CHANNEL, 5)
    shifted = int.from_bytes(signature[32:], "little") + GROUP_ORDER
    assert not commitments().verify(5, signature[:32] + shifted.to_bytes(32, "little"))


def test_what_only_lenient_implementations_take_is_refused() -> None:
    """The contract's host checks ed25519 without the cofactor. A payer can make signatures that are
    good only with it, by a point of small order added to R: they would buy service and never pay.
    """
    secret = crypto_core_ed25519_scalar_reduce(hashlib.sha512(b"key").digest())
    once = crypto_core_ed25519_scalar_reduce(hashlib.sha512(b"nonce").digest())
    key = crypto_scalarmult_ed25519_base_noclamp(secret)
    point = crypto_scalarmult_ed25519_base_noclamp(once)

    def signature(amount: int, r: bytes) -> bytes:
        message = commitment_bytes(NETWORK_ID, CHANNEL, amount)
        k = crypto_core_ed25519_scalar_reduce(hashlib.sha512(r + key + message).digest())
        return r + crypto_core_ed25519_scalar_add(once, crypto_core_ed25519_scalar_mul(k, secret))

    of_channel = Commitments(NETWORK_ID, CHANNEL, key)
    shifted = crypto_core_ed25519_add(point, ORDER_EIGHT)
    for amount in range(16):
        assert of_channel.verify(amount, signature(amount, point))
        assert not of_channel.verify(amount, signature(amount, shifted))


@pytest.mark.parametrize(
    "key",
    [
        bytes(32),
        b"\x01" + bytes(31),
        ORDER_EIGHT,
        crypto_core_ed25519_add(KEY.raw_public_key(), ORDER_EIGHT),
        b"\xff" * 32,
        b"\x02" + bytes(31),
        KEY.raw_public_key()[:31],
        b"",
    ],
    ids=["order 4", "order 1", "order 8", "mixed order", "over the prime", "no point", "31", "0"],
)
def test_keys_that_are_none(key: bytes) -> None:
    assert not is_commitment_key(key)
    with pytest.raises(ValueError, match="commitment key"):
        Commitments(NETWORK_ID, CHANNEL, key)
