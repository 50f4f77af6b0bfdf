"""What the ledger says of payment channels: whose they are, on what terms, and what is in them.

A one-way payment channel is a contract that holds a funder's deposit and pays its recipient for the
funder's commitments. It keeps its terms in its instance; its balance is the token's to keep. Here
are the calls that read both, for servers and payers alike, and the reading of the answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stellar_sdk import StrKey, scval, xdr

from mpp_asgi.stellar.address import address_from_xdr, address_to_xdr
from mpp_asgi.stellar.inspection import XDR_ERRORS
from mpp_asgi.stellar.rpc import get_ledger_entries
from mpp_asgi.stellar.rpc_call import RpcCall

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from mpp_asgi.stellar.rpc import LedgerEntries
    from mpp_asgi.stellar.rpc_call import Fields

MOST_KEYS: Final = 200
"""Ledger keys that a node takes in one call."""

_INSTANCE: Final = xdr.SCVal(xdr.SCValType.SCV_LEDGER_KEY_CONTRACT_INSTANCE)
_BALANCE: Final = scval.to_symbol("Balance")


class NotAChannelError(Exception):
    """There is no channel at an address: no contract, or one of another shape. The text is a
    sentence for people."""

    def __init__(self, detail: str, *, ledger: int | None = None) -> None:
        super().__init__(detail)
        self.ledger = ledger
        """The ledger that says so; ``None``: it is no address, so none was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelFacts:
    """A channel as it stood in one ledger. Amounts are base units of its token."""

    id: str
    """The channel's contract (``C…``)."""
    wasm_hash: str
    """SHA-256 of its code, 64 hex digits. Anybody can deploy a contract that looks like a channel
    and pays nothing: nothing else here can be relied on where this is unknown."""
    token: str
    """``C…``"""
    funder: str
    """Who deposited and gets back what is left: ``G…`` or ``C…``."""
    recipient: str
    """Who is paid: ``G…`` or ``C…``."""
    key: str
    """What commitments are signed with: an ed25519 public key, 64 hex digits. Perhaps none that can
    be signed with: see `commitment.is_commitment_key`."""
    waiting_period: int
    """Ledgers from the funder's ``close_start`` to its ``refund``."""
    balance: int
    """What is in it and can be paid out: 0 if the token's issuer has frozen it, and where the token
    is none of those that were asked about."""
    withdrawn: int
    """What the recipient has had so far."""
    closes_at: int | None
    """The ledger from which on the funder may take back what is left; ``None``: none is set."""
    ledger: int
    """The ledger that all this is read from."""
    shows_balance: bool = True
    """Whether a balance was shown at all. None is, where nothing was ever deposited or the token is
    none of those that were asked about; and by some nodes where it is archived."""
    frozen: int = 0
    """What is in it and cannot be paid out, because the token's issuer has frozen it."""

    @property
    def deposited(self) -> int:
        """The most that a commitment can be good for."""
        return self.balance + self.withdrawn

    @property
    def is_closed(self) -> bool:
        """The recipient has closed it, or the funder and its waiting is over. A commitment is paid
        even then, from what is left."""
        return self.closes_at is not None and self.ledger >= self.closes_at


def get_channels(
    channels: Collection[str], tokens: Collection[str]
) -> RpcCall[Mapping[str, ChannelFacts | NotAChannelError]]:
    """What the ledger says of some channels, all of the same ledger.

    Args:
        channels: addresses (``C…``), at most `channels_a_call`.
        tokens: the tokens (``C…``) whose balances are wanted, of which a channel has one at most.
            They must be contracts of assets: others keep balances elsewhere.

    Raises:
        ValueError: an address is none, or there are too many.
    """
    wanted = {channel: _Keys(channel, tokens) for channel in channels}
    names = [key for keys in wanted.values() for key in (keys.instance, *keys.balances.values())]
    if len(names) > MOST_KEYS:
        raise ValueError(f"Nodes take {MOST_KEYS} keys at a time, not {len(names)}.")
    entries = get_ledger_entries(names)

    def parse(answer: Fields) -> Mapping[str, ChannelFacts | NotAChannelError]:
        found = entries.parse(answer)
        try:
            values = _values(found, frozenset(names))
            return {
                channel: _facts(channel, keys, values, found.latest_ledger)
                for channel, keys in wanted.items()
            }
        except XDR_ERRORS:
            raise answer.senseless("entries") from None

    return RpcCall(entries.method, entries.params, parse)


def channels_a_call(tokens: Collection[str]) -> int:
    """How many channels `get_channels` takes with so many tokens."""
    return MOST_KEYS // (1 + len(tokens))


# Asking


class _Keys:
    """What a channel's facts are under: LedgerKeys (base64 XDR)."""

    def __init__(self, channel: str, tokens: Collection[str]) -> None:
        holder = _contract(channel)
        owner = xdr.SCVal(xdr.SCValType.SCV_ADDRESS, address=holder)
        self.instance = _key(holder, _INSTANCE)
        self.balances = {
            token: _key(_contract(token), scval.to_vec([_BALANCE, owner])) for token in tokens
        }


