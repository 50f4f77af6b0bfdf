"""Transactions that really happened, as others published them: the sandbox's rules take them."""

from __future__ import annotations

from base64 import b64decode
from collections import Counter
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from stellar_sdk import xdr

from mpp_asgi.sandbox.contracts.registry import CONTRACTS
from mpp_asgi.sandbox.diagnostics import Diagnostics
from mpp_asgi.sandbox.fees import Resources, resource_fee
from mpp_asgi.sandbox.frame import Frame
from mpp_asgi.sandbox.host.events import Event, EventKind
from mpp_asgi.sandbox.meta import Meta, OperationMeta, SorobanMeta, TxStage
from mpp_asgi.sandbox.network import Moment, Network
from mpp_asgi.sandbox.settings import Settings
from mpp_asgi.sandbox.signatures import Verifier
from mpp_asgi.sandbox.state import State
from mpp_asgi.sandbox.validity import judge
from mpp_asgi.sandbox.wire.entries import Account, Signer, SignerKey, ledger_entry
from mpp_asgi.sandbox.wire.keys import account_key
from mpp_asgi.sandbox.wire.operations import InvokeContract, InvokeHostFunction, Unsupported
from mpp_asgi.sandbox.wire.results import Code, OperationCode, OperationResult, Result
from mpp_asgi.sandbox.wire.stored import read_entry
from mpp_asgi.sandbox.wire.stream import Reader, XdrError, array
from mpp_asgi.sandbox.wire.transactions import Envelope, Signature
from mpp_asgi.sandbox.wire.values import Address, Val
from tests.sandbox.public_examples.gathered import network_id, records

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

KNOWN_OPERATIONS = {
    "CHANGE_TRUST": 2,
    "CREATE_ACCOUNT": 2,
    "INVOKE_HOST_FUNCTION": 54,
    "PAYMENT": 126,
}
UNSUPPORTED_OPERATIONS = {
    "BEGIN_SPONSORING_FUTURE_RESERVES": 1,
    "END_SPONSORING_FUTURE_RESERVES": 1,
    "MANAGE_BUY_OFFER": 53,
    "MANAGE_SELL_OFFER": 56,
    "PATH_PAYMENT_STRICT_RECEIVE": 3,
    "PATH_PAYMENT_STRICT_SEND": 3,
}


@dataclass(frozen=True)
class Published:
    """One published transaction."""

    record: dict[str, Any]

    @property
    def frame(self) -> Frame:
        envelope = Envelope.parse(b64decode(self.record["envelope"]))
        return Frame.of(envelope, network_id(self.record["network"]))

    @property
    def result(self) -> xdr.TransactionResult:
        return xdr.TransactionResult.from_xdr(self.record["result"])

    @property
    def meta(self) -> xdr.TransactionMetaV4 | None:
        if "meta" not in self.record:
            return None
        return xdr.TransactionMeta.from_xdr(self.record["meta"]).v4

    @property
    def changes(self) -> list[xdr.LedgerEntryChange]:
        """All changes to entries that are published, in their order."""
        meta = self.meta
        if meta is None:
            return xdr.LedgerEntryChanges.from_xdr(self.record["fee_changes"]).ledger_entry_changes
        operations = (each.changes.ledger_entry_changes for each in meta.operations)
        before = meta.tx_changes_before.ledger_entry_changes
        after = meta.tx_changes_after.ledger_entry_changes
        return [*before, *(change for changes in operations for change in changes), *after]

    @property
    def entries(self) -> list[xdr.LedgerEntry]:
        found = (each.created or each.updated or each.state for each in self.changes)
        return [entry for entry in found if entry is not None]

    @property
    def ledger(self) -> int:
        """The ledger it is in."""
        changed = (each.created or each.updated for each in self.changes)
        return max(e.last_modified_ledger_seq.uint32 for e in changed if e is not None)


@cache
def published() -> tuple[Published, ...]:
    return tuple(Published(record) for record in records("transactions"))


def test_envelopes_are_hashed_as_on_the_network() -> None:
    for each in published():
        frame = each.frame
        assert frame.envelope.xdr == b64decode(each.record["envelope"])
        assert frame.hash.hex() == each.record["hash"]
        pair = each.result.result.inner_result_pair
        inner_hash = frame.hash if pair is None else pair.transaction_hash.hash
        assert frame.inner_hash == inner_hash
        assert frame.is_fee_bump == (pair is not None)
    kinds = Counter((each.record["network"], each.frame.is_fee_bump) for each in published())
    assert kinds == {
        ("public", False): 45,
        ("public", True): 55,
        ("testnet", False): 6,
        ("testnet", True): 1,
    }


def test_operations_are_known_or_read_past() -> None:
    known, unsupported = Counter[str](), Counter[str]()
    for each in published():
        for operation in each.frame.transaction.operations:
            counter = unsupported if isinstance(operation.body, Unsupported) else known
            counter[operation.kind.name] += 1
    assert known == KNOWN_OPERATIONS
    assert unsupported == UNSUPPORTED_OPERATIONS


# Results


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


