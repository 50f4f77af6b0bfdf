"""Every entry that the ledger can hold is read back from its own bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stellar_sdk import xdr as sdk

from mpp_asgi.sandbox.wire.assets import Asset
from mpp_asgi.sandbox.wire.entries import (
    Account,
    ContractCode,
    ContractData,
    Data,
    Entry,
    Signer,
    SignerKey,
    SignerKind,
    Trustline,
    Ttl,
)
from mpp_asgi.sandbox.wire.stored import read_entry
from mpp_asgi.sandbox.wire.stream import XdrError
from mpp_asgi.sandbox.wire.values import (
    Address,
    Executable,
    Instance,
    address_val,
    bytes_val,
    i128_val,
    instance_val,
    map_val,
    string_val,
    symbol_val,
    u32_val,
    vec_val,
)

keys = st.binary(min_size=32, max_size=32)
words32 = st.integers(0, 2**32 - 1)
words64 = st.integers(0, 2**63 - 1)
signer_keys = st.one_of(
    st.builds(SignerKey, st.sampled_from([0, 1, 2]), keys),
    st.builds(
        SignerKey, st.just(SignerKind.SIGNED_PAYLOAD), keys, st.binary(min_size=1, max_size=64)
    ),
)
accounts = st.builds(
    Account,
    public_key=keys,
    balance=words64,
    sequence=words64,
    subentries=words32,
    inflation_destination=st.none() | keys,
    flags=st.integers(0, 15),
    home_domain=st.binary(max_size=32),
    thresholds=st.binary(min_size=4, max_size=4),
    signers=st.lists(st.builds(Signer, signer_keys, words32), max_size=20).map(tuple),
)
touched = st.builds(
    Account,
    public_key=keys,
    balance=words64,
    sequence=words64,
    signers=st.lists(st.builds(Signer, signer_keys, words32), max_size=20).map(tuple),
    sequence_ledger=words32,
    sequence_time=words64,
)
assets = st.builds(
    Asset,
    st.sampled_from([b"USDC", b"A\0\0\0", b"BEADSBEADS\0\0"]),
    keys,
)
trustlines = st.builds(
    Trustline,
    public_key=keys,
    asset=assets,
    balance=words64,
    limit=words64,
    flags=st.integers(0, 7),
)
data = st.builds(
    Data, public_key=keys, name=st.binary(min_size=1, max_size=64), value=st.binary(max_size=64)
)
simple = st.one_of(
    st.binary(max_size=20).map(bytes_val),
    st.binary(max_size=20).map(string_val),
    st.integers(-(2**127), 2**127 - 1).map(i128_val),
    words32.map(u32_val),
    st.sampled_from(["Balance", "a", "x_9"]).map(symbol_val),
    keys.map(lambda key: address_val(Address.contract(key))),
)
values = st.recursive(
    simple,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(vec_val),
        st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3).map(map_val),
    ),
    max_leaves=6,
)
instances = st.builds(
    Instance,
    st.builds(Executable, st.none() | keys),
    st.none() | st.lists(st.tuples(simple, values), max_size=3).map(tuple),
).map(instance_val)
contract_data = st.builds(
    ContractData,
    contract=st.one_of(keys.map(Address.contract), keys.map(Address.account)),
    name=values,
    value=values | instances,
    durability=st.sampled_from([0, 1]),
)
code = st.builds(ContractCode, wasm_hash=keys, code=st.binary(max_size=50))


@given(st.one_of(accounts, touched, trustlines, data, contract_data, code))
def test_entries_come_back(entry: Entry) -> None:
    assert read_entry(entry.data) == entry
    # And the bytes are the network's own.
    assert sdk.LedgerEntryData.from_xdr_bytes(entry.data).to_xdr_bytes() == entry.data


@given(st.one_of(accounts, touched, trustlines, data, contract_data, code), st.integers(0))
def test_half_an_entry_is_none(entry: Entry, where: int) -> None:
    with pytest.raises(XdrError):
        read_entry(entry.data[: where % len(entry.data)])
    with pytest.raises(XdrError):
        read_entry(entry.data + b"\0\0\0\0")


def test_other_kinds_are_refused() -> None:
    with pytest.raises(XdrError, match="of kind 9 are not kept"):
        read_entry(Ttl(b"", 5).data)
    with pytest.raises(XdrError, match="of kind 2 are not kept"):
        read_entry(b"\0\0\0\2" + bytes(100))
