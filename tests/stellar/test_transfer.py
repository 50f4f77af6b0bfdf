"""Transfers as a payer builds them, checked against the SDK's own classes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stellar_sdk import (
    Account,
    Keypair,
    SorobanDataBuilder,
    TransactionBuilder,
    TransactionEnvelope,
    scval,
    xdr,
)
from stellar_sdk.auth import authorize_entry

from mpp_asgi.stellar.envelope import (
    NULL_ACCOUNT,
    EnvelopeError,
    signed_envelope,
    unsigned_envelope,
)
from mpp_asgi.stellar.network import PUBNET, TESTNET
from mpp_asgi.stellar.transfer import (
    Transfer,
    TransferError,
    signed_authorization,
    source_authorization,
    sponsored_envelope,
    transfer_operation,
)

PAYER = Keypair.from_raw_ed25519_seed(b"p" * 32)
SPONSOR = Keypair.from_raw_ed25519_seed(b"s" * 32)
RECIPIENT = Keypair.from_raw_ed25519_seed(b"r" * 32).public_key
USDC = TESTNET.tokens["USDC"].address
TRANSFER = Transfer(USDC, PAYER.public_key, RECIPIENT, 100_000)
RESOURCES = SorobanDataBuilder().set_resource_fee(23_456).set_resources(1, 2, 3).build().to_xdr()

amounts = st.integers(0, 2**127 - 1)
nonces = st.integers(-(2**63), 2**63 - 1)
ledgers = st.integers(0, 2**32 - 1)
sequences = st.integers(1, 2**63 - 1)
fees = st.integers(0, 2**32 - 1)
times = st.integers(1, 2**63 - 1)


def by_the_sdk(transfer: Transfer, source: str, sequence: int, fee: int, max_time: int) -> bytes:
    """The same transaction from the SDK's builder, which the SDK signs elsewhere."""
    builder = TransactionBuilder(
        Account(source, sequence - 1), TESTNET.passphrase, base_fee=fee, v1=True
    )
    builder.append_invoke_contract_function_op(
        transfer.token,
        "transfer",
        [
            scval.to_address(transfer.sender),
            scval.to_address(transfer.recipient),
            scval.to_int128(transfer.amount),
        ],
    )
    return builder.add_time_bounds(0, max_time).build().to_xdr_object().to_xdr_bytes()


@settings(deadline=None)
@given(amount=amounts, sequence=sequences, fee=fees, max_time=times)
def test_unsigned_envelope_is_what_the_sdk_builds(
    amount: int, sequence: int, fee: int, max_time: int
) -> None:
    transfer = Transfer(USDC, PAYER.public_key, RECIPIENT, amount)
    envelope = unsigned_envelope(
        transfer_operation(transfer),
        source=SPONSOR.public_key,
        sequence=sequence,
        fee=fee,
        max_time=max_time,
    )
    ours = xdr.TransactionEnvelope.from_xdr(envelope).to_xdr_bytes()
    assert ours == by_the_sdk(transfer, SPONSOR.public_key, sequence, fee, max_time)


def test_signed_envelope_is_hashed_and_signed_as_the_sdk_does() -> None:
    signed = signed_envelope(
        transfer_operation(TRANSFER, [source_authorization(TRANSFER)]),
        source=PAYER.public_key,
        sequence=77,
        fee=23_556,
        max_time=1_700_000_300,
        soroban_data=RESOURCES,
        signer=PAYER,
        passphrase=TESTNET.passphrase,
    )
    parsed = TransactionEnvelope.from_xdr(signed.xdr, TESTNET.passphrase)
    assert signed.hash == parsed.hash_hex()
    assert parsed.to_xdr() == signed.xdr
    [signature] = parsed.signatures
    assert signature.signature_hint == PAYER.signature_hint()
    PAYER.verify(parsed.hash(), signature.signature)

    transaction = parsed.transaction
    assert transaction.source.account_id == PAYER.public_key
    assert (transaction.sequence, transaction.fee) == (77, 23_556)
    assert transaction.soroban_data is not None
    assert transaction.soroban_data.to_xdr() == RESOURCES
    bounds = transaction.preconditions and transaction.preconditions.time_bounds
    assert bounds is not None
    assert (bounds.min_time, bounds.max_time) == (0, 1_700_000_300)


