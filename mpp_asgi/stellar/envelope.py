"""Transactions of one operation, written byte by byte, and fee bumps around them.

Everything here has one shape: a source, a sequence number, a fee, a time limit, no memo, one
operation and Soroban resources. Writing that shape directly costs microseconds where the general
XDR classes take hundreds, and it lets a sponsor copy a payer's operation without re-encoding it.

A fee bump has another account pay for a transaction. Whatever is bid, and however often, the
transaction inside stays the same: its sequence number lets it into the ledger once, and its hash
finds it there, whichever bump has brought it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stellar_sdk import StrKey
from stellar_sdk.exceptions import Ed25519PublicKeyInvalidError

if TYPE_CHECKING:
    from stellar_sdk import Keypair

NULL_ACCOUNT: Final = "GAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAWHF"
"""The all-zeros account: the source of a transaction whose fee the server will pay."""

MIN_INCLUSION_FEE: Final = 100
"""Stroops that the network asks for an operation at least, resources apart."""

_ENVELOPE_TX: Final = struct.pack(">i", 2)
_ENVELOPE_FEE_BUMP: Final = struct.pack(">i", 5)
_NO_SIGNATURES: Final = struct.pack(">I", 0)


class EnvelopeError(ValueError):
    """A transaction cannot be written with such values."""


@dataclass(frozen=True, slots=True)
class SignedEnvelope:
    """A transaction ready to be submitted."""

    xdr: str
    """TransactionEnvelope (base64 XDR)."""
    hash: str
    """64 hex digits."""


def unsigned_envelope(
    operation: bytes,
    *,
    source: str,
    sequence: int = 1,
    fee: int = MIN_INCLUSION_FEE,
    max_time: int | None = None,
    soroban_data: str | None = None,
) -> str:
    """A TransactionEnvelope (base64 XDR) without signatures, good enough to simulate.

    Args:
        operation: Operation (XDR).
        source: who pays the fee and lends the sequence number (``G…``).
        sequence: the transaction's own number: the account's plus one.
        fee: stroops, in all.
        max_time: Unix seconds after which the transaction is void; ``None``: never.
        soroban_data: SorobanTransactionData (base64 XDR) from a simulation.

    Raises:
        EnvelopeError: a value does not fit.
    """
    tagged = _tagged_transaction(
        operation,
        source=source,
        sequence=sequence,
        fee=fee,
        max_time=max_time,
        soroban_data=soroban_data,
    )
    return base64.b64encode(tagged + _NO_SIGNATURES).decode("ascii")


def signed_envelope(
    operation: bytes,
    *,
    source: str,
    sequence: int,
    fee: int,
    max_time: int | None,
    soroban_data: str,
    signer: Keypair,
    passphrase: str,
) -> SignedEnvelope:
    """The same transaction with one signature; arguments and errors as `unsigned_envelope`."""
    tagged = _tagged_transaction(
        operation,
        source=source,
        sequence=sequence,
        fee=fee,
        max_time=max_time,
        soroban_data=soroban_data,
    )
    digest = transaction_hash(tagged, passphrase)
    signed = tagged + _signature(signer, digest)
    return SignedEnvelope(base64.b64encode(signed).decode("ascii"), digest.hex())


def fee_bumped(
    inner: SignedEnvelope, *, fee: int, signer: Keypair, passphrase: str
) -> SignedEnvelope:
    """A fee bump around a signed transaction, known by that transaction's hash.

    Args:
        inner: the transaction, of `signed_envelope`.
        fee: stroops, in all: for the operation, for the bump itself and for resources.
        signer: who pays.
        passphrase: the network's.

    Raises:
        EnvelopeError: the fee does not fit.
    """
    try:
        head = struct.pack(">i32sq", 0, signer.raw_public_key(), fee)
    except struct.error:
        raise EnvelopeError(f"No transaction can have fee {fee}.") from None
    no_extension = struct.pack(">i", 0)
    tagged = b"".join((_ENVELOPE_FEE_BUMP, head, base64.b64decode(inner.xdr), no_extension))
    signed = tagged + _signature(signer, transaction_hash(tagged, passphrase))
    return SignedEnvelope(base64.b64encode(signed).decode("ascii"), inner.hash)


def _signature(signer: Keypair, digest: bytes) -> bytes:
    """DecoratedSignature, the only one."""
    return struct.pack(">I4sI64s", 1, signer.signature_hint(), 64, signer.sign(digest))


def transaction_hash(tagged_transaction: bytes, passphrase: str) -> bytes:
    """The hash that is signed: over the envelope's bytes from its start to its signatures."""
    return hashlib.sha256(network_id(passphrase) + tagged_transaction).digest()


def network_id(passphrase: str) -> bytes:
    """What stands for the network in everything that is signed (32 bytes)."""
    return hashlib.sha256(passphrase.encode("utf-8")).digest()


def _tagged_transaction(
    operation: bytes,
    *,
    source: str,
    sequence: int,
    fee: int,
    max_time: int | None,
    soroban_data: str | None,
) -> bytes:
    key = _account_key(source)
    resources = _resources(soroban_data)
    try:
        head = struct.pack(
            ">i32sIqiQQiI",
            0,  # KEY_TYPE_ED25519
            key,
            fee,
            sequence,
            1,  # PRECOND_TIME
            0,  # minTime
            max_time or 0,
            0,  # MEMO_NONE
            1,  # operations
        )
    except struct.error:
        raise EnvelopeError(
            f"No transaction can have fee {fee}, sequence {sequence} and time limit {max_time}."
        ) from None
    return b"".join((_ENVELOPE_TX, head, operation, resources))


def _account_key(address: str) -> bytes:
    try:
        return StrKey.decode_ed25519_public_key(address)
    except Ed25519PublicKeyInvalidError:
        raise EnvelopeError(f"{address!r} is not the address of an account.") from None


def _resources(soroban_data: str | None) -> bytes:
    """TransactionExt."""
    if soroban_data is None:
        return struct.pack(">i", 0)
    try:
        return struct.pack(">i", 1) + base64.b64decode(soroban_data, validate=True)
    except binascii.Error:
        raise EnvelopeError("The Soroban resources are not base64.") from None
