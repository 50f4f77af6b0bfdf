"""Contract calls as a payer makes them: the operation, and the leave given for it.

A call is written as the tree that its sender allows: the call itself, and below it the calls that
it makes in the sender's name. What is signed is made from such a tree, never from what an RPC or a
server sent.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from stellar_sdk import scval, xdr

from mpp_asgi.stellar.address import address_to_xdr
from mpp_asgi.stellar.envelope import NULL_ACCOUNT, network_id, unsigned_envelope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stellar_sdk import Keypair

Call = xdr.SorobanAuthorizedInvocation
"""A call and, below it, what it is allowed to do in the name of whoever allows it."""

_FUNCTION: Final = xdr.SorobanAuthorizedFunctionType


def contract_call(contract: str, function: str, args: Sequence[xdr.SCVal], *below: Call) -> Call:
    """A call of a contract's function.

    Raises:
        ValueError: ``contract`` is not the address of one (``C…``).
    """
    called = xdr.InvokeContractArgs(
        contract_address=contract_address(contract),
        function_name=xdr.SCSymbol(function.encode("ascii")),
        args=list(args),
    )
    kind = _FUNCTION.SOROBAN_AUTHORIZED_FUNCTION_TYPE_CONTRACT_FN
    return Call(xdr.SorobanAuthorizedFunction(kind, contract_fn=called), list(below))


def creation(args: xdr.CreateContractArgsV2, *below: Call) -> Call:
    """The creation of a contract whose constructor takes arguments."""
    kind = _FUNCTION.SOROBAN_AUTHORIZED_FUNCTION_TYPE_CREATE_CONTRACT_V2_HOST_FN
    function = xdr.SorobanAuthorizedFunction(kind, create_contract_v2_host_fn=args)
    return Call(function, list(below))


def contract_address(address: str) -> xdr.SCAddress:
    """The address of a contract (``C…``).

    Raises:
        ValueError: it is none.
    """
    found = address_to_xdr(address)
    if found.type != xdr.SCAddressType.SC_ADDRESS_TYPE_CONTRACT:
        raise ValueError(f"{address!r} is not the address of a contract.")
    return found


def call_operation(call: Call, auth: Sequence[xdr.SorobanAuthorizationEntry] = ()) -> bytes:
    """The Operation (XDR) that makes the call."""
    body = xdr.OperationBody(
        type=xdr.OperationType.INVOKE_HOST_FUNCTION,
        invoke_host_function_op=xdr.InvokeHostFunctionOp(host_function(call), list(auth)),
    )
    return xdr.Operation(source_account=None, body=body).to_xdr_bytes()


def host_function(call: Call) -> xdr.HostFunction:
    """What the operation of a call asks the network to do."""
    function = call.function
    if function.contract_fn is not None:
        return xdr.HostFunction(
            xdr.HostFunctionType.HOST_FUNCTION_TYPE_INVOKE_CONTRACT,
            invoke_contract=function.contract_fn,
        )
    return xdr.HostFunction(
        xdr.HostFunctionType.HOST_FUNCTION_TYPE_CREATE_CONTRACT_V2,
        create_contract_v2=function.create_contract_v2_host_fn,
    )


def leave_of_source(call: Call) -> xdr.SorobanAuthorizationEntry:
    """Leave for the call, given by being the transaction's source and signing that."""
    return xdr.SorobanAuthorizationEntry(
        credentials=xdr.SorobanCredentials(
            type=xdr.SorobanCredentialsType.SOROBAN_CREDENTIALS_SOURCE_ACCOUNT
        ),
        root_invocation=call,
    )


def signed_leave(
    call: Call,
    *,
    address: str,
    nonce: int,
    expiration_ledger: int,
    signer: Keypair,
    passphrase: str,
) -> xdr.SorobanAuthorizationEntry:
    """An account's leave for the call and nothing else, once, in anybody's transaction.

    Args:
        call: what is allowed.
        address: the account (``G…``).
        nonce: random, signed 64 bits.
        expiration_ledger: the last ledger in which the entry is valid.
        signer: a key that signs for it.
        passphrase: the network's.

    Returns:
        An entry of the kind ``sorobanCredentialsAddress``.

    Raises:
        ValueError: ``address`` is none.
    """
    preimage = xdr.HashIDPreimage(
        type=xdr.EnvelopeType.ENVELOPE_TYPE_SOROBAN_AUTHORIZATION,
        soroban_authorization=xdr.HashIDPreimageSorobanAuthorization(
            network_id=xdr.Hash(network_id(passphrase)),
            nonce=xdr.Int64(nonce),
            signature_expiration_ledger=xdr.Uint32(expiration_ledger),
            invocation=call,
        ),
    )
    signature = signer.sign(hashlib.sha256(preimage.to_xdr_bytes()).digest())
    credentials = xdr.SorobanAddressCredentials(
        address=address_to_xdr(address),
        nonce=xdr.Int64(nonce),
        signature_expiration_ledger=xdr.Uint32(expiration_ledger),
        signature=_account_signature(signer.raw_public_key(), signature),
    )
    return xdr.SorobanAuthorizationEntry(
        credentials=xdr.SorobanCredentials(
            type=xdr.SorobanCredentialsType.SOROBAN_CREDENTIALS_ADDRESS, address=credentials
        ),
        root_invocation=call,
    )


def sponsored_call(
    call: Call,
    *,
    address: str,
    nonce: int,
    expiration_ledger: int,
    max_time: int,
    signer: Keypair,
    passphrase: str,
) -> str:
    """What a payer sends of a call that the server pays for: the TransactionEnvelope (base64 XDR)
    with the all-zeros source, one signed authorization entry and no signature of its own.

    Arguments and errors as `signed_leave`; ``max_time`` in Unix seconds.
    """
    entry = signed_leave(
        call,
        address=address,
        nonce=nonce,
        expiration_ledger=expiration_ledger,
        signer=signer,
        passphrase=passphrase,
    )
    return unsigned_envelope(call_operation(call, [entry]), source=NULL_ACCOUNT, max_time=max_time)


def _account_signature(public_key: bytes, signature: bytes) -> xdr.SCVal:
    """What an account's authorization looks like to the host: ``[{public_key, signature}]``."""
    signed = {
        scval.to_symbol("public_key"): scval.to_bytes(public_key),
        scval.to_symbol("signature"): scval.to_bytes(signature),
    }
    return scval.to_vec([scval.to_map(signed)])
