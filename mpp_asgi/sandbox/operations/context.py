"""What an operation is applied in, and what every operation offers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from mpp_asgi.sandbox.host.events import Event, EventKind
from mpp_asgi.sandbox.wire.results import OperationCode
from mpp_asgi.sandbox.wire.values import (
    Address,
    Val,
    address_val,
    bytes_val,
    i128_val,
    map_val,
    string_val,
    symbol_val,
    u64_val,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from mpp_asgi.sandbox.state import Layer
    from mpp_asgi.sandbox.wire.assets import Asset
    from mpp_asgi.sandbox.wire.entries import Account
    from mpp_asgi.sandbox.wire.transactions import Transaction


class Threshold(IntEnum):
    """Which of the account's thresholds the operation's signatures must reach."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3


@dataclass(slots=True)
class Context:
    """Applying one operation: the entries it may change and the events it leaves."""

    layer: Layer
    source: Address
    """The operation's source, as given: an account or a muxed account."""
    transaction: Transaction
    network_id: bytes
    base_reserve: int
    sequence: int
    close_time: int
    events: list[Event] = field(default_factory=list)

    def announce_payment(self, asset: Asset, to: Address, amount: int) -> None:
        """The event of a payment; the issuer's side makes it a mint or a burn."""
        sender, receiver = self.source.demuxed(), to.demuxed()
        from_issuer, to_issuer = asset.is_issuer(sender), asset.is_issuer(receiver)
        data = self._amount(to, amount)
        if from_issuer and not to_issuer:
            self.announce(asset, "mint", [receiver], data)
        elif to_issuer and not from_issuer:
            self.announce(asset, "burn", [sender], i128_val(amount))
        else:
            self.announce(asset, "transfer", [sender, receiver], data)

    def _amount(self, to: Address, amount: int) -> Val:
        """The amount alone, or with whom it is for: a muxed id or else the memo."""
        if to.mux_id is not None:
            receiver = u64_val(to.mux_id)
        elif self.transaction.memo:
            receiver = _memo_val(self.transaction)
        else:
            return i128_val(amount)
        return map_val({"amount": i128_val(amount), "to_muxed_id": receiver})

    def announce(self, asset: Asset, name: str, subjects: list[Address], data: Val) -> None:
        topics = (
            symbol_val(name),
            *(address_val(subject) for subject in subjects),
            string_val(asset.name.encode()),
        )
        contract = asset.contract(self.network_id)
        self.events.append(Event(EventKind.CONTRACT, contract, topics, data))


def _memo_val(transaction: Transaction) -> Val:
    value = transaction.memo_value
    match transaction.memo:
        case 1:
            return string_val(value)
        case 2:
            return u64_val(int.from_bytes(value, "big"))
        case _:
            return bytes_val(value)


class OperationFailedError(Exception):
    """An operation cannot be applied: its own result code, or one that all operations share."""

    def __init__(self, inner: int = 0, *, code: OperationCode = OperationCode.INNER) -> None:
        super().__init__(code.name, inner)
        self.inner = inner
        self.code = code


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of operation.

    ``check(body, source)`` gives the operation's own result code, 0 when it is well formed;
    ``apply(body, context)`` changes the context's layer or raises :class:`OperationFailedError`.
    ``threshold(body)`` says what its signatures must weigh.
    """

    check: Callable[[Any, bytes], int]
    apply: Callable[[Any, Context], None]
    threshold: Callable[[Any], Threshold]


def medium(_body: object) -> Threshold:
    return Threshold.MEDIUM


def low(_body: object) -> Threshold:
    return Threshold.LOW


MAX_SUBENTRIES = 1_000


def with_subentry(account: Account, base_reserve: int, low_reserve: int) -> Account:
    """The account with one subentry more; ``low_reserve`` is the code when it cannot afford it."""
    if account.subentries >= MAX_SUBENTRIES:
        raise OperationFailedError(code=OperationCode.TOO_MANY_SUBENTRIES)
    if account.available_balance(base_reserve) < base_reserve:
        raise OperationFailedError(low_reserve)
    return replace(account, subentries=account.subentries + 1)
