"""How an account proves that it allows something inside the host.

Unlike the signatures of an envelope, which need the low threshold, these need the medium one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpp_asgi.sandbox.host.errors import ErrorCode, ErrorType, HostError
from mpp_asgi.sandbox.wire.values import Kind, bytes_val, u32_val

if TYPE_CHECKING:
    from mpp_asgi.sandbox.host.invocation import Host
    from mpp_asgi.sandbox.wire.values import Address, Val

AUTHENTICATION_ERROR = 5
_MAX_SIGNATURES = 20


def check_account_signatures(host: Host, address: Address, payload: bytes, signature: Val) -> None:
    """Raise :class:`HostError` unless ``signature`` is enough of the account's signers."""
    if signature.kind is not Kind.VEC or signature.value is None:
        raise HostError(ErrorType.VALUE, ErrorCode.UNEXPECTED_TYPE)
    signatures = signature.value
    if len(signatures) > _MAX_SIGNATURES:
        raise _refuse(host, "too many account signers", [u32_val(len(signatures))])
    if not signatures:
        raise _refuse(host, "no account signatures found", [])
    account = host.load_account(address)
    weight = 0
    previous: bytes | None = None
    for item in signatures:
        public_key, proof = _parts(item)
        if previous is not None and previous >= public_key:
            args = [bytes_val(previous), bytes_val(public_key)]
            raise _refuse(host, "public keys are not ordered", args)
        host.verify(public_key, payload, proof)
        signer_weight = account.weight_of(public_key)
        if not signer_weight:
            args = [bytes_val(public_key)]
            raise _refuse(host, "signer does not belong to account", args)
        weight += signer_weight
        previous = public_key
    if weight < account.medium:
        args = [u32_val(weight), u32_val(account.medium)]
        raise _refuse(host, "signature weight is lower than threshold", args)


def _parts(value: Val) -> tuple[bytes, bytes]:
    """Public key and signature of one element: a map of exactly these two."""
    if value.kind is Kind.MAP and value.value is not None and len(value.value) == 2:
        (first, public_key), (second, proof) = value.value
        names = (first.kind, first.value, second.kind, second.value)
        wanted = (Kind.SYMBOL, "public_key", Kind.SYMBOL, "signature")
        sizes = public_key.kind is proof.kind is Kind.BYTES
        if names == wanted and sizes and len(public_key.value) == 32 and len(proof.value) == 64:
            return public_key.value, proof.value
    raise HostError(ErrorType.VALUE, ErrorCode.UNEXPECTED_TYPE)


def _refuse(host: Host, text: str, args: list[Val]) -> HostError:
    return host.error(ErrorType.CONTRACT, AUTHENTICATION_ERROR, text, args)