def test_what_is_charged_is_within_what_was_bid() -> None:
    """A classic transaction is charged by the operation, at least the base fee of 100 stroops."""
    for each in published():
        frame, charged = each.frame, each.result.fee_charged.int64
        assert charged <= frame.full_fee
        if not frame.is_soroban:
            assert 100 * frame.operation_count <= charged
            assert charged <= frame.fee_at(charged // frame.operation_count)


def test_resources_cost_what_the_network_charged() -> None:
    """With the fee per operation off, too, what the return value and rent cost is left: for calls
    of one function the same, however many instructions and bytes they declare.
    """
    left, declared = Counter[tuple[str, int]](), set[tuple[int, int]]()
    for each in published():
        frame, data = each.frame, each.frame.soroban
        if data is None or each.record["network"] != "public":
            continue
        needed, _ = resource_fee(Resources.declared(data, frame.inner_size), Settings())
        (operation,) = frame.transaction.operations
        assert isinstance(operation.body, InvokeHostFunction)
        assert isinstance(operation.body.function, InvokeContract)
        inclusion = frame.fee_at(100) - frame.resource_fee
        rest = each.result.fee_charged.int64 - inclusion - needed
        left[operation.body.function.name, rest] += 1
        declared.add((data.instructions, frame.inner_size))
    assert left == {("work", 96): 47, ("plant", 4_229): 2, ("harvest", 14_024): 1}
    assert len(declared) == 6


# Meta


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


# Entries


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


# Validity


def own_account(theirs: xdr.AccountEntry) -> Account:
    """The account as far as the sandbox has a place for it."""
    first = theirs.ext.v1
    second = None if first is None else first.ext.v2
    third = None if second is None else second.ext.v3
    signers = tuple(
        Signer(SignerKey.read(Reader(each.key.to_xdr_bytes())), each.weight.uint32)
        for each in theirs.signers
    )
    key = theirs.account_id.account_id.ed25519
    assert key is not None
    return Account(
        public_key=key.uint256,
        balance=theirs.balance.int64,
        sequence=theirs.seq_num.sequence_number.int64,
        subentries=theirs.num_sub_entries.uint32,
        flags=theirs.flags.uint32,
        thresholds=theirs.thresholds.thresholds,
        signers=signers,
        sequence_ledger=None if third is None else third.seq_ledger.uint32,
        sequence_time=0 if third is None else third.seq_time.time_point.uint64,
    )


def accounts_before(each: Published, frame: Frame) -> State:
    """The accounts a transaction found, where its changes show them.

    The source of a contract call inside a fee bump is not published with it; it is taken to be an
    account that has nothing but its sequence number, since it signs with its own key.
    """
    found = {}
    if each.meta is None:
        bare = Account(public_key=frame.source, balance=0, sequence=frame.sequence - 1)
        found[account_key(frame.source)] = (bare, each.ledger - 1)
    for change in each.changes:
        entry = change.state
        if entry is not None and entry.data.account is not None:
            account = own_account(entry.data.account)
            found.setdefault(account.key, (account, entry.last_modified_ledger_seq.uint32))
    return State(found)


@cache
def close_times() -> dict[int, int]:
    """When the public network's ledgers closed, Unix seconds, by their sequence."""
    headers = [each for each in records("ledgers") if each["network"] == "public"]
    found = {each["sequence"]: xdr.LedgerHeader.from_xdr(each["header"]) for each in headers}
    return {
        sequence: header.scp_value.close_time.time_point.uint64
        for sequence, header in found.items()
    }


def judged(each: Published, frame: Frame) -> Result:
    network = Network(
        network_id=network_id(each.record["network"]),
        settings=Settings(),
        contracts=CONTRACTS,
        verifier=Verifier(),
    )
    time = int(each.record["closed"]) if "closed" in each.record else close_times()[each.ledger]
    state = accounts_before(each, frame)
    return judge(frame, network, state, Moment(each.ledger, time), Diagnostics())


def is_foreign(frame: Frame) -> bool:
    """Whether it has an operation that the sandbox does not have."""
    bodies = (operation.body for operation in frame.transaction.operations)
    return any(isinstance(body, Unsupported) for body in bodies)


def test_what_the_network_took_is_valid() -> None:
    """With the accounts it met, in its ledger: fees, sequence numbers, preconditions, resources,
    thresholds and signatures. Only what the sandbox does not have it refuses, and says so.
    """
    verdicts = Counter[tuple[Code, bool]]()
    for each in published():
        frame = each.frame
        result = judged(each, frame)
        verdicts[result.code, is_foreign(frame)] += 1
        if is_foreign(frame):
            bodies = [operation.body for operation in frame.transaction.operations]
            first = next(i for i, body in enumerate(bodies) if isinstance(body, Unsupported))
            codes = [operation.code for operation in result.operations]
            assert codes[first] is OperationCode.NOT_SUPPORTED
            assert all(operation.succeeded for operation in result.operations[:first])
        else:
            assert result.succeeded
    assert verdicts == {(Code.SUCCESS, False): 70, (Code.FAILED, True): 37}


def damaged(signatures: Sequence[Signature], index: int) -> tuple[Signature, ...]:
    value = signatures[index].value
    changed = replace(signatures[index], value=bytes((value[0] ^ 1,)) + value[1:])
    return (*signatures[:index], changed, *signatures[index + 1 :])


def test_each_signature_counts() -> None:
    """A transaction with any one of its signatures damaged is refused."""
    tried = 0
    for each in published():
        frame = each.frame
        envelope = frame.envelope
        if is_foreign(frame):
            continue
        wrong = [
            replace(envelope, signatures=damaged(envelope.signatures, index))
            for index in range(len(envelope.signatures))
        ]
        wrong += [
            replace(envelope, outer_signatures=damaged(envelope.outer_signatures, index))
            for index in range(len(envelope.outer_signatures))
        ]
        for other in wrong:
            tried += 1
            result = judged(each, replace(frame, envelope=other))
            code = result.outer or result.code
            codes = {operation.code for operation in result.operations}
            refused = code in {Code.BAD_AUTH, Code.BAD_AUTH_EXTRA}
            assert refused or OperationCode.BAD_AUTH in codes, (code, codes)
    assert tried == 133
