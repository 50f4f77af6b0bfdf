"""Authorization entries, signed well or badly, written with the SDK's own XDR."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

from stellar_sdk import Address, Keypair, scval, xdr

from tests.oracle.entries import NETWORK_ID, address_of, symbol_map

if TYPE_CHECKING:
    from collections.abc import Sequence

ADDRESS, ADDRESS_V2, DELEGATES = (
    xdr.SorobanCredentialsType.SOROBAN_CREDENTIALS_ADDRESS,
    xdr.SorobanCredentialsType.SOROBAN_CREDENTIALS_ADDRESS_V2,
    xdr.SorobanCredentialsType.SOROBAN_CREDENTIALS_ADDRESS_WITH_DELEGATES,
)

Invocation = xdr.SorobanAuthorizedInvocation


def calling(
    contract: str, function: str, args: Sequence[xdr.SCVal], below: Sequence[Invocation] = ()
) -> Invocation:
    """A call that is allowed, and the calls below it."""
    kind = xdr.SorobanAuthorizedFunctionType.SOROBAN_AUTHORIZED_FUNCTION_TYPE_CONTRACT_FN
    body = xdr.InvokeContractArgs(
        Address(contract).to_xdr_sc_address(), xdr.SCSymbol(function.encode()), list(args)
    )
    return Invocation(xdr.SorobanAuthorizedFunction(kind, contract_fn=body), list(below))


def by_source(allowed: Invocation) -> str:
    """What the transaction's source allows by signing the transaction."""
    kind = xdr.SorobanCredentialsType.SOROBAN_CREDENTIALS_SOURCE_ACCOUNT
    return xdr.SorobanAuthorizationEntry(xdr.SorobanCredentials(kind), allowed).to_xdr()


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """How an entry is signed. The defaults are how it is done."""

    kind: xdr.SorobanCredentialsType = ADDRESS
    network_id: bytes = NETWORK_ID
    signed: Invocation | None = None
    """What the signature is of, if not what the entry says."""
    signed_nonce: int | None = None
    signed_expiration: int | None = None
    signed_kind: xdr.SorobanCredentialsType | None = None
    sorted_keys: bool = True
    signature: xdr.SCVal | None = None
    """Takes the place of any signature."""
    delegates: Sequence[xdr.SorobanDelegateSignature] = field(default=())


PLAIN = Signing()


def by_address(
    who: Keypair | str,
    allowed: Invocation,
    nonce: int,
    expiration: int,
    signers: Sequence[Keypair] | None = None,
    signing: Signing = PLAIN,
) -> str:
    """An entry of an address, signed by its own key unless by others."""
    keys = [who] if signers is None and isinstance(who, Keypair) else list(signers or ())
    if signing.sorted_keys:
        keys.sort(key=lambda key: key.raw_public_key())
    signature = signing.signature
    if signature is None:
        text = payload(who, allowed, nonce, expiration, signing)
        signature = scval.to_vec([one_signature(key, text) for key in keys])
    credentials = xdr.SorobanAddressCredentials(
        Address(address_of(who)).to_xdr_sc_address(),
        xdr.Int64(nonce),
        xdr.Uint32(expiration),
        signature,
    )
    return xdr.SorobanAuthorizationEntry(_credentials(credentials, signing), allowed).to_xdr()


def _credentials(
    credentials: xdr.SorobanAddressCredentials, signing: Signing
) -> xdr.SorobanCredentials:
    if signing.kind is ADDRESS:
        return xdr.SorobanCredentials(ADDRESS, address=credentials)
    if signing.kind is ADDRESS_V2:
        return xdr.SorobanCredentials(ADDRESS_V2, address_v2=credentials)
    delegated = xdr.SorobanAddressCredentialsWithDelegates(credentials, list(signing.delegates))
    return xdr.SorobanCredentials(DELEGATES, address_with_delegates=delegated)


def one_signature(key: Keypair, text: bytes) -> xdr.SCVal:
    return symbol_map(
        public_key=scval.to_bytes(key.raw_public_key()), signature=scval.to_bytes(key.sign(text))
    )


def payload(
    who: Keypair | str,
    allowed: Invocation,
    nonce: int,
    expiration: int,
    signing: Signing = PLAIN,
) -> bytes:
    """The 32 bytes that are signed."""
    network = xdr.Hash(signing.network_id)
    signed_nonce = xdr.Int64(nonce if signing.signed_nonce is None else signing.signed_nonce)
    until = expiration if signing.signed_expiration is None else signing.signed_expiration
    tree = signing.signed or allowed
    if (signing.signed_kind or signing.kind) is ADDRESS:
        bare = xdr.HashIDPreimageSorobanAuthorization(
            network, signed_nonce, xdr.Uint32(until), tree
        )
        preimage = xdr.HashIDPreimage(
            xdr.EnvelopeType.ENVELOPE_TYPE_SOROBAN_AUTHORIZATION, soroban_authorization=bare
        )
    else:
        bound = xdr.HashIDPreimageSorobanAuthorizationWithAddress(
            network,
            signed_nonce,
            xdr.Uint32(until),
            Address(address_of(who)).to_xdr_sc_address(),
            tree,
        )
        preimage = xdr.HashIDPreimage(
            xdr.EnvelopeType.ENVELOPE_TYPE_SOROBAN_AUTHORIZATION_WITH_ADDRESS,
            soroban_authorization_with_address=bound,
        )
    return sha256(preimage.to_xdr_bytes()).digest()
