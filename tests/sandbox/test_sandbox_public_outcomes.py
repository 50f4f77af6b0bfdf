"""What became of real transactions: results, meta, events and entries are written the same."""

from __future__ import annotations

from base64 import b64decode
from collections import Counter
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from mpp_asgi.sandbox.host.events import Event, EventKind
from mpp_asgi.sandbox.meta import Meta, OperationMeta, SorobanMeta, TxStage
from mpp_asgi.sandbox.wire.entries import ledger_entry
from mpp_asgi.sandbox.wire.results import Code, OperationCode, OperationResult, Result
from mpp_asgi.sandbox.wire.stored import read_entry
from mpp_asgi.sandbox.wire.stream import Reader, XdrError, array
from mpp_asgi.sandbox.wire.values import Address, Val
from tests.sandbox.public_examples.transactions import published

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from stellar_sdk import xdr


def operation_results(results: Iterable[xdr.OperationResult]) -> tuple[OperationResult, ...]:
    found = []
    for each in results:
        code = OperationCode(each.code.value)
        if each.tr is None:
            found.append(OperationResult(code))
            continue
        reader = Reader(each.tr.to_xdr_bytes())
        kind, inner = reader.u32(), reader.u32()
        signed = inner - 2**32 if inner >= 2**31 else inner
        found.append(OperationResult(code, kind, signed, reader.data[reader.at :]))
    return tuple(found)


def own_result(theirs: xdr.TransactionResult) -> Result:
    """The same as the sandbox would write it."""
    pair = theirs.result.inner_result_pair
    if pair is None:
        operations = operation_results(theirs.result.results or ())
        return Result(theirs.fee_charged.int64, Code(theirs.result.code.value), operations)
    inner = pair.result
    return Result(
        theirs.fee_charged.int64,
        Code(inner.result.code.value),
        operation_results(inner.result.results or ()),
        inner_hash=pair.transaction_hash.hash,
        inner_fee_charged=inner.fee_charged.int64,
    )


def test_results_are_written_as_on_the_network() -> None:
    for each in published():
        result = own_result(each.result)
        assert result.xdr == b64decode(each.record["result"])
        assert result.succeeded == (each.result.result.code.value in {0, 1})
    outcomes = Counter(own_result(each.result).code for each in published())
    assert outcomes == {Code.SUCCESS: 105, Code.FAILED: 2}


def own_event(theirs: xdr.ContractEvent) -> Event:
    body = theirs.body.v0
    assert body is not None
    contract = None
    if theirs.contract_id is not None:
        contract = Address.contract(theirs.contract_id.contract_id.hash)
    topics = tuple(Val.parse(topic.to_xdr_bytes()) for topic in body.topics)
    return Event(
        EventKind(theirs.type.value), contract, topics, Val.parse(body.data.to_xdr_bytes())
    )


def encoded(changes: xdr.LedgerEntryChanges) -> list[bytes]:
    return [change.to_xdr_bytes() for change in changes.ledger_entry_changes]


def own_soroban_meta(theirs: xdr.SorobanTransactionMetaV2 | None) -> SorobanMeta | None:
    if theirs is None:
        return None
    fees = theirs.ext.v1
    assert fees is not None
    returned = theirs.return_value
    return SorobanMeta(
        fees.total_non_refundable_resource_fee_charged.int64,
        fees.total_refundable_resource_fee_charged.int64,
        fees.rent_fee_charged.int64,
        None if returned is None else Val.parse(returned.to_xdr_bytes()),
    )


def own_meta(theirs: xdr.TransactionMetaV4) -> Meta:
    """The same as the sandbox would write it."""
    operations = [
        OperationMeta(encoded(each.changes), [own_event(event) for event in each.events])
        for each in theirs.operations
    ]
    return Meta(
        before=encoded(theirs.tx_changes_before),
        operations=operations,
        after=encoded(theirs.tx_changes_after),
        soroban=own_soroban_meta(theirs.soroban_meta),
        events=[(TxStage(each.stage.value), own_event(each.event)) for each in theirs.events],
        diagnostics=[
            own_event(each.event).diagnostic_xdr(succeeded=each.in_successful_contract_call)
            for each in theirs.diagnostic_events
        ],
    )


def test_meta_is_written_as_on_the_network() -> None:
    seen = Counter[str]()
    for each in published():
        theirs = each.meta
        if theirs is None:
            continue
        meta = own_meta(theirs)
        assert meta.xdr == b64decode(each.record["meta"])
        seen["metas"] += 1
        seen["operation events"] += sum(len(operation.events) for operation in meta.operations)
        seen["own events"] += len(meta.events)
        seen["contract calls"] += meta.soroban is not None
        if "events" in each.record:
            events = each.record["events"]
            own = [[event.xdr for event in operation.events] for operation in meta.operations]
            theirs_by_operation = events.get("contractEventsXdr", ())
            assert meta.transaction_events == decoded(events["transactionEventsXdr"])
            assert own == [decoded(operation) for operation in theirs_by_operation]
            seen["as RPC gives them"] += 1
    assert seen == {
        "metas": 57,
        "operation events": 168,
        "own events": 61,
        "contract calls": 4,
        "as RPC gives them": 7,
    }


def test_results_of_contract_calls_are_hashed_as_on_the_network() -> None:
    calls = 0
    for each in published():
        theirs = each.meta
        if theirs is None or theirs.soroban_meta is None:
            continue
        meta = own_meta(theirs)
        assert meta.soroban is not None
        assert meta.soroban.returned is not None
        emitted = array(event.xdr for event in meta.operations[0].events)
        (operation,) = own_result(each.result).operations
        assert operation.value == sha256(meta.soroban.returned.xdr + emitted).digest()
        calls += 1
    assert calls == 4


def decoded(texts: Sequence[str]) -> list[bytes]:
    return [b64decode(text) for text in texts]


def is_plain(data: xdr.LedgerEntryData) -> bool:
    """Whether an entry says nothing that the sandbox has no place for: no offers, no pools,
    nothing promised in them, nobody who pays for another's reserve.
    """
    if data.account is not None:
        first = data.account.ext.v1
        if first is None:
            return True
        second = first.ext.v2
        liabilities = first.liabilities.buying.int64 or first.liabilities.selling.int64
        if second is None or second.ext.v3 is None or liabilities:
            return False
        sponsors = any(each.sponsorship_descriptor for each in second.signer_sponsoring_i_ds)
        return not (sponsors or second.num_sponsored.uint32 or second.num_sponsoring.uint32)
    if data.trust_line is not None:
        is_share = data.trust_line.asset.liquidity_pool_id is not None
        return data.trust_line.ext.v1 is None and not is_share
    return data.contract_data is not None


def test_entries_are_kept_as_they_are_or_refused() -> None:
    kept, refused = Counter[str](), Counter[str]()
    for each in published():
        for entry in each.entries:
            kind = entry.data.type.name
            raw = entry.data.to_xdr_bytes()
            if not is_plain(entry.data):
                refused[kind] += 1
                with pytest.raises(XdrError):
                    read_entry(raw)
                continue
            own = read_entry(raw)
            kept[kind] += 1
            if entry.ext.v == 0:
                modified = entry.last_modified_ledger_seq.uint32
                assert ledger_entry(own, modified) == entry.to_xdr_bytes()
    assert kept == {"ACCOUNT": 184, "CONTRACT_DATA": 48, "TRUSTLINE": 304}
    assert refused == {
        "ACCOUNT": 265,
        "LIQUIDITY_POOL": 30,
        "OFFER": 215,
        "TRUSTLINE": 260,
        "TTL": 40,
    }
