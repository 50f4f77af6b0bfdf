"""Soroban authorization entries: who allows which tree of calls."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from typing import TYPE_CHECKING

from stellar_sdk import xdr as sdk

from mpp_asgi.sandbox.wire.assets import Asset
from mpp_asgi.sandbox.wire.keys import skip
from mpp_asgi.sandbox.wire.stream import ONE, ZERO, Reader, XdrError, array, i64, opaque, u32
from mpp_asgi.sandbox.wire.values import VOID, Address, Executable, Val

if TYPE_CHECKING:
    from collections.abc import Iterable

CALL = u32(0)
CREATE = u32(1)
CREATE_V2 = u32(2)

_PREIMAGE = u32(9)
_PREIMAGE_WITH_ADDRESS = u32(10)


class Credentials(IntEnum):
    """How an entry proves its address (``SorobanCredentialsType``)."""

    SOURCE_ACCOUNT = 0
    ADDRESS = 1
    ADDRESS_V2 = 2
    ADDRESS_WITH_DELEGATES = 3


def call_function(contract: Address, name: str, args: Iterable[Val]) -> bytes:
    """A contract call as authorizations name it; equal bytes are the same call."""
    encoded_name = opaque(name.encode("latin-1"))
    return CALL + contract.xdr + encoded_name + array(value.xdr for value in args)


def create_function(preimage: bytes, executable: Executable, args: Iterable[Val]) -> bytes:
    """A contract creation as authorizations name it."""
    return CREATE_V2 + preimage + executable.xdr + array(value.xdr for value in args)


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call and the calls below it that are allowed with it."""

    function: bytes
    """What is called, in the form of :func:`call_function` or :func:`create_function`."""
    children: tuple[Invocation, ...]
    xdr: bytes

    @classmethod
    def of(cls, function: bytes, children: Iterable[Invocation] = ()) -> Invocation:
        below = tuple(children)
        return cls(function, below, function + array(child.xdr for child in below))

    @classmethod
    def read(cls, reader: Reader) -> Invocation:
        start = reader.at
        reader.enter()
        function = _read_function(reader)
        children = reader.array(lambda: cls.read(reader))
        reader.leave()
        return cls(function, children, reader.since(start))


@dataclass(frozen=True, slots=True)
class AuthorizationEntry:
    """One entry of an operation's authorization."""

    credentials: Credentials
    root: Invocation
    address: Address | None = None
    """``None`` stands for the transaction's source account."""
    nonce: int = 0
    expiration: int = 0
    """The last ledger in which the signature is good."""
    signature: Val = VOID
    delegates: bytes = b""
    """Encoded delegate signatures of ``ADDRESS_WITH_DELEGATES``."""

    @classmethod
    def parse(cls, data: bytes) -> AuthorizationEntry:
        reader = Reader(data)
        entry = cls.read(reader)
        reader.finish()
        return entry

    @classmethod
    def read(cls, reader: Reader) -> AuthorizationEntry:
        number = reader.u32()
        if number > Credentials.ADDRESS_WITH_DELEGATES:
            raise XdrError(f"unknown kind of credentials {number}")
        credentials = Credentials(number)
        if credentials is Credentials.SOURCE_ACCOUNT:
            return cls(credentials, Invocation.read(reader))
        address = Address.read(reader)
        nonce = reader.i64()
        expiration = reader.u32()
        signature = Val.read(reader)
        start = reader.at
        if credentials is Credentials.ADDRESS_WITH_DELEGATES:
            reader.array(lambda: skip(reader, sdk.SorobanDelegateSignature))
        delegates = reader.since(start)
        root = Invocation.read(reader)
        return cls(credentials, root, address, nonce, expiration, signature, delegates)

    @property
    def xdr(self) -> bytes:
        if self.address is None:
            return ZERO + self.root.xdr
        proof = i64(self.nonce) + u32(self.expiration) + self.signature.xdr + self.delegates
        return u32(self.credentials) + self.address.xdr + proof + self.root.xdr

    def payload(self, network_id: bytes) -> bytes:
        """The 32 bytes its address has to sign."""
        bounds = i64(self.nonce) + u32(self.expiration)
        if self.credentials is Credentials.ADDRESS:
            preimage = _PREIMAGE + network_id + bounds + self.root.xdr
        else:
            assert self.address is not None
            preimage = (
                _PREIMAGE_WITH_ADDRESS + network_id + bounds + self.address.xdr + self.root.xdr
            )
        return sha256(preimage).digest()


def _read_function(reader: Reader) -> bytes:
    start = reader.at
    kind = u32(reader.u32())
    if kind == CALL:
        Address.read(reader)
        reader.opaque(32)
        reader.array(lambda: Val.read(reader))
        return reader.since(start)
    if kind not in {CREATE, CREATE_V2}:
        raise XdrError("unknown kind of authorized function")
    read_contract_id_preimage(reader)
    Executable.read(reader)
    if kind == CREATE:
        # The two forms mean the same when the constructor takes nothing.
        return CREATE_V2 + reader.data[start + 4 : reader.at] + ZERO
    reader.array(lambda: Val.read(reader))
    return reader.since(start)


@dataclass(frozen=True, slots=True)
class ContractIdPreimage:
    """What a contract's address is made from."""

    deployer: Address | None
    """``None`` for an asset's contract."""
    salt: bytes
    asset: Asset | None
    """The asset, for an asset's contract."""
    xdr: bytes

    def contract_id(self, network_id: bytes) -> bytes:
        return sha256(u32(8) + network_id + self.xdr).digest()


def read_contract_id_preimage(reader: Reader) -> ContractIdPreimage:
    start = reader.at
    kind = u32(reader.u32())
    if kind == ZERO:
        deployer = Address.read(reader)
        salt = reader.fixed(32)
        return ContractIdPreimage(deployer, salt, None, reader.since(start))
    if kind == ONE:
        asset = Asset.read(reader)
        return ContractIdPreimage(None, b"", asset, reader.since(start))
    raise XdrError("unknown kind of contract id")
