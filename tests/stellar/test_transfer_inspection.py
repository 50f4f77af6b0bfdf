"""What inspection sees in a payer's transaction, and that garbage never gets past it."""

import base64
import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stellar_sdk import (
    Account,
    Asset,
    Keypair,
    MuxedAccount,
    Operation,
    SorobanDataBuilder,
    TransactionBuilder,
    TransactionEnvelope,
    scval,
    xdr,
)

from mpp_asgi.stellar.envelope import NULL_ACCOUNT, signed_envelope
from mpp_asgi.stellar.inspection import (
    MAX_ENVELOPE,
    InspectedAuthorization,
    InspectedTransfer,
    inspect_envelope,
)
from mpp_asgi.stellar.network import TESTNET
from mpp_asgi.stellar.transfer import (
    Transfer,
    TransferError,
    source_authorization,
    sponsored_envelope,
    transfer_operation,
)

PAYER = Keypair.from_raw_ed25519_seed(b"p" * 32)
SPONSOR = Keypair.from_raw_ed25519_seed(b"s" * 32)
RECIPIENT = Keypair.from_raw_ed25519_seed(b"r" * 32).public_key
USDC = TESTNET.tokens["USDC"].address
TRANSFER = Transfer(USDC, PAYER.public_key, RECIPIENT, 100_000)
PASSPHRASE = TESTNET.passphrase

SPONSORED = sponsored_envelope(
    TRANSFER,
    nonce=-5,
    expiration_ledger=1234,
    max_time=1_700_000_300,
    signer=PAYER,
    passphrase=PASSPHRASE,
)

VOID = scval.to_void()
ADDRESS = scval.to_address(RECIPIENT)
AMOUNT = scval.to_int128(5)


def inspected(envelope: TransactionEnvelope | str) -> InspectedTransfer:
    text = envelope if isinstance(envelope, str) else envelope.to_xdr()
    return inspect_envelope(text, PASSPHRASE)


def builder(**settings: Any) -> TransactionBuilder:
    source = settings.pop("source", Account(PAYER.public_key, 6))
    return TransactionBuilder(source, PASSPHRASE, base_fee=100, **settings)


def calling(function: str, *args: xdr.SCVal) -> TransactionBuilder:
    return builder().set_timeout(0).append_invoke_contract_function_op(USDC, function, list(args))


def test_sponsored_transfer() -> None:
    assert inspected(SPONSORED) == InspectedTransfer(
        hash=TransactionEnvelope.from_xdr(SPONSORED, PASSPHRASE).hash_hex(),
        fee_bump=False,
        source=NULL_ACCOUNT,
        sequence=1,
        fee=100,
        min_time=None,
        max_time=1_700_000_300,
        other_preconditions=False,
        memo=False,
        operations=("INVOKE_HOST_FUNCTION",),
        operation_source=None,
        operation=xdr.TransactionEnvelope.from_xdr(SPONSORED).v1.tx.operations[0].to_xdr_bytes(),
        transfer=TRANSFER,
        no_transfer=None,
        authorizations=(
            InspectedAuthorization(
                kind="address",
                address=PAYER.public_key,
                nonce=-5,
                expiration_ledger=1234,
                signed=True,
                authorizes_operation=True,
                sub_invocations=0,
            ),
        ),
        signatures=0,
    )


def test_unsponsored_transfer() -> None:
    signed = signed_envelope(
        transfer_operation(TRANSFER, [source_authorization(TRANSFER)]),
        source=PAYER.public_key,
        sequence=77,
        fee=23_556,
        max_time=1_700_000_300,
        soroban_data=SorobanDataBuilder().build().to_xdr(),
        signer=PAYER,
        passphrase=PASSPHRASE,
    )
    seen = inspected(signed.xdr)
    assert seen.hash == signed.hash
    assert (seen.source, seen.sequence, seen.fee) == (PAYER.public_key, 77, 23_556)
    assert (seen.transfer, seen.signatures) == (TRANSFER, 1)
    assert seen.authorizations == (
        InspectedAuthorization(
            kind="source",
            address=None,
            nonce=None,
            expiration_ledger=None,
            signed=False,
            authorizes_operation=True,
            sub_invocations=0,
        ),
    )


def test_a_sponsor_can_take_the_operation_over() -> None:
    seen = inspected(SPONSORED)
    ours = signed_envelope(
        seen.operation,
        source=SPONSOR.public_key,
        sequence=5,
        fee=50_000,
        max_time=seen.max_time,
        soroban_data=SorobanDataBuilder().build().to_xdr(),
        signer=SPONSOR,
        passphrase=PASSPHRASE,
    )
    rebuilt = inspected(ours.xdr)
    assert rebuilt.operation == seen.operation
    assert rebuilt.authorizations == seen.authorizations
    assert (rebuilt.source, rebuilt.hash) == (SPONSOR.public_key, ours.hash)


