"""Creating contracts, on behalf of a transaction or of a contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpp_asgi.sandbox.host.errors import ErrorCode, ErrorType
from mpp_asgi.sandbox.wire.authorization import AuthorizedFunction
from mpp_asgi.sandbox.wire.entries import ContractCode
from mpp_asgi.sandbox.wire.keys import contract_code_key
from mpp_asgi.sandbox.wire.values import Address, Instance, bytes_val

if TYPE_CHECKING:
    from mpp_asgi.sandbox.host.invocation import Host
    from mpp_asgi.sandbox.wire.operations import CreateContract


def create_contract(host: Host, creation: CreateContract) -> Address:
    """Create a contract and give its address; its deployer, if it has one, must allow it."""
    preimage = creation.preimage
    if preimage.deployer is None:
        return _instantiate(host, creation)
    host.authorization.push(None)
    try:
        function = AuthorizedFunction.create(preimage, creation.executable, creation.args)
        host.authorization.require(preimage.deployer, function)
        return _instantiate(host, creation)
    finally:
        host.authorization.pop()


def _instantiate(host: Host, creation: CreateContract) -> Address:
    asset = creation.preimage.asset
    wasm_hash = creation.executable.wasm_hash
    if (asset is None) == (wasm_hash is None):
        text = (
            "address preimage is not allowed for StellarAsset executable"
            if asset is None
            else "asset preimage is not allowed for Wasm or external reference executable"
        )
        raise host.error(ErrorType.VALUE, ErrorCode.INVALID_INPUT, text)
    contract = creation.preimage.address(host.environment.network_id)
    if host.has_instance(contract):
        raise host.error(
            ErrorType.STORAGE,
            ErrorCode.EXISTING_VALUE,
            "contract already exists",
            [bytes_val(contract.key)],
        )
    if wasm_hash is not None:
        _require_code(host, wasm_hash)
    host.put_instance(contract, Instance(creation.executable, None))
    if asset is not None:
        host.call(contract, "init_asset", [bytes_val(asset.xdr)])
    else:
        host.construct(contract, creation.args)
    return contract


def _require_code(host: Host, wasm_hash: bytes) -> None:
    args = [bytes_val(wasm_hash)]
    if host.find(contract_code_key(wasm_hash), ContractCode, "contract code", args) is None:
        raise host.error(ErrorType.STORAGE, ErrorCode.MISSING_VALUE, "Wasm does not exist", args)
