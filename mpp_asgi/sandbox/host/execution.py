"""Running a host function: a contract call, a contract creation, an upload of code."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from mpp_asgi.sandbox.host.errors import ErrorCode, ErrorType, HostError
from mpp_asgi.sandbox.host.validation import check_value
from mpp_asgi.sandbox.wire.authorization import create_function
from mpp_asgi.sandbox.wire.entries import ContractCode
from mpp_asgi.sandbox.wire.keys import PERSISTENT, contract_code_key, contract_data_key
from mpp_asgi.sandbox.wire.operations import (
    CreateContract,
    HostFunction,
    InvokeContract,
    UploadWasm,
)
from mpp_asgi.sandbox.wire.values import (
    INSTANCE_KEY,
    Address,
    AddressKind,
    Instance,
    Val,
    address_val,
    bytes_val,
    symbol_val,
)

if TYPE_CHECKING:
    from mpp_asgi.sandbox.host.invocation import Host


def run(host: Host, function: HostFunction) -> Val:
    """Run a host function and give its value; raises :class:`HostError` when it fails."""
    stored = host.storage.snapshot()
    try:
        match function:
            case InvokeContract():
                return _invoke(host, function)
            case CreateContract():
                return _create(host, function)
            case UploadWasm():
                return _upload(host, function)
    except HostError:
        host.storage.rollback(stored)
        host.events.fail_from(0)
        raise


def _invoke(host: Host, function: InvokeContract) -> Val:
    if function.contract.kind != AddressKind.CONTRACT:
        raise host.error(
            ErrorType.VALUE,
            ErrorCode.UNEXPECTED_TYPE,
            "invoked address doesn't belong to a contract",
        )
    check_value(host, symbol_val(function.name))
    host.check_arguments(function.args)
    return host.call(function.contract, function.name, function.args)


def _create(host: Host, function: CreateContract) -> Val:
    preimage = function.preimage
    deployer = preimage.deployer
    host.check_arguments(function.args)
    if deployer is None:
        return _instantiate(host, function)
    host.authorization.push(None)
    try:
        call = create_function(preimage.xdr, function.executable, function.args)
        host.authorization.require(deployer, call)
        return _instantiate(host, function)
    finally:
        host.authorization.pop()


def _instantiate(host: Host, function: CreateContract) -> Val:
    asset = function.preimage.asset
    wasm_hash = function.executable.wasm_hash
    if asset is None and wasm_hash is None:
        raise host.error(
            ErrorType.VALUE,
            ErrorCode.INVALID_INPUT,
            "address preimage is not allowed for StellarAsset executable",
        )
    if asset is not None and wasm_hash is not None:
        raise host.error(
            ErrorType.VALUE,
            ErrorCode.INVALID_INPUT,
            "asset preimage is not allowed for Wasm or external reference executable",
        )
    contract = Address.contract(function.preimage.contract_id(host.environment.network_id))
    key = contract_data_key(contract, INSTANCE_KEY, PERSISTENT)
    if host.read(key, "contract instance", [address_val(contract)]) is not None:
        raise host.error(
            ErrorType.STORAGE,
            ErrorCode.EXISTING_VALUE,
            "contract already exists",
            [bytes_val(contract.key)],
        )
    if wasm_hash is not None:
        _require_code(host, wasm_hash)
    host.put_instance(contract, Instance(function.executable, None))
    if asset is not None:
        host.call(contract, "init_asset", [bytes_val(asset.xdr)])
    else:
        host.construct(contract, function.args)
    return address_val(contract)


def _require_code(host: Host, wasm_hash: bytes) -> None:
    slot = host.read(contract_code_key(wasm_hash), "contract code", [bytes_val(wasm_hash)])
    if slot is None:
        raise host.error(
            ErrorType.STORAGE,
            ErrorCode.MISSING_VALUE,
            "Wasm does not exist",
            [bytes_val(wasm_hash)],
        )


def _upload(host: Host, function: UploadWasm) -> Val:
    wasm_hash = sha256(function.code).digest()
    entry = ContractCode(wasm_hash=wasm_hash, code=function.code)
    args = [bytes_val(wasm_hash)]
    if host.read(entry.key, "contract code", args) is None:
        until = host.storage.min_live_until(temporary=False)
        host.write(entry, "contract code", args, until)
    return bytes_val(wasm_hash)