def test_time_bounds() -> None:
    bounded = inspected(builder().add_time_bounds(5, 9).append_bump_sequence_op(1).build())
    assert (bounded.min_time, bounded.max_time) == (5, 9)
    endless = inspected(builder().add_time_bounds(0, 0).append_bump_sequence_op(1).build())
    assert (endless.min_time, endless.max_time) == (None, None)
    without = builder().append_bump_sequence_op(1)
    with pytest.warns(UserWarning, match="TimeBounds"):
        assert inspected(without.build()).max_time is None


@pytest.mark.parametrize(
    "condition",
    [
        lambda tx: tx.set_ledger_bounds(1, 2),
        lambda tx: tx.set_min_sequence_number(3),
        lambda tx: tx.set_min_sequence_age(4),
        lambda tx: tx.set_min_sequence_ledger_gap(5),
        lambda tx: tx.add_extra_signer(RECIPIENT),
    ],
    ids=["ledgers", "sequence", "age", "gap", "signer"],
)
def test_other_preconditions(condition: Any) -> None:
    transaction = builder().add_time_bounds(5, 9).append_bump_sequence_op(1)
    assert not inspected(transaction.build()).other_preconditions
    seen = inspected(condition(transaction).build())
    assert seen.other_preconditions
    assert (seen.min_time, seen.max_time) == (5, 9)


def test_memo_sources_and_further_operations() -> None:
    muxed = MuxedAccount(PAYER.public_key, 7)
    seen = inspected(
        builder(source=Account(muxed, 6))
        .set_timeout(0)
        .add_text_memo("hello")
        .append_operation(
            Operation.from_xdr_object(xdr.Operation.from_xdr_bytes(inspected(SPONSORED).operation))
        )
        .append_bump_sequence_op(1)
        .build()
    )
    assert seen.memo
    assert seen.source == muxed.account_muxed
    assert seen.operations == ("INVOKE_HOST_FUNCTION", "BUMP_SEQUENCE")
    assert seen.transfer == TRANSFER

    theirs = builder().set_timeout(0)
    theirs.append_payment_op(RECIPIENT, Asset.native(), "1", source=SPONSOR.public_key)
    assert inspected(theirs.build()).operation_source == SPONSOR.public_key


def test_fee_bump() -> None:
    inner = calling("transfer", ADDRESS, ADDRESS, AMOUNT).build()
    inner.sign(PAYER)
    bump = TransactionBuilder.build_fee_bump_transaction(SPONSOR, 200, inner, PASSPHRASE)
    bump.sign(SPONSOR)
    seen = inspected(bump.to_xdr())
    assert seen.fee_bump
    assert seen.hash == bump.hash_hex()
    assert (seen.source, seen.signatures) == (PAYER.public_key, 1)


@pytest.mark.parametrize(
    ("transaction", "reason"),
    [
        (builder().set_timeout(0).append_bump_sequence_op(1), "its operation is BUMP_SEQUENCE"),
        (
            builder().set_timeout(0).append_upload_contract_wasm_op(b"wasm"),
            "its host function is HOST_FUNCTION_TYPE_UPLOAD_CONTRACT_WASM",
        ),
        (calling("burn", ADDRESS, AMOUNT), "it calls 'burn'"),
        (calling("transfe", ADDRESS, ADDRESS, AMOUNT), "it calls 'transfe'"),
        (calling("transfer"), "the arguments are"),
        (calling("transfer", ADDRESS, ADDRESS), "the arguments are"),
        (calling("transfer", ADDRESS, ADDRESS, AMOUNT, AMOUNT), "the arguments are"),
        (calling("transfer", ADDRESS, ADDRESS, scval.to_int64(5)), "the arguments are"),
        (calling("transfer", ADDRESS, ADDRESS, scval.to_uint128(5)), "the arguments are"),
        (calling("transfer", ADDRESS, VOID, AMOUNT), "the arguments are"),
        (calling("transfer", VOID, ADDRESS, AMOUNT), "the arguments are"),
    ],
)
def test_what_is_no_transfer_says_why(transaction: TransactionBuilder, reason: str) -> None:
    seen = inspected(transaction.build())
    assert seen.transfer is None
    assert seen.no_transfer is not None
    assert seen.no_transfer.startswith(reason)


