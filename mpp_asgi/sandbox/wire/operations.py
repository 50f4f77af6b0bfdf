"""Operations of a transaction, as far as the sandbox applies them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from stellar_sdk import xdr as sdk

from mpp_asgi.sandbox.wire.assets import Asset
from mpp_asgi.sandbox.wire.authorization import (
    AuthorizationEntry,
    ContractIdPreimage,
)
from mpp_asgi.sandbox.wire.entries import Signer, SignerKey
from mpp_asgi.sandbox.wire.keys import skip
from mpp_asgi.sandbox.wire.stream import Reader, XdrError
from mpp_asgi.sandbox.wire.values import Address, AddressKind, Executable, Val

if TYPE_CHECKING:
    from collections.abc import Callable


class OperationKind(IntEnum):
    """``OperationType``."""

    CREATE_ACCOUNT = 0
    PAYMENT = 1
    PATH_PAYMENT_STRICT_RECEIVE = 2
    MANAGE_SELL_OFFER = 3
    CREATE_PASSIVE_SELL_OFFER = 4
    SET_OPTIONS = 5
    CHANGE_TRUST = 6
    ALLOW_TRUST = 7
    ACCOUNT_MERGE = 8
    INFLATION = 9
    MANAGE_DATA = 10
    BUMP_SEQUENCE = 11
    MANAGE_BUY_OFFER = 12
    PATH_PAYMENT_STRICT_SEND = 13
    CREATE_CLAIMABLE_BALANCE = 14
    CLAIM_CLAIMABLE_BALANCE = 15
    BEGIN_SPONSORING_FUTURE_RESERVES = 16
    END_SPONSORING_FUTURE_RESERVES = 17
    REVOKE_SPONSORSHIP = 18
    CLAWBACK = 19
    CLAWBACK_CLAIMABLE_BALANCE = 20
    SET_TRUSTLINE_FLAGS = 21
    LIQUIDITY_POOL_DEPOSIT = 22
    LIQUIDITY_POOL_WITHDRAW = 23
    INVOKE_HOST_FUNCTION = 24
    EXTEND_FOOTPRINT_TTL = 25
    RESTORE_FOOTPRINT = 26


@dataclass(frozen=True, slots=True)
class CreateAccount:
    destination: bytes
    balance: int


@dataclass(frozen=True, slots=True)
class Payment:
    destination: Address
    asset: Asset
    amount: int


@dataclass(frozen=True, slots=True)
class SetOptions:
    inflation_destination: bytes | None
    clear_flags: int | None
    set_flags: int | None
    master_weight: int | None
    low: int | None
    medium: int | None
    high: int | None
    home_domain: bytes | None
    signer: Signer | None


@dataclass(frozen=True, slots=True)
class ChangeTrust:
    asset: Asset
    limit: int


@dataclass(frozen=True, slots=True)
class ManageData:
    name: bytes
    value: bytes | None


@dataclass(frozen=True, slots=True)
class BumpSequence:
    to: int


@dataclass(frozen=True, slots=True)
class SetTrustlineFlags:
    trustor: bytes
    asset: Asset
    clear_flags: int
    set_flags: int


@dataclass(frozen=True, slots=True)
class InvokeContract:
    contract: Address
    name: str
    args: tuple[Val, ...]


@dataclass(frozen=True, slots=True)
class CreateContract:
    preimage: ContractIdPreimage
    executable: Executable
    args: tuple[Val, ...]


@dataclass(frozen=True, slots=True)
class UploadWasm:
    code: bytes


HostFunction = InvokeContract | CreateContract | UploadWasm


@dataclass(frozen=True, slots=True)
class InvokeHostFunction:
    function: HostFunction
    authorization: tuple[AuthorizationEntry, ...]
    function_xdr: bytes


@dataclass(frozen=True, slots=True)
class ExtendFootprintTtl:
    extend_to: int


@dataclass(frozen=True, slots=True)
class RestoreFootprint:
    pass


@dataclass(frozen=True, slots=True)
class Unsupported:
    """An operation of the network that the sandbox does not have; it fails as not supported."""


Body = (
    CreateAccount
    | Payment
    | SetOptions
    | ChangeTrust
    | ManageData
    | BumpSequence
    | SetTrustlineFlags
    | InvokeHostFunction
    | ExtendFootprintTtl
    | RestoreFootprint
    | Unsupported
)

_SOROBAN = frozenset(
    {
        OperationKind.INVOKE_HOST_FUNCTION,
        OperationKind.EXTEND_FOOTPRINT_TTL,
        OperationKind.RESTORE_FOOTPRINT,
    }
)


@dataclass(frozen=True, slots=True)
class Operation:
    source: Address | None
    """``None``: the transaction's source."""
    kind: OperationKind
    body: Body

    @property
    def is_soroban(self) -> bool:
        return self.kind in _SOROBAN