def _contract(address: str) -> xdr.SCAddress:
    if not StrKey.is_valid_contract(address):
        raise ValueError(f"{address!r} is not the address of a contract.")
    return address_to_xdr(address)


def _key(contract: xdr.SCAddress, key: xdr.SCVal) -> str:
    data = xdr.LedgerKeyContractData(contract, key, xdr.ContractDataDurability.PERSISTENT)
    return xdr.LedgerKey(xdr.LedgerEntryType.CONTRACT_DATA, contract_data=data).to_xdr()


# Reading


def _values(found: LedgerEntries, asked: Collection[str]) -> dict[str, xdr.SCVal]:
    """The values, under the keys that they say themselves they belong to.

    Raises:
        XDR_ERRORS: an entry is garbage, or was not asked for.
    """
    values = {}
    for entry in found.entries:
        data = xdr.LedgerEntryData.from_xdr(entry.xdr).contract_data
        if data is None:
            raise ValueError("not a contract's data")
        key = _key(data.contract, data.key)
        if key not in asked or data.durability != xdr.ContractDataDurability.PERSISTENT:
            raise ValueError("not asked for")
        values[key] = data.val
    return values


def _facts(
    channel: str, keys: _Keys, values: Mapping[str, xdr.SCVal], ledger: int
) -> ChannelFacts | NotAChannelError:
    found = values.get(keys.instance)
    if found is None:
        return NotAChannelError("The ledger has no such channel.", ledger=ledger)
    instance = found.instance
    if instance is None:
        raise ValueError("not an instance")
    wasm_hash = instance.executable.wasm_hash
    if wasm_hash is None:
        return NotAChannelError(
            "The contract at this address is a token, not a channel.", ledger=ledger
        )
    try:
        terms = _Terms(instance)
        token = terms.address("Token")
        balance, frozen = _balance(values.get(keys.balances.get(token, "")))
        return ChannelFacts(
            id=channel,
            wasm_hash=wasm_hash.hash.hex(),
            token=token,
            funder=terms.address("From"),
            recipient=terms.address("To"),
            key=terms.key("CommitmentKey").hex(),
            waiting_period=terms.ledgers("RefundWaitingPeriod"),
            balance=balance or 0,
            withdrawn=terms.amount_or_none("WithdrawnAmount") or 0,
            closes_at=terms.ledgers_or_none("CloseEffectiveAtLedger"),
            ledger=ledger,
            shows_balance=balance is not None,
            frozen=frozen,
        )
    except _AnotherShapeError:
        return NotAChannelError(
            "The contract at this address is not a payment channel.", ledger=ledger
        )


class _AnotherShapeError(Exception):
    """A contract does not keep what a channel keeps."""


class _Terms:
    """What a contract keeps in its instance, under names in the manner of ``[Symbol]``."""

    def __init__(self, instance: xdr.SCContractInstance) -> None:
        stored = instance.storage.sc_map if instance.storage else ()
        self._values = {_name(entry.key): entry.val for entry in stored}

    def _get(self, name: str) -> xdr.SCVal:
        value = self._values.get(name.encode("ascii"))
        if value is None:
            raise _AnotherShapeError(name)
        return value

    def _has(self, name: str) -> bool:
        return name.encode("ascii") in self._values

    def address(self, name: str) -> str:
        address = self._get(name).address
        if address is None:
            raise _AnotherShapeError(name)
        return address_from_xdr(address)

    def key(self, name: str) -> bytes:
        value = self._get(name).bytes
        if value is None or len(value.sc_bytes) != 32:
            raise _AnotherShapeError(name)
        return value.sc_bytes

    def ledgers(self, name: str) -> int:
        value = self._get(name).u32
        if value is None:
            raise _AnotherShapeError(name)
        return value.uint32

    def ledgers_or_none(self, name: str) -> int | None:
        return self.ledgers(name) if self._has(name) else None

    def amount_or_none(self, name: str) -> int | None:
        return _amount(self._get(name)) if self._has(name) else None


def _name(key: xdr.SCVal) -> bytes | None:
    match key:
        case xdr.SCVal(vec=xdr.SCVec(sc_vec=[xdr.SCVal(sym=xdr.SCSymbol(sc_symbol=name))])):
            return name
        case _:
            return None


def _amount(value: xdr.SCVal) -> int:
    if value.type != xdr.SCValType.SCV_I128 or (amount := scval.from_int128(value)) < 0:
        raise _AnotherShapeError
    return amount


def _balance(value: xdr.SCVal | None) -> tuple[int | None, int]:
    """What a balance entry of an asset's contract is good for, and what of it is frozen: it is a
    map of what is there and whether it may be moved. ``None`` if there is no entry.

    Raises:
        ValueError: it is none.
    """
    if value is None:
        return None, 0
    if value.map is None:
        raise ValueError("not a balance")
    fields = {entry.key.sym.sc_symbol: entry.val for entry in value.map.sc_map if entry.key.sym}
    amount, authorized = fields.get(b"amount"), fields.get(b"authorized")
    if amount is None or amount.i128 is None or authorized is None or authorized.b is None:
        raise ValueError("not a balance")
    there = scval.from_int128(amount)
    return (there, 0) if authorized.b else (0, there)