def test_calling_an_account_is_no_transfer() -> None:
    operation = xdr.Operation.from_xdr_bytes(transfer_operation(TRANSFER))
    call = operation.body.invoke_host_function_op.host_function.invoke_contract
    call.contract_address = scval.to_address(RECIPIENT).address
    transaction = builder().set_timeout(0)
    transaction.append_operation(Operation.from_xdr_object(operation))
    seen = inspected(transaction.build())
    assert (seen.transfer, seen.no_transfer) == (None, "what it calls is not a contract")


def test_negative_amounts_are_seen_as_such() -> None:
    seen = inspected(calling("transfer", ADDRESS, ADDRESS, scval.to_int128(-5)).build())
    assert seen.transfer == Transfer(USDC, RECIPIENT, RECIPIENT, -5)


# --- authorization entries ------------------------------------------------------------------------


def entry() -> xdr.SorobanAuthorizationEntry:
    """The signed entry of the sponsored transfer, to be spoilt."""
    operation = xdr.Operation.from_xdr_bytes(inspected(SPONSORED).operation)
    [honest] = operation.body.invoke_host_function_op.auth
    return honest


def authorization(*entries: xdr.SorobanAuthorizationEntry) -> tuple[InspectedAuthorization, ...]:
    operation = xdr.Operation.from_xdr_bytes(transfer_operation(TRANSFER, entries))
    transaction = builder().set_timeout(0)
    transaction.append_operation(Operation.from_xdr_object(operation))
    return inspected(transaction.build()).authorizations


def test_unsigned_entry() -> None:
    unsigned = entry()
    assert unsigned.credentials.address is not None
    unsigned.credentials.address.signature = VOID
    [seen] = authorization(unsigned)
    assert not seen.signed
    assert seen.kind == "address"


def test_entry_for_another_call() -> None:
    other = Transfer(USDC, PAYER.public_key, RECIPIENT, 100_001)
    [seen] = authorization(source_authorization(other))
    assert not seen.authorizes_operation


def test_entry_for_no_call_at_all() -> None:
    """Neither the entry nor the operation calls a contract; that does not make them agree."""
    creation = xdr.CreateContractArgs(
        contract_id_preimage=xdr.ContractIDPreimage(
            xdr.ContractIDPreimageType.CONTRACT_ID_PREIMAGE_FROM_ASSET,
            from_asset=Asset.native().to_xdr_object(),
        ),
        executable=xdr.ContractExecutable(
            xdr.ContractExecutableType.CONTRACT_EXECUTABLE_STELLAR_ASSET
        ),
    )
    create = xdr.SorobanAuthorizedFunctionType
    odd = source_authorization(TRANSFER)
    odd.root_invocation.function = xdr.SorobanAuthorizedFunction(
        create.SOROBAN_AUTHORIZED_FUNCTION_TYPE_CREATE_CONTRACT_HOST_FN,
        create_contract_host_fn=creation,
    )
    operation = xdr.Operation.from_xdr_bytes(transfer_operation(TRANSFER, [odd]))
    operation.body.invoke_host_function_op.host_function = xdr.HostFunction(
        xdr.HostFunctionType.HOST_FUNCTION_TYPE_UPLOAD_CONTRACT_WASM, wasm=b"wasm"
    )
    upload = builder().set_timeout(0).append_operation(Operation.from_xdr_object(operation))
    [seen] = inspected(upload.build()).authorizations
    assert not seen.authorizes_operation


def test_entry_with_sub_invocations() -> None:
    greedy = entry()
    greedy.root_invocation.sub_invocations = [entry().root_invocation] * 2
    [seen] = authorization(greedy)
    assert seen.sub_invocations == 2
    assert seen.authorizes_operation


@pytest.mark.parametrize("kind", ["address_v2", "delegates"])
def test_entries_of_the_newer_kinds(kind: str) -> None:
    newer = entry()
    address = newer.credentials.address
    assert address is not None
    if kind == "address_v2":
        newer.credentials = xdr.SorobanCredentials(
            xdr.SorobanCredentialsType.SOROBAN_CREDENTIALS_ADDRESS_V2, address_v2=address
        )
    else:
        newer.credentials = xdr.SorobanCredentials(
            xdr.SorobanCredentialsType.SOROBAN_CREDENTIALS_ADDRESS_WITH_DELEGATES,
            address_with_delegates=xdr.SorobanAddressCredentialsWithDelegates(address, []),
        )
    [seen] = authorization(newer)
    assert seen.kind == kind
    assert (seen.address, seen.nonce, seen.expiration_ledger) == (PAYER.public_key, -5, 1234)


def test_every_entry_is_seen() -> None:
    seen = authorization(entry(), source_authorization(TRANSFER), entry())
    assert [each.kind for each in seen] == ["address", "source", "address"]


