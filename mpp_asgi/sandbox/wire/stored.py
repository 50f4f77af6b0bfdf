"""Reading back the entries of a ledger that was written down."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mpp_asgi.sandbox.wire.assets import Asset
from mpp_asgi.sandbox.wire.entries import (
    Account,
    ContractCode,
    ContractData,
    Data,
    Signer,
    SignerKey,
    Trustline,
)
from mpp_asgi.sandbox.wire.keys import EntryKind
from mpp_asgi.sandbox.wire.stream import Reader, XdrError
from mpp_asgi.sandbox.wire.values import Address, Val

if TYPE_CHECKING:
    from mpp_asgi.sandbox.wire.entries import Entry


def read_entry(data: bytes) -> Entry:
    """An entry from its ``LedgerEntryData``, of the kinds and shapes that the sandbox writes.

    A TTL is none of them: its XDR does not say what it speaks of. Raises ``XdrError``.
    """
    reader = Reader(data)
    kind = reader.u32()
    match kind:
        case EntryKind.ACCOUNT:
            entry: Entry = _read_account(reader)
        case EntryKind.TRUSTLINE:
            entry = _read_trustline(reader)
        case EntryKind.DATA:
            entry = Data(
                public_key=_read_key(reader), name=reader.opaque(64), value=reader.opaque(64)
            )
        case EntryKind.CONTRACT_DATA:
            entry = _read_contract_data(reader)
        case EntryKind.CONTRACT_CODE:
            reader.extension()
            entry = ContractCode(wasm_hash=reader.fixed(32), code=reader.opaque())
        case _:
            raise XdrError(f"entries of kind {kind} are not kept here")
    if entry.data != data:  # it says something that the sandbox has no place for
        raise XdrError(f"an entry of kind {kind} is not as the sandbox writes it")
    return entry


def _read_key(reader: Reader) -> bytes:
    reader.u32()
    return reader.fixed(32)


def _read_account(reader: Reader) -> Account:
    account = Account(
        public_key=_read_key(reader),
        balance=reader.i64(),
        sequence=reader.i64(),
        subentries=reader.u32(),
        inflation_destination=reader.optional(lambda: _read_key(reader)),
        flags=reader.u32(),
        home_domain=reader.opaque(32),
        thresholds=reader.fixed(4),
        signers=reader.array(lambda: _read_signer(reader), 20),
    )
    if not reader.u32():
        return account
    reader.fixed(16)  # liabilities
    reader.u32()
    reader.fixed(8)  # what is sponsored
    reader.fixed(4 * reader.u32())  # by whom: nobody
    reader.u32()
    reader.extension()
    return replace(account, sequence_ledger=reader.u32(), sequence_time=reader.u64())


def _read_signer(reader: Reader) -> Signer:
    return Signer(SignerKey.read(reader), reader.u32())


def _read_trustline(reader: Reader) -> Trustline:
    return Trustline(
        public_key=_read_key(reader),
        asset=Asset.read(reader),
        balance=reader.i64(),
        limit=reader.i64(),
        flags=reader.u32(),
    )


def _read_contract_data(reader: Reader) -> ContractData:
    reader.extension()
    contract = Address.read(reader)
    name = Val.read(reader)
    durability = reader.u32()
    return ContractData(contract=contract, name=name, value=Val.read(reader), durability=durability)
