"""Contract values (``SCVal``) and addresses (``SCAddress``): a parsed value beside its bytes.

Two values are equal when their bytes are, which is exactly what the host means by equal.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

from stellar_sdk import StrKey

from mpp_asgi.sandbox.wire.stream import (
    ONE,
    ZERO,
    Reader,
    XdrError,
    array,
    i64,
    opaque,
    optional,
    u32,
    u64,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


class AddressKind(IntEnum):
    ACCOUNT = 0
    CONTRACT = 1
    MUXED = 2
    CLAIMABLE_BALANCE = 3
    LIQUIDITY_POOL = 4


class Address:
    """An account (``G…``), a contract (``C…``), a muxed account (``M…``), or a pool or balance."""

    __slots__ = ("key", "kind", "mux_id", "xdr")

    def __init__(self, kind: int, key: bytes, mux_id: int | None = None) -> None:
        self.kind = kind
        self.key = key
        """32 bytes: public key, contract id, balance id or pool id."""
        self.mux_id = mux_id
        match kind:
            case AddressKind.ACCOUNT:
                self.xdr = b"\0\0\0\0\0\0\0\0" + key
            case AddressKind.MUXED:
                self.xdr = b"\0\0\0\2" + u64(mux_id) + key
            case AddressKind.CLAIMABLE_BALANCE:
                self.xdr = b"\0\0\0\3\0\0\0\0" + key
            case _:
                self.xdr = u32(kind) + key

    @classmethod
    def account(cls, key: bytes) -> Address:
        return cls(AddressKind.ACCOUNT, key)

    @classmethod
    def contract(cls, contract_id: bytes) -> Address:
        return cls(AddressKind.CONTRACT, contract_id)

    @classmethod
    def parse(cls, text: str) -> Address:
        """An address as people write it; ``ValueError`` when it is none the sandbox knows."""
        if StrKey.is_valid_ed25519_public_key(text):
            return cls.account(StrKey.decode_ed25519_public_key(text))
        if StrKey.is_valid_contract(text):
            return cls.contract(StrKey.decode_contract(text))
        if StrKey.is_valid_med25519_public_key(text):
            raw = StrKey.decode_med25519_public_key(text)
            return cls(AddressKind.MUXED, raw[:32], int.from_bytes(raw[32:], "big"))
        raise ValueError(f"{text!r} is not a Stellar address")

    @classmethod
    def read(cls, reader: Reader) -> Address:
        kind = reader.u32()
        if kind in {AddressKind.ACCOUNT, AddressKind.CLAIMABLE_BALANCE}:
            if reader.u32():
                raise XdrError("unknown kind of key")
            return cls(kind, reader.fixed(32))
        if kind == AddressKind.MUXED:
            mux_id = reader.u64()
            return cls(kind, reader.fixed(32), mux_id)
        if kind > AddressKind.LIQUIDITY_POOL:
            raise XdrError(f"unknown kind of address {kind}")
        return cls(kind, reader.fixed(32))

    def demuxed(self) -> Address:
        """The account behind a muxed account; any other address as it is."""
        return Address.account(self.key) if self.kind == AddressKind.MUXED else self

    def __str__(self) -> str:
        match self.kind:
            case AddressKind.ACCOUNT:
                return StrKey.encode_ed25519_public_key(self.key)
            case AddressKind.CONTRACT:
                return StrKey.encode_contract(self.key)
            case AddressKind.MUXED:
                return StrKey.encode_med25519_public_key(self.key + u64(self.mux_id))
            case AddressKind.CLAIMABLE_BALANCE:
                return StrKey.encode_claimable_balance(b"\0" + self.key)
            case _:
                return StrKey.encode_liquidity_pool(self.key)

    def __repr__(self) -> str:
        return f"Address({self})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Address) and self.xdr == other.xdr

    def __hash__(self) -> int:
        return hash(self.xdr)


class Kind(IntEnum):
    """What a contract value is (``SCValType``)."""

    BOOL = 0
    VOID = 1
    ERROR = 2
    U32 = 3
    I32 = 4
    U64 = 5
    I64 = 6
    TIMEPOINT = 7
    DURATION = 8
    U128 = 9
    I128 = 10
    U256 = 11
    I256 = 12
    BYTES = 13
    STRING = 14
    SYMBOL = 15
    VEC = 16
    MAP = 17
    ADDRESS = 18
    INSTANCE = 19
    LEDGER_KEY_INSTANCE = 20
    LEDGER_KEY_NONCE = 21
    EXECUTABLE_TAG = 22


_WIDTHS = {
    Kind.U32: (4, False),
    Kind.I32: (4, True),
    Kind.U64: (8, False),
    Kind.I64: (8, True),
    Kind.TIMEPOINT: (8, False),
    Kind.DURATION: (8, False),
    Kind.U128: (16, False),
    Kind.I128: (16, True),
    Kind.U256: (32, False),
    Kind.I256: (32, True),
    Kind.LEDGER_KEY_NONCE: (8, True),
}
_CONTRACT_ERROR = 0
_LAST_ERROR_TYPE = 9
_LAST_ERROR_CODE = 9


class Val:
    """One contract value.

    ``value`` by kind: integers ``int``; ``BOOL`` ``bool``; ``VOID`` ``None``; ``ERROR`` a pair of
    type and code; ``BYTES``, ``STRING``, ``EXECUTABLE_TAG`` ``bytes``; ``SYMBOL`` ``str``; ``VEC``
    a tuple of values or ``None``; ``MAP`` a tuple of pairs or ``None``; ``ADDRESS`` an
    :class:`Address`; ``INSTANCE`` an :class:`Instance`.
    """

    __slots__ = ("kind", "value", "xdr")

    def __init__(self, kind: Kind, value: Any, xdr: bytes) -> None:
        self.kind = kind
        self.value = value
        self.xdr = xdr

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Val) and self.xdr == other.xdr

    def __hash__(self) -> int:
        return hash(self.xdr)

    def __repr__(self) -> str:
        return f"Val({self.kind.name}, {self.value!r})"

    @classmethod
    def parse(cls, data: bytes) -> Val:
        reader = Reader(data)
        value = cls.read(reader)
        reader.finish()
        return value

    @classmethod
    def read(cls, reader: Reader) -> Val:
        start = reader.at
        number = reader.u32()
        if number > Kind.EXECUTABLE_TAG:
            raise XdrError(f"unknown kind of value {number}")
        kind = _KINDS[number]
        width = _WIDTHS.get(kind)
        if width is not None:
            size, signed = width
            value = int.from_bytes(reader.fixed(size), "big", signed=signed)
            return cls(kind, value, reader.since(start))
        payload = _PAYLOADS.get(kind)
        reader.enter()
        content = None if payload is None else payload(reader)
        reader.leave()
        return cls(kind, content, reader.since(start))


_KINDS = tuple(Kind)


# Nested values are read in plain loops: every function in between is a step nearer to Python's
# limit of recursion.


def _read_vec(reader: Reader) -> tuple[Val, ...] | None:
    if not reader.boolean():
        return None
    items = []
    for _ in range(reader.count()):
        items.append(Val.read(reader))  # noqa: PERF401
    return tuple(items)


def _read_map(reader: Reader) -> tuple[tuple[Val, Val], ...] | None:
    if not reader.boolean():
        return None
    pairs = []
    for _ in range(reader.count()):
        key = Val.read(reader)
        pairs.append((key, Val.read(reader)))
    return tuple(pairs)


def _read_error(reader: Reader) -> tuple[int, int]:
    error_type = reader.u32()
    if error_type > _LAST_ERROR_TYPE:
        raise XdrError(f"unknown type of error {error_type}")
    code = reader.u32()
    if error_type != _CONTRACT_ERROR and code > _LAST_ERROR_CODE:
        raise XdrError(f"unknown error code {code}")
    return error_type, code


class Executable:
    """What runs when a contract is called: a Wasm by its hash, or the Stellar Asset Contract."""

    __slots__ = ("wasm_hash", "xdr")

    def __init__(self, wasm_hash: bytes | None) -> None:
        self.wasm_hash = wasm_hash
        """``None``: the Stellar Asset Contract."""
        self.xdr = ONE if wasm_hash is None else ZERO + wasm_hash

    @classmethod
    def read(cls, reader: Reader) -> Executable:
        kind = reader.u32()
        if kind == 0:
            return cls(reader.fixed(32))
        if kind == 1:
            return cls(None)
        raise XdrError(f"kind of executable {kind} is not known here")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Executable) and self.xdr == other.xdr

    def __hash__(self) -> int:
        return hash(self.xdr)


STELLAR_ASSET = Executable(None)


class Instance:
    """A contract instance: its executable and its instance storage."""

    __slots__ = ("executable", "storage", "xdr")

    def __init__(self, executable: Executable, storage: tuple[tuple[Val, Val], ...] | None) -> None:
        self.executable = executable
        self.storage = storage
        encoded = None if storage is None else array(key.xdr + val.xdr for key, val in storage)
        self.xdr = executable.xdr + optional(encoded)

    @classmethod
    def read(cls, reader: Reader) -> Instance:
        executable = Executable.read(reader)
        return cls(executable, _read_map(reader))


_PAYLOADS: dict[Kind, Callable[[Reader], Any]] = {
    Kind.ADDRESS: Address.read,
    Kind.BOOL: Reader.boolean,
    Kind.BYTES: Reader.opaque,
    Kind.ERROR: _read_error,
    Kind.EXECUTABLE_TAG: Reader.opaque,
    Kind.INSTANCE: Instance.read,
    Kind.MAP: _read_map,
    Kind.STRING: Reader.opaque,
    Kind.SYMBOL: lambda reader: reader.opaque(32).decode("latin-1"),
    Kind.VEC: _read_vec,
}

_PREFIX = {kind: u32(kind) for kind in Kind}

VOID = Val(Kind.VOID, None, _PREFIX[Kind.VOID])
TRUE = Val(Kind.BOOL, True, _PREFIX[Kind.BOOL] + ONE)
FALSE = Val(Kind.BOOL, False, _PREFIX[Kind.BOOL] + ZERO)
INSTANCE_KEY = Val(Kind.LEDGER_KEY_INSTANCE, None, _PREFIX[Kind.LEDGER_KEY_INSTANCE])


def bool_val(value: bool) -> Val:
    return TRUE if value else FALSE


def u32_val(value: int) -> Val:
    return Val(Kind.U32, value, _PREFIX[Kind.U32] + u32(value))


def u64_val(value: int) -> Val:
    return Val(Kind.U64, value, _PREFIX[Kind.U64] + u64(value))


def i64_val(value: int) -> Val:
    return Val(Kind.I64, value, _PREFIX[Kind.I64] + i64(value))


def i128_val(value: int) -> Val:
    return Val(Kind.I128, value, _PREFIX[Kind.I128] + value.to_bytes(16, "big", signed=True))


def bytes_val(value: bytes) -> Val:
    return Val(Kind.BYTES, value, _PREFIX[Kind.BYTES] + opaque(value))


def string_val(value: bytes) -> Val:
    return Val(Kind.STRING, value, _PREFIX[Kind.STRING] + opaque(value))


def symbol_val(value: str) -> Val:
    return Val(Kind.SYMBOL, value, _PREFIX[Kind.SYMBOL] + opaque(value.encode("latin-1")))


def address_val(value: Address) -> Val:
    return Val(Kind.ADDRESS, value, _PREFIX[Kind.ADDRESS] + value.xdr)


def error_val(error_type: int, code: int) -> Val:
    return Val(Kind.ERROR, (error_type, code), _PREFIX[Kind.ERROR] + u32(error_type) + u32(code))


def nonce_key_val(nonce: int) -> Val:
    return Val(Kind.LEDGER_KEY_NONCE, nonce, _PREFIX[Kind.LEDGER_KEY_NONCE] + i64(nonce))


def vec_val(items: Iterable[Val]) -> Val:
    values = tuple(items)
    return Val(Kind.VEC, values, _PREFIX[Kind.VEC] + ONE + array(v.xdr for v in values))


def map_val(fields: Mapping[str, Val]) -> Val:
    """A map with symbol keys, in the order maps have on the ledger."""
    pairs = tuple((symbol_val(name), fields[name]) for name in sorted(fields))
    encoded = array(key.xdr + value.xdr for key, value in pairs)
    return Val(Kind.MAP, pairs, _PREFIX[Kind.MAP] + ONE + encoded)


def instance_val(instance: Instance) -> Val:
    return Val(Kind.INSTANCE, instance, _PREFIX[Kind.INSTANCE] + instance.xdr)


def fields(value: Val) -> dict[str, Val]:
    """The fields of a map with symbol keys."""
    return {key.value: item for key, item in value.value}