# --- garbage --------------------------------------------------------------------------------------

RAW = base64.b64decode(SPONSORED)


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


@pytest.mark.parametrize(
    ("envelope", "complaint"),
    [
        ("", "not valid XDR"),
        ("AAAA", "not valid XDR"),
        ("not base64!", "not base64"),
        ("é" * 8, "not base64"),
        (SPONSORED + "\n", "not base64"),
        (" " + SPONSORED, "not base64"),
        (SPONSORED.rstrip("=") + "A", "not"),
        (b64(RAW + b"\0"), "not canonical XDR"),
        (b64(RAW + RAW), "not canonical XDR"),
        (b64(RAW[:-1]), "not valid XDR"),
        (b64(b"\0\0\0\0" + RAW[4:]), "outdated kind"),
        (b64(b"\0\0\0\7" + RAW[4:]), "outdated kind"),
        (b64(b"\0\0\0\x63" + RAW[4:]), "not valid XDR"),
        (b64(bytes(MAX_ENVELOPE + 3)), "larger than 16384 bytes"),
        (b64(bytes(MAX_ENVELOPE)), "outdated kind"),
        (builder().set_timeout(0).build().to_xdr(), "has no operation"),
    ],
)
def test_garbage_is_refused_in_one_sentence(envelope: str, complaint: str) -> None:
    with pytest.raises(TransferError, match=complaint):
        inspected(envelope)


def test_loose_encodings_that_the_network_refuses_are_refused() -> None:
    """The padding after ``public_key`` (10 bytes, padded to 12) is not zero."""
    at = RAW.index(b"public_key") + 10
    with pytest.raises(TransferError, match="not canonical XDR"):
        inspected(b64(RAW[:at] + b"\1\0" + RAW[at + 2 :]))


def test_base64_with_stray_bits_is_refused() -> None:
    raw = RAW[: len(RAW) - len(RAW) % 3] + b"\0"
    text = b64(raw)
    assert text.endswith("AA==")
    with pytest.raises(TransferError, match="canonical base64"):
        inspected(text[:-3] + "B==")


def test_deep_nesting_is_refused() -> None:
    deep = VOID
    for _ in range(200):
        deep = scval.to_vec([deep])
    with pytest.raises(TransferError, match="not valid XDR"):
        inspected(calling("transfer", ADDRESS, ADDRESS, deep).build())


def test_absurd_counts_are_refused_at_once() -> None:
    at = RAW.index(b"transfer") + 8
    assert RAW[at : at + 4] == b"\0\0\0\3"
    with pytest.raises(TransferError, match="not valid XDR"):
        inspected(b64(RAW[:at] + b"\xff\xff\xff\xff" + RAW[at + 4 :]))


@settings(deadline=None)
@given(raw=st.binary(max_size=200), cut=st.integers(0, len(RAW)))
def test_random_bytes_are_refused_or_read(raw: bytes, cut: int) -> None:
    for garbage in (raw, RAW[:cut] + raw, RAW[:cut] + raw + RAW[cut + len(raw) :]):
        with contextlib.suppress(TransferError):
            inspected(b64(garbage))


@settings(deadline=None)
@given(text=st.text(max_size=50))
def test_random_text_is_refused(text: str) -> None:
    with pytest.raises(TransferError):
        inspected(text)


@settings(deadline=None)
@given(at=st.integers(0, len(RAW) - 1), flip=st.integers(1, 255))
def test_a_flipped_byte_never_keeps_the_hash(at: int, flip: int) -> None:
    mutated = bytearray(RAW)
    mutated[at] ^= flip
    with contextlib.suppress(TransferError):
        seen = inspected(b64(bytes(mutated)))
        assert seen.hash != inspected(SPONSORED).hash


@settings(deadline=None)
@given(
    amount=st.integers(-(2**127), 2**127 - 1),
    nonce=st.integers(-(2**63), 2**63 - 1),
    expiration_ledger=st.integers(0, 2**32 - 1),
)
def test_what_is_built_is_what_is_seen(amount: int, nonce: int, expiration_ledger: int) -> None:
    transfer = Transfer(USDC, PAYER.public_key, RECIPIENT, abs(amount) % 2**127)
    seen = inspected(
        sponsored_envelope(
            transfer,
            nonce=nonce,
            expiration_ledger=expiration_ledger,
            max_time=9,
            signer=PAYER,
            passphrase=PASSPHRASE,
        )
    )
    assert seen.transfer == transfer
    [entry_seen] = seen.authorizations
    assert (entry_seen.nonce, entry_seen.expiration_ledger) == (nonce, expiration_ledger)
