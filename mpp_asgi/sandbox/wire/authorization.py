"""Soroban authorization entries: who allows which tree of calls."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from typing import TYPE_CHECKING

from mpp_asgi.sandbox.wire.assets import Asset
from mpp_asgi.sandbox.wire.stream import ZERO, Reader, XdrError, array, i64, opaque, u32
from mpp_asgi.sandbox.wire.values import VOID, Address, Executable, Val

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_CALL = u32(0)
_CREATE = u32(1)
_CREATE_V2 = u32(2)
_CONTRACT_ID = u32(8)
_PAYLOAD = u32(9)
_PAYLOAD_WITH_ADDRESS = u32(10)


class Credentials(IntEnum):
    """How an entry proves its address (``SorobanCredentialsType``)."""

    SOURCE_ACCOUNT = 0
    ADDRESS = 1
    ADDRESS_V2 = 2
    ADDRESS_WITH_DELEGATES = 3


@dataclass(frozen=True, slots=True)
class ContractIdPreimage:
    """What a contract's address is made from: a deployer and a salt, or an asset."""

    deployer: Address | None
    salt: bytes
    asset: Asset | None
    xdr: bytes

    @classmethod
    def read(cls, reader: Reader) -> ContractIdPreimage:
        start = reader.at
        kind = reader.u32()
        if kind == 0:
            deployer = Address.read(reader)
            salt = reader.fixed(32)
            return cls(deployer, salt, None, reader.since(start))
        if kind == 1:
            asset = Asset.read(reader)
            return cls(None, b"", asset, reader.since(start))
        raise XdrError(f"unknown kind of contract id {kind}")

    @classmethod
    def of(cls, deployer: Address, salt: bytes) -> ContractIdPreimage:
        """What a deployer's contract with a 32-byte salt gets its address from."""
        return cls(deployer, salt, None, ZERO + deployer.xdr + salt)

    def address(self, network_id: bytes) -> Address:
        """The contract's address on a network."""
        return Address.contract(sha256(_CONTRACT_ID + network_id + self.xdr).digest())


class AuthorizedFunction:
    """A call or a contract creation, as authorizations name it. Equal bytes mean the same."""

    __slots__ = ("args", "contract", "executable", "name", "preimage", "xdr")

    def __init__(
        self,
        xdr: bytes,
        args: tuple[Val, ...],
        *,
        contract: Address | None = None,
        name: str = "",
        preimage: ContractIdPreimage | None = None,
        executable: Executable | None = None,
    ) -> None:
        self.xdr = xdr
        self.args = args
        self.contract = contract
        """The contract that is called; ``None`` for a creation."""
        self.name = name
        self.preimage = preimage
        self.executable = executable

    @classmethod
    def call(cls, contract: Address, name: str, args: tuple[Val, ...]) -> AuthorizedFunction:
        encoded = array([value.xdr for value in args])
        xdr = _CALL + contract.xdr + opaque(name.encode("latin-1")) + encoded
        return cls(xdr, args, contract=contract, name=name)

    @classmethod
    def create(
        cls, preimage: ContractIdPreimage, executable: Executable, args: tuple[Val, ...]
    ) -> AuthorizedFunction:
        encoded = array([value.xdr for value in args])
        xdr = _CREATE_V2 + preimage.xdr + executable.xdr + encoded
        return cls(xdr, args, preimage=preimage, executable=executable)

    @classmethod
    def read(cls, reader: Reader) -> AuthorizedFunction:
        start = reader.at
        kind = u32(reader.u32())
        if kind == _CALL:
            contract = Address.read(reader)
            name = reader.opaque(32).decode("latin-1")
            args = reader.array(lambda: Val.read(reader))
            return cls(reader.since(start), args, contract=contract, name=name)
        if kind not in {_CREATE, _CREATE_V2}:
            raise XdrError("unknown kind of authorized function")
        preimage = ContractIdPreimage.read(reader)
        executable = Executable.read(reader)
        # The older form means the same as the newer one with a constructor that takes nothing.
        args = reader.array(lambda: Val.read(reader)) if kind == _CREATE_V2 else ()
        return cls.create(preimage, executable, args)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AuthorizedFunction) and self.xdr == other.xdr

    def __hash__(self) -> int:
        return hash(self.xdr)


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call and the calls below it that are allowed with it."""

    function: AuthorizedFunction
    children: tuple[Invocation, ...]
    xdr: bytes

    @classmethod
    def of(cls, function: AuthorizedFunction, children: Iterable[Invocation] = ()) -> Invocation:
        below = tuple(children)
        return cls(function, below, function.xdr + array([child.xdr for child in below]))

    @classmethod
    def read(cls, reader: Reader) -> Invocation:
        start = reader.at
        reader.enter()
        function = AuthorizedFunction.read(reader)
        children = []
        for _ in range(reader.count()):
            children.append(cls.read(reader))  # noqa: PERF401 - one frame less per level
        reader.leave()
        return cls(function, tuple(children), reader.since(start))

    def functions(self) -> Iterator[AuthorizedFunction]:
        """Every function of the tree, from the root down."""
        yield self.function
        for child in self.children:
            yield from child.functions()


@dataclass(frozen=True, slots=True)
class Delegate:
    """An address that signs for another one, and those that sign for it in turn."""

    address: Address
    signature: Val
    delegates: tuple[Delegate, ...]
    xdr: bytes

    @classmethod
    def read(cls, reader: Reader) -> Delegate:
        start = reader.at
        reader.enter()
        address = Address.read(reader)
        signature = Val.read(reader)
        delegates = []
        for _ in range(reader.count()):
            delegates.append(cls.read(reader))  # noqa: PERF401 - one frame less per level
        reader.leave()
        return cls(address, signature, tuple(delegates), reader.since(start))


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
    delegates: tuple[Delegate, ...] = ()
    """Only with the credentials of that name."""

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
        delegates: tuple[Delegate, ...] = ()
        if credentials is Credentials.ADDRESS_WITH_DELEGATES:
            delegates = reader.array(lambda: Delegate.read(reader))
        root = Invocation.read(reader)
        return cls(credentials, root, address, nonce, expiration, signature, delegates)

    @property
    def xdr(self) -> bytes:
        if self.address is None:
            return ZERO + self.root.xdr
        proof = i64(self.nonce) + u32(self.expiration) + self.signature.xdr
        if self.credentials is Credentials.ADDRESS_WITH_DELEGATES:
            proof += array([delegate.xdr for delegate in self.delegates])
        return u32(self.credentials) + self.address.xdr + proof + self.root.xdr

    def payload(self, network_id: bytes) -> bytes:
        """The 32 bytes its address has to sign.

        The older credentials do not sign the address; the newer ones do.
        """
        bounds = network_id + i64(self.nonce) + u32(self.expiration)
        if self.credentials is Credentials.ADDRESS or self.address is None:
            return sha256(_PAYLOAD + bounds + self.root.xdr).digest()
        signed = _PAYLOAD_WITH_ADDRESS + bounds + self.address.xdr + self.root.xdr
        return sha256(signed).digest()
