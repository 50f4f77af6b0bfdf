"""Reads ``LedgerEntryData`` as the sandbox keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mpp_asgi.sandbox.wire.assets import Asset
from mpp_asgi.sandbox.wire.entries import Account, ContractData, Signer, SignerKey, Trustline
from mpp_asgi.sandbox.wire.keys import EntryKind
from mpp_asgi.sandbox.wire.operations import read_account
from mpp_asgi.sandbox.wire.stream import Reader
from mpp_asgi.sandbox.wire.values import Address, Val

if TYPE_CHECKING:
    from mpp_asgi.sandbox.wire.entries import Entry

_LIABILITIES = 16


def parse_entry(data: bytes) -> Entry:
    """An entry of a scenario's first ledger; comes out as the very same bytes."""
    reader = Reader(data)
    kind = reader.u32()
    if kind == EntryKind.ACCOUNT:
        entry = _account(reader)
    elif kind == EntryKind.TRUSTLINE:
        entry = _trustline(reader)
    elif kind == EntryKind.CONTRACT_DATA:
        entry = _contract_data(reader)
    else:
        raise ValueError(f"scenarios have no entries of kind {kind}")
    reader.finish()
    if entry.data != data:
        raise ValueError(f"the sandbox keeps an entry otherwise than it was given: {entry}")
    return entry


def _account(reader: Reader) -> Entry:
    parts: dict[str, Any] = {
        "public_key": read_account(reader),
        "balance": reader.i64(),
        "sequence": reader.i64(),
        "subentries": reader.u32(),
        "inflation_destination": reader.optional(lambda: read_account(reader)),
        "flags": reader.u32(),
        "home_domain": reader.opaque(),
        "thresholds": reader.fixed(4),
        "signers": reader.array(lambda: Signer(SignerKey.read(reader), reader.u32())),
    }
    if reader.boolean():
        reader.fixed(_LIABILITIES + 4 + 8)
        reader.array(reader.u32)
        reader.fixed(8)
        parts |= {"sequence_ledger": reader.u32(), "sequence_time": reader.u64()}
    return Account(**parts)


def _trustline(reader: Reader) -> Entry:
    line = Trustline(
        public_key=read_account(reader),
        asset=Asset.read(reader),
        balance=reader.i64(),
        limit=reader.i64(),
        flags=reader.u32(),
    )
    reader.extension()
    return line


def _contract_data(reader: Reader) -> Entry:
    reader.extension()
    contract = Address.read(reader)
    name = Val.read(reader)
    durability = reader.u32()
    return ContractData(contract=contract, name=name, durability=durability, value=Val.read(reader))