_POOL_SHARE = 3


def read_muxed_account(reader: Reader) -> Address:
    kind = reader.u32()
    if kind == 0:
        return Address.account(reader.fixed(32))
    if kind == 0x100:
        mux_id = reader.u64()
        return Address(AddressKind.MUXED, reader.fixed(32), mux_id)
    raise XdrError(f"unknown kind of account {kind}")


def read_account(reader: Reader) -> bytes:
    if reader.u32():
        raise XdrError("unknown kind of key")
    return reader.fixed(32)


def read_operation(reader: Reader) -> Operation:
    source = reader.optional(lambda: read_muxed_account(reader))
    start = reader.at
    number = reader.u32()
    if number > OperationKind.RESTORE_FOOTPRINT:
        raise XdrError(f"unknown kind of operation {number}")
    kind = OperationKind(number)
    read = _READERS.get(kind)
    if read is not None:
        return Operation(source, kind, read(reader))
    reader.at = start
    skip(reader, sdk.OperationBody)
    return Operation(source, kind, Unsupported())


def _read_create_account(reader: Reader) -> CreateAccount:
    destination = read_account(reader)
    return CreateAccount(destination, reader.i64())


def _read_payment(reader: Reader) -> Payment:
    destination = read_muxed_account(reader)
    asset = Asset.read(reader)
    return Payment(destination, asset, reader.i64())


def _read_set_options(reader: Reader) -> SetOptions:
    return SetOptions(
        reader.optional(lambda: read_account(reader)),
        reader.optional(reader.u32),
        reader.optional(reader.u32),
        reader.optional(reader.u32),
        reader.optional(reader.u32),
        reader.optional(reader.u32),
        reader.optional(reader.u32),
        reader.optional(lambda: reader.opaque(32)),
        reader.optional(lambda: Signer(SignerKey.read(reader), reader.u32())),
    )


def _read_change_trust(reader: Reader) -> ChangeTrust | Unsupported:
    start = reader.at
    kind = reader.u32()
    if kind == _POOL_SHARE:
        reader.at = start
        skip(reader, sdk.ChangeTrustAsset)
        reader.i64()
        return Unsupported()
    asset = Asset.read_body(reader, kind)
    return ChangeTrust(asset, reader.i64())


def _read_manage_data(reader: Reader) -> ManageData:
    name = reader.opaque(64)
    return ManageData(name, reader.optional(lambda: reader.opaque(64)))


def _read_set_trustline_flags(reader: Reader) -> SetTrustlineFlags:
    trustor = read_account(reader)
    asset = Asset.read(reader)
    clear_flags = reader.u32()
    return SetTrustlineFlags(trustor, asset, clear_flags, reader.u32())


def _read_invoke(reader: Reader) -> InvokeHostFunction:
    start = reader.at
    function = _read_host_function(reader)
    encoded = reader.since(start)
    authorization = reader.array(lambda: AuthorizationEntry.read(reader))
    return InvokeHostFunction(function, authorization, encoded)


def _read_host_function(reader: Reader) -> HostFunction:
    kind = reader.u32()
    match kind:
        case 0:
            contract = Address.read(reader)
            name = reader.opaque(32).decode("latin-1")
            return InvokeContract(contract, name, reader.array(lambda: Val.read(reader)))
        case 1 | 3:
            preimage = ContractIdPreimage.read(reader)
            executable = Executable.read(reader)
            args = reader.array(lambda: Val.read(reader)) if kind == 3 else ()
            return CreateContract(preimage, executable, args)
        case 2:
            return UploadWasm(reader.opaque())
        case _:
            raise XdrError(f"unknown kind of host function {kind}")


def _read_extend(reader: Reader) -> ExtendFootprintTtl:
    reader.extension()
    return ExtendFootprintTtl(reader.u32())


def _read_restore(reader: Reader) -> RestoreFootprint:
    reader.extension()
    return RestoreFootprint()


_READERS: dict[OperationKind, Callable[[Reader], Body]] = {
    OperationKind.CREATE_ACCOUNT: _read_create_account,
    OperationKind.PAYMENT: _read_payment,
    OperationKind.SET_OPTIONS: _read_set_options,
    OperationKind.CHANGE_TRUST: _read_change_trust,
    OperationKind.MANAGE_DATA: _read_manage_data,
    OperationKind.BUMP_SEQUENCE: lambda reader: BumpSequence(reader.i64()),
    OperationKind.SET_TRUSTLINE_FLAGS: _read_set_trustline_flags,
    OperationKind.INVOKE_HOST_FUNCTION: _read_invoke,
    OperationKind.EXTEND_FOOTPRINT_TTL: _read_extend,
    OperationKind.RESTORE_FOOTPRINT: _read_restore,
}
