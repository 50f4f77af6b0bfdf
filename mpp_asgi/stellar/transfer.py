"""A SEP-41 transfer, and how a payer builds one that pays a charge (draft-stellar-charge).

Everything signed here is made from the `Transfer` that the payer agreed to, never from what an RPC
or a server sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stellar_sdk import scval

from mpp_asgi.stellar.invocation import (
    call_operation,
    contract_call,
    leave_of_source,
    signed_leave,
    sponsored_call,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stellar_sdk import Keypair, xdr

    from mpp_asgi.stellar.invocation import Call

TRANSFER: Final = "transfer"

_MAX_AMOUNT: Final = 2**127 - 1


class TransferError(ValueError):
    """No such transfer can be built, or what was received cannot be read."""


class EncodingError(TransferError):
    """What was received is no XDR in base64."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """``amount`` base units of ``token`` from ``sender`` to ``recipient``."""

    token: str
    """The token's contract (``C…``)."""
    sender: str
    recipient: str
    amount: int


def transfer_operation(
    transfer: Transfer, auth: Sequence[xdr.SorobanAuthorizationEntry] = ()
) -> bytes:
    """The Operation (XDR) that makes the transfer.

    Raises:
        TransferError: an address or the amount is impossible.
    """
    return call_operation(transfer_call(transfer), auth)


def source_authorization(transfer: Transfer) -> xdr.SorobanAuthorizationEntry:
    """The sender's leave, given by being the transaction's source and signing that."""
    return leave_of_source(transfer_call(transfer))


def signed_authorization(
    transfer: Transfer,
    *,
    nonce: int,
    expiration_ledger: int,
    signer: Keypair,
    passphrase: str,
) -> xdr.SorobanAuthorizationEntry:
    """The sender's leave for this transfer and nothing else, once, in anybody's transaction.

    Args:
        transfer: what is allowed; ``sender`` is the signer's account.
        nonce: random, signed 64 bits.
        expiration_ledger: the last ledger in which the entry is valid.
        signer: the sender's key.
        passphrase: the network's.

    Returns:
        An entry of the kind ``sorobanCredentialsAddress`` without sub-invocations.

    Raises:
        TransferError: an address or the amount is impossible.
    """
    return signed_leave(
        transfer_call(transfer),
        address=transfer.sender,
        nonce=nonce,
        expiration_ledger=expiration_ledger,
        signer=signer,
        passphrase=passphrase,
    )


def sponsored_envelope(
    transfer: Transfer,
    *,
    nonce: int,
    expiration_ledger: int,
    max_time: int,
    signer: Keypair,
    passphrase: str,
) -> str:
    """What the payer of a sponsored charge sends: the TransactionEnvelope (base64 XDR) with the
    all-zeros source, one signed authorization entry and no signature of its own.

    Arguments and errors as `signed_authorization`; ``max_time`` in Unix seconds.
    """
    return sponsored_call(
        transfer_call(transfer),
        address=transfer.sender,
        nonce=nonce,
        expiration_ledger=expiration_ledger,
        max_time=max_time,
        signer=signer,
        passphrase=passphrase,
    )


def transfer_call(transfer: Transfer) -> Call:
    """The call that is the transfer.

    Raises:
        TransferError: an address or the amount is impossible.
    """
    if not 0 <= transfer.amount <= _MAX_AMOUNT:
        raise TransferError(f"{transfer.amount} is no amount that can be transferred.")
    try:
        args = [
            scval.to_address(transfer.sender),
            scval.to_address(transfer.recipient),
            scval.to_int128(transfer.amount),
        ]
        return contract_call(transfer.token, TRANSFER, args)
    except ValueError as error:
        raise TransferError(str(error)) from None
