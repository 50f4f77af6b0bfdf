"""Calls of payment channels: what payers and recipients do with them, written and read.

Each call comes as the tree that its maker allows (see `invocation`): the funder opens and tops up,
and wishes to close and takes back; the recipient settles and closes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stellar_sdk import StrKey, scval, xdr

from mpp_asgi.stellar.address import address_from_xdr, address_to_xdr
from mpp_asgi.stellar.envelope import network_id
from mpp_asgi.stellar.invocation import contract_call, creation, host_function
from mpp_asgi.stellar.transfer import Transfer, transfer_call

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mpp_asgi.stellar.invocation import Call

OPEN: Final = "open"
TOP_UP: Final = "top_up"

_CONSTRUCTOR: Final = "__constructor"


class NotTheCallError(ValueError):
    """An operation does not make the call in question. The text says what it does instead, as a
    clause: ``it calls 'burn'``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A channel to be opened: by its funder's own deployment, or by a factory's."""

    factory: str | None
    """The contract (``C…``) that deploys it; ``None``: the funder does."""
    wasm_hash: str | None
    """The code (64 hex digits) that the funder deploys; ``None``: what the factory does."""
    salt: bytes
    """32 bytes that no other channel of the same deployer has."""
    token: str
    """``C…``"""
    funder: str
    key: bytes
    """What commitments will be signed with: an ed25519 public key (32 bytes)."""
    recipient: str
    amount: int
    """The first deposit, base units."""
    waiting_period: int
    """Ledgers from ``close_start`` to ``refund``."""

    def channel(self, passphrase: str) -> str:
        """The address (``C…``) that the channel will have on a network.

        Raises:
            ValueError: the deployer's address or the salt is impossible.
        """
        contract_id = xdr.HashIDPreimageContractID(
            network_id=xdr.Hash(network_id(passphrase)),
            contract_id_preimage=_place(self.factory or self.funder, self.salt),
        )
        preimage = xdr.HashIDPreimage(
            xdr.EnvelopeType.ENVELOPE_TYPE_CONTRACT_ID, contract_id=contract_id
        )
        return StrKey.encode_contract(hashlib.sha256(preimage.to_xdr_bytes()).digest())

    def call(self, passphrase: str) -> Call:
        """The call that opens it, with what the funder has to allow for it on a network.

        Raises:
            ValueError: a term is impossible.
        """
        if self.amount == 0:
            return self._call()
        channel = self.channel(passphrase)
        deposit = Transfer(self.token, self.funder, channel, self.amount)
        return self._call(
            contract_call(channel, _CONSTRUCTOR, self._terms(), transfer_call(deposit))
        )

    def _call(self, *below: Call) -> Call:
        if self.factory is not None:
            args = [scval.to_bytes(self.salt), *self._terms()]
            return contract_call(self.factory, OPEN, args, *below)
        code = xdr.ContractExecutable(
            xdr.ContractExecutableType.CONTRACT_EXECUTABLE_WASM,
            wasm_hash=xdr.Hash(bytes.fromhex(self.wasm_hash or "")),
        )
        place = _place(self.funder, self.salt)
        return creation(xdr.CreateContractArgsV2(place, code, self._terms()), *below)

    @property
    def function(self) -> xdr.HostFunction:
        """What the opening's operation asks the network to do, on whatever network."""
        return host_function(self._call())

    def _terms(self) -> list[xdr.SCVal]:
        """What the channel's constructor takes."""
        return [
            scval.to_address(self.token),
            scval.to_address(self.funder),
            scval.to_bytes(self.key),
            scval.to_address(self.recipient),
            scval.to_int128(self.amount),
            scval.to_uint32(self.waiting_period),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class TopUp:
    """More money for a channel."""

    channel: str
    amount: int
    """Base units."""

    def call(self, *, token: str, funder: str) -> Call:
        """The call that does it, with what the funder has to allow for it.

        Raises:
            ValueError: an address or the amount is impossible.
        """
        moved = Transfer(token, funder, self.channel, self.amount)
        args = [scval.to_int128(self.amount)]
        return contract_call(self.channel, TOP_UP, args, transfer_call(moved))


def close_start_call(channel: str) -> Call:
    """The funder wishes the channel closed; allowed by the funder."""
    return contract_call(channel, "close_start", [])


def refund_call(channel: str) -> Call:
    """The funder takes back what is left, once the waiting is over; allowed by the funder."""
    return contract_call(channel, "refund", [])


def settle_call(channel: str, amount: int, signature: bytes) -> Call:
    """The recipient takes what a commitment exceeds the withdrawn amount by; allowed by the
    recipient.

    Args:
        channel: ``C…``
        amount: what is committed to, base units in total.
        signature: of the commitment, 64 bytes.
    """
    return _payment(channel, "settle", amount, signature)


def close_call(channel: str, amount: int, signature: bytes) -> Call:
    """As `settle_call`, and the channel is closed: the funder gets what is left at once."""
    return _payment(channel, "close", amount, signature)


def _payment(channel: str, function: str, amount: int, signature: bytes) -> Call:
    return contract_call(channel, function, [scval.to_int128(amount), scval.to_bytes(signature)])


def _place(deployer: str, salt: bytes) -> xdr.ContractIDPreimage:
    """What a deployed contract's address is made from."""
    if len(salt) != 32:
        raise ValueError("A salt has 32 bytes.")
    return xdr.ContractIDPreimage(
        xdr.ContractIDPreimageType.CONTRACT_ID_PREIMAGE_FROM_ADDRESS,
        from_address=xdr.ContractIDPreimageFromAddress(address_to_xdr(deployer), xdr.Uint256(salt)),
    )


# Reading


def read_opening(function: xdr.HostFunction) -> Opening:
    """The channel that an operation's function opens.

    What it returns writes the same function again, byte by byte: nothing is passed over.

    Raises:
        NotTheCallError: it opens none.
    """
    match function:
        case xdr.HostFunction(invoke_contract=xdr.InvokeContractArgs() as called):
            factory, (salt, *terms) = _read_call(called, OPEN, 7)
            opening = _opening(terms, salt=_bytes(salt), factory=factory)
        case xdr.HostFunction(create_contract_v2=xdr.CreateContractArgsV2() as created):
            opening = _deployment(created)
        case _:
            raise NotTheCallError(f"its host function is {function.type.name}")
    _require_same(lambda: opening.function, function)
    return opening


def read_top_up(function: xdr.HostFunction) -> TopUp:
    """What an operation's function adds to a channel; as exact as `read_opening`.

    Raises:
        NotTheCallError: it adds nothing to any.
    """
    called = function.invoke_contract
    if called is None:
        raise NotTheCallError(f"its host function is {function.type.name}")
    channel, (amount,) = _read_call(called, TOP_UP, 1)
    top_up = TopUp(channel=channel, amount=_amount(amount))
    args = [scval.to_int128(top_up.amount)]
    _require_same(lambda: host_function(contract_call(channel, TOP_UP, args)), function)
    return top_up


def _read_call(
    called: xdr.InvokeContractArgs, function: str, count: int
) -> tuple[str, Sequence[xdr.SCVal]]:
    """The contract that is called, and the arguments."""
    name = called.function_name.sc_symbol
    if name != function.encode("ascii"):
        raise NotTheCallError(f"it calls {name.decode('ascii', 'replace')!r}")
    if len(called.args) != count:
        raise NotTheCallError(f"it calls {function!r} with {len(called.args)} arguments")
    return address_from_xdr(called.contract_address), called.args


def _deployment(created: xdr.CreateContractArgsV2) -> Opening:
    """A channel that is deployed by its funder."""
    place, code = created.contract_id_preimage.from_address, created.executable.wasm_hash
    if place is None or code is None or len(created.constructor_args) != 6:
        raise NotTheCallError("what it deploys is not a channel")
    opening = _opening(created.constructor_args, salt=place.salt.uint256, wasm_hash=code.hash.hex())
    if address_from_xdr(place.address) != opening.funder:
        raise NotTheCallError("the channel is deployed by another than its funder")
    return opening


def _opening(
    terms: Sequence[xdr.SCVal],
    *,
    salt: bytes,
    factory: str | None = None,
    wasm_hash: str | None = None,
) -> Opening:
    token, funder, key, recipient, amount, waiting_period = terms
    if waiting_period.u32 is None:
        raise _odd()
    return Opening(
        factory=factory,
        wasm_hash=wasm_hash,
        salt=salt,
        token=_address(token),
        funder=_address(funder),
        key=_bytes(key),
        recipient=_address(recipient),
        amount=_amount(amount),
        waiting_period=waiting_period.u32.uint32,
    )


def _address(value: xdr.SCVal) -> str:
    if value.address is None:
        raise _odd()
    return address_from_xdr(value.address)


def _bytes(value: xdr.SCVal) -> bytes:
    if value.bytes is None or len(value.bytes.sc_bytes) != 32:
        raise _odd()
    return value.bytes.sc_bytes


def _amount(value: xdr.SCVal) -> int:
    if value.type != xdr.SCValType.SCV_I128 or (amount := scval.from_int128(value)) < 0:
        raise _odd()
    return amount


def _odd() -> NotTheCallError:
    return NotTheCallError("its arguments are not those of a channel")


def _require_same(write: Callable[[], xdr.HostFunction], read: xdr.HostFunction) -> None:
    try:
        written = write()
    except ValueError:  # an account that is called, or the like
        raise _odd() from None
    if written.to_xdr_bytes() != read.to_xdr_bytes():
        raise _odd()