def test_signature_is_for_one_network() -> None:
    def signed(passphrase: str) -> str:
        return signed_envelope(
            transfer_operation(TRANSFER),
            source=PAYER.public_key,
            sequence=1,
            fee=100,
            max_time=None,
            soroban_data=RESOURCES,
            signer=PAYER,
            passphrase=passphrase,
        ).hash

    assert signed(TESTNET.passphrase) != signed(PUBNET.passphrase)


@settings(deadline=None)
@given(amount=amounts, nonce=nonces, expiration_ledger=ledgers)
def test_signed_authorization_is_what_the_sdk_signs(
    amount: int, nonce: int, expiration_ledger: int
) -> None:
    transfer = Transfer(USDC, PAYER.public_key, RECIPIENT, amount)
    entry = signed_authorization(
        transfer,
        nonce=nonce,
        expiration_ledger=expiration_ledger,
        signer=PAYER,
        passphrase=TESTNET.passphrase,
    )
    blank = xdr.SorobanAuthorizationEntry.from_xdr(entry.to_xdr())
    assert blank.credentials.address is not None
    assert blank.credentials.address.nonce.int64 == nonce
    blank.credentials.address.signature = scval.to_void()
    assert authorize_entry(blank, PAYER, expiration_ledger, TESTNET.passphrase) == entry


def test_sponsored_envelope_has_nothing_but_the_signed_entry() -> None:
    envelope = sponsored_envelope(
        TRANSFER,
        nonce=-5,
        expiration_ledger=1234,
        max_time=1_700_000_300,
        signer=PAYER,
        passphrase=TESTNET.passphrase,
    )
    parsed = TransactionEnvelope.from_xdr(envelope, TESTNET.passphrase)
    assert parsed.transaction.source.account_id == NULL_ACCOUNT
    assert parsed.transaction.soroban_data is None
    assert parsed.signatures == []
    operation = transfer_operation(
        TRANSFER,
        [
            signed_authorization(
                TRANSFER,
                nonce=-5,
                expiration_ledger=1234,
                signer=PAYER,
                passphrase=TESTNET.passphrase,
            )
        ],
    )
    [ours] = parsed.transaction.operations
    assert ours.to_xdr_object().to_xdr_bytes() == operation


@pytest.mark.parametrize(
    "transfer",
    [
        Transfer(USDC, PAYER.public_key, RECIPIENT, -1),
        Transfer(USDC, PAYER.public_key, RECIPIENT, 2**127),
        Transfer("USDC", PAYER.public_key, RECIPIENT, 1),
        Transfer(USDC, "", RECIPIENT, 1),
        Transfer(USDC, PAYER.public_key, RECIPIENT[:-1] + "A", 1),
        Transfer(RECIPIENT, PAYER.public_key, RECIPIENT, 1),
    ],
)
def test_impossible_transfer_is_refused(transfer: Transfer) -> None:
    with pytest.raises(TransferError):
        transfer_operation(transfer)


@pytest.mark.parametrize(
    "values",
    [
        {"fee": -1},
        {"fee": 2**32},
        {"sequence": 2**63},
        {"max_time": -1},
        {"max_time": 2**64},
        {"source": USDC},
        {"source": ""},
        {"soroban_data": "not base64"},
    ],
    ids=str,
)
def test_impossible_envelope_is_refused(values: dict[str, object]) -> None:
    settings = {"source": PAYER.public_key} | values
    with pytest.raises(EnvelopeError):
        unsigned_envelope(transfer_operation(TRANSFER), **settings)
