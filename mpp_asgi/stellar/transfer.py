"""A SEP-41 transfer, and how a payer builds one that pays a charge (draft-stellar-charge).

Everything signed here is made from the `Transfer` that the payer agreed to, never from what an RPC
or a server sent.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stellar_sdk import scval, xdr

from mpp_asgi.stellar.address import address_to_xdr
from mpp_asgi.stellar.envelope import NULL_ACCOUNT, network_id, unsigned_envelope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stellar_sdk import Keypair

TRANSFER: Final = "transfer"

_MAX_AMOUNT: Final = 2**127 - 1


class TransferError(ValueError):
    """No such transfer can be built, or what was received cannot be read."""


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
    host_function = xdr.HostFunction(
        type=xdr.HostFunctionType.HOST_FUNCTION_TYPE_INVOKE_CONTRACT,
        invoke_contract=_invocation(transfer),
    )
    body = xdr.OperationBody(
        type=xdr.OperationType.INVOKE_HOST_FUNCTION,
        invoke_host_function_op=xdr.InvokeHostFunctionOp(host_function, list(auth)),
    )
    return xdr.Operation(source_account=None, body=body).to_xdr_bytes()


def source_authorization(transfer: Transfer) -> xdr.SorobanAuthorizationEntry:
    """The sender's leave, given by being the transaction's source and signing that."""
    return xdr.SorobanAuthorizationEntry(
        credentials=xdr.SorobanCredentials(
            type=xdr.SorobanCredentialsType.SOROBAN_CREDENTIALS_SOURCE_ACCOUNT
        ),
        root_invocation=_root_invocation(transfer),
    )


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
    invocation = _root_invocation(transfer)
    preimage = xdr.HashIDPreimage(
        type=xdr.EnvelopeType.ENVELOPE_TYPE_SOROBAN_AUTHORIZATION,
        soroban_authorization=xdr.HashIDPreimageSorobanAuthorization(
            network_id=xdr.Hash(network_id(passphrase)),
            nonce=xdr.Int64(nonce),
            signature_expiration_ledger=xdr.Uint32(expiration_ledger),
            invocation=invocation,
        ),
    )
    signature = signer.sign(hashlib.sha256(preimage.to_xdr_bytes()).digest())
    credentials = xdr.SorobanAddressCredentials(
        address=_address(transfer.sender),
        nonce=xdr.Int64(nonce),
        signature_expiration_ledger=xdr.Uint32(expiration_ledger),
        signature=_account_signature(signer.raw_public_key(), signature),
    )
    return xdr.SorobanAuthorizationEntry(
        credentials=xdr.SorobanCredentials(
            type=xdr.SorobanCredentialsType.SOROBAN_CREDENTIALS_ADDRESS, address=credentials
        ),
        root_invocation=invocation,
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
    entry = signed_authorization(
        transfer,
        nonce=nonce,
        expiration_ledger=expiration_ledger,
        signer=signer,
        passphrase=passphrase,
    )
    return unsigned_envelope(
        transfer_operation(transfer, [entry]), source=NULL_ACCOUNT, max_time=max_time
    )


def _root_invocation(transfer: Transfer) -> xdr.SorobanAuthorizedInvocation:
    function = xdr.SorobanAuthorizedFunction(
        type=xdr.SorobanAuthorizedFunctionType.SOROBAN_AUTHORIZED_FUNCTION_TYPE_CONTRACT_FN,
        contract_fn=_invocation(transfer),
    )
    return xdr.SorobanAuthorizedInvocation(function=function, sub_invocations=[])


def _invocation(transfer: Transfer) -> xdr.InvokeContractArgs:
    if not 0 <= transfer.amount <= _MAX_AMOUNT:
        raise TransferError(f"{transfer.amount} is no amount that can be transferred.")
    token = _address(transfer.token)
    if token.type != xdr.SCAddressType.SC_ADDRESS_TYPE_CONTRACT:
        raise TransferError(f"{transfer.token!r} is not the address of a contract.")
    return xdr.InvokeContractArgs(
        contract_address=token,
        function_name=xdr.SCSymbol(TRANSFER.encode("ascii")),
        args=[
            xdr.SCVal(xdr.SCValType.SCV_ADDRESS, address=_address(transfer.sender)),
            xdr.SCVal(xdr.SCValType.SCV_ADDRESS, address=_address(transfer.recipient)),
            scval.to_int128(transfer.amount),
        ],
    )


def _address(address: str) -> xdr.SCAddress:
    try:
        return address_to_xdr(address)
    except ValueError:
        raise TransferError(f"{address!r} is not the address of an account or contract.") from None


def _account_signature(public_key: bytes, signature: bytes) -> xdr.SCVal:
    """What an account's authorization looks like to the host: ``[{public_key, signature}]``."""
    signed = {
        scval.to_symbol("public_key"): scval.to_bytes(public_key),
        scval.to_symbol("signature"): scval.to_bytes(signature),
    }
    return scval.to_vec([scval.to_map(signed)])
