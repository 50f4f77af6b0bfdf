"""Ledger entries: immutable, each with its bytes beside it.

``data`` is the entry's ``LedgerEntryData``. The ledger sequence an entry was last modified in is
the store's to know; :func:`ledger_entry` puts the two together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mpp_asgi.sandbox.wire.keys import (
    PERSISTENT,
    EntryKind,
    account_key,
    contract_code_key,
    contract_data_key,
    data_key,
    trustline_key,
    ttl_key,
)
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
    from mpp_asgi.sandbox.wire.assets import Asset
    from mpp_asgi.sandbox.wire.values import Address, Val

INT64_MAX = 2**63 - 1

AUTH_REQUIRED = 1
AUTH_REVOCABLE = 2
AUTH_IMMUTABLE = 4
AUTH_CLAWBACK_ENABLED = 8

AUTHORIZED = 1
AUTHORIZED_TO_MAINTAIN_LIABILITIES = 2
CLAWBACK_ENABLED = 4


class SignerKind:
    """What a signer key stands for (``SignerKeyType``)."""

    ED25519 = 0
    PRE_AUTH_TX = 1
    HASH_X = 2
    SIGNED_PAYLOAD = 3


@dataclass(frozen=True, slots=True)
class SignerKey:
    kind: int
    key: bytes
    payload: bytes = b""

    @classmethod
    def read(cls, reader: Reader) -> SignerKey:
        kind = reader.u32()
        if kind > SignerKind.SIGNED_PAYLOAD:
            raise XdrError(f"unknown kind of signer {kind}")
        key = reader.fixed(32)
        return cls(kind, key, reader.opaque(64) if kind == SignerKind.SIGNED_PAYLOAD else b"")

    @property
    def xdr(self) -> bytes:
        tail = opaque(self.payload) if self.kind == SignerKind.SIGNED_PAYLOAD else b""
        return u32(self.kind) + self.key + tail


@dataclass(frozen=True, slots=True)
class Signer:
    key: SignerKey
    weight: int

    @property
    def xdr(self) -> bytes:
        return self.key.xdr + u32(self.weight)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account. ``balance`` in stroops. No liabilities: the sandbox has no offers."""

    public_key: bytes
    balance: int
    sequence: int
    subentries: int = 0
    inflation_destination: bytes | None = None
    flags: int = 0
    home_domain: bytes = b""
    thresholds: bytes = b"\1\0\0\0"
    """Master weight, low, medium, high."""
    signers: tuple[Signer, ...] = ()
    sequence_ledger: int | None = None
    """Ledger and close time of the last change of ``sequence``; ``None`` until the first."""
    sequence_time: int = 0
    key: bytes = field(init=False, repr=False, compare=False)
    data: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", account_key(self.public_key))
        destination = self.inflation_destination
        parts = (
            self.key,
            i64(self.balance),
            i64(self.sequence),
            u32(self.subentries),
            optional(None if destination is None else ZERO + destination),
            u32(self.flags),
            opaque(self.home_domain),
            self.thresholds,
            array(signer.xdr for signer in self.signers) if self.signers else ZERO,
            self._extension(),
        )
        object.__setattr__(self, "data", b"".join(parts))

    def _extension(self) -> bytes:
        if self.sequence_ledger is None:
            return ZERO
        no_liabilities = bytes(16)
        not_sponsored = ZERO + ZERO + u32(len(self.signers)) + ZERO * len(self.signers)
        sequence = ZERO + u32(self.sequence_ledger) + u64(self.sequence_time)
        return ONE + no_liabilities + u32(2) + not_sponsored + u32(3) + sequence

    @property
    def master_weight(self) -> int:
        return self.thresholds[0]

    @property
    def low(self) -> int:
        return self.thresholds[1]

    @property
    def medium(self) -> int:
        return self.thresholds[2]

    @property
    def high(self) -> int:
        return self.thresholds[3]

    def minimum_balance(self, base_reserve: int) -> int:
        """What must stay in the account, in stroops."""
        return (2 + self.subentries) * base_reserve

    def available_balance(self, base_reserve: int) -> int:
        return self.balance - self.minimum_balance(base_reserve)

    def weight_of(self, public_key: bytes) -> int:
        """The weight an ed25519 key signs with; 0 when it is no signer."""
        if public_key == self.public_key:
            return self.master_weight
        for signer in self.signers:
            if signer.key.kind == SignerKind.ED25519 and signer.key.key == public_key:
                return min(signer.weight, 255)
        return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trustline:
    """What an account holds of an issued asset, in base units."""

    public_key: bytes
    asset: Asset
    balance: int = 0
    limit: int = INT64_MAX
    flags: int = AUTHORIZED
    key: bytes = field(init=False, repr=False, compare=False)
    data: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", trustline_key(self.public_key, self.asset))
        tail = i64(self.balance) + i64(self.limit) + u32(self.flags) + ZERO
        object.__setattr__(self, "data", self.key + tail)

    @property
    def is_authorized(self) -> bool:
        return bool(self.flags & AUTHORIZED)


def trustline_flags(issuer: Account) -> int:
    """The flags a new trustline to an issuer's asset begins with."""
    flags = 0 if issuer.flags & AUTH_REQUIRED else AUTHORIZED
    return flags | CLAWBACK_ENABLED if issuer.flags & AUTH_CLAWBACK_ENABLED else flags


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """A named value an account keeps (manage data)."""

    public_key: bytes
    name: bytes
    value: bytes
    key: bytes = field(init=False, repr=False, compare=False)
    data: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", data_key(self.public_key, self.name))
        object.__setattr__(self, "data", self.key + opaque(self.value) + ZERO)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractData:
    """One value in a contract's storage."""

    contract: Address
    name: Val
    value: Val
    durability: int = PERSISTENT
    key: bytes = field(init=False, repr=False, compare=False)
    data: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        key = contract_data_key(self.contract, self.name, self.durability)
        object.__setattr__(self, "key", key)
        place = self.contract.xdr + self.name.xdr + u32(self.durability)
        data = u32(EntryKind.CONTRACT_DATA) + ZERO + place + self.value.xdr
        object.__setattr__(self, "data", data)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractCode:
    """A Wasm that was uploaded; the sandbox keeps it and never runs it."""

    wasm_hash: bytes
    code: bytes
    key: bytes = field(init=False, repr=False, compare=False)
    data: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", contract_code_key(self.wasm_hash))
        data = u32(EntryKind.CONTRACT_CODE) + ZERO + self.wasm_hash + opaque(self.code)
        object.__setattr__(self, "data", data)


@dataclass(frozen=True, slots=True)
class Ttl:
    """The last ledger in which an entry of a contract is alive."""

    of: bytes
    """The key of the entry it speaks of."""
    live_until: int
    key: bytes = field(init=False, repr=False, compare=False)
    data: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", ttl_key(self.of))
        object.__setattr__(self, "data", self.key + u32(self.live_until))


Entry = Account | Trustline | Data | ContractData | ContractCode | Ttl


def ledger_entry(entry: Entry, modified: int) -> bytes:
    """The entry as a ``LedgerEntry``, last modified in the ledger ``modified``."""
    return u32(modified) + entry.data + ZERO
