"""The sandbox's own XDR reader takes exactly what the SDK's takes, and keeps its bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stellar_sdk import Account as SdkAccount
from stellar_sdk import (
    Asset,
    AuthorizationFlag,
    Keypair,
    Price,
    Signer,
    TransactionBuilder,
    TrustLineFlags,
    scval,
)
from stellar_sdk import xdr as sdk

from mpp_asgi.sandbox.wire.authorization import AuthorizationEntry
from mpp_asgi.sandbox.wire.keys import LedgerKey
from mpp_asgi.sandbox.wire.stream import MAX_DEPTH, XdrError
from mpp_asgi.sandbox.wire.transactions import Envelope
from mpp_asgi.sandbox.wire.values import Val

if TYPE_CHECKING:
    from collections.abc import Callable

SOMEBODY = Keypair.from_raw_ed25519_seed(bytes(range(32)))
CONTRACT = "CBIELTK6YBZJU5UP2WWQEUCYKLPU6AUNZ2BQ4WWFEIE3USCIHMXQDAMA"
NETWORK = "Test SDF Network ; September 2015"

addresses = st.sampled_from([SOMEBODY.public_key, CONTRACT])
names = st.text("abcXYZ_09", max_size=32)
simple = st.one_of(
    st.booleans().map(scval.to_bool),
    st.none().map(lambda _: scval.to_void()),
    st.integers(0, 2**32 - 1).map(scval.to_uint32),
    st.integers(-(2**31), 2**31 - 1).map(scval.to_int32),
    st.integers(0, 2**64 - 1).map(scval.to_uint64),
    st.integers(-(2**63), 2**63 - 1).map(scval.to_int64),
    st.integers(0, 2**64 - 1).map(scval.to_timepoint),
    st.integers(0, 2**64 - 1).map(scval.to_duration),
    st.integers(0, 2**128 - 1).map(scval.to_uint128),
    st.integers(-(2**127), 2**127 - 1).map(scval.to_int128),
    st.integers(0, 2**256 - 1).map(scval.to_uint256),
    st.integers(-(2**255), 2**255 - 1).map(scval.to_int256),
    st.binary(max_size=40).map(scval.to_bytes),
    st.text(max_size=20).map(scval.to_string),
    names.map(scval.to_symbol),
    addresses.map(scval.to_address),
    st.integers(0, 2**32 - 1).map(
        lambda code: sdk.SCVal(
            sdk.SCValType.SCV_ERROR,
            error=sdk.SCError(sdk.SCErrorType.SCE_CONTRACT, contract_code=sdk.Uint32(code)),
        )
    ),
)
values = st.recursive(
    simple,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(scval.to_vec),
        st.dictionaries(names, inner, max_size=4).map(
            lambda pairs: scval.to_map({scval.to_symbol(k): v for k, v in pairs.items()})
        ),
    ),
    max_leaves=12,
)


def function(args: list[sdk.SCVal]) -> sdk.SorobanAuthorizedFunction:
    return sdk.SorobanAuthorizedFunction(
        sdk.SorobanAuthorizedFunctionType.SOROBAN_AUTHORIZED_FUNCTION_TYPE_CONTRACT_FN,
        contract_fn=sdk.InvokeContractArgs(
            scval.to_address(CONTRACT).address, sdk.SCSymbol(b"transfer"), args
        ),
    )


invocations = st.recursive(
    st.lists(simple, max_size=3).map(
        lambda args: sdk.SorobanAuthorizedInvocation(function(args), [])
    ),
    lambda inner: st.lists(inner, max_size=3).map(
        lambda children: sdk.SorobanAuthorizedInvocation(function([]), children)
    ),
    max_leaves=6,
)


@st.composite
def entries(draw: st.DrawFn) -> sdk.SorobanAuthorizationEntry:
    address = sdk.SorobanAddressCredentials(
        scval.to_address(draw(addresses)).address,
        sdk.Int64(draw(st.integers(-(2**63), 2**63 - 1))),
        sdk.Uint32(draw(st.integers(0, 2**32 - 1))),
        draw(simple),
    )
    delegate = sdk.SorobanDelegateSignature(
        scval.to_address(draw(addresses)).address, draw(simple), []
    )
    kinds = sdk.SorobanCredentialsType
    credentials = draw(
        st.sampled_from(
            [
                sdk.SorobanCredentials(kinds.SOROBAN_CREDENTIALS_SOURCE_ACCOUNT),
                sdk.SorobanCredentials(kinds.SOROBAN_CREDENTIALS_ADDRESS, address=address),
                sdk.SorobanCredentials(kinds.SOROBAN_CREDENTIALS_ADDRESS_V2, address_v2=address),
                sdk.SorobanCredentials(
                    kinds.SOROBAN_CREDENTIALS_ADDRESS_WITH_DELEGATES,
                    address_with_delegates=sdk.SorobanAddressCredentialsWithDelegates(
                        address, [delegate]
                    ),
                ),
            ]
        )
    )
    return sdk.SorobanAuthorizationEntry(credentials, draw(invocations))


def envelopes() -> list[bytes]:
    """One of many sorts: operations the sandbox applies, and others it only reads past."""
    usdc = Asset("USDC", SOMEBODY.public_key)
    long = Asset("LONGNAME", SOMEBODY.public_key)
    me = SOMEBODY.public_key

    def start() -> TransactionBuilder:
        return TransactionBuilder(SdkAccount(me, 41), NETWORK, 100)

    builders = [
        start().append_create_account_op(me, "1").add_text_memo("hello").set_timeout(0),
        start().append_payment_op(me, usdc, "2", source=me).add_hash_memo(b"\1" * 32),
        start().append_change_trust_op(long, "3").add_id_memo(7).add_time_bounds(1, 2),
        start().append_set_options_op(
            set_flags=AuthorizationFlag.AUTHORIZATION_REQUIRED,
            home_domain="x.org",
            signer=Signer.sha256_hash(b"\2" * 32, 1),
        ),
        start()
        .append_set_options_op(
            signer=Signer.ed25519_public_key(SOMEBODY.public_key, 1),
        )
        .set_ledger_bounds(3, 4)
        .set_min_sequence_number(5)
        .set_min_sequence_age(6)
        .set_min_sequence_ledger_gap(7)
        .add_extra_signer(me),
        start().append_manage_data_op("name", b"value").append_bump_sequence_op(9),
        start().append_set_trust_line_flags_op(me, usdc, TrustLineFlags.AUTHORIZED_FLAG),
        start().append_manage_sell_offer_op(usdc, long, "1", Price(1, 2)),
        start().append_inflation_op().append_account_merge_op(me),
        start().append_invoke_contract_function_op(CONTRACT, "f", [scval.to_int128(1)]),
        start().append_create_stellar_asset_contract_from_asset_op(usdc),
        start().append_create_contract_op(b"\3" * 32, me, [scval.to_bool(True)], b"\4" * 32),
        start().append_upload_contract_wasm_op(b"\0asm"),
        start().append_extend_footprint_ttl_op(99),
        start().append_restore_footprint_op(),
    ]
    found = []
    for builder in builders:
        if builder.time_bounds is None:
            builder.add_time_bounds(0, 0)
        envelope = builder.build()
        envelope.sign(SOMEBODY)
        found.append(envelope.to_xdr_object().to_xdr_bytes())
        bump = TransactionBuilder.build_fee_bump_transaction(me, 300, envelope, NETWORK)
        bump.sign(SOMEBODY)
        found.append(bump.to_xdr_object().to_xdr_bytes())
    return found


ENVELOPES = envelopes()


@given(values)
def test_values_keep_their_bytes(value: sdk.SCVal) -> None:
    data = value.to_xdr_bytes()
    parsed = Val.parse(data)
    assert parsed.xdr == data
    assert parsed.kind == value.type.value


@given(entries())
def test_authorizations_keep_their_bytes(entry: sdk.SorobanAuthorizationEntry) -> None:
    data = entry.to_xdr_bytes()
    assert AuthorizationEntry.parse(data).xdr == data


@given(values, st.booleans())
def test_ledger_keys_keep_their_bytes(value: sdk.SCVal, temporary: bool) -> None:
    key = sdk.LedgerKey(
        sdk.LedgerEntryType.CONTRACT_DATA,
        contract_data=sdk.LedgerKeyContractData(
            scval.to_address(CONTRACT).address,
            value,
            sdk.ContractDataDurability(0 if temporary else 1),
        ),
    )
    data = key.to_xdr_bytes()
    assert LedgerKey.parse(data).xdr == data


@pytest.mark.parametrize("data", ENVELOPES)
def test_envelopes_are_read(data: bytes) -> None:
    assert Envelope.parse(data).xdr == data


def agree(data: bytes, ours: Callable[[bytes], Any], theirs: Any) -> None:
    """Both take the bytes as the one encoding of something, or both do not."""
    try:
        expected = theirs.from_xdr_bytes(data).to_xdr_bytes() == data
    except Exception:  # noqa: BLE001 - the SDK's decoder raises bare Exceptions of its own
        expected = False
    try:
        taken = ours(data).xdr == data
    except XdrError:
        taken = False
    assert taken == expected


@given(st.sampled_from(ENVELOPES), st.data())
def test_damaged_envelopes_are_judged_as_by_the_sdk(data: bytes, draw: st.DataObject) -> None:
    damaged = bytearray(data)
    for _ in range(draw.draw(st.integers(1, 3))):
        where = draw.draw(st.integers(0, len(damaged) - 1))
        damaged[where] = draw.draw(st.sampled_from([0, 1, 2, 3, 4, 5, 9, 127, 255]))
    cut = draw.draw(st.sampled_from([len(data), len(data), len(data) - 4, len(data) // 2]))
    agree(bytes(damaged[:cut]), Envelope.parse, sdk.TransactionEnvelope)


@given(values, st.data())
def test_damaged_values_are_judged_as_by_the_sdk(value: sdk.SCVal, draw: st.DataObject) -> None:
    damaged = bytearray(value.to_xdr_bytes())
    where = draw.draw(st.integers(0, len(damaged) - 1))
    damaged[where] = draw.draw(st.integers(0, 255))
    agree(bytes(damaged), Val.parse, sdk.SCVal)


@given(entries(), st.data())
def test_damaged_authorizations_are_judged_as_by_the_sdk(
    entry: sdk.SorobanAuthorizationEntry, draw: st.DataObject
) -> None:
    damaged = bytearray(entry.to_xdr_bytes())
    where = draw.draw(st.integers(0, len(damaged) - 1))
    damaged[where] = draw.draw(st.sampled_from([0, 1, 2, 3, 255]))
    agree(bytes(damaged), AuthorizationEntry.parse, sdk.SorobanAuthorizationEntry)


@given(st.binary(max_size=120))
def test_noise_is_judged_as_by_the_sdk(noise: bytes) -> None:
    for ours, theirs in (
        (Envelope.parse, sdk.TransactionEnvelope),
        (Val.parse, sdk.SCVal),
        (LedgerKey.parse, sdk.LedgerKey),
        (AuthorizationEntry.parse, sdk.SorobanAuthorizationEntry),
    ):
        agree(noise, ours, theirs)


def nested(levels: int) -> bytes:
    """A vector in a vector in a vector, around nothing at all."""
    one = b"\0\0\0\x10" + b"\0\0\0\1" * 2
    return one * levels + b"\0\0\0\1"


def test_nesting_has_an_end() -> None:
    assert Val.parse(nested(MAX_DEPTH - 1)).xdr == nested(MAX_DEPTH - 1)
    with pytest.raises(XdrError):
        Val.parse(nested(MAX_DEPTH + 1))
    with pytest.raises(XdrError):
        Val.parse(nested(100_000))


def test_lengths_are_not_believed() -> None:
    with pytest.raises(XdrError):
        Val.parse(b"\0\0\0\x10" + b"\0\0\0\1" + b"\xff\xff\xff\xff")
    with pytest.raises(XdrError):
        Val.parse(b"\0\0\0\x0d" + b"\xff\xff\xff\xff")
