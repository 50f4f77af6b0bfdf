"""Running a host function: a contract call, a contract creation, an upload of code."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from mpp_asgi.sandbox.host.creation import create_contract
from mpp_asgi.sandbox.host.errors import ErrorCode, ErrorType, HostError
from mpp_asgi.sandbox.host.validation import check_entry, check_name, check_value
from mpp_asgi.sandbox.wire.entries import ContractCode
from mpp_asgi.sandbox.wire.keys import contract_code_key
from mpp_asgi.sandbox.wire.operations import CreateContract, InvokeContract
from mpp_asgi.sandbox.wire.values import AddressKind, Val, address_val, bytes_val

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mpp_asgi.sandbox.host.invocation import Host
    from mpp_asgi.sandbox.wire.authorization import AuthorizationEntry
    from mpp_asgi.sandbox.wire.operations import HostFunction, UploadWasm

_CODE = "contract code"


def run(host: Host, function: HostFunction, authorization: Iterable[AuthorizationEntry]) -> Val:
    """Run a host function and give its value; raises :class:`HostError` when it fails."""
    _check_authorization(host, authorization)
    stored = host.storage.snapshot()
    try:
        if isinstance(function, InvokeContract):
            return _invoke(host, function)
        if isinstance(function, CreateContract):
            return _create(host, function)
        return _upload(host, function)
    except HostError:
        host.storage.rollback(stored)
        host.events.fail_from(0)
        raise


def _check_authorization(host: Host, authorization: Iterable[AuthorizationEntry]) -> None:
    try:
        for entry in authorization:
            check_entry(host, entry)
    except HostError:
        # The network gives up before it has anything that could tell of events.
        host.events.clear()
        raise


def _invoke(host: Host, function: InvokeContract) -> Val:
    if function.contract.kind != AddressKind.CONTRACT:
        raise host.error(
            ErrorType.VALUE,
            ErrorCode.UNEXPECTED_TYPE,
            "invoked address doesn't belong to a contract",
        )
    check_name(host, function.name)
    for value in function.args:
        check_value(host, value)
    return host.call(function.contract, function.name, function.args)


def _create(host: Host, function: CreateContract) -> Val:
    for value in function.args:
        check_value(host, value)
    return address_val(create_contract(host, function))


def _upload(host: Host, function: UploadWasm) -> Val:
    wasm_hash = sha256(function.code).digest()
    args = [bytes_val(wasm_hash)]
    if host.find(contract_code_key(wasm_hash), ContractCode, _CODE, args) is None:
        entry = ContractCode(wasm_hash=wasm_hash, code=function.code)
        host.write(entry, _CODE, args, host.storage.min_live_until(temporary=False))
    return bytes_val(wasm_hash)
