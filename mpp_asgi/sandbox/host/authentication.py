"""How an address proves that it allows something inside the host.

An account shows signatures of its signers; unlike the signatures of an envelope, which need the
low threshold, these need the medium one. A contract decides in its own code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpp_asgi.sandbox.host.errors import ErrorCode, ErrorType, HostError
from mpp_asgi.sandbox.wire.entries import ContractData
from mpp_asgi.sandbox.wire.keys import (
    PERSISTENT,
    account_key,
    contract_code_key,
    contract_data_key,
)
from mpp_asgi.sandbox.wire.values import (
    INSTANCE_KEY,
    AddressKind,
    Kind,
    address_val,
    bytes_val,
    map_val,
    symbol_val,
    u32_val,
    vec_val,
)

if TYPE_CHECKING:
    from mpp_asgi.sandbox.host.invocation import Host
    from mpp_asgi.sandbox.host.storage import Storage
    from mpp_asgi.sandbox.wire.authorization import AuthorizedFunction, Invocation
    from mpp_asgi.sandbox.wire.values import Address, Val

AUTHENTICATION_ERROR = 5
_MAX_SIGNATURES = 20
_FIELDS = (symbol_val("public_key"), symbol_val("signature"))


def authenticate_account(host: Host, address: Address, payload: bytes, signature: Val) -> None:
    """Raise :class:`HostError` unless ``signature`` is enough of the account's signers."""
    signatures = signature.value
    if signature.kind is not Kind.VEC or signatures is None:
        raise HostError(ErrorType.VALUE, ErrorCode.UNEXPECTED_TYPE)
    if len(signatures) > _MAX_SIGNATURES:
        raise _refuse(host, "too many account signers", u32_val(len(signatures)))
    if not signatures:
        raise _refuse(host, "no account signatures found")
    account = host.load_account(address)
    weight = 0
    previous: bytes | None = None
    for item in signatures:
        public_key, proof = _parts(host, item)
        if previous is not None and previous >= public_key:
            keys = (bytes_val(previous), bytes_val(public_key))
            raise _refuse(host, "public keys are not ordered", *keys)
        host.verify(public_key, payload, proof)
        signer_weight = account.weight_of(public_key)
        if not signer_weight:
            raise _refuse(host, "signer does not belong to account", bytes_val(public_key))
        weight += signer_weight
        previous = public_key
    if weight < account.medium:
        weights = (u32_val(weight), u32_val(account.medium))
        raise _refuse(host, "signature weight is lower than threshold", *weights)


def _parts(host: Host, value: Val) -> tuple[bytes, bytes]:
    """Public key and signature of one element: a map of exactly these two."""
    if value.kind is not Kind.MAP or value.value is None:
        raise HostError(ErrorType.VALUE, ErrorCode.UNEXPECTED_TYPE)
    if len(value.value) != len(_FIELDS):
        text = "differing map and output slice lengths when unpacking map"
        raise host.error(ErrorType.OBJECT, ErrorCode.UNEXPECTED_SIZE, text)
    (first, public_key), (second, proof) = value.value
    if (first, second) != _FIELDS:
        text = "key not found in map when unpacking map"
        raise host.error(ErrorType.OBJECT, ErrorCode.INVALID_INPUT, text)
    return _bytes(host, public_key, 32), _bytes(host, proof, 64)


def _bytes(host: Host, value: Val, size: int) -> bytes:
    if value.kind is not Kind.BYTES:
        raise HostError(ErrorType.VALUE, ErrorCode.UNEXPECTED_TYPE)
    raw: bytes = value.value
    if len(raw) != size:
        text, args = "Bytes had unexpected size", [u32_val(len(raw))]
        raise host.error(ErrorType.VALUE, ErrorCode.UNEXPECTED_SIZE, text, args)
    return raw


def _refuse(host: Host, text: str, *args: Val) -> HostError:
    return host.error(ErrorType.CONTRACT, AUTHENTICATION_ERROR, text, args)


def read_authenticator(storage: Storage, address: Address) -> None:
    """Read what checking a signature of the address will read."""
    if address.kind == AddressKind.ACCOUNT:
        storage.get(account_key(address.key))
        return
    slot = storage.get(contract_data_key(address, INSTANCE_KEY, PERSISTENT))
    if slot is not None and isinstance(slot.entry, ContractData):
        wasm_hash = slot.entry.value.value.executable.wasm_hash
        if wasm_hash is not None:
            storage.get(contract_code_key(wasm_hash))


def authentication_contexts(root: Invocation) -> Val:
    """What a contract account is told it is to allow: every call of the tree, in order."""
    return vec_val([_context(function) for function in root.functions()])


def _context(function: AuthorizedFunction) -> Val:
    if function.contract is not None:
        call = {
            "args": vec_val(function.args),
            "contract": address_val(function.contract),
            "fn_name": symbol_val(function.name),
        }
        return vec_val([symbol_val("Contract"), map_val(call)])
    preimage, executable = function.preimage, function.executable
    if preimage is None or executable is None or executable.wasm_hash is None:
        # Contracts of assets have no deployer, so nobody can be asked to allow them.
        raise HostError(ErrorType.AUTH, ErrorCode.INVALID_INPUT)
    wasm = vec_val([symbol_val("Wasm"), bytes_val(executable.wasm_hash)])
    creation = {"executable": wasm, "salt": bytes_val(preimage.salt)}
    if not function.args:
        return vec_val([symbol_val("CreateContractHostFn"), map_val(creation)])
    creation["constructor_args"] = vec_val(function.args)
    return vec_val([symbol_val("CreateContractWithCtorHostFn"), map_val(creation)])
