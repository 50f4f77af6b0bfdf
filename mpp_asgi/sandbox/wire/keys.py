"""Ledger keys: under which name an entry stands in the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from hashlib import sha256
from typing import Any

from stellar_sdk import xdr as sdk
from xdrlib3 import Unpacker

from mpp_asgi.sandbox.wire.assets import Asset
from mpp_asgi.sandbox.wire.stream import Reader, XdrError, opaque, u32
from mpp_asgi.sandbox.wire.values import Address, Kind, Val


class EntryKind(IntEnum):
    """What a ledger entry is (``LedgerEntryType``)."""

    ACCOUNT = 0
    TRUSTLINE = 1
    OFFER = 2
    DATA = 3
    CLAIMABLE_BALANCE = 4
    LIQUIDITY_POOL = 5
    CONTRACT_DATA = 6
    CONTRACT_CODE = 7
    CONFIG_SETTING = 8
    TTL = 9


TEMPORARY = 0
PERSISTENT = 1

_ACCOUNT = u32(EntryKind.ACCOUNT) + u32(0)
_TRUSTLINE = u32(EntryKind.TRUSTLINE) + u32(0)
_DATA = u32(EntryKind.DATA) + u32(0)
_CONTRACT_DATA = u32(EntryKind.CONTRACT_DATA)
_CONTRACT_CODE = u32(EntryKind.CONTRACT_CODE)
_TTL = u32(EntryKind.TTL)


def account_key(public_key: bytes) -> bytes:
    return _ACCOUNT + public_key


def trustline_key(public_key: bytes, asset: Asset) -> bytes:
    return _TRUSTLINE + public_key + asset.xdr


def data_key(public_key: bytes, name: bytes) -> bytes:
    return _DATA + public_key + opaque(name)


def contract_data_key(contract: Address, key: Val, durability: int) -> bytes:
    return _CONTRACT_DATA + contract.xdr + key.xdr + u32(durability)


def contract_code_key(wasm_hash: bytes) -> bytes:
    return _CONTRACT_CODE + wasm_hash


def ttl_key(key: bytes) -> bytes:
    """The key of the entry that says how long the entry ``key`` lives."""
    return _TTL + sha256(key).digest()


def has_ttl(key: bytes) -> bool:
    """Whether entries under the key expire: contract data and contract code."""
    return key.startswith((_CONTRACT_DATA, _CONTRACT_CODE))


def is_temporary(key: bytes) -> bool:
    return key.startswith(_CONTRACT_DATA) and key.endswith(u32(TEMPORARY))


@dataclass(frozen=True)
class LedgerKey:
    """A key as a client sent it, taken apart."""

    kind: int
    xdr: bytes
    owner: Address | None = None
    """The account or contract the entry belongs to, where it has one."""
    asset: Asset | None = None
    """The trustline's asset; ``None`` for pool shares."""
    data: Val | None = None
    """The contract data's own key."""
    durability: int | None = None

    @classmethod
    def parse(cls, data: bytes) -> LedgerKey:
        reader = Reader(data)
        key = cls.read(reader)
        reader.finish()
        return key

    @classmethod
    def read(cls, reader: Reader) -> LedgerKey:
        start = reader.at
        kind = reader.u32()
        match kind:
            case EntryKind.ACCOUNT:
                owner = _read_account(reader)
                return cls(kind, reader.since(start), owner)
            case EntryKind.TRUSTLINE:
                owner = _read_account(reader)
                asset = _read_trustline_asset(reader)
                return cls(kind, reader.since(start), owner, asset)
            case EntryKind.CONTRACT_DATA:
                owner = Address.read(reader)
                data = Val.read(reader)
                durability = reader.u32()
                if durability > PERSISTENT:
                    raise XdrError("unknown durability")
                return cls(kind, reader.since(start), owner, data=data, durability=durability)
            case EntryKind.CONTRACT_CODE:
                reader.fixed(32)
                return cls(kind, reader.since(start), durability=PERSISTENT)
            case _:
                reader.at = start
                skip(reader, sdk.LedgerKey)
                return cls(kind, reader.since(start))

    @property
    def holder(self) -> Address:
        """Whose entry it is; only keys of accounts, trustlines and contract data have one."""
        if self.owner is None:
            raise LookupError(f"keys of kind {self.kind} belong to nobody")
        return self.owner

    @cached_property
    def order(self) -> tuple[Any, ...]:
        """Sorts keys as the host sorts footprints."""
        if self.owner is None or self.data is None:
            return (self.kind, self.xdr)
        place = (self.owner.kind, self.owner.key)
        return (self.kind, *place, value_order(self.data), self.durability)


def skip(reader: Reader, kind: Any) -> None:
    """Read past a part the sandbox has no use for, with the SDK's generated decoder."""
    unpacker = Unpacker(reader.data)
    unpacker.set_position(reader.at)
    try:
        kind.unpack(unpacker)
    except (ValueError, EOFError, IndexError, UnicodeDecodeError) as problem:
        raise XdrError(str(problem)) from None
    except Exception as problem:  # noqa: BLE001 - the unpacker raises bare Exceptions of its own
        raise XdrError(str(problem)) from None
    reader.at = unpacker.get_position()


def _read_account(reader: Reader) -> Address:
    if reader.u32():
        raise XdrError("unknown kind of key")
    return Address.account(reader.fixed(32))


_POOL_SHARE = 3


def _read_trustline_asset(reader: Reader) -> Asset | None:
    kind = reader.u32()
    if kind == _POOL_SHARE:
        reader.fixed(32)
        return None
    return Asset.read_body(reader, kind)


def value_order(value: Val) -> tuple[Any, ...]:
    match value.kind:
        case Kind.VEC:
            items = value.value
            return (value.kind, items is not None, tuple(value_order(v) for v in items or ()))
        case Kind.MAP:
            pairs = value.value
            return (
                value.kind,
                pairs is not None,
                tuple((value_order(k), value_order(v)) for k, v in pairs or ()),
            )
        case Kind.ADDRESS:
            address = value.value
            return (value.kind, address.kind, address.mux_id or 0, address.key)
        case Kind.INSTANCE:
            return (value.kind, value.xdr)
        case Kind.VOID | Kind.LEDGER_KEY_INSTANCE:
            return (value.kind,)
        case _:
            return (value.kind, value.value)
